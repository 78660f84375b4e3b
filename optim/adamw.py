"""Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tilegrad.optim.adam import Adam
from tilegrad.optim.averaging import Betas
from tilegrad.optim.functional import functional


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019). Arguments as :class:`Adam`."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad,
            foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip


adamw = functional(
    AdamW,
    "params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, foreach=None, "
    "capturable=False, differentiable=False, fused=None, grad_scale=None, found_inf=None, "
    "has_complex=False, *, amsgrad, beta1, beta2, lr, weight_decay, eps, maximize",
    {"exp_avgs": "exp_avg", "exp_avg_sqs": "exp_avg_sq", "max_exp_avg_sqs": "max_exp_avg_sq", "state_steps": "step"},
    decoupled_weight_decay=True,
)  # fmt: skip
