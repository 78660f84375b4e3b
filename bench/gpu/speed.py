"""Speed on the hardware: bandwidth, products, convolutions, overhead, training steps, CPU against GPU.

Each section is a process of its own; there all libraries are interleaved, best of several rounds; a round queues many calls and
waits once. TF32 is off everywhere. Families are compared with the copy bandwidth measured here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tilegrad
from tilegrad.bench import steps
from tilegrad.bench.gpu.pool import Writer, quick

Call = Callable[[], Any]
Rows = Iterator[tuple[str, dict[str, Any]]]
ROUNDS = 5
LIBRARIES: dict[str, Any] = {"tilegrad": tilegrad, "torch": torch}

torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.benchmark = True


def _fault(error: Exception) -> dict[str, Any]:
    return {"error": f"{type(error).__name__}: {error}"[:300]}


def _wait() -> None:
    tilegrad.cuda.synchronize()
    torch.cuda.synchronize()


def measure(calls: dict[str, Call], target: float = 0.02) -> dict[str, float]:
    """Best seconds per call of each, over interleaved rounds.

    How many calls make a round, the third one tells: the first makes kernels, and the second may still
    allocate.
    """
    counts = {}
    for name, call in calls.items():
        for _ in range(3):
            _wait()
            start = time.perf_counter()
            call()
            _wait()
        counts[name] = max(1, min(2000, int(target / max(time.perf_counter() - start, 1e-6))))
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            _wait()
            start = time.perf_counter()
            for _ in range(counts[name]):
                call()
            _wait()
            best[name] = min(best[name], (time.perf_counter() - start) / counts[name])
    return best


def tensors(t: Any, *shapes: tuple[int, ...], grad: bool = False) -> list[Any]:
    """Random float32 operands on the GPU, the same in every library."""
    rng = np.random.default_rng(1)
    made = [t.from_numpy(rng.standard_normal(s, dtype=np.float32)).to("cuda") for s in shapes]
    return [m.requires_grad_() for m in made] if grad else made


def both(function: Callable[..., Any], *shapes: tuple[int, ...]) -> dict[str, float]:
    """Seconds of ``function(library, *operands)`` in each library."""
    calls = {}
    for name, t in LIBRARIES.items():
        operands = tensors(t, *shapes)
        calls[name] = lambda t=t, o=operands: function(t, *o)
    found = measure(calls)
    tilegrad.cuda.empty_cache()
    torch.cuda.empty_cache()
    return found


N = 1 << 26  # elements of the large operands: 256 MB each
ROWS = (1 << 14, 1 << 12)
FAMILIES: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...], float]] = {
    # name: (call, shapes, bytes moved per call)
    "add": (lambda t, x, y: x + y, ((N,), (N,)), 12 * N),
    "exp": (lambda t, x: x.exp(), ((N,),), 8 * N),
    "gelu": (lambda t, x: t.nn.functional.gelu(x), ((N,),), 8 * N),
    "add row": (lambda t, x, y: x + y, (ROWS, (ROWS[1],)), 8 * N),
    "add transposed": (lambda t, x, y: x + y.t(), ((8192, 8192), (8192, 8192)), 12 * N),
    "sum": (lambda t, x: x.sum(), ((N,),), 4 * N),
    "sum rows": (lambda t, x: x.sum(1), (ROWS,), 4 * N),
    "sum columns": (lambda t, x: x.sum(0), (ROWS,), 4 * N),
    "amax rows": (lambda t, x: x.amax(1), (ROWS,), 4 * N),
    "var rows": (lambda t, x: x.var(1), (ROWS,), 4 * N),
    "softmax": (lambda t, x: t.softmax(x, 1), (ROWS,), 8 * N),
    "log_softmax 1024": (lambda t, x: t.log_softmax(x, 1), ((1 << 16, 1 << 10),), 8 * N),
    "layer_norm": (
        lambda t, x, w, b: t.nn.functional.layer_norm(x, (ROWS[1],), w, b),
        (ROWS, (ROWS[1],), (ROWS[1],)),
        8 * N,
    ),
    "cumsum": (lambda t, x: x.cumsum(1), (ROWS,), 8 * N),
    "transpose copy": (lambda t, x: x.t().contiguous(), ((8192, 8192),), 8 * N),
    "cat": (lambda t, x, y: t.cat((x, y)), ((N // 2,), (N // 2,)), 8 * N),
    "max_pool2d": (lambda t, x: t.nn.functional.max_pool2d(x, 2), ((64, 64, 128, 128),), 5 * N),
    "sort": (lambda t, x: t.sort(x, 1).values, ((1 << 12, 1 << 10),), 16 * (1 << 22)),
    "topk": (lambda t, x: t.topk(x, 16).values, ((1 << 12, 1 << 12),), 4 * (1 << 24)),
}


def families() -> Rows:
    """Every memory-bound family as a share of the copy bandwidth."""
    copies = {}
    for name, t in LIBRARIES.items():
        (x,) = tensors(t, (N,))
        copies[name] = lambda x=x: x.clone()
    seconds = measure(copies)
    copy = 8 * N / min(seconds.values())
    yield "copy", {"GB/s": copy / 1e9, **seconds}
    for name, (function, shapes, moved) in FAMILIES.items():
        try:
            found = both(function, *shapes)
            row = {
                "share of copy": moved / found["tilegrad"] / copy,
                "torch/tilegrad": found["torch"] / found["tilegrad"],
                "GB/s": moved / found["tilegrad"] / 1e9,
            }
        except Exception as error:
            row = _fault(error)
        yield name, row


PRODUCTS = [(n, n, n) for n in (256, 512, 1024, 2048, 4096, 8192)]
PRODUCTS += [(4, 4096, 4096), (1, 4096, 4096), (64, 64, 65536), (4097, 4095, 4093)]


def products() -> Rows:
    """float32 matrix products against cuBLAS, by way of PyTorch and CuPy."""
    for m, n, k in PRODUCTS:
        name = f"{m}x{n}x{k}"
        try:
            found = both(lambda t, x, y: x @ y, (m, k), (k, n))
            row = {
                "TFLOP/s": 2 * m * n * k / found["tilegrad"] / 1e12,
                "torch/tilegrad": found["torch"] / found["tilegrad"],
            }
            row.update(_cupy(m, n, k, found["tilegrad"]))
        except Exception as error:
            row = _fault(error)
        yield name, row
    turned = both(lambda t, x, y: x @ y.t(), (4096, 4096), (4096, 4096))
    yield "4096 x 4096.T", {"torch/tilegrad": turned["torch"] / turned["tilegrad"]}


def _cupy(m: int, n: int, k: int, ours: float) -> dict[str, float]:
    try:
        import cupy
    except ImportError:
        return {}
    x, y = cupy.random.rand(m, k, dtype=cupy.float32), cupy.random.rand(k, n, dtype=cupy.float32)

    def call() -> None:
        x @ y

    call()
    cupy.cuda.Device().synchronize()
    count, best = max(1, min(200, int(0.02 / max(ours, 1e-6)))), float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(count):
            call()
        cupy.cuda.Device().synchronize()
        best = min(best, (time.perf_counter() - start) / count)
    return {"cupy/tilegrad": best / ours}


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, int]]] = {
    "3x3 c64 56": ((32, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
    "3x3 c128 28": ((32, 128, 28, 28), (128, 128, 3, 3), {"padding": 1}),
    "3x3 c256 14": ((32, 256, 14, 14), (256, 256, 3, 3), {"padding": 1}),
    "1x1 c256 28": ((32, 256, 28, 28), (256, 256, 1, 1), {}),
    "7x7 stem": ((32, 3, 224, 224), (64, 3, 7, 7), {"padding": 3, "stride": 2}),
    "3x3 stride 2": ((32, 64, 56, 56), (128, 64, 3, 3), {"padding": 1, "stride": 2}),
    "depthwise 3x3": ((32, 256, 56, 56), (256, 1, 3, 3), {"padding": 1, "groups": 256}),
}


def _with_backward(function: Callable[..., Any], *shapes: tuple[int, ...]) -> dict[str, Any]:
    """Forward, and forward with backward, against PyTorch; or why not."""
    try:
        one = both(function, *shapes)
        calls = {}
        for library, t in LIBRARIES.items():
            operands = tensors(t, *shapes, grad=True)

            def step(t: Any = t, operands: list[Any] = operands) -> None:
                for x in operands:
                    x.grad = None
                function(t, *operands).sum().backward()

            calls[library] = step
        two = measure(calls)
    except Exception as error:
        return _fault(error)
    return {
        "forward, torch/tilegrad": one["torch"] / one["tilegrad"],
        "with backward": two["torch"] / two["tilegrad"],
        "ms": one["tilegrad"] * 1e3,
    }


def _convolve(t: Any, x: Any, w: Any, how: dict[str, int]) -> Any:
    return t.nn.functional.conv2d(x, w, **how)


def convolutions() -> Rows:
    """Against cuDNN."""

    for name, (shape, weight, how) in CONVOLUTIONS.items():
        yield name, _with_backward(partial(_convolve, how=how), shape, weight)


ATTENTION = ((8, 16, 1024, 64), (2, 8, 4096, 128), (64, 8, 128, 32))


def _attend(t: Any, q: Any, k: Any, v: Any, causal: bool) -> Any:
    return t.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)


def attention() -> Rows:
    """Against PyTorch's choice among its float32 kernels."""

    for shape in ATTENTION:
        for causal in (False, True):
            name = ("causal " if causal else "") + "x".join(map(str, shape))
            yield name, _with_backward(partial(_attend, causal=causal), shape, shape, shape)


