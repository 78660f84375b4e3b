"""Copies of tensors, modules and optimizers by ``copy`` and ``pickle``, in step with PyTorch's."""

import copy
import inspect
import multiprocessing
import pickle
import warnings
from multiprocessing.connection import wait

import numpy as np
import pytest
import torch

import tilegrad
from tests.cuda.simulated import ramp
from tilegrad import nn, optim


def _through(data):
    return pickle.loads(pickle.dumps(data))


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": _through,
    "pickle0": lambda d: pickle.loads(pickle.dumps(d, 0)),
}


@pytest.mark.parametrize("how", COPIES)
def test_what_shares_memory_shares_it_in_the_copy(how):
    a = tilegrad.arange(12.0)
    given = {
        "middle": a[4:8], "all": a, "again": a, "matrix": a.view(3, 4), "t": a.view(3, 4).t(),
        "column": a[1::4], "wide": a[2:3].expand(5, 2, 1), "bytes": a[11], "other": a.clone(),
        "left": a[:3], "empty": a[3:3],
    }  # fmt: skip
    made = COPIES[how](given)
    for name, x in given.items():
        assert made[name].tolist() == x.tolist()
        assert made[name].stride() == x.stride()
    assert made["again"] is made["all"]
    made["all"][5] = 100.0
    assert made["middle"][1] == 100 and made["matrix"][1, 1] == 100 and made["t"][1, 1] == 100
    assert made["column"][1] == 100 and made["other"][5] == 5 and a[5] == 5
    made["all"][2] = -1.0
    assert made["wide"][4, 1, 0] == -1 and made["left"][2] == -1
    made["bytes"].fill_(7)
    assert made["all"][11] == 7


