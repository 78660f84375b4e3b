"""The numbers of CUDA kernels that were chosen, not derived, with how each was chosen.

They follow from registers, shared memory and warps (``tilegrad inspect`` reports occupancy). An H200
ran all of them (docs/performance.md); none was measured against another, but where it is said.
Tables are by dtype; what a table lacks is refused.
"""

from __future__ import annotations

from typing import NamedTuple

from tilegrad.kernels.dtypes import at

# ------------------------------------------------------------------------------ products, convolution


class Tile(NamedTuple):
    """A block's tile ``BM`` x ``BN`` x ``BK``, a thread's ``TM`` x ``TN``, a warp's ``LM`` x ``LN`` threads;
    ``per_sm`` blocks have the registers of a multiprocessor.
    """

    BM: int
    BN: int
    BK: int
    TM: int
    TN: int
    LM: int
    LN: int
    per_sm: int

    @property
    def threads(self) -> int:
        return self.BM // self.TM * (self.BN // self.TN)


# blocks of a multiprocessor: as many as the registers of accumulators and fragments allow
TILES = {
    "large": Tile(128, 128, 8, 8, 8, 4, 8, 2),
    "medium": Tile(64, 64, 8, 8, 8, 4, 8, 6),
    "small": Tile(32, 32, 16, 4, 4, 4, 8, 8),
    "skinny": Tile(4, 128, 16, 4, 4, 1, 32, 8),
    "double": Tile(64, 64, 8, 4, 4, 4, 8, 2),
}


class ProductTiles(NamedTuple):
    """Which of them a float dtype has.

    Attributes:
        large: largest first, with the rows of a convolution from which a tile is not mostly beyond
            the matrix; the first of which there are enough is taken.
        rest: where there are not.
        skinny: for products of few rows, if any.
    """

    large: tuple[tuple[str, int], ...]
    rest: str
    skinny: str | None


# by the registers of a thread: 64 sums of float64 take two each; not measured
PRODUCT_TILES = {
    "float32": ProductTiles((("large", 96), ("medium", 32)), "small", "skinny"),
    "float64": ProductTiles((("double", 33),), "small", None),
}
INTEGER_TILE = "small"

CHUNK = 2048  # steps of k summed in registers before the sum goes to memory: accuracy; not measured
FULL = 96  # tiles that keep a GPU busy: with fewer, smaller tiles are used; not measured
SPLIT = 64  # tiles below which chunks of k become blocks of their own; not measured
PARTS = 512  # blocks that a convolution weight's gradient is cut into, at most; not measured

# ---------------------------------------------------------------------------------------- attention

LANES = 8  # threads that share a group of rows


class AttentionTile(NamedTuple):
    """``BR`` rows by ``BC`` columns of a block, ``TM`` by ``TN`` of a thread, blocks that fit."""

    BR: int
    BC: int
    TM: int
    TN: int
    per_sm: int

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


# by dtype and features: what 48 KB of shared memory hold
FORWARD = {
    ("float32", 32): AttentionTile(64, 32, 4, 4, 4),
    ("float32", 64): AttentionTile(64, 32, 4, 4, 4),
    ("float32", 128): AttentionTile(32, 32, 2, 4, 4),
    ("float64", 32): AttentionTile(32, 32, 2, 4, 3),
    ("float64", 64): AttentionTile(32, 16, 2, 2, 3),
    ("float64", 128): AttentionTile(16, 16, 1, 2, 3),
}
BACKWARD = {
    ("float32", 32): AttentionTile(64, 32, 4, 4, 3),
    ("float32", 64): AttentionTile(32, 32, 4, 4, 4),
    ("float32", 128): AttentionTile(16, 16, 2, 2, 4),
    ("float64", 32): AttentionTile(32, 16, 2, 2, 3),
    ("float64", 64): AttentionTile(16, 16, 2, 2, 4),
    ("float64", 128): AttentionTile(8, 8, 1, 1, 4),
}
SIZES = (32, 64, 128)  # features that a tile has room for

# --------------------------------------------------------------- rows that stay in registers, by dtype

# elements that a thread keeps, as 255 registers allow; not measured
KEPT_SOFTMAX = {"float32": 32, "float64": 8}
KEPT_NORM = {"float32": 16, "float64": 8}
KEPT_TWO = {"float32": 16, "float64": 4}  # of each of two arrays
KEPT_MOMENTS = {"float32": 16, "float64": 8}  # of a long row's tile


def product_tiles(dtype: str) -> ProductTiles:
    """The tiles of products of a float dtype."""
    return at(PRODUCT_TILES, dtype, "matmul")


def attention_tile(
    table: dict[tuple[str, int], AttentionTile], dtype: str, features: int
) -> AttentionTile:
    """The row of ``FORWARD`` or ``BACKWARD`` for a dtype and a size of ``SIZES``."""
    return at({d: row for (d, size), row in table.items() if size == features}, dtype, "attention")
