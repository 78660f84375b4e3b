"""The report's charts, as Vega-Lite specifications, with the rows that stand behind each as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilegrad.bench import speedups
from tilegrad.bench.columns import spoken
from tilegrad.bench.drawing import (
    COLOURS,
    FIXED_HEIGHT,
    POWER,
    TIMES,
    Chart,
    Spec,
    height,
    known,
    marked,
    power,
    sized,
    specification,
    threads,
    three,
    where,
)
from tilegrad.bench.figures import geometric_mean, seconds
from tilegrad.bench.gpu_results import Gpu
from tilegrad.bench.sizes import OPS
from tilegrad.bench.store import Results

# --------------------------------------------------------------------------------------- roofline


def roofline(results: Results, gpu: Gpu | None) -> Chart:
    """Each op's rate over its operations a byte, under what was measured to be possible."""
    values, lines = _points(results), []
    for name, roof in results["roofline"].items():
        place = "GPU" if name == "cuda" else threads(int(name.split("/")[1]))
        lines += _roof(place, roof["copies"][-1]["gbps"], roof["gflops"])
    if gpu is not None:
        lines += _roof(f"{gpu.name} (committed)", *gpu.roof)
        values += _committed_points(gpu)
    caption = (
        "Each point is an op at one size; the lines are what copies from memory and the best matrix product of this run "
        "allow. Points above the slope were served by a cache. Hover over a point for its row."
    )
    rows = [
        [v["op"], v["where"], v["time"], three(v["rate"]), three(v["GB/s"] or 0), f"{v['share']:.0%}" if v["share"] else ""]
        for v in values
    ]  # fmt: skip
    spec = specification(values, layer=_roof_layers(lines))
    heads = ["op", "on", "time", "GFLOP/s", "GB/s", "of the roof"]
    return Chart("roofline", "Under the measured roofline", caption, spec, heads, rows)


def _points(results: Results) -> list[dict[str, Any]]:
    return [
        {
            "where": where(r), "op": r["name"], "intensity": r["flops"] / r["nbytes"], "rate": r["gflops"],
            "GB/s": r["gbps"], "share": r["share"], "time": seconds(r["min"]), "area": r["area"],
        }
        for r in sized(results)
        if r["library"] == "tilegrad" and r["gflops"] and r["nbytes"]
    ]  # fmt: skip


def _roof_layers(lines: list[dict[str, Any]]) -> list[Spec]:
    scale = {"type": "log"}
    x = {"field": "intensity", "type": "quantitative", "scale": scale, "title": "operations a byte",
         "axis": marked({"format": "~g"})}  # fmt: skip
    y = {"field": "rate", "type": "quantitative", "scale": scale, "title": "GFLOP/s",
         "axis": marked({"format": "~g"})}  # fmt: skip
    colour = {"field": "where", "scale": {"range": COLOURS}}
    tip = [{"field": "op"}, {"field": "where", "title": "on"}, {"field": "time"},
           {"field": "rate", "title": "GFLOP/s", "format": ".3~s"}, {"field": "GB/s", "format": ".3~s"},
           {"field": "share", "title": "of the roof", "format": ".0%"}]  # fmt: skip
    alone = {"name": "on", "select": {"type": "point", "fields": ["where"]}, "bind": "legend"}
    return [
        {"data": {"values": lines}, "mark": {"type": "line", "strokeWidth": 2, "opacity": 0.8},
         "encoding": {"x": x, "y": y, "color": colour, "detail": {"field": "where"}}},
        {"mark": {"type": "point", "filled": True, "size": 44}, "params": [alone],
         "encoding": {"x": x, "y": y, "color": colour, "tooltip": tip,
                      "opacity": {"condition": {"param": "on", "value": 0.8}, "value": 0.06}}},
    ]  # fmt: skip


def _roof(place: str, gbps: float, gflops: float) -> list[dict[str, Any]]:
    if not gbps or not gflops:
        return []
    corner = gflops / gbps
    return [
        {"where": place, "intensity": i, "rate": min(i * gbps, gflops)}
        for i in (0.05, corner, max(2000.0, corner * 2))
    ]


