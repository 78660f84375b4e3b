"""Our kernels under numba's own CUDA simulator.

Run as a program with ``NUMBA_ENABLE_CUDASIM=1``: it hands every launch to numba's simulator, whose
threads are operating system threads, and answers the device language from there. Far slower than
:mod:`tilegrad.kernels.cuda.device.simulator`, but written by others: what agrees under both is no artefact
of ours.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

import tilegrad
import tilegrad.nn.functional as F
from tilegrad.kernels.cuda.device import ptx, simulator
from tilegrad.kernels.cuda.run import jit

WARP = 32


class NumbaMachine(simulator.Machine):
    """The device language over numba's simulated threads."""

    def __init__(self, original: simulator.Machine):
        self.__dict__.update(original.__dict__)
        self._guard = threading.RLock()
        self._slots: dict[int, Any] = {}

    thread = property(lambda self: threading.current_thread().threadIdx.x, lambda self, value: None)
    block = property(
        lambda self: tuple(getattr(threading.current_thread().blockIdx, a) for a in "xyz"),
        lambda self, value: None,
    )

    def pointer(self, address: int, dtype: Any) -> simulator.Pointer:
        with self._guard:
            return super().pointer(address, dtype)

    def shared(self, name: str, dtype: str, count: int) -> simulator.Pointer:
        with self._guard:
            if self._pointers.get("block") != self.block:  # blocks run one after the other
                self._pointers.clear()
                self._pointers["block"] = self.block  # type: ignore[assignment]
            return super().shared(name, dtype, count)

    def barrier(self) -> None:
        threading.current_thread().syncthreads()

    def warp_barrier(self) -> None:
        self.barrier()

    def _exchange(self, value: Any) -> dict[int, Any]:
        """Everybody's value: valid where the whole block arrives, as it does in our kernels."""
        self._slots[self.thread] = value
        self.barrier()
        values = dict(self._slots)
        self.barrier()
        return values

    def shuffle(self, mode: str, value: Any, lane: int) -> Any:
        me = self.thread
        first = me - me % WARP
        here = me % WARP
        source = {"down": here + lane, "up": here - lane, "bfly": here ^ lane, "idx": lane % WARP}
        values = self._exchange(value)
        return values[first + source[mode]] if 0 <= source[mode] < WARP else value

    def ballot(self, condition: bool) -> int:
        first = self.thread - self.thread % WARP
        values = self._exchange(condition)
        return sum(1 << k for k in range(WARP) if values.get(first + k))

    def launch(self, name, body, threads, grid, args, dynamic=0, *more):
        self.grid = grid
        self.launches += 1
        self._pointers.clear()
        self._dynamic = np.full(dynamic + 1024, 0xA5, np.uint8)
        with np.errstate(all="ignore"):
            cuda.jit(body)[grid, threads](*args)
        self._pointers.clear()


def main() -> None:
    """One kernel of each kind and its gradient, against the CPU."""
    machine = NumbaMachine(simulator.machine)
    ptx.machine = jit.machine = machine
    rng = np.random.default_rng(0)

    def check(function: Callable[..., Any], *shapes: tuple[int, ...]) -> None:
        arrays = [rng.standard_normal(s).astype("f4") for s in shapes]
        results = []
        for device in ("cpu", "cuda"):
            inputs = [tilegrad.tensor(a, device=device, requires_grad=True) for a in arrays]
            out = function(*inputs)
            (out * out).sum().backward()
            results.append([t.cpu().numpy() for t in (out.detach(), *(i.grad for i in inputs))])
        for have, want in zip(*results, strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)

    check(lambda x, y: x.sigmoid() * y, (5, 7), (7,))
    check(lambda x, y: x @ y, (5, 7), (7, 6))
    check(lambda x: tilegrad.softmax(x, 1), (3, 40))
    check(lambda x: x.var(0), (9, 4))
    check(lambda x: x.cumsum(0), (6, 3))
    check(lambda x: tilegrad.sort(x).values, (2, 5))
    check(lambda x: F.layer_norm(x, (6,)), (3, 6))
    check(F.conv2d, (1, 2, 4, 5), (3, 2, 3, 3))
    check(lambda x: F.max_pool2d(x, 2), (1, 1, 4, 6))
    check(lambda w: F.embedding(tilegrad.tensor([1, 0, 1], device=w.device), w), (3, 4))
    print("agreed after", machine.launches, "launches")


if __name__ == "__main__":
    main()
