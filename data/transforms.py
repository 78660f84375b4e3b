"""Small image transforms for datasets: callables on NumPy arrays, (H, W) or (C, H, W).

They prepare data before it becomes a tensor, in whichever process loads the sample. Random ones
draw from NumPy's global generator, which the loader seeds for each sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tilegrad.autograd.rules.creation import from_numpy
from tilegrad.autograd.tensor import Tensor


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]):
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        """Run them all on ``image``."""
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        return f"Compose({self.transforms})"


class ToTensor:
    """A float32 tensor (C, H, W): from (H, W) or channels-last (H, W, C); uint8 becomes 0 to 1."""

    def __call__(self, image: np.ndarray) -> Tensor:
        """Convert ``image``."""
        source = np.asarray(image)
        if source.ndim not in (2, 3):
            raise ValueError(f"ToTensor: image must have 2 or 3 dimensions; got {source.shape}")
        planes = source[None] if source.ndim == 2 else source.transpose(2, 0, 1)
        scale = np.float32(255 if source.dtype == np.uint8 else 1)
        return from_numpy(np.ascontiguousarray(planes, np.float32) / scale)


class Normalize:
    """``(image - mean) / std``; one number, or one per channel of (C, H, W)."""

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]):
        self.mean = np.asarray(mean, np.float32)
        self.std = np.asarray(std, np.float32)
        if np.any(self.std == 0):
            raise ValueError(f"Normalize: std must not be zero; got {std}")

    def __call__(self, image: Any) -> Any:
        """Normalize ``image``."""
        mean, std = (v[:, None, None] if v.ndim else v for v in (self.mean, self.std))
        if isinstance(image, Tensor):
            return (image - from_numpy(mean)) / from_numpy(std)
        return ((image - mean) / std).astype(np.float32)


class RandomShift:
    """Move an image by up to ``pixels`` along each of the last two dimensions, filling with 0."""

    def __init__(self, pixels: int):
        self.pixels = pixels

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """A moved copy of ``image``."""
        down, right = np.random.randint(-self.pixels, self.pixels + 1, 2)
        made = np.zeros_like(image)
        height, width = image.shape[-2:]
        rows, from_rows = _overlap(down, height)
        columns, from_columns = _overlap(right, width)
        made[..., rows, columns] = image[..., from_rows, from_columns]
        return made


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Where a moved range lands in ``size``, and where it came from."""
    shift = max(-size, min(size, shift))
    return slice(max(shift, 0), size + min(shift, 0)), slice(max(-shift, 0), size - max(shift, 0))


class RandomAffine:
    """Rotate, scale and shift an image at random about its centre, with bilinear interpolation.

    Args:
        degrees: largest rotation to either side.
        translate: largest shift, in pixels.
        scale: smallest and largest factor.
    """

    def __init__(
        self, degrees: float, translate: float = 0.0, scale: tuple[float, float] = (1.0, 1.0)
    ):
        self.degrees = degrees
        self.translate = translate
        self.scale = scale

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """A transformed copy of ``image``."""
        angle = math.radians(np.random.uniform(-self.degrees, self.degrees))
        factor = np.random.uniform(*self.scale)
        shift = np.random.uniform(-self.translate, self.translate, 2)
        height, width = image.shape[-2:]
        y, x = np.indices((height, width), np.float64)
        y -= (height - 1) / 2 + shift[0]
        x -= (width - 1) / 2 + shift[1]
        cos, sin = math.cos(angle) / factor, math.sin(angle) / factor
        return _sample(
            image,
            cos * y - sin * x + (height - 1) / 2,
            sin * y + cos * x + (width - 1) / 2,
        )


def _sample(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``image`` at the points (y, x), bilinear, 0 outside."""
    padded = np.pad(image, [(0, 0)] * (image.ndim - 2) + [(1, 1), (1, 1)])
    height, width = image.shape[-2:]
    y, x = np.clip(y + 1, 0, height + 0.999), np.clip(x + 1, 0, width + 0.999)
    top, left = y.astype(np.intp), x.astype(np.intp)
    fy, fx = y - top, x - left
    upper = padded[..., top, left] * (1 - fx) + padded[..., top, left + 1] * fx
    lower = padded[..., top + 1, left] * (1 - fx) + padded[..., top + 1, left + 1] * fx
    return (upper * (1 - fy) + lower * fy).astype(image.dtype)
