"""Frozen models with kernels of GPUs: made here without one, found again on paper by a process that may compile nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tilegrad
from tests.conftest import ROOT
from tilegrad import nn
from tilegrad.frozen import Frozen, load_frozen
from tilegrad.onnx import LoadError

pytest.importorskip("cuda.bindings.nvjitlink", reason="the packages of tilegrad[cuda] are missing")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Frozen]:
    """A small model, for one architecture and no processor."""
    path = tmp_path_factory.mktemp("frozen") / "small.frozen"
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    return path, tilegrad.freeze(
        model, tilegrad.rand(2, 8), path, cpu=[], cuda=["sm_90"], verify=False
    )


RUN = """if True:
    import json, sys
    import numpy as np
    import tilegrad
    from tilegrad.kernels import cache
    from tilegrad.kernels.cuda.run import cubin, jit
    from tilegrad.kernels.cuda.tools import dry_run
    arch = dry_run.ARCHS[{arch!r}]
    dry_run.plan_for(arch)
    {before}
    try:
        model = tilegrad.load_frozen({path!r}, device="cuda")
    except ValueError as error:
        sys.exit(str(error))
    out = model(np.ones((2, 8), np.float32))
    found = []
    with cache.compiling_nothing():
        for factory, variant in jit.kernels_built:
            kept, cached = factory.keep(variant, arch)
            head, code = kept.split(b"\\n\\n", 1)
            found.append([factory.name(variant), cached, cubin.resources(code, arch).entry == head.decode().split("\\n")[0]])
    print(json.dumps([str(out.device), list(out.shape), found, "numba" in sys.modules]))
"""


def run(path: Path, cache: Path, arch: str, before: str = "pass") -> Any:
    code = RUN.format(path=str(path), arch=arch, before=before)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(cache)},
    )  # fmt: skip


def test_its_kernels_are_in_the_file(made: Any, tmp_path: Path) -> None:
    path, info = made
    assert (
        info.architectures == ("sm_90",)
        and info.levels == ()
        and "numba-cuda=" in info.gpu_versions
    )
    device, shape, found, numba = json.loads(run(path, tmp_path / "none", "sm_90").stdout)
    assert device == "cuda:0" and shape == [2, 4] and not numba
    assert len(found) == info.kernels["sm_90"] > 0
    assert all(cached and right for _, cached, right in found)
    assert all(file.name.startswith("calls_") for file in (tmp_path / "none").glob("*"))


@pytest.mark.parametrize("arch, before, said", [
    ("sm_80", "pass", "has kernels for sm_90, and this one needs those for sm_80"),
    ("sm_90", "from tilegrad.kernels.cuda.run import backend; backend.versions = lambda: 'numba=9'",
     "was frozen with numba=.* numba-cuda=.*, and this is numba=9"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(
    made: Any, tmp_path: Path, arch: str, before: str, said: str
) -> None:
    error = run(made[0], tmp_path, arch, before).stderr
    assert "load it with compile=True" in error
    assert re.search(said, error), error


def test_on_the_simulated_gpu(made: Any, device: str) -> None:
    """With ``compile``, which the simulated GPU needs for nothing, the values are the CPU's."""
    x = tilegrad.rand(2, 8)
    there = load_frozen(made[0], device=device, compile=True)
    here = load_frozen(made[0], compile=True)
    tilegrad.testing.assert_close(there(x.to(device)).cpu(), here(x))
    tilegrad.testing.assert_close(there(x.numpy()).cpu(), here(x))


def test_arguments_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cuda must be of sm_75, sm_80, sm_90, sm_100; got 'sm_9'"):
        tilegrad.freeze(nn.Linear(3, 2), tilegrad.rand(2, 3), tmp_path / "a", cuda=["sm_9"])
    with pytest.raises(LoadError, match="^load_frozen: none is not there$"):
        load_frozen(tmp_path / "none", device="cpu")
    assert list(tmp_path.iterdir()) == []
