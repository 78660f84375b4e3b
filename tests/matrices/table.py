"""What programs call: a line or a few for each function."""

from __future__ import annotations

import itertools
import re

from tests.matrices.program import Draw, Generator

ONE = "x, *_: [x]"
TABLE: dict[str, Generator] = {}


def entry(function: Generator) -> Generator:
    """A row of the table by the function's name."""
    TABLE[function.__name__.strip("_")] = function
    return function


def _repeated(d: Draw) -> None:
    """Of vectors of values that are equal but for rounding no library knows the gradient."""
    value = d.program.values[0]
    if "one" in value or "special" in value or re.search(r"dtype, (1|1\.\d*), ", value):
        d.program.edge = max(d.program.edge, 1)


@entry
def _cholesky(d: Draw) -> None:
    a = d.matrix(d.rows(True), kind=d.pick("positive", "positive", "positive", "hermitian"))
    if "special" in d.program.values[0] or "True" not in d.program.values[0]:
        d.program.edge = max(d.program.edge, 1)
    if d.program.dtype.startswith(
        "complex"
    ):  # PyTorch's gradients are not Hermitian; their Hermitian part is ours
        a = f"(({a} + {a}.mH) * 0.5)"
    call, proof = d.pick(
        (f"lib.linalg.cholesky({a})", ""), (f"lib.linalg.cholesky({a}, upper=True)", "_upper"),
        (f"lib.cholesky({a})", ""), (f"lib.cholesky({a}, True)", "_upper"),
        (f"lib.linalg.cholesky_ex({a})", ""), (f"{a}.cholesky()", ""),
    )  # fmt: skip
    d.says(call, f"cholesky{proof}", ONE)


@entry
def _lu(d: Draw) -> None:
    m = d.rows(True)
    a = d.matrix(m, d.pick(m, m, d.rows()))
    call, proof, loss = d.pick(
        (f"lib.linalg.lu({a})", "lu", "p, l, u: [l, u]"),
        (f"lib.linalg.lu_factor_ex({a})[:2]", "lu_factor", ONE),
        (f"lib.lu({a})", "lu_factor", ONE),
        (f"lib.lu_unpack(*lib.lu({a}))", "lu", "p, l, u: [l, u]"),
        (f"{a}.lu()", "lu_factor", ONE),
    )
    d.says(call, proof, loss, 2)


@entry
def _lu_factor(d: Draw) -> None:
    m = d.rows(True)
    a = d.matrix(m, d.pick(m, m, d.rows()))
    d.says(f"lib.linalg.lu_factor({a})", "lu_factor", ONE, 2)


@entry
def _solve(d: Draw) -> None:
    n, k = d.rows(True), d.pick(1, 1, 2, 3, 7, 33, 0)
    a = d.matrix(n)
    right = d.chance(0.25)
    b = d.sides(k, n) if right else d.sides(n, k)
    more = ", left=False" if right else ""
    call = d.pick(f"lib.linalg.solve({a}, {b}{more})", f"lib.linalg.solve({a}, {b}{more})",
                  f"lib.linalg.solve_ex({a}, {b}{more})")  # fmt: skip
    d.says(call, "solve_right" if right else "solve", ONE, 2)


@entry
def _solve_vector(d: Draw) -> None:
    n = d.rows(True)
    a = d.matrix(n)
    b = d.vectors(*d.batch, n)
    d.says(f"lib.linalg.solve({a}, {b})", "solve_vector", ONE, 2)


@entry
def _lu_solve(d: Draw) -> None:
    n, k = d.rows(True), d.pick(1, 2, 7, 33)
    a = d.matrix(n)
    how = d.pick("", "right", "adjoint", "old")
    b = d.sides(k, n) if how == "right" else d.sides(n, k)
    more = {"": "", "right": ", left=False", "adjoint": ", adjoint=True", "old": ""}[how]
    call = f"lib.linalg.lu_solve(*lib.linalg.lu_factor_ex({a})[:2], {b}{more})"
    if how == "old":
        call = f"lib.lu_solve({b}, *lib.lu({a}))"
    d.says(call, "solve_" + how if how in ("right", "adjoint") else "solve", ONE, 2)


