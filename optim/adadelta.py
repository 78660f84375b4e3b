"""Adadelta: steps in the units of the parameter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tilegrad.optim.averaging import common
from tilegrad.optim.functional import functional
from tilegrad.optim.optimizer import Group, Optimizer
from tilegrad.optim.options import check_options


class Adadelta(Optimizer):
    """Steps in the units of the parameter (Zeiler 2012).

    Args:
        lr: factor on the step. rho: decay of the averages. eps: added to both averages.
        weight_decay: times the parameter, is added to the gradient.
        maximize: climb instead of descend.
        foreach: accepted; every step is one fused launch.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        options = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_options(options)
        super().__init__(params, options)

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        return "adadelta", (*common(group), float(group["rho"]), float(group["eps"]))


adadelta = functional(
    Adadelta,
    "params, grads, square_avgs, acc_deltas, state_steps, capturable=False, foreach=None, "
    "differentiable=False, has_complex=False, *, lr, rho, eps, weight_decay, maximize",
    {"square_avgs": "square_avg", "acc_deltas": "acc_delta", "state_steps": "step"},
)  # fmt: skip
