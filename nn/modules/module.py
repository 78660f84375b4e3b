"""The base class of everything with parameters: :class:`Module`, PyTorch's."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from tilegrad.autograd import eager
from tilegrad.autograd.interop import destination
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.creation import empty_like
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.device import device as as_device, gpu
from tilegrad.engine.dtype import float32, float64
from tilegrad.nn import hooks, state
from tilegrad.nn.hooks import (
    HookMethods,
    register_module_backward_hook as register_module_backward_hook,
    register_module_buffer_registration_hook as register_module_buffer_registration_hook,
    register_module_forward_hook as register_module_forward_hook,
    register_module_forward_pre_hook as register_module_forward_pre_hook,
    register_module_full_backward_hook as register_module_full_backward_hook,
    register_module_full_backward_pre_hook as register_module_full_backward_pre_hook,
    register_module_module_registration_hook as register_module_module_registration_hook,
    register_module_parameter_registration_hook as register_module_parameter_registration_hook,
)
from tilegrad.nn.parameter import Buffer, Parameter, moved

M = TypeVar("M", bound="Module")


class Module(HookMethods):
    """A function with state: parameters it learns, buffers it keeps, and modules below it.

    Subclasses call ``super().__init__()`` first, assign parameters, buffers and modules to
    attributes, which registers them, and define ``forward``.
    """

    _version: int = 1  # of what a state dict holds of this class

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]

    def __init__(self) -> None:
        fresh: dict[str, Any] = {
            "training": True,
            "_parameters": {},
            "_buffers": {},
            "_modules": {},
            "_non_persistent_buffers_set": set(),
            "_hooks": hooks.Hooks(),
        }
        self.__dict__.update(fresh)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; subclasses define it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooks.on_call() or hooks.every:
            return hooks.call(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # ------------------------------------------------------------------------------ registration

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under ``name``; None reserves the name.

        Raises:
            KeyError: the name is taken or no identifier. TypeError: not a Parameter.
        """
        self._check_name("parameter", name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                f"(nn.Parameter or None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                f"created explicitly."
            )
        if param is not None:
            param = hooks.registered(hooks.REGISTRATIONS.parameter, self, name, param)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is not learned; with ``persistent``, to the state dict too."""
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                f"(Tensor or None required)"
            )
        self._buffers[name] = hooks.registered(hooks.REGISTRATIONS.buffer, self, name, tensor)
        keep = self._non_persistent_buffers_set
        keep.discard(name) if persistent else keep.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module under ``name``."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name("module", name, self._modules)
        self._modules[name] = hooks.registered(hooks.REGISTRATIONS.module, self, name, module)

    register_module = add_module

    def _check_name(self, kind: str, name: str, taken: dict[str, Any]) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if hasattr(self, name) and name not in taken:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."; got {name!r}')
        if not name:
            raise KeyError(f'{kind} name can\'t be empty string ""')

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            entries = self.__dict__.get(table)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        parameters = own.get("_parameters")
        if parameters is None:
            if isinstance(value, (Parameter, Buffer, Module)):
                kind = "module" if isinstance(value, Module) else type(value).__name__.lower() + "s"
                raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
            object.__setattr__(self, name, value)
        elif isinstance(value, Parameter):
            self._forget(name, keep="_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name, keep="_modules")
            found = hooks.REGISTRATIONS.module
            own["_modules"][name] = hooks.registered(found, self, name, value) if found else value
        elif name in parameters:
            self._refuse(name, value, "parameter", "nn.Parameter")
            parameters[name] = value
        elif name in own["_modules"]:
            self._refuse(name, value, "child module", "nn.Module")
            own["_modules"][name] = value
        elif isinstance(value, Buffer):
            self.register_buffer(name, value, value.persistent)
        elif name in own["_buffers"]:
            if not isinstance(value, Tensor):
                self._refuse(name, value, "buffer", "nn.Buffer, Tensor")
            own["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)

    @staticmethod
    def _refuse(name: str, value: Any, kind: str, expected: str) -> None:
        if value is not None:
            raise TypeError(
                f"cannot assign '{type(value).__name__}' as {kind} '{name}' "
                f"({expected} or None expected)"
            )

    def _forget(self, name: str, keep: str) -> None:
        """Make ``name`` free for an entry in the table ``keep``."""
        own = self.__dict__
        own.pop(name, None)
        for table in ("_parameters", "_buffers", "_modules"):
            if table != keep:
                own[table].pop(name, None)
        if keep != "_buffers":
            own["_non_persistent_buffers_set"].discard(name)

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*super().__dir__(), *self._parameters, *self._buffers, *self._modules}
        return sorted(n for n in names if not n[:1].isdigit())

    # --------------------------------------------------------------------------------- iteration

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """The module itself and all below it, with dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                below = f"{prefix}.{name}" if prefix else name
                yield from child.named_modules(memo, below, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """The module itself and all below it."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below, with names, each once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules right below."""
        for _, module in self.named_children():
            yield module

    def _named(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        owners = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        seen: set[int] = set()
        for path, module in owners:
            for name, value in getattr(module, table).items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with dotted names."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        for _, value in self.named_parameters(recurse=recurse):
            yield value

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with dotted names."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        for _, value in self.named_buffers(recurse=recurse):
            yield value

    def get_submodule(self, target: str) -> Module:
        """The module at the dotted path ``target``; this one for an empty path.

        Raises:
            AttributeError: there is none.
        """
        module: Any = self
        for item in target.split(".") if target else ():
            if not hasattr(module, item):
                raise AttributeError(f"{type(module).__name__} has no attribute `{item}`")
            module = getattr(module, item)
            if not isinstance(module, Module):
                raise AttributeError(f"`{item}` is not an nn.Module")
        return module  # type: ignore[no-any-return]

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put ``module`` at the dotted path ``target``; with ``strict`` only where there is one.

        Raises:
            ValueError: an empty path. AttributeError: no module on the way, or with ``strict`` at its end.
        """
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if strict and not hasattr(owner, name):
            raise AttributeError(f"{type(owner).__name__} has no attribute `{name}`")
        if hasattr(owner, name) and not isinstance(getattr(owner, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        owner._modules[name] = module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at the dotted path ``target``."""
        return self._get(target, Parameter, "nn.Parameter")  # type: ignore[no-any-return]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at the dotted path ``target``."""
        return self._get(target, Tensor, "a buffer")  # type: ignore[no-any-return]

    def _get(self, target: str, kind: Any, what: str) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if not hasattr(owner, name):
            raise AttributeError(f"{type(owner).__name__} has no attribute `{name}`")
        value = getattr(owner, name)
        if not isinstance(value, kind) or (kind is Tensor and name not in owner._buffers):
            raise AttributeError(f"`{name}` is not {what}")
        return value

    # ------------------------------------------------------------------------------ all at once

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call ``fn`` on every module below and then on this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self: M, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> M:
        """Replace the data of every parameter, gradient and buffer by ``fn`` of it."""
        for child in self.children() if recurse else ():
            child._apply(fn)
        with no_grad():
            for value in self._parameters.values():
                if value is not None:
                    value.data = fn(value.detach())
                    if value.grad is not None:
                        value.grad = fn(value.grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """``to(device)``, ``to(dtype)``, ``to(device, dtype)`` or ``to(tensor)``, in place.

        Only floating-point parameters and buffers change their dtype. ``non_blocking``: see
        :meth:`Tensor.to`.

        Raises:
            TypeError: the dtype is not floating point.
        """
        kind, where, queued, _, wanted = destination("to", args, kwargs)
        if kind is not None and not kind.is_floating_point:
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={kind}"
            )
        return self._apply(lambda t: moved(t, where, kind, queued, wanted))

    def to_empty(self: M, *, device: Any, recurse: bool = True) -> M:
        """All parameters and buffers on ``device``, contents undefined, in place."""
        where = as_device(device)
        return self._apply(lambda t: empty_like(t, device=where), recurse)

    def type(self: M, dst_type: Any) -> M:
        """All parameters and buffers as a dtype, or a type like ``FloatTensor``."""
        return self._apply(lambda t: t.type(dst_type))  # type: ignore[arg-type, return-value]

    def float(self: M) -> M:
        """All floating-point parameters and buffers in float32."""
        return self.to(dtype=float32)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Of no effect; see :func:`tilegrad.compile`, whose arguments these are."""
        eager.compile(self, *args, **kwargs)

    def double(self: M) -> M:
        """All floating-point parameters and buffers in float64."""
        return self.to(dtype=float64)

    def cpu(self: M) -> M:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self: M, device: Any = None) -> M:
        """On an NVIDIA GPU."""
        return self.to(gpu(device))

    def train(self: M, mode: bool = True) -> M:
        """Training mode for this module and all below: dropout drops, batch norm measures."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self: M) -> M:
        """Evaluation mode for this module and all below."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Ask for gradients of all parameters, or stop asking."""
        for value in self.parameters():
            value.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for value in self.parameters():
            if value.grad is not None:
                value.grad = None if set_to_none else value.grad.detach().zero_()

    # -------------------------------------------------------------------------------- state dict

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """All parameters and persistent buffers by dotted name, sharing their memory; its ``_metadata`` has the
        versions of the modules' classes.
        """
        if args:
            warnings.warn(
                "Positional args are being deprecated, use kwargs instead. Refer to "
                "https://pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module.state_dict "
                "for details.",
                FutureWarning,
                stacklevel=2,
            )
            given: list[Any] = [*args, destination, prefix, keep_vars][:3]
            given[len(args) :] = [destination, prefix, keep_vars][len(args) :]
            destination, prefix, keep_vars = given
        return state.save(self, destination, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copy values in by name; with ``assign`` take the tensors themselves.

        Raises:
            RuntimeError: a shape does not fit, or with ``strict`` a key is missing or unknown.
        """
        return state.load(self, state_dict, strict, assign)

    def get_extra_state(self) -> Any:
        """What ``state_dict()`` has of this module beside tensors, if a subclass defines it."""
        raise RuntimeError("get_extra_state: a module that has extra state must define this method")

    def set_extra_state(self, state: Any) -> None:
        """Take back what ``get_extra_state`` gave."""
        raise RuntimeError("set_extra_state: a module that has extra state must define this method")

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, value in state.own_entries(self):
            destination[prefix + name] = value if keep_vars else value.detach()
        if state.defines(self, "get_extra_state"):
            destination[prefix + state.EXTRA] = self.get_extra_state()

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        assign = bool(local_metadata.get("assign_to_params_buffers", False))
        found = (missing_keys, unexpected_keys, error_msgs)
        state.load_own(self, state_dict, prefix, assign, strict, *found)

    # ------------------------------------------------------------------------------------ printing

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What ``repr`` says between the parentheses; subclasses define it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        own = extra.split("\n") if extra else []
        below = [f"({name}): {_indented(repr(m))}" for name, m in self._modules.items()]
        if not below and len(own) <= 1:
            return f"{self._get_name()}({extra})"
        lines = "\n  ".join(itertools.chain(own, below))
        return f"{self._get_name()}(\n  {lines}\n)"


def _indented(text: str) -> str:
    """``text`` with all lines but the first moved right."""
    return text.replace("\n", "\n  ")
