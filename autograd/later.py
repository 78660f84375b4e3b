"""Functions and methods that few programs use: the module of rules that has one loads when a name of it is
first asked for.

:data:`FUNCTIONS` and :data:`METHODS` say where each name is. ``tilegrad.einsum`` comes from
:func:`function` by the package's ``__getattr__``; a method is a :class:`Later` in the class until it is asked
for, when what it stands for takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.arguments import checked
from tilegrad.autograd.extra import extras
from tilegrad.autograd.kinds import exact
from tilegrad.autograd.names import renamed

_HOME = "tilegrad.autograd.rules"

# of each module the functions; those that are methods too; and methods that are no functions
_TABLE: dict[str, tuple[str, str, str]] = {
    "assembly": (
        "block_diag broadcast_shapes can_cast cartesian_prod combinations get_device range result_type unravel_index vander",
        "diagflat",
        "fill_diagonal_",
    ),
    "contraction": ("chain_matmul einsum tensordot", "addbmm addr ger inner kron vdot", "addbmm_ addr_"),
    "copies": (
        "alias_copy as_strided_copy constant_pad_nd detach_copy diagonal_copy empty_permuted expand_copy fill "
        "permute_copy select_copy slice_copy split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy "
        "unbind_copy unfold_copy unsqueeze_copy view_as_complex_copy view_as_real_copy view_copy",
        "as_strided_scatter diagonal_scatter index_reduce narrow_copy nonzero_static select_scatter slice_scatter "
        "split_with_sizes unsafe_chunk unsafe_split unsafe_split_with_sizes",
        "index_reduce_",
    ),
    "differences": ("cumulative_trapezoid gradient trapezoid trapz", "corrcoef cov diff", ""),
    "distances": ("cdist", "cross dist renorm", "renorm_"),
    "linalg_names": (
        "lu_unpack pca_lowrank svd_lowrank",
        "cholesky cholesky_inverse cholesky_solve det geqrf inverse logdet lu lu_solve matrix_exp matrix_power orgqr "
        "ormqr pinverse qr slogdet svd symeig triangular_solve",
        "",
    ),
    "draws": ("", "", "cauchy_ geometric_ log_normal_"),
    "numeric": (
        "",
        "float_power frexp heaviside isneginf isposinf ldexp ldexp_ mvlgamma nan_to_num nan_to_num_ signbit",
        "float_power_ heaviside_ mvlgamma_",
    ),
    "overwriting": (
        "addmv_ as_strided_ clamp_max_ clamp_min_ deg2rad_ detach_ logit_ rad2deg_ square_",
        "",
        "",
    ),
    "planar": (
        "complex imag polar real view_as_complex view_as_real",
        "adjoint angle conj conj_physical conj_physical_ is_conj is_neg isreal resolve_conj resolve_neg",
        "",
    ),
    "quantiles": ("histogramdd isin", "histc histogram nanquantile quantile", ""),
    "scripting": (
        "",
        "",
        "apply_ const_data_ptr dim_order is_set_to is_shared map2_ map_ new polygamma polygamma_ resize resize_as "
        "set_ to_dense untyped_storage",
    ),
    "spectrogram": ("", "istft stft", ""),
    "segments": ("segment_reduce", "", ""),
    "special": ("polygamma", "i0 igamma igammac", "i0_ igamma_ igammac_"),
    "variates": ("binomial poisson _dirichlet_grad _sample_dirichlet _standard_gamma", "", ""),
    "windows": (
        "bartlett_window blackman_window hamming_window hann_window kaiser_window",
        "",
        "",
    ),
}  # fmt: skip

FUNCTIONS: dict[str, str] = {}
METHODS: dict[str, str] = {}
for _module, (_functions, _both, _methods) in _TABLE.items():
    FUNCTIONS.update(dict.fromkeys(f"{_functions} {_both}".split(), _module))
    METHODS.update(dict.fromkeys(f"{_both} {_methods}".split(), _module))


def loaded(module: str) -> ModuleType:
    """The module, whose functions take the arguments that public ones take."""
    found = import_module(module if "." in module else f"{_HOME}.{module}")
    if "_public" not in vars(found):
        functions = [
            f
            for f in vars(found).values()
            if f.__class__ is FunctionType and f.__module__ == found.__name__
        ]
        exact(functions)
        renamed(functions, extras)
        checked(functions)
        names = {n for n, home in FUNCTIONS.items() if home == module}
        for name, value in vars(found).items():
            if name in names and value.__class__ is FunctionType:
                value.__module__ = "tilegrad"  # where pickle and help() find it
        found._public = names  # type: ignore[attr-defined]
    return found


def function(name: str) -> Any:
    """What ``tilegrad`` has under a name of :data:`FUNCTIONS`."""
    return getattr(loaded(FUNCTIONS[name]), name)


def of_one(name: str, x: Tensor) -> Tensor:
    """The function ``name`` of :data:`FUNCTIONS` of a tensor."""
    call: Callable[[Tensor], Tensor] = getattr(loaded(FUNCTIONS[name]), name)
    return call(x)


class Later:
    """A method that is not loaded yet."""

    __slots__ = ("name", "owner", "twin")

    def __init__(self, owner: type[object], name: str, twin: Callable[..., object]):
        self.owner, self.name, self.twin = owner, name, twin

    def __get__(self, instance: object, kind: type[object]) -> Any:
        self.load()
        return getattr(kind if instance is None else instance, self.name)

    def load(self) -> Any:
        """Put the method in its place; it is a function."""
        name, owner = self.name, self.owner
        module = loaded(METHODS[name])
        made = getattr(module, name, None)
        if made is None:  # the twin in place of a function
            made = self.twin(owner, name, getattr(module, name[:-1]))
            exact([made])
            checked([made])
        setattr(owner, name, made)
        return made


def add_methods(owner: type[object], twin: Callable[..., object]) -> None:
    """Give ``owner`` the methods of :data:`METHODS`; ``twin(owner, name, function)`` makes those in place of
    the functions of modules that have none.
    """
    for name in METHODS:
        setattr(owner, name, Later(owner, name, twin))
