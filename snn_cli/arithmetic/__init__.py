"""Arithmetics in which a moment can be evaluated: a formula is written once and takes one as its first argument.

``multiprecision`` (mpmath, any number of digits), ``dual`` (exact first derivatives over any other), ``arrays``
(numpy), ``balls`` (rigorous intervals, python-flint) and ``symbolic`` (sympy). Each is imported only where it is used.
"""
