"""Factorizations: Cholesky, QR, eigenvalues and -vectors, singular values and vectors; of one matrix or a stack.

The rules are written for g, the conjugate of the cotangent, which is the gradient in the inner product Re tr(g^H d);
real matrices have g = ct. Sources: I. Murray, "Differentiation of the Cholesky decomposition" (2016); S. Walter,
L. Lehmann, "Algorithmic differentiation of linear algebra functions with application in optimum experimental design"
(2012); D. Roberts, L. Roberts, "QR and LQ decomposition matrix backpropagation algorithms" (2020); J. Townsend,
"Differentiating the singular value decomposition" (2016); Z.-Q. Wan, S.-X. Zhang, "Automatic differentiation for
complex valued SVD" (2019); C. Boeddeker et al., "On the computation of complex-valued gradients with application to
statistically optimum beamforming" (2019). What happens where values are equal stands in docs/conventions.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import OpDef, define
from gradc.ir.region import FULL, Arg, Span
from gradc.ir.types import Array, Size, clamp_size, is_complex, subtract_sizes
from gradc.ops.arrange import concatenate
from gradc.ops.elementwise import abs as abs_op
from gradc.ops.elementwise import eq, gt, le, minimum, ne, where
from gradc.ops.matrices import (
    NOT_POSITIVE,
    Require,
    adjoint,
    as_diagonal,
    conjugated,
    diagonal_of,
    half_lower,
    on_diagonal,
    real_of,
    routine,
    square_shape,
    square_type,
)
from gradc.ops.memory import make_index, make_zeros, shape_values, size_value, store
from gradc.ops.parts import complex_of, imag
from gradc.ops.products import column, matmul, row, swap_last
from gradc.ops.rules import convert, part_dtype, whole_dtype
from gradc.ops.systems import solve, solve_triangular

# ------------------------------------------------------------------------------------------------- Cholesky


def _cholesky_vjp(ct: Value, y: Value, a: Value) -> list[Value]:
    # S = inv(L)^H @ half_lower(L^H @ g) @ inv(L) for a Hermitian a; NumPy reads the lower triangle only.
    turned = adjoint(y)
    middle = half_lower(matmul(turned, conjugated(ct)))
    left = solve_triangular(turned, middle, lower=False, unit=False)
    whole = adjoint(solve_triangular(turned, adjoint(left), lower=False, unit=False))
    return [_lower_gradient(whole)]


def _lower_gradient(s: Value) -> Value:
    """The cotangent of the lower triangle of a Hermitian matrix, from the gradient in the whole matrix."""
    return conjugated(half_lower(s + adjoint(s)))


def _from_lower(a: Value) -> Value:
    """The Hermitian matrix (or tangent of one) whose lower triangle that of a is."""
    lower = half_lower(a)
    return lower + adjoint(lower)


def _cholesky_jvp(tangents: Sequence[Value], y: Value, a: Value) -> Value:
    left = solve_triangular(y, _from_lower(tangents[0]), lower=True, unit=False)
    inside = adjoint(solve_triangular(y, adjoint(left), lower=True, unit=False))
    return matmul(y, half_lower(inside))


cholesky: OpDef = define(
    OpDef(
        "cholesky", "product", ("a",), infer=square_type, run=np.linalg.cholesky, emit="np.linalg.cholesky({a})",
        lower=routine("cholesky", (0, -1), fails=NOT_POSITIVE), vjp=_cholesky_vjp, jvp=_cholesky_jvp, cost=10000,
        takes_complex=True, may_fail=True,
        doc="The lower triangle L with L @ L^H = a; only the lower triangle of a is read, and has the derivative.",
    )
)


def cholesky_of(x: Value, lower: bool) -> Value:
    """The lower factor, where the lower or the upper triangle of x is to be read."""
    return cholesky(x if lower else adjoint(x))


def cholesky_solve(a: Value, b: Value, lower: bool) -> Value:
    """The solution for a positive definite matrix, of which one triangle is read."""
    factor = cholesky_of(a, lower)
    first = solve_triangular(factor, b, lower=True, unit=False)
    return solve_triangular(adjoint(factor), first, lower=False, unit=False)


def from_triangle(x: Value, lower: bool, hermitian: bool = True) -> Value:
    """The Hermitian, or the symmetric, matrix that one triangle of x gives."""
    half = half_lower(x if lower else swap_last(x))
    if hermitian:
        half = half if lower else conjugated(half)
        return half + adjoint(half)
    return half + swap_last(half)


# ------------------------------------------------------------------------------------- equal and near values


def _quotients(numerators: Value, values: Value, squared: bool) -> Value:
    """numerators[i, j] / (values[j] - values[i]), 0 on the diagonal; squared: of the values' squares.

    NaN where two values are equal, or as near as rounding makes equal ones (eps times the sum of all), and the
    numerator does not vanish: there the vectors are any basis of a plane, and have no derivative.
    """
    apart = row(values) - column(values)
    size = current_builder().emit("sum", (abs_op(values),), axes=(values.rank - 1,), keepdims=True)
    near = le(abs_op(apart), np.finfo(values.dtype).eps * column(size))
    divisor = apart * (row(values) + column(values)) if squared else apart
    found = numerators / where(eq(divisor, 0), np.dtype(values.dtype).type(1), divisor)
    lost = where(eq(apart, 0), np.nan, where(ne(numerators, 0), np.nan, 0.0))
    diagonal = on_diagonal(size_value(values, values.rank - 1))
    return convert(where(diagonal, 0.0, where(near, lost, found)), numerators.dtype)


def _imaginary_diagonal(x: Value) -> Value:
    """1j times the imaginary parts on the diagonal."""
    return complex_of(0.0, imag(as_diagonal(diagonal_of(x))))


# -------------------------------------------------------------------------------- eigenvalues, eigenvectors


def _eigh_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    (a,) = types
    shape = square_shape(a, require)
    return [Array(part_dtype(a.dtype), shape[:-1]), Array(a.dtype, shape)]


def _eigh_vjp(ct: Any, y: Any, a: Value) -> list[Value]:
    # g_a = V (diag(g_w) + (V^H g_V)_ij / (w_j - w_i)) V^H
    w, v = y
    ct_w, ct_v = ct
    if ct_v is None:
        return [_lower_gradient(matmul(v * row(ct_w), adjoint(v)))]
    inner = _quotients(matmul(adjoint(v), conjugated(ct_v)), w, squared=False)
    if ct_w is not None:
        inner = inner + as_diagonal(ct_w)
    return [_lower_gradient(matmul(matmul(v, inner), adjoint(v)))]


def _eigh_jvp(tangents: Sequence[Value], y: Any, a: Value) -> Any:
    w, v = y
    moved = matmul(matmul(adjoint(v), _from_lower(tangents[0])), v)
    return real_of(diagonal_of(moved)), matmul(v, _quotients(moved, w, squared=False))


eigh: OpDef = define(
    OpDef(
        "eigh", "product", ("a",), infer=_eigh_type, run=lambda a: tuple(np.linalg.eigh(a)),
        emit="np.linalg.eigh({a})", vjp=_eigh_vjp, jvp=_eigh_jvp, cost=50000, takes_complex=True, may_fail=True,
        lower=routine("eigh", (0, -1), lazy=(1,), fails="Eigenvalues did not converge"),
        doc="Eigenvalues, ascending, and eigenvectors of a Hermitian matrix, of which the lower triangle is read and "
        "has the derivative. Vectors of equal eigenvalues have the derivative NaN.",
    )
)


def _eig_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    (a,) = types
    shape = square_shape(a, require)
    dtype = a.dtype if is_complex(a) else whole_dtype(a.dtype)
    return [Array(dtype, shape[:-1]), Array(dtype, shape)]


def _run_eig(a: Any) -> Any:
    w, v = np.linalg.eig(a)
    dtype = np.result_type(a.dtype, np.complex64)
    return w.astype(dtype), v.astype(dtype)


def _unit_part(v: Value, v_t: Value) -> Value:
    """Re(v_j^H v_t_j) for every column j."""
    return real_of(current_builder().emit("sum", (conjugated(v) * v_t,), axes=(v.rank - 2,), keepdims=True))


def _eig_vjp(ct: Any, y: Any, a: Value) -> list[Value]:
    # g_a = inv(V)^H (diag(g_w) + (V^H (g_V - V diag(Re(V^H g_V))))_ij / conj(w_j - w_i)) V^H: columns keep length 1
    w, v = y
    ct_w, ct_v = ct
    turned = adjoint(v)
    if ct_v is None:
        inner = column(conjugated(ct_w)) * turned
    else:
        g = conjugated(ct_v)
        middle = _complex_quotients(matmul(turned, g - v * _unit_part(v, g)), conjugated(w))
        if ct_w is not None:
            middle = middle + as_diagonal(conjugated(ct_w))
        inner = matmul(middle, turned)
    return [conjugated(solve(turned, inner))]


def _complex_quotients(numerators: Value, values: Value) -> Value:
    """As `_quotients`, for complex values."""
    apart = row(values) - column(values)
    size = current_builder().emit("sum", (abs_op(values),), axes=(values.rank - 1,), keepdims=True)
    far = abs_op(apart)
    near = le(far, np.finfo(values.dtype).eps * column(size))
    found = numerators / where(eq(far, 0), np.dtype(values.dtype).type(1), apart)
    lost = where(eq(far, 0), np.nan, where(ne(numerators, 0), np.nan, 0.0))
    diagonal = on_diagonal(size_value(values, values.rank - 1))
    return convert(where(diagonal, 0.0, where(near, lost, found)), numerators.dtype)


def _eig_jvp(tangents: Sequence[Value], y: Any, a: Value) -> Any:
    w, v = y
    moved = solve(v, matmul(convert(tangents[0], v.dtype), v))
    v_t = matmul(v, _complex_quotients(moved, w))
    return diagonal_of(moved), v_t - v * _unit_part(v, v_t)


eig: OpDef = define(
    OpDef(
        "eig", "product", ("a",), infer=_eig_type, run=_run_eig, emit="complex_eig({a})", vjp=_eig_vjp, jvp=_eig_jvp,
        lower=routine("eig", (0, -1), lazy=(1,), fails="Eigenvalues did not converge"), cost=80000,
        takes_complex=True, may_fail=True, prelude='''def complex_eig(a):
    """np.linalg.eig(a), always as complex numbers."""
    w, v = np.linalg.eig(a)
    dtype = np.result_type(a, np.complex64)
    return w.astype(dtype), v.astype(dtype)
''',
        doc="Eigenvalues and eigenvectors of any square matrix, complex. Derivatives of vectors keep their length, "
        "and are for functions that do not depend on their phases; for equal eigenvalues they are NaN.",
    )
)

# ------------------------------------------------------------------------------------------- singular values


def least_size(m: Size, n: Size) -> Size:
    """min(m, n); where one is 1, the other is taken not to be 0."""
    if m == 1 or n == 1:
        return 1
    return subtract_sizes(m, clamp_size(subtract_sizes(m, n)))


def _svd_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    (a,) = types
    *lead, m, n = a.shape
    k = least_size(m, n)
    p, q = (m, n) if attrs["full"] else (k, k)
    return [Array(a.dtype, (*lead, m, p)), Array(part_dtype(a.dtype), (*lead, k)), Array(a.dtype, (*lead, q, n))]


def _first(x: Value, axis: int, k: Value) -> Value:
    """The first k entries along an axis, counted from the back: a view."""
    region: list[Any] = [FULL] * x.rank
    region[axis] = Span(None, Arg(0))
    return make_index(x, tuple(region), k)


def _rest(x: Value, axis: int, k: Value) -> Value:
    region: list[Any] = [FULL] * x.rank
    region[axis] = Span(Arg(0), None)
    return make_index(x, tuple(region), k)


def is_square(a: Value) -> bool | None:
    """Whether matrices are square, where that is known."""
    m, n = (current_builder().canonical_size(s) for s in a.shape[-2:])
    if m == n:
        return True
    return False if isinstance(m, int) and isinstance(n, int) else None


def _refuse_further(fits: Value, further: Value, what: str, hint: str) -> None:
    """Refuse cotangents of the further vectors of a whole basis, which are any basis of what is left, unless `fits`."""
    builder = current_builder()
    moved = builder.emit("any", (ne(further, 0),), axes=tuple(range(further.rank)), keepdims=False)
    allowed = where(fits, True, eq(moved, False))
    builder.emit("check", (allowed,), error="NonDifferentiableError", message=f"{what}; {hint}")


_FULL_SVD = (
    "U and Vh of np.linalg.svd with full_matrices=True have no derivative where the matrix is not square",
    "write full_matrices=False",
)


def _svd_vjp(ct: Any, y: Any, a: Value, *, full: bool) -> list[Value]:
    u, s, vh = y
    ct_u, ct_s, ct_vh = ct
    k = size_value(s, s.rank - 1)
    if full:
        same = eq(size_value(a, a.rank - 2), size_value(a, a.rank - 1))
        for ct_basis, axis in ((ct_u, -1), (ct_vh, -2)):
            if ct_basis is not None:
                _refuse_further(same, _rest(ct_basis, axis, k), *_FULL_SVD)
        u, vh = _first(u, -1, k), _first(vh, -2, k)
        ct_u = None if ct_u is None else _first(ct_u, -1, k)
        ct_vh = None if ct_vh is None else _first(ct_vh, -2, k)
    if ct_u is None and ct_vh is None:
        kept = where(eq(s, 0), 0.0, ct_s)  # |s| has the subgradient 0 there
        return [conjugated(matmul(u * row(kept), vh))]
    inner: Any = None if ct_s is None else as_diagonal(ct_s)
    outer: list[Value] = []
    v = adjoint(vh)
    if ct_u is not None:
        g = conjugated(ct_u)
        m = matmul(adjoint(u), g)
        q = _quotients(m, s, squared=True)
        part = (q + adjoint(q)) * row(s)
        if is_complex(a.ty):
            part = part + _imaginary_diagonal(m) / row(s)
        inner = part if inner is None else inner + part
        if is_square(a) is not True:
            away = (g - matmul(u, m)) / row(s)
            more = gt(size_value(a, a.rank - 2), k)
            outer.append(matmul(where(more, away, np.dtype(a.dtype).type(0)), vh))
    if ct_vh is not None:
        g = swap_last(ct_vh)
        m = matmul(vh, g)
        q = _quotients(m, s, squared=True)
        part = column(s) * (q + adjoint(q))
        inner = part if inner is None else inner + part
        if is_square(a) is not True:
            away = (g - matmul(v, m)) / row(s)
            more = gt(size_value(a, a.rank - 1), k)
            outer.append(matmul(u, adjoint(where(more, away, np.dtype(a.dtype).type(0)))))
    total = matmul(matmul(u, inner), vh)
    for part in outer:
        total = total + part
    return [conjugated(total)]


def _svd_jvp(tangents: Sequence[Value], y: Any, a: Value, *, full: bool) -> Any:
    u, s, vh = y
    (a_t,) = tangents
    k = size_value(s, s.rank - 1)
    u1, vh1 = (_first(u, -1, k), _first(vh, -2, k)) if full else (u, vh)
    v1 = adjoint(vh1)
    moved = matmul(matmul(adjoint(u1), a_t), v1)
    turned = adjoint(moved)
    turn_u = _quotients(moved * row(s) + column(s) * turned, s, squared=True)
    turn_v = _quotients(column(s) * moved + turned * row(s), s, squared=True)
    if is_complex(a.ty):
        turn_u = turn_u + _imaginary_diagonal(moved) / row(s)
    u_t, v_t = matmul(u1, turn_u), matmul(v1, turn_v)
    if is_square(a) is not True:
        zero = np.dtype(a.dtype).type(0)
        m, n = size_value(a, a.rank - 2), size_value(a, a.rank - 1)
        u_t = u_t + where(gt(m, k), (matmul(a_t, v1) - matmul(u1, moved)) / row(s), zero)
        v_t = v_t + where(gt(n, k), (matmul(adjoint(a_t), u1) - matmul(v1, turned)) / row(s), zero)
    s_t = real_of(diagonal_of(moved))
    if full and is_square(a) is not True:
        return _whole(u, u_t, a, -1, k), s_t, _whole(vh, adjoint(v_t), a, -2, k)
    return u_t, s_t, adjoint(v_t)


def _whole(x: Value, x_t: Value, a: Value, axis: int, k: Value) -> Value:
    """The tangent of a whole basis: NaN for further vectors, where there are some."""
    result = make_zeros(shape_values(x), x.dtype)
    store(_first(result, axis, k), x_t)
    store(_rest(result, axis, k), np.dtype(x.dtype).type(np.nan))
    return result


def _emit_svd(node: Any, a: str) -> str:
    return f"np.linalg.svd({a}, full_matrices={node.attrs['full']})"


svd: OpDef = define(
    OpDef(
        "svd", "product", ("a",), infer=_svd_type, run=lambda a, full: tuple(np.linalg.svd(a, full)), emit=_emit_svd,
        vjp=_svd_vjp, jvp=_svd_jvp, cost=80000, takes_complex=True, may_fail=True,
        lower=routine(
            "svd", (0, -2), (0, -1), options=("full",), fails="SVD did not converge", lazy=(0, 2), least=(1, -1)
        ),
        doc="U, s and Vh with U @ diag(s) @ Vh = a; square U and Vh if {full}. Singular vectors of equal singular "
        "values, or of those that are 0, have the derivative NaN; a singular value 0 has the derivative 0.",
    )
)

# ----------------------------------------------------------------------------------------------------- QR


def _qr_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    (a,) = types
    *lead, m, n = a.shape
    k = m if attrs["complete"] else least_size(m, n)
    return [Array(a.dtype, (*lead, m, k)), Array(a.dtype, (*lead, k, n))]


_COMPLETE_QR = (
    "Q of a complete QR factorization has no derivative where the matrix has more rows than columns",
    'write mode="reduced"',
)


def _least(a: Value) -> tuple[Value, bool]:
    """min(rows, columns), and whether there are certainly no more columns than rows."""
    rows, columns = size_value(a, a.rank - 2), size_value(a, a.rank - 1)
    if is_square(a):
        return columns, True
    return minimum(rows, columns), False


def _qr_vjp(ct: Any, y: Any, a: Value, *, complete: bool) -> list[Value]:
    # g_a = (g_Q - Q (T + T^H)) inv(R)^H, T the upper triangle, with half the diagonal, of Q^H g_Q - g_R R^H.
    # Columns beyond the first square: R2 = Q^H Y.
    q, r = y
    ct_q, ct_r = ct
    k, tall = _least(a)
    if complete and not tall:
        if ct_q is not None:
            fits = le(size_value(a, a.rank - 2), size_value(a, a.rank - 1))
            _refuse_further(fits, _rest(ct_q, -1, k), *_COMPLETE_QR)
        q, r = _first(q, -1, k), _first(r, -2, k)
        ct_q = None if ct_q is None else _first(ct_q, -1, k)
        ct_r = None if ct_r is None else _first(ct_r, -2, k)
    g_q = None if ct_q is None else conjugated(ct_q)
    g_r = None if ct_r is None else conjugated(ct_r)
    more: Value | None = None
    if not tall:
        if g_r is not None:
            g_rest = _rest(g_r, -1, k)
            moved = matmul(_rest(a, -1, k), adjoint(g_rest))
            g_q = moved if g_q is None else g_q + moved
            more = matmul(q, g_rest)
            g_r = _first(g_r, -1, k)
        r = _first(r, -1, k)
    inside = None if g_q is None else matmul(adjoint(q), g_q)
    if g_r is not None:
        other = matmul(g_r, adjoint(r))
        inside = -other if inside is None else inside - other
    assert inside is not None
    half = adjoint(half_lower(adjoint(inside)))
    turned = -matmul(q, half + adjoint(half))
    if g_q is not None:
        turned = turned + g_q
    whole = adjoint(solve_triangular(r, adjoint(turned), lower=False, unit=False))
    if not tall:
        if more is None:
            rest = _rest(a, -1, k)
            more = make_zeros(shape_values(rest), a.dtype)
        whole = concatenate(whole, more, axis=a.rank - 1)
    return [conjugated(whole)]


def _qr_jvp(tangents: Sequence[Value], y: Any, a: Value, *, complete: bool) -> Any:
    q, r = y
    (a_t,) = tangents
    k, tall = _least(a)
    q1, r1, x_t = q, r, a_t
    if not tall:
        if complete:
            q1, r1 = _first(q, -1, k), _first(r, -2, k)
        r1, x_t = _first(r1, -1, k), _first(a_t, -1, k)
    moved = swap_last(solve_triangular(swap_last(r1), swap_last(x_t), lower=True, unit=False))
    inside = matmul(adjoint(q1), moved)
    below = current_builder().emit("tril", (inside,), k=-1)
    turn = below - adjoint(below)
    if is_complex(a.ty):
        turn = turn + _imaginary_diagonal(inside)
    upper = inside - turn
    q_t, r_t = moved - matmul(q1, upper), matmul(upper, r1)
    if tall:
        return q_t, r_t
    rest = matmul(adjoint(q1), _rest(a_t, -1, k)) + matmul(adjoint(q_t), _rest(a, -1, k))
    r_t = concatenate(r_t, rest, axis=a.rank - 1)
    if not complete:
        return q_t, r_t
    whole_r = make_zeros(shape_values(r), r.dtype)
    store(_first(whole_r, -2, k), r_t)
    return _whole(q, q_t, a, -1, k), whole_r


qr: OpDef = define(
    OpDef(
        "qr", "product", ("a",), infer=_qr_type,
        run=lambda a, complete: tuple(np.linalg.qr(a, "complete" if complete else "reduced")),
        emit=lambda node, a: f"np.linalg.qr({a}{', ' + repr('complete') if node.attrs['complete'] else ''})",
        vjp=_qr_vjp, jvp=_qr_jvp, cost=30000, takes_complex=True, may_fail=True,
        lower=routine("qr", (0, -2), (0, -1), options=("complete",), least=(0, -1)),
        doc="Q and R with Q @ R = a, as LAPACK has their signs; square Q if {complete}. Derivatives are for matrices "
        "whose first columns are independent.",
    )
)
