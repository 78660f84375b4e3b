"""The kernels of examples/kernels, as a user writes them, beside the same function in PyTorch's ops."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from tilegrad.bench.rows.row import Call, Row, floats, rows

_rows = partial(rows, "kernels", tolerance=1e-4)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "kernels"  # of a clone alone


@cache
def _example(name: str) -> Any:
    """The module of that example, wherever the program was called from."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(f"examples.kernels.{name}", EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _either(name: str, op: str, theirs: Call) -> Callable[..., Any]:
    """The example's op in tilegrad, PyTorch's ops in PyTorch."""

    def call(t: Any, *operands: Any) -> Any:
        if t.__name__ != "tilegrad":
            return theirs(*operands)
        made = getattr(_example(name), op)(*operands)
        return made[0] if isinstance(made, tuple) else made

    return call


def _torch(name: str) -> Any:
    import torch

    return getattr(torch, name)


def _rms_norm(x: Any, weight: Any) -> Any:
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight


def _rotary(x: Any, cosine: Any, sine: Any) -> Any:
    a, b = x.chunk(2, -1)
    return _torch("cat")([a * cosine - b * sine, b * cosine + a * sine], -1)


def _heat(u: Any) -> Any:
    edge = _torch("nn").functional.pad(u, (1, 1, 1, 1))
    around = edge[:-2, 1:-1] + edge[2:, 1:-1] + edge[1:-1, :-2] + edge[1:-1, 2:]
    return u + 0.1 * (around - 4 * u)


def _block_end(x: Any, bias: Any, residual: Any, draw: Any) -> Any:
    return residual + _torch("where")(draw >= 0.1, (x + bias) / 0.9, 0)


ROWS: list[Row] = [
    *_rows("swish, 1e6", _either("swish", "swish", lambda x: x * x.sigmoid()), floats(1000, 1000)),
    *_rows(
        "bias, dropout, residual, 2048x768",
        _either("bias_dropout_residual", "bias_dropout_residual", _block_end),
        floats(2048, 768), floats(768), floats(2048, 768),
        floats(2048, 768, low=0.0, grad=False),
    ),
    *_rows(
        "rms norm, 2048x768", _either("rms_norm", "rms_norm", _rms_norm), floats(2048, 768),
        floats(768),
    ),
    *_rows(
        "rotary, 8x12x256x64", _either("rotary", "rotary", _rotary), floats(8, 12, 256, 64),
        floats(256, 32), floats(256, 32),
    ),
    *_rows("heat step, 1024x1024", _either("heat", "heat_step", _heat), floats(1024, 1024)),
    *_rows(
        "one-page matmul, 512", _either("matmul", "matmul", lambda x, y: x @ y), floats(512, 512),
        floats(512, 512), flops=2.0 * 512**3,
    ),
    *_rows(
        "histogram, 1e6 into 10",
        _either("histogram", "histogram", lambda x: _torch("histc")(x, 10, 0.0, 1.0).long()),
        floats(1_000_000), passes="f",
    ),
]  # fmt: skip
