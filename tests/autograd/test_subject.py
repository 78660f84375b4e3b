"""What all ops of one's own have in common: checks as pytest parameters, kernels that packages ship."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tilegrad
import tilegrad.ops
from tests.conftest import ROOT
from tilegrad.autograd.checking import CheckError
from tilegrad.testing import cases


@tilegrad.elementwise
def swish(x, beta=1.0):
    return x / (1 + exp(-beta * x))  # noqa: F821


@tilegrad.elementwise
def cubic(x):
    return x * x * x


@tilegrad.fuse
def masked(mask, x):
    return tilegrad.where(mask, x, 0) * x


@tilegrad.op("doubled(x: f[N]) -> y: like x")
def doubled(x):
    return x + x


@doubled.cpu(tasks=1)
def _(x, y, N):
    for i in range(N):
        y[i] = x[i] + x[i]


@pytest.mark.parametrize("case", cases(swish, domain=(-2.0, 2.0)))
def test_swish(case):
    case()


@pytest.mark.parametrize("case", cases(masked, dtypes={"mask": "bool"}))
def test_masked(case):
    case()


@pytest.mark.parametrize("case", cases(doubled))
def test_doubled(case):
    case()


def test_cases_are_what_check_looks_at(capsys):
    swish.check()
    rows = capsys.readouterr().out.splitlines()[1:]
    found = cases(swish)
    names = [p.id for p in found]
    assert len(set(names)) == len(names) == len(rows) - 1  # both orders of gradients are one case
    words = [row.split("  ") for row in rows if "bits" not in row and "gradients" not in row]
    for what, device, kind in ([w.strip() for w in row if w.strip()][:3] for row in words):
        assert f"values-{what}-{device}-{kind}".replace(" ", "_") in names
    assert names[-1] == "gradients"


def test_a_case_fails_alone_and_as_often_as_it_is_run(monkeypatch):
    found = {p.id: p.values[0] for p in cases(cubic)}
    cubic(tilegrad.ones(251, dtype=tilegrad.float64))  # compiled as it should be
    monkeypatch.setattr(cubic.formulas[0], "function", lambda x: x * x * x + 1e-3 * (x > 2.9))
    broken = []
    for name, case in found.items():
        if name in ("values-a_prime-cpu-float64", "values-empty-cpu-float64"):
            for _ in range(2):
                try:
                    case()
                except CheckError:
                    broken.append(name)
    assert broken == ["values-a_prime-cpu-float64"] * 2
    with pytest.raises(TypeError, match="op must be one of tilegrad.elementwise"):
        cases(lambda x: x)


OPS = """
    import tilegrad

    @tilegrad.elementwise
    def swish(x):
        return x / (1 + exp(-x))

    def plain(x):
        return x
"""
POINTS = """
    [tilegrad.kernels]
    swish = mypackage.ops:swish
    mypackage = mypackage.ops
    plain = mypackage.ops:plain
    missing = mypackage.ops:missing
    nothing = mypackage.nothing:swish
"""
PROGRAM = """
    import sys, tilegrad
    assert "tilegrad.ops" not in sys.modules
    names = dir(tilegrad.ops)
    assert names == ["missing", "mypackage", "nothing", "plain", "swish", "twice"], names
    assert "mypackage" not in sys.modules
    x = tilegrad.ones(3)
    print(tilegrad.ops.swish(x).shape, tilegrad.ops.mypackage.swish is tilegrad.ops.swish)
    for name in ("plain", "missing", "nothing", "twice", "swishh"):
        try:
            getattr(tilegrad.ops, name)
        except Exception as error:
            print(type(error).__name__, error)
"""


def _install(folder: Path, name: str, points: str) -> None:
    """What pip leaves of a package, beside its modules."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(textwrap.dedent(points))


def test_packages_ship_kernels_by_entry_points(tmp_path: Path) -> None:
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "__init__.py").touch()
    (tmp_path / "mypackage" / "ops.py").write_text(textwrap.dedent(OPS))
    _install(tmp_path, "mypackage", POINTS + "    twice = mypackage.ops:swish\n")
    _install(tmp_path, "other", "[tilegrad.kernels]\ntwice = other:twice\n")

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": f"{ROOT / '.dev'}{os.pathsep}{tmp_path}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    found, *errors = run("-c", textwrap.dedent(PROGRAM)).splitlines()
    assert found == "tilegrad.Size([3]) True"
    plain, missing, nothing, twice, unknown = errors
    assert plain.startswith(
        "TypeError tilegrad.ops: 'plain' of mypackage (mypackage.ops:plain) must be an op"
    )
    assert missing.startswith(
        "ImportError tilegrad.ops: 'missing' of mypackage (mypackage.ops:missing)"
    )
    assert nothing.endswith("cannot be loaded: No module named 'mypackage.nothing'")
    assert (
        twice.startswith("AttributeError tilegrad.ops: 'twice' is shipped by")
        and "other:twice" in twice
    )
    assert unknown.endswith("did you mean swish?")
    command = "from tilegrad.__main__ import main; main(['inspect', 'swish', '--device', 'cpu', '--shape', '3'])"
    assert "def swish(x):" in run("-c", command)


def test_a_name_nobody_ships(monkeypatch):
    with pytest.raises(AttributeError, match="no installed package ships 'nobody'"):
        _ = tilegrad.ops.nobody
    assert not hasattr(tilegrad.ops, "__wrapped__")
    tilegrad.ops.refresh()
