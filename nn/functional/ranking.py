"""Losses over classes and sequences: margins, several labels, connectionist temporal classification."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import accumulate

from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules.creation import arange, as_tensor
from tilegrad.autograd.rules.cross_entropy import check_weight, cross_entropy, reduction_of
from tilegrad.autograd.rules.ctc import ctc
from tilegrad.autograd.rules.masked import where
from tilegrad.autograd.rules.matmul import linear
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.shape import as_indices
from tilegrad.nn.functional import pointwise
from tilegrad.nn.functional.composed import pairwise_distance
from tilegrad.nn.functional.losses import Flag, reduced


def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None,
    size_average: Flag = None, reduce: Flag = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The mean over classes i other than y of max(0, margin - x[y] + x[i])^p, times weight[y].

    Args:
        input: (N, C) or (C,). target: class numbers (N,) or one. p: 1 or 2.
    """
    mode = reduction_of(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    if input.ndim > 2 or (input.ndim == 2 and target.ndim != 1) or input.shape[-1:] == (0,):
        raise RuntimeError(
            f"multi_margin_loss: Expected non-empty vector or matrix with optional 0-dim batch size, but "
            f"got: {list(input.shape)}"
        )
    rows = input.shape[0] if input.ndim == 2 else 1
    if target.numel() != rows:
        raise RuntimeError(
            f"multi_margin_loss: inconsistent target size, expected {rows} but got {list(target.shape)}"
        )
    classes = input.shape[-1] if input.ndim else 1
    if not input.dtype.has_gradient:
        raise NotImplementedError(f"\"multi_margin_loss\" not implemented for '{input.dtype.name}'")
    if weight is not None:
        if weight.shape[0] != classes:
            raise RuntimeError(
                f"inconsistent weight size, expected {classes} but got {list(weight.shape)}"
            )
        check_weight("multi_margin_loss", input.dtype, weight.dtype)
    if not input.ndim:  # one class
        input = input.reshape(1)
    y = target.detach()
    scale = None if weight is None else weight.detach()
    gaps, counts = _class_gaps(input.detach(), y, scale, margin)
    loss = (gaps * gaps * counts if p == 2 else gaps * counts).sum(1)
    loss = loss if input.ndim == 2 or mode != "none" else loss.squeeze(0)
    operands = (input, y) if scale is None else (input, y, scale)
    return _MULTI_MARGIN[len(operands)].record(operands, reduced(loss, mode), (p, margin, mode))


def _class_gaps(
    input: Tensor, target: Tensor, weight: Tensor | None, margin: float
) -> tuple[Tensor, Tensor]:
    """max(0, margin - x[y] + x) as (N, C), and how much each counts: weight[y] / C, or 0 of y itself."""
    x = input.reshape(-1, input.shape[-1])
    y = target.reshape(-1, 1)
    gaps = (margin - x.gather(1, y) + x).clamp(min=0)
    counts = (arange(x.shape[1], device=x.device) != y).to(x.dtype) / x.shape[1]
    if weight is not None:
        counts = counts * weight.index_select(0, y.squeeze(1)).unsqueeze(1)
    return gaps, counts


def _spread(grad: Tensor, input: Tensor, mode: str) -> Tensor:
    """The gradient of each row's loss, as a column."""
    rows = input.shape[0] if input.ndim == 2 else 1
    column = grad.reshape(-1, 1).expand(rows, 1)
    return column / rows if mode == "mean" else column


def _multi_margin_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, y, *scale = node.unpack()
    p, margin, mode = node.meta
    gaps, counts = _class_gaps(input, y, scale[0] if scale else None, margin)
    slopes = counts * (2 * gaps if p == 2 else (gaps.detach() > 0).to(counts.dtype))
    slopes = slopes * _spread(grad, input, mode)
    found = slopes.scatter_add(1, y.reshape(-1, 1), -slopes.sum(1, True))
    return found.reshape(input.shape), *[None] * (len(node.inputs) - 1)


_MULTI_MARGIN = {n: Rule("multi_margin_loss", _multi_margin_vjp, tuple(range(n))) for n in (2, 3)}


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: Flag = None, reduce: Flag = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The sum over labels y and classes i that are none of max(0, 1 - x[y] + x[i]), over the classes.

    Args:
        input: (N, C) or (C,). target: likewise; the labels of a row stand before its first -1.
    """
    mode = reduction_of(reduction, size_average, reduce)
    if target.shape != input.shape or input.ndim > 2:
        raise RuntimeError(
            f"multilabel_margin_loss: inconsistent target size: {list(target.shape)} for input of size: "
            f"{list(input.shape)}"
        )
    y = target.detach()
    gaps, counts, _ = _label_gaps(input.detach(), y)
    loss = (gaps * counts).sum((1, 2))
    loss = loss if input.ndim == 2 or mode != "none" else loss.squeeze(0)
    return _MULTILABEL_MARGIN.record((input, y), reduced(loss, mode), (mode,))


def _label_gaps(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """max(0, 1 - x[y] + x) for each label and class (N, C, C), how much it counts, and the labels (N, C), 0
    where there is none.
    """
    C = input.shape[-1] if input.ndim else 1
    x, y = input.reshape(-1, C), target.reshape(-1, C)
    valid = (y < 0).long().cumsum(1) == 0
    at = where(valid, y, 0)
    is_label = x.detach().new_zeros(x.shape).scatter_add(1, at, valid.to(x.dtype)) > 0
    gaps = (1 - x.gather(1, at).unsqueeze(2) + x.unsqueeze(1)).clamp(min=0)
    counts = (valid.unsqueeze(2) & ~is_label.unsqueeze(1)).to(x.dtype) / C
    return gaps, counts, at


def _multilabel_margin_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, target = node.unpack()
    (mode,) = node.meta
    gaps, counts, at = _label_gaps(input.detach(), target)
    slopes = counts * (gaps > 0).to(counts.dtype) * _spread(grad, input, mode).unsqueeze(2)
    found = slopes.sum(1).scatter_add(1, at, -slopes.sum(2))
    return found.reshape(input.shape), None


_MULTILABEL_MARGIN = Rule("multilabel_margin_loss", _multilabel_margin_vjp, (0, 1))


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Flag = None,
    reduce: Flag = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The mean over classes of -y log s(x) - (1 - y) log s(-x), s the logistic function."""
    mode = reduction_of(reduction, size_average, reduce)
    loss = -(target * pointwise.logsigmoid(input) + (1 - target) * pointwise.logsigmoid(-input))
    loss = loss if weight is None else loss * weight
    return reduced(loss.sum(-1) / input.shape[-1], mode)


def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0,
    swap: bool = False, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """max(0, margin + d(anchor, positive) - d(anchor, negative)) for any distance d."""
    mode = reduction_of(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            f"The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative "
            f"{negative.ndim}D inputs"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced((margin + near - far).clamp(min=0), mode)


def linear_cross_entropy(
    input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Tensor | None = None,
    weight: Tensor | None = None, reduction: str = "mean", ignore_index: int | None = None,
    label_smoothing: float = 0.0, options: object = None,
) -> Tensor:  # fmt: skip
    """:func:`cross_entropy` of ``linear(input, linear_weight, linear_bias)``.

    Args:
        input: (N, features) or (features,). linear_weight: (C, …, features). linear_bias: (C, …).
        options: how PyTorch works through the batch in parts; here it is one part.

    Warns:
        UserWarning: options are given.
    """
    if options is not None:
        warnings.warn(
            "linear_cross_entropy: options are not supported, the batch is worked through at once",
            stacklevel=2,
        )
    classes = linear_weight.shape[:-1]
    if len(classes) > 1 and input.ndim != 2:
        raise RuntimeError(
            f"linear_cross_entropy: a weight of several dimensions needs a batch; got {list(input.shape)}"
        )
    flat = linear_weight.reshape(-1, linear_weight.shape[-1])
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, flat, bias)
    if len(classes) > 1:
        logits = logits.reshape(input.shape[0], *classes)
    ignored = -100 if ignore_index is None else ignore_index
    return cross_entropy(
        logits, target, weight, ignore_index=ignored, reduction=reduction,
        label_smoothing=label_smoothing,
    )  # fmt: skip


# ------------------------------------------------------------------ connectionist temporal classification


def _lengths(name: str, given: Tensor | Sequence[int], batch: int) -> list[int]:
    if isinstance(given, Tensor):
        kind = given.layout.dtype
        if kind.has_gradient or kind.name == "bool":
            raise RuntimeError(f"ctc_loss: {name}s must be integral; got {kind.name}")
        given = given.reshape(-1).tolist()
    if len(given) != batch:
        raise RuntimeError(f"{name}s must be of size batch_size; got {len(given)} for {batch}")
    return list(as_indices("ctc_loss", given, f"{name}s"))


def _label_starts(targets: Tensor, many: list[int], single: bool) -> list[int]:
    """Where the labels of each sequence begin.

    Raises:
        RuntimeError: there are not as many as ``many`` says.
    """
    longest = max(many, default=0)
    if any(n < 0 for n in many):
        raise RuntimeError(
            f"Expected target_lengths to have value at least 0, but got value {min(many)} (while "
            "checking arguments for ctc_loss_allocate_outputs)"
        )
    if targets.ndim == 1 and not single:
        if targets.shape[0] != sum(many):
            raise RuntimeError(
                f"Expected tensor to have size {sum(many)} at dimension 0, but got size "
                f"{targets.shape[0]} for argument #2 'targets'"
            )
        return [0, *accumulate(many)][: len(many)]
    rows = targets.unsqueeze(0) if targets.ndim == 1 else targets
    if rows.ndim != 2 or rows.shape[0] != len(many) or rows.shape[1] < longest:
        raise RuntimeError(
            f"Expected tensor to have size at least {longest} at dimension 1, but got size "
            f"{list(rows.shape)} for argument #2 'targets'"
        )
    return [k * rows.shape[1] for k in range(len(many))]


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int], blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """-log of the probability of all alignments of the targets (Graves et al. 2006).

    Args:
        log_probs: (T, N, C) or (T, C), log-probabilities of each step.
        targets: labels (N, S), or those of all sequences one after the other.
        input_lengths, target_lengths: (N,). blank: the class that stands for no label.
        zero_infinity: 0 for targets that are longer than their input.

    Raises:
        IndexError: a label is no class.
        RuntimeError: lengths do not fit, or are no integers, or ``log_probs`` is empty.

    Gradient: of log-softmax's input, as PyTorch's: that of ``log_probs`` includes e^log_probs.
    """
    mode = reduction_of(reduction)
    single = log_probs.ndim == 2
    x = log_probs.unsqueeze(1) if single else log_probs
    if x.ndim != 3:
        raise RuntimeError(
            f"ctc_loss: log_probs must be (T, N, C) or (T, C); got {list(log_probs.shape)}"
        )
    T, N, C = x.shape
    if not x.dtype.is_floating_point:
        raise NotImplementedError(f"\"ctc_loss\" not implemented for '{x.dtype.name}'")
    if not x.layout.numel:
        raise RuntimeError(f"ctc_loss: log_probs tensor must not be empty; got {list(x.shape)}")
    if not 0 <= blank < C:
        raise RuntimeError("blank must be in label range")
    steps = _lengths("input_length", input_lengths, N)
    many = _lengths("target_length", target_lengths, N)
    if any(not 0 <= n <= T for n in steps):
        raise RuntimeError(f"Expected input_lengths to have values from 0 to {T}; got {steps}")
    starts = _label_starts(targets, many, single)
    loss = ctc(x, targets, (steps, many, starts), blank, zero_infinity)
    if mode == "mean":
        counts = as_tensor([max(n, 1) for n in many], dtype=x.dtype, device=x.device)
        return (loss / counts).mean()
    if mode == "sum":
        return loss.sum()
    return loss.squeeze(0) if single else loss
