"""What a public function does, for its page: ``docs/site/kernels.json``.

``PYTHONPATH=.dev:. python docs/site/record.py [PART]`` runs the table of ops (tests/cases), and of functions that have
no row there PyTorch's samples (tests/conformance), on the CPU, and on a GPU on paper, where nothing runs. It
writes down which kernels each device launches, shapes, dtypes in and out, what has gradients, whether random numbers
are drawn, whether the bits depend on the number of threads, and how closely tests hold the values. With PART, rows of
functions that have it in their name are written anew. tests/house/test_site.py compares a part with the file.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("kernels.json")
SIDES = ("cpu", "cuda")
SHOWN = 4  # shapes on a page
SAMPLES = 3  # of a row of PyTorch's database

Found = dict[str, dict[str, Any]]


def public(name: str) -> str:
    """The function or method that a row of the table is of, by the path that the pages use; ``""``."""
    import tilegrad as tg

    stem = name.split("-")[0]
    if hasattr(tg.nn.functional, stem) and stem in tg.nn.functional.__all__:
        return f"nn.functional.{stem}"
    if stem in tg.__all__:
        return stem
    return f"Tensor.{stem}" if hasattr(tg.Tensor, stem) else ""


def place_of(value: Any) -> str:
    """``kernels/cpu/softmax.py:softmax_rows`` of a kernel or a formula."""
    file = value.__module__.removeprefix("tilegrad.").replace(".", "/")
    if (ROOT / file).is_dir():
        file += "/__init__"
    return f"{file}.py:{value.__name__}"


@lru_cache(maxsize=1)
def all_ops(modules: int) -> list[Any]:
    """Every op there is, while so many modules are loaded."""
    from tilegrad.engine.dispatch import Op

    return [x for x in gc.get_objects() if issubclass(type(x), Op)]


@contextlib.contextmanager
def watched(side: str) -> Iterator[list[str]]:
    """The kernels that are asked for in the block, and the formulas in them that were not made from others."""
    from tilegrad.kernels.function import DeviceFunction

    if side == "cpu":
        from tilegrad.kernels.cpu.run.jit import KernelFactory
    else:
        from tilegrad.kernels.cuda.run.jit import KernelFactory  # type: ignore[assignment]
    for op in all_ops(len(sys.modules)):
        op.plans.clear()
    asked: list[str] = []
    build = KernelFactory.build

    def seen(self: Any, *variant: Any) -> Any:
        asked.append(place_of(self.factory))
        asked.extend(place_of(v) for v in variant if isinstance(v, DeviceFunction) and not v.source)
        return build(self, *variant)

    KernelFactory.build = seen  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        KernelFactory.build = build  # type: ignore[method-assign]


def leaves(value: Any) -> Iterator[Any]:
    """The tensors in a structure of tuples, lists and dicts."""
    import tilegrad as tg

    if isinstance(value, tg.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))


def moved(value: Any, side: str) -> Any:
    """The same structure, its tensors on another device, leaves there."""
    import tilegrad as tg

    if isinstance(value, tg.Tensor):
        return value.detach().clone().to(side).requires_grad_(value.requires_grad)
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(moved(item, side) for item in value)
    if isinstance(value, dict):
        return {key: moved(item, side) for key, item in value.items()}
    return value


def spread(function: Callable[..., Any], first: Any, rest: Any, names: dict[str, Any]) -> Any:
    """A call with arguments and keywords of a sample."""
    return function(first, *rest, **names)


class Row:
    """What is found of a function, call by call."""

    def __init__(self, side: str):
        self.side = side
        self.forward: list[str] = []
        self.backward: list[str] = []
        self.nodes: set[str] = set()
        self.shapes: dict[str, None] = {}
        self.dtypes: dict[str, str] = {}
        self.gradients: set[int] = set()
        self.draws = self.differs = self.compared = self.ran = False
        self.bounds: dict[str, None] = {}
        self.tests: set[str] = set()

    def run(self, call: Callable[..., Any], operands: list[Any]) -> None:
        """Kernels, shapes and gradients of a call."""
        import tilegrad as tg
        from tilegrad.engine.random import default_generator

        before = default_generator.position
        with watched(self.side) as forward:
            result = call(*operands)
        self.draws |= default_generator.position != before
        results = list(leaves(result))
        given = list(leaves(operands))
        both = [" , ".join(str(tuple(t.shape)) for t in ts) for ts in (given, results)]
        self.shapes[" → ".join(both).replace(" ,", ",")] = None
        self.forward += forward
        self.gradients |= {k for k, t in enumerate(given) if t.requires_grad and t.is_leaf}
        recorded = [t for t in results if t.grad_fn is not None]
        if recorded:
            self.nodes |= {t.grad_fn.name() for t in recorded}
            with watched(self.side) as backward:
                tg.autograd.backward(recorded, [tg.ones_like(t) for t in recorded])
            self.backward += backward
        self.ran = True

    def convert(self, call: Callable[..., Any], operands: list[Any]) -> None:
        """The dtype that comes of the operands', and whether one thread and three find the same bits."""
        import tilegrad as tg

        found, before = [], tg.get_num_threads()
        for threads in (1, 3):
            tg.set_num_threads(threads)
            tg.manual_seed(0)
            found.append([t.detach() for t in leaves(call(*moved(operands, self.side)))])
        tg.set_num_threads(before)
        kinds = dict.fromkeys(str(t.dtype).removeprefix("tilegrad.") for t in found[0])
        first = next(leaves([*operands, *found[0]]), None)  # what makes tensors is given none
        if first is not None:
            self.dtypes.setdefault(str(first.dtype).removeprefix("tilegrad."), ", ".join(kinds))
        if not all(tg.equal(a, b) or bool((a != a).any()) for a, b in zip(*found, strict=True)):
            self.differs = True  # memory that is given as it is
        self.compared = True

    def content(self) -> dict[str, Any]:
        """As it is written; what is no matter of devices stands on the CPU's side."""
        found: dict[str, Any] = {
            "forward": list(dict.fromkeys(self.forward)),
            "backward": list(dict.fromkeys(self.backward)),
            "nodes": sorted(self.nodes),
        }
        if self.side == "cpu":
            found |= {
                "shapes": list(self.shapes)[:SHOWN],
                "dtypes": self.dtypes,
                "gradients": sorted(self.gradients) if self.nodes else [],
                "draws": self.draws,
                "same_bits": self.compared and not self.differs,
                "bounds": list(self.bounds),
                "tests": sorted(self.tests),
            }
        return found