def _committed_points(gpu: Gpu) -> list[dict[str, Any]]:
    values = []
    for call in gpu.calls:
        row = next(o for o in OPS if o.name == call.op).row(call.size.bit_length() - 1)
        if row.flops:
            least = max(row.nbytes / gpu.roof[0], row.flops / gpu.roof[1]) / 1e9
            values.append({
                "where": f"{gpu.name} (committed)", "op": row.name, "intensity": row.flops / row.nbytes,
                "rate": row.flops / call.seconds / 1e9, "GB/s": row.nbytes / call.seconds / 1e9,
                "share": least / call.seconds, "time": seconds(call.seconds), "area": call.area,
            })  # fmt: skip
    return values


# ------------------------------------------------------------------------------------------- bars


def against(results: Results, gpu: Gpu | None) -> Chart:
    """PyTorch's time over ours by op, the geometric mean over sizes."""
    values: list[dict[str, Any]] = [
        {"op": op, "where": place, "ratio": geometric_mean(r), "sizes": len(r), "least": min(r), "most": max(r)}
        for (op, place), r in _ratios(results, gpu).items()
    ]  # fmt: skip
    order = list(dict.fromkeys(v["op"] for v in values))
    count = max(1, len({v["where"] for v in values}))
    tip = [{"field": "op"}, {"field": "where", "title": "on"}, {"field": "sizes"},
           *({"field": f, "format": ".3~r"} for f in ("ratio", "least", "most"))]  # fmt: skip
    x = {"field": "ratio", "type": "quantitative", "scale": {"type": "log"},
         "title": "PyTorch's time over tilegrad's", "axis": marked({"labelExpr": TIMES})}  # fmt: skip
    bars = {
        "x": x,
        "x2": {"datum": 1},
        "y": {"field": "op", "sort": order, "title": None, "axis": {"labelLimit": 150}},
        "yOffset": {"field": "where"} if count > 1 else {"value": 0},
        "color": {"field": "where", "scale": {"range": COLOURS}},
        "tooltip": tip,
    }
    even = {"data": {"values": [{}]}, "mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": {"x": {"datum": 1}}}  # fmt: skip
    spec = specification(
        values,
        height=height(len(order), 13 * count + 6),
        layer=[{"mark": {"type": "bar", "cornerRadius": 2}, "encoding": bars}, even],
        autosize=FIXED_HEIGHT,
    )
    caption = (
        "Bars to the right: tilegrad is faster. The geometric mean over all sizes measured, with the same threads; the "
        "table has the least and the most. Rows whose results differ from float64 by more than their tolerance are not counted."
    )
    rows = [
        [v["op"], v["where"], f"{v['ratio']:.2f}x", f"{v['least']:.2f}x to {v['most']:.2f}x", str(v["sizes"])]
        for v in values
    ]  # fmt: skip
    heads = ["op", "on", "mean", "range", "sizes"]
    return Chart("against", "Each op against PyTorch", caption, spec, heads, rows)


def _ratios(results: Results, gpu: Gpu | None) -> dict[tuple[str, str], list[float]]:
    """PyTorch's time over ours, by op and device."""
    found: dict[tuple[str, str], list[float]] = {}
    for r in results["rows"]:
        other = f"torch/{r['device']}" + (f"/{r['threads']}" if r["threads"] else "")
        if r["library"] == "tilegrad" and other in r.get("speedup", {}):
            found.setdefault((r["op"], where(r)), []).append(r["speedup"][other])
    if gpu is not None:
        place = f"{gpu.name} (committed)"
        others = [(c.op, c.torch) for c in gpu.calls] + list(gpu.bars.items())
        others += [(name, ratio) for name, (_, ratio) in gpu.steps.items()]
        for op, ratio in others:
            if ratio:
                found.setdefault((op, place), []).append(ratio)
    return found


# ------------------------------------------------------------------------------ trainings, overhead


def _dots(
    values: list[dict[str, Any]], name: str, title: str, colour: str, tips: list[str]
) -> Spec:
    """A dot for each value: names down, seconds across."""
    order = list(dict.fromkeys(v[name] for v in values))
    return specification(
        values,
        height=height(len(order), 34),
        autosize=FIXED_HEIGHT,
        layer=[
            {"mark": {"type": "point", "filled": True, "size": 90, "opacity": 0.9}, "encoding": {
                "x": {"field": "seconds", "type": "quantitative", "scale": {"type": "log"}, "title": title,
                      "axis": marked({"format": "~s"})},
                "y": {"field": name, "sort": order, "title": None, "axis": {"labelLimit": 150, "grid": True}},
                "color": {"field": colour, "scale": known(values, colour)},
                "shape": {"field": colour, "scale": {"domain": known(values, colour)["domain"]}},
                "tooltip": [{"field": t} for t in tips],
            }},
        ],
    )  # fmt: skip


