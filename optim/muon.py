"""Muon: momentum, orthogonalized."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tilegrad.autograd.functions import addmm
from tilegrad.autograd.tensor import Tensor
from tilegrad.optim.functional import functional
from tilegrad.optim.optimizer import Group, Optimizer
from tilegrad.optim.options import check_rate

_SPLIT = 2.0**16 + 1  # a float32 of 24 bits into 8 and 16


def _short(x: Tensor) -> Tensor:
    """``x``, float32, rounded to the eight bits of bfloat16 (Veltkamp's split)."""
    wide = x * _SPLIT
    return wide - (wide - x)


def zeropower(
    grad: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """``grad``, a matrix, with all singular values near 1: Newton-Schulz iterations of order five.

    Every result is rounded to bfloat16, as PyTorch's, whose products have these bits; sums are
    taken in float32.

    Raises:
        ValueError: not a matrix, 100 steps or more, not three coefficients.
    """
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if grad.ndim != 2:
        raise ValueError("Input tensor gradient must be a 2D matrix")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = grad.size(0) > grad.size(1)
    x = _short(grad.float())
    x = x.t() if tall else x
    x = _short(x / _short(x.norm()).clamp(min=eps))
    for _ in range(steps):
        gram = _short(x @ x.t())
        x = _short(addmm(x, _short(addmm(gram, gram, gram, beta=b, alpha=c)), x, beta=a))
    return x.t() if tall else x


class Muon(Optimizer):
    """Steps along the orthogonalized momentum, for matrices of hidden layers (Jordan et al. 2024).

    Args:
        lr: learning rate. weight_decay: times ``lr``, the share by which the parameter shrinks.
        momentum: decay of the average of gradients. nesterov: look ahead along it.
        ns_coefficients, eps, ns_steps: of :func:`zeropower`.
        adjust_lr_fn: ``"original"``, by the root of rows over columns, or ``"match_rms_adamw"``.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        options = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }  # fmt: skip
        check_rate(options, "Learning rate should be >= 0 but is: ")
        if not 0.0 <= momentum:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not 0.0 <= weight_decay:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(params, options)
        for p in [p for group in self.param_groups for p in group["params"]]:
            if p.ndim != 2:
                raise ValueError(
                    f"Muon only supports 2D parameters whereas we found a parameter with size: "
                    f"{p.size()}"
                )

    def update(self, group: Group) -> None:
        for p in group["params"]:
            if p.grad is not None:
                self._move(p, group)

    def _move(self, p: Tensor, group: Group) -> None:
        rate, momentum = float(group["lr"]), group["momentum"]
        self.prepare(p, ("momentum_buffer",), (), group)
        mean = self.state[p]["momentum_buffer"].lerp_(p.grad, 1 - momentum)
        along = p.grad.lerp(mean, momentum) if group["nesterov"] else mean
        way = zeropower(along, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, columns = p.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            scale = 0.2 * math.sqrt(max(rows, columns))
        else:
            scale = math.sqrt(max(1, rows / columns))
        p.mul_(1 - rate * group["weight_decay"])
        p.add_(way.to(p.dtype), alpha=-rate * scale)


muon = functional(
    Muon,
    "params, grads, muon_momentum_bufs, *, foreach=None, lr, weight_decay, momentum, nesterov, "
    "ns_coefficients, ns_steps, eps, adjust_lr_fn, has_complex",
    {"muon_momentum_bufs": "momentum_buffer"},
)  # fmt: skip
