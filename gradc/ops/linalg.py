"""Linear algebra on one matrix: solve, inv, det, slogdet, cholesky, triangular systems, powers, chains of products.

Each op prints as NumPy's call and expands into loops (elimination with row exchanges, Cholesky's algorithm) for
kernels. Derivatives: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Block, Value, current_builder
from gradc.ir.opdef import OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS, Arg, At
from gradc.ir.types import WEAK_INT, Array, Scalar, Stack, is_complex, promote_dtypes
from gradc.ops.elementary import log, sqrt
from gradc.ops.elementwise import abs as abs_op
from gradc.ops.elementwise import eq, gt, sign, where
from gradc.ops.memory import copy, load, make_index, make_zeros, shape_values, size_value, store_at, transpose
from gradc.ops.parts import complex_of, conj, imag
from gradc.ops.products import dot, matmul
from gradc.ops.rules import as_value, constant_of, convert, part_dtype
from gradc.ops.scans import make_positions

_CELL = (At(Arg(0)), At(Arg(1)))


def loop(
    start: Any, stop: Any, body: Callable[..., Any], carried: Sequence[Value] = (), backwards: bool = False
) -> list[Value]:
    """`for i in range(start, stop)`: `body(i, *carried)` gives the next carried scalars."""
    builder = current_builder()
    params = [Value(WEAK_INT, "i"), *(Value(c.ty) for c in carried)]
    with builder.into(Block(params=params)) as block:
        block.yields = list(body(*params) or ())
    types = [c.ty for c in carried]
    return builder.control("for", (start, stop, 1, *carried), (block,), types, reversed=backwards, exits=False)


def cell(x: Value, i: Any, j: Any) -> Value:
    """x[i, j]."""
    builder = current_builder()
    return load(x, builder.value(i), builder.value(j), region=_CELL)


def put(x: Value, i: Any, j: Any, value: Any) -> None:
    """x[i, j] = value."""
    builder = current_builder()
    store_at(x, value, builder.value(i), builder.value(j), region=_CELL)


def _square(x: Value, what: str) -> None:
    if x.rank != 2:
        raise UnsupportedError(f"{what} of a stack of matrices", hint="loop over the stack")
    current_builder().require_equal(x, 0, x, 1)


def _matrix_dtype(*values: Value) -> str:
    found = np.result_type(promote_dtypes(tuple(v.ty for v in values if not isinstance(v.ty, Stack))).dtype)
    return found.name if found.kind in "fc" else "float64"


def eliminate(u: Value, b: Value | None) -> Value:
    """Turn u into an upper triangle by elimination with row exchanges, doing the same to b; 1 or -1, u's exchanges."""
    builder = current_builder()
    n = size_value(u, 0)
    one = builder.const(np.dtype(u.dtype).type(1))

    def column(k: Value, parity: Value) -> list[Value]:
        def larger(i: Value, best: Value, at: Value) -> list[Value]:
            size = abs_op(cell(u, i, k))
            better = gt(size, best)
            return [where(better, size, best), where(better, i, at)]

        start = abs_op(cell(u, k, k))
        _, pivot = loop(k + 1, n, larger, (start, convert(k + 0, "int64", weak=True)))

        def exchange(of: Value) -> Callable[[Value], None]:
            def at(j: Value) -> None:
                here, there = cell(of, k, j), cell(of, pivot, j)
                put(of, k, j, there)
                put(of, pivot, j, here)

            return at

        loop(k, n, exchange(u))
        if b is not None:
            loop(0, size_value(b, 1), exchange(b))

        def clear(i: Value) -> None:
            factor = cell(u, i, k) / cell(u, k, k)
            loop(k, n, lambda j: put(u, i, j, cell(u, i, j) - factor * cell(u, k, j)))
            if b is not None:
                loop(0, size_value(b, 1), lambda j: put(b, i, j, cell(b, i, j) - factor * cell(b, k, j)))

        loop(k + 1, n, clear)
        return [where(eq(pivot, k), parity, -parity)]

    (parity,) = loop(0, n, column, (one,))
    return parity


