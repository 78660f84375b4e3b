"""Adagrad: the gradient over the root of the sum of its squares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tilegrad.optim.averaging import common
from tilegrad.optim.functional import functional
from tilegrad.optim.optimizer import Group, Optimizer
from tilegrad.optim.options import at_least_zero, check_options


class Adagrad(Optimizer):
    """The gradient over the root of the sum of its squares (Duchi et al. 2011).

    Args:
        lr: learning rate, over ``1 + steps * lr_decay``.
        weight_decay: times the parameter, is added to the gradient.
        initial_accumulator_value: where the sum begins.
        eps: added to the root. maximize: climb instead of descend.
        foreach, fused: accepted; every step is one fused launch.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        options = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        check_options(options)
        at_least_zero("initial_accumulator_value value", initial_accumulator_value)
        self.initial = {"sum": float(initial_accumulator_value)}
        super().__init__(params, options)
        for group in self.param_groups:
            for p in group["params"]:
                self.prepare(p, ("sum",), ("step",), group)

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        return "adagrad", (*common(group), float(group["lr_decay"]), float(group["eps"]))


adagrad = functional(
    Adagrad,
    "params, grads, state_sums, state_steps, fused=None, grad_scale=None, found_inf=None, "
    "has_sparse_grad=False, foreach=None, differentiable=False, has_complex=False, *, lr, "
    "weight_decay, lr_decay, eps, maximize",
    {"state_sums": "sum", "state_steps": "step"},
)  # fmt: skip
