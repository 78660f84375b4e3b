"""The kernels behind a call, as text: source, launch, registers, occupancy, cost, machine code, with no GPU.

:func:`on_cuda` needs a GPU on paper (:mod:`tilegrad.kernels.cuda.tools.dry_run`), where nothing runs, so that
it shows whatever the call would launch. :func:`on_cpu` runs it.
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from tilegrad.engine import cuda
from tilegrad.engine.dispatch import Op
from tilegrad.kernels.function import DeviceFunction

Arch = tuple[int, int]


class InspectionError(RuntimeError):
    """A package that takes kernels apart is missing."""


def _source(function: Callable[..., Any]) -> str:
    """Python source of a body, or of the function that it hands its parameters to."""
    inner = function.__globals__.get("kernel")
    shown = inner.function if isinstance(inner, DeviceFunction) else function
    return textwrap.dedent(inspect.getsource(shown)).rstrip()


def source_of(formula: DeviceFunction) -> str:
    """The Python source of a formula."""
    return textwrap.dedent(formula.source or inspect.getsource(formula.function)).rstrip()


def _sources(variant: tuple[Any, ...], body: Callable[..., Any]) -> Iterator[str]:
    for value in variant:
        if isinstance(value, DeviceFunction):
            yield from _text(f"formula {value.__name__}, {value.__module__}", source_of(value))
    yield from _text(f"source, {body.__module__}", _source(body))


def _text(title: str, text: str) -> Iterator[str]:
    yield f"\n  {title}\n"
    yield textwrap.indent(text.strip("\n"), "    ")


def count(number: int, one: str, many: str = "") -> str:
    """``1 kernel``, ``2 kernels``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _row(name: str, text: str) -> str:
    return f"  {name:<16}{text}"


# ------------------------------------------------------------------------------------------- CUDA


def on_cuda(
    title: Callable[[], str], run: Callable[[], Any], arch: Arch, ptx: bool = False,
    sass: bool = False,
) -> str:  # fmt: skip
    """What ``run`` launches on the GPU on paper of ``arch``; ``title``, asked afterwards, says what it is.

    Raises:
        InspectionError: a package for that is missing.
    """
    from tilegrad.kernels.cuda.run import jit
    from tilegrad.kernels.cuda.tools.occupancy import CHIPS

    with jit.recording() as launches:
        run()
    kernels: dict[Any, list[Any]] = {}
    for launch in launches:
        kernels.setdefault((id(launch.factory), launch.variant), []).append(launch)
    chip = CHIPS[arch]
    assemblies = [_assembled(alike[0], arch) for alike in kernels.values()]
    lines = [
        f"{title()}, on sm_{arch[0]}{arch[1]} ({chip.name}, on paper): "
        f"{count(len(launches), 'launch', 'launches')} of {count(len(kernels), 'kernel')}"
    ]
    for number, (alike, made) in enumerate(zip(kernels.values(), assemblies, strict=True), 1):
        lines += _kernel(number, alike, made, chip, ptx, sass)
    return "\n".join(lines)


def _assembled(launch: Any, arch: Arch) -> Any:
    """The kernel of a launch for ``arch``."""
    from tilegrad.kernels.cuda.run.driver import Unavailable

    try:
        return launch.factory.assemble(launch.variant, arch)
    except Unavailable as error:
        raise InspectionError(" ".join(str(error).split())) from None
    except ImportError as error:
        raise InspectionError(
            f"cannot assemble kernels ({error}); pip install 'tilegrad[cuda]'"
        ) from None


