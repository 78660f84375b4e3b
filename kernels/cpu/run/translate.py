"""Python functions to LLVM IR: numba's typing and lowering, for a target of our own.

numba's own CPU target is a just-in-time compiler: it optimises each function twice, emits machine code
of it for an engine, and does both again in every kernel that uses the function. This target ends where
the IR begins. A function is translated once for each signature and process; :func:`translate` gives a
loop nest with all that it calls, as texts for :mod:`tilegrad.kernels.cpu.run.backend`.

Nothing of numba's is replaced: the target has a name of its own in numba's registries.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from tilegrad.kernels.cpu.run import ahead
from tilegrad.kernels.cpu.run.native import machine
from tilegrad.kernels.forking import compiler
from tilegrad.kernels.function import (
    Chooser,
    DeviceFunction,
    Intrinsic,
    TypedFunction,
    is_arithmetic,
)
from tilegrad.kernels.params import Signature, kinds

NAME = "tilegrad"  # of the target

# Passes of numba's that find nothing in our functions: no closures, no with blocks, no literal_unroll,
# no overloads to inline, no array expressions, no notes for people. After each it would work out anew
# where every variable lives.
_IDLE = {
    "WithLifting", "InlineClosureLikes", "RewriteSemanticConstants", "RewriteDynamicRaises",
    "MakeFunctionToJitFunction", "InlineInlinables", "FindLiterallyCalls", "LiteralUnroll",
    "LiteralPropagationSubPipelinePass", "InlineOverloads", "NopythonRewrites",
    "NoPythonSupportedFeatureValidation", "AnnotateTypes", "DumpParforDiagnostics",
}  # fmt: skip

_OPTIONS = {
    "nopython": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "boundscheck": False,
    "error_model": "numpy",
    "_nrt": False,
}


class Translation(NamedTuple):
    """A loop nest as LLVM IR. It refers to nothing of numba's."""

    symbol: str  # of the loop nest
    texts: tuple[str, ...]  # a module each: the loop nest's and those of the functions it calls
    arithmetic: bool  # see :func:`tilegrad.kernels.function.arithmetic`


def translate(function: Callable[..., None], signature: Signature) -> Translation:
    """The IR of ``function(task, *args)`` for the parameters ``signature``.

    The caller holds the compiler's lock.
    """
    from numba import types
    from numba.core.target_extension import target_override

    scalars = {"i": types.int64, "d": types.float64}
    given = kinds(signature, scalars, types.BaseTuple.from_types)
    with target_override(NAME):
        made = _target().dispatcher(function)
        made.compile(types.void(types.int64, *given))
    (result,) = made.overloads.values()
    texts = tuple(result.library.reachable())
    return Translation(result.fndesc.llvm_func_name, texts, is_arithmetic(function))


def refresh() -> None:
    """Tell numba about the types and operators that were registered during a translation."""
    _target().target_context.refresh()


def for_numba(value: DeviceFunction | Intrinsic) -> Any:
    """What numba understands instead of one of our marks, made once."""
    if "cpu" not in value.compiled:
        if isinstance(value, Intrinsic):
            import numba.extending

            value.compiled["cpu"] = numba.extending.intrinsic(value.cpu)
            _target().typing_context.refresh()  # numba looks for new intrinsics only here
        elif isinstance(value, TypedFunction):
            from numba.types import Dispatcher

            value.compiled["cpu"] = Chooser(value, for_numba, Dispatcher)
        else:
            flags = {"fastmath": set(value.fastmath)} if value.fastmath else {}
            made = _target().dispatcher(value.function, forceinline=True, **flags)
            value.compiled["cpu"] = made
    return value.compiled["cpu"]


@cache
def _target() -> Any:
    """The target, registered with numba, once: contexts for typing and lowering, dispatchers."""
    import numba.extending
    from numba.core import cpu, descriptors, dispatcher, event, target_extension

    class Hardware(target_extension.CPU):  # type: ignore[misc]
        """What is defined for numba's CPU or for any target is defined for this one."""

    target_extension.target_registry[NAME] = Hardware  # contexts look themselves up

    class Target(descriptors.TargetDescriptor):  # type: ignore[misc]
        options = cpu.CPUTargetOptions
        typing_context = _typing_context()
        target_context = _lowering_context(typing_context)

        @staticmethod
        def dispatcher(function: Callable[..., Any], **options: Any) -> Any:
            return Dispatcher(
                function, targetoptions={**_OPTIONS, **options}, pipeline_class=_pipeline()
            )

    class Dispatcher(dispatcher.Dispatcher):
        targetdescr = Target(NAME)

        def add_overload(self, result: Any) -> None:  # nothing that Python could call
            self.overloads[tuple(result.signature.args)] = result

    # by the one, intrinsics find where they are lowered; with the other, numba compiles min and max
    target_extension.dispatcher_registry[Hardware] = Dispatcher
    target_extension.jit_registry[Hardware] = lambda **options: (
        lambda function: Target.dispatcher(function, **options)
    )

    @numba.extending.typeof_impl.register(DeviceFunction)  # type: ignore[untyped-decorator]
    @numba.extending.typeof_impl.register(Intrinsic)  # type: ignore[untyped-decorator]
    def _marked(value: DeviceFunction | Intrinsic, context: Any) -> Any:
        return Target.typing_context.resolve_value_type(for_numba(value))

    class Interrupts(event.Listener):  # type: ignore[misc]
        """Ctrl-C ends a compilation between two passes: numba is ready for errors there."""

        def on_start(self, event: Any) -> None:
            compiler.check()
            ahead.leave_if_closing()

        def on_end(self, event: Any) -> None:
            pass

    event.register("numba:run_pass", Interrupts())
    return Dispatcher.targetdescr


