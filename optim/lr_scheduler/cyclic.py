"""Rates that go up and down between two bounds (Smith 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tilegrad.optim.lr_scheduler.base import (
    LRScheduler,
    begin_momentum,
    per_group,
    set_momentum,
    set_value,
)
from tilegrad.optim.optimizer import Optimizer


class CyclicLR(LRScheduler):
    """From ``base_lr`` to ``max_lr`` and back, over and over, one step per batch.

    Args:
        base_lr, max_lr: one for all groups or one per group.
        step_size_up, step_size_down: steps of the way up, and down (as many, if None).
        mode: ``"triangular"``; ``"triangular2"``, each cycle half as high; ``"exp_range"``, by
            ``gamma`` to the power of the step.
        scale_fn: the height in place of ``mode``, of what ``scale_mode`` says: ``"cycle"`` or
            ``"iterations"``.
        cycle_momentum: move the momentum (or the first beta) the other way, between
            ``max_momentum`` and ``base_momentum``.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        bases = per_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for base, group in zip(bases, optimizer.param_groups, strict=True):
                set_value(group, "lr", base)
        self.max_lrs = per_group("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        self.mode, self.gamma, self._scale_fn_custom = mode, gamma, scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1, self.base_momentums, self.max_momentums = begin_momentum(
                optimizer, base_momentum, max_momentum, last_epoch
            )
        super().__init__(optimizer, last_epoch)
        self.base_lrs = bases

    def scale_fn(self, x: float) -> float:
        """The height of cycle, or step, ``x``."""
        if self._scale_fn_custom is not None:
            return float(self._scale_fn_custom(x))
        if self.mode == "triangular2":
            return float(1 / (2.0 ** (x - 1)))
        return float(self.gamma**x) if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        share = 1.0 + self.last_epoch / self.total_size - cycle
        if share <= self.step_ratio:
            height = share / self.step_ratio
        else:
            height = (share - 1) / (self.step_ratio - 1)
        at = cycle if self.scale_mode == "cycle" else self.last_epoch
        scale = self.scale_fn(at)
        if self.cycle_momentum:
            bounds = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, bounds, strict=True):
                set_momentum(group, high - (high - low) * height * scale, self.use_beta1)
        bases = zip(self.base_lrs, self.max_lrs, strict=True)
        return [base + (top - base) * height * scale for base, top in bases]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, and of ``scale_fn`` what an object with it holds."""
        state = super().state_dict()
        own = state.pop("_scale_fn_custom")
        state["_scale_fn_custom"] = None
        if own is not None and hasattr(own, "__dict__") and not hasattr(own, "__code__"):
            state["_scale_fn_custom"] = dict(own.__dict__)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; ``scale_fn`` itself stays."""
        own = dict(state_dict)
        held = own.pop("_scale_fn_custom", None)
        super().load_state_dict(own)
        if held is not None and self._scale_fn_custom is not None:
            self._scale_fn_custom.__dict__.update(held)
