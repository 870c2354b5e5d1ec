"""Functions of matrices: the exponential, square roots; Sylvester's and Lyapunov's equations.

The derivative of the exponential is computed with it, and further ones come from block matrices: A. Al-Mohy, N. Higham,
"Computing the Frechet derivative of the matrix exponential, with an application to condition number estimation" (2009),
R. Mathias, "A chain rule for matrix functions and applications" (1996). Square roots and Sylvester's equation:
N. Higham, "Functions of Matrices" (2008), sec. 6 and B.14.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import ShapeError, UnsupportedError
from gradc.ir.nodes import Block, Value, current_builder
from gradc.ir.opdef import CALLS, OpDef, call, define
from gradc.ir.region import FULL, Arg, Span
from gradc.ir.types import WEAK_INT, Array
from gradc.ops.arrange import concatenate
from gradc.ops.elementary import exp2, log2
from gradc.ops.elementwise import abs as abs_op
from gradc.ops.elementwise import ceil, gt, minimum, where
from gradc.ops.matrices import (
    Require,
    adjoint,
    identity,
    matrices,
    matrix_dtype,
    option,
    routine,
    square_shape,
    square_type,
    stacked,
)
from gradc.ops.memory import copy, make_index, size_value, store, zeros_like
from gradc.ops.products import matmul, swap_last
from gradc.ops.rules import as_value, convert, part_dtype
from gradc.ops.systems import inverse, scipy_linalg, solve

# ---------------------------------------------------------------------------------------------- exponential

_THETA = 4.74
"""The 1-norm up to which the approximant of degree 13 and its derivative are exact in double precision."""
_B = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip


def _combined(terms: Sequence[tuple[int, Value]]) -> Value:
    """The sum of matrices times coefficients of the approximant."""
    dtype = np.dtype(terms[0][1].dtype).type
    total: Value | None = None
    for k, x in terms:
        scaled = x * dtype(_B[k])
        total = scaled if total is None else total + scaled
    assert total is not None
    return total


def _halvings(a: Value) -> Value:
    """How often a is to be halved, for all matrices of a stack."""
    columns = current_builder().emit("sum", (abs_op(a),), axes=(a.rank - 2,), keepdims=False)
    size = CALLS[np.max].build(columns, initial=0.0)
    count = where(gt(size, _THETA), ceil(log2(minimum(size, 1e30) / _THETA)), 0.0)
    return convert(count, "int64", weak=True)


def _repeat(count: Value, body: Any) -> None:
    builder = current_builder()
    with builder.into(Block(params=[Value(WEAK_INT, "i")])) as block:
        body()
        block.yields = []
    builder.control("for", (0, count, 1), (block,), [], reversed=False, exits=False)


def _expand_expm(a: Value) -> Value:
    return _approximated(a, None)[0]


def _expand_frechet(a: Value, e: Value) -> Value:
    found = _approximated(a, e)[1]
    assert found is not None
    return found


def _approximated(a: Value, e: Value | None) -> tuple[Value, Value | None]:
    """The exponential, and its derivative along e."""
    count = _halvings(a)
    scale = convert(exp2(-convert(count, "float64")), part_dtype(a.dtype))
    a = a * scale
    one = identity(a)
    a2 = matmul(a, a)
    a4 = matmul(a2, a2)
    a6 = matmul(a4, a2)
    w1, z1 = (_combined(((k, a6), (k - 2, a4), (k - 4, a2))) for k in (13, 12))
    w = matmul(a6, w1) + _combined(((7, a6), (5, a4), (3, a2), (1, one)))
    u, v = matmul(a, w), matmul(a6, z1) + _combined(((6, a6), (4, a4), (2, a2), (0, one)))
    below = v - u
    r = copy(solve(below, u + v))
    if e is None:
        _repeat(count, lambda: store(r, matmul(r, r)))
        return r, None
    e = e * scale
    m2 = matmul(a, e) + matmul(e, a)
    m4 = matmul(a2, m2) + matmul(m2, a2)
    m6 = matmul(a4, m2) + matmul(m4, a2)
    lw1, lz1 = (_combined(((k, m6), (k - 2, m4), (k - 4, m2))) for k in (13, 12))
    lw = matmul(a6, lw1) + matmul(m6, w1) + _combined(((7, m6), (5, m4), (3, m2)))
    lu = matmul(a, lw) + matmul(e, w)
    lv = matmul(a6, lz1) + matmul(m6, z1) + _combined(((6, m6), (4, m4), (2, m2)))
    moved = copy(solve(below, lu + lv + matmul(lu - lv, r)))

    def square() -> None:
        store(moved, matmul(r, moved) + matmul(moved, r))
        store(r, matmul(r, r))

    _repeat(count, square)
    return r, moved


expm: OpDef = define(
    OpDef(
        "expm", "product", ("a",), infer=square_type, run=lambda a: scipy_linalg().expm(a) if a.size else a.copy(),
        emit="scipy.linalg.expm({a})", expand=_expand_expm, cost=100000, takes_complex=True, may_fail=True,
        vjp=lambda ct, y, a: [expm_frechet(swap_last(a), ct)],
        jvp=lambda tangents, y, a: expm_frechet(a, tangents[0]),
        doc="The exponential of a matrix, by scaling, a rational approximant of degree 13, and squaring.",
    )
)


def _frechet_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    shape = square_shape(types[0], require)
    for axis in range(len(shape)):
        require(0, axis, 1, axis)
    return [Array(types[0].dtype, shape)]


def _block(a: Value, e: Value) -> Value:
    """[[a, e], [0, a]]."""
    rank = a.rank
    above = concatenate(a, e, axis=rank - 1)
    below = concatenate(zeros_like(a), a, axis=rank - 1)
    return concatenate(above, below, axis=rank - 2)


def _quarter(x: Value, n: Value, right: bool, down: bool = False) -> Value:
    spans = [Span(Arg(0), None) if far else Span(None, Arg(0)) for far in (down, right)]
    return make_index(x, (*(FULL,) * (x.rank - 2), *spans), n)


def _frechet_vjp(ct: Value, y: Value, a: Value, e: Value) -> list[Value]:
    n = size_value(a, a.rank - 1)
    zero = zeros_like(ct)
    above, below = concatenate(zero, ct, axis=ct.rank - 1), concatenate(zero, zero, axis=ct.rank - 1)
    whole = expm_frechet(swap_last(_block(a, e)), concatenate(above, below, axis=ct.rank - 2))
    return [_quarter(whole, n, False) + _quarter(whole, n, True, True), expm_frechet(swap_last(a), ct)]


def _frechet_jvp(tangents: Sequence[Value | None], y: Value, a: Value, e: Value) -> Value:
    a_t, e_t = tangents
    if a_t is None:
        return expm_frechet(a, e_t)
    moved = _block(a_t, zeros_like(e) if e_t is None else e_t)
    return _quarter(expm_frechet(_block(a, e), moved), size_value(a, a.rank - 1), True)


_FRECHET = '''def expm_frechet(a, e):
    """The derivative of scipy.linalg.expm at a, along e."""
    block = np.block([[a, e], [np.zeros_like(a), a]])
    return scipy.linalg.expm(block)[..., : a.shape[-1], a.shape[-1] :]
'''


def _run_frechet(a: Any, e: Any) -> Any:
    if not a.size:
        return a.copy()
    block = np.block([[a, e], [np.zeros_like(a), a]])
    return scipy_linalg().expm(block)[..., : a.shape[-1], a.shape[-1] :]


expm_frechet: OpDef = define(
    OpDef(
        "expm_frechet", "product", ("a", "e"), infer=_frechet_type, run=_run_frechet, emit="expm_frechet({a}, {e})",
        expand=_expand_frechet, vjp=_frechet_vjp, jvp=_frechet_jvp, cost=300000, takes_complex=True, may_fail=True,
        prelude=_FRECHET, doc="The derivative of the exponential of a along e.",
    )
)


@call("scipy.linalg.expm")
def _expm_call(A: Any) -> Value:
    x = as_value(A)
    if not x.rank:
        return CALLS[np.exp].build(x)
    return expm(matrices(x, "scipy.linalg.expm", square=True))


@call("scipy.linalg.expm_frechet")
def _expm_frechet_call(A: Any, E: Any, method: Any = None, compute_expm: Any = True, check_finite: Any = True) -> Any:
    x, e = (matrices(v, "scipy.linalg.expm_frechet", square=True) for v in (A, E))
    name = matrix_dtype(x, e)
    x, e = convert(x, name), convert(e, name)
    moved = expm_frechet(x, e)
    return (expm(x), moved) if option(compute_expm, "scipy.linalg.expm_frechet") else moved


# -------------------------------------------------------------------------- Sylvester's equation, square roots


def _sylvester_type(types: Sequence[Any], attrs: dict[str, Any], require: Require) -> list[Any]:
    q = types[2]
    rank = len(q.shape)
    require(0, rank - 2, 0, rank - 1)
    require(1, rank - 2, 1, rank - 1)
    require(0, rank - 1, 2, rank - 2)
    require(1, rank - 1, 2, rank - 1)
    for axis in range(rank - 2):
        require(0, axis, 1, axis)
        require(0, axis, 2, axis)
    return [Array(q.dtype, q.shape)]


def _run_sylvester(a: Any, b: Any, q: Any) -> Any:
    x = np.empty_like(q)
    for k in np.ndindex(q.shape[:-2]):
        x[k] = scipy_linalg().solve_sylvester(a[k], b[k], q[k]) if q[k].size else q[k]
    return x


def _sylvester_vjp(ct: Value, y: Value, a: Value, b: Value, q: Value) -> list[Value]:
    back = solve_sylvester(swap_last(a), swap_last(b), ct)
    turned = swap_last(y)
    return [-matmul(back, turned), -matmul(turned, back), back]


def _sylvester_jvp(tangents: Sequence[Value | None], y: Value, a: Value, b: Value, q: Value) -> Value:
    a_t, b_t, q_t = tangents
    parts = [p for p in (q_t, a_t and -matmul(a_t, y), b_t and -matmul(y, b_t)) if p is not None]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return solve_sylvester(a, b, total)


solve_sylvester: OpDef = define(
    OpDef(
        "solve_sylvester", "product", ("a", "b", "q"), infer=_sylvester_type, run=_run_sylvester,
        emit="scipy.linalg.solve_sylvester({a}, {b}, {q})",
        lower=routine("sylvester", (0, -1), (1, -1), fails="Sylvester's equation has no single solution"),
        vjp=_sylvester_vjp, jvp=_sylvester_jvp, cost=200000, takes_complex=True, may_fail=True,
        doc="The x with a @ x + x @ b = q.",
    )
)


def _run_sqrtm(a: Any) -> Any:
    if not a.size:
        return a.copy()
    x = np.array([scipy_linalg().sqrtm(a[k]) for k in np.ndindex(a.shape[:-2])]).reshape(a.shape)
    if np.iscomplexobj(x) and not np.iscomplexobj(a):
        if np.max(np.abs(x.imag)) > 1e-8 * np.max(np.abs(x.real)):
            raise np.linalg.LinAlgError(_COMPLEX_ROOT)
        x = x.real
    return x.astype(a.dtype)


_COMPLEX_ROOT = "The square root of this real matrix is complex: pass it as complex numbers"


def _sqrtm_vjp(ct: Value, y: Value, a: Value) -> list[Value]:
    turned = swap_last(y)
    return [solve_sylvester(turned, turned, ct)]


sqrtm: OpDef = define(
    OpDef(
        "sqrtm", "product", ("a",), infer=square_type, run=_run_sqrtm, emit="scipy.linalg.sqrtm({a})",
        lower=routine("sqrtm", (0, -1), fails=("The matrix has no square root", _COMPLEX_ROOT)), vjp=_sqrtm_vjp,
        jvp=lambda tangents, y, a: solve_sylvester(y, y, tangents[0]), cost=200000, takes_complex=True, may_fail=True,
        doc="The principal square root of a matrix; that of a real matrix has to be real.",
    )
)

_NOT_GIVEN: Any = object()


@call("scipy.linalg.sqrtm")
def _sqrtm_call(A: Any, disp: Any = _NOT_GIVEN, blocksize: Any = _NOT_GIVEN) -> Value:
    if disp is not _NOT_GIVEN and not option(disp, "scipy.linalg.sqrtm"):
        raise UnsupportedError("scipy.linalg.sqrtm(disp=False)", hint="leave out disp.")
    return sqrtm(matrices(A, "scipy.linalg.sqrtm", square=True))


def _one_matrix(x: Any, what: str, square: bool = True) -> Value:
    value = matrices(x, what, square)
    if value.rank != 2:
        raise ShapeError(f"{what} of a stack of matrices", hint="loop over the stack.")
    return value


@call("scipy.linalg.solve_sylvester")
def _sylvester_call(a: Any, b: Any, q: Any) -> Value:
    what = "scipy.linalg.solve_sylvester"
    found = [_one_matrix(a, what), _one_matrix(b, what), _one_matrix(q, what, square=False)]
    name = matrix_dtype(*found)
    return solve_sylvester(*(convert(v, name) for v in found))


@call("scipy.linalg.solve_continuous_lyapunov", "scipy.linalg.solve_lyapunov")
def _lyapunov_call(a: Any, q: Any) -> Value:
    x = _one_matrix(a, "scipy.linalg.solve_continuous_lyapunov")
    return _sylvester_call(x, adjoint(x), q)


@call("scipy.linalg.solve_discrete_lyapunov")
def _discrete_lyapunov_call(a: Any, q: Any, method: Any = None) -> Value:
    x, y = (_one_matrix(v, "scipy.linalg.solve_discrete_lyapunov") for v in (a, q))
    x, y = stacked(convert(x, matrix_dtype(x, y)), convert(y, matrix_dtype(x, y)))
    one, turned = identity(x), adjoint(x)
    right = inverse(turned + one)
    b = matmul(turned - one, right)
    c = matmul(solve(x + one, y), right) * 2.0
    return solve_sylvester(adjoint(b), b, -c)
