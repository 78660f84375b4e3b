"""Random tensors, PyTorch's names and arguments; the numbers are tilegrad's own.

They depend on the generator's seed and the calls made since, never on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, SupportsInt

import numpy as np

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, tensor_of
from tilegrad.autograd.rule import Rule, check_inplace
from tilegrad.autograd.rules.extrema import amax, amin
from tilegrad.autograd.rules.view import expand, narrow
from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array, empty_layout
from tilegrad.engine.device import device as as_device
from tilegrad.engine.number import required
from tilegrad.engine.ops import elementwise, random as ops
from tilegrad.engine.ops.create import check_sizes, like
from tilegrad.engine.ops.movement import stack
from tilegrad.engine.ops.sort import sort
from tilegrad.engine.random import Generator, default_generator
from tilegrad.engine.shape import Shape, as_index, broadcast_shapes
from tilegrad.engine.transfer import check_when_ready

__all__ = [
    "bernoulli", "get_rng_state", "initial_seed", "manual_seed", "normal", "rand", "rand_like",
    "randint", "randint_like", "randn", "randn_like", "randperm", "seed", "set_rng_state",
]  # fmt: skip

Params = tuple[object, object]

# --------------------------------------------------------------------------------------- the state


def manual_seed(seed: SupportsInt) -> Generator:
    """Start the default generator anew from ``seed``; returns it."""
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Start the default generator anew from a seed the system chooses; returns it."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed the default generator last started from."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator: 16 bytes, uint8."""
    return default_generator.get_state()  # type: ignore[no-any-return]


def set_rng_state(new_state: object) -> None:
    """Let the default generator go on from where :func:`get_rng_state` was called."""
    default_generator.set_state(new_state)


# ------------------------------------------------------------------------------------ new tensors


def _floating(op: str, dtype: object) -> dt.DType:
    kind = dt.get_default_dtype() if dtype is None else dt.dtype(dtype)
    if not kind.has_gradient:
        raise NotImplementedError(f"{op}: dtype must be floating point; got {kind.name}")
    return kind


