"""Special functions, of a million numbers each; SciPy's in NumPy's column."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from tilegrad.bench.rows.row import Row, floats, rows

N = 1_000_000

# name: lowest and highest operand, SciPy's name where it is another
UNARY: dict[str, tuple[float, float, str]] = {
    "airy_ai": (-10, 10, ""), "bessel_j0": (-20, 20, "j0"), "bessel_j1": (-20, 20, "j1"),
    "bessel_y0": (0.1, 20, "y0"), "bessel_y1": (0.1, 20, "y1"), "digamma": (0.1, 20, "psi"),
    "entr": (0, 2, "entr"), "erf": (-4, 4, "erf"), "erfc": (-4, 4, "erfc"),
    "erfcx": (-4, 4, "erfcx"), "erfinv": (-1, 1, "erfinv"), "exp2": (-4, 4, "exp2"),
    "expit": (-8, 8, "expit"), "expm1": (-4, 4, "expm1"), "gammaln": (0.1, 20, "gammaln"),
    "i0": (-10, 10, "i0"), "i0e": (-10, 10, "i0e"), "i1": (-10, 10, "i1"), "i1e": (-10, 10, "i1e"),
    "log1p": (-0.9, 4, "log1p"), "log_ndtr": (-10, 4, "log_ndtr"), "logit": (0, 1, "logit"),
    "modified_bessel_i0": (-10, 10, "i0"), "modified_bessel_i1": (-10, 10, "i1"),
    "modified_bessel_k0": (0.1, 20, "k0"), "modified_bessel_k1": (0.1, 20, "k1"),
    "ndtr": (-4, 4, "ndtr"), "ndtri": (0, 1, "ndtri"),
    "scaled_modified_bessel_k0": (0.1, 20, "k0e"), "scaled_modified_bessel_k1": (0.1, 20, "k1e"),
    "sinc": (-4, 4, ""), "spherical_bessel_j0": (-20, 20, ""),
}  # fmt: skip
BINARY: dict[str, tuple[float, float, str]] = {
    "gammainc": (0.1, 20, "gammainc"), "gammaincc": (0.1, 20, "gammaincc"), "xlog1py": (0.1, 4, "xlog1py"),
    "xlogy": (0.1, 4, "xlogy"), "zeta": (1.1, 20, "zeta"),
}  # fmt: skip
POLYNOMIALS = (
    "chebyshev_polynomial_t", "hermite_polynomial_h", "laguerre_polynomial_l", "legendre_polynomial_p",
)  # fmt: skip


def _call(t: Any, *given: Any, name: str) -> Any:
    return getattr(t.special, name)(*given)


def _scipy(*given: np.ndarray, name: str) -> Any:
    return getattr(import_module("scipy.special"), name)(*given)


def _all() -> list[Row]:
    found, rivals = [], find_spec("scipy") is not None
    for count, table in ((1, UNARY), (2, BINARY)):
        for name, (low, high, other) in table.items():
            array_call = partial(_scipy, name=other) if rivals and other else None
            found += rows(
                "special", name, partial(_call, name=name), *[floats(N, low=low, high=high)] * count,
                numpy=array_call, by_norm=True, tolerance=1e-4, passes="f",
            )  # fmt: skip
    for order in (0, 1, 2):
        found += rows(
            "special", f"polygamma {order}", partial(_polygamma, order), floats(N, low=0.5, high=20),
            tolerance=1e-3, passes="f",
        )  # fmt: skip
    for name in POLYNOMIALS:
        found += rows(
            "special",
            f"{name} 5",
            partial(_polynomial, name),
            floats(N),
            tolerance=1e-4,
            passes="f",
        )
    return found


def _polygamma(order: int, t: Any, x: Any) -> Any:
    return t.special.polygamma(order, x)


def _polynomial(name: str, t: Any, x: Any) -> Any:
    return getattr(t.special, name)(x, 5)


ROWS = _all()
