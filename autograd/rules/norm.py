"""Layer, RMS, group, instance and batch normalisation, with gradients of any order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import Node, called
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import arithmetic, pointwise, view
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.moments import var as variance
from tilegrad.autograd.rules.reduce import mean, sum
from tilegrad.autograd.size import sizes
from tilegrad.engine import calls
from tilegrad.engine.array import Array, Layout
from tilegrad.engine.dtype import finfo
from tilegrad.engine.ops import norm as ops
from tilegrad.engine.shape import Shape, as_indices, numel

__all__: list[str] = []


class _Meta(NamedTuple):
    """How the input splits into ``rows`` (None: channels), and which operands there are: of
    (input, weight, bias, means, deviations), those ``weighted`` and ``biased`` and ``centred``.
    """

    eps: float
    weighted: bool
    biased: bool
    centred: bool
    rows: ops.Rows | None = None
    training: bool = True

    def parts(self, shape: Shape) -> tuple[Shape, Shape, Shape]:
        """(the shape in which an input is split, that of the weight, dimensions of one mean)."""
        rows = self.rows
        if rows is not None and not rows.S:
            return (-1, rows.n), (1, rows.n), (1,)
        N, C, S = ops.channels(shape)
        if rows is None:
            return (N, C, S), (1, C, 1), (0, 2)
        each = C // rows.groups
        return (N, rows.groups, each, S), (1, rows.groups, each, 1), (2, 3)


def _recorded(
    name: str, x: Tensor, weight: Tensor | None, bias: Tensor | None, made: Sequence[Array | None],
    eps: float, rows: ops.Rows | None = None, training: bool = True,
) -> Tensor:  # fmt: skip
    """The first of ``made`` (result, means or None, deviations), recorded over all operands."""
    out, mean, rstd = made
    if eps.__class__ is not float:
        eps = float(eps)
    meta = _Meta(eps, weight is not None, bias is not None, mean is not None, rows, training)
    inputs = tuple([t for t in (x, weight, bias, mean, rstd) if t is not None])
    return _rule(name, meta).record(inputs, out, meta)  # type: ignore[arg-type]


@lru_cache(maxsize=4096)
def _rule(name: str, meta: _Meta) -> Rule:
    """It saves the input and its statistics but for the bias alone; the weight for the input. By statistics
    that are constants, the input's gradient reads no input.
    """
    readers = (1,) if meta.weighted else ()
    found: list[tuple[int, ...]] = [(0, *readers) if not meta.training else (0, 0, *readers)]
    if meta.weighted:
        found.append((1, 0))
    statistics = 1 + meta.weighted + meta.biased
    found += [(statistics + k, 0, *readers) for k in range(1 + meta.centred)]
    return Rule(name, _vjp, tuple(found))


def _vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """One kernel for all inputs, unless the gradients are to be differentiated again."""
    meta: _Meta = node.meta
    weighted, biased = meta.weighted, meta.biased
    x, *rest = node.unpack()
    weight = rest.pop(0) if weighted else None
    mean, rstd = rest if meta.centred else (None, *rest)
    shape = node.inputs[0].shape
    grads: tuple[Tensor | None, ...]
    if rstd is None:  # the bias alone
        grads = (None, None, _bias_grad(grad, meta.parts(shape)))
    else:
        x = grad if x is None else x  # what is made of it, nobody asked for
        if state.grad:
            grads = _composed(x, weight, mean, rstd, grad, meta)
        else:
            made = _fused(grad, x, weight, mean, rstd, meta)
            grads = (tensor_of(made[0]), tensor_of(made[1]), tensor_of(made[2]))
    wanted = [grads[0], *grads[1:2] * weighted, *grads[2:] * biased]
    shaped = [
        t if t is None or t.layout.shape == kind.shape else view.reshape(t, kind.shape)
        for t, kind in zip(wanted, node.inputs, strict=False)
    ]
    return (*shaped, *(None,) * (1 + meta.centred))


def _bias_grad(grad: Tensor, parts: tuple[Shape, Shape, Shape]) -> Tensor:
    """The gradient of a bias."""
    spread = tuple(a for a, n in enumerate(parts[1]) if n == 1)
    part = view.reshape(grad, parts[0])
    return sum(part, spread, True) if spread else part


def _fused(
    g: Array, x: Array, weight: Array | None, mean: Array | None, rstd: Array, meta: _Meta
) -> tuple[Array, Array, Array]:
    if meta.rows is not None:
        return ops.row_norm_backward(g, x, weight, mean, rstd, meta.rows)
    assert mean is not None
    return ops.batch_norm_backward(g, x, weight, mean, rstd, meta.training)


def _composed(
    x: Tensor, weight: Tensor | None, mean_: Tensor | None, rstd_: Tensor, grad: Tensor, meta: _Meta
) -> tuple[Tensor, Tensor, Tensor]:
    """``(v - mean(v) - xhat mean(v xhat)) rstd`` with ``v = grad * weight``, in tensor functions."""
    parts, weights, dims = meta.parts(x.layout.shape)
    centred = meta.rows is None or meta.rows.centred
    part, g = view.reshape(x, parts), view.reshape(grad, parts)
    v = g if weight is None else g * view.reshape(weight, weights)
    if meta.training:
        apart = part - mean(part, dims, True) if centred else part
        rstd = pointwise.rsqrt(mean(apart * apart, dims, True) + meta.eps)
        xhat = apart * rstd
        grad_input = v - xhat * mean(v * xhat, dims, True)
        grad_input = (grad_input - mean(v, dims, True) if centred else grad_input) * rstd
    else:
        assert mean_ is not None
        rstd = view.view(rstd_, weights)
        xhat = (part - view.view(mean_, weights)) * rstd
        grad_input = v * rstd
    spread = tuple(a for a, n in enumerate(weights) if n == 1)
    sum_g_xhat, sum_g = (sum(t, spread, True) if spread else t for t in (g * xhat, g))
    return view.reshape(grad_input, x.shape), sum_g_xhat, sum_g


def _check(name: str, x: Layout, weight: Layout | None, bias: Layout | None, shape: Shape) -> None:
    if not x.dtype.is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{x.dtype.name}'")
    for which, t in (("weight", weight), ("bias", bias)):
        if t is None:
            continue
        if t.shape != shape:
            nothing = name == "batch_norm" and t.shape == (0,) and not x.numel
            raise (IndexError if nothing else RuntimeError)(
                f"{name}: Expected {which} to be of shape {list(shape)}; got {list(t.shape)}"
            )
        if t.dtype is not x.dtype:
            raise RuntimeError(
                f"{name}: input and {which} must have one dtype; got {x.dtype.name} and "
                f"{t.dtype.name}"
            )


def _kind(t: Tensor | None) -> Layout | None:
    return None if t is None else t.layout


# ------------------------------------------------------------------------------------------ rows


@lru_cache(maxsize=4096)  # the checks of layouts that were seen before are a look-up
def _last_rows(
    name: str, x: Layout, last: Shape, weight: Layout | None, bias: Layout | None, centred: bool
) -> ops.Rows:
    if not last or x.shape[-len(last) :] != last:
        as_indices(name, last, "normalized_shape")
        raise RuntimeError(
            f"{name}: Given normalized_shape={list(last)}, expected input with shape "
            f"[*, {', '.join(map(str, last))}], but got input of size {list(x.shape)}"
        )
    _check(name, x, weight, bias, last)
    return ops.rows_of(numel(last), centred=centred)


def _over_last(
    name: str,
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    centred: bool,
) -> Tensor:
    if isinstance(normalized_shape, int):
        raise TypeError(
            f"{name}(): argument 'normalized_shape' (position 2) must be tuple of ints, not int"
        )
    last = tuple(normalized_shape)
    if not calls.exact(last):
        last = sizes(last)  # which refuses them
    rows = _last_rows(name, x.layout, last, _kind(weight), _kind(bias), centred)
    return _by_rows(name, x, weight, bias, eps, rows)


def _by_rows(
    name: str, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, rows: ops.Rows
) -> Tensor:
    made = ops.row_norm(x, weight, bias, eps, rows)
    return _recorded(name, x, weight, bias, made, eps, rows)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the last dimensions.

    Args:
        input: (…, *normalized_shape) floating point.
        weight, bias: normalized_shape, or None.

    Gradient: of all three; the input, its means and deviations are saved.

    Source: J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer Normalization", 2016.
    """
    return _over_last("layer_norm", input, normalized_shape, weight, bias, eps, True)


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """``x / sqrt(mean(x^2) + eps) * weight`` over the last dimensions.

    ``eps``: the dtype's machine epsilon if None.

    Gradient: of both; the input and its root-mean-squares are saved.

    Source: B. Zhang and R. Sennrich, "Root Mean Square Layer Normalization", 2019.
    """
    if eps is None:  # of dtypes that it is not for, nothing is asked
        eps = finfo(input.dtype).eps if input.layout.dtype.has_gradient else 0.0
    if input.layout.dtype.is_complex:
        return _complex_rms_norm(input, normalized_shape, weight, eps)
    if weight is not None and weight.layout.dtype is not input.layout.dtype:
        return _mixed_rms_norm(input, normalized_shape, weight, eps)
    return _over_last("rms_norm", input, normalized_shape, weight, None, eps, False)


