"""`tilegrad predict`: what a saved model sees in image files."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.softmax import softmax
from tilegrad.cli.digits import batched
from tilegrad.cli.failure import Failure, missing
from tilegrad.cli.model import Classifier, Shape, load_classifier


def run(arguments: argparse.Namespace) -> None:
    """Print one line for each image: its class and the probability of every class.

    Raises:
        Failure: the model or an image cannot be read, or an image has the wrong size.
    """
    model = load_classifier(arguments.model).to(arguments.device)
    images = np.stack([read_image(path, model.shape) for path in arguments.image])
    rows = chances(model, images, arguments.device)
    for path, row in zip(arguments.image, rows, strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        every = "  ".join(f"{name}:{chance:6.2%}" for name, chance in enumerate(row))
        print(f"{path}: {best}  ({every})")


def chances(model: Classifier, images: np.ndarray, device: str) -> list[list[float]]:
    """The probability of every class, of images (N, height, width) from 0 to 1."""
    with no_grad():
        found: list[list[float]] = softmax(model(batched(images).to(device)), dim=1).tolist()
    return found


def read_image(path: str, shape: Shape) -> np.ndarray:
    """The grey values, (height, width) float32 from 0 to 1, of an image file.

    Raises:
        Failure: Pillow is not installed, the file is no image, or it has the wrong size.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise missing("tilegrad predict", "Pillow") from None
    try:
        with Image.open(path) as image:
            if image.size != (shape.width, shape.height):
                raise Failure(
                    f"{path}: wrong image size {image.height}x{image.width}, "
                    f"the model takes {shape.height}x{shape.width}"
                )
            return _grey(image)
    except UnidentifiedImageError:
        raise Failure(f"{path}: not an image") from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}") from None
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Failure(f"{path}: damaged image: {error}") from None


def _grey(image: Any) -> np.ndarray:
    """Values from 0 to 1: 16-bit grey keeps its range, anything else becomes 8-bit grey."""
    wide = image.mode.startswith(("I", "F"))
    values = np.asarray(image if wide else image.convert("L"), np.float32)
    scaled: np.ndarray = np.clip(values / np.float32(65535 if wide else 255), 0, 1)
    return scaled
