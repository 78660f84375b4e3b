from __future__ import annotations

import collections
import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest
import torch

import tilegrad
from tests.data import sets
from tilegrad import data
from tilegrad.data.pin_memory import pin
from tilegrad.engine.random import default_generator


def plain(value):
    """A batch as nested Python values."""
    if isinstance(value, tilegrad.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def batches(*args, seed=7, passes=1, **kwargs):
    default_generator.manual_seed(seed)
    loader = data.DataLoader(*args, **kwargs)
    return [plain(b) for _ in range(passes) for b in loader]


def children():
    """Processes below this one that are a loader's workers."""
    import multiprocessing

    return multiprocessing.active_children()


@pytest.fixture(autouse=True)
def nothing_left():
    files = set(os.listdir("/dev/shm"))
    yield
    gc.collect()
    assert children() == []
    assert {f for f in os.listdir("/dev/shm") if "tilegrad" in f} <= files


def test_same_batches_for_any_number_of_workers():
    options = {"batch_size": 4, "shuffle": True, "passes": 2}
    alone = batches(sets.Noisy(), **options)
    assert len(alone) == 12
    assert sorted(i for b in alone[:6] for i in b["index"]) == list(range(23))
    assert alone[0]["index"] != alone[6]["index"]
    draws = [d for b in alone for d in b["drawn"][0]]
    assert len(set(draws)) == len(draws)
    for workers in (1, 2, 3):
        assert batches(sets.Noisy(), num_workers=workers, **options) == alone
    assert batches(sets.Noisy(), num_workers=2, persistent_workers=True, **options) == alone
    assert batches(sets.Noisy(), num_workers=2, prefetch_factor=1, **options) == alone


def test_spawn_context_gives_the_same():
    options = {"batch_size": 8, "shuffle": True}
    spawned = batches(sets.Noisy(), num_workers=1, multiprocessing_context="spawn", **options)
    assert spawned == batches(sets.Noisy(), **options)


def test_a_random_collate_function_gives_the_same():
    dataset = data.TensorDataset(tilegrad.arange(9))
    alone = batches(dataset, batch_size=2, collate_fn=sets.noisy)
    assert len({draw for batch in alone for _, draw, _ in batch}) == 9
    assert batches(dataset, batch_size=2, collate_fn=sets.noisy, num_workers=2) == alone
    plain = batches(dataset, batch_size=2, num_workers=2)
    assert (
        plain == batches(dataset, batch_size=2) == [[[0, 1]], [[2, 3]], [[4, 5]], [[6, 7]], [[8]]]
    )


def test_generators_of_the_main_process_are_left_alone():
    random.seed(1)
    np.random.seed(2)
    default_generator.manual_seed(3)
    data.seeding.draw_seed()
    expected = random.random(), np.random.rand(), default_generator.get_state().tolist()
    random.seed(1)
    np.random.seed(2)
    default_generator.manual_seed(3)
    for _ in data.DataLoader(sets.Noisy(), batch_size=5):
        pass
    assert (random.random(), np.random.rand(), default_generator.get_state().tolist()) == expected


def test_generator_decides_alone():
    def run(workers):
        generator = tilegrad.Generator().manual_seed(11)
        default_generator.seed()
        loader = data.DataLoader(
            sets.Noisy(), batch_size=4, shuffle=True, generator=generator, num_workers=workers
        )
        return [plain(b) for b in loader]

    assert run(0) == run(0) == run(2)


def test_prefetching_does_not_disturb_the_global_generator():
    def run(workers):
        default_generator.manual_seed(5)
        loader = data.DataLoader(sets.Noisy(40), batch_size=2, shuffle=True, num_workers=workers)
        return [(b["index"].tolist(), tilegrad.rand(2).tolist()) for b in loader]

    assert run(0) == run(2)


# -------------------------------------------------------------------------------- shared memory


def test_batches_that_are_held_stay_as_they_were():
    loader = data.DataLoader(sets.Big(), batch_size=2, num_workers=2)
    held = list(loader)
    for i, batch in enumerate(held):
        assert batch.shape == (2, 1 << 14)
        assert batch[0].tolist() == [2.0 * i] * (1 << 14)
    held[0].fill_(5)  # a batch may be written to
    assert float(held[1][0, 0].item()) == 2.0
    view = held[7][1, 3:5]
    del held, batch
    gc.collect()
    assert view.tolist() == [15.0, 15.0]


def test_slots_are_used_again():
    loader = data.DataLoader(sets.Big(200), batch_size=2, num_workers=1, persistent_workers=True)
    for batch in loader:
        del batch
    peer = loader._pool.peers[0]
    assert 1 <= len(peer.slots) <= 4
    for batch in loader:
        del batch
    assert len(peer.slots) <= 4
    loader._pool.close()


def test_a_slot_grows_with_its_batches():
    got = [b.tolist() for b in data.DataLoader(sets.Ragged(), batch_size=None, num_workers=1)]
    assert got == [[i] * 10 ** (i % 6) for i in range(12)]


def test_the_dataset_is_shared_and_private():
    tensor = tilegrad.arange(100_000, dtype=tilegrad.float32)
    seed = 21
    got = batches(sets.Holder(tensor), batch_size=None, num_workers=2, seed=seed)
    pids, ids, counts, seeds, threads, numba, values = zip(*got, strict=True)
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    assert ids == (0, 1) * 4
    assert set(counts) == {2}
    assert {s - i for s, i in zip(seeds, ids, strict=True)} == {seeds[0]}
    assert set(threads) == {1}
    assert set(numba) == {False}
    assert values == (-1.0, *map(float, range(1, 8)))
    assert float(tensor[0].item()) == 0.0  # what workers write stays with them
    assert data.get_worker_info() is None


def test_tensors_travel_through_queues():
    from multiprocessing import reduction

    import tilegrad.data.shared

    tensor = tilegrad.arange(6, dtype=tilegrad.float64).reshape(2, 3).t().requires_grad_()
    import pickle

    copy = pickle.loads(reduction.ForkingPickler.dumps(tensor))
    assert copy.tolist() == tensor.tolist()
    assert copy.requires_grad
    with pytest.raises(RuntimeError, match="non-leaf"):
        reduction.ForkingPickler.dumps(tensor * 2)


def test_packed_values_round_trip():
    from tilegrad.data.shared import Packed, unpack

    value = {
        "a": [tilegrad.tensor(3), tilegrad.zeros(0, 4), tilegrad.ones(3, 2)[:, 1]],
        "b": (None, "text", b"bytes", 1 << 80, float("inf")),
        "c": np.arange(12).reshape(3, 4)[::2, ::-1],
    }
    packed = Packed(value)
    memory = bytearray(packed.nbytes)
    packed.write(memory)
    back = unpack(memory)
    assert plain(back["a"]) == plain(value["a"])
    assert back["a"][1].shape == (0, 4)
    assert back["b"] == value["b"]
    assert (back["c"] == value["c"]).all()
    assert back["a"][2].address % 64 == np.frombuffer(memory, "u1").ctypes.data % 64


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize(
    "what, kind, text",
    [
        ("value_error", ValueError, "a bad sample"),
        ("key_error", KeyError, "no such key"),
    ],
)
def test_an_exception_keeps_its_type(what, kind, text, workers):
    loader = data.DataLoader(sets.Keyed(what), batch_size=2, num_workers=workers)
    seen = []
    with pytest.raises(kind, match=text) as caught:
        seen.extend(batch.tolist() for batch in loader)
    assert seen == [[0, 1], [2, 3]]
    if workers:
        message = str(caught.value)
        assert message.startswith(f"Caught {kind.__name__} in DataLoader worker process ")
        assert "Original Traceback (most recent call last):\n" in message
        assert f"in {what}\n" in message


@pytest.mark.parametrize("what, text", [("odd_error", "1 and 2"), ("unpicklable", "on the spot")])
def test_an_exception_that_cannot_travel_becomes_a_runtime_error(what, text):
    loader = data.DataLoader(sets.Keyed(what), num_workers=1)
    with pytest.raises(RuntimeError, match=text) as caught:
        list(loader)
    assert f"in {what}\n" in str(caught.value)


def test_iteration_can_go_on_after_an_exception():
    iterator = iter(data.DataLoader(sets.Keyed("value_error"), batch_size=2, num_workers=2))
    assert [next(iterator).tolist(), next(iterator).tolist()] == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="a bad sample"):
        next(iterator)
    assert [b.tolist() for b in iterator] == [[6, 7], [8, 9], [10, 11]]


