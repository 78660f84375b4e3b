"""Exits of a process with many plans, threads and workers: ``python -m tests.exits 500``.

The interpreter takes its modules apart in an order that nobody promises, while tensors, plans and bound
built-ins are still dropped: whatever machine code has the address of must outlive that. Prints every exit
that was not clean and how many there were; tests/exits/test_exits.py does a few.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys, threading
import numpy as np
import tilegrad as tg
F, nn = tg.nn.functional, tg.nn


class Last:  # computes, writes and frees while the interpreter ends
    def __init__(self):
        self.x = tg.ones(64, requires_grad=True)
        self.kept = [tg.ones(n) for n in (3, 30_000, 600_000)]

    def __del__(self):
        if tg.no_grad is None:  # the library's modules are empty: what is held is freed alone. An exception would be
            return  # printed, for which CPython 3.11 imports io: for ever, where a thread died with the import lock
        with tg.no_grad():
            self.x.add_(1)
        y = (self.x * 2 + self.kept[0].sum()).exp().sum()
        y.backward()
        self.kept.clear()
        if self.x.grad is None or not self.x.sum().item() == 128:
            print("wrong at exit", file=sys.stderr)


def work(number):
    a = tg.rand(64 + number, 64, requires_grad=True)
    while True:
        ((a @ a.t()).softmax(1) * 2 + 1).sum().backward()
        tg.conv2d(tg.rand(2, 3, 20, 20), tg.rand(4, 3, 3, 3))


def fill():  # plans, bound tables, views, graphs, cycles
    kept = []
    for n in range(2, 40):
        x = tg.rand(n, n + 3, requires_grad=True)
        y = (x.t() + x.sum(1)).exp().log().softmax(0).cumsum(1)
        z = tg.cat([y, y[:, 1:]], 1).sort(1)[0].index_select(0, tg.arange(n // 2 + 1))
        kept.append((x, y, z, F.max_pool2d(tg.rand(1, 2, n + 4, n + 4), 3), z.detach().numpy()))
    layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    optimizer = tg.optim.Adam(layers.parameters())
    F.cross_entropy(layers(tg.rand(5, 1, 8, 8)), tg.randint(0, 3, (5,))).backward()
    optimizer.step()
    kept.append(kept)
    return kept, layers, optimizer


class Numbers(tg.data.Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, place):
        return tg.full((100,), float(place))


if __name__ == "__main__":
    number = int(sys.argv[1])
    things, last = fill(), Last()
    np.things, sys.things, tg.things = Last(), fill(), Last()  # modules that go at other times
    if number % 3 != 1:
        for k in range(3):
            threading.Thread(target=work, args=(k,), daemon=True).start()
    if number % 4 == 2:
        workers = iter(tg.data.DataLoader(Numbers(), batch_size=4, num_workers=2))
        batch = next(workers)
    if number % 5 == 3:
        sys.exit(3)
    if number % 5 == 4:
        raise KeyboardInterrupt
"""

EXPECTED = {3: 3, 4: -2}  # by the number modulo 5; what is raised ends the process by its signal


def count(exits: int, program: Path, first: int = 0) -> list[str]:
    """The exits, of so many, that were not clean."""
    program.write_text(PROGRAM, encoding="utf-8")
    bad = []
    for number in range(first, first + exits):
        done = subprocess.run(
            [sys.executable, str(program), str(number)], capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
        )  # fmt: skip
        noise = [line for line in done.stderr.splitlines() if "wrong at exit" in line]
        if done.returncode != EXPECTED.get(number % 5, 0) or noise:
            bad.append(f"exit {number}: code {done.returncode}: {done.stderr[-400:]}")
    return bad


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        total = int(sys.argv[1]) if len(sys.argv) > 1 else 500
        found = count(total, Path(folder) / "ending.py")
        print(*found, f"{len(found)} of {total} exits were not clean", sep="\n")
        sys.exit(bool(found))
