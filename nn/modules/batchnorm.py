"""Batch normalization, and what norms over channels share."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd.rules.creation import empty, ones, tensor, zeros
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.dtype import int64
from tilegrad.nn import functional as F, init
from tilegrad.nn.modules.module import Module
from tilegrad.nn.parameter import Parameter


class _ChannelNorm(Module):
    """Batch and instance normalisation: statistics per channel, kept for evaluation if asked for."""

    _version = 2  # which counts batches

    ranks: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
        bias: bool,
    ):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        how = {"device": device, "dtype": dtype}
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            made = Parameter(empty(num_features, **how)) if wanted else None
            self.register_parameter(name, made)
        track = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, **how) if track else None)
        self.register_buffer("running_var", ones(num_features, **how) if track else None)
        count = tensor(0, dtype=int64, device=device) if track else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget what was measured."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set the weight to 1, the bias to 0, and forget what was measured."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *found: Any
    ) -> None:
        key = prefix + "num_batches_tracked"
        if (
            (local_metadata.get("version") or 0) < 2
            and self.track_running_stats
            and key not in state_dict
        ):
            count = self.num_batches_tracked
            fresh = count is None or count.is_meta
            state_dict[key] = tensor(0, dtype=int64) if fresh else count
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *found)

    def _check(self, input: Tensor) -> None:
        if input.ndim not in self.ranks:
            wanted = " or ".join(f"{r}D" for r in self.ranks)
            raise ValueError(f"expected {wanted} input (got {input.ndim}D input)")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_ChannelNorm):
    """Normalisation per channel over the batch."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        share = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                share = 1.0 / float(self.num_batches_tracked.item())
        measure = self.training or self.running_mean is None
        keep = self.track_running_stats or not self.training
        return F.batch_norm(
            input,
            self.running_mean if keep else None,
            self.running_var if keep else None,
            self.weight,
            self.bias,
            measure,
            share,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias, per channel of (N, C) or (N, C, L).

    In evaluation mode by the running statistics (Ioffe & Szegedy 2015).

    Args:
        num_features: channels, the size of dimension 1.
        eps: added to the variance.
        momentum: weight of a new batch in the running statistics; None: their plain mean.
        affine: whether to learn a weight, and with ``bias`` a bias.
        track_running_stats: whether to keep statistics.

    Attributes:
        weight, bias: (num_features,); running_mean, running_var: buffers (num_features,);
        num_batches_tracked: int64 buffer.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W). Arguments as :class:`BatchNorm1d`."""

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W). Arguments as :class:`BatchNorm1d`."""

    ranks = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over the batches of all processes, of which there is one: of (N, C, …), as
    :class:`BatchNorm1d`.

    Args:
        process_group: of no effect.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )
        self.process_group = process_group

    def _check(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected at least 2D input (got {input.ndim}D input)")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """``module`` with a :class:`SyncBatchNorm` of the same state in place of each batch norm in it."""
        made = module
        if isinstance(module, _BatchNorm):
            made = cls(
                module.num_features, module.eps, module.momentum, module.affine,
                module.track_running_stats, process_group, bias=module.bias is not None,
            )  # fmt: skip
            for name in ("weight", "bias"):
                made.register_parameter(name, getattr(module, name))
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(made, name, getattr(module, name))
            made.training = module.training
        for name, child in module.named_children():
            made.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made