def accuracy(results: Results, gpu: Gpu | None) -> Chart:
    """Seconds of whole trainings to their goal."""
    del gpu  # no committed file has them
    values = [
        {"training": t["name"], "goal": t["goal"], "column": spoken(t["column"]), "seconds": t["seconds"],
         "time": seconds(t["seconds"]), "steps": t["steps"]}
        for t in results["trainings"] if t.get("seconds")
    ]  # fmt: skip
    rows = []
    for t in results["trainings"]:
        if "fault" in t:
            rows.append([t["name"], spoken(t["column"]), t["fault"], "", ""])
            continue
        met = seconds(t["seconds"]) if t["seconds"] else "not reached"
        rows.append([t["name"], spoken(t["column"]), met, str(t["steps"]), seconds(t["step"])])
    goals = "; ".join(dict.fromkeys(f"{t['name']}: {t['goal']}" for t in results["trainings"]))
    caption = (
        f"Seconds of training steps until the goal is met, from the same weights and batches. Goals: {goals}. "
        "Looking at the held-out part is not counted, nor is a first step, which compiles."
    )
    spec = _dots(
        values, "training", "seconds", "column", ["training", "column", "time", "steps", "goal"]
    )
    return Chart(
        "accuracy",
        "Time to a stated accuracy",
        caption,
        spec,
        ["training", "in", "time", "steps", "a step"],
        rows,
    )


def steps(results: Results, gpu: Gpu | None) -> Chart:
    """One training step, also of a committed GPU."""
    found = [r for r in results["rows"] if r["area"] == "training" and "min" in r]
    values = [
        {
            "step": r["name"],
            "column": spoken(r["column"]),
            "seconds": r["min"],
            "time": seconds(r["min"]),
        }
        for r in found
    ]
    if gpu is not None:
        for name, (spent, ratio) in gpu.steps.items():
            there = [("tilegrad", spent), *([("PyTorch", spent * ratio)] if ratio else [])]
            values += [
                {
                    "step": name,
                    "column": f"{who}, {gpu.name} (committed)",
                    "seconds": s,
                    "time": seconds(s),
                }
                for who, s in there
            ]
    spec = _dots(values, "step", "seconds a step", "column", ["step", "column", "time"])
    caption = "Forward, loss, backward and update on a fixed batch: the best time of one step."
    rows = [[v["step"], v["column"], v["time"]] for v in values]
    return Chart("steps", "A training step", caption, spec, ["model and batch", "in", "time"], rows)


def overhead(results: Results, gpu: Gpu | None) -> Chart:
    """What a call costs where there is next to nothing to compute, and a first call."""
    del gpu
    sizes = [r["size"] for r in sized(results)]
    smallest = [r for r in sized(results) if r["size"] == min(sizes)]
    most = max((r["threads"] for r in smallest), default=1)
    shown = [r for r in smallest if r["threads"] in (0, most)]
    values = [
        {
            "op": r["op"],
            "column": spoken(r["column"]),
            "seconds": r["min"],
            "time": seconds(r["min"]),
        }
        for r in shown
    ]
    first = {r["op"]: r["first_call"] for r in smallest if r.get("first_call")}
    rows = [
        [
            r["op"],
            spoken(r["column"]),
            seconds(r["min"]),
            *(_first(first, r, k) for k in ("cold", "cached")),
        ]
        for r in shown
    ]
    size = power(min(sizes)) if sizes else ""
    caption = (
        f"The best time of one call on {size} elements. A first call of a process that finds no kernel compiles it; one that "
        "finds it on disk loads it: both are in the table, as seconds of tilegrad's first call."
    )
    spec = _dots(values, "op", "seconds a call", "column", ["op", "column", "time"])
    return Chart(
        "overhead",
        "What a call costs",
        caption,
        spec,
        ["op", "in", "time", "first, compiled", "first, from disk"],
        rows,
    )


def _first(found: dict[str, Any], record: dict[str, Any], kind: str) -> str:
    there = record["library"] == "tilegrad" and found.get(record["op"])
    return seconds(there[kind]) if there else ""


