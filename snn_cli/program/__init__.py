"""Constrained programs for any activation: wrapped as ``a f(b x + c) + d``, or with free parameters of its own."""