def _mixed_rms_norm(x: Tensor, shape: Sequence[int], weight: Tensor, eps: float) -> Tensor:
    """Times a weight of another dtype, in that of ``x``."""
    kind = x.layout.dtype
    if (
        not kind.is_floating_point
        or weight.layout.dtype.is_complex
        or weight.layout.shape != tuple(shape)
    ):
        _over_last("rms_norm", x, shape, weight, None, eps, False)  # which refuses it
    made = _over_last("rms_norm", x, shape, None, None, eps, False)
    return called("rms_norm", to_dtype(made * weight, kind))


def _complex_rms_norm(x: Tensor, shape: Sequence[int], weight: Tensor | None, eps: float) -> Tensor:
    """By PyTorch's words, in which the squares are those of complex numbers."""
    last = sizes(tuple(shape))
    if not last or x.layout.shape[-len(last) :] != last:
        _last_rows("rms_norm", x.layout, last, _kind(weight), None, False)  # which refuses it
    dims = tuple(range(-len(last), 0))
    made = x * pointwise.rsqrt(mean(x * x, dims, True) + eps)
    return made if weight is None else made * weight


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalisation over groups of channels of (N, C, …), scaled by channel.

    Gradient: of all three; the input, its means and deviations are saved.

    Raises:
        RuntimeError: the channels do not split into ``num_groups``.
        ValueError: one sample with one value per group.

    Source: Y. Wu and K. He, "Group Normalization", 2018.
    """
    return _by_groups("group_norm", input, num_groups, weight, bias, eps)


@lru_cache(maxsize=4096)
def _group_rows(
    name: str, x: Layout, groups: int, weight: Layout | None, bias: Layout | None
) -> ops.Rows:
    if x.ndim < 2:
        raise RuntimeError(f"{name}: Expected at least 2 dimensions; got {x.ndim}")
    N, C, S = ops.channels(x.shape)
    if groups <= 0 or C % groups:
        raise RuntimeError(
            f"{name}: Expected number of channels in input to be divisible by num_groups, but got "
            f"input of shape {list(x.shape)} and num_groups={groups}"
        )
    if N * C // groups * S == 1:
        raise ValueError(
            f"{name}: Expected more than 1 value per channel when training, got input size "
            f"{list(x.shape)}"
        )
    _check(name, x, weight, bias, (C,))
    return ops.rows_of(C // groups * S, max(S, 1), groups)


def _by_groups(
    name: str, x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    rows = _group_rows(name, x.layout, groups, _kind(weight), _kind(bias))
    return _by_rows(name, x, weight, bias, eps, rows)


# -------------------------------------------------------------------------------------- channels


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalisation of each channel of (N, C, …) over samples and positions.

    In training by the batch's own mean and variance; ``running_mean`` and ``running_var``, if given,
    move towards them (the variance without bias) by ``momentum``. Else by the running statistics.

    Gradient: of ``input``, ``weight`` and ``bias``; the input, means and deviations are saved.

    Raises:
        RuntimeError: running statistics are missing outside training, or shapes do not fit.
        ValueError: training on one value per channel, or ``eps`` is negative, or zero in training.

    Source: S. Ioffe and C. Szegedy, "Batch Normalization", 2015.
    """
    if not _check_batch(input.layout, _kind(weight), _kind(bias), training):
        return input * 1
    if eps <= 0 and (training or eps < 0):
        least = "positive during training" if training else "non-negative"
        raise ValueError(f"batch_norm: eps must be {least}, but got {eps}")
    running = _running(input, running_mean, running_var, training)
    made = ops.batch_norm(input, weight, bias, running, training, momentum, eps)
    return _recorded("batch_norm", input, weight, bias, made, eps, None, training)


