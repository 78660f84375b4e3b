"""Parametrizations of weights: normalized, of a bounded largest singular value, orthogonal."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.creation import empty
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.nn.modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from tilegrad.nn.modules.module import Module
from tilegrad.nn.utils.parametrize import register_parametrization

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def norm_except(x: Tensor, dim: int | None) -> Tensor:
    """The norm over all dimensions but ``dim`` (over all, for None or -1), which are kept, of size 1."""
    if dim is None or dim == -1:
        return x.norm()
    return x.norm(dim=[d for d in range(x.ndim) if d != dim % x.ndim], keepdim=True)


class _WeightNorm(Module):
    """weight = g * v / |v|"""

    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Split a weight into its norms and its directions (Salimans & Kingma 2016); gives ``module``.

    Args:
        dim: along which each slice has a norm; None for one norm of all.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def renamed(module: Module, state: Any, prefix: str, *rest: Any) -> None:
        """Take the keys of the older form of ``weight_norm``."""
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state for key in old):
            for place, key in enumerate(old):
                state[f"{prefix}parametrizations.{name}.original{place}"] = state.pop(key)

    module.register_load_state_dict_pre_hook(renamed)
    return module


class PowerMethod:
    """Estimates of the first singular vectors of a weight, as a matrix, in a module's buffers."""

    def __init__(self, dim: int, eps: float):
        self.dim, self.eps = dim, eps

    def matrix(self, weight: Tensor) -> Tensor:
        """``weight`` with ``dim`` in front, as a matrix."""
        if self.dim != 0:
            rest = [d for d in range(weight.ndim) if d != self.dim]
            weight = weight.permute(self.dim, *rest)
        return weight.flatten(1)

    def begin(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Random unit vectors of its rows and columns."""
        sizes = matrix.shape
        made = [
            empty(size, dtype=matrix.dtype, device=matrix.device).normal_(0, 1) for size in sizes
        ]
        u, v = (F.normalize(each, dim=0, eps=self.eps) for each in made)
        return u, v

    @no_grad()
    def go(self, matrix: Tensor, u: Tensor, v: Tensor, count: int) -> None:
        """``count`` iterations, written into ``u`` and ``v``."""
        for _ in range(count):
            u.copy_(F.normalize(matrix.detach() @ v, dim=0, eps=self.eps))
            v.copy_(F.normalize(matrix.detach().t() @ u, dim=0, eps=self.eps))


class _SpectralNorm(Module):
    """weight / its largest singular value, as the power method has it so far"""

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ):
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of "
                f"[-{weight.ndim}, {weight.ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.dim, self.eps = dim % weight.ndim, eps
        self.n_power_iterations = n_power_iterations
        self._method = PowerMethod(self.dim, eps)
        if weight.ndim > 1:  # else the norm itself is the singular value
            matrix = self._method.matrix(weight.detach())
            u, v = self._method.begin(matrix)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)
            self._method.go(matrix, u, v, 15)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._method.matrix(weight)
        if self.training:
            self._method.go(matrix, self._u, self._v, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # the next call writes to them
        divided: Tensor = weight / u.dot(matrix @ v)
        return divided

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def dim_of(module: Module, dim: int | None) -> int:
    """``dim``, or if that is None where the weight of ``module`` has its outputs."""
    if dim is not None:
        return dim
    return int(isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)))


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value (Miyato et al. 2018); gives ``module``.

    Args:
        n_power_iterations: of the power method, at each use in training.
        eps: least norm of the vectors. dim: the outputs' dimension; None is 0, or 1 of
            transposed convolutions.

    Raises:
        ValueError: there is no such tensor.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    made = _SpectralNorm(weight, n_power_iterations, dim_of(module, dim), eps)
    return register_parametrization(module, name, made)


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """A weight with orthonormal columns: not there yet.

    Raises:
        ValueError: no such tensor, or no such map. NotImplementedError: otherwise, since each map
            needs a matrix exponential, a solve or a QR decomposition.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map not in (None, "matrix_exp", "cayley", "householder"):
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    raise NotImplementedError(
        "orthogonal: needs linear algebra (matrix_exp, solve or qr), which tilegrad lacks; "
        "nn.init.orthogonal_ makes a weight that begins orthogonal"
    )
