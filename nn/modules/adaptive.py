"""A softmax over many classes, by clusters of falling frequency (Grave et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tilegrad.autograd.rules.movement import cat
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.nn.modules.container import ModuleList, Sequential
from tilegrad.nn.modules.linear import Linear
from tilegrad.nn.modules.module import Module


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of ``n_classes``, frequent ones by the head, others by smaller tails.

    Args:
        cutoffs: where clusters begin. div_value: a tail's features are fewer by this factor each.
        head_bias: whether the head has one.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        cuts = list(cutoffs)
        if not cuts:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        ordered = cuts == sorted(set(cuts)) and all(int(c) == c for c in cuts)
        if not ordered or cuts[0] <= 0 or cuts[-1] > n_classes - 1:
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, "
                "where each value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cuts, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        how = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **how)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            size = int(in_features // (div_value ** (i + 1)))
            classes = self.cutoffs[i + 1] - self.cutoffs[i]
            first = Linear(in_features, size, bias=False, **how)
            self.tail.append(Sequential(first, Linear(size, classes, bias=False, **how)))

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        self.head.reset_parameters()
        for module in self.tail.modules():
            if isinstance(module, Linear):
                module.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """(log-probabilities of the targets, their negative mean) of (N, in_features), or of one."""
        if target_.ndim > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if input_.ndim != target_.ndim + 1:
            raise RuntimeError(
                f"{target_.ndim}D target tensor expects {target_.ndim + 1}D input tensors, but found "
                f"inputs with size {input_.shape}"
            )
        if target_.ndim and input_.shape[0] != target_.shape[0]:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        single = target_.ndim == 0
        x, y = (input_.unsqueeze(0), target_.unsqueeze(0)) if single else (input_, target_)
        if bool(((y < 0) | (y >= self.n_classes)).any()):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{y.min().item()}, {y.max().item()}] were found. "
            )
        out = x.new_zeros(y.shape[0])
        inside = y.clamp(max=self.shortlist_size - 1)
        for i, tail in enumerate(self.tail):
            low, high = self.cutoffs[i], self.cutoffs[i + 1]
            mask = (y >= low) & (y < high)
            rows = mask.nonzero().squeeze(1)
            if rows.numel():
                inside = inside.masked_fill(mask, self.shortlist_size + i)
                chances = F.log_softmax(tail(x.index_select(0, rows)), dim=1)
                own = chances.gather(1, (y[rows] - low).unsqueeze(1)).squeeze(1)
                out = out.index_copy(0, rows, own)
        head = F.log_softmax(self.head(x), dim=1)
        out = out + head.gather(1, inside.unsqueeze(1)).squeeze(1)
        loss = (-out).mean()
        return _ASMoutput(out.squeeze(0) if single else out, loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes, (N, n_classes)."""
        head = F.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            share = head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(F.log_softmax(tail(input), dim=1) + share)
        return cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most likely class of every row."""
        return self.log_prob(input).argmax(dim=1)
