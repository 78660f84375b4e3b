"""Random programs at sizes that split the work: every structured op, in any layout, with gradients."""

from __future__ import annotations

from tests.large import dense, lines, moves

TABLE = {**dense.TABLE, **lines.TABLE, **moves.TABLE}
NAMES = [*TABLE, "convolution", "transposed"]  # twice as often
