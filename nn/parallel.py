"""PyTorch's wrappers for several devices, of which there is one here."""

from __future__ import annotations

from typing import Any

from tilegrad.nn.modules.module import Module

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]


class DataParallel(Module):
    """Runs ``module`` as it is, which PyTorch's does where there is one device.

    Args:
        module: what is run; its state's keys get the prefix ``module.``.
        device_ids: one device at most. output_device, dim: of no effect with one.

    Raises:
        RuntimeError: several devices.
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ):
        super().__init__()
        _one_device("DataParallel", device_ids)
        self.module = module
        self.device_ids = [] if device_ids is None else list(device_ids)
        self.output_device, self.dim = output_device, dim

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


class DistributedDataParallel(Module):
    """There is one process: making one is refused, as by PyTorch without a process group."""

    def __init__(self, module: Module, *args: Any, **kwargs: Any):
        super().__init__()
        raise RuntimeError(
            "DistributedDataParallel: default process group has not been initialized; tilegrad runs "
            "in one process"
        )


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Any = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """``module`` of ``inputs``, a tuple or one, on the one device there is."""
    _one_device("data_parallel", device_ids)
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    return module(*given, **(module_kwargs or {}))


def _one_device(name: str, device_ids: Any) -> None:
    if device_ids is not None and len(device_ids) > 1:
        raise RuntimeError(f"{name}: there is one device; got {list(device_ids)}")


def init_process_group(backend: str | None = None, *args: Any, **kwargs: Any) -> None:
    """There is one process.

    Raises:
        RuntimeError: always; ``torch.distributed.is_available()`` says so before.
    """
    raise RuntimeError("init_process_group: tilegrad runs in one process")


def get_rank(group: Any = None) -> int:
    """Raises ValueError, as PyTorch does without a process group."""
    raise _no_group("get_rank")


def get_world_size(group: Any = None) -> int:
    """Raises ValueError, as PyTorch does without a process group."""
    raise _no_group("get_world_size")


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> None:
    """Raises ValueError, as PyTorch does without a process group."""
    raise _no_group("barrier")


def destroy_process_group(group: Any = None) -> None:
    """Raises ValueError, as PyTorch does without a process group."""
    raise _no_group("destroy_process_group")


def _no_group(name: str) -> ValueError:
    return ValueError(
        f"{name}: default process group has not been initialized; tilegrad runs in one process"
    )
