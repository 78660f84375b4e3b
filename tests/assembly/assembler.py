"""All CUDA kernels that ops ask for, found and assembled in a process of its own, with no GPU.

``python -m tests.assembly.assembler`` plans every row of ``tests/cases`` and the larger shapes of
:mod:`tests.assembly.larger` on paper (:mod:`tilegrad.kernels.cuda.tools.dry_run`), forward and backward, and keeps
what variants of which kernels that builds. It then answers requests, a line of JSON each:
``[1, "list"]`` what there is, ``[2, "assemble", "reduce.rows", part, parts]`` what the assembler says of
a share of a kernel's variants; an answer is a line with the request's number and what was asked. Reports
are kept on disk with the compiled kernels.
"""

from __future__ import annotations

import gc
import hashlib
import inspect
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import tilegrad
from tests.assembly import larger
from tests.cases import table
from tests.cases.case import FLOATS, Case
from tilegrad.autograd.rules import operands
from tilegrad.engine import cuda
from tilegrad.engine.ops import elementwise
from tilegrad.kernels import cache
from tilegrad.kernels.cuda.device.simulator import machine
from tilegrad.kernels.cuda.run import jit
from tilegrad.kernels.cuda.run.backend import Arch, arch_name
from tilegrad.kernels.cuda.run.jit import KernelFactory
from tilegrad.kernels.cuda.tools import dry_run as planned, sass
from tilegrad.kernels.cuda.tools.occupancy import REGISTERS, occupancy
from tilegrad.kernels.function import DeviceFunction, place

ARCHS: tuple[Arch, ...] = ((7, 5), (8, 0), (9, 0), (10, 0))
MAIN: tuple[Arch, ...] = ((8, 0), (9, 0))  # all that float64 kernels are assembled for
SMALL = 1 << 16  # bytes of arrays that rows of the table may have
READ: Arch = (9, 0)  # whose machine code is looked at

Variant = tuple[Any, ...]

# what is counted in machine code
PATTERNS = {
    "loads": r"LDG\b",
    "local": r"(LDL|STL)\b",
    "generic": r"(LD|ST)\.E\b",  # access to memory of unknown kind
    "double": r"D(ADD|MUL|FMA|SETP|MNMX)\b",
    "LDG.128": r"LDG\.E\S*\.128\b",
    "STG.128": r"STG\.E\S*\.128\b",
    "LDS.128": r"LDS\S*\.128\b",
}


# --------------------------------------------------------------------------------------- what is built


class Survey:
    """Runs calls on the planned device and notes what it could not run."""

    def __init__(self) -> None:
        self.device = planned.plan_for((9, 0), SMALL)
        self.failed: list[str] = []
        cuda.check_later = lambda *check: None  # what kernels find wrong in blank memory

    def case(self, case: Case, dtype: str, strided: bool) -> None:
        """A row of the table, with its backward pass."""
        rng = np.random.default_rng(0)
        arrays = [arg.make(rng, dtype) for arg in case.args]

        def call() -> None:
            tensors = [_on_device(a, strided) for a in arrays]
            if dtype in FLOATS:
                for position in case.gradient_positions():
                    tensors[position].requires_grad_()
            _backward(case.call(tilegrad, *tensors))

        self.run(f"{case.name}-{dtype}", call, again=not strided)

    def run(self, name: str, call: Any, again: bool = False) -> None:
        """Plan ``call``. Where it asks for values, what it does with zeros does not matter: it is run
        as well, if ``again``.
        """
        read = self.device.read
        try:
            call()
            error = None
        except Exception as caught:
            error = caught
        missing = isinstance(error, NotImplementedError)
        if again and not missing and (self.device.read > read or error is not None):
            elementwise._scalars.clear()  # those that were planned hold nothing
            operands._numbers.clear()
            machine.executes = True
            try:
                call()
                error = None
            except Exception as caught:
                error = caught
            machine.executes = False
        if error is not None and (again or self.device.read == read):
            self.failed.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")


def _on_device(array: np.ndarray, strided: bool) -> Any:
    if not strided or array.ndim == 0:
        return tilegrad.from_numpy(array).to("cuda")
    places = tuple(slice(None, None, 2) for _ in array.shape)
    wide = np.zeros(tuple(2 * n for n in array.shape[::-1]), array.dtype)
    wide.transpose()[places] = array
    tensor = tilegrad.from_numpy(wide).to("cuda")
    return tensor.permute(*range(array.ndim - 1, -1, -1))[places]


def _backward(result: Any) -> None:
    outputs = [result] if hasattr(result, "dtype") else list(result)
    outputs = [o for o in outputs if o.requires_grad]
    if outputs:
        tilegrad.autograd.backward(outputs, [tilegrad.ones_like(o) for o in outputs])


