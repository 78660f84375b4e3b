"""In-place twins of methods that have no kernel of their own for it: ``x.cumsum_(0)``, ``x.t_()``.

``tests/house/registry.py`` compares the names with PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.graph import called
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import check_inplace, retain_again
from tilegrad.autograd.rules.assign import before, overwrite
from tilegrad.autograd.rules.define import named

_WRITTEN = (
    "addmm addmv baddbmm clamp_max clamp_min cumprod cumsum deg2rad fmod logit put rad2deg square "
    "true_divide"
)
_SHOWN = "as_strided squeeze swapaxes swapdims t transpose unsqueeze"


def _written(name: str, method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The twin that computes ``method`` and writes the result over its tensor."""

    def twin(self: Tensor, *args: object, **kwargs: object) -> Tensor:
        source = before(name, self, *args, *kwargs.values())
        return overwrite(name, self, method(source, *args, **kwargs))

    return twin


def _shown(name: str, method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The twin that gives its tensor the geometry of the view that ``method`` makes."""

    def twin(self: Tensor, *args: object, **kwargs: object) -> Tensor:
        if state.grad and self.requires_grad:
            check_inplace(name, self, True)
        view = method(self, *args, **kwargs)
        if view is self:
            return self
        self.layout, self.address = view.layout, view.address
        if view._node is not None and view._tracked and view._node.op[-1] != "_":
            called(view._node.op + "_", view)
        self._tracked, self._node = view._tracked, view._node
        self._index = view._index if view._node is not None or self._base is not None else 0
        self.storage.version += 1
        if self._base is None:
            self._epoch += 1  # views of it are views of the new geometry
        if self._hooks is not None:
            retain_again(self)
        return self

    return twin


def written(kind: type[Tensor], name: str, method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The method ``name`` of ``kind`` that writes the result of ``method`` over its tensor."""
    return _placed(kind, name, _written(name, method), "in place")


def _placed(
    kind: type[Tensor], name: str, made: Callable[..., Tensor], how: str
) -> Callable[..., Tensor]:
    method = named(made, name, f":meth:`{name[:-1]}`, {how}.")
    method.__module__, method.__qualname__ = kind.__module__, f"{kind.__name__}.{name}"
    return method


def add_twins(kind: type[Tensor]) -> None:
    """Give ``kind`` the twins of its methods."""
    for base in _WRITTEN.split():
        setattr(kind, f"{base}_", written(kind, f"{base}_", getattr(kind, base)))
    for base in _SHOWN.split():
        made = _shown(f"{base}_", getattr(kind, base))
        setattr(kind, f"{base}_", _placed(kind, f"{base}_", made, "of this tensor itself"))
