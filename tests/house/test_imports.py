"""Imports: none goes in a circle inside autograd, at the top or inside functions; every delayed import of
the tree is listed with its reason; the layers that import-linter checks are those of the tree.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.conftest import ROOT

HOME = "tilegrad.autograd"
FOLDERS = (
    "autograd", "bench", "cli", "cuda", "data", "distributions", "engine", "frozen", "kernels", "nn", "onnx", "optim",
    "serve",
)  # fmt: skip
Graph = dict[str, set[str]]


def _name(path: str) -> str:
    return ".".join(("tilegrad", *path.removesuffix(".py").removesuffix("/__init__").split("/")))


PATHS = sorted(
    str(p.relative_to(ROOT))
    for f in FOLDERS
    for p in (ROOT / f).rglob("*.py")
    if "bench/gpu" not in str(p)
)  # needs the tests beside it, and is not installed
MODULES = {_name(path): path for path in PATHS}

_COMPILER = "compilers and what works on the source of formulas load with the first kernel made"
_GPU = "what speaks to the GPU loads with the first use of one"
_TOOL = "a tool that looks at kernels or ops, loaded when it is asked for"
_COMMAND = "a command loads what it runs"
_CIRCLE = "each is a part of the other"

# why imports inside the functions of a module are there
DELAYED = {
    "autograd/custom.py": _COMPILER,
    "autograd/custom_reduction.py": _COMPILER,
    "autograd/explaining.py": _TOOL,
    "autograd/fusing.py": _COMPILER,
    "autograd/interop.py": _GPU,
    "autograd/reduction_gradients.py": _COMPILER,
    "autograd/reduction_parts.py": _COMPILER,
    "autograd/rules/creation.py": _GPU,
    "autograd/rules/elementwise.py": _COMPILER,
    "autograd/subject.py": _TOOL,
    "autograd/tensor.py": _GPU,
    "bench/finish.py": "the page and its library load at the end of a run",
    "bench/report.py": "Markdown, or the page",
    "bench/roofline.py": "kernels on paper need an assembler",
    "bench/compiling.py": "what a child process measures",
    "bench/machine.py": "facts that only some commands ask for",
    "bench/sampler.py": "which tilegrad this is, the process says first",
    "cli/arguments.py": _COMMAND,
    "cli/export.py": "what writes ONNX needs its package",
    "cli/info.py": "the version is the package's own",
    "cli/inspect.py": _COMMAND,
    "cli/operands.py": _COMMAND,
    "cli/serve.py": "packages of the server, and of ONNX",
    "cli/warmup.py": _COMMAND,
    "data/dataloader.py": "worker processes and their threads, which most loaders do without",
    "engine/debug.py": _TOOL,
    "engine/device.py": _GPU,
    "engine/dispatch.py": "what stands for kernels on the device meta, which few programs use",
    "engine/inspection.py": _TOOL,
    "engine/linking.py": _COMPILER,
    "engine/memory.py": _CIRCLE,
    "engine/ops/elementwise.py": f"copy, and copies to another device: {_CIRCLE}",
    "engine/transfer.py": _GPU,
    "frozen/__init__.py": "what writes files is not what reads them",
    "frozen/freezing.py": "what writes graphs needs ONNX's package",
    "frozen/loading.py": _CIRCLE,
    "frozen/worker.py": _TOOL,
    "kernels/cpu/run/jit.py": _COMPILER,
    "kernels/cuda/device/checked.py": "checks of user's bodies, in debug mode alone",
    "kernels/cuda/tools/roofline.py": _TOOL,
    "kernels/formulas/written.py": _COMPILER,
    "kernels/monoids.py": _COMPILER,
    "nn/state.py": _CIRCLE,
    "onnx/__init__.py": "what writes files needs ONNX's package, what reads them does not",
}
# the same of imports that type checkers alone see, inside autograd
FOR_TYPES = {
    "autograd/annotations.py": "the public tensor's name, for the modules that it is made of",
    "autograd/functions.py": "modules that later.py loads when a name of theirs is asked for",
    "autograd/subject.py": "a row of a benchmark, which loads with the first",
    "autograd/tensor.py": "a stream, an argument of one method",
}


def _targets(node: ast.AST) -> Iterator[str]:
    """The modules of the tree that an import statement names."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tilegrad":
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole in MODULES else str(node.module)


def _graphs() -> tuple[Graph, Graph, Graph]:
    """(imports at the top of each module, those inside its functions, those for type checkers)"""
    top: Graph = {}
    late: Graph = {}
    typed: Graph = {}
    for name, path in MODULES.items():
        tree = ast.parse((ROOT / path).read_text())
        top[name] = {t for node in tree.body for t in _targets(node)}
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        late[name] = {t for f in functions for node in ast.walk(f) for t in _targets(node)}
        guarded = [
            n for n in tree.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)
        ]
        typed[name] = {t for g in guarded for node in g.body for t in _targets(node)}
    return top, late, typed


def _inside(graph: Graph) -> Graph:
    """What lies in autograd, the folders' own modules apart."""
    here = {m for m, path in MODULES.items() if m.startswith(f"{HOME}.") and "__init__" not in path}
    return {name: targets & here for name, targets in graph.items() if name in here}


def _reached(start: str, graph: Graph) -> set[str]:
    seen: set[str] = set()
    left = [start]
    while left:
        new = graph[left.pop()] - seen
        seen |= new
        left += new
    return seen


def test_no_module_of_autograd_imports_itself_in_a_circle() -> None:
    """Nor by imports inside functions, but for tools that are handed the functions they look at."""
    top, late, _ = (_inside(graph) for graph in _graphs())
    assert len(top) > 40
    both = {name: top[name] | late[name] for name in top}
    assert [name for name in top if name in _reached(name, top)] == []
    tools = _reached(f"{HOME}.subject", both) & {
        m for m in both if f"{HOME}.subject" in _reached(m, both)
    }
    assert [name for name in both if name in _reached(name, both)] == sorted(tools)
    assert all(DELAYED.get(MODULES[name]) == _TOOL for name in late if late[name])


def test_delayed_imports_have_reasons() -> None:
    _, late, typed = _graphs()
    assert {MODULES[name] for name, targets in late.items() if targets} == set(DELAYED)
    assert {
        MODULES[name] for name, targets in typed.items() if targets and name.startswith(HOME)
    } == set(FOR_TYPES)


def test_layers_name_what_exists() -> None:
    """Every module that a contract of setup.cfg names is there, and every family of kernels is in one."""
    layers = set(re.findall(r"tilegrad\.kernels(?:\.\w+)*", (ROOT / "setup.cfg").read_text()))
    packages = {name.rpartition(".")[0] for name in MODULES}
    assert layers - set(MODULES) - packages == set()
    for device in ("cpu", "cuda"):
        room = f"tilegrad.kernels.{device}"
        families = {m for m in {*MODULES, *packages} if m.rpartition(".")[0] == room}
        assert families - layers == set()
