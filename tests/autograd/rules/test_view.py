"""Views made where nothing is recorded, and written to later: errors and gradients as PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tilegrad

# ``x`` is a leaf, ``b`` is made of it; each line ends in what is compared
PROGRAMS = [
    "with t.no_grad(): v = b[0:2]\nv.mul_(2)",
    "with t.no_grad(): v = b[0:2]\nv.mul_(x[0])",
    "with t.no_grad(): v = b.view(3, 1)\nv[0] = 1.0",
    "with t.no_grad(): v = b[0:2]\nw = v[0:1]\nw.mul_(x[0])",
    "with t.no_grad(): v = x[0:2]\nv.mul_(2)",
    "with t.inference_mode(): v = b[0:2]\nv.mul_(2)",
    "with t.inference_mode(): v = b[0:2]\nv.mul_(x[0])",
    "with t.inference_mode():\n    v = b[0:2]\n    v.mul_(2)\n(b * b).sum().backward()\nx.grad",
    "with t.no_grad():\n    v = b[0:2]\n    v.mul_(2)\n(b * b).sum().backward()\nx.grad",
    "v = b[0:2]\nwith t.no_grad(): v.mul_(2)\n(v * v).sum().backward()\nx.grad",
    "c = t.zeros(3)\nwith t.inference_mode(): v = c[0:2]\nv.add_(2)\nc",
    "with t.inference_mode(): c = t.zeros(3)\nv = c[0:2]\nv.add_(2)",
    "d = b.detach()\nd[0:2].zero_()\nb",
    "with t.no_grad(): v = b[0:2].clone()\nv.mul_(x[0])\nv.sum().backward()\nx.grad",
]


def outcome(t: Any, program: str) -> Any:
    """The value of the last line, or the error's type."""
    x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    names = {"t": t, "x": x, "b": x * 1}
    *lines, last = program.split("\n")
    try:
        exec("\n".join(lines), names)
        if last not in ("x.grad", "b", "c"):
            return exec(last, names)
        return eval(last, names).tolist()
    except RuntimeError as error:
        return type(error)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_write_is_refused_or_recorded(program: str) -> None:
    """Side by side with PyTorch."""
    assert outcome(tilegrad, program) == outcome(torch, program)


def test_the_refusal_names_its_cause() -> None:
    """In PyTorch's words, which its users know."""
    x = tilegrad.tensor([1.0, 2.0], requires_grad=True)
    b = x * 1
    with tilegrad.no_grad():
        v = b[0:1]
    with pytest.raises(
        RuntimeError, match="A view was created in no_grad mode and is being modified"
    ):
        v.mul_(2)
