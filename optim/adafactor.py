"""Adafactor: a running mean square kept as one row and one column."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tilegrad.autograd.functions import zeros
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.dtype import finfo
from tilegrad.optim.functional import functional
from tilegrad.optim.optimizer import Group, Optimizer
from tilegrad.optim.options import check_rate


class Adafactor(Optimizer):
    """Adam without momentum, in memory of a row and a column (Shazeer & Stern 2018).

    Args:
        lr: the largest relative step. beta2_decay: power by which the average's decay goes to 1.
        eps: least root of the mean square (None: the dtype's), least norm of the parameter.
        d: the update's largest root mean square.
        weight_decay: times ``lr``, the share by which the parameter shrinks.
        foreach: accepted. maximize: climb instead of descend.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ):
        options = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d,
            "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize,
        }  # fmt: skip
        check_rate(options, "Learning rate should be >= 0 but is: ")
        if not 0.0 >= beta2_decay:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not 0.0 <= eps[0]:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not 0.0 <= eps[1]:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not 1.0 <= d:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not 0.0 <= weight_decay:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        super().__init__(params, options)

    def update(self, group: Group) -> None:
        for p in group["params"]:
            if p.grad is not None and p.numel():
                self._move(p, -p.grad if group["maximize"] else p.grad, group)

    def _move(self, p: Tensor, grad: Tensor, group: Group) -> None:
        state, rate, (least, floor) = self.state[p], float(group["lr"]), group["eps"]
        least = finfo(p.dtype).eps if least is None else least
        self._prepare_for(p, state)
        state["step"] += 1
        step = state["step"].item()
        fresh = step ** group["beta2_decay"]
        size = max(floor, _rms(p)) * min(rate, 1 / math.sqrt(step))
        if group["weight_decay"]:
            p.mul_(1 - rate * group["weight_decay"])
        if grad.ndim > 1:
            row, column = state["row_var"], state["col_var"]
            row.lerp_(grad.norm(dim=-1, keepdim=True).square() / grad.size(-1), fresh)
            column.lerp_(grad.norm(dim=-2, keepdim=True).square() / grad.size(-2), fresh)
            square = (row @ column) / row.mean(dim=-2, keepdim=True).clamp(min=least)
        else:
            square = state["variance"].lerp_(grad * grad, fresh)
        move = square.clamp(min=least * least).rsqrt() * grad
        p.add_(move, alpha=-size / max(1.0, _rms(move) / group["d"]))

    def _prepare_for(self, p: Tensor, state: dict[str, Any]) -> None:
        if state:
            return
        self.prepare(p, () if p.ndim > 1 else ("variance",), ("step",), {})
        if p.ndim > 1:
            shape, dtype, device = tuple(p.shape), p.dtype, p.device
            state["row_var"] = zeros((*shape[:-1], 1), dtype=dtype, device=device)
            state["col_var"] = zeros((*shape[:-2], 1, shape[-1]), dtype=dtype, device=device)


def _rms(x: Tensor) -> float:
    """The root of the mean square of all elements."""
    return float(x.norm().item()) / math.sqrt(x.numel())


adafactor = functional(
    Adafactor,
    "params, grads, row_vars, col_vars, variances, state_steps, foreach=None, grad_scale=None, "
    "found_inf=None, has_complex=False, *, d, lr, beta2_decay, weight_decay, eps1, eps2, maximize",
    {"row_vars": "row_var", "col_vars": "col_var", "variances": "variance", "state_steps": "step"},
)  # fmt: skip
