"""Which of PyTorch's public names tilegrad has, module by module."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import torch

import tilegrad
from tests.conformance.ops import Outcome

# what a script of the everyday library imports
MODULES = (
    "", "autograd", "autograd.functional", "functional", "nn", "nn.functional", "nn.init", "nn.parameter",
    "nn.utils", "nn.utils.rnn", "nn.utils.parametrize", "nn.utils.parametrizations", "nn.utils.prune",
    "nn.attention", "nn.modules", "optim", "optim.lr_scheduler", "optim.swa_utils", "utils.data",
    "utils.checkpoint", "special", "linalg", "fft", "signal.windows", "distributions", "random", "testing",
    "Tensor",
)  # fmt: skip

# of the everyday library's neighbours: compilers, quantization, sparse and named tensors, backends
ELSEWHERE = (
    "sym", "Sym", "quantize", "quantized", "sparse", "_", "cudnn", "mkldnn", "miopen", "fbgemm", "mps",
    "xpu", "q_", "qint", "quint", "Dispatch", "Script", "jit", "compile", "export", "vulkan", "ipu", "hip",
    "hpu", "mtia", "maia", "xla", "names", "rename", "refine_names", "align_", "is_named",
)  # fmt: skip


def entries() -> list[str]:
    """The modules, and the class Tensor."""
    return list(MODULES)


def title(module: str) -> str:
    """Its name as under ``torch``."""
    return module or "torch"


def _names(module: str) -> list[str]:
    found: Any = torch.Tensor if module == "Tensor" else torch
    if module and module != "Tensor":
        found = importlib.import_module(f"torch.{module}")
    listed = getattr(found, "__all__", None) if module != "Tensor" else None
    names = sorted(listed or [n for n in dir(found) if not n.startswith("_")])
    return [
        n for n in names
        if not n.startswith(ELSEWHERE) and not inspect.ismodule(getattr(found, n, None)) and hasattr(found, n)
    ]  # fmt: skip


def check(module: str, most: int = 0) -> Outcome:
    """Each public name is there."""
    found = Outcome(title(module))
    try:
        ours: Any = tilegrad
        for part in [p for p in module.split(".") if p]:
            ours = getattr(ours, part)
    except AttributeError:
        ours = None
        found.missing = module
    missing = []
    for name in _names(module):
        found.samples += 1
        if ours is not None and hasattr(ours, name):
            found.passed += 1
        else:
            missing.append(name)
    if missing and ours is not None:
        found.failed.append(f"lacks {', '.join(missing)}")
    return found
