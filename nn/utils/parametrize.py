"""Parameters that are functions of others: ``module.weight`` is computed from ``original``."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn.modules.container import ModuleDict, ModuleList
from tilegrad.nn.modules.module import Module
from tilegrad.nn.parameter import Parameter

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization",
    "remove_parametrizations", "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]  # fmt: skip

_depth = 0  # of cached() blocks
_cache: dict[tuple[int, str], Any] = {}


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Within the block every parametrized tensor is computed once."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            _cache.clear()


def _register(module: Module, name: str, value: Any) -> None:
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


def _move(original: Tensor, value: Tensor) -> None:
    """Have ``original`` be ``value``, and stay the object that an optimizer knows."""
    if original is not value:
        original.data = value.detach()


def _check(what: str, value: Any, kind: Tensor, changed: str) -> None:
    """Raise ValueError unless ``value`` is a tensor of the shape and dtype of ``kind``."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{what} must return a tensor. Got {type(value).__name__}.")
    if value.dtype is not kind.dtype:
        raise ValueError(
            f"Registering a parametrization may not change the dtype of the tensor, unless "
            f"`unsafe` flag is enabled.\nunparametrized dtype: {kind.dtype}\n{changed} dtype: {value.dtype}"
        )
    if value.shape != kind.shape:
        raise ValueError(
            f"Registering a parametrization may not change the shape of the tensor, unless "
            f"`unsafe` flag is enabled.\nunparametrized shape: {kind.shape}\n{changed} shape: {value.shape}"
        )


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, first to last, and what it is computed from.

    That is ``original``, or ``original0``, ``original1``, … where the first parametrization's
    ``right_inverse`` gives several tensors.

    Args:
        modules: the parametrizations. original: the parameter or buffer as it was.
        unsafe: shape and dtype may change; nothing is checked.
    """

    original: Tensor

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False):
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with contextlib.suppress(NotImplementedError):
                        new = module.right_inverse(new)
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        kind = original.detach()  # as it is now; original may become another
        if isinstance(new, Tensor):
            if new.dtype is not original.dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            _move(original, new)
            _register(self, "original", original)
        else:
            self._register_all(new, original)
        if not unsafe:
            _check("A parametrization", self(), kind, "parametrized")

    def _register_all(self, parts: Sequence[Any], original: Tensor) -> None:
        for place, given in enumerate(parts):
            if not isinstance(given, Tensor):
                raise ValueError(
                    "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                    f"Got element {place} of the sequence with type {type(given).__name__}."
                )
            part = given.detach().requires_grad_(original.requires_grad)
            if isinstance(original, Parameter):
                part = Parameter(part, original.requires_grad)
            _register(self, f"original{place}", part)

    def originals(self) -> list[Tensor]:
        """What the tensor is computed from."""
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{place}") for place in range(self.ntensors)]

    @no_grad()
    def right_inverse(self, value: Tensor) -> None:
        """Have the tensor be ``value``, as far as the parametrizations can.

        Raises:
            RuntimeError: one has no ``right_inverse``. ValueError: it gives what it did not before.
        """
        given: Any = value
        for module in reversed(list(self)):
            if not hasattr(module, "right_inverse"):
                raise RuntimeError(
                    f"parametrization {type(module).__name__} does not implement right_inverse."
                )
            given = module.right_inverse(given)
        parts = [given] if self.is_tensor else given
        if not isinstance(parts, Sequence) or len(parts) != self.ntensors:
            raise ValueError(f"'right_inverse' must return a sequence of {self.ntensors} tensors.")
        for original, part in zip(self.originals(), parts, strict=True):
            if not isinstance(part, Tensor) or part.dtype is not original.dtype:
                raise ValueError(
                    f"The tensor returned by `right_inverse` has dtype "
                    f"{getattr(part, 'dtype', type(part).__name__)} while `original` has dtype "
                    f"{original.dtype}"
                )
            _move(original, part)

    def forward(self) -> Any:
        """The tensor."""
        modules = list(self)
        value = modules[0](*self.originals())
        for module in modules[1:]:
            value = module(value)
        return value


def _prepare_class(module: Module) -> None:
    """Give ``module`` a class of its own, which can have properties."""
    kind = type(module)

    def getstate(self: Any) -> None:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict()."
        )

    def deepcopy(self: Any, memo: dict[int, Any]) -> Any:
        made = memo[id(self)] = self.__new__(type(self))
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        return made

    held: dict[str, Any] = {"__getstate__": getstate}
    if not hasattr(kind, "__deepcopy__"):
        held["__deepcopy__"] = deepcopy
    module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), held)


def _prepare_property(module: Module, name: str) -> None:
    def read(self: Any) -> Any:
        parametrization = self.parametrizations[name]
        if not _depth:
            return parametrization()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = parametrization()
        return _cache[key]

    def write(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(read, write))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Have ``module.<tensor_name>`` be ``parametrization`` of what it was; gives ``module``.

    Args:
        tensor_name: a parameter or buffer, or what is parametrized already: then one more.
        parametrization: ``forward(original)``; with ``right_inverse(value)`` the tensor can be
            assigned to, and where that gives several, they are the parameters.
        unsafe: shape and dtype may change; nothing is checked.

    Raises:
        ValueError: there is no such tensor, or the parametrization changes its shape or dtype.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        held: Any = module.parametrizations[tensor_name]
        if not unsafe:
            now = getattr(module, tensor_name)
            made = parametrization(now)
            _check("A parametrization", made, now, "parametrized")
            if hasattr(parametrization, "right_inverse"):
                with contextlib.suppress(NotImplementedError):
                    back = parametrization.right_inverse(made)
                    _check("parametrization.right_inverse", back, now, "returned")
        held.append(parametrization)
        held.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        made = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _prepare_class(module)
            module.parametrizations = ModuleDict()
        _prepare_property(module, tensor_name)
        module.parametrizations[tensor_name] = made
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether ``module`` has parametrizations, of this tensor if one is named."""
    held = getattr(module, "parametrizations", None)
    if not isinstance(held, ModuleDict):
        return False
    return len(held) > 0 if tensor_name is None else tensor_name in held


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Have ``module.<tensor_name>`` be a tensor of its own again; gives ``module``.

    Args:
        leave_parametrized: with the value it has now; else with that of ``original``.

    Raises:
        ValueError: it is not parametrized, or is to be what several tensors are.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    held: Any = module.parametrizations[tensor_name]
    if held.is_tensor:
        original = held.original
        if leave_parametrized:
            with no_grad():
                _move(original, getattr(module, tensor_name))
    elif leave_parametrized:
        now = getattr(module, tensor_name)
        original = Parameter(now.detach()) if now.requires_grad else now
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of ``module``, whether it is parametrized or not."""
    kind = type(module)
    return kind.__bases__[0] if is_parametrized(module) else kind


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Parametrize ``to_module`` as ``from_module`` is, with the same parameters; gives ``to_module``."""
    if not is_parametrized(from_module):
        return to_module
    names = list(from_module.parametrizations) if tensor_name is None else [tensor_name]
    for name in names:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach().clone()))
        theirs = from_module.parametrizations[name]
        for parametrization in theirs:
            register_parametrization(to_module, name, parametrization)
        ours = to_module.parametrizations[name]
        for word in (
            ["original"] if theirs.is_tensor else [f"original{i}" for i in range(theirs.ntensors)]
        ):
            setattr(ours, word, getattr(theirs, word))
    return to_module
