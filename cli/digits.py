"""The images that `tilegrad train` learns from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilegrad.autograd.rules.creation import from_numpy
from tilegrad.autograd.tensor import Tensor
from tilegrad.cli.failure import Failure, missing
from tilegrad.cli.idx import read_folder
from tilegrad.data import Dataset, TensorDataset
from tilegrad.data.transforms import RandomAffine

_HELD_OUT = 36  # images of each digit


class Images(Dataset):
    """Training images, each turned, scaled and moved a little at random.

    Args:
        images: (N, H, W) float32 from 0 to 1.
        labels: (N,) int64.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images = images
        self.labels = labels
        self.distort = RandomAffine(degrees=12, translate=1.0, scale=(0.85, 1.15))

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.distort(self.images[index : index + 1]), int(self.labels[index])

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Sets:
    """Images to learn from and images held out, with the number of classes."""

    train: Images
    test: TensorDataset
    classes: int
    name: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image."""
        height, width = self.train.images.shape[1:]
        return height, width


def load_sets(folder: str | None) -> Sets:
    """The IDX files in ``folder``, or without one scikit-learn's digits.

    Raises:
        Failure: the files are missing or damaged, or scikit-learn is not installed.
    """
    if folder is None:
        return _digits()
    images, labels, test_images, test_labels = read_folder(Path(folder))
    classes = max(int(labels.max()) + 1, 10)
    if test_labels.max() >= classes:
        raise Failure(f"{folder}: t10k has label {test_labels.max()}, which train does not have")
    train = Images(_scaled(images, 255), labels.astype(np.int64))
    return Sets(train, tensors(_scaled(test_images, 255), test_labels), classes, folder)


def _digits() -> Sets:
    """UCI's optical digits, 1797 images of 8x8 pixels from 0 to 16.

    Of each digit, 36 images at even distances are held out: 360, the same in every run.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise missing("tilegrad train without --data", "scikit-learn") from None
    bunch: Any = load_digits()
    images, labels = _scaled(bunch.images, 16), bunch.target.astype(np.int64)
    held = np.zeros(len(labels), bool)
    for digit in range(10):
        own = np.flatnonzero(labels == digit)
        held[own[np.arange(_HELD_OUT) * len(own) // _HELD_OUT]] = True
    train = Images(images[~held], labels[~held])
    return Sets(train, tensors(images[held], labels[held]), 10, "UCI digits")


def _scaled(images: np.ndarray, highest: int) -> np.ndarray:
    return (images / np.float32(highest)).astype(np.float32)


def tensors(images: np.ndarray, labels: np.ndarray) -> TensorDataset:
    """Images (N, H, W) from 0 to 1 and their labels, as they are tested."""
    return TensorDataset(batched(images), from_numpy(labels.astype(np.int64)))


def batched(images: np.ndarray) -> Tensor:
    """(N, 1, H, W) of images (N, H, W)."""
    return from_numpy(np.ascontiguousarray(images[:, None]))
