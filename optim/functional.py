"""Steps as functions of lists, ``optim.adam.adam(params, grads, exp_avgs, …)``, by the updates of the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.dtype import float32
from tilegrad.kernels.function import function_from_source
from tilegrad.optim.optimizer import SCALARS, Group, Optimizer
from tilegrad.optim.options import check_ways

_PAIRS = {  # options of groups that functions take apart
    "betas": ("beta1", "beta2"), "eps": ("eps1", "eps2"), "etas": ("etaminus", "etaplus"),
    "step_sizes": ("step_size_min", "step_size_max"),
}  # fmt: skip


class _OfLists:
    """An optimizer whose state is what a call gives, and no more."""

    state: dict[Tensor, dict[str, Any]]

    def prepare(
        self, p: Tensor, names: tuple[str, ...], scalars: tuple[str, ...], group: Group
    ) -> None:
        """Give ``p`` the state whose place in its list holds None."""
        for name in (*names, *scalars):
            if name not in self.state[p]:
                raise IndexError(
                    f"{type(self).__name__.lower()}: list index out of range; got no list of {name!r}"
                )
        super().prepare(p, names, scalars, group)  # type: ignore[misc]


def functional(
    optimizer: type[Optimizer], signature: str, states: Mapping[str, str], **fixed: Any
) -> Callable[..., None]:
    """The function of ``optimizer``: one step, in place, of parameters, gradients and state in lists.

    Args:
        signature: PyTorch's, whose first two arguments are the parameters and their gradients.
        states: of each list of state, what the optimizer calls it.
        fixed: options that the function does not take.
    """
    name = optimizer.__name__.lower()
    of_lists = type(optimizer.__name__, (_OfLists, optimizer), {"__module__": optimizer.__module__})

    def step(given: dict[str, Any]) -> None:
        _step(of_lists, given, states, fixed)

    source = f"def {name}({signature}):\n    step(locals())\n"
    made = function_from_source(source, name, {"step": step}, optimizer.__module__)
    made.__doc__ = (
        f"One step of :class:`{optimizer.__name__}`, in place, of lists: parameters, gradients, state.\n\n"
        f"Raises:\n    RuntimeError: lists of several lengths, shapes or dtypes; a count that is no tensor.\n"
        f"    IndexError: a list is empty whose state is needed.\n"
    )
    return made


def _step(
    of_lists: type, given: dict[str, Any], states: Mapping[str, str], fixed: dict[str, Any]
) -> None:
    name = of_lists.__name__.lower()
    params, grads = (given.pop(key) for key in list(given)[:2])
    lists = {name: given.pop(key) for key, name in states.items()}
    scale, found_inf = given.pop("grad_scale", None), given.pop("found_inf", None)
    group = {**{k: v for k, v in given.items() if not k.startswith("has_")}, **fixed}
    for pair, ends in _PAIRS.items():
        if ends[0] in group:
            group[pair] = tuple([group.pop(end) for end in ends])
    check_ways(of_lists.__name__, group)
    if {len(params), *map(len, lists.values())} - {0} - {len(grads)}:
        raise RuntimeError(
            f"{name}: lists must have as many elements as there are gradients; got {len(params)} parameters, "
            f"{len(grads)} gradients, and {', '.join(f'{len(v)} of {k}' for k, v in lists.items())}"
        )
    if any(not isinstance(count, TensorBase) for count in lists.get("step", ())):
        raise RuntimeError(
            f"{name}: API has changed, `state_steps` argument must contain a list of singleton tensors"
        )
    if found_inf is not None and found_inf.item():
        return
    one: Any = object.__new__(of_lists)
    one.state = {}
    with no_grad():
        for place, (p, grad) in enumerate(zip(params, grads, strict=True)):
            row = p.detach()  # the same memory, with a gradient of its own
            row._grad = grad if scale is None else grad / scale
            one.state[row] = {k: _kept(k, v[place]) for k, v in lists.items() if v}
        one.update({**group, "params": list(one.state)})
        for place, state in enumerate(one.state.values()):
            for key, values in lists.items():
                if values and values[place] is None:
                    values[place] = state[key]
                elif values and values[place] is not state[key]:
                    values[place].copy_(state[key])


def _kept(name: str, value: Any) -> Any:
    """State as kernels keep it: counts in float32."""
    if name in SCALARS and isinstance(value, TensorBase) and value.layout.dtype is not float32:
        return value.to(float32)
    return value
