"""Results as Markdown: ``tilegrad bench report --markdown RESULTS.json [--rows]``.

Several files, of several machines, stand side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tilegrad.bench import store
from tilegrad.bench.areas import MARKS
from tilegrad.bench.failure import Failure
from tilegrad.bench.figures import notes, seconds, verdict

ALLOCATOR = (
    "Part of the lead on large arrays is memory, not arithmetic: PyTorch's CPU allocator hands pages "
    "back and touches fresh ones on the next call, ours keeps them (see the page faults above)."
)
SPREAD = (
    "Times are the best of up to {rounds} interleaved rounds. Where the median of a library's rounds is more "
    "than 1.3 times its best, the row says so: such a ratio is not to be relied on."
)


def rendered(paths: Sequence[Path], every: bool) -> str:
    """Result files of ``--out`` of table, scaling, memory, compile and blas as Markdown; ``every`` row, not areas alone."""
    if len(paths) > 1:
        tables = {p.stem: store.read(p).get("table") for p in paths}
        return "\n".join(_beside({n: t for n, t in tables.items() if t}, every))
    found = store.read(paths[0])
    parts: list[str] = []
    if "table" in found:
        parts += _facts(found["table"]) + _areas(found["table"])
        parts += _rows(found["table"]) if every else []
    for kind, render in (("scaling", _scaling), ("memory", _memory), ("blas", _blas), ("compile", _compile)):  # fmt: skip
        if kind in found:
            parts += render(found[kind])
    if not parts:
        raise Failure(f"{paths[0]} holds nothing that is shown as Markdown")
    return "\n".join(parts)


def _grid(heads: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table; all columns but the first are numbers."""
    rule = ["---"] + ["---:"] * (len(heads) - 1)
    return ["| " + " | ".join(cells) + " |" for cells in (heads, rule, *rows)] + [""]


def _facts(table: dict[str, Any]) -> list[str]:
    lines = [f"- {name}: {value}" for name, value in table["machine"].items()]
    return [*lines, "", SPREAD.format(rounds=table["rounds"]), "", ALLOCATOR, ""]


def _areas(table: dict[str, Any]) -> list[str]:
    rows = []
    for area, s in table["areas"].items():
        under = f"{len(s['under'])} ({s['least row']})" if s["under"] else "0"
        if s["wrong"]:
            under += f", {len(s['wrong'])} WRONG"
        rows.append([
            area, str(s["rows"]), f"{s['mean']:.2f}x", f"{s['mean mark']:.1f}x",
            f"{s['least']:.2f}x", f"{s['least mark']:.2f}x", under,
        ])  # fmt: skip
    heads = ["PyTorch's time over ours", "rows", "geometric mean", "mark", "least", "mark", "rows under it"]  # fmt: skip
    return _grid(heads, rows)


def _rows(table: dict[str, Any]) -> list[str]:
    parts = []
    for area in MARKS:
        rows = [r for r in table["rows"] if r["area"] == area]
        if rows:
            cells = [
                [
                    r["name"],
                    *(seconds(r["seconds"].get(x)) for x in ("tilegrad", "torch", "numpy")),
                    verdict(r),
                    notes(r),
                ]
                for r in rows
            ]
            parts += [f"### {area.capitalize()}", ""]
            parts += _grid(["", "tilegrad", "PyTorch", "NumPy", "ratio", ""], cells)
    return parts


def _beside(tables: dict[str, dict[str, Any]], every: bool) -> list[str]:
    """The areas, or every row, of several machines: PyTorch's time over ours."""
    kept = ("processor", "SIMD bits", "threads", "commit", "PyTorch's loops")
    facts = [[k, *(str(t["machine"].get(k, "")) for t in tables.values())] for k in kept]
    parts = _grid(["machine", *tables], facts)
    areas = [
        [area, *(f"{t['areas'][area]['mean']:.2f}x" if area in t["areas"] else ""
                 for t in tables.values())]
        for area in [*MARKS, "all"]
    ]  # fmt: skip
    parts += _grid(["PyTorch's time over ours, geometric mean", *tables], areas)
    if every:
        ratios = [{(r["area"], r["name"]): verdict(r) for r in t["rows"]} for t in tables.values()]
        names = dict.fromkeys(key for found in ratios for key in found)
        rows = [[f"{a}: {n}", *(found.get((a, n), "") for found in ratios)] for a, n in names]
        parts += _grid(["", *tables], rows)
    return parts


def _scaling(found: dict[str, Any]) -> list[str]:
    rows = [
        [area, str(sum(r["area"] == area for r in found["rows"]))]
        + [f"{means[x]:.0%}" if x in means else "" for x in ("tilegrad", "torch")]
        for area, means in found["areas"].items()
    ]
    return _grid(["efficiency of the threads", "rows", "tilegrad", "PyTorch"], rows)


def _memory(found: dict[str, Any]) -> list[str]:
    rows = [
        [r["name"], *(f"{r[x]['growth'] / 1e6:.1f}" for x in ("tilegrad", "torch") if x in r)]
        for r in found["rows"]
    ]
    return _grid(["peak growth of a process, MB", "tilegrad", "PyTorch"], rows)


def _blas(found: dict[str, Any]) -> list[str]:
    rows = []
    for result in found["runs"]:
        for r in result["rows"]:
            ours, theirs = (r["seconds"][x] for x in ("tilegrad", "numpy"))
            rates = [f"{2 * r['size'] ** 3 / t / 1e9:.0f}" for t in (ours, theirs)]
            name = f"{r['dtype']} {r['size']}, {result['threads']} threads, {result['blas']}"
            rows.append([name, *rates, f"{theirs / ours:.2f}x"])
    note = "" if found["avx512"] else "This processor has no AVX-512: NumPy's own best kernels.\n"
    return [note, *_grid(["GFLOP/s", "tilegrad", "NumPy", "ratio"], rows)]


def _compile(found: dict[str, Any]) -> list[str]:
    kernels = found["kernels"]
    slowest = [[f"`{r['kernel'][:60]}`", seconds(r["compile"]), seconds(r["load"])] for r in kernels[:10]]  # fmt: skip
    first = [
        [r["op"], *(seconds(s) for library in ("tilegrad", "torch") for s in r[library])]
        for r in found["first"]
    ]
    total = sum(r["compile"] for r in kernels)
    return [
        f"{len(kernels)} kernels take {total:.0f} s to compile; the slowest:",
        "",
        *_grid(["", "compile", "load"], slowest),
        *_grid(["first op of a process, kernels on disk", "import", "op", "PyTorch's import", "op"], first),
    ]  # fmt: skip
