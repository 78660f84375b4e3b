"""Frozen models: made here, run in processes that find no cache and may compile nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilegrad
from tests.conftest import ROOT
from tilegrad import nn
from tilegrad.cli.model import Classifier, Shape
from tilegrad.frozen import Frozen, load_frozen, read_frozen
from tilegrad.kernels.cpu.run import native
from tilegrad.onnx import LoadError

HERE = native.level()
frozen_here = pytest.mark.skipif(HERE is None, reason="no level of x86-64 is this processor's")


def digits() -> Classifier:
    tilegrad.manual_seed(5)
    return Classifier(Shape(8, 8, 10)).eval()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Frozen, Classifier]:
    """The digits model, for every level."""
    path = tmp_path_factory.mktemp("frozen") / "digits.frozen"
    model = digits()
    info = tilegrad.freeze(
        model, tilegrad.rand(2, 1, 8, 8), path, input_names=["image"], output_names=["scores"],
        dynamic_axes={"image": {0: "batch"}},
    )  # fmt: skip
    return path, info, model


# what a process prints: seconds of its parts, results, which modules it has; compiling is an error
RUN = """if True:
    import time
    start = time.perf_counter()
    import sys, json
    import numpy as np
    import tilegrad
    imported = time.perf_counter()
    {before}
    model = tilegrad.load_frozen({path!r})
    loaded = time.perf_counter()
    images = np.linspace(0, 1, 64 * {most}, dtype=np.float32).reshape({most}, 1, 8, 8)
    first = model(images[:1]).tolist()
    ready = time.perf_counter()
    found = [model(images[:n]).tolist() for n in {sizes}]
    print(json.dumps({{
        "seconds": [imported - start, loaded - imported, ready - loaded], "first": first, "found": found,
        "compilers": [n for n in ("numba", "onnx") if sys.modules.get(n)],
    }}))
"""
# every way to machine code: numba's and the kernels' translation, and LLVM's emission
NOTHING = """
    import llvmlite.binding as llvm
    from llvmlite.binding import ffi
    def refuse(*args, **kwargs):
        raise SystemExit("something is compiled")
    llvm.TargetMachine.emit_object = llvm.TargetMachine.emit_assembly = refuse
    from tilegrad.kernels.cpu.run import backend, translate
    backend.emitter = backend._object = translate.translate = refuse
    sys.modules["onnx"] = None
"""


def run(
    path: Path, cache: Path, before: str = NOTHING, sizes: tuple[int, ...] = (1, 4), **given: str
) -> Any:
    most = max(sizes)
    code = RUN.format(path=str(path), most=most, sizes=list(sizes), before=before.strip() or "pass")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(cache),
             "TILEGRAD_QUIET": "1", **given},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def images(count: int) -> np.ndarray:
    return np.linspace(0, 1, 64 * count, dtype=np.float32).reshape(count, 1, 8, 8)


@frozen_here
def test_nothing_is_compiled_and_the_results_are_the_models(made: Any, tmp_path: Path) -> None:
    path, _, model = made
    sizes = (1, 3, 6, 64, 65, 200)
    said = run(path, tmp_path, sizes=sizes)
    assert said["compilers"] == [] and list(tmp_path.iterdir()) == []
    for n, found in zip(sizes, said["found"], strict=True):
        wanted = model(tilegrad.from_numpy(images(max(sizes))[:n])).detach().numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@frozen_here
@pytest.mark.parametrize("given", [
    {"TILEGRAD_NUM_THREADS": "1"}, {"TILEGRAD_NUM_THREADS": "16"}, {"TILEGRAD_PIECES": "3"},
    {"TILEGRAD_SIMD_BITS": "256"},
])  # fmt: skip
def test_threads_and_levels_ask_for_no_others(
    made: Any, tmp_path: Path, given: dict[str, str]
) -> None:
    """Kernels do not depend on the number of processors; AVX2's are there where AVX-512 is not wanted."""
    assert run(made[0], tmp_path, sizes=(1, 2, 50, 128), **given)["compilers"] == []


@frozen_here
def test_the_guard_of_these_tests_sees_a_compilation(made: Any, tmp_path: Path) -> None:
    before = NOTHING + "    tilegrad.nn.functional.silu(tilegrad.empty(7))"
    with pytest.raises(AssertionError, match="something is compiled"):
        run(made[0], tmp_path, before)


