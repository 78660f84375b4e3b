"""Elementwise loops: one formula over broadcast, strided operands.

The engine hands over operands whose dimensions are already merged as far as their strides allow.
The innermost dimension gets a loop whose strides are compile-time facts where they matter
(``c``: consecutive, ``s``: one value for the whole row, ``v``: any stride), so that LLVM vectorises
it; outer dimensions are walked through a table of sizes and strides.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.parts import transposed
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, bind, get_num_threads, kernel
from tilegrad.kernels.cpu.simd.emit import interleaved
from tilegrad.kernels.cpu.simd.memory import pointer, read, write
from tilegrad.kernels.cpu.tuning import Elementwise
from tilegrad.kernels.dtypes import part_of
from tilegrad.kernels.formulas.pair import paired
from tilegrad.kernels.function import (
    DeviceFunction,
    arithmetic,
    function_from_source,
    inline,
    steps,
)
from tilegrad.kernels.plans import access_pattern, in_parts, parameters
from tilegrad.kernels.source import indented, listed

# the loop nest of one task; {…} are filled per number of operands and access pattern
_BODY = """
def map_rows_body(task, {addresses}, {params}table, total, chunk):
    sizes = pointer(table, int64)
{pointers}
    outer, inner = sizes[0], sizes[1]
    position = task * chunk
    end = min(total, position + chunk)
    row = position // inner
    column = position - row * inner
    while position < end:
        rest = row
{origins}
        for axis in range(outer - 1, -1, -1):
            above = rest // sizes[2 + axis]
            index = rest - above * sizes[2 + axis]
            rest = above
{steps}
        count = min(inner - column, end - position)
{hoisted}
{loop}
        position += count
        row += 1
        column = 0
"""

_LOOP = """
for i in range({first}, count):
{store}
"""
_STORE = "write(out, {target}, {function}({values}))"
# a complex element is two of its parts
_STORE_PARTS = """\
y = {function}({values})
write(out, 2 * ({target}), y.real)
write(out, 2 * ({target}) + 1, y.imag)
"""
# of a long formula
_INTERLEAVED = """
most = count // {unit} * {unit}
interleaved({function}_at, most, ({arguments}))
"""
# of a formula with a cheaper twin (tilegrad.kernels.function.mostly)
_MOSTLY = """
common = True
for i in range(count):
    common &= when({values})
