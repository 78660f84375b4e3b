"""What the engine asks of a GPU: memory, copies, streams, events, modules.

One :class:`Driver` per process, found by :func:`get`: the CUDA driver by way of cuda-bindings and
cuda-core's stream-ordered memory pools, or the simulated device where ``NUMBA_ENABLE_CUDASIM=1``
is set. Addresses, streams and events are plain integers; stream 0 is the default stream.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tilegrad.kernels.cuda.device.simulator import machine


class CudaError(RuntimeError):
    """The CUDA driver refused something."""


class CudaOutOfMemory(CudaError):  # noqa: N818  (a state, not a mistake)
    """The device has not that much memory left."""


class Unavailable(CudaError):  # noqa: N818  (a state, not a mistake)
    """There is no usable GPU here; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class Properties:
    """What a device is. Sizes in bytes, rates in kHz."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    max_threads_per_multi_processor: int = 2048
    regs_per_multiprocessor: int = 65536
    shared_memory_per_multiprocessor: int = 0
    shared_memory_per_block_optin: int = 0
    L2_cache_size: int = 0
    clock_rate: int = 0
    memory_clock_rate: int = 0
    memory_bus_width: int = 0
    warp_size: int = 32


class Driver(Protocol):
    """The operations of a driver. Any of them may raise :class:`CudaError`.

    Attributes:
        device: number of the GPU in use.
    """

    simulated: bool
    device: int

    def device_count(self) -> int: ...
    def properties(self, device: int) -> Properties: ...
    def use(self, device: int) -> None: ...
    def synchronize(self, device: int) -> None: ...
    def allocate(self, device: int, nbytes: int, stream: int) -> int: ...
    def free(self, device: int, address: int, stream: int) -> None: ...
    def memory_info(self, device: int) -> tuple[int, int]: ...
    def allocate_host(self, nbytes: int) -> int: ...
    def free_host(self, address: int) -> None: ...
    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None: ...
    def create_stream(self, priority: int) -> int: ...
    def destroy_stream(self, stream: int) -> None: ...
    def synchronize_stream(self, stream: int) -> None: ...
    def stream_is_done(self, stream: int) -> bool: ...
    def wait_event(self, stream: int, event: int) -> None: ...
    def create_event(self, timing: bool) -> int: ...
    def destroy_event(self, event: int) -> None: ...
    def record_event(self, event: int, stream: int) -> None: ...
    def synchronize_event(self, event: int) -> None: ...
    def event_is_done(self, event: int) -> bool: ...
    def elapsed(self, start: int, end: int) -> float: ...


def simulating() -> bool:
    """Whether the simulated device was asked for."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


_driver: Driver | None = None


def simulate(chosen: SimulatedDriver | None = None) -> SimulatedDriver:
    """Use the simulated device in this process, whatever the environment says; ``chosen`` if given."""
    global _driver
    if chosen is not None:
        _driver = chosen
    elif not isinstance(_driver, SimulatedDriver):
        _driver = SimulatedDriver()
    return _driver


def get() -> Driver:
    """The driver of this process.

    Raises:
        Unavailable: no CUDA package, no NVIDIA driver or no GPU.
    """
    global _driver
    if _driver is None:
        _driver = SimulatedDriver() if simulating() else CudaDriver()
    return _driver


def checked(result: Any) -> Any:
    """The values of a call of cuda-bindings, or its error as an exception."""
    status, *values = result
    if int(status) != 0:
        from cuda.bindings import driver as cu

        text = cu.cuGetErrorString(status)[1]
        message = f"CUDA error {int(status)}: {text.decode() if text else status}"
        if int(status) == 2:
            raise CudaOutOfMemory(message)
        raise CudaError(message)
    return values[0] if len(values) == 1 else tuple(values)


