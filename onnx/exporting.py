"""Programs to ONNX files: traced, written row by row, checked and compared."""

from __future__ import annotations

import enum
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx

from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.array import to_numpy
from tilegrad.nn.modules.module import Module
from tilegrad.onnx import checking, state, writing
from tilegrad.onnx.errors import OnnxExporterError
from tilegrad.onnx.tracing import Recorder, check_device, record
from tilegrad.onnx.trials import Axes, Trial, as_axes, trials
from tilegrad.onnx.unify import Parted, Run, require_one, unify

OLDEST, NEWEST, DEFAULT = 18, 23, 20


class TrainingMode(enum.Enum):
    """Which mode the model is exported in; PyTorch's names."""

    EVAL = 0
    PRESERVE = 1
    TRAINING = 2


class ONNXProgram:
    """What :func:`export` made: the model, and how it is saved."""

    def __init__(self, model: onnx.ModelProto):
        self.model_proto = model

    def save(self, destination: str | os.PathLike[str] | BinaryIO) -> None:
        """Write the model to a file; of 2 GB or more beside a file of its weights."""
        if hasattr(destination, "write"):
            destination.write(self.model_proto.SerializeToString())
            return
        path = Path(destination)
        big = self.model_proto.ByteSize() >= 1 << 31
        onnx.save_model(
            self.model_proto, str(path), save_as_external_data=big, location=f"{path.name}.data"
        )


def export(
    model: Callable[..., Any],
    args: Tensor | tuple[Any, ...] = (),
    f: str | os.PathLike[str] | BinaryIO | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    opset: int | None = None,
    dynamic_axes: Mapping[str, Mapping[int, str] | Sequence[int]] | None = None,
    dynamic_shapes: Mapping[str, Any] | Sequence[Any] | None = None,
    training: TrainingMode = TrainingMode.EVAL,
    verify: bool = True,
    tolerance: float = 1e-4,
) -> ONNXProgram:
    """Write a model or a function of tensors as an ONNX file, and see that it computes the same.

    The program is run on ``args`` and every op of that run is written down: control flow as it went. Where sizes are
    dynamic it is run on other sizes too, and what follows them is computed in the graph. The graph is then checked
    by ``onnx.checker`` and run (by onnxruntime where that is installed, else by ONNX's reference) on the example and
    on another size of each dynamic dimension.

    Args:
        model: a module, exported in eval mode unless ``training`` says otherwise, or a function.
        args: the example: tensors, in tuples, lists and dictionaries too; other values are part of the program.
        f: a path or a file; None writes nothing.
        kwargs: more arguments, by name.
        input_names, output_names: of the graph, in order; by default the parameters' and ``output``.
        opset_version: of ONNX's operators, 18 to 23; ``opset`` is another name of it.
        dynamic_axes: by input (or output) name the dimensions that change, with a name each; equal ones are equal.
        dynamic_shapes: the same as ``torch.export`` writes it: by argument, in order or by name.
        verify: False leaves the comparison out.
        tolerance: of the comparison, relative and absolute; of float64 a thousandth.

    Raises:
        UnsupportedOperatorError: ONNX cannot express an op of the program.
        MismatchError: the graph gives other values; names the first node that does.
        OnnxExporterError: the program depends on a dynamic size in another way than ONNX can follow.
    """
    version = _version(opset_version, opset)
    program = _Program(model, args, dict(kwargs or {}), input_names)
    axes = as_axes(program.names, program.examples, dynamic_axes, dynamic_shapes, program.arguments)
    restore = _set_mode(model, training)
    state.exporting[0] += 1
    try:
        run, seen = _unified(program, axes)
        outputs = _outputs(run, output_names)
        made = writing.write(run, version, _named_arrays(model), outputs, axes)
        _check(made, program, seen, tolerance if verify else None)
    finally:
        state.exporting[0] -= 1
        program.restore()
        restore()
    result = ONNXProgram(made.model)
    if f is not None:
        result.save(f)
    return result


def _version(opset_version: int | None, opset: int | None) -> int:
    """ONNX's version of operators, given under two names."""
    if opset is not None and opset_version is not None and opset != opset_version:
        raise ValueError(
            f"export: opset and opset_version are one; got {opset} and {opset_version}"
        )
    version = opset_version or opset or DEFAULT
    if not OLDEST <= version <= NEWEST:
        raise ValueError(f"export: opset_version must be {OLDEST} to {NEWEST}; got {version}")
    return version


def _check(made: Any, program: _Program, seen: Any, tolerance: float | None) -> None:
    """The graph is one, and computes the same up to ``tolerance``; None: that is not looked at."""
    if tolerance is None:
        onnx.checker.check_model(made.model, full_check=False)
    else:
        checking.check(made, program.record, seen, tolerance)


def _outputs(run: Run, names: Sequence[str] | None) -> list[str]:
    count = len(run.outputs)
    if names is None:
        return ["output"] if count == 1 else [f"output_{k}" for k in range(count)]
    if len(names) > count:
        raise ValueError(f"export: the program has {count} outputs; got names {list(names)}")
    return [*names, *[f"output_{k}" for k in range(len(names), count)]]


def _set_mode(model: Any, training: TrainingMode) -> Callable[[], None]:
    """Put all modules in the mode; gives what puts each back."""
    if not isinstance(model, Module) or training is TrainingMode.PRESERVE:
        return lambda: None
    before = [(m, m.training) for m in model.modules()]
    model.train(training is TrainingMode.TRAINING)

    def restore() -> None:
        for module, was in before:
            module.training = was

    return restore


