"""Optimizers against PyTorch's, twenty steps each, and their state."""

from __future__ import annotations

import copy
import importlib
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad import cuda, optim
from tilegrad.kernels.cpu.optim import cut
from tilegrad.kernels.cpu.tuning import Optim
from tilegrad.kernels.cuda import tuning
from tilegrad.kernels.cuda.parts import pointer_table
from tilegrad.kernels.cuda.run import driver
from tilegrad.kernels.cuda.tuning import CHUNKS, TABLES_KEPT
from tilegrad.kernels.updates import UPDATES

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("Adam", {}),
    ("Adam", {"weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    ("AdamW", {"amsgrad": True, "maximize": True}),
    ("RMSprop", {"weight_decay": 0.1}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "maximize": True}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("Adamax", {"weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"weight_decay": 0.1}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("ASGD", {"t0": 3, "weight_decay": 0.1, "lambd": 0.1}),
    ("ASGD", {"maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"etas": (0.3, 1.5), "step_sizes": (1e-3, 0.02), "maximize": True}),
    ("Adafactor", {"weight_decay": 0.1}),
    ("Adafactor", {"eps": (1e-4, 1e-2), "d": 1.5, "maximize": True}),
]
_IDS = ["-".join([n, *(f"{k}={v}" for k, v in how.items())]) for n, how in OPTIMIZERS]
CHUNK, BLOCKS = tuning.row(CHUNKS, "float32", "cut")[:2]
SHAPES = {
    "cpu": ((3, 5), (7,), (), (0,), (130, 131)),
    "cuda": ((3, 5), (7,), (), (0,), (CHUNK + 33,)),
}


def _steps(
    count: int,
    dtype: str,
    name: str,
    how: dict[str, Any],
    rng: np.random.Generator,
    device: str = "cpu",
) -> Any:
    """Both libraries' parameters and optimizers after ``count`` steps on the same gradients."""
    shapes = SHAPES[device]
    if name == "Adafactor":  # PyTorch's divides by the number of elements
        shapes = tuple(s for s in shapes if 0 not in s)
    start = [np.asarray(rng.standard_normal(s).astype(dtype)) for s in shapes]
    ours = [tilegrad.from_numpy(a.copy()).to(device).requires_grad_() for a in start]
    theirs = [torch.from_numpy(a.copy()).requires_grad_() for a in start]
    mine = getattr(optim, name)(ours, **how)
    other = getattr(torch.optim, name)(theirs, **how)
    _more(count, dtype, (ours, mine), (theirs, other), rng)
    return (ours, mine), (theirs, other)


def _more(count: int, dtype: str, mine: Any, other: Any, rng: np.random.Generator) -> None:
    for _ in range(count):
        for x, y in zip(mine[0], other[0], strict=True):
            grad = np.asarray(rng.standard_normal(tuple(x.shape)).astype(dtype))
            x.grad = tilegrad.from_numpy(grad.copy()).to(x.device)
            y.grad = torch.from_numpy(grad.copy())
        mine[1].step()
        other[1].step()


def _same(mine: Any, other: Any, dtype: str) -> None:
    unit = float(np.finfo(dtype).eps)
    for x, y in zip(mine[0], other[0], strict=True):
        # products and sums rounded once (fma) here, twice there: a few units over 20 steps
        np.testing.assert_allclose(
            x.detach().cpu().numpy(), y.detach().numpy(), rtol=40 * unit, atol=40 * unit
        )
    have, want = mine[1].state_dict()["state"], other[1].state_dict()["state"]
    assert {k: set(v) for k, v in have.items()} == {k: set(v) for k, v in want.items()}
    for index, entries in have.items():
        for name, value in entries.items():
            np.testing.assert_allclose(
                value.cpu().numpy(), want[index][name].numpy(), rtol=60 * unit, atol=60 * unit
            )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "how"), OPTIMIZERS, ids=_IDS)
def test_twenty_steps(
    name: str, how: dict[str, Any], dtype: str, device: str, rng: np.random.Generator
) -> None:
    count = 20 if device == "cpu" else 6  # RAdam's first five steps are plain
    mine, other = _steps(count, dtype, name, how, rng, device)
    _same(mine, other, dtype)


# without NAdam, whose mu_product PyTorch widens to float64 when it is loaded
@pytest.mark.parametrize(("name", "how"), OPTIMIZERS[1:16:3], ids=_IDS[1:16:3])
def test_goes_on_from_a_state_dict(
    name: str, how: dict[str, Any], device: str, rng: np.random.Generator
) -> None:
    """A new optimizer with the state of the old one, or with that of PyTorch's."""
    count = 5 if device == "cpu" else 2
    mine, other = _steps(count, "float64", name, how, rng, device)
    theirs = other[1].state_dict()
    imported = {
        k: {n: tilegrad.from_numpy(np.array(v.numpy())) for n, v in entries.items()}
        for k, entries in theirs["state"].items()
    }
    for state in (mine[1].state_dict(), {**theirs, "state": imported}):
        twins = [p.detach().clone().requires_grad_() for p in mine[0]]
        copied = getattr(optim, name)(twins, **how)
        copied.load_state_dict(state)
        leaves = [q.detach().clone().requires_grad_() for q in other[0]]
        reference = getattr(torch.optim, name)(leaves, **how)
        reference.load_state_dict(copy.deepcopy(theirs))  # it would share the tensors
        _more(count, "float64", (twins, copied), (leaves, reference), rng)
        _same((twins, copied), (leaves, reference), "float64")


def test_steps_do_not_depend_on_threads(rng: np.random.Generator) -> None:
    start = [rng.standard_normal(n).astype(np.float32) for n in (100_003, 5, 40_000)]
    grads = [rng.standard_normal(a.shape).astype(np.float32) for a in start]
    before = tilegrad.get_num_threads()
    found = []
    for count in (1, 2):
        tilegrad.set_num_threads(count)
        params = [tilegrad.from_numpy(a.copy()).requires_grad_() for a in start]
        optimizer = optim.AdamW(params, lr=0.1)
        for _ in range(3):
            for p, g in zip(params, grads, strict=True):
                p.grad = tilegrad.from_numpy(g)
            optimizer.step()
        found.append([p.detach().numpy() for p in params])
    tilegrad.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "sizes",
    [(), (0, 0), (1,), (Optim.grain,), (Optim.grain + 1,), (5, 10**6, 3, 0, 70_001), (7,) * 5000],
)
def test_cut_covers_every_element_once(sizes: tuple[int, ...]) -> None:
    spans, starts = cut(sizes)
    seen: dict[int, int] = dict.fromkeys(range(len(sizes)), 0)
    for row, begin, count in spans:
        assert begin == seen[row] and count > 0
        seen[row] += count
    assert seen == dict(enumerate(sizes))
    assert starts[0] == 0 and starts[-1] == len(spans)
    work = [sum(spans[a:b, 2]) for a, b in pairwise(starts)]
    assert max(work, default=0) <= max(Optim.grain, -(-sum(sizes) // 64) + 16)


@pytest.mark.parametrize("sizes", [(), (0, 0), (1,), (2048,), (2049, 0, 7), (10**8, 3)])
def test_cuda_chunks_cover_every_element_once(sizes: tuple[int, ...]) -> None:
    spans = pointer_table.cut(sizes, "float32")
    seen: dict[int, int] = dict.fromkeys(range(len(sizes)), 0)
    for row, begin, count in spans.tolist():
        assert begin == seen[row] and count > 0 and begin % CHUNK == 0
        seen[row] += count
    assert seen == dict(enumerate(sizes))
    assert len(spans) <= BLOCKS + len(sizes)


def test_tables_are_copied_when_they_are_new(monkeypatch: Any) -> None:
    there, copies = driver.get(), []
    if not there.simulated:
        pytest.skip("counts copies of the simulated device")
    copy_there = there.copy

    def counted(*args: int) -> None:
        copies.append(args)
        copy_there(*args)

    x = tilegrad.ones(3, device="cuda").requires_grad_()
    optimizer = optim.SGD([x], 1.0)
    grads = [tilegrad.full((3,), float(k), device="cuda") for k in range(TABLES_KEPT + 1)]

    def copies_of_step(grad: Any) -> int:
        x.grad = grad
        before = len(copies)
        optimizer.step()
        return len(copies) - before

    copies_of_step(grads[0])
    monkeypatch.setattr(there, "copy", counted)
    assert [copies_of_step(grads[0]) for _ in range(3)] == [0, 0, 0]
    first = [copies_of_step(g) for g in grads[1:]]
    assert min(first) == 1 and max(first) <= 2  # the chunks go along once in a block of memory
    assert [copies_of_step(g) for g in grads[1:]] == [0] * TABLES_KEPT
    assert copies_of_step(grads[0]) == 1
    with cuda.Stream():
        assert copies_of_step(grads[0]) == 2  # a stream has tables of its own
    monkeypatch.undo()
    total = 2 * sum(range(TABLES_KEPT + 1))
    assert x.tolist() == [1.0 - total] * 3


def test_rules_name_what_they_keep() -> None:
    for name, update in UPDATES.items():
        assert bool(update.scalars) == (update.advance is not None), name
        assert update.prepared > 0 and update.hypers[0] == "lr", name


# ----------------------------------------------------------------------------------- parameters


def _leaf(values: Any = (1.0, 2.0)) -> Any:
    return tilegrad.tensor(values).requires_grad_()


def test_strided_and_mixed_parameters_move_alike() -> None:
    """A transposed parameter, one with gaps, an odd gradient, two dtypes in one group."""
    base = tilegrad.arange(24.0).reshape(4, 6)
    turned = base.clone().t().requires_grad_()
    gappy = base.clone().narrow(1, 1, 3).detach().requires_grad_()
    wide = base.to(tilegrad.float64).requires_grad_()
    dense = [p.detach().clone().contiguous().requires_grad_() for p in (turned, gappy, wide)]
    first, second = optim.Adam([turned, gappy, wide], 0.1), optim.Adam(dense, 0.1)
    for _ in range(3):
        for p, q in zip((turned, gappy, wide), dense, strict=True):
            grad = (q.detach() * 0.5).contiguous()
            p.grad = grad.t().contiguous().t() if p is wide else grad
            q.grad = grad.clone()
        first.step()
        second.step()
    for p, q in zip((turned, gappy, wide), dense, strict=True):
        assert p.tolist() == q.tolist()


def test_a_step_is_seen_by_the_graph() -> None:
    x = _leaf()
    y = (x * x).sum()
    x.grad = tilegrad.ones(2)
    optim.SGD([x], 0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_parameters_without_gradients_stay() -> None:
    x, y = _leaf(), _leaf()
    optimizer = optim.Adam([x, y], 0.1)
    x.grad = tilegrad.ones(2)
    optimizer.step()
    assert y.tolist() == [1, 2] and x.tolist() != [1, 2]
    assert list(optimizer.state_dict()["state"]) == [0]
    optimizer.zero_grad(set_to_none=False)
    assert x.grad.tolist() == [0, 0] and y.grad is None
    optimizer.zero_grad()
    assert x.grad is None


def test_groups_have_options_of_their_own() -> None:
    x, y, z = _leaf(), _leaf(), _leaf()
    groups = [{"params": [("x", x)]}, {"params": [("y", y)], "lr": 1.0}]
    optimizer = optim.SGD(groups, lr=0.1)
    with pytest.raises(ValueError, match="cannot add param group without names"):
        optimizer.add_param_group({"params": z})
    optimizer.add_param_group({"params": [("z", z)], "lr": 2.0})
    for p in (x, y, z):
        p.grad = tilegrad.ones(2)
    optimizer.step()
    assert [p.tolist()[0] for p in (x, y, z)] == pytest.approx([0.9, 0.0, -1.0])
    assert optimizer.param_groups[2]["param_names"] == ["z"]
    packed = optimizer.state_dict()["param_groups"]
    assert [g["params"] for g in packed] == [[0], [1], [2]]
    assert "Parameter Group 2" in repr(optimizer) and "    lr: 2.0" in repr(optimizer)


def test_closure_and_hooks() -> None:
    x = _leaf()
    optimizer = optim.SGD([x], 0.1)
    calls: list[str] = []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append("before"))
    handle = optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("after"))

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    with tilegrad.no_grad():
        assert optimizer.step(closure).item() == 5
    assert x.tolist() == pytest.approx([0.8, 1.6])
    handle.remove()
    optimizer.step(closure)
    assert calls == ["before", "after", "before"]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda o, x: o.SGD([x], -1.0), ValueError),
        (lambda o, x: o.SGD([x], 0.1, momentum=-1.0), ValueError),
        (lambda o, x: o.SGD([x], 0.1, nesterov=True), ValueError),
        (lambda o, x: o.SGD(x, 0.1), TypeError),
        (lambda o, x: o.SGD([], 0.1), ValueError),
        (lambda o, x: o.SGD([x * 2], 0.1), ValueError),
        (lambda o, x: o.SGD([3], 0.1), TypeError),
        (lambda o, x: o.SGD([{"params": [x]}, {"params": [x]}], 0.1), ValueError),
        (lambda o, x: o.SGD([{"params": {x}}], 0.1), TypeError),
        (lambda o, x: o.SGD([x]).add_param_group([x]), TypeError),
        (lambda o, x: o.Adam([x], betas=(1.0, 0.9)), ValueError),
        (lambda o, x: o.Adam([x], betas=(0.9, -1.0)), ValueError),
        (lambda o, x: o.Adam([x], eps=-1.0), ValueError),
        (lambda o, x: o.AdamW([x], weight_decay=-1.0), ValueError),
        (lambda o, x: o.RMSprop([x], alpha=-1.0), ValueError),
        (lambda o, x: o.Adagrad([x], initial_accumulator_value=-1.0), ValueError),
        (lambda o, x: o.Adagrad([x], lr_decay=-1.0), ValueError),
        (lambda o, x: o.Adadelta([x], rho=2.0), ValueError),
        (lambda o, x: o.NAdam([x], momentum_decay=-1.0), ValueError),
        (lambda o, x: o.SGD([x]).load_state_dict({"state": {}, "param_groups": []}), ValueError),
    ],
)
def test_refuses_what_pytorch_refuses(make: Any, kind: type) -> None:
    for library, t in ((optim, tilegrad), (torch.optim, torch)):
        with pytest.raises(kind):
            make(library, t.tensor([1.0, 2.0]).requires_grad_())


