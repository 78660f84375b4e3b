"""Seeds of the loader: what a sample sees of the random generators depends on the epoch's seed and
on the sample's place in the epoch, never on which process loads it.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from tilegrad.autograd.rules.random import randint
from tilegrad.data import twisters
from tilegrad.engine.random import Generator, default_generator

_MASK = (1 << 64) - 1


def draw_seed(generator: Any = None) -> int:
    """A seed of 63 bits, drawn from ``generator`` or the global one."""
    return int(randint(0, (1 << 63) - 1, (1,), generator=generator, device="cpu").item())


def seeded(seed: int) -> Generator:
    """A new generator that starts from ``seed``."""
    made = Generator()
    made.manual_seed(seed)
    return made


def mix(seed: int, index: int) -> int:
    """The ``index``-th of the 63-bit seeds that belong to ``seed``.

    Source: SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    z = (seed + (index + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) >> 1


def seed_all(seed: int) -> None:
    """Seed the global generators of Python, NumPy and tilegrad."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    default_generator.manual_seed(seed)


class generators_kept:
    """A context manager: puts the global generators back afterwards."""

    def __enter__(self) -> None:
        self._restore = twisters.kept()

    def __exit__(self, *error: object) -> None:
        self._restore()
