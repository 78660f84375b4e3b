"""No constructor of nn, optim and data takes an argument and forgets it: by its signature, each
argument at another value changes what the object is made of (its repr or state), or raises; and what
an object is made of is read somewhere.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import tilegrad
from tests.house.test_house import SOURCES
from tilegrad import data, nn, optim
from tilegrad.autograd.tensor import Tensor
from tilegrad.optim import lr_scheduler

ROOT = Path(tilegrad.__file__).resolve().parent

NESTED = "how fast, not what: there are no nested tensors"
MEANT = {  # (class, argument): why nothing changes
    ("Identity", "args"): "as PyTorch's: a layer of any arguments that does nothing",
    ("Identity", "kwargs"): "as PyTorch's",
    ("TransformerEncoder", "enable_nested_tensor"): NESTED,
    ("TransformerEncoder", "mask_check"): NESTED,
}
UNREAD = {
    "device_ids": "PyTorch's attribute of a wrapper; there is one device",
    "output_device": "PyTorch's attribute of a wrapper; there is one device",
    **dict.fromkeys(("div_value", "head_bias", "head_dim", "nhead"), "PyTorch's attribute"),
    "multiprocessing_context": "PyTorch's attribute of a loader; _context is made of it",
    "pin_memory_device": "PyTorch's attribute of a loader; there is one device to pin for",
    "process_group": "PyTorch's attribute of a layer; there is one process",
}
ABSTRACT = {
    "LinearCrossEntropyOptions",
    "Module",
    "Dataset",
    "IterableDataset",
    "Sampler",
    "Optimizer",
    "LRScheduler",
    "WorkerInfo",
}

LEAF = tilegrad.ones(2, requires_grad=True)
DATA = data.TensorDataset(tilegrad.arange(8))


OBJECTS = ("optimizer", "schedulers", "encoder_layer", "decoder_layer")

BASES: dict[str, Any] = {  # what an argument is where it has no default
    "output_size": 3, "kernel_size": 2, "num_features": 4, "in_channels": 4, "out_channels": 4,
    "in1_features": 2, "in2_features": 3, "out_features": 4, "in_features": 3, "num_embeddings": 5,
    "embedding_dim": 3, "num_groups": 2, "num_channels": 4, "normalized_shape": 4, "embed_dim": 4,
    "num_heads": 2, "d_model": 4, "nhead": 2, "num_layers": 2, "threshold": 0.5, "value": 1.0, "dim": 1,
    "unflattened_size": (2, 2), "params": [LEAF], "T_max": 4, "T_0": 4, "gamma": 0.5, "milestones": [2, 3],
    "lr_lambda": lambda step: 0.5, "max_lr": 0.2, "step_size": 3, "sampler": range(8), "batch_size": 2,
    "padding": 1, "upscale_factor": 2, "downscale_factor": 2, "groups": 2, "size": 3, "n_classes": 6,
    "cutoffs": [2, 4], "num_classes": 3, "norm_type": 2.0,
    "input_size": 3, "hidden_size": 4, "mode": "GRU", "bias": True, "num_chunks": 3,
    "drop_last": False, "datasets": [DATA], "dataset": DATA, "data_source": DATA, "indices": [1, 2],
    "weights": [0.5, 0.5], "num_samples": 3, "dampening": 0,
    "base_lr": 0.05, "module": nn.Linear(2, 2),
}  # fmt: skip
OTHERS: dict[str, Any] = {  # another value, where that of the type does not do
    "process_group": "a group", "pin_memory_device": "cuda",
    "stride": 3, "device": "meta", "dtype": tilegrad.float64, "padding_mode": "circular",
    "reduction": "sum", "size_average": False, "reduce": False, "weight": tilegrad.ones(2),
    "pos_weight": tilegrad.ones(2), "approximate": "tanh", "dim": -2, "padding_idx": 1, "max_norm": 1.0,
    "kdim": 3, "vdim": 3, "norm": nn.LayerNorm(4), "activation": nn.functional.gelu, "eps": 0.5,
    "divisor_override": 3, "_weight": tilegrad.ones(5, 3), "norm_type": 3.0, "data": tilegrad.ones(3),
    "modules": {"a": nn.ReLU()}, "parameters": {"a": nn.Parameter(LEAF.detach())}, "values": [LEAF.detach()],
    "args": nn.Tanh(), "params": [tilegrad.ones(3, requires_grad=True)], "groups": 2, "num_groups": 4,
    "embed_dim": 8, "d_model": 8, "num_heads": 1, "nhead": 1, "lr_lambda": lambda step: 0.1,
    "betas": (0.5, 0.6), "milestones": [1, 4], "anneal_strategy": "linear", "mode": "max",
    "threshold_mode": "abs", "total_steps": 9, "steps_per_epoch": 5, "last_epoch": 3, "sampler": range(4),
    "batch_sampler": [[1], [2]], "collate_fn": list, "worker_init_fn": print, "generator": tilegrad.Generator(),
    "multiprocessing_context": "spawn", "prefetch_factor": 3, "shuffle": True, "datasets": [DATA, DATA],
    "dataset": data.Subset(DATA, [1]), "data_source": data.Subset(DATA, [1]), "indices": [1],
    "weights": [0.5, 0.1], "tensors": tilegrad.ones(3), "unflattened_size": (4, 1), "foreach": True,
    "scale_factor": 2.0, "align_corners": True, "recompute_scale_factor": True, "size": 5, "custom_encoder": nn.ReLU(),
    "custom_decoder": nn.ReLU(), "distance_function": nn.CosineSimilarity(), "options": 3, "ignore_index": 2,
    "_random_samples": tilegrad.ones(1, 1, 2), "output_ratio": 0.5, "output_size": 5, "cutoffs": [1, 4],
    "nonlinearity": "relu", "fused": True, "epochs": 3, "output_padding": 1, "kwargs": DATA, "rho": 0.5, "end_factor": 0.5, "num_samples": 5,
    "max_eval": 7, "line_search_fn": "strong_wolfe", "adjust_lr_fn": "match_rms_adamw", "step_size_down": 7,
    "scale_fn": lambda x: 0.5, "scale_mode": "iterations",
    "module": nn.Linear(2, 3), "num_replicas": 3, "rank": 1, "device_ids": [0], "output_device": 0,
}  # fmt: skip
SPECIAL: dict[str, dict[str, Any]] = {  # arguments that a class needs beside
    "FractionalMaxPool2d": {"output_size": 3}, "FractionalMaxPool3d": {"output_size": 3},
    "ChannelShuffle": {"groups": 1},
    "OneCycleLR": {"total_steps": 8},
    "Muon": {"params": [tilegrad.ones(2, 2, requires_grad=True)]},
    "SequentialLR": {"milestones": [2]},
    "TensorDataset": {"tensors": tilegrad.arange(4)},
    "StackDataset": {"args": DATA},
    "WeightedRandomSampler": {"num_samples": 2},
    "ConvTranspose1d": {"stride": 2}, "ConvTranspose2d": {"stride": 2}, "ConvTranspose3d": {"stride": 2},
}  # fmt: skip
TOGETHER = {  # an argument that counts beside another alone
    ("OneCycleLR", "epochs"): {"total_steps": None, "steps_per_epoch": 2, "epochs": 2},
    ("OneCycleLR", "steps_per_epoch"): {"total_steps": None, "steps_per_epoch": 2, "epochs": 2},
    ("CyclicLR", "scale_mode"): {"scale_fn": lambda x: 0.5},
    ("DistributedSampler", "rank"): {"num_replicas": 2},
    ("SGD", "nesterov"): {"momentum": 0.9},
    ("LinearCrossEntropyLoss", "out_features"): {"out_features": (2,)},
    ("RandomSampler", "num_samples"): {"replacement": True},
    ("DataLoader", "multiprocessing_context"): {"num_workers": 1},
    ("DataLoader", "prefetch_factor"): {"num_workers": 1},
    ("DataLoader", "persistent_workers"): {"num_workers": 1},
    **{
        (f"InstanceNorm{d}d", argument): {"affine": True}
        for d, argument in itertools.product((1, 2, 3), ("bias", "device", "dtype"))
    },
}


def _classes() -> Iterator[tuple[str, type]]:
    for module in (nn, optim, lr_scheduler, data):
        for name, found in vars(module).items():
            ours = inspect.isclass(found) and found.__module__.startswith("tilegrad.")
            if ours and name not in ABSTRACT and not name.startswith("_"):
                yield name, found


CLASSES = dict(_classes())


def _objects(rate: Any, steps: int, heads: int) -> dict[str, Any]:
    return {
        "optimizer": rate,
        "schedulers": [lr_scheduler.StepLR(rate, steps), lr_scheduler.StepLR(rate, 4)],
        "encoder_layer": nn.TransformerEncoderLayer(4, heads, 8),
        "decoder_layer": nn.TransformerDecoderLayer(4, heads, 8),
    }


def _other(argument: str, value: Any) -> Any:
    if argument in OBJECTS:
        return _objects(optim.SGD([LEAF], 0.7, momentum=0.5), 5, 1)[argument]
    if argument in OTHERS and not (argument == "threshold" and value == 20.0):
        return OTHERS[argument]
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value * 2 if value else 1
    if isinstance(value, tuple):
        return tuple(v * 0.5 for v in value)
    raise NotImplementedError(f"no other value for {argument}={value!r}")


def _make(name: str, given: dict[str, Any]) -> Any:
    tilegrad.manual_seed(0)
    signature, positional, named = inspect.signature(CLASSES[name]), [], {}
    spread = signature.parameters.get("args")
    for argument, value in given.items():
        kind = signature.parameters[argument].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            positional.append(value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named["extra"] = value
        else:
            named[argument] = value
    assert spread is None or not set(named) - {"extra"}
    return CLASSES[name](*positional, **named)


def _print(value: Any, seen: set[int]) -> Any:
    """What ``value`` is made of, to be compared."""
    if isinstance(value, Tensor) and nn.parameter.is_lazy(value):
        return type(value).__name__, value.dtype.name, value.requires_grad, str(value.device)
    if isinstance(value, Tensor):
        content = b"" if value.is_meta else value.detach().numpy().tobytes()
        return (type(value).__name__, tuple(value.shape), value.dtype.name, value.requires_grad,
                getattr(value, "persistent", None), str(value.device), content)  # fmt: skip
    if value is None or isinstance(value, (bool, int, float, str, bytes, range)):
        return repr(value)
    if id(value) in seen:
        return "again"
    seen.add(id(value))
    if isinstance(value, dict):
        return [(str(k), _print(v, seen)) for k, v in value.items()]
    if isinstance(value, (list, tuple, set)):
        return [_print(v, seen) for v in value]
    if inspect.isroutine(value) or inspect.isclass(value):
        return getattr(value, "__qualname__", "?"), getattr(value, "__code__", None)
    parts = {
        n: getattr(value, n, None) for k in type(value).__mro__ for n in getattr(k, "__slots__", ())
    }
    held = [(n, _print(v, seen)) for n, v in {**parts, **getattr(value, "__dict__", {})}.items()]
    return type(value).__name__, held


def _arguments() -> list[tuple[str, str]]:
    return [(n, a) for n, c in CLASSES.items() for a in inspect.signature(c).parameters]


@pytest.mark.parametrize(
    ("name", "argument"), _arguments(), ids=["-".join(pair) for pair in _arguments()]
)
def test_every_argument_counts(name: str, argument: str) -> None:
    parameters = inspect.signature(CLASSES[name]).parameters
    empty = inspect.Parameter.empty
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    own = BASES | _objects(optim.SGD([LEAF], 0.1, momentum=0.9), 2, 2) | SPECIAL.get(name, {})
    given = {
        a: own[a]
        for a, p in parameters.items()
        if a in SPECIAL.get(name, {}) or (p.default is empty and p.kind not in variadic)
    }
    given |= TOGETHER.get((name, argument), {})
    default = parameters[argument].default
    other = _other(argument, given.get(argument, None if default is empty else default))
    warnings.simplefilter("ignore")  # of size_average and reduce; pytest restores the filters
    before = _make(name, given)
    plain = repr(before), _print(before, set())
    try:
        after = _make(name, {**given, argument: other})
    except (ValueError, RuntimeError, TypeError, AssertionError):
        assert (name, argument) not in MEANT
        return
    changed = (repr(after), _print(after, set())) != plain
    assert changed != ((name, argument) in MEANT), MEANT.get((name, argument), "ignored")


def _reads(tree: ast.AST) -> set[str]:
    """Attributes that are read, and the words of strings (``__constants__``, ``getattr``)."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found.add(node.attr)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def test_what_is_kept_is_read() -> None:
    """Every attribute that a constructor of nn, optim and data sets."""
    trees = {p: ast.parse(p.read_text()) for p in SOURCES}
    read = set().union(*map(_reads, trees.values()))
    unread = set()
    for path, tree in trees.items():
        if path.relative_to(ROOT).parts[0] not in ("nn", "optim", "data"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                stored = itertools.chain(*(ast.walk(statement) for statement in node.body))
                for part in stored:
                    if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
                        unread |= {part.attr} - read
    assert unread == set(UNREAD)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Adagrad", "SGD"])
def test_two_ways_of_a_step_are_refused(name: str) -> None:
    """As PyTorch's constructors do; each alone is taken."""
    for options in ({"foreach": True}, {"fused": True}, {"foreach": False, "fused": True}):
        getattr(optim, name)([LEAF], lr=0.1, **options)
    for lib, leaf in ((optim, LEAF), (torch.optim, torch.ones(2, requires_grad=True))):
        with pytest.raises(RuntimeError, match="cannot be `True` together"):
            getattr(lib, name)([leaf], lr=0.1, foreach=True, fused=True)