def test_pieces_that_meet_later_become_one():
    a = tilegrad.arange(1000, dtype=tilegrad.int16)
    given = [a[0:10], a[20:30], a[40:50], a[5:45], a[900:], a[2:4]]
    made = _through(given)
    made[3].fill_(-1)
    assert [x.tolist() for x in made[:3]] == [
        [0, 1, 2, 3, 4] + 5 * [-1],
        10 * [-1],
        5 * [-1] + [45, 46, 47, 48, 49],
    ]
    made[5].fill_(9)
    assert made[0][2:4].tolist() == [9, 9] and made[4].tolist() == list(range(900, 1000))
    rows = _through([a.view(500, 2)[i] for i in range(500)])
    assert [r.tolist() for r in rows] == a.view(500, 2).tolist()
    assert len(pickle.dumps(tilegrad.zeros(100_000)[:1])) < 1000  # what is not shown stays


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "copy"])
def test_attributes_of_a_copy(how):
    def facts(m, n):
        make = {**COPIES, "copy": copy.copy}[how]
        leaf = m.tensor([[1.0, 2.0], [3.0, 4.0]]).t().requires_grad_()
        (leaf * 2).sum().backward()
        leaf.note = [1]
        leaf.register_hook(lambda g: g * 0)
        param = n.Parameter(m.ones(2, 3).t())
        param.sum().backward()
        frozen = n.Parameter(m.ones(2), requires_grad=False)
        buffer = n.Buffer(m.arange(4)[1:3], persistent=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = [make(t) for t in (leaf, param, frozen, buffer, m.ones(0, 3), m.tensor(2.5))]
        found = []
        for t in made:
            grad = None if t.grad is None else t.grad.tolist()
            found += [t.tolist(), t.stride(), t.requires_grad, t.is_leaf, grad, type(t).__name__]
        (made[0] * 3).sum().backward()
        if how == "copy":
            made[1].detach()[0] = 5
        return [
            *found,
            made[0].grad.tolist(),
            made[0].note is leaf.note,
            made[0].note,
            param.tolist(),
        ]

    ours, theirs = facts(tilegrad, nn), facts(torch, torch.nn)
    theirs[3 * 6 + 5] = "Buffer"  # which is a class here
    assert ours == theirs


def test_graphs_do_not_travel():
    for m in (tilegrad, torch):
        x = m.ones(2, requires_grad=True) * 2
        with pytest.raises(RuntimeError, match="created explicitly by the user"):
            copy.deepcopy(x)
        for made in (copy.copy(x), _through(x)):
            assert made.is_leaf and made.requires_grad and made.tolist() == [2, 2]
        leaf = m.ones(2, requires_grad=True)
        leaf.register_hook(lambda g: g)
        with pytest.warns(UserWarning, match="will not be serialized"):
            _through(leaf)


def _hook(module, args, out):
    return out * 2


def test_modules_and_optimizers():
    def run(m, n, o, make):
        m.manual_seed(0)
        net = n.Sequential(n.Linear(2, 3), n.BatchNorm1d(3), n.Linear(3, 1))
        with m.no_grad():
            for k, p in enumerate(net.parameters()):
                p.copy_(m.arange(float(p.numel())).reshape(p.shape) / 7 - k / 10)
        net[0].register_forward_hook(_hook)
        opt = o.SGD(net.parameters(), lr=0.1, momentum=0.9)
        opt.register_step_pre_hook(lambda *a: None)
        x = m.arange(8.0).reshape(4, 2)
        for _ in range(2):
            (net(x) ** 2).sum().backward()
            opt.step()
        net, opt, state = make((net, opt, net.state_dict()))
        assert all(p is q for p, q in zip(net.parameters(), opt.param_groups[0]["params"]))
        opt.zero_grad()
        (net(x) ** 2).sum().backward()
        opt.step()
        assert list(state) == list(net.state_dict())
        return [p.tolist() for p in (*net.parameters(), *net.buffers())]

    for make in (copy.deepcopy, _through):
        theirs = run(torch, torch.nn, torch.optim, make)
        ours = run(tilegrad, nn, optim, make)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_state_dict_shares_with_its_module_in_a_pickle():
    net = nn.Linear(2, 2)
    twin, state = _through((net, net.state_dict()))
    state["weight"].fill_(3.0)
    assert twin.weight.tolist() == [[3, 3], [3, 3]]


def test_every_optimizer_and_scheduler_can_be_pickled():
    for name, kind in vars(optim).items():
        if (
            inspect.isclass(kind)
            and issubclass(kind, optim.Optimizer)
            and kind is not optim.Optimizer
        ):
            p = nn.Parameter(tilegrad.ones(2, 2))
            opt = kind([p], lr=0.1)
            sched = optim.lr_scheduler.StepLR(opt, 1)
            p.sum().backward()
            opt.step(p.sum)  # LBFGS asks for a closure
            made, after = _through((opt, sched))
            assert after.optimizer is made and made.param_groups[0]["params"][0] is not p, name
            assert made.state_dict()["param_groups"] == opt.state_dict()["param_groups"]
            made.param_groups[0]["params"][0].grad = tilegrad.ones(2, 2)
            made.step(p.sum)
            after.step()


def test_small_things():
    g = tilegrad.Generator().manual_seed(3)
    assert (
        _through(g).get_state().tolist()
        == copy.deepcopy(g).get_state().tolist()
        == g.get_state().tolist()
    )
    for x in (tilegrad.float32, tilegrad.device("cpu"), tilegrad.Size([1, 2])):
        for made in (_through(x), copy.copy(x), copy.deepcopy(x)):
            assert made == x and type(made) is type(x)
    wide = tilegrad.ones(1).expand(1_000_000, 1_000_000)
    for made in (_through(wide), copy.copy(wide), copy.deepcopy(wide)):
        assert made.stride() == (0, 0) and made.shape == wide.shape
    ours = tilegrad.from_numpy(np.arange(10.0)[::3])
    assert copy.deepcopy(ours).tolist() == _through(ours).tolist() == [0, 3, 6, 9]
    assert ours.as_strided((4,), (3,)).tolist() == [0, 3, 6, 9]


def test_readonly_buffers_are_copied():
    parts = []
    data = pickle.dumps(tilegrad.arange(3.0), protocol=5, buffer_callback=parts.append)
    made = pickle.loads(data, buffers=[bytes(p.raw()) for p in parts])
    made.fill_(1.0)
    assert made.tolist() == [1, 1, 1]


def _child(queue, net, views):
    views[0][0] = 9.0
    queue.put((net.weight, views[1].tolist()))


def test_processes_take_modules_and_tensors():
    context = multiprocessing.get_context("spawn")
    queue, a = context.SimpleQueue(), tilegrad.arange(3.0)
    net = nn.Linear(2, 1)
    worker = context.Process(target=_child, args=(queue, net, [a, a[:2]]))
    worker.start()
    wait([queue._reader, worker.sentinel])  # the end of a child that could not begin is an end, too
    assert not queue.empty()
    weight, seen = queue.get()
    worker.join()
    assert isinstance(weight, nn.Parameter) and weight.tolist() == net.weight.tolist()
    assert seen == [9, 1] and a.tolist() == [0, 1, 2]


def test_copies_on_the_device(device):
    a = tilegrad.arange(6.0, device=device)
    for make in (copy.deepcopy, _through):
        view, whole = make([a[2:4], a.view(2, 3).t()])
        assert view.device == whole.device == a.device and whole.stride() == (1, 3)
        view.fill_(9.0)
        assert whole.tolist() == [[0, 9], [1, 4], [9, 5]] and a.tolist() == [0, 1, 2, 3, 4, 5]


def test_deepcopy_on_the_device() -> None:
    x = ramp(3).requires_grad_()
    x.grad = ramp(3) * 2
    made = copy.deepcopy({"x": x})["x"]
    assert made.is_cuda and made.requires_grad and made.data_ptr() != x.data_ptr()
    assert made.tolist() == x.tolist() and made.grad.tolist() == [0, 2, 4]
