"""Sphinx's settings for the site that build.py makes."""

from __future__ import annotations

import re
from typing import Any

project = "tilegrad"
author = "the tilegrad maintainers"
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "tilegrad"
html_extra_path: list[str] = []
html_copy_source = False
html_show_sphinx = False
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
suppress_warnings = ["misc.highlighting_failure"]

# what docstrings hold as it is: literals and roles; the rest is plain text
_KEPT = re.compile(r"(``.+?``|:[a-z:]+:`[^`]+`|`[^`]+`_?)", re.S)


def _plain(text: str) -> str:
    """No markup but literals and roles: |x| is an absolute value, x* a product."""
    parts = _KEPT.split(text)
    return "".join(
        part if k % 2 else re.sub(r"([*|])", r"\\\1", re.sub(r"(\w)_(?=\W|$)", r"\1\\_", part))
        for k, part in enumerate(parts)
    )


def _docstring(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    lines[:] = _plain("\n".join(lines)).split("\n")


def setup(app: Any) -> None:
    """Docstrings before napoleon reads them."""
    app.connect("autodoc-process-docstring", _docstring, priority=100)
