"""Adam with Nesterov momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilegrad.optim.averaging import Averaging, Betas
from tilegrad.optim.optimizer import Group
from tilegrad.optim.options import check_options


class NAdam(Averaging):
    """Adam with Nesterov momentum (Dozat 2016).

    Args:
        momentum_decay: how fast the momentum approaches ``betas[0]``.
        lr, betas, eps, weight_decay, maximize, decoupled_weight_decay: as :class:`Adam`.
    """

    name = "nadam"
    initial: Mapping[str, float] = {"mu_product": 1.0}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        check_options(options)
        super().__init__(params, options)

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        name, hypers = super().rule(group)
        return name, (*hypers, float(group["momentum_decay"]))
