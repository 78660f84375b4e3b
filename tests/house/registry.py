"""What is public and where it is listed, and what is missing from the lists.

:func:`read` takes the lists as they are; :func:`complaints` says what has fallen out of one of them, by
the line to add. PyTorch's names are the measure: what is defined here under a name of PyTorch's has to
be found under that name.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import torch

import tilegrad
from tests.cases import table
from tests.conftest import ROOT
from tests.house import stubs
from tilegrad import paths
from tilegrad.autograd import rules
from tilegrad.engine.ops.elementwise import OPS
from tilegrad.kernels.formulas.formula import Formula

WORD = re.compile(r"\w+")
# functions that share a name with one of torch.nn.functional and are another thing
OTHERS = {"unfold": "the method; PyTorch's function of that name is im2col"}
# rules whose functions are internal, or stand in a namespace that their own tests compare with PyTorch's
APART = (
    "define",
    "elementwise",
    "operands",
    "linalg",
    "decompositions",
    "matrices",
    "spectral",
    "indefinite",
)
# packages whose modules define what the package exports
PACKAGES = ("nn", "nn.functional", "optim", "optim.lr_scheduler", "data")


@dataclass
class Registry:
    """The lists.

    Attributes:
        rows: the rows of the formula tables.
        families: of each module of rules its functions, by name.
        exported: of each module of rules what it lists in ``__all__``.
        packages: of each package what its modules define, and what it lists in ``__all__``.
        methods: names of methods of tensors.
        stubs: of each module of made functions its stub.
        cases: what the names of cases begin with.
        formulas: rows that functions ask for, and where.
    """

    rows: dict[str, Formula]
    families: dict[str, dict[str, Any]]
    exported: dict[str, set[str]]
    packages: dict[str, tuple[dict[str, str], set[str]]]
    methods: set[str]
    stubs: dict[str, str]
    cases: set[str]
    formulas: dict[str, str]


def _sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def _defined(module: ModuleType) -> dict[str, Any]:
    """Public functions and classes that ``module`` defines, results' tuples apart."""
    found = {}
    for name, value in vars(module).items():
        code = value.__code__ if type(value) is FunctionType else None
        made = module.__name__ in stubs.MODULES and type(value) is FunctionType
        files = (module.__file__, f"<tilegrad {name} ")  # a file, or a source made for it
        here = code is not None and code.co_filename.startswith(files)
        if isinstance(value, type):
            here = value.__module__ == module.__name__ and not issubclass(value, tuple)
        if name[0] != "_" and (here or made) and name != "publish":
            found[name] = value
    return found


def _package(name: str) -> tuple[dict[str, str], set[str]]:
    package = importlib.import_module(f"tilegrad.{name}")
    modules = [package]
    for path in getattr(package, "__path__", ()):
        for info in pkgutil.walk_packages([path], f"{package.__name__}."):
            if not info.name.endswith(("functional", "lr_scheduler")):
                modules.append(importlib.import_module(info.name))
    defined = {n: m.__name__ for m in modules for n in _defined(m)}
    return defined, set(package.__all__)


def _asked(tree: ast.Module) -> Iterator[str]:
    """Names of rows that a module asks for: ``OPS["exp"]``, and what a function is called with that
    asks for ``OPS[name]``.
    """
    takes: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [a.arg for a in node.args.args]
            for part in ast.walk(node):
                if isinstance(part, ast.Subscript) and ast.unparse(part.value) == "OPS":
                    if isinstance(part.slice, ast.Name) and part.slice.id in names:
                        takes[node.name] = names.index(part.slice.id)
    for node in ast.walk(tree):
        looked: ast.AST | None = None
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).split(".")[-1] == "OPS":
            looked = node.slice
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in takes:
            looked = node.args[takes[ast.unparse(node.func)]]
        if isinstance(looked, ast.IfExp):
            looked = ast.Tuple([looked.body, looked.orelse])
        for part in ast.walk(looked) if looked is not None else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


def read() -> Registry:
    """The lists as they are."""
    names = [info.name for info in pkgutil.iter_modules(rules.__path__)]
    modules = {n: importlib.import_module(f"{rules.__name__}.{n}") for n in names}
    modules = {n: m for n, m in modules.items() if n not in APART}
    asked: dict[str, str] = {}
    for path in _sources("autograd", "engine", "nn"):
        for name in _asked(ast.parse(path.read_text())):
            asked.setdefault(name, str(path.relative_to(ROOT)))
    return Registry(
        rows={name: op.formula for name, op in OPS.items()},
        families={n: _defined(m) for n, m in modules.items()},
        exported={n: set(getattr(m, "__all__", ())) for n, m in modules.items()},
        packages={name: _package(name) for name in PACKAGES},
        methods={n for n in dir(tilegrad.Tensor) if n[0] != "_"},
        stubs={m: stubs.path(m).read_text() for m in stubs.MODULES},
        cases={case.name.split("-")[0] for case in table()},
        formulas=asked,
    )


