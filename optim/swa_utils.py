"""Averages of a model's weights over its training: equal ones (SWA) and moving ones (EMA)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

from tilegrad.autograd.functions import tensor
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.dtype import int64
from tilegrad.nn import Module
from tilegrad.nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from tilegrad.optim.lr_scheduler.base import LRScheduler, per_group
from tilegrad.optim.optimizer import Optimizer

__all__ = [
    "AveragedModel", "SWALR", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip

One = Callable[[Tensor, Tensor, Any], Tensor]
Many = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def _check_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_multi_avg_fn(decay: float = 0.999) -> Many:
    """``f(averages, values, count)`` that keeps ``decay`` of each average, in place."""
    _check_decay(decay)

    @no_grad()
    def ema_update(averages: Sequence[Tensor], values: Sequence[Tensor], count: Any) -> None:
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(average * decay + value * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> Many:
    """``f(averages, values, count)`` that adds one value to each mean of ``count``, in place."""

    @no_grad()
    def swa_update(averages: Sequence[Tensor], values: Sequence[Tensor], count: Any) -> None:
        share = 1 / (int(count) + 1)
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, share)
            else:
                average.add_((value - average) // (int(count) + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> One:
    """``f(average, value, count)`` of a moving average that keeps ``decay`` of itself."""
    _check_decay(decay)

    @no_grad()
    def ema_update(average: Tensor, value: Tensor, count: Any) -> Tensor:
        mean: Tensor = average * decay + value * (1 - decay)
        return mean

    return ema_update


def get_swa_avg_fn() -> One:
    """``f(average, value, count)`` of the mean of ``count`` values and one more."""

    @no_grad()
    def swa_update(average: Tensor, value: Tensor, count: Any) -> Tensor:
        mean: Tensor = average + (value - average) / (count + 1)
        return mean

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's (Izmailov et al. 2018).

    Args:
        model: to average. device: where the copy lives.
        avg_fn: ``f(average, value, count)`` gives the new average of one parameter.
        multi_avg_fn: the same for lists of them, in place. Without either, the mean.
        use_buffers: average buffers too; else they are copied.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: One | None = None,
        multi_avg_fn: Many | None = None,
        use_buffers: bool = False,
    ):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=int64, device=device))
        self.avg_fn, self.multi_avg_fn = avg_fn, multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the parameters of ``model`` into the averages; the first time, copy them."""
        own, given = self._averaged(self.module), self._averaged(model)
        pairs = [(a.detach(), v.detach().to(a.device)) for a, v in zip(own, given, strict=False)]
        if self.n_averaged == 0:
            for average, value in pairs:
                average.copy_(value)
        elif self.avg_fn is not None:
            for average, value in pairs:
                average.copy_(self.avg_fn(average, value, self.n_averaged.to(average.device)))
        else:
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            alike: dict[Any, list[tuple[Tensor, Tensor]]] = {}
            for average, value in pairs:
                alike.setdefault((average.device, average.dtype), []).append((average, value))
            for rows in alike.values():
                averages, values = [a for a, _ in rows], [v for _, v in rows]
                update(averages, values, self.n_averaged.to(averages[0].device))
        if not self.use_buffers:
            for mine, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
                mine.detach().copy_(theirs.detach().to(mine.device))
        self.n_averaged += 1

    def _averaged(self, model: Module) -> Iterable[Tensor]:
        if self.use_buffers:
            return chain(model.parameters(), model.buffers())
        return model.parameters()


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Estimate the running statistics of ``model``'s batch norms anew, in one pass over ``loader``.

    Args:
        loader: of batches, or of lists and tuples whose first entry is one.
        device: where batches are brought first.
    """
    norms = [m for m in model.modules() if isinstance(m, (BatchNorm1d, BatchNorm2d, BatchNorm3d))]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    training = model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    for given in loader:
        batch = given[0] if isinstance(given, (list, tuple)) else given
        model(batch if device is None else batch.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(training)


class SWALR(LRScheduler):
    """From the rates as they are to ``swa_lr`` in ``anneal_epochs``, then constant.

    Args:
        swa_lr: one for all groups or one per group.
        anneal_strategy: ``"cos"`` or ``"linear"``.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ):
        for rate, group in zip(
            per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True
        ):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How far the way is gone after ``step`` epochs, from 0 to 1."""
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[float]:
        step = self._step_count - 1
        step = max(1, step) if self.anneal_epochs == 0 else step
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            end = group["swa_lr"]
            start = end if before == 1 else (group["lr"] - before * end) / (1 - before)
            rates.append(end * now + start * (1 - now))
        return rates
