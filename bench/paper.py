"""Kernels on paper, as a table in Markdown; no GPU is needed.

Per kernel what the assembler says for an A100 and an H200, and the least time that the data sheets
allow, beside what was measured on an H200, where it was. ``docs/cuda.md`` has the table between two marks;
``--write`` brings it up to date.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tilegrad
from tilegrad.kernels.cuda.run import jit
from tilegrad.kernels.cuda.run.backend import Arch, arch_name
from tilegrad.kernels.cuda.run.jit import Launch
from tilegrad.kernels.cuda.tools import dry_run as planned
from tilegrad.kernels.cuda.tools.occupancy import CHIPS, occupancy
from tilegrad.kernels.cuda.tools.roofline import least_time, work_of
from tilegrad.kernels.function import place
from tilegrad.nn import functional as F

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cuda.md"
START, END = "<!-- roofline -->\n", "<!-- end of roofline -->"
ARCHS: tuple[Arch, ...] = ((8, 0), (9, 0))
PLANNED: Arch = (9, 0)  # whose size decides the grids

Shape = tuple[int, ...]

MEASURED = Path(__file__).resolve().parent / "results" / "gpu-h200.json"
N, ROWS_OF_N = 1 << 26, (1 << 14, 1 << 12)


@dataclass(frozen=True)
class Row:
    """A call on float32 operands, contiguous, and where the GPU's result file has it.

    Attributes:
        section, row: of the file; without a section it was not measured.
        per: bytes, where the file has a rate in GB/s; operations, where it is in TFLOP/s.
    """

    name: str
    call: Callable[..., Any]
    shapes: tuple[Shape, ...]
    section: str = ""
    row: str = ""
    per: float = 0.0


_attend = F.scaled_dot_product_attention
ROWS = [
    Row("exp", tilegrad.exp, ((N,),), "families", "exp", 8 * N),
    Row("add", tilegrad.add, ((N,), (N,)), "families", "add", 12 * N),
    Row("add a row", tilegrad.add, (ROWS_OF_N, ROWS_OF_N[1:]), "families", "add row", 8 * N),
    Row("sum of rows", lambda x: x.sum(1), (ROWS_OF_N,), "families", "sum rows", 4 * N),
    Row("sum of columns", lambda x: x.sum(0), (ROWS_OF_N,), "families", "sum columns", 4 * N),
    Row("sum of all", lambda x: x.sum(), ((N,),), "families", "sum", 4 * N),
    Row("softmax", lambda x: F.softmax(x, 1), (ROWS_OF_N,), "families", "softmax", 8 * N),
    Row("softmax", lambda x: F.softmax(x, 1), ((512, 50_000),)),
    Row("layer_norm", lambda x, w, b: F.layer_norm(x, ROWS_OF_N[1:], w, b),
        (ROWS_OF_N, ROWS_OF_N[1:], ROWS_OF_N[1:]), "families", "layer_norm", 8 * N),
    *(
        Row("matmul", tilegrad.matmul, ((m, k), (k, n)), "products", f"{m}x{n}x{k}", 2 * m * n * k)
        for m, n, k in ((4096,) * 3, (1024,) * 3, (4, 4096, 4096))
    ),
    Row("mv", tilegrad.mv, ((4096, 4096), (4096,))),
    Row("bmm", tilegrad.bmm, ((64, 256, 64), (64, 64, 256))),
    Row("conv2d 3x3", lambda x, w: F.conv2d(x, w, padding=1), ((32, 64, 56, 56), (64, 64, 3, 3)),
        "convolutions", "3x3 c64 56"),
    Row("conv2d 1x1", F.conv2d, ((32, 256, 28, 28), (256, 256, 1, 1)), "convolutions", "1x1 c256 28"),
    Row("attention", _attend, ((8, 16, 1024, 64),) * 3, "attention", "8x16x1024x64"),
    Row("causal attention", partial(_attend, is_causal=True), ((8, 16, 1024, 64),) * 3,
        "attention", "causal 8x16x1024x64"),
    Row("attention", _attend, ((2, 8, 4096, 128),) * 3, "attention", "2x8x4096x128"),
]  # fmt: skip


def measured(row: Row) -> float | None:
    """Seconds of the whole call in the result file, if it is there."""
    if not row.section:
        return None
    found = json.loads(MEASURED.read_text())[row.section][row.row]
    if "ms" in found:
        return float(found["ms"]) * 1e-3
    rate = found["GB/s"] * 1e9 if "GB/s" in found else found["TFLOP/s"] * 1e12
    return float(row.per / rate)


def _launches(function: Callable[..., Any], shapes: tuple[Shape, ...]) -> list[Launch]:
    operands = [tilegrad.empty(shape, device="cuda") for shape in shapes]
    with jit.recording() as launches:
        function(*operands)
    return launches


def _number(value: float) -> str:
    for limit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {name}"
    return f"{value:.3g}"


def _row(row: Row, launch: Launch, seen: str) -> str:
    factory, source = launch.factory, launch.source
    work = work_of(launch)
    assert work is not None, factory.name(launch.variant)
    cells = [
        row.name,
        " @ ".join("x".join(map(str, s)) for s in row.shapes[:2]),
        f"`{place(factory.__module__)}.{factory.__name__}`",
        str(source.threads),
    ]
    registers, shares, times = [], [], []
    for made in factory.assemble_all(launch.variant, ARCHS):
        usage, chip = made.usage, CHIPS[made.arch]
        held = occupancy(made.arch, usage.registers, source.threads, usage.shared + source.shared)
        seconds, bound = least_time(work, chip)
        registers.append(str(usage.registers))
        shares.append(f"{held.share:.0%}")
        times.append(f"{seconds * 1e6:.3g} us, {bound}")
    cells += [", ".join(registers), ", ".join(shares)]
    cells += [
        f"{_number(work.bytes)}B",
        _number(work.operations),
        f"{work.intensity:.3g}",
        *times,
        seen,
    ]
    return "| " + " | ".join(cells) + " |"


def _seen(row: Row, launches: list[Launch]) -> str:
    """The measured time of a call, and the share that the least time of its launches is of it."""
    seconds = measured(row)
    if seconds is None:
        return "-"
    works = [work for launch in launches if (work := work_of(launch)) is not None]
    least = sum(least_time(work, CHIPS[PLANNED])[0] for work in works)
    return f"{seconds * 1e6:.3g} us, {least / seconds:.0%}"


def table() -> str:
    """All rows."""
    planned.plan_for(PLANNED)
    names = [f"{arch_name(arch)}" for arch in ARCHS]
    heads = ["call", "operands", "kernel", "threads", f"registers {', '.join(names)}",
             f"occupancy {', '.join(names)}", "bytes", "operations", "per byte",
             *(f"at best, {CHIPS[arch].name}" for arch in ARCHS), "measured, H200"]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in ROWS:
        launches = _launches(row.call, row.shapes)
        lines.append(_row(row, launches[0], _seen(row, launches)))
        lines += [_row(row, launch, "") for launch in launches[1:]]
    return "\n".join(lines) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command."""
    parser.add_argument("--write", action="store_true", help=f"bring {PAGE.name} up to date")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or put it into the page."""
    made = table()
    if not arguments.write:
        print(made, end="")
        return 0
    before, _, rest = PAGE.read_text().partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + START + made + END + after)
    return 0