def test_an_optimizer_of_ones_own() -> None:
    class Signs(optim.Optimizer):
        def __init__(self, params: Any, lr: float):
            super().__init__(params, {"lr": lr})

        def update(self, group: dict[str, Any]) -> None:
            for p in group["params"]:
                p.sub_(p.grad.sign() * group["lr"])

    x = _leaf()
    x.grad = tilegrad.tensor([-3.0, math.pi])
    Signs([x], 0.5).step()
    assert x.tolist() == [1.5, 1.5]


# ------------------------------------------------------------------------ what is no plain kernel


def _problem(name: str, how: dict[str, Any], rng: np.random.Generator, dtype: str) -> Any:
    """Both libraries' parameters and optimizers, and how each evaluates a small net."""
    sizes = ((3, 4), (4, 2), (5, 3), (5, 2))
    first, second, data, target = (rng.standard_normal(s).astype(dtype) for s in sizes)
    made = []
    for library, read in ((torch, torch.from_numpy), (tilegrad, tilegrad.from_numpy)):
        leaves = [read(a.copy()).requires_grad_() for a in (first, second)]
        x, y = read(data), read(target)
        optimizer = getattr(library.optim, name)(leaves, **how)

        def closure(o: Any = optimizer, w: Any = leaves, x: Any = x, y: Any = y) -> Any:
            o.zero_grad()
            loss = ((x @ w[0]).tanh() @ w[1] - y).square().mean()
            loss.backward()
            return loss

        made.append((leaves, optimizer, closure))
    return made


