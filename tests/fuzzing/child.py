"""A process that reads spoiled files with its hands tied: bounded memory, no file but the one given."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import tilegrad
from tests.fuzzing.hostile import HOSTILE
from tests.fuzzing.mutations import mutated
from tests.fuzzing.targets import BAD, TARGETS
from tilegrad.kernels import cache
from tilegrad.kernels.faults import MissingKernelError

MORE_MEMORY = 1 << 30  # bytes of address space beyond what the good files took
SECONDS = 20  # a file may take
# what no reading of a model does
FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "socket.",
             "pickle.find_class", "marshal.loads", "shutil.", "os.remove", "os.rename", "os.rmdir", "os.mkdir",
             "os.symlink", "os.chmod", "urllib.", "ctypes.dlopen", "webbrowser.")  # fmt: skip


class Hands(BaseException):
    """A file had the process do what it may not."""


class Watch:
    """An audit hook: what is opened, run or asked for while a file is read."""

    def __init__(self, folder: Path):
        self.folder = os.path.realpath(folder)
        homes = [
            sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(tilegrad.__file__)),
            str(cache.cache_dir()), "/sys", "/proc", self.folder,
        ]  # fmt: skip
        self.homes = tuple(os.path.realpath(h) for h in homes)
        self.found: list[str] = []
        self.active = False

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event == "open" and isinstance(args[0], (str, bytes, os.PathLike)):
            path = os.path.realpath(os.fsdecode(args[0]))
            if not path.startswith(self.homes) or path.endswith("secret.bin"):
                self._say(f"opened {path}")
        elif event.startswith(FORBIDDEN):
            self._say(f"{event} {args!r:.200}")

    def _say(self, what: str) -> None:
        self.found.append(what)
        raise Hands(what)


class Reader:
    """Reads files of one kind; ``findings`` are what they had no right to cause."""

    def __init__(self, name: str, folder: Path):
        self.target = {**TARGETS, **BAD}[name]
        self.folder = folder
        self.watch = Watch(folder)
        self.findings: list[dict[str, Any]] = []
        self.slowest = 0.0
        self.refused = 0
        (folder.parent / "secret.bin").write_bytes(b"\x42" * 64)
        self.good = [(p, p.read_bytes()) for p in self.target.seeds(folder)]
        for path, _ in self.good:  # with no limits: what they need is loaded and compiled
            self.target.read(path)
        os.environ["TILEGRAD_COMPILE"] = "never"
        sys.addaudithook(self.watch)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY, hard))

    def read(self, path: Path, data: bytes, what: str) -> None:
        """Read bytes as a file of this name."""
        path.write_bytes(data)
        found = ""
        start = time.perf_counter()
        signal.signal(signal.SIGALRM, _too_slow)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        self.watch.active = True
        try:
            self.target.read(path)
        except self.target.allowed as error:
            self.refused += 1
            if self.target.one_line and "\n" in str(error).strip():
                found = f"more than a line: {error}"
        except MissingKernelError:
            pass
        except BaseException as error:
            found = "".join(traceback.format_exception(error)[-6:])
        finally:
            self.watch.active = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        if self.watch.found:
            found = f"{self.watch.found.pop()}\n{found}"
        if found:
            self.findings.append({"what": what, "said": found[-2000:], "file": data[:100000].hex()})
        self.slowest = max(self.slowest, time.perf_counter() - start)

    def spoil(self, seed: int) -> None:
        """Read a good file, spoiled."""
        source = random.Random(seed)
        path, data = source.choice(self.good)
        spoiled = self.target.mended(mutated(data, source))
        self.read(path.with_name(f"x-{path.name}"), spoiled, f"seed {seed}, of {path.name}")


def _too_slow(*_: Any) -> None:
    raise Hands(f"it took more than {SECONDS} s")


def main(name: str, folder: Path, first: int, count: int, seconds: float) -> None:
    """Read ``count`` spoiled files, or as many as ``seconds`` allow; print what came of it as JSON."""
    reader = Reader(name, folder)
    for what, file, data in HOSTILE[name]() if name in HOSTILE else ():
        before = reader.refused
        reader.read(folder / file, data, what)
        if reader.refused == before and not reader.findings:
            reader.findings.append(
                {"what": what, "said": "it was not refused", "file": data[:1000].hex()}
            )
    end, done = time.monotonic() + seconds, 0
    for seed in range(first, first + count):
        if time.monotonic() > end:
            break
        reader.spoil(seed)
        done += 1
    print(json.dumps({
        "read": done, "refused": reader.refused, "slowest": round(reader.slowest, 3), "findings": reader.findings,
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
