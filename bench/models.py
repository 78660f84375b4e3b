"""The networks of the training steps; ``t`` is tilegrad or torch."""

from __future__ import annotations

from typing import Any


def tiny(t: Any) -> Any:
    """So small that only the cost of its calls counts."""
    return t.nn.Sequential(t.nn.Linear(8, 16), t.nn.Tanh(), t.nn.Linear(16, 4))


def mlp(t: Any) -> Any:
    """Three layers for images of 28x28."""
    nn = t.nn
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def lenet(t: Any) -> Any:
    """Two convolutions with pooling, three layers."""
    nn = t.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def residual(t: Any) -> Any:
    """A stem and three residual blocks of 16, 32 and 64 channels: nine convolutions."""
    nn = t.nn

    class Block(nn.Module):
        def __init__(self, c: int, k: int, stride: int):
            super().__init__()
            self.first = nn.Conv2d(c, k, 3, stride=stride, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(k)
            self.second = nn.Conv2d(k, k, 3, padding=1, bias=False)
            self.norm2 = nn.BatchNorm2d(k)
            self.relu = nn.ReLU()
            self.short = nn.Identity()
            if c != k:
                self.short = nn.Conv2d(c, k, 1, stride=stride, bias=False)

        def forward(self, x: Any) -> Any:
            y = self.relu(self.norm1(self.first(x)))
            return self.relu(self.norm2(self.second(y)) + self.short(x))

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def encoder(t: Any) -> Any:
    """The library's own layer; no dropout, so that both compute the same."""
    return t.nn.TransformerEncoderLayer(128, 4, dim_feedforward=512, dropout=0.0, batch_first=True)


def gpt(t: Any, vocabulary: int = 256, width: int = 128, heads: int = 4, length: int = 64) -> Any:
    """Two blocks of causal attention and a feed-forward part, as GPT-2 has them."""
    nn, F = t.nn, t.nn.functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def attention(self, x: Any) -> Any:
            n, length, c = x.shape
            parts = self.attend(x).split(c, dim=2)
            q, k, v = (p.view(n, length, heads, c // heads).transpose(1, 2) for p in parts)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.project(y.transpose(1, 2).reshape(n, length, c))

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm1(x))
            return x + self.narrow(F.gelu(self.widen(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.blocks = nn.Sequential(Block(), Block())
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

        def forward(self, ids: Any) -> Any:
            places = t.arange(ids.shape[1], device=ids.device)
            x = self.tokens(ids) + self.places(places)
            return self.head(self.norm(self.blocks(x)))

    return GPT()
