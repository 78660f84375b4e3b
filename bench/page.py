"""The report: one page that holds its charts, their library and their tables, and loads nothing."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tilegrad.bench import charts, finish, gpu_results, history, speedups
from tilegrad.bench.columns import spoken
from tilegrad.bench.drawing import Chart
from tilegrad.bench.figures import geometric_mean
from tilegrad.bench.store import Results

FOLDER = Path(__file__).resolve().parent
MOST = 2_000_000  # bytes of a page

LICENCE = """Charts are drawn by Vega, Vega-Lite and Vega-Embed, embedded in this page by vl-convert.
Copyright (c) 2015-2023, University of Washington Interactive Data Lab. All rights reserved. (BSD-3-Clause)

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met: 1. Redistributions of source code must retain the above copyright notice, this list of
conditions and the following disclaimer. 2. Redistributions in binary form must reproduce the above copyright notice,
this list of conditions and the following disclaimer in the documentation and/or other materials provided with the
distribution. 3. Neither the name of the copyright holder nor the names of its contributors may be used to endorse or
promote products derived from this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF
THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE."""


def page(results: Results, gpu: Path | None = None) -> str:
    """The report of a run as HTML; ``gpu``: figures of another machine's GPU to show beside it.

    Raises:
        Failure: those cannot be read.
    """
    other = gpu_results.read(gpu) if gpu else None
    made = charts.charts(results, other, history.found())
    parts = [
        _head(results, other),
        '<nav aria-label="Charts">'
        + "".join(f'<a href="#{c.name}">{_e(c.title)}</a>' for c in made)
        + "</nav>",
        *map(_figure, made),
        _machine(results),
        _left_out(results),
        f"<footer><details><summary>Licence of the charts’ library</summary><pre>{_e(LICENCE)}</pre></details></footer>",
    ]
    style, script = ((FOLDER / f"page.{x}").read_text() for x in ("css", "js"))
    policy = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>tilegrad bench</title><style>{style}</style></head><body>"
        f"<main>{''.join(parts)}</main>{_specs(made)}"
        f"<script>{_library()}</script><script>{script}</script></body></html>\n"
    )


def picture(results: Results, gpu: Path | None = None) -> str:
    """The first chart as SVG, for a page on white: what the README shows.

    Raises:
        Failure: the GPU's figures cannot be read.
    """
    import vl_convert

    other = gpu_results.read(gpu) if gpu else None
    spec = speedups.chart(results, other).spec
    text = json.dumps({**spec, "width": 720, "height": 380}).replace("currentColor", "#24292f")
    fixed = json.loads(text)
    fixed["config"]["background"] = "white"
    fixed["title"] = {"text": fixed["params"][0]["value"], "fontSize": 14, "fontWeight": "normal"}
    del fixed["params"][0]["bind"], fixed["autosize"]
    return str(vl_convert.vegalite_to_svg(fixed))


def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed."""
    import vl_convert

    bundle: Any = vl_convert.javascript_bundle
    return str(bundle())


def _e(text: Any) -> str:
    return html.escape(str(text))


def _head(results: Results, other: gpu_results.Gpu | None) -> str:
    machine = results["machine"]
    where = machine.get("gpu", "")
    cores = f"{machine['cores']} cores"
    lines = [f"{machine['processor']}, {cores}{', ' + where if where else ''}",
             f"{results['created'][:10]}, commit {machine['commit']}, seed {machine['seed']}"]  # fmt: skip
    if other is not None:
        lines.append(
            f"beside it, named as such where it is shown: committed figures of {other.title}"
        )
    facts = "".join(f"<li>{_e(x)}</li>" for x in lines)
    said = "".join(f"<p>{_e(x)}</p>" for x in _said(results))
    for line in filter(None, (finish.busy(results), finish.no_gpu(results))):
        said += f"<p>{_e(line)}</p>"
    if not results["finished"]:
        said += "<p><strong>This run was stopped before its end.</strong></p>"
    return f"<header><h1>tilegrad bench</h1><ul>{facts}</ul>{said}</header>"


