"""Pruning: parameters held at zero by a mask, which a hook applies before each call."""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from tilegrad.autograd.rules.creation import ones_like, zeros_like
from tilegrad.autograd.rules.movement import cat
from tilegrad.autograd.rules.random import rand, rand_like
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn.modules.module import Module

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured",
    "PruningContainer", "RandomStructured", "RandomUnstructured", "custom_from_mask",
    "global_unstructured", "identity", "is_pruned", "l1_unstructured", "ln_structured",
    "random_structured", "random_unstructured", "remove",
]  # fmt: skip


def _check_amount(amount: Any) -> None:
    if not isinstance(amount, numbers.Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    whole = isinstance(amount, numbers.Integral)
    if float(amount) < 0 or (not whole and float(amount) > 1.0):
        raise ValueError(
            f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer"
        )


def _count(amount: Any, size: int) -> int:
    """How many of ``size`` are ``amount``.

    Raises:
        ValueError: more than there are.
    """
    whole = isinstance(amount, numbers.Integral)
    count = int(amount) if whole else round(float(amount) * size)
    if whole and count > size:
        raise ValueError(
            f"amount={amount} should be smaller than the number of parameters to prune={size}"
        )
    return count


class BasePruningMethod(ABC):
    """A way to choose what is pruned; a forward pre-hook of the modules it is applied to.

    Subclasses say in ``PRUNING_TYPE`` of what they choose (``"unstructured"`` elements,
    ``"structured"`` channels along ``dim``, ``"global"``) and define :meth:`compute_mask`.
    """

    PRUNING_TYPE = "global"
    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask for ``t``, of what ``default_mask`` leaves."""

    def apply_mask(self, module: Module) -> Tensor:
        """The pruned tensor of ``module``."""
        mask, original = (getattr(module, f"{self._tensor_name}_{p}") for p in ("mask", "orig"))
        pruned: Tensor = mask.to(original.dtype) * original
        return pruned

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prune ``module.<name>``, further if it is pruned already; gives the hook.

        Args:
            importance_scores: what is compared in place of the tensor, of its shape.
            args, kwargs: of the method.
        """
        hooks = module._forward_pre_hooks
        found = {k: h for k, h in hooks.items() if isinstance(h, BasePruningMethod)}
        old = [k for k, h in found.items() if h._tensor_name == name]
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        if old:
            before: Any = hooks[old[0]]
            both = before if isinstance(before, PruningContainer) else PruningContainer(before)
            both.add_pruning_method(method)
            method = both
        original = getattr(module, name)
        scores = original if importance_scores is None else importance_scores
        if scores.shape != original.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}, "
                f"got {scores.shape} vs {original.shape}"
            )
        if old:
            mask = method.compute_mask(scores, getattr(module, f"{name}_mask").detach().clone())
            del hooks[old[0]]
        else:
            mask = method.compute_mask(scores, ones_like(original.detach()))
            module.register_parameter(f"{name}_orig", original)
            del module._parameters[name]
        module.register_buffer(f"{name}_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Any = None, importance_scores: Any = None) -> Tensor:
        """``t`` times the mask for it; no module is involved."""
        scores = t if importance_scores is None else importance_scores
        if scores.shape != t.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as tensor t, got {scores.shape} vs {t.shape}"
            )
        mask = ones_like(t.detach()) if default_mask is None else default_mask
        return t * self.compute_mask(scores, mask)

    def remove(self, module: Module) -> None:
        """Leave the pruned values as the parameter's own."""
        name = self._tensor_name
        weight = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original: Any = module._parameters.pop(f"{name}_orig")
        original.data = weight.detach()
        del module._buffers[f"{name}_mask"]
        setattr(module, name, original)


class PruningContainer(BasePruningMethod):
    """Methods one after the other, each of what those before it leave."""

    def __init__(self, *args: BasePruningMethod):
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if args:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Add one for the same tensor."""
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method._tensor_name != self._tensor_name:
            raise ValueError(
                f"Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, place: int) -> BasePruningMethod:
        return self._pruning_methods[place]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The last method's mask, among what is left."""
        method: Any = self._pruning_methods[-1]
        place: Any
        if method.PRUNING_TYPE == "unstructured":
            place = default_mask == 1
        elif method.PRUNING_TYPE == "structured":
            dim = method.dim + t.ndim if method.dim < 0 else method.dim
            if dim < 0:
                raise IndexError(f"Index is out of bounds for tensor with dimensions {t.ndim}")
            others = [d for d in range(t.ndim) if d != dim]
            left = default_mask.sum(dim=others) != 0 if others else default_mask != 0
            place = (*[slice(None)] * dim, left)
        elif method.PRUNING_TYPE == "global":
            place = (slice(None),) * t.ndim
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        mask = default_mask.to(t.dtype).clone()
        part = method.compute_mask(t.detach()[place], default_mask[place])
        mask[place] = part.to(mask.dtype)
        return mask


