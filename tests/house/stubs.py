"""Stubs of the modules whose functions are made from the rows of the formula tables.

``python -m tests.house.stubs`` (``PYTHONPATH=.dev``) writes them; ``tests/house/test_registry.py`` compares them.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import FunctionType

import tilegrad.nn.functional  # noqa: F401 - which gives functions of the rows their out=
from tests.conftest import ROOT

MADE = "tilegrad.autograd.rules.pointwise"
FUNCTIONAL = "tilegrad.nn.functional.pointwise"
MODULES = (MADE, FUNCTIONAL)

WIDTH = 100  # of a line
COMMAND = "python -m tests.house.stubs"
WRITTEN = (
    '"""Written by ``python -m tests.house.stubs``, of functions that rows of formulas make."""\n'
)
HEAD = f"""{WRITTEN}
from tilegrad.autograd.rules.operands import Scalar
from tilegrad.autograd.tensor import Tensor

"""


def path(module: str) -> Path:
    """Where the stub of ``module`` is."""
    return ROOT.joinpath(*module.split(".")[1:]).with_suffix(".pyi")


def _parameter(parameter: inspect.Parameter) -> str:
    text = f"{parameter.name}: {parameter.annotation}"
    return text if parameter.default is parameter.empty else f"{text} = {parameter.default!r}"


def _definition(name: str, function: FunctionType) -> str:
    given = inspect.signature(function)
    parameters = ", ".join(map(_parameter, given.parameters.values()))
    summary = (function.__doc__ or "").splitlines()[0]
    if function.__name__ != name:
        summary = f"Another name of :func:`{function.__name__}`."
    head = f"def {name}({parameters}) -> {given.return_annotation}:"
    if len(head) > WIDTH:
        head = f"def {name}(\n    {parameters}\n) -> {given.return_annotation}:"
    return f'{head}\n    """{summary}"""\n'


def text(module: str) -> str:
    """The stub of ``module``, in ruff's format."""
    scope = importlib.import_module(module)
    if module == FUNCTIONAL:
        names = "\n".join(f"    {name} as {name}," for name in sorted(scope.__all__))
        return f"{WRITTEN}\nfrom {MADE} import (\n{names}\n)\n"
    made = sorted(
        n
        for n, f in vars(scope).items()
        if type(f) is FunctionType and n[0] != "_" and n != "publish"
    )
    names = "\n".join(f'    "{name}",' for name in sorted(scope.__all__))
    definitions = "\n".join(_definition(name, vars(scope)[name]) for name in made)
    return f"{HEAD}__all__ = [\n{names}\n]\n\n{definitions}"


if __name__ == "__main__":
    for each in MODULES:
        path(each).write_text(text(each))
