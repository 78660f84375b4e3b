"""The base of learning-rate schedules."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from tilegrad.autograd.tensor import Tensor
from tilegrad.optim.optimizer import Group, Optimizer


class LRScheduler:
    """Sets ``lr`` of every parameter group, once per :meth:`step`.

    Subclasses define :meth:`next` (from the rate as it is, so that schedules can be chained) and
    where there is one :meth:`closed` (from the epoch alone, for ``step(epoch)``); or override
    ``get_lr`` as a whole.

    Args:
        optimizer: whose groups to set.
        last_epoch: -1 to begin; else the epoch to resume after.
    """

    optimizer: Optimizer
    closed: Callable[[float], float] | None = None

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for index, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", _copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{index}] when resuming "
                    f"scheduler with last_epoch >= 0."
                )
        self.base_lrs: list[float] = [
            _copied(group["initial_lr"]) for group in optimizer.param_groups
        ]
        self.last_epoch = last_epoch
        self._begin()

    def _begin(self) -> None:
        """The first step, which the constructor takes."""
        self._step_count = 0
        self._is_initial = True
        self._steps_before = self.optimizer.steps
        self.step()
        self._is_initial = False

    def next(self, lr: float, base: float) -> float:
        """The rate at ``last_epoch`` of a group that has ``lr`` now and began with ``base``."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        """The rates at ``last_epoch``, from those of the epoch before."""
        groups = self.optimizer.param_groups
        return [self.next(g["lr"], base) for g, base in zip(groups, self.base_lrs, strict=True)]

    def get_last_lr(self) -> list[float]:
        """The rates that the last step set."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go on by one epoch, or to ``epoch``."""
        if self._step_count == 1 and self.optimizer.steps == self._steps_before:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`: call them in "
                "the opposite order, or the first value of the schedule is skipped.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        self._advance(epoch)

    def _advance(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if epoch is not None and self.closed is not None:
            values = [self.closed(base) for base in self.base_lrs]
        else:
            values = self.get_lr()
        self._set(values)

    def _set(self, values: list[float]) -> None:
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            set_value(group, "lr", value)
        self._last_lr = [_copied(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self.__dict__.update(state_dict)


def _copied(value: Any) -> Any:
    """A rate that does not change with the optimizer's, if that is a tensor."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def set_value(group: Group, name: str, value: Any) -> None:
    """Set an option; one that is a tensor stays the same object."""
    if isinstance(group.get(name), Tensor):
        group[name].fill_(float(value))
    else:
        group[name] = value


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[float]:
    """``value``, a number or one per group, as a list of one per group."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has "
            f"{len(value)} values, param_groups has {groups}."
        )
    return list(value)


def begin_momentum(
    optimizer: Optimizer, base: Any, top: Any, last_epoch: int
) -> tuple[bool, list[float], list[float]]:
    """(whether momentum is the first beta, its bounds per group); sets the groups to the upper one.

    Raises:
        ValueError: the optimizer has neither.
    """
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError(
            "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
        )
    beta = "betas" in optimizer.defaults
    bases = per_group("base_momentum", optimizer, base)
    tops = per_group("max_momentum", optimizer, top)
    if last_epoch == -1:
        for group, low, high in zip(optimizer.param_groups, bases, tops, strict=True):
            group["max_momentum"], group["base_momentum"] = high, low
            set_momentum(group, high, beta)
    return beta, bases, tops


def set_momentum(group: Group, value: float, beta: bool) -> None:
    """Set the momentum of a group, which is its first beta if ``beta``."""
    if beta:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


class _LRScheduler(LRScheduler):
    """The base by its older name, which programs still derive from."""