@entry
def _triangular(d: Draw) -> None:
    n, k = d.rows(True), d.pick(1, 2, 7, 33)
    lower, unit, how = d.chance(0.5), d.chance(0.3), d.pick("left", "right", "transposed")
    a = d.matrix(n, kind="lower" if lower else "upper")
    b = d.sides(k, n) if how == "right" else d.sides(n, k)
    if how == "transposed" or (how == "left" and d.chance(0.4)):
        call = f"lib.triangular_solve({b}, {a}, {not lower}, {how == 'transposed'}, {unit})[0]"
    else:
        call = f"lib.linalg.solve_triangular({a}, {b}, upper={not lower}, left={how != 'right'}, unitriangular={unit})"
    d.program.edge = max(d.program.edge, int(unit))
    d.says(
        call, f"triangle_{'lower' if lower else 'upper'}_{'unit' if unit else 'any'}_{how}", ONE, 2
    )


@entry
def _by_cholesky(d: Draw) -> None:
    n, k = d.rows(True), d.pick(1, 2, 7, 33)
    a = d.matrix(n, kind="lower")
    if d.chance(0.4):
        d.says(f"lib.cholesky_inverse({a})", "factor_inverse")
    else:
        b = d.sides(n, k)
        d.says(f"lib.cholesky_solve({b}, {a})", "factor_solve")


@entry
def _inverse(d: Draw) -> None:
    a = d.matrix(d.rows(d.chance(0.5)))
    call = d.pick("lib.linalg.inv({})", "lib.inverse({})", "lib.linalg.inv_ex({})", "{}.inverse()")
    d.says(call.format(a), "inverse", ONE, 2)


@entry
def _determinant(d: Draw) -> None:
    a = d.matrix(d.rows(d.chance(0.3)))
    call = d.pick("lib.linalg.det({})", "lib.det({})", "{}.det()")
    d.says(call.format(a), "determinant", ONE, 2)


@entry
def _logarithm_of_determinant(d: Draw) -> None:
    a = d.matrix(d.rows(True))
    call, proof, loss = d.pick(("lib.linalg.slogdet({})", "log_determinant", "s, l: [l]"),
                               ("lib.slogdet({})", "log_determinant", "s, l: [l]"),
                               ("lib.logdet({})", "log_of_determinant", None))  # fmt: skip
    d.says(call.format(a), proof, loss, 2)


@entry
def _qr(d: Draw) -> None:
    m = d.rows(True)
    n = d.pick(m, d.rows(), d.rows())
    a = d.matrix(m, n)
    d.program.edge = min(d.program.edge, 1)  # columns that depend on each other have no gradient
    mode = d.pick("reduced", "reduced", "complete", "r")
    if mode == "r":
        d.says(f"lib.linalg.qr({a}, 'r')", "only_r")
        return
    call = d.pick(f"lib.linalg.qr({a}, {mode!r})", f"lib.qr({a}, {mode == 'reduced'})")
    whole = mode == "reduced" or m <= n
    d.says(call, "qr", "q, r: [q, r]" if whole else None, 2)


@entry
def _reflections(d: Draw) -> None:
    m = d.rows(True)
    n = min(m, d.pick(m, d.rows(), d.rows()))
    a = d.matrix(m, n)
    product = d.pick("lib.orgqr(g, t)", "lib.linalg.householder_product(g, t)")
    d.says(f"(lambda g, t: ({product}, g.triu()[..., :{n}, :]))(*lib.geqrf({a}))", "reflections")


@entry
def _ormqr(d: Draw) -> None:
    m, k = d.rows(), d.pick(1, 2, 7, 33)
    n = min(m, d.pick(m, d.rows(), d.rows()))
    a = d.matrix(m, n)
    left, turned = d.chance(0.5), d.chance(0.5)
    c = d.sides(m, k) if left else d.sides(k, m)
    q = f"lib.linalg.qr({a}, 'complete')[0]{'.mH' if turned else ''}"
    product = f"{q} @ {c}" if left else f"{c} @ {q}"
    call = f"(lib.ormqr(*lib.geqrf({a}), {c}, {left}, {turned}), {product}, {q})"
    d.says(call, "applied")


