"""Resampling of images: to other sizes, and at given places."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from tilegrad.autograd.graph import Node, called
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules.creation import from_numpy
from tilegrad.autograd.rules.matmul import bmm
from tilegrad.autograd.rules.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from tilegrad.autograd.rules.resample import resample
from tilegrad.autograd.rules.sample import grid_sample as sample
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.shape import as_indices, spread

MODES = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,),
    "bilinear": (2,), "bicubic": (2,), "trilinear": (3,),
}  # fmt: skip
ANTIALIASED = ("bilinear", "bicubic")


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
        found = spread(int(size) if isinstance(size, Tensor) else size, dims)
        if len(found) != max(dims, 0):
            raise ValueError(
                f"Input and output must have the same number of spatial dimensions, but got input with "
                f"spatial dimensions of {list(input.shape[2:])} and output size of {size}. Please "
                f"provide input tensor in (N, C, d1, d2, ...,dK) format and output size in "
                f"(o1, o2, ...,oK) format."
            )
        return list(as_indices("interpolate", found, "output_size")), [None] * dims
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    scales = [float(s) for s in spread(scale_factor, dims)]
    if len(scales) != max(dims, 0):
        raise ValueError(
            f"Input and scale_factor must have the same number of spatial dimensions, but got input "
            f"with spatial dimensions of {list(input.shape[2:])} and scale_factor of shape "
            f"{scale_factor}."
        )
    out = [math.floor(n * s) for n, s in zip(input.shape[2:], scales, strict=True)]
    if max(out, default=0) >> 63 > 0:
        raise RuntimeError(
            f"interpolate: value cannot be converted to type int64_t without overflow; got {out}"
        )
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
    align, stem = bool(align_corners), f"upsample_{mode.replace('-', '_')}{dims}d"
    same = [
        n == m and (align or not s or s == 1)
        for n, m, s in zip(input.shape[2:], out, scales, strict=True)
    ]
    made = input.clone() if all(same) else resample(input, mode, out, align, scales, antialias)
    return called(f"{stem}_aa" if antialias else stem, made)


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
    sizes, align = as_indices("affine_grid_generator", size, "size"), bool(align_corners)
    places = _image_places(sizes, align, theta.detach())
    made = bmm(places, theta.detach().transpose(1, 2)).reshape(size[0], *size[2:], dims)
    return _AFFINE_GRID.record((theta,), made, (sizes, align))


def _image_places(size: tuple[int, ...], align: bool, like: Tensor) -> Tensor:
    """The elements' places in an image of ``size``, from -1 to 1, with a one: (N, elements, 3 or 4)."""
    lines = []
    for n in size[2:]:
        line = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        lines.append(line if align else line * ((n - 1) / n))
    places = np.meshgrid(*lines, indexing="ij")[::-1]
    points = np.stack([*(p.ravel() for p in places), np.ones(math.prod(size[2:]))], 1)
    base = from_numpy(points.astype(like.dtype.name)).to(like.device)
    return base.unsqueeze(0).expand(like.shape[0], *base.shape)


def _affine_grid_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    size, align = node.meta
    places = _image_places(size, align, grad.detach())
    flat = grad.reshape(grad.shape[0], -1, grad.shape[-1])
    return (bmm(flat.transpose(1, 2), places),)


_AFFINE_GRID = Rule("affine_grid_generator", _affine_grid_vjp)


def _check_grid(input: Tensor, grid: Tensor, mode: str) -> None:
    """RuntimeError for shapes and dtypes that do not fit."""
    if not input.dtype.has_gradient:
        raise NotImplementedError(f"\"grid_sampler\" not implemented for '{input.dtype.name}'")
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
    made = sample(input, grid, mode, padding_mode, bool(align_corners))
    return called(f"grid_sampler_{input.ndim - 2}d", made)
