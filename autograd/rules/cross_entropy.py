"""Classification losses: negative log-likelihood and cross-entropy."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, detached_view, tensor_of
from tilegrad.autograd.graph import Node, tied
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule, needs_graph
from tilegrad.autograd.rules import pointwise, view
from tilegrad.autograd.rules.elementwise import apply, to_dtype
from tilegrad.autograd.rules.index import constant, take
from tilegrad.autograd.rules.reduce import only, sum
from tilegrad.autograd.rules.scatter import scatter_add, scatter_add_
from tilegrad.autograd.rules.softmax import LOG_SOFTMAX, log_softmax
from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Layout
from tilegrad.engine.ops import cross_entropy as ops
from tilegrad.engine.ops.elementwise import OPS
from tilegrad.engine.shape import Shape


def reduction_of(
    reduction: str, size_average: bool | None = None, reduce: bool | None = None
) -> str:
    """``reduction``, or what the two older flags mean, of which it warns.

    Raises:
        ValueError: it is none of "none", "mean", "sum".
    """
    if size_average is not None or reduce is not None:
        mode = "none" if reduce is False else "sum" if size_average is False else "mean"
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{mode}' instead.",
            stacklevel=3,
        )
        return mode
    if reduction not in ops.REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


@lru_cache(maxsize=4096)  # the checks of layouts that were seen before are a look-up
def _check(name: str, x: Layout, target: Layout, weight: Layout | None) -> None:
    if name == "cross_entropy" and target.shape == x.shape:  # those of floats do not come here
        raise RuntimeError(
            f"{name}: Expected floating point type for target with class probabilities; "
            f"got {target.describe()}"
        )
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
    if not x.dtype.is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{x.dtype.name}'")
    if weight is not None:
        check_weight(name, x.dtype, weight.dtype)


def check_weight(name: str, kind: dt.DType, found: dt.DType) -> None:
    """RuntimeError for classes' weights of another dtype than the input."""
    if found is not kind:
        raise RuntimeError(
            f"{name}: expected scalar type {kind.name} but found {found.name}, of weight"
        )


def _loss(
    name: str, x: Tensor, target: Tensor, weight: Tensor | None, ignored: int, reduction: str
) -> Tensor:
    if target.layout.dtype is not dt.int64:
        if target.dtype is not dt.uint8 or x.layout.ndim > 2:
            raise RuntimeError(
                f"{name}: expected scalar type Long but found {target.dtype.name} for the target"
            )
        target = to_dtype(target, dt.int64)
    logits = name == "cross_entropy"
    if x.layout.ndim == 1 and target.layout.ndim == 1:
        target = view.view(target, ())
    records = state.grad and needs_graph((x,)) > 0
    # the logits may change: their gradient reads the log-probabilities
    out, *rest = ops.cross_entropy(
        x, target, weight, reduction, ignored, logits, logits and records
    )
    if not records:
        return tensor_of(out)
    rule = _LOSSES[name, len(rest)]
    return rule.record((x, target, *rest), out, (reduction, logits))  # type: ignore[arg-type]


def _loss_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """One kernel, unless the gradient is to be differentiated again."""
    reduction, logits = node.meta
    targets, *saved = node.unpack()
    logs = saved.pop(0) if logits else None
    shape = node.inputs[0].shape
    if state.grad:
        logs = None if logs is None else _as_log_softmax(node, logs, len(shape) - 1)
        grad_input = _composed_grad(shape, logs, targets, saved, grad, reduction)
        grad_input = grad_input if logits else tied(node, grad_input)
    else:
        how = (logs, targets, *saved)
        grad_input = tensor_of(
            ops.cross_entropy_backward(grad, *how, reduction=reduction, shape=shape)
        )
    return (grad_input, *[None] * (len(node.inputs) - 1))


# by the function, and how many tensors came with the loss; all inputs but the first are saved
_LOSSES = {
    (name, count): Rule(name, _loss_vjp, tuple(range(1, count + 2)))
    for name in ("cross_entropy", "nll_loss")
    for count in range(4)
}


def _as_log_softmax(node: Node, logs: Tensor, classes: int) -> Tensor:
    """The log-probabilities that ``node`` saved, as the function of its logits that they are."""
    (edge,) = node.edges[:1]
    x = detached_view(logs)  # in the place of the logits, whose values no gradient reads
    if isinstance(edge, TensorBase):
        x = edge
    else:
        x._tracked = True
        x._node, x._index = edge if isinstance(edge, tuple) else (edge, 0)
    return LOG_SOFTMAX.record((x,), detached_view(logs), classes)


def _composed_grad(
    shape: Shape, logs: Tensor | None, targets: Tensor, saved: list[Tensor], grad: Tensor,
    reduction: str,
) -> Tensor:  # fmt: skip
    scale, classes = saved[0], 0 if len(shape) == 1 else 1
    counted = pointwise.ne(scale, 0)
    if reduction == "mean":
        scale = scale / _divisor(saved[-1])
    target = to_dtype(counted, dt.int64) * targets  # ignored ones point anywhere
    factor = view.unsqueeze(only(counted, grad * scale), classes)
    nothing = view.expand(factor.detach() * 0.0, shape)
    onehot = scatter_add(nothing, classes, view.unsqueeze(target, classes), factor)
    return -onehot if logs is None else pointwise.exp(logs) * factor - onehot


