"""`tilegrad inspect`, in processes of its own: it turns the device of its process into paper."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import pytest

import tilegrad
from tests.conftest import ROOT
from tilegrad.cli import operands
from tilegrad.cli.failure import Failure

MAIN = "import sys; from tilegrad.__main__ import main; sys.exit(main(sys.argv[1:]))"


def run(*arguments: str, before: str = "", status: int = 0) -> str:
    """What the command prints, on stderr if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", before + MAIN, "inspect", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
        check=False,
    )
    assert done.returncode == status, done.stderr
    if status:
        assert not done.stdout
        assert done.stderr.startswith("tilegrad inspect: error: ")
        assert done.stderr.count("\n") == 1
    return done.stderr if status else done.stdout


def test_a_formula_and_its_machine_code() -> None:
    out = run("add", "--arch", "sm_80", "--shape", "4096", "--ptx", "--sass")
    assert "1 launch of 1 kernel" in out
    assert "32768 bytes read, 16384 bytes written" in out
    assert "grid            4 x 1 x 1 blocks of 256 threads" in out
    assert "stack, spills   0, 0 bytes" in out
    assert "def add(x, y):" in out and "def map_body(" in out
    assert ".visible .entry" in out and "LDG.E.128" in out


def test_every_kernel_of_an_op_with_its_backward_pass() -> None:
    out = run("softmax", "--shape", "512,1000", "--backward")
    assert "2 launches of 2 kernels" in out
    assert "softmax_forward" in out and "softmax_backward" in out
    assert out.count("  registers  ") == out.count("  occupancy  ") == 2
    assert "def softmax_row(" in out and "def grad_row(" in out


def test_operands_that_a_signature_does_not_tell() -> None:
    out = run("conv2d", "--arch", "sm_75")
    assert "float32 (32, 64, 56, 56), float32 (64, 64, 3, 3)" in out
    out = run("cross_entropy", "--shape", "64,10", "64:int64", "--arg", "reduction=sum")
    assert "int64 (64,)" in out


OPS = """
import tilegrad

@tilegrad.elementwise
def swish(x, beta=1.0):
    return x / (1 + exp(-beta * x))

@tilegrad.fuse
def gated(x, gate):
    return tilegrad.where(gate > 0, x, 0) * gate

@tilegrad.op("twice(x: f[*B]) -> y: like x")
def twice(x):
    return x + x

class Names:
    swish = swish

def plain(x):
    return x
"""


def test_an_op_of_ones_own_by_its_import_path(tmp_path, monkeypatch) -> None:
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "__init__.py").touch()
    (tmp_path / "mypackage" / "ops.py").write_text(OPS)
    monkeypatch.chdir(tmp_path)
    out = run(
        "mypackage.ops:swish",
        "--arch",
        "sm_80",
        "--shape",
        "1000,1000",
        "--backward",
        "--arg",
        "beta=2.0",
    )
    assert "# d swish / d beta" in out and "2 launches of 2 kernels" in out
    assert "formula swish_backward_x, mypackage.ops" in out and "registers" in out
    out = run("mypackage.ops:gated", "--device", "cpu", "--shape", "4,5", "5", "--dtype", "float64")
    assert (
        "float64 (4, 5), float64 (5,)" in out
        and ": 1 kernel\n" in out
        and "# d gated / d gate" in out
    )
    assert "float32 (3,)" in run("mypackage.ops:twice", "--device", "cpu", "--shape", "3")
    assert "swish" in run("mypackage.ops:Names.swish", "--device", "cpu")
    for path, words in (
        ("mypackage.none:swish", "No module named 'mypackage.none'"),
        ("mypackage.ops:swishh", "has no attribute 'swishh'"),
        (
            "mypackage.ops:plain",
            "is none of tilegrad.elementwise, fuse, reduction or op; got function",
        ),
    ):
        assert words in run(path, status=2)


def test_cpu() -> None:
    out = run("exp", "--device", "cpu", "--shape", "100", "--asm")
    assert "1 kernel" in out and "def exp(x):" in out and "assembly" in out


@pytest.mark.parametrize(
    "op, shapes, dtype, arguments, message",
    [
        ("expp", [], "float32", [], "no op is called 'expp'; did you mean exp"),
        ("_exp", [], "float32", [], "no op is called '_exp'"),
        ("exp", ["4,x"], "float32", [], "--shape must be sizes such as 1024,1024"),
        ("exp", ["4", "4"], "float32", [], "exp takes 1 tensors here; got 2 shapes"),
        ("exp", ["4"], "float8", [], "no dtype is called 'float8'"),
        ("exp", ["4"], "float32", ["dim"], "--arg must be name=value; got 'dim'"),
        ("exp", ["4"], "float32", ["dim=1"], "exp has no argument 'dim'; it has input"),
        ("clamp_min", ["4"], "float32", [], "clamp_min needs a value of 'min': --arg min=…"),
    ],
)
def test_mistakes(
    op: str, shapes: list[str], dtype: str, arguments: list[str], message: str
) -> None:
    def prepare() -> None:
        given = dict(operands.keyword(text) for text in arguments)
        operands.prepare(op, shapes, dtype, "cpu", given, False)

    with pytest.raises(Failure) as error:
        prepare()
    assert message in str(error.value)


def test_mistakes_are_one_line() -> None:
    assert "no op is called 'expp'" in run("expp", status=2)
    assert "matmul: " in run("matmul", "--shape", "3,4", "5,6", status=2)
    assert "--asm is of --device cpu" in run("exp", "--asm", status=2)
    assert "no result requires a gradient" in run("argmax", "--backward", status=2)


def test_a_missing_compiler() -> None:
    error = run("exp", before="import sys; sys.modules['numba.cuda'] = None; ", status=2)
    assert "install numba-cuda" in error and "tilegrad[cuda]" in error


def test_every_op_finds_its_operands_or_says_what_it_needs() -> None:
    needs = {}
    for name in dir(tilegrad):
        function = getattr(tilegrad, name)
        if not inspect.isfunction(function) or name.startswith("_"):
            continue
        given = inspect.signature(function).parameters.values()
        kinds = [str(p.annotation) for p in given if p.name != "out"]
        if any("Tensor" in kind for kind in kinds):
            try:
                operands.prepare(name, ["4,4"], "float32", "cpu", {}, False)
                needs[name] = ""
            except Failure as failure:
                needs[name] = str(failure)
    asked = {name: text for name, text in needs.items() if text}
    assert all(text.startswith(f"{name} needs a value of") for name, text in asked.items())
    assert len(needs) > 200 and len(asked) < len(needs) / 8
