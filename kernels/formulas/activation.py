"""Activation formulas. At kinks their derivatives follow PyTorch."""

from __future__ import annotations

import math
from typing import Any

from tilegrad.kernels.formulas.declared import declare
from tilegrad.kernels.formulas.formula import INTEGERS, Formula, table
from tilegrad.kernels.formulas.normal import normal_gate, normal_gate_curve, normal_gate_grad
from tilegrad.kernels.formulas.transcendental import (
    exp,
    expm1,
    sigmoid,
    softplus as log1p_exp,
    softplus_grad,
    tanh,
)
from tilegrad.kernels.function import DeviceFunction, inline

_GELU_SLOPE = math.sqrt(2 / math.pi)
# fixed point (mean 0, variance 1) of self-normalising networks: Klambauer et al. 2017, appendix A
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@inline
def relu(x):
    """max(x, 0); NaN stays NaN."""
    T = type(x)
    return T(0) if x < T(0) else x


@inline
def relu_grad(out):
    """1 where the output is positive, else 0."""
    T = type(out)
    return T(0) if out <= T(0) else T(1)


@inline
def leaky_relu(x, negative_slope):
    """x, times ``negative_slope`` below 0."""
    T = type(x)
    return x if x > T(0) else negative_slope * x


@inline
def prelu(x, w):
    """x, times the learned w below 0 (He et al. 2015)."""
    T = type(x)
    return x if x > T(0) else w * x


@inline
def elu(x, alpha):
    """x, or alpha (e^x - 1) below 0 (Clevert et al. 2016)."""
    T = type(x)
    below = alpha * expm1(x)
    return x if x > T(0) else below


@inline
def elu_grad(x, alpha):
    """1, or alpha e^x below 0, to full precision; NaN for NaN."""
    T = type(x)
    return T(1) if x > T(0) else alpha * exp(x)


@inline
def celu_grad(x, alpha):
    """1, or e^(x / alpha) below 0."""
    T = type(x)
    return T(1) if x > T(0) else exp(x / alpha)


@inline
def selu_grad(x):
    """The scale, times alpha e^x below 0."""
    T = type(x)
    return T(SELU_SCALE) if x > T(0) else T(SELU_ALPHA * SELU_SCALE) * exp(x)


@inline
def celu(x, alpha):
    """x, or alpha (e^(x / alpha) - 1) below 0: an ELU whose slope is continuous (Barron 2017)."""
    T = type(x)
    below = alpha * expm1(x / alpha)
    return x if x > T(0) else below


@inline
def selu(x):
    """The scaled ELU that keeps mean 0 and variance 1 (Klambauer et al. 2017)."""
    T = type(x)
    below = T(SELU_ALPHA * SELU_SCALE) * expm1(x)
    return T(SELU_SCALE) * x if x > T(0) else below


@inline
def gelu(x):
    """x times the normal distribution function of x (Hendrycks & Gimpel 2016)."""
    return normal_gate(x)


@inline
def gelu_tanh(x):
    """GELU with the distribution function approximated by (1 + tanh) / 2, which is a sigmoid."""
    T = type(x)
    return x * sigmoid(T(2 * _GELU_SLOPE) * (x + T(0.044715) * (x * x * x)))


@inline
def silu(x):
    """x sigmoid(x)."""
    return x * sigmoid(x)


@inline
def mish(x):
    """x tanh(log(1 + e^x)), as x n / (n + 2) with n = e^x (e^x + 2) (Misra 2020).

    The ratio rounds to 1 from x = 20 on.
    """
    T = type(x)
    e = exp(x if x < T(20) else T(20))
    n = e * (e + T(2))
    return x * (n / (n + T(2)))


@inline
def softplus(x, beta, threshold):
    """log(1 + e^(beta x)) / beta; x itself where beta x exceeds ``threshold``."""
    z = x * beta
    smooth = log1p_exp(z) / beta
    return x if z > threshold else smooth


@inline
def logsigmoid(x):
    """log(sigmoid(x)) = -log(1 + e^-x)."""
    T = type(x)
    return T(0) - log1p_exp(-x)


@inline
def softsign(x):
    """x / (1 + |x|)"""
    T = type(x)
    return x / (T(1) + abs(x))


@inline
def tanhshrink(x):
    """x - tanh(x)"""
    return x - tanh(x)


@inline
def hardtanh(x, low, high):
    """x limited to [low, high]; NaN stays NaN."""
    return low if x < low else (high if x > high else x)


@inline
def hardtanh_grad(x, low, high):
    """1 between the bounds; 0 for NaN."""
    T = type(x)
    return T(1) if x > low and x < high else T(0)


@inline
def hardsigmoid(x):
    """x / 6 + 1/2 limited to [0, 1]."""
    T = type(x)
    return T(0) if x <= T(-3) else (T(1) if x >= T(3) else (x + T(3)) / T(6))


