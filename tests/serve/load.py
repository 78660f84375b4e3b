"""`tilegrad serve` under load: ``python -m tests.serve.load --clients 500 --seconds 60`` (``PYTHONPATH=.dev``).

Clients on loopback each keep a connection and ask anew as soon as they are answered. Every answer is compared with what
the model gives in this process, so that nothing is lost or mixed up; exit status 1 if something is, or memory grows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tests.serve.process import examples, serving, write_classifier
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.creation import from_numpy
from tilegrad.cli.model import load_classifier

KINDS = 64  # different requests


class Load:
    """What the clients of a run saw."""

    def __init__(self, port: int, requests: list[bytes], expected: list[list[float]]):
        self.port, self.requests, self.expected = port, requests, expected
        self.seconds: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.until = 0.0

    async def client(self, number: int) -> None:
        """Ask until the time is over; a connection that ends in between is counted as lost."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            while time.perf_counter() < self.until:
                number = (number + 1) % len(self.requests)
                begin = time.perf_counter()
                writer.write(self.requests[number])
                head = await reader.readuntil(b"\r\n\r\n")
                status = head[9:12].decode()
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                body = await reader.readexactly(length)
                self.seconds.append(time.perf_counter() - begin)
                self.statuses[status] += 1
                if status == "200" and not self.right(number, body):
                    self.statuses["wrong"] += 1
            writer.close()
        except (OSError, EOFError, asyncio.IncompleteReadError):
            self.statuses["lost"] += 1

    def right(self, number: int, body: bytes) -> bool:
        """Whether the answer is that of this request: batches of another size differ by rounding alone."""
        (row,) = json.loads(body)["outputs"]["probabilities"]
        return bool(np.allclose(row, self.expected[number], rtol=0, atol=1e-5))


def _memory(process: int) -> int:
    """Resident bytes."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def run(load: Load, clients: int, seconds: float, process: int) -> list[int]:
    """Run all clients; the server's memory, ten times in the run."""
    load.until = time.perf_counter() + seconds
    tasks = [asyncio.create_task(load.client(k)) for k in range(clients)]
    memory = []
    for _ in range(10):
        await asyncio.sleep(seconds / 10)
        memory.append(_memory(process))
    await asyncio.gather(*tasks)
    return memory


def prepare(folder: Path, port: int) -> tuple[list[bytes], list[list[float]]]:
    """Requests, and the probabilities that they ask for."""
    images = examples(KINDS)
    with no_grad():
        scores = load_classifier(str(folder / "model.safetensors"))(from_numpy(images))
        expected = scores.softmax(1).tolist()
    requests = []
    for image in images:
        body = json.dumps({"inputs": image.tolist()}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        requests.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return requests, expected


def main() -> int:
    """Run, print what was seen, and judge it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = write_classifier(folder, (32, 64))
        with serving(model) as (process, port):
            load = Load(port, *prepare(folder, port))
            memory = asyncio.run(run(load, arguments.clients, arguments.seconds, process.pid))
    times = np.sort(load.seconds)
    p50, p99 = (1000 * float(np.quantile(times, q)) for q in (0.5, 0.99))
    print(
        f"{arguments.clients} clients, {arguments.seconds:g} s, load of the machine {os.getloadavg()[0]:.1f}"
    )
    print(
        f"{len(times)} answers, {len(times) / arguments.seconds:.0f} a second; {dict(load.statuses)}"
    )
    print(f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, most {1000 * times[-1]:.0f} ms")
    print("memory, MiB:", *(round(m / (1 << 20)) for m in memory))
    steady = memory[-1] < 1.05 * memory[2]
    return int(set(load.statuses) != {"200"} or not steady)


if __name__ == "__main__":
    sys.exit(main())
