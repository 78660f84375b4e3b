"""``python -m bench.roofline``: kernels on paper, as a table in Markdown; no GPU is needed.

Per kernel what the assembler says for an A100 and an H200, and the least time that the data sheets
allow. Every time is an estimate, no measurement. ``docs/cuda.md`` has the table between two marks;
``--write`` brings it up to date.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import tilegrad
from tilegrad.kernels.cuda import jit, planned
from tilegrad.kernels.cuda.backend import Arch, arch_name
from tilegrad.kernels.cuda.jit import Launch
from tilegrad.kernels.cuda.occupancy import CHIPS, occupancy
from tilegrad.kernels.cuda.roofline import least_time, work_of
from tilegrad.nn import functional as F

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cuda.md"
START, END = "<!-- roofline -->\n", "<!-- end of roofline -->"
ARCHS: tuple[Arch, ...] = ((8, 0), (9, 0))
PLANNED: Arch = (9, 0)  # whose size decides the grids

Shape = tuple[int, ...]

# what is called, on operands of which shapes; float32 and contiguous
ROWS: list[tuple[str, Callable[..., Any], tuple[Shape, ...]]] = [
    ("exp", tilegrad.exp, ((1 << 24,),)),
    ("add", tilegrad.add, ((1 << 24,), (1 << 24,))),
    ("add a row", tilegrad.add, ((8192, 2048), (2048,))),
    ("copy", lambda x: x[:, :2048].contiguous(), ((8192, 4096),)),
    ("sum of rows", lambda x: x.sum(1), ((8192, 2048),)),
    ("sum of columns", lambda x: x.sum(0), ((8192, 2048),)),
    ("sum of all", lambda x: x.sum(), ((1 << 24,),)),
    ("softmax", lambda x: F.softmax(x, 1), ((8192, 1024),)),
    ("softmax", lambda x: F.softmax(x, 1), ((512, 50_000),)),
    ("layer_norm", lambda x, w, b: F.layer_norm(x, (1024,), w, b), ((8192, 1024), (1024,), (1024,))),
    ("matmul", tilegrad.matmul, ((4096, 4096), (4096, 4096))),
    ("matmul", tilegrad.matmul, ((1024, 1024), (1024, 1024))),
    ("matmul", tilegrad.matmul, ((4, 4096), (4096, 4096))),
    ("mv", tilegrad.mv, ((4096, 4096), (4096,))),
    ("bmm", tilegrad.bmm, ((64, 256, 64), (64, 64, 256))),
    ("conv2d 3x3", lambda x, w: F.conv2d(x, w, padding=1), ((32, 64, 56, 56), (64, 64, 3, 3))),
    ("conv2d 1x1", F.conv2d, ((32, 256, 28, 28), (512, 256, 1, 1))),
    ("attention", F.scaled_dot_product_attention, ((8, 16, 1024, 64),) * 3),
    ("causal attention", partial(F.scaled_dot_product_attention, is_causal=True), ((8, 16, 1024, 64),) * 3),
]  # fmt: skip


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


def _row(name: str, shapes: tuple[Shape, ...], launch: Launch) -> str:
    factory, source = launch.factory, launch.source
    work = work_of(launch)
    assert work is not None, factory.name(launch.variant)
    cells = [
        name,
        " @ ".join("x".join(map(str, s)) for s in shapes[:2]),
        f"`{factory.__module__.rsplit('.', 1)[-1]}.{factory.__name__}`",
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
    cells += [f"{_number(work.bytes)}B", _number(work.operations), f"{work.intensity:.3g}", *times]
    return "| " + " | ".join(cells) + " |"


def table() -> str:
    """All rows."""
    planned.plan_for(PLANNED)
    names = [f"{arch_name(arch)}" for arch in ARCHS]
    heads = ["call", "operands", "kernel", "threads", f"registers {', '.join(names)}",
             f"occupancy {', '.join(names)}", "bytes", "operations", "per byte",
             *(f"at best, {CHIPS[arch].name}" for arch in ARCHS)]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, function, shapes in ROWS:
        lines += [_row(name, shapes, launch) for launch in _launches(function, shapes)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, or put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"bring {PAGE.name} up to date")
    arguments = parser.parse_args()
    made = table()
    if not arguments.write:
        print(made, end="")
        return
    before, _, rest = PAGE.read_text().partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + START + made + END + after)


if __name__ == "__main__":
    main()
