"""Hooks of modules, own and of every module, and state dicts with versions, in step with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import tilegrad

BOTH = (tilegrad, torch)


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value.tolist() if hasattr(value, "detach") else value


def _module(t: Any) -> Any:
    class Scale(t.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.w = t.nn.Parameter(t.tensor([2.0]))
            self.register_buffer("b", t.ones(1))

        def forward(self, x: Any, k: int = 1) -> Any:
            return x * self.w * k

    return Scale()


def _run(t: Any, m: Any) -> Any:
    x = t.ones(1, requires_grad=True)
    m(x, k=3).backward()
    return _plain(x.grad)


def _own(t: Any, log: list[Any]) -> Any:
    m = _module(t)
    m.register_forward_pre_hook(lambda m, a: log.append("pre"))
    m.register_forward_pre_hook(
        lambda m, a, k: log.append(sorted(k)), prepend=True, with_kwargs=True
    )
    m.register_forward_hook(lambda m, a, o: log.append("post"))
    m.register_forward_hook(
        lambda m, a, k, o: log.append(_plain(o)), prepend=True, with_kwargs=True
    )
    m.register_full_backward_pre_hook(lambda m, g: log.append(_plain(g)))
    m.register_full_backward_hook(lambda m, gi, go: log.append((_plain(gi), _plain(go))))
    m.register_full_backward_hook(lambda m, gi, go: log.append("first"), prepend=True)
    return _run(t, m)


def _every(t: Any, log: list[Any]) -> Any:
    home = t.nn.modules.module
    handles = [
        home.register_module_forward_pre_hook(lambda m, a: log.append("pre")),
        home.register_module_forward_hook(
            lambda m, a, k, o: log.append(sorted(k)), with_kwargs=True
        ),
        home.register_module_full_backward_hook(lambda m, gi, go: log.append(_plain(gi))),
        home.register_module_full_backward_pre_hook(lambda m, go: (go[0] * 2,)),
    ]
    m = _module(t)
    m.register_forward_hook(lambda m, a, o: log.append("own"))
    m.register_full_backward_hook(lambda m, gi, go: log.append("own back"))
    found = _run(t, m)
    for handle in handles:
        handle.remove()
        handle.remove()
    m(t.ones(1))
    return found


def _always(t: Any, log: list[Any]) -> Any:
    m = _module(t)
    hook = t.nn.modules.module.register_module_forward_hook(
        lambda m, a, o: log.append(("every", o)), always_call=True
    )
    m.register_forward_hook(lambda m, a, o: log.append(("own", o)), always_call=True)
    m.register_forward_hook(lambda m, a, o: log.append("not"))
    with pytest.raises(TypeError):
        m("x", [])
    hook.remove()


def _older(t: Any, log: list[Any]) -> Any:
    m = _module(t)
    m.register_backward_hook(lambda m, gi, go: log.append(_plain(go)))
    found = _run(t, m)
    with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full"):
        m.register_full_backward_hook(lambda *given: None)
    other = _module(t)
    other.register_full_backward_hook(lambda *given: None)
    with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full"):
        other.register_backward_hook(lambda *given: None)
    return found


def _registrations(t: Any, log: list[Any]) -> Any:
    home = t.nn.modules.module
    handles = [
        home.register_module_module_registration_hook(lambda m, n, s: log.append(("module", n))),
        home.register_module_parameter_registration_hook(
            lambda m, n, p: log.append(("parameter", n))
        ),
        home.register_module_buffer_registration_hook(
            lambda m, n, b: b * 3 if b is not None else None
        ),
    ]
    made = t.nn.Sequential(_module(t), t.nn.Linear(1, 1, bias=False))
    for handle in handles:
        handle.remove()
    t.nn.Linear(1, 1)
    return _plain(made[0].b)


def _states(t: Any, log: list[Any]) -> Any:
    m = t.nn.Sequential(_module(t))
    m[0].register_state_dict_pre_hook(lambda m, p, k: log.append(("pre", p, k)))
    m[0].register_state_dict_post_hook(lambda m, s, p, d: log.append((sorted(s), p, dict(d))))
    m[0]._register_state_dict_hook(lambda m, s, p, d: s.update(more=1))
    state = m.state_dict()
    log.append((list(state), {k: dict(v) for k, v in state._metadata.items()}))
    del state["more"]
    m.register_load_state_dict_pre_hook(
        lambda m, s, p, d, *rest: log.append((sorted(s), p, rest[0], dict(d)))
    )
    m[0]._register_load_state_dict_pre_hook(lambda s, p, d, *rest: log.append(p))
    m.register_load_state_dict_post_hook(lambda m, keys: log.append(list(keys.missing_keys)))
    m.load_state_dict(state)
    m[0].register_state_dict_post_hook(lambda m, s, p, d: s)
    with pytest.raises(RuntimeError, match="must return None"):
        m.state_dict()


def _versions(t: Any, log: list[Any]) -> Any:
    m = t.nn.BatchNorm1d(2)
    state = m.state_dict()
    del state["num_batches_tracked"]
    log.append(str(m.load_state_dict(state, strict=False)))
    state._metadata[""] = {"version": 1}
    log.append(str(m.load_state_dict(state)))
    log.append(str(m.load_state_dict(dict(state))))  # of no version


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "case",
    [_own, _every, _always, _older, _registrations, _states, _versions],
    ids=lambda f: f.__name__,
)
def test_as_pytorch(case: Callable[..., Any]) -> None:
    found = []
    for t in BOTH:
        log: list[Any] = []
        found.append((case(t, log), log))
    assert found[0] == found[1]


def test_state_dicts_by_place_and_submodules() -> None:
    for t in BOTH:
        m, given = _module(t), {}
        with pytest.warns(FutureWarning, match="Positional args are being deprecated"):
            m.state_dict(given, "a.")
        assert sorted(given) == ["a.b", "a.w"]
        s = t.nn.Sequential(t.nn.Linear(1, 1))
        s.set_submodule("0", t.nn.ReLU())
        assert isinstance(s[0], t.nn.ReLU) and m.type(t.float64).w.dtype == t.float64
        with pytest.raises(ValueError):
            s.set_submodule("", t.nn.ReLU())


def test_a_dictionary_of_parameters() -> None:
    for t in BOTH:
        d = t.nn.ParameterDict({"a": t.ones(2), "b": 3})
        assert list(d | t.nn.ParameterDict({"c": t.ones(1)})) == ["a", "b", "c"]
        assert (
            list(reversed(d)) == ["b", "a"]
            and d.copy()["b"] == 3
            and d.fromkeys(["q"])["q"] is None
        )
        assert d.setdefault("b", 4) == 3 and d.popitem() == ("b", 3) and d.setdefault("z") is None
        d |= t.nn.ParameterDict({"e": t.ones(1)})
        assert sorted(n for n, _ in d.named_parameters()) == ["a", "e"]


def _tables(t: Any, n: Any) -> list[Any]:
    """What a program sees that reads the tables of hooks, and takes hooks out of them."""
    module, log = n.Linear(1, 1), []
    names = [k for k in vars(torch.nn.Linear(1, 1)) if "_hook" in k]
    handles = [
        module.register_forward_hook(lambda m, i, k, o: log.append("with"), with_kwargs=True, always_call=True),
        module.register_forward_hook(lambda m, i, o: log.append("after")),
        module.register_forward_pre_hook(lambda m, i: log.append("before")),
        module.register_forward_pre_hook(lambda m, i, k: log.append("first"), with_kwargs=True, prepend=True),
        module.register_full_backward_hook(lambda m, gi, go: log.append("back")),
        module.register_full_backward_pre_hook(lambda m, go: log.append("pre")),
        module.register_state_dict_post_hook(lambda m, s, p, d: log.append("state")),
        module.register_state_dict_pre_hook(lambda m, p, k: log.append("prestate")),
        module.register_load_state_dict_pre_hook(lambda *given: log.append("load")),
        module.register_load_state_dict_post_hook(lambda *given: log.append("loaded")),
    ]  # fmt: skip
    place = {h.id: k for k, h in enumerate(handles)}
    shown = lambda: [
        [place[k] for k in getattr(module, name) or ()]
        for name in sorted(names)
        if name != "_is_full_backward_hook"
    ]
    seen: list[Any] = [shown(), module._is_full_backward_hook]
    run = lambda: (
        module(t.ones(1, 1, requires_grad=True)).sum().backward(),
        module.load_state_dict(module.state_dict()),
    )
    run()
    seen.append(list(log))
    del module._forward_hooks[handles[1].id], module._state_dict_hooks[handles[6].id]
    for key, hook in list(module._forward_pre_hooks.items()):  # as parametrizations of libraries do
        if hook.__code__.co_argcount == 2:
            del module._forward_pre_hooks[key]
    handles[0].remove()
    handles[1].remove()
    module._backward_hooks.clear()
    log.clear()
    run()
    seen += [shown(), list(log)]
    module._forward_pre_hooks = type(module._forward_pre_hooks)()
    module._forward_hooks[-1] = lambda m, i, o: o * 2
    seen += [
        module(t.ones(1, 1)).item() == 2 * module.forward(t.ones(1, 1)).item(),
        type(module._forward_hooks),
    ]
    return seen


def test_tables_of_hooks_are_those_of_pytorch() -> None:
    """Names, order, ids of handles; a hook taken out of its table is not called any more."""
    ours, theirs = (_tables(t, t.nn) for t in (tilegrad, torch))
    assert ours == theirs
