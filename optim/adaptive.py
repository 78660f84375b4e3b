"""RMSprop, Adagrad and Adadelta: a learning rate for every element."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tilegrad.optim.optimizer import Group, Optimizer, at_least_zero, check_options, check_ways


def _common(group: Group) -> tuple[float, float, float]:
    sign = -1.0 if group["maximize"] else 1.0
    return float(group["lr"]), float(group["weight_decay"]), sign


class RMSprop(Optimizer):
    """The gradient over the root of its mean square (Tieleman & Hinton 2012).

    Args:
        lr: learning rate. alpha: decay of the mean. eps: added to the root.
        weight_decay: times the parameter, is added to the gradient.
        momentum: share of the last step that is kept.
        centered: divide by the standard deviation instead (Graves 2013).
        maximize: climb instead of descend.
        foreach: accepted; every step is one fused kernel.
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
        foreach: bool | None = None,
        maximize: bool = False,
    ):
        options = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "maximize": maximize,
        }  # fmt: skip
        check_options(options)
        super().__init__(params, options)

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        hypers = (*_common(group), float(group["alpha"]), float(group["eps"]))
        name = "rmsprop_centered" if group["centered"] else "rmsprop"
        if group["momentum"] > 0:
            return f"{name}_momentum", (*hypers, float(group["momentum"]))
        return name, hypers


class Adagrad(Optimizer):
    """The gradient over the root of the sum of its squares (Duchi et al. 2011).

    Args:
        lr: learning rate, over ``1 + steps * lr_decay``.
        weight_decay: times the parameter, is added to the gradient.
        initial_accumulator_value: where the sum begins.
        eps: added to the root. maximize: climb instead of descend.
        foreach, fused: accepted; every step is one fused kernel.
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
        fused: bool | None = None,
    ):
        options = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "maximize": maximize,
        }  # fmt: skip
        check_options(options)
        check_ways(foreach, fused)
        at_least_zero("initial_accumulator_value value", initial_accumulator_value)
        self.initial = {"sum": float(initial_accumulator_value)}
        super().__init__(params, options)
        for group in self.param_groups:
            for p in group["params"]:
                self.prepare(p, ("sum",), ("step",))

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        return "adagrad", (*_common(group), float(group["lr_decay"]), float(group["eps"]))


class Adadelta(Optimizer):
    """Steps in the units of the parameter (Zeiler 2012).

    Args:
        lr: factor on the step. rho: decay of the averages. eps: added to both averages.
        weight_decay: times the parameter, is added to the gradient.
        maximize: climb instead of descend.
        foreach: accepted; every step is one fused kernel.
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
        maximize: bool = False,
    ):
        options = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
        }  # fmt: skip
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_options(options)
        super().__init__(params, options)

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        return "adadelta", (*_common(group), float(group["rho"]), float(group["eps"]))
