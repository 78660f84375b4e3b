"""Resilient backpropagation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tilegrad.optim.functional import functional
from tilegrad.optim.optimizer import Group, Optimizer
from tilegrad.optim.options import check_rate


class Rprop(Optimizer):
    """Steps by the sign of the gradient alone, of a size per element (Riedmiller & Braun 1993).

    Args:
        lr: the first size. etas: factors on it where the sign turned, and where it stayed.
        step_sizes: the least and the largest.
        maximize: climb instead of descend.
        foreach, capturable, differentiable: see :func:`~tilegrad.optim.options.check_ways`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        options = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        check_rate(options)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, options)

    def first(self, name: str, group: Group) -> float:
        return float(group["lr"]) if name == "step_size" else 0.0

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        sign = -1.0 if group["maximize"] else 1.0
        sizes = (*group["etas"], *group["step_sizes"])
        return "rprop", (float(group["lr"]), sign, *[float(s) for s in sizes])


rprop = functional(
    Rprop,
    "params, grads, prevs, step_sizes, state_steps, foreach=None, capturable=False, maximize=False, "
    "differentiable=False, has_complex=False, *, step_size_min, step_size_max, etaminus, etaplus",
    {"prevs": "prev", "step_sizes": "step_size", "state_steps": "step"},
    lr=0.0,
)  # fmt: skip
