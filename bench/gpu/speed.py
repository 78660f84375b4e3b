"""Speed on the hardware: bandwidth, products, convolutions, overhead, training steps, CPU against GPU.

All libraries run in one process, interleaved, best of several rounds; a round queues many calls and
waits once. TF32 is off everywhere. Families are compared with the copy bandwidth measured here.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tilegrad
from bench import steps

Call = Callable[[], Any]
ROUNDS = 5
LIBRARIES: dict[str, Any] = {"tilegrad": tilegrad, "torch": torch}

torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.benchmark = True


def _wait() -> None:
    tilegrad.cuda.synchronize()
    torch.cuda.synchronize()


def measure(calls: dict[str, Call], target: float = 0.02) -> dict[str, float]:
    """Best seconds per call of each, over interleaved rounds."""
    counts = {}
    for name, call in calls.items():
        call()
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


def families() -> dict[str, Any]:
    """Every memory-bound family as a share of the copy bandwidth."""
    copies = {}
    for name, t in LIBRARIES.items():
        (x,) = tensors(t, (N,))
        copies[name] = lambda x=x: x.clone()
    seconds = measure(copies)
    copy = 8 * N / min(seconds.values())
    rows: dict[str, Any] = {"copy": {"GB/s": copy / 1e9, **seconds}}
    for name, (function, shapes, moved) in FAMILIES.items():
        try:
            found = both(function, *shapes)
            rows[name] = {
                "share of copy": moved / found["tilegrad"] / copy,
                "torch/tilegrad": found["torch"] / found["tilegrad"],
                "GB/s": moved / found["tilegrad"] / 1e9,
            }
        except Exception as error:
            rows[name] = {"error": f"{type(error).__name__}: {error}"[:300]}
    return rows


def products() -> dict[str, Any]:
    """float32 matrix products against cuBLAS, by way of PyTorch and CuPy."""
    rows: dict[str, Any] = {}
    sizes = [(n, n, n) for n in (256, 512, 1024, 2048, 4096, 8192)]
    sizes += [(4, 4096, 4096), (1, 4096, 4096), (64, 64, 65536), (4097, 4095, 4093)]
    for m, n, k in sizes:
        name = f"{m}x{n}x{k}"
        try:
            found = both(lambda t, x, y: x @ y, (m, k), (k, n))
            row = {
                "TFLOP/s": 2 * m * n * k / found["tilegrad"] / 1e12,
                "torch/tilegrad": found["torch"] / found["tilegrad"],
            }
            row.update(_cupy(m, n, k, found["tilegrad"]))
            rows[name] = row
        except Exception as error:
            rows[name] = {"error": f"{type(error).__name__}: {error}"[:300]}
    turned = both(lambda t, x, y: x @ y.t(), (4096, 4096), (4096, 4096))
    rows["4096 x 4096.T"] = {"torch/tilegrad": turned["torch"] / turned["tilegrad"]}
    return rows


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
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    return {
        "forward, torch/tilegrad": one["torch"] / one["tilegrad"],
        "with backward": two["torch"] / two["tilegrad"],
        "ms": one["tilegrad"] * 1e3,
    }


def convolutions() -> dict[str, Any]:
    """Against cuDNN."""

    def convolve(t: Any, x: Any, w: Any, how: dict[str, int]) -> Any:
        return t.nn.functional.conv2d(x, w, **how)

    return {
        name: _with_backward(partial(convolve, how=how), shape, weight)
        for name, (shape, weight, how) in CONVOLUTIONS.items()
    }


def attention() -> dict[str, Any]:
    """Against PyTorch's choice among its float32 kernels."""

    def attend(t: Any, q: Any, k: Any, v: Any, causal: bool) -> Any:
        return t.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    rows = {}
    for shape in ((8, 16, 1024, 64), (2, 8, 4096, 128), (64, 8, 128, 32)):
        for causal in (False, True):
            name = ("causal " if causal else "") + "x".join(map(str, shape))
            rows[name] = _with_backward(partial(attend, causal=causal), shape, shape, shape)
    return rows


def overhead() -> dict[str, Any]:
    """Host time to queue a small op."""
    small = {
        "x + y": lambda t, x, y: x + y,
        "x.exp()": lambda t, x, y: x.exp(),
        "x.sum()": lambda t, x, y: x.sum(),
        "x @ y.t()": lambda t, x, y: x @ y.t(),
        "softmax": lambda t, x, y: t.softmax(x, 1),
    }
    rows = {}
    for name, function in small.items():
        calls = {}
        for library, t in LIBRARIES.items():
            operands = tensors(t, (8, 8), (8, 8))
            calls[library] = lambda t=t, o=operands: function(t, *o)  # noqa: B023
        found = measure(calls)
        rows[name] = {
            "tilegrad us": found["tilegrad"] * 1e6,
            "torch us": found["torch"] * 1e6,
            "tilegrad/torch": found["tilegrad"] / found["torch"],
        }
    return rows


def training() -> dict[str, Any]:
    """Whole steps, and the speedup over this machine's processor."""
    rows = {}
    for name, step in steps.STEPS.items():
        try:
            found = measure({k: step.prepare(k, "cuda").call for k in LIBRARIES}, 0.1)
            host = measure({"tilegrad": step.prepare("tilegrad", "cpu").call}, 0.1)
            rows[name] = {
                "ms": found["tilegrad"] * 1e3,
                "torch/tilegrad": found["torch"] / found["tilegrad"],
                "CPU/GPU": host["tilegrad"] / found["tilegrad"],
            }
        except Exception as error:
            rows[name] = {"error": f"{type(error).__name__}: {error}"[:300]}
    return rows


def speedups() -> dict[str, Any]:
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
    rows = {}
    for name, (function, shapes) in work.items():
        there = tensors(tilegrad, *shapes)
        here = [x.cpu() for x in there]
        found = measure({"gpu": lambda: function(*there), "cpu": lambda: function(*here)})  # noqa: B023
        rows[name] = {"CPU/GPU": found["cpu"] / found["gpu"]}
    return rows


SECTIONS = (families, products, convolutions, attention, overhead, training, speedups)


def main() -> None:
    """All sections; each is written down as soon as it is done."""
    path, result = Path(sys.argv[1]), {}
    for section in SECTIONS:
        try:
            result[section.__name__] = section()
        except Exception as error:
            result[section.__name__] = {"error": f"{type(error).__name__}: {error}"[:500]}
        path.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
