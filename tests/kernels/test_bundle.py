"""Bundles of kernels: made for a level of x86-64, found by name, ignored where they do not fit."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tilegrad.engine.linking import CALLS
from tilegrad.kernels import bundle
from tilegrad.kernels.cpu.run import native

OPS = ("silu",)
HERE = [
    pytest.param(level, str(bits), marks=pytest.mark.skipif(
        not {f"+{f}" for f in native.LEVELS[level]} <= set(native.host()[1].split(",")),
        reason=f"this processor lacks features of {level}"))
    for level, bits in (("x86-64-v3", 256), ("x86-64-v4", 512))
]  # fmt: skip


def in_new_process(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_QUIET": "1", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle of a few ops for each level, whatever processor this is."""
    found = {}
    for level in native.LEVELS:
        folder = tmp_path_factory.mktemp(level)
        words = ["warmup", *OPS, "--target", level, "--bundle", str(folder / "bundle")]
        code = f"from tilegrad.__main__ import main; import sys; sys.exit(main({words}))"
        said = in_new_process(code, TILEGRAD_CACHE_DIR=str(folder / "cache"))
        assert f" kernels for {level} in {folder}" in said
        found[level] = folder / "bundle"
    return found


USE = """if True:
    import pathlib, sys
    import numpy
    import tilegrad
    from tilegrad.kernels import bundle, cache
    from tilegrad.kernels.cpu.run import jit, native
    {before}
    bundle.FOLDER = pathlib.Path({folder!r})
    x = tilegrad.from_numpy(numpy.linspace(-3, 3, 1 << 12, dtype="float32"))
    print(tilegrad.nn.functional.silu(x).tolist()[:40])
    print([name for name, _, cached in cache.compile_log if not cached], "numba" in sys.modules)
"""


def use(path: Path, folder: Path, before: str = "", **environment: str) -> list[str]:
    """What a process prints that has ``path`` as its installed bundle and no other kernels: results,
    and what it compiled.
    """
    folder.mkdir()
    level = bundle.Bundle(path).level
    (folder / f"{level}.kernels").write_bytes(path.read_bytes())
    code = USE.format(before=before, folder=str(folder))
    return in_new_process(
        code, TILEGRAD_CACHE_DIR=str(folder / "cache"), **environment
    ).splitlines()


@pytest.mark.parametrize("level, bits", HERE)
def test_what_is_bundled_is_not_compiled(made, tmp_path, level, bits):
    given = {"TILEGRAD_SIMD_BITS": bits}
    values, compiled = use(made[level], tmp_path / "with", **given)
    assert compiled == "[] False"
    other = use(made[level], tmp_path / "without", "bundle.installed = lambda level: None", **given)
    assert other[0] == values  # bit by bit
    assert "silu" in other[1] and other[1].endswith("True")


@pytest.mark.parametrize("level, bits", HERE[:1])
@pytest.mark.parametrize("before", [
    "cache.compilers = lambda: {'numba': '0.1', 'llvmlite': '0.1'}",
    "native._host_target = ('x86-64-v2', '+sse4.2')",
    "from tilegrad.kernels import function; function._read = lambda module: module",
])  # fmt: skip
def test_what_does_not_fit_is_compiled(made, tmp_path, level, bits, before):
    """Another version of the compilers, a lesser processor, other sources."""
    given = {"TILEGRAD_SIMD_BITS": bits}
    _, compiled = use(made[level], tmp_path / "used", before, **given)
    assert "silu" in compiled


@pytest.mark.parametrize("level, bits", HERE[:1])
@pytest.mark.parametrize("keep", [60, 0.5])
def test_what_is_damaged_is_compiled(made, tmp_path, level, bits, keep):
    """The index, and the entries."""
    data = made[level].read_bytes()
    code = USE.format(before="", folder=str(tmp_path))
    (tmp_path / f"{level}.kernels").write_bytes(data[: keep if keep > 1 else int(len(data) * keep)])
    given = {"TILEGRAD_SIMD_BITS": bits, "TILEGRAD_CACHE_DIR": str(tmp_path / "cache")}
    values, compiled = in_new_process(code, **given).splitlines()
    assert len(values) > 200 and "map" in compiled


def test_entries_are_checked(tmp_path):
    path = tmp_path / "bundle"
    data = bundle.packed("x86-64-v3", {"a.o": b"first", "b.o": b"second"}, numba="1.2")
    path.write_bytes(data)
    found = bundle.Bundle(path)
    assert (found.level, found.about) == ("x86-64-v3", {"numba": "1.2"})
    assert [found.read(name) for name in ("a.o", "b.o", "c.o")] == [b"first", b"second", None]
    path.write_bytes(data.replace(b"second", b"secand"))
    found = bundle.Bundle(path)
    assert [found.read(name) for name in ("a.o", "b.o")] == [b"first", None]
    path.write_bytes(data[:-1])
    assert bundle.Bundle(path).read("b.o") is None
    assert bundle.Bundle(tmp_path / "none", data).read("b.o") == b"second"
    path.unlink()
    assert found.read("a.o") is None