@entry
def _eigh(d: Draw) -> None:
    a = d.matrix(d.rows(), kind="hermitian")
    upper = d.chance(0.3)
    loss = "l, v: [(v * l.unsqueeze(-2)) @ v.mH, (l * l).sum(-1)]"
    half = "U" if upper else "L"
    _repeated(d)
    d.says(f"lib.linalg.eigh({a}, {half!r})", "eigh_upper" if upper else "eigh", loss, 2)


@entry
def _eigvalsh(d: Draw) -> None:
    a = d.matrix(d.rows(), kind="hermitian")
    d.says(f"lib.linalg.eigvalsh({a})", "eigvalsh", "l: [(l * l).sum(-1), l.sum(-1)]", 2)


@entry
def _eig(d: Draw) -> None:
    d.many = False
    d.batch = d.batch if d.batch != (10_000,) else (40,)
    whole = d.chance(0.6)
    d.spoil = d.spoil and whole  # PyTorch's eigvals of infinities ends the process
    a = d.matrix(d.rows())
    if whole:
        d.says(f"lib.linalg.eig({a})", "eig")
    else:
        d.says(f"lib.linalg.eigvals({a})", "eigvals")


@entry
def _svd(d: Draw) -> None:
    m = d.rows()
    n = d.pick(m, d.rows(), 2 if d.huge else d.rows())
    m = 2049 if d.huge and n <= 8 else m
    a = d.matrix(m, n)
    whole = d.chance(0.3) and m < 500 and n < 500
    call, proof, v = d.pick((f"lib.linalg.svd({a}, {whole})", "svd", "v"),
                            (f"lib.svd({a}, {not whole})", "old_svd", "v.mH"))  # fmt: skip
    _repeated(d)
    loss = f"u, s, v: [(u[..., :{min(m, n)}] * (s * s).unsqueeze(-2)) @ {v}[..., :{min(m, n)}, :], (s * s).sum(-1)]"
    d.says(call, proof, None if whole and m != n else loss, 2)


@entry
def _svdvals(d: Draw) -> None:
    a = d.matrix(d.rows(), d.rows())
    d.says(f"lib.linalg.svdvals({a})", "svdvals", "s: [(s * s).sum(-1)]", 2)


@entry
def _pinv(d: Draw) -> None:
    m = d.rows()
    a = d.matrix(m, d.pick(m, d.rows()))
    d.says(f"lib.linalg.pinv({a})", "pseudo", ONE, 2)


@entry
def _matrix_rank(d: Draw) -> None:
    m = d.rows()
    a = d.matrix(m, d.pick(m, d.rows()))
    d.says(f"lib.linalg.matrix_rank({a})", "rank")


@entry
def _lstsq(d: Draw) -> None:
    m, k = d.rows(), d.pick(1, 2, 7)
    n = d.pick(m, d.rows())
    a, b = d.matrix(m, n), d.sides(m, k)
    driver = d.pick("'gels'", "'gelsy'", "'gelsd'", "'gelss'", "None")
    d.says(f"lib.linalg.lstsq({a}, {b}, driver={driver})[0]", "least_squares", ONE, 2)


@entry
def _cond(d: Draw) -> None:
    m = d.rows()
    p = d.pick("None", "2", "-2", "1", "'fro'", "'nuc'", "float('inf')", "-1", "float('-inf')")
    plain = p in ("None", "2", "-2")
    a = d.matrix(m, d.pick(m, d.rows()) if plain else m)
    d.says(f"lib.linalg.cond({a}, {p})", "conditions" if p in ("None", "2") else "nothing")


@entry
def _norms(d: Draw) -> None:
    a = d.matrix(d.rows(), d.rows())
    p, proof = d.pick(
        ("'fro'", "fro"), ("'nuc'", "nuc"), ("2", "two"), ("1", "one"), ("float('inf')", "inf")
    )
    call = f"lib.linalg.matrix_norm({a}, {p})"
    if p in ("'fro'", "'nuc'") and d.chance(0.4):
        call = f"lib.norm({a}, {p}, (-2, -1))"
    d.says(call, f"norm_{proof}", ONE if p in ("'fro'", "1") else None, 0)


