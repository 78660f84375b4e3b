"""The error function and the gamma function's family: scalar formulas for float32 and float64."""

from __future__ import annotations

import math

from tilegrad.kernels.formulas.primitives import (
    cast,
    clamp,
    const,
    copysign,
    fabs,
    fma,
    polynomial,
    select,
)
from tilegrad.kernels.formulas.transcendental import exp, exp_within
from tilegrad.kernels.function import inline

# erf(sqrt z) / sqrt z - 1 on 0 <= z <= 1
_ERF_NEAR = (
    (
        0.128379166,
        -0.37612626,
        0.112835787,
        -0.0268533472,
        0.0051871622,
        -0.00079978531,
        7.80690316e-05,
    ),
    (
        0.1283791670955126,
        -0.376126389031841,
        0.11283791670971098,
        -0.026866170648031092,
        0.005223977652691243,
        -0.000854832853566518,
        0.00012055386186265944,
        -1.4926881240050656e-05,
        1.6481054479566959e-06,
        -1.6557075463171913e-07,
        1.6012820720798497e-08,
        -1.646302691851984e-09,
        1.434046849307027e-10,
    ),
)
# log(erfc(a)) on 1 <= a <= 4 (6 for float64), minimax in the error of erfc
_ERF_FAR = (
    (
        0.000188031263,
        -1.12957835,
        -0.633220077,
        -0.108418353,
        0.0252081063,
        -0.00420450512,
        0.000441325043,
        -2.16859153e-05,
    ),
    (
        2.6669049310100556e-08,
        -1.1283795076004632,
        -0.6366177167621511,
        -0.10278041023454858,
        0.01914938121566537,
        0.00016703645427339675,
        -0.001630011156008887,
        0.0005071211720178763,
        5.850944755024797e-05,
        -0.0001346262061904209,
        7.74368597935754e-05,
        -2.9774400701847198e-05,
        8.722123792792818e-06,
        -2.0229718230584515e-06,
        3.7472546793611486e-07,
        -5.504924211769257e-08,
        6.287944292154924e-09,
        -5.39103906250368e-10,
        3.265324645664206e-11,
        -1.2456765150575599e-12,
        2.2500471103075752e-14,
    ),
)


@inline
def erf(x):  # type: ignore[no-untyped-def]
    """The error function: 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x.

    An odd polynomial below 1, else 1 - e^q(x) with a polynomial q.
    """
    one = cast(1.0, x)
    a = fabs(x)
    near = fma(x, polynomial(x * x, _ERF_NEAR), x)
    kept = clamp(a, one, const(x, (4.0, 6.0)))
    far = one - exp_within(polynomial(kept, _ERF_FAR))
    return select(a < one, near, copysign(far, x))


@inline
def erf_grad(x):  # type: ignore[no-untyped-def]
    """d erf(x) / dx = 2 / sqrt(pi) e^(-x^2)."""
    return cast(2 / math.sqrt(math.pi), x) * exp(-(x * x))
