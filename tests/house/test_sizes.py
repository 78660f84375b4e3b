"""Sizes of functions: their parameters and their lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = (
    "autograd", "bench", "cli", "cuda", "data", "distributions", "engine", "frozen", "kernels", "nn", "onnx", "optim",
)  # fmt: skip
PARAMETERS, LINES = 12, 60

_PYTORCH = "PyTorch's parameters, which its users name"
_RULE = "a formula's scalars; the source writer passes what prepare returns, in its order"

# more parameters than PARAMETERS, and why
MANY = {
    "data/dataloader.py:__init__": _PYTORCH,
    "nn/functional/attention.py:multi_head_attention_forward": _PYTORCH,
    "nn/modules/conv.py:__init__": _PYTORCH,
    "nn/modules/sparse.py:__init__": _PYTORCH,
    "nn/modules/transformer.py:__init__": _PYTORCH,
    "optim/lr_scheduler/annealing.py:__init__": _PYTORCH,
    "optim/lr_scheduler/cyclic.py:__init__": _PYTORCH,
    "kernels/updates.py:adam": _RULE,
    "kernels/updates.py:adam_amsgrad": _RULE,
    "kernels/updates.py:radam": _RULE,
    "kernels/updates.py:nadam": _RULE,
}


_UNROLLED = "a CUDA kernel, whose steps share barriers and registers"
_NEST = "the loop nest of a task, whose branches read the same sums"

# longer than LINES, and why
LONG = {
    "kernels/cpu/ctc.py:backward": _NEST,
    "kernels/cpu/distance.py:_pull": _NEST,
    "kernels/cpu/simd/views.py:view_type": "as checked_type",
    "kernels/cpu/simd/checked.py:checked_type": "numba's registrations of one type, in one closure",
    "kernels/cuda/cross_entropy.py:forward": _UNROLLED,
    "kernels/cuda/ctc.py:backward": _UNROLLED,
    "kernels/cuda/linalg/jacobi.py:singular": _UNROLLED,
    "kernels/cuda/linalg/jacobi.py:singular_values": _UNROLLED,
    "kernels/cuda/linalg/jacobi.py:symmetric": _UNROLLED,
    "kernels/cuda/linalg/panels.py:reflections": _UNROLLED,
    "kernels/cuda/parts/row_scan.py:rows": _UNROLLED,
    "kernels/cuda/reduce.py:columns": _UNROLLED,
    "kernels/cuda/reduce.py:rows": _UNROLLED,
    "kernels/cuda/sort/radix.py:move_entries": _UNROLLED,
    "kernels/cuda/topk/__init__.py:long_rows": _UNROLLED,
}


def _functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in sorted(p for name in PACKAGES for p in Path(ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT).as_posix()}:{node.name}", node


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Those given by position; numba hands its typing context to an intrinsic's emitter, too."""
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    return len(names) - (names[:1] == ["typing"])


def test_more_than_twelve_parameters_have_a_structure() -> None:
    many = {name for name, function in _functions() if _parameters(function) > PARAMETERS}
    assert not many - MANY.keys(), "give them a NamedTuple (kernels/params.py)"
    assert not MANY.keys() - many, "take these off the list"


def test_functions_fit_a_screen() -> None:
    """With the functions defined in them, which are a kernel's body and its steps."""
    long = {n for n, f in _functions() if (f.end_lineno or 0) - f.lineno + 1 > LINES}
    assert not long - LONG.keys(), "give its steps names"
    assert not LONG.keys() - long, "take these off the list"
