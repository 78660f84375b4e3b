"""Discrete Fourier transforms, by PyTorch's names.

``X_j = sum_k x_k e^(-2 pi i jk / n)``, over one dimension or several; inverse transforms have the other sign.
``n`` (or ``s``, a size for each dimension) cuts the operand or pads it with zeros. ``norm``: ``"backward"`` (the
default) divides inverse transforms by the number of elements, ``"forward"`` the others, ``"ortho"`` either by its
root. Integers and bool become the default floating dtype; results have any order of derivatives.

Sources: Cooley and Tukey (1965) for lengths that are products, Stockham (1966) for the order of the stages,
Bluestein (1970) for lengths with large prime factors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from types import FunctionType

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.arguments import checked
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.extra import write_into
from tilegrad.autograd.kinds import exact
from tilegrad.autograd.rules import creation, movement
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.fft import Meta, c2c, c2r, floating, r2c
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.shape import Shape, as_index, existing_dim

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn",
    "ifftshift", "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq",
    "rfftn",
]  # fmt: skip

Dims = int | Sequence[int] | None

_DIVISORS = {
    (None, True): "none", ("backward", True): "none", ("ortho", True): "by_root_n", ("forward", True): "by_n",
    (None, False): "by_n", ("backward", False): "by_n", ("ortho", False): "by_root_n",
    ("forward", False): "none",
}  # fmt: skip


def _divisor(name: str, norm: str | None, forward: bool) -> str:
    found = _DIVISORS.get((norm, forward))
    if found is None:
        raise RuntimeError(f'{name}: Invalid normalization mode: "{norm}"')
    return found


def _operand(name: str, input: Tensor, real: bool = False) -> Tensor:
    """``input`` as a floating or complex tensor; a floating one where ``real`` is asked for.

    Raises:
        RuntimeError: it is complex.
    """
    kind = input.layout.dtype
    if kind.is_complex and real:
        word = {"complex64": "ComplexFloat", "complex128": "ComplexDouble"}[kind.name]
        raise RuntimeError(f"{name} expects a real input tensor, but got {word}")
    return input if kind.is_complex or kind.is_floating_point else to_dtype(input, floating(input))


def _as_complex(input: Tensor) -> Tensor:
    kind = input.layout.dtype
    return input if kind.is_complex else to_dtype(input, kind.to_complex())


def _positive(name: str, sizes: Sequence[int]) -> None:
    for n in sizes:
        if n < 1:
            raise RuntimeError(f"{name}: Invalid number of data points ({n}) specified")


def _whole(name: str, value: Dims, argument: str) -> tuple[int, ...] | None:
    """Sizes or dimensions as a tuple of them.

    Raises:
        TypeError: they are no integers.
    """
    if value is None:
        return None
    several = value if isinstance(value, Iterable) else (value,)
    return tuple([n if n.__class__ is int else as_index(name, n, argument) for n in several])


def _places(
    name: str, ndim: int, sizes: Shape | None, given: Shape | None
) -> tuple[Shape, list[int]]:
    """(dimensions, sizes asked for, -1 where none is).

    Raises:
        IndexError: a dimension is out of range. RuntimeError: one comes twice, or sizes do not fit.
    """
    dims = None if given is None else tuple([existing_dim(name, d, ndim) for d in given])
    if dims is not None and len(set(dims)) != len(dims):
        raise RuntimeError(f"{name}: FFT dims must be unique; got {given}")
    if sizes is None:
        dims = tuple(range(ndim)) if dims is None else dims
        return dims, [-1] * len(dims)
    if dims is not None and len(dims) != len(sizes):
        raise RuntimeError(
            f"{name}: When given, dim and shape arguments must have the same length; got {given} and {sizes}"
        )
    if len(sizes) > ndim:
        raise RuntimeError(
            f"{name}: Got shape with {len(sizes)} values but input tensor only has {ndim} dimensions."
        )
    return tuple(range(ndim - len(sizes), ndim)) if dims is None else dims, [*sizes]


@lru_cache(maxsize=4096)
def _resolved(
    name: str, shape: Shape, s: Shape | None, dim: Shape | None, norm: str | None, forward: bool, spectrum: bool,
) -> Meta:  # fmt: skip
    """What the op is told. ``spectrum``: the operand is half of one, along the last dimension."""
    dims, asked = _places(name, len(shape), s, dim)
    sizes = [shape[d] if n == -1 else n for d, n in zip(dims, asked, strict=True)]
    if spectrum and dims and asked[-1] == -1:
        sizes[-1] = 2 * (shape[dims[-1]] - 1)
    _positive(name, sizes)
    return dims, tuple(sizes), int(forward), _divisor(name, norm, forward)


@lru_cache(maxsize=4096)
def _one(
    name: str,
    shape: Shape,
    n: int | None,
    dim: int,
    norm: str | None,
    forward: bool,
    spectrum: bool,
) -> Meta:
    """:func:`_resolved` of one dimension; -1 is no size."""
    existing_dim(name, dim, len(shape))
    if n is not None:
        _positive(name, (n,))
    return _resolved(name, shape, None if n is None else (n,), (dim,), norm, forward, spectrum)


def _several(
    name: str, input: Tensor, s: Dims, dim: Dims, norm: str | None, forward: bool, spectrum: bool = False
) -> Meta:  # fmt: skip
    sizes, dims = _whole(name, s, "s"), _whole(name, dim, "dim")
    return _resolved(name, tuple(input.layout.shape), sizes, dims, norm, forward, spectrum)


def _written(
    name: str, run: Callable[..., Tensor], out: Tensor, input: Tensor, meta: Meta
) -> Tensor:
    """The result, in ``out``."""
    made: Tensor = write_into(f"fft_{name}", lambda: run(name, input, meta, None), out, (input,))
    return made


def _complex(name: str, input: Tensor, meta: Meta, out: Tensor | None) -> Tensor:
    if out is not None:
        return _written(name, _complex, out, input, meta)
    x = _operand(name, input)
    return c2c(x, meta) if meta[0] else _as_complex(x)


def _to_spectrum(name: str, input: Tensor, meta: Meta, out: Tensor | None) -> Tensor:
    if out is not None:
        return _written(name, _to_spectrum, out, input, meta)
    x = _operand(name, input, real=True)
    if not meta[0]:
        raise RuntimeError(f"{name} must transform at least one axis")
    return r2c(x, meta)


def _from_spectrum(name: str, input: Tensor, meta: Meta, out: Tensor | None) -> Tensor:
    if out is not None:
        return _written(name, _from_spectrum, out, input, meta)
    if not meta[0]:
        raise RuntimeError(f"{name} must transform at least one axis")
    return c2r(_as_complex(_operand(name, input)), meta)


# ------------------------------------------------------------------------------------------ complex


def fft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The transform of ``input`` along ``dim``: complex, of the same shape, ``n`` elements there."""
    meta = _one("fft", input.layout.shape, n, dim, norm, True, False)
    return _complex("fft", input, meta, out)


