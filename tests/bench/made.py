"""Results as a run of `tilegrad bench` leaves them, made up: no time is measured."""

from __future__ import annotations

import random
from typing import Any

from tilegrad.bench import store
from tilegrad.bench.columns import Column
from tilegrad.bench.measure import speedups
from tilegrad.bench.sizes import OPS

CPU = (Column("tilegrad", "cpu", 1), Column("torch", "cpu", 1), Column("tilegrad", "cpu", 2),
       Column("torch", "cpu", 2), Column("numpy", "cpu", 2))  # fmt: skip
GPU = (Column("tilegrad", "cuda", 0), Column("torch", "cuda", 0))
PACE = {"tilegrad/cpu/1": 1.0, "torch/cpu/1": 1.4, "tilegrad/cpu/2": 0.55, "torch/cpu/2": 0.8,
        "numpy/cpu/2": 2.0, "tilegrad/cuda": 0.01, "torch/cuda": 0.011}  # fmt: skip
MACHINE = {
    "processor": "a processor", "cores": 2, "threads": 2, "commit": "abc1234", "seed": 0,
    "versions": {"python": "3.11"}, "caches": {"L2": 1 << 20}, "clocks": {"before": {}}, "load": {"before": [0.0]},
}  # fmt: skip


def record(
    op: Any, exponent: int, column: Column, scale: float = 1.0, noise: float = 0.0, seed: int = 0
) -> dict[str, Any]:
    """A record; ``noise``: of its samples, relative."""
    row = op.row(exponent)
    launch = 5e-6 if column.device == "cuda" else 1e-6
    rng = random.Random(f"{seed} {row.name} {column.key}")
    least = scale * (launch + PACE[column.key] * (row.nbytes / 2e10 + row.flops / 5e10))
    samples = [least * (1 + noise * rng.expovariate(1.0)) for _ in range(15)]
    times = sorted(samples)
    return {
        "op": op.name, "area": op.area, "name": row.name, "size": row.size, "dtype": "float32",
        "shapes": [list(o.shape) for o in row.operands], "backward": False, **column._asdict(), "column": column.key,
        "rounds": 15, "calls": 3, "min": times[0], "median": times[7], "p95": times[14], "samples": samples,
        "cold": None, "gbps": row.nbytes / times[0] / 1e9, "gflops": row.flops / times[0] / 1e9 or None,
        "nbytes": row.nbytes, "flops": row.flops, "share": 0.5, "bound": "memory", "error": 1e-7, "tolerance": 1e-5,
        "oracle": "PyTorch, float64", "agrees": True, "joules": None,
        "first_call": {"cold": 1.2, "cached": 0.01} if column.library == "tilegrad" else None,
    }  # fmt: skip


def results(
    gpu: bool = False,
    slower: str = "",
    by: float = 1.0,
    drift: float = 1.0,
    noise: float = 0.0,
    seed: int = 0,
) -> store.Results:
    """A whole run; tilegrad's ``slower`` op takes ``by`` times as long, everything ``drift`` times."""
    made = store.empty("headline", {"quick": False}, dict(MACHINE))
    columns = CPU + GPU if gpu else CPU
    for op in OPS:
        if op.transfer and not gpu:
            continue
        for exponent in range(10, 27, 2):
            records = []
            for column in GPU if op.transfer else columns:
                planted = by if column.library == "tilegrad" and op.name == slower else 1.0
                records.append(record(op, exponent, column, drift * planted, noise, seed))
            speedups(records)
            made["rows"] += records
    for key, speed in (("cpu/1", 20.0), ("cpu/2", 38.0), *([("cuda", 4000.0)] if gpu else [])):
        copies = [
            {"nbytes": 8.0 * (1 << k), "gbps": speed * (3 if k < 20 else 1)}
            for k in range(10, 27, 2)
        ]
        made["roofline"][key] = {"copies": copies, "gflops": speed * 4, "product": 2048}
    for name in ("digits, LeNet 28x28", "text, small GPT"):
        for column in columns[:4] + columns[5:]:
            spent = 3.0 * PACE[column.key]
            made["trainings"].append({
                "name": name, "goal": "95% of held-out images right", **column._asdict(), "column": column.key,
                "step": spent / 80, "steps": 80, "value": 0.96, "seconds": spent, "curve": [[0.0, 0.1], [spent, 0.96]],
                "speedup": {},
            })  # fmt: skip
    made["left_out"].append({"what": "matmul, 2^26", "why": "a call would take about 12 s"})
    made["finished"] = True
    return made
