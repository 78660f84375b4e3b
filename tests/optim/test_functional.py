"""Steps as functions of lists: PyTorch's signatures, and the trajectories of the classes."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

# module: the class's options, and those of the function that say the same
CASES: list[tuple[str, dict[str, Any]]] = [
    ("adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-6, "weight_decay": 0.1, "maximize": False}),
    ("adagrad", {"lr": 0.1, "weight_decay": 0.1, "lr_decay": 0.01, "eps": 1e-10, "maximize": True}),
    ("adam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-8, "maximize": False, "amsgrad": True}),
    ("adam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-8, "maximize": True, "amsgrad": False}),
    ("adamw", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-8, "maximize": False, "amsgrad": False}),
    ("adamax", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-8, "maximize": False}),
    ("asgd", {"lr": 0.1, "lambd": 0.01, "t0": 1.0, "alpha": 0.7, "weight_decay": 0.1, "maximize": False}),
    ("nadam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-8, "momentum_decay": 0.01}),
    ("radam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-8}),
    ("rmsprop", {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.1, "momentum": 0.5, "centered": True}),
    ("rmsprop", {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.1, "momentum": 0, "centered": False}),
    ("rprop", {"lr": 0.1, "etas": (0.4, 1.3), "step_sizes": (1e-3, 5.0), "maximize": False}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1, "nesterov": False, "maximize": True}),
    ("sgd", {"lr": 0.1, "momentum": 0, "dampening": 0, "weight_decay": 0.1, "nesterov": False, "maximize": False}),
    ("_adafactor", {"lr": 0.1, "beta2_decay": -0.8, "eps": (1e-3, 1e-3), "d": 1.5, "weight_decay": 0.1, "maximize": False}),
]  # fmt: skip
MODULES = sorted({name for name, _ in CASES} | {"_muon"})
APART = {
    "betas": ("beta1", "beta2"), "etas": ("etaminus", "etaplus"), "eps": ("eps1", "eps2"),
    "step_sizes": ("step_size_min", "step_size_max"),
}  # fmt: skip
SHAPES = ((3, 4), (5,))


def both(name: str) -> tuple[Any, Any]:
    """The functions of PyTorch and of tilegrad."""
    modules = [importlib.import_module(f"{lib}.optim.{name}") for lib in ("torch", "tilegrad")]
    ours, theirs = (getattr(m, name.strip("_")) for m in reversed(modules))
    return theirs, ours


@pytest.mark.parametrize("name", MODULES)
def test_signatures_are_those_of_pytorch(name: str) -> None:
    """Names, kinds and defaults of all arguments."""
    theirs, ours = (
        [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
        for f in both(name)
    )
    assert ours == theirs


def given(name: str, options: dict[str, Any], optimizer: Any) -> dict[str, Any]:
    """The arguments of the function beside parameters and gradients: state as the class has it after a step."""
    theirs, _ = both(name)
    accepted = list(inspect.signature(theirs).parameters)[2:]
    words: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, tuple):
            words.update(zip(APART[key], value, strict=True))
        elif key in accepted:
            words[key] = value
    states = list(optimizer.state.values())
    for key in accepted:
        stem = {"axs": "ax", "mus": "mu", "etas": "eta", "prevs": "prev", "state_steps": "step", "state_sums": "sum",
                "momentum_buffer_list": "momentum_buffer"}.get(key, key.removesuffix("s"))  # fmt: skip
        if key.endswith(("s", "list")) and any(stem in s for s in states):
            held = [s.get(stem) for s in states]
            words[key] = [h if h is None else h.clone() for h in held]
        elif key.endswith(("avgs", "sqs", "vars", "variances", "buffer_list")):
            words[key] = [None] * len(SHAPES) if name == "sgd" else []
    return words


@pytest.mark.parametrize("name, options", CASES)
def test_steps_are_those_of_the_class(name: str, options: dict[str, Any]) -> None:
    """Bit for bit after a step of the class, and PyTorch's function to rounding, on state that goes on."""
    rng = np.random.default_rng(3)
    start = [rng.standard_normal(s).astype(np.float32) for s in SHAPES]
    flow = [[rng.standard_normal(s).astype(np.float32) for s in SHAPES] for _ in range(4)]
    ends = []
    for lib in (torch, tilegrad):
        lists = [lib.tensor(a) for a in start]
        leaves = [lib.tensor(a).requires_grad_() for a in start]
        kind = next(k for k in vars(lib.optim) if k.lower() == name.strip("_") and k[0].isupper())
        optimizer = getattr(lib.optim, kind)(leaves, **options)
        function = both(name)[lib is tilegrad]
        words: dict[str, Any] = {}
        for count, grads in enumerate(flow):
            for leaf, g in zip(leaves, grads, strict=True):
                leaf.grad = lib.tensor(g)
            optimizer.step()
            if not count:
                lists = [leaf.detach().clone() for leaf in leaves]
                words = given(name, options, optimizer)
            else:
                function(lists, [lib.tensor(g) for g in grads], **words)
        if lib is tilegrad:
            for p, leaf in zip(lists, leaves, strict=True):
                assert np.array_equal(p.numpy(), leaf.detach().numpy())
        ends.append([p.numpy() for p in lists])
    for theirs, ours in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_state_that_is_none_is_given_back() -> None:
    """SGD's momentum begins with the gradient, in the caller's list."""
    p, g = tilegrad.ones(2), tilegrad.tensor([1.0, -2.0])
    held: list[Any] = [None]
    tilegrad.optim.sgd.sgd(
        [p], [g], held, weight_decay=0, momentum=0.9, lr=0.5, dampening=0.5, nesterov=False, maximize=False
    )  # fmt: skip
    assert p.tolist() == [0.5, 2.0] and held[0].tolist() == [1.0, -2.0]


