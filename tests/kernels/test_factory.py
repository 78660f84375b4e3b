"""Names and keys of kernel variants, of both devices."""

from __future__ import annotations

from tilegrad.kernels.cpu.run import jit as cpu
from tilegrad.kernels.cuda.run import jit as cuda
from tilegrad.kernels.factory import Factory
from tilegrad.kernels.function import inline


@inline
def double(x):
    return x + x


def scaled(formula: object, dtype: str, shape: tuple[int, int]) -> str:
    """What is compiled."""
    return f"{formula} {dtype} {shape}"


def test_a_variant_has_a_name_and_a_file() -> None:
    factory = Factory(scaled)
    variant = (double, "float32", (2, 3))
    assert factory.__doc__ == "What is compiled." and factory.built == {}
    assert factory.name(variant) == f"{__name__}_scaled_double_float32_(2, 3)"
    assert factory.symbol(variant).endswith("scaled_double_float32__2__3_")
    files = {
        factory.file(variant, "o", "avx2"), factory.file(variant, "o", "avx512"),
        factory.file((double, "float64", (2, 3)), "o", "avx2"),
    }  # fmt: skip
    assert len(files) == 3 and all(f.endswith(".o") and "/" not in f for f in files)
    assert factory.file(variant, "o", "avx2") in files


def test_both_devices_name_alike() -> None:
    assert issubclass(cpu.KernelFactory, Factory) and issubclass(cuda.KernelFactory, Factory)
    assert cpu.kernel(scaled).name((double,)) == cuda.kernel(scaled).name((double,))