if common:
{near}
else:
{formula}
"""


def _loops(store: Callable[[str], str], values: list[str], mostly: bool, arguments: str) -> str:
    """The source of the loops over ``count`` elements of a row; ``arguments`` if they are interleaved."""

    def loop(function: str) -> str:
        body = indented(store(function).splitlines(), 4)
        if not arguments:
            return _LOOP.format(first=0, store=body)
        most = _INTERLEAVED.format(unit=Elementwise.unit, arguments=arguments, function=function)
        return most + _LOOP.format(first="most", store=body)

    if not mostly:
        return loop("formula")
    inner = {name: textwrap.indent(loop(name), " " * 4) for name in ("near", "formula")}
    return _MOSTLY.format(values=", ".join(values), **inner)


@kernel
def map_rows(formula: DeviceFunction, dtypes: tuple[str, ...], pattern: str, params: int) -> Kernel:
    """``out = formula(x, …, *params)``; ``dtypes`` and ``pattern`` name the output last.

    Arguments: the operands' addresses, the params, the table (see :func:`_table`), the number of
    elements and the elements per task.
    """
    last = len(dtypes) - 1
    kinds = {f"T{k}": np.dtype(part_of(d)).type for k, d in enumerate(dtypes)}
    letters, given, numbers = parameters(dtypes[0], params)
    step = {"c": " + i", "v": " + i * s{k}", "s": ""}
    values = [
        f"v{k}" if pattern[k] == "s" else _read(k, step[pattern[k]].format(k=k), dtypes[k])
        for k in range(last)
    ]
    values += numbers
    indent = {"pointers": 4, "origins": 8, "steps": 12, "hoisted": 8}
    lines: dict[str, list[str]] = {name: [] for name in indent}
    for k in range(last + 1):
        name = "out" if k == last else f"x{k}"
        lines["pointers"].append(f"{name} = pointer(a{k}, T{k})")
        lines["pointers"].append(f"s{k} = sizes[2 + sizes[0] + {k} * (sizes[0] + 1) + sizes[0]]")
        lines["origins"].append(f"o{k} = column * s{k}")
        lines["steps"].append(f"o{k} += index * sizes[2 + outer + {k} * (outer + 1) + axis]")
        if k < last and pattern[k] == "s":
            lines["hoisted"].append(f"v{k} = {_read(k, '', dtypes[k])}")
    target = f"o{last}" + step[pattern[last]].format(k=last)
    computes = steps(formula) >= Elementwise.long
    long = computes and "v" not in pattern
    names = ["out", f"o{last}", *given]
    for k in range(last):
        names += [f"v{k}"] if pattern[k] == "s" else [f"x{k}", f"o{k}"]
    arguments = ", ".join(names) if long else ""
    form = _STORE if part_of(dtypes[last]) == dtypes[last] else _STORE_PARTS

    def store(function: str) -> str:
        return form.format(target=target, function=function, values=", ".join(values))

    loops = _loops(store, values, bool(formula.near), arguments)
    source = _BODY.format(
        addresses=", ".join(f"a{k}" for k in range(last + 1)),
        params=listed(given),
        loop=textwrap.indent(loops, " " * 8),
        **{name: indented(lines[name], indent[name]) for name in indent},
    )
    scope = {"formula": formula, "pointer": pointer, "read": read, "write": write, **kinds}
    scope |= {"int64": np.int64, "interleaved": interleaved(Elementwise.interleave)}
    scope["paired"] = paired
    if formula.near:
        scope["near"], scope["when"] = formula.near
    for name in ("formula", "near") if formula.near else ("formula",):
        at = f"def {name}_at(i, {arguments}):\n{indented(store(name).splitlines(), 4)}\n"
        if long:
            scope[f"{name}_at"] = inline(function_from_source(at, f"{name}_at", scope))
    body = function_from_source(source, "map_rows_body", scope)
    if computes:
        body = arithmetic(body)
    return body, "i" * (last + 1) + letters + "iii"


def _read(k: int, step: str, dtype: str) -> str:
    """The text of operand ``k``'s element ``step`` beyond its origin."""
    at = f"o{k}{step}"
    if part_of(dtype) == dtype:
        return f"read(x{k}, {at})"
    return f"paired(read(x{k}, 2 * ({at})), read(x{k}, 2 * ({at}) + 1))"


def _table(sizes: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """[outer dims, inner size, outer sizes…, then per operand its strides, innermost last]."""
    flat = [len(sizes) - 1, sizes[-1], *sizes[:-1]]
    for operand in strides:
        flat += operand
    return np.array(flat, np.int64)


def elementwise(
    formula: DeviceFunction,
    dtypes: tuple[str, ...],
    sizes: tuple[int, ...],
    strides: tuple[tuple[int, ...], ...],
    params: int = 0,
) -> Callable[..., None]:
    """A launch ``(*inputs, output, *params)`` of ``formula`` over operands of common ``sizes``.

    Args:
        formula: scalar function of the inputs, then of ``params`` scalars.
        dtypes: of the inputs, then of the output.
        sizes: merged dimensions, outermost first, at least one.
        strides: per operand, in elements; 0 repeats a value.
    """
    total = 1
    for size in sizes:
        total *= size
    if total == 0:
        return lambda *args: None
    long = steps(formula) >= Elementwise.long
    tiles = None if long or formula.near else transposed.pattern_of(dtypes, sizes, strides)
    if tiles is not None:
        return transposed.elementwise(formula, dtypes, sizes, strides, params, tiles)
    function = map_rows.build(formula, dtypes, access_pattern(strides), params)
    table = _table(sizes, strides)
    where = table.ctypes.data
    tasks = 1
    if not splitting.serial(total - 1, Elementwise.serial_long if long else Elementwise.serial):
        tasks = splitting.pieces(
            Elementwise.few if total <= Elementwise.middle else Elementwise.tasks, total
        )
    chunk = -(-total // (tasks * Elementwise.unit)) * Elementwise.unit
    tasks = -(-total // chunk)
    if tasks == 1 and not params:
        return bind(function, where, total, chunk, 1, 0, keep=table)

    def launch(*args: float, keep: np.ndarray = table) -> None:
        function(*args, where, total, chunk, tasks, get_num_threads() if tasks > 1 else 0)

    return in_parts(launch, params) if params and part_of(dtypes[0]) != dtypes[0] else launch