@pytest.mark.parametrize(
    "how",
    [
        {"max_iter": 4},
        {"max_iter": 5, "history_size": 2},
        {"line_search_fn": "strong_wolfe", "max_iter": 5},
        {"line_search_fn": "strong_wolfe", "max_iter": 30, "lr": 3.0, "max_eval": 9},
    ],
)
def test_lbfgs_goes_as_pytorch(how: dict[str, Any], rng: np.random.Generator) -> None:
    """In float64: each step amplifies what rounding leaves, without bound."""
    (theirs, other, their_closure), (ours, mine, closure) = _problem("LBFGS", how, rng, "float64")
    for _ in range(5):
        want, have = other.step(their_closure), mine.step(closure)
        assert have.item() == pytest.approx(want.item(), rel=1e-6)
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-6)
    have, want = mine.state_dict()["state"][0], other.state_dict()["state"][0]
    assert set(have) == set(want)
    assert all(have[k] == want[k] for k in ("func_evals", "n_iter"))
    copied = optim.LBFGS([p.detach().clone().requires_grad_() for p in ours], **how)
    copied.load_state_dict(mine.state_dict())
    assert copied.state_dict()["state"][0]["n_iter"] == want["n_iter"]


@pytest.mark.parametrize(
    "how", [{}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.0}]
)
def test_muon_goes_as_pytorch(how: dict[str, Any], rng: np.random.Generator) -> None:
    (theirs, other, their_closure), (ours, mine, closure) = _problem("Muon", how, rng, "float32")
    for _ in range(10):
        other.step(their_closure)
        mine.step(closure)
    for p, q in zip(ours, theirs, strict=True):
        # ten steps of 1e-3, each of a product of bfloat16: 2^-8 of what was gone
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), atol=1e-2 * 2**-8 * 4)
    assert list(mine.state[ours[0]]) == ["momentum_buffer"]
    with pytest.raises(ValueError, match="Muon only supports 2D"):
        optim.Muon([_leaf()])


