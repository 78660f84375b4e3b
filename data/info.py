"""What a dataset can ask about the worker process that loads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class WorkerInfo:
    """What :func:`get_worker_info` tells: number of this worker and of all, its seed
    (the epoch's seed plus ``id``), and its copy of the dataset.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


current: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The :class:`WorkerInfo` of this process; None outside of a loader's worker."""
    return current
