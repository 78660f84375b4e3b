"""Elementwise kernels: one formula over broadcast, strided operands.

A thread computes groups of ``V`` elements that follow each other in the innermost dimension, so
that consecutive operands move 16 bytes at a time; the groups of neighbouring threads are neighbours
too. A pattern letter per operand says how it moves within a group: ``c`` consecutive, ``s`` one
value, ``v`` any stride. Outer dimensions are found by dividing the group's number, with multipliers
prepared on the host while that number stays below 2^31.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import (
    block,
    blocks,
    load_vector,
    multiply_wide,
    pointer,
    store_vector,
    thread,
)
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.strided import is_wide, magic
from tilegrad.kernels.cuda.run.jit import Source, bind, blocks_for, kernel
from tilegrad.kernels.cuda.tuning import GROUPS_AHEAD, grid
from tilegrad.kernels.dtypes import part_of
from tilegrad.kernels.formulas.pair import paired
from tilegrad.kernels.function import DeviceFunction, function_from_source, inline
from tilegrad.kernels.plans import access_pattern, in_parts, parameters
from tilegrad.kernels.source import indented, listed

BYTES = 16  # of a vector access

_BODY = """
def map_body({addresses}, {params}{dims}total):
{pointers}
    aligned = ({misaligned}) == 0
    groups = total // {V}
    group = block() * {threads} + thread()
    step = blocks() * {threads}
{ahead}
    while group < groups:
{one}
        group += step
{tail}
"""


@kernel
def map_groups(
    formula: DeviceFunction, dtypes: tuple[str, ...], pattern: str, params: int, dims: int,
    vector: int, wide: bool, bounds: Bounds, ahead: int,
) -> Source:  # fmt: skip
    """``out = formula(x, …, *params)``; ``dtypes`` and ``pattern`` name the output last.

    Parameters: the operands' addresses, the params, then per outer dimension, innermost first:
    size, multiplier and shift (:func:`tilegrad.kernels.cuda.parts.strided.magic`) of its size, and every
    operand's stride; before them the same of the innermost dimension counted in groups; last the
    number of elements.
    """
    count = len(dtypes)
    letters, given, numbers = parameters(dtypes[0], params)
    writer = _Writer(dtypes, pattern, numbers, dims, vector, wide, bounds.threads)
    names = [f"{n}{axis}" for axis in range(dims) for n in ("size", "m", "h")]
    names += [f"s{k}_{axis}" for axis in range(dims) for k in range(count)]
    masks = [
        f"(a{k} & {vector * np.dtype(d).itemsize - 1})"
        for k, d in enumerate(dtypes)
        if pattern[k] == "c" or part_of(d) != d
    ]
    simple = dims == 1
    source = _BODY.format(
        addresses=", ".join(f"a{k}" for k in range(count)),
        params=listed(given),
        dims=listed(names),
        pointers=indented([f"x{k} = pointer(a{k}, T{k})" for k in range(count)], 4),
        misaligned=" | ".join(masks) or "0",
        V=vector,
        threads=bounds.threads,
        ahead=writer.ahead(ahead) if simple else "",
        one=indented(writer.group("group"), 8),
        tail=writer.tail() if simple and vector > 1 else "",
    )
    stored = [
        "uint8" if d == "bool" else part_of(d) for d in dtypes
    ]  # numba-cuda cannot store a bool
    scope = {
        "formula": formula, "pointer": pointer, "thread": thread, "block": block, "blocks": blocks,
        "load": load_vector(vector), "store": store_vector(vector), "multiply_wide": multiply_wide,
        "element": read_element, "put": write_element, "paired": paired,
        **{f"T{k}": np.dtype(d).type for k, d in enumerate(stored)},
    }  # fmt: skip
    body = function_from_source(source, "map_body", scope, __name__)
    return Source(body, "i" * count + letters + "i" * (len(names) + 1), *bounds)


_load_pair, _store_pair = load_vector(2), store_vector(2)


@inline
def read_element(p, i):
    """The complex element ``i``, of whose parts ``p`` is the pointer, in one access."""
    pair = _load_pair(p, 2 * i)
    return paired(pair[0], pair[1])


@inline
def write_element(p, i, re, im):
    """The counterpart of :func:`read_element`."""
    _store_pair(p, 2 * i, (re, im))


class _Writer:
    """Writes the statements that handle one group of elements."""

    def __init__(
        self, dtypes: tuple[str, ...], pattern: str, numbers: list[str], dims: int, vector: int,
        wide: bool, threads: int,
    ) -> None:  # fmt: skip
        self.last = len(dtypes) - 1
        self.pattern, self.numbers, self.dims = pattern, numbers, dims
        self.planar = [part_of(d) != d for d in dtypes]
        self.vector, self.wide, self.threads = vector, wide, threads
        self.truths = [d == "bool" for d in dtypes]

    def offsets(self, group: str, tag: str) -> list[str]:
        """Where the operands' elements of ``group`` begin, as o<k><tag>."""
        V = self.vector
        places, lines = [], []
        rest = group
        for axis in range(self.dims):
            here = f"i{axis}{tag}"
            if axis == self.dims - 1:
                lines.append(f"{here} = {rest}")
            else:
                above = f"r{axis}{tag}"
                divide = f"{rest} // size{axis}"
                if not self.wide:
                    divide = f"multiply_wide({rest}, m{axis}) >> h{axis}"
                lines += [f"{above} = {divide}", f"{here} = {rest} - {above} * size{axis}"]
                rest = above
            places.append(here)
        for k, letter in enumerate(self.pattern):
            terms = []
            for axis, place in enumerate(places):
                if axis == 0:
                    if letter == "c":
                        terms.append(f"{place} * {V}")
                    elif letter == "v":
                        terms.append(f"{place} * {V} * s{k}_0")
                else:
                    terms.append(f"{place} * s{k}_{axis}")
            lines.append(f"o{k}{tag} = {' + '.join(terms) or '0'}")
        return lines

    def element(self, k: int, at: str) -> str:
        """The text of the element of operand ``k`` at an offset."""
        if not self.planar[k]:
            return f"x{k}[{at}]"
        apart = f"paired(x{k}[2 * ({at})], x{k}[2 * ({at}) + 1])"
        return f"(element(x{k}, {at}) if aligned else {apart})"

    def loads(self, tag: str) -> list[str]:
        """The operands' values, as v<k><tag>."""
        V, lines = self.vector, []
        for k in range(self.last):
            at, name = f"o{k}{tag}", f"v{k}{tag}"
            letter = self.pattern[k]
            if letter == "s":
                lines.append(f"{name} = {self.element(k, at)}")
            else:
                step = "" if letter == "c" else f" * s{k}_0"
                places = [f"{at} + {j}{step}" if j else at for j in range(V)]
                parts = ", ".join([self.element(k, place) for place in places])
                if letter == "c" and V > 1:
                    lines.append(f"{name} = load(x{k}, {at}) if aligned else ({parts},)")
                else:
                    lines.append(f"{name} = ({parts},)")
        return lines

    def value(self, operand: int, text: str) -> str:
        """What the formula gets for an element as it is stored."""
        return f"({text} != 0)" if self.truths[operand] else text

    def result(self, values: list[str]) -> str:
        """What is stored for the formula's value."""
        text = f"formula({', '.join(values)})"
        if self.planar[self.last]:
            return text
        return f"T{self.last}({text} != 0)" if self.truths[self.last] else f"T{self.last}({text})"

    def results(self, tag: str) -> list[str]:
        """Compute and store."""
        V, last, lines = self.vector, self.last, []
        for j in range(V):
            values = [
                self.value(k, f"v{k}{tag}" + ("" if self.pattern[k] == "s" else f"[{j}]"))
                for k in range(last)
            ]
            values += self.numbers
            lines.append(f"y{j}{tag} = {self.result(values)}")
        made = ", ".join(f"y{j}{tag}" for j in range(V))
        step = "" if self.pattern[last] == "c" else f" * s{last}_0"
        single = [f"x{last}[o{last}{tag} + {j}{step}] = y{j}{tag}" for j in range(V)]
        if self.planar[last]:  # one at a time
            at, y = f"o{last}{tag}", f"y0{tag}"
            apart = [f"x{last}[2 * ({at})] = {y}.real", f"x{last}[2 * ({at}) + 1] = {y}.imag"]
            whole = f"    put(x{last}, {at}, T{last}({y}.real), T{last}({y}.imag))"
            return [*lines, "if aligned:", whole, "else:", *("    " + line for line in apart)]
        if self.pattern[last] == "c" and V > 1:
            lines += ["if aligned:", f"    store(x{last}, o{last}{tag}, ({made}))", "else:"]
            single = ["    " + line for line in single]
        return lines + single

    def group(self, group: str) -> list[str]:
        """Everything for one group."""
        return [*self.offsets(group, ""), *self.loads(""), *self.results("")]

    def ahead(self, count: int) -> str:
        """A loop over ``count`` groups at a time, all loads first."""
        lines = [f"    while group + {count - 1} * step < groups:"]
        tags = [f"_{n}" for n in range(count)]
        for n, tag in enumerate(tags):
            lines += ["        " + x for x in self.offsets(f"(group + {n} * step)", tag)]
            lines += ["        " + x for x in self.loads(tag)]
        for tag in tags:
            lines += ["        " + x for x in self.results(tag)]
        return "\n".join([*lines, f"        group += {count} * step"])

    def tail(self) -> str:
        """The elements after the last whole group, one per thread of the first block."""
        last = self.last
        at = {"c": "place", "s": "0"}
        values = [
            self.value(k, f"x{k}[{at.get(self.pattern[k], f'place * s{k}_0')}]")
            for k in range(last)
        ] + self.numbers
        target = at["c"] if self.pattern[last] == "c" else f"place * s{last}_0"
        return (
            f"    place = groups * {self.vector} + block() * {self.threads} + thread()\n"
            f"    if place < total:\n"
            f"        x{last}[{target}] = {self.result(values)}"
        )


