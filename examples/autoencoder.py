"""Digits through the eye of a needle: an autoencoder that has two numbers to remember an image by.

An encoder turns each of scikit-learn's digits (64 pixels) into a point of the plane, a decoder paints the digit again
from the point (Hinton, Salakhutdinov, Reducing the dimensionality of data with neural networks, 2006). Nobody says
which digit is which; that the ten find places of their own is what the picture shows::

    python -m examples.autoencoder [--epochs 120] [--picture autoencoder.png]

On the left every digit's point, in the colour of what it is; on the right what the decoder paints, point by point of
the same plane; below held-out digits and what came through.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

import tilegrad as tg
from tilegrad import Tensor, nn
from tilegrad.cli.digits import Sets, load_sets
from tilegrad.data import DataLoader, TensorDataset
from tilegrad.nn import functional as F


class Autoencoder(nn.Module):
    """64 pixels from 0 to 1, two numbers from -1 to 1, 64 pixels.

    Codes are normalised before they are squashed: else all may begin so near to each other that the decoder learns to
    do without them.
    """

    def __init__(self, width: int = 256):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width // 2), nn.SiLU(),
            nn.Linear(width // 2, 2), nn.BatchNorm1d(2, affine=False), nn.Tanh(),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(2, width // 2), nn.SiLU(), nn.Linear(width // 2, width), nn.SiLU(),
            nn.Linear(width, 64),
        )  # fmt: skip

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the pixels (N, 64), and codes (N, 2)."""
        codes = self.encoder(images)
        return self.decoder(codes), codes

    def paint(self, codes: Tensor) -> Tensor:
        """Pixels (N, 64) of codes (N, 2)."""
        return self.decoder(codes).sigmoid()


class Learned(NamedTuple):
    """What became of it: the loss of each epoch, and of the held-out digits at the end."""

    model: Autoencoder
    losses: list[float]
    held_out: float


def flat(sets: Sets) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pixels (N, 64) and labels (N,), learned from and held out."""
    train = tg.from_numpy(sets.train.images).flatten(1)
    images, labels = sets.test.tensors
    return train, tg.from_numpy(sets.train.labels), images.flatten(1), labels


def learn(sets: Sets, epochs: int, batch: int = 64) -> Learned:
    """Binary cross-entropy of the pixels, by AdamW, the learning rate falling along a cosine."""
    tg.manual_seed(3)
    train, _, held, _ = flat(sets)
    loader = DataLoader(TensorDataset(train), batch_size=batch, shuffle=True)
    model = Autoencoder()
    optimizer = tg.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    losses = []
    with tqdm(range(epochs), desc="autoencoder", unit="epoch", disable=None) as bar:
        for _ in bar:
            model.train()
            total = 0.0
            for (images,) in loader:
                optimizer.zero_grad()
                # codes a little off must do as well, so that neighbours look alike
                codes = model.encoder(images)
                codes = codes + 0.02 * tg.randn_like(codes)
                loss = F.binary_cross_entropy_with_logits(model.decoder(codes), images)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(images)
            schedule.step()
            losses.append(total / len(train))
            bar.set_postfix(loss=f"{losses[-1]:.4f}")
    model.eval()
    with tg.no_grad():
        left = F.binary_cross_entropy_with_logits(model(held)[0], held).item()
    return Learned(model, losses, left)


def neighbours(codes: Tensor, labels: Tensor) -> float:
    """The share of points whose nearest other point is the same digit."""
    apart = tg.cdist(codes, codes)
    apart.fill_diagonal_(float("inf"))
    return (labels[apart.argmin(1)] == labels).float().mean().item()


# ---------------------------------------------------------------------------------------- picture

TILES = 16  # painted digits along each side of the plane
SHOWN = 24  # held-out digits


def row(images: Tensor) -> Tensor:
    """Digits (N, 64) side by side, a pixel of white around each: (10, 10 N)."""
    return F.pad(images.reshape(-1, 8, 8), (1, 1, 1, 1)).permute(1, 0, 2).reshape(10, -1)


def plane(model: Autoencoder, tiles: int = TILES) -> Tensor:
    """What is painted over the square of codes, top row first: (10 tiles, 10 tiles)."""
    across = tg.linspace(-1, 1, tiles)
    rows = [
        model.paint(tg.stack([across, up.expand(tiles)], 1)) for up in tg.linspace(1, -1, tiles)
    ]
    return tg.cat([row(painted) for painted in rows])


def draw(made: Learned, sets: Sets, path: str) -> None:
    """Points, the painted plane, digits before and after."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    images, labels, held, _ = flat(sets)
    with tg.no_grad():
        codes = made.model.encoder(images)
        painted = plane(made.model)
        shown = held[:: len(held) // SHOWN][:SHOWN]
        after = made.model.paint(made.model.encoder(shown))
    figure = Figure(figsize=(12, 7.3), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, height_ratios=(6, 1.0))
    points(figure.add_subplot(grid[0, 0]), codes, labels)
    axes = figure.add_subplot(grid[0, 1])
    axes.imshow(painted.numpy(), cmap="Greys", extent=(-1, 1, -1, 1), vmin=0, vmax=1)
    axes.set(title="what is painted from each place", xticks=[], yticks=[])
    axes = figure.add_subplot(grid[1, :])
    axes.imshow(tg.cat([row(shown), row(after)]).numpy(), cmap="Greys", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[4.5, 14.5], yticklabels=["held out", "came through"])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    figure.savefig(path, dpi=120)


def points(axes: Any, codes: Tensor, labels: Tensor) -> None:
    """Each image's code, and each digit's name in the middle of its points."""
    from matplotlib import colormaps
    from matplotlib.patheffects import withStroke

    for digit in range(10):
        own = codes[labels == digit]
        colour = colormaps["tab10"](digit)
        axes.scatter(*own.mT.numpy(), s=9, color=colour, alpha=0.7, lw=0)
        axes.text(
            *own.median(0).values.tolist(), str(digit), color=colour, size=22, weight="bold",
            ha="center", va="center", path_effects=[withStroke(linewidth=4, foreground="white")],
        )  # fmt: skip
    axes.set(xlim=(-1.04, 1.04), ylim=(-1.04, 1.04), aspect="equal", xticks=[], yticks=[])
    axes.set_title("two numbers an image")


def main(arguments: Sequence[str] | None = None) -> Learned:
    """Learn, draw, say how well it went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--epochs", type=int, default=120, help="(120)")
    parser.add_argument("--picture", default="autoencoder.png", help="(autoencoder.png)")
    given = parser.parse_args(arguments)
    sets = load_sets(None)
    made = learn(sets, given.epochs)
    images, labels, _, _ = flat(sets)
    with tg.no_grad():
        same = neighbours(made.model.encoder(images), labels)
    print(
        f"loss {made.losses[0]:.4f} -> {made.losses[-1]:.4f}, held out {made.held_out:.4f}; "
        f"{same:.1%} of the points have the same digit for their nearest neighbour"
    )
    draw(made, sets, given.picture)
    print(given.picture)
    return made


if __name__ == "__main__":
    main()