def transfers(results: Results, gpu: Gpu | None) -> Chart:
    """What copies to and from the GPU cost, by size, and how many adds of that size they are worth."""
    del gpu  # no committed file has them
    adds = {
        r["size"]: r["min"]
        for r in sized(results)
        if r["op"] == "add" and r["column"] == "tilegrad/cuda"
    }
    found = [r for r in sized(results) if r["op"] in ("copy to the GPU", "copy from the GPU")]
    values = [
        {"what": f"{r['op']}, {spoken(r['column']).split(',')[0]}", "size": r["size"], "seconds": r["min"],
         "elements": power(r["size"]), "time": seconds(r["min"]), "GB/s": r["nbytes"] / 2 / r["min"] / 1e9}
        for r in found
    ]  # fmt: skip
    x = {"field": "size", "type": "quantitative", "title": "elements",
         "scale": {"type": "log", "base": 2, "nice": False, "padding": 12},
         "axis": {"values": [1 << k for k in range(10, 27, 2)], "labelExpr": POWER, "grid": False}}  # fmt: skip
    y = {"field": "seconds", "type": "quantitative", "scale": {"type": "log"}, "title": "seconds",
         "axis": marked({"format": "~s"})}  # fmt: skip
    tip = [{"field": f} for f in ("what", "elements", "time")] + [
        {"field": "GB/s", "format": ".3~r"}
    ]
    shown = {
        "x": x,
        "y": y,
        "tooltip": tip,
        "color": {"field": "what", "scale": known(values, "what")},
    }
    spec = specification(
        values,
        height=300,
        layer=[{"mark": {"type": "line", "point": True, "strokeWidth": 1.6}, "encoding": shown}],
    )
    rows = [
        [v["what"], v["elements"], v["time"], three(v["GB/s"]),
         f"{v['seconds'] / adds[v['size']]:.1f}" if v["size"] in adds else ""]
        for v in values
    ]  # fmt: skip
    caption = (
        "A speedup of the GPU above leaves out what its operands and results cost on the way. The table says how many adds "
        "of the same size, on the GPU, a copy is worth."
    )
    heads = ["copy", "elements", "time", "GB/s", "adds on the GPU"]
    return Chart("transfers", "To the GPU and back", caption, spec, heads, rows)


# ---------------------------------------------------------------------------------------- history


def history(past: Sequence[dict[str, Any]]) -> Chart:
    """PyTorch's time over ours in committed results, by area; ``past``: see :func:`bench.history.found`."""
    values: list[dict[str, Any]] = [
        {"date": p["date"], "commit": p["commit"], "machine": p["machine"], "area": area, "ratio": ratio}
        for p in past for area, ratio in p["areas"].items()
    ]  # fmt: skip
    spec = specification(
        values,
        height=300,
        autosize=FIXED_HEIGHT,
        layer=[{
            "mark": {"type": "line", "point": {"size": 60, "filled": True}, "strokeWidth": 1.5},
            "encoding": {
                "x": {"field": "date", "type": "ordinal", "title": None, "axis": {"labelAngle": 0}},
                "y": {"field": "ratio", "type": "quantitative", "scale": {"type": "log"}, "title": "PyTorch's time over tilegrad's",
                      "axis": marked({"labelExpr": TIMES})},
                "color": {"field": "area", "scale": {"range": COLOURS}},
                "strokeDash": {"field": "machine"},
                "tooltip": [{"field": f} for f in ("date", "commit", "machine", "area")] + [{"field": "ratio", "format": ".3~r"}],
            },
        }],
    )  # fmt: skip
    caption = "Geometric means over the rows of each area, of every result file that was committed, by machine."
    rows = [
        [*(str(v[k]) for k in ("date", "commit", "machine", "area")), f"{float(v['ratio']):.2f}x"]
        for v in values
    ]
    return Chart(
        "history", "History", caption, spec, ["date", "commit", "machine", "area", "ratio"], rows
    )


def charts(results: Results, gpu: Gpu | None, past: Sequence[dict[str, Any]]) -> list[Chart]:
    """Those that have something to show."""
    made = [
        make(results, gpu)
        for make in (speedups.chart, transfers, roofline, against, accuracy, steps, overhead)
    ]
    return [c for c in [*made, history(past)] if c.rows]
