"""State dicts: a module's parameters and persistent buffers by dotted name."""

from __future__ import annotations

import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn.parameter import Parameter

if TYPE_CHECKING:
    from tilegrad.nn.modules.module import Module


EXTRA = "_extra_state"  # the key of what a module's get_extra_state gives


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What ``load_state_dict`` did not find, and what it did not know."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


IncompatibleKeys = _IncompatibleKeys


def giving_none(hook: Callable[..., Any]) -> Callable[..., None]:
    """``hook``, refused if it gives something."""

    def called(*args: Any) -> None:
        if hook(*args) is not None:
            raise RuntimeError("state_dict post-hook must return None")

    return called


def defines(module: Module, name: str) -> bool:
    """Whether the class of ``module`` has a method ``name`` of its own."""
    from tilegrad.nn.modules.module import Module

    return getattr(type(module), name) is not getattr(Module, name)


def own_entries(module: Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and persistent buffers of ``module`` itself, by name."""
    for name, value in module._parameters.items():
        if value is not None:
            yield name, value
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers_set:
            yield name, buffer


def save(
    module: Module, destination: dict[str, Any] | None, prefix: str, keep_vars: bool
) -> dict[str, Any]:
    """Fill ``destination`` with the state of ``module`` and everything below it."""
    if destination is None:
        destination = OrderedDict()
        destination._metadata = OrderedDict()  # type: ignore[attr-defined]
    metadata = {"version": module._version}
    if hasattr(destination, "_metadata"):
        destination._metadata[prefix[:-1]] = metadata
    for hook in list(module._state_dict_pre_hooks.values()):
        hook(module, prefix, keep_vars)
    module._save_to_state_dict(destination, prefix, keep_vars)
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(
                destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
            )
    for hook in list(module._state_dict_hooks.values()):
        changed = hook(module, destination, prefix, metadata)
        if changed is not None:
            destination = changed
    return destination


def load(module: Module, state: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Copy ``state`` into ``module`` and everything below it.

    Raises:
        TypeError: ``state`` is no mapping.
        RuntimeError: a shape does not fit, or with ``strict`` a key is missing or unknown.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state)}.")
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []
    metadata = getattr(state, "_metadata", None)
    state = OrderedDict(state)
    if metadata is not None:
        state._metadata = metadata  # type: ignore[attr-defined]
    _load_tree(module, state, "", assign, missing, unexpected, errors, metadata)
    if strict:
        for keys, title in ((unexpected, "Unexpected"), (missing, "Missing")):
            if keys:
                names = ", ".join(f'"{k}"' for k in keys)
                errors.insert(0, f"{title} key(s) in state_dict: {names}. ")
    if errors:
        lines = "\n\t".join(errors)
        raise RuntimeError(
            f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{lines}"
        )
    return IncompatibleKeys(missing, unexpected)


def _load_tree(
    module: Module,
    state: dict[str, Any],
    prefix: str,
    assign: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
    versions: Mapping[str, Any] | None,
) -> None:
    metadata = {} if versions is None else dict(versions.get(prefix[:-1], {}))
    if assign:
        metadata["assign_to_params_buffers"] = assign
    for hook in list(module._load_state_dict_pre_hooks.values()):
        hook(module, state, prefix, metadata, True, missing, unexpected, errors)
    module._load_from_state_dict(state, prefix, metadata, True, missing, unexpected, errors)
    for name, child in module._modules.items():
        if child is not None:
            below = f"{prefix}{name}."
            part = {k: v for k, v in state.items() if k.startswith(below)}
            _load_tree(child, part, below, assign, missing, unexpected, errors, versions)
    result = IncompatibleKeys(missing, unexpected)
    for hook in list(module._load_state_dict_post_hooks.values()):
        if hook(module, result) is not None:
            raise RuntimeError(
                "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to "
                "return new values, if incompatible_keys need to be modified, it should be done "
                "inplace."
            )


def load_own(
    module: Module,
    state: dict[str, Any],
    prefix: str,
    assign: bool,
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    """Copy the entries of ``module`` itself, and note what does not fit."""
    own = dict(own_entries(module))
    for name, target in own.items():
        key = prefix + name
        if key not in state:
            missing.append(key)
            continue
        problem = _fill(module, name, target, key, state[key], assign)
        if problem:
            errors.append(problem)
    extra = prefix + EXTRA
    takes = defines(module, "set_extra_state")
    if takes and extra in state:
        module.set_extra_state(state[extra])
    elif takes or (extra not in state and defines(module, "get_extra_state")):
        missing.append(extra)
    for key in state:
        if key.startswith(prefix) and not (takes and key == extra):
            first = key[len(prefix) :].split(".", 1)
            known = first[0] in (module._modules if len(first) > 1 else own)
            if not known and strict:
                unexpected.append(key)


def _fill(
    module: Module, name: str, target: Tensor, key: str, source: Any, assign: bool
) -> str | None:
    """Put ``source`` into the entry ``name``; what is wrong with it, if anything."""
    if not isinstance(source, Tensor):
        return (
            f'While copying the parameter named "{key}", expected Tensor object from checkpoint '
            f"but received {type(source)}"
        )
    if target.ndim == 0 and source.ndim == 1 and source.numel() == 1:
        source = source.reshape(())
    if source.shape != target.shape:
        return (
            f"size mismatch for {key}: copying a param with shape {source.shape} from checkpoint, "
            f"the shape in current model is {target.shape}."
        )
    if target.is_meta and not source.is_meta and not assign:
        warnings.warn(
            f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the "
            f"current model, which is a no-op. (Did you mean to pass `assign=True` to assign items in the "
            f"state dictionary to their corresponding key in the module instead of copying them in place?)",
            stacklevel=2,
        )
    if not assign:
        with no_grad():
            target.copy_(source)
        return None
    if isinstance(target, Parameter) and not isinstance(source, Parameter):
        source = Parameter(source.detach(), requires_grad=target.requires_grad)
    setattr(module, name, source)
    return None
