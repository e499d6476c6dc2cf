"""Moment propagation through a network."""
