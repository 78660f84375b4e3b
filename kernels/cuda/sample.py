"""Samples of images at the places of a grid, and their adjoints, without atomics.

An output is a thread, of the grid's gradient a point. Of the image's gradient a thread has a plane, which it
sums in the order of the points; see :mod:`tilegrad.kernels.cpu.sample`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, pointer, thread
from tilegrad.kernels.cuda.parts.strided import division, is_wide, magic
from tilegrad.kernels.cuda.run.jit import KernelFactory, Source, bind, kernel
from tilegrad.kernels.cuda.tuning import grid as grid_of
from tilegrad.kernels.formulas.sample import PADDINGS, TAPS, axis
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.window import Triple

Launch = Callable[..., None]


class Images(NamedTuple):
    """Attributes:
    total: threads that work. channels: with multiplier and shift that divide by it. inputs: elements of a
    plane. points: of an image, likewise. size0, size1, size2: of a plane. padding, align: of places.
    """

    total: int
    channels: int
    channels_multiplier: int
    channels_shift: int
    inputs: int
    points: int
    points_multiplier: int
    points_shift: int
    size0: int
    size1: int
    size2: int
    padding: int
    align: int


def _outermost(dtype: str, along: DeviceFunction, dims: int) -> DeviceFunction:
    """``along``, or of two dimensions what stands for the axis that is not there."""
    T = np.dtype(dtype).type

    @inline
    def flat(g, n, padding, align):
        return (np.int64(0),), (T(1),), (T(0),)

    return along if dims == 3 else flat


@kernel
def sample_points(dtype: str, mode: str, dims: int, wide: bool, threads: int) -> Source:
    """Parameters: x, grid, out, then the images."""
    T, K, along = np.dtype(dtype).type, TAPS[mode], axis(dtype, mode)
    outermost, planes, divide = (
        _outermost(dtype, along, dims),
        K if dims == 3 else 1,
        division(wide),
    )

    def sample_body(x, grid, out, of):
        e = block() * threads + thread()
        if e < of.total:
            plane = divide(e, of.points, of.points_multiplier, of.points_shift)
            n = divide(plane, of.channels, of.channels_multiplier, of.channels_shift)
            at = (n * of.points + e - plane * of.points) * dims
            places, source, start = pointer(grid, T), pointer(x, T), plane * of.inputs
            ix, wx, _ = along(places[at], of.size2, of.padding, of.align)
            iy, wy, _ = along(places[at + 1], of.size1, of.padding, of.align)
            iz, wz, _ = outermost(places[at + dims - 1], of.size0, of.padding, of.align)
            whole = T(0)
            for c in range(planes):
                for b in range(K):
                    for a in range(K):
                        if min(ix[a], iy[b], iz[c]) >= 0:
                            line = (iz[c] * of.size1 + iy[b]) * of.size2
                            whole += wx[a] * wy[b] * wz[c] * source[start + line + ix[a]]
            pointer(out, T)[e] = whole

    return Source(sample_body, ("iii", Images), threads)


@kernel
def sample_images_backward(dtype: str, mode: str, dims: int, wide: bool, threads: int) -> Source:
    """The image's gradient, a plane a thread; parameters: gradient of the output, grid, dx, then the images."""
    T, K, along = np.dtype(dtype).type, TAPS[mode], axis(dtype, mode)
    outermost, planes, divide = (
        _outermost(dtype, along, dims),
        K if dims == 3 else 1,
        division(wide),
    )

    def sum_plane(g, grid, dx, of):
        plane = block() * threads + thread()
        if plane < of.total:
            n = divide(plane, of.channels, of.channels_multiplier, of.channels_shift)
            places, grads, target = pointer(grid, T), pointer(g, T), pointer(dx, T)
            start = plane * of.inputs
            for i in range(of.inputs):
                target[start + i] = T(0)
            for q in range(of.points):
                at = (n * of.points + q) * dims
                ix, wx, _ = along(places[at], of.size2, of.padding, of.align)
                iy, wy, _ = along(places[at + 1], of.size1, of.padding, of.align)
                iz, wz, _ = outermost(places[at + dims - 1], of.size0, of.padding, of.align)
                value = grads[plane * of.points + q]
                for c in range(planes):
                    for b in range(K):
                        for a in range(K):
                            if min(ix[a], iy[b], iz[c]) >= 0:
                                line = start + (iz[c] * of.size1 + iy[b]) * of.size2 + ix[a]
                                target[line] += wx[a] * wy[b] * wz[c] * value

    return Source(sum_plane, ("iii", Images), threads)


