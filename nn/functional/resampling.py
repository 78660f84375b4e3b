"""Resampling of images: to other sizes, and at given places."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tilegrad.autograd.graph import called
from tilegrad.autograd.rules.creation import from_numpy
from tilegrad.autograd.rules.matmul import bmm
from tilegrad.autograd.rules.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from tilegrad.autograd.tensor import Tensor

MODES = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,),
    "bilinear": (2,), "bicubic": (2,), "trilinear": (3,),
}  # fmt: skip
LINEAR, CUBIC = ("linear", "bilinear", "trilinear"), ("bicubic",)
ANTIALIASED = ("bilinear", "bicubic")

Taps = tuple[tuple[np.ndarray, np.ndarray | None], ...]  # per tap: places, weights (None: 1)


def _cubic(x: float, a: float) -> float:
    """The cubic convolution kernel (Keys 1981)."""
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _step(size: int, out: int, align: bool, scale: float | None) -> float:
    """Input elements from one output to the next."""
    if align:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return 1.0 / scale if scale else size / out


@lru_cache(maxsize=1024)
def _taps(
    mode: str, size: int, out: int, align: bool, scale: float | None, antialias: bool, dtype: str
) -> Taps:
    """Which elements of a dimension make each output, and with what weights."""
    positions = np.arange(out)
    if mode.startswith("nearest"):
        single = np.float32(_step(size, out, False, scale))
        shift = np.float32(0.5 if mode == "nearest-exact" else 0.0)
        places = np.floor((positions.astype(np.float32) + shift) * single).astype(np.int64)
        return ((np.minimum(places, size - 1), None),)
    step = _step(size, out, align, scale)
    if antialias:
        return _wide_taps(mode, size, step, positions, dtype)
    kind = np.dtype(dtype).type
    at = positions.astype(kind) * kind(step)
    if not align:
        at = kind(step) * (positions.astype(kind) + kind(0.5)) - kind(0.5)
    if mode in LINEAR:
        at = np.maximum(at, kind(0))
        low = np.minimum(np.floor(at).astype(np.int64), size - 1)
        part = np.clip(at - low.astype(kind), kind(0), kind(1))
        return (low, 1 - part), (np.minimum(low + 1, size - 1), part)
    low = np.floor(at).astype(np.int64)
    part = at - low
    return tuple(
        (
            np.clip(low + k, 0, size - 1),
            np.array([_cubic(float(t) - k, -0.75) for t in part], kind),
        )
        for k in (-1, 0, 1, 2)
    )


def _wide_taps(mode: str, size: int, step: float, positions: np.ndarray, dtype: str) -> Taps:
    """Taps of a kernel as wide as an output's share of the input."""
    half = (2.0 if mode in CUBIC else 1.0) * max(step, 1.0)
    squeeze = 1.0 / step if step >= 1 else 1.0
    rows = []
    for o in positions:
        center = step * (o + 0.5)
        first = max(int(center - half + 0.5), 0)
        count = min(int(center + half + 0.5), size) - first
        distances = [(j + first - center + 0.5) * squeeze for j in range(count)]
        if mode in CUBIC:
            weights = [_cubic(x, -0.5) for x in distances]
        else:
            weights = [max(0.0, 1.0 - abs(x)) for x in distances]
        total = math.fsum(weights) or 1.0
        rows.append((first, [w / total for w in weights]))
    most = max(len(weights) for _, weights in rows)
    places = np.array([first for first, _ in rows], np.int64)
    table = np.array([w + [0.0] * (most - len(w)) for _, w in rows], dtype)
    return tuple((np.minimum(places + k, size - 1), table[:, k]) for k in range(most))


def _resize(x: Tensor, dim: int, taps: Taps) -> Tensor:
    """``x`` with dimension ``dim`` resampled."""
    total: Tensor | None = None
    after = (1,) * (x.ndim - dim - 1)
    for places, weights in taps:
        part = x.index_select(dim, from_numpy(places).to(x.device))
        if weights is not None:
            part = part * from_numpy(weights).to(x.device).reshape(-1, *after)
        total = part if total is None else total + part
    assert total is not None
    return total


