"""Datasets that worker processes of the tests can import."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import numpy as np

import tilegrad
from tilegrad.data import Dataset, IterableDataset, get_worker_info


class Noisy(Dataset):
    """Draws from all three global generators."""

    def __init__(self, size: int = 23):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        drawn = random.random(), np.random.rand(), float(tilegrad.rand(1).item())
        return {"index": index, "drawn": drawn, "name": str(index), "row": np.full(3, index, "f4")}


class Keyed(Dataset):
    """Fails, dies or sleeps at one index."""

    def __init__(self, what: str, at: int = 5, size: int = 12):
        self.what, self.at, self.size = what, at, size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if index == self.at:
            getattr(self, self.what)()
        return index

    def value_error(self):
        raise ValueError("a bad sample")

    def key_error(self):
        raise KeyError("no such key")

    def odd_error(self):
        raise OddError(1, 2)

    def killed(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def exits(self):
        sys.exit(3)

    def sleeps(self):
        time.sleep(60)

    def unpicklable(self):
        raise type("Local", (Exception,), {})("made on the spot")


class OddError(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


class Big(Dataset):
    """Rows large enough that reused memory would show."""

    def __init__(self, size: int = 40):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return tilegrad.from_numpy(np.full(1 << 14, index, np.float32))


class Holder(Dataset):
    """Samples that tell about the process that loaded them."""

    def __init__(self, tensor, size: int = 8):
        self.tensor, self.size = tensor, size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        info = get_worker_info()
        self.tensor[0] = -1.0  # each worker has its own copy
        return (
            os.getpid(),
            info.id,
            info.num_workers,
            info.seed,
            tilegrad.get_num_threads(),
            "numba" in sys.modules,
            float(self.tensor[index].item()),
        )


class Stream(IterableDataset):
    """Divides its samples among the workers."""

    def __init__(self, size: int):
        self.size = size

    def __iter__(self):
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        for i in range(first, self.size, step):
            yield i, random.random()


class BrokenStream(IterableDataset):
    def __iter__(self):
        yield 1
        raise ValueError("the stream broke")


def set_up(worker_id: int) -> None:
    os.environ["TILEGRAD_TEST_SET_UP"] = str(worker_id)


def fails_to_set_up(worker_id: int) -> None:
    raise OSError(f"no set-up of {worker_id}")


class SetUp(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return int(os.environ["TILEGRAD_TEST_SET_UP"])


def lengths(batch):
    return [len(str(item)) for item in batch]


def noisy(batch):
    return [(rows[0].item(), random.random(), np.random.rand()) for rows in batch]


class Ragged(Dataset):
    """Batches of very different sizes."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return np.full(10 ** (index % 6), index, np.int64)


class Endless(Dataset):
    """Samples that take minutes, but for the first ones; ``busy`` computes meanwhile."""

    def __init__(self, busy=False):
        self.busy = busy

    def __len__(self):
        return 100

    def __getitem__(self, index):
        until = time.monotonic() + (600 if index > 1 else 0)
        while time.monotonic() < until:
            if not self.busy:
                time.sleep(600)
        return index


class Gate(Dataset):
    """Sample 0 is not ready before sample 9 is; ``path`` says so between processes."""

    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 12

    def __getitem__(self, index):
        if index == 9:
            open(self.path, "w").close()
        until = time.monotonic() + 30
        while index == 0 and not os.path.exists(self.path):
            if time.monotonic() > until:
                raise TimeoutError("sample 9 was not asked for")
            time.sleep(0.01)
        return index
