"""Sizes of functions: how many parameters they take."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("autograd", "cli", "cuda", "data", "engine", "kernels", "nn", "optim")
PARAMETERS = 12

_PYTORCH = "PyTorch's parameters, which its users name"
_RULE = "a formula's scalars; the source writer passes what prepare returns, in its order"
_CUDA = "its kernel's twin on the CPU has a structure"

# more parameters than PARAMETERS, and why
MANY = {
    "data/loader.py:__init__": _PYTORCH,
    "nn/layers/conv.py:__init__": _PYTORCH,
    "optim/lr_scheduler/annealing.py:__init__": _PYTORCH,
    "kernels/updates.py:adam": _RULE,
    "kernels/updates.py:adam_amsgrad": _RULE,
    "kernels/updates.py:radam": _RULE,
    "kernels/updates.py:nadam": _RULE,
    "kernels/cuda/attention/backward.py:attend": _CUDA,
    "kernels/cuda/attention/forward.py:attend": _CUDA,
    "kernels/cuda/conv/depthwise.py:correlate": _CUDA,
    "kernels/cuda/cross_entropy.py:losses_of": _CUDA,
    "kernels/cuda/index/scatter_groups.py:fold": _CUDA,
    "kernels/cuda/index/scatter_groups.py:join": _CUDA,
    "kernels/cuda/norm/__init__.py:grad_row": _CUDA,
    "kernels/cuda/norm/__init__.py:norm_row": _CUDA,
    "kernels/cuda/norm/gradients.py:grad_tile": _CUDA,
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
    assert not {n for n in MANY if not n.startswith("kernels/cuda")} - many, (
        "take these off the list"
    )
