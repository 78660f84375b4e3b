"""Elementwise loops over transposed operands: adjacent in memory along the output's columns, not its rows.

Row by row, each element of such an operand would load a cache line that is evicted before the next row
needs its neighbour. So the output is computed in tiles (cache blocking): the operand's part of a tile
is first packed, cache line by cache line, in the order of the output.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import TEAM, Kernel, bind, kernel
from tilegrad.kernels.cpu.simd.memory import local, pointer, read, write
from tilegrad.kernels.cpu.simd.vector import lanes, transpose
from tilegrad.kernels.cpu.tuning import Tiles
from tilegrad.kernels.dtypes import VECTORS, is_float, part_of
from tilegrad.kernels.function import DeviceFunction, function_from_source
from tilegrad.kernels.source import indented, listed

Sizes = tuple[int, ...]

_BODY = """
def map_tiles_body(task, {addresses}, {params}table, units, per):
    sizes = pointer(table, int64)
    outer, middle, inner = sizes[0], sizes[1], sizes[2]
{pointers}
    along, down = (inner + {columns} - 1) // {columns}, (middle + {rows} - 1) // {rows}
    for unit in range(task * per, min(units, (task + 1) * per)):
        above = unit // along
        rest = above // down
        column, row = (unit - above * along) * {columns}, (above - rest * down) * {rows}
        count, lines = min(inner - column, {columns}), min(middle - row, {rows})
{origins}
        for axis in range(outer - 1, -1, -1):
            above = rest // sizes[3 + axis]
            index = rest - above * sizes[3 + axis]
            rest = above
{steps}
{packed}
        for r in range(lines):
{hoisted}
            for i in range(count):
                write(out, {target}, formula({values}))
"""
# square blocks are transposed in registers: their rows are loaded together
_SQUARES = """
        whole{k} = lines - lines % {lanes}
        for i in range(0, count, {lanes}):
            for r in range(0, whole{k}, {lanes}):
                at = o{k} + i * s{k} + r
                transpose(x{k}, at, s{k}, min({lanes}, count - i), h{k}, r * {columns} + i, {columns})
"""
_SINGLE = """
        for i in range(count):
            for r in range({first}, lines):
                h{k}[r * {columns} + i] = read(x{k}, o{k} + i * s{k} + r)
"""


def _packing(k: int, dtype: str) -> str:
    """Source text that packs operand ``k``'s part of a tile in the order of the output."""
    if dtype not in VECTORS:
        return _SINGLE.format(k=k, first=0, columns=Tiles.columns)
    squares = _SQUARES.format(k=k, lanes=lanes(dtype), columns=Tiles.columns)
    return squares + _SINGLE.format(k=k, first=f"whole{k}", columns=Tiles.columns)


@kernel
def map_tiles(
    formula: DeviceFunction, dtypes: tuple[str, ...], pattern: str, params: int
) -> Kernel:
    """``out = formula(x, …, *params)``; ``dtypes`` names the output last.

    ``pattern`` has a letter per input: ``c``: consecutive along a row, ``s``: one value for a row,
    ``x``: consecutive from row to row. The output is consecutive along rows. A unit is a tile.
    Arguments: the operands' addresses, the params, the table ([outer dims, middle, inner, outer
    sizes…, then per operand its strides]), the number of units and the units per task.
    """
    last = len(dtypes) - 1
    kinds = {f"T{k}": np.dtype(d).type for k, d in enumerate(dtypes)}
    letter = "d" if is_float(dtypes[0]) else "i"
    places = {"c": "read(x{k}, q{k} + i)", "s": "v{k}", "x": "read(h{k}, r * {columns} + i)"}
    shape = {"rows": Tiles.rows, "columns": Tiles.columns}
    values = [places[pattern[k]].format(k=k, **shape) for k in range(last)]
    values += [f"T0(p{k})" for k in range(params)]
    scope = {"formula": formula, "pointer": pointer, "read": read, "write": write, **kinds}
    scope |= {"int64": np.int64, "transpose": transpose}
    indent = {"pointers": 4, "origins": 8, "steps": 12, "hoisted": 12}
    text: dict[str, list[str]] = {name: [] for name in indent}
    for k in range(last + 1):
        name, at = "out" if k == last else f"x{k}", f"3 + outer + {k} * (outer + 2)"
        text["pointers"].append(f"{name} = pointer(a{k}, T{k})")
        text["pointers"].append(f"r{k}, s{k} = sizes[{at} + outer], sizes[{at} + outer + 1]")
        text["origins"].append(f"o{k} = row * r{k} + column * s{k}")
        text["steps"].append(f"o{k} += index * sizes[{at} + axis]")
        text["hoisted"].append(f"q{k} = o{k} + r * r{k}")
        if pattern[k : k + 1] == "s":
            text["hoisted"].append(f"v{k} = read(x{k}, q{k})")
        if pattern[k : k + 1] == "x":
            text["pointers"].append(f"h{k} = packed{k}()")
            scope[f"packed{k}"] = local(dtypes[k], Tiles.rows * Tiles.columns)
    transposed = [k for k in range(last) if pattern[k] == "x"]
    source = _BODY.format(
        addresses=", ".join(f"a{k}" for k in range(last + 1)),
        params=listed(f"p{k}" for k in range(params)),
        packed="".join(_packing(k, dtypes[k]) for k in transposed),
        target=f"q{last} + i",
        values=", ".join(values),
        **shape,
        **{name: indented(text[name], indent[name]) for name in indent},
    )
    body = function_from_source(source, "map_tiles_body", scope)
    return body, "i" * (last + 1) + letter * params + "iii"


def pattern_of(dtypes: tuple[str, ...], sizes: Sizes, strides: tuple[Sizes, ...]) -> str | None:
    """The pattern of :func:`map_tiles`; None where no operand is transposed, tiles do not fit, or a
    tile of truths would be needed, which numba does not store in plain memory, or elements are complex.
    """
    if (
        any(part_of(d) != d for d in dtypes)
        or len(sizes) < 2
        or min(sizes[-2:]) < Tiles.least
        or strides[-1][-1] != 1
    ):
        return None
    letters = ""
    for dtype, (*_, down, along) in zip(dtypes, strides[:-1], strict=False):
        is_transposed = down == 1 and dtype != "bool"
        letters += "c" if along == 1 else "s" if along == 0 else "x" if is_transposed else "v"
    return letters if "x" in letters and "v" not in letters else None


def elementwise(
    formula: DeviceFunction, dtypes: tuple[str, ...], sizes: Sizes, strides: tuple[Sizes, ...],
    params: int, pattern: str,
) -> Callable[..., None]:  # fmt: skip
    """The launch of :func:`tilegrad.kernels.cpu.elementwise.elementwise` by tiles."""
    function = map_tiles.build(formula, dtypes, pattern, params)
    table = np.array([len(sizes) - 2, *sizes[-2:], *sizes[:-2], *sum(strides, ())], np.int64)
    units = -(-sizes[-1] // Tiles.columns) * -(-sizes[-2] // Tiles.rows)
    for size in sizes[:-2]:
        units *= size
    per, tasks = splitting.share(units, Tiles.rows * Tiles.columns, Tiles.grain, Tiles.tasks)
    sizing = (table.ctypes.data, units, per, tasks, TEAM if tasks > 1 else 0)
    return bind(function, *sizing, keep=table)