class Identity(BasePruningMethod):
    """Prunes nothing, and makes the names of the pruned."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _Amount(BasePruningMethod):
    def __init__(self, amount: float):
        _check_amount(amount)
        self.amount = amount


class RandomUnstructured(_Amount):
    """Any elements, ``amount`` of them: how many, or as a float which share."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        count = _count(self.amount, t.numel())
        mask = default_mask.clone()
        if count:
            _first(mask, rand_like(t).flatten().topk(count).indices)
        return mask


class L1Unstructured(_Amount):
    """The elements nearest to zero, ``amount`` of them."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        count = _count(self.amount, t.numel())
        mask = default_mask.clone()
        if count:
            _first(mask, t.detach().abs().flatten().topk(count, largest=False).indices)
        return mask


def _first(mask: Tensor, places: Tensor) -> None:
    """Zeros at ``places`` of the flat mask."""
    mask.view(-1)[places] = 0


class _Structured(_Amount):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1):
        super().__init__(amount)
        self.dim = dim

    def _norms(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.ndim <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor "
                f"of shape {t.shape} with {t.ndim} dims"
            )
        if not -t.ndim <= self.dim < t.ndim:
            raise IndexError(f"Invalid index {self.dim} for tensor of size {t.shape}")
        size = t.size(self.dim)
        count = _count(self.amount, size)
        if not count:
            return default_mask
        kept = self._norms(t.detach()).topk(size - count).indices
        channels = zeros_like(t.detach())
        channels[(*[slice(None)] * (self.dim % t.ndim), kept)] = 1
        return channels * default_mask.to(channels.dtype)


class RandomStructured(_Structured):
    """Any channels along ``dim``, ``amount`` of them."""

    def _norms(self, t: Tensor) -> Tensor:
        return rand(t.size(self.dim), device=t.device)


class LnStructured(_Structured):
    """The channels along ``dim`` of the smallest ``n``-norm, ``amount`` of them."""

    def __init__(self, amount: float, n: Any, dim: int = -1):
        super().__init__(amount, dim)
        self.n = n

    def _norms(self, t: Tensor) -> Tensor:
        dim = self.dim % t.ndim
        return t.norm(self.n, dim=[d for d in range(t.ndim) if d != dim])


class CustomFromMask(BasePruningMethod):
    """What ``mask`` is zero at."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor):
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask * self.mask.to(default_mask.dtype)


def identity(module: Module, name: str) -> Module:
    """:class:`Identity` of ``module.<name>``; gives ``module``."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """:class:`RandomUnstructured` of ``module.<name>``; gives ``module``."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: float, importance_scores: Any = None
) -> Module:
    """:class:`L1Unstructured` of ``module.<name>``; gives ``module``."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """:class:`RandomStructured` of ``module.<name>``; gives ``module``."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module, name: str, amount: float, n: Any, dim: int, importance_scores: Any = None
) -> Module:
    """:class:`LnStructured` of ``module.<name>``; gives ``module``."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """:class:`CustomFromMask` of ``module.<name>``; gives ``module``."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: Any = None,
    **kwargs: Any,
) -> None:
    """Prune several tensors, ``(module, name)`` each, as if they were one.

    Args:
        pruning_method: an unstructured one. kwargs: its arguments.
        importance_scores: ``{(module, name): scores}``, for those compared by others.

    Raises:
        TypeError: pairs or scores that are none, or a method that is not unstructured.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    pairs = list(parameters)
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    flat = [scores.get((m, n), getattr(m, n)).detach().flatten() for m, n in pairs]
    masks = [getattr(m, f"{n}_mask", ones_like(getattr(m, n).detach())).flatten() for m, n in pairs]
    container = PruningContainer()
    container._tensor_name = "temp"
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    container.add_pruning_method(method)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            f'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    mask = container.compute_mask(cat(flat), cat(masks))
    begin = 0
    for module, name in pairs:
        held = getattr(module, name)
        custom_from_mask(module, name, mask[begin : begin + held.numel()].view_as(held))
        begin += held.numel()


def remove(module: Module, name: str) -> Module:
    """Leave the pruned values as the parameter's own; gives ``module``.

    Raises:
        ValueError: it is not pruned.
    """
    for key, method in module._forward_pre_hooks.items():
        if isinstance(method, BasePruningMethod) and method._tensor_name == name:
            method.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(
        f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
    )


def is_pruned(module: Module) -> bool:
    """Whether ``module`` or one below it has pruned parameters."""
    return any(
        isinstance(hook, BasePruningMethod)
        for each in module.modules()
        for hook in each._forward_pre_hooks.values()
    )