@pytest.mark.parametrize("what, code", [("killed", "-9"), ("exits", "3")])
def test_a_dead_worker_is_an_error(what, code):
    loader = data.DataLoader(sets.Keyed(what, at=1), num_workers=2)
    with pytest.raises(RuntimeError, match="exited unexpectedly") as caught:
        list(loader)
    assert "DataLoader worker (pid(s) " in str(caught.value)
    assert code in str(caught.value)


def test_a_killed_worker_is_noticed_at_once():
    iterator = iter(data.DataLoader(sets.Keyed("sleeps", at=2), num_workers=2))
    assert next(iterator).tolist() == [0]
    assert next(iterator).tolist() == [1]
    os.kill(iterator._pool.peers[1].process.pid, signal.SIGKILL)
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        next(iterator)
    # far below the sleeping worker's minute
    assert time.monotonic() - begin < 10
    with pytest.raises(StopIteration):
        next(iterator)


def test_timeout():
    loader = data.DataLoader(sets.Keyed("sleeps", at=0), num_workers=1, timeout=0.3)
    with pytest.raises(RuntimeError, match="timed out after 0.3 seconds"):
        list(loader)


class Unreachable(data.Dataset):
    def __init__(self):
        self.function = lambda: None

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return index


def test_what_cannot_be_pickled_is_named():
    with pytest.raises(TypeError, match="dataset must be picklable.*got Unreachable"):
        list(data.DataLoader(Unreachable(), num_workers=1))
    with pytest.raises(TypeError, match="collate_fn must be picklable"):
        list(data.DataLoader(sets.Noisy(), num_workers=1, collate_fn=lambda b: b))


