"""Samples of images at the places of a grid, and their adjoints.

Points are located a block at a time: of each the elements and weights along every axis, then of every corner.
Images are gathered channel by channel. The image's gradient is summed plane by plane in the order of the points,
so that results do not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.run import jit, splitting
from tilegrad.kernels.cpu.run.jit import Kernel, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import local, offset, pointer, read, write
from tilegrad.kernels.cpu.tuning import Resample
from tilegrad.kernels.formulas.sample import PADDINGS, TAPS, axis
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.window import Triple

Launch = Callable[..., None]


class Images(NamedTuple):
    """Attributes:
    batch, channels: of the images; inputs: elements of a plane. points: of an image; per: of a task.
    size0, size1, size2: of a plane; an axis that is not there is the first, of size 1. padding, align: of places.
    """

    batch: int
    channels: int
    inputs: int
    points: int
    per: int
    size0: int
    size1: int
    size2: int
    padding: int
    align: int


def _locator(dtype: str, mode: str, dims: int) -> DeviceFunction:
    """The device function ``locate(grid, count, of, index, weight, slopes, sloped)``: of ``count`` points the element
    of each corner (-1 outside) and its weight, and with ``sloped`` the weight's derivatives by the coordinates;
    a corner, or a coordinate of it, is a row of :data:`Resample.points`.
    """
    B, K, along = Resample.points, TAPS[mode], axis(dtype, mode)
    T, deep = np.dtype(dtype).type, dims == 3

    @inline
    def flat(g, n, padding, align):
        return (np.int64(0),), (T(1),), (T(0),)

    outermost, planes = (along, K) if deep else (flat, 1)

    @inline
    def locate(grid, count, of, index, weight, slopes, sloped):
        for q in range(count):
            at = q * dims
            ix, wx, dx = along(grid[at], of.size2, of.padding, of.align)
            iy, wy, dy = along(grid[at + 1], of.size1, of.padding, of.align)
            iz, wz, dz = outermost(grid[at + dims - 1], of.size0, of.padding, of.align)
            corner = 0
            for c in range(planes):
                for b in range(K):
                    for a in range(K):
                        place = (iz[c] * of.size1 + iy[b]) * of.size2 + ix[a]
                        if min(ix[a], iy[b], iz[c]) < 0:
                            place = np.int64(-1)
                        index[corner * B + q] = place
                        weight[corner * B + q] = wx[a] * wy[b] * wz[c]
                        if sloped:
                            row = corner * dims * B + q
                            slopes[row] = dx[a] * wy[b] * wz[c]
                            slopes[row + B] = wx[a] * dy[b] * wz[c]
                            if deep:
                                slopes[row + 2 * B] = wx[a] * wy[b] * dz[c]
                        corner += 1

    return locate


@kernel
def sample_points(dtype: str, mode: str, dims: int) -> Kernel:
    """Arguments: x, grid, out."""
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize
    B, corners = Resample.points, TAPS[mode] ** dims
    locate = _locator(dtype, mode, dims)
    make_index, make_weight = local("int64", corners * B), local(dtype, corners * B)
    make_sums = local(dtype, B)

    def body(task, x_, grid_, out_, of):
        each = (of.points + of.per - 1) // of.per
        n, start = task // each, task % each * of.per
        index, weight, sums = make_index(), make_weight(), make_sums()
        for first in range(start, min(start + of.per, of.points), B):
            count = min(B, min(start + of.per, of.points) - first)
            grid = pointer(grid_ + size * (n * of.points + first) * dims, T)
            locate(grid, count, of, index, weight, weight, False)
            for c in range(of.channels):
                plane = n * of.channels + c
                x = pointer(x_ + size * plane * of.inputs, T)
                out = pointer(out_ + size * (plane * of.points + first), T)
                for q in range(count):
                    write(sums, q, T(0))
                for k in range(corners):
                    at, by = offset(index, k * B), offset(weight, k * B)
                    for q in range(count):
                        place = read(at, q)
                        value = read(x, place if place > 0 else 0)
                        part = read(by, q) * value if place >= 0 else T(0)
                        write(sums, q, sums[q] + part)
                for q in range(count):
                    write(out, q, sums[q])

    return body, ("iii", Images)


@kernel
def sample_images_backward(dtype: str, mode: str, dims: int) -> Kernel:
    """The image's gradient; arguments: gradient of the output, grid, dx. A task is ``per`` channels of one
    image.
    """
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize
    B, corners = Resample.points, TAPS[mode] ** dims
    locate = _locator(dtype, mode, dims)
    make_index, make_weight = local("int64", corners * B), local(dtype, corners * B)

    def body(task, g_, grid_, dx_, of):
        each = (of.channels + of.per - 1) // of.per
        n, start = task // each, task % each * of.per
        end = min(start + of.per, of.channels)
        index, weight = make_index(), make_weight()
        dx = pointer(dx_ + size * (n * of.channels + start) * of.inputs, T)
        for i in range((end - start) * of.inputs):
            write(dx, i, T(0))
        for first in range(0, of.points, B):
            count = min(B, of.points - first)
            grid = pointer(grid_ + size * (n * of.points + first) * dims, T)
            locate(grid, count, of, index, weight, weight, False)
            for c in range(start, end):
                plane = n * of.channels + c
                dx = pointer(dx_ + size * plane * of.inputs, T)
                g = pointer(g_ + size * (plane * of.points + first), T)
                for q in range(count):
                    for k in range(corners):
                        place = index[k * B + q]
                        if place >= 0:
                            dx[place] += weight[k * B + q] * g[q]

    return body, ("iii", Images)


@kernel
def sample_grid_backward(dtype: str, mode: str, dims: int) -> Kernel:
    """The grid's gradient; arguments: gradient of the output, x, grid, dgrid."""
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize
    B, corners = Resample.points, TAPS[mode] ** dims
    locate = _locator(dtype, mode, dims)
    make_index, make_weight = local("int64", corners * B), local(dtype, corners * B)
    make_slopes, make_sums = local(dtype, corners * dims * B), local(dtype, B)

    def body(task, g_, x_, grid_, dgrid_, of):
        each = (of.points + of.per - 1) // of.per
        n, start = task // each, task % each * of.per
        index, weight, slopes, sums = make_index(), make_weight(), make_slopes(), make_sums()
        for first in range(start, min(start + of.per, of.points), B):
            count = min(B, min(start + of.per, of.points) - first)
            place_of = size * (n * of.points + first) * dims
            grid, dgrid = pointer(grid_ + place_of, T), pointer(dgrid_ + place_of, T)
            locate(grid, count, of, index, weight, slopes, True)
            for i in range(count * dims):
                dgrid[i] = T(0)
            for k in range(corners):
                at = offset(index, k * B)
                for q in range(count):
                    write(sums, q, T(0))
                for c in range(of.channels):
                    plane = n * of.channels + c
                    x = pointer(x_ + size * plane * of.inputs, T)
                    g = pointer(g_ + size * (plane * of.points + first), T)
                    for q in range(count):
                        place = read(at, q)
                        value = read(x, place if place > 0 else 0)
                        part = read(g, q) * value if place >= 0 else T(0)
                        write(sums, q, sums[q] + part)
                for d in range(dims):
                    by = offset(slopes, (k * dims + d) * B)
                    for q in range(count):
                        dgrid[q * dims + d] += by[q] * sums[q]

    return body, ("iiii", Images)


