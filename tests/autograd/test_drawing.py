"""The graph as a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import tilegrad
from tilegrad import nn
from tilegrad.autograd import draw

NAME = "{http://www.w3.org/2000/svg}"


def test_a_net(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    loss = net(tilegrad.randn(5, 3)).square().mean()
    text = draw(loss, str(tmp_path / "net.svg"), dict(net.named_parameters()))
    assert (tmp_path / "net.svg").read_text() == text
    picture = ElementTree.fromstring(text)
    words = [t.text for t in picture.iter(f"{NAME}text")]
    assert {"0.weight", "2.bias", "4×3 float32", "MeanBackward0", "scalar"} <= set(words)
    nodes, edges, left = set(), 0, [loss.grad_fn]
    while left:
        node = left.pop()
        if node not in nodes:
            nodes.add(node)
            edges += sum(f is not None for f, _ in node.next_functions)
            left += [f for f, _ in node.next_functions if f is not None]
    assert len(list(picture.iter(f"{NAME}rect"))) == len(nodes) + 1  # the paper
    lines = list(picture.iter(f"{NAME}line"))
    assert len(lines) == edges
    assert all(float(line.get("y2", 0)) > float(line.get("y1", 0)) for line in lines)  # downwards
    loss.backward()  # the graph is as it was


def test_refusals() -> None:
    x = tilegrad.ones(2, requires_grad=True)
    assert draw(x).count("<line") == 0
    with pytest.raises(ValueError, match="there is no graph"):
        draw(tilegrad.ones(2))
    with pytest.raises(TypeError):
        draw(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="more than 3 nodes"):
        draw(((x * 2 + 1) * 3 + 1).sum(), most=3)