def test_set_up():
    options = {"num_workers": 2, "batch_size": None}
    got = list(data.DataLoader(sets.SetUp(), worker_init_fn=sets.set_up, **options))
    assert got == [0, 1, 0, 1]
    with pytest.raises(OSError, match="no set-up of [01]"):
        list(data.DataLoader(sets.SetUp(), worker_init_fn=sets.fails_to_set_up, **options))


@pytest.mark.parametrize(
    "options, text",
    [
        ({"shuffle": True, "sampler": [0]}, "mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "mutually exclusive with batch_size"),
        ({"batch_sampler": [[0]], "drop_last": True}, "mutually exclusive with batch_size"),
        ({"batch_size": None, "drop_last": True}, "disables auto-batching"),
        ({"batch_size": 0}, "positive integer"),
        ({"batch_size": 2.0}, "positive integer"),
        ({"num_workers": -1}, "non-negative"),
        ({"timeout": -1}, "non-negative"),
        ({"prefetch_factor": 2}, "num_workers > 0"),
        ({"persistent_workers": True}, "needs num_workers > 0"),
        ({"multiprocessing_context": "spawn"}, "num_workers > 0"),
        ({"num_workers": 1, "prefetch_factor": 0}, "positive"),
        ({"num_workers": 1, "multiprocessing_context": "fork"}, "OpenMP"),
        ({"num_workers": 1, "multiprocessing_context": "thread"}, "valid start method"),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(ValueError, match=text):
        data.DataLoader(sets.Noisy(), **options)


def test_pinned_memory_needs_cuda():
    code = """
        import warnings
        from tests.data import sets
        from tilegrad import data
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            loader = data.DataLoader(sets.Noisy(), pin_memory=True)
        print(len(list(loader)), "no accelerator is found" in str(told[0].message))
    """
    path = os.pathsep.join([os.path.join(os.getcwd(), ".dev"), os.getcwd()])
    unseen = {"CUDA_VISIBLE_DEVICES": "", "NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, check=True, env={**os.environ, **unseen},
    )  # fmt: skip
    assert done.stdout.split() == ["23", "True"]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_pinned_where_there_is_a_gpu(workers):
    options = {"batch_size": 4, "shuffle": True, "num_workers": workers}
    want = batches(sets.Noisy(), passes=2, **options)
    assert batches(sets.Noisy(), passes=2, pin_memory=True, **options) == want
    batch = next(iter(data.DataLoader(sets.Noisy(), pin_memory=True, **options)))
    assert batch["row"].is_pinned() and batch["index"].is_pinned() and len(batch["name"]) == 4
    assert batch["row"].to("cuda", non_blocking=True).tolist() == batch["row"].tolist()


def test_pinning_goes_into_everything():
    class Own:
        def pin_memory(self):
            return "pinned"

    Pair = collections.namedtuple("Pair", "left right")
    x = tilegrad.ones(2)
    made = pin({"a": [x, "text"], "b": Pair(x, Own()), "c": (x.cuda(), 3)})
    assert made["a"][0].is_pinned() and made["a"][1] == "text"
    assert type(made["b"]) is Pair and made["b"].left.is_pinned() and made["b"].right == "pinned"
    assert made["c"][0].is_cuda and made["c"][1] == 3


def test_errors_come_in_their_turn_when_pinned():
    loader = iter(data.DataLoader(sets.Keyed("value_error"), num_workers=1, pin_memory=True))
    seen = [next(loader).item() for _ in range(5)]
    with pytest.raises(ValueError, match="a bad sample"):
        next(loader)
    assert seen + [t.item() for t in loader] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    with pytest.raises(StopIteration):
        next(loader)


# -------------------------------------------------------------------------------------- streams


def test_streams():
    alone = batches(sets.Stream(10), batch_size=3)
    assert [b[0] for b in alone] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert batches(sets.Stream(10), batch_size=3, num_workers=1) == alone
    two = batches(sets.Stream(10), batch_size=3, num_workers=2)
    assert [b[0] for b in two] == [[0, 2, 4], [1, 3, 5], [6, 8], [7, 9]]
    dropped = batches(sets.Stream(10), batch_size=3, num_workers=2, drop_last=True, passes=2)
    assert [b[0] for b in dropped] == [[0, 2, 4], [1, 3, 5]] * 2
    single = batches(sets.Stream(5), batch_size=None, num_workers=3)
    assert [b[0] for b in single] == [0, 1, 2, 3, 4]
    kept = batches(
        sets.Stream(5), batch_size=None, num_workers=3, persistent_workers=True, passes=2
    )
    assert [b[0] for b in kept] == [0, 1, 2, 3, 4] * 2


def test_a_broken_stream():
    for workers in (0, 1):
        with pytest.raises(ValueError, match="the stream broke"):
            list(data.DataLoader(sets.BrokenStream(), num_workers=workers))


def test_a_stream_takes_no_order():
    for option in ({"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}):
        with pytest.raises(ValueError, match="expected unspecified"):
            data.DataLoader(sets.Stream(3), **option)
    with pytest.raises(TypeError):
        len(data.DataLoader(sets.Stream(3)))


# ---------------------------------------------------------------------------------- early endings


@pytest.mark.parametrize("kept", [False, True])
def test_leaving_early_and_starting_again(kept):
    loader = data.DataLoader(sets.Big(), batch_size=2, num_workers=2, persistent_workers=kept)
    for batch in loader:
        assert batch[0, 0].item() == 0
        break
    again = [int(b[0, 0].item()) for b in loader]
    assert again == list(range(0, 40, 2))
    del loader


def test_two_iterators_at_once():
    loader = data.DataLoader(sets.Keyed("value_error", at=-1), batch_size=5, num_workers=1)
    pairs = [(a.tolist(), b.tolist()) for a, b in zip(loader, loader, strict=True)]
    assert pairs == [([*range(i, min(i + 5, 12))],) * 2 for i in (0, 5, 10)]


def test_deleting_an_iterator_ends_its_workers():
    iterator = iter(data.DataLoader(sets.Big(), num_workers=2))
    next(iterator)
    pids = [p.process.pid for p in iterator._pool.peers]
    del iterator
    gc.collect()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells may start their jobs without
sys.path.insert(0, {root!r})
from tests.data import sets
from tilegrad import data

def main():
    loader = data.DataLoader(sets.Big(10_000), batch_size=2, num_workers=2)
    iterator = iter(loader)
    next(iterator)
    print(*[p.process.pid for p in iterator._pool.peers], flush=True)
    {ending}

{guard}
"""


def run_program(ending, guard="if __name__ == '__main__':\n    main()", tmp_path=None):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(root=os.getcwd(), ending=ending, guard=guard))
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        first = process.stdout.readline()
        if "pause" in ending:
            process.send_signal(signal.SIGKILL if "killed" in ending else signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    pids = [int(p) for p in first.split()]
    until = time.monotonic() + 20
    for pid in pids:
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
            time.sleep(0.02)
        assert not os.path.exists(f"/proc/{pid}")
    return process.returncode, errors


@pytest.mark.parametrize(
    "ending, code, text",
    [
        ("pass", 0, ""),
        ("sys.exit(4)", 4, ""),
        ("raise OSError('gone')", 1, "OSError: gone"),
        ("signal.pause()", -signal.SIGINT, "KeyboardInterrupt"),
        ("signal.pause()  # killed", -signal.SIGKILL, ""),
        ("globals().update(kept=iterator)", 0, ""),
    ],
)
def test_no_ending_of_the_program_leaves_a_worker(ending, code, text, tmp_path):
    status, errors = run_program(ending, tmp_path=tmp_path)
    assert status == code
    assert text in errors
    assert "resource_tracker" not in errors
    assert "worker" not in errors
    if not text:
        assert errors == ""


def test_a_program_without_a_guard_is_told(tmp_path):
    status, errors = run_program("pass", guard="main()", tmp_path=tmp_path)
    assert status == 1
    assert "before it was ready" in errors
    assert "__name__ == '__main__'" in errors


def test_samples_of_an_interactive_session(tmp_path):
    source = textwrap.dedent(
        """
        from tilegrad import data
        class Mine(data.Dataset):
            def __len__(self): return 2
            def __getitem__(self, index): return index
        list(data.DataLoader(Mine(), num_workers=1))
        """
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Caught AttributeError in DataLoader worker process 0" in done.stderr
    assert "Mine" in done.stderr


def test_lengths_and_plain_orders():
    dataset = sets.Keyed("value_error", at=-1, size=10)
    assert len(data.DataLoader(dataset, batch_size=3)) == 4
    assert len(data.DataLoader(dataset, batch_size=3, drop_last=True)) == 3
    assert len(data.DataLoader(dataset, batch_size=None)) == 10
    loader = data.DataLoader(dataset, batch_sampler=[[0, 1], (2,)])
    assert len(loader) == 2
    assert [b.tolist() for b in loader] == [[0, 1], [2]]
    assert [b.tolist() for b in data.DataLoader(dataset, sampler=[3, 1], batch_size=2)] == [[3, 1]]
    assert list(data.DataLoader(dataset, batch_size=None)) == list(range(10))
    got = list(data.DataLoader(dataset, batch_size=5, collate_fn=sets.lengths, num_workers=1))
    assert got == [[1] * 5] * 2


def test_no_warning_of_a_whole_run():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches(sets.Noisy(), num_workers=2, batch_size=4)
        gc.collect()


def test_streams_longer_than_they_said():
    """PyTorch's warning, where a length was asked for."""
    for t in (data, torch.utils.data):

        class Long(t.IterableDataset):
            def __iter__(self):
                return iter(range(4))

            def __len__(self):
                return 3

        loader = t.DataLoader(Long(), batch_size=1)
        assert len(list(loader)) == 4  # nobody has asked, no warning
        assert len(loader) == 3
        with pytest.warns(
            UserWarning, match="was reported to be 3.*but 4 samples have been fetched"
        ):
            list(loader)


def test_arguments_and_attributes_as_pytorchs():
    for t in (data, torch.utils.data):
        loader = t.DataLoader([1, 2, 3], pin_memory_device="", in_order=False)
        assert not loader.in_order and loader.pin_memory_device == "" and len(list(loader)) == 3
        for name in (
            "batch_size",
            "sampler",
            "drop_last",
            "dataset",
            "batch_sampler",
            "persistent_workers",
        ):
            with pytest.raises(ValueError, match="should not be set after"):
                setattr(loader, name, None)
        with pytest.raises(AssertionError, match="requires timeout == 0"):
            iter(t.DataLoader([1], timeout=1))
    with pytest.raises(ValueError, match="pin_memory_device"):
        data.DataLoader([1], pin_memory_device="cpu")


def test_batches_come_as_they_are_ready(tmp_path):
    """A slow sample holds up its own worker alone, in every pass; PyTorch's loader gives the same set."""
    path = str(tmp_path / "ready")
    loader = data.DataLoader(
        sets.Gate(path), num_workers=2, in_order=False, persistent_workers=True
    )
    for _ in range(2):
        found = [plain(b)[0] for b in loader]
        assert sorted(found) == list(range(12)) and found.index(0) > found.index(7), found
        os.remove(path)
    for method, given in (("state_dict", ()), ("load_state_dict", ({"pass": None},))):
        with pytest.raises(NotImplementedError, match="in_order=False"):
            getattr(loader, method)(*given)
    del loader


def test_streams_errors_and_deaths_without_order():
    """Every worker's stream to its end, an exception as its own type, a death as such."""
    stream = data.DataLoader(sets.Stream(9), num_workers=2, batch_size=2, in_order=False)
    assert sorted(i for numbers, _ in stream for i in plain(numbers)) == list(range(9))
    for what, error in (("value_error", ValueError), ("killed", RuntimeError)):
        with pytest.raises(error, match="a bad sample|exited unexpectedly"):
            list(data.DataLoader(sets.Keyed(what), num_workers=2, in_order=False))
