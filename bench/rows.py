"""The table of benchmarks: what runs, on what, in which libraries.

A row's ``call(t, *tensors)`` runs with ``t`` being tilegrad or torch; ``numpy`` is NumPy's way of
doing the same, where it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One benchmark.

    Attributes:
        group: the area; name: what is particular.
        call: forward, on tensors.
        shapes: of the operands, float32 unless ``integers`` names their positions.
        numpy: the same on arrays, or None.
        backward: also run the backward pass from the sum of the result.
        recorded: the operands require gradients, so the forward records a node.
        flops: of one call, for GFLOP/s; bytes: touched at least, for GB/s.
    """

    group: str
    name: str
    call: Callable[..., Any]
    shapes: tuple[Shape, ...]
    numpy: Callable[..., Any] | None = None
    backward: bool = False
    recorded: bool = False
    flops: float = 0.0
    bytes: float = 0.0
    low: float = -1.0

    def arrays(self) -> list[np.ndarray]:
        """Fresh operands, the same on every run."""
        rng = np.random.default_rng(len(self.name))
        return [rng.uniform(self.low, 1.0, s).astype(np.float32) for s in self.shapes]

    def prepare(self, library: str) -> Callable[[], Any]:
        """A call without arguments in ``library``: ``tilegrad``, ``torch`` or ``numpy``."""
        arrays = self.arrays()
        if library == "numpy":
            assert self.numpy is not None
            function = self.numpy
            return lambda: function(*arrays)
        t = __import__(library)
        tensors = [t.from_numpy(a) for a in arrays]
        if self.backward or self.recorded:
            for tensor in tensors:
                tensor.requires_grad_()
        if not self.backward:
            return lambda: self.call(t, *tensors)

        def both() -> None:
            for tensor in tensors:
                tensor.grad = None
            self.call(t, *tensors).sum().backward()

        return both


def _elementwise() -> list[Row]:
    rows = []
    for n in (1_000, 100_000, 10_000_000):
        unary: dict[str, tuple[Any, Any]] = {
            "exp": (lambda t, x: t.exp(x), np.exp),
            "tanh": (lambda t, x: t.tanh(x), np.tanh),
            "sigmoid": (lambda t, x: t.sigmoid(x), None),
        }
        rows += [
            Row("elementwise", f"{k}-{n:.0e}", c, ((n,),), f, bytes=8 * n)
            for k, (c, f) in unary.items()
        ]
        rows += [
            Row(
                "elementwise",
                f"add-{n:.0e}",
                lambda t, x, y: x + y,
                ((n,), (n,)),
                np.add,
                bytes=12 * n,
            ),
            Row(
                "elementwise",
                f"mul-scalar-{n:.0e}",
                lambda t, x: x * 1.5,
                ((n,),),
                lambda x: x * np.float32(1.5),
                bytes=8 * n,
            ),
            Row(
                "elementwise",
                f"log-{n:.0e}",
                lambda t, x: t.log(x),
                ((n,),),
                np.log,
                bytes=8 * n,
                low=0.1,
            ),
        ]
    rows += [
        Row("elementwise", "add-row", lambda t, x, y: x + y, ((1024, 1024), (1024,)), np.add, bytes=8 << 20),
        Row("elementwise", "add-column", lambda t, x, y: x + y, ((1024, 1024), (1024, 1)), np.add, bytes=8 << 20),
        Row("elementwise", "add-transposed", lambda t, x, y: x + y.t(), ((1024, 1024), (1024, 1024)), lambda x, y: x + y.T, bytes=12 << 20),
    ]  # fmt: skip
    return rows