def _vector(
    dtypes: tuple[str, ...],
    pattern: str,
    sizes: tuple[int, ...],
    strides: tuple[tuple[int, ...], ...],
) -> int:
    """Elements of a group: what 16 bytes of the widest consecutive operand hold, if they fit."""
    widths = [np.dtype(d).itemsize for d, letter in zip(dtypes, pattern) if letter == "c"]
    if not widths or pattern[-1] != "c" or any(part_of(d) != d for d in dtypes):
        return 1
    V = BYTES // max(widths)
    outer = [s for steps, letter in zip(strides, pattern) if letter == "c" for s in steps[:-1]]
    if len(sizes) > 1 and (sizes[-1] % V or any(s % V for s in outer)):
        return 1
    return V if sizes[-1] >= V else 1


def _wrapped(value: float, kind: np.dtype) -> int:
    """An integer parameter as the operands' dtype holds it, modulo its range."""
    bits = 8 * kind.itemsize if kind.kind in "iu" else 64
    rest = int(value) & ((1 << bits) - 1)
    return rest - (1 << bits) if kind.kind == "i" and rest >> (bits - 1) else rest


def elementwise(
    formula: DeviceFunction,
    dtypes: tuple[str, ...],
    sizes: tuple[int, ...],
    strides: tuple[tuple[int, ...], ...],
    params: int = 0,
) -> Callable[..., None]:
    """A launch ``(*inputs, output, *params)``; see :func:`tilegrad.kernels.cpu.elementwise`."""
    total = math.prod(sizes)
    if total == 0:
        return lambda *args: None
    pattern = access_pattern(strides)
    V = _vector(dtypes, pattern, sizes, strides)
    groups = total // V
    wide = is_wide(total, *((sizes, steps) for steps in strides))
    chosen = grid("elementwise", dtypes[0])
    function = map_groups.build(
        formula, dtypes, pattern, params, len(sizes), V, wide, chosen.bounds, GROUPS_AHEAD
    )
    counts = [*sizes[:-1], sizes[-1] // V][::-1]
    shape = [number for n in counts for number in (n, *magic(n))]
    shape += [steps[-1 - axis] for axis in range(len(sizes)) for steps in strides]
    where = blocks_for(max(groups, 1), chosen.bounds.threads, chosen.blocks)
    if not params:
        return bind(function, *shape, total, where, 1, 1)

    kind = np.dtype(part_of(dtypes[0]))

    def launch(*args: float) -> None:
        given = (
            args
            if kind.kind == "f"
            else (*args[:-params], *(_wrapped(p, kind) for p in args[-params:]))
        )
        function(*given, *shape, total, where, 1, 1)

    return in_parts(launch, params) if part_of(dtypes[0]) != dtypes[0] else launch
