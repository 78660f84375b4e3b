"""Images and labels in the IDX format of MNIST.

Source: http://yann.lecun.com/exdb/mnist/ (the format is described at the end of that page).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from tilegrad.cli.failure import Failure

_IMAGES, _LABELS = 0x803, 0x801  # unsigned bytes in 3 dimensions, and in 1
_LIMIT = 1 << 33  # bytes of one file, unpacked


def read_pair(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W) and labels (N,), uint8, of ``prefix``-images-idx3-ubyte and its twin.

    Raises:
        Failure: a file is missing, damaged, or does not fit the other.
    """
    images_path = _find(folder, f"{prefix}-images-idx3-ubyte")
    labels_path = _find(folder, f"{prefix}-labels-idx1-ubyte")
    images, labels = _read(images_path, _IMAGES, 3), _read(labels_path, _LABELS, 1)
    if len(images) != len(labels):
        raise Failure(
            f"{labels_path}: has {len(labels)} labels for the {len(images)} images of {images_path}"
        )
    if not len(images):
        raise Failure(f"{images_path}: has no images")
    if min(images.shape[1:]) < 2:
        raise Failure(f"{images_path}: images must be at least 2x2; got {_size(images)}")
    return images, labels


def read_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images and labels, held-out images and labels.

    Raises:
        Failure: as :func:`read_pair`; or the two sets differ in image size.
    """
    if not folder.is_dir():
        raise Failure(f"{folder}: no such folder")
    images, labels = read_pair(folder, "train")
    test_images, test_labels = read_pair(folder, "t10k")
    if images.shape[1:] != test_images.shape[1:]:
        raise Failure(
            f"{folder}: wrong image size: t10k has {_size(test_images)}, train {_size(images)}"
        )
    return images, labels, test_images, test_labels


def _size(images: np.ndarray) -> str:
    return f"{images.shape[1]}x{images.shape[2]}"


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise Failure(f"{folder / name}: no such file (nor {name}.gz)")


def _read(path: Path, magic: int, rank: int) -> np.ndarray:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            start = file.read(4)
            found = int.from_bytes(start, "big")
            if len(start) == 4 and found != magic:
                raise Failure(f"{path}: wrong magic number {found:#010x}, must be {magic:#010x}")
            sizes = file.read(4 * rank)
            if len(sizes) < 4 * rank:
                raise Failure(f"{path}: truncated: {len(start) + len(sizes)} bytes")
            shape = struct.unpack(f">{rank}I", sizes)
            count = int(np.prod(shape, dtype=object))
            if count > _LIMIT:
                raise Failure(f"{path}: its header speaks of {count} bytes, too many")
            content = file.read(count)
            if len(content) < count:
                raise Failure(f"{path}: truncated: {len(content)} of {count} bytes")
            if file.read(1):
                raise Failure(f"{path}: has bytes after the {count} that its header speaks of")
    except (OSError, EOFError, zlib.error) as error:
        raise Failure(f"{path}: cannot be read: {error}") from None
    return np.frombuffer(content, np.uint8).reshape(shape)
