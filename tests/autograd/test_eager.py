"""What PyTorch's compilers are called by gives back what it is given, and says so once."""

from __future__ import annotations

import importlib

import pytest
import torch

import tilegrad
from tilegrad.autograd import eager


@pytest.fixture(autouse=True)
def _anew() -> None:
    eager._say.cache_clear()


def test_compile_gives_the_model_itself_and_says_so_once() -> None:
    model = tilegrad.nn.Linear(2, 2)
    with pytest.warns(UserWarning, match=r"compile: programs run as they are written"):
        assert tilegrad.compile(model) is model
    assert tilegrad.compile(mode="max-autotune")(model) is model
    assert tilegrad.compile(model, fullgraph=True, dynamic=False, backend="eager") is model
    assert model.compile(options={}) is None
    assert list(model.state_dict()) == ["weight", "bias"]


def test_what_is_not_to_be_compiled_is_not_spoken_of() -> None:
    assert tilegrad.compile(len, disable=True) is len


@pytest.mark.parametrize("library", [torch, tilegrad], ids=["torch", "tilegrad"])
def test_wrong_arguments_of_compile(library: object) -> None:
    with pytest.raises(RuntimeError, match="[Ee]ither mode or options"):
        library.compile(len, mode="default", options={}, disable=True)
    with pytest.raises(TypeError):
        library.compile(len, nothing=1)


def test_scripts_run_as_they_are_written() -> None:
    jit = importlib.import_module("tilegrad.jit")

    class Scripted(tilegrad.nn.Module):
        steps: jit.Final[int] = 3

        @jit.ignore
        def forward(self, x):
            return self.twice(x) if jit.is_scripting() or jit.is_tracing() else x * self.steps

        @jit.unused
        def twice(self, x):
            return jit.annotate(list, x)

        @jit.export
        def more(self, x):
            return x

        @jit.ignore(drop=True)
        def dropped(self, x):
            return x

    with pytest.warns(UserWarning, match=r"jit.script: programs run as they are written"):
        model = jit.script(Scripted())
    assert model(2) == 6
    assert jit.script_if_tracing(len) is len
    compiler = importlib.import_module("tilegrad.compiler")
    assert compiler.disable(len) is len
    assert compiler.disable()(len) is len
    assert compiler.allow_in_graph(len) is len
    assert not compiler.is_compiling()


def test_one_process_answers_as_one_without_a_group() -> None:
    ours, theirs = importlib.import_module("tilegrad.distributed"), torch.distributed
    assert not ours.is_available() and not ours.is_initialized() and not theirs.is_initialized()
    for name in ("get_rank", "get_world_size", "barrier"):
        for library in (ours, theirs):
            with pytest.raises(
                ValueError, match="(?i)default process group has not been initialized"
            ):
                getattr(library, name)()
    with pytest.raises(RuntimeError, match="one process"):
        ours.init_process_group("gloo")
    with pytest.raises(ValueError, match="process group"):
        ours.destroy_process_group()


def test_what_autocast_would_cast_to() -> None:
    for device in ("cpu", "cuda"):
        assert tilegrad.get_autocast_dtype(device).name == str(torch.get_autocast_dtype(device))[6:]
    assert tilegrad.cuda.is_bf16_supported() is False
