"""Classification losses: negative log-likelihood and cross-entropy."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from tilegrad.autograd.base import needs_graph, own, record
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import state
from tilegrad.autograd.rules import pointwise, view
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.reduce import sum
from tilegrad.autograd.rules.softmax import log_softmax, softmax
from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Layout
from tilegrad.engine.ops import cross_entropy as ops

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor


def _legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    if size_average is not None or reduce is not None:
        if reduce is False:
            return "none"
        return "mean" if size_average is None or size_average else "sum"
    if reduction not in ops.REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


@lru_cache(maxsize=4096)  # the checks of layouts that were seen before are a look-up
def _check(name: str, x: Layout, target: Layout, weight: Layout | None) -> None:
    if not x.dtype.is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{x.dtype.name}'")
    if x.ndim == 0:
        raise ValueError(f"{name}: Expected 1 or more dimensions; got 0")
    wanted = () if x.ndim == 1 else (x.shape[0], *x.shape[2:])
    if x.ndim > 1 and target.shape[:1] != x.shape[:1]:
        raise ValueError(
            f"{name}: Expected input batch_size ({x.shape[0]}) to match target batch_size "
            f"({target.shape[0] if target.ndim else 0})."
        )
    if x.ndim < 3 and target.ndim > 1:
        raise RuntimeError(f"{name}: 0D or 1D target tensor expected, multi-target not supported")
    if target.shape != wanted and (x.ndim > 1 or target.shape != (1,)):
        kind = RuntimeError if x.ndim > 1 else ValueError
        raise kind(
            f"{name}: Expected target size {list(wanted)} for input of shape {x.shape}; "
            f"got {list(target.shape)}"
        )
    classes = x.shape[0] if x.ndim == 1 else x.shape[1]
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError(
            f"{name}: weight tensor should be defined either for all {classes} classes or no "
            f"classes; got weight tensor of shape {list(weight.shape)}"
        )


def _loss(
    name: str, x: Tensor, target: Tensor, weight: Tensor | None, ignored: int, reduction: str
) -> Tensor:
    if target.layout.dtype is not dt.int64:
        if target.dtype is not dt.uint8:
            raise RuntimeError(
                f"{name}: expected scalar type Long but found {target.dtype.name} for the target"
            )
        target = to_dtype(target, dt.int64)
    logits = name == "cross_entropy"
    if x.ndim == 1 and target.ndim == 1:
        target = view.view(target, ())
    out, saved = ops.cross_entropy(x, target, weight, reduction, ignored, logits)
    loss = own(out)
    if state.grad and needs_graph((x,)):
        record(name, _loss_vjp, (x,), (loss,), (0,), (saved, reduction))
    return loss


def _loss_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """One kernel, unless the gradient is to be differentiated again."""
    (x,) = node.unpack()
    saved, reduction = node.meta
    logits = saved.lse is not None
    if state.grad:
        return (_composed_slope(x, saved, grad, reduction, logits),)
    return (own(ops.cross_entropy_backward(grad, x, saved, reduction, logits)),)


def _composed_slope(
    x: Tensor, saved: ops.Saved, grad: Tensor, reduction: str, logits: bool
) -> Tensor:
    from tilegrad.autograd.rules.scatter import scatter_add

    scale, classes = own(saved.scale), 0 if x.ndim == 1 else 1
    if saved.weight_sum is not None:
        scale = scale / own(saved.weight_sum)
    counted = pointwise.ne(own(saved.scale), 0)
    target = to_dtype(counted, dt.int64) * own(saved.targets)  # ignored ones point anywhere
    factor = view.unsqueeze(grad * scale, classes)
    nothing = view.expand(factor.detach() * 0.0, x.shape)
    onehot = scatter_add(nothing, classes, view.unsqueeze(target, classes), factor)
    return softmax(x, classes) * factor - onehot if logits else -onehot


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``-weight[target] * input[target]`` per sample, summed over samples and for "mean" divided by
    the sum of their weights. Samples whose target is ``ignore_index`` count as nothing.

    Args:
        input: log-probabilities (C,), (N, C) or (N, C, d1, …).
        target: int64 classes () or (1,), (N,) or (N, d1, …).
        weight: (C,) or None.

    Gradient: of ``input``.

    Raises:
        IndexError: a target is not a class.
    """
    reduction = _legacy_reduction(size_average, reduce, reduction)
    _check("nll_loss", input.layout, target.layout, None if weight is None else weight.layout)
    return _loss("nll_loss", input, target, weight, ignore_index, reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross-entropy of the softmax of ``input`` against classes or class probabilities.

    Args:
        input: logits (C,), (N, C) or (N, C, d1, …).
        target: int64 classes without the dimension C, or probabilities shaped as ``input``.
        weight: (C,) or None.
        label_smoothing: probability that is spread evenly over all classes.

    Gradient: of ``input``, and of probabilities; logits and their logsumexp are saved.

    Raises:
        IndexError: a target is not a class.
    """
    reduction = _legacy_reduction(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(
            f"cross_entropy: label_smoothing must be between 0.0 and 1.0; got {label_smoothing}"
        )
    if target.layout.dtype.is_floating_point and target.ndim == input.ndim:
        if ignore_index >= 0:
            raise RuntimeError(
                f"cross_entropy: ignore_index is not supported for floating point target; "
                f"got {ignore_index}"
            )
        return _against_probabilities(input, target, weight, reduction, label_smoothing)
    _check("cross_entropy", input.layout, target.layout, None if weight is None else weight.layout)
    ndim = input.layout.ndim
    classes = 0 if ndim == 1 else 1
    if label_smoothing == 0.0 and ndim <= 2:
        return _loss("cross_entropy", input, target, weight, ignore_index, reduction)
    logs = log_softmax(input, classes)
    plain = _loss("nll_loss", logs, target, weight, ignore_index, reduction)
    if label_smoothing == 0.0:
        return plain
    smooth = _smoothing_loss(logs, target, weight, ignore_index, reduction, classes)
    mixed: Tensor = plain * (1.0 - label_smoothing)
    mixed = mixed + smooth * _ratio(label_smoothing, input.shape[classes])
    return mixed


def _smoothing_loss(
    logs: Tensor, target: Tensor, weight: Tensor | None, ignored: int, reduction: str, classes: int
) -> Tensor:
    """The loss against all classes alike, of the samples that count."""
    from tilegrad.autograd.rules.index import take

    terms = -logs if weight is None else -logs * _along(weight, logs.ndim, classes)
    counted = pointwise.ne(target, ignored)
    loss = sum(terms, classes) * to_dtype(counted, logs.dtype)
    if reduction == "none":
        return loss
    if reduction == "sum":
        return sum(loss)
    if weight is None:
        return sum(loss) / sum(counted)
    safe = target * to_dtype(counted, dt.int64)
    weights: Tensor = take(weight, safe) * to_dtype(counted, logs.dtype)
    return sum(loss) / sum(weights)


def _ratio(part: float, whole: int) -> float:
    """``part / whole`` of numbers that are not negative, by IEEE 754 where ``whole`` is 0."""
    return part / whole if whole else part * math.inf


def _along(weight: Tensor, ndim: int, classes: int) -> Tensor:
    return view.view(weight, [-1 if a == classes else 1 for a in range(ndim)])


def _against_probabilities(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    if tuple(input.shape) != tuple(target.shape):
        raise RuntimeError(
            f"cross_entropy: probabilities must have the shape of the input; "
            f"got {tuple(target.shape)} and {tuple(input.shape)}"
        )
    classes = 0 if input.ndim == 1 else 1
    count = input.shape[classes]
    if smoothing:
        target = target * (1.0 - smoothing) + _ratio(smoothing, count)
    terms = log_softmax(input, classes) * target
    if weight is not None:
        terms = terms * _along(weight, input.ndim, classes)
    if reduction == "none":
        return -sum(terms, classes)
    total = -sum(terms)
    return total if reduction == "sum" else total / _ratio(input.numel(), count)
