"""A layer that mixes groups of channels."""

from __future__ import annotations

from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.nn.modules.module import Module


class ChannelShuffle(Module):
    """The channels of (N, C, …), ``groups`` rows of them read column by column."""

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
