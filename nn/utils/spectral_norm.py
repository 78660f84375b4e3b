"""The older form of spectral normalization: by a hook before each call."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd.mode import no_grad
from tilegrad.nn.modules.module import Module
from tilegrad.nn.parameter import Parameter
from tilegrad.nn.utils.parametrizations import PowerMethod, dim_of
from tilegrad.nn.utils.weight_norm import _hook_of

__all__ = ["SpectralNorm", "remove_spectral_norm", "spectral_norm"]


class SpectralNorm:
    """The hook: ``name`` is ``name_orig`` over its largest singular value."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float):
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.name, self.n_power_iterations = name, n_power_iterations
        self.method = PowerMethod(dim, eps)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Any:
        """The weight as it is now, after iterations if they are asked for."""
        weight = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = self.method.matrix(weight)
        if do_power_iteration:
            # v first, as the older form has it
            for _ in range(self.n_power_iterations):
                self.method.go(matrix.t(), v, u, 1)
            u, v = u.clone(), v.clone()  # the next call writes to them
        return weight / u.dot(matrix @ v)

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value; gives ``module``.

    ``parametrizations.spectral_norm`` is the newer form.

    Raises:
        RuntimeError: it is divided already.
    """
    if _hook_of(module, SpectralNorm, name) is not None:
        raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    hook = SpectralNorm(name, n_power_iterations, dim_of(module, dim), eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    u, v = hook.method.begin(hook.method.matrix(weight.detach()))
    del module._parameters[name]
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.detach())  # a plain tensor, until the first call
    module.register_buffer(f"{name}_u", u)
    module.register_buffer(f"{name}_v", v)
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight a parameter of its own again; gives ``module``.

    Raises:
        ValueError: it is not divided.
    """
    found = _hook_of(module, SpectralNorm, name)
    if found is None:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    key, hook = found
    with no_grad():
        weight = hook.compute_weight(module, do_power_iteration=False)
    delattr(module, name)
    for part in ("u", "v"):
        del module._buffers[f"{name}_{part}"]
    del module._parameters[f"{name}_orig"]
    module.register_parameter(name, Parameter(weight.detach()))
    del module._forward_pre_hooks[key]
    return module
