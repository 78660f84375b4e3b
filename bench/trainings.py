"""Whole trainings to a stated accuracy or loss: one source, the same weights and batches in each library."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad.bench import columns, models
from tilegrad.bench.columns import Column
from tilegrad.bench.steps import fill

Batch = tuple[np.ndarray, np.ndarray]
EVERY = 10  # steps between two looks at the held-out part, which are not timed

Record = dict[str, Any]


@dataclass(frozen=True)
class Training:
    """A model, its data and what it has to reach.

    Attributes:
        data: ``data(rng)`` gives the training part and the held-out part.
        goal: ``accuracy`` of the held-out part (at least), or its ``loss`` (at most), and the value.
        limit: steps after which it has failed.
    """

    name: str
    build: Callable[[Any], Any]
    data: Callable[[np.random.Generator], tuple[Batch, Batch]]
    goal: tuple[str, float]
    batch: int = 64
    rate: float = 1e-3
    limit: int = 600
    optimizer: str = "Adam"

    @property
    def stated(self) -> str:
        """The goal in words."""
        what, value = self.goal
        return (
            f"{value:.0%} of held-out images right"
            if what == "accuracy"
            else f"held-out loss {value:g}"
        )


def _digits(side: int, channels: int = 1, flat: bool = False) -> Callable[..., tuple[Batch, Batch]]:
    """scikit-learn's 1797 digits, 360 of them held out, magnified."""

    def data(rng: np.random.Generator) -> tuple[Batch, Batch]:
        from sklearn.datasets import load_digits

        found = load_digits()
        x = (found.images / 8 - 1).astype(np.float32)
        wide = x.repeat(-(-side // 8), 1).repeat(-(-side // 8), 2)[:, :side, :side]
        images = np.ascontiguousarray(np.repeat(wide[:, None], channels, 1))
        if flat:
            images = images.reshape(len(images), -1)
        order = rng.permutation(len(images))
        images, labels = images[order], found.target[order].astype(np.int64)
        return (images[360:], labels[360:]), (images[:360], labels[:360])

    return data


def _sequences(rng: np.random.Generator) -> tuple[Batch, Batch]:
    """To each element of a sequence of vectors the sequence's mean: what attention is for."""
    x = rng.standard_normal((1024 + 128, 64, 128), dtype=np.float32) * 0.5
    x += rng.standard_normal((1024 + 128, 1, 128), dtype=np.float32)
    y = np.broadcast_to(x.mean(1, keepdims=True), x.shape).astype(np.float32)
    return (x[128:], y[128:]), (x[:128], y[:128])


def _text(rng: np.random.Generator) -> tuple[Batch, Batch]:
    """Bytes of Python's own reference, 64 at a time, and the byte after each."""
    import pydoc_data.topics as topics

    text = "\n".join(topics.topics[k] for k in sorted(topics.topics)).encode()
    values = np.frombuffer(text, np.uint8).astype(np.int64)
    starts = rng.integers(0, len(values) - 65, 4096 + 64)
    cut = values[starts[:, None] + np.arange(65)]
    x, y = np.ascontiguousarray(cut[:, :-1]), np.ascontiguousarray(cut[:, 1:])
    return (x[64:], y[64:]), (x[:64], y[:64])


TRAININGS = [
    Training("digits, MLP", models.mlp, _digits(28, flat=True), ("accuracy", 0.95)),
    Training("digits, LeNet 28x28", models.lenet, _digits(28), ("accuracy", 0.95)),
    Training("digits, residual network 32x32", models.residual, _digits(32, 3), ("accuracy", 0.95),
             batch=32, rate=3e-3),
    Training("sequence means, transformer encoder", models.encoder, _sequences, ("loss", 0.2), batch=16),
    Training("text, small GPT", models.gpt, _text, ("loss", 2.6), batch=8),
]  # fmt: skip
QUICK = TRAININGS[:1]


def _loss(t: Any, scores: Any, y: Any) -> Any:
    """Cross entropy of classes, the mean square of vectors."""
    if y.is_floating_point():
        return t.nn.functional.mse_loss(scores, y)
    return t.nn.functional.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))


class _Run:
    """A training in one library on one device."""

    def __init__(self, training: Training, column: Column):
        self.training, self.column = training, column
        self.t: Any = __import__(column.library)
        rng = np.random.default_rng(0)
        self.train, self.held = training.data(rng)
        self.model = training.build(self.t)
        fill(self.t, self.model, rng)
        self.model = self.model.to(column.device)
        make = getattr(self.t.optim, training.optimizer)
        self.optimizer = make(self.model.parameters(), lr=training.rate)
        self.order = np.random.default_rng(1)
        self.queue: list[int] = []

    def _place(self, array: np.ndarray) -> Any:
        return self.t.from_numpy(array).to(self.column.device)

    def batch(self) -> Batch:
        """The next batch; the same ones in every library."""
        if len(self.queue) < self.training.batch:
            self.queue = list(self.order.permutation(len(self.train[0])))
        taken = [self.queue.pop() for _ in range(self.training.batch)]
        return self.train[0][taken], self.train[1][taken]

    def step(self, batch: Batch) -> None:
        """Forward, loss, backward, update."""
        x, y = map(self._place, batch)
        self.optimizer.zero_grad()
        _loss(self.t, self.model(x), y).backward()
        self.optimizer.step()

    def value(self) -> float:
        """Accuracy or loss of the held-out part."""
        self.model.eval()
        with self.t.no_grad():
            x, y = map(self._place, self.held)
            scores = self.model(x)
            if self.training.goal[0] == "accuracy":
                found = float((scores.argmax(-1) == y).float().mean().item())
            else:
                found = float(_loss(self.t, scores, y).item())
        self.model.train()
        return found

    def reached(self, value: float) -> bool:
        """Whether the goal is met."""
        what, goal = self.training.goal
        return value >= goal if what == "accuracy" else value <= goal


def run(training: Training, column: Column) -> Record:
    """Train until the goal is met; seconds are those of the steps alone, after one that compiles."""
    columns.use(column)
    warm = _Run(training, column)
    warm.step(warm.batch())
    warm.value()
    columns.synchronize(column)
    one = _Run(training, column)
    spent, done, value, times = 0.0, 0, one.value(), []
    curve = [[0.0, value]]
    while not one.reached(value) and done < training.limit:
        batches = [one.batch() for _ in range(EVERY)]
        start = time.perf_counter()
        for batch in batches:
            one.step(batch)
        columns.synchronize(column)
        times.append((time.perf_counter() - start) / EVERY)
        spent, done, value = spent + times[-1] * EVERY, done + EVERY, one.value()
        curve.append([round(spent, 6), round(value, 6)])
    return {
        **_what(training, column), "step": sorted(times)[len(times) // 2], "steps": done, "value": value,
        "seconds": spent if one.reached(value) else None, "curve": curve, "speedup": {},
    }  # fmt: skip


def _what(training: Training, column: Column) -> Record:
    return {
        "name": training.name,
        "goal": training.stated,
        **column._asdict(),
        "column": column.key,
    }


def measure(training: Training, found: Sequence[Column]) -> list[Record]:
    """A record for each column that trains; speedups are of the time to the goal, where both met it."""
    records = []
    for column in found:
        if column.library not in ("tilegrad", "torch"):
            continue
        try:
            records.append(run(training, column))
        except Exception as error:  # another library's, or a kernel's: the others go on
            fault = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            records.append({**_what(training, column), "fault": fault})
    met = [r for r in records if r.get("seconds")]
    for one in met:
        one["speedup"] = {o["column"]: o["seconds"] / one["seconds"] for o in met if o is not one}
    return records
