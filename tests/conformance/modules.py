"""One module of PyTorch's database, made and run by both libraries."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.testing._internal.common_modules import module_db

from tests.conformance import convert
from tests.conformance.convert import Differs, NotThere, same
from tests.conformance.ops import Outcome, _equal, _gradients, copied


def entries() -> list[Any]:
    """The rows of the database."""
    return [m for m in module_db if not m.name.startswith(("nn.quantized", "nn.sparse"))]


def title(info: Any) -> str:
    """The module's name, as under ``torch``."""
    return str(info.name)


def check(info: Any, most: int = 40) -> Outcome:
    """Construct with each of the samples' arguments, load PyTorch's state, run, differentiate."""
    found = Outcome(info.name)
    try:
        kind = convert.attribute(info.name)
    except NotThere as missing:
        found.missing = str(missing)
        return found
    for training in (True, False):
        torch.manual_seed(0)
        inputs = info.module_inputs_func(
            info, device="cpu", dtype=torch.float32, requires_grad=True, training=training
        )
        for sample in inputs[:most]:
            found.samples += 1
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    _sample(kind, info.module_cls, sample, training)
            except NotThere as missing:
                found.fail(f"no {missing}")
            except Differs as wrong:
                found.fail(str(wrong))
            except Exception as error:
                found.fail(f"{type(error).__name__}: {str(error)[:160]}")
            else:
                found.passed += 1
    return found


def _sample(kind: Any, theirs: Any, sample: Any, training: bool) -> None:
    made = sample.constructor_input
    right = theirs(*copied(tuple(made.args)), **copied(dict(made.kwargs))).train(training).float()
    mine = (
        kind(*convert.value(tuple(made.args)), **convert.value(dict(made.kwargs)))
        .train(training)
        .float()
    )
    forward = sample.forward_input
    if forward is None:
        return
    args, kwargs = copied(tuple(forward.args)), copied(dict(forward.kwargs))
    our_args, our_kwargs = convert.value(args), convert.value(kwargs)
    if any(torch.nn.parameter.is_lazy(p) for p in [*right.parameters(), *right.buffers()]):
        right(*copied(args), **copied(kwargs))
        mine(*our_args, **our_kwargs)
    state = right.state_dict()
    if list(mine.state_dict()) != list(state):
        raise Differs(f"state_dict: {list(mine.state_dict())} instead of {list(state)}")
    mine.load_state_dict(convert.value(dict(state)))
    if repr(mine) != repr(right):
        raise Differs(f"repr: {mine!r} instead of {right!r}"[:200])
    before = {k: v.clone() for k, v in state.items()}
    want = right(*args, **kwargs)
    after = copied(dict(right.state_dict()))
    right.load_state_dict(before)
    steady = _equal(want, right(*copied(args), **copied(kwargs)))
    got = mine(*our_args, **our_kwargs)
    same(got, want, "forward", steady)
    if not steady:
        return
    same(dict(mine.state_dict()), after, "state after")
    right.load_state_dict(before)
    want = right(*args, **kwargs)
    parameters = (list(mine.parameters()), list(right.parameters()))
    _gradients(got, want, (our_args, our_kwargs, parameters[0]), (args, kwargs, parameters[1]))
