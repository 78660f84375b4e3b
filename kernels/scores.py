"""The geometry of attention, shared by all devices."""

from __future__ import annotations

from typing import NamedTuple

Four = tuple[int, ...]  # per dimension of (N, H, L or S, E or S)


class Scores(NamedTuple):
    """Queries ``(N, H, L, E)`` that look at keys ``(N, H / share, S, E)`` with values
    ``(N, H / share, S, F)``.

    Attributes:
        dtype: of all three, float32 or float64.
        batch: N and H. share: heads of queries that one head of keys serves.
        causal: whether query ``i`` sees keys ``0 … i`` only.
        mask: "none", "bool" or "float": what there is of ``(N, H, L, S)``, to select or to add.
        q, k, v, m: strides in elements. Features of q, k and v are adjacent.
        scale: a factor of the products of queries and keys.
    """

    dtype: str
    batch: tuple[int, int]
    share: int
    L: int
    S: int
    E: int
    F: int
    causal: bool
    mask: str
    q: Four
    k: Four
    v: Four
    m: Four
    scale: float