def _kernel(
    number: int, launches: list[Any], made: Any, chip: Any, ptx: bool, sass: bool
) -> Iterator[str]:
    """Everything about one kernel, by the first of its launches."""
    from tilegrad.kernels.cuda.tools import sass as disassembler
    from tilegrad.kernels.cuda.tools.occupancy import occupancy

    launch = launches[0]
    factory, source, usage = launch.factory, launch.source, made.usage
    held = occupancy(chip.arch, usage.registers, source.threads, usage.shared + source.shared)
    yield f"\nkernel {number}: {factory.name(launch.variant)}"
    times = "" if len(launches) == 1 else f" (the first of {len(launches)} launches)"
    grid = " x ".join(map(str, launch.grid))
    yield _row("grid", f"{grid} blocks of {source.threads} threads{times}")
    yield _row("registers", f"{usage.registers} a thread")
    yield _row("shared memory", f"{usage.shared} bytes, {source.shared} more dynamic")
    yield _row("stack, spills", f"{usage.stack}, {usage.spills} bytes")
    yield _row(
        "occupancy",
        f"{held.share:.0%}: {held.threads} threads in {count(held.blocks, 'block')} on a "
        f"multiprocessor, limited by {held.limit}",
    )
    yield from _work(launch, chip)
    for warning in usage.warnings:
        yield _row("warning", warning)
    yield from _sources(launch.variant, source.body)
    if ptx:
        yield from _text("PTX", factory.ptx(launch.variant))
    if sass:
        (lines,) = disassembler.disassemble([made.cubin], chip.arch)
        yield from _text(f"SASS, {len(lines)} instructions", "\n".join(lines))


def _work(launch: Any, chip: Any) -> Iterator[str]:
    from tilegrad.kernels.cuda.tools.roofline import least_time, work_of

    work = work_of(launch)
    if work is None:
        return
    yield _row("bytes", f"{_bytes(work.read)} read, {_bytes(work.written)} written")
    yield _row("operations", f"{work.operations / 1e6:.4g} million, {work.intensity:.3g} a byte")
    seconds, bound = least_time(work, chip)
    yield _row(
        "at best", f"{seconds * 1e6:.3g} us, bound by {bound} (an estimate from the data sheet)"
    )


def _bytes(number: int) -> str:
    return f"{number / 1e6:.4g} MB" if number >= 100_000 else f"{number} bytes"


# -------------------------------------------------------------------------------------------- CPU


def on_cpu(title: Callable[[], str], run: Callable[[], Any], asm: bool = False) -> str:
    """The kernels that ``run`` builds, which this process has not built before."""
    from tilegrad.kernels.cpu.run import jit

    before = _built()
    run()
    fresh = [row for row in _built() if row not in before]
    cpu, _ = jit.target()
    lines = [f"{title()}, on {cpu}: {count(len(fresh), 'kernel')}"]
    for number, (factory, variant) in enumerate(fresh, 1):
        body, signature = factory.factory(*variant)
        lines.append(f"\nkernel {number}: {factory.name(variant)}")
        lines += _sources(variant, body)
        if asm:
            lines += _text("assembly", jit.assembly(body, signature))
    return "\n".join(lines)


def _built() -> list[tuple[Any, tuple[Any, ...]]]:
    """All kernels of this process."""
    return [(f, variant) for f in _factories() for variant in f.built]


def _factories() -> list[Any]:
    from tilegrad.kernels.cpu.run.jit import KernelFactory

    modules = [m for n, m in list(sys.modules.items()) if n.startswith("tilegrad.kernels.cpu.")]
    found: dict[int, KernelFactory] = {}
    for module in modules:
        for value in list(vars(module).values()):
            if isinstance(value, KernelFactory):
                found[id(value)] = value
    return list(found.values())


# ------------------------------------------------------------------------------------------ apart


def apart(work: Callable[[], str]) -> str:
    """What ``work`` says in a forked child, which has forgotten all plans and kernels, and whose device may
    become paper: this process stays as it is.

    Raises:
        InspectionError: ``work`` raised it, or the child ended early.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads
        child = os.fork()
    if not child:
        _as_child(work, reading, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    if not told:
        raise InspectionError("the process that looked at the kernels ended early")
    kind, text = json.loads(told)
    if kind:
        raise InspectionError(text)
    return str(text)


def _as_child(work: Callable[[], str], reading: int, writing: int) -> None:
    """Never returns."""
    try:
        os.close(reading)
        cuda.forget()
        gc.unfreeze()  # or ops that were frozen would keep their plans
        for op in [x for x in gc.get_objects() if issubclass(type(x), Op)]:
            op.plans.clear()
        for factory in _factories():
            factory.built.clear()
        told = ("", work())
    except InspectionError as error:
        told = ("error", str(error))
    except BaseException as error:
        told = ("error", f"{type(error).__name__}: {error}")
    try:
        with os.fdopen(writing, "w", encoding="utf-8") as pipe:
            json.dump(told, pipe)
    finally:
        os._exit(0)
