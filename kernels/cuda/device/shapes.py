"""Shapes of blocks and of their tiles, whose numbers :mod:`tilegrad.kernels.cuda.tuning` holds."""

from __future__ import annotations

from typing import NamedTuple

LANES = 8  # threads that share a group of rows: the shuffles of a row's maximum and sum are written for 8


class Bounds(NamedTuple):
    """CUDA's launch bounds: threads of a block, and blocks that must fit on a multiprocessor, which limits
    the registers of a thread.
    """

    threads: int
    per_sm: int = 1

    def __str__(self) -> str:
        return f"{self.threads}x{self.per_sm}"


class Tile(NamedTuple):
    """A block's tile ``BM`` x ``BN`` x ``BK``, a thread's ``TM`` x ``TN``, a warp's ``LM`` x ``LN`` threads;
    ``per_sm`` blocks have the registers of a multiprocessor. ``GROUP_M`` rows of tiles run together.
    """

    BM: int
    BN: int
    BK: int
    TM: int
    TN: int
    LM: int
    LN: int
    per_sm: int
    GROUP_M: int = 8  # they share y in the L2 cache; Triton's default

    def __str__(self) -> str:
        return f"{self.BM}x{self.BN}x{self.BK}"

    @property
    def threads(self) -> int:
        return self.BM // self.TM * (self.BN // self.TN)


class AttentionTile(NamedTuple):
    """``BR`` rows by ``BC`` columns of a block, ``TM`` by ``TN`` of a thread, blocks that fit; ``D`` features
    of queries or values that there is room for.
    """

    BR: int
    BC: int
    TM: int
    TN: int
    per_sm: int
    D: int

    def __str__(self) -> str:
        return f"{self.BR}x{self.BC}x{self.D}"

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.BR // self.TM * LANES

    @property
    def groups(self) -> int:
        """Groups of rows; a thread's rows are as many apart."""
        return self.BR // self.TM

    @property
    def step(self) -> int:
        """Elements from a row of scores to the next: what a warp stores falls on all banks."""
        return self.BC + (8 if self.BC % 16 == 0 else 16)
