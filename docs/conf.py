"""Sphinx: ``sphinx-build -E -W -n docs docs/_build``. Nothing is fetched; a reader's browser draws formulas."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import snn_cli

project = "snn"
author = "the snn developers"
version = release = snn_cli.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "snn_docs"]
exclude_patterns = ["_build", "_ext", "_made/*.md"]
nitpick_ignore_regex = [
    # types of other packages, and of this one that are not public: nothing here to link to
    ("py:.*", r"(numpy|torch|nn|collections|fractions|decimal|typing)\b.*"),
    ("py:.*", r"(?!snn_cli\.\w+$|snn_cli\.nn\.\w+$).*"),
]

smartquotes = False  # "--act" is two hyphens

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 90

html_theme = "furo"
html_title = f"snn {version}"
html_static_path = ["_static"]
html_copy_source = False
