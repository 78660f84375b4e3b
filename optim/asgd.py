"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilegrad.optim.averaging import common
from tilegrad.optim.functional import functional
from tilegrad.optim.optimizer import Group, Optimizer
from tilegrad.optim.options import check_options


class ASGD(Optimizer):
    """Gradient descent whose average over the steps is kept too (Polyak & Juditsky 1992).

    Args:
        lr: learning rate. lambd: how fast it falls; alpha: the power of its fall.
        t0: the step after which ``ax``, of the state, averages.
        weight_decay: times the parameter, is added to the gradient.
        maximize: climb instead of descend.
        foreach, capturable, differentiable: see :func:`~tilegrad.optim.options.check_ways`.
    """

    initial: Mapping[str, float] = {"mu": 1.0}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        options = {
            "lr": lr, "lambd": lambd, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        check_options(options)
        super().__init__(params, {**options, "alpha": alpha})

    def first(self, name: str, group: Group) -> float:
        return float(group["lr"]) if name == "eta" else super().first(name, group)

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        falling = (float(group["lambd"]), float(group["alpha"]), float(group["t0"]))
        return "asgd", (*common(group), *falling)


asgd = functional(
    ASGD,
    "params, grads, axs, mus, etas, state_steps, foreach=None, maximize=False, differentiable=False, "
    "capturable=False, has_complex=False, *, lambd, lr, t0, alpha, weight_decay",
    {"axs": "ax", "mus": "mu", "etas": "eta", "state_steps": "step"},
)  # fmt: skip
