"""The page at ``/``: one file, its style and program inside, which asks nothing of another host."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path

_HERE = Path(__file__).parent


def _part(name: str) -> str:
    return (_HERE / name).read_text()


@lru_cache(maxsize=1)
def text() -> str:
    """The page as HTML."""
    whole = _part("page.html")
    for mark, name in (("/* style */", "page.css"), ("/* program */", "page.js")):
        whole = whole.replace(mark, _part(name))
    return whole


@lru_cache(maxsize=1)
def policy() -> str:
    """Its Content-Security-Policy: its own style and program by their hashes, requests to its own server."""
    style, program = (
        base64.b64encode(hashlib.sha256(_part(name).encode()).digest()).decode()
        for name in ("page.css", "page.js")
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{program}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
