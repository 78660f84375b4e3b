"""The graph of a loss as a picture: what was recorded, leaves at the top, the loss at the bottom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from tilegrad.autograd.graph import Node
from tilegrad.autograd.tensor import Tensor

_HEIGHT, _ROW, _GAP, _LETTER = 34, 76, 18, 7
_LEAF, _OP, _END = "#dcebf7", "#f2f2f2", "#d9efd9"


class _Box:
    """A node or a leaf: its lines of text, its colour, and where it stands."""

    def __init__(self, lines: list[str], colour: str):
        self.lines, self.colour = lines, colour
        self.width = _LETTER * max(map(len, lines)) + 16
        self.depth = 0
        self.x = self.y = 0.0


def _target(edge: object) -> object:
    return edge[0] if isinstance(edge, tuple) else edge


def _shape(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _boxes(
    end: Tensor, names: Mapping[int, str], most: int
) -> tuple[dict[int, _Box], list[tuple[int, int]]]:
    """(boxes by identity, arrows from inputs to nodes); what the graph keeps alive stays alive."""
    boxes: dict[int, _Box] = {}
    arrows: list[tuple[int, int]] = []
    left: list[object] = [end if end.grad_fn is None else end.grad_fn]
    while left:
        each = left.pop()
        if id(each) in boxes:
            continue
        if len(boxes) >= most:
            raise ValueError(f"draw: the graph has more than {most} nodes; raise most=")
        if isinstance(each, Tensor):
            name = names.get(id(each), "leaf")
            boxes[id(each)] = _Box([name, f"{_shape(each.shape)} {each.dtype.name}"], _LEAF)
            continue
        assert isinstance(each, Node)
        shapes = ", ".join(_shape(kind.shape) for kind in each.outputs)
        boxes[id(each)] = _Box([each.name(), shapes], _OP if each is not end.grad_fn else _END)
        for edge in each.edges:
            if edge is not None:
                arrows.append((id(_target(edge)), id(each)))
                left.append(_target(edge))
    return boxes, arrows


def _place(boxes: dict[int, _Box], arrows: list[tuple[int, int]]) -> float:
    """Rows by the longest way from a leaf; gives the picture's width."""
    users: dict[int, list[int]] = {key: [] for key in boxes}
    open_inputs = dict.fromkeys(boxes, 0)
    for source, user in arrows:
        users[source].append(user)
        open_inputs[user] += 1
    ready = [key for key, count in open_inputs.items() if not count]
    while ready:
        key = ready.pop()
        for user in users[key]:
            boxes[user].depth = max(boxes[user].depth, boxes[key].depth + 1)
            open_inputs[user] -= 1
            if not open_inputs[user]:
                ready.append(user)
    for key, box in boxes.items():  # a leaf right above what reads it
        if box.depth == 0 and users[key]:
            box.depth = min(boxes[user].depth for user in users[key]) - 1
    rows: dict[int, list[_Box]] = {}
    for box in boxes.values():
        rows.setdefault(box.depth, []).append(box)
    whole = max(sum(b.width + _GAP for b in row) + _GAP for row in rows.values())
    for number, depth in enumerate(sorted(rows)):
        row = rows[depth]
        x = (whole - sum(b.width + _GAP for b in row) + _GAP) / 2
        for box in row:
            box.x, box.y = x, 20.0 + number * _ROW
            x += box.width + _GAP
    return float(whole)


def draw(
    loss: Tensor,
    path: str | None = None,
    params: Mapping[str, Tensor] | None = None,
    most: int = 2000,
) -> str:
    """The graph that leads to ``loss`` as SVG: a box for each op and leaf, an arrow for each input.

    Args:
        path: a file to write it to. params: names of leaves, as ``dict(net.named_parameters())``.
        most: nodes at most.

    Raises:
        TypeError: ``loss`` is no tensor. ValueError: it needs no gradient, or has more nodes.
    """
    if not isinstance(loss, Tensor):
        raise TypeError(f"draw: loss must be a Tensor; got {type(loss).__name__}")
    if not loss.requires_grad:
        raise ValueError("draw: loss does not require a gradient; there is no graph")
    names = {id(tensor): name for name, tensor in (params or {}).items()}
    boxes, arrows = _boxes(loss, names, most)
    width = _place(boxes, arrows)
    height = max(box.y for box in boxes.values()) + _HEIGHT + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="12">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#666"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for source, user in arrows:
        a, b = boxes[source], boxes[user]
        parts.append(
            f'<line x1="{a.x + a.width / 2:.1f}" y1="{a.y + _HEIGHT:.1f}" x2="{b.x + b.width / 2:.1f}" '
            f'y2="{b.y:.1f}" stroke="#666" marker-end="url(#tip)"/>'
        )
    for box in boxes.values():
        parts.append(
            f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width}" height="{_HEIGHT}" rx="4" '
            f'fill="{box.colour}" stroke="#888"/>'
        )
        parts += [
            f'<text x="{box.x + box.width / 2:.1f}" y="{box.y + 14 + 13 * k:.1f}" text-anchor="middle">'
            f"{escape(line)}</text>"
            for k, line in enumerate(box.lines)
        ]
    text = "\n".join([*parts, "</svg>", ""])
    if path is not None:
        Path(path).write_text(text)
    return text
