"""The house itself: packages, imports, sizes, names, and what formulas compile to."""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tilegrad.kernels.function import NO_FAMILIES

PACKAGES = (
    "autograd", "bench", "cli", "cuda", "data", "distributions", "engine", "frozen", "kernels", "nn", "onnx", "optim",
    "serve",
)  # fmt: skip
# what needs the tests beside it, and is not installed
CLONE = ("bench/gpu/", "bench/conftest.py", "bench/test_rows.py")
SOURCES = sorted(
    p
    for name in PACKAGES
    for p in (ROOT / name).rglob("*.py")
    if not str(p.relative_to(ROOT)).startswith(CLONE)
)


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), **environment},
        cwd="/",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_package_is_listed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {"tilegrad"} | {
        "tilegrad." + ".".join(p.parent.relative_to(ROOT).parts) for p in SOURCES
    }
    assert listed == found


def test_top_level_packages_refuse_another_name() -> None:
    alone = f"[{str(ROOT)!r}] + [p for p in sys.path if 'site-packages' not in p]"
    for name in {*PACKAGES} - {"bench"}:  # a command in a clone: `python -m bench`
        code = (
            f"import sys; sys.path[:] = {alone}\n"
            f"try: import {name}\nexcept ImportError as e: print(e)"
        )
        assert f"tilegrad.{name}" in run(code)


def test_cuda_gives_way_to_nvidias_packages() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import cuda.bindings, tilegrad.cuda\n"
        "print(cuda.bindings.__file__, tilegrad.cuda.__file__, cuda is tilegrad.cuda)"
    )
    theirs, ours, same = run(code).split()
    assert not Path(theirs).is_relative_to(ROOT / "cuda")
    assert Path(ours).resolve() == ROOT / "cuda" / "__init__.py"
    assert same == "False"


def test_onnx_gives_way_to_the_package_of_its_name() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import onnx.helper, tilegrad.onnx\n"
        "print(onnx.__file__, onnx.helper.__file__, tilegrad.onnx.__file__, onnx is tilegrad.onnx)"
    )
    theirs, helper, ours, same = run(code).split()
    assert (
        not Path(theirs).is_relative_to(ROOT / "onnx")
        and Path(helper).parent == Path(theirs).parent
    )
    assert Path(ours).resolve() == ROOT / "onnx" / "__init__.py"
    assert same == "False"


def test_import_is_light() -> None:
    loaded = run("import sys, tilegrad; print(*sorted(m for m in sys.modules if '.' not in m))")
    assert not {"numba", "llvmlite", "torch", "scipy", "tqdm", "safetensors"} & set(loaded.split())


def test_a_process_with_a_warm_cache_loads_no_compiler(tmp_path: Path) -> None:
    code = (
        "import sys, tilegrad\n"
        "x = tilegrad.ones(5, requires_grad=True)\n"
        "(x * x + 1).sum().backward()\n"
        "print(x.grad.tolist(), 'numba' in sys.modules)"
    )
    cache = {"TILEGRAD_CACHE_DIR": str(tmp_path)}
    assert run(code, **cache) == "[2.0, 2.0, 2.0, 2.0, 2.0] True"
    assert run(code, **cache) == "[2.0, 2.0, 2.0, 2.0, 2.0] False"


def test_no_file_is_too_long() -> None:
    long = {
        str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 500
    }
    assert not long


def test_imports_are_absolute_and_kernels_need_no_compiler_to_import() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
        if path.is_relative_to(ROOT / "kernels"):
            top = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
            names = {a.name for n in top for a in n.names} | {
                n.module for n in top if isinstance(n, ast.ImportFrom)
            }
            assert not {n for n in names if n and n.split(".")[0] in ("numba", "llvmlite")}, path


def _families() -> set[str]:
    """The families that the engine asks a device for."""
    used = set[str]()
    for path in (ROOT / "engine").rglob("*.py"):
        used |= set(re.findall(r'kernel\("(\w+)"', path.read_text()))
    return used


def test_every_ops_family_has_its_kernels() -> None:
    views = {"view", "parts", "planar"}  # nothing to compute, or rows of others' kernels
    families = {p.stem for p in (ROOT / "engine/ops").glob("*.py")} - {"__init__"} - views
    used = _families()
    assert families <= used | views
    for device in ("cpu", "cuda"):  # rooms that families share stand beside them
        top = {p.stem for p in (ROOT / "kernels" / device).glob("[a-z]*")} - {*NO_FAMILIES}
        assert top == used, device


def _launchers(device: str, family: str) -> dict[str, inspect.Signature]:
    """What dispatch may call: the public functions that prepare a launch."""
    module = importlib.import_module(f"tilegrad.kernels.{device}.{family}")
    called = set[str]()
    for text in (path.read_text() for path in (ROOT / "engine").rglob("*.py")):
        called |= set(re.findall(rf'kernel\("{family}", [\w.]+\)\.(\w+)', text))
        if f'family = kernel("{family}"' in text:  # of several families in one module
            called |= {
                n for n in re.findall(r"family\.(\w+)", text) if callable(getattr(module, n, None))
            }
    assert called, family
    return {name: inspect.signature(getattr(module, name)) for name in called}