def _divisor(total: Tensor) -> Tensor:
    """The weights' ``total``, or 1 where no sample counts, whose gradients are 0 and not 0 / 0."""
    return total + to_dtype(pointwise.eq(total, 0), total.dtype)


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
    reduction = reduction_of(reduction, size_average, reduce)
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

    Gradient: of ``input``, and of probabilities; their log-probabilities are saved.

    Raises:
        IndexError: a target is not a class.
    """
    reduction = reduction_of(reduction, size_average, reduce)
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
    how = (ignore_index, reduction, label_smoothing)
    if not _alone(input, weight):
        return _mixed(log_softmax(input, classes), target, weight, *how)
    logs = log_softmax(detached_view(input), classes)
    given = (target,) if weight is None else (target, weight)
    rule = (_SMOOTHED if label_smoothing else _SPATIAL)[weight is not None]
    return rule.record((input, logs, *given), _mixed(logs, target, weight, *how), how)


def _alone(input: Tensor, other: Tensor | None) -> bool:
    """Whether a gradient of ``input`` is recorded, and none of ``other``: one node then does."""
    return (
        state.grad and needs_graph((input,)) > 0 and not (other is not None and other.requires_grad)
    )


def _mixed(
    logs: Tensor, target: Tensor, weight: Tensor | None, ignored: int, reduction: str, part: float
) -> Tensor:
    """The loss of log-probabilities, of which ``part`` is against all classes alike."""
    plain = _loss("nll_loss", logs, target, weight, ignored, reduction)
    if part == 0.0:
        return plain
    classes = 0 if logs.ndim == 1 else 1
    smooth = _smoothing_loss(logs, target, weight, ignored, reduction, classes)
    mixed: Tensor = plain * (1.0 - part)
    mixed = mixed + smooth * _ratio(part, logs.shape[classes])
    return mixed


def _mixed_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """``e^logs`` times what each sample counts, less what each class does: one pass, then the targets'."""
    ignored, reduction, part = node.meta
    logs, target, *rest = node.unpack()
    weight = rest[0] if rest else None
    classes = 0 if logs.ndim == 1 else 1
    if state.grad:
        logs = _as_log_softmax(node, logs, classes)
    if target.ndim == logs.ndim:  # of one sample
        target = view.view(target, ())
    counts = pointwise.ne(target, ignored)
    counted = to_dtype(counts, logs.dtype)
    safe = to_dtype(target, dt.int64) * to_dtype(counts, dt.int64)
    scale: Tensor = counted if weight is None else take(weight, safe) * counted
    if reduction == "mean":
        grad = grad / _divisor(sum(scale))
    own = whole = only(counts, grad * scale * (1.0 - part))
    share, weights = constant(0.0, logs), constant(1.0, logs)
    if part:
        share = only(counts, grad * _ratio(part, logs.shape[classes]))
        whole = own + share * (logs.shape[classes] if weight is None else sum(weight))
        share = view.unsqueeze(share, classes)
        weights = weights if weight is None else _along(weight, logs.ndim, classes)
    slope = apply(OPS["mixture_vjp"], logs, view.unsqueeze(whole, classes), share, weights)
    place, own = view.unsqueeze(safe, classes), view.unsqueeze(-own, classes)
    add = scatter_add if state.grad else scatter_add_
    return (add(slope, classes, place, own), *[None] * (len(node.inputs) - 1))


# by whether there are weights: all inputs but the first are saved
_SMOOTHED, _SPATIAL = (
    [Rule(name, _mixed_vjp, (1, 2)), Rule(name, _mixed_vjp, (1, 2, 3))]
    for name in ("cross_entropy_smoothed", "nll_loss")
)


def _smoothing_loss(
    logs: Tensor, target: Tensor, weight: Tensor | None, ignored: int, reduction: str, classes: int
) -> Tensor:
    """The loss against all classes alike, of the samples that count."""
    terms = logs if weight is None else logs * _along(weight, logs.ndim, classes)
    counted = pointwise.ne(target, ignored)
    loss = only(counted, -sum(terms, classes))
    if reduction == "none":
        return loss
    if reduction == "sum":
        return sum(loss)
    if weight is None:
        return sum(loss) / sum(counted)
    safe = to_dtype(target, dt.int64) * to_dtype(counted, dt.int64)
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
    if weight is not None:
        target = target * _along(weight, input.ndim, classes)
    if not _alone(input, target):
        return _soft(log_softmax(input, classes), target, reduction)
    logs = log_softmax(detached_view(input), classes)
    rule = _SOFT_MEAN if reduction == "mean" else _SOFT
    return rule.record((input, logs, target), _soft(logs, target, reduction), reduction)


def _soft(logs: Tensor, target: Tensor, reduction: str) -> Tensor:
    """The loss of log-probabilities against how much each class counts."""
    classes = 0 if logs.ndim == 1 else 1
    if reduction == "none":
        return -sum(logs * target, classes)
    total = -sum(logs * target)
    return total if reduction == "sum" else total / _ratio(logs.numel(), logs.shape[classes])


def _soft_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    logs, target = node.unpack()
    classes = 0 if logs.ndim == 1 else 1
    if state.grad:
        logs = _as_log_softmax(node, logs, classes)
    if node.meta == "mean":
        grad = grad / _ratio(logs.numel(), logs.shape[classes])
    elif node.meta == "none":
        grad = view.unsqueeze(grad, classes)
    whole = grad * sum(target, classes, keepdim=True)
    return apply(OPS["mixture_vjp"], logs, whole, grad, target), None, None


_SOFT, _SOFT_MEAN = (
    Rule(name, _soft_vjp, (1, 2)) for name in ("cross_entropy_soft", "cross_entropy_soft_mean")
)
