"""A parallel histogram without locks or atomics: 64 parts are counted apart, then added.

Whole numbers are added, so the order does not matter and the result is the same every time.
"""

from numba import cuda

import tilegrad

THREADS = 128


@tilegrad.op(
    "part_counts(x: f[N], bins: i64[E], low: float = 0.0, high: float = 1.0) -> counts: i64[64, E]"
)
def part_counts(x, bins, low, high):
    """How many elements of each of 64 parts of x lie in each of as many equal bins of [low, high) as bins has
    elements.
    """
    parts, count = 64, bins.shape[0]
    size = -(-x.shape[0] // parts)
    padded = tilegrad.nn.functional.pad(x, (0, parts * size - x.shape[0]), value=float("nan"))
    inside = (padded >= low) & (padded < high)
    place = ((padded - low) * (count / (high - low))).floor().clamp(max=count - 1)
    chosen = tilegrad.where(inside, place, -1).reshape(parts, size, 1)
    return (chosen == tilegrad.arange(count, device=x.device)).sum(1)


def bin_of(value, low, scale, count):
    """The number of the bin of a value within the range."""
    return min(int((value - low) * scale), count - 1)


@part_counts.cpu(tasks=64)
def _(task, x, counts, low, high, N, E):
    size, scale = (N + 63) // 64, E / (high - low)
    for e in range(E):
        counts[task * E + e] = 0
    for n in range(task * size, min(task * size + size, N)):
        if low <= x[n] and x[n] < high:
            counts[task * E + bin_of(x[n], low, scale, E)] += 1


@part_counts.cuda(grid=64, block=THREADS)
def _(x, counts, low, high, N, E):
    part, t = cuda.blockIdx.x, cuda.threadIdx.x
    size, scale = (N + 63) // 64, E / (high - low)
    for e in range(t, E, THREADS):  # a thread counts for a bin, so that nothing is written twice
        count = 0
        for n in range(part * size, min(part * size + size, N)):
            if low <= x[n] and x[n] < high and bin_of(x[n], low, scale, E) == e:
                count += 1
        counts[part * E + e] = count


def histogram(x, bins=10, low=0.0, high=1.0):
    """How many elements of x lie in each of so many equal bins of [low, high): int64, (bins)."""
    like = tilegrad.empty(bins, dtype=tilegrad.int64, device=x.device)
    return part_counts(x.reshape(-1), like, low=low, high=high).sum(0)


OPS = {part_counts: (((100_000,), (32,)),)}
CHECKED = {part_counts: {"domain": (-0.5, 1.5)}}
