"""Written by ``python -m tests.house.stubs``, of functions that rows of formulas make."""

from tilegrad.autograd.rules.operands import Scalar
from tilegrad.autograd.tensor import Tensor

__all__ = [
    "abs",
    "abs_",
    "absolute",
    "acos",
    "acos_",
    "acosh",
    "acosh_",
    "arccos",
    "arccos_",
    "arccosh",
    "arccosh_",
    "arcsin",
    "arcsin_",
    "arcsinh",
    "arcsinh_",
    "arctan",
    "arctan2",
    "arctan_",
    "arctanh",
    "arctanh_",
    "asin",
    "asin_",
    "asinh",
    "asinh_",
    "atan",
    "atan2",
    "atan_",
    "atanh",
    "atanh_",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "ceil_",
    "copysign",
    "cos",
    "cos_",
    "cosh",
    "cosh_",
    "digamma",
    "eq",
    "erf",
    "erf_",
    "erfc",
    "erfc_",
    "erfinv",
    "exp",
    "exp2",
    "exp2_",
    "exp_",
    "expm1",
    "expm1_",
    "fix",
    "fix_",
    "floor",
    "floor_",
    "fmax",
    "fmin",
    "frac",
    "frac_",
    "gcd",
    "gcd_",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "hardshrink",
    "hypot",
    "isnan",
    "lcm",
    "lcm_",
    "le",
    "less",
    "less_equal",
    "lgamma",
    "log",
    "log10",
    "log10_",
    "log1p",
    "log1p_",
    "log2",
    "log2_",
    "log_",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "ne",
    "neg",
    "neg_",
    "negative",
    "negative_",
    "nextafter",
    "not_equal",
    "reciprocal",
    "reciprocal_",
    "relu",
    "relu_",
    "rsqrt",
    "rsqrt_",
    "selu",
    "selu_",
    "sgn",
    "sigmoid",
    "sigmoid_",
    "sign",
    "sin",
    "sin_",
    "sinc",
    "sinc_",
    "sinh",
    "sinh_",
    "sqrt",
    "sqrt_",
    "tan",
    "tan_",
    "tanh",
    "tanh_",
    "threshold",
    "threshold_",
    "trunc",
    "trunc_",
    "xlogy",
    "xlogy_",
]

def abs(input: Tensor, out: Tensor | None = None) -> Tensor:
    """|x|"""

def abs_(input: Tensor) -> Tensor:
    """|x|"""

