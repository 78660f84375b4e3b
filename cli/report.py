"""The results of `tilegrad train`: metrics.json and learning_curve.png."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tilegrad.cli.info import versions

_BLUE, _ORANGE, _GREY = "#1f5fa8", "#d9771a", "#666666"


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``metrics`` and the versions in use."""
    path, scratch = folder / "metrics.json", folder / ".metrics.json"
    scratch.write_text(json.dumps({**metrics, "versions": versions()}, indent=2) + "\n")
    os.replace(scratch, path)


def draw(folder: Path, history: list[dict[str, Any]], confusion: list[list[int]]) -> None:
    """Draw loss and accuracy by epoch, and the confusion matrix of the held-out images."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    loss, accuracy, matrix = figure.subplots(1, 3, width_ratios=(1, 1, 1.05))
    _curves(loss, history, "loss", "Cross-entropy loss")
    _curves(accuracy, history, "accuracy", "Accuracy")
    loss.set_yscale("log")
    accuracy.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}%")
    _matrix(matrix, confusion)
    path, scratch = folder / "learning_curve.png", folder / ".learning_curve.png"
    figure.savefig(scratch, dpi=120, format="png")
    os.replace(scratch, path)


def _curves(axes: Any, history: list[dict[str, Any]], what: str, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [record["epoch"] for record in history]
    scale = 100 if what == "accuracy" else 1
    for part, label, colour in (
        ("train", "training (distorted images)", _BLUE),
        ("test", "held out", _ORANGE),
    ):
        values = [record[f"{part}_{what}"] * scale for record in history]
        axes.plot(epochs, values, color=colour, label=label, marker="o", markersize=4)
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _matrix(axes: Any, confusion: list[list[int]]) -> None:
    """Counts by true class (row) and prediction (column), coloured by share of the row."""
    shares = [[count / max(sum(row), 1) for count in row] for row in confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    correct = sum(row[i] for i, row in enumerate(confusion))
    total = sum(map(sum, confusion))
    axes.set_title(f"Held out: {correct} of {total} right ({correct / max(total, 1):.2%})")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(confusion) > 20:
        return
    axes.set_xticks(range(len(confusion)))
    axes.set_yticks(range(len(confusion)))
    for i, row in enumerate(confusion):
        for j, count in enumerate(row):
            if count:
                colour = "white" if shares[i][j] > 0.5 else _GREY
                axes.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=8)
