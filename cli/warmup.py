"""`tilegrad warmup`: kernels compiled ahead, so that no later process waits for them.

An op is called, with its backward pass, on operands that stand for how it is used
(:mod:`tilegrad.cli.standing`). On a GPU's behalf it is planned on paper, where nothing runs, and the
kernels are assembled. Ops are shared out to a process for each processor: numba is Python.

With ``--bundle`` the kernels are also written to one file, :mod:`tilegrad.kernels.bundle`, which wheels carry.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from tilegrad.cli.failure import Failure
from tilegrad.cli.operands import find, perform, prepare
from tilegrad.cli.standing import DIGITS, OPTIMIZERS, STANDING, examples
from tilegrad.engine.linking import CALLS
from tilegrad.kernels import bundle, cache
from tilegrad.kernels.cpu.run.threads import get_num_threads

Used = dict[str, bool]  # file of a kernel -> whether it was there before


def run(arguments: argparse.Namespace) -> None:
    """Compile, with a progress bar, and say what that came to.

    Raises:
        Failure: an op is unknown or takes other operands, a package for GPUs is missing, or the bundle
            cannot be written.
    """
    if arguments.worker:
        _work(arguments)
        return
    if (arguments.bundle or arguments.target) and arguments.device != "cpu":
        raise Failure("--target and --bundle are for kernels of the CPU")
    if arguments.bundle and not arguments.target:
        raise Failure("--bundle: needs --target, the level of x86-64 that its kernels are for")
    names = list(dict.fromkeys(arguments.names)) or [*STANDING, *OPTIMIZERS, DIGITS]
    for name in names:
        if name not in (*OPTIMIZERS, DIGITS):
            find(name)
    start = time.perf_counter()
    used: Used = {}
    with tqdm(total=len(names), desc="tilegrad warmup", unit="op", dynamic_ncols=True) as bar:
        for name, found in _shared_out(names, arguments):
            for file, was_there in found.items():  # false wins: one of the processes compiled it
                used[file] = used.get(file, True) and was_there
            bar.set_postfix_str(f"{name}, {_compiled(used)} kernels compiled", refresh=False)
            bar.update()
    compiled = _compiled(used)
    print(
        f"{compiled} {'kernel' if compiled == 1 else 'kernels'} compiled, {len(used) - compiled} found in "
        f"{cache.cache_dir()}; {time.perf_counter() - start:.1f} s"
    )
    if arguments.bundle:
        _bundle(arguments.target, used, Path(arguments.bundle))


def _bundle(level: str, used: Used, path: Path) -> None:
    """Write the kernels that were used, compiled for ``level``, to one file.

    Raises:
        Failure: it cannot be written, or the cache does not have them, as it could not be written.
    """
    try:
        codes = bundle.collected(level, used)
    except FileNotFoundError as error:
        raise Failure(str(error)) from None
    data = bundle.packed(level, codes, **cache.compilers())
    try:
        path.write_bytes(data)
    except OSError as error:
        raise Failure(f"--bundle {path}: {error.strerror}") from None
    print(f"{len(codes)} kernels for {level} in {path}, {len(data) / 1e6:.1f} MB")


def _compiled(used: Used) -> int:
    return sum(not was_there for was_there in used.values())


# ------------------------------------------------------------------------------------- sharing out


def _shared_out(names: list[str], arguments: argparse.Namespace) -> Iterator[tuple[str, Used]]:
    """Each op with the kernels it uses, as they get done."""
    count = min(get_num_threads(), len(names))
    if count == 1 and not arguments.target:
        warm = _warmer(arguments)
        for name in names:
            yield name, warm(name)
        return
    # from the end: what is slow to compile (convolutions, products) comes before what is quick
    waiting, done, ready = list(names), [], threading.Condition()
    with _workers(count, arguments) as workers:

        def feed(worker: subprocess.Popen[str]) -> None:
            reply: Any = None
            while waiting:
                try:
                    name = waiting.pop()
                except IndexError:
                    return
                try:
                    reply = _ask(worker, name)
                except (OSError, ValueError):
                    reply = (
                        f"{name}: the process that compiled it ended (exit code {worker.wait()})"
                    )
                with ready:
                    done.append((name, reply))
                    ready.notify()

        for worker in workers:
            threading.Thread(target=feed, args=(worker,), daemon=True).start()
        for _ in names:
            with ready:
                while not done:
                    ready.wait()
                name, reply = done.pop(0)
            if isinstance(reply, str):
                waiting.clear()
                raise Failure(reply)
            yield name, reply


@contextmanager
def _workers(count: int, arguments: argparse.Namespace) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that warm up the ops whose names they read, a line each."""
    options = ("device", "arch", "dtype")
    given = [word for name in options for word in (f"--{name}", getattr(arguments, name))]
    command = [sys.executable, "-m", "tilegrad", "warmup", "--worker", *given]
    environment = {**os.environ, "TILEGRAD_QUIET": "1", "TILEGRAD_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    if arguments.target:
        environment["TILEGRAD_TARGET"] = arguments.target
        environment.pop("TILEGRAD_SIMD_BITS", None)  # a level says how wide vectors are
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, env=environment, **pipes) for _ in range(count)]
    try:
        yield workers
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for worker in workers:
            worker.communicate()  # it ends when there is nothing more to read


