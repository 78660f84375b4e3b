"""Gradient modes as decorators of whatever runs, and the tensors of inference mode."""

import asyncio
import copy
import threading
import warnings

import pytest

import tilegrad
from tilegrad import nn
from tilegrad.nn import functional as F

MODES = {
    "no_grad": (tilegrad.no_grad, False, False),
    "no_grad()": (tilegrad.no_grad(), False, False),
    "enable_grad": (tilegrad.enable_grad, True, False),
    "enable_grad()": (tilegrad.enable_grad(), True, False),
    "inference_mode": (tilegrad.inference_mode, False, True),
    "inference_mode()": (tilegrad.inference_mode(), False, True),
    "inference_mode(False)": (tilegrad.inference_mode(False), True, False),
    "set_grad_enabled": (lambda f: tilegrad.set_grad_enabled(False)(f), False, False),
}


def now() -> tuple[bool, bool]:
    return tilegrad.is_grad_enabled(), tilegrad.is_inference_mode_enabled()


@pytest.fixture(params=MODES)
def mode(request):
    """(decorator, the modes within it), outside of which the opposite holds."""
    decorate, grad, inference = MODES[request.param]
    with tilegrad.set_grad_enabled(not grad):
        yield decorate, (grad, inference)
    assert now() == (True, False)


def test_a_decorated_function(mode) -> None:
    decorate, inside = mode
    outside = now()

    @decorate
    def function(a, *, b):
        """doc"""
        return a, b, now()

    assert now() == outside
    assert function(1, b=2) == (1, 2, inside)
    assert function.__name__ == "function" and function.__doc__ == "doc"
    assert now() == outside

    @decorate
    def failing():
        raise KeyError(now())

    with pytest.raises(KeyError, match=str(inside[0])):
        failing()
    assert now() == outside


def test_a_decorated_generator(mode) -> None:
    decorate, inside = mode
    outside = now()
    seen = []

    @decorate
    def generator():
        try:
            seen.append((yield now()))
            try:
                yield now()
            except ValueError:
                seen.append(now())
            yield now()
        finally:
            seen.append(now())

    running = generator()
    assert next(running) == inside and now() == outside
    assert running.send("sent") == inside and now() == outside
    assert running.throw(ValueError()) == inside and now() == outside
    running.close()
    assert seen == ["sent", inside, inside] and now() == outside

    @decorate
    def returning():
        yield 1
        return now()

    def outer():
        assert (yield from returning()) == inside
        yield now()

    assert list(outer()) == [1, outside]


def test_a_decorated_coroutine(mode) -> None:
    decorate, inside = mode
    outside = now()

    @decorate
    async def coroutine(fail=False):
        first = now()
        await asyncio.sleep(0)
        if fail:
            raise KeyError
        return first, now()

    async def other(seen):
        for _ in range(3):
            seen.append(now())
            await asyncio.sleep(0)

    async def main():
        seen = []
        result, _ = await asyncio.gather(coroutine(), other(seen))
        with pytest.raises(KeyError):
            await coroutine(True)
        task = asyncio.create_task(coroutine())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return result, seen, now()

    assert asyncio.run(main()) == ((inside, inside), [outside] * 3, outside)


def test_a_decorated_async_generator(mode) -> None:
    decorate, inside = mode
    outside = now()
    closed = []

    @decorate
    async def generator():
        try:
            got = yield now()
            await asyncio.sleep(0)
            try:
                yield got, now()
            except ValueError:
                yield "caught", now()
        finally:
            closed.append(now())

    async def main():
        running = generator()
        seen = [await running.__anext__(), now(), await running.asend(7)]
        seen.append(await running.athrow(ValueError()))
        await running.aclose()
        async for value in generator():
            seen.append(value)
            break
        return [*seen, now()]

    expected = [inside, outside, (7, inside), ("caught", inside), inside, outside]
    assert asyncio.run(main()) == expected
    assert set(closed) == {inside}


def test_a_decorated_class_and_what_cannot_be_decorated(mode) -> None:
    decorate, inside = mode

    class Kind:
        def __init__(self):
            self.made = now()

    with pytest.warns(FutureWarning, match="classes"):
        same = decorate(Kind)
    assert same is Kind and isinstance(Kind(), Kind) and Kind().made == inside


@pytest.mark.parametrize(
    "call",
    [
        lambda: tilegrad.no_grad(False),
        lambda: tilegrad.enable_grad(1),
        lambda: tilegrad.inference_mode("yes"),
        lambda: tilegrad.set_grad_enabled(1),
    ],
)
def test_arguments_of_other_types_are_refused(call) -> None:
    with pytest.raises(TypeError):
        call()
    assert now() == (True, False)


def test_modes_nest() -> None:
    x = tilegrad.ones(2, requires_grad=True)
    with tilegrad.inference_mode():
        with tilegrad.enable_grad():
            assert now() == (True, True) and not (x * 2).requires_grad
        with tilegrad.inference_mode(False):
            assert now() == (True, False) and (x * 2).requires_grad
            assert not tilegrad.ones(1).is_inference()
        assert now() == (False, True)
    with tilegrad.no_grad():
        with tilegrad.inference_mode(False):
            assert now() == (True, False)
        assert now() == (False, False)
    mode = tilegrad.no_grad()
    with mode, tilegrad.enable_grad(), mode:
        assert now() == (False, False)
    assert now() == (True, False)
    switch = tilegrad.set_grad_enabled(False)  # a statement
    assert now() == (False, False)
    with switch:
        assert now() == (False, False)
    assert now() == (True, False)


# --------------------------------------------------------------------------- inference tensors


def made_in_inference_mode():
    with tilegrad.inference_mode():
        return tilegrad.ones(2)


