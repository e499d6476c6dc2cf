"""Training real networks on real data: what is compared, the networks, the loop, and what is kept of it."""
