"""Real networks on torch: built, run forward and backward, and measured. Knows no theory of what should come out."""