@inline
def hardsigmoid_grad(x):
    """1/6 between the bounds; 0 for NaN."""
    T = type(x)
    return T(1 / 6) if x > T(-3) and x < T(3) else T(0)


@inline
def hardswish(x):
    """x hardsigmoid(x) (Howard et al. 2019)."""
    T = type(x)
    return T(0) if x <= T(-3) else (x if x >= T(3) else x * (x + T(3)) / T(6))


@inline
def softshrink(x, width):
    """x moved towards 0 by ``width``, at most to 0."""
    T = type(x)
    return x - width if x > width else (x + width if x < -width else x * T(0))


@inline
def hardshrink(x, lambd):
    """x, or 0 where |x| <= lambd."""
    T = type(x)
    return T(0) if -lambd <= x and x <= lambd else x


@inline
def hardshrink_grad(x, lambd):
    """1 outside [-lambd, lambd]; 0 for NaN."""
    T = type(x)
    return T(1) if x < -lambd or x > lambd else T(0)


@inline
def threshold(x, threshold, value):
    """x, or ``value`` where x <= threshold."""
    return value if x <= threshold else x


@inline
def gate(x, y):
    """x sigmoid(y): the gated linear unit of Dauphin et al. 2017."""
    return x * sigmoid(y)


declare(relu, x=relu_grad)
declare(elu, x=elu_grad)
declare(celu, x=celu_grad)
declare(selu, x=selu_grad)
declare(hardtanh, x=hardtanh_grad)
declare(hardsigmoid, x=hardsigmoid_grad)
declare(hardshrink, x=hardshrink_grad)
declare(normal_gate, x=normal_gate_grad)
declare(normal_gate_grad, x=normal_gate_curve)
declare(log1p_exp, x=softplus_grad)

_PLAIN = ("bool",)
_LAYER = ("nn.functional",)
_BOTH = ("tilegrad", "nn.functional")


def _floating(name: str, function: DeviceFunction, **facts: Any) -> Formula:
    """A row that refuses integers, as PyTorch does."""
    return Formula(name, function, kind="same", excludes=INTEGERS, **facts)


TABLE = table(
    Formula("relu", relu, kind="same", excludes=_PLAIN, kinks=(0.0,)),
    _floating("leaky_relu", leaky_relu, params=1, kinks=(0.0,), samples=(0.1,), home=_LAYER, inplace=True, defaults=(0.01,)),
    _floating("prelu", prelu, kinks=(0.0,), domain=((-3.0, 3.0), (0.1, 0.4)), caller="prelu"),
    _floating("elu", elu, params=1, kinks=(0.0,), samples=(0.7,), home=_LAYER, inplace=True, defaults=(1.0,)),
    _floating("celu", celu, params=1, kinks=(0.0,), samples=(0.7,), caller="celu"),
    _floating("selu", selu, kinks=(0.0,), home=_BOTH, inplace=True),
    _floating("gelu", gelu, caller="gelu"),
    _floating("gelu_tanh", gelu_tanh, caller="gelu"),
    _floating("silu", silu, home=_LAYER, inplace=True, twin="none"),
    _floating("mish", mish, home=_LAYER, inplace=True, twin="none"),
    _floating("softplus", softplus, params=2, kinks=(1.0,), samples=(2.0, 2.0), home=_LAYER, twin="none", defaults=(1.0, 20.0)),
    _floating("logsigmoid", logsigmoid, home=_LAYER, twin="none"),
    Formula("softsign", softsign, home=_LAYER, twin="none"),
    Formula("tanhshrink", tanhshrink, home=_LAYER, twin="none"),
    Formula(
        "hardtanh", hardtanh, kind="same", excludes=_PLAIN, params=2,
        kinks=(-1.0, 1.5), samples=(-1.0, 1.5), caller="hardtanh"),
    _floating("hardsigmoid", hardsigmoid, domain=((-5.0, 5.0),), kinks=(-3.0, 3.0), home=_LAYER, inplace=True, twin="none"),
    _floating("hardswish", hardswish, domain=((-5.0, 5.0),), kinks=(-3.0, 3.0), home=_LAYER, inplace=True, twin="none"),
    _floating("softshrink", softshrink, params=1, kinks=(-0.5, 0.5), samples=(0.5,), caller="softshrink"),
    _floating("hardshrink", hardshrink, params=1, kinks=(-0.5, 0.5), samples=(0.5,), home=_BOTH, twin="none", defaults=(0.5,)),
    Formula(
        "threshold", threshold, kind="same", excludes=_PLAIN, params=2,
        kinks=(0.5,), samples=(0.5, -1.0), home=_BOTH, inplace=True),
    _floating("gate", gate, domain=((-3.0, 3.0), (-3.0, 3.0)), caller="glu"),
)  # fmt: skip
