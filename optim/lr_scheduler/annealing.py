"""Cosine schedules (Loshchilov & Hutter 2017) and the one-cycle policy (Smith & Topin 2018)."""

from __future__ import annotations

import math

from tilegrad.optim.lr_scheduler.base import (
    LRScheduler,
    begin_momentum,
    per_group,
    set_momentum,
)
from tilegrad.optim.optimizer import Optimizer


def _cosine(start: float, end: float, share: float) -> float:
    """From ``start`` at share 0 to ``end`` at share 1, along half a wave."""
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


def _line(start: float, end: float, share: float) -> float:
    return (end - start) * share + start


class CosineAnnealingLR(LRScheduler):
    """Down to ``eta_min`` in ``T_max`` epochs along a cosine, and up again."""

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ):
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def next(self, lr: float, base: float) -> float:
        if self._is_initial:
            return lr
        if self._step_count == 1 and self.last_epoch > 0:
            return self.closed(base)
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # the lowest point
            return lr + (base - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        now = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        before = 1 + math.cos(math.pi * (self.last_epoch - 1) / self.T_max)
        return now / before * (lr - self.eta_min) + self.eta_min

    def closed(self, base: float) -> float:
        wave = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return self.eta_min + (base - self.eta_min) * wave / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """Down to ``eta_min`` along a cosine, over and over, each time in ``T_mult`` as many epochs.

    ``step(epoch)`` takes fractions of an epoch too.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ):
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, (float, int)):
            raise ValueError(
                f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}"
            )
        self.T_0 = self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def next(self, lr: float, base: float) -> float:
        wave = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return self.eta_min + (base - self.eta_min) * wave / 2

    def step(self, epoch: float | None = None) -> None:
        """Go on by one epoch, or to ``epoch``, which may be a fraction."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        else:
            self._seek(epoch)
        self.last_epoch = math.floor(epoch)
        self._set(self.get_lr())

    def _seek(self, epoch: float) -> None:
        """The cycle that ``epoch`` falls in, and where in it."""
        if epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            ratio = self.T_mult - 1
            cycle = int(math.log(epoch / self.T_0 * ratio + 1, self.T_mult))
            self.T_cur = epoch - self.T_0 * (self.T_mult**cycle - 1) / ratio
            self.T_i = self.T_0 * self.T_mult**cycle


class OneCycleLR(LRScheduler):
    """Up to ``max_lr`` and down to far below the start in ``total_steps``, one step per batch.

    Args:
        max_lr: the top, one for all groups or one per group.
        total_steps: or ``epochs`` times ``steps_per_epoch``.
        pct_start: the share of the way up.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        cycle_momentum: move the momentum (or the first beta) the other way, between
            ``max_momentum`` and ``base_momentum``.
        div_factor: ``max_lr`` over the first rate; final_div_factor: the first over the last.
        three_phase: back to the first rate in as many steps as up, then on to the last.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        self.total_steps = _total(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self.anneal_strategy = anneal_strategy
        self.phases = _phases(float(pct_start * self.total_steps), self.total_steps, three_phase)
        tops = per_group("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for group, top in zip(optimizer.param_groups, tops, strict=True):
                group["initial_lr"] = top / div_factor
                group["max_lr"] = top
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1, *_ = begin_momentum(optimizer, base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        begin, phase = 0.0, self.phases[0]
        for following in self.phases[1:]:
            if step > phase[0]:
                begin, phase = phase[0], following
        end, lrs, momenta = phase
        share = (step - begin) / (end - begin)
        anneal = _cosine if self.anneal_strategy == "cos" else _line
        values = []
        for group in self.optimizer.param_groups:
            values.append(anneal(group[lrs[0]], group[lrs[1]], share))
            if self.cycle_momentum:
                momentum = anneal(group[momenta[0]], group[momenta[1]], share)
                set_momentum(group, momentum, self.use_beta1)
        return values


def _total(total: int | None, epochs: int | None, steps: int | None) -> int:
    if total is not None:
        if not isinstance(total, int) or total <= 0:
            raise ValueError(f"Expected positive integer total_steps, but got {total}")
        return total
    if epochs is None or steps is None:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    for name, value in (("epochs", epochs), ("steps_per_epoch", steps)):
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
    return epochs * steps


Phase = tuple[float, tuple[str, str], tuple[str, str]]


def _phases(up: float, total: int, three: bool) -> list[Phase]:
    """(last step, (first, last) rate, (first, last) momentum) of each phase, by names."""
    down, stay = ("max_momentum", "base_momentum"), ("max_momentum", "max_momentum")
    rise = down[::-1]
    first: Phase = (up - 1, ("initial_lr", "max_lr"), down)
    if not three:
        return [first, (total - 1, ("max_lr", "min_lr"), rise)]
    second: Phase = (2 * up - 2, ("max_lr", "initial_lr"), rise)
    return [first, second, (total - 1, ("initial_lr", "min_lr"), stay)]