def _reduction() -> list[Row]:
    rows = []
    for shape in ((64, 128), (1024, 512), (4096, 2048)):
        size = 4 * shape[0] * shape[1]
        tag = "x".join(map(str, shape))
        rows += [
            Row("reduction", f"sum-{tag}", lambda t, x: x.sum(), (shape,), np.sum, bytes=size),
            Row("reduction", f"sum-dim0-{tag}", lambda t, x: x.sum(0), (shape,), lambda x: x.sum(0), bytes=size),
            Row("reduction", f"sum-dim1-{tag}", lambda t, x: x.sum(1), (shape,), lambda x: x.sum(1), bytes=size),
            Row("reduction", f"amax-dim1-{tag}", lambda t, x: x.amax(1), (shape,), lambda x: x.max(1), bytes=size),
            Row("reduction", f"argmax-dim1-{tag}", lambda t, x: x.argmax(1), (shape,), lambda x: x.argmax(1), bytes=size),
            Row("reduction", f"var-dim1-{tag}", lambda t, x: x.var(1), (shape,), lambda x: x.var(1, ddof=1), bytes=size),
            Row("reduction", f"softmax-{tag}", lambda t, x: t.softmax(x, -1), (shape,), bytes=2 * size),
            Row("reduction", f"layer-norm-{tag}", lambda t, x: t.nn.functional.layer_norm(x, x.shape[-1:]), (shape,), bytes=2 * size),
        ]  # fmt: skip
    return rows


def _matmul() -> list[Row]:
    def row(name: str, x: Shape, y: Shape, **how: Any) -> Row:
        batch = int(np.prod(x[:-2], dtype=int))
        return Row(
            "matmul", name, lambda t, a, b: a @ b, (x, y), np.matmul,
            flops=2.0 * batch * x[-2] * x[-1] * y[-1], **how,
        )  # fmt: skip

    rows = [row(f"{n}", (n, n), (n, n)) for n in (32, 64, 128, 256, 512, 1024, 2048)]
    rows += [
        row("64x784x128", (64, 784), (784, 128)),
        row("64x128x10", (64, 128), (128, 10)),
        row("batched-32x64", (32, 64, 64), (32, 64, 64)),
        row("vector-1024", (1, 1024), (1024, 1024)),
    ]
    return rows


def _convolution() -> list[Row]:
    rows = []
    for n, c, size, k in ((32, 64, 32, 64), (64, 1, 28, 32), (32, 3, 32, 64), (16, 128, 16, 128)):
        flops = 2.0 * n * k * c * 9 * size * size
        for backward in (False, True):
            rows.append(
                Row(
                    "convolution",
                    f"3x3-n{n}-c{c}-{size}-k{k}{'-backward' if backward else ''}",
                    lambda t, x, w: t.nn.functional.conv2d(x, w, padding=1),
                    ((n, c, size, size), (k, c, 3, 3)),
                    backward=backward,
                    flops=flops * (3 if backward else 1),
                )
            )
    rows.append(
        Row(
            "convolution",
            "max-pool",
            lambda t, x: t.nn.functional.max_pool2d(x, 2),
            ((32, 64, 32, 32),),
        )
    )
    return rows


def _overhead() -> list[Row]:
    def chain(t: Any, x: Any, y: Any) -> Any:
        return (x * y + x).relu()

    s = (32,)
    return [
        Row("overhead", "add", lambda t, x, y: x + y, (s, s), np.add),
        Row("overhead", "add-recorded", lambda t, x, y: x + y, (s, s), recorded=True),
        Row("overhead", "mul-scalar", lambda t, x: x * 2.0, (s,), lambda x: x * np.float32(2)),
        Row("overhead", "sum", lambda t, x: x.sum(), (s,), np.sum),
        Row("overhead", "view", lambda t, x: x.view(4, 8).t(), (s,), lambda x: x.reshape(4, 8).T),
        Row("overhead", "index", lambda t, x: x[3], (s,), lambda x: x[3]),
        Row("overhead", "chain-backward", chain, (s, s), backward=True),
    ]


ROWS = [*_elementwise(), *_reduction(), *_matmul(), *_convolution(), *_overhead()]
