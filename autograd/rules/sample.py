"""Images sampled at the places of a grid, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import view
from tilegrad.autograd.rules.creation import zeros
from tilegrad.autograd.traversal import backward
from tilegrad.engine.ops import sample as ops

__all__: list[str] = []


def _vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, grid = node.unpack()
    how: dict[str, str | bool] = node.meta
    still = how["mode"] == "nearest"  # the element does not change as its place moves a little
    if state.grad and node.edges[1] is not None and not still:
        x, grid = view.apart(x), view.apart(grid)
        given = [t for t, edge in zip((x, grid), node.edges, strict=True) if edge is not None]
        found = iter(backward([_composed(x, grid, **how)], [grad], True, True, given))  # type: ignore[arg-type]
        return tuple([None if edge is None else next(found) for edge in node.edges])
    dx = dgrid = None
    if node.edges[0] is not None:
        dx = _IMAGES.run(grad, grid, size=node.inputs[0].shape[2:], **how)
    if node.edges[1] is not None:
        if still:
            dgrid = zeros(node.inputs[1].shape, dtype=grad.dtype, device=grad.device)
        else:
            dgrid = _GRID.run(grad, x, grid, **how)
    return dx, dgrid


def _images_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (grid,) = node.unpack()
    return _SAMPLE.run(grad, grid, **{k: v for k, v in node.meta.items() if k != "size"}), None


def _no_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    raise AssertionError("the grid's gradient is recorded by way of other functions")


_SAMPLE = Rule(ops.sample, _vjp, ((0, 1), (1, 0, 1)))
_IMAGES = Rule(ops.sample_images, _images_vjp, (1,))
_GRID = Rule(ops.sample_grid, _no_vjp)


def grid_sample(input: Tensor, grid: Tensor, mode: str, padding: str, align: bool) -> Tensor:
    """``input`` (N, C, *size) at the places ``grid`` (N, *points, d): (N, C, *points).

    Gradient: both; saves the grid, and for the grid's the input. Twice by the grid through other functions.
    """
    return _SAMPLE.run(input, grid, mode=mode, padding=padding, align=align)


# ------------------------------------------------------------------------- by differentiable functions


def _composed(x: Tensor, grid: Tensor, mode: str, padding: str, align: bool) -> Tensor:
    """The samples, of any mode but "nearest"."""
    dims, size = x.layout.ndim - 2, x.layout.shape[2:]
    flat = view.reshape(grid, (grid.shape[0], -1, dims))
    kept = "zeros" if mode == "bicubic" else padding
    at = [
        _unnormalised(view.select(flat, 2, dims - 1 - k), size[k], kept, align) for k in range(dims)
    ]
    if mode == "bicubic":
        out = _cubic_sample(x, at, padding, align)
    else:
        out = _linear_sample(x, at)
    return view.reshape(out, (*x.shape[:2], *grid.shape[1:-1]))


def _unnormalised(at: Tensor, size: int, padding: str, align: bool) -> Tensor:
    """Coordinates from -1 to 1 as those of a dimension, kept inside by ``padding``."""
    x = (at + 1) * ((size - 1) / 2) if align else ((at + 1) * size - 1) * 0.5
    return _inside(x, size, padding, align)


def _inside(x: Tensor, size: int, padding: str, align: bool) -> Tensor:
    if padding == "zeros":
        return x
    if padding == "reflection":
        low, span = (0.0, float(size - 1)) if align else (-0.5, float(size))
        if span == 0:
            return x * 0
        away = (x - low).abs()
        flips = (away.detach() / span).floor()
        over = away - flips * span
        x = (over + low).where(flips % 2 == 0, span - over + low)
    return x.clamp(0, size - 1)


def _read(x: Tensor, places: Sequence[Tensor]) -> Tensor:
    """``x`` (N, C, …) at whole places (N, M) per dimension; zero outside: (N, C, M)."""
    N, C, *size = x.shape
    flat: Tensor | None = None
    within: Tensor | None = None
    for n, place in zip(size, places, strict=True):
        good = (place >= 0) & (place < n)
        within = good if within is None else within & good
        at = place.clamp(0, n - 1).long()
        flat = at if flat is None else flat * n + at
    assert flat is not None and within is not None
    index = flat.unsqueeze(1).expand(N, C, flat.shape[1])
    found = x.reshape(N, C, -1).gather(2, index)
    return found * within.unsqueeze(1).to(x.dtype)


def _linear_sample(x: Tensor, at: Sequence[Tensor]) -> Tensor:
    """Between the corners of the cell of each place, by its distances."""
    lows = [a.detach().floor() for a in at]
    parts = [a - low for a, low in zip(at, lows, strict=True)]
    total: Tensor | None = None
    for corner in range(1 << len(at)):
        weight: Tensor | None = None
        places = []
        for axis, (low, part) in enumerate(zip(lows, parts, strict=True)):
            high = corner >> axis & 1
            share = part if high else 1 - part
            weight = share if weight is None else weight * share
            places.append(low + high)
        assert weight is not None
        term = _read(x, places) * weight.unsqueeze(1)
        total = term if total is None else total + term
    assert total is not None
    return total


def _cubic_weights(t: Tensor) -> list[Tensor]:
    a = -0.75
    far, near = t + 1, 1 - t
    return [
        (((far - 5) * far + 8) * far - 4) * a,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * near - (a + 3)) * near * near + 1,
        ((((near + 1) - 5) * (near + 1) + 8) * (near + 1) - 4) * a,
    ]


def _cubic_sample(x: Tensor, at: Sequence[Tensor], padding: str, align: bool) -> Tensor:
    lows = [a.detach().floor() for a in at]
    down, across = (_cubic_weights(a - low) for a, low in zip(at, lows, strict=True))
    total: Tensor | None = None
    for i, row in enumerate(down):
        for j, column in enumerate(across):
            places = [
                _inside(low + k - 1, n, padding, align)
                for low, k, n in zip(lows, (i, j), x.shape[2:], strict=True)
            ]
            term = _read(x, [p.round() for p in places]) * (row * column).unsqueeze(1)
            total = term if total is None else total + term
    assert total is not None
    return total