def _sizes(
    input: Tensor, dims: int, size: int | Sequence[int] | None,
    scale_factor: float | Sequence[float] | None, recompute: bool | None,
) -> tuple[list[int], list[float | None]]:  # fmt: skip
    """(sizes of the output, scales that the positions follow from, None for the sizes' own)."""
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        found = [size] * dims if isinstance(size, int) else list(size)
        if len(found) != dims:
            raise ValueError(
                f"Input and output must have the same number of spatial dimensions, but got input with "
                f"spatial dimensions of {list(input.shape[2:])} and output size of {size}. Please "
                f"provide input tensor in (N, C, d1, d2, ...,dK) format and output size in "
                f"(o1, o2, ...,oK) format."
            )
        return [int(n) for n in found], [None] * dims
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    single = isinstance(scale_factor, (int, float))
    scales = [float(scale_factor)] * dims if single else [float(s) for s in scale_factor]  # type: ignore[arg-type,union-attr]
    if len(scales) != dims:
        raise ValueError(
            f"Input and scale_factor must have the same number of spatial dimensions, but got input "
            f"with spatial dimensions of {list(input.shape[2:])} and scale_factor of shape "
            f"{scale_factor}."
        )
    out = [math.floor(n * s) for n, s in zip(input.shape[2:], scales, strict=True)]
    return out, [None] * dims if recompute else list(scales)


def interpolate(
    input: Tensor, size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:  # fmt: skip
    """(N, C, …) with one to three spatial dimensions at other sizes.

    Args:
        size: of the output; or scale_factor: times the input's, rounded down.
        mode: "nearest", "nearest-exact", "area", "linear" (one dimension), "bilinear", "bicubic" (two) or
            "trilinear" (three).
        align_corners: corners fall on corners; else the borders of elements on borders.
        recompute_scale_factor: positions follow from the sizes alone, not from ``scale_factor``.
        antialias: of "bilinear" and "bicubic": shrinking averages over all that an output stands for.

    Raises:
        ValueError, NotImplementedError: arguments that do not go together.
    Gradient: the adjoint.
    """
    dims = input.ndim - 2
    if align_corners is not None and (mode.startswith("nearest") or mode == "area"):
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | "
            "bicubic | trilinear"
        )
    if antialias and not (mode in ANTIALIASED and input.ndim == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor "
            "as input"
        )
    out, scales = _sizes(input, dims, size, scale_factor, recompute_scale_factor)
    if mode not in MODES or dims not in MODES[mode]:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes: "
            f"nearest | linear | bilinear | bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    if min(out) <= 0 or 0 in input.shape[1:]:
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input {list(input.shape)} "
            f"output {out}"
        )
    if mode == "area":
        pool = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[dims - 1]
        return pool(input, out)
    if not (input.dtype.is_floating_point or mode.startswith("nearest")):
        raise NotImplementedError(f"interpolate: '{mode}' not implemented for '{input.dtype.name}'")
    x = input
    align, kind = bool(align_corners), input.dtype.name
    for axis in reversed(range(dims)):
        n = input.shape[2 + axis]
        if n == out[axis] and (align or not scales[axis] or scales[axis] == 1):
            continue
        x = _resize(x, 2 + axis, _taps(mode, n, out[axis], align, scales[axis], antialias, kind))
    stem = f"upsample_{mode.replace('-', '_')}{dims}d"
    return called(f"{stem}_aa" if antialias else stem, x.clone() if x is input else x)


