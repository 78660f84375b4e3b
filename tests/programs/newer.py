"""Statements over what came after the tensors' first names: transforms, decompositions, special functions, complex
numbers, lists of tensors, results in given tensors. Each is a row of source with words in braces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.programs.values import COMPLEX, DTYPES, FLOATS, INTEGERS, Draw, Variable

Condition = Callable[[Variable], bool]


def is_float(v: Variable) -> bool:
    return v.is_float


def is_exact(v: Variable) -> bool:
    """Free of rounding, so that functions with steps, edges and poles may be applied."""
    return v.exact


def is_real(v: Variable) -> bool:
    return not v.is_complex


def is_inexact(v: Variable) -> bool:
    """Of a floating or complex dtype."""
    return v.is_float or v.is_complex


def is_complex(v: Variable) -> bool:
    return v.is_complex


def is_whole(v: Variable) -> bool:
    return v.dtype in INTEGERS


def is_finite(v: Variable) -> bool:
    return bool(v.value.isfinite().all())


def is_double(v: Variable) -> bool:
    """Wide enough for what amplifies rounding."""
    return v.dtype in ("float64", "complex128")


def has_dims(least: int) -> Condition:
    return lambda v: v.ndim >= least


def is_rank(rank: int) -> Condition:
    return lambda v: v.ndim == rank


def has_elements(v: Variable) -> bool:
    return bool(v.value.numel())


def is_distinct(v: Variable) -> bool:
    """Whether it does not matter which of equal elements is taken: PyTorch does not say."""
    return v.is_complex or v.value.unique().numel() == v.value.numel()


def is_alone(v: Variable) -> bool:
    """Whether it may be a result's place: asks for no gradient."""
    return not v.value.requires_grad


class Area(NamedTuple):
    """Rows of one kind.

    Attributes:
        rows: source; the words are those of :class:`Words`.
        wants: what ``{x}`` mostly is.
        must: what ``{x}``, ``{y}`` and ``{z}`` always are.
        exact: whether results of exact operands are free of rounding.
        weight: how often the area is drawn.
    """

    rows: tuple[str, ...]
    wants: tuple[Condition, ...] = ()
    must: tuple[Condition, ...] = ()
    exact: bool = False
    weight: int = 3


class Words(dict[str, str]):
    """What stands for a word in a row; drawn when it is first read, then the same throughout the row."""

    def __init__(self, draw: Draw, x: Variable, must: tuple[Condition, ...]) -> None:
        super().__init__(x=x.name)
        self.draw, self.variable, self.must = draw, x, must
        self.exact = x.exact

    def __missing__(self, word: str) -> str:
        made: str = getattr(self, f"word_{word.rstrip('0123456789')}")()
        self[word] = made
        return made

    def another(self, condition: Condition, literal: tuple[int, ...], dtype: str) -> str:
        """A variable, or a literal where there is none; now and then although there is one."""
        y = self.draw.variable(condition, must=self.must)
        if y is not None and self.draw.rng.random() < 0.6:
            self.exact = self.exact and y.exact
            return y.name
        return f"t.tensor({self.draw.literal(literal, dtype)}, dtype=t.{dtype})"

    def word_y(self) -> str:
        """An operand that broadcasts with ``{x}``."""
        x = self.variable
        fits = lambda v: all(
            m == n or 1 in (m, n) for m, n in zip(v.shape[::-1], x.shape[::-1], strict=False)
        )
        others = [d for d in DTYPES if all(c(_of_dtype(x, d)) for c in self.must)] or [x.dtype]
        dtype = self.draw.rng.choice((x.dtype, x.dtype, x.dtype, *others))
        return self.another(fits, self.draw.sizes_like(x.shape), dtype)

    def word_z(self) -> str:
        """A tensor like ``{x}``."""
        x = self.variable
        alike = lambda v: v.shape == x.shape and v.dtype == x.dtype
        return self.another(alike, x.shape, x.dtype)

    def word_mask(self) -> str:
        """Truth values that broadcast over ``{x}``."""
        return f"t.tensor({self.draw.literal(self.draw.sizes_like(self.variable.shape), 'bool')}, dtype=t.bool)"

    def word_n(self) -> str:
        return self.draw.number(self.variable.dtype)

    def word_d(self) -> str:
        return str(self.draw.dim(self.variable.ndim))

    def word_k(self) -> str:
        return str(self.draw.rng.randint(0, 4))

    def word_size(self) -> str:
        return str(self.draw.rng.randint(1, 4))

    def word_step(self) -> str:
        return str(self.draw.rng.randint(-3, 3))

    def _extent(self) -> int:
        x, d = self.variable, int(self["d"])
        return x.shape[d] if -x.ndim <= d < x.ndim else 1

    def word_at(self) -> str:
        """A position along ``{d}``."""
        size = self._extent()
        return str(self.draw.rng.randint(-size - self.draw.slip(), max(size - 1, 0)))

    def word_ids(self) -> str:
        """Positions along ``{d}``, any number of them."""
        size = self._extent()
        most = 3 if size else 0
        picks = [
            self.draw.rng.randint(0, max(size - 1 + self.draw.slip(), 0))
            for _ in range(self.draw.rng.randint(0, most))
        ]
        return f"t.tensor({picks}, dtype=t.{self.draw.rng.choice(('int64', 'int64', 'int32'))})"

    def word_wide(self) -> str:
        """Positions along ``{d}`` for each element."""
        x, size = self.variable, self._extent()
        count = x.value.numel()
        picks = [self.draw.rng.randint(0, max(size - 1, 0)) for _ in range(count)]
        return f"t.tensor({picks}, dtype=t.int64).reshape({list(x.shape)})"

    def word_keep(self) -> str:
        return self.draw.rng.choice(("True", "False"))

    def word_dtype(self) -> str:
        """Any; but what a number beyond an integer's range becomes, no library says."""
        whole = not is_inexact(self.variable) or self.draw.slip()
        return f"t.{self.draw.rng.choice((*(DTYPES if whole else FLOATS), *COMPLEX))}"

    def word_float(self) -> str:
        return f"t.{self.draw.rng.choice(FLOATS)}"

    def word_norm(self) -> str:
        return self.draw.rng.choice(("None", "'forward'", "'backward'", "'ortho'"))

    def word_p(self) -> str:
        return self.draw.rng.choice(("0", "1", "2", "3", "0.5", "float('inf')", "-1"))

    def word_fold(self) -> str:
        """How several values become one."""
        return self.draw.rng.choice(("'prod'", "'mean'", "'amax'", "'amin'"))

    def word_mean(self) -> str:
        return self.draw.rng.choice(("'none'", "'mean'", "'sum'"))

    def word_mode(self) -> str:
        return self.draw.rng.choice(("'constant'", "'reflect'", "'replicate'", "'circular'"))

    def word_spd(self) -> str:
        """A matrix that is far from singular, symmetric and positive, of ``{x}``'s last dimension."""
        x = self.variable
        return f"({x.name}.mH @ {x.name} + 4 * t.eye({x.shape[-1] if x.ndim else 1}, dtype=t.{x.dtype}))"

    def word_square(self) -> str:
        """A square matrix of ``{x}``, seldom near a singular one."""
        x = self.variable
        rows = min(x.shape[-2:]) if x.ndim > 1 else 1
        return f"({x.name}[..., :{rows}, :{rows}] + t.eye({rows}, dtype=t.{x.dtype}) * 30)"


