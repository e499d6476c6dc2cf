"""A solution in words and formulas: the program with its numbers filled in, and how to check it by hand.

Everything comes from the record and from what its family says of itself: its formulas, its conditions, and its shape
evaluated in symbols, from which the closed forms of all moments follow. ``explain`` writes the sections on a page;
the page knows how text and LaTeX look.
"""

from snn_cli.explanation.document import WIDTH, explain

__all__ = ["WIDTH", "explain"]