def _images(
    batch: int, channels: int, size: Triple, points: int, per: int, padding: str, align: bool
) -> Images:
    where = PADDINGS.index(padding), int(align)
    return Images(batch, channels, math.prod(size), points, per, *size, *where)


def _blocks(batch: int, channels: int, points: int) -> tuple[int, int, int]:
    """(points of a task, tasks, threads)."""
    blocks = -(-points // Resample.points)
    per, tasks = splitting.share(blocks, Resample.points * channels, Resample.grain)
    small = splitting.serial(batch * points * channels, 2 * Resample.grain)
    return per * Resample.points, tasks * batch, 0 if small else TEAM


def sample(
    dtype: str, batch: int, channels: int, size: Triple, points: int, dims: int, mode: str,
    padding: str, align: bool,
) -> Launch:  # fmt: skip
    """Prepare ``launch(x, grid, out)``: x (batch, channels, *size), grid (batch, points, dims), out (batch,
    channels, points). ``mode``: "bilinear", "nearest" or "bicubic"; ``padding``: "zeros", "border" or
    "reflection".
    """
    if jit.backward_follows():
        sample_images_backward.begin(dtype, mode, dims)
    per, tasks, threads = _blocks(batch, channels, points)
    function = sample_points.build(dtype, mode, dims)
    return bind(
        function, *_images(batch, channels, size, points, per, padding, align), tasks, threads
    )


def sample_images(
    dtype: str, batch: int, channels: int, size: Triple, points: int, dims: int, mode: str,
    padding: str, align: bool,
) -> Launch:  # fmt: skip
    """Prepare ``launch(g, grid, dx)``, the adjoint of :func:`sample` in x."""
    work = points * TAPS[mode] ** dims
    per, tasks = splitting.share(channels, work, Resample.grain)
    small = splitting.serial(batch * channels * work, 2 * Resample.grain)
    function = sample_images_backward.build(dtype, mode, dims)
    of = _images(batch, channels, size, points, per, padding, align)
    return bind(function, *of, tasks * batch, 0 if small else TEAM)


def sample_grid(
    dtype: str, batch: int, channels: int, size: Triple, points: int, dims: int, mode: str,
    padding: str, align: bool,
) -> Launch:  # fmt: skip
    """Prepare ``launch(g, x, grid, dgrid)``: the gradient by the grid of :func:`sample`."""
    per, tasks, threads = _blocks(batch, channels, points)
    function = sample_grid_backward.build(dtype, mode, dims)
    return bind(
        function, *_images(batch, channels, size, points, per, padding, align), tasks, threads
    )
