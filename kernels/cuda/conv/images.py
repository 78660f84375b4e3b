"""Tile iterators over images: the operands of convolutions as matrices that are never stored.

A pixel is a position of a result or an image, numbered through a batch: ``n * P + p``. A row of
weights is numbered ``channel * taps + tap``. An iterator divides such numbers, with multipliers that
the host prepared, and checks that the position lies in the image (the im2col of an implicit GEMM).
"""

from __future__ import annotations

import math

from tilegrad.kernels.cuda.device.shapes import Tile
from tilegrad.kernels.cuda.parts.strided import magic
from tilegrad.kernels.cuda.parts.tiled_gemm import TileIterator
from tilegrad.kernels.window import Window


def _divided(n: str, what: str, by: str) -> str:
    """``what // by``, where ``by`` is a parameter with its multiplier and shift."""
    return f"(multiply_wide({what}, {n}_{by}_m) >> {n}_{by}_h)"


def _by(name: str) -> tuple[str, str, str]:
    """The names of a number that things are divided by."""
    return name, f"{name}_m", f"{name}_h"


def _and_magic(number: int) -> tuple[int, int, int]:
    return number, *magic(number)


class _Image(TileIterator):
    """What iterators over an image of ``dims`` dimensions have in common."""

    def __init__(
        self, name: str, tile: Tile, along: str, size: int, dims: int, pointwise: bool, V: int = 1
    ):
        super().__init__(name, tile, along, V, size)
        self.axes = range(3 - dims, 3)
        self.pointwise = pointwise

    def _split(self, number: str, sizes: str, tag: str) -> list[str]:
        """The coordinates ``<sizes><axis>{tag}`` of a position, last axis fastest."""
        n, lines, rest = self.name, [], number
        for axis in reversed(self.axes):
            here = f"{n}_{sizes}{axis}{tag}"
            if axis == self.axes[0]:
                lines.append(f"{here} = {rest}")
            else:
                above = f"{n}_above{axis}"
                lines.append(f"{above} = {_divided(n, rest, f'{sizes}{axis}')}")
                lines.append(f"{here} = {rest} - {above} * {n}_{sizes}{axis}")
                rest = above
        return lines

    def _inside(self, tag: str) -> tuple[str, str]:
        """(offset in a plane of the place <n>_at<axis>{tag}, condition that it lies there)."""
        n = self.name
        offset = ""
        for axis in self.axes:
            position = f"{n}_at{axis}{tag}"
            offset = f"({offset}) * {n}_size{axis} + {position}" if offset else position
        found = [f"0 <= {n}_at{a}{tag} and {n}_at{a}{tag} < {n}_size{a}" for a in self.axes]
        return offset, " and ".join(found)


_AXES = [(f"out{a}", f"kernel{a}") for a in range(3)]
_GEOMETRY = tuple(
    f"{what}{a}" for a in range(3) for what in ("size", "stride", "before", "dilation")
)
_COUNTS = tuple(
    x for a in range(3) for name in _AXES[a] for x in _by(name)
)  # sizes of the result and of the kernel


def _geometry(window: Window) -> list[int]:
    flat: list[int] = []
    for axis in range(3):
        flat += [window.size[axis], window.stride[axis], window.before[axis], window.dilation[axis]]
    return flat


def _counts(out: tuple[int, ...], kernel: tuple[int, ...]) -> list[int]:
    return [v for a in range(3) for size in (out[a], kernel[a]) for v in _and_magic(size)]


class Pixels(_Image):
    """Columns are pixels of the result; k runs over channels and taps of the image behind them.

    ``way``: "forward", place = pixel * stride + tap * dilation - before, or "backward", its inverse:
    place = (pixel + before - tap * dilation) / stride where that divides.
    """

    names = (
        "image", "plane", *_by("pixels"), *_by("taps"), *_GEOMETRY, *_COUNTS,
        *(x for a in range(3) for x in _by(f"step{a}")),
    )  # fmt: skip

    def __init__(self, tile: Tile, size: int, dims: int, pointwise: bool, way: str, strided: bool):
        super().__init__("y", tile, "lane", size, dims, pointwise)
        self.way, self.strided = way, strided

    def begin(self) -> list[str]:
        n, lines = self.name, [f"{self.name}_now = i32(first + {self.name}_slow)"]
        for i in range(self.shares):
            tag = f"_{i}"
            lines += [
                f"{n}_lane = {self.lane(i)}",
                f"{n}_item = {_divided(n, f'{n}_lane', 'pixels')}",
                f"{n}_base{i} = {n}_address + {self.size} * (y_offset(item, params) + "
                f"{n}_item * {n}_image)",
                *self._split(f"({n}_lane - {n}_item * {n}_pixels)", "out", tag),
            ]
            for axis in self.axes:
                pixel = f"{n}_out{axis}{tag}"
                start = f"{pixel} * {n}_stride{axis} - {n}_before{axis}"
                if self.way == "backward":
                    start = f"{pixel} + {n}_before{axis}"
                lines.append(f"{n}_from{axis}{tag} = i32({start})")
        return lines

    def advance(self) -> list[str]:
        return [f"{self.name}_now = i32({self.name}_now + {self.BK})"]

    def locate(self, i: int) -> list[str]:
        n, tag = self.name, f"_{i % self.shares}"
        k = f"({n}_now + {self.vector_offset(i)[1]})"
        lines = []
        if self.pointwise:
            lines.append(f"{n}_channel = {k}")
        else:
            lines += [
                f"{n}_channel = {_divided(n, k, 'taps')}",
                *self._split(f"({k} - {n}_channel * {n}_taps)", "kernel", "_t"),
            ]
        divides = []
        for axis in self.axes:
            position = f"{n}_from{axis}{tag}"
            if not self.pointwise:
                sign = "-" if self.way == "backward" else "+"
                position = f"{position} {sign} {n}_kernel{axis}_t * {n}_dilation{axis}"
            lines.append(f"{n}_at{axis} = {position}")
            if self.way == "backward" and self.strided:
                whole = f"{n}_whole{axis}"
                lines += [
                    f"{whole} = {_divided(n, f'max(0, {n}_at{axis})', f'step{axis}')}",
                    f"{n}_fits{axis} = {whole} * {n}_step{axis} == {n}_at{axis}",
                    f"{n}_at{axis} = {whole}",
                ]
                divides.append(f"{n}_fits{axis}")
        offset, inside = self._inside("")
        lines += [
            f"{n}_offset_now = {n}_channel * {n}_plane + {offset}",
            f"{n}_inside = {' and '.join([inside, *divides])}",
        ]
        return lines

    def value(self, i: int) -> tuple[str, str]:
        n = self.name
        return self.load(f"{n}_base{i % self.shares}", f"{n}_offset_now"), f"{n}_inside"


