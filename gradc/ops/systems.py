"""Linear systems and what LU factors give: solve, triangular systems, inverses, determinants; one matrix or a stack.

Derivatives: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation"
(2008), which hold for complex matrices as they stand, since these functions are holomorphic and cotangents
pair without conjugation. Kernels factorize a matrix once for all that is asked of it: `solve(a, b)` and `solve(a.T, c)`
expand into one `lu_factor(a)` (`passes/cse.py` finds it) and two `lu_solve`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import OpDef, call, define
from gradc.ir.region import FULL, NEWAXIS
from gradc.ir.types import Array, Scalar, is_complex
from gradc.ops.elementary import log
from gradc.ops.elementwise import abs as abs_op
from gradc.ops.elementwise import eq, sign, where
from gradc.ops.matrices import (
    SINGULAR,
    Require,
    diagonal_of,
    identity,
    matrices,
    option,
    right_sides,
    routine,
    square_shape,
    square_type,
    system_type,
)
from gradc.ops.memory import make_index, size_value
from gradc.ops.parts import complex_of, conj, imag
from gradc.ops.products import matmul, swap_last
from gradc.ops.reduce import prod
from gradc.ops.rules import as_value, convert, part_dtype
from gradc.ops.scans import make_positions


def scipy_linalg() -> Any:
    """scipy.linalg, imported where it is used."""
    return importlib.import_module("scipy.linalg")


def _triangle(x: Value, lower: bool, k: int = 0) -> Value:
    return current_builder().emit("tril" if lower else "triu", (x,), k=k)


# ------------------------------------------------------------------------------------------------ LU factors


def _lu_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    shape = square_shape(types[0], require)
    return [Array(types[0].dtype, shape), Array("int32", shape[:-1])]


def _run_lu(a: Any) -> Any:
    factors, pivots = np.empty_like(a, order="C"), np.empty(a.shape[:-1], np.int32)
    for k in np.ndindex(a.shape[:-2]):
        if a.shape[-1]:
            (getrf,) = scipy_linalg().get_lapack_funcs(("getrf",), (a,))
            factors[k], pivots[k], _ = getrf(a[k])
    return factors, pivots


def _lu_vjp(ct: Any, y: Any, a: Value) -> list[Value]:
    # P dA = L (tril(F, -1) + triu(F)) U with F = inv(L) P dA inv(U): d(L \ U) = L tril(F, -1) + triu(F) U.
    factors, pivots = y
    turned = swap_last(factors)
    lower, upper = _triangle(ct[0], True, -1), _triangle(ct[0], False)
    unit = _triangle(factors, True, -1) + identity(factors)
    inside = _triangle(matmul(swap_last(unit), lower), True, -1)
    inside = inside + _triangle(matmul(upper, swap_last(_triangle(factors, False))), False)
    # inv(L).T @ inside @ inv(U).T
    left = solve_triangular(turned, inside, lower=False, unit=True)
    whole = swap_last(solve_triangular(factors, swap_last(left), lower=False, unit=False))
    return [exchange_rows(whole, pivots, back=True)]


def _lu_jvp(tangents: Sequence[Value], y: Any, a: Value) -> Any:
    factors, pivots = y
    moved = exchange_rows(tangents[0], pivots, back=False)
    left = solve_triangular(factors, moved, lower=True, unit=True)
    inside = swap_last(solve_triangular(swap_last(factors), swap_last(left), lower=True, unit=False))
    unit = _triangle(factors, True, -1) + identity(factors)
    both = matmul(unit, _triangle(inside, True, -1)) + matmul(_triangle(inside, False), _triangle(factors, False))
    return (both, None)


lu_factor: OpDef = define(
    OpDef(
        "lu_factor", "product", ("a",), infer=_lu_type, run=_run_lu, emit="scipy.linalg.lu_factor({a})",
        lower=routine("lu", (0, -1)), vjp=_lu_vjp, jvp=_lu_jvp, cost=10000, takes_complex=True,
        doc="L below and U on and above the diagonal of one matrix, and with which row each row was exchanged. "
        "F. de Hoog et al., Differentiation of matrix functionals using triangular factorization (2011).",
    )
)


def _run_exchange(x: Any, pivots: Any, back: bool) -> Any:
    x = np.array(x, order="C")
    for k in np.ndindex(x.shape[:-2]):
        steps = range(x.shape[-2])
        for i in reversed(steps) if back else steps:
            at = pivots[k][i]
            x[k][[i, at]] = x[k][[at, i]]
    return x


exchange_rows: OpDef = define(
    OpDef(
        "exchange_rows", "product", ("x", "pivots"),
        infer=lambda types, attrs, require: [Array(types[0].dtype, types[0].shape)],
        run=_run_exchange, emit="exchange_rows({x}, {pivots}, {back})",
        lower=routine("exchange", (0, -2), (0, -1), options=("back",)), linear=("x",),
        vjp=lambda ct, y, x, pivots, *, back: [exchange_rows(ct, pivots, back=not back), None],
        jvp=lambda tangents, y, x, pivots, *, back: exchange_rows(tangents[0], pivots, back=back),
        cost=100, takes_complex=True, prelude='''def exchange_rows(x, pivots, back):
    """A copy of x with row i exchanged with row pivots[i], for one i after the other; from the last to the first."""
    x = np.array(x, order="C")
    for k in np.ndindex(x.shape[:-2]):
        for i in range(x.shape[-2])[:: -1 if back else 1]:
            x[k][[i, pivots[k][i]]] = x[k][[pivots[k][i], i]]
    return x
''',
        doc="x with row i exchanged with row pivots[i], for i = 0, 1, ..., or from the last to the first if {back}.",
    )
)


def _run_lu_solve(f: Any, pivots: Any, b: Any, trans: int) -> Any:
    x = np.empty_like(b)
    for k in np.ndindex(b.shape[:-2]):
        if np.any(np.diagonal(f[k]) == 0):
            raise np.linalg.LinAlgError(SINGULAR)
        x[k] = scipy_linalg().lu_solve((f[k], pivots[k]), b[k], trans) if b[k].size else b[k]
    return x


lu_solve: OpDef = define(
    OpDef(
        "lu_solve", "product", ("f", "pivots", "b"),
        infer=lambda types, attrs, require: [Array(types[2].dtype, types[2].shape)], run=_run_lu_solve,
        emit="scipy.linalg.lu_solve(({f}, {pivots}), {b}, {trans})",
        lower=routine("lu_solve", (0, -1), (2, -1), options=("trans",), fails=SINGULAR),
        cost=5000, takes_complex=True, may_fail=True,
        doc="The x with a @ x = b ({trans} 0) or a.T @ x = b ({trans} 1) from the LU factors of a.",
    )
)


# --------------------------------------------------------------------------------------------------- solve


def _factors(a: Value) -> tuple[Value, Value, int]:
    """LU factors of a, or of a.T, and whether they are of the latter: of what is in memory, so that they are shared."""
    node = a.node
    if node is not None and node.op.name == "transpose":
        rank = a.rank
        if node.attrs["perm"] == (*range(rank - 2), rank - 1, rank - 2):
            factors, pivots = lu_factor(node.operands[0])
            return factors, pivots, 1
    factors, pivots = lu_factor(a)
    return factors, pivots, 0


def _expand_solve(a: Value, b: Value) -> Value:
    factors, pivots, trans = _factors(a)
    return lu_solve(factors, pivots, b, trans=trans)


def _solve_vjp(ct: Value, y: Value, a: Value, b: Value) -> list[Value]:
    back = solve(swap_last(a), ct)
    return [-matmul(back, swap_last(y)), back]


def _solve_jvp(tangents: Sequence[Value | None], y: Value, a: Value, b: Value) -> Value:
    a_t, b_t = tangents
    moved = None if a_t is None else -matmul(a_t, y)
    total = b_t if moved is None else moved if b_t is None else b_t + moved
    return solve(a, total)


solve: OpDef = define(
    OpDef(
        "solve", "product", ("a", "b"), infer=system_type, run=np.linalg.solve, emit="np.linalg.solve({a}, {b})",
        expand=_expand_solve, vjp=_solve_vjp, jvp=_solve_jvp, cost=10000, takes_complex=True, may_fail=True,
        doc="The x with a @ x = b, for a square matrix a and a matrix b.",
    )
)


def _run_solve_triangular(t: Any, b: Any, lower: bool, unit: bool) -> Any:
    x = np.empty_like(b)
    for k in np.ndindex(b.shape[:-2]):
        x[k] = scipy_linalg().solve_triangular(t[k], b[k], lower=lower, unit_diagonal=unit) if b[k].size else b[k]
    return x


def _emit_solve_triangular(node: Any, t: str, b: str) -> str:
    options = f"lower={node.attrs['lower']}" + (", unit_diagonal=True" if node.attrs["unit"] else "")
    return f"scipy.linalg.solve_triangular({t}, {b}, {options})"


def _solve_triangular_vjp(ct: Value, y: Value, t: Value, b: Value, *, lower: bool, unit: bool) -> list[Value]:
    back = solve_triangular(swap_last(t), ct, lower=not lower, unit=unit)
    return [_triangle(-matmul(back, swap_last(y)), lower, (-1 if lower else 1) if unit else 0), back]


def _solve_triangular_jvp(
    tangents: Sequence[Value | None], y: Value, t: Value, b: Value, *, lower: bool, unit: bool
) -> Value:
    t_t, b_t = tangents
    moved = None if t_t is None else -matmul(_triangle(t_t, lower, (-1 if lower else 1) if unit else 0), y)
    total = b_t if moved is None else moved if b_t is None else b_t + moved
    return solve_triangular(t, total, lower=lower, unit=unit)


solve_triangular: OpDef = define(
    OpDef(
        "solve_triangular", "product", ("t", "b"), infer=system_type, run=_run_solve_triangular,
        emit=_emit_solve_triangular, vjp=_solve_triangular_vjp, jvp=_solve_triangular_jvp, cost=5000,
        lower=routine("solve_triangular", (0, -1), (1, -1), options=("lower", "unit"), fails=SINGULAR),
        takes_complex=True, may_fail=True,
        doc="The x with t @ x = b, where only the {lower} (or upper) triangle of t is read, and its diagonal counts "
        "as ones if {unit}.",
    )
)


# ------------------------------------------------------------------------------------ inverse, determinants


def _expand_inv(a: Value) -> Value:
    return _expand_solve(a, identity(a))


def _inv_vjp(ct: Value, y: Value, a: Value) -> list[Value]:
    turned = swap_last(y)
    return [-matmul(matmul(turned, ct), turned)]


inverse: OpDef = define(
    OpDef(
        "inv", "product", ("a",), infer=square_type, run=np.linalg.inv, emit="np.linalg.inv({a})", expand=_expand_inv,
        vjp=_inv_vjp, jvp=lambda tangents, y, a: -matmul(matmul(y, tangents[0]), y), cost=20000, takes_complex=True,
        may_fail=True, doc="The inverse matrix.",
    )
)


def _number_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    square_type(types, attrs, require)
    shape = types[0].shape[:-2]
    return [Array(types[0].dtype, shape) if shape else Scalar(types[0].dtype)]


def _real_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    (made,) = _number_type(types, attrs, require)
    dtype = part_dtype(made.dtype)
    return [Array(dtype, made.shape) if isinstance(made, Array) else Scalar(dtype)]


def _parity(pivots: Value) -> Value:
    """1 or -1: the sign of the permutation that exchanges rows."""
    i = make_positions(size_value(pivots, pivots.rank - 1), "int32")
    return prod(where(eq(pivots, i), 1.0, -1.0), axes=(pivots.rank - 1,), keepdims=False)


def _scaled(ct: Value, a: Value) -> Value:
    """One number per matrix, so that it multiplies the matrices."""
    return make_index(ct, (*(FULL,) * ct.rank, NEWAXIS, NEWAXIS)) if ct.rank else ct


def _inner(a: Value, b: Value) -> Value:
    """The sum of products of entries, for each matrix."""
    return current_builder().emit("sum", (a * b,), axes=(a.rank - 2, a.rank - 1), keepdims=False)


def _pivots(a: Value) -> tuple[Value, Value]:
    """The diagonal of U, and the sign of the exchanges."""
    factors, exchanges, _ = _factors(a)
    return diagonal_of(factors), _parity(exchanges)


def _expand_det(a: Value) -> Value:
    pivots, parity = _pivots(a)
    return convert(prod(pivots, axes=(pivots.rank - 1,), keepdims=False) * parity, a.dtype)


def _expand_logabsdet(a: Value) -> Value:
    pivots, _ = _pivots(a)
    return current_builder().emit("sum", (log(abs_op(pivots)),), axes=(pivots.rank - 1,), keepdims=False)


def _expand_detphase(a: Value) -> Value:
    pivots, parity = _pivots(a)
    if is_complex(a.ty):
        sizes = abs_op(pivots)
        pivots = where(eq(sizes, 0), 0.0, pivots / where(eq(sizes, 0), 1.0, sizes))
    else:
        pivots = sign(pivots)
    return convert(prod(pivots, axes=(pivots.rank - 1,), keepdims=False) * parity, a.dtype)


def _cofactors_vjp(ct: Value, y: Value, a: Value) -> list[Value]:
    # dC = C tr(inv(a) da) - C da.T inv(a).T
    other = swap_last(inverse(a))
    return [_scaled(_inner(ct, y), a) * other - matmul(matmul(other, swap_last(ct)), y)]


def _cofactors_jvp(tangents: Sequence[Value], y: Value, a: Value) -> Value:
    other = swap_last(inverse(a))
    return _scaled(_inner(tangents[0], other), a) * y - matmul(matmul(y, swap_last(tangents[0])), other)


_COFACTORS = '''def cofactors(a):
    """det(a) * inv(a).T, also where a is singular."""
    u, s, vh = np.linalg.svd(a)
    others = np.ones_like(s)
    for k in range(s.shape[-1]):
        others[..., k] = np.prod(s[..., :k], axis=-1) * np.prod(s[..., k + 1 :], axis=-1)
    turn = np.linalg.det(u) * np.linalg.det(vh)
    return np.asarray(turn)[..., None, None] * ((np.conj(u) * others[..., None, :]) @ np.conj(vh))
'''
_space: dict[str, Any] = {"np": np}
exec(_COFACTORS, _space)

cofactors: OpDef = define(
    OpDef(
        "cofactors", "product", ("a",), infer=square_type, run=_space["cofactors"], emit="cofactors({a})",
        lower=routine("cofactors", (0, -1), fails="SVD did not converge"), prelude=_COFACTORS, vjp=_cofactors_vjp,
        jvp=_cofactors_jvp, cost=20000, takes_complex=True, may_fail=True,
        doc="det(a) * inv(a).T, the derivative of the determinant, also where a is singular; its own derivative is for "
        "regular matrices.",
    )
)
det: OpDef = define(
    OpDef(
        "det", "product", ("a",), infer=_number_type, run=np.linalg.det, emit="np.linalg.det({a})",
        expand=_expand_det, vjp=lambda ct, y, a: [_scaled(ct, a) * cofactors(a)],
        jvp=lambda tangents, y, a: _inner(tangents[0], cofactors(a)), cost=10000, takes_complex=True,
        doc="Determinant. Its derivative holds for singular matrices, its second derivative for regular ones.",
    )
)
logabsdet: OpDef = define(
    OpDef(
        "logabsdet", "product", ("a",), infer=_real_type, run=lambda a: np.linalg.slogdet(a)[1],
        emit="np.linalg.slogdet({a})[1]", expand=_expand_logabsdet,
        vjp=lambda ct, y, a: [_scaled(ct, a) * swap_last(inverse(a))],
        jvp=lambda tangents, y, a: _inner(tangents[0], swap_last(inverse(a))), cost=10000, takes_complex=True,
        doc="log |det a|, without overflow.",
    )
)
detsign: OpDef = define(
    OpDef(
        "detsign", "product", ("a",), infer=_number_type, run=lambda a: np.linalg.slogdet(a)[0],
        emit="np.linalg.slogdet({a})[0]", expand=_expand_detphase, zero_derivative=True,
        vjp=lambda ct, y, a: [None], cost=10000, doc="Sign of the determinant.",
    )
)


def _detphase_vjp(ct: Value, y: Value, a: Value) -> list[Value]:
    # d y = y * 1j * Im(trace(inv(a) @ da)), and cotangents pair as Re(ct * dy).
    turn = complex_of(0.0, imag(ct * y))
    return [_scaled(turn, a) * swap_last(inverse(a))]


def _detphase_jvp(tangents: Sequence[Value], y: Value, a: Value) -> Value:
    return y * complex_of(0.0, imag(_inner(tangents[0], swap_last(inverse(a)))))


detphase: OpDef = define(
    OpDef(
        "detphase", "product", ("a",), infer=_number_type, run=lambda a: np.linalg.slogdet(a)[0],
        emit="np.linalg.slogdet({a})[0]", expand=_expand_detphase, takes_complex=True, vjp=_detphase_vjp,
        jvp=_detphase_jvp, cost=10000, doc="det a / |det a| of a complex matrix.",
    )
)


# --------------------------------------------------------------------------------------------------- calls


@call(np.linalg.solve)
def _solve_call(a: Any, b: Any) -> Value:
    return right_sides(matrices(a, "a linear system", square=True), b, solve)


@call("scipy.linalg.solve_triangular")
def _solve_triangular_call(
    a: Any, b: Any, trans: Any = 0, lower: Any = False, unit_diagonal: Any = False, overwrite_b: Any = False,
    check_finite: Any = True,
) -> Value:
    x = matrices(a, "a triangular system", square=True)
    how, below, unit = (option(v, "scipy.linalg.solve_triangular") for v in (trans, lower, unit_diagonal))
    if how not in (0, 1, 2, "N", "T", "C"):
        raise UnsupportedError(f"scipy.linalg.solve_triangular(trans={how!r})", hint="0, 1 or 2; N, T or C.")
    turn = how not in (0, "N")
    if how in (2, "C") and is_complex(x.ty):
        x = conj(x)
    down = bool(below) != turn
    return right_sides(
        swap_last(x) if turn else x, b, lambda t, y: solve_triangular(t, y, lower=down, unit=bool(unit))
    )


@call("scipy.linalg.lu_factor")
def _lu_factor_call(a: Any, overwrite_a: Any = False, check_finite: Any = True) -> tuple[Value, Value]:
    factors, pivots = lu_factor(matrices(a, "scipy.linalg.lu_factor", square=True))
    return factors, pivots


@call("scipy.linalg.lu_solve")
def _lu_solve_call(
    lu_and_piv: Any, b: Any, trans: Any = 0, overwrite_b: Any = False, check_finite: Any = True
) -> Value:
    factors, pivots = (as_value(v) for v in lu_and_piv)
    how = option(trans, "scipy.linalg.lu_solve")

    def by(f: Value, y: Value) -> Value:
        if not how:
            first = solve_triangular(f, exchange_rows(y, pivots, back=False), lower=True, unit=True)
            return solve_triangular(f, first, lower=False, unit=False)
        turned = swap_last(conj(f) if how == 2 and is_complex(f.ty) else f)
        first = solve_triangular(turned, y, lower=True, unit=False)
        return exchange_rows(solve_triangular(turned, first, lower=False, unit=True), pivots, back=True)

    return right_sides(matrices(factors, "scipy.linalg.lu_solve", square=True), b, by)


@call("scipy.linalg.lu")
def _lu_call(
    a: Any, permute_l: Any = False, overwrite_a: Any = False, check_finite: Any = True, p_indices: Any = False
) -> tuple[Value, ...]:
    x = matrices(a, "scipy.linalg.lu", square=True)
    if option(p_indices, "scipy.linalg.lu"):
        raise UnsupportedError("scipy.linalg.lu(p_indices=True)", hint="leave it out: P is a matrix then.")
    factors, pivots = lu_factor(x)
    lower, upper = _triangle(factors, True, -1) + identity(factors), _triangle(factors, False)
    if option(permute_l, "scipy.linalg.lu"):
        return exchange_rows(lower, pivots, back=True), upper
    return exchange_rows(identity(factors), pivots, back=True), lower, upper


@call(np.linalg.inv)
def _inv_call(a: Any) -> Value:
    return inverse(matrices(a, "the inverse", square=True))


@call("scipy.linalg.inv")
def _scipy_inv_call(
    a: Any, overwrite_a: Any = False, check_finite: Any = True, *, assume_a: Any = None, lower: Any = False
) -> Value:
    if option(assume_a, "scipy.linalg.inv") not in (None, "gen", "general"):
        raise UnsupportedError("scipy.linalg.inv with assume_a", hint="leave out assume_a")
    return _inv_call(a)


@call(np.linalg.det)
def _det_call(a: Any) -> Value:
    return det(matrices(a, "the determinant", square=True))


@call("scipy.linalg.det")
def _scipy_det_call(a: Any, overwrite_a: Any = False, check_finite: Any = True) -> Value:
    return _det_call(a)


SlogdetResult: Any = type(np.linalg.slogdet(np.ones((1, 1))))


@call(np.linalg.slogdet)
def _slogdet_call(a: Any) -> Any:
    x = matrices(a, "the determinant", square=True)
    return SlogdetResult((detphase if is_complex(x.ty) else detsign)(x), logabsdet(x))