@pytest.mark.parametrize("family", sorted(_families()))
def test_both_devices_prepare_launches_alike(family: str) -> None:
    """The same names, with parameters of the same names, kinds and defaults, but for keywords with a
    default that the engine does not give.
    """
    cpu, cuda = _launchers("cpu", family), _launchers("cuda", family)
    text = "".join(path.read_text() for path in (ROOT / "engine").rglob("*.py"))
    called = set(re.findall(r"(\w+)=", text))
    if family == "movement":
        del cpu["join"]  # asked for where there are operands that JOINED allows: none on CUDA
    assert cpu.keys() == cuda.keys()
    for name, signature in cpu.items():
        ours, theirs = (
            [
                (p.name, p.kind, p.default)
                for p in s.parameters.values()
                if p.name in called or p.kind is not p.KEYWORD_ONLY or p.default is p.empty
            ]
            for s in (signature, cuda[name])
        )
        assert ours == theirs, f"kernels/cuda/{family}: {name}{cuda[name]} is not {name}{signature}"


def test_no_notes_to_self() -> None:
    pattern = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    for path in SOURCES:
        assert not pattern.search(path.read_text()), path


def _float32_rows() -> list[str]:
    from tilegrad.engine.ops.elementwise import OPS

    return [n for n, op in OPS.items() if op.formula.kind in ("same", "float", "rounding")]


# float32 formulas that compute inside in float64, and why
WIDE = {
    **dict.fromkeys(("sin", "cos", "tan"), "reduction of large angles"),
    **dict.fromkeys(
        ("asinh", "acosh", "atanh", "erfc", "pow"), "cancellation before a logarithm or exp"
    ),
    **dict.fromkeys(("hypot", "atan2"), "squares and quotients that would overflow"),
    **dict.fromkeys(("erfinv", "lgamma", "digamma"), "rare, and simplest in double"),
}


@pytest.mark.parametrize("name", _float32_rows())
def test_float32_formulas_stay_float32(name: str) -> None:
    """No float64 arithmetic in a float32 kernel, but in those that say why."""
    from tilegrad.engine.ops.elementwise import OPS
    from tilegrad.kernels.cpu import elementwise
    from tilegrad.kernels.cpu.run import jit

    row = OPS[name].formula
    dtypes = ("float32",) * (row.arity + 1)
    body, letters = elementwise.map_rows.factory(
        row.function, dtypes, "c" * len(dtypes), row.params
    )
    ir = jit.optimised_ir(body, letters)
    arithmetic = re.search(r"= f(?:add|sub|mul|div|rem) (?:contract )?(?:<\d+ x )?double", ir)
    assert bool(arithmetic) == (name in WIDE)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "kernels/formulas").glob("*.py")), ids=lambda p: p.stem
)
def test_constants_are_no_calls(path: Path) -> None:
    """``math.log(10)`` within a formula is a call for every element on the GPU, and in float64; a
    root is folded.
    """
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef) and any(
            isinstance(mark, ast.Name) and mark.id == "inline" for mark in function.decorator_list
        ):
            calls = [n.func for n in ast.walk(function) if isinstance(n, ast.Call)]
            names = {ast.unparse(call) for call in calls if isinstance(call, ast.Attribute)}
            assert {n for n in names if n.startswith("math.")} <= {"math.sqrt"}, function.name


def test_the_library_speaks_of_itself_alone() -> None:
    words = re.compile(r"/work/|/tmp/|helper-|\bsession\b", re.I)
    for path in [*SOURCES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        if path.is_file():
            assert not words.search(path.read_text()), path


def test_simd_width_can_be_forced(tmp_path: Path) -> None:
    code = (
        "import numpy as np, tilegrad\n"
        "from tilegrad.kernels.cpu.run import jit\n"
        "r = np.random.default_rng(0)\n"
        "x, y = r.standard_normal((37, 41)).astype('f4'), r.standard_normal((41, 35)).astype('f4')\n"
        "a, b = tilegrad.from_numpy(x), tilegrad.from_numpy(y)\n"
        "print(jit.simd_bits(), float(abs((a @ b).numpy() - x @ y).max()) < 1e-4,"
        " float(abs(a.exp().sum(1).numpy() - np.exp(x).sum(1)).max()) < 1e-3)"
    )
    for bits in (128, 256):
        out = run(code, TILEGRAD_SIMD_BITS=str(bits), TILEGRAD_CACHE_DIR=str(tmp_path))
        assert out.split() == [str(bits), "True", "True"]


def test_host_functions_of_kernels_are_annotated() -> None:
    """mypy leaves the bodies that numba types alone, by one section in setup.cfg; the rest is whole."""
    for_numba = ("inline", "intrinsic", "by_type", "mostly")
    bare = []
    for path in sorted((ROOT / "kernels").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            marks = [ast.unparse(d).split("(")[0] for d in node.decorator_list]
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            whole = node.returns is not None and all(a.annotation for a in arguments)
            if not whole and not set(marks) & set(for_numba):
                bare.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not bare
