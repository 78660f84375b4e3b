"""Exception types. Messages read ``<op>: <rule it breaks>; got <what was given>``."""

from __future__ import annotations


class DeviceError(RuntimeError):
    """Mixed devices in one op, or a device that this machine does not have."""


class OutOfMemoryError(RuntimeError):
    """An allocation failed even after the cache was emptied."""


class LinAlgError(RuntimeError):
    """A matrix has no such factorisation: it is singular, not positive definite, not finite."""