def ifft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The inverse of :func:`fft`."""
    meta = _one("ifft", input.layout.shape, n, dim, norm, False, False)
    return _complex("ifft", input, meta, out)


def fft2(
    input: Tensor, s: Dims = None, dim: Dims = (-2, -1), norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """:func:`fft` along two dimensions."""
    meta = _several("fft2", input, s, dim, norm, True)
    return _complex("fft2", input, meta, out)


def ifft2(
    input: Tensor, s: Dims = None, dim: Dims = (-2, -1), norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The inverse of :func:`fft2`."""
    meta = _several("ifft2", input, s, dim, norm, False)
    return _complex("ifft2", input, meta, out)


def fftn(
    input: Tensor, s: Dims = None, dim: Dims = None, norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """:func:`fft` along several dimensions: all of them, or as many of the last as ``s`` has sizes."""
    meta = _several("fftn", input, s, dim, norm, True)
    return _complex("fftn", input, meta, out)


def ifftn(
    input: Tensor, s: Dims = None, dim: Dims = None, norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The inverse of :func:`fftn`."""
    meta = _several("ifftn", input, s, dim, norm, False)
    return _complex("ifftn", input, meta, out)


# --------------------------------------------------------------------------- real signals


def rfft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The first ``n // 2 + 1`` numbers of the transform of a real signal; the others are conjugate to them.

    Raises:
        RuntimeError: ``input`` is complex.
    """
    meta = _one("rfft", input.layout.shape, n, dim, norm, True, False)
    return _to_spectrum("rfft", input, meta, out)


def irfft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The inverse of :func:`rfft`: ``n`` real numbers, an even number unless it is said."""
    meta = _one("irfft", input.layout.shape, n, dim, norm, False, True)
    return _from_spectrum("irfft", input, meta, out)


def rfft2(
    input: Tensor, s: Dims = None, dim: Dims = (-2, -1), norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """:func:`fft2` of a real signal, half of it along the last dimension."""
    meta = _several("rfft2", input, s, dim, norm, True)
    return _to_spectrum("rfft2", input, meta, out)


def irfft2(
    input: Tensor, s: Dims = None, dim: Dims = (-2, -1), norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The inverse of :func:`rfft2`."""
    meta = _several("irfft2", input, s, dim, norm, False, True)
    return _from_spectrum("irfft2", input, meta, out)


def rfftn(
    input: Tensor, s: Dims = None, dim: Dims = None, norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """:func:`fftn` of a real signal, half of it along the last dimension."""
    meta = _several("rfftn", input, s, dim, norm, True)
    return _to_spectrum("rfftn", input, meta, out)


def irfftn(
    input: Tensor, s: Dims = None, dim: Dims = None, norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The inverse of :func:`rfftn`."""
    meta = _several("irfftn", input, s, dim, norm, False, True)
    return _from_spectrum("irfftn", input, meta, out)


# ---------------------------------------------------------------------- real spectra


def hfft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The real transform of a signal that is conjugate to its mirror, of which ``input`` is the first half."""
    meta = _one("hfft", input.layout.shape, n, dim, norm, True, True)
    return _from_spectrum("hfft", input, meta, out)


def ihfft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The inverse of :func:`hfft`."""
    meta = _one("ihfft", input.layout.shape, n, dim, norm, False, False)
    return _to_spectrum("ihfft", input, meta, out)


def hfft2(
    input: Tensor, s: Dims = None, dim: Dims = (-2, -1), norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """:func:`hfft` along two dimensions, half of the signal along the last."""
    meta = _several("hfft2", input, s, dim, norm, True, True)
    return _from_spectrum("hfft2", input, meta, out)


def ihfft2(
    input: Tensor, s: Dims = None, dim: Dims = (-2, -1), norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The inverse of :func:`hfft2`."""
    meta = _several("ihfft2", input, s, dim, norm, False)
    return _to_spectrum("ihfft2", input, meta, out)


def hfftn(
    input: Tensor, s: Dims = None, dim: Dims = None, norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """:func:`hfft` along several dimensions, half of the signal along the last."""
    meta = _several("hfftn", input, s, dim, norm, True, True)
    return _from_spectrum("hfftn", input, meta, out)


def ihfftn(
    input: Tensor, s: Dims = None, dim: Dims = None, norm: str | None = None, *,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The inverse of :func:`hfftn`."""
    meta = _several("ihfftn", input, s, dim, norm, False)
    return _to_spectrum("ihfftn", input, meta, out)


# -------------------------------------------------------------------------- frequencies, order


def _frequencies(
    name: str, n: int, first: int, count: int, d: float, dtype: object, options: dict[str, object]
) -> Tensor:
    if not isinstance(number.required(d, name), int | float):
        raise TypeError(f"{name}(): argument 'd' (position 2) must be float, not complex")
    kind = dt.get_default_dtype() if dtype is None else dt.dtype(dtype)
    if not (kind.is_floating_point or kind.is_complex):
        raise RuntimeError(f"{name} requires a floating point or complex dtype; got {kind.name}")
    if n < 0:
        raise RuntimeError(f"{name}: Trying to create tensor with negative dimension {n}: [{n}]")
    whole = creation.arange(first, first + count, dtype=kind, device=options["device"])
    by = n * d
    made = movement.roll(whole, first, 0) if first else whole
    made = made * (1.0 / by) if by else made / by
    return made.requires_grad_() if options["requires_grad"] else made


def fftfreq(
    n: int, d: float = 1.0, *, out: Tensor | None = None, dtype: object = None, layout: object = None,
    device: object = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The frequencies of the numbers of :func:`fft`, in turns per unit of ``d``, the samples' distance."""
    options: dict[str, object] = {"device": device, "requires_grad": requires_grad}
    dtype = out.dtype if out is not None and dtype is None else dtype

    def run() -> Tensor:
        return _frequencies("fftfreq", n, -(n // 2), n, d, dtype, options)

    return run() if out is None else write_into("fft_fftfreq", run, out, ())  # type: ignore[no-any-return]


def rfftfreq(
    n: int, d: float = 1.0, *, out: Tensor | None = None, dtype: object = None, layout: object = None,
    device: object = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The frequencies of the numbers of :func:`rfft`, as :func:`fftfreq`, none of them negative."""
    options: dict[str, object] = {"device": device, "requires_grad": requires_grad}
    dtype = out.dtype if out is not None and dtype is None else dtype

    def run() -> Tensor:
        return _frequencies("rfftfreq", n, 0, n // 2 + 1, d, dtype, options)

    return run() if out is None else write_into("fft_rfftfreq", run, out, ())  # type: ignore[no-any-return]


def _shifted(name: str, input: Tensor, dim: Dims, sign: int) -> Tensor:
    given = _whole(name, (int(dim),) if isinstance(dim, TensorBase) else dim, "dim")
    ndim = input.layout.ndim
    dims = (
        tuple(range(ndim)) if given is None else tuple([existing_dim(name, d, ndim) for d in given])
    )
    halves = [input.layout.shape[d] for d in dims]
    by = [n // 2 if sign > 0 else (n + 1) // 2 for n in halves]
    return movement.roll(input, by, dims)


def fftshift(input: Tensor, dim: Dims = None) -> Tensor:
    """Frequencies in the order of :func:`fft` to ascending order, along ``dim`` or all dimensions."""
    return _shifted("fftshift", input, dim, 1)


def ifftshift(input: Tensor, dim: Dims = None) -> Tensor:
    """The inverse of :func:`fftshift`."""
    return _shifted("ifftshift", input, dim, -1)


def _finish() -> None:
    """Arguments of public functions are checked as those of all others."""
    functions = [f for name, f in globals().items() if name in __all__]
    exact(functions)
    checked([f for f in functions if isinstance(f, FunctionType)])


_finish()
