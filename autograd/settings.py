"""Settings that PyTorch has and that change nothing here: results are the same on every run, float32 products are
float32 products, and one team of threads does all the work. What is set is remembered and given back.
"""

from __future__ import annotations

import warnings

from tilegrad.autograd import mode

PRECISIONS = ("highest", "high", "medium")
LEVELS = ("default", "warn", "error")


class _Kept:
    """What was set."""

    deterministic = False
    warn_only = False
    precision = PRECISIONS[0]
    interop_threads: int | None = None
    always = False


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Every result is the same on every run, whatever this says."""
    _Kept.deterministic, _Kept.warn_only = bool(mode), bool(warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """What :func:`use_deterministic_algorithms` was told."""
    return _Kept.deterministic


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Its other argument."""
    return _Kept.deterministic and _Kept.warn_only


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """:func:`use_deterministic_algorithms` by 0 or "default", 1 or "warn", 2 or "error".

    Raises:
        TypeError, RuntimeError: something else.
    """
    if not isinstance(debug_mode, int | str):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if isinstance(debug_mode, str):
        if debug_mode not in LEVELS:
            raise RuntimeError(
                f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got "
                f"{debug_mode}"
            )
        debug_mode = LEVELS.index(debug_mode)
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(
            f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}"
        )
    use_deterministic_algorithms(debug_mode > 0, warn_only=debug_mode == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2, as :func:`set_deterministic_debug_mode` takes it."""
    return (1 if _Kept.warn_only else 2) if _Kept.deterministic else 0


def set_float32_matmul_precision(precision: str) -> None:
    """Products of float32 are computed in float32, whatever this says; it warns of what is no precision."""
    if precision not in PRECISIONS:
        warnings.warn(
            f"{precision} is not one of 'highest', 'high', or 'medium'; the current "
            f"setFloat32MatmulPrecision call has no effect.",
            stacklevel=2,
        )
        return
    _Kept.precision = precision


def get_float32_matmul_precision() -> str:
    """What :func:`set_float32_matmul_precision` was told."""
    return _Kept.precision


def set_flush_denormal(mode: bool) -> bool:
    """Numbers below the normal ones are kept: False, as where the processor cannot flush them."""
    return False


def set_num_interop_threads(num: int) -> None:
    """One op runs at a time.

    Raises:
        RuntimeError: not positive.
    """
    if num <= 0:
        raise RuntimeError("set_num_interop_threads expects a positive integer")
    _Kept.interop_threads = num


def get_num_interop_threads() -> int:
    """What :func:`set_num_interop_threads` was told; 1 at first."""
    return _Kept.interop_threads or 1


def set_warn_always(b: bool, /) -> None:
    """Warnings that are given once stay so."""
    _Kept.always = bool(b)


def is_warn_always_enabled() -> bool:
    """What :func:`set_warn_always` was told."""
    return _Kept.always


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return mode.is_anomaly_enabled()


def set_anomaly_enabled(mode_: bool, check_nan: bool = True) -> None:
    """Turn anomaly mode on or off."""
    mode.set_detect_anomaly(mode_, check_nan)


def is_distributed(input: object) -> bool:
    """Whether a tensor lies in several processes: none does."""
    return False
