"""A user's function with its names given another library's meaning: the same source over PyTorch's tensors,
NumPy's arrays, or over tensors op by op.
"""

from __future__ import annotations

import builtins
import importlib
import math
import types
from collections.abc import Callable
from typing import Any

from tilegrad.autograd.base import TensorBase
from tilegrad.kernels.formulas.user import standard

Function = Callable[..., object]

_ELSEWHERE = {
    "numpy": {
        "asin": "arcsin",
        "acos": "arccos",
        "atan": "arctan",
        "atan2": "arctan2",
        "pow": "power",
    }
}


class PortError(TypeError):
    """A function uses a name that the library lacks."""


def ported(function: Function, library: str) -> Function:
    """``function`` over what ``library`` (``tilegrad``, ``torch``, ``numpy``) computes with.

    Modules and functions of tilegrad and ``math`` become the library's of the same name, as do the standard
    formulas that are called by name, ``min`` and ``max``; functions of the user's are ported in turn, and
    tensors of an enclosing scope are converted.

    Raises:
        PortError: the library has no such name.
    """
    made: Function = _Port(library).function(function)
    return made


class _Port:
    def __init__(self, library: str):
        self.library = library
        self.module: Any = importlib.import_module(library)
        self.done: dict[int, object] = {}

    def function(self, function: Any) -> Any:
        """A copy whose names mean the library's."""
        found = self.done.get(id(function))
        if found is not None:
            return found
        scope: dict[str, object] = {"__builtins__": builtins, "__name__": function.__module__}
        own, names = function.__globals__, standard()
        for name in function.__code__.co_names:
            if name in own:
                scope[name] = self.value(own[name])
            elif name in ("min", "max"):
                scope[name] = self.least if name == "min" else self.largest
            elif name in names and not hasattr(builtins, name):
                scope[name] = self.named(name)
        cells = tuple(
            [types.CellType(self.value(c.cell_contents)) for c in function.__closure__ or ()]
        )
        made = types.FunctionType(
            function.__code__, scope, function.__name__, function.__defaults__, cells
        )
        made.__kwdefaults__ = function.__kwdefaults__
        self.done[id(function)] = made
        return made

    def value(self, value: Any) -> object:
        """What a name of the user's means in the library."""
        if isinstance(value, types.ModuleType):
            return self.of_module(value)
        if isinstance(value, TensorBase):
            return self.tensor(value)
        written = getattr(value, "python", None) or getattr(value, "__wrapped__", None)
        if written is not None and not isinstance(
            value, type
        ):  # an elementwise or a fused function
            return self.function(written)
        if value is builtins.min or value is builtins.max:
            return self.least if value is builtins.min else self.largest
        home = (getattr(value, "__module__", None) or "").split(".")
        if callable(value) and home[0] in ("tilegrad", "math"):
            functional = home[:3] == ["tilegrad", "nn", "functional"]
            return self.named(value.__name__, "nn.functional" if functional else "")
        if isinstance(value, types.FunctionType):
            return self.function(value)
        return value

    def of_module(self, module: types.ModuleType) -> object:
        if module is math:
            return _Names(self, "", math)
        if module.__name__.split(".")[0] != "tilegrad" or self.library == "tilegrad":
            return module
        return _Names(self, module.__name__.partition(".")[2], None)

    def named(self, name: str, folder: str = "") -> object:
        """A function of the library.

        Raises:
            PortError: there is none.
        """
        place = self.module
        for part in folder.split(".") if folder else ():
            place = getattr(place, part, None)
        name = _ELSEWHERE.get(self.library, {}).get(name, name)
        for home in (place, getattr(getattr(self.module, "nn", None), "functional", None)):
            if home is not None and hasattr(home, name):
                return getattr(home, name)
        raise PortError(f"{self.library} has no {name}")

    def tensor(self, value: Any) -> object:
        if self.library == "tilegrad":
            return value
        array = value.detach().cpu().numpy()
        return array if self.library == "numpy" else self.module.from_numpy(array.copy())

    def least(self, first: object, *others: Any) -> object:
        """``min``, element by element."""
        for other in others:
            first = self.module.where(*self.alike(first > other, other, first))
        return first

    def largest(self, first: object, *others: Any) -> object:
        """``max``, element by element."""
        for other in others:
            first = self.module.where(*self.alike(first < other, other, first))
        return first

    def alike(self, test: object, x: object, y: object) -> tuple[Any, Any, Any]:
        if isinstance(test, bool):
            raise PortError(f"{self.library}'s where takes no number as its condition")
        return test, x, y


class _Names:
    """A module of tilegrad, or ``math``, whose names mean the library's."""

    def __init__(self, port: _Port, folder: str, numbers: object):
        self._port, self._folder, self._numbers = port, folder, numbers

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._numbers, name, None)
        if isinstance(value, float):
            return value
        found = self._port.named(name, self._folder)
        return _Names(self._port, f"{self._folder}.{name}".strip("."), None) if (
            isinstance(found, types.ModuleType)
        ) else found  # fmt: skip
