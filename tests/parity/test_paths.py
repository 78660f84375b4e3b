"""Module paths: every public module of PyTorch's is here, or is left out with a reason; none twice."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import tilegrad
from tests.conftest import ROOT
from tilegrad.paths import LEFT_OUT, MADE, SAME, reason

THEIRS = Path(torch.__file__).parent
PRIVATE = ("utils.data._utils", "utils.data._utils.collate", "optim._adafactor", "optim._muon")


def _public() -> list[str]:
    """The paths of PyTorch's tree that no leading underscore hides."""
    found = []
    for path in THEIRS.rglob("*.py"):
        parts = path.relative_to(THEIRS).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        folders = [THEIRS.joinpath(*parts[:n]) for n in range(1, len(parts))]
        packages = all((f / "__init__.py").is_file() for f in folders)
        if parts and packages and not any(p.startswith("_") for p in parts):
            found.append(".".join(parts))
    return sorted(found)


PUBLIC = _public()
YET: set[str] = set()
HERE = [p for p in (*PUBLIC, *PRIVATE) if reason(p) is None and p not in YET]


def test_left_out_is_what_there_is() -> None:
    words = [word for line in LEFT_OUT for word in line.split()]
    assert len(words) == len(set(words)) and len(PUBLIC) > 500 and len(HERE) > 60
    wrong = []
    for word in words:
        try:
            import_module(f"tilegrad.{word}")
        except ModuleNotFoundError:
            continue
        wrong.append(word)
    assert wrong == []


@pytest.mark.parametrize("path", HERE)
def test_path(path: str) -> None:
    """It is imported, and what it has of PyTorch's names is no copy."""
    ours, theirs = import_module(f"tilegrad.{path}"), import_module(f"torch.{path}")
    parent, _, last = f"tilegrad.{path}".rpartition(".")
    held = getattr(import_module(parent), last)
    functions = ("autograd.gradcheck", "nn.utils.spectral_norm", "nn.utils.weight_norm")
    assert held is ours or path in functions  # there, as PyTorch's
    for name in getattr(theirs, "__all__", ()):
        have, elsewhere = getattr(ours, name, None), getattr(tilegrad.nn, name, None)
        if inspect.isclass(have) and elsewhere is not None and path.startswith("nn.modules"):
            assert have is elsewhere


def test_a_class_lies_where_pytorchs_lies() -> None:
    """``torch.nn.modules.linear.Linear`` and so on: by the module that PyTorch's class names."""
    for home, theirs in ((tilegrad.nn, torch.nn), (tilegrad.optim, torch.optim)):
        for name, kind in vars(theirs).items():
            ours = getattr(home, name, None)
            if (
                not inspect.isclass(kind)
                or ours is None
                or reason(kind.__module__.removeprefix("torch."))
            ):
                continue
            place = import_module(kind.__module__.replace("torch", "tilegrad", 1))
            assert getattr(place, name, None) is ours, f"{kind.__module__}.{name}"


def test_second_names_are_the_same_objects() -> None:
    import tilegrad.utils.data.dataloader as loader

    assert loader is import_module("tilegrad.data.dataloader")
    assert tilegrad.utils.data is tilegrad.data and tilegrad.data.__name__ == "tilegrad.data"
    assert tilegrad.data.__spec__.name == "tilegrad.data"
    for path, target in SAME.items():
        assert import_module(f"tilegrad.{path}") is import_module(f"tilegrad.{target}")
    with pytest.raises(ModuleNotFoundError):
        import_module("tilegrad.utils.data.loaders")


@pytest.mark.parametrize("path", sorted(MADE))
def test_gathered_names(path: str) -> None:
    ours: Any = import_module(f"tilegrad.{path}")
    assert isinstance(ours.__all__, list) and set(ours.__all__) <= set(dir(ours))
    for name, value in MADE[path].items():
        if isinstance(value, str) and ":" not in value and hasattr(tilegrad, value):
            assert getattr(ours, name) is getattr(tilegrad, value)
    with pytest.raises(AttributeError, match="no attribute"):
        _ = ours.nothing_here


def test_paths_load_nothing_by_themselves() -> None:
    code = "import sys, tilegrad; print([m for m in sys.modules if m.startswith(('tilegrad.nn', 'tilegrad.data'))])"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
    )
    assert shown.stdout.strip() == "[]"


def test_wrappers_of_one_device() -> None:
    layer = tilegrad.nn.Linear(2, 3)
    x = tilegrad.randn(4, 2)
    whole = tilegrad.nn.DataParallel(layer)
    assert whole(x).tolist() == layer(x).tolist()
    assert list(whole.state_dict()) == list(
        torch.nn.DataParallel(torch.nn.Linear(2, 3)).state_dict()
    )
    assert tilegrad.nn.parallel.data_parallel(layer, x).tolist() == layer(x).tolist()
    with pytest.raises(RuntimeError, match="one device"):
        tilegrad.nn.DataParallel(layer, [0, 1])
    for t in (tilegrad, torch):
        with pytest.raises((RuntimeError, ValueError), match="process group"):
            t.nn.parallel.DistributedDataParallel(t.nn.Linear(2, 3))
