"""Models in one file, with the machine code of their kernels: :func:`freeze` and :func:`load_frozen`."""

if __name__ != "tilegrad.frozen":
    raise ImportError("import this package as tilegrad.frozen, not as a top-level 'frozen'")

from typing import TYPE_CHECKING

from tilegrad.frozen.loading import Frozen, FrozenModel, load_frozen, read_frozen

if TYPE_CHECKING:
    from tilegrad.frozen.freezing import freeze
else:

    def __getattr__(name: str) -> object:
        """What writes files is loaded when it is asked for."""
        if name != "freeze":
            raise AttributeError(f"module 'tilegrad.frozen' has no attribute {name!r}")
        from tilegrad.frozen.freezing import freeze

        return freeze


__all__ = ["Frozen", "FrozenModel", "freeze", "load_frozen", "read_frozen"]