def complaints(registry: Registry) -> list[str]:
    """What is missing, each as the place and the line to add."""
    nets = (row_missing, function_missing, method_missing, package_missing)
    return [line for net in nets for line in net(registry)]


def row_missing(registry: Registry) -> Iterator[str]:
    """Rows, their functions, twins and cases."""
    made: set[str] = set()  # and those of them that nn.functional has
    layers: set[str] = set()
    public = {n for names in registry.exported.values() for n in names}
    public |= registry.packages["nn.functional"][1] | registry.methods
    for name, row in registry.rows.items():
        if row.caller:
            if row.caller not in public:
                yield f"no function {row.caller}: define it, or correct Formula({name!r}, caller=…)"
        else:
            twin = [f"{name}_"] if row.writes != "none" else []
            made |= {name, *twin, *row.aliases}
            if "nn.functional" in row.home:
                layers |= {name, *(twin if row.inplace else ())}
            homes = [torch if home == "tilegrad" else torch.nn.functional for home in row.home]
            if not (row.reference or all(hasattr(home, name) for home in homes)):
                yield f'PyTorch has no {name}: Formula("{name}", …, reference=lambda torch, x: …)'
        if not registry.cases & {name, row.caller or name}:
            yield f'tests/cases/elementwise.py: Case("{row.caller or name}", …)'
        if row.tolerance != 1 and not row.reason:
            yield f'Formula("{name}", …, reason="why its tolerance is {row.tolerance}")'
    for name, where in registry.formulas.items():
        if name not in registry.rows:
            yield f'kernels/formulas: Formula("{name}", …), which {where} asks for'
    for module, text in registry.stubs.items():
        declared = set(re.findall(r"^(?:def |    \w+ as )(\w+)[(,]", text, re.M))
        for name in sorted(declared - made):
            yield f'kernels/formulas: Formula("{name}", …), which the stub of {module} declares'
        for name in sorted((made if module == stubs.MADE else layers) - declared):
            yield f"{stubs.path(module).relative_to(ROOT)}: {name}, by {stubs.COMMAND}"


def function_missing(registry: Registry) -> Iterator[str]:
    """Functions of the families that nobody can call."""
    functional = registry.packages["nn.functional"][1]
    words = _words()
    for family, functions in registry.families.items():
        for name in functions:
            listed = name in registry.exported[family] or name in paths.NATIVE
            if hasattr(torch, name) and not listed and not _elsewhere(registry, family, name):
                yield f'autograd/rules/{family}.py: "{name}" in __all__'
            if hasattr(torch.nn.functional, name) and name not in {*functional, *OTHERS}:
                yield f"nn/functional/__init__.py: from tilegrad.autograd.rules.{family} import {name}"
            elif not (listed or name in functional or name in registry.methods):
                own = ROOT / f"autograd/rules/{family}.py"
                if not any(name in found for path, found in words.items() if path != own):
                    yield f'autograd/rules/{family}.py: "{name}" in __all__, or _{name}: none uses it'


@lru_cache(maxsize=1)
def _words() -> dict[Path, set[str]]:
    paths = _sources("autograd", "nn", "optim", "data", "engine", "cli", "cuda")
    return {path: set(WORD.findall(path.read_text())) for path in paths}


def _elsewhere(registry: Registry, family: str, name: str) -> bool:
    return any(name in names for other, names in registry.exported.items() if other != family)


def method_missing(registry: Registry) -> Iterator[str]:
    """Methods and their twins, where PyTorch has them."""
    for family, functions in registry.families.items():
        for name in functions:
            if hasattr(torch.Tensor, name) and name not in registry.methods:
                where = "operators.py" if family in ELEMENTWISE else "families.py"
                yield f"autograd/{where}: {name} = {family}.{name}"
    for name in dir(torch.Tensor):
        if name.endswith("_") and name[0] != "_" and name[:-1] in registry.methods:
            if name not in registry.methods:
                yield f"autograd/operators.py, families.py or twins.py: {name}, the twin of {name[:-1]}"


ELEMENTWISE = ("arithmetic", "assign", "comparison", "pointwise", "unary")
THEIRS: dict[str, Any] = {
    "nn": torch.nn,
    "nn.functional": torch.nn.functional,
    "optim": torch.optim,
    "optim.lr_scheduler": torch.optim.lr_scheduler,
    "data": torch.utils.data,
}


def package_missing(registry: Registry) -> Iterator[str]:
    """What a package's modules define under a name of PyTorch's and the package does not list."""
    for package, (defined, listed) in registry.packages.items():
        for name, module in defined.items():
            if hasattr(THEIRS[package], name) and name not in listed:
                place = f"{package.replace('.', '/')}"
                yield f'{place}: from {module} import {name}, and "{name}" in __all__'
