"""Autograd: tensors that remember how they were made, and the backward pass."""

if __name__ != "tilegrad.autograd":
    raise ImportError("import this package as tilegrad.autograd, not as a top-level 'autograd'")

from tilegrad.autograd.function import Function
from tilegrad.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from tilegrad.autograd.gradients import backward, grad
from tilegrad.autograd.mode import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_anomaly_enabled,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)

__all__ = [
    "Function",
    "GradcheckError",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_anomaly_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]
