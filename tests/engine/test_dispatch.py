"""One boundary: whatever is launched was called by way of an op, and a mode has seen it."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tilegrad
from tests.conftest import every_object
from tilegrad import nn, optim
from tilegrad.engine import dispatch
from tilegrad.engine.interpreter import why_plain
from tilegrad.engine.ops.elementwise import OPS

F = nn.functional
ROOT = Path(tilegrad.__file__).parent


class Watched:
    """A module of kernels whose launches are noted, with whether a mode has seen the op."""

    def __init__(self, module: ModuleType, note: Callable[[str], None]):
        self.module, self.note = module, note

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.module, name)
        if not callable(found):
            return found

        def make(*args: Any, **how: Any) -> Any:
            made = found(*args, **how)
            if callable(made):
                return self._watch(name, made)
            if isinstance(made, tuple) and made and callable(made[0]):
                return (self._watch(name, made[0]), *made[1:])
            return made

        return make

    def _watch(self, name: str, launch: Any) -> Callable[..., None]:
        def launched(*args: Any) -> None:
            self.note(f"{self.module.__name__}.{name}")
            launch(*args)

        if hasattr(launch, "scratch"):
            launched.scratch = launch.scratch  # type: ignore[attr-defined]
        return launched


class Watch:
    """Ops that modes see, and launches outside of them.

    Attributes:
        seen: names of the ops that the first mode has seen; inner: those that a mode below it has.
        past: launches that no mode has seen; launches: all of them.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.inner: list[str] = []
        self.past: list[str] = []
        self.launches = 0
        self._depth = 0

    def note(self, kernel: str) -> None:
        self.launches += 1
        if not self._depth:
            self.past.append(kernel)

    def below(self, op: Any, arrays: Any, params: Any, metadata: dict[str, Any]) -> Any:
        self.inner.append(op.name)
        return op(*arrays, params=params, **metadata)

    def above(self, op: Any, arrays: Any, params: Any, metadata: dict[str, Any]) -> Any:
        self.seen.append(op.name)
        self._depth += 1
        try:
            return op(*arrays, params=params, **metadata)
        finally:
            self._depth -= 1


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Every plan is made anew, with launches that are watched."""
    found = Watch()
    ops = [op for op in every_object() if issubclass(type(op), dispatch.Op)]

    class Families(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            family, device = key
            module = importlib.import_module(f"tilegrad.kernels.{device}.{family}")
            return Watched(module, found.note)

    for op in ops:
        op.plans.clear()
    monkeypatch.setattr(dispatch, "_modules", Families())
    try:
        with dispatch.mode(found.below), dispatch.mode(found.above):
            yield found
    finally:
        for op in ops:
            op.plans.clear()


def _check(watch: Watch, *expected: str) -> None:
    assert not watch.past
    assert watch.launches
    assert set(expected) <= set(watch.seen)
    # what the second mode sees is what the first has passed on: no op hides others
    assert watch.inner == watch.seen


STEPS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: optim.Adam(p),
    "adam_amsgrad": lambda p: optim.Adam(p, amsgrad=True),
    "rmsprop": lambda p: optim.RMSprop(p),
    "adagrad": lambda p: optim.Adagrad(p),
    "adadelta": lambda p: optim.Adadelta(p),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_mode_sees_every_launch_of_a_training_step(name: str, watch: Watch) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 3),
    )  # fmt: skip
    optimizer = STEPS[name](model.parameters())
    x, y = tilegrad.randn(4, 1, 6, 6), tilegrad.randint(0, 3, (4,))
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        nn.utils.clip_grad_value_(model.parameters(), 0.1)
        optimizer.step()
    _check(watch, name, "total_norm", "shrink", "conv", "normal", "integers", "dropout")
    assert watch.seen.count(name) == 2 and watch.seen.count("shrink") == 2


def test_a_mode_sees_the_copies_that_a_step_needs(watch: Watch) -> None:
    """Gradients and parameters in several orders and dtypes: a launch for each, and copies."""
    p = [tilegrad.randn(3, 4).t().requires_grad_(), tilegrad.randn(5).double().requires_grad_()]
    p[0].grad = tilegrad.ones(4, 3)
    p[1].grad = tilegrad.ones(5).double()
    optimizer = optim.SGD(p, lr=1.0, momentum=0.9)
    before = [t.detach().clone() for t in p]
    watch.seen.clear()
    watch.inner.clear()
    optimizer.step()
    _check(watch, "sgd_momentum", "copy")
    assert watch.seen.count("sgd_momentum") == 2
    for new, old in zip(p, before, strict=True):
        assert new.allclose(old - 1)


FILLS = {
    "normal": lambda x: x.normal_(), "uniform": lambda x: x.uniform_(),
    "exponential": lambda x: x.exponential_(), "bernoulli": lambda x: x.bernoulli_(0.5),
    "integers": lambda x: x.random_(0, 5), "fill": lambda x: x.fill_(2.0),
    "copy": lambda x: x.copy_(tilegrad.ones(3)), "add": lambda x: x.add_(1),
    "where": lambda x: x.masked_fill_(x > 0, 1.0),
    "put_rows": lambda x: x.index_add_(1, tilegrad.tensor([0, 1, 2]), tilegrad.ones(4, 3)),
    "masked_scatter": lambda x: x.masked_scatter_(x > 0, tilegrad.ones(12)),
    "trunc_normal": lambda x: nn.init.trunc_normal_(x), "orthogonal": lambda x: nn.init.orthogonal_(x),
}  # fmt: skip


@pytest.mark.parametrize("name", FILLS)
def test_a_mode_sees_fills_and_copies(name: str, watch: Watch) -> None:
    x = tilegrad.zeros(3, 4).t()
    version = x._version
    FILLS[name](x)
    _check(watch, *([name] if name not in ("trunc_normal", "orthogonal") else []))
    assert x._version > version


def test_a_cast_that_an_op_needs_is_seen(watch: Watch) -> None:
    made = tilegrad.tensor([1, 2]) + tilegrad.tensor([0.5, 0.5])
    assert made.tolist() == [1.5, 2.5]
    _check(watch, "copy", "add")
    tilegrad.tensor([True, False]).amax()
    F.conv2d(tilegrad.randn(1, 6, 6, 2).permute(0, 3, 1, 2), tilegrad.randn(3, 2, 3, 3))
    _check(watch, "amax", "conv")


def test_only_dispatch_asks_for_modes_and_only_planners_for_launches() -> None:
    for path in ROOT.glob("*/**/*.py"):
        if path.parts[len(ROOT.parts)] in ("tests", "bench", "kernels", "runs", ".venv"):
            continue
        if path != ROOT / "engine" / "dispatch.py":
            assert "_modes" not in path.read_text(), path


def test_what_is_written_is_what_is_returned_and_counted() -> None:
    """By the machine code of calls, and by Python where operands share memory."""
    add, copy = OPS["add"], OPS["copy"]
    x, y = tilegrad.zeros(4), tilegrad.ones(4)
    for _ in range(3):
        version = x._version
        assert add(x, y, x) is x and x._version == version + 1
    assert x.tolist() == [3, 3, 3, 3]
    base = tilegrad.arange(5.0)
    for want in ([0, 0, 1, 2, 3], [0, 0, 0, 1, 2]):
        copy(base[:4], base[1:])  # read before it is written
        assert base.tolist() == want
    z = tilegrad.zeros(3)
    assert copy(y[:3] * 2.5, z) is z and z.tolist() == [2.5] * 3


def test_a_mode_sees_every_op_on_its_way() -> None:

    seen: list[str] = []

    def spy(op: Any, arrays: Any, params: Any, metadata: dict[str, Any]) -> Any:
        seen.append(op.name)
        return op(*arrays, params=params, **metadata)

    x = tilegrad.ones(2, 3, requires_grad=True)
    with dispatch.mode(spy):
        y = (x * 2).t()
        y.add_(1.0)
        y.softmax(0).sum().backward()
    assert {"mul", "transpose", "add", "softmax", "sum"} <= set(seen)
    seen.clear()
    (x + 1).sum()
    assert not seen


def _calls(call: Callable[[], Any]) -> int:
    """Python functions that a warm call enters."""
    for _ in range(4):
        call()
    entered = [0]

    def note(frame: Any, event: str, arg: Any) -> None:
        entered[0] += event == "call"

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return entered[0] - 1  # not ``call`` itself


@pytest.mark.skipif(why_plain() is not None, reason="calls are plain")
def test_a_warm_call_checks_nothing_again() -> None:
    x, w, q = tilegrad.randn(1, 2, 6, 6), tilegrad.randn(3, 2, 3, 3), tilegrad.randn(1, 2, 4, 8)
    y, bias = tilegrad.randn(8, 8), tilegrad.randn(3)
    assert _calls(lambda: y @ y) <= 3
    assert _calls(lambda: y.softmax(1)) <= 7
    assert _calls(lambda: F.conv2d(x, w, bias)) <= 8  # five of them allocate and launch
    w.requires_grad_()
    assert _calls(lambda: F.conv2d(x, w, bias)) <= 11
    assert _calls(lambda: F.max_pool2d(x, 2)) <= 17
    assert _calls(lambda: F.scaled_dot_product_attention(q, q, q)) <= 17


def test_checks_that_are_kept_take_no_argument_for_another() -> None:
    """1.0 and True equal 1, and a list has no hash."""
    x, w = tilegrad.randn(1, 2, 6, 6), tilegrad.randn(3, 2, 3, 3)
    want = F.conv2d(x, w, None, 1, 0, 1, 1)
    for _ in range(2):
        with pytest.raises(TypeError):
            F.conv2d(x, w, None, 1.0, 0, 1, 1)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            F.max_pool2d(x, 1.0)  # type: ignore[arg-type]
        assert F.conv2d(x, w, None, [1, 1], [0, 0]).allclose(want)
        with pytest.raises(RuntimeError, match="bias to be 1-dimensional"):
            F.conv2d(x, w, tilegrad.randn(4))
        assert F.max_pool2d(x, 1).shape == x.shape


# calls with a tuple of ints; names as in tests/cases/good_calls.txt
TUPLES = """
t.permute(x, (1, 0)); t.flip(x, (0, 1)); t.roll(x, (1, 0), (0, 1)); x.sum((0, 1)); t.amax(x, (0, 1)); x.std((0, 1))
x.view((3, 2)); t.reshape(x, (3, 2)); x.expand((2, 3)); t.broadcast_to(x, (1, 2, 3)); t.squeeze(x, (0, 1))
x.sum_to_size((1, 3)); x.as_strided((2, 1), (1, 1)); t.movedim(x, (0, 1), (1, 0)); t.split(x, (1, 2), 1)
t.tensor_split(x, (1, 2), 1); t.unflatten(x, 1, (1, 3)); t.tile(x, (1, 2)); t.zeros((2, 3)); t.rand((2, 3))
F.pad(x, (1, 0)); F.pad(p, (1, 0, 0, 1), mode='reflect'); F.layer_norm(x, (3,)); F.rms_norm(x, (3,))
F.conv2d(p, w, None, (1, 1)); F.conv2d(p, w, None, 1, (1, 0)); F.conv2d(p, w, None, 1, 0, (1, 1))
F.conv_transpose2d(p, w, None, (2, 1), (0, 0), (1, 0)); F.max_pool2d(p, (2, 1)); F.max_pool2d(p, 2, (1, 1))
F.max_pool2d(p, 2, 1, (1, 0)); F.avg_pool2d(p, 2, (1, 1), (1, 0)); F.adaptive_avg_pool2d(p, (2, 1))
"""


@pytest.mark.parametrize(
    "call", [c.strip() for c in TUPLES.replace("\n", ";").split(";") if c.strip()]
)
def test_a_float_in_a_tuple_is_no_int(call: str) -> None:
    """Also once the plan for the ints, which the float equals, is there; nor is a bool in front."""
    names = {
        "t": tilegrad, "F": F, "x": tilegrad.ones(2, 3), "p": tilegrad.ones(1, 3, 4, 4),
        "w": tilegrad.ones(3, 3, 1, 1),
    }  # fmt: skip
    eval(call, names)
    for found in re.finditer(r"(?<=[(\s])(\d)(?=[,)])(?=[^()]*\))", call):
        if not re.search(r"[(][\d, ]*$", call[: found.start()]):
            continue  # an argument of its own
        front = "(" in call[found.start() - 1]
        for wrong in [f"{found[1]}.0"] + ["True"] * (front and found[1] == "1"):
            row = call[: found.start()] + wrong + call[found.end() :]
            with pytest.raises(TypeError):
                eval(row, names)
    eval(call, names)


@pytest.mark.parametrize(
    "name", ["run", "simd", "device", "parts", "tools", "tuning", "conv.forward", "", "__init__"]
)
def test_what_is_no_family_is_refused(name: str) -> None:
    """Modules beside the families cannot be asked for, though they can be imported."""
    for device in ("cpu", "cuda"):
        with pytest.raises(ValueError, match="kernel: the name of a family expected; got"):
            dispatch.kernel(name, tilegrad.device(device))
    with pytest.raises(NotImplementedError, match="nothing has no cpu kernel"):
        dispatch.kernel("nothing", tilegrad.device("cpu"))