@entry
def _vector_norms(d: Draw) -> None:
    a = d.matrix(d.rows(True), d.rows())
    p, proof = d.pick(("2", "fro"), ("2", "fro"))
    d.says(d.pick(f"lib.linalg.vector_norm({a}, {p}, (-2, -1))", f"lib.linalg.norm({a}, None, (-2, -1))"),
           f"norm_{proof}", ONE, 0)  # fmt: skip


@entry
def _matrix_exp(d: Draw) -> None:
    a = d.matrix(d.rows())
    d.program.edge = 0
    d.program.amplify = 10.0
    d.says(d.pick("lib.linalg.matrix_exp({})", "lib.matrix_exp({})").format(a), "exponential", ONE)


@entry
def _matrix_power(d: Draw) -> None:
    a = d.matrix(d.rows())
    n = d.pick(-2, -1, 0, 1, 2, 3, 5, 8)
    d.says(f"lib.linalg.matrix_power({a}, {n})", f"power_{n}".replace("-", "m"), ONE, abs(n) + 1)


@entry
def _multi_dot(d: Draw) -> None:
    sizes = [d.rows(True) for _ in range(d.pick(3, 4, 5))]
    d.batch = ()
    names = [d.sides(m, n) for m, n in itertools.pairwise(sizes)]
    d.program.amplify = 10.0
    d.says(f"lib.linalg.multi_dot([{', '.join(names)}])", "product", ONE)


@entry
def _tensorinv(d: Draw) -> None:
    d.batch = ()
    m, n = d.pick((1, 1), (2, 3), (4, 2), (5, 7), (6, 6))
    d.batch = (m, n)
    a = d._add(f"numbers(rng, {(m, n, n, m)}, dtype)", (m, n, n, m))
    d.program.amplify = 1e3
    if d.chance(0.5):
        d.says(f"lib.linalg.tensorinv({a})", "inverse_of_tensor", ONE)
    else:
        b = d.vectors(m, n)
        d.says(f"lib.linalg.tensorsolve({a}, {b})", "solve_of_tensor", ONE)


@entry
def _cross(d: Draw) -> None:
    shape = (*d.batch, 3)
    a, b = d.vectors(*shape), d.vectors(*shape)
    d.says(d.pick(f"lib.linalg.cross({a}, {b})", f"lib.cross({a}, {b}, -1)"), "cross", ONE, 0)


@entry
def _vecdot(d: Draw) -> None:
    shape = (*d.batch, d.rows(True))
    a, b = d.vectors(*shape), d.vectors(*shape)
    d.says(f"lib.linalg.vecdot({a}, {b})", "inner", ONE, 0)


@entry
def _vander(d: Draw) -> None:
    a = d.vectors(*d.batch, max(1, min(d.rows(), 20)))
    d.program.amplify = 1e3
    d.says(f"lib.linalg.vander({a}, N={d.pick(2, 3, 7)})", "powers", ONE)


@entry
def _ldl(d: Draw) -> None:
    d.batch = d.batch if not d.many else (40,)
    n, k = d.rows(), d.pick(1, 2, 7)
    a = d.matrix(n, kind="hermitian")
    b = d.sides(n, k)
    turned = d.chance(0.5)
    call = f"lib.linalg.ldl_solve(*lib.linalg.ldl_factor_ex({a}, hermitian={turned})[:2], {b}, hermitian={turned})"
    d.program.edge = max(d.program.edge, int("special" in d.program.values[0]))
    d.says(call, "solve_hermitian" if turned or "float" in d.program.dtype else "solve_symmetric")


@entry
def _lowrank(d: Draw) -> None:
    m, n = max(d.rows(), 2), max(d.rows(), 2)
    a = d.matrix(m, n)
    q = min(m, n)
    d.says(f"lib.svd_lowrank({a}, {q})", "old_svd")
