"""Every CUDA kernel that an op asks for assembles, and to machine code as good as was meant.

No GPU is needed. A process of its own finds the kernels and assembles them, see
:mod:`tests.assembly.assembler`; every test here takes a share of one kernel's variants.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.house.test_house import WIDE
from tilegrad.kernels.function import place


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["tilegrad", *parts]).removesuffix(".__init__")


FACTORIES = sorted(
    f"{place(module_of(path))}.{name}"
    for path in (ROOT / "kernels/cuda").rglob("*.py")
    for name in re.findall(r"^@kernel\ndef (\w+)", path.read_text(), re.M)
    if path.stem != "user"  # its bodies are the users'
)

# tests that share a kernel's variants, so that several processes can work at them
PARTS = {"elementwise.map_groups": 8}
PARTS |= dict.fromkeys(("conv.windows", "gemm.tiles", "reduce.rows", "row_scan.rows"), 2)

THREADS = 1024  # that must fit on a multiprocessor

# kernels of which fewer threads fit, the least number, and why
FEWER = {
    **dict.fromkeys(
        ("gemm.tiles", "conv.windows", "conv.weights"),
        (
            96,
            "a thread keeps a tile of accumulators and fragments: independent instructions hide latency",
        ),
    ),
    "elementwise.map_groups": (256, "groups of up to 16 strided elements; rare float64 formulas"),
    **dict.fromkeys(
        ("matvec.vectors", "matvec.tall_vectors"), (512, "several rows in flight, in float64 too")
    ),
    "cross_entropy.finish": (512, "one block in all"),
    "optim.advance": (512, "a thread per parameter: blocks of one warp, 16 of them on sm_75"),
    "optim.step": (512, "quotients and roots of float64"),
    "sort.radix.move_entries": (
        256,
        "keys of a stretch in shared memory, of which sm_75 has 64 KB",
    ),
    "topk.long_rows": (256, "keys of a row in shared memory, of which sm_75 has 64 KB"),
    **dict.fromkeys(
        ("row_scan.rows", "row_scan.columns"),
        (512, "states of several numbers, four at a time"),
    ),
    **dict.fromkeys(
        (
            "pool.mean_windows",
            "pool.mean_windows_backward",
            "resample.weighted",
            "resample.fixed_point",
        ),
        (512, "bounds of windows in three dimensions"),
    ),
    "distance.distances": (512, "four sums a thread, and 64-bit places, in float64"),
    "ctc.backward": (512, "rows of a step, classes and chains of labels, in float64"),
    "random.map_variates": (512, "samplers that reject and draw anew, in float64"),
    "linalg.triangles.substitute": (
        64,
        "a triangle and its right-hand sides in shared memory, of complex128 three quarters of sm_75's",
    ),
    **dict.fromkeys(
        ("linalg.panels.eliminate", "linalg.panels.couple", "linalg.jacobi.symmetric"),
        (512, "a block a matrix, whose reductions are float64"),
    ),
    "linalg.panels.reflections": (
        512,
        "two complex numbers of float64 a column, their scale, and what lifts denormal columns",
    ),
    "linalg.jacobi.singular": (256, "rotations of rows of two matrices, in float64"),
    "fft.batch.batch": (
        512,
        "numbers of a butterfly, and transforms that fill half of the 64 KB that sm_75 has",
    ),
    **dict.fromkeys(
        ("fft.real.after", "fft.real.before"), (768, "two pairs of numbers and 64-bit places")
    ),
    **dict.fromkeys(
        ("sample.sample_images_backward", "sample.sample_grid_backward"),
        (512, "elements, weights and slopes of every axis, in float64 too"),
    ),
    "index.gather_words": (768, "words of several places in flight, found over four dimensions"),
    **dict.fromkeys(
        ("conv.depthwise.inputs_of", "conv.depthwise.weights_of"),
        (512, "bounds of windows in three dimensions"),
    ),
    "movement.copy_words": (768, "words of several places in flight, found over four dimensions"),
    **dict.fromkeys(
        ("pool.max_windows", "pool.max_windows_backward"),
        (768, "bounds of windows in three dimensions; 70 registers of NVVM 13.0 on sm_100"),
    ),
    "prefix.exclusive_sum": (768, "one block in all"),
    "index.scatter_groups.fold_pieces": (768, "totals and rows of several pieces in flight"),
    **dict.fromkeys(
        ("attention.forward.forward", "attention.backward.queries", "attention.backward.keys"),
        (64, "rectangles of scores and of totals; rows fill the 64 KB that sm_75 has"),
    ),
}

# kernels with float64 arithmetic where the data are float32, and why
DOUBLE = {
    "linalg.panels.eliminate": "magnitudes of pivots are compared with their places, as one pair",
    "linalg.panels.reflections": "lengths of columns, which decide the angles",
    "linalg.jacobi.symmetric": "rotations lose a digit otherwise",
    "linalg.jacobi.singular": "rotations lose a digit otherwise",
    **dict.fromkeys(
        ("distance.distances", "distance.slopes"), "a power is computed in float64, as everywhere"
    ),
    "clip.length": "sums of chunks are added up in float64",
    "create.ramp": "rounds as float64 does, then once more, like the CPU",
    "random.map_variates": "which draws a sampler rejects is decided as on the CPU, bit for bit",
    "optim.advance": "a parameter's scalars are computed in float64",
}


class Assembler:
    """The other side of :mod:`tests.assembly.assembler`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.assembly.assembler"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.asked = 0

    def ask(self, *request: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.asked += 1
        self.process.stdin.write(json.dumps([self.asked, *request]) + "\n")
        self.process.stdin.flush()
        number = 0
        while number != self.asked:  # an earlier test may have run out of time before its answer
            text = self.process.stdout.readline()
            assert text, "the assembling process has died"
            number, answer = json.loads(text)
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture(scope="module")
def assembler() -> Iterator[Assembler]:
    if find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda is not installed")
    made = Assembler()
    yield made
    made.close()


def test_every_call_plans_and_every_kernel_is_asked_for(assembler: Assembler) -> None:
    found = assembler.ask("list")
    assert not found["failed"]
    assert sorted(found["kernels"]) == FACTORIES


def _code_faults(report: dict[str, Any], code: dict[str, int], factory: str) -> Iterator[str]:
    """What is wrong with machine code."""
    if code["local"]:
        yield f"{code['local']} accesses to local memory"
    if code["generic"]:
        yield f"{code['generic']} accesses to memory of unknown kind"
    wide = factory in DOUBLE or report["variant"].get("formula", "").split("_")[0] in WIDE
    single = not any(kind in str(report["variant"]) for kind in ("float64", "complex128"))
    if code["double"] and not wide and single:
        yield f"{code['double']} instructions of float64"
    for name in _meant(report["variant"], factory):
        if not code[name] and (name != "LDG.128" or code["loads"]):
            yield f"no {name}"


def _meant(variant: dict[str, Any], factory: str) -> set[str]:
    """The 16-byte accesses that a variant's name promises."""
    meant = set()
    if factory == "elementwise.map_groups":
        for k, (dtype, letter) in enumerate(
            zip(variant["dtypes"], variant["pattern"], strict=True)
        ):
            if letter == "c" and np.dtype(dtype).itemsize * variant["vector"] == 16:
                meant.add("STG.128" if k == len(variant["dtypes"]) - 1 else "LDG.128")
    if "dtype" in variant and not (factory.startswith("linalg.") and "complex" in variant["dtype"]):
        size = np.dtype(variant["dtype"]).itemsize  # whose complex numbers are read part by part
        widths = [variant.get(name, 1) for name in ("vector", "V", "x_vector", "y_vector")]
        widths.append((variant.get("layout") or {}).get("V", 1))
        if any(V * size == 16 for V in widths):
            meant.add("LDG.128")
        if "tile" in variant and variant["dtype"] == "float32":
            meant.add("LDS.128")
    return meant


def _faults(report: dict[str, Any], factory: str) -> Iterator[str]:
    """What is wrong with a kernel."""
    for arch, made in report["archs"].items():
        faults = [f"{n} bytes of {what}" for what in ("stack", "spills") if (n := made[what])]
        faults += made["warnings"]
        if made["registers"] > report["budget"]:
            faults.append(f"{made['registers']} registers of {report['budget']}")
        if made["resident"] < FEWER.get(factory, (THREADS, ""))[0]:
            faults.append(f"{made['registers']} registers leave {made['resident']} threads")
        if made["logged"] not in ([], [made[what] for what in ("registers", "stack", "shared")]):
            faults.append(f"the linker's log says {made['logged']}")
        if made["shared"] > 48 << 10:
            faults.append(f"{made['shared']} bytes of static shared memory")
        if "code" in made:
            faults += _code_faults(report, made["code"], factory)
        yield from (f"{report['name']} on {arch}: {fault}" for fault in faults)


@pytest.mark.parametrize(
    "factory, part", [(f, part) for f in FACTORIES for part in range(PARTS.get(f, 1))]
)
def test_kernels_assemble(factory: str, part: int, assembler: Assembler) -> None:
    reports = assembler.ask("assemble", factory, part, PARTS.get(factory, 1))
    faults = [fault for report in reports for fault in _faults(report, factory)]
    assert not faults, "\n".join(faults)


def test_machine_code_is_looked_at(assembler: Assembler) -> None:
    """The disassembler of the test extra is there, and finds what it should."""
    (report, *_) = assembler.ask("assemble", "reduce.rows", 0, 1_000_000)
    code = report["archs"]["sm_90"]["code"]
    assert code["local"] == 0 and set(code) >= {"double", "LDG.128"}


def test_a_reduction_of_a_users_assembles() -> None:
    """Three accumulators stay in registers, in each stage and over columns."""
    from tests.emulator.test_kernels import MOMENTS
    from tilegrad.kernels.cuda.reduce import columns, rows
    from tilegrad.kernels.cuda.tuning import REDUCTION, row

    bounds, kinds = row(REDUCTION, "float32", "sum").bounds, (MOMENTS, "float32", "float32")
    for factory, variant in (
        (rows, (*kinds, "whole", 32, 1, 1, 4, False, bounds)),
        (rows, (*kinds, "part", bounds.threads, 1, 1, 1, False, bounds)),
        (rows, (*kinds, "last", 8, 1, 1, 1, False, bounds)),
        (columns, (*kinds, True, 1, 1, "c", False, bounds)),
    ):
        usage = factory.assemble(variant, (9, 0)).usage
        assert usage.spills == 0 and usage.stack == 0 and not usage.warnings
        assert usage.registers * THREADS <= 1 << 16


def test_a_late_answer_is_not_the_next_ones() -> None:
    """Of a test that ran out of time: the assembler answers it all the same."""
    made = Assembler.__new__(Assembler)
    made.asked = 1
    late, mine = io.StringIO(), io.StringIO('[1, "late"]\n[2, "mine"]\n')
    made.process = SimpleNamespace(stdin=late, stdout=mine)  # type: ignore[assignment]
    assert made.ask("list") == "mine"