def _look_for_gpu() -> None:
    """Raise :class:`Unavailable` on a machine without a GPU, before any package is imported."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise Unavailable(
            "cuda: no NVIDIA driver (libcuda.so.1) on this machine; install the driver of your GPU, "
            "or set NUMBA_ENABLE_CUDASIM=1 to simulate a GPU"
        ) from None
    status, count = library.cuInit(0), ctypes.c_int(0)
    if status == 0:
        status = library.cuDeviceGetCount(ctypes.byref(count))
    if status not in (0, _NO_DEVICE):
        raise Unavailable(f"cuda: the NVIDIA driver does not start: CUDA error {status}")
    if not count.value:
        raise Unavailable("cuda: the NVIDIA driver works but sees no GPU")


_NO_DEVICE = 100


class CudaDriver:
    """The real one."""

    simulated = False
    device = 0

    def __init__(self) -> None:
        _look_for_gpu()
        try:
            import cuda.core
            from cuda.bindings import driver as cu
        except ImportError as error:
            raise Unavailable(
                f"cuda: the package {error.name} is missing; install it with "
                "`pip install 'tilegrad[cuda]'`"
            ) from None
        self.cu: Any = cu
        self.core: Any = cuda.core
        checked(cu.cuInit(0))
        self._pools: dict[int, Any] = {}
        self._buffers: dict[int, Any] = {}
        self._sizes: dict[int, int] = {}  # of all memory, the host's too

    def device_count(self) -> int:
        return int(checked(self.cu.cuDeviceGetCount()))

    def properties(self, device: int) -> Properties:
        cu = self.cu
        handle = checked(cu.cuDeviceGet(device))
        names = cu.CUdevice_attribute

        def ask(name: str) -> int:
            return int(
                checked(
                    cu.cuDeviceGetAttribute(getattr(names, "CU_DEVICE_ATTRIBUTE_" + name), handle)
                )
            )

        return Properties(
            name=checked(cu.cuDeviceGetName(256, handle)).split(b"\0")[0].decode(),
            major=ask("COMPUTE_CAPABILITY_MAJOR"),
            minor=ask("COMPUTE_CAPABILITY_MINOR"),
            total_memory=int(checked(cu.cuDeviceTotalMem(handle))),
            multi_processor_count=ask("MULTIPROCESSOR_COUNT"),
            max_threads_per_multi_processor=ask("MAX_THREADS_PER_MULTIPROCESSOR"),
            regs_per_multiprocessor=ask("MAX_REGISTERS_PER_MULTIPROCESSOR"),
            shared_memory_per_multiprocessor=ask("MAX_SHARED_MEMORY_PER_MULTIPROCESSOR"),
            shared_memory_per_block_optin=ask("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"),
            L2_cache_size=ask("L2_CACHE_SIZE"),
            clock_rate=ask("CLOCK_RATE"),
            memory_clock_rate=ask("MEMORY_CLOCK_RATE"),
            memory_bus_width=ask("GLOBAL_MEMORY_BUS_WIDTH"),
        )

    def use(self, device: int) -> None:
        """Make ``device`` current on this thread."""
        self.core.Device(device).set_current()
        self.device = device

    def synchronize(self, device: int) -> None:
        checked(self.cu.cuCtxSynchronize())

    # ------------------------------------------------------------------------------- memory

    def _pool(self, device: int) -> Any:
        pool = self._pools.get(device)
        if pool is None:
            core, cu = self.core, self.cu
            pool = core.DeviceMemoryResource(
                core.Device(device), core.DeviceMemoryResourceOptions()
            )
            # freed segments stay with the process until empty_cache trims the pool
            attribute = cu.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
            checked(cu.cuMemPoolSetAttribute(pool.handle, attribute, cu.cuuint64_t((1 << 64) - 1)))
            self._pools[device] = pool
        return pool

    def _stream(self, handle: int) -> Any:
        core = self.core
        return core.Stream.from_handle(handle) if handle else core.Device().default_stream

    def allocate(self, device: int, nbytes: int, stream: int) -> int:
        """The address of a new segment, usable by work queued on ``stream`` from now on."""
        try:
            buffer = self._pool(device).allocate(max(nbytes, 1), stream=self._stream(stream))
        except Exception as error:
            if "OUT_OF_MEMORY" in str(error):
                raise CudaOutOfMemory(str(error)) from None
            raise
        address = int(buffer.handle)
        self._buffers[address] = buffer
        self._sizes[address] = nbytes
        return address

    def free(self, device: int, address: int, stream: int) -> None:
        """Give a segment back to the system once ``stream`` has done with it."""
        del self._sizes[address]
        self._buffers.pop(address).close(self._stream(stream))
        checked(self.cu.cuStreamSynchronize(stream))
        checked(self.cu.cuMemPoolTrimTo(self._pool(device).handle, 0))

    def memory_info(self, device: int) -> tuple[int, int]:
        free, total = checked(self.cu.cuMemGetInfo())
        return int(free), int(total)

    def allocate_host(self, nbytes: int) -> int:
        """Page-locked host memory that kernels can address too."""
        flags = self.cu.CU_MEMHOSTALLOC_PORTABLE | self.cu.CU_MEMHOSTALLOC_DEVICEMAP
        address = int(checked(self.cu.cuMemHostAlloc(max(nbytes, 1), flags)))
        self._sizes[address] = nbytes
        return address

    def free_host(self, address: int) -> None:
        del self._sizes[address]
        checked(self.cu.cuMemFreeHost(address))

    def memory_ranges(self) -> list[tuple[int, int]]:
        """(address, bytes) of all memory that kernels may access."""
        return list(self._sizes.items())

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        """Queue a copy; unified addresses say which sides are on a device."""
        checked(self.cu.cuMemcpyAsync(target, source, nbytes, stream))

    # ------------------------------------------------------------------- streams and events

    def create_stream(self, priority: int) -> int:
        flag = int(self.cu.CUstream_flags.CU_STREAM_NON_BLOCKING)
        return int(checked(self.cu.cuStreamCreateWithPriority(flag, priority)))

    def destroy_stream(self, stream: int) -> None:
        checked(self.cu.cuStreamDestroy(stream))

    def synchronize_stream(self, stream: int) -> None:
        checked(self.cu.cuStreamSynchronize(stream))

    def stream_is_done(self, stream: int) -> bool:
        return self._is_done(self.cu.cuStreamQuery(stream))

    def _is_done(self, result: Any) -> bool:
        if result[0] == self.cu.CUresult.CUDA_ERROR_NOT_READY:
            return False
        checked(result)
        return True

    def wait_event(self, stream: int, event: int) -> None:
        checked(self.cu.cuStreamWaitEvent(stream, event, 0))

    def create_event(self, timing: bool) -> int:
        flags = self.cu.CUevent_flags
        flag = flags.CU_EVENT_DEFAULT if timing else flags.CU_EVENT_DISABLE_TIMING
        return int(checked(self.cu.cuEventCreate(int(flag))))

    def destroy_event(self, event: int) -> None:
        checked(self.cu.cuEventDestroy(event))

    def record_event(self, event: int, stream: int) -> None:
        checked(self.cu.cuEventRecord(event, stream))

    def synchronize_event(self, event: int) -> None:
        checked(self.cu.cuEventSynchronize(event))

    def event_is_done(self, event: int) -> bool:
        return self._is_done(self.cu.cuEventQuery(event))

    def elapsed(self, start: int, end: int) -> float:
        return float(checked(self.cu.cuEventElapsedTime(start, end)))

    # ------------------------------------------------------------------------------- modules

    def load(self, cubin: bytes, entry: str, shared: int) -> tuple[int, Any]:
        """(function handle, owner) of the kernel ``entry``, allowed ``shared`` dynamic bytes."""
        cu = self.cu
        library = checked(cu.cuLibraryLoadData(cubin, [], [], 0, [], [], 0))
        kernel = checked(cu.cuLibraryGetKernel(library, entry.encode()))
        if shared > 48 << 10:
            attribute = cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            device = checked(cu.cuCtxGetDevice())
            checked(cu.cuKernelSetAttribute(attribute, shared, kernel, device))
        return int(checked(cu.cuKernelGetFunction(kernel))), library

    def launch(
        self, function: int, grid: tuple[int, int, int], block: tuple[int, int, int], shared: int,
        stream: int, params: int,
    ) -> None:  # fmt: skip
        """Queue a kernel whose parameters' pointers lie at ``params``."""
        place = (*grid, *block, shared, stream)
        checked(self.cu.cuLaunchKernel(function, *place, params, 0))

    def symbols(self) -> dict[str, int]:
        """Addresses of the driver's entry points that the compiled launcher calls."""
        library = ctypes.CDLL("libcuda.so.1")
        names = ("cuLaunchKernel", "cuGetErrorString")
        return {n: ctypes.cast(getattr(library, n), ctypes.c_void_p).value or 0 for n in names}


