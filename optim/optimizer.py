"""The base of all optimizers: parameter groups, state, and one fused step per group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import RemovableHandle
from tilegrad.autograd.mode import enable_grad, no_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.array import empty_layout, layout as make_layout
from tilegrad.engine.dtype import float32
from tilegrad.engine.ops import elementwise, optim as ops

Group = dict[str, Any]


class Optimizer:
    """Moves parameters along their gradients.

    Subclasses say in :meth:`rule` which update of :mod:`tilegrad.kernels.updates` a group takes,
    with which hyperparameters; a step is then one kernel launch per group.

    Args:
        params: tensors, (name, tensor) pairs, or dicts with ``"params"`` and options of their own.
        defaults: the options of groups that do not say otherwise.
    """

    initial: Mapping[str, float] = {}  # first values of state that does not begin at 0

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
        self._pre_hooks: list[Callable[..., Any]] = []
        self._post_hooks: list[Callable[..., Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

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
        given = param_group["params"]
        if isinstance(given, (set, frozenset)):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        entries = [given] if isinstance(given, Tensor) else list(given)
        if entries and all(isinstance(e, tuple) for e in entries):
            group["param_names"] = [name for name, _ in entries]
            entries = [tensor for _, tensor in entries]
        self._check(entries)
        group["params"] = entries
        self.param_groups.append(group)

    def _check(self, entries: list[Any]) -> None:
        taken = {id(p) for group in self.param_groups for p in group["params"]}
        for tensor in entries:
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is "
                    f"{type(tensor).__name__}"
                )
            if not tensor.is_leaf:
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
        for hook in list(self._pre_hooks):
            hook(self, (closure,), {})
        self.steps += 1
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                self.update(group)
        for hook in list(self._post_hooks):
            hook(self, (closure,), {})
        return loss

    def update(self, group: Group) -> None:
        """One step for the parameters of ``group`` that have a gradient."""
        rows = [p for p in group["params"] if p._grad is not None]
        if rows:
            self.launch(group, rows)

    def launch(self, group: Group, parameters: list[Tensor]) -> None:
        """One fused step for ``parameters``, which have gradients."""
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
                    self.prepare(p, names, scalars)
                    values = [state[name] for name in kept]
                row += values
            rows.append(row)
        ops.step(rule, rows, hypers)

    def prepare(self, p: Tensor, names: tuple[str, ...], scalars: tuple[str, ...]) -> None:
        """Give ``p`` the state that it lacks."""
        state = self.state[p]
        kind = p.layout
        for name in scalars:
            if state.get(name) is None:
                first = self.initial.get(name, 0.0)
                state[name] = tensor_of(elementwise.full((), first, float32, kind.device))
        for name in names:
            if state.get(name) is None:
                array = empty_layout(ops.state_layout(kind))
                state[name] = tensor_of(elementwise.fill(array, self.initial.get(name, 0.0)))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = None if set_to_none else p.grad.detach().zero_()

    # -------------------------------------------------------------------------------- state dict

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {index: {name: tensor}}, "param_groups": [options with indices]}``."""
        order: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                order.setdefault(id(p), len(order))
            packed = {k: v for k, v in group.items() if k != "params"}
            groups.append({**packed, "params": [order[id(p)] for p in group["params"]]})
        state = {order[id(p)]: dict(entries) for p, entries in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of what :meth:`state_dict` gave.

        Raises:
            ValueError: the groups differ in number or size.
        """
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
            p = owners[index]
            self.state[p] = {name: self._restored(p, name, v) for name, v in entries.items()}
        for group, given in pairs:
            group.update({k: deepcopy(v) for k, v in given.items() if k != "params"})

    @staticmethod
    def _restored(p: Tensor, name: str, value: Any) -> Any:
        """A copy of saved state: as wide as ``p``, if it is shaped like ``p``, else float32."""
        if isinstance(value, (int, float)) and name in ("step", "mu_product"):
            return tensor_of(elementwise.full((), value, float32, p.device))
        if not isinstance(value, Tensor):
            return deepcopy(value)
        kind = p.layout
        if name in ("step", "mu_product"):
            made = make_layout((), float32, kind.device)
        else:
            made = make_layout(value.shape, kind.dtype, kind.device)
            made = ops.state_layout(kind) if made.shape == kind.shape else made
        return tensor_of(elementwise.copy(value, empty_layout(made)))

    # ------------------------------------------------------------------------------------- hooks

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before every step."""
        return RemovableHandle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after every step."""
        return RemovableHandle(self._post_hooks, hook)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: all but the hooks."""
        hooks = ("_pre_hooks", "_post_hooks")
        return {name: value for name, value in self.__dict__.items() if name not in hooks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pre_hooks, self._post_hooks = [], []

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for index, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {index}")
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        return "\n".join([*lines, ")"])


def at_least_zero(what: str, value: float) -> None:
    """Raise ValueError, in PyTorch's words, for a negative option."""
    if isinstance(value, str):
        raise TypeError(f"{what}: must be a number; got {value!r}")
    if not 0.0 <= float(value):
        raise ValueError(f"Invalid {what}: {value}")


def check_ways(foreach: bool | None, fused: bool | None) -> None:
    """Refuse two ways of a step at once, RuntimeError; one alone changes nothing here."""
    if foreach and fused:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def check_options(options: dict[str, Any]) -> None:
    """Raise ValueError for options out of their range."""
    at_least_zero("learning rate", options["lr"])
    if "eps" in options:
        at_least_zero("epsilon value", options["eps"])
    if "betas" in options:
        options["betas"][1]  # IndexError and TypeError as PyTorch's
    for index, beta in enumerate(options.get("betas", ())):
        if isinstance(beta, str):
            raise TypeError(f"betas: must be numbers; got {beta!r}")
        if not 0.0 <= float(beta) < 1.0:
            raise ValueError(f"Invalid beta parameter at index {index}: {beta}")
    for name in ("momentum", "weight_decay", "alpha", "lr_decay", "momentum_decay"):
        at_least_zero(f"{name} value", options.get(name, 0.0))
