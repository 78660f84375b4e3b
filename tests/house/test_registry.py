"""Nothing public falls out in silence, and every public function is what ``help`` and pickle say."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pydoc
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import FunctionType, ModuleType
from typing import Any

import pytest
import torch

import tilegrad
from tests.house import registry as lists, stubs, test_house
from tests.house.registry import Registry
from tilegrad.autograd.rules import pointwise


@pytest.fixture(scope="module")
def registry() -> Registry:
    return lists.read()


def test_nothing_has_fallen_out(registry: Registry) -> None:
    missing = lists.complaints(registry)
    assert not missing


@pytest.mark.parametrize("module", stubs.MODULES)
def test_stubs_are_as_written(module: str) -> None:
    assert stubs.path(module).read_text() == stubs.text(module), f"run {stubs.COMMAND}"


# ------------------------------------------------------------ the net, by taking each thing away


def _rows(r: Registry) -> Iterator[tuple[str, Registry]]:
    for name in r.rows:
        yield name, replace(r, rows={n: row for n, row in r.rows.items() if n != name})


def _stubs(r: Registry) -> Iterator[tuple[str, Registry]]:
    for module, text in r.stubs.items():
        for name in re.findall(r"^(?:def |    \w+ as )(\w+)[(,]", text, re.M):
            less = text.replace(f"\ndef {name}(", "\ndef _(").replace(f" {name} as {name},", "")
            yield name, replace(r, stubs={**r.stubs, module: less})


def _cases(r: Registry) -> Iterator[tuple[str, Registry]]:
    for name in sorted({row.caller or name for name, row in r.rows.items()}):
        aliases = {n for n, row in r.rows.items() if name in (n, row.caller)}
        yield name, replace(r, cases=r.cases - {name, *aliases})


def _exports(r: Registry) -> Iterator[tuple[str, Registry]]:
    for family, names in r.exported.items():
        for name in names:
            yield name, replace(r, exported={**r.exported, family: names - {name}})


def _members(r: Registry) -> Iterator[tuple[str, Registry]]:
    families = {n for functions in r.families.values() for n in functions}
    for package, (defined, listed) in r.packages.items():
        for name in listed:
            here = name in defined or (package == "nn.functional" and name in families)
            if here and hasattr(lists.THEIRS[package], name):
                less = defined, listed - {name}
                yield name, replace(r, packages={**r.packages, package: less})


def _methods(r: Registry) -> Iterator[tuple[str, Registry]]:
    families = {n for functions in r.families.values() for n in functions}
    for name in sorted(r.methods):
        if hasattr(torch.Tensor, name) and (
            name in families or name.rstrip("_") in r.methods - {name}
        ):
            yield name, replace(r, methods=r.methods - {name})


def _all_of_packages(r: Registry) -> list[str]:
    return [*lists.function_missing(r), *lists.package_missing(r)]


NETS: dict[str, tuple[Any, Any, int]] = {
    "row": (_rows, lists.row_missing, 100),
    "stub": (_stubs, lists.row_missing, 100),
    "case": (_cases, lists.row_missing, 70),
    "export": (_exports, lists.function_missing, 300),
    "package": (_members, _all_of_packages, 180),
    "method": (_methods, lists.method_missing, 200),
}


@pytest.mark.parametrize("kind", NETS)
def test_what_is_removed_is_missed(kind: str, registry: Registry) -> None:
    """Without any one of them a complaint names it, by the line to add."""
    removals, net, least = NETS[kind]
    tried, silent = 0, []
    for name, less in removals(registry):
        tried += 1
        if not any(re.search(rf"\b{name}\b", line) for line in net(less)):
            silent.append(name)
    assert not silent
    assert tried >= least


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_kernel_that_one_device_lacks_is_missed(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for family in sorted(test_house._families()):
        module = importlib.import_module(f"tilegrad.kernels.{device}.{family}")
        for name in test_house._launchers("cuda", family):
            with monkeypatch.context() as patch:
                patch.delattr(module, name)
                with pytest.raises((AssertionError, AttributeError), match=name):
                    test_house.test_both_devices_prepare_launches_alike(family)


# -------------------------------------------------------------------------- what is public itself


def _public() -> Iterator[tuple[str, str, Any]]:
    """(where, name, function) of every public function and method."""
    for where, owner in (
        ("tilegrad", tilegrad),
        ("tilegrad.nn.functional", tilegrad.nn.functional),
        ("tilegrad.Tensor", tilegrad.Tensor),
    ):
        for name in dir(owner):
            value = getattr(owner, name)
            if name[0] != "_" and isinstance(value, FunctionType):
                yield where, name, value


PUBLIC = list(_public())


def test_every_function_has_its_name_and_place() -> None:
    wrong = []
    for where, name, function in PUBLIC:
        home: Any = sys.modules[function.__module__]
        for part in function.__qualname__.split("."):
            home = getattr(home, part, None)
        own = function.__name__ == name or getattr(home, "__name__", "") == function.__name__
        if home is not function or not own or function.__code__.co_name != function.__name__:
            wrong.append(f"{where}.{name}: {function.__module__}.{function.__qualname__}")
        later = (
            "tilegrad.data.serialization",
            "tilegrad.autograd.fusing",
            "tilegrad.drop_in",
            "tilegrad.frozen.freezing",
            "tilegrad.frozen.loading",
            "tilegrad.autograd.autocast",
            "tilegrad.autograd.batching",
            "tilegrad.autograd.eager",
            "tilegrad.autograd.settings",
            "tilegrad.nn.functional",
        )  # loaded when asked for
        homes = ("tilegrad", where, *later)
        if where != "tilegrad.Tensor" and function.__module__ not in homes:
            wrong.append(f"{where}.{name}: of {function.__module__}")
    assert not wrong
    assert len(PUBLIC) > 700


def test_every_function_pickles_by_name() -> None:
    for where, name, function in PUBLIC:
        assert pickle.loads(pickle.dumps(function)) is function, f"{where}.{name}"


def test_every_function_can_be_read_about() -> None:
    wrong = []
    for where, name, function in PUBLIC:
        given = inspect.signature(function).parameters
        bare = [p for p in given.values() if p.annotation is p.empty and p.name != "self"]
        if bare or inspect.signature(function).return_annotation is inspect.Signature.empty:
            wrong.append(f"{where}.{name}: without annotations, {bare}")
        text = inspect.getdoc(function) or ""
        made = vars(pointwise).get(function.__name__) is function
        if not text or (made and re.search(r"\n +\S", text)):  # composed of two: one margin
            wrong.append(f"{where}.{name}: {text!r}")
        shown = pydoc.plain(pydoc.render_doc(function))
        if f"{function.__name__}(" not in shown:
            wrong.append(f"{where}.{name}: help says {shown[:60]!r}")
    assert not wrong


# what ``from tilegrad import *`` gives beyond PyTorch's
OURS = {
    "DeviceError", "GradcheckError", "broadcast_shapes", "elementwise", "empty_cache", "from_dlpack", "lu",
    "memory_stats", "op", "pca_lowrank", "reduction", "reset_peak_memory_stats", "segment_reduce", "set_default_dtype", "set_grad_enabled", "svd_lowrank",
    "symeig", "unique",
}  # fmt: skip


def test_a_star_gives_what_pytorchs_gives() -> None:
    scope: dict[str, Any] = {}
    exec("from tilegrad import *", scope)
    given = {n for n in scope if n != "__builtins__"}
    here = {n for n in dir(tilegrad) if n[0] != "_"}
    assert given & set(torch.__all__) == here & set(torch.__all__)
    assert given - set(torch.__all__) == OURS
    assert set(tilegrad._LATER) <= here
    assert not [n for n in given if isinstance(scope[n], ModuleType)]
    assert set(tilegrad.__all__) == given
