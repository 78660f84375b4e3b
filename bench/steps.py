"""Whole training steps: the same model code in tilegrad and in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _mlp(t: Any) -> Any:
    nn = t.nn
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def _lenet(t: Any) -> Any:
    nn = t.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def _tiny(t: Any) -> Any:
    return t.nn.Sequential(t.nn.Linear(8, 16), t.nn.Tanh(), t.nn.Linear(16, 4))


STEPS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], int]] = {
    "mlp-784-batch64": (_mlp, (64, 784), 10),
    "lenet-28x28-batch64": (_lenet, (64, 1, 28, 28), 10),
    "tiny-mlp-batch8": (_tiny, (8, 8), 4),
}


def prepare(name: str, library: str, device: str = "cpu") -> Callable[[], Any]:
    """One step of Adam on the cross-entropy of a fixed batch."""
    build, shape, classes = STEPS[name]
    t = __import__(library)
    rng = np.random.default_rng(0)
    x = t.from_numpy(rng.standard_normal(shape).astype(np.float32)).to(device)
    y = t.from_numpy(rng.integers(0, classes, shape[0])).to(device)
    t.manual_seed(0)
    model = build(t).to(device)
    optimizer = t.optim.Adam(model.parameters(), lr=1e-3)
    loss_function = t.nn.CrossEntropyLoss()

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step