def _said(results: Results) -> list[str]:
    """The run in a sentence or two."""
    found = []
    for library, name in (("torch", "PyTorch"), ("numpy", "NumPy")):
        ratios: dict[str, list[float]] = {}
        for r in results["rows"]:
            if r["library"] != "tilegrad":
                continue
            for other, ratio in r.get("speedup", {}).items():
                who, device, *threads = other.split("/")
                if (
                    who == library
                    and device == r["device"]
                    and threads in ([], [str(r["threads"])])
                ):
                    ratios.setdefault(r["column"], []).append(ratio)
        for column, all_of in ratios.items():
            most = sum(x > 1 for x in all_of)
            found.append(
                f"{spoken(column)}: {geometric_mean(all_of):.2f} times as fast as {name} in the geometric mean of "
                f"{len(all_of)} rows, and faster in {most} of them."
            )
    if not results["rows"]:
        return ["Nothing was measured on this machine yet."]
    wrong = sum(not r.get("agrees", True) for r in results["rows"])
    agree = "All results agree with the float64 oracle." if not wrong else f"{wrong} results differ from the float64 oracle: no speedup is told of them."  # fmt: skip
    return [*found, agree]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], label: str) -> str:
    """A table that scrolls by itself where it is wide."""
    head = "".join(f'<th scope="col">{_e(h)}</th>' for h in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td>{_e(c)}</td>" if i else f'<th scope="row">{_e(c)}</th>' for i, c in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{_e(label)}" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _figure(chart: Chart) -> str:
    label = f"{chart.title}: a chart; the table after it holds its figures"
    return (
        f'<section id="{chart.name}" aria-labelledby="{chart.name}-title"><h2 id="{chart.name}-title">{_e(chart.title)}</h2>'
        f'<figure><div class="controls" id="{chart.name}-controls"></div>'
        f'<div class="chart" id="{chart.name}-chart" role="img" aria-label="{_e(label)}"></div>'
        f"<noscript><p>The chart needs JavaScript; the table does not.</p></noscript>"
        f"<figcaption>{_e(chart.caption)}</figcaption></figure>"
        f"<details><summary>Table: {_e(chart.title)}, {len(chart.rows)} rows</summary>"
        f"{table(chart.heads, chart.rows, chart.title)}</details></section>"
    )


def _machine(results: Results) -> str:
    rows = []
    for name, value in results["machine"].items():
        if isinstance(value, dict):
            value = "; ".join(f"{k}: {v}" for k, v in value.items()) or "unknown"
        rows.append([name, str(value)])
    rows.append(["options", "; ".join(f"{k}: {v}" for k, v in results["options"].items())])
    return (
        '<section id="machine" aria-labelledby="machine-title"><h2 id="machine-title">What was measured, and how</h2>'
        "<p>On the CPU by a monotonic clock, on a GPU by its own events, synchronised; libraries are interleaved, each "
        "sample repeats a call until it takes some milliseconds, and the best sample counts. Errors are against float64 in "
        f"the same run.</p>{table(['', ''], rows, 'The machine')}</section>"
    )


def _left_out(results: Results) -> str:
    rows = [[x["what"], x["why"]] for x in results["left_out"]]
    rows += [
        [f"{r['name']}, {spoken(r['column'])}", r["fault"]] for r in results["rows"] if "fault" in r
    ]
    if not rows:
        return ""
    return (
        f'<section id="left-out"><details><summary>Left out: {len(rows)}</summary>'
        f"{table(['what', 'why'], rows, 'Left out')}</details></section>"
    )


def _specs(made: Sequence[Chart]) -> str:
    """Specifications as data blocks, which no text in them can end."""
    return "".join(
        f'<script type="application/json" class="spec" data-name="{c.name}">'
        f"{json.dumps(c.spec, separators=(',', ':')).replace('</', '<' + chr(92) + '/')}</script>"
        for c in made
    )
