"""Planes at other sizes, differentiable to any order: the adjoint is the same op by transposed tables."""

from __future__ import annotations

from collections.abc import Sequence

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule
from tilegrad.engine.ops import resample as ops

__all__: list[str] = []


def _vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    meta: dict[str, object] = node.meta
    return (_RESAMPLE.run(grad, **{**meta, "adjoint": not meta["adjoint"]}),)


_RESAMPLE = Rule(ops.resample, _vjp)


def resample(
    input: Tensor, mode: str, out: Sequence[int], align: bool, scales: Sequence[float | None],
    antialias: bool,
) -> Tensor:  # fmt: skip
    """``input`` (N, C, *size) at the sizes ``out``; ``scales`` are those that the positions follow from, None for
    the sizes' own.

    Raises:
        NotImplementedError: the dtype is neither floating point nor, where PyTorch has them, bytes.
    Gradient: the adjoint; saves nothing.
    """
    size = input.layout.shape[2:]
    ops.check_dtype(mode, input.layout.dtype, len(size))
    # as text, so that plans are kept: a tuple of floats is no key
    shown = tuple([None if s is None else float(s).hex() for s in scales])
    return _RESAMPLE.run(
        input, mode=mode, size=size, out=tuple(out), align=align, scales=shown, antialias=antialias,
        adjoint=False,
    )  # fmt: skip
