"""Ctrl-C at random instants: ``python -m tests.exits.interrupts 100``.

While a kernel runs on several threads, while one is compiled, in a backward pass, in a step, between a loader's
workers and on the simulated GPU a signal comes: KeyboardInterrupt is raised once, and what follows is as if it
had never come. Prints every instant after which something was left behind; tests/exits/test_exits.py does a few.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import gc, os, random, signal, sys, threading, time
import tilegrad as tg
from tilegrad.engine import cuda, dispatch, memory
from tilegrad.kernels import forking
from tilegrad.kernels.cuda.run import driver

F, nn = tg.nn.functional, tg.nn
FRESH = [n for n in dir(tg) if n in (
    "sin cos tan asin acos atan sinh cosh asinh atanh exp expm1 exp2 log log2 log10 log1p erf erfc erfinv lgamma "
    "digamma sigmoid logit softplus tanh sqrt rsqrt square ceil floor round trunc frac sign sgn neg abs reciprocal "
    "deg2rad rad2deg sinc i0 i0e i1 i1e ndtri entr relu isnan isinf signbit positive acosh").split()]


class Numbers(tg.data.Dataset):
    def __len__(self):
        return 24

    def __getitem__(self, place):
        return tg.full((1000,), float(place))


def kernel():
    return ((big.exp() * 2 + big).sum() + (wide @ wide).sum(), big.cumsum(0)[-1])


def compiling():
    kind = random.choice([tg.float32, tg.float64])
    x = tg.full((2,) * random.randrange(1, 5), 0.5).to(kind)
    name = random.choice(FRESH)
    y = getattr(tg, name)(x)
    if name not in ("digamma", "acosh"):
        assert y.eq(getattr(tg, name)(x)).all() or y.ne(y).all(), name
    return (tg.ones(3) * 2,)


def backward():
    x = start.clone().requires_grad_()
    y = x
    for k in range(30):
        y = (y * 1.01).tanh() @ mix if k % 3 else y.softmax(1) + x
    y.sum().backward()
    return (x.grad,)


def step():
    torn = nn.Linear(50, 50)
    with tg.no_grad():
        torn.weight.copy_(mix[:50, :50])
        torn.bias.zero_()
    optimizer = tg.optim.Adam(torn.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        with tg.enable_grad():
            F.mse_loss(torn(start[:, :50]), start[:, :50]).backward()
        optimizer.step()
    with tg.inference_mode():
        return (torn(start[:, :50]),)


def loader():
    return (tg.cat([b.sum(1) for b in tg.data.DataLoader(Numbers(), batch_size=4, num_workers=2)]),)


def device():
    x = start[:4].to("cuda").requires_grad_()
    ((x * 2).exp() @ x.t()).sum().backward()
    return (x.grad.cpu(),)


def free(lock):
    got = []
    asks = threading.Thread(target=lambda: got.append(lock.acquire(timeout=5)) or (got[-1] and lock.release()))
    asks.start()
    asks.join()
    return got == [True]


def left(what, want, held):
    "What an interrupt has left behind."
    gc.collect()
    found = []
    if not tg.is_grad_enabled() or tg.is_inference_mode_enabled():
        found.append("a mode of autograd")
    if dispatch._modes or dispatch._tracers and any(dispatch._tracers.values()):
        found.append("a mode of ops")
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        found.append("another handler")
    if not free(forking.compiler.lock) or not free(memory.HOST._lock):
        found.append("a lock")
    if memory.HOST.counts.allocated > held + (1 << 16):
        found.append(f"{memory.HOST.counts.allocated - held} bytes")
    for have, right in zip(what(), want):
        if not have.eq(right).all():
            found.append("wrong results")
    return found


def run(name, instants, seed):
    what, draw = globals()[name], random.Random(seed)
    began = time.perf_counter()
    want = tuple(x.detach().clone() for x in what())
    if name != "compiling":
        began = time.perf_counter()
        what()
    took = time.perf_counter() - began
    gc.collect()
    held, bad = memory.HOST.counts.allocated, 0
    for number in range(instants):
        caught, delay = 0, draw.random() * 2 * took
        sender = threading.Thread(target=lambda: (time.sleep(delay), os.kill(os.getpid(), signal.SIGINT)))
        end = time.monotonic() + 60
        try:
            sender.start()
            while time.monotonic() < end:
                what()
        except KeyboardInterrupt:
            caught += 1
        try:
            sender.join()
            found = left(what, want, held)
        except BaseException as error:
            caught, found = caught + isinstance(error, KeyboardInterrupt), [repr(error)[:200]]
        if caught != 1:
            found.append(f"{caught} interrupts were seen")
        if found:
            bad += 1
            print(f"{name}, seed {seed}, instant {number}, after {delay * 1e3:.2f} ms:", *found, flush=True)
    print(f"{name}: {instants - bad} of {instants}", flush=True)


if __name__ == "__main__":
    tg.set_num_threads(2)
    try:
        driver.get()
    except driver.Unavailable:
        driver.simulate()
    random.seed(3)
    big, wide, start = tg.linspace(0, 1, 2_000_000), tg.ones(300, 300), tg.linspace(-1, 1, 6400).view(64, 100)
    mix = tg.eye(100) * 0.9 + 0.001
    for name in sys.argv[1].split(","):
        run(name, int(sys.argv[2]), int(sys.argv[3]))
"""

NAMES = ("kernel", "compiling", "backward", "step", "loader", "device")


def count(name: str, instants: int, folder: Path, seed: int = 0) -> str:
    """What a process says of so many interrupts while it does what ``name``, or each of several, says."""
    program = folder / "interrupted.py"
    program.write_text(PROGRAM, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_QUIET": "1"}
    if name == "compiling":
        environment["TILEGRAD_CACHE_DIR"] = str(folder / f"cache{seed}")
    done = subprocess.run(
        [sys.executable, str(program), name, str(instants), str(seed)], capture_output=True, text=True,
        timeout=60 + 60 * instants, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    said = done.stdout + done.stderr[-2000:]
    return said if done.returncode == 0 else f"{said}\n{name}: code {done.returncode}"


if __name__ == "__main__":
    import tempfile

    total = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as where:
        for each in sys.argv[2:] or NAMES:
            print(count(each, total, Path(where)), flush=True)
