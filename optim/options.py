"""Checks of optimizers' options, in PyTorch's words."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd.tensor import Tensor

Options = dict[str, Any]


def at_least_zero(what: str, value: Any) -> None:
    """Raise ValueError, in PyTorch's words, for a negative option."""
    if not 0.0 <= value:
        raise ValueError(f"Invalid {what}: {value}")


def check_rate(options: Options, what: str = "Invalid learning rate: ") -> None:
    """Raise ValueError for a learning rate that is negative or, as a tensor, no single number."""
    rate = options["lr"]
    if isinstance(rate, Tensor) and rate.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not 0.0 <= rate:
        raise ValueError(f"{what}{rate}")


def check_options(options: Options) -> None:
    """Raise ValueError for options out of their range."""
    check_rate(options)
    if "eps" in options:
        at_least_zero("epsilon value", options["eps"])
    for index in (0, 1) if "betas" in options else ():
        beta = options["betas"][index]
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {index}: {beta}")
    for name in ("momentum", "weight_decay", "alpha", "lr_decay", "momentum_decay"):
        at_least_zero(f"{name} value", options.get(name, 0.0))


def check_ways(optimizer: str, group: Options) -> None:
    """Refuse ways of a step that exclude each other, or that there are none of.

    ``foreach``, ``fused`` and, on a GPU, ``capturable`` say what every step does anyway: one launch
    over all parameters, with its counts in device memory.

    Raises:
        RuntimeError: ``fused`` with ``foreach``; ``differentiable``.
    """
    if group.get("fused") and group.get("differentiable"):
        raise RuntimeError("`fused` does not support `differentiable`")
    if group.get("fused") and group.get("foreach"):
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if group.get("differentiable"):
        raise RuntimeError(
            f"{optimizer}: a step writes its parameters in place and records nothing; "
            f"got differentiable=True"
        )


def check_capturable(group: Options, p: Tensor) -> None:
    """Raise AssertionError, as PyTorch, for a step on the CPU of a group that asks to be captured."""
    if p.device.type == "cpu":
        raise AssertionError(
            "If capturable=True, params and state_steps must be on supported devices: ['cuda']."
        )
