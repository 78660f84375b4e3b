"""Adam (Kingma & Ba 2015)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tilegrad.optim.averaging import Averaging, Betas
from tilegrad.optim.functional import functional
from tilegrad.optim.optimizer import Group
from tilegrad.optim.options import check_options


class Adam(Averaging):
    """Adam (Kingma & Ba 2015).

    Args:
        lr: learning rate.
        betas: decay of the averages of the gradient and of its square.
        eps: added to the root of the latter.
        weight_decay: times the parameter, is added to the gradient.
        amsgrad: use the largest average of squares so far (Reddi et al. 2018).
        maximize: climb instead of descend.
        decoupled_weight_decay: shrink the parameter instead, as :class:`AdamW`.
        foreach, fused: accepted; every step is one fused launch.
    """

    name = "adam"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
        }
        check_options(options)
        super().__init__(params, options)

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        name, hypers = super().rule(group)
        return ("adam_amsgrad" if group["amsgrad"] else name), hypers


adam = functional(
    Adam,
    "params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, foreach=None, "
    "capturable=False, differentiable=False, fused=None, grad_scale=None, found_inf=None, "
    "has_complex=False, decoupled_weight_decay=False, *, amsgrad, beta1, beta2, lr, weight_decay, eps, "
    "maximize",
    {"exp_avgs": "exp_avg", "exp_avg_sqs": "exp_avg_sq", "max_exp_avg_sqs": "max_exp_avg_sq", "state_steps": "step"},
)  # fmt: skip
