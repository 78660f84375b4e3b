"""``import torch`` served from tilegrad, for scripts that are not to be changed."""

from __future__ import annotations

import difflib
import dis
import math
import operator
import re
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any

from tilegrad.paths import MADE, reason

_IMPORT_FROM = dis.opmap["IMPORT_FROM"]

PYTORCH = "2.13.0"  # whose names are served

_VERSION = re.compile(
    r"v?(\d+(?:\.\d+)*)(?:[-_.]?(a|b|rc)[-_.]?(\d*))?(?:[-_.]?dev[-_.]?(\d*))?(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?",
    re.I,
)


def _order(version: str) -> tuple[object, ...] | None:
    """What versions are compared by, or None if this is none: before ``2.1`` stand ``2.1rc1``, ``2.1a`` and
    ``2.1.dev0``; after it ``2.1+cpu``.
    """
    found = _VERSION.fullmatch(version.strip())
    if found is None:
        return None
    release, stage, count, dev, local = found.groups()
    numbers = [int(n) for n in release.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    ranks = {None: "z" if dev is None else "", "a": "a", "b": "b", "rc": "rc"}
    parts = re.split("[-_.]", local) if local else []
    after = [(int(p), "") if p.isdigit() else (-1, p.lower()) for p in parts]
    before = math.inf if dev is None else int(dev or 0)
    return numbers, ranks[stage and stage.lower()], int(count or 0), before, after


class TorchVersion(str):
    """A version that is compared as one, with strings and with tuples: ``torch.__version__ >= (2, 1)``."""

    __slots__ = ()
    __hash__ = str.__hash__

    def _compared(self, other: object, how: Callable[[Any, Any], bool]) -> Any:
        mine, theirs = _order(self), None
        if isinstance(other, Iterable):
            theirs = _order(other if isinstance(other, str) else ".".join(map(str, other)))
        if mine is not None and theirs is not None:
            return how(mine, theirs)
        return how(str(self), other) if isinstance(other, str) else NotImplemented

    def __eq__(self, other: object) -> Any:
        return self._compared(other, operator.eq)

    def __ne__(self, other: object) -> Any:
        return self._compared(other, operator.ne)

    def __lt__(self, other: object) -> Any:
        return self._compared(other, operator.lt)

    def __le__(self, other: object) -> Any:
        return self._compared(other, operator.le)

    def __gt__(self, other: object) -> Any:
        return self._compared(other, operator.gt)

    def __ge__(self, other: object) -> Any:
        return self._compared(other, operator.ge)


def as_torch() -> None:
    """Have ``import torch``, and imports of its modules, give tilegrad's from now on in this process.

    A name that is not there raises what it would in PyTorch (AttributeError, ImportError), and says
    what stands nearest. ``__version__`` becomes that of the PyTorch whose names are served, with tilegrad's
    after a ``+``: libraries ask which names they may use.

    Raises:
        RuntimeError: PyTorch itself is imported already.
    """
    own = import_module("tilegrad")
    given = sys.modules.get("torch")
    if given is own:
        return
    if given is not None:
        raise RuntimeError("as_torch: PyTorch is imported already; call it before the first import")
    own.__version__ = TorchVersion(f"{PYTORCH}+tilegrad.{own._release}")  # type: ignore[attr-defined]
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
