"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tilegrad.optim.functional import functional
from tilegrad.optim.optimizer import Group, Optimizer
from tilegrad.optim.options import check_options


class SGD(Optimizer):
    """Gradient descent, optionally with momentum.

    Args:
        lr: learning rate.
        momentum: share of the last step that is kept; dampening: share of the gradient that is not
            added to it. nesterov: look ahead along the momentum (Sutskever et al. 2013).
        weight_decay: times the parameter, is added to the gradient.
        maximize: climb instead of descend.
        foreach, fused: accepted; every step is one fused launch.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        check_options(options)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, options)

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        momentum = float(group["momentum"])
        sign = -1.0 if group["maximize"] else 1.0
        hypers = (float(group["lr"]), float(group["weight_decay"]), sign)
        if not momentum:
            return "sgd", hypers
        ahead = (momentum, 1.0 - float(group["dampening"]), float(group["nesterov"]))
        return "sgd_momentum", hypers + ahead

    def update(self, group: Group) -> None:
        rows = [p for p in group["params"] if p._grad is not None]
        if group["momentum"] and group["dampening"]:  # the first gradient is taken whole
            fresh = {id(p) for p in rows if self.state[p].get("momentum_buffer") is None}
            if fresh:
                whole = {**group, "dampening": 0}
                self.launch(whole, [p for p in rows if id(p) in fresh])
                rows = [p for p in rows if id(p) not in fresh]
        if rows:
            self.launch(group, rows)


sgd = functional(
    SGD,
    "params, d_p_list, momentum_buffer_list, has_sparse_grad=False, foreach=None, fused=None, "
    "grad_scale=None, found_inf=None, *, weight_decay, momentum, lr, dampening, nesterov, maximize",
    {"momentum_buffer_list": "momentum_buffer"},
)  # fmt: skip
