"""How the elements of a tensor lie in memory: layouts and memory formats, with PyTorch's names."""

from __future__ import annotations

from tilegrad.engine.array import contiguous_strides


class MemoryLayout:
    """``tilegrad.layout``: strided, the only one there is."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"tilegrad.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class MemoryFormat:
    """``tilegrad.memory_format``: the order of the dimensions in memory.

    Attributes:
        rank: number of dimensions that it is for; None for any.
    """

    __slots__ = ("name", "rank")

    def __init__(self, name: str, rank: int | None = None):
        self.name, self.rank = name, rank

    def __repr__(self) -> str:
        return f"tilegrad.{self.name}"

    def __reduce__(self) -> str:
        return self.name

    def strides(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The strides of a gapless tensor of this format.

        Raises:
            RuntimeError: the format is for another number of dimensions.
        """
        if self.rank is None:
            return contiguous_strides(shape)
        if len(shape) != self.rank:
            raise RuntimeError(f"required rank {self.rank} tensor to use {self.name} format")
        last = (shape[0], *shape[2:], shape[1])
        batch, *inner, channels = contiguous_strides(last)
        return (batch, channels, *inner)

    def fits(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
        """Whether ``strides`` are those of this format; strides of single elements do not count."""
        order = list(range(len(shape)))
        if self.rank is None:
            if 0 in shape:
                return True
        elif len(shape) != self.rank:
            return False
        else:
            order = [0, *order[2:], 1]
        step = 1
        for d in reversed(order):
            if shape[d] != 1:
                if strides[d] != step:
                    return False
                step *= shape[d]
        return True


strided = MemoryLayout("strided")

preserve_format = MemoryFormat("preserve_format")
contiguous_format = MemoryFormat("contiguous_format")
channels_last = MemoryFormat("channels_last", 4)
channels_last_3d = MemoryFormat("channels_last_3d", 5)


def memory_format(value: object, name: str) -> MemoryFormat:
    """``value``, if it is a memory format.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, MemoryFormat):
        raise TypeError(
            f"{name}(): argument 'memory_format' must be memory_format, not {type(value).__name__}"
        )
    return value


def check_layout(value: object, name: str) -> None:
    """Refuse what is no layout, and layouts that are not there.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, MemoryLayout):
        raise TypeError(f"{name}(): argument 'layout' must be layout, not {type(value).__name__}")