# --------------------------------------------------------------------------------- ways of a step


def test_groups_have_the_keys_of_pytorch() -> None:
    for name in optim.__all__:
        if name in ("Optimizer", "lr_scheduler"):
            continue
        x, y = tilegrad.ones(2, 2).requires_grad_(), torch.ones(2, 2).requires_grad_()
        have = getattr(optim, name)([x], lr=0.1).param_groups[0]
        want = getattr(torch.optim, name)([y], lr=0.1).param_groups[0]
        assert {k: v for k, v in have.items() if k != "params"} == {
            k: v for k, v in want.items() if k != "params"
        }, name


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_ways_of_a_step(name: str) -> None:
    kind = getattr(optim, name)
    moved = []
    for flags in ({}, {"foreach": True}, {"fused": True}, {"foreach": False, "fused": False}):
        x = _leaf()
        x.grad = tilegrad.tensor([0.5, -1.0])
        optimizer = kind([x], lr=tilegrad.tensor(0.1), **flags)
        optimizer.step()
        moved.append(x.tolist())
    assert all(m == moved[0] for m in moved) and moved[0] != [1, 2]
    with pytest.raises(RuntimeError, match="cannot be `True` together"):
        kind([_leaf()], fused=True, foreach=True)
    with pytest.raises(RuntimeError, match="`fused` does not support `differentiable`"):
        kind([_leaf()], fused=True, differentiable=True)
    with pytest.raises(RuntimeError, match="got differentiable=True"):
        kind([{"params": [_leaf()], "differentiable": True}])
    with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
        kind([_leaf()], lr=tilegrad.ones(2))