def _of_dtype(x: Variable, dtype: str) -> Variable:
    import torch

    return Variable(x.name, torch.empty(0, dtype=getattr(torch, dtype)), x.exact)


def _each(text: str, names: str) -> tuple[str, ...]:
    return tuple(text.replace("NAME", name) for name in names.split())


AREAS = {
    # --- one operand, or several of a shape, element by element
    "special": Area((
        *_each("NEW = t.special.NAME({x})", "entr erfcx i0 i0e i1 i1e log_ndtr ndtr ndtri bessel_j0 bessel_j1 exp2 "
               "expit spherical_bessel_j0 scaled_modified_bessel_k0 modified_bessel_k1 gammaln digamma"),
        *_each("NEW = t.NAME({x})",
               "erfc erfinv lgamma digamma i0 exp2 log2 log10 acos asin atanh acosh sinh cosh tan "
               "deg2rad rad2deg logit"),
        "NEW = t.special.polygamma({size}, {x})", "NEW = t.polygamma(1, {x})", "NEW = t.mvlgamma({x}, 2)",
        "NEW = t.special.xlog1py({x}, {y})", "NEW = t.special.zeta({x}, {y})", "NEW = t.special.xlogy({x}, {n})",
        "NEW = t.special.chebyshev_polynomial_t({x}, {k})", "NEW = t.special.hermite_polynomial_h({x}, {k})",
        "NEW = t.special.legendre_polynomial_p({x}, {k})", "NEW = t.special.laguerre_polynomial_l({x}, {y})",
        "NEW = t.special.gammainc({x}.abs(), {y}.abs())", "NEW = t.special.gammaincc({x}.abs(), {y}.abs())",
        "NEW = t.logit({x}, 0.125)", "NEW = {x}.erfinv_()", "NEW = {x}.clone().digamma_()",
    ), must=(is_exact, is_real)),
    "steps": Area((
        *_each("NEW = t.NAME({x})", "signbit sgn isfinite isreal isneginf isposinf bitwise_not fix nan_to_num conj "
               "conj_physical resolve_conj real is_nonzero"),
        "NEW = t.nan_to_num({x}, {n}, {n1}, {n2})", "NEW = {x}.nan_to_num_(nan={n})", "NEW = t.heaviside({x}, {y})",
        "NEW = t.heaviside({x}, {z})", "NEW = t.copysign({x}, {y})", "NEW = t.copysign({x}, {n})",
        "NEW = t.frexp({x})[0]", "NEW = t.frexp({x})[1]", "NEW = t.fmax({x}, {y})",
        "NEW = t.fmin({x}, {y})", "NEW = t.isclose({x}, {y})", "NEW = t.isin({x}, {y})",
        "NEW = t.isin({x}, {n}, invert={keep})",
        "NEW = t.clamp({x}, {y}, {z})", "NEW = t.clip({x}, min={y})", "NEW = t.clamp({x}, {n}, {n1})",
        "NEW = t.clamp_max({x}, {n})",
        "NEW = t.trunc({x})", "NEW = t.round({x}, decimals={step})", "NEW = t.rsub({x}, {y})",
        "NEW = t.rsub({x}, {n}, alpha={n1})",
        "NEW = t.add({x}, {y}, alpha={n})", "NEW = t.sub({x}, {y}, alpha=2)", "NEW = t.threshold({x}, {n}, {n1})",
        "{x}.copysign_({y})", "{x}.fmod_({n})", "{x}.heaviside_({y})", "{x}.sgn_()", "{x}.lt_({n})", "{x}.eq_({y})",
        "{x}.logical_and_({y})", "{x}.clip_({n}, {n1})", "{x}.floor_divide_({n})",
        "NEW = t.eq({x}, {y})", "NEW = t.ne({x}, {n})", "NEW = t.greater_equal({x}, {y})",
        "NEW = t.where({mask}, {x}, {y})",
        "NEW = t.where({mask}, {x}, {n})", "NEW = t.where({mask}, {n}, {x})", "NEW = t.masked_fill({x}, {mask}, {n})",
        "NEW = t.div({x}, {y}, rounding_mode='floor')", "NEW = t.div({x}, {n}, rounding_mode='trunc')",
    ), must=(is_exact,), exact=True, weight=6),
    "whole": Area((
        *_each("NEW = t.NAME({x}, {y})",
               "gcd lcm bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift "
               "remainder fmod floor_divide float_power true_divide"),
        "NEW = {x} << {k}", "NEW = {x} >> {k}", "NEW = ~{x}", "{x}.bitwise_and_({n})", "{x} ^= {n}", "{x}.gcd_({z})",
        "{x}.bitwise_left_shift_(1)", "NEW = t.bincount({x}.flatten().abs())",
        "NEW = t.bincount({x}.flatten().abs(), minlength={k})",
        "NEW = t.nn.functional.one_hot({x}.abs().long())", "NEW = t.nn.functional.one_hot({x}.long(), 10)",
        "NEW = t.cumsum({x}, {d}, dtype={dtype})", "NEW = t.sum({x}, {d}, dtype={dtype})", "NEW = t.prod({x}, {d})",
        "NEW = {x}.view(t.int8)", "NEW = {x}.pow({k})", "NEW = {k} ** {x}.abs()", "NEW = {x} ** {y}.abs()",
    ), wants=(is_whole,), must=(is_exact, is_real)),
    "smooth": Area((
        "NEW = t.hypot({x}, {y})", "NEW = t.ldexp({x}, {y})", "{x}.ldexp_({z})", "NEW = t.polar({x}, {z})",
        "NEW = t.nextafter({x}, {z})", "NEW = t.logaddexp2({x}, {y})", "NEW = t.atan2({x}, {y})",
        "NEW = t.lerp({x}, {z}, {n})",
        "NEW = t.lerp({x}, {z}, {z1})", "NEW = t.addcmul({x}, {y}, {y1}, value={n})",
        "NEW = t.addcdiv({x}, {y}, {y1})",
        "NEW = t.float_power({x}, {k})", "NEW = t.addcmul({x}, {y}, {n})", "{x}.addcmul_({z}, {z1}, value={n})",
        "{x}.lerp_({z}, 0.5)", "{x}.atan2_({z})", "{x}.float_power_(2)", "{x}.addcdiv_({z}, {z1})", "{x}.hypot_({y})",
    ), wants=(is_float,), must=(is_exact, is_real)),
    "activations": Area((
        *_each("NEW = t.nn.functional.NAME({x})",
               "elu selu celu mish hardtanh hardswish hardsigmoid relu6 softsign tanhshrink "
               "softshrink hardshrink leaky_relu"),
        "NEW = t.nn.functional.gelu({x}, approximate='tanh')", "NEW = t.nn.functional.glu({x}, {d})",
        "NEW = t.nn.functional.softmin({x}, {d})", "NEW = t.nn.functional.normalize({x}, dim={d})",
        "NEW = t.nn.functional.softplus({x}, beta=2)", "NEW = t.nn.functional.threshold({x}, {n}, {n1})",
        "NEW = t.softmax({x}, {d}, dtype={float})",
        "NEW = t.nn.functional.prelu({x}, t.tensor([0.25], dtype={x}.dtype))",
        "NEW = t.nn.functional.rrelu({x})",
    ), wants=(is_float, is_finite), must=(is_exact, is_real)),
    # --- complex numbers
    "complex": Area((
        "NEW = t.complex({x}, {z})", "NEW = {x}.to(t.complex64)", "NEW = {x}.to(t.complex128)",
        "NEW = {x} * 1j", "NEW = {x} + (1 - 2j)", "NEW = t.complex({x}, {n} * {x})", "NEW = {x} * (0.5 + 1j)",
    ), wants=(is_float,), must=(is_real, is_exact), exact=True, weight=4),
    "of complex": Area((
        *_each("NEW = t.NAME({x})", "real imag conj conj_physical view_as_real resolve_conj neg square"),
        *_each("NEW = {x}.NAME", "real imag mT H mH"), "NEW = {x}.conj().T", "NEW = {x} * {y}", "NEW = {x} + {y}",
        "NEW = {x} - {y}",
        "NEW = {x} == {y}", "NEW = {x} != {n}", "{x}.real.mul_(2)", "{x}.imag.zero_()", "{x} *= 1j",
        "{x}.conj_physical_()",
        "{x}.add_({y})", "{x}.mul_({n})", "NEW = {x}.sum({d})", "NEW = t.isreal({x})", "NEW = t.isfinite({x})",
        "{x}.copy_({y})",
        "NEW = {x}.conj().clone()", "NEW = {x}.conj() + {y}", "NEW = t.view_as_complex(t.view_as_real({x}))",
        "NEW = t.nan_to_num({x})",
        "NEW = t.where({mask}, {x}, {y})", "NEW = t.flip({x}, [{d}])", "NEW = t.cumsum({x}, {d})",
        "NEW = t.count_nonzero({x}, {d})",
        "NEW = {x}.conj().imag", "NEW = {x}.real.unsqueeze({d})", "NEW = t.logical_not({x})",
        "NEW = t.any({x}, {d})", "{x}.real.copy_({x}.imag)",
    ), wants=(is_complex,), exact=True),
    "complex functions": Area((
        *_each("NEW = t.NAME({x})",
               "abs angle sgn exp log sqrt sin cos tanh reciprocal log1p expm1 asinh acos atan sigmoid log2 "
               "rsqrt"),
        "NEW = {x} / {y}", "NEW = {x} ** 2", "NEW = {x} ** {n}", "NEW = t.pow({x}, {y})", "NEW = {x}.prod({d})",
        "NEW = {x}.mean({d})",
        "NEW = {x}.norm(dim={d})", "NEW = t.var({x}, {d})", "NEW = t.cumprod({x}, {d})", "NEW = {x}.abs().sum()",
        "NEW = {x} @ {x}.mH",
        "NEW = t.vdot({x}.flatten(), {z}.flatten())", "NEW = t.dot({x}.flatten(), {z}.flatten())", "{x} /= {n}",
        "{x}.exp_()", "{x}.pow_(2)",
        "NEW = t.std({x}, {d})", "NEW = t.isclose({x}, {y})",
    ), wants=(is_complex, is_finite), must=(is_exact,)),
    # --- transforms and decompositions
    "fft": Area((
        *_each("NEW = t.fft.NAME({x}, dim={d}, norm={norm})", "fft ifft rfft irfft hfft ihfft fft ifft rfft irfft"),
        *_each("NEW = t.fft.NAME({x}, {size}, {d})", "fft ifft rfft irfft hfft ihfft"),
        *_each("NEW = t.fft.NAME({x})", "fft2 ifft2 rfft2 irfft2 fftn ifftn rfftn irfftn fftshift ifftshift"),
        *_each("NEW = t.fft.NAME({x}, s=({size},), dim=({d},), norm={norm})", "fftn ifftn rfftn irfftn hfftn ihfftn"),
        "NEW = t.fft.fftshift({x}, {d})", "NEW = t.fft.fftfreq({size}, {n})", "NEW = t.fft.rfftfreq({size})",
    ), wants=(has_dims(1), is_inexact, has_elements, is_finite), must=(), weight=4),
    "linalg": Area((
        *_each("NEW = t.linalg.NAME({square})", "det inv matrix_exp slogdet"),
        *_each("NEW = t.linalg.NAME({spd})", "cholesky inv eigvalsh svdvals det pinv cond matrix_rank"),
        "NEW = t.linalg.slogdet({spd})[1]", "NEW = t.logdet({spd})", "NEW = t.linalg.solve({spd}, {x}.mH)",
        "NEW = t.linalg.matrix_power({x}, {step})",
        "NEW = t.linalg.solve({square}, {x}[..., 0])", "NEW = t.cholesky_solve({x}.mH, t.linalg.cholesky({spd}))",
        "NEW = t.cholesky_inverse(t.linalg.cholesky({spd}))",
        "NEW = t.linalg.qr({x})[1].abs()", "NEW = t.linalg.qr({x}, mode='r')[1].abs()",
        "NEW = t.linalg.svdvals({x})", "NEW = t.linalg.lu({spd})[1]",
        "NEW = t.linalg.lu_factor({spd})[0]", "NEW = t.linalg.solve_triangular({spd}.triu(), {x}.mH, upper=True)",
        "NEW = t.linalg.ldl_factor({spd})[0]",
        "NEW = t.linalg.lstsq({spd}, {x}.mH)[0]", "NEW = t.linalg.tensorinv({spd}, 1)",
        "NEW = t.linalg.multi_dot([{spd}, {x}.mH, {x}])", "NEW = t.linalg.eigh({spd})[0]",
        "NEW = t.linalg.inv_ex({spd})[1]", "NEW = t.linalg.cholesky_ex({x})[1]", "NEW = t.linalg.vander({x})",
        "NEW = t.linalg.matrix_norm({x}, {p})",
        "NEW = t.linalg.matrix_norm({x}, 'nuc')", "NEW = t.linalg.matrix_norm({x}, 'fro', keepdim={keep})",
        "NEW = t.triangular_solve({x}.mH, {spd})[0]",
        "NEW = t.linalg.pinv({x})", "NEW = t.linalg.matrix_rank({x})", "NEW = t.inverse({spd})",
        "NEW = t.det({square})",
    ), wants=(has_dims(2), is_double, is_finite, has_elements), must=(is_exact,), weight=4),
    "norms": Area((
        "NEW = t.linalg.vector_norm({x}, {p}, {d}, {keep})", "NEW = t.linalg.norm({x})",
        "NEW = t.linalg.norm({x}, {p}, {d})", "NEW = t.norm({x}, {p}, {d}, {keep})",
        "NEW = t.dist({x}, {z}, {p})", "NEW = t.renorm({x}, 2, {d}, 1.5)",
        "NEW = t.nn.functional.cosine_similarity({x}, {z}, {d})", "NEW = t.linalg.cross({x}, {z}, dim={d})",
        "NEW = t.linalg.vecdot({x}, {z}, dim={d})", "NEW = t.nn.functional.pairwise_distance({x}, {z})",
        "NEW = t.linalg.vector_norm({x}, dtype={float})",
    ), wants=(is_inexact,), must=(is_exact,)),
    "products": Area((
        "NEW = t.kron({x}, {y})", "NEW = t.outer({x}.flatten(), {z}.flatten())", "NEW = t.inner({x}, {z})",
        "NEW = t.tensordot({x}, {z}, {k})", "NEW = t.mm({x}, {z}.mT)",
        "NEW = t.einsum('...i,...i->...', {x}, {z})", "NEW = t.einsum('ij,kj->ik', {x}, {z})",
        "NEW = t.einsum('ii->i', {x})", "NEW = t.bmm({x}, {z}.mT)",
        "NEW = t.addmm({n}, {x}, {z}.mT, beta={n1}, alpha={n2})" ,
        "NEW = t.addmm({x} @ {z}.mT, {x}, {z}.mT, beta={n1}, alpha={n2})",
        "NEW = t.baddbmm({n} * ({x}[None] @ {z}.mT[None]), {x}[None], {z}.mT[None])", "NEW = t.mv({x}, {x}[0])",
        "NEW = t.addr({x} * 0, {x}[:, 0], {x}[0])", "NEW = t.addmv({x}[:, 0], {x}, {z}[0], alpha={n})",
        "NEW = t.chain_matmul({x}, {x}.mT)", "NEW = t.nn.functional.linear({x}, {z})",
        "NEW = t.nn.functional.bilinear({x}, {z}, {x}[None, :, :].mT @ {x})", "NEW = t.trace({x})",
        "NEW = t.block_diag({x}, {z})", "NEW = t.cartesian_prod({x}, {z})",
        "NEW = t.combinations({x}, {k})", "NEW = t.vander({x}, {k})", "NEW = t.linalg.matmul({x}, {z}.mT)",
    ), wants=(has_dims(1),), must=()),
    "distances": Area((
        "NEW = t.cdist({x}, {z}, p={p})", "NEW = t.cdist({x}, {z}[..., :2, :])", "NEW = t.pdist({x})",
        "NEW = t.nn.functional.pdist({x}, {p})",
    ), wants=(has_dims(2), is_float), must=(is_exact,), weight=1),
    # --- reductions and scans
    "reductions": Area((
        "NEW = t.aminmax({x}, dim={d}, keepdim={keep})[1]", "NEW = t.aminmax({x})[0]", "NEW = t.nansum({x}, {d})",
        "NEW = t.argwhere({x})", "NEW = t.nonzero({x})",
        "NEW = t.unique({x})", "NEW = t.unique({x}, return_counts=True)[1]", "NEW = t.unique({x}, dim={d})",
        "NEW = t.unique_consecutive({x})", "NEW = t.unique_consecutive({x}, dim={d})",
        "NEW = t.unique({x}, return_inverse=True)[1]", "NEW = t.all({x}, {d}, {keep})",
        "NEW = t.any({x}, ({d}, {d1}))", "NEW = t.sum({x}, ({d}, {d1}), {keep})", "NEW = t.cummin({x}, {d})[0]",
        "NEW = t.msort({x})", "NEW = t.diff({x}, {k}, {d})", "NEW = t.diff({x}, dim={d}, prepend={z})",
        "NEW = t.argsort({x}, dim={d}, stable=True)", "NEW = t.argsort({x}, dim={d}, descending=True, stable=True)",
        "NEW = t.bucketize({x}, t.tensor([-1.0, 0.0, 2.0]), right={keep})",
        "NEW = t.searchsorted(t.tensor([-1.0, 0.0, 2.0]), {x})", "NEW = t.histc({x}, {size})",
        "NEW = t.histc({x}, 4, -1, 2)",
        "NEW = t.sum({x}, dtype={dtype})", "NEW = t.cumsum({x}, {d}, dtype={dtype})",
        "NEW = t.trapezoid({x}, dim={d})", "NEW = t.cumulative_trapezoid({x}, dim={d})",
        "NEW = t.trapz({x}, {z}, dim={d})",
        "NEW = t.equal({x}, {y})", "NEW = t.numel({x})", "NEW = t.histogram({x}, {size})[0]",
        "NEW = t.histogram({x}, 3, range=(-1.0, 2.0))[0]", "{x}.cumsum_({d})", "NEW = t.gradient({x}, dim={d})[0]",
        "NEW = t.gradient({x}, spacing=0.5)[0]",
    ), must=(is_exact,), exact=True, weight=4),
    "selections": Area((
        "NEW = t.nanmedian({x}, {d})[0]", "NEW = t.mode({x}, {d})[0]", "NEW = t.cummax({x}, {d})[1]",
        "NEW = t.argmax({x}, {d}, {keep})", "NEW = t.argmin({x}, {d})",
        "NEW = t.topk({x}, 1, {d})[1]", "NEW = t.max({x}, {d})[1]", "NEW = t.kthvalue({x}, 1, {d})[1]",
        "NEW = t.sort({x}, {d})[1]", "NEW = t.nn.functional.max_pool1d({x}, 2)",
        "NEW = t.quantile({x}, 0.25, dim={d}, interpolation='lower')",
        "NEW = t.nanquantile({x}, 0.5, interpolation='higher')", "NEW = t.median({x})", "NEW = t.nanmedian({x})",
    ), must=(is_exact, is_real, is_distinct), exact=True, weight=2),
    "statistics": Area((
        "NEW = t.std({x}, {d}, correction={k}, keepdim={keep})", "NEW = t.var({x}, unbiased={keep})",
        "NEW = t.std_mean({x}, {d})[0]", "NEW = t.var_mean({x}, {d})[1]", "NEW = t.nanmean({x}, {d}, {keep})",
        "NEW = t.cov({x})", "NEW = t.corrcoef({x})", "NEW = t.quantile({x}, 0.3)",
        "NEW = t.quantile({x}, t.tensor([0.25, 0.5], dtype={x}.dtype), dim={d}, keepdim={keep})",
        "NEW = t.cumprod({x}, {d})",
        "NEW = t.logcumsumexp({x}, {d})", "NEW = t.nn.functional.layer_norm({x}, {x}.shape[-1:])",
        "NEW = t.prod({x}, {d}, dtype={float})", "NEW = t.mean({x}, ({d}, {d1}), dtype={float})",
        "NEW = t.logsumexp({x}, ({d},), {keep})",
        "NEW = t.nn.functional.rms_norm({x}, {x}.shape[-1:])", "NEW = t.nn.functional.local_response_norm({x}, 2)",
        "NEW = t.nn.functional.group_norm({x}, 1)", "{x}.cumprod_({d})", "NEW = t.nanquantile({x}, 0.5, {d})",
        "NEW = t.special.logsumexp({x}, {d})", "NEW = t.log_softmax({x}, {d}, dtype={float})",
        "NEW = t.nn.functional.instance_norm({x})",
    ), wants=(is_float, has_dims(1)), must=(is_exact,)),
    "masked": Area((
        *_each("NEW = t.masked.NAME({x}, {d}, mask={mask})",
               "sum prod amax amin mean argmax argmin logsumexp softmax log_softmax cumsum norm median "
               "normalize"),
        "NEW = t.masked.sum({x}, {d}, keepdim={keep}, mask={mask})",
        "NEW = t.masked.var({x}, {d}, unbiased={keep}, mask={mask})", "NEW = t.masked.mean({x}, mask={mask})",
        "NEW = t.masked.std({x}, {d}, mask={mask})",
    ), wants=(is_float, has_dims(1)), must=(is_exact, is_distinct), weight=1),
    # --- writes by indices, and views that are copies
    "scatters": Area((
        "NEW = t.select_scatter({x}, {x}.select({d}, {at}) * 2, {d}, {at})",
        "NEW = t.slice_scatter({x}, {x}[..., :1], -1, 0, 1)",
        "NEW = t.slice_scatter({x}, {x}.narrow({d}, 0, 1), {d}, end=1)",
        "NEW = t.diagonal_scatter({x}, {x}.diagonal() + 1)", "NEW = t.masked_scatter({x}, {mask}, {z})",
        "{x}.masked_scatter_({mask}, {z})", "NEW = t.as_strided_scatter({x}, {x}.flatten()[:1], (1,), (1,))",
        "NEW = t.index_add({x}, {d}, {ids}, {x}.index_select({d}, {ids}), alpha={n})",
        "NEW = t.index_copy({x}, {d}, {ids}[:1], {x}.index_select({d}, {ids}[:1]))",
        "NEW = t.scatter({x}, {d}, {wide}, {n}, reduce='add')",
        "NEW = {x}.scatter_reduce({d}, {wide}, {z}, 'sum')", "{x}.scatter_({d}, {wide}, {n}, reduce='multiply')",
        "NEW = t.scatter_add({x}, {d}, {wide}, {z})",
        "NEW = {x}.index_put(({ids},), t.tensor({n}).to({x}.dtype), accumulate=True)",
        "{x}.put_({ids}[:1], {x}.flatten()[:1], accumulate={keep})", "NEW = t.take({x}, {ids})",
        "NEW = {x}.index_fill({d}, {ids}, {n})", "NEW = t.put({x}, {ids}[:1], {x}.flatten()[:1])",
        "{x}.fill_diagonal_({n})",
        "{x}.index_copy_({d}, {ids}[:1], {x}.index_select({d}, {ids}[:1]))", "NEW = t.gather({x}, {d}, {wide})",
        "NEW = t.take_along_dim({x}, {wide}, {d})", "NEW = t.index_select({x}, {d}, {ids})", "NEW = {x}[{ids}]",
    ), wants=(has_dims(1), has_elements), must=(is_exact,), exact=True, weight=4),
    "reducing writes": Area((
        "NEW = t.index_reduce({x}, {d}, {ids}, {x}.index_select({d}, {ids}), {fold}, include_self={keep})",
        "{x}.index_reduce_({d}, {ids}, {x}.detach().index_select({d}, {ids}), {fold})",
        "NEW = t.scatter_reduce({x}, {d}, {wide}, {z}, {fold}, include_self={keep})",
        "{x}.scatter_reduce_({d}, {wide}, {z}, {fold})",
        "NEW = t.segment_reduce({x}, 'sum', lengths=t.tensor([{x}.shape[0]]))",
    ), wants=(has_dims(1), has_elements), must=(is_exact, is_real)),
    "copies": Area((
        "NEW = t.squeeze_copy({x})", "NEW = t.squeeze_copy({x}, {d})", "NEW = t.unsqueeze_copy({x}, {d})",
        "NEW = t.t_copy({x})", "NEW = t.transpose_copy({x}, {d}, {d1})", "NEW = t.select_copy({x}, {d}, {at})",
        "NEW = t.slice_copy({x}, {d}, {k})", "NEW = t.narrow_copy({x}, {d}, 0, {k})",
        "NEW = t.view_copy({x}, (-1,))", "NEW = t.view_copy({x}, {dtype})", "NEW = t.diagonal_copy({x})",
        "NEW = t.expand_copy({x}, (2, *{x}.shape))",
        "NEW = t.unbind_copy({x}, {d})[0]", "NEW = t.split_copy({x}, {size}, {d})[0]",
        "NEW = t.unfold_copy({x}, {d}, {k}, {size})", "NEW = t.alias_copy({x})", "NEW = t.detach_copy({x})",
        "NEW = t.as_strided_copy({x}, (1,), (1,))",
        "NEW = t.permute_copy({x}, ({d}, {d1}))", "NEW = t.view_as_real_copy({x})",
    ), exact=True, weight=2),
    "shapes": Area((
        *_each("NEW = t.NAME({x})",
               "ravel fliplr flipud atleast_2d atleast_3d triu diag diagflat diag_embed adjoint t"),
        "NEW = t.rot90({x}, {k}, ({d}, {d1}))", "NEW = t.tensor_split({x}, {size}, {d})[0]",
        "NEW = t.tensor_split({x}, ({k}, {k1}), {d})[1]",
        "NEW = t.hstack([{x}, {z}])", "NEW = t.vstack([{x}, {z}])", "NEW = t.dstack([{x}, {z}])",
        "NEW = t.column_stack([{x}, {z}])", "NEW = t.hsplit({x}, {size})[0]", "NEW = t.vsplit({x}, [{k}])[0]",
        "NEW = t.swapaxes({x}, {d}, {d1})",
        "NEW = {x}.unflatten({d}, (-1, {size}))", "NEW = t.flatten({x}, {d}, {d1})",
        "NEW = t.moveaxis({x}, {d}, {d1})", "NEW = t.diag({x}, {step})",
        "NEW = t.diag_embed({x}, {step}, {d}, {d1})", "NEW = t.tril({x}, {step})", "NEW = t.triu({x}, {step})",
        "NEW = t.unsafe_split({x}, {size}, {d})[0]", "NEW = t.unsafe_chunk({x}, {size}, {d})[0]",
        "NEW = {x}.as_strided(({k}, {size}), (1, 1))", "NEW = {x}.view({dtype})",
        "NEW = t.constant_pad_nd({x}, ({step}, {step1}), {n})", "NEW = t.roll({x}, ({step}, {step1}), ({d}, {d1}))",
        "NEW = t.repeat_interleave({x}, {k}, {d})", "NEW = {x}.expand_as({y})", "NEW = {x}.sum_to_size(())",
        "NEW = {x}.view_as({z})", "NEW = t.squeeze({x}, ({d}, {d1}))",
        "NEW = t.meshgrid({x}, {z}, indexing='ij')[0]", "NEW = t.broadcast_tensors({x}, {y})[1]",
        "NEW = t.concat([{x}, {y}], {d})", "NEW = {x}.type_as({y})", "{x}.triu_({step})", "{x}.swapaxes_({d}, {d1})",
        "{x}.t_()", "{x}.squeeze_({d})", "NEW = {x}.new_full(({k},), {n})", "NEW = {x}.new_tensor([{n}])",
        "NEW = t.full_like({x}, {n})",
        "NEW = t.zeros_like({x}, dtype={dtype})", "NEW = {x}.new_ones(({k}, {k1}), dtype={dtype})",
        "NEW = t.tile({x}, ({k}, {size}))", "NEW = {x}.repeat({size}, {k})", "NEW = t.unravel_index({x}, (4, 5))[0]",
        "NEW = t.movedim({x}, ({d}, {d1}), ({d1}, {d}))",
    ), exact=True, weight=5),
    "makers": Area((
        *_each("NEW = t.NAME_window({k}, periodic={keep}, dtype={float})", "hann hamming blackman bartlett kaiser"),
        *_each("NEW = t.signal.windows.NAME({k}, sym={keep}, dtype={float})",
               "hann cosine exponential gaussian nuttall blackman bartlett kaiser"),
        "NEW = t.linspace({n}, {n1}, {k}, dtype={dtype})", "NEW = t.logspace({n}, {n1}, {k}, dtype={float})",
        "NEW = t.arange({n}, {n1}, {size})", "NEW = t.arange({k}, dtype={dtype})",
        "NEW = t.eye({k}, {k1}, dtype={dtype})", "NEW = t.tril_indices({k}, {k1}, {step})",
        "NEW = t.full(({k}, {k1}), {n})", "NEW = t.full(({k},), {n}, dtype={dtype})",
        "NEW = t.triu_indices({k}, {k1}, {step})", "NEW = t.ones({k}, {k1}, dtype={dtype})",
        "NEW = t.scalar_tensor({n}, dtype={dtype})", "NEW = t.asarray([{n}, {n1}], dtype={dtype})",
        "NEW = t.linspace({x}.flatten()[0], {n}, {k})", "NEW = t.range({k}, {k1})",
    ), wants=(has_elements,), weight=2),
    # --- layers as functions
    "layers": Area((
        "NEW = t.nn.functional.unfold({x}, {size}, padding={k})",
        "NEW = t.nn.functional.unfold({x}, (1, 2), stride={size})", "NEW = t.nn.functional.fold({x}, (2, 2), 1)",
        "NEW = t.nn.functional.fold({x}, ({size}, {size1}), ({size2}, 1))",
        "NEW = t.nn.functional.interpolate({x}, scale_factor=2)",
        "NEW = t.nn.functional.interpolate({x}, size={size}, mode='linear', align_corners={keep})",
        "NEW = t.nn.functional.interpolate({x}, size=({size}, {size1}), mode='bilinear', align_corners={keep})",
        "NEW = t.nn.functional.interpolate({x}, size=({size}, 3), mode='bicubic')",
        "NEW = t.nn.functional.interpolate({x}, size={size}, mode='nearest-exact')",
        "NEW = t.nn.functional.interpolate({x}, size={size}, mode='area')",
        "NEW = t.nn.functional.interpolate({x}, scale_factor=1.5, mode='bilinear', antialias=True)",
        "NEW = t.nn.functional.avg_pool1d({x}, {size})",
        "NEW = t.nn.functional.avg_pool2d({x}, {size}, stride=1, padding={k}, count_include_pad={keep})",
        "NEW = t.nn.functional.lp_pool1d({x}, 2, {size})", "NEW = t.nn.functional.adaptive_avg_pool1d({x}, {size})",
        "NEW = t.nn.functional.adaptive_avg_pool2d({x}, ({size}, 2))",
        "NEW = t.nn.functional.pad({x}, ({k}, {k1}), mode={mode})",
        "NEW = t.nn.functional.pad({x}, ({step}, {step1}, {step2}, {k}), value={n})",
        "NEW = t.nn.functional.pad({x}, (1, {k}, 0, 1), {mode})", "NEW = t.nn.functional.pixel_shuffle({x}, {size})",
        "NEW = t.nn.functional.pixel_unshuffle({x}, {size})",
        "NEW = t.nn.functional.channel_shuffle({x}, {size})",
        "NEW = t.nn.functional.conv1d({x}, {z}[:, :, :2], padding={k})",
        "NEW = t.nn.functional.conv_transpose1d({x}, {z}.mT.mT, stride={size})",
        "NEW = t.nn.functional.conv2d({x}, {z}, stride={size}, padding={k})",
        "NEW = t.nn.functional.scaled_dot_product_attention({x}, {z}, {z})",
        "NEW = t.nn.functional.grid_sample({x}, {x}.permute(0, 2, 3, 1)[..., :2], align_corners={keep})",
        "NEW = t.nn.functional.affine_grid({x}[..., :2, :3], (1, 1, {size}, {k}), align_corners={keep})",
        "NEW = t.nn.functional.embedding(t.tensor([[0, 1]]), {x})",
        "NEW = t.nn.functional.embedding_bag(t.tensor([[0, 0]]), {x})",
    ), wants=(has_dims(3), is_float, has_elements, is_finite), must=(is_exact,), weight=4),
    "losses": Area((
        *_each("NEW = t.nn.functional.NAME({x}, {z}, reduction={mean})",
               "mse_loss l1_loss smooth_l1_loss huber_loss kl_div poisson_nll_loss soft_margin_loss "
               "binary_cross_entropy_with_logits hinge_embedding_loss multilabel_soft_margin_loss "
               "cross_entropy"),
        "NEW = t.nn.functional.cross_entropy({x}, t.zeros({x}.shape[:-1], dtype=t.int64), label_smoothing=0.25)",
        "NEW = t.nn.functional.nll_loss({x}, t.zeros({x}.shape[:1], dtype=t.int64), reduction={mean})",
        "NEW = t.nn.functional.gaussian_nll_loss({x}, {z}, {z}.abs() + 1)",
        "NEW = t.nn.functional.margin_ranking_loss({x}, {z}, {z1}.sign(), 0.5)",
        "NEW = t.nn.functional.triplet_margin_loss({x}, {z}, {z1})",
        "NEW = t.nn.functional.cosine_embedding_loss({x}, {z}, t.ones({x}.shape[:1]))",
        "NEW = t.nn.functional.binary_cross_entropy({x}.sigmoid(), {z}.sigmoid())",
        "NEW = t.nn.functional.multi_margin_loss({x}, t.zeros({x}.shape[:1], dtype=t.int64))",
    ), wants=(has_dims(2), is_float, has_elements, is_finite), must=(is_exact,), weight=2),
    # --- lists of tensors, and results in given tensors
    "lists": Area((
        *_each("NEW = t._foreach_NAME([{x}, {z}])[0]", "neg abs sign sqrt exp reciprocal floor"),
        *_each("NEW = t._foreach_NAME([{x}, {z}], {n})[0]", "add sub mul div pow maximum clamp_min"),
        *_each("NEW = t._foreach_NAME([{x}], [{z}])[0]", "add sub mul div maximum minimum pow clamp_max"),
        *_each("t._foreach_NAME_([{x}], {n})", "add mul sub clamp_min maximum"),
        *_each("t._foreach_NAME_([{x}], [{y}])", "add mul div copy minimum"),
        *_each("t._foreach_NAME_([{x}])", "neg abs zero round"), "NEW = t._foreach_norm([{x}], {p})[0]",
        "NEW = t._foreach_add([{x}], [{z}], alpha={n})[0]",
        "NEW = t._foreach_addcmul([{x}], [{z}], [{z1}], {n})[0]",
        "NEW = t._foreach_addcdiv([{x}], [{z}], [{z1}], [{n}])[0]", "NEW = t._foreach_lerp([{x}], [{z}], {n})[0]",
        "NEW = t._foreach_max([{x}])[0]", "t._foreach_addcmul_([{x}], [{z}], [{z1}], value={n})",
        "NEW = t._foreach_mul([{x}], {y})[0]",
        "NEW = t._foreach_pow({n}, [{x}])[0]", "t._foreach_lerp_([{x}], [{z}], [{z1}])",
    ), must=(is_exact, is_real)),
    "out": Area((
        *_each("NEW = t.NAME({x}, {y}, out=t.empty(0, dtype={dtype}))", "add mul sub maximum eq fmod hypot"),
        *_each("NEW = t.NAME({x}, out=t.empty(0, dtype={dtype}))", "neg abs exp logical_not floor sign"),
        *_each("NEW = t.NAME({x}, {z}, out={z1})", "add mul div minimum"),
        *_each("NEW = t.NAME({x}, {d}, out={z})", "cumsum cumprod sum mean amax all"),
        "NEW = t.cat([{x}, {z}], {d}, out=t.empty(0, dtype={dtype}))",
        "NEW = t.stack([{x}, {z}], out=t.empty(0, dtype={x}.dtype))",
        "NEW = t.matmul({x}, {z}.mT, out=t.empty(0, dtype={x}.dtype))",
        "t.sort({x}, {d}, out=({z}, t.empty(0, dtype=t.int64)))",
        "NEW = t.clamp({x}, {n}, {n1}, out={z})",
        "NEW = t.index_select({x}, {d}, {ids}, out=t.empty(0, dtype={x}.dtype))",
        "NEW = t.gather({x}, {d}, {wide}, out={z})", "NEW = t.arange({k}, out=t.empty(0, dtype={dtype}))",
        "NEW = t.linspace(0, 1, {k}, out={z})", "t.max({x}, {d}, out=({z}, t.empty(0, dtype=t.int64)))",
        "NEW = t.fft.fft({x}, out=t.empty(0, dtype=t.complex64))",
        "NEW = t.norm({x}, 2, {d}, out=t.empty(0, dtype={dtype}))",
        "NEW = t.pow({x}, {n}, out=t.empty(0, dtype={dtype}))", "NEW = t.tril({x}, out={z})",
        "NEW = t.eye({k}, out=t.empty(0, dtype={dtype}))",
        "t.frexp({x}, out=(t.empty(0, dtype={x}.dtype), t.empty(0, dtype=t.int32)))",
    ), must=(is_exact, is_alone, is_distinct)),
    # --- functions of functions
    "transforms": Area((
        "NEW = t.vmap(lambda v: v.sum())({x})", "NEW = t.vmap(lambda v: v * v + 1, in_dims={d})({x})",
        "NEW = t.func.grad(lambda v: (v * v * v).sum())({x})", "NEW = t.func.jacrev(lambda v: v.sin())({x})",
        "NEW = t.vmap(t.func.grad(lambda v: v.exp().sum()))({x})",
        "NEW = t.func.vjp(lambda v: v.tanh(), {x})[1]({z})[0]",
        "NEW = t.func.jvp(lambda v: v * v, ({x},), ({z},))[1]",
        "NEW = t.func.hessian(lambda v: (v ** 3).sum())({x})", "NEW = t.vmap(lambda v, w: v + w)({x}, {z})",
        "NEW = t.vmap(lambda v: t.cumsum(v, 0), out_dims=-1)({x})",
        "NEW = t.func.jacfwd(lambda v: v.cos())({x})", "NEW = t.autograd.functional.jacobian(lambda v: v * v, {x})",
        "NEW = t.vmap(lambda v: v.sort()[0])({x})",
    ), wants=(is_float, has_dims(1), has_elements), must=(is_exact,), weight=1),
}  # fmt: skip


def draw_newer(draw: Draw) -> tuple[str, bool] | None:
    """A row of an area with its words filled in."""
    (area,) = draw.rng.choices(list(AREAS.values()), [a.weight for a in AREAS.values()])
    x = draw.variable(*area.wants, must=area.must)
    if x is None:
        return None
    words = Words(draw, x, area.must)
    text = draw.rng.choice(area.rows).format_map(words)
    return text, area.exact and words.exact
