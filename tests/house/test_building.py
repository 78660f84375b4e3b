"""How archives are built: which wheels get kernels, and what stays behind."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The backend over a tree of its own, where setuptools' part is noted instead."""
    spec = importlib.util.spec_from_file_location("backend", ROOT / "building/backend.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    monkeypatch.setattr(made, "ROOT", tmp_path)
    (tmp_path / "kernels").mkdir()
    (tmp_path / "setup.cfg").write_text((ROOT / "setup.cfg").read_text())
    made.seen = []

    def build_wheel(folder, settings, metadata):
        made.seen.append((settings, (tmp_path / made.BUNDLED).is_dir()))
        return "name.whl"

    monkeypatch.setattr(made.build_meta, "build_wheel", build_wheel)
    monkeypatch.setattr(
        made.build_meta, "get_requires_for_build_wheel", lambda settings: ["setuptools"]
    )
    return made


linux = pytest.mark.skipif(
    sys.platform != "linux" or __import__("platform").machine() != "x86_64", reason="kernels are of x86-64 Linux"
)  # fmt: skip


@linux
def test_a_wheel_from_a_source_archive_has_kernels(backend, tmp_path, monkeypatch):
    assert backend._names(None) is None  # a checkout
    assert backend.get_requires_for_build_wheel() == ["setuptools"]
    (tmp_path / "PKG-INFO").write_text("")
    assert backend._names(None) == ()
    assert backend._names({"kernels": "none"}) is None
    assert backend._names({"kernels": "digits"}) == ("digits",)
    with pytest.raises(ValueError, match="one of none, digits, standing; got 'all'"):
        backend._names({"kernels": "all"})
    needed = backend.get_requires_for_build_wheel()
    assert {"setuptools", "numba>=0.63", "llvmlite>=0.46"} <= set(needed)
    monkeypatch.setattr(backend.platform, "machine", lambda: "aarch64")
    assert backend._names({"kernels": "standing"}) is None


@linux
def test_kernels_make_a_wheel_of_a_platform_and_do_not_stay(backend, tmp_path, monkeypatch):
    stale = tmp_path / "build/lib/tilegrad" / backend.BUNDLED
    stale.mkdir(parents=True)
    asked = []
    monkeypatch.setattr(
        backend, "_compile", lambda names: (asked.append(names), (tmp_path / backend.BUNDLED).mkdir())
    )  # fmt: skip
    backend.build_wheel("out", {"kernels": "digits", "--build-option": "--quiet"})
    backend.build_wheel("out")
    assert asked == [("digits",)]
    (first, had), (second, has) = backend.seen
    assert had and first["--build-option"] == ["--quiet", "--plat-name", backend.TAG]
    assert not has and "--build-option" not in second
    assert not stale.exists() and not (tmp_path / backend.BUNDLED).exists()


@linux
def test_what_cannot_be_compiled_ends_the_build(backend, tmp_path):
    """In a tree whose package cannot be imported `tilegrad warmup` fails."""
    (tmp_path / "__init__.py").write_text("raise ImportError\n")
    with pytest.raises(RuntimeError, match="x86-64-v3, x86-64-v4 could not be compiled"):
        backend.build_wheel("out", {"kernels": "digits"})
    assert not backend.seen and not (tmp_path / backend.BUNDLED).exists()


def test_kernels_and_the_backend_are_in_the_archives():
    assert (ROOT / "MANIFEST.in").read_text() == "include building/backend.py\n"
    assert "tilegrad.kernels = bundled/*.kernels\n" in (ROOT / "setup.cfg").read_text()
    assert subprocess.run(
        ["git", "check-ignore", "-q", "kernels/bundled/x86-64-v3.kernels"], cwd=ROOT
    ).returncode in (0, 128)