def upsample(
    input: Tensor, size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """:func:`interpolate`, by its older name."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(
    input: Tensor, size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Tensor:  # fmt: skip
    """:func:`interpolate` with the mode "nearest", by an older name."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(
    input: Tensor, size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Tensor:  # fmt: skip
    """:func:`interpolate` with the mode "bilinear" and aligned corners, by an older name."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


# ---------------------------------------------------------------------------------- at given places

GRID_MODES, GRID_PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The places that affine maps (N, 2, 3) or (N, 3, 4) send an output of ``size`` (N, C, …) to:
    (N, …, 2 or 3), for :func:`grid_sample`.

    Raises:
        TypeError: theta is not floating point. ValueError, NotImplementedError: sizes do not fit.
    """
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=2,
        )
    if not theta.dtype.is_floating_point:
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    dims = len(size) - 2
    if dims not in (2, 3):
        raise NotImplementedError(
            f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
            f"Got size {size}"
        )
    if theta.ndim != 3 or tuple(theta.shape[-2:]) != (dims, dims + 1):
        raise ValueError(
            f"Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size {size}. "
            f"Got {tuple(theta.shape)}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    lines = []
    for n in size[2:]:
        line = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        lines.append(line if align_corners else line * ((n - 1) / n))
    places = np.meshgrid(*lines, indexing="ij")[::-1]
    points = np.stack([*(p.ravel() for p in places), np.ones(math.prod(size[2:]))], 1)
    base = from_numpy(points.astype(theta.dtype.name)).to(theta.device)
    many = base.unsqueeze(0).expand(theta.shape[0], *base.shape)
    made = bmm(many, theta.transpose(1, 2)).reshape(size[0], *size[2:], dims)
    return called("affine_grid_generator", made)


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


def _read(x: Tensor, places: Sequence[Tensor], padding: str) -> Tensor:
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


def _linear_sample(x: Tensor, at: Sequence[Tensor], padding: str) -> Tensor:
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
        term = _read(x, places, padding) * weight.unsqueeze(1)
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
            term = _read(x, [p.round() for p in places], padding) * (row * column).unsqueeze(1)
            total = term if total is None else total + term
    assert total is not None
    return total


def _check_grid(input: Tensor, grid: Tensor, mode: str) -> None:
    """RuntimeError for shapes and dtypes that do not fit."""
    dims = input.ndim - 2
    if dims not in (2, 3) or grid.ndim != input.ndim or grid.shape[-1] != dims:
        raise RuntimeError(
            f"grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, and size "
            f"{dims} in the grid's last dimension; got input with sizes {list(input.shape)} and grid with "
            f"sizes {list(grid.shape)}"
        )
    if grid.shape[0] != input.shape[0] or grid.dtype is not input.dtype:
        raise RuntimeError(
            f"grid_sampler(): expected grid and input to have same batch size and dtype, but got input "
            f"with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if 0 in input.shape[2:]:
        raise RuntimeError(
            f"grid_sampler(): expected input to have non-empty spatial dimensions, but got "
            f"{list(input.shape)}"
        )
    if mode == "bicubic" and dims == 3:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")


def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """``input`` (N, C, H, W) at the places ``grid`` (N, H', W', 2), (x, y) from -1 to 1: (N, C, H', W');
    with three dimensions (N, D', H', W', 3) likewise.

    Args:
        mode: "bilinear" (between the corners of a cell), "nearest" or, of two dimensions, "bicubic".
        padding_mode: what is outside: "zeros", "border" or "reflection".
        align_corners: -1 and 1 are the centers of the corner elements; else their outer borders.

    Raises:
        ValueError: an unknown mode. RuntimeError: shapes do not fit.
    Gradient: both.
    """
    if mode not in GRID_MODES:
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but "
            f"got: '{mode}'"
        )
    if padding_mode not in GRID_PADDINGS:
        raise ValueError(
            f"nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=2,
        )
    _check_grid(input, grid, mode)
    dims, align = input.ndim - 2, bool(align_corners)
    N, C, *size = input.shape
    flat = grid.reshape(N, -1, dims)
    kept = "zeros" if mode == "bicubic" else padding_mode
    at = [
        _unnormalised(flat[:, :, dims - 1 - axis], size[axis], kept, align) for axis in range(dims)
    ]
    if mode == "nearest":
        out = _read(input, [a.detach().round() for a in at], padding_mode)
    elif mode == "bicubic":
        out = _cubic_sample(input, at, padding_mode, align)
    else:
        out = _linear_sample(input, at, padding_mode)
    return called(f"grid_sampler_{dims}d", out.reshape(N, C, *grid.shape[1:-1]))