def substitute_back(t: Value, b: Value, lower: bool) -> None:
    """Overwrite b with the solution of t @ x = b for a triangle t."""
    n, zero = size_value(t, 0), current_builder().const(np.dtype(b.dtype).type(0))

    def row(i: Value) -> None:
        def entry(j: Value) -> None:
            start, stop = (0, i) if lower else (i + 1, n)
            (total,) = loop(start, stop, lambda k, s: [s + cell(t, i, k) * cell(b, k, j)], (zero,))
            put(b, i, j, (cell(b, i, j) - total) / cell(t, i, i))

        loop(0, size_value(b, 1), entry)

    loop(0, n, row, backwards=not lower)


def turned(x: Value) -> Value:
    """The transposed matrix: a view."""
    return transpose(x, perm=(1, 0))


# --------------------------------------------------------------------------------------------------- solve


def _solve_type(types: Sequence[Any], attrs: dict[str, Any], require: Any) -> list[Any]:
    require(0, 0, 0, 1)
    require(0, 0, 1, 0)
    return [Array(types[1].dtype, types[1].shape)]


def _expand_solve(a: Value, b: Value) -> Value:
    u, x = copy(a), copy(b)
    eliminate(u, x)
    substitute_back(u, x, lower=False)
    return x


def _solve_vjp(ct: Value, y: Value, a: Value, b: Value) -> list[Value]:
    back = solve(turned(a), ct)
    return [-matmul(back, turned(y)), back]


def _solve_jvp(tangents: Sequence[Value | None], y: Value, a: Value, b: Value) -> Value:
    a_t, b_t = tangents
    moved = None if a_t is None else -matmul(a_t, y)
    total = b_t if moved is None else moved if b_t is None else b_t + moved
    return solve(a, total)


solve: OpDef = define(
    OpDef(
        "solve", "product", ("a", "b"), infer=_solve_type, run=np.linalg.solve, emit="np.linalg.solve({a}, {b})",
        expand=_expand_solve, vjp=_solve_vjp, jvp=_solve_jvp, cost=10000,
        takes_complex=True,
        doc="The x with a @ x = b, for a square matrix a and a matrix b; inf or nan in kernels where a is singular.",
    )
)


def _run_solve_triangular(t: Any, b: Any, lower: bool) -> Any:
    return np.linalg.solve(np.tril(t) if lower else np.triu(t), b)


def _expand_solve_triangular(t: Value, b: Value, *, lower: bool) -> Value:
    x = copy(b)
    substitute_back(t, x, lower)
    return x


def _triangle(x: Value, lower: bool) -> Value:
    return current_builder().emit("tril" if lower else "triu", (x,), k=0)


def _solve_triangular_vjp(ct: Value, y: Value, t: Value, b: Value, *, lower: bool) -> list[Value]:
    back = solve_triangular(turned(t), ct, lower=not lower)
    return [_triangle(-matmul(back, turned(y)), lower), back]


def _solve_triangular_jvp(tangents: Sequence[Value | None], y: Value, t: Value, b: Value, *, lower: bool) -> Value:
    t_t, b_t = tangents
    moved = None if t_t is None else -matmul(_triangle(t_t, lower), y)
    total = b_t if moved is None else moved if b_t is None else b_t + moved
    return solve_triangular(t, total, lower=lower)


solve_triangular: OpDef = define(
    OpDef(
        "solve_triangular", "product", ("t", "b"), infer=_solve_type, run=_run_solve_triangular,
        emit="scipy.linalg.solve_triangular({t}, {b}, lower={lower})", expand=_expand_solve_triangular,
        vjp=_solve_triangular_vjp, jvp=_solve_triangular_jvp, cost=5000,
        takes_complex=True,
        doc="The x with t @ x = b, where only the {lower} (or upper) triangle of t is read.",
    )
)


