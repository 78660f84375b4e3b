"""Losses over classes and sequences: margins, several labels, connectionist temporal classification."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from tilegrad.autograd.graph import called
from tilegrad.autograd.rules.creation import arange, as_tensor, full, ones
from tilegrad.autograd.rules.cross_entropy import cross_entropy, reduction_of
from tilegrad.autograd.rules.masked import where
from tilegrad.autograd.rules.matmul import linear
from tilegrad.autograd.rules.movement import cat, stack
from tilegrad.autograd.tensor import Tensor
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
    x = input if input.ndim == 2 else input.reshape(1, -1)
    y = target.reshape(-1)
    if y.shape[0] != x.shape[0]:
        raise RuntimeError(
            f"multi_margin_loss: inconsistent target size, expected {x.shape[0]} but got {list(target.shape)}"
        )
    if weight is not None and weight.shape[0] != x.shape[1]:
        raise RuntimeError(
            f"inconsistent weight size, expected {x.shape[1]} but got {list(weight.shape)}"
        )
    right = x.gather(1, y.unsqueeze(1))
    terms = (margin - right + x).clamp(min=0)
    terms = terms * terms if p == 2 else terms
    if weight is not None:
        terms = terms * weight.index_select(0, y).unsqueeze(1)
    others = arange(x.shape[1], device=x.device) != y.unsqueeze(1)
    loss = (terms * others.to(x.dtype)).sum(1) / x.shape[1]
    loss = loss if input.ndim == 2 or mode != "none" else loss.squeeze(0)
    return called("multi_margin_loss", reduced(loss, mode))


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
    C = input.shape[-1] if input.ndim else 1
    x, y = input.reshape(-1, C), target.reshape(-1, C)
    valid = (y < 0).long().cumsum(1) == 0
    at = where(valid, y, 0)
    is_label = x.detach().new_zeros(x.shape).scatter_add(1, at, valid.to(x.dtype)) > 0
    gaps = 1 - x.gather(1, at).unsqueeze(2) + x.unsqueeze(1)
    counts = valid.unsqueeze(2) & ~is_label.unsqueeze(1)
    loss = (gaps.clamp(min=0) * counts.to(x.dtype)).sum((1, 2)) / C
    loss = loss if input.ndim == 2 or mode != "none" else loss.squeeze(0)
    return called("multilabel_margin_loss", reduced(loss, mode))


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
    found = given.tolist() if isinstance(given, Tensor) else list(given)
    found = found if isinstance(found, list) else [found]
    if len(found) != batch:
        raise RuntimeError(f"{name}s must be of size batch_size; got {len(found)} for {batch}")
    return [int(n) for n in found]


def _label_rows(targets: Tensor, lengths: list[int]) -> Tensor:
    """The labels as (N, longest), whatever stands behind a row's own."""
    if targets.ndim == 2:
        return targets.long()
    longest, rows, at = max(lengths, default=0), [], 0
    flat = targets.long()
    for n in lengths:
        row = flat[at : at + n]
        rows.append(cat([row, row.new_zeros(longest - n)]) if n < longest else row)
        at += n
    return stack(rows)


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

    Gradient: of log-softmax's input, as PyTorch's: that of ``log_probs`` includes e^log_probs.
    """
    mode = reduction_of(reduction)
    single = log_probs.ndim == 2
    x = log_probs.unsqueeze(1) if single else log_probs
    T, N, C = x.shape
    if not 0 <= blank < C:
        raise RuntimeError("blank must be in label range")
    steps = _lengths("input_length", input_lengths, N)
    many = _lengths("target_length", target_lengths, N)
    if any(not 0 <= n <= T for n in steps):
        raise RuntimeError(f"Expected input_lengths to have values of at most {T}; got {steps}")
    labels = _label_rows(targets.unsqueeze(0) if single and targets.ndim == 1 else targets, many)
    if labels.shape[0] != N or labels.shape[1] < max(many, default=0):
        raise RuntimeError(
            f"Expected tensor to have size at least {max(many, default=0)} at dimension 1, but got size "
            f"{labels.shape[1]} for targets"
        )
    loss = _forward(x, labels, steps, many, blank)
    if zero_infinity:
        loss = where(loss == float("inf"), 0.0, loss)
    if mode == "mean":
        counts = as_tensor([max(n, 1) for n in many], dtype=x.dtype, device=x.device)
        return (loss / counts).mean()
    if mode == "sum":
        return loss.sum()
    return loss.squeeze(0) if single else loss


def _forward(x: Tensor, labels: Tensor, steps: list[int], many: list[int], blank: int) -> Tensor:
    """The negative log-likelihoods (N,), by the states label, blank, label, … from left to right."""
    T, N, _ = x.shape
    S, how = labels.shape[1], {"dtype": x.dtype, "device": x.device}
    states = full((N, 2 * S + 1), blank, dtype=labels.dtype, device=x.device)
    if S:
        states[:, 1::2] = labels.to(x.device)
    never = -1e30 if x.dtype.itemsize == 4 else -1e200
    seen = x.gather(2, states.unsqueeze(0).expand(T, N, 2 * S + 1)).clamp(min=never)
    differs = ones(N, 2 * S + 1, dtype=x.dtype, device=x.device).bool()
    differs[:, :2] = False
    if S:
        differs[:, 2:] = (states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])
    first = full((N, 2 * S + 1), never, **how)  # type: ignore[arg-type]
    place = arange(2 * S + 1, device=x.device)
    alpha = where(place < 2, seen[0], first) if T else first
    lengths = as_tensor(steps, device=x.device).unsqueeze(1)
    column = full((N, 2), never, **how)  # type: ignore[arg-type]
    for t in range(1, max(steps, default=0)):
        one = cat([column[:, :1], alpha[:, :-1]], 1)
        two = cat([column, alpha[:, :-2]], 1)[:, : 2 * S + 1] if S else column[:, :1]
        two = where(differs, two, never)
        grown = stack([alpha, one, two]).logsumexp(0) + seen[t]
        alpha = where(lengths > t, grown.clamp(min=never), alpha)
    ends = as_tensor([2 * n for n in many], device=x.device).unsqueeze(1)
    last = alpha.gather(1, ends)
    before = alpha.gather(1, (ends - 1).clamp(min=0))
    before = where(ends > 0, before, never)
    likelihood = cat([last, before], 1).logsumexp(1)
    empty = as_tensor([n == 0 for n in steps], device=x.device)
    loss = where(likelihood <= never / 2, float("inf"), -likelihood)
    none = as_tensor([0.0 if n == 0 else float("inf") for n in many], **how)
    loss = where(empty, none, loss)
    # what makes the gradient that of log-softmax's input: e^x, of value 0
    inside = arange(T, device=x.device).unsqueeze(1) < lengths.squeeze(1)
    tied = (x.detach().exp() * (x - x.detach())).sum(2)
    return called("ctc_loss", loss + (tied * inside.to(x.dtype)).sum(0))
