"""How Sphinx builds these pages: sphinx-build -W docs FOLDER, with the extra `docs`."""

import re

import anchorlib

project = "anchorlib"
author = "The anchorlib authors"
copyright = f"{author}; Apache-2.0"
version = release = anchorlib.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"anchorlib {release}"
html_copy_source = False
myst_heading_anchors = 3
default_role = "py:obj"  # `name` in a docstring: a link where there is such a name, and code where not
autodoc_typehints = "none"  # the docstrings say types, shapes and units
autodoc_member_order = "bysource"
# What follows these headings is sentences, and not the types that napoleon looks for there.
napoleon_custom_sections = ["Returns", "Yields", "Raises", "Source", "Attributes"]


def setup(app):
    """Connect what follows."""
    app.connect("autodoc-process-docstring", _meaning_below_name, priority=400)  # before napoleon, at 500


def _meaning_below_name(app, what, name, thing, options, lines):
    """`name : meaning` on one line is how the docstrings are written; numpydoc has the meaning below the name."""
    items = r"^(\w[\w., \[\]]*?) : (.*(?:\n    .*)*)$"
    lines[:] = re.sub(items, r"\1\n    \2\n", "\n".join(lines), flags=re.MULTILINE).split("\n")
