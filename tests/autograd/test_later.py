"""Functions and methods that load when they are asked for: where they are, and that they are as others."""

import importlib
import pickle
import subprocess
import sys
from types import FunctionType

import pytest

import tilegrad as tg
from tests.conftest import ROOT
from tilegrad.autograd import later

MODULES = sorted({*later.FUNCTIONS.values(), *later.METHODS.values()})


@pytest.mark.parametrize("module", MODULES)
def test_the_table_lists_what_the_module_has(module):
    found = importlib.import_module(f"tilegrad.autograd.rules.{module}")
    listed = {n for n, home in later.FUNCTIONS.items() if home == module}
    assert {n for n in listed if n[0] != "_"} == {n for n in found.__all__ if n[0] != "_"}
    assert all(hasattr(found, n) for n in listed)


def test_no_name_is_elsewhere_too():
    here = vars(importlib.import_module("tilegrad.autograd.functions"))
    assert not [n for n in later.FUNCTIONS if isinstance(here.get(n), FunctionType)]


@pytest.mark.parametrize("name", sorted(later.FUNCTIONS))
def test_functions_are_public(name):
    function = getattr(tg, name)
    assert function.__module__ == "tilegrad" and function.__doc__
    assert pickle.loads(pickle.dumps(function)) is function
    assert (name in dir(tg) and name in tg.__all__) != (name[0] == "_")


@pytest.mark.parametrize("name", sorted(later.METHODS))
def test_methods_take_the_place_of_what_loads_them(name):
    method = getattr(tg.Tensor, name)
    assert isinstance(method, FunctionType) and method is vars(tg.Tensor)[name]
    assert method.__name__ == name


def test_what_is_wrong_is_refused_as_elsewhere():
    with pytest.raises(TypeError, match="must be Tensor"):
        tg.kron(1, tg.ones(2))
    with pytest.raises(TypeError, match="must be int"):
        tg.diff(tg.ones(3), n=1.5)
    x = tg.ones(2, 3)
    assert x.diff(axis=0).shape == (1, 3)


def test_subclasses_keep_their_class():
    class Mine(tg.Tensor):
        pass

    x = tg.ones(2, 3).as_subclass(Mine)
    assert type(x.diff()) is Mine and type(x.nan_to_num()) is Mine
    assert type(tg.ones(2, 3).diff()) is tg.Tensor


def test_importing_loads_none_of_them():
    code = (
        "import sys, tilegrad\n"
        "names = [m.rpartition('.')[2] for m in sys.modules if m.startswith('tilegrad.autograd.rules.')]\n"
        "print([n for n in names if n in sys.argv[1:]])\n"
        "tilegrad.ones(2).diff(); tilegrad.einsum\n"
        "print('tilegrad.autograd.rules.differences' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *MODULES], cwd=ROOT, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(ROOT / ".dev"), "PATH": "", "HOME": "/tmp"},
    )  # fmt: skip
    assert done.stdout.split() == ["[]", "True"]
