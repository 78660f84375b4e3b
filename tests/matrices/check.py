"""What a program of matrices does: a call in tilegrad and in PyTorch, and how far both are from what they promise."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import tilegrad
from tests.matrices import proofs

LIMIT = 40.0  # units of eps times the rows that an error may have, whatever PyTorch's is
WORSE = 8.0  # times PyTorch's error, where that is larger

refused: list[str] = []  # calls that both libraries refuse


def check(
    make: Callable[[Any], list[Any]],
    call: Callable[..., Any],
    proof: str,
    seed: int,
    *,
    loss: Callable[..., Any] | None = None,
    amplify: float = 1.0,
    edge: int = 0,
    clean: bool = True,
) -> list[str]:
    """What is wrong with ``call(lib, *make(tensor))``; ``[]`` if nothing is.

    An error must be PyTorch's, in kind and in words; shapes and dtypes must be PyTorch's; ``proof`` names the
    function of :mod:`tests.matrices.proofs` that measures results in units of eps times rows, which may be
    :data:`LIMIT` or :data:`WORSE` times PyTorch's. ``loss(lib, *results)`` gives what gradients are compared
    of, beside those of PyTorch in the wide dtype, to ``amplify`` such units. At an ``edge`` (1: as good as singular,
    so that rounding decides; 2: singular, whatever the rounding) either library may refuse. Not ``clean`` are operands that are not finite: of a batch, the
    matrices that are finite must come out as if alone.
    """
    theirs, mine = _outcome(torch, make, call), _outcome(tilegrad, make, call)
    if isinstance(theirs, Exception) or isinstance(mine, Exception):
        if isinstance(theirs, Exception) and isinstance(mine, Exception):
            refused.append(f"seed {seed}: {theirs}")
        return _refusals(mine, theirs, edge or not clean)
    faults = _forms(mine, theirs)
    if faults:
        return faults
    ins = [_array(t) for t in make(_tensor(torch))]
    have, want = [_array(t) for t in mine], [_array(t) for t in theirs]
    if not clean:
        return [] if edge else _lost(ins, have, want)
    faults = _measured(proof, ins, have, want, edge)
    if loss is not None and not faults:
        faults = _gradients(make, call, loss, seed, amplify, edge)
    return faults


def _tensor(lib: Any) -> Callable[[Any], Any]:
    return lambda array: lib.from_numpy(np.array(array))


def _array(t: Any) -> Any:
    return t.detach().resolve_conj().numpy()


def _flat(made: Any) -> list[Any]:
    return [x for one in made for x in _flat(one)] if isinstance(made, tuple | list) else [made]


def _outcome(lib: Any, make: Any, call: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _flat(call(lib, *make(_tensor(lib))))
    except Exception as error:
        return error


def _refusals(mine: Any, theirs: Any, edge: int) -> list[str]:
    if "view size is not compatible" in str(
        theirs
    ):  # matrix_exp of some layouts: no rule of the function's
        return []
    if not isinstance(theirs, Exception):
        return (
            []
            if edge and isinstance(mine, RuntimeError)
            else [f"refused: {mine!r}; PyTorch gives a result"]
        )
    if not isinstance(mine, Exception):
        return [] if edge else [f"not refused; PyTorch: {theirs!r}"]
    if "INTERNAL ASSERT" in str(theirs):
        return [] if isinstance(mine, RuntimeError) else [f"raises {mine!r}; PyTorch {theirs!r}"]
    kind = lambda e, lib: (isinstance(e, lib.linalg.LinAlgError), *(isinstance(e, k) for k in (RuntimeError, ValueError, TypeError, NotImplementedError)))  # fmt: skip
    if kind(mine, tilegrad) == kind(theirs, torch) and (edge or str(mine) == str(theirs)):
        return []
    return [f"raises {mine!r}; PyTorch {theirs!r}"]


def _forms(mine: list[Any], theirs: list[Any]) -> list[str]:
    form = lambda outs: [(tuple(t.shape), str(t.dtype).split(".")[-1]) for t in outs]
    have, want = form(mine), form(theirs)
    return [] if have == want else [f"results {have}, PyTorch's {want}"]


def _lost(ins: list[Any], have: list[Any], want: list[Any]) -> list[str]:
    """What is not finite is lost in the results of its matrix, and of no other."""
    faults = []
    batch = ins[0].shape[:-2]
    bad, nan = ~np.isfinite(ins[0]).all((-2, -1)), np.isnan(ins[0]).any((-2, -1))
    lost = []
    for outs in (have, want):
        parts = [x for x in outs if x.dtype.kind in "fc" and x.shape[: len(batch)] == batch]
        lost.append(
            ~np.all([np.isfinite(x).all(tuple(range(len(batch), x.ndim))) for x in parts], 0)
        )
    wrong = lost[0] & ~bad & ~lost[1]
    if wrong.any():
        faults.append(f"{wrong.sum()} finite matrices were lost")
    kept = (
        ~lost[0] & lost[1] & nan
    )  # what is divided by an infinity is zero, but for LAPACK's complex numbers
    if kept.any():
        faults.append(f"finite where PyTorch's is not, in {kept.sum()} matrices")
    return faults


def _wide(x: Any) -> Any:
    """As numbers in which a proof makes no error worth the name: 64 bits behind the point where that is quick."""
    if x.dtype.kind not in "fc":
        return x
    long = x.size <= 20_000 and max(x.shape[-2:], default=0) <= 40
    kind = {
        "f": np.longdouble if long else np.float64,
        "c": np.clongdouble if long else np.complex128,
    }
    return x.astype(kind[x.dtype.kind])


def _measured(proof: str, ins: list[Any], have: list[Any], want: list[Any], edge: int) -> list[str]:
    eps = float(np.finfo(next(x.dtype for x in [*ins, *have] if x.dtype.kind in "fc")).eps)
    prove: Callable[..., Iterator[tuple[str, Any]]] = getattr(proofs, proof)
    rows = max([4, *(n for x in ins for n in x.shape[-2:])])
    wide, faults = [_wide(x) for x in ins], []
    with np.errstate(all="ignore"), proofs.at_edge(edge > 0):
        errors = [dict(prove(wide, [_wide(x) for x in outs], eps * rows)) for outs in (have, want)]
    for name, mine in errors[0].items():
        error, other = (float(np.max(e, initial=0)) / (eps * rows) for e in (mine, errors[1][name]))
        if not error <= max(LIMIT, WORSE * other) and not (np.isnan(other) and np.isnan(error)):
            faults.append(
                f"{name}: off by {error:.3g} units of eps times rows; PyTorch {other:.3g}"
            )
    return faults


def _gradients(make: Any, call: Any, loss: Any, seed: int, amplify: float, edge: int) -> list[str]:
    found = []
    for lib, wide in ((tilegrad, False), (torch, False), (torch, True)):
        got = _gradient(lib, make, call, loss, seed, wide)
        if isinstance(got, Exception):
            found.append(got)
            continue
        found.append(got)
    mine, theirs, right = found
    if isinstance(mine, Exception) or isinstance(theirs, Exception):
        if edge or (isinstance(mine, Exception) and isinstance(theirs, Exception)):
            return []
        return [f"gradient: {mine if isinstance(mine, Exception) else 'there'!r}; "
                f"PyTorch's: {theirs if isinstance(theirs, Exception) else 'there'!r}"]  # fmt: skip
    if isinstance(right, Exception):
        return []
    faults = []
    for k, (a, b, c) in enumerate(zip(mine, theirs, right, strict=True)):
        if (a is None) != (b is None):
            faults.append(f"gradient {k}: {'none' if a is None else 'there'}, not so PyTorch's")
        if a is None or b is None or not a.size:
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            faults.append(f"gradient {k}: {a.shape} {a.dtype}, PyTorch's {b.shape} {b.dtype}")
            continue
        if not np.isfinite(c).all() or not np.isfinite(b).all():
            continue
        rows = max(4, *a.shape[-2:]) if a.ndim > 1 else 4
        unit = float(np.finfo(a.dtype).eps) * rows
        size = max(float(np.abs(c).max()), 1e-300)
        error, other = (float(np.abs(x.astype(c.dtype) - c).max()) / size / unit for x in (a, b))
        allowed = max(LIMIT * amplify, WORSE * other)
        if not error <= allowed and not (edge or amplify * unit > 1e-3):
            faults.append(
                f"gradient {k}: off by {error:.3g} units (allowed {allowed:.3g}); PyTorch {other:.3g}"
            )
        elif edge != 1 and not np.isfinite(a).all():
            faults.append(f"gradient {k}: not finite where PyTorch's is")
    return faults


def _gradient(lib: Any, make: Any, call: Any, loss: Any, seed: int, wide: bool) -> Any:
    """Gradients of all floating operands, for cotangents of the seed."""

    def tensor(array: Any) -> Any:
        kind = array.dtype.kind
        if wide and kind in "fc":
            array = array.astype("float64" if kind == "f" else "complex128")
        return lib.from_numpy(np.array(array))

    rng = np.random.default_rng(seed + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = [t.detach() for t in make(tensor)]
            leaves = [t.requires_grad_() for t in given if t.is_floating_point() or t.is_complex()]
            outs = [t for t in _flat(loss(lib, *_flat(call(lib, *given)))) if t.requires_grad]
            seeds = []
            for out in outs:
                drawn = rng.standard_normal(tuple(out.shape))
                if out.is_complex():
                    drawn = drawn + 1j * rng.standard_normal(tuple(out.shape))
                seeds.append(lib.from_numpy(np.asarray(drawn)).to(out.dtype))
            grads = lib.autograd.grad(outs, leaves, seeds, allow_unused=True)
    except Exception as error:
        return error
    return [None if g is None else _array(g) for g in grads]
