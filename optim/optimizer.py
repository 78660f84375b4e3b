"""The base of all optimizers: parameter groups, state, and one fused step per group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import wraps
from typing import Any

from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import RemovableHandle
from tilegrad.autograd.mode import enable_grad, no_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.array import empty_layout, layout as make_layout
from tilegrad.engine.dtype import float32
from tilegrad.engine.ops import elementwise, optim as ops
from tilegrad.optim.options import check_capturable, check_ways

Group = dict[str, Any]
Hook = Callable[..., Any]


class _RequiredParameter:
    """Stands for a default that a group must give: what older optimizers of programs import."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _RequiredParameter()

SCALARS = {"step", "mu_product", "eta", "mu"}  # state that counts, one number a parameter
_HOOKS = (
    "_step_pre", "_step_post", "_state_dict_pre", "_state_dict_post", "_load_pre", "_load_post",
)  # fmt: skip
_every_pre: list[Hook] = []
_every_post: list[Hook] = []


def register_optimizer_step_pre_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before every step of every optimizer."""
    return RemovableHandle(_every_pre, hook)


def register_optimizer_step_post_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after every step of every optimizer."""
    return RemovableHandle(_every_post, hook)


def _registered(hooks: list[Hook], hook: Hook, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(hooks, hook)
    if prepend:
        hooks.insert(0, hooks.pop())
    return handle


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """``step`` of a class, counted and between its hooks, once where a step calls the base's."""

    @wraps(step)
    def stepped(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if self._stepping:
            return step(self, *args, **kwargs)
        if self._stepping is None:
            result = step(self, *args, **kwargs)
            self.steps += 1
            return result
        self._stepping = True
        try:
            for hook in [*_every_pre, *self._step_pre]:
                given = hook(self, (self, *args), kwargs)
                if given is not None:
                    if not isinstance(given, tuple) or len(given) != 2:
                        raise RuntimeError(
                            f"{step} must return None or a tuple of (new_args, new_kwargs), "
                            f"but got {given}."
                        )
                    (_, *args), kwargs = given
            result = step(self, *args, **kwargs)
            self.steps += 1
            for hook in [*self._step_post, *_every_post]:
                hook(self, (self, *args), kwargs)
            return result
        finally:
            self._stepping = False

    return stepped


class Optimizer:
    """Moves parameters along their gradients.

    Subclasses say in :meth:`rule` which update of :mod:`tilegrad.kernels.updates` a group takes,
    with which hyperparameters; a step is then one kernel launch per group. Or they define
    :meth:`update` for a group, or :meth:`step` as a whole; hooks run either way.

    Args:
        params: tensors, (name, tensor) pairs, or dicts with ``"params"`` and options of their own.
        defaults: the options of groups that do not say otherwise.
    """

    initial: Mapping[str, float] = {}  # first values of state that does not begin at 0
    # of programs' optimizers around another one, which never call __init__ and so have no hooks
    _stepping: bool | None = None
    steps = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.__dict__["step"])  # type: ignore[method-assign]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        if isinstance(params, Tensor):
            raise TypeError(
                f"params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got {type(params).__name__}"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self.steps = 0  # taken so far
        self._begin()
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _begin(self) -> None:
        self._stepping = False
        self._step_pre: list[Hook] = []
        self._step_post: list[Hook] = []
        self._state_dict_pre: list[Hook] = []
        self._state_dict_post: list[Hook] = []
        self._load_pre: list[Hook] = []
        self._load_post: list[Hook] = []

    def rule(self, group: Group) -> tuple[str, tuple[float, ...]]:
        """The update's name and its hyperparameters for this group."""
        raise NotImplementedError(f"{type(self).__name__} must define rule(group)")

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with options of their own.

        Raises:
            TypeError: not a dict, or not tensors.
            ValueError: a parameter appears twice, or is no leaf.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        group = {**self.defaults, **param_group}
        absent = [name for name, value in group.items() if value is required]
        if absent:
            raise ValueError(
                f"parameter group didn't specify a value of required optimization parameter {absent[0]}"
            )
        given = param_group["params"]
        if isinstance(given, (set, frozenset)):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        entries = [given] if isinstance(given, Tensor) else list(given)
        named = [isinstance(e, tuple) for e in entries]
        if any(named):
            if not all(named):
                raise ValueError(
                    "all optimizer params should be with/without names. "
                    "Some param names are missing"
                )
            group["param_names"] = [name for name, _ in entries]
            entries = [tensor for _, tensor in entries]
        if any(("param_names" in group) != ("param_names" in other) for other in self.param_groups):
            how = "with names" if "param_names" in group else "without names"
            raise ValueError(
                "all optimizer param groups should be with/without names. "
                f"cannot add param group {how} to the optimizer"
            )
        self._check(entries)
        check_ways(type(self).__name__, group)
        group["params"] = entries
        param_group.update(group)
        self.param_groups.append(param_group)

    def _check(self, entries: list[Any]) -> None:
        taken = {id(p) for group in self.param_groups for p in group["params"]}
        for tensor in entries:
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is "
                    f"{type(tensor).__name__}"
                )
            if not (tensor.is_leaf or tensor.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
            if id(tensor) in taken:
                raise ValueError("some parameters appear in more than one parameter group")
        if len({id(t) for t in entries}) != len(entries):
            raise ValueError("optimizer contains a parameter group with duplicate parameters")

    # -------------------------------------------------------------------------------------- step

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient; returns what ``closure`` returns.

        Args:
            closure: evaluates the model anew, with gradients, before the step.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                self.update(group)
        return loss

    def update(self, group: Group) -> None:
        """One step for the parameters of ``group`` that have a gradient."""
        rows = [p for p in group["params"] if p._grad is not None]
        if rows:
            self.launch(group, rows)

    def launch(self, group: Group, parameters: list[Tensor]) -> None:
        """One fused step for ``parameters``, which have gradients."""
        if group.get("capturable"):
            check_capturable(group, parameters[0])
        rule, hypers = self.rule(group)
        names, scalars = ops.state_names(rule)
        kept = names + scalars
        rows = []
        for p in parameters:
            row: list[Any] = [p, p._grad]
            if kept:
                state = self.state[p]
                values = [state.get(name) for name in kept]
                if any(value is None for value in values):  # new, or None in a loaded state dict
                    self.prepare(p, names, scalars, group)
                    values = [state[name] for name in kept]
                row += values
            rows.append(row)
        ops.step(rule, rows, hypers)

    def first(self, name: str, group: Group) -> float:
        """What the state ``name`` begins with in this group."""
        return self.initial.get(name, 0.0)

    def prepare(
        self, p: Tensor, names: tuple[str, ...], scalars: tuple[str, ...], group: Group
    ) -> None:
        """Give ``p`` the state that it lacks."""
        state = self.state[p]
        kind = p.layout
        for name in scalars:
            if state.get(name) is None:
                first = self.first(name, group)
                state[name] = tensor_of(elementwise.full((), first, float32, kind.device))
        for name in names:
            if state.get(name) is None:
                first = self.first(name, group)
                state[name] = tensor_of(elementwise.filled(ops.state_layout(kind), first))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None if set_to_none else p.grad.detach().zero_()

    # -------------------------------------------------------------------------------- state dict

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {index: {name: tensor}}, "param_groups": [options with indices]}``."""
        for hook in list(self._state_dict_pre):
            hook(self)
        order: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                order.setdefault(id(p), len(order))
            options = {k: v for k, v in group.items() if k != "params"}
            groups.append({**options, "params": [order[id(p)] for p in group["params"]]})
        state = {
            order[id(p)] if isinstance(p, Tensor) else p: entries
            for p, entries in self.state.items()
        }
        packed = {"state": state, "param_groups": groups}
        for hook in list(self._state_dict_post):
            given = hook(self, packed)
            packed = packed if given is None else given
        return packed

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave: tensors of the right dtype, device and strides themselves, of
        others copies, as PyTorch does; a deep copy of the dictionary keeps the optimizers apart.

        Raises:
            ValueError: the groups differ in number or size.
        """
        state_dict = dict(state_dict)
        for hook in list(self._load_pre):
            given = hook(self, state_dict)
            state_dict = state_dict if given is None else given
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        pairs = list(zip(self.param_groups, saved, strict=True))
        if any(len(own["params"]) != len(given["params"]) for own, given in pairs):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group"
            )
        owners = {
            index: p
            for own, given in pairs
            for p, index in zip(own["params"], given["params"], strict=True)
        }
        self.state = defaultdict(dict)
        for index, entries in state_dict["state"].items():
            p = owners.get(index)
            if p is None:  # of no parameter
                self.state[index] = entries
            else:
                self.state[p] = {name: self._restored(p, name, v) for name, v in entries.items()}
        for group, options in pairs:
            group.update({k: deepcopy(v) for k, v in options.items() if k != "params"})
            check_ways(type(self).__name__, group)
        for hook in list(self._load_post):
            hook(self)

    @classmethod
    def _restored(cls, p: Tensor, name: str, value: Any) -> Any:
        """Saved state in the dtype of ``p``, and its strides if it is shaped like it; counts in float32. Counts of
        optimizers of ours are tensors; a program's own may be numbers.
        """
        home = "tilegrad.optim."
        own = any(c.__module__.startswith(home) for c in cls.__mro__ if c is not Optimizer)
        if own and isinstance(value, (int, float)) and name in SCALARS:
            return tensor_of(elementwise.full((), value, float32, p.device))
        if isinstance(value, dict):
            return {k: cls._restored(p, k, v) for k, v in value.items()}
        if isinstance(value, (list, tuple, set)):
            return type(value)([cls._restored(p, "", v) for v in value])
        if not isinstance(value, Tensor):
            return value
        kind = p.layout
        if own and name in SCALARS:
            made = make_layout((), float32, kind.device)
        else:
            made = make_layout(value.shape, kind.dtype, kind.device)
            made = ops.state_layout(kind) if made.shape == kind.shape else made
        return (
            value
            if value.layout is made
            else tensor_of(elementwise.copy(value, empty_layout(made)))
        )

    # ------------------------------------------------------------------------------------- hooks

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before every step; it may give both anew."""
        return RemovableHandle(self._step_pre, hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after every step."""
        return RemovableHandle(self._step_post, hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` before :meth:`state_dict`."""
        return _registered(self._state_dict_pre, hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after :meth:`state_dict`; it may give another."""
        return _registered(self._state_dict_post, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before a load, of a copy; it may give another."""
        return _registered(self._load_pre, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` after :meth:`load_state_dict`."""
        return _registered(self._load_post, hook, prepend)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: all but the hooks."""
        return {name: value for name, value in self.__dict__.items() if name not in _HOOKS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__.setdefault("steps", 0)
        self._begin()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for index, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {index}")
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        return "\n".join([*lines, ")"])


Optimizer.step = _with_hooks(Optimizer.step)  # type: ignore[method-assign]
