"""Joules by RAPL: whole processors, where they can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilegrad.bench import energy


def test_counters_of_whole_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "RAPL", tmp_path)
    assert energy.meters("cpu")() is None
    for name, microjoules in (
        ("intel-rapl:0", 3_000_000),
        ("intel-rapl:0:1", 7),
        ("intel-rapl:1", 1_500_000),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{microjoules}\n")
    meter = energy.meters("cpu")
    assert meter() == 4.5  # a processor's parts are in it already
    (tmp_path / "intel-rapl:0/energy_uj").write_text("4000000\n")
    assert meter() == 5.5


def test_a_gpu_without_nvml_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_nvml", lambda: None)
    assert energy.meters("cuda")() is None and "gpu" not in energy.clocks()
