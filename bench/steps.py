"""Whole training steps: forward, loss, backward and optimizer; one source for both libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad.bench import models
from tilegrad.bench.rows.row import Operand, Prepared, floats, indices

LEARNING_RATE = 1e-3


def _classify(t: Any, model: Any, x: Any, y: Any) -> Any:
    return t.nn.functional.cross_entropy(model(x), y)


def _next_token(t: Any, model: Any, x: Any, y: Any) -> Any:
    scores = model(x)
    return t.nn.functional.cross_entropy(scores.view(-1, scores.shape[-1]), y.view(-1))


def _regress(t: Any, model: Any, x: Any, y: Any) -> Any:
    return t.nn.functional.mse_loss(model(x), y)


@dataclass(frozen=True)
class Step:
    """One benchmark: a step of training on a fixed batch.

    Attributes:
        area: of the table; name: the model and its batch.
        build: makes the model in a library.
        x, y: the batch.
        loss: ``loss(t, model, x, y)``.
        optimizer: ``Adam`` or ``SGD`` (with momentum 0.9).
    """

    area: str
    name: str
    build: Callable[[Any], Any]
    x: Operand
    y: Operand
    loss: Callable[..., Any] = _classify
    optimizer: str = "Adam"
    numpy: None = None
    flops: float = 0.0
    tolerance: float = 1e-3  # of losses and gradients that have gone through many layers
    accuracy: str = ""
    # what a row has and a step has not
    op: str = ""
    size: int = 0
    nbytes: float = 0.0
    exact: None = None
    summary: None = None
    # a ReLU whose input is within rounding of zero takes the other side in float32: a few elements of the gradients before it
    # change by much, their norm by thousandths (4e-3 measured, where the worst element was 5e-2 off)
    by_norm: bool = True
    compiled: bool = False
    transfer: str = ""
    backward: bool = True

    @property
    def operands(self) -> tuple[Operand, ...]:
        """The batch."""
        return self.x, self.y

    def arrays(self, seed: int = 0) -> list[np.ndarray]:
        """The batch, the same on every run."""
        rng = np.random.default_rng(seed)
        return [o.make(rng) for o in self.operands]

    def prepare(
        self,
        library: str,
        dtype: str = "float32",
        device: str = "cpu",
        arrays: list[np.ndarray] | None = None,
    ) -> Prepared:
        """The step in ``library``; all start from the same weights."""
        t = __import__(library)
        made = self.arrays() if arrays is None else arrays
        made = [
            a.astype(dtype) if a.dtype == np.float32 and dtype != "float32" else a for a in made
        ]
        x, y = (t.from_numpy(a).to(device) for a in made)
        model = self.build(t)
        fill(t, model, np.random.default_rng(1))
        model = model.to(device).to(getattr(t, dtype))
        optimizer = self._optimizer(t, model)

        def step() -> Any:
            optimizer.zero_grad()
            loss = self.loss(t, model, x, y)
            loss.backward()
            optimizer.step()
            return loss

        def results() -> list[np.ndarray]:
            losses = [step().detach().cpu().numpy()]
            gradients = [p.grad.detach().cpu().numpy().copy() for p in model.parameters()]
            losses += [step().detach().cpu().numpy() for _ in range(3)]
            return [np.stack(losses), *gradients]

        return Prepared(step, results)

    def _optimizer(self, t: Any, model: Any) -> Any:
        if self.optimizer == "SGD":
            return t.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)
        return t.optim.Adam(model.parameters(), lr=LEARNING_RATE)


def fill(t: Any, model: Any, rng: np.random.Generator) -> None:
    """Every parameter gets the same random values in every library."""
    with t.no_grad():
        for name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            bound = float(np.sqrt(3 / np.prod(shape[1:]))) if len(shape) > 1 else 0.1
            values = rng.uniform(-bound, bound, shape).astype(np.float32)
            if len(shape) == 1 and "bias" not in name:  # the scale of a norm
                values += 1
            parameter.copy_(t.from_numpy(values))


STEPS = {
    step.name: step
    for step in (
        Step("training", "MLP 784-256-128-10, batch 64", models.mlp, floats(64, 784), indices(64, below=10)),
        Step("training", "LeNet 28x28, batch 64", models.lenet, floats(64, 1, 28, 28), indices(64, below=10)),
        Step("training", "residual network 32x32, batch 32", models.residual, floats(32, 3, 32, 32),
             indices(32, below=10), optimizer="SGD"),
        Step("training", "transformer encoder layer, batch 16", models.encoder, floats(16, 64, 128),
             floats(16, 64, 128), loss=_regress),
        Step("training", "small GPT, batch 8", models.gpt, indices(8, 64, below=256),
             indices(8, 64, below=256), loss=_next_token),
        Step("overhead", "step of a tiny MLP", models.tiny, floats(8, 8), indices(8, below=4)),
    )
}  # fmt: skip
