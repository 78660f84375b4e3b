"""The network that `tilegrad train` trains, and how a saved one is made again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from tilegrad import nn
from tilegrad.autograd.tensor import Tensor
from tilegrad.cli.failure import Failure
from tilegrad.data.serialization import load, load_metadata

KEY = "tilegrad.classifier"  # of the metadata
_POOL_TWICE = 16  # images at least this high and wide are halved after the first layer too


@dataclass(frozen=True)
class Shape:
    """What determines the network: image size, classes, channels of both convolutions."""

    height: int
    width: int
    classes: int
    channels: tuple[int, int] = (32, 64)


class Classifier(nn.Module):
    """Two 3x3 convolutions with batch normalisation, pooling, dropout and a linear layer.

    Args:
        shape: sizes; images are at least 2 pixels high and wide.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        first, second = shape.channels
        twice = min(shape.height, shape.width) >= _POOL_TWICE
        factor = 4 if twice else 2
        self.features = nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.MaxPool2d(2) if twice else nn.Identity(),
            nn.Conv2d(first, second, 3, padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(
            nn.Dropout(0.25),
            nn.Flatten(),
            nn.Linear(second * (shape.height // factor) * (shape.width // factor), shape.classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N, classes) of images (N, 1, height, width) with values from 0 to 1."""
        scores: Tensor = self.head(self.features(images))
        return scores

    def metadata(self) -> dict[str, str]:
        """What a file of the parameters must carry so that :func:`load_classifier` can read it."""
        return {KEY: json.dumps(asdict(self.shape))}


def load_classifier(path: str) -> Classifier:
    """The network saved at ``path``, in evaluation mode.

    Raises:
        Failure: no such file, or not one of these networks.
    """
    try:
        text = load_metadata(path).get(KEY)
        state = load(path)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    except RuntimeError as error:
        raise Failure(str(error)) from None
    if text is None:
        raise Failure(f"{path}: not a model written by tilegrad train")
    try:
        model = Classifier(_shape(json.loads(text)))
        model.load_state_dict(state)
    except (ValueError, TypeError, KeyError, RuntimeError):
        raise Failure(f"{path}: the model's description and its tensors do not fit") from None
    return model.eval()


def _shape(raw: Any) -> Shape:
    sizes = [raw["height"], raw["width"], raw["classes"], *raw["channels"]]
    if len(sizes) != 5 or not all(type(s) is int and 0 < s < 1 << 16 for s in sizes):
        raise ValueError("sizes out of range")
    return Shape(sizes[0], sizes[1], sizes[2], (sizes[3], sizes[4]))
