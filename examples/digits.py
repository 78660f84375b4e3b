"""Handwritten digits, read by a multilayer perceptron and by a convolutional network, side by side.

The digits are scikit-learn's (8 x 8 pixels), 360 of them held out, as ``tilegrad train`` has them; both networks see
each training image turned, scaled and moved a little at random::

    python -m examples.digits [--net mlp conv] [--epochs 15] [--picture digits.png]

The picture shows how both learn, and every held-out digit that one of them misreads.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

import tilegrad as tg
from tilegrad import Tensor, nn
from tilegrad.cli.digits import Sets, load_sets
from tilegrad.data import DataLoader
from tilegrad.nn import functional as F


class Learned(NamedTuple):
    """What became of a network.

    Attributes:
        losses: the mean over each epoch.
        accuracy: on the held-out digits, after each epoch.
        guesses: (360,) int64, of the held-out digits, at the end.
    """

    title: str
    parameters: int
    losses: list[float]
    accuracy: list[float]
    guesses: Tensor


def mlp() -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 256), nn.ReLU(),
        nn.Linear(256, 128), nn.ReLU(),
        nn.Linear(128, 10),
    )  # fmt: skip


def conv() -> nn.Module:
    """Two 3 x 3 convolutions with batch normalisation, pooling, a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.25),
        nn.Linear(64 * 4 * 4, 10),
    )  # fmt: skip


NETS = {"mlp": ("multilayer perceptron", mlp), "conv": ("convolutional network", conv)}


def held_out(sets: Sets) -> tuple[Tensor, Tensor]:
    """Images (360, 1, 8, 8) and labels (360,)."""
    images, labels = sets.test.tensors
    return images, labels


def learn(name: str, sets: Sets, epochs: int, batch: int = 64) -> Learned:
    """Train a network of :data:`NETS` by AdamW, the learning rate falling to 0 along a cosine."""
    tg.manual_seed(0)
    title, make = NETS[name]
    model = make()
    loader = DataLoader(sets.train, batch_size=batch, shuffle=True)
    optimizer = tg.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    images, wanted = held_out(sets)
    losses, accuracy = [], []
    with tqdm(total=epochs * len(loader), desc=title, unit="batch", disable=None) as bar:
        for _ in range(epochs):
            model.train()
            total = 0.0
            for inputs, labels in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(inputs), labels)
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item()
                bar.update()
            model.eval()
            with tg.no_grad():
                guesses = model(images).argmax(1)
            losses.append(total / len(loader))
            accuracy.append((guesses == wanted).float().mean().item())
            bar.set_postfix(loss=f"{losses[-1]:.4f}", held_out=f"{accuracy[-1]:.2%}")
    count = sum(p.numel() for p in model.parameters())
    return Learned(title, count, losses, accuracy, guesses)


# ---------------------------------------------------------------------------------------- picture

COLOURS = ("#d9771a", "#1f5fa8")
SHOWN = 18  # misread digits at most


def draw(found: Sequence[Learned], sets: Sets, path: str) -> None:
    """Losses, accuracies, and the digits that were misread."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(13.5, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(1.3, 1))
    loss, accuracy = left.subplots(1, 2)
    for colour, made in zip(COLOURS, found, strict=False):
        epochs = range(1, len(made.losses) + 1)
        label = f"{made.title}, {made.parameters:,} parameters"
        loss.plot(epochs, made.losses, "o-", ms=3, color=colour, label=label)
        accuracy.plot(epochs, [100 * a for a in made.accuracy], "o-", ms=3, color=colour)
        last = made.accuracy[-1]
        accuracy.axhline(100 * last, color=colour, lw=0.6, ls=":")
    loss.set(title="training loss", yscale="log", xlabel="epoch")
    loss.legend(frameon=False, fontsize=8)
    accuracy.set(title="held-out digits read right", xlabel="epoch")
    accuracy.yaxis.set_major_formatter(lambda value, _: f"{value:.4g} %")
    for axes in (loss, accuracy):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(color="#dddddd", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    misread(right, found, sets)
    figure.savefig(path, dpi=120)


def misread(figure: Any, found: Sequence[Learned], sets: Sets) -> None:
    """The held-out digits that a network took for another, with what each took them for."""
    images, labels = held_out(sets)
    wrong = tg.stack([made.guesses != labels for made in found]).any(0)
    places = wrong.nonzero()[:, 0].tolist()
    figure.suptitle(
        f"{len(places)} of {len(labels)} are misread by one or both: above what it is, below the guesses",
        fontsize=11,
    )
    panels = figure.subplots(3, SHOWN // 3).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, place in zip(panels, places, strict=False):
        label = labels[place].item()
        axes.imshow(images[place, 0].tolist(), cmap="Greys", interpolation="nearest")
        axes.set_title(f"{label}", fontsize=10, pad=2)
        for at, (colour, made) in enumerate(zip(COLOURS, found, strict=False)):
            guess = made.guesses[place].item()
            weight = "bold" if guess != label else "normal"
            axes.text(
                (at + 0.5) / len(found), -0.06, f"{guess}", color=colour, weight=weight,
                ha="center", va="top", transform=axes.transAxes,
            )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> list[Learned]:
    """Train, draw, say how many are read right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--net", nargs="+", choices=[*NETS], default=[*NETS], help="(both)")
    parser.add_argument("--epochs", type=int, default=15, help="(15)")
    parser.add_argument("--picture", default="digits.png", help="(digits.png)")
    given = parser.parse_args(arguments)
    sets = load_sets(None)
    found = [learn(name, sets, given.epochs) for name in given.net]
    count = len(sets.test)
    for made in found:
        right = round(made.accuracy[-1] * count)
        print(
            f"{made.title}, {made.parameters:,} parameters: loss {made.losses[0]:.4f} -> {made.losses[-1]:.4f}; "
            f"held-out digits read right: {right} of {count} ({made.accuracy[-1]:.2%})"
        )
    draw(found, sets, given.picture)
    print(given.picture)
    return found


if __name__ == "__main__":
    main()