SMALL: dict[str, Callable[..., Any]] = {
    "x + y": lambda t, x, y: x + y,
    "x.exp()": lambda t, x, y: x.exp(),
    "x.sum()": lambda t, x, y: x.sum(),
    "x @ y.t()": lambda t, x, y: x @ y.t(),
    "softmax": lambda t, x, y: t.softmax(x, 1),
}


def overhead() -> Rows:
    """Host time to queue a small op."""
    for name, function in SMALL.items():
        calls = {}
        for library, t in LIBRARIES.items():
            operands = tensors(t, (8, 8), (8, 8))
            calls[library] = lambda t=t, o=operands: function(t, *o)  # noqa: B023
        found = measure(calls)
        yield (
            name,
            {
                "tilegrad us": found["tilegrad"] * 1e6,
                "torch us": found["torch"] * 1e6,
                "tilegrad/torch": found["tilegrad"] / found["torch"],
            },
        )


def training() -> Rows:
    """Whole steps, and the speedup over this machine's processor."""
    for name, step in steps.STEPS.items():
        try:
            found = measure({k: step.prepare(k, device="cuda").call for k in LIBRARIES}, 0.1)
            host = measure({"tilegrad": step.prepare("tilegrad").call}, 0.1)
            row = {
                "ms": found["tilegrad"] * 1e3,
                "torch/tilegrad": found["torch"] / found["tilegrad"],
                "CPU/GPU": host["tilegrad"] / found["tilegrad"],
            }
        except Exception as error:
            row = _fault(error)
        yield name, row


