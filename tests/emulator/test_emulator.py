"""The emulator of CUDA kernels: small kernels with known answers, and mistakes it must see."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.emulator.device import run
from tests.emulator.flow import Fault
from tests.emulator.shared import bank_ways
from tilegrad.kernels.cuda.device.copies import commit_copies, copy_async16, wait_copies
from tilegrad.kernels.cuda.device.ptx import (
    atomic_add,
    atomic_max,
    ballot,
    barrier,
    block,
    blocks,
    count_bits,
    dynamic_shared,
    load_vector,
    pointer,
    shared,
    shuffle,
    shuffle_down,
    shuffle_up,
    shuffle_xor,
    store_vector,
    thread,
    warp_barrier,
)
from tilegrad.kernels.cuda.device.registers import as_int32
from tilegrad.kernels.cuda.device.simulator import machine
from tilegrad.kernels.cuda.run import backend
from tilegrad.kernels.function import function_from_source, inline

T = np.arange(64)
load4, store4 = load_vector(4), store_vector(4)
words, wide_words = shared("float32", 4096, "words"), shared("int64", 256, "wide_words")


def out64() -> np.ndarray:
    return np.zeros(64, np.int64)


# ------------------------------------------------------------------------------- control flow


def test_branches_take_some_threads_each() -> None:
    def body(out):
        t, o = thread(), pointer(out, np.int64)
        kind = 0
        if t % 2 == 0:
            kind = 1
            if t < 10:
                kind = 2
        elif t > 40:
            kind = 3
        o[t] = kind

    out = out64()
    run(body, 64, out)
    assert (out == np.where(T % 2 == 0, np.where(T < 10, 2, 1), np.where(T > 40, 3, 0))).all()


def test_loops_run_until_the_last_thread_is_done() -> None:
    def body(out):
        t, o = thread(), pointer(out, np.int64)
        steps = total = 0
        n = t
        while n > 0:
            n -= 3
            steps += 1
            if n == 9:
                break
            if n % 2 == 1:
                continue
            total += n
        for k in range(t % 3, t % 7, 2):
            total += 1000 * k
        o[t] = total * 100 + steps

    def expected(t: int) -> int:
        steps = total = 0
        while t > 0:
            t, steps = t - 3, steps + 1
            if t == 9:
                break
            total += t if t % 2 == 0 else 0
        return total * 100 + steps

    out = out64()
    run(body, 64, out)
    loops = [100_000 * sum(range(t % 3, t % 7, 2)) for t in range(64)]
    assert out.tolist() == [expected(t) + loops[t] for t in range(64)]


def test_a_name_may_be_used_again_for_another_kind_of_number() -> None:
    def body(x, out):
        t, p, o = thread(), pointer(x, np.float32), pointer(out, np.int64)
        n = 0
        if t < 10:
            k = p[t]
            n = np.int64(k * np.float32(2))
        if t % 2 == 0:
            for k in range(t % 5):
                n += k * np.int64(p[k])
        o[t] = n

    x, out = np.arange(10, dtype=np.float32), out64()
    run(body, 64, x, out)
    squares = [sum(k * k for k in range(t % 5)) * (t % 2 == 0) for t in range(64)]
    assert (out == np.where(T < 10, 2 * T, 0) + squares).all()


def test_conditions_guard_loads() -> None:
    """Neither side of ``if``/``else``, ``and``, ``or`` is read by threads that do not want it."""

    def body(x, out, n):
        t, p, o = thread(), pointer(x, np.int64), pointer(out, np.int64)
        value = p[t] if t < n else -1
        both = t < n and p[t] > 5
        either = t >= n or p[t] > 5
        between = 3 < t <= 7
        o[t] = value * 8 + both * 4 + either * 2 + (not between)

    out, x = out64(), np.arange(20)
    run(body, 64, x, out, 20)
    inside, more = T < 20, (T < 20) & (T > 5)
    flags = 4 * more + 2 * (~inside | more) + ~((T > 3) & (T <= 7))
    assert (out == np.where(inside, T, -1) * 8 + flags).all()


@inline
def clipped(a, b):
    """A function that threads leave at different places."""
    for k in range(5):
        if a < b + k:
            return a + 100 * k
    if b % 2 == 0:
        return -1
    return -2


STATEMENTS = ("set", "add", "if", "if", "else", "while", "for", "store", "call", "pair")


class Programs:
    """Random kernels over variables a, b, c and an element of memory per thread."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.loops = 0

    def number(self, depth: int = 2) -> str:
        if depth == 0:
            return self.random.choice(("a", "b", "c", "t", "n", "o[t]", "1", "3", "8"))
        x, y = self.number(depth - 1), self.number(depth - 1)
        forms = ("({0} + {1})", "({0} - {1})", "({0} * {1} % 97)", "({0} & {1})", "max({0}, {1})")
        forms += ("min({0}, {1}, 7)", "({0} if {2} else {1})", "abs({0})", "({0} >> 1)")
        form = self.random.choice(forms)
        return form.format(x, y, self.condition(depth - 1) if "{2}" in form else "")

    def condition(self, depth: int = 1) -> str:
        x, y = self.number(depth), self.number(0)
        forms = ("{0} % 3 == 0", "{0} < {1}", "{1} <= {0} < 40", "not {0} & 1", "{1} > {0}")
        if depth:
            forms += ("({2} and {3})", "({2} or {3})")
        sides = (self.condition(depth - 1), self.condition(depth - 1)) if depth else ("", "")
        return self.random.choice(forms).format(x, y, *sides)

    def suite(self, depth: int, inside: bool) -> list[str]:
        lines = []
        for _ in range(self.random.randint(1, 3)):
            lines += self.statement(self.random.choice(STATEMENTS), depth, inside)
        if inside and self.random.random() < 0.4:
            word = self.random.choice(("break", "continue"))
            lines += [f"if {self.condition()}:", f"    {word}", *self.statement("add", 0, inside)]
        return lines

    def statement(self, kind: str, depth: int, inside: bool) -> list[str]:
        v, w = self.random.sample(("a", "b", "c"), 2)
        if depth == 0 or kind in ("set", "add", "store", "call", "pair"):
            return {
                "set": [f"{v} = {self.number()}"],
                "store": [f"o[t] += {self.number()} % 10"],
                "call": [f"{v} = clipped({self.number(1)}, {w}) % 50"],
                "pair": [f"{v}, {w} = {w}, {v}"],
            }.get(kind, [f"{v} += {self.number(1)} % 50"])
        body = [f"    {line}" for line in self.suite(depth - 1, inside or kind in ("while", "for"))]
        if kind == "if":
            leave = ["    return"] if self.random.random() < 0.2 else []
            return [f"if {self.condition()}:", *body, *leave]
        if kind == "else":
            other = [f"    {line}" for line in self.suite(depth - 1, inside)]
            return [f"if {self.condition()}:", *body, "else:", *other]
        self.loops += 1
        k = f"k{self.loops}"
        if kind == "for":
            return [f"for {k} in range({self.number(1)} % 5):", f"    a += {k}", *body]
        test = f"{k} < 6 and {self.condition()}"
        return [f"{k} = 0", f"while {test}:", f"    {k} += 1", *body]

    def source(self) -> str:
        lines = [line for _ in range(4) for line in self.suite(3, False)]
        head = ["t, o = thread(), pointer(out, np.int64)", "a, b, c = t, 2 * t + 1, 5"]
        tail = ["o[t] += a + 100 * b + 10000 * c"]
        return "\n".join(["def body(out, n):", *("    " + x for x in (*head, *lines, *tail)), ""])


