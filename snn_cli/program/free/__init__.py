"""The program for an activation with free parameters of its own, whatever its formula.

Minimise gamma subject to ``E[f^2] = 1``, ``E[f'^2] = 1 + epsilon`` where epsilon is given, ``E[f] = 0`` with zero mean,
and bounds; with as many conditions as parameters it is the root with the smallest gamma. Moments are a black box here.
In doubles: down along the solutions of the conditions from many starts, signs and magnitudes. Then Newton's method on
the conditions of Karush, Kuhn and Tucker in mpmath, with derivatives by differences at up to three times the precision,
because a kink may move with a parameter.
"""