def speedups() -> Rows:
    """tilegrad on this machine's processor against tilegrad on the GPU, large operands."""
    work: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
        "add 2^24": (lambda x, y: x + y, ((1 << 24,), (1 << 24,))),
        "gelu 2^24": (lambda x: tilegrad.nn.functional.gelu(x), ((1 << 24,),)),
        "matmul 2048": (lambda x, y: x @ y, ((2048, 2048), (2048, 2048))),
        "conv2d c64 56": (
            lambda x, w: tilegrad.nn.functional.conv2d(x, w, padding=1),
            ((16, 64, 56, 56), (64, 64, 3, 3)),
        ),
        "softmax 4096": (lambda x: tilegrad.softmax(x, 1), ((4096, 4096),)),
    }
    for name, (function, shapes) in work.items():
        there = tensors(tilegrad, *shapes)
        here = [x.cpu() for x in there]
        found = measure({"gpu": lambda: function(*there), "cpu": lambda: function(*here)})  # noqa: B023
        yield name, {"CPU/GPU": found["cpu"] / found["gpu"]}


def calls() -> Iterator[tuple[str, Callable[..., Any], tuple[tuple[int, ...], ...], bool]]:
    """(name, call, shapes of its operands, whether it is differentiated) of what is timed, but for
    training steps, and speedups, whose kernels are others' too.
    """
    for name, function in SMALL.items():
        yield name, function, ((8, 8), (8, 8)), False
    for name, (function, shapes, _) in FAMILIES.items():
        yield name, function, shapes, False
    for m, n, k in PRODUCTS:
        yield f"{m}x{n}x{k}", lambda t, x, y: x @ y, ((m, k), (k, n)), False
    yield "turned", lambda t, x, y: x @ y.t(), ((4096, 4096), (4096, 4096)), False
    for name, (shape, weight, how) in CONVOLUTIONS.items():
        yield name, partial(_convolve, how=how), (shape, weight), True
    for shape in ATTENTION:
        for causal in (False, True):
            yield f"attention {shape}", partial(_attend, causal=causal), (shape,) * 3, True