# --------------------------------------------------------------------------------------------- determinants


def _scalar_of_matrix(types: Sequence[Any], attrs: dict[str, Any], require: Any) -> list[Any]:
    require(0, 0, 0, 1)
    return [Scalar(types[0].dtype)]


def _real_of_matrix(types: Sequence[Any], attrs: dict[str, Any], require: Any) -> list[Any]:
    require(0, 0, 0, 1)
    return [Scalar(part_dtype(types[0].dtype))]


def _expand_det(a: Value) -> Value:
    u = copy(a)
    parity = eliminate(u, None)
    (total,) = loop(0, size_value(u, 0), lambda i, p: [p * cell(u, i, i)], (parity,))
    return total


def _expand_logabsdet(a: Value) -> Value:
    u = copy(a)
    eliminate(u, None)
    start = current_builder().const(np.dtype(part_dtype(a.dtype)).type(0))
    (total,) = loop(0, size_value(u, 0), lambda i, s: [s + log(abs_op(cell(u, i, i)))], (start,))
    return total


def inverse(a: Value) -> Value:
    """The inverse matrix, as the solution for the identity."""
    i = make_positions(size_value(a, 0))
    identity = convert(eq(make_index(i, (FULL, NEWAXIS)), i), a.dtype)
    return solve(a, identity)


def _inner(a: Value, b: Value) -> Value:
    return current_builder().emit("sum", (a * b,), axes=(0, 1), keepdims=False)


det: OpDef = define(
    OpDef(
        "det", "product", ("a",), infer=_scalar_of_matrix, run=np.linalg.det, emit="np.linalg.det({a})",
        expand=_expand_det, vjp=lambda ct, y, a: [(ct * y) * turned(inverse(a))],
        jvp=lambda tangents, y, a: y * _inner(tangents[0], turned(inverse(a))), cost=10000,
        takes_complex=True,
        doc="Determinant. Its derivative y * inv(a).T is not defined in kernels where a is singular.",
    )
)
logabsdet: OpDef = define(
    OpDef(
        "logabsdet", "product", ("a",), infer=_real_of_matrix, run=lambda a: np.linalg.slogdet(a)[1],
        emit="np.linalg.slogdet({a})[1]", expand=_expand_logabsdet, vjp=lambda ct, y, a: [ct * turned(inverse(a))],
        jvp=lambda tangents, y, a: _inner(tangents[0], turned(inverse(a))), cost=10000,
        takes_complex=True,
        doc="log |det a|, without overflow.",
    )
)


def _expand_detsign(a: Value) -> Value:
    u = copy(a)
    parity = eliminate(u, None)
    (total,) = loop(0, size_value(u, 0), lambda i, p: [p * sign(cell(u, i, i))], (parity,))
    return total


detsign: OpDef = define(
    OpDef(
        "detsign", "product", ("a",), infer=_scalar_of_matrix, run=lambda a: np.linalg.slogdet(a)[0],
        emit="np.linalg.slogdet({a})[0]", expand=_expand_detsign, zero_derivative=True,
        vjp=lambda ct, y, a: [None], cost=10000, doc="Sign of the determinant.",
    )
)


def _expand_detphase(a: Value) -> Value:
    u = copy(a)
    parity = eliminate(u, None)

    def times(i: Value, p: Value) -> list[Value]:
        pivot = cell(u, i, i)
        size = abs_op(pivot)
        return [p * where(eq(size, 0), size, pivot / size)]

    (total,) = loop(0, size_value(u, 0), times, (parity,))
    return total


def _detphase_vjp(ct: Value, y: Value, a: Value) -> list[Value]:
    # d y = y * 1j * Im(trace(inv(a) @ da)), and cotangents pair as Re(ct * dy).
    turn = complex_of(0.0, imag(ct * y))
    return [turn * turned(inverse(a))]