class SimulatedDriver:
    """The simulated device: everything happens at once, in order."""

    simulated = True
    device = 0
    capacity = 4 << 30

    def __init__(self) -> None:
        self._next = 1
        self._times: dict[int, float] = {}
        self.used = 0
        self._sizes: dict[int, int] = {}

    def device_count(self) -> int:
        return 1

    def properties(self, device: int) -> Properties:
        return Properties(
            name="tilegrad simulated GPU",
            major=9,
            minor=0,
            total_memory=self.capacity,
            multi_processor_count=2,
            shared_memory_per_multiprocessor=228 << 10,
            shared_memory_per_block_optin=227 << 10,
        )

    def use(self, device: int) -> None:
        pass

    def synchronize(self, device: int) -> None:
        pass

    def allocate(self, device: int, nbytes: int, stream: int) -> int:
        if self.used + nbytes > self.capacity:
            raise CudaOutOfMemory(f"CUDA error 2: out of memory ({self.used} bytes are in use)")
        self.used += nbytes
        address = machine.memory.allocate(nbytes)
        self._sizes[address] = nbytes
        return address

    def free(self, device: int, address: int, stream: int) -> None:
        self.used -= self._sizes.pop(address)
        machine.memory.free(address)

    def memory_info(self, device: int) -> tuple[int, int]:
        return self.capacity - self.used, self.capacity

    def allocate_host(self, nbytes: int) -> int:
        raw = np.empty(nbytes + 256, np.uint8)
        start = -raw.ctypes.data % 256
        block = raw[start : start + nbytes]
        address = int(raw.ctypes.data) + start
        machine.host[address] = block
        return address

    def free_host(self, address: int) -> None:
        del machine.host[address]

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        machine.copy(target, source, nbytes)

    def _new(self) -> int:
        self._next += 1
        return self._next

    def create_stream(self, priority: int) -> int:
        return self._new()

    def destroy_stream(self, stream: int) -> None:
        pass

    def synchronize_stream(self, stream: int) -> None:
        pass

    def stream_is_done(self, stream: int) -> bool:
        return True

    def wait_event(self, stream: int, event: int) -> None:
        pass

    def create_event(self, timing: bool) -> int:
        return self._new()

    def destroy_event(self, event: int) -> None:
        self._times.pop(event, None)

    def record_event(self, event: int, stream: int) -> None:
        self._times[event] = time.perf_counter()

    def synchronize_event(self, event: int) -> None:
        pass

    def event_is_done(self, event: int) -> bool:
        return True

    def elapsed(self, start: int, end: int) -> float:
        return (self._times[end] - self._times[start]) * 1e3


Loader = Callable[[bytes, str, int], tuple[int, Any]]
