"""Adam by the largest gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tilegrad.optim.averaging import Averaging, Betas
from tilegrad.optim.functional import functional
from tilegrad.optim.options import check_options


class Adamax(Averaging):
    """Adam by the largest gradient instead of the mean square (Kingma & Ba 2015)."""

    name = "adamax"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        check_options(options)
        super().__init__(params, options)


adamax = functional(
    Adamax,
    "params, grads, exp_avgs, exp_infs, state_steps, foreach=None, maximize=False, "
    "differentiable=False, capturable=False, has_complex=False, *, eps, beta1, beta2, lr, "
    "weight_decay",
    {"exp_avgs": "exp_avg", "exp_infs": "exp_inf", "state_steps": "step"},
)  # fmt: skip
