"""Arguments that many functions have beside their own, and no function's body knows of: ``out``,
``layout``, ``pin_memory``, ``memory_format``.

:mod:`tilegrad.autograd.names` gives them to the functions of the tables; a call that has one comes
here. With ``out`` the function runs as without it, unrecorded, and its result is copied over, so that ``out`` may be an
operand or share memory with one. ``tests/autograd/test_extra.py`` compares the table with PyTorch.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType, MappingProxyType
from typing import Any

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.mode import no_grad, state
from tilegrad.autograd.rule import check_inplace, needs_graph
from tilegrad.autograd.rules.assign import copy_
from tilegrad.autograd.rules.formats import copied, in_format
from tilegrad.autograd.rules.reinterpret import view_dtype
from tilegrad.autograd.rules.resize import resize_
from tilegrad.engine import formats
from tilegrad.engine.dtype import can_cast

# the result may be cast to the dtype of ``out``
CAST = frozenset((
    "acos", "acosh", "add", "addcdiv", "addcmul", "addr", "airy_ai", "angle", "arccos", "arccosh", "arcsin",
    "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh", "atan", "atan2", "atanh", "bernoulli",
    "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "bitwise_and", "bitwise_left_shift", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "cat", "chebyshev_polynomial_t", "chebyshev_polynomial_u",
    "chebyshev_polynomial_v", "chebyshev_polynomial_w", "cholesky", "cholesky_inverse", "cholesky_solve",
    "clamp", "clamp_max", "clamp_min", "clip", "column_stack", "concat", "concatenate", "cond", "copysign",
    "cos", "cosh", "deg2rad", "digamma", "div", "divide", "dstack", "entr", "eq", "erf", "erfc", "erfcx",
    "erfinv", "exp", "exp2", "expm1", "floor_divide", "fmax", "fmin", "fmod", "gcd", "ge", "geqrf", "ger",
    "greater", "greater_equal", "gt", "hermite_polynomial_h", "hermite_polynomial_he",
    "householder_product", "hstack", "hypot", "i0", "i0e", "i1", "i1e", "igamma", "igammac", "kron",
    "laguerre_polynomial_l", "lcm", "ldexp", "le", "legendre_polynomial_p", "lerp", "less", "less_equal",
    "lgamma", "log", "log10", "log1p", "log2", "log_ndtr", "logaddexp", "logaddexp2", "logical_and",
    "logical_not", "logical_or", "logical_xor", "logit", "logsumexp", "lstsq", "lt", "matrix_power",
    "matrix_rank", "maximum", "minimum", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0",
    "modified_bessel_k1", "mul", "multiply", "mvlgamma", "nanmean", "ndtr", "ndtri", "ne", "nextafter",
    "normal", "not_equal", "orgqr", "outer", "pinv", "polygamma", "pow", "rad2deg", "reciprocal",
    "remainder", "row_stack", "rsqrt", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
    "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w", "sigmoid", "sin", "sinc", "sinh", "spherical_bessel_j0", "sqrt",
    "square", "stack", "std", "sub", "subtract", "tan", "tanh", "tensorinv", "tensorsolve", "true_divide",
    "var", "vstack", "xlog1py", "xlogy", "zeta",
))  # fmt: skip

# the dtype of ``out`` is the ``dtype`` of the call
INFERRED = frozenset((
    "arange", "cumprod", "cumsum", "empty", "eye", "full", "linspace", "logspace", "mean",
    "nansum", "ones", "prod", "rand", "randint", "randn", "randperm", "range", "sum", "zeros",
))  # fmt: skip

# the result must have the dtype of ``out``
EXACT = frozenset((
    "abs", "absolute", "addbmm", "addmm", "addmv", "alias_copy", "all", "amax", "amin", "aminmax",
    "any", "argmax", "argmin", "argsort", "as_strided_copy", "baddbmm", "bitwise_not", "bmm",
    "bucketize", "ceil", "cholesky_ex", "complex", "conj_physical", "cross", "cummax",
    "cummin", "det", "diag", "diagonal_copy", "diff", "dot", "eig", "eigh", "eigvals", "eigvalsh", "expand_copy",
    "fix", "float_power", "floor", "frac", "frexp", "gather", "heaviside", "histc", "histogram",
    "index_add", "index_copy", "index_reduce", "index_select", "inner", "inv", "inv_ex", "inverse",
    "isin", "isneginf", "isposinf", "kthvalue", "ldl_factor", "ldl_factor_ex", "ldl_solve",
    "log_softmax", "logcumsumexp", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "lu_unpack",
    "masked_select", "matmul", "matrix_norm", "max", "median", "min", "mm", "mode", "msort",
    "multi_dot", "multinomial", "mv", "nan_to_num", "nanmedian", "nanquantile", "narrow_copy",
    "neg", "negative", "nonzero", "norm", "ormqr", "permute_copy", "polar", "qr", "quantile",
    "renorm", "round", "scatter", "scatter_add", "scatter_reduce", "searchsorted", "sgn", "sign",
    "signbit", "slice_scatter", "slogdet", "softmax", "solve", "solve_ex", "solve_triangular",
    "sort", "split_with_sizes_copy", "squeeze_copy", "svd", "svdvals", "t_copy", "take",
    "take_along_dim", "tensordot", "topk", "transpose_copy", "triangular_solve", "tril", "triu",
    "trunc", "unbind_copy", "unfold_copy", "unsqueeze_copy", "vdot", "vecdot", "vector_norm",
    "view_as_complex_copy", "view_as_real_copy", "view_copy", "where",
))  # fmt: skip

# a TypeError, where others raise RuntimeError
JOINED = frozenset((
    "cat", "column_stack", "concat", "concatenate", "dstack", "hstack", "row_stack", "stack",
    "vstack",
))  # fmt: skip

# results are as many numbers as there are, in whatever shape ``out`` has
_COUNTED = frozenset(("arange", "fft_fftfreq", "fft_rfftfreq", "linspace", "logspace", "range"))

# of nn.functional: the same of functions that torch has under no other name
FUNCTIONAL = frozenset((
    "avg_pool2d", "avg_pool3d", "gelu", "hardshrink", "linear", "logsigmoid", "softplus", "softshrink",
))  # fmt: skip

ALL = CAST | INFERRED | EXACT | FUNCTIONAL


class Extra:
    """What a function does with a call that has one of the arguments ``words``: a constant of its byte code,
    called with such an argument, the function's own in their order and all of ``words``.
    """

    __slots__ = ("count", "function", "keywords", "words")

    kinds = MappingProxyType(  # annotations of the arguments
        {
            "dtype": "DType | None",
            "layout": "MemoryLayout | None",
            "memory_format": "MemoryFormat | None",
            "out": "Tensor | None",
            "pin_memory": "bool | None",
        }
    )

    def __init__(self, function: FunctionType, words: tuple[str, ...]):
        code = function.__code__
        self.function, self.words = function, words
        self.count = code.co_argcount
        self.keywords = code.co_varnames[self.count : self.count + code.co_kwonlyargcount]

    def __call__(self, word: object, *values: object) -> object:
        last = self.count + len(self.keywords)
        keywords = dict(zip(self.keywords, values[self.count : last], strict=True))
        return self.call(
            values[: self.count], keywords, dict(zip(self.words, values[last:], strict=True))
        )

    def call(
        self, values: tuple[Any, ...], keywords: dict[str, object], extra: dict[str, Any]
    ) -> object:
        """The function of its own arguments, with what the extra ones ask for."""
        name = self.function.__name__
        if extra.get("layout") is not None:
            formats.check_layout(extra["layout"], name)
        if extra.get("dtype") is not None:
            return view_dtype(values[0], extra["dtype"])
        wanted, pinned = extra.get("memory_format"), extra.get("pin_memory")
        if wanted is not None:
            formats.memory_format(wanted, name)
            if name == "clone":
                return copied(values[0], wanted)
        if extra.get("out") is not None:
            return self.into(extra["out"], values, keywords)
        changed = pinned or wanted not in (None, formats.preserve_format)
        grad = changed and keywords.get("requires_grad")
        if grad:
            keywords["requires_grad"] = False
        made = self.function(*values, **keywords)
        if changed and wanted is not None:
            made = in_format(made, wanted)
        if pinned:
            made = made.pin_memory()
        return made.requires_grad_() if grad else made

    def into(self, out: object, values: tuple[object, ...], keywords: dict[str, object]) -> object:
        """The result in ``out``."""
        name = self.function.__name__
        if name in INFERRED and "dtype" in keywords and keywords["dtype"] is None:
            keywords["dtype"] = next((o.layout.dtype for o in _tensors(name, out)), None)
        each = [v if isinstance(v, tuple | list) else (v,) for v in values]
        given = itertools.chain(keywords.values(), *each)
        return write_into(
            name, lambda: self.function(*values, **keywords), out, given, name in CAST
        )


def write_into(
    name: str, run: Callable[[], object], out: object, given: Iterable[object], casts: bool = True
) -> Any:
    """What ``run()`` gives, unrecorded, in ``out``: a tensor or a tuple of them, which take its shape.

    Args:
        name: of the function; given: its arguments, of which no tensor may be part of the graph.
        casts: whether the result may be cast to another dtype.

    Raises:
        TypeError: ``out`` is not as many tensors as there are results.
        RuntimeError: a gradient would be recorded, or the result has no place there.
    """
    outs = _tensors(name, out)
    refuse_recorded(name, itertools.chain(outs, given))
    with no_grad():
        return _written(name, run(), out, outs, casts)


def _tensors(name: str, out: object) -> Sequence[Tensor]:
    outs: Sequence[Tensor] = out if isinstance(out, tuple | list) else (out,)
    for one in outs:
        if not isinstance(one, TensorBase):
            raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(one).__name__}")
    return outs


_WORDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        [
            "arange",
            "empty_strided",
            "eye",
            "full",
            "linspace",
            "logspace",
            "ones",
            "rand",
            "randint",
            "randn",
            "bartlett_window",
            "blackman_window",
            "hamming_window",
            "hann_window",
            "kaiser_window",
            "randperm",
            "zeros",
            "tril_indices",
            "triu_indices",
        ],
        ("layout", "pin_memory"),
    ),
    **dict.fromkeys(
        [
            "empty_like",
            "full_like",
            "ones_like",
            "rand_like",
            "randint_like",
            "randn_like",
            "zeros_like",
        ],
        ("layout", "pin_memory", "memory_format"),
    ),
    **dict.fromkeys(
        [
            "bool",
            "byte",
            "cdouble",
            "cfloat",
            "char",
            "clone",
            "double",
            "float",
            "int",
            "long",
            "short",
        ],
        ("memory_format",),
    ),
    "empty": ("layout", "pin_memory", "memory_format"),
    "normal": ("layout", "pin_memory"),
    "tensor": ("pin_memory",),
    "view": ("dtype",),
}


def extras(function: FunctionType) -> Extra | None:
    """The arguments that a function has beside its own; None if there are none."""
    name = function.__name__
    words = _WORDS.get(name, ())
    if name in ALL:
        words = ("out", *words)
    return Extra(function, words) if words else None


def _written(name: str, made: object, out: object, outs: Sequence[Tensor], casts: bool) -> object:
    """``out``, with what was made in it."""
    made = tuple(made) if isinstance(made, list) else made
    results = made if isinstance(made, tuple) else (made,)
    if len(outs) != len(results) or isinstance(made, tuple) is isinstance(out, TensorBase):
        raise TypeError(
            f"{name}(): argument 'out' must be {_words(made)}, not {type(out).__name__} of {len(outs)}"
        )
    for result, one in zip(results, outs, strict=True):
        _check(name, result, one, casts)
    for result, one in zip(results, outs, strict=True):
        if name in _COUNTED and result.layout.numel == one.layout.numel:
            result = result.reshape(one.shape)
        _fill(result, one)
    if isinstance(made, tuple) and hasattr(made, "_fields"):
        return type(made)(*outs)
    return out


def _words(made: object) -> str:
    return f"tuple of {len(made)} Tensors" if isinstance(made, tuple) else "Tensor"


def refuse_recorded(name: str, given: Iterable[object]) -> None:
    """Raise if a gradient would be recorded of a call with ``out``, whose tensors are among ``given``.

    Raises:
        RuntimeError: it would.
    """
    if state.grad and needs_graph(tuple([t for t in given if isinstance(t, TensorBase)])):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but "
            f"one of the arguments requires grad."
        )


def _check(name: str, result: Tensor, out: Tensor, casts: bool) -> None:
    """Whether ``out`` can take the result: dtype, device, overlap.

    Raises:
        RuntimeError: it can not.
    """
    have, want = result.layout, out.layout
    if have.dtype is not want.dtype:
        if not casts:
            raise RuntimeError(
                f"{name}: Expected out tensor to have dtype {have.dtype.name}, but got "
                f"{want.dtype.name} instead"
            )
        if name != "bernoulli" and not can_cast(have.dtype, want.dtype):
            raise (TypeError if name in JOINED else RuntimeError)(
                f"{name}: result type {have.dtype.name} can't be cast to the desired output type "
                f"{want.dtype.name}"
            )
    if have.device is not want.device:
        raise RuntimeError(
            f"{name}: Expected out tensor to be on {have.device}, but got {want.device} instead"
        )
    if have.shape == want.shape:
        check_inplace(name, out)


def _level() -> int:
    """The ``stacklevel`` at which the caller's warning names who called the library."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and (
        frame.f_globals.get("__name__", "").startswith("tilegrad.")
        or frame.f_code.co_filename.startswith("<tilegrad")
    ):
        frame, level = frame.f_back, level + 1
    return level


def _fill(result: Tensor, out: Tensor) -> None:
    """Copy ``result`` over ``out``, which takes its shape."""
    if result.layout.shape != out.layout.shape:
        if out.layout.numel:
            warnings.warn(
                f"An output with one or more elements was resized since it had shape "
                f"{list(out.layout.shape)}, which does not match the required output shape "
                f"{list(result.layout.shape)}. This behavior is deprecated, and in a future release "
                f"outputs will not be resized unless they have zero elements. You can explicitly reuse "
                f"an out tensor t by resizing it, inplace, to zero elements with t.resize_(0).",
                UserWarning,
                stacklevel=_level(),
            )
        resize_(out, *result.layout.shape)
        out.storage.version -= 1  # one write, which the copy counts
    copy_(out, result)