def _new(
    name: str, shape: Shape, kind: dt.DType, device: object, params: Params,
    generator: Generator | None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    made = tensor_of(ops.draw(name, shape, kind, as_device(device), params, generator))
    return made.requires_grad_() if requires_grad else made


def rand(
    *size: object,
    generator: Generator | None = None,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform over [0, 1): multiples of 2^-24 in float32, of 2^-53 in float64."""
    shape, kind = check_sizes("rand", size), _floating("rand", dtype)
    return _new("uniform", shape, kind, device, (0.0, 1.0), generator, requires_grad)


def randn(
    *size: object,
    generator: Generator | None = None,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal with mean 0 and variance 1, by Box and Muller's transform."""
    shape, kind = check_sizes("randn", size), _floating("randn", dtype)
    return _new("normal", shape, kind, device, (0.0, 1.0), generator, requires_grad)


def randint(
    low: int | None = None,
    high: object = None,
    size: object = None,
    *,
    generator: Generator | None = None,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers from ``low`` on, below ``high``: ``randint(low, high, size)`` or
    ``randint(high, size)``; int64 unless given.

    Raises:
        RuntimeError: there are none, or the dtype cannot hold them.
    """
    if low is None:
        low = 0
    elif size is None or high is None:
        low, high, size = 0, low, high if size is None else size
    kind = dt.int64 if dtype is None else dt.dtype(dtype)
    low, high = as_index("randint", low, "low"), as_index("randint", high, "high")
    params = _range("randint", low, high, kind)
    shape = check_sizes("randint", (size,))
    return _new("integers", shape, kind, device, params, generator, requires_grad)


def _range(op: str, low: int, high: int, kind: dt.DType) -> Params:
    """(first, how many), the count as a signed 64-bit number."""
    if low >= high:
        raise RuntimeError(
            f"{op}: expects 'from' to be less than 'to'; got from={low} >= to={high}"
        )
    least, most = _limits(kind)
    if low < least or high - 1 > most:
        raise RuntimeError(
            f"{op}: from and to - 1 must lie within the range of {kind.name}; got {low} and {high}"
        )
    count = high - low
    return low, count - (1 << 64) if count >> 63 else count


def _limits(kind: dt.DType) -> tuple[int, int]:
    if kind is dt.bool_:
        return 0, 1
    if kind.is_floating_point:
        return -(1 << 63), (1 << 63) - 1
    limits = dt.iinfo(kind)
    return limits.min, limits.max


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """The numbers below ``n`` in random order; int64 unless given.

    They are the order of n 64-bit random keys, equal keys by place.
    """
    if n < 0:
        raise RuntimeError(f"randperm: n must be non-negative; got {n}")
    keys = ops.draw("bits", (n,), dt.int64, as_device(device), (0, 0), generator)
    order = sort(keys, 0, False)[1]
    made = tensor_of(order if dtype is None else elementwise.cast(order, dt.dtype(dtype)))
    return made.requires_grad_() if requires_grad else made


def normal(
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal with the given mean and standard deviation, numbers (with ``size``) or tensors.

    Raises:
        RuntimeError: a negative ``std``.
    """
    if size is not None:  # then tensors stand for numbers
        mean, std = float(mean), float(std)
    given = [x for x in (mean, std) if isinstance(x, TensorBase)]
    if not isinstance(std, TensorBase) and std < 0:
        raise RuntimeError(f"normal: expects std >= 0.0, but found std {std}")
    if isinstance(std, TensorBase) and std.layout.numel and bool((std.detach() < 0).any().item()):
        raise RuntimeError("normal: expects all elements of std >= 0.0")
    if not given:
        shape, kind = check_sizes("normal", (size or (),)), _floating("normal", dtype)
        params = (float(mean), float(std))
        return _new("normal", shape, kind, device, params, generator, requires_grad)
    if isinstance(std, TensorBase) and std.layout.numel and not bool((std.detach() >= 0).all()):
        raise RuntimeError("normal: expects all elements of std >= 0.0")
    shape = broadcast_shapes("normal", *(a.layout.shape for a in given))
    kind = given[0].dtype
    result = ops.draw("normal", shape, kind, given[0].device, (0.0, 1.0), generator)
    result = elementwise.OPS["mul"](result, _operand(std, result))
    result = elementwise.OPS["add"](result, _operand(mean, result))
    return tensor_of(elementwise.cast(result, kind))


def _operand(value: Any, like: Array) -> Array:
    if isinstance(value, TensorBase):
        return value
    return elementwise.scalar(float(value), like.dtype, like.device)


def _real(op: str, value: object) -> float:
    return float(required(value, op))


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None
) -> Tensor:
    """0 or 1 in the shape and dtype of ``input``, which holds the probabilities of 1 unless ``p``
    is given.

    Raises:
        RuntimeError: a probability outside [0, 1].
    """
    kind = input.layout
    if p is not None:
        params = (ops.threshold(_probability("bernoulli", p)), 0)
        return _new("bernoulli", kind.shape, kind.dtype, kind.device, params, generator)
    return tensor_of(_bernoulli_array(input, generator))


def _bernoulli_array(p: Tensor, generator: Generator | None) -> Array:
    kind = p.layout
    if not kind.dtype.is_floating_point:
        raise NotImplementedError(
            f"bernoulli: probabilities must be floating point; got {kind.describe()}"
        )
    if kind.numel:
        once = p.detach()
        for dim, stride in enumerate(kind.strides):
            if stride == 0:  # where there is no memory for the result, its size is no matter here
                once = narrow(once, dim, 0, 1)
        ends = stack(amin(once), amax(once), dim=0)
        check_when_ready(ends, _check_probabilities)
    return ops.bernoulli_of(p, generator)


def _check_probabilities(ends: np.ndarray) -> None:
    low, high = ends.tolist()
    if not (low >= 0 and high <= 1):
        raise RuntimeError(f"bernoulli: expects all p in [0, 1]; got {low} to {high}")


def _probability(op: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise RuntimeError(f"{op}: expects p to be in [0, 1]; got p={p}")
    return float(p)


# --------------------------------------------------------------------------- like another tensor


def _like(
    name: str, x: Tensor, dtype: object, device: object, params: Params, requires_grad: bool
) -> Tensor:
    """A draw in the shape and order of dimensions of ``x``."""
    kind = x.layout
    wanted = kind.dtype if dtype is None else dt.dtype(dtype)
    if name != "integers" and not wanted.has_gradient:
        raise NotImplementedError(f"{name}: dtype must be floating point; got {wanted.name}")
    where = kind.device if device is None else as_device(device)
    made = ops.draw(name, kind.shape, wanted, where, params, None)
    model = like(kind, wanted, where)
    if made.layout is not model:
        made = elementwise.copy(made, empty_layout(model))
    result = tensor_of(made)
    return result.requires_grad_() if requires_grad else result


def rand_like(
    input: Tensor, *, dtype: object = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """As :func:`rand`, in the shape, dtype and device of ``input``."""
    return _like("uniform", input, dtype, device, (0.0, 1.0), requires_grad)


def randn_like(
    input: Tensor, *, dtype: object = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """As :func:`randn`, in the shape, dtype and device of ``input``."""
    return _like("normal", input, dtype, device, (0.0, 1.0), requires_grad)


def randint_like(
    input: Tensor,
    low: int | None = None,
    high: int | None = None,
    *,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """As :func:`randint`, in the shape, dtype and device of ``input``."""
    if low is None or high is None:
        low, high = 0, low if high is None else high
    if high is None:
        raise TypeError("randint_like() missing 1 required argument: 'high'")
    kind = input.dtype if dtype is None else dt.dtype(dtype)
    params = _range("randint_like", low, high, kind)
    return _like("integers", input, dtype, device, params, requires_grad)


# --------------------------------------------------------------------------------------- in place


def written_over(op: str, x: Tensor, made: Array) -> Tensor:
    """Write ``made`` over ``x``, whose old value no gradient reaches any more."""
    check_inplace(op, x)
    return _drawing(op).write((x,), elementwise.copy, made, x)


@lru_cache(maxsize=None)
def _drawing(op: str) -> Rule:
    """The rule of a function that draws over its tensor."""
    return Rule(op, lambda node, grad: (None,))


def _redraw(op: str, name: str, x: Tensor, params: Params, generator: Generator | None) -> Tensor:
    kind = x.layout
    parts = kind.dtype.is_complex and name in ("uniform", "normal")
    if name not in ("integers", "bernoulli") and not (kind.dtype.is_floating_point or parts):
        raised = RuntimeError if name == "exponential" else NotImplementedError
        raise raised(f"{op}: not implemented for '{kind.dtype.name}'; got {kind.describe()}")
    return written_over(
        op, x, ops.draw(name, kind.shape, kind.dtype, kind.device, params, generator)
    )


def uniform_(
    self: Tensor, a: float = 0.0, to: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Uniform over [a, to), of complex numbers in each part.

    Raises:
        RuntimeError: ``a`` exceeds ``to``, or one is not finite.
    """
    for name, end in (("from", a), ("to", to)):
        if not abs(end) < math.inf:
            raise RuntimeError(
                f"uniform_: {name} is out of bounds for {self.dtype.name}; got {end}"
            )
    if a > to:
        raise RuntimeError(
            f"uniform_: expects to return a [from, to) range; got from={a} > to={to}"
        )
    return _redraw(
        "uniform_", "uniform", self, (_real("uniform_", a), _real("uniform_", to)), generator
    )


def normal_(
    self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Normal; of complex numbers each part has half the variance, and the real part the mean.

    Raises:
        RuntimeError: a negative ``std``.
    """
    if not std >= 0:
        raise RuntimeError(f"normal_: expects std >= 0.0, but found std {std}")
    return _redraw(
        "normal_", "normal", self, (_real("normal_", mean), _real("normal_", std)), generator
    )


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Positive, with density ``lambd * exp(-lambd * x)``.

    Raises:
        RuntimeError: ``lambd`` is not positive.
    """
    if not lambd > 0:
        raise RuntimeError(f"exponential_: expects lambda > 0.0, but found lambda={lambd}")
    return _redraw(
        "exponential_", "exponential", self, (_real("exponential_", lambd), 0.0), generator
    )


def bernoulli_(
    self: Tensor, p: float | Tensor = 0.5, *, generator: Generator | None = None
) -> Tensor:
    """1 with probability ``p``, a number or a tensor that broadcasts, else 0."""
    if not isinstance(p, TensorBase):
        params = (ops.threshold(_probability("bernoulli_", p)), 0)
        return _redraw("bernoulli_", "bernoulli", self, params, generator)
    wide = expand(p.detach(), self.layout.shape)
    return written_over("bernoulli_", self, _bernoulli_array(wide, generator))


def random_(
    self: Tensor,
    *bounds: int,
    to: int | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Integers: ``random_(low, to)`` from ``low`` on, below ``to``; ``random_(to)`` from 0 on;
    ``random_()`` all that are not negative and, in floats, exact.
    """
    kind = self.dtype
    if to is not None:
        bounds = (*bounds, to)
    if bounds:
        given = [as_index("random_", bound, "from") for bound in bounds]
        low, high = (0, given[0]) if len(given) == 1 else given
    elif kind.is_floating_point:
        low, high = 0, (1 << (np.finfo(kind.numpy).nmant + 1)) + 1
    else:
        low, high = 0, _limits(kind)[1] + 1
    params = _range("random_", low, high, kind)
    return _redraw("random_", "integers", self, params, generator)


@contextmanager
def random_state(state: Tensor | None) -> Iterator[None]:
    """Within the block the default generator goes on from ``state``; afterwards from where it was."""
    if state is None:
        yield
        return
    before = get_rng_state()
    set_rng_state(state)
    try:
        yield
    finally:
        set_rng_state(before)


@contextmanager
def fork_rng(
    devices: Iterable[object] | None = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str | None = None,
) -> Iterator[None]:
    """After the block the default generator goes on from where it was before; it serves every device."""
    before = get_rng_state() if enabled else None
    try:
        yield
    finally:
        if before is not None:
            set_rng_state(before)
