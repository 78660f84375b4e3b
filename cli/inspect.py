"""`tilegrad inspect`: the kernels behind an op, their source, machine code and cost, with no GPU.

The op is planned for a GPU on paper, where nothing runs, so that it shows whatever the op would
launch.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from tilegrad.cli.failure import Failure
from tilegrad.cli.operands import Call, keyword, one_line, perform, prepare
from tilegrad.kernels.function import DeviceFunction


def run(arguments: argparse.Namespace) -> None:
    """Print what the op launches."""
    if arguments.device == "cpu":
        _on_cpu(arguments)
    else:
        _on_cuda(arguments)


def _prepared(arguments: argparse.Namespace, device: str) -> Call:
    given = dict(keyword(text) for text in arguments.arg)
    return prepare(
        arguments.op, arguments.shape, arguments.dtype, device, given, arguments.backward
    )


def _source(function: Callable[..., Any]) -> str:
    """Python source of a body, or of the function that it hands its parameters to."""
    inner = function.__globals__.get("kernel")
    shown = inner.function if isinstance(inner, DeviceFunction) else function
    return textwrap.dedent(inspect.getsource(shown)).rstrip()


def _print_source(variant: tuple[Any, ...], body: Callable[..., Any]) -> None:
    for value in variant:
        if isinstance(value, DeviceFunction):
            print(f"\n  formula {value.__name__}, {value.__module__}\n")
            text = value.source or inspect.getsource(value.function)
            print(textwrap.indent(textwrap.dedent(text).rstrip(), "    "))
    print(f"\n  source, {body.__module__}\n")
    print(textwrap.indent(_source(body), "    "))


def _print_text(title: str, text: str) -> None:
    print(f"\n  {title}\n")
    print(textwrap.indent(text.strip(), "    "))


def _operands(call: Call) -> str:
    shapes = [f"{t.dtype.name} {tuple(t.shape)}" for t in call.tensors]
    return ", ".join(shapes) or "no tensors"


# ------------------------------------------------------------------------------------------- CUDA


def _on_cuda(arguments: argparse.Namespace) -> None:
    from tilegrad.kernels.cuda.run import jit
    from tilegrad.kernels.cuda.tools import dry_run as planned, sass
    from tilegrad.kernels.cuda.tools.occupancy import CHIPS

    if arguments.asm:
        raise Failure("--asm is of --device cpu; a GPU has --ptx and --sass")
    if arguments.sass and not sass.available():
        raise Failure("--sass needs nvdisasm: pip install nvidia-cuda-nvdisasm")
    arch = next(a for a in CHIPS if f"sm_{a[0]}{a[1]}" == arguments.arch)
    planned.plan_for(arch)
    call = _prepared(arguments, "cuda")
    with jit.recording() as launches:
        perform(call, arguments.backward)
    kernels: dict[Any, list[Any]] = {}
    for launch in launches:
        kernels.setdefault((id(launch.factory), launch.variant), []).append(launch)
    chip = CHIPS[arch]
    assemblies = [_assembled(alike[0], arch) for alike in kernels.values()]
    print(
        f"{arguments.op}, {_operands(call)}, on {arguments.arch} ({chip.name}, on paper): "
        f"{_count(len(launches), 'launch', 'launches')} of {_count(len(kernels), 'kernel')}"
    )
    for number, (alike, made) in enumerate(zip(kernels.values(), assemblies), 1):
        _print_kernel(number, alike, made, chip, arguments)


def _assembled(launch: Any, arch: tuple[int, int]) -> Any:
    """The kernel of a launch for ``arch``.

    Raises:
        Failure: a package for that is missing.
    """
    from tilegrad.kernels.cuda.run.driver import Unavailable

    try:
        return launch.factory.assemble(launch.variant, arch)
    except Unavailable as error:
        raise Failure(one_line(error)) from None
    except ImportError as error:
        raise Failure(f"cannot assemble kernels ({error}); pip install 'tilegrad[cuda]'") from None


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _print_kernel(
    number: int, launches: list[Any], made: Any, chip: Any, arguments: argparse.Namespace
) -> None:
    """Everything about one kernel, by the first of its launches."""
    from tilegrad.kernels.cuda.tools import sass
    from tilegrad.kernels.cuda.tools.occupancy import occupancy

    launch = launches[0]
    factory, source, usage = launch.factory, launch.source, made.usage
    held = occupancy(chip.arch, usage.registers, source.threads, usage.shared + source.shared)
    print(f"\nkernel {number}: {factory.name(launch.variant)}")
    times = "" if len(launches) == 1 else f" (the first of {len(launches)} launches)"
    grid = " x ".join(map(str, launch.grid))
    _row("grid", f"{grid} blocks of {source.threads} threads{times}")
    _row("registers", f"{usage.registers} a thread")
    _row("shared memory", f"{usage.shared} bytes, {source.shared} more dynamic")
    _row("stack, spills", f"{usage.stack}, {usage.spills} bytes")
    _row(
        "occupancy",
        f"{held.share:.0%}: {held.threads} threads in {_count(held.blocks, 'block')} on a "
        f"multiprocessor, limited by {held.limit}",
    )
    _print_work(launch, chip)
    for warning in usage.warnings:
        _row("warning", warning)
    _print_source(launch.variant, source.body)
    if arguments.ptx:
        _print_text("PTX", factory.ptx(launch.variant))
    if arguments.sass:
        (lines,) = sass.disassemble([made.cubin], chip.arch)
        _print_text(f"SASS, {len(lines)} instructions", "\n".join(lines))


def _print_work(launch: Any, chip: Any) -> None:
    from tilegrad.kernels.cuda.tools.roofline import least_time, work_of

    work = work_of(launch)
    if work is None:
        return
    _row("bytes", f"{_bytes(work.read)} read, {_bytes(work.written)} written")
    _row("operations", f"{work.operations / 1e6:.4g} million, {work.intensity:.3g} a byte")
    seconds, bound = least_time(work, chip)
    _row("at best", f"{seconds * 1e6:.3g} us, bound by {bound} (an estimate from the data sheet)")


def _bytes(number: int) -> str:
    return f"{number / 1e6:.4g} MB" if number >= 100_000 else f"{number} bytes"


def _row(name: str, text: str) -> None:
    print(f"  {name:<16}{text}")


# -------------------------------------------------------------------------------------------- CPU


def _on_cpu(arguments: argparse.Namespace) -> None:
    from tilegrad.kernels.cpu.run import jit

    if arguments.ptx or arguments.sass:
        raise Failure("--ptx and --sass are of --device cuda; a CPU has --asm")
    call = _prepared(arguments, "cpu")
    before = _built()
    perform(call, arguments.backward)
    fresh = [row for row in _built() if row not in before]
    cpu, _ = jit.target()
    print(f"{arguments.op}, {_operands(call)}, on {cpu}: {_count(len(fresh), 'kernel')}")
    for number, (factory, variant) in enumerate(fresh, 1):
        body, signature = factory.factory(*variant)
        print(f"\nkernel {number}: {factory.name(variant)}")
        _print_source(variant, body)
        if arguments.asm:
            _print_text("assembly", jit.assembly(body, signature))


def _built() -> list[tuple[Any, tuple[Any, ...]]]:
    """All kernels of this process."""
    from tilegrad.kernels.cpu.run.jit import KernelFactory

    modules = [m for n, m in list(sys.modules.items()) if n.startswith("tilegrad.kernels.cpu.")]
    factories: dict[int, KernelFactory] = {}
    for module in modules:
        for value in list(vars(module).values()):
            if isinstance(value, KernelFactory):
                factories[id(value)] = value
    return [(f, variant) for f in factories.values() for variant in f.built]
