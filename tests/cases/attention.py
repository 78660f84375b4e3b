"""Rows for scaled dot-product attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.cases.case import Arg, Case

_INF = float("inf")


def _attend(**how: Any) -> Callable[..., Any]:
    return lambda t, q, k, v, *mask: t.nn.functional.scaled_dot_product_attention(
        q, k, v, *mask, **how
    )


def _args(*batch: int, L: int, S: int, E: int, F: int | None = None) -> tuple[Arg, ...]:
    return tuple(Arg((*batch, *s)) for s in ((L, E), (S, E), (S, E if F is None else F)))


def _bools(*shape: int) -> Arg:
    """A mask with some row that sees nothing, if there are several."""
    count = 1
    for n in shape:
        count *= n
    row = shape[-1]
    values = [i % 3 != 1 and (i // row % 4 != 2 or count <= 2 * row) for i in range(count)]
    return Arg(shape, dtype="bool", values=values)


_SIZES = {
    "square": _args(2, 2, L=5, S=5, E=4),
    "short": _args(2, L=3, S=7, E=5, F=3),
    "tall": _args(2, L=7, S=3, E=3, F=6),
    "flat": _args(L=4, S=5, E=3),
    "one": _args(1, 1, L=1, S=1, E=1),
}

_ROWS = [
    *(Case(f"attention-{name}", _attend(), args) for name, args in _SIZES.items()),
    *(Case(f"attention-causal-{name}", _attend(is_causal=True), args)
      for name, args in _SIZES.items()),
    Case("attention-scale", _attend(scale=0.3), _args(2, 1, L=3, S=4, E=3)),
    Case("attention-deep", _attend(), _args(2, 1, 2, L=3, S=4, E=3)),
    Case("attention-broadcast", _attend(),
         (Arg((2, 3, 4, 5)), Arg((3, 6, 5)), Arg((2, 1, 6, 4)))),
    Case("attention-primes", _attend(), _args(1, 1, L=31, S=33, E=17, F=13), second_order=False,
         numeric=False),
    Case("attention-primes-causal", _attend(is_causal=True), _args(1, 1, L=33, S=37, E=13, F=17),
         second_order=False, numeric=False),
    *(Case(f"attention-mask-{'x'.join(map(str, shape))}", _attend(),
           (*_args(2, 2, L=5, S=6, E=3), _bools(*shape)))
      for shape in ((5, 6), (2, 1, 5, 6), (2, 1, 1, 6), (1, 6))),
    Case("attention-bias", _attend(),
         (*_args(2, 2, L=5, S=6, E=3), Arg((2, 5, 6))), differentiable=(0, 1, 2)),
    Case("attention-bias-gradient", _attend(), (*_args(2, L=3, S=4, E=3), Arg((3, 4)))),
    Case("attention-bias-ends", _attend(),
         (*_args(1, 2, L=3, S=4, E=3),
          Arg((3, 4), values=[-_INF] * 4 + [0, -_INF, 1, -_INF] + [-_INF, 2, 0, -1])),
         differentiable=(0, 1, 2)),
    Case("attention-bias-wide", _attend(),
         (*_args(2, 1, L=19, S=34, E=8), Arg((2, 1, 19, 34))), differentiable=(0, 1, 2),
         second_order=False, numeric=False),
    Case("attention-grouped", _attend(enable_gqa=True),
         (Arg((2, 4, 3, 5)), Arg((2, 2, 4, 5)), Arg((2, 2, 4, 3)))),
    Case("attention-grouped-mask", _attend(enable_gqa=True),
         (Arg((2, 4, 3, 5)), Arg((2, 1, 4, 5)), Arg((2, 1, 4, 3)), _bools(2, 4, 3, 4))),
    Case("attention-grouped-apart", _attend(enable_gqa=True),
         (Arg((1, 4, 3, 5)), Arg((1, 2, 4, 5)), Arg((1, 1, 4, 3)))),
    *(Case(f"attention-empty-{name}", _attend(), args, differentiable=())
      for name, args in {
          "queries": _args(2, L=0, S=3, E=4), "keys": _args(2, L=3, S=0, E=4),
          "batch": _args(0, 2, L=3, S=2, E=4), "features": _args(2, L=3, S=2, E=0, F=3),
      }.items()),
]  # fmt: skip

# a tile takes the simulated GPU as long whatever is in it: gradients of what differs in kind
_SIMULATED = {"short", "causal-square", "primes-causal", "mask-2x1x5x6", "bias", "grouped-mask"}
CASES = [
    row
    if row.name.removeprefix("attention-") in _SIMULATED
    else replace(row, simulated=("forward",))
    for row in _ROWS
]
