"""Discrete Fourier transforms over some dimensions: complex, real to half a spectrum, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from tilegrad.engine.array import Layout, contiguous_strides, layout
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.shape import Shape

Launch = Callable[..., None]

NORMS = (
    "none",
    "by_root_n",
    "by_n",
)  # what the result is divided by; PyTorch's codes are their places


class _Side(NamedTuple):
    """Memory that a pass reads or writes: sizes of what is there, and strides in reals."""

    shape: Shape
    strides: Shape


def _plan(kind: str, x: Layout, *, dims: Shape, sizes: Shape, forward: int, norm: str) -> Plan:
    """Of ``x`` over ``dims``, not negative, each once.

    ``sizes``: of ``dims``, on the real side of the last one where there is such; x is padded, or cut. ``forward``: 1
    for a negative exponent. ``norm``: what the result is divided by, ``none``, ``by_root_n`` or ``by_n``.
    """
    part, full = x.dtype.to_real(), list(x.shape)
    for d, n in zip(dims, sizes, strict=True):
        full[d] = n
    shape, last = list(full), dims[-1]
    if kind == "r2c":
        shape[last] = full[last] // 2 + 1
    out = layout(tuple(shape), part if kind == "c2r" else part.to_complex(), x.device)
    wide = 2 if out.dtype.is_complex else 1
    there = _Side(out.shape, tuple(wide * s for s in contiguous_strides(out.shape)))
    given = _Side(x.shape, tuple((2 if x.dtype.is_complex else 1) * s for s in x.strides))
    passes = _Passes(x, part.name, forward, math.prod(sizes), norm)
    if kind == "c2r":
        launch, scratch = passes.from_spectrum(given, there, dims, sizes)
    else:
        first = "real" if kind == "c2c" and not x.dtype.is_complex else kind
        launch, scratch = passes.in_place(first, given, there, dims, sizes)
    return Plan((out,), launch, scratch)


class _Passes:
    """Transforms of one dimension each, one after the other."""

    def __init__(self, x: Layout, dtype: str, forward: int, count: int, norm: str):
        self.family = kernel("fft", x.device)
        self.dtype, self.forward = dtype, bool(forward)
        self.itemsize = x.dtype.to_real().itemsize
        self.scale = {
            "none": 1.0,
            "by_root_n": 1 / math.sqrt(max(count, 1)),
            "by_n": 1 / max(count, 1),
        }[norm]

    def one(
        self, kind: str, x: _Side, y: _Side, dim: int, n: int, last: bool
    ) -> tuple[Launch, int]:
        """A pass along ``dim`` over what x and y have in common elsewhere; the last one scales."""
        rest = [d for d in range(len(x.shape)) if d != dim]
        batch = (
            tuple(min(x.shape[d], y.shape[d]) for d in rest),
            tuple(x.strides[d] for d in rest),
            tuple(y.strides[d] for d in rest),
        )
        line = self.family.Line(n, x.shape[dim], x.strides[dim], y.strides[dim])
        scale = self.scale if last else 1.0
        found: tuple[Launch, int] = self.family.fft(
            self.dtype, kind, batch, line, self.forward, scale
        )
        return found

    def in_place(
        self, kind: str, x: _Side, y: _Side, dims: Shape, sizes: Shape
    ) -> tuple[Launch, int]:
        """From x to y along the last of ``dims``, then within y."""
        order = [*zip(dims, sizes, strict=True)][::-1]
        have = list(x.shape)  # of what y holds
        first = self.one(kind, x, y, *order[0], len(order) == 1)
        launches, scratch = [first[0]], first[1]
        have[order[0][0]] = y.shape[order[0][0]]
        for place, (dim, n) in enumerate(order[1:], 2):
            within = _Side(tuple(map(min, have, y.shape)), y.strides)
            launch, more = self.one("c2c", within, y, dim, n, place == len(order))
            launches.append(launch)
            have[dim] = n
            scratch = max(scratch, more)
        if len(launches) == 1:
            return first

        def run(x: int, y: int, scratch: int = 0) -> None:
            launches[0](x, y, scratch)
            for launch in launches[1:]:
                launch(y, y, scratch)

        return run, scratch

    def from_spectrum(self, x: _Side, y: _Side, dims: Shape, sizes: Shape) -> tuple[Launch, int]:
        """Within scratch memory along all but the last of ``dims``, which leads to y."""
        *others, (dim, n) = zip(dims, sizes, strict=True)
        if not others:
            return self.one("c2r", x, y, dim, n, True)
        shape = [*y.shape]
        shape[dim] = min(x.shape[dim], n // 2 + 1)
        between = _Side(tuple(shape), tuple(2 * s for s in contiguous_strides(tuple(shape))))
        first, scratch = _Passes.in_place(
            self._unscaled(), "c2c", x, between, *zip(*others, strict=True)
        )
        second, more = self.one("c2r", between, y, dim, n, True)
        held = -(-2 * math.prod(shape) * self.itemsize // 64) * 64

        def run(x: int, y: int, scratch: int = 0) -> None:
            first(x, scratch, scratch + held)
            second(scratch, y, scratch + held)

        return run, held + max(scratch, more)

    def _unscaled(self) -> _Passes:
        made = object.__new__(_Passes)
        made.__dict__.update(self.__dict__, scale=1.0)
        return made


_NAMES = ("dims", "sizes", "forward", "norm")


c2c, r2c, c2r = (
    Op(f"fft_{kind}", partial(_plan, kind), _NAMES, planar=True) for kind in ("c2c", "r2c", "c2r")
)
