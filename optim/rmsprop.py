"""RMSprop: the gradient over the root of its mean square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tilegrad.optim.averaging import common
from tilegrad.optim.functional import functional
from tilegrad.optim.optimizer import Group, Optimizer
from tilegrad.optim.options import check_options


class RMSprop(Optimizer):
    """The gradient over the root of its mean square (Tieleman & Hinton 2012).

    Args:
        lr: learning rate. alpha: decay of the mean. eps: added to the root.
        weight_decay: times the parameter, is added to the gradient.
        momentum: share of the last step that is kept.
        centered: divide by the standard deviation instead (Graves 2013).
        maximize: climb instead of descend.
        foreach: accepted; every step is one fused launch.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        options = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        check_options(options)
        super().__init__(params, options)

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        hypers = (*common(group), float(group["alpha"]), float(group["eps"]))
        name = "rmsprop_centered" if group["centered"] else "rmsprop"
        if group["momentum"] > 0:
            return f"{name}_momentum", (*hypers, float(group["momentum"]))
        return name, hypers


rmsprop = functional(
    RMSprop,
    "params, grads, square_avgs, grad_avgs, momentum_buffer_list, state_steps, foreach=None, "
    "maximize=False, differentiable=False, capturable=False, has_complex=False, *, lr, alpha, eps, "
    "weight_decay, momentum, centered",
    {"square_avgs": "square_avg", "grad_avgs": "grad_avg", "momentum_buffer_list": "momentum_buffer", "state_steps": "step"},
)  # fmt: skip