def test_capturable_is_of_the_gpu(device: str) -> None:
    x = tilegrad.ones(3, device=device).requires_grad_()
    x.grad = tilegrad.ones(3, device=device)
    optimizer = optim.Adam([x], capturable=True)
    if device == "cpu":
        with pytest.raises(AssertionError, match="capturable=True"):
            optimizer.step()
    else:
        optimizer.step()
        assert x.tolist() != [1, 1, 1]


def test_a_refused_step_does_not_count() -> None:
    """Nor does the warning of a schedule that steps first take it for one."""
    x = _leaf()
    x.grad = tilegrad.ones(2)
    optimizer = optim.SGD([x], 0.2)
    for wrong in ("a", 2):
        with pytest.raises(TypeError):
            optimizer.step(wrong)
    with pytest.raises(TypeError):
        optimizer.step(None, 5)
    assert optimizer.steps == 0 and optimizer.step() is None and optimizer.steps == 1


def test_hooks_of_states_and_of_a_step_of_ones_own() -> None:
    class Half(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                group["lr"] *= 0.5
            return super().step(closure)

    x = _leaf()
    x.grad = tilegrad.ones(2)
    optimizer = Half([x], 0.2)
    seen: list[Any] = []
    every = optim.optimizer.register_optimizer_step_post_hook(lambda *_: seen.append("every"))
    optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(args))
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "mine": 1})
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("second"))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("first"), prepend=True)
    optimizer.register_load_state_dict_pre_hook(lambda o, state: seen.append(state.pop("mine")))
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append(o is optimizer))
    optimizer.step()
    every.remove()
    assert x.tolist() == pytest.approx([0.9, 1.9]) and optimizer.steps == 1
    state = optimizer.state_dict()
    assert state["mine"] == 1
    optimizer.load_state_dict(state)
    assert seen == [(optimizer,), "every", "first", "second", 1, True] and state["mine"] == 1