Plan = tuple[str, Callable[[Survey], None]]


def plans() -> list[Plan]:
    """Everything to plan, by name: rows of the table, then larger calls."""
    found: list[Plan] = []
    for case in table():
        for dtype in case.dtypes:
            found.append((case.name, partial(Survey.case, case=case, dtype=dtype, strided=False)))
        if case.strided:
            first = case.dtypes[0]
            found.append((case.name, partial(Survey.case, case=case, dtype=first, strided=True)))
    for name, call in larger.CALLS.items():
        found.append((name, partial(Survey.run, name=name, call=call)))
    return found


def survey() -> Survey:
    """Plan everything."""
    found = Survey()
    for _, plan in plans():
        plan(found)
    return found


def factory_name(factory: KernelFactory) -> str:
    """``reduce.rows``."""
    return f"{place(factory.__module__)}.{factory.__name__}"


# parameters that say how work is laid out, not what it is
LAYOUT = (
    "layout", "lanes", "vector", "V", "x_vector", "y_vector", "dims", "kept", "reduced", "outer",
    "inner", "wide", "step", "capacity", "bounds", "threads",
)  # fmt: skip


# Variants of a factory that a test run assembles: numba takes seconds for each. With
# TILEGRAD_ASSEMBLE=formulas in the environment, all of those that have a formula; all of any with "all".
EACH = 2
MORE = {"elementwise.map_groups": 32, "gemm.tiles": 4, "conv.windows": 4, "reduce.rows": 5}


def chosen() -> dict[str, list[tuple[KernelFactory, Variant]]]:
    """What to assemble, by factory: variants that between them have every value of every parameter,
    and values other than a layout's with every dtype; of elementwise kernels, see there. Of those,
    unless all are asked for, the first.
    """
    extent, groups = os.environ.get("TILEGRAD_ASSEMBLE"), _all_chosen()
    return {
        name: rows
        if extent == "all" or (extent == "formulas" and _has_formula(rows))
        else rows[: MORE.get(name, EACH)]
        for name, rows in groups.items()
    }


def _has_formula(rows: list[tuple[KernelFactory, Variant]]) -> bool:
    return any(isinstance(value, DeviceFunction) for _, variant in rows for value in variant)


def _all_chosen() -> dict[str, list[tuple[KernelFactory, Variant]]]:
    groups: dict[str, list[tuple[KernelFactory, Variant]]] = defaultdict(list)
    for factory, variant in jit.kernels_built:
        groups[factory_name(factory)].append((factory, variant))
    for name, rows in groups.items():
        rows.sort(key=lambda row: ("float64" in str(row[1]), row[0].name(row[1])))
        if name == "elementwise.map_groups":
            groups[name] = _every_formula_and_pattern(rows)
        else:
            groups[name] = _every_value(rows)
    return groups


def _every_value(rows: list[tuple[KernelFactory, Variant]]) -> list[tuple[KernelFactory, Variant]]:
    """Rows that have all values, those with most new ones first."""
    names = list(inspect.signature(rows[0][0].factory).parameters)
    main = next((names.index(n) for n in ("tile", "dtype", "width") if n in names), 0)

    def values_of(variant: Variant) -> set[Any]:
        texts = [v.key if isinstance(v, DeviceFunction) else repr(v) for v in variant]
        return {
            (name, text, "" if name in LAYOUT and "tile" not in names else texts[main])
            for name, text in zip(names, texts, strict=False)
        }

    left = [(row, values_of(row[1])) for row in rows]
    missing = set().union(*(values for _, values in left))
    found = []
    while missing:
        row, values = max(left, key=lambda one: len(one[1] & missing))
        found.append(row)
        missing -= values
    return found or rows


def _every_formula_and_pattern(
    rows: list[tuple[KernelFactory, Variant]],
) -> list[tuple[KernelFactory, Variant]]:
    """Every formula in float32 and float64, a derivative in one of them, others over whatever they
    are for; and every pattern of access.

    The first choice are consecutive elements.
    """

    def rank(row: tuple[KernelFactory, Variant]) -> tuple[Any, ...]:
        _, dtypes, pattern, _, dims, vector, *_ = row[1]
        return (set(pattern) != {"c"}, dims, -vector, dtypes[0] not in FLOATS)

    found: dict[Any, tuple[KernelFactory, Variant]] = {}
    for row in sorted(rows, key=rank):
        formula, dtypes, pattern, _, dims, vector, wide, *_ = row[1]
        kind = dtypes[0] if dtypes[0] in FLOATS else "another"
        if "_backward" in formula.__name__:
            kind = "a derivative"  # made of what the formulas are made of
        if kind in FLOATS or not any(("formula", formula.key, k) in found for k in FLOATS):
            found.setdefault(("formula", formula.key, kind), row)
        moves = (frozenset(pattern[:-1]), pattern[-1], dims, vector > 1, wide)
        found.setdefault(("pattern", moves), row)
    ways_first = sorted(found, key=lambda key: key[0] == "formula")
    unique = {id(found[key]): found[key] for key in ways_first}
    return list(unique.values())