def _ask(worker: subprocess.Popen[str], name: str) -> Used | str:
    """What a worker used for an op, or what is wrong with it."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(name + "\n")
    worker.stdin.flush()
    reply: Used | str = json.loads(worker.stdout.readline())
    return reply


def _work(arguments: argparse.Namespace) -> None:
    """In a worker: answer each line."""
    from tilegrad.kernels.cpu.run import ahead

    ahead.close()  # the other processors have processes of their own
    warm = _warmer(arguments)
    for line in sys.stdin:
        try:
            reply: Used | str = warm(line.strip())
        except Failure as failure:
            reply = str(failure)
        print(json.dumps(reply), flush=True)


# ----------------------------------------------------------------------------------------- warming


def _warmer(arguments: argparse.Namespace) -> Callable[[str], Used]:
    """What uses an op and tells which kernels it took that none did before."""
    keep = _on_cuda(arguments.arch) if arguments.device == "cuda" else None
    told = set(cache.used)

    def warm(name: str) -> Used:
        _use(name, arguments.dtype, arguments.device)
        if keep is not None:
            keep()
        fresh = {file: was for file, was in cache.used.items() if file not in told}
        told.update(fresh)
        return {file: was for file, was in fresh.items() if not file.startswith(CALLS)}

    return warm


def _use(name: str, dtype: str, device: str) -> None:
    """Every call that stands for ``name``, forward and, where it has one, backward: from a gradient
    of its own for each element, and from one for all, as a loss hands it down.
    """
    if name in OPTIMIZERS:
        _step(name, dtype, device)
        return
    if name == DIGITS:
        _train(device)
        return
    for example in examples(name):
        try:
            call = prepare(name, example.shapes, dtype, device, dict(example.given), grad=True)
            perform(call, backward=True, needed=False)
            perform(call, backward=True, needed=False, gradient=_one_for_all)
        except Failure as failure:
            raise Failure(f"{name}: {failure}") from None


def _one_for_all(output: Any) -> Any:
    return output.detach().new_ones(1).expand(*output.shape) if output.ndim else output.detach()


def _step(name: str, dtype: str, device: str) -> None:
    """Two steps of an optimizer, the second with the state that the first one made."""
    import tilegrad
    from tilegrad import nn, optim

    parameter = nn.Parameter(tilegrad.zeros(64, 64, dtype=getattr(tilegrad, dtype), device=device))
    chosen: Any = getattr(optim, name)
    more = {"momentum": 0.9} if name == "SGD" else {}
    for options in ({}, more) if more else ({},):
        optimizer = chosen([parameter], lr=0.1, **options)
        for _ in range(2):
            parameter.grad = tilegrad.zeros_like(parameter)
            optimizer.step()


def _train(device: str) -> None:
    """What `tilegrad train` and `predict` do with the digits, on as many random images of their size."""
    import numpy as np

    from tilegrad.cli import checkpoint
    from tilegrad.cli.digits import Images, Sets, tensors
    from tilegrad.cli.model import load_classifier
    from tilegrad.cli.predict import chances
    from tilegrad.cli.train import DEFAULTS, Job

    generator = np.random.default_rng(0)

    def some(count: int) -> tuple[np.ndarray, np.ndarray]:
        return generator.random((count, 8, 8), np.float32), np.arange(count) % 10

    sets = Sets(Images(*some(1437)), tensors(*some(360)), 10, "random")
    options = argparse.Namespace(device=device, workers=0, epochs=1)
    job = Job(sets, checkpoint.Progress(dict(DEFAULTS)), options)
    silence = io.StringIO()
    with redirect_stdout(silence), redirect_stderr(silence):
        job.epoch(1)
    with TemporaryDirectory() as name:
        job.write(Path(name))
        found = checkpoint.read(Path(name))
        model = load_classifier(os.path.join(name, "model.safetensors")).to(device)
    checkpoint.restore(found, job.parts)
    for count in (1, 2):
        chances(model, sets.train.images[:count], device)


def _on_cuda(name: str) -> Callable[[], None]:
    """On paper: a function that assembles what was planned since the last call."""
    from tilegrad.kernels.cuda.run import driver, jit
    from tilegrad.kernels.cuda.tools import dry_run as planned

    arch = planned.ARCHS[name]
    planned.plan_for(arch)
    seen = 0

    def keep() -> None:
        nonlocal seen
        before, seen = seen, len(jit.kernels_built)
        try:
            planned.assemble_planned(arch, before)
        except driver.Unavailable as error:
            raise Failure(" ".join(str(error).split())) from None
        except ImportError as error:
            raise Failure(
                f"cannot assemble kernels ({error}); pip install 'tilegrad[cuda]'"
            ) from None

    return keep
