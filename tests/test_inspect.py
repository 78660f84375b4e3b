"""`tilegrad inspect`, in processes of its own: it turns the device of its process into paper."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tilegrad
from tilegrad.cli import operands
from tilegrad.cli.failure import Failure

ROOT = Path(__file__).resolve().parent.parent
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
    assert out.count("registers") == out.count("occupancy") == 2
    assert "def softmax_line(" in out and "def slope_line(" in out


def test_operands_that_a_signature_does_not_tell() -> None:
    out = run("conv2d", "--arch", "sm_75")
    assert "float32 (32, 64, 56, 56), float32 (64, 64, 3, 3)" in out
    out = run("cross_entropy", "--shape", "64,10", "64:int64", "--arg", "reduction=sum")
    assert "int64 (64,)" in out


def test_cpu() -> None:
    out = run("exp", "--device", "cpu", "--shape", "100", "--asm")
    assert "1 kernel" in out and "def exp(x):" in out and "assembly" in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("expp",), "no op is called 'expp'; did you mean exp"),
        (("exp", "--shape", "4,x"), "--shape must be sizes such as 1024,1024"),
        (("exp", "--shape", "4", "4"), "exp takes 1 tensors here; got 2 shapes"),
        (("exp", "--dtype", "float8"), "no dtype is called 'float8'"),
        (("exp", "--arg", "dim"), "--arg must be name=value; got 'dim'"),
        (("exp", "--arg", "dim=1"), "exp has no argument 'dim'; it has input"),
        (("clamp_min",), "clamp_min needs a value of 'min': --arg min=…"),
        (("matmul", "--shape", "3,4", "5,6"), "matmul: "),
        (("exp", "--asm"), "--asm is of --device cpu"),
        (("exp", "--device", "cpu", "--sass"), "--ptx and --sass are of --device cuda"),
        (("argmax", "--backward"), "--backward: no result requires a gradient"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes(arguments: tuple[str, ...], message: str) -> None:
    assert message in run(*arguments, status=2)


def test_a_missing_compiler() -> None:
    error = run("exp", before="import sys; sys.modules['numba.cuda'] = None; ", status=2)
    assert "install numba-cuda" in error and "tilegrad[cuda]" in error


def test_every_op_finds_its_operands_or_says_what_it_needs() -> None:
    found = 0
    for name, function in vars(tilegrad).items():
        if not inspect.isfunction(function) or name.startswith("_"):
            continue
        if not any("Tensor" in str(p.annotation) for p in inspect.signature(function).parameters.values()):
            continue
        try:
            operands.prepare(name, ["4,4"], "float32", "cpu", {}, False)
            found += 1
        except Failure as failure:
            assert f"{name} needs a value of" in str(failure)
    assert found > 150