def adam(**changed: Any) -> dict[str, Any]:
    """Arguments of a step of one parameter."""
    zero = lambda: [tilegrad.zeros(2)]
    return {
        "params": [tilegrad.ones(2)], "grads": [tilegrad.ones(2)], "exp_avgs": zero(), "exp_avg_sqs": zero(),
        "max_exp_avg_sqs": [], "state_steps": [tilegrad.tensor(0.0)], "amsgrad": False, "beta1": 0.9, "beta2": 0.99,
        "lr": 0.1, "weight_decay": 0.0, "eps": 1e-8, "maximize": False, **changed,
    }  # fmt: skip


def test_counts_may_be_of_any_dtype() -> None:
    """A float64 or int64 count goes on in its own dtype."""
    for dtype in (tilegrad.float64, tilegrad.int64):
        words = adam(state_steps=[tilegrad.tensor(4, dtype=dtype)])
        tilegrad.optim.adam.adam(**words)
        assert words["state_steps"][0].item() == 5 and words["state_steps"][0].dtype is dtype


def test_gradients_are_unscaled_and_infinite_ones_skipped() -> None:
    """``grad_scale`` divides, ``found_inf`` leaves everything as it was."""
    plain, scaled = adam(), adam(grads=[tilegrad.full((2,), 8.0)], grad_scale=tilegrad.tensor(8.0))
    tilegrad.optim.adam.adam(**plain)
    tilegrad.optim.adam.adam(**scaled)
    assert plain["params"][0].tolist() == scaled["params"][0].tolist()
    skipped = adam(found_inf=tilegrad.tensor(1.0))
    tilegrad.optim.adam.adam(**skipped)
    assert skipped["params"][0].tolist() == [1.0, 1.0] and skipped["state_steps"][0].item() == 0


@pytest.mark.parametrize(
    "changed, error",
    [
        ({"state_steps": [0]}, RuntimeError),
        ({"amsgrad": True}, IndexError),
        ({"exp_avgs": [tilegrad.zeros(3)]}, RuntimeError),
        ({"grads": []}, RuntimeError),
        ({"exp_avgs": [tilegrad.zeros(2)] * 2}, RuntimeError),
        ({"differentiable": True}, RuntimeError),
        ({"capturable": True}, AssertionError),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], error: type[Exception]) -> None:
    """And nothing has moved."""
    words = adam(**changed)
    with pytest.raises(error):
        tilegrad.optim.adam.adam(**words)
    assert words["params"][0].tolist() == [1.0, 1.0]
