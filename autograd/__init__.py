"""Autograd: tensors that remember how they were made, and the backward pass."""

if __name__ != "tilegrad.autograd":
    raise ImportError("import this package as tilegrad.autograd, not as a top-level 'autograd'")

from importlib import import_module as _import_module

from tilegrad.autograd import functional
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
from tilegrad.autograd.variable import Variable

__all__ = [
    "Function",
    "Variable",
    "GradcheckError",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_anomaly_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]

_LATER = {"detect_nan": "nan_finder", "draw": "drawing"}  # what is loaded when it is asked for


def __getattr__(name: str) -> object:
    if name == "profiler":
        return _import_module("tilegrad.autograd.profiler")
    if name not in _LATER:
        raise AttributeError(f"module 'tilegrad.autograd' has no attribute {name!r}")
    return getattr(_import_module(f"tilegrad.autograd.{_LATER[name]}"), name)
