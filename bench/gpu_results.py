"""Figures of another machine's GPU: results.json of a run there, or the result of the GPU check."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from tilegrad.bench import store
from tilegrad.bench.failure import Failure
from tilegrad.bench.sizes import OPS

# the GPU check's name of a call -> (op, exponent of its size, bytes an element that its rate counts)
_FAMILIES = {
    "copy": ("clone", 26, 8), "add": ("add", 26, 12), "exp": ("exp", 26, 8), "gelu": ("gelu", 26, 8),
    "sum": ("sum", 26, 4), "sum rows": ("sum of rows", 26, 4), "amax rows": ("max of rows", 26, 4),
    "softmax": ("softmax", 26, 8), "layer_norm": ("layer_norm", 26, 8), "cumsum": ("cumsum", 26, 8),
    "transpose copy": ("transpose", 26, 8), "max_pool2d": ("max_pool2d", 26, 5), "sort": ("sort", 22, 16),
}  # fmt: skip
_SPEEDUPS = {"add 2^24": ("add", 24), "gelu 2^24": ("gelu", 24), "matmul 2048": ("matmul", 22),
             "softmax 4096": ("softmax", 24), "conv2d c64 56": ("conv2d 3x3", 22)}  # fmt: skip


class Call(NamedTuple):
    """A call on the GPU: seconds, and PyTorch's time on it over ours; None where unknown."""

    op: str
    area: str
    size: int
    seconds: float
    torch: float | None


class Gpu(NamedTuple):
    """What the report shows of another machine.

    Attributes:
        name: of the GPU; title: machine, date and commit in words.
        own: speedups over that machine's own CPU, by op and size.
        steps: seconds of a training step, and PyTorch's time over ours, by name.
        bars: PyTorch's time over ours of calls that this run has no equal of.
        roof: GB/s of copies, GFLOP/s of the best product.
    """

    name: str
    title: str
    calls: list[Call]
    own: list[tuple[str, int, float]]
    steps: dict[str, tuple[float, float | None]]
    bars: dict[str, float]
    roof: tuple[float, float]


def read(path: Path) -> Gpu:
    """The figures of a file.

    Raises:
        Failure: it is not there, cut off, or holds none of a GPU.
    """
    found = store.read(path)
    if "schema" in found:
        return _of_run(store.load(path), path)
    if not {"families", "products", "training"} <= set(found):
        raise Failure(f"{store.path_of(path)} holds no figures of a GPU that this program knows")
    try:
        return _of_check(found)
    except (KeyError, TypeError, ValueError) as error:
        raise Failure(
            f"{path} is no result of the GPU check: {type(error).__name__} {error}"
        ) from None


def _area(op: str) -> str:
    return next(o.area for o in OPS if o.name == op)


def _of_check(found: dict[str, Any]) -> Gpu:
    calls = []
    for name, (op, exponent, each) in _FAMILIES.items():
        row = found["families"].get(name, {})
        if "GB/s" in row:
            spent = each * 2.0**exponent / row["GB/s"] / 1e9
            ratio = row.get("torch/tilegrad") or (row["torch"] / row["tilegrad"])
            calls.append(Call(op, _area(op), 1 << exponent, spent, ratio))
    for name, row in found["products"].items():
        sides = name.split("x")
        if "TFLOP/s" in row and len(set(sides)) == 1:
            n = int(sides[0])
            spent = 2.0 * n**3 / row["TFLOP/s"] / 1e12
            calls.append(Call("matmul", "products", n * n, spent, row["torch/tilegrad"]))
    bars = {}
    for section in ("convolutions", "attention"):
        for name, row in found.get(section, {}).items():
            if "ms" in row:
                bars[f"{'conv2d ' * (section == 'convolutions')}{'attention ' * (section == 'attention')}{name}"] = row["forward, torch/tilegrad"]  # fmt: skip
    own = [
        (_SPEEDUPS[k][0], 1 << _SPEEDUPS[k][1], v["CPU/GPU"])
        for k, v in found.get("speedups", {}).items()
        if k in _SPEEDUPS
    ]
    steps = {
        k: ((v["ms"] if "ms" in v else v["tilegrad ms"]) / 1e3, v.get("torch/tilegrad"))
        for k, v in found["training"].items()
        if isinstance(v, dict) and ("ms" in v or "tilegrad ms" in v)
    }
    said = found.get("environment", {})
    name = said.get("gpu", {}).get("name") or "another machine's GPU"
    about = [found.get("machine") or said.get("nvidia-smi", name), found.get("date", ""),
             f"commit {found['commit']}" if "commit" in found else ""]  # fmt: skip
    best = max((r["TFLOP/s"] for r in found["products"].values() if "TFLOP/s" in r), default=0.0)
    roof = (found["families"]["copy"]["GB/s"], best * 1e3)
    return Gpu(name, ", ".join(x for x in about if x), calls, own, steps, bars, roof)


def _of_run(found: dict[str, Any], path: Path) -> Gpu:
    rows = [r for r in found["rows"] if r["column"] == "tilegrad/cuda" and r.get("agrees")]
    if not rows:
        raise Failure(f"{store.path_of(path)} holds no figures of a GPU")
    machine = found["machine"]
    name = machine.get("gpu", "another machine's GPU")
    calls, own, steps = [], [], {}
    for r in rows:
        ratio = r["speedup"].get("torch/cuda")
        if r["size"]:
            calls.append(Call(r["op"], r["area"], r["size"], r["min"], ratio))
            over = [v for k, v in r["speedup"].items() if k.startswith("tilegrad/cpu/")]
            own += [(r["op"], r["size"], min(over))] if over else []
        else:
            steps[r["name"]] = (r["min"], ratio)
    roof = found["roofline"].get("cuda")
    limits = (roof["copies"][-1]["gbps"], roof["gflops"]) if roof else (0.0, 0.0)
    title = f"{name}, {machine['processor']}, {found['created'][:10]}, commit {machine['commit']}"
    return Gpu(name, title, calls, own, steps, {}, limits)
