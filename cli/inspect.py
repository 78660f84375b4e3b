"""`tilegrad inspect`: the kernels behind an op, their source, machine code and cost, with no GPU.

The op is planned for a GPU on paper, where nothing runs, so that it shows whatever the op would
launch.
"""

from __future__ import annotations

import argparse

from tilegrad.autograd.explaining import formulas, tuned
from tilegrad.cli.failure import Failure
from tilegrad.cli.operands import Call, keyword, perform, prepare
from tilegrad.engine import inspection


def run(arguments: argparse.Namespace) -> None:
    """Print what the op launches."""
    try:
        print(_on_cpu(arguments) if arguments.device == "cpu" else _on_cuda(arguments))
    except inspection.InspectionError as error:
        raise Failure(str(error)) from None


def _prepared(arguments: argparse.Namespace, device: str) -> Call:
    given = dict(keyword(text) for text in arguments.arg)
    return prepare(
        arguments.op, arguments.shape, arguments.dtype, device, given, arguments.backward
    )


def _title(op: str, call: Call) -> str:
    """The op and its operands; above that, of an op of the user's, its formula and derivatives."""
    shapes = [f"{t.dtype.name} {tuple(t.shape)}" for t in call.tensors]
    title = f"{op}, {', '.join(shapes) or 'no tensors'}"
    subject = getattr(call.function, "subject", None)
    return title if subject is None else f"{formulas(subject)}{title}"


def _on_cuda(arguments: argparse.Namespace) -> str:
    from tilegrad.kernels.cuda.tools import dry_run as planned, sass

    if arguments.asm:
        raise Failure("--asm is of --device cpu; a GPU has --ptx and --sass")
    if arguments.sass and not sass.available():
        raise Failure("--sass needs nvdisasm: pip install nvidia-cuda-nvdisasm")
    arch = planned.ARCHS[arguments.arch]
    planned.plan_for(arch)
    call = _prepared(arguments, "cuda")
    return inspection.on_cuda(
        lambda: _title(arguments.op, call), lambda: perform(call, arguments.backward), arch,
        arguments.ptx, arguments.sass,
    )  # fmt: skip


def _on_cpu(arguments: argparse.Namespace) -> str:
    if arguments.ptx or arguments.sass:
        raise Failure("--ptx and --sass are of --device cuda; a CPU has --asm")
    call = _prepared(arguments, "cpu")
    shown = inspection.on_cpu(
        lambda: _title(arguments.op, call), lambda: perform(call, arguments.backward), arguments.asm
    )
    subject = getattr(call.function, "subject", None)
    return shown if subject is None else shown + tuned(subject)