@pytest.mark.parametrize("seed", range(40))
def test_random_kernels_do_what_every_thread_would_do_alone(seed: int) -> None:
    """The greenlet simulator runs the source as Python does."""
    scope = {"thread": thread, "pointer": pointer, "clipped": clipped, "np": np}
    body = function_from_source(Programs(seed).source(), "body", scope)
    out = out64() + 7
    address = machine.memory.allocate(out.nbytes)
    machine.copy(address, out.ctypes.data, out.nbytes)
    machine.launch("body", body, 64, (1, 1, 1), (address, 11))
    expected = np.empty_like(out)
    machine.copy(expected.ctypes.data, address, out.nbytes)
    machine.memory.free(address)
    run(body, 64, out, 11)
    assert (out == expected).all()


# ---------------------------------------------------------------------- memory, warps, atomics


def test_places_in_the_grid() -> None:
    def body(out, n):
        i = block() * 64 + thread()
        if i < n:
            pointer(out, np.int64)[i] = i + 1000 * blocks()

    out = np.zeros(150, np.int64)
    run(body, 64, out, 150, grid=(3, 1, 1))
    assert (out == np.arange(150) + 3000).all()


def test_vectors_and_pointers_of_any_type() -> None:
    def body(x, out):
        t = thread()
        a, b, c, d = load4(pointer(x, np.float32), 4 * t)
        store4(pointer(out + 1024 * (t % 2), np.float32), 4 * (t // 2), (d, c, b, a))

    x, out = np.arange(256, dtype=np.float32), np.zeros(512, np.float32)
    run(body, 64, x, out)
    rows = x.reshape(32, 2, 4)[:, :, ::-1]
    assert (out.reshape(2, 64, 4)[:, :32] == rows.swapaxes(0, 1)).all()


def test_shuffles_and_ballots() -> None:
    def body(out):
        t = thread()
        o = pointer(out, np.int64)
        o[t] = shuffle_down(t, 3)
        o[64 + t] = shuffle_up(t, t % 5)
        o[128 + t] = shuffle_xor(t, 16)
        o[192 + t] = shuffle(t, 3 * t)
        if t < 32:  # a whole warp
            o[256 + t] = ballot(t % 3 == 1)
        o[320 + t] = count_bits(ballot(t < 40))

    out = np.zeros((6, 64), np.int64)
    run(body, 64, out)
    lane, base = T % 32, T // 32 * 32
    assert (out[0] == np.where(lane < 29, T + 3, T)).all()
    assert (out[1] == np.where(lane >= T % 5, T - T % 5, T)).all()
    assert (out[2] == T ^ 16).all()
    assert (out[3] == base + 3 * T % 32).all()
    assert (out[4, :32] == sum(1 << k for k in range(32) if k % 3 == 1)).all()
    assert (out[5] == np.where(T < 32, 32, 8)).all()


def test_atomics_see_each_other() -> None:
    def body(x, out):
        t = thread()
        held, o = wide_words(), pointer(out, np.int64)
        if t < 2:
            held[t] = 0
        barrier()
        o[t] = atomic_add(held, t % 2, 1)
        atomic_max(pointer(x, np.int64), 0, t * (t % 7))
        barrier()
        if t < 2:
            o[64 + t] = held[t]

    x, out = np.zeros(1, np.int64), np.zeros(66, np.int64)
    run(body, 64, x, out)
    assert sorted(out[:64:2]) == sorted(out[1:64:2]) == list(range(32))
    assert out[64:].tolist() == [32, 32]
    assert x[0] == max(t * (t % 7) for t in range(64))


def test_a_warp_barrier_orders_a_warp() -> None:
    def body(out):
        t, held = thread(), wide_words()
        held[t] = t
        warp_barrier()
        pointer(out, np.int64)[t] = held[t ^ 1]
        warp_barrier()
        held[t] = 0

    out = out64()
    run(body, 64, out)
    assert (out == T ^ 1).all()
    for old, new in (
        ("warp_barrier()\n    pointer", "pointer"),
        ("t ^ 1]\n    warp_barrier()", "t ^ 1]"),
        ("held[t ^ 1]", "held[t ^ 32]"),  # of another warp
    ):
        with pytest.raises(Fault, match=r"race .* thread \d+ at body, line \d: held\[t\] = "):
            run(body, 64, out, edits=((old, new),))


# ---------------------------------------------------------------------------------- bank conflicts


@pytest.mark.parametrize(
    "width, stride, ways",
    [
        *((4, 4, 1), (4, 8, 2), (4, 16, 4), (4, 128, 32), (4, 132, 1), (4, 0, 1), (4, 12, 1)),
        *((8, 8, 1), (8, 16, 2), (8, 128, 16), (16, 16, 1), (16, 32, 2), (16, 128, 8)),
        *((2, 2, 1), (1, 1, 1), (1, 128, 32), (16, 0, 1), (16, 144, 1)),
    ],
)
def test_bank_conflicts(width: int, stride: int, ways: int) -> None:
    """By hand: the banks of threads 0 … 31, 16 or 8, ``stride`` bytes apart."""
    threads = np.arange(128)
    assert bank_ways(threads * stride, threads, width) == ways


def test_the_report_names_lines() -> None:
    def body(out):
        t, held = thread(), words()
        held[t * 2] = np.float32(t)
        held[t * 2 + 1] = np.float32(t)
        barrier()
        pointer(out, np.float32)[t] = held[t] + load4(held, t // 16 * 4)[0]

    report = run(body, 64, np.zeros(64, np.float32))
    assert report.ways("held[t * 2]", "write") == 2
    assert report.ways("load4", "read") == 1
    assert {t.width for t in report.find("load4")} == {4, 16}
    assert report.barriers == 1


# ---------------------------------------------------------------------------------------- faults


def exchange(out, n):
    """A kernel without mistakes, for edits to make them in."""
    t, o = as_int32(thread()), pointer(out, np.float32)
    held, total = words(), np.float32(0)
    held[t] = np.float32(t)
    if t < n // 4:
        store4(o, 4 * t, load4(o, 4 * t))
    barrier()
    total += held[63 - t]
    total += shuffle_xor(total, 1)
    if t < n:
        o[t] = total


FAULTS = {
    "no barrier": ("    barrier()\n", "", "race in global memory"),
    "a late barrier": (
        "    total += held",
        "    total += held[63 - t]; held[t] = 1; total += held",
        "race on element .* by thread",
    ),
    "write after read": ("total += sh", "held[t] = 0\n    total += sh", r"at .*: held\[t\] = 0"),
    "divergent barrier": ("    barrier()", "    if t < 40:\n        barrier()", "only 40 of 64"),
    "barrier in a loop": ("barrier()", "for k in range(1 + t // 32): barrier()", "only 32 of"),
    "endless loop": ("barrier()", "while total < n: pass", "goes on"),
    "barrier after return": ("    barrier", "    if t == 5: return\n    barrier", "only 63 of 64"),
    "part of a warp": ("total += sh", "if t < 8: total += sh", "only some threads of a warp"),
    "no guard": ("if t < n:", "if t <= n:", "thread 60: out of bounds: 4 bytes at .* byte 240"),
    "before the start": ("o[t]", "o[t - 1]", "out of bounds"),
    "beyond shared memory": ("held[t] =", "held[t + 4090] =", "element 4096 of shared"),
    "misaligned store": ("store4(o, 4 * t", "store4(o, 4 * t + 1", "thread 0: misaligned: 16"),
    "misaligned load": ("load4(o, 4 *", "load4(o, 2 *", "thread 1: misaligned"),
    "misaligned shared": ("held[63 - t]", "load4(held, t)[0]", "misaligned"),
    "unwritten": ("held[63 - t]", "held[64 - t]", "nobody wrote element 64"),
    "two for one": ("o[t] =", "o[t // 4] =", "different values to one place"),
    "beyond 32 bits": ("as_int32(thread())", "as_int32(thread() << 26)", "beyond 32 bits"),
    "a neighbour's result": ("o[t] = total", "o[t] = total + o[59 - t]", "global memory.* read by"),
    "nowhere": ("pointer(out", "pointer(out * 0 + 64", "no allocation"),
}


def test_the_kernel_for_mistakes_has_none() -> None:
    out = np.zeros(60, np.float32)
    run(exchange, 64, out, 60)
    assert (out == (63 - T + 63 - (T ^ 1))[:60]).all()


@pytest.mark.parametrize("name", FAULTS)
def test_mistakes_are_seen(name: str) -> None:
    old, new, message = FAULTS[name]
    with pytest.raises(Fault, match=message):
        run(exchange, 64, np.zeros(60, np.float32), 60, edits=((old, new),))


def handed_on(out, n):
    """Every block adds to what the one before it may have left."""
    t, o = thread(), pointer(out, np.float32)
    at = block() * 64 + t
    if t == 0:
        o[at] = np.float32(1)
    barrier()
    o[at] = o[block() * 64] + np.float32(t)
    atomic_add(pointer(out, np.int32), n * 64, 1)


GLOBAL_FAULTS = {
    "another block's element": ("o[block() * 64]", "o[(block() ^ 1) * 64]", "by block .* the (read|write)"),
    "a store to another block's": ("o[at] = o", "o[(block() ^ 1) * 64 + t] = o", "race in global"),
    "no barrier": ("    barrier()\n", "", "block .*, thread 0 and the read"),
    "an atomic's result": ("o[at] = o", "o[at] = pointer(out, np.int32)[n * 64] + o", "race in global"),
}  # fmt: skip


def test_what_a_block_keeps_to_itself_is_no_race() -> None:
    out = np.zeros(4 * 64 + 1, np.float32)
    run(handed_on, 64, out, 4, grid=(4, 1, 1), edits=())
    assert out.view(np.int32)[-1] == 4 * 64


@pytest.mark.parametrize("name", GLOBAL_FAULTS)
def test_races_in_global_memory_are_seen(name: str) -> None:
    old, new, message = GLOBAL_FAULTS[name]
    with pytest.raises(Fault, match=message):
        run(handed_on, 64, np.zeros(257, np.float32), 4, grid=(4, 1, 1), edits=((old, new),))


def test_edits_must_apply_once() -> None:
    out = np.zeros(60, np.float32)
    with pytest.raises(AssertionError, match="nonsense"):
        run(exchange, 64, out, 60, edits=(("nonsense", ""),))
    with pytest.raises(ValueError, match="occurs"):
        run(exchange, 64, out, 60, edits=(("total", "x"),))


# ----------------------------------------------------------------------------- asynchronous copies

wait0, wait1, wait2 = wait_copies(0), wait_copies(1), wait_copies(2)
HALF = 256


def staged(x, out, n, panels):
    """Sums over panels of 256 numbers, backwards, each on its way while the last one is added."""
    t, p, o = thread(), pointer(x, np.float32), pointer(out, np.float32)
    held = dynamic_shared(1024, np.float32)
    total = np.float32(0)
    copy_async16(held, 4 * t, p, 4 * t, min(max(n - 4 * t, 0), 4))
    commit_copies()
    i = 0
    while i < panels:
        i += 1
        first = i * HALF + 4 * t
        copy_async16(held, i % 2 * HALF + 4 * t, p, first, min(max(n - first, 0), 4))
        commit_copies()
        wait1()
        barrier()
        total += held[(i - 1) % 2 * HALF + HALF - 1 - t]
        barrier()
    wait0()
    o[t] = total


COPY_MISTAKES = {
    "wait one short": ("wait1()", "wait2()", "copy has not landed in element"),
    "no wait": ("        wait1()\n", "", "copy has not landed"),
    "no commit": ("p, first, min(max(n - first, 0), 4))\n        commit_copies()",
                  "p, first, min(max(n - first, 0), 4))", "has not landed"),
    "no barrier after the wait": ("wait1()\n        barrier()", "wait1()", "race"),
    "no barrier before the next copy": ("- 1 - t]\n        barrier()", "- 1 - t]", "race"),
    "the wrong half": ("held[(i - 1) % 2", "held[i % 2", "has not landed"),
    "nobody waits": ("    wait0()\n", "", "nobody waits for"),
    "no zero fill": ("first, min(max(n - first, 0), 4))", "first, 4)", "out of bounds"),
    "misaligned": ("p, first,", "p, first + 1,", "misaligned"),
    "misaligned target": ("HALF + 4 * t,", "HALF + 2 * t,", "misaligned"),
}  # fmt: skip


def panel_sums(*edits: tuple[str, str], n: int = 902) -> tuple[np.ndarray, np.ndarray]:
    """(result, what it should be)."""
    x, out = np.arange(n, dtype=np.float32), np.zeros(64, np.float32)
    run(staged, 64, x, out, n, 4, edits=edits, dynamic=3072)
    padded = np.concatenate([x, np.zeros(4 * HALF - n, np.float32)]).reshape(4, HALF)
    return out, padded[:, ::-1][:, :64].sum(0)


def test_copies_land_when_waited_for() -> None:
    out, expected = panel_sums()
    assert (out == expected).all()


@pytest.mark.parametrize("name", COPY_MISTAKES)
def test_mistakes_with_copies_are_seen(name: str) -> None:
    old, new, message = COPY_MISTAKES[name]
    with pytest.raises(Fault, match=message):
        panel_sums((old, new))


def test_copies_on_the_simulator() -> None:
    x, out = np.arange(902, dtype=np.float32), np.zeros(64, np.float32)
    places = [machine.memory.allocate(a.nbytes) for a in (x, out)]
    machine.copy(places[0], x.ctypes.data, x.nbytes)
    machine.launch("staged", staged, 64, (1, 1, 1), (*places, 902, 4), 3072)
    machine.copy(out.ctypes.data, places[1], out.nbytes)
    for place in places:
        machine.memory.free(place)
    assert (out == panel_sums()[1]).all()


def test_copies_assemble() -> None:
    code = backend.compile_kernel(staged, "iiii", 64)
    for arch in ((8, 0), (9, 0)):
        _, usage = backend.link(code, arch)
        assert (usage.stack, usage.spills, usage.warnings) == (0, 0, ())
    text = backend.compile_kernel(staged, "iiii", 64, output="ptx")
    assert "cp.async.cg.shared.global" in text
    assert "cp.async.wait_group 1;" in text
