"""Rows of special functions that few programs use: their table loads when one of them is asked for."""

from __future__ import annotations

from tilegrad.kernels.formulas import (
    airy,
    bessel as b,
    incomplete_gamma as g,
    modified_bessel as m,
    modified_bessel_second as k,
    normal_law as l,
    orthogonal as o,
    polygamma as p,
    zeta as z,
)
from tilegrad.kernels.formulas.declared import declare
from tilegrad.kernels.formulas.formula import INTEGERS, Formula, table
from tilegrad.kernels.formulas.special import normal_bell, normal_bell_grad

declare(m.i0, x=m.i0_grad)
declare(m.i0e, x=m.i0e_grad)
declare(m.i1, x=m.i1_grad)
declare(m.i1e, x=m.i1e_grad)

declare(normal_bell, x=normal_bell_grad)
declare(g.gamma_density, input=g.gamma_density_grad_input, other=g.gamma_density_grad_other)
declare(l.erfcx, x=l.erfcx_grad)
declare(l.ndtr, x=l.ndtr_grad)
declare(l.log_ndtr, x=l.log_ndtr_grad)
declare(l.log_ndtr_grad, x=l.log_ndtr_curve)
declare(l.ndtri, x=l.ndtri_grad)
declare(l.entr, x=l.entr_grad)
declare(l.xlog1py, input=l.xlog1py_grad_input, other=l.xlog1py_grad_other)

_POSITIVE = ((0.2, 4.0),)

# row by name; a second name in PyTorch's namespace of tensors' functions is in autograd/rules/special.py
TABLE = table(
    Formula("i0", m.i0),
    Formula("i0e", m.i0e),
    Formula("i1", m.i1),
    Formula("i1e", m.i1e),
    Formula("modified_bessel_i0", m.i0, differentiable=False),
    Formula("modified_bessel_i1", m.i1, differentiable=False),
    Formula("modified_bessel_k0", k.k0, differentiable=False, domain=_POSITIVE),
    Formula("modified_bessel_k1", k.k1, differentiable=False, domain=_POSITIVE),
    Formula("scaled_modified_bessel_k0", k.k0e, differentiable=False, domain=_POSITIVE),
    Formula("scaled_modified_bessel_k1", k.k1e, differentiable=False, domain=_POSITIVE),
    *(Formula(f.__name__, f, differentiable=False) for f in (b.bessel_j0, b.bessel_j1)),
    *(
        Formula(f.__name__, f, differentiable=False, domain=_POSITIVE)
        for f in (b.bessel_y0, b.bessel_y1)
    ),
    Formula("spherical_bessel_j0", b.spherical_bessel_j0, differentiable=False),
    Formula("airy_ai", airy.airy_ai, differentiable=False),
    Formula("igamma", g.gammainc, "same", excludes=INTEGERS, domain=((0.3, 4.0), (0.2, 4.0))),
    Formula("igammac", g.gammaincc, "same", excludes=INTEGERS, domain=((0.3, 4.0), (0.2, 4.0))),
    Formula("erfcx", l.erfcx),
    Formula("ndtr", l.ndtr),
    Formula("log_ndtr", l.log_ndtr),
    Formula("ndtri", l.ndtri, domain=((0.05, 0.95),)),
    Formula("entr", l.entr, domain=_POSITIVE),
    Formula("xlog1py", l.xlog1py, domain=((-3.0, 3.0), (-0.7, 4.0))),
    Formula("polygamma", p.polygamma, params=1, domain=_POSITIVE, samples=(2.0,)),
    Formula("zeta", z.zeta, domain=((1.2, 6.0), (0.3, 4.0))),
    *(
        Formula(
            function.__name__, function, differentiable=False, domain=((-1.5, 1.5), (0.0, 12.0))
        )
        for function in (
            o.chebyshev_polynomial_t,
            o.chebyshev_polynomial_u,
            o.chebyshev_polynomial_v,
            o.chebyshev_polynomial_w,
            o.shifted_chebyshev_polynomial_t,
            o.shifted_chebyshev_polynomial_u,
            o.shifted_chebyshev_polynomial_v,
            o.shifted_chebyshev_polynomial_w,
            o.hermite_polynomial_h,
            o.hermite_polynomial_he,
            o.laguerre_polynomial_l,
            o.legendre_polynomial_p,
        )
    ),
)