def _count(registries: list[Any]) -> list[int]:
    """How much is registered: grows whenever something is added."""
    return [len(v) for r in registries for v in vars(r).values() if isinstance(v, list)]


def _typing_context() -> Any:
    from numba.core import types, typing
    from numba.core.typing import mathdecl
    from numba.core.typing.templates import builtin_registry

    class Typing(typing.BaseContext):  # type: ignore[misc]
        """Remembers what a function returns for the types of its arguments.

        Of numba's registries it has Python's own and ``math``: a scalar needs no ufunc of NumPy's.
        """

        known: list[int] | None = None
        answers: dict[Any, Any]

        def load_additional_registries(self) -> None:
            self.install_registry(mathdecl.registry)

        def refresh(self) -> None:
            known = _count([builtin_registry, mathdecl.registry])
            if known != self.known:
                self.known, self.answers = known, {}
                super().refresh()

        def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
            if type(func) is not types.Function:  # dispatchers remember by themselves
                return super().resolve_function_type(func, args, kws)
            key = (func, tuple(args), tuple(kws.items()))
            if key not in self.answers:
                found = super().resolve_function_type(func, args, kws)
                if found is None:  # left to numba to say why
                    return None
                self.answers[key] = found
            return self.answers[key]

    return Typing()


def _lowering_context(typing_context: Any) -> Any:
    # on import these define how operators, numbers, ranges, tuples and literals are lowered
    from numba.core import cpu, fastmathpass, optional, types  # noqa: F401
    from numba.core.imputils import builtin_registry
    from numba.cpython import builtins, mathimpl, numbers, rangeobj, slicing, tupleobj  # noqa: F401
    from numba.misc import literal  # noqa: F401

    class Lowering(cpu.CPUContext):  # type: ignore[misc]
        """Lowers as numba's CPU does, without an engine and without counting references."""

        known: list[int] | None = None

        def init(self) -> None:
            self.is32bit = False
            self._internal_codegen = _codegen()

        def load_additional_registries(self) -> None:
            self.install_registry(mathimpl.registry)

        def refresh(self) -> None:  # numba asks for it with each function
            known = _count([builtin_registry, mathimpl.registry])
            if known != self.known:
                self.known = known
                super().refresh()
            self.typing_context.refresh()

        def cast(self, builder: Any, val: Any, fromty: Any, toty: Any) -> Any:
            # a float beyond a small integer is undefined in LLVM, which rounds it to the nearest in some
            # vectors and takes its last bits in others: by way of int32, as C programs do, it is the latter
            if isinstance(fromty, types.Float) and isinstance(toty, types.Integer):
                if toty.bitwidth < 32:  # type: ignore[attr-defined]
                    val, fromty = super().cast(builder, val, fromty, types.int32), types.int32
            return super().cast(builder, val, fromty, toty)

        def post_lowering(self, module: Any, library: Any) -> None:
            if self.fastmath:  # of a function that says so; numba would link its runtime, too
                fastmathpass.rewrite_module(module, self.fastmath)

        def get_executable(self, library: Any, fndesc: Any, env: Any) -> Any:
            return object()  # only a key that callers find the library under

    return Lowering(typing_context, NAME)


def _codegen() -> Any:
    """What makes modules and libraries for a context."""
    import llvmlite.binding as llvm
    from llvmlite import ir
    from numba.core import cgutils, codegen

    class Library(codegen.CodeLibrary):  # type: ignore[misc]
        """The IR of one function, as text, and the libraries of those it calls."""

        def __init__(self, owner: Any, name: str):
            super().__init__(owner, name)
            self._reload_init: set[Any] = set()  # numba asks for it; before 0.64 no base has it
            self.called: dict[Any, None] = {}
            self.texts: list[str] = []

        def add_ir_module(self, module: Any) -> None:
            self.texts.append(cgutils.normalize_ir_text(str(module)))

        def add_linking_library(self, library: Any) -> None:
            self.called[library] = None

        def finalize(self) -> None:
            self._finalized = True

        def reachable(self) -> list[str]:
            """The texts of this library and of all it needs, each once."""
            found: dict[Any, None] = {self: None}
            waiting = [self]
            while waiting:
                fresh = [library for library in waiting.pop().called if library not in found]
                found.update(dict.fromkeys(fresh))
                waiting += fresh
            return [text for library in found for text in library.texts]

        def _none(self, *_: Any) -> Any:
            raise NotImplementedError("this target makes no machine code")

        get_function = get_llvm_str = get_asm_str = _none

    class Codegen(codegen.Codegen):  # type: ignore[misc]
        _library_class = Library

        def __init__(self) -> None:
            self._target_data = machine().target_data
            self._layout = str(self._target_data)

        def _create_empty_module(self, name: str) -> Any:
            module = ir.Module(cgutils.normalize_ir_text(name))
            module.triple = llvm.get_process_triple()
            module.data_layout = self._layout
            return module

        def _add_module(self, module: Any) -> None:
            raise NotImplementedError("this target has no engine")

    return Codegen()


@cache
def _pipeline() -> Any:
    """numba's pipeline for a function, without what our functions give nothing to do."""
    from numba.core import compiler as passes
    from numba.core.compiler_machinery import PassManager

    class Lean(passes.CompilerBase):  # type: ignore[misc]
        def define_pipelines(self) -> list[Any]:
            pipeline = passes.DefaultPassBuilder.define_nopython_pipeline(self.state)
            chosen = PassManager(NAME)
            for step, text in dict(pipeline.passes).items():  # each once
                if step.__name__ not in _IDLE:
                    chosen.add_pass(step, text)
            chosen.finalize()
            return [chosen]

    return Lean
