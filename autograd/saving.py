"""Hooks around saved tensors: a node keeps what ``pack`` makes of a tensor, and reads what ``unpack`` makes of that.

:meth:`tilegrad.autograd.graph.Node.save` packs, :meth:`~tilegrad.autograd.graph.Node.peek` unpacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.mode import _Switch, anomalies, state
from tilegrad.engine.array import Array
from tilegrad.engine.device import Device

Pack = Callable[["Tensor"], object]
Unpack = Callable[..., object]


class Packed:
    """What a node keeps in the place of a tensor.

    Attributes:
        kept: what the pack hook gave.
        edge: where the gradient of an input goes; None where it needs none.
        output: the place among the node's outputs, if the tensor is one of them.
    """

    __slots__ = ("edge", "kept", "output", "unpack")

    version = 0  # of its storage, which it is itself; nodes note another one, and look closer
    NOTED = -2

    def __init__(self, kept: object, unpack: Unpack, edge: object, output: int | None):
        self.kept, self.unpack, self.edge, self.output = kept, unpack, edge, output

    @property
    def storage(self) -> Packed:
        """Whose version does not count: hooks may have copied."""
        return self

    def opened(self) -> Tensor:
        """What the unpack hook gives, out of the graph.

        Raises:
            TypeError: it is no tensor.
        """
        with _Switch(False):
            found = self.unpack(self.kept)
        if not isinstance(found, Array):
            raise TypeError(
                f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                f"{type(found).__name__}"
            )
        return found  # type: ignore[return-value]  # tensors are what arrays are


def packed(tensor: Tensor, edge: object, output: int | None) -> Packed:
    """``tensor``, which is out of the graph or a leaf, as the innermost hooks want it.

    Raises:
        RuntimeError: the pack hook wrote over it.
    """
    pack, unpack = state.packers[-1]
    version = tensor.storage.version
    with _Switch(False):
        kept = pack(tensor)
    if tensor.storage.version != version:
        raise RuntimeError(
            "A saved tensor pack hook is modifying its input in place. Tensors provided as input to "
            "pack hook can not be modified by in-place operations as this can lead to unexpected "
            "side-effects. Please open an issue if you need to perform in-place operations on the "
            "input to a pack hook."
        )
    return Packed(kept, unpack, edge, output)


class saved_tensors_hooks:
    """Inside the block what nodes save goes through ``pack_hook``, and when their derivative is
    worked out, what that gave through ``unpack_hook``.

    Args:
        pack_hook: takes a tensor, which it must not write over, and gives anything.
        unpack_hook: takes that and gives a tensor of the same values.

    Raises:
        RuntimeError: within :func:`disable_saved_tensors_hooks`, when the block begins.
    """

    def __init__(self, pack_hook: Pack, unpack_hook: Unpack):
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if state.no_packers is not None:
            raise RuntimeError(state.no_packers)
        anomalies.append(None)  # nodes are made in Python
        state.packers.append((self.pack_hook, self.unpack_hook))

    def __exit__(self, *args: object) -> None:
        state.packers.pop()
        anomalies.pop()


class save_on_cpu(saved_tensors_hooks):
    """Inside the block what nodes save is kept in host memory, and brought back when it is needed.

    Args:
        pin_memory: whether that memory is page-locked; the copies back then need not be waited for.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        def pack(tensor: Tensor) -> tuple[Device, Tensor]:
            if not pin_memory:
                return tensor.device, tensor.cpu()
            return tensor.device, tensor.detach().cpu().pin_memory()

        def unpack(kept: tuple[Device, Tensor]) -> Tensor:
            device, tensor = kept
            return tensor.to(device, non_blocking=pin_memory)

        super().__init__(pack, unpack)


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Inside the block :class:`saved_tensors_hooks` raises a RuntimeError of this message.

    Raises:
        RuntimeError: there are hooks already.
    """
    if state.packers:
        raise RuntimeError(error_message)
    before = state.no_packers
    state.no_packers = error_message
    try:
        yield
    finally:
        state.no_packers = before