@kernel
def sample_grid_backward(dtype: str, mode: str, dims: int, wide: bool, threads: int) -> Source:
    """The grid's gradient, a point a thread; parameters: gradient of the output, x, grid, dgrid, then the
    images.
    """
    T, K, along = np.dtype(dtype).type, TAPS[mode], axis(dtype, mode)
    outermost, planes, divide = (
        _outermost(dtype, along, dims),
        K if dims == 3 else 1,
        division(wide),
    )
    deep = dims == 3

    def sum_channels(g, x, grid, dgrid, of):
        e = block() * threads + thread()
        if e < of.total:
            n = divide(e, of.points, of.points_multiplier, of.points_shift)
            q, at = e - n * of.points, e * dims
            places, grads, source = pointer(grid, T), pointer(g, T), pointer(x, T)
            ix, wx, dx = along(places[at], of.size2, of.padding, of.align)
            iy, wy, dy = along(places[at + 1], of.size1, of.padding, of.align)
            iz, wz, dz = outermost(places[at + dims - 1], of.size0, of.padding, of.align)
            across, down, back = T(0), T(0), T(0)
            for c in range(planes):
                for b in range(K):
                    for a in range(K):
                        if min(ix[a], iy[b], iz[c]) >= 0:
                            line = (iz[c] * of.size1 + iy[b]) * of.size2 + ix[a]
                            whole = T(0)
                            for k in range(of.channels):
                                plane = n * of.channels + k
                                value = source[plane * of.inputs + line]
                                whole += grads[plane * of.points + q] * value
                            across += dx[a] * wy[b] * wz[c] * whole
                            down += wx[a] * dy[b] * wz[c] * whole
                            back += wx[a] * wy[b] * dz[c] * whole
            target = pointer(dgrid, T)
            target[at] = across
            target[at + 1] = down
            if deep:
                target[at + 2] = back

    return Source(sum_channels, ("iiii", Images), threads)


def _bound(
    factory: KernelFactory, total: int, dtype: str, batch: int, channels: int, size: Triple, points: int,
    dims: int, mode: str, padding: str, align: bool,
) -> Launch:  # fmt: skip
    inputs, threads = math.prod(size), grid_of("sample").bounds.threads
    wide = is_wide(batch * max(channels * inputs, channels * points, points * dims))
    where = PADDINGS.index(padding), int(align)
    of = Images._make(
        [total, channels, *magic(channels), inputs, points, *magic(points), *size, *where]
    )
    function = factory.build(dtype, mode, dims, wide, threads)
    return bind(function, *of, -(-total // threads), 1, 1)


def sample(
    dtype: str, batch: int, channels: int, size: Triple, points: int, dims: int, mode: str,
    padding: str, align: bool,
) -> Launch:  # fmt: skip
    """See :func:`tilegrad.kernels.cpu.sample.sample`."""
    return _bound(
        sample_points, batch * channels * points, dtype, batch, channels, size, points, dims, mode,
        padding, align,
    )  # fmt: skip


def sample_images(
    dtype: str, batch: int, channels: int, size: Triple, points: int, dims: int, mode: str,
    padding: str, align: bool,
) -> Launch:  # fmt: skip
    """See :func:`tilegrad.kernels.cpu.sample.sample_images`."""
    return _bound(
        sample_images_backward, batch * channels, dtype, batch, channels, size, points, dims, mode,
        padding, align,
    )  # fmt: skip


def sample_grid(
    dtype: str, batch: int, channels: int, size: Triple, points: int, dims: int, mode: str,
    padding: str, align: bool,
) -> Launch:  # fmt: skip
    """See :func:`tilegrad.kernels.cpu.sample.sample_grid`."""
    return _bound(
        sample_grid_backward, batch * points, dtype, batch, channels, size, points, dims, mode,
        padding, align,
    )  # fmt: skip
