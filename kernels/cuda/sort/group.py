"""Equal keys grouped (a stable sort), and each key's rank within its group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, pointer, thread
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.cuda.sort.radix import sort_by_digits
from tilegrad.kernels.cuda.tuning import grid

ALIGNMENT = 8


@kernel
def rank_keys(dtype: str, threads: int) -> Source:
    """``ranks[i]``: how many of the sorted keys before key i equal it, a thread each.

    By steps back of doubling length, then halving. Parameters: keys, ranks (int32), number of keys.
    """
    T = np.dtype(dtype).type

    def rank(a0, a1, total):
        keys, ranks = pointer(a0, T), pointer(a1, np.int32)
        i = block() * threads + thread()
        if i < total:
            key = keys[i]
            step = 1
            while step <= i and keys[i - step] == key:
                step *= 2
            low, high = max(0, i - step + 1), i - step // 2  # the first equal key lies between
            while low < high:
                middle = (low + high) >> 1
                if keys[middle] == key:
                    high = middle
                else:
                    low = middle + 1
            ranks[i] = np.int32(i - low)

    return Source(rank, "iii", threads)


@dataclass(frozen=True)
class Grouping:
    """A stable sort of ``total`` keys, not negative and below ``limit``, in scratch memory.

    The keys, of ``dtype``, are expected at its start. Behind a call of :meth:`launch` the places
    (int64) that the sorted keys had, the sorted keys and their ranks (int32) lie at ``places``,
    ``sorted_keys`` and ``ranks``, in bytes from the start. ``nbytes``: of all the memory.
    """

    total: int
    limit: int

    @property
    def dtype(self) -> str:
        return "int32" if self.limit <= 1 << 31 else "int64"

    @property
    def places(self) -> int:
        return self._whole(np.dtype(self.dtype).itemsize)

    @property
    def sorted_keys(self) -> int:
        return self.places + self._whole(8)

    @property
    def ranks(self) -> int:
        return self.sorted_keys + self._whole(np.dtype(self.dtype).itemsize)

    @property
    def nbytes(self) -> int:
        return self._sorting + self._sort()[1]

    @property
    def _sorting(self) -> int:
        return -(-(self.ranks + 4 * self.total) // 256) * 256

    def _whole(self, width: int) -> int:
        """Bytes of an array with elements of ``width`` bytes."""
        return -(-self.total * width // ALIGNMENT) * ALIGNMENT

    def _sort(self) -> tuple[Callable[..., None], int]:
        bits = max(self.limit - 1, 1).bit_length()
        return sort_by_digits(self.dtype, 1, self.total, False, bits)

    def launcher(self) -> Callable[[int], None]:
        """A launch ``(start,)``."""
        threads = grid("rank", self.dtype).bounds.threads
        sort, rank = self._sort()[0], rank_keys.build(self.dtype, threads)
        total, blocks = self.total, -(-self.total // threads)

        def launch(start: int) -> None:
            found = start + self.sorted_keys
            sort(start, found, start + self.places, start + self._sorting)
            rank(found, start + self.ranks, total, blocks, 1, 1)

        return launch