@lru_cache(maxsize=4096)
def _check_batch(x: Layout, weight: Layout | None, bias: Layout | None, training: bool) -> bool:
    """False of no elements in one dimension, which PyTorch lets through."""
    if x.shape == (0,):
        return False
    if x.ndim < 2:
        raise RuntimeError(f"batch_norm: Expected at least 2 dimensions; got {x.ndim}")
    N, C, S = ops.channels(x.shape)
    _check("batch_norm", x, weight, bias, (C,))
    if training and N * S == 1:
        raise ValueError(
            f"batch_norm: Expected more than 1 value per channel when training, got input size "
            f"{list(x.shape)}"
        )
    return True


def _running(
    x: Tensor, mean: Tensor | None, var: Tensor | None, training: bool
) -> tuple[Array, Array] | None:
    if mean is None or var is None:
        if not training:
            raise RuntimeError(
                "batch_norm: Expected running_mean and running_var to be defined when training=False"
            )
        return None
    kinds = mean.layout, var.layout
    _check_running(x.layout, *kinds)
    if training and not (kinds[0].contiguous and kinds[1].contiguous):
        raise RuntimeError("batch_norm: running_mean and running_var must be contiguous")
    return mean, var


@lru_cache(maxsize=4096)
def _check_running(x: Layout, mean: Layout, var: Layout) -> None:
    _check("batch_norm", x, mean, var, (x.shape[1],))


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalisation of each channel of each sample of (N, C, …) over its positions.

    With ``use_input_stats`` running statistics, if given, move towards the samples' average;
    without, they are used.

    Gradient: of ``input``, ``weight`` and ``bias``; the input, means and deviations are saved.

    Raises:
        RuntimeError: running statistics are needed and missing, or shapes do not fit.
        ValueError: one position per channel.

    Source: D. Ulyanov, A. Vedaldi and V. Lempitsky, "Instance Normalization", 2016.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    N, C, S = ops.channels(input.shape) if input.ndim > 1 else (0, 0, 1)
    if S == 1:
        raise ValueError(
            f"instance_norm: Expected more than 1 spatial element when training, got input size "
            f"{list(input.shape)}"
        )
    made = _by_groups("instance_norm", input, C, weight, bias, eps)
    if running_mean is not None and running_var is not None and N:
        _average_statistics(input, running_mean, running_var, momentum)
    return made


def _average_statistics(x: Tensor, mean: Tensor, var: Tensor, momentum: float) -> None:
    """Update running statistics by the average over samples of each one's own."""
    N, C, S = ops.channels(x.shape)
    samples = view.reshape(x.detach(), (N, C, S))
    means = sum(samples, (0, 2)) * (1.0 / (N * S))
    variances = sum(variance(samples, 2), 0) * (1.0 / N)
    arithmetic.add_(pointwise.mul_(mean, 1.0 - momentum), means * momentum)
    arithmetic.add_(pointwise.mul_(var, 1.0 - momentum), variances * momentum)
