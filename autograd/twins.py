"""In-place twins of methods that have no kernel of their own for it: ``x.eq_(y)``, ``x.t_()``.

``tests/autograd/test_twins.py`` compares the names with PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tilegrad.autograd.base import check_inplace
from tilegrad.autograd.mode import state
from tilegrad.autograd.rules.assign import clone, overwrite

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor

_WRITTEN = (
    "addmm addmv arccos arccosh arcsin arcsinh arctan arctan2 arctanh atan2 baddbmm "
    "bitwise_left_shift bitwise_not bitwise_right_shift clamp_max clamp_min cumprod cumsum deg2rad "
    "eq fix fmod frac ge gt hypot le logical_and logical_not logical_or logical_xor logit lt ne "
    "negative put rad2deg sgn sign square true_divide xlogy"
)
_SHOWN = "as_strided squeeze swapaxes swapdims t transpose unsqueeze"


def _written(name: str, method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The twin that computes ``method`` and writes the result over its tensor."""

    def twin(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_inplace(name, self)
        # a recorded op may keep its operand, which is about to be overwritten
        source = clone(self) if state.grad and self.requires_grad else self
        out = method(source, *args, **kwargs)
        if out.layout.shape != self.layout.shape:
            raise RuntimeError(
                f"{name}: output with shape {list(self.shape)} doesn't match the broadcast shape "
                f"{list(out.shape)}"
            )
        return overwrite(name, self, out)

    return twin


def _shown(name: str, method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The twin that gives its tensor the geometry of the view that ``method`` makes."""

    def twin(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if state.grad and self.requires_grad:
            check_inplace(name, self, True)
        view = method(self, *args, **kwargs)
        if view is self:
            return self
        self.layout, self.address = view.layout, view.address
        self._tracked, self._node, self._index = view._tracked, view._node, view._index
        self.storage.version += 1
        if self._base is None:
            self._epoch += 1  # views of it are views of the new geometry
        return self

    return twin


def add_twins(kind: type[Any]) -> None:
    """Give ``kind`` the twins of its methods."""
    for names, make, doc in (
        (_WRITTEN, _written, "in place"),
        (_SHOWN, _shown, "of this tensor itself"),
    ):
        for base in names.split():
            name = base + "_"
            made: Any = make(name, getattr(kind, base))
            made.__name__, made.__qualname__ = name, f"{kind.__name__}.{name}"
            made.__doc__ = f":meth:`{base}`, {doc}."
            setattr(kind, name, made)