def test_what_is_an_inference_tensor() -> None:
    x, n = tilegrad.ones(2, requires_grad=True), tilegrad.ones(2)
    before = n._version
    with tilegrad.inference_mode():
        made = tilegrad.ones(2)
        assert made.is_inference() and made[:1].is_inference() and (x * 2).is_inference()
        assert n.clone().is_inference() and (n + made).is_inference()
        assert not n.is_inference() and not n[:1].is_inference() and not n.detach().is_inference()
        n.add_(1)
        made.add_(1)
        made[0].mul_(2)
        assert n._version == before + 1
    assert made.tolist() == [4.0, 2.0]
    assert (
        made.detach().is_inference() and made.data.is_inference() and made.view(1, 2).is_inference()
    )
    assert not made.clone().is_inference() and not (n * made).is_inference()
    assert not copy.deepcopy(made).is_inference()
    assert not (x.detach() * 2).is_inference()


def test_what_inference_tensors_refuse() -> None:
    x, made = tilegrad.ones(2, requires_grad=True), made_in_inference_mode()
    with pytest.raises(RuntimeError, match="do not track version counter"):
        assert made._version
    for _ in range(2):  # the first call's long way, and the recorded one
        for call in (
            lambda: x * made,
            lambda: made * x,
            lambda: x / made,
            lambda: tilegrad.maximum(x, made),
            lambda: F.linear(made, tilegrad.ones(2, 2, requires_grad=True)),
            lambda: F.conv1d(made[None, None], tilegrad.ones(1, 1, 2, requires_grad=True)),
            lambda: tilegrad.ones(2).requires_grad_().clone().mul_(made),
        ):
            with pytest.raises(
                RuntimeError, match="Inference tensors cannot be saved for backward"
            ):
                call()
    for call in (
        lambda: made.add_(1),
        lambda: made[:1].zero_(),
        lambda: made.__setitem__(0, 1.0),
        lambda: made.copy_(tilegrad.zeros(2)),
        lambda: made.uniform_(),
        lambda: made.index_fill_(0, tilegrad.tensor([0]), 1.0),
        lambda: made.masked_fill_(made > 0, 1.0),
        lambda: made.scatter_(0, tilegrad.tensor([0]), 1.0),
    ):
        for modes in (tilegrad.enable_grad(), tilegrad.no_grad()):
            with modes, pytest.raises(RuntimeError, match="outside InferenceMode"):
                call()
    with pytest.raises(RuntimeError, match="outside InferenceMode"):
        made.requires_grad_()
    with pytest.raises(RuntimeError, match="outside InferenceMode"):
        nn.Parameter(made)
    assert made.tolist() == [1.0, 1.0]


def test_what_inference_tensors_allow() -> None:
    x, made = tilegrad.ones(2, requires_grad=True), made_in_inference_mode()
    total = (x + made).sum() + tilegrad.cat([x, made]).sum() + tilegrad.where(x > 0, x, made).sum()
    total.backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert tilegrad.ones(2).add_(made).tolist() == [2.0, 2.0]
    with tilegrad.no_grad():
        assert not (x * made).is_inference()


def test_inference_mode_is_per_thread() -> None:
    """One thread's mode marks no other's tensors, also while several are in it."""
    inside, leave = threading.Barrier(3), threading.Barrier(3)
    found = []

    def work() -> None:
        with tilegrad.inference_mode():
            inside.wait()
            found.append([tilegrad.ones(2).is_inference(), (tilegrad.ones(2) * 2).is_inference()])
            leave.wait()
        found.append([not tilegrad.ones(2).is_inference()])

    def other() -> None:
        assert not tilegrad.ones(2).is_inference()

    with tilegrad.inference_mode():
        thread = threading.Thread(
            target=lambda: found.append([not tilegrad.ones(2).is_inference()])
        )
        thread.start()
        thread.join()
    workers = [threading.Thread(target=work) for _ in range(2)]
    for w in workers:
        w.start()
    inside.wait()
    found.append([not tilegrad.ones(2).is_inference(), not (tilegrad.ones(2) * 2).is_inference()])
    leave.wait()
    for w in workers:
        w.join()
    assert len(found) == 6 and all(all(f) for f in found)


def test_training_after_inference() -> None:
    """Nothing that is kept between calls (constants, tables) belongs to the mode it was made in."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(7, 8)
            self.conv = nn.Conv1d(8, 8, 3, padding=1, stride=2)
            self.norm = nn.BatchNorm1d(8)
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, ids):
            x = self.norm(self.conv(self.embed(ids).transpose(1, 2))).transpose(1, 2)
            x = F.pad(x * 3.25 + 1.75, (0, 0, 1, 1), value=0.625)
            x = self.layer(x, src_mask=tilegrad.ones(7, 7, dtype=tilegrad.bool).triu(1))
            x = (
                F.max_pool1d(x.transpose(1, 2), 2)
                .cumsum(1)
                .sort(1)[0][:, ::2]
                .unfold(1, 2, 1)
                .flatten(2)
                .mean(1)
            )
            return self.head(F.dropout(x.repeat(1, 4)[:, :8].clamp(-2.125, 3.875), 0.25))

    net, ids = Net(), tilegrad.randint(0, 7, (4, 9))
    target = tilegrad.tensor([0, 1, 2, 1])

    def loss():
        return F.cross_entropy(net(ids), target, label_smoothing=0.125)

    with tilegrad.inference_mode():
        assert loss().is_inference()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss().backward()
    assert all(p.grad is not None and not p.grad.is_inference() for p in net.parameters())
    assert not any(t.is_inference() for t in net.state_dict().values())
    optimizer = tilegrad.optim.Adam(net.parameters())
    optimizer.step()