def test_what_the_file_says(made: Any) -> None:
    path, info, _ = made
    assert info == read_frozen(path)
    assert info.levels == tuple(native.LEVELS) and info.inputs == ("image",)
    assert info.outputs == ("scores",)
    assert path.stat().st_size < 5_000_000 and abs(info.size - path.stat().st_size) < 4096
    assert all(5 < count < 100 for count in info.kernels.values())
    assert set(info.versions) == {"tilegrad", "numba", "llvmlite"}


@frozen_here
def test_in_this_process_with_every_option(made: Any, tmp_path: Path) -> None:
    path, info, model = made
    x = tilegrad.rand(3, 1, 8, 8)
    wanted = model(x).detach().numpy()
    for how in ({}, {"compile": True}, {"machine_code": False}, {"fingerprint": info.fingerprint}):
        loaded = load_frozen(path, **how)
        found = loaded(image=x)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)
        assert not found.requires_grad and loaded.info == info
    loaded.save_onnx(tmp_path / "again.onnx")
    np.testing.assert_allclose(
        tilegrad.onnx.load(tmp_path / "again.onnx")(x).detach().numpy(),
        wanted,
        rtol=1e-4,
        atol=1e-5,
    )
    with pytest.raises(LoadError, match=f"is another file: its fingerprint is {info.fingerprint}"):
        load_frozen(path, fingerprint="0" * 64)
    with pytest.raises(LoadError, match="more than the 1000 that are read"):
        load_frozen(path, most_bytes=1000)


@pytest.mark.parametrize("change, said", [
    (lambda m: m.setattr("tilegrad.frozen.loading.platform.machine", lambda: "aarch64"),
     "has machine code for x86-64, and this machine is aarch64"),
    (lambda m: m.setattr("tilegrad._release", "9.9"), "was frozen with tilegrad .*, and this is tilegrad 9.9"),
    (lambda m: m.setattr(native, "level", lambda: None), "and this processor needs those for kernels of"),
    (lambda m: m.setattr(native, "level", lambda: "x86-64-v5"), "x86-64-v4, and this processor needs those for x86-64-v5"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(
    made: Any, monkeypatch: pytest.MonkeyPatch, change: Any, said: str
) -> None:
    change(monkeypatch)
    with pytest.raises(
        LoadError, match=f"^load_frozen: digits.frozen .*{said}.*: load it with compile=True"
    ):
        load_frozen(made[0])
    load_frozen(made[0], compile=True)


@frozen_here
def test_a_kernel_that_is_missing_is_named(tmp_path: Path) -> None:
    """Of a model that is frozen for one size of rows, and run on a batch that asks for another way."""
    path = tmp_path / "few.frozen"
    model = nn.Sequential(nn.Linear(40, 30), nn.Tanh())
    tilegrad.freeze(
        model, tilegrad.rand(1, 40), path, input_names=["x"], dynamic_axes={"x": {0: "n"}}, cpu=[HERE],
        sizes={"n": [1]}, verify=False,
    )  # fmt: skip
    code = f"""if True:
        import tilegrad, numpy as np
        few = tilegrad.load_frozen({str(path)!r})
        few(np.ones((1, 40), np.float32))
        try:
            few(np.ones((256, 40), np.float32))
        except ValueError as error:
            print(error)
        print(tilegrad.load_frozen({str(path)!r}, compile=True)(np.ones((256, 40), np.float32)).shape)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(tmp_path / "cache")},
    ).stdout.splitlines()  # fmt: skip
    assert (
        done[0].startswith("load_frozen: few.frozen has no kernel ") and "compile=True" in done[0]
    )
    assert "256" in done[-1]


def test_arguments_are_checked(tmp_path: Path) -> None:
    x, model = tilegrad.rand(2, 3), nn.Linear(3, 2)
    with pytest.raises(ValueError, match="cpu must be of x86-64-v3, x86-64-v4; got 'x86-64-v9'"):
        tilegrad.freeze(model, x, tmp_path / "a", cpu=["x86-64-v9"])
    with pytest.raises(TypeError, match="unexpected argument 'opsets'"):
        tilegrad.freeze(model, x, tmp_path / "a", opsets=3)
    with pytest.raises(ValueError, match="sizes names 'n'; dynamic dimensions are \\[\\]"):
        tilegrad.freeze(model, x, tmp_path / "a", sizes={"n": [1]}, verify=False)
    with pytest.raises(LoadError, match="^load_frozen: none is not there$"):
        load_frozen(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
