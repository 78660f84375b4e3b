"""What the profiler sees of a step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tilegrad
from tilegrad import nn, optim
from tilegrad.profiler import ProfilerActivity, profile, record_function


def test_a_step(tmp_path: Path, device: str) -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).to(device)
    optimizer = optim.Adam(net.parameters())
    x = tilegrad.randn(4, 6, device=device)

    @record_function("whole step")
    def step() -> None:
        net(x).square().mean().backward()
        optimizer.step()

    step()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        step()
        step()
    before = len(seen.events())
    step()  # not looked at
    assert len(seen.events()) == before
    rows = {row.key: row for row in seen.key_averages()}
    assert rows["adam"].count == 2 and rows["whole step"].count == 2
    assert rows["linear"].count == 4 and rows["linear"].device == str(x.device)
    # input, weight, bias and result of both layers, twice
    assert rows["linear"].bytes == 2 * 4 * (4 * 6 + 8 * 6 + 8 + 4 * 8 + 4 * 8 + 2 * 8 + 2 + 4 * 2)
    assert rows["whole step"].total >= sum(r.own for r in rows.values()) > 0
    shapes = [r.shapes for r in seen.key_averages(group_by_input_shape=True) if r.key == "linear"]
    assert ((4, 6), (8, 6), (8,), (4, 8)) in shapes and len(shapes) == 2
    table = seen.key_averages().table(sort_by="count", row_limit=2)
    assert "Calls" in table and len(table.splitlines()) == 7
    assert "linear" in str(seen.key_averages())
    with pytest.raises(ValueError, match="sort_by must be one of"):
        seen.key_averages().table(sort_by="colour")
    seen.export_chrome_trace(str(tmp_path / "trace.json"))
    trace = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(trace) == before and all(e["dur"] >= 0 and e["ph"] == "X" for e in trace)


def test_blocks_within_each_other() -> None:
    with profile() as outer:
        tilegrad.ones(3).exp()
        with profile() as inner, record_function("block"):
            tilegrad.ones(3).sin()
    names = [[e.name for e in p.events()] for p in (outer, inner)]
    assert "sin" in names[1] and "exp" not in names[1] and "block" in names[1]
    assert "sin" in names[0] and "exp" in names[0]