def absolute(input: Tensor, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`abs`."""

def acos(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The angle in [0, pi] with cosine x."""

def acos_(input: Tensor) -> Tensor:
    """The angle in [0, pi] with cosine x."""

def acosh(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The inverse hyperbolic cosine, of x >= 1."""

def acosh_(input: Tensor) -> Tensor:
    """The inverse hyperbolic cosine, of x >= 1."""

def arccos(input: Tensor, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`acos`."""

def arccos_(input: Tensor) -> Tensor:
    """Another name of :func:`acos_`."""

def arccosh(input: Tensor, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`acosh`."""

def arccosh_(input: Tensor) -> Tensor:
    """Another name of :func:`acosh_`."""

def arcsin(input: Tensor, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`asin`."""

def arcsin_(input: Tensor) -> Tensor:
    """Another name of :func:`asin_`."""

def arcsinh(input: Tensor, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`asinh`."""

def arcsinh_(input: Tensor) -> Tensor:
    """Another name of :func:`asinh_`."""

def arctan(input: Tensor, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`atan`."""

def arctan2(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`atan2`."""

def arctan2_(input: Tensor, other: Tensor) -> Tensor:
    """Another name of :func:`atan2_`."""

def arctan_(input: Tensor) -> Tensor:
    """Another name of :func:`atan_`."""

def arctanh(input: Tensor, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`atanh`."""

def arctanh_(input: Tensor) -> Tensor:
    """Another name of :func:`atanh_`."""

def asin(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The angle in [-pi / 2, pi / 2] with sine x; above 1/2 by pi/2 - 2 asin(sqrt((1 - x) / 2))."""

def asin_(input: Tensor) -> Tensor:
    """The angle in [-pi / 2, pi / 2] with sine x; above 1/2 by pi/2 - 2 asin(sqrt((1 - x) / 2))."""

def asinh(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The inverse hyperbolic sine."""

def asinh_(input: Tensor) -> Tensor:
    """The inverse hyperbolic sine."""

def atan(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The angle in [-pi / 2, pi / 2] with tangent x; beyond 1 from that of 1 / x."""

def atan2(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """The angle in [-pi, pi] of the point with ordinate x and abscissa y (in C's order)."""

def atan2_(input: Tensor, other: Tensor) -> Tensor:
    """The angle in [-pi, pi] of the point with ordinate x and abscissa y (in C's order)."""

def atan_(input: Tensor) -> Tensor:
    """The angle in [-pi / 2, pi / 2] with tangent x; beyond 1 from that of 1 / x."""

def atanh(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The inverse hyperbolic tangent, of |x| <= 1."""

def atanh_(input: Tensor) -> Tensor:
    """The inverse hyperbolic tangent, of |x| <= 1."""

def bitwise_and(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x & y"""

def bitwise_and_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x & y"""

def bitwise_left_shift(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x << y; 0 for a shift that is negative or beyond the bits"""

def bitwise_left_shift_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x << y; 0 for a shift that is negative or beyond the bits"""

def bitwise_not(input: Tensor, out: Tensor | None = None) -> Tensor:
    """~x"""

def bitwise_not_(input: Tensor) -> Tensor:
    """~x"""

def bitwise_or(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x | y"""

def bitwise_or_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x | y"""

def bitwise_right_shift(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x >> y, keeping the sign; the sign alone for a shift that is negative or beyond the bits"""

def bitwise_right_shift_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x >> y, keeping the sign; the sign alone for a shift that is negative or beyond the bits"""

def bitwise_xor(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x ^ y"""

def bitwise_xor_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x ^ y"""

def ceil(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The least integer not below x."""

def ceil_(input: Tensor) -> Tensor:
    """The least integer not below x."""

def copysign(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x with the sign of y."""

def copysign_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x with the sign of y."""

def cos(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The cosine."""

def cos_(input: Tensor) -> Tensor:
    """The cosine."""

def cosh(input: Tensor, out: Tensor | None = None) -> Tensor:
    """(e^x + e^-x) / 2."""

def cosh_(input: Tensor) -> Tensor:
    """(e^x + e^-x) / 2."""

def digamma(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The derivative of log gamma(x): NaN at the negative integers, -inf at 0 and inf at -0."""

def digamma_(input: Tensor) -> Tensor:
    """The derivative of log gamma(x): NaN at the negative integers, -inf at 0 and inf at -0."""

def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x, or alpha (e^x - 1) below 0 (Clevert et al. 2016)."""

def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """x, or alpha (e^x - 1) below 0 (Clevert et al. 2016)."""

def eq(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x = y"""

def eq_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x = y"""

def erf(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The error function: 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x."""

def erf_(input: Tensor) -> Tensor:
    """The error function: 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x."""

def erfc(input: Tensor, out: Tensor | None = None) -> Tensor:
    """1 - erf(x), accurate where it is small."""

def erfc_(input: Tensor) -> Tensor:
    """1 - erf(x), accurate where it is small."""

def erfinv(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The inverse of erf, of |x| <= 1."""

def erfinv_(input: Tensor) -> Tensor:
    """The inverse of erf, of |x| <= 1."""

def exp(input: Tensor, out: Tensor | None = None) -> Tensor:
    """e^x."""

def exp2(input: Tensor, out: Tensor | None = None) -> Tensor:
    """2^x."""

def exp2_(input: Tensor) -> Tensor:
    """2^x."""

def exp_(input: Tensor) -> Tensor:
    """e^x."""

def expm1(input: Tensor, out: Tensor | None = None) -> Tensor:
    """e^x - 1, accurate near 0."""

def expm1_(input: Tensor) -> Tensor:
    """e^x - 1, accurate near 0."""

def fix(input: Tensor, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`trunc`."""

def fix_(input: Tensor) -> Tensor:
    """Another name of :func:`trunc_`."""

def floor(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The greatest integer not above x."""

def floor_(input: Tensor) -> Tensor:
    """The greatest integer not above x."""

def fmax(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """The larger; of a number and NaN the number."""

def fmin(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """The smaller; of a number and NaN the number."""

def frac(input: Tensor, out: Tensor | None = None) -> Tensor:
    """x minus its integral part."""

def frac_(input: Tensor) -> Tensor:
    """x minus its integral part."""

def gcd(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """The greatest common divisor, not negative."""

def gcd_(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor, not negative."""

def ge(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x >= y"""

def ge_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x >= y"""

def greater(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`gt`."""

def greater_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """Another name of :func:`gt_`."""

def greater_equal(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`ge`."""

def greater_equal_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """Another name of :func:`ge_`."""

def gt(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x > y"""

def gt_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x > y"""

def hardshrink(input: Tensor, lambd: float = 0.5, out: Tensor | None = None) -> Tensor:
    """x, or 0 where |x| <= lambd."""

def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """x / 6 + 1/2 limited to [0, 1]."""

def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x hardsigmoid(x) (Howard et al. 2019)."""

def hypot(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """sqrt(x^2 + y^2) without overflow or underflow on the way."""

def hypot_(input: Tensor, other: Tensor) -> Tensor:
    """sqrt(x^2 + y^2) without overflow or underflow on the way."""

def isnan(input: Tensor) -> Tensor:
    """x is NaN"""

def lcm(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """The least common multiple, not negative; 0 where either is 0."""

def lcm_(input: Tensor, other: Tensor) -> Tensor:
    """The least common multiple, not negative; 0 where either is 0."""

def le(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x <= y"""

def le_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x <= y"""

def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x, times ``negative_slope`` below 0."""

def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x, times ``negative_slope`` below 0."""

def less(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`lt`."""

def less_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """Another name of :func:`lt_`."""

def less_equal(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`le`."""

def less_equal_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """Another name of :func:`le_`."""

def lgamma(input: Tensor, out: Tensor | None = None) -> Tensor:
    """log |gamma(x)|, infinite at 0 and the negative integers."""

def lgamma_(input: Tensor) -> Tensor:
    """log |gamma(x)|, infinite at 0 and the negative integers."""

def log(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The natural logarithm."""

def log10(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The logarithm to base 10."""

def log10_(input: Tensor) -> Tensor:
    """The logarithm to base 10."""

def log1p(input: Tensor, out: Tensor | None = None) -> Tensor:
    """log(1 + x), accurate near 0."""

def log1p_(input: Tensor) -> Tensor:
    """log(1 + x), accurate near 0."""

def log2(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The logarithm to base 2; exact for powers of 2."""

def log2_(input: Tensor) -> Tensor:
    """The logarithm to base 2; exact for powers of 2."""

def log_(input: Tensor) -> Tensor:
    """The natural logarithm."""

def logaddexp(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """log(e^x + e^y)."""

def logaddexp2(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """log2(2^x + 2^y)."""

def logical_and(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """both nonzero"""

def logical_and_(input: Tensor, other: Tensor) -> Tensor:
    """both nonzero"""

def logical_not(input: Tensor, out: Tensor | None = None) -> Tensor:
    """x is zero"""

def logical_not_(input: Tensor) -> Tensor:
    """x is zero"""

def logical_or(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """either nonzero"""

def logical_or_(input: Tensor, other: Tensor) -> Tensor:
    """either nonzero"""

def logical_xor(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """one nonzero, not both"""

def logical_xor_(input: Tensor, other: Tensor) -> Tensor:
    """one nonzero, not both"""

def logsigmoid(input: Tensor, out: Tensor | None = None) -> Tensor:
    """log(sigmoid(x)) = -log(1 + e^-x)."""

def lt(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x < y"""

def lt_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x < y"""

def maximum(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """The larger; NaN if either is."""

def minimum(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """The smaller; NaN if either is."""

def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(log(1 + e^x)), as x n / (n + 2) with n = e^x (e^x + 2) (Misra 2020)."""

def mul(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x y"""

def mul_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x y"""

def multiply(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`mul`."""

def ne(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x != y"""

def ne_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x != y"""

def neg(input: Tensor, out: Tensor | None = None) -> Tensor:
    """-x"""

def neg_(input: Tensor) -> Tensor:
    """-x"""

def negative(input: Tensor, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`neg`."""

def negative_(input: Tensor) -> Tensor:
    """Another name of :func:`neg_`."""

def nextafter(input: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """The number next to x in the direction of y."""

def nextafter_(input: Tensor, other: Tensor) -> Tensor:
    """The number next to x in the direction of y."""

def not_equal(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """Another name of :func:`ne`."""

def not_equal_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """Another name of :func:`ne_`."""

def reciprocal(input: Tensor, out: Tensor | None = None) -> Tensor:
    """1 / x"""

def reciprocal_(input: Tensor) -> Tensor:
    """1 / x"""

def relu(input: Tensor) -> Tensor:
    """max(x, 0); NaN stays NaN."""

def relu_(input: Tensor) -> Tensor:
    """max(x, 0); NaN stays NaN."""

def rsqrt(input: Tensor, out: Tensor | None = None) -> Tensor:
    """1 / sqrt(x)"""

def rsqrt_(input: Tensor) -> Tensor:
    """1 / sqrt(x)"""

def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """The scaled ELU that keeps mean 0 and variance 1 (Klambauer et al. 2017)."""

def selu_(input: Tensor) -> Tensor:
    """The scaled ELU that keeps mean 0 and variance 1 (Klambauer et al. 2017)."""

def sgn(input: Tensor, out: Tensor | None = None) -> Tensor:
    """-1, 0 or 1; 0 for NaN."""

def sgn_(input: Tensor) -> Tensor:
    """-1, 0 or 1; 0 for NaN."""

def sigmoid(input: Tensor, out: Tensor | None = None) -> Tensor:
    """1 / (1 + e^-x), by e^-|x| so that nothing overflows."""

def sigmoid_(input: Tensor) -> Tensor:
    """1 / (1 + e^-x), by e^-|x| so that nothing overflows."""

def sign(input: Tensor, out: Tensor | None = None) -> Tensor:
    """-1, 0 or 1; 0 for NaN."""

def sign_(input: Tensor) -> Tensor:
    """-1, 0 or 1; 0 for NaN."""

def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x)."""

def sin(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The sine."""

def sin_(input: Tensor) -> Tensor:
    """The sine."""

def sinc(input: Tensor, out: Tensor | None = None) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0; its series near 0."""

def sinc_(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0; its series near 0."""

def sinh(input: Tensor, out: Tensor | None = None) -> Tensor:
    """(e^x - e^-x) / 2, an odd polynomial below 1."""

def sinh_(input: Tensor) -> Tensor:
    """(e^x - e^-x) / 2, an odd polynomial below 1."""

def softplus(
    input: Tensor, beta: float = 1.0, threshold: float = 20.0, out: Tensor | None = None
) -> Tensor:
    """log(1 + e^(beta x)) / beta; x itself where beta x exceeds ``threshold``."""

def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)"""

def sqrt(input: Tensor, out: Tensor | None = None) -> Tensor:
    """sqrt(x)"""

def sqrt_(input: Tensor) -> Tensor:
    """sqrt(x)"""

def tan(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The tangent."""

def tan_(input: Tensor) -> Tensor:
    """The tangent."""

def tanh(input: Tensor, out: Tensor | None = None) -> Tensor:
    """The hyperbolic tangent: an odd polynomial below 0.625, else 1 - 2 / (e^2|x| + 1)."""

def tanh_(input: Tensor) -> Tensor:
    """The hyperbolic tangent: an odd polynomial below 0.625, else 1 - 2 / (e^2|x| + 1)."""

def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)"""

def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x, or ``value`` where x <= threshold."""

def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """x, or ``value`` where x <= threshold."""

def trunc(input: Tensor, out: Tensor | None = None) -> Tensor:
    """x without its fraction."""

def trunc_(input: Tensor) -> Tensor:
    """x without its fraction."""

def xlogy(input: Tensor, other: Tensor | Scalar, out: Tensor | None = None) -> Tensor:
    """x log(y), 0 where x = 0 unless y is NaN."""

def xlogy_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """x log(y), 0 where x = 0 unless y is NaN."""
