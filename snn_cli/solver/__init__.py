"""Solve an activation's parameters: minimise gamma subject to the two moment conditions and a bound on lambda.

A family gives the few parameter sets that can be the optimum, in closed form or by one scalar root; here the right one
is chosen by the theory's rule, evaluated at rising precision until every printed digit is decided, and rounded once.
Whatever is not a family goes to ``snn_cli.program``.
"""

from snn_cli.solver.request import MAX_DIGITS, Request, check
from snn_cli.solver.solving import solve

__all__ = ["MAX_DIGITS", "Request", "check", "solve"]
