"""Adam with its variance rectified."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tilegrad.optim.averaging import Averaging, Betas
from tilegrad.optim.functional import functional
from tilegrad.optim.options import check_options


class RAdam(Averaging):
    """Adam with its variance rectified (Liu et al. 2020). Arguments as :class:`Adam`."""

    name = "radam"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
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
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        check_options(options)
        super().__init__(params, options)


radam = functional(
    RAdam,
    "params, grads, exp_avgs, exp_avg_sqs, state_steps, decoupled_weight_decay=False, foreach=None, "
    "differentiable=False, capturable=False, has_complex=False, maximize=False, *, beta1, beta2, lr, "
    "weight_decay, eps",
    {"exp_avgs": "exp_avg", "exp_avg_sqs": "exp_avg_sq", "state_steps": "step"},
)  # fmt: skip
