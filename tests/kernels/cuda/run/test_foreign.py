"""Kernels in CUDA C++ and PTX as bodies of ops: compiled without a GPU, launched with what they name."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

import tilegrad
from tilegrad.engine import dtype as dt
from tilegrad.engine.array import layout
from tilegrad.engine.device import CPU
from tilegrad.engine.ops.user import Call, OnCuda, arguments
from tilegrad.kernels.bodies import BodyError
from tilegrad.kernels.cuda import user as family
from tilegrad.kernels.cuda.run import driver, launch
from tilegrad.kernels.cuda.run.cubin import kernels, parameters
from tilegrad.kernels.cuda.run.driver import Properties
from tilegrad.kernels.cuda.run.foreign import compiled
from tilegrad.kernels.foreign import Foreign

AXPY = """
extern "C" __global__ void axpy(const scalar_t* x, scalar_t* y, int n, scalar_t a, double b, long long m)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + (scalar_t)b + m;
}
"""
TEMPLATE = """
namespace mine {
template <class T> __global__ void twice(const T* x, T* y, long long n)
{
    for (long long i = threadIdx.x; i < n; i += blockDim.x) y[i] = 2 * x[i];
}
}
"""
PTX = """
.version 7.8
.target sm_75
.address_size 64
.visible .entry first(.param .u64 x, .param .u64 y)
{
    .reg .f32 %f1;
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    ld.global.f32 %f1, [%rd1];
    st.global.f32 [%rd2], %f1;
    ret;
}
"""
ARGS = ("x", "y", "N", "a", "b", "m")
AXPY_BODY = Foreign("c++", AXPY, "axpy", ARGS)


@pytest.mark.parametrize("arch", [(8, 0), (9, 0)])
@pytest.mark.parametrize(
    ("source", "scalar", "sizes"),
    [
        (AXPY_BODY, "float32", (8, 8, 4, 4, 8, 8)),
        (AXPY_BODY, "float64", (8, 8, 4, 8, 8, 8)),
        (Foreign("c++", TEMPLATE, "mine::twice<scalar_t>", ("x", "y", "N")), "float32", (8, 8, 8)),
        (Foreign("ptx", PTX, "first", ("x", "y")), "float32", (8, 8)),
    ],
    ids=["C++", "C++ in float64", "template", "PTX"],
)
def test_a_source_becomes_a_cubin(source, scalar, sizes, arch, tmp_path, monkeypatch):
    monkeypatch.setenv("TILEGRAD_CACHE_DIR", str(tmp_path))
    made = compiled("f", source, scalar, arch)
    assert made.params == sizes and made.cubin[:4] == b"\x7fELF"
    assert kernels(made.cubin) == [made.entry] and parameters(made.cubin, "other") is None
    assert compiled("f", source, scalar, arch) == made  # from the disk


def test_what_does_not_compile_says_why():
    with pytest.raises(
        BodyError, match=r"f: NVRTC cannot compile the source:\nkernel.cu\(1\): error"
    ):
        compiled("f", Foreign("c++", "__global__ void k(nothing x) {}", "k", ()), "float32", (9, 0))
    with pytest.raises(BodyError, match="f: there is no kernel other; the source has axpy"):
        compiled("f", Foreign("c++", AXPY, "other", ()), "float32", (9, 0))
    with pytest.raises(BodyError, match="f: nvJitLink cannot compile the PTX"):
        compiled("f", Foreign("ptx", "nonsense", "k", ()), "float32", (9, 0))


@tilegrad.op("axpy(x: f[N], a: float, b: float = 0.5, m: int = 3) -> y: like x")
def axpy(x, a, b, m):
    return a * x + b + m


def test_ops_take_them_and_the_simulated_gpu_refuses_them():
    x = tilegrad.ones(3).to("cuda")
    assert axpy(x, 2.0).tolist() == [5.5] * 3  # the reference
    axpy.cuda(source=AXPY, entry="axpy", grid=lambda N: (N + 127) // 128, block=128, args=ARGS)
    with pytest.raises(
        BodyError, match=r"axpy: the \.cuda body is CUDA C\+\+, which the simulated GPU"
    ):
        axpy(x, 2.0)
    assert axpy(x.cpu(), 2.0).tolist() == [5.5] * 3
    for how, words in (
        ({"source": AXPY, "args": ARGS}, "needs entry="),
        ({"source": AXPY, "ptx": PTX, "entry": "k", "args": ARGS}, "needs entry="),
        ({"source": AXPY, "entry": "k"}, "with args="),
        ({"source": AXPY, "entry": "k", "args": ("x", "q")}, "asks for 'q'"),
    ):
        with pytest.raises(BodyError, match=words):
            axpy.cuda(grid=1, block=1, **how)


class StandIn:
    """A driver whose launches write down what they are given."""

    simulated = False
    device = 0

    def __init__(self) -> None:
        self.launched: list[Any] = []
        types = [ctypes.c_void_p, *[ctypes.c_uint32] * 7, *[ctypes.c_void_p] * 3]
        self.calls = (
            ctypes.CFUNCTYPE(ctypes.c_int32, *types)(self._launch),
            ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p)(lambda *_: 0),
        )

    def _launch(self, *args: Any) -> int:
        places = ctypes.cast(args[9], ctypes.POINTER(ctypes.c_void_p))
        kinds = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, self.scalar, ctypes.c_double,
                 ctypes.c_int64)  # fmt: skip
        values = [ctypes.cast(places[k], ctypes.POINTER(kind))[0] for k, kind in enumerate(kinds)]
        self.launched.append((args[1:8], values))
        return 0

    def properties(self, device: int) -> Properties:
        return Properties("stand-in", 9, 0, 1 << 30, 1)

    def load(self, cubin: bytes, entry: str, shared: int) -> tuple[int, Any]:
        assert cubin[:4] == b"\x7fELF" and entry == "axpy" and shared == 64
        return 77, None

    def symbols(self) -> dict[str, int]:
        names = ("cuLaunchKernel", "cuGetErrorString")
        return {
            n: ctypes.cast(c, ctypes.c_void_p).value or 0
            for n, c in zip(names, self.calls, strict=True)
        }


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_every_parameter_gets_what_args_name(kind, monkeypatch):
    import numba.cuda  # noqa: F401
    from numba.core.registry import cpu_target

    assert cpu_target.target_context  # gives some of Python's symbols another meaning
    there = StandIn()
    there.scalar = ctypes.c_float if kind == "float32" else ctypes.c_double
    monkeypatch.setattr(driver, "get", lambda: there)
    monkeypatch.setattr(launch, "_launchers", {})
    signature = axpy.signature
    cut = {"grid": 2, "block": (8, 4), "shared": 64, "scratch": None}
    body = OnCuda(signature, AXPY_BODY, cut, False, ARGS)
    layouts = (layout((100,), dt.BY_NAME[kind], CPU),)
    call = Call(signature, layouts, {"m": 7}, signature.bind(layouts, {}))
    given, known = arguments(call, body.asks, {}, scratch=None)
    made, _ = family.launch("axpy", AXPY_BODY, given, known, body.shape(call))
    made(1 << 40, 1 << 41, 2.25, -0.125)
    (ran,) = there.launched
    assert ran == ((2, 1, 1, 8, 4, 1, 64), [1 << 40, 1 << 41, 100, 2.25, -0.125, 7])
    short = Foreign("c++", AXPY, "axpy", ("x", "y"))
    given, known = arguments(call, short.args, {}, scratch=None)
    with pytest.raises(BodyError, match="axpy has 6 parameters; args= names 2: x, y"):
        family.launch("axpy", short, given, known, body.shape(call))
    huge = (layout((1 << 33,), dt.BY_NAME[kind], CPU),)
    call = Call(signature, huge, {"m": 7}, signature.bind(huge, {}))
    given, known = arguments(call, body.asks, {}, scratch=None)
    with pytest.raises(BodyError, match="N does not fit its 4 bytes; got 8589934592"):
        family.launch("axpy", AXPY_BODY, given, known, body.shape(call))
