"""One optimizer of PyTorch's database: equal trajectories over ten steps."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.testing._internal.common_optimizers import optim_db

from tests.conformance import convert
from tests.conformance.convert import Differs, NotThere, same
from tests.conformance.ops import Outcome

STEPS = 10


def entries() -> list[Any]:
    """The rows of the database; sparse gradients are left out."""
    return [o for o in optim_db if o.optim_cls.__name__ != "SparseAdam"]


def title(info: Any) -> str:
    """The optimizer's name, as under ``torch``."""
    return f"optim.{info.optim_cls.__name__}"


def check(info: Any, most: int = 40) -> Outcome:
    """Ten steps with each set of arguments, over parameters of two groups."""
    found = Outcome(title(info))
    try:
        kind = convert.attribute(found.name)
    except NotThere as missing:
        found.missing = str(missing)
        return found
    for sample in info.optim_inputs_func(device="cpu")[:most]:
        for flags in ({}, {"foreach": True}, {"foreach": False}):
            if flags and "foreach" not in info.supported_impls:
                continue
            found.samples += 1
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    _sample(kind, info.optim_cls, {**sample.kwargs, **flags})
            except (NotThere, Differs) as wrong:
                found.fail(f"{sample.desc}: {wrong}")
            except Exception as error:
                found.fail(f"{sample.desc}: {type(error).__name__}: {str(error)[:160]}")
            else:
                found.passed += 1
    return found


def _closure(optimizer: Any, params: Any, data: Any, target: Any) -> Any:
    def evaluate() -> Any:
        optimizer.zero_grad()
        loss = ((data @ params[0]).tanh() @ params[1] - target).square().mean()
        loss.backward()
        return loss

    return evaluate


def _sample(kind: Any, theirs: Any, kwargs: dict[str, Any]) -> None:
    torch.manual_seed(0)
    # a line search amplifies roundings without bound: in float64, and as long as PyTorch agrees
    # with itself when its start moves by one unit in the last place
    chaotic = theirs is torch.optim.LBFGS
    kwds = {"dtype": torch.float64 if chaotic else torch.float32}
    start = [torch.randn(3, 4, **kwds), torch.randn(4, 2, **kwds)]
    target, data = torch.randn(5, 2, **kwds), torch.randn(5, 3, **kwds)
    right = [p.clone().requires_grad_() for p in start]
    moved = [(p * (1 + torch.finfo(p.dtype).eps)).requires_grad_() for p in start]
    mine = [convert.tensor(p) for p in right]
    optimizer, other = theirs(right, **kwargs), theirs(moved, **kwargs)
    ours = kind(mine, **convert.value(kwargs))
    x, y = convert.tensor(data), convert.tensor(target)
    for step in range(STEPS):
        optimizer.step(_closure(optimizer, right, data, target))
        ours.step(_closure(ours, mine, x, y))
        if chaotic:
            other.step(_closure(other, moved, data, target))
            if max((p - q).abs().max().item() for p, q in zip(right, moved)) > 1e-9:
                assert step > 0
                break
        same(mine, [p.detach() for p in right], f"step {step + 1}")
    have, want = ours.state_dict(), optimizer.state_dict()
    if set(have["param_groups"][0]) != set(want["param_groups"][0]):
        raise Differs(
            f"param_groups: {sorted(have['param_groups'][0])} instead of "
            f"{sorted(want['param_groups'][0])}"
        )
    for number, entry in want["state"].items():
        if set(entry) != set(have["state"].get(number, {})):
            raise Differs(
                f"state: {sorted(have['state'].get(number, {}))} instead of {sorted(entry)}"
            )