def _detphase_jvp(tangents: Sequence[Value], y: Value, a: Value) -> Value:
    return y * complex_of(0.0, imag(_inner(tangents[0], turned(inverse(a)))))


detphase: OpDef = define(
    OpDef(
        "detphase", "product", ("a",), infer=_scalar_of_matrix, run=lambda a: np.linalg.slogdet(a)[0],
        emit="np.linalg.slogdet({a})[0]", expand=_expand_detphase, takes_complex=True, vjp=_detphase_vjp,
        jvp=_detphase_jvp, cost=10000, doc="det a / |det a| of a complex matrix.",
    )
)


# ------------------------------------------------------------------------------------------------ cholesky


def _square_type(types: Sequence[Any], attrs: dict[str, Any], require: Any) -> list[Any]:
    require(0, 0, 0, 1)
    return [Array(types[0].dtype, types[0].shape)]


def _expand_cholesky(a: Value) -> Value:
    n = size_value(a, 0)
    result = make_zeros(shape_values(a), a.dtype)
    zero = current_builder().const(np.dtype(a.dtype).type(0))

    def column(j: Value) -> None:
        def product(i: Value) -> Value:
            (total,) = loop(0, j, lambda k, s: [s + cell(result, i, k) * cell(result, j, k)], (zero,))
            return total

        pivot = sqrt(cell(a, j, j) - product(j))
        put(result, j, j, pivot)
        loop(j + 1, n, lambda i: put(result, i, j, (cell(a, i, j) - product(i)) / pivot))

    loop(0, n, column)
    return result


def _half_lower(x: Value) -> Value:
    """The lower triangle with half the diagonal."""
    lower = _triangle(x, True)
    i = make_positions(size_value(x, 0))
    diagonal = eq(make_index(i, (FULL, NEWAXIS)), i)
    return where(diagonal, 0.5 * lower, lower)


def _cholesky_vjp(ct: Value, y: Value, a: Value) -> list[Value]:
    # S = inv(L).T @ half_lower(L.T @ ct) @ inv(L) for a symmetric a; NumPy reads the lower triangle only.
    middle = _half_lower(matmul(turned(y), ct))
    left = solve_triangular(turned(y), middle, lower=False)
    whole = turned(solve_triangular(turned(y), turned(left), lower=False))
    both = whole + turned(whole)
    return [_half_lower(both)]


def _cholesky_jvp(tangents: Sequence[Value], y: Value, a: Value) -> Value:
    lower = _half_lower(tangents[0])
    moved = lower + turned(lower)
    inside = solve_triangular(y, turned(solve_triangular(y, moved, lower=True)), lower=True)
    return matmul(y, _half_lower(inside))


cholesky: OpDef = define(
    OpDef(
        "cholesky", "product", ("a",), infer=_square_type, run=np.linalg.cholesky, emit="np.linalg.cholesky({a})",
        expand=_expand_cholesky, vjp=_cholesky_vjp, jvp=_cholesky_jvp, cost=10000,
        doc="The lower triangle L with L @ L.T = a; only the lower triangle of a is read, and has the derivative.",
    )
)


# ------------------------------------------------------------------------------------------------- calls


def _float_matrix(a: Any, what: str) -> Value:
    x = as_value(a)
    _square(x, what)
    return convert(x, _matrix_dtype(x))


def solved(a: Any, b: Any, by: Callable[[Value, Value], Value]) -> Value:
    """`by(a, b)` for a vector or a matrix b."""
    x, y = as_value(a), as_value(b)
    _square(x, "a linear system")
    if y.rank not in (1, 2):
        raise UnsupportedError("a right side that is neither a vector nor a matrix")
    current_builder().require_equal(x, 0, y, 0)
    name = _matrix_dtype(x, y)
    x, y = convert(x, name), convert(y, name)
    if y.rank == 2:
        return by(x, y)
    return make_index(by(x, make_index(y, (FULL, NEWAXIS))), (FULL, At(0)))


