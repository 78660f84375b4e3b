"""The formulas that functions of one's own may call: ``from tilegrad.formulas import exp, erf``.

They are functions of numbers, under PyTorch's names, and known by these names without an import, too; the
import tells linters and readers what ``exp`` is. ``dir(tilegrad.formulas)`` lists them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from tilegrad.kernels.formulas.user import standard


def __getattr__(name: str) -> Callable[..., Any]:
    found = standard().get(name)
    if found is None:
        near = difflib.get_close_matches(name, list(standard()), 3)
        hint = f"; did you mean {' or '.join(near)}?" if near and name[:2] != "__" else ""
        raise AttributeError(f"module 'tilegrad.formulas' has no attribute {name!r}{hint}")
    return found


def __dir__() -> list[str]:
    return sorted(standard())