@pytest.mark.parametrize("change", [
    lambda d: b"", lambda d: d[:10], lambda d: d[:40], lambda d: d.replace(b'"entries"', b'"entry"'),
    lambda d: d.replace(b"[0, ", b'["x", '), lambda d: d[:19] + b"\xff" * 8 + d[27:], lambda d: d[5:],
    lambda d: d.replace(b'{"level', b'[["level'),
])  # fmt: skip
def test_a_damaged_index_is_an_error(tmp_path, change):
    path = tmp_path / "bundle"
    path.write_bytes(change(bundle.packed("x86-64-v3", {"a.o": b"first"})))
    with pytest.raises(ValueError, match="bundle of kernels|index of kernels"):
        bundle.Bundle(path)


def test_attached_bundles_are_looked_in(tmp_path):
    path = tmp_path / "bundle"
    path.write_bytes(bundle.packed("x86-64-v3", {"a.o": b"first"}))
    one = bundle.Bundle(path)
    bundle.attach(one)
    try:
        assert bundle.any_for("x86-64-v3")
        assert bundle.find("x86-64-v3", "a.o") == b"first"
        assert bundle.find("x86-64-v4", "a.o") is None
    finally:
        bundle.detach(one)
    assert bundle.find("x86-64-v3", "a.o") is None


def test_what_is_neither_there_nor_may_be_compiled_is_an_error(tmp_path):
    code = """if True:
        import tilegrad
        try:
            tilegrad.ones(3).exp()
        except RuntimeError as error:
            print(error)
    """
    out = in_new_process(code, TILEGRAD_CACHE_DIR=str(tmp_path), TILEGRAD_COMPILE="never")
    assert "TILEGRAD_COMPILE is 'never'" in out and str(tmp_path) in out
    # what calls are made of is no kernel: without it there would be no tensor
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(CALLS)] == []


def test_kernels_for_a_better_processor_are_compiled_for_this_one_too(tmp_path):
    """Where the level's instructions do not run, the same loops run in others."""
    code = """if True:
        from tilegrad.kernels.cpu.run import jit, native
        loaded = []
        load = native.load_object
        jit.load_object = lambda code, name: (loaded.append(code), load(code, name))[1]
        least = native.level_target("x86-64-v3")
        native._host_target = least
        import tilegrad
        from tilegrad.kernels import cache
        x = tilegrad.linspace(-2, 2, 1000)
        print(x.exp().sum().item(), native.simd_bits(), native.foreign())
        kept = [cache.read(p) for p in cache.cache_dir().glob("*exp*.o")]
        print(len(kept), any(b in loaded for b in kept))
    """
    given = {
        "TILEGRAD_CACHE_DIR": str(tmp_path / "a"),
        "TILEGRAD_TARGET": "x86-64-v4",
        "TILEGRAD_SIMD_BITS": "512",
    }
    first, second = in_new_process(code, **given).splitlines()
    value, bits, foreign = first.split()
    assert (bits, foreign, second) == ("512", "True", "1 False")
    here = "import tilegrad; print(tilegrad.linspace(-2, 2, 1000).exp().sum().item())"
    assert float(value) == pytest.approx(
        float(in_new_process(here, TILEGRAD_CACHE_DIR=str(tmp_path / "b"))), rel=1e-6
    )


# what an object may ask of the process: Python's stable ABI, libc, and what the loader adds
STABLE = [
    "PyBytes_AsString",
    "PyBytes_Size",
    "PyErr_BadArgument",
    "PyErr_Occurred",
    "PyEval_RestoreThread",
    "PyEval_SaveThread",
    "PyFloat_AsDouble",
    "PyLong_AsLongLong",
    "Py_IncRef",
    "_Py_NoneStruct",
]
LIBC = ["memcpy", "memset", "memmove", "pow", "powf", "fmod", "fmodf", "fma", "fmaf"]
OURS = ["numba_parallel_for", "tilegrad_threads"]


def undefined(code: bytes) -> set[str]:
    """The names that an ELF object leaves to the loader."""
    table, size, count = struct.unpack_from("<Q", code, 40)[0], *struct.unpack_from("<HH", code, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, table + k * size) for k in range(count)]
    found = set()
    for section in sections:
        if section[1] == 2:  # symbols
            names = sections[section[6]][4]
            for at in range(section[4] + 24, section[4] + section[5], 24):
                name, _, _, place = struct.unpack_from("<IBBH", code, at)
                if place == 0:
                    start = names + name
                    found.add(code[start : code.index(b"\0", start)].decode())
    return found


@pytest.mark.parametrize("level", native.LEVELS)
def test_objects_ask_for_what_every_python_and_libc_has(made, level):
    one = bundle.Bundle(made[level])
    assert len(one.entries) >= 3
    for name in one.entries:
        code = one.read(name)
        assert code is not None
        asked = undefined(code)
        assert "PyLong_AsLongLong" in asked
        assert asked <= {*STABLE, *LIBC, *OURS}, (name, asked)
