"""Special functions that ``tilegrad.special`` alone has, from rows of :mod:`tilegrad.kernels.formulas.beyond`."""

from __future__ import annotations

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.rules.special import of_row, of_x

airy_ai = of_row("airy_ai", __name__, "x")
bessel_j0 = of_row("bessel_j0", __name__)
bessel_j1 = of_row("bessel_j1", __name__)
bessel_y0 = of_row("bessel_y0", __name__)
bessel_y1 = of_row("bessel_y1", __name__)
spherical_bessel_j0 = of_row("spherical_bessel_j0", __name__, "x")
i0e = of_row("i0e", __name__)
i1 = of_row("i1", __name__)
i1e = of_row("i1e", __name__)
modified_bessel_i0 = of_row("modified_bessel_i0", __name__)
modified_bessel_i1 = of_row("modified_bessel_i1", __name__)
modified_bessel_k0 = of_row("modified_bessel_k0", __name__)
modified_bessel_k1 = of_row("modified_bessel_k1", __name__)
scaled_modified_bessel_k0 = of_row("scaled_modified_bessel_k0", __name__, "x")
scaled_modified_bessel_k1 = of_row("scaled_modified_bessel_k1", __name__, "x")
entr = of_row("entr", __name__)
erfcx = of_row("erfcx", __name__)
log_ndtr = of_row("log_ndtr", __name__)
ndtr = of_row("ndtr", __name__)
ndtri = of_row("ndtri", __name__)
xlog1py = of_row("xlog1py", __name__)
chebyshev_polynomial_t = of_row("chebyshev_polynomial_t", __name__, "x", "n")
chebyshev_polynomial_u = of_row("chebyshev_polynomial_u", __name__, "x", "n")
chebyshev_polynomial_v = of_row("chebyshev_polynomial_v", __name__, "x", "n")
chebyshev_polynomial_w = of_row("chebyshev_polynomial_w", __name__, "x", "n")
shifted_chebyshev_polynomial_t = of_row("shifted_chebyshev_polynomial_t", __name__, "x", "n")
shifted_chebyshev_polynomial_u = of_row("shifted_chebyshev_polynomial_u", __name__, "x", "n")
shifted_chebyshev_polynomial_v = of_row("shifted_chebyshev_polynomial_v", __name__, "x", "n")
shifted_chebyshev_polynomial_w = of_row("shifted_chebyshev_polynomial_w", __name__, "x", "n")
hermite_polynomial_h = of_row("hermite_polynomial_h", __name__, "x", "n")
hermite_polynomial_he = of_row("hermite_polynomial_he", __name__, "x", "n")
laguerre_polynomial_l = of_row("laguerre_polynomial_l", __name__, "x", "n")
legendre_polynomial_p = of_row("legendre_polynomial_p", __name__, "x", "n")


def _zeta_slope(x: Tensor, q: Tensor) -> Tensor:
    """d zeta(x, q) / dq = -x zeta(x + 1, q)."""
    return -x * zeta(x + 1, q)


zeta = of_x("zeta", "zeta", _zeta_slope, numbers=True, module=__name__)
