"""The house as a picture: ``python docs/house.py`` writes docs/house.svg of setup.cfg's layers.

What imports what is import-linter's contract; what a folder is for is CONTRIBUTING.md's table. tests/house/test_docs.py
holds the picture to both.
"""

from __future__ import annotations

import configparser
import re
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "house.svg"

WIDTH, ROW, GAP, EDGE = 960, 62, 10, 20
SMALL = 30  # height of a row within the kernels
COLOURS = {
    "cli": "#5b6b8c", "bench": "#5b6b8c", "serve": "#5b6b8c", "onnx": "#5b6b8c", "frozen": "#5b6b8c", "optim": "#2f7d6b", "distributions": "#2f7d6b",
    "nn": "#2f7d6b", "data": "#2f7d6b", "cuda": "#2f7d6b", "autograd": "#9a5b1f", "engine": "#7a3f8c",
    "kernels": "#1f5fa8",
}  # fmt: skip


def layers(config: configparser.ConfigParser, contract: str) -> list[list[str]]:
    """The rows of a contract, top to bottom; a row's modules import none of each other."""
    lines = config[f"importlinter:contract:{contract}"]["layers"].split("\n")
    rows = [re.split(r" [|:] ", line.strip()) for line in lines if line.strip()]
    return [[module.rpartition(".")[2] for module in row] for row in rows]


def sentences(text: str) -> dict[str, str]:
    """What each folder is for; folders that share a line share its sentence."""
    found = {}
    for folders, sentence in re.findall(r"^\| ((?:`\w+/` ?)+) \| (.*?) \|$", text, re.M):
        for folder in re.findall(r"`(\w+)/`", folders):
            found[folder] = sentence.replace("`", "")
    return found


def box(x: float, y: float, width: float, height: float, colour: str) -> str:
    """A rounded rectangle."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" fill="{colour}"/>'
    )


def words(x: float, y: float, text: str, size: int = 13, weight: str = "normal") -> str:
    """White text, its middle at (x, y)."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" fill="#ffffff" '
        f'text-anchor="middle">{escape(text)}</text>'
    )


def within(
    config: configparser.ConfigParser, device: str, x: float, y: float, width: float
) -> list[str]:
    """The layers of a device's kernels, families as one row."""
    found = [words(x + width / 2, y - 8, f"kernels/{device}", 14, "bold")]
    for row in layers(config, device):
        text = row[0] if len(row) == 1 else "families: elementwise, reduce, matmul, …"
        found.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{SMALL - 4}" rx="5" fill="#ffffff" '
            f'fill-opacity="{0.28 if len(row) > 1 else 0.15}"/>'
        )
        found.append(words(x + width / 2, y + 18, text))
        y += SMALL
    return found


def picture() -> str:
    """The SVG."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    said = sentences((ROOT / "CONTRIBUTING.md").read_text())
    rows = layers(config, "layers")
    inner = max(len(layers(config, device)) for device in ("cpu", "cuda")) * SMALL
    parts, y = [], float(EDGE)
    for row in rows:
        width = (WIDTH - 2 * EDGE - GAP * (len(row) - 1)) / len(row)
        tall = ROW + inner + 96 if row == ["kernels"] else ROW
        for number, name in enumerate(row):
            x = EDGE + number * (width + GAP)
            parts.append(box(x, y, width, tall, COLOURS[name]))
            parts.append(words(x + width / 2, y + 26, f"{name}/", 16, "bold"))
            parts.append(words(x + width / 2, y + 46, said[name], 13 if len(row) < 3 else 11))
        if row == ["kernels"]:
            half = (width - 3 * GAP) / 2
            for number, device in enumerate(("cpu", "cuda")):
                parts += within(config, device, EDGE + GAP + number * (half + GAP), y + 92, half)
            parts.append(
                words(
                    WIDTH / 2,
                    y + tall - 18,
                    "formulas, dtypes, derivatives: the same source for both devices",
                )
            )
        y += tall + GAP
    style = "font-family=\"system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\""
    title = "<title>The house: an import goes downwards only, and never from one box to its neighbour</title>"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + EDGE - GAP:g}" width="{WIDTH}" role="img" {style}>\n'
        + "\n".join([title, *parts])
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    FILE.write_text(picture())
