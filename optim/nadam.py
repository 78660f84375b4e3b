"""Adam with Nesterov momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilegrad.optim.averaging import Averaging, Betas
from tilegrad.optim.functional import functional
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


nadam = functional(
    NAdam,
    "params, grads, exp_avgs, exp_avg_sqs, mu_products, state_steps, decoupled_weight_decay=False, "
    "foreach=None, capturable=False, differentiable=False, has_complex=False, maximize=False, *, "
    "beta1, beta2, lr, weight_decay, momentum_decay, eps",
    {"exp_avgs": "exp_avg", "exp_avg_sqs": "exp_avg_sq", "mu_products": "mu_product", "state_steps": "step"},
)  # fmt: skip