# ------------------------------------------------------------------------------------- what comes out


def _kept_at(factory: KernelFactory, variant: Variant) -> Path:
    keys = [factory.kept_as(variant, arch) for arch in ARCHS]
    here = [inspect.getsource(x) for x in (sass, _assembled, _counts, _logged)]
    here += [repr(PATTERNS), str(sass.available())]
    name = hashlib.sha256("\0".join(keys + here).encode()).hexdigest()[:32]
    return cache.cache_dir() / "assembly" / f"{name}.json"


def reports(rows: list[tuple[KernelFactory, Variant]]) -> list[dict[str, Any]]:
    """What is known of each kernel, by architecture; disassembled together."""
    made: list[dict[str, Any]] = []
    fresh: list[tuple[dict[str, Any], Path, bytes]] = []
    for factory, variant in rows:
        path = _kept_at(factory, variant)
        kept = cache.read(path)
        if kept is not None:
            made.append(json.loads(kept))
            continue
        report, cubin = _assembled(factory, variant)
        made.append(report)
        fresh.append((report, path, cubin))
    if fresh and sass.available():
        listings = sass.disassemble([cubin for _, _, cubin in fresh], READ)
        for (report, _, _), lines in zip(fresh, listings, strict=True):
            report["archs"][arch_name(READ)]["code"] = _counts(lines)
    for report, path, _ in fresh:
        cache.write(path, json.dumps(report).encode())
    return made


def _assembled(factory: KernelFactory, variant: Variant) -> tuple[dict[str, Any], bytes]:
    """The report of a kernel, and its machine code for :data:`READ`."""
    names = list(inspect.signature(factory.factory).parameters)
    values = {n: _plain(v) for n, v in zip(names, variant, strict=False)}
    report: dict[str, Any] = {"name": factory.name(variant), "variant": values, "archs": {}}
    code = b""
    for made in factory.assemble_all(variant, MAIN if "float64" in str(values) else ARCHS):
        source, usage = made.source, made.usage
        held = occupancy(made.arch, usage.registers, source.threads, usage.shared + source.shared)
        report["threads"], report["dynamic"] = source.threads, source.shared
        report["budget"] = min(255, REGISTERS // (source.threads * source.per_sm))
        report["archs"][arch_name(made.arch)] = {
            "registers": usage.registers,
            "stack": usage.stack,
            "spills": usage.spills,
            "shared": usage.shared,
            "warnings": list(usage.warnings),
            "logged": _logged(usage.log),
            "resident": held.threads,
        }
        code = made.cubin if made.arch == READ else code
    return report, code


def _logged(log: str) -> list[int]:
    """[registers, stack, static shared memory] by the linker's log; [] where it is empty."""
    patterns = (r"Used (\d+) registers", r"(\d+) bytes stack frame", r"(\d+) bytes smem")
    found = [re.search(pattern, log) for pattern in patterns]
    return [int(m[1]) if m else 0 for m in found] if found[0] else []


def _plain(value: Any) -> Any:
    """``value`` as JSON has it."""
    if hasattr(value, "_asdict"):
        return {k: _plain(v) for k, v in value._asdict().items()}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, (int, float, str, bool, type(None))) else value.__name__


def _counts(lines: list[str]) -> dict[str, int]:
    text = "\n".join(lines)
    return {name: len(re.findall(pattern, text)) for name, pattern in PATTERNS.items()}


# -------------------------------------------------------------------------------------------- answers


def serve() -> None:
    """Answer requests until the other side has gone."""
    out, sys.stdout = sys.stdout, sys.stderr
    failed, groups = survey().failed, chosen()
    gc.collect()
    gc.freeze()  # what the survey has left would be gone through again and again
    gc.set_threshold(100_000, 50, 100)
    for line in sys.stdin:
        number, what, *rest = json.loads(line)
        if what == "list":
            answer: Any = {"failed": failed, "kernels": {k: len(v) for k, v in groups.items()}}
        else:
            name, part, parts = rest
            answer = reports(groups.get(name, [])[part::parts])
        print(json.dumps([number, answer]), file=out, flush=True)


if __name__ == "__main__":
    serve()