def pixels_params(way: str, image: int, plane: int, window: Window) -> list[int]:
    """The parameters of :class:`Pixels`: elements of an item and of a channel of what is read."""
    read, made = (window.size, window.out) if way == "forward" else (window.out, window.size)
    turned = window._replace(size=read)
    flat = [image, plane, *_and_magic(math.prod(made)), *_and_magic(math.prod(window.kernel))]
    flat += _geometry(turned) + _counts(made, window.kernel)
    return flat + [v for a in range(3) for v in _and_magic(window.stride[a])]


class Rows(TileIterator):
    """Rows are channels of an image, k its pixels through the batch, neighbours in memory."""

    names = ("image", "plane", *_by("pixels"))

    def __init__(self, tile: Tile, size: int, V: int):
        super().__init__("x", tile, "k", V, size)

    def begin(self) -> list[str]:
        n = self.name
        lines = [f"{n}_now = i32(first + {n}_fast)"]
        return lines + [
            f"{n}_at{i} = {n}_address + {self.size} * (x_offset(item, params) + "
            f"{self.lane(i)} * {n}_plane)"
            for i in range(self.count)
        ]

    def advance(self) -> list[str]:
        return [f"{self.name}_now = i32({self.name}_now + {self.BK})"]

    def prepare(self) -> list[str]:
        n = self.name
        return [
            f"{n}_item = {_divided(n, f'{n}_now', 'pixels')}",
            f"{n}_here = {n}_item * {n}_image + ({n}_now - {n}_item * {n}_pixels)",
        ]

    def value(self, i: int) -> tuple[str, str]:
        return self.load(f"{self.name}_at{i}", f"{self.name}_here"), ""


def rows_params(image: int, plane: int) -> list[int]:
    """The parameters of :class:`Rows`: elements of an item and of a channel."""
    return [image, plane, *_and_magic(plane)]


class Taps(_Image):
    """Columns are the channels and taps of a weight, k the pixels of the result through the batch."""

    names = ("image", "plane", *_by("pixels"), *_by("taps"), *_GEOMETRY, *_COUNTS)

    def __init__(self, tile: Tile, size: int, dims: int, pointwise: bool):
        super().__init__("y", tile, "k", size, dims, pointwise)

    def begin(self) -> list[str]:
        n, lines = self.name, [f"{self.name}_now = i32(first + {self.name}_fast)"]
        for i in range(self.count):
            lines.append(f"{n}_lane = {self.lane(i)}")
            lines.append(f"{n}_channel = {_divided(n, f'{n}_lane', 'taps')}")
            lines += self._split(f"({n}_lane - {n}_channel * {n}_taps)", "kernel", "_t")
            lines.append(
                f"{n}_base{i} = {n}_address + {self.size} * (y_offset(item, params) + "
                f"{n}_channel * {n}_plane)"
            )
            for axis in self.axes:
                lines.append(
                    f"{n}_shift{axis}_{i} = i32({n}_kernel{axis}_t * {n}_dilation{axis} - {n}_before{axis})"
                )
        return lines

    def advance(self) -> list[str]:
        return [f"{self.name}_now = i32({self.name}_now + {self.BK})"]

    def prepare(self) -> list[str]:
        n = self.name
        lines = [
            f"{n}_item = {_divided(n, f'{n}_now', 'pixels')}",
            *self._split(f"({n}_now - {n}_item * {n}_pixels)", "out", "_k"),
        ]
        for axis in self.axes:
            lines.append(f"{n}_from{axis} = {n}_out{axis}_k * {n}_stride{axis}")
        return lines

    def locate(self, i: int) -> list[str]:
        n = self.name
        lines = [f"{n}_at{a} = {n}_from{a} + {n}_shift{a}_{i}" for a in self.axes]
        offset, inside = self._inside("")
        return [
            *lines,
            f"{n}_offset_now = {n}_item * {n}_image + {offset}",
            f"{n}_inside = {inside}",
        ]

    def value(self, i: int) -> tuple[str, str]:
        n = self.name
        return self.load(f"{n}_base{i}", f"{n}_offset_now"), f"{n}_inside"


def taps_params(image: int, plane: int, window: Window) -> list[int]:
    """The parameters of :class:`Taps`: elements of an item and of a channel of the image."""
    flat = [image, plane, *_and_magic(math.prod(window.out)), *_and_magic(math.prod(window.kernel))]
    return flat + _geometry(window) + _counts(window.out, window.kernel)
