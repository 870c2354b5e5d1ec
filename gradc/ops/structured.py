"""Matrices with a structure: bands, blocks, diagonals that are constant; and polynomials through points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import CALLS, OpDef, call, define
from gradc.ir.region import FULL, Arg, Gather, Span
from gradc.ir.types import Array, promote_dtypes
from gradc.ops.arrange import concatenate
from gradc.ops.elementary import sqrt
from gradc.ops.elementwise import eq, ge, lt, maximum, minimum, where
from gradc.ops.linalg import least_squares
from gradc.ops.matrices import Require, conjugated, matrix_dtype, option, routine
from gradc.ops.memory import make_gather, make_index, make_zeros, size_value, store
from gradc.ops.products import column, last, row
from gradc.ops.reduce import sum as sum_over
from gradc.ops.rules import as_value, convert
from gradc.ops.scans import make_positions
from gradc.ops.systems import scipy_linalg

# ------------------------------------------------------------------------------------------------- bands


def _band_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    require(0, 1, 1, 0)
    return [Array(types[1].dtype, types[1].shape)]


def _run_banded(a: Any, b: Any, lower: int, upper: int) -> Any:
    return scipy_linalg().solve_banded((lower, upper), a, b) if b.size else b.copy()


def _inside(positions: Value, n: Value) -> tuple[Value, Value]:
    """Positions moved into range(n), and which of them were in it."""
    return maximum(minimum(positions, n - 1), 0), where(ge(positions, 0), lt(positions, n), False)


def _turned_band(a: Value, lower: int, upper: int) -> Value:
    """The band of the transposed matrix, whose bandwidths are exchanged."""
    n = size_value(a, 1)
    rows = column(make_positions(lower + upper + 1))
    at, there = _inside(row(make_positions(n)) + rows - lower, n)
    return where(there, make_gather(a, (Gather(0), Gather(1)), (lower + upper) - rows, at), 0)


def _banded_vjp(ct: Value, y: Value, a: Value, b: Value, *, lower: int, upper: int) -> list[Value]:
    # What stands at [r, j] of the band is entry (r - upper + j, j) of the matrix.
    back = solve_banded(_turned_band(a, lower, upper), ct, lower=upper, upper=lower)
    n = size_value(a, 1)
    at, there = _inside(row(make_positions(n)) + column(make_positions(lower + upper + 1)) - upper, n)
    products = make_gather(back, (Gather(0), FULL), at) * y
    return [where(there, -sum_over(products, axes=(2,), keepdims=False), 0), back]


def _banded_jvp(tangents: Sequence[Value | None], y: Value, a: Value, b: Value, *, lower: int, upper: int) -> Value:
    a_t, b_t = tangents
    total = b_t
    if a_t is not None:
        n = size_value(a, 1)
        rows = column(make_positions(lower + upper + 1))
        at, there = _inside(row(make_positions(n)) - rows + upper, n)
        entries = where(there, make_gather(a_t, (Gather(0), Gather(1)), rows, at), 0)
        moved = column(entries) * make_gather(y, (Gather(0), FULL), at)
        moved = -sum_over(moved, axes=(0,), keepdims=False)
        total = moved if total is None else total + moved
    return solve_banded(a, total, lower=lower, upper=upper)


solve_banded: OpDef = define(
    OpDef(
        "solve_banded", "product", ("a", "b"), infer=_band_type, run=_run_banded,
        emit="scipy.linalg.solve_banded(({lower}, {upper}), {a}, {b})", vjp=_banded_vjp, jvp=_banded_jvp, cost=2000,
        lower=routine("banded", (0, -1), (1, -1), options=("lower", "upper"), fails="Singular matrix"),
        takes_complex=True, may_fail=True,
        doc="The solution of a linear system with {lower} and {upper} diagonals beside the main one: the rows of a, "
        "aligned by columns.",
    )
)


def _solved_band(a: Value, b: Value, lower: int, upper: int) -> Value:
    builder = current_builder()
    if builder.checks:
        fits = eq(size_value(a, 0), lower + upper + 1)
        message = f"the band matrix has another number of rows than {lower} + {upper} + 1"
        builder.emit("check", (fits,), error="ShapeError", message=message)
    name = matrix_dtype(a, b)
    a, b = convert(a, name), convert(b, name)
    if b.rank == 1:
        return last(solve_banded(a, column(b), lower=lower, upper=upper), -1)
    return solve_banded(a, b, lower=lower, upper=upper)


def _band_operands(ab: Any, b: Any, what: str) -> tuple[Value, Value]:
    a, y = as_value(ab), as_value(b)
    if a.rank != 2 or y.rank not in (1, 2):
        raise ShapeError(f"{what} takes a band matrix, and a vector or a matrix of right sides")
    return a, y


@call("scipy.linalg.solve_banded")
def _solve_banded_call(
    l_and_u: Any, ab: Any, b: Any, overwrite_ab: Any = False, overwrite_b: Any = False, check_finite: Any = True
) -> Value:
    lower, upper = (option(k, "scipy.linalg.solve_banded") for k in l_and_u)
    if not isinstance(lower, int) or not isinstance(upper, int):
        raise UnsupportedError("scipy.linalg.solve_banded takes literal bandwidths")
    return _solved_band(*_band_operands(ab, b, "scipy.linalg.solve_banded"), lower, upper)


@call("scipy.linalg.solveh_banded")
def _solveh_banded_call(
    ab: Any, b: Any, overwrite_ab: Any = False, overwrite_b: Any = False, lower: Any = False, check_finite: Any = True
) -> Value:
    a, y = _band_operands(ab, b, "scipy.linalg.solveh_banded")
    rows = current_builder().canonical_size(a.shape[0])
    if not isinstance(rows, int):
        raise UnsupportedError(
            "scipy.linalg.solveh_banded of a band whose width is known at run time only",
            hint="stack its diagonals in the function: np.array([above, main]).",
        )
    wide = rows - 1
    below = a if option(lower, "scipy.linalg.solveh_banded") else conjugated(_turned_half(a, wide, up=False))
    above = conjugated(_turned_half(below, wide, up=True))
    return _solved_band(concatenate(make_index(above, (Span(0, wide), FULL)), below, axis=0), y, wide, wide)


def _turned_half(a: Value, wide: int, up: bool) -> Value:
    """The upper half of a symmetric band matrix (`up`) from its lower half, or the other way round."""
    n = size_value(a, 1)
    rows = column(make_positions(wide + 1))
    steps = rows - wide if up else rows
    at, there = _inside(row(make_positions(n)) + steps, n)
    return where(there, make_gather(a, (Gather(0), Gather(1)), wide - rows, at), 0)


# ------------------------------------------------------------------------------------- blocks, diagonals


@call("scipy.linalg.block_diag")
def _block_diag_call(*arrs: Any) -> Value:
    blocks = [as_value(a) for a in arrs]
    blocks = [row(b) if b.rank == 1 else b for b in blocks]
    if not blocks or any(b.rank != 2 for b in blocks):
        raise UnsupportedError("scipy.linalg.block_diag of what is neither vectors nor matrices")
    sizes = [[size_value(b, axis) for b in blocks] for axis in (0, 1)]
    totals = []
    for held in sizes:
        total: Any = held[0]
        for size in held[1:]:
            total = total + size
        totals.append(total)
    result = make_zeros(totals, promote_dtypes(tuple(b.ty for b in blocks)).dtype)  # type: ignore[misc]
    at: list[Any] = [current_builder().const(0), current_builder().const(0)]
    for block, height, width in zip(blocks, *sizes, strict=True):
        ends = [at[0] + height, at[1] + width]
        spans = (Span(Arg(0), Arg(1)), Span(Arg(2), Arg(3)))
        store(make_index(result, spans, at[0], ends[0], at[1], ends[1]), block)
        at = ends
    return result


def _vector(x: Any, what: str) -> Value:
    value = as_value(x)
    if value.rank != 1:
        raise ShapeError(f"{what} takes vectors")
    return value


def _taken(x: Value, at: Value) -> Value:
    return make_gather(x, (Gather(0),), at)


@call("scipy.linalg.toeplitz")
def _toeplitz_call(c: Any, r: Any = None) -> Value:
    down = _vector(c, "scipy.linalg.toeplitz")
    across = conjugated(down) if r is None else _vector(r, "scipy.linalg.toeplitz")
    rest = make_index(across, (Span(1, None),))
    joined = concatenate(make_index(rest, (Span(None, None, -1),)), down, axis=0)
    i, j = make_positions(size_value(down, 0)), make_positions(size_value(across, 0))
    return _taken(joined, column(i) - row(j) + (size_value(across, 0) - 1))


@call("scipy.linalg.hankel")
def _hankel_call(c: Any, r: Any = None) -> Value:
    down = _vector(c, "scipy.linalg.hankel")
    across = down * 0 if r is None else _vector(r, "scipy.linalg.hankel")
    joined = concatenate(down, make_index(across, (Span(1, None),)), axis=0)
    i, j = make_positions(size_value(down, 0)), make_positions(size_value(across, 0))
    return _taken(joined, column(i) + row(j))


@call("scipy.linalg.circulant")
def _circulant_call(c: Any) -> Value:
    x = _vector(c, "scipy.linalg.circulant")
    i = make_positions(size_value(x, 0))
    away = column(i) - row(i)
    return _taken(x, where(lt(away, 0), away + size_value(x, 0), away))


# ---------------------------------------------------------------------------------------------- polynomials


@call(np.polyfit)
def _polyfit_call(
    x: Any, y: Any, deg: Any, rcond: Any = None, full: Any = False, w: Any = None, cov: Any = False
) -> Any:
    points, values = as_value(x), as_value(y)
    points, values = convert(points, matrix_dtype(points)), convert(values, matrix_dtype(values))
    degree = option(deg, "np.polyfit")
    if not isinstance(degree, int) or degree < 0:
        raise UnsupportedError("np.polyfit takes a literal degree that is not negative")
    if points.rank != 1 or values.rank not in (1, 2):
        raise ShapeError("np.polyfit takes a vector of points, and a vector or a matrix of values")
    if option(cov, "np.polyfit"):
        raise UnsupportedError("np.polyfit(cov=...)", hint="compute it from np.vander.")
    current_builder().require_equal(points, 0, values, 0)
    powers = CALLS[np.vander].build(points, degree + 1)
    if w is not None:
        weights = as_value(w)
        powers = powers * column(weights)
        values = values * (column(weights) if values.rank == 2 else weights)
    scale = sqrt(sum_over(powers * powers, axes=(0,), keepdims=False))
    cutoff = size_value(points, 0) * float(np.finfo(points.dtype).eps) if rcond is None else rcond
    found, left, rank, s = least_squares(powers / row(scale), values, as_value(cutoff))
    found = found / (column(scale) if found.rank == 2 else scale)
    return (found, left, rank, s, as_value(cutoff)) if option(full, "np.polyfit") else found