# section -> seconds it may take, whole and in a short run (0: not at all); most wanted first
SECTIONS: dict[str, tuple[Callable[[], Rows], int, int]] = {
    "overhead": (overhead, 14, 14),
    "families": (families, 26, 0),
    "products": (products, 18, 0),
    "convolutions": (convolutions, 20, 0),
    "attention": (attention, 16, 0),
    "training": (training, 20, 0),
    "speedups": (speedups, 14, 0),
}


def section(name: str, path: Path) -> None:
    """In a process of its own: the rows of one section, each written down as soon as it is there."""
    write, rows = Writer(path), dict[str, Any]()
    for row, columns in SECTIONS[name][0]():
        rows[row] = columns
        write(rows, now=True)


def measured(name: str, path: Path, seconds: float) -> dict[str, Any]:
    """The rows of a section, and what became of its process if that is not well."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tilegrad.bench.gpu.speed",
        "section",
        name,
        str(path),
    ]
    fault = None
    try:
        status = subprocess.run(command, timeout=seconds, check=False).returncode
        fault = f"exit status {status}" if status else None
    except subprocess.TimeoutExpired:
        fault = f"not done after {seconds:.0f} s"
    rows: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return {**rows, "error": fault} if fault else rows


def main() -> None:
    """All sections, one process after the other."""
    if sys.argv[1] == "section":
        section(sys.argv[2], Path(sys.argv[3]))
        return
    deadline = time.perf_counter() + float(sys.argv[2])
    write, failed = Writer(Path(sys.argv[1])), list[str]()
    result: dict[str, Any] = {"failed": failed}
    for name, (_, *limits) in SECTIONS.items():
        seconds = min(limits[quick()], deadline - time.perf_counter())
        if not limits[quick()]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows = measured(name, Path(folder) / "rows.json", max(seconds, 0.1))
        result[name] = rows
        failed += [f"{name}: {rows['error']}"] if "error" in rows else []
        failed += [
            f"{name}, {row}: {columns['error']}"
            for row, columns in rows.items()
            if isinstance(columns, dict) and "error" in columns
        ]
        write(result, now=True)


if __name__ == "__main__":
    main()