def _named_arrays(model: Any) -> dict[int, str]:
    """The names of parameters and buffers by the number of their storage: of one that is shared, the first."""
    found: dict[int, str] = {}
    if isinstance(model, Module):
        for source in (model.named_parameters(), model.named_buffers()):
            for name, tensor in source:
                check_device(tensor)
                found.setdefault(id(tensor.storage), name)
    return found


def tensors_in(value: Any) -> Iterable[Tensor]:
    """The tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from tensors_in(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)


def _replaced(value: Any, left: list[Tensor]) -> Any:
    """``value`` with its tensors, in order, replaced by those that are left."""
    if isinstance(value, Tensor):
        return left.pop(0)
    if isinstance(value, Mapping):
        return {k: _replaced(v, left) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [_replaced(v, left) for v in value]
        if hasattr(value, "_fields"):
            return type(value)(*parts)
        return type(value)(parts)
    return value


class _Program:
    """A model with its example: its inputs by name, and how it is run on others."""

    def __init__(
        self, model: Callable[..., Any], args: Tensor | tuple[Any, ...], kwargs: dict[str, Any],
        names: Sequence[str] | None,
    ):  # fmt: skip
        self.model, self.kwargs = model, kwargs
        self.args: tuple[Any, ...] = args if isinstance(args, tuple) else (args,)
        self.examples = list(tensors_in((self.args, kwargs)))
        for tensor in self.examples:
            check_device(tensor)
        buffers = model.buffers() if isinstance(model, Module) else ()
        self.buffers = [(b, b.clone()) for b in buffers]
        self.arguments = self._arguments()
        own = [name for name, value in self.arguments for name in _indexed(name, value)]
        if names is not None and len(names) > len(own):
            raise ValueError(f"export: the program has {len(own)} inputs; got names {list(names)}")
        self.names = [*(names or ()), *own[len(names or ()) :]]

    def _arguments(self) -> list[tuple[str, Any]]:
        """(parameter, value) of each argument, in order."""
        function = self.model.forward if isinstance(self.model, Module) else self.model
        try:
            bound = inspect.signature(function).bind(*self.args, **self.kwargs)
        except (TypeError, ValueError):
            names = [f"input_{k}" for k in range(len(self.args))]
            return [*zip(names, self.args), *self.kwargs.items()]
        kinds = {n: p.kind for n, p in bound.signature.parameters.items()}
        found: list[tuple[str, Any]] = []
        for name, value in bound.arguments.items():
            if kinds[name] is inspect.Parameter.VAR_POSITIONAL:
                found += [(f"{name}_{k}", v) for k, v in enumerate(value)]
            elif kinds[name] is inspect.Parameter.VAR_KEYWORD:
                found += list(value.items())
            else:
                found.append((name, value))
        return found

    def restore(self) -> None:
        """Give buffers that a run wrote to what they held."""
        with no_grad():
            for buffer, old in self.buffers:
                if not np.array_equal(
                    to_numpy(buffer), to_numpy(old), equal_nan=old.is_floating_point()
                ):
                    buffer.copy_(old)

    def record(self, trial: Trial, keep: bool = False) -> tuple[Run, Recorder, list[Any]]:
        """(the run, who recorded it, its outputs as NumPy arrays) on inputs of a trial."""
        self.restore()
        recorder = Recorder(keep)
        fresh = [x.contiguous().clone() for x in trial]
        for tensor, name in zip(fresh, self.names, strict=True):
            recorder.add_input(tensor, name)
        args, kwargs = _replaced((self.args, self.kwargs), [*fresh])
        with no_grad():
            made = record(lambda: self.model(*args, **kwargs), recorder)
            found = list(tensors_in(made))
            if not found:
                raise OnnxExporterError(
                    f"export: the program gives no tensor; got {type(made).__name__}"
                )
            outputs = [recorder.read(t) for t in found]
        run = Run(recorder.inputs, recorder.steps, outputs)
        return run, recorder, [to_numpy(t).copy() for t in found]


def _indexed(name: str, value: Any) -> list[str]:
    count = len(list(tensors_in(value)))
    if isinstance(value, Tensor):
        return [name]
    return [f"{name}_{k}" for k in range(count)]


def _unified(program: _Program, axes: Axes) -> tuple[Run, list[Trial]]:
    """(the program of several runs, the inputs it is to be compared on)."""
    example = program.examples
    if not axes.names:
        run, _, _ = program.record(example)
        return require_one([run]), [example]
    runs: list[Run] = [program.record(example)[0]]
    seen: list[Trial] = [example]
    problems: list[str] = []
    for trial in trials(example, axes):
        try:
            runs.append(program.record(trial)[0])
        except OnnxExporterError:
            raise
        except Exception as error:  # a size that the program does not take
            problems.append(str(error).splitlines()[0] if str(error) else type(error).__name__)
            continue
        seen.append(trial)
        if len(runs) == 4:
            break
    if len(runs) < 4:
        raise OnnxExporterError(
            f"export: the program runs on too few other sizes of {', '.join(sorted(axes.names))} to follow "
            f"them; the first that failed said: {problems[0] if problems else 'nothing'}"
        )
    try:
        return unify(runs), [seen[0], seen[-1]]
    except Parted as parted:
        first = parted
    try:  # the example may be a special case, a batch of one
        return unify(runs[1:]), [seen[0], seen[-1]]
    except Parted:
        raise OnnxExporterError(
            f"export: the program is another one for other sizes of {', '.join(sorted(axes.names))}: {first}"
        ) from None