def test_a_programs_own_state_stays_what_it_is() -> None:
    """Numbers and integers under names that optimizers of ours count by, and tensors as factors."""
    for t in (tilegrad, torch):

        class Own(t.optim.Optimizer):  # type: ignore[name-defined,misc]
            factor = t.tensor(0.5)

            def __init__(self, params: Any):
                super().__init__(params, {"lr": 0.1})

            def step(self, closure: Any = None) -> None:
                for p in self.param_groups[0]["params"]:
                    state = self.state[p]
                    state.setdefault("step", 0)
                    state.setdefault("mu", [1, 2])
                    state["step"] += 1
                    p.data.addcdiv_(p.grad, p.grad + 1, value=-self.factor)

        p = t.ones(2, requires_grad=True)
        p.sum().backward()
        opt = Own([p])
        opt.step()
        opt.load_state_dict(opt.state_dict())
        opt.step()
        assert opt.state[p] == {"step": 2, "mu": [1, 2]} and p.tolist() == [0.5, 0.5]
        with pytest.raises((ValueError, RuntimeError), match="didn't specify a value of required"):
            t.optim.Optimizer(
                [p], {"lr": importlib.import_module(f"{t.__name__}.optim.optimizer").required}
            )


def test_a_loaded_state_is_shared_where_it_fits() -> None:
    """PyTorch casts with ``to``, which gives the tensor itself where there is nothing to cast."""
    found = []
    for lib in (tilegrad, torch):

        def optimizer(kind: str, lib: Any = lib) -> Any:
            p = lib.ones(2, dtype=getattr(lib, kind), requires_grad=True)
            made = lib.optim.Adam([p])
            (p * p).sum().backward()
            made.step()
            return made

        state = optimizer("float32").state_dict()
        given = state["state"][0]
        given["of a program"] = {"list": [lib.ones(1), None, 3], "word": "abc"}
        for kind in ("float32", "float64"):
            other = optimizer(kind)
            other.load_state_dict(state)
            (have,) = other.state.values()
            inner = have["of a program"]
            found.append(
                (
                    lib.__name__,
                    *(
                        have[n] is given[n]
                        for n in ("step", "exp_avg", "exp_avg_sq", "of a program")
                    ),
                    inner["list"] is given["of a program"]["list"],
                    inner["list"][0] is given["of a program"]["list"][0],
                    str(inner["list"][0].dtype).rpartition(".")[2],
                    inner["list"][1:],
                    inner["word"] if lib is tilegrad else "abc",  # PyTorch goes through the letters
                )
            )
    assert [f[1:] for f in found[:2]] == [f[1:] for f in found[2:]]