def within(tolerances: dict[str, tuple[float, float]]) -> str:
    """What tests allow, in words."""
    parts = [
        f"{kind} to {rtol:g} of its size or {atol:g}" for kind, (rtol, atol) in tolerances.items()
    ]
    return ", ".join(parts)


def complain(side: str, name: str) -> None:
    """Say what could not be run, and why."""
    error = sys.exception()
    print(f"{side}, {name}: {type(error).__name__}: {str(error)[:150]}", file=sys.stderr)


def of_table(rows: dict[str, Row], side: str, part: str) -> None:
    """The rows of tests/cases."""
    import tilegrad as tg
    from tests.cases import stems
    from tests.conftest import TOLERANCES

    for stem in stems():
        for case in importlib.import_module(f"tests.cases.{stem}").CASES:
            name = public(case.name)
            if not name or part not in name:
                continue
            row = rows.setdefault(name, Row(side))
            row.tests.add(f"tests/cases/{stem}.py")
            row.bounds[within(TOLERANCES)] = None
            if case.tolerance != 1:
                row.bounds[f"{case.tolerance:g} times that: {case.reason}"] = None

            def made(dtype: str, case: Any = case) -> list[Any]:
                rng = np.random.default_rng(0)
                return [tg.from_numpy(arg.make(rng, dtype)).to(side) for arg in case.args]

            call = partial(case.call, tg)
            dtype = "float32" if "float32" in case.dtypes else case.dtypes[0]
            operands = made(dtype)
            for k in case.gradient_positions() if dtype.startswith("float") else ():
                if operands[k].is_floating_point():
                    operands[k].requires_grad_()
            try:
                row.run(call, operands)
                for kind in case.dtypes if side == "cpu" else ():
                    row.convert(call, made(kind))
            except Exception:
                complain(side, case.name)


def of_database(rows: dict[str, Row], side: str, part: str, known: set[str]) -> None:
    """The rows of PyTorch's database of functions that the table does not have."""
    import torch

    from tests.conformance import convert, ops

    for op in ops.entries():
        name = op.name
        if part not in name or {name, f"nn.functional.{name}", f"Tensor.{name}"} & known:
            continue
        try:
            ours = ops.our_function(op)
        except convert.NotThere:
            continue
        row = Row(side)
        for kind in ops.KINDS:
            if kind not in op.supported_dtypes("cpu"):
                continue
            for value, args, kwargs in ops.samples(op, kind, SAMPLES):
                try:
                    given = convert.value(ops.copied((value, args, kwargs)))
                    first, rest, names = moved(given, side)
                    if str(kind) == "torch.float32":
                        row.run(partial(spread, ours), [first, rest, names])
                    if side == "cpu":
                        row.convert(partial(spread, ours), [first, rest, names])
                except Exception:
                    complain(side, name)
        if row.ran:
            row.tests.add("tests/conformance/ops.py")
            row.bounds[within({"float32": convert.TOLERANCES[torch.float32]})] = None
            rows.setdefault(name, row)


def record(side: str, part: str = "", database: bool = True) -> Found:
    """Of every function that can be run, or those with ``part`` in their name."""
    from tests.cases import table

    if side == "cuda":
        from tilegrad.kernels.cuda.tools import dry_run

        dry_run.plan_for((9, 0))
    rows: dict[str, Row] = {}
    warnings.simplefilter("ignore")
    of_table(rows, side, part)
    if database:
        of_database(rows, side, part, {public(case.name) for case in table()})
    return {name: row.content() for name, row in rows.items()}


def main() -> int:
    """Write the file: the CPU's side in this process, the GPU's in another, as a device on paper stays."""
    side, *rest = [*sys.argv[1:], ""]
    if side in SIDES:
        part = rest[0] if rest else ""
        print(json.dumps(record(side, part, "--table" not in rest)))
        return 0
    sides = {}
    for side in SIDES:
        command = [sys.executable, __file__, side, *sys.argv[1:]]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        sides[side] = json.loads(done.stdout)
    content = json.loads(FILE.read_text()) if sys.argv[1:] else {}
    for name in {*sides["cpu"], *sides["cuda"]}:
        content[name] = {side: sides[side].get(name, {}) for side in SIDES}
    FILE.write_text(json.dumps(dict(sorted(content.items())), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