@call(np.linalg.solve)
def _solve_call(a: Any, b: Any) -> Value:
    return solved(a, b, solve)


@call("scipy.linalg.solve")
def _scipy_solve_call(
    a: Any, b: Any, lower: Any = False, overwrite_a: Any = False, overwrite_b: Any = False, check_finite: Any = True,
    assume_a: Any = None, transposed: Any = False,
) -> Value:
    if assume_a not in (None, "gen", "general"):
        raise UnsupportedError(f"scipy.linalg.solve(assume_a={assume_a!r})", hint="leave out assume_a")
    return solved(turned(as_value(a)) if transposed else a, b, solve)


@call("scipy.linalg.solve_triangular")
def _solve_triangular_call(
    a: Any, b: Any, trans: Any = 0, lower: Any = False, unit_diagonal: Any = False, overwrite_b: Any = False,
    check_finite: Any = True,
) -> Value:
    x = as_value(a)
    if unit_diagonal:
        i = make_positions(size_value(x, 0))
        x = where(eq(make_index(i, (FULL, NEWAXIS)), i), np.dtype(_matrix_dtype(x)).type(1), x)
    turn = trans in (1, "T", 2, "C")
    if trans in (2, "C") and is_complex(x.ty):
        x = conj(x)
    down = bool(lower) != turn
    return solved(turned(x) if turn else x, b, lambda t, y: solve_triangular(t, y, lower=down))


@call(np.linalg.inv, "scipy.linalg.inv")
def _inv_call(a: Any) -> Value:
    return inverse(_float_matrix(a, "the inverse"))


@call(np.linalg.det, "scipy.linalg.det")
def _det_call(a: Any) -> Value:
    return det(_float_matrix(a, "the determinant"))


@call(np.linalg.slogdet)
def _slogdet_call(a: Any) -> tuple[Value, Value]:
    x = _float_matrix(a, "the determinant")
    return (detphase if is_complex(x.ty) else detsign)(x), logabsdet(x)


@call(np.linalg.cholesky)
def _cholesky_call(a: Any, /, *, upper: Any = False) -> Value:
    x = _float_matrix(a, "the Cholesky factor")
    return turned(cholesky(turned(x))) if upper else cholesky(x)


@call("scipy.linalg.cholesky")
def _scipy_cholesky_call(a: Any, lower: Any = False, overwrite_a: Any = False, check_finite: Any = True) -> Value:
    return _cholesky_call(a, upper=not lower)


@call("scipy.linalg.cho_factor")
def _cho_factor_call(
    a: Any, lower: Any = False, overwrite_a: Any = False, check_finite: Any = True
) -> tuple[Value, bool]:
    return _cholesky_call(a, upper=not lower), bool(lower)


@call("scipy.linalg.cho_solve")
def _cho_solve_call(c_and_lower: Any, b: Any, overwrite_b: Any = False, check_finite: Any = True) -> Value:
    factor, lower = c_and_lower

    def by(t: Value, y: Value) -> Value:
        other = conj(turned(t)) if is_complex(t.ty) else turned(t)
        first, second = (t, other) if lower else (other, t)
        return solve_triangular(second, solve_triangular(first, y, lower=True), lower=False)

    return solved(factor, b, by)


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
    _square(x, "a matrix power")
    count = constant_of(n) if isinstance(n, Value) else n
    if not isinstance(count, int):
        raise UnsupportedError("np.linalg.matrix_power takes a literal exponent")
    if count < 0:
        x, count = inverse(convert(x, _matrix_dtype(x))), -count
    if count == 0:
        i = make_positions(size_value(x, 0))
        return convert(eq(make_index(i, (FULL, NEWAXIS)), i), x.dtype)
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
    return transpose(value, perm=(*range(value.rank - 2), value.rank - 1, value.rank - 2))

