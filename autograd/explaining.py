"""What an op of the user's is made of: formula, derivatives, kernels, launches, machine code."""

from __future__ import annotations

from collections.abc import Callable

from tilegrad.autograd.gradients import backward as run_backward
from tilegrad.autograd.rules.creation import empty_like, zeros
from tilegrad.autograd.subject import Shape, Shapes, Subject
from tilegrad.engine import inspection
from tilegrad.kernels.cuda.tools.occupancy import CHIPS
from tilegrad.kernels.formulas.derive import DerivativeError, differentiate
from tilegrad.kernels.formulas.formula import Formula


def formulas(subject: Subject) -> str:
    """The source of each output's formula and of its derivatives; "" of an op that has no formula."""
    lines = []
    for formula in subject.formulas():
        lines.append(inspection.source_of(formula))
        for name in Formula("?", formula).names:
            if name in subject.dtypes:
                continue
            try:
                lines.append(inspection.source_of(differentiate(formula, name)))
            except DerivativeError as error:
                lines.append(f"# d {formula.__name__} / d {name}: {error}")
    return "".join(f"{text}\n\n" for text in lines)


def tuned(subject: Subject) -> str:
    """What ``tune=`` chose for the op; "" of one that has no candidates."""
    tuning = getattr(subject.call, "tuning", None)
    return f"\n\n{tuning}" if tuning else ""


def explain(
    subject: Subject,
    *shapes: Shapes,
    arch: str = "sm_90",
    dtype: str = "float32",
    backward: bool = True,
    ptx: bool = False,
    sass: bool = False,
    asm: bool = False,
) -> None:
    """Print an op's formula and derivatives, and the kernels of both devices with their source, launch,
    registers, spills, shared memory and occupancy. No GPU is needed: the work is done in a forked child,
    whose GPU is one on paper.

    Args:
        shapes: of a call: one for all operands, or one for each.
        arch: of the GPU: ``sm_75``, ``sm_80``, ``sm_90`` or ``sm_100``.
        dtype: of operands that are floats.
        backward: the gradient's kernels too.
        ptx, sass, asm: print the GPU's assembly, its machine code, the CPU's assembly.

    Raises:
        ValueError: there is no such architecture.
    """
    chips = {f"sm_{a}{b}": (a, b) for a, b in CHIPS}
    if arch not in chips:
        raise ValueError(f"{subject.name}: arch must be one of {', '.join(chips)}; got {arch!r}")
    given = shapes[0] if len(shapes) == 1 else shapes or (1024, 1024)
    every = subject.shapes_of(given)  # type: ignore[arg-type]

    def title() -> str:
        return f"{subject.name}, {', '.join(f'{dtype} {s}' for s in every)}"

    def cpu() -> str:
        run = _run(subject, every, dtype, "cpu", backward)
        shown = inspection.on_cpu(title, run, asm)
        return formulas(subject) + shown + tuned(subject)

    def cuda() -> str:
        from tilegrad.kernels.cuda.tools import dry_run

        dry_run.plan_for(chips[arch])
        run = _run(subject, every, dtype, "cuda", backward)
        return inspection.on_cuda(title, run, chips[arch], ptx, sass)

    print(inspection.apart(cpu))
    try:
        print("\n" + inspection.apart(cuda))
    except inspection.InspectionError as error:
        print(f"\n{subject.name}, on {arch}: left out: {error}")


def _run(
    subject: Subject, shapes: tuple[Shape, ...], dtype: str, device: str, back: bool
) -> Callable[[], None]:
    """A call of the op on zeros, and its backward pass."""
    kinds = [subject.dtypes.get(name, dtype) for name in subject.operands]
    tensors = [
        zeros(*shape, dtype=kind, device=device) for shape, kind in zip(shapes, kinds, strict=True)
    ]
    for t in tensors:
        t.requires_grad_(back and t.dtype.is_floating_point)

    def run() -> None:
        made = subject.call(*tensors, **subject.more)
        outs = [o for o in (made if isinstance(made, tuple | list) else (made,)) if o.requires_grad]
        if outs:
            run_backward(outs, [empty_like(o) for o in outs])

    return run
