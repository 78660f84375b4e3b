"""``import torch`` served from tilegrad, for scripts that are not to be changed."""

from __future__ import annotations

import difflib
import dis
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any

from tilegrad.paths import MADE, reason

_IMPORT_FROM = dis.opmap["IMPORT_FROM"]


def as_torch() -> None:
    """Have ``import torch``, and imports of its modules, give tilegrad's from now on in this process.

    A name that is not there raises what it would in PyTorch (AttributeError, ImportError), and says
    what stands nearest.

    Raises:
        RuntimeError: PyTorch itself is imported already.
    """
    own = import_module("tilegrad")
    given = sys.modules.get("torch")
    if given is own:
        return
    if given is not None:
        raise RuntimeError("as_torch: PyTorch is imported already; call it before the first import")
    sys.meta_path.insert(0, _Finder())
    for path in ("", "nn", "nn.functional", "nn.init", "nn.utils", "optim", "data", "cuda", *MADE):
        serve(import_module(f"tilegrad.{path}".rstrip(".")))
    import_module("torch")


def nearest(name: str, module: ModuleType) -> str:
    """The end of a message: the names of ``module`` that look like ``name``, if there are any."""
    names = {n.lower(): n for n in dir(module) if n[0] != "_"}
    near = difflib.get_close_matches(name.lower(), list(names), 3, 0.6)
    return f"; nearest: {', '.join(names[n] for n in near)}" if near else ""


def _missing(module: ModuleType, name: str, caller: FrameType) -> Exception:
    """What is raised for a name that ``module``, served as PyTorch's, lacks."""
    if name.startswith("__"):
        return AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
    path = module.__name__.removeprefix("tilegrad").removeprefix(".")
    whole = f"{path}.{name}" if path else name
    why = reason(whole)
    text = f"tilegrad has no torch.{whole}" + (f": {why}" if why else nearest(name, module))
    if caller.f_lasti >= 0 and caller.f_code.co_code[caller.f_lasti] == _IMPORT_FROM:
        # "from torch import name": Python would put words of its own over an AttributeError's
        return ImportError(text, name=module.__name__)
    return AttributeError(text, name=name, obj=module)


def serve(module: ModuleType) -> None:
    """Have ``module`` say what stands near a name that it lacks."""
    kind = type(module)
    if hasattr(kind, "served_as_torch"):
        return
    own = getattr(kind, "__getattr__", None)

    def lookup(self: ModuleType, name: str) -> Any:
        if own is not None:
            try:
                return own(self, name)
            except AttributeError:
                pass
        raise _missing(self, name, sys._getframe(1))

    module.__class__ = type(
        kind.__name__, (kind,), {"__getattr__": lookup, "served_as_torch": True}
    )


class _Loader:
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None  # its place is taken at once

    def exec_module(self, module: ModuleType) -> None:
        found = import_module(_own(module.__name__))
        serve(found)
        sys.modules[module.__name__] = found


def _own(name: str) -> str:
    """The module of tilegrad that is served under PyTorch's ``name``."""
    return f"tilegrad{name.removeprefix('torch')}"


class _Finder:
    """Finds ``torch`` and its modules; asked before all other finders."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "torch" and not name.startswith("torch."):
            return None
        try:
            import_module(_own(name))
        except ModuleNotFoundError as error:
            if error.name != _own(name):
                raise
            parent, _, last = name.rpartition(".")
            why = reason(name.removeprefix("torch."))
            text = f": {why}" if why else nearest(last, import_module(_own(parent)))
            raise ModuleNotFoundError(f"tilegrad has no module {name}{text}", name=name) from None
        spec = ModuleSpec(name, _Loader())  # type: ignore[arg-type]
        spec.submodule_search_locations = []
        return spec
