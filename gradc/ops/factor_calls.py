"""Factorizations by the names that NumPy and SciPy have for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import call
from gradc.ir.region import FULL, Span
from gradc.ops.elementwise import gt
from gradc.ops.factors import cholesky, cholesky_of, eig, eigh, from_triangle, is_square, qr, svd
from gradc.ops.matrices import adjoint, matrices, option, right_sides, stacked
from gradc.ops.memory import make_index, size_value
from gradc.ops.systems import solve_triangular

EighResult: Any = type(np.linalg.eigh(np.ones((1, 1))))
EigResult: Any = type(np.linalg.eig(np.ones((1, 1))))
SVDResult: Any = type(np.linalg.svd(np.ones((1, 1))))
QRResult: Any = type(np.linalg.qr(np.ones((1, 1))))


def _needs_elements(x: Value) -> Value:
    """Where a matrix of one row or column is taken to have elements, check that it does."""
    builder = current_builder()
    rows, columns = (builder.canonical_size(s) for s in x.shape[-2:])
    if 1 in (rows, columns) and rows != columns and builder.checks:
        axis = x.rank - (1 if rows == 1 else 2)
        filled = gt(size_value(x, axis), 0)
        builder.emit("check", (filled,), error="ShapeError", message="a factorization of a matrix without elements")
    return x


@call(np.linalg.cholesky)
def _cholesky_call(a: Any, /, *, upper: Any = False) -> Value:
    x = matrices(a, "the Cholesky factor", square=True)
    return adjoint(cholesky_of(x, False)) if option(upper, "np.linalg.cholesky") else cholesky(x)


@call("scipy.linalg.cholesky")
def _scipy_cholesky_call(a: Any, lower: Any = False, overwrite_a: Any = False, check_finite: Any = True) -> Value:
    return _cholesky_call(a, upper=not option(lower, "scipy.linalg.cholesky"))


@call("scipy.linalg.cho_factor")
def _cho_factor_call(
    a: Any, lower: Any = False, overwrite_a: Any = False, check_finite: Any = True
) -> tuple[Value, bool]:
    below = bool(option(lower, "scipy.linalg.cho_factor"))
    return _scipy_cholesky_call(a, below), below


@call("scipy.linalg.cho_solve")
def _cho_solve_call(c_and_lower: Any, b: Any, overwrite_b: Any = False, check_finite: Any = True) -> Value:
    factor, lower = c_and_lower
    below = bool(option(lower, "scipy.linalg.cho_solve"))

    def by(t: Value, y: Value) -> Value:
        first, second = (t, adjoint(t)) if below else (adjoint(t), t)
        inner = solve_triangular(first, y, lower=True, unit=False)
        return solve_triangular(second, inner, lower=False, unit=False)

    return right_sides(matrices(factor, "scipy.linalg.cho_solve", square=True), b, by)


@call(np.linalg.qr)
def _qr_call(a: Any, mode: Any = "reduced") -> Any:
    how = option(mode, "np.linalg.qr")
    if how not in ("reduced", "complete", "r"):
        raise UnsupportedError(f"np.linalg.qr(mode={how!r})", hint='"reduced", "complete" or "r"')
    q, r = qr(_needs_elements(matrices(a, "np.linalg.qr")), complete=how == "complete")
    return r if how == "r" else QRResult(q, r)


@call("scipy.linalg.qr")
def _scipy_qr_call(
    a: Any, overwrite_a: Any = False, lwork: Any = None, mode: Any = "full", pivoting: Any = False,
    check_finite: Any = True,
) -> Any:
    how = option(mode, "scipy.linalg.qr")
    if option(pivoting, "scipy.linalg.qr") or how not in ("full", "r", "economic"):
        raise UnsupportedError(f"scipy.linalg.qr(mode={how!r}, pivoting={pivoting})", hint="leave out pivoting.")
    q, r = qr(_needs_elements(matrices(a, "scipy.linalg.qr")), complete=how != "economic")
    return (r,) if how == "r" else (q, r)


def _hermitian(a: Any, lower: bool, what: str) -> Value:
    x = matrices(a, what, square=True)
    return x if lower else adjoint(x)


def _is_lower(letter: Any) -> bool:
    how = option(letter, "np.linalg.eigh")
    if not isinstance(how, str) or how.upper() not in ("L", "U"):
        raise UnsupportedError(f"np.linalg.eigh(UPLO={how!r})", hint='"L" or "U"')
    return how.upper() == "L"


@call(np.linalg.eigh)
def _eigh_call(a: Any, UPLO: Any = "L") -> Any:
    return EighResult(*eigh(_hermitian(a, _is_lower(UPLO), "np.linalg.eigh")))


@call(np.linalg.eigvalsh)
def _eigvalsh_call(a: Any, UPLO: Any = "L") -> Value:
    return eigh(_hermitian(a, _is_lower(UPLO), "np.linalg.eigvalsh"))[0]


@call("scipy.linalg.eigh")
def _scipy_eigh_call(
    a: Any, b: Any = None, *, lower: Any = True, eigvals_only: Any = False, overwrite_a: Any = False,
    overwrite_b: Any = False, type: Any = 1, check_finite: Any = True, subset_by_index: Any = None,
    subset_by_value: Any = None, driver: Any = None,
) -> Any:
    below, only = (bool(option(v, "scipy.linalg.eigh")) for v in (lower, eigvals_only))
    if subset_by_value is not None or option(type, "scipy.linalg.eigh") != 1:
        raise UnsupportedError("scipy.linalg.eigh with subset_by_value or another type", hint="take what you want.")
    x = _hermitian(a, below, "scipy.linalg.eigh")
    if b is None:
        w, v = eigh(x)
    else:
        # a v = w b v: eigenvalues of inv(L) a inv(L)^H for b = L L^H
        x, metric = stacked(from_triangle(x, True), _hermitian(b, below, "scipy.linalg.eigh"))
        factor = cholesky(metric)
        half = solve_triangular(factor, x, lower=True, unit=False)
        w, inner = eigh(solve_triangular(factor, adjoint(half), lower=True, unit=False))
        v = solve_triangular(adjoint(factor), inner, lower=False, unit=False)
    if subset_by_index is not None:
        first, last = (option(k, "scipy.linalg.eigh") for k in subset_by_index)
        span = Span(first, last + 1)
        w, v = (make_index(t, (*(FULL,) * (t.rank - 1), span)) for t in (w, v))
    return w if only else (w, v)


@call("scipy.linalg.eigvalsh")
def _scipy_eigvalsh_call(
    a: Any, b: Any = None, *, lower: Any = True, overwrite_a: Any = False, overwrite_b: Any = False, type: Any = 1,
    check_finite: Any = True, subset_by_index: Any = None, subset_by_value: Any = None, driver: Any = None,
) -> Value:
    return _scipy_eigh_call(
        a, b, lower=lower, eigvals_only=True, type=type, subset_by_index=subset_by_index,
        subset_by_value=subset_by_value,
    )


@call(np.linalg.eig)
def _eig_call(a: Any) -> Any:
    return EigResult(*eig(matrices(a, "np.linalg.eig", square=True)))


@call(np.linalg.eigvals)
def _eigvals_call(a: Any) -> Value:
    return eig(matrices(a, "np.linalg.eigvals", square=True))[0]


@call("scipy.linalg.eig")
def _scipy_eig_call(
    a: Any, b: Any = None, left: Any = False, right: Any = True, overwrite_a: Any = False, overwrite_b: Any = False,
    check_finite: Any = True, homogeneous_eigvals: Any = False,
) -> Any:
    if b is not None or option(left, "scipy.linalg.eig") or option(homogeneous_eigvals, "scipy.linalg.eig"):
        raise UnsupportedError("scipy.linalg.eig with b, left or homogeneous_eigvals", hint="use solve(b, a).")
    w, v = eig(matrices(a, "scipy.linalg.eig", square=True))
    return (w, v) if option(right, "scipy.linalg.eig") else w


@call("scipy.linalg.eigvals")
def _scipy_eigvals_call(
    a: Any, b: Any = None, overwrite_a: Any = False, check_finite: Any = True, homogeneous_eigvals: Any = False
) -> Value:
    return _scipy_eig_call(a, b, right=False, homogeneous_eigvals=homogeneous_eigvals)


def singular_values(a: Value) -> Value:
    """The singular values of matrices, descending, as the last axis."""
    return svd(_needs_elements(a), full=False)[1]


@call(np.linalg.svd)
def _svd_call(a: Any, full_matrices: Any = True, compute_uv: Any = True, hermitian: Any = False) -> Any:
    x = matrices(a, "np.linalg.svd")
    if not option(compute_uv, "np.linalg.svd"):
        return singular_values(x)
    full = bool(option(full_matrices, "np.linalg.svd")) and is_square(x) is not True
    return SVDResult(*svd(_needs_elements(x), full=full))


@call("scipy.linalg.svd")
def _scipy_svd_call(
    a: Any, full_matrices: Any = True, compute_uv: Any = True, overwrite_a: Any = False, check_finite: Any = True,
    lapack_driver: Any = "gesdd",
) -> Any:
    found = _svd_call(a, full_matrices, compute_uv)
    return tuple(found) if isinstance(found, tuple) else found


@call(np.linalg.svdvals)
def _svdvals_call(x: Any, /) -> Value:
    return singular_values(matrices(x, "np.linalg.svdvals"))


@call("scipy.linalg.svdvals")
def _scipy_svdvals_call(a: Any, overwrite_a: Any = False, check_finite: Any = True) -> Value:
    return singular_values(matrices(a, "scipy.linalg.svdvals"))
