"""Linear algebra that is made of factorizations: pseudo-inverses, least squares, condition numbers, powers, chains.

`pinv` has rules of its own: G. Golub, V. Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares
problems whose variables separate" (1973), which hold where the rank does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import OpDef, call, define
from gradc.ir.region import FULL, Arg, At, Span
from gradc.ir.types import Array
from gradc.ops.elementary import absolute_square
from gradc.ops.elementwise import eq, gt, maximum, where
from gradc.ops.factor_calls import singular_values
from gradc.ops.factors import cholesky_solve, from_triangle, svd
from gradc.ops.matrices import Require, adjoint, conjugated, identity, matrices, on_diagonal, option, right_sides
from gradc.ops.memory import make_index, size_value
from gradc.ops.norms import matrix_norm
from gradc.ops.products import column, dot, matmul, row, swap_last
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import as_value, constant_of, convert
from gradc.ops.scans import make_positions
from gradc.ops.systems import inverse, solve, solve_triangular

# ------------------------------------------------------------------------------------------- pseudo-inverse


def _pinv_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    *lead, m, n = types[0].shape
    return [Array(types[0].dtype, (*lead, n, m))]


def _largest(s: Value) -> Value:
    """The first of the singular values, with an axis of size 1; 0 where there are none."""
    first = eq(make_positions(size_value(s, s.rank - 1)), 0)
    return sum_over(where(first, s, 0.0), axes=(s.rank - 1,), keepdims=True)


def _expand_pinv(a: Value, cutoff: Value) -> Value:
    u, s, vh = svd(a, full=False)
    kept = gt(s, convert(cutoff, s.dtype) * _largest(s))
    inverted = where(kept, 1.0 / where(kept, s, 1.0), 0.0)
    return matmul(adjoint(vh) * row(inverted), adjoint(u))


def _pinv_vjp(ct: Value, y: Value, a: Value, cutoff: Value) -> list[Value | None]:
    # g_a = -P^H g P^H + (I - A P) g^H P P^H + P^H P g^H (I - P A)
    g, turned = conjugated(ct), adjoint(y)
    across = adjoint(g)
    first = matmul(across - matmul(a, matmul(y, across)), matmul(y, turned))
    second = matmul(matmul(turned, y), across - matmul(matmul(across, y), a))
    return [conjugated(first + second - matmul(matmul(turned, g), turned)), None]


def _pinv_jvp(tangents: Sequence[Value], y: Value, a: Value, cutoff: Value) -> Value:
    moved, turned = tangents[0], adjoint(y)
    across = adjoint(moved)
    first = matmul(matmul(y, turned), across - matmul(matmul(across, a), y))
    second = matmul(across - matmul(y, matmul(a, across)), matmul(turned, y))
    return first + second - matmul(matmul(y, moved), y)


pinv: OpDef = define(
    OpDef(
        "pinv", "product", ("a", "cutoff"), infer=_pinv_type, run=lambda a, cutoff: np.linalg.pinv(a, float(cutoff)),
        emit="np.linalg.pinv({a}, {cutoff})", expand=_expand_pinv, vjp=_pinv_vjp, jvp=_pinv_jvp, cost=80000,
        takes_complex=True, may_fail=True,
        doc="The pseudo-inverse; singular values up to cutoff times the largest count as 0.",
    )
)


def _longer(x: Value) -> Value:
    return maximum(size_value(x, x.rank - 2), size_value(x, x.rank - 1))


def _rounding(x: Value) -> Value:
    """The relative size of singular values that are rounding errors: eps * max(rows, columns)."""
    return _longer(x) * float(np.finfo(x.dtype).eps)


_DEFAULT: Any = object()


@call(np.linalg.pinv)
def _pinv_call(a: Any, rcond: Any = None, hermitian: Any = False, *, rtol: Any = _DEFAULT) -> Value:
    x = matrices(a, "np.linalg.pinv")
    if rcond is None:
        rcond = 1e-15 if rtol is _DEFAULT else _rounding(x) if rtol is None else rtol
    return pinv(x, _one_number(rcond, "np.linalg.pinv"))


def _one_number(x: Any, what: str) -> Value:
    value = as_value(x)
    if value.rank:
        raise UnsupportedError(f"{what} with a cutoff for each matrix", hint="pass one number.")
    return value


@call("scipy.linalg.pinv")
def _scipy_pinv_call(
    a: Any, *, atol: Any = None, rtol: Any = None, return_rank: Any = False, check_finite: Any = True
) -> Value:
    x = matrices(a, "scipy.linalg.pinv")
    if atol is not None or option(return_rank, "scipy.linalg.pinv"):
        raise UnsupportedError("scipy.linalg.pinv with atol or return_rank", hint="give rtol.")
    return pinv(x, _one_number(_rounding(x) if rtol is None else rtol, "scipy.linalg.pinv"))


def _rank(s: Value, cutoff: Value) -> Value:
    above = gt(s, convert(cutoff, s.dtype) * _largest(s))
    return sum_over(convert(above, "int64"), axes=(s.rank - 1,), keepdims=False)


@call(np.linalg.matrix_rank)
def _matrix_rank_call(A: Any, tol: Any = None, hermitian: Any = False, *, rtol: Any = None) -> Value:
    x = matrices(A, "np.linalg.matrix_rank")
    s = singular_values(x)
    if tol is not None:
        return sum_over(convert(gt(s, as_value(tol)), "int64"), axes=(s.rank - 1,), keepdims=False)
    return _rank(s, as_value(_rounding(x) if rtol is None else rtol))


def least_squares(x: Value, b: Any, cutoff: Value) -> tuple[Value, Value, Value, Value]:
    """The shortest x that minimizes |a @ x - b|, the sums of squares that are left, the rank, and singular values.

    The sums are those of NumPy: none where the rank is not the number of columns, or there are no more rows than
    columns.
    """
    if x.rank != 2:
        raise ShapeError("least squares of a stack of matrices", hint="loop over the stack.")
    y = as_value(b)
    if y.rank not in (1, 2):
        raise ShapeError("the right side of least squares is neither a vector nor a matrix")
    current_builder().require_equal(x, 0, y, 0)
    found = right_sides(x, y, lambda t, v: matmul(pinv(t, cutoff), v))
    y, x = convert(y, found.dtype), convert(x, found.dtype)
    s = singular_values(x)
    rank = _rank(s, cutoff)
    squares = absolute_square(y - matmul(x, found))
    left = sum_over(squares if y.rank == 2 else column(squares), axes=(0,), keepdims=False)
    rows, columns = size_value(x, 0), size_value(x, 1)
    whole = where(eq(rank, columns), where(gt(rows, columns), size_value(left, 0), 0), 0)
    return found, make_index(left, (Span(None, Arg(0)),), convert(whole, "int64", weak=True)), rank, s


@call(np.linalg.lstsq)
def _lstsq_call(a: Any, b: Any, rcond: Any = None) -> tuple[Value, ...]:
    x = matrices(a, "np.linalg.lstsq")
    known = constant_of(rcond) if isinstance(rcond, Value) else rcond
    cutoff = _rounding(x) if rcond is None else float(np.finfo(x.dtype).eps) if known == -1 else rcond
    return least_squares(x, b, _one_number(cutoff, "np.linalg.lstsq"))


@call("scipy.linalg.lstsq")
def _scipy_lstsq_call(
    a: Any, b: Any, cond: Any = None, overwrite_a: Any = False, overwrite_b: Any = False, check_finite: Any = True,
    lapack_driver: Any = None,
) -> tuple[Value, ...]:
    x = matrices(a, "scipy.linalg.lstsq")
    cutoff = float(np.finfo(x.dtype).eps) if cond is None else cond
    found, left, rank, s = least_squares(x, b, _one_number(cutoff, "scipy.linalg.lstsq"))
    return found, left, rank, s


@call(np.linalg.cond)
def _cond_call(x: Any, p: Any = None) -> Value:
    order = option(p, "np.linalg.cond")
    a = matrices(x, "np.linalg.cond", square=order not in (None, 2, -2))
    if order in (None, 2, -2):
        s = singular_values(a)
        ends = (FULL,) * (s.rank - 1)
        largest, least = make_index(s, (*ends, At(0))), make_index(s, (*ends, At(-1)))
        if s.rank == 1:
            builder = current_builder()
            largest, least = (builder.emit("load", (s,), region=(At(k),)) for k in (0, -1))
        return least / largest if order == -2 else largest / least
    axes = (a.rank - 2, a.rank - 1)
    return matrix_norm(a, order, axes, False) * matrix_norm(inverse(a), order, axes, False)


# ------------------------------------------------------------------------------- systems with known structure

_SYMMETRIC = {"sym": False, "symmetric": False, "her": True, "hermitian": True}
_POSITIVE = ("pos", "positive definite")


@call("scipy.linalg.solve")
def _scipy_solve_call(
    a: Any, b: Any, lower: Any = False, overwrite_a: Any = False, overwrite_b: Any = False, check_finite: Any = True,
    assume_a: Any = None, transposed: Any = False,
) -> Value:
    x = matrices(a, "a linear system", square=True)
    kind, below, turned = (option(v, "scipy.linalg.solve") for v in (assume_a, lower, transposed))
    x = swap_last(x) if turned else x
    below = bool(below) != bool(turned)
    match kind:
        case None | "gen" | "general" | "banded" | "tridiagonal":
            return right_sides(x, b, solve)
        case "diagonal":
            return right_sides(x, b, lambda t, y: solve(where(on_diagonal(size_value(t, t.rank - 1)), t, 0), y))
        case "upper triangular" | "lower triangular":
            down = (kind == "lower triangular") != bool(turned)
            return right_sides(x, b, lambda t, y: solve_triangular(t, y, lower=down, unit=False))
        case _ if kind in _SYMMETRIC:
            return right_sides(from_triangle(x, below, _SYMMETRIC[kind]), b, solve)
        case _ if kind in _POSITIVE:
            return right_sides(x, b, lambda t, y: cholesky_solve(t, y, below))
    raise UnsupportedError(f"scipy.linalg.solve(assume_a={kind!r})", hint="leave out assume_a")


# ------------------------------------------------------------------------------------------ powers, chains


@call(np.linalg.multi_dot)
def _multi_dot_call(arrays: Any, *, out: None = None) -> Value:
    values = [as_value(v) for v in arrays]
    result = values[0]
    for other in values[1:]:
        result = dot(result, other)
    return result


@call(np.linalg.matrix_power)
def _matrix_power_call(a: Any, n: Any) -> Value:
    x = as_value(a)
    matrices(x, "a matrix power", square=True)
    count = constant_of(n) if isinstance(n, Value) else n
    if not isinstance(count, int):
        raise UnsupportedError("np.linalg.matrix_power takes a literal exponent")
    if count < 0:
        x, count = inverse(matrices(x, "a matrix power")), -count
    if count == 0:
        return identity(x)
    result: Value | None = None
    while count:
        if count % 2:
            result = x if result is None else matmul(result, x)
        count //= 2
        if count:
            x = matmul(x, x)
    assert result is not None
    return result


@call(np.linalg.matrix_transpose)
def _matrix_transpose_call(x: Any, /) -> Value:
    value = as_value(x)
    if value.rank < 2:
        raise ShapeError("matrix transpose with fewer than two axes")
    return swap_last(value)
