"""Factorizations of stacks of matrices, which Numba compiles once for each dtype: `codegen/library.py` hands them out.

Each takes how many matrices there are, their sizes, options, and pointers to memory in C order; it gives 0, or the
number of what went wrong with the first matrix for which it did. LAPACK counts in columns: what it is given is
the transposed matrix, written out, so that signs and pivots are those of NumPy and SciPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from gradc.codegen.fortran import (
    complex_geev,
    complex_gesdd,
    gbsv,
    geev,
    geqrf,
    gesdd,
    getrf,
    heevd,
    orgqr,
    potrf,
    syevd,
    trsm,
    ungqr,
)

SMALL = 24
"""Sizes up to which loops beat LAPACK."""
_A, _C, _L, _N, _R, _S, _T, _U, _V = (ord(letter) for letter in "ACLNRSTUV")

Data = Any
"""A pointer, or an array."""


@njit(cache=True)
def turn(a: Data, to: Data) -> None:
    """to = a.T."""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            to[j, i] = a[i, j]


@njit(cache=True)
def turn_back(a: Data, to: Data) -> None:
    """to = a.T, as far as there is room."""
    for i in range(to.shape[0]):
        for j in range(to.shape[1]):
            to[i, j] = a[j, i]


@njit(cache=True)
def fill(to: Data, a: Data) -> None:
    """to = a, for matrices: shorter to compile than an assignment of slices."""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            to[i, j] = a[i, j]


@njit(cache=True)
def fill_unit(to: Data) -> None:
    """Ones on the diagonal, zeros elsewhere."""
    for i in range(to.shape[0]):
        for j in range(to.shape[1]):
            to[i, j] = 1 if i == j else 0


# ---------------------------------------------------------------------------------------------------- LU


@njit(error_model="numpy", cache=True)
def factor(f: Data, pivots: Data) -> None:
    """Replace f by its LU factors with row exchanges; row k was exchanged with row pivots[k]."""
    n = f.shape[0]
    if n > SMALL:
        work, info = np.empty_like(f), np.empty(1, np.int32)
        turn(f, work)
        getrf(n, n, work, n, pivots, info)
        turn(work, f)
        for k in range(n):
            pivots[k] -= 1
        return
    for k in range(n):
        best, at = abs(f[k, k]), k
        for i in range(k + 1, n):
            if abs(f[i, k]) > best:
                best, at = abs(f[i, k]), i
        pivots[k] = at
        if at != k:
            for j in range(n):
                f[k, j], f[at, j] = f[at, j], f[k, j]
        if f[k, k] == 0:
            continue
        for i in range(k + 1, n):
            f[i, k] = f[i, k] / f[k, k]
            for j in range(k + 1, n):
                f[i, j] -= f[i, k] * f[k, j]


@njit(error_model="numpy", cache=True)
def substitute(f: Data, pivots: Data, x: Data, trans: int) -> bool:
    """Replace x by the solution of a @ x = x, or a.T @ x = x; whether there is one."""
    n, columns = x.shape
    for i in range(n):
        if f[i, i] == 0:
            return False
    if not trans:
        for k in range(n):
            at = pivots[k]
            if at != k:
                for j in range(columns):
                    x[k, j], x[at, j] = x[at, j], x[k, j]
    triangle(f, x, True, trans == 1, trans == 0)
    triangle(f, x, False, trans == 1, trans == 1)
    if trans:
        for k in range(n - 1, -1, -1):
            at = pivots[k]
            if at != k:
                for j in range(columns):
                    x[k, j], x[at, j] = x[at, j], x[k, j]
    return True


@njit(error_model="numpy", cache=True)
def triangle(t: Data, x: Data, lower: bool, trans: bool, unit: bool) -> None:
    """Replace x by the solution of op(t) @ x = x. lower: which triangle op(t) is. unit: the diagonal counts as ones."""
    n, columns = x.shape
    if n * n * columns > 4096:
        # In columns: x.T @ op(t).T = x.T, and t is stored as t.T.
        stored = lower == trans  # whether what LAPACK sees of t is a lower triangle
        trsm(_R, _L if stored else _U, _T if trans else _N, _U if unit else _N, columns, n, 1, t, n, x, max(columns, 1))
        return
    for step in range(n):
        i = step if lower else n - 1 - step
        start, stop = (0, i) if lower else (i + 1, n)
        for k in range(start, stop):
            factor_ = t[k, i] if trans else t[i, k]
            for j in range(columns):
                x[i, j] -= factor_ * x[k, j]
        if not unit:
            for j in range(columns):
                x[i, j] = x[i, j] / t[i, i]


def lu(count: int, n: int, a_: Data, f_: Data, pivots_: Data) -> int:
    """f, pivots = scipy.linalg.lu_factor(a)."""
    a, f, pivots = carray(a_, (count, n, n)), carray(f_, (count, n, n)), carray(pivots_, (count, n))
    for c in range(count):
        fill(f[c], a[c])
        factor(f[c], pivots[c])
    return 0


def lu_solve(count: int, n: int, columns: int, trans: int, f_: Data, pivots_: Data, b_: Data, x_: Data) -> int:
    """x = scipy.linalg.lu_solve((f, pivots), b, trans); 1 where a matrix is singular."""
    f, pivots = carray(f_, (count, n, n)), carray(pivots_, (count, n))
    b, x = carray(b_, (count, n, columns)), carray(x_, (count, n, columns))
    for c in range(count):
        fill(x[c], b[c])
        if not substitute(f[c], pivots[c], x[c], trans):
            return 1
    return 0


def solve_triangular(count: int, n: int, columns: int, lower: int, unit: int, t_: Data, b_: Data, x_: Data) -> int:
    """x = scipy.linalg.solve_triangular(t, b, lower=lower, unit_diagonal=unit); 1 where a matrix is singular."""
    t, b, x = carray(t_, (count, n, n)), carray(b_, (count, n, columns)), carray(x_, (count, n, columns))
    for c in range(count):
        fill(x[c], b[c])
        if not unit:
            for i in range(n):
                if t[c, i, i] == 0:
                    return 1
        triangle(t[c], x[c], lower == 1, False, unit == 1)
    return 0


def banded(count: int, n: int, columns: int, lower: int, upper: int, a_: Data, b_: Data, x_: Data) -> int:
    """x = scipy.linalg.solve_banded((lower, upper), a, b); 1 where a matrix is singular."""
    a = carray(a_, (count, lower + upper + 1, n))
    b, x = carray(b_, (count, n, columns)), carray(x_, (count, n, columns))
    high = 2 * lower + upper + 1
    work, right = np.zeros((n, high), a.dtype), np.empty((columns, n), a.dtype)
    pivots, info = np.empty(n, np.int32), np.zeros(1, np.int32)
    for c in range(count if n else 0):
        for j in range(n):
            for i in range(lower + upper + 1):
                work[j, lower + i] = a[c, i, j]
        turn(b[c], right)
        gbsv(n, lower, upper, columns, work, high, pivots, right, n, info)
        if info[0]:
            return 1
        turn(right, x[c])
    return 0


def cholesky(count: int, n: int, a_: Data, l_: Data) -> int:
    """l = np.linalg.cholesky(a); 1 where a matrix is not positive definite."""
    a, result = carray(a_, (count, n, n)), carray(l_, (count, n, n))
    info = np.zeros(1, np.int32)
    for c in range(count):
        t = result[c]
        for i in range(n):
            for j in range(n):
                t[i, j] = a[c, i, j] if j <= i else 0
        if n > SMALL:
            potrf(_U, n, t, n, info)  # in columns it is the upper triangle of a.T, which is u.T @ conj(u)
            if info[0]:
                return 1
            continue
        for j in range(n):
            for k in range(j):
                held = np.conj(t[j, k])
                for i in range(j, n):
                    t[i, j] -= t[i, k] * held
            pivot = t[j, j].real
            if pivot <= 0:  # NaN goes on, as in NumPy
                return 1
            t[j, j] = pivot = np.sqrt(pivot)
            for i in range(j + 1, n):
                t[i, j] /= pivot
    return 0


def exchange(count: int, n: int, columns: int, back: int, x_: Data, pivots_: Data, y_: Data) -> int:
    """y = x with row i exchanged with row pivots[i], for i from the first on, or from the last."""
    x, y = carray(x_, (count, n, columns)), carray(y_, (count, n, columns))
    pivots = carray(pivots_, (count, n))
    for c in range(count):
        fill(y[c], x[c])
        for step in range(n):
            i = n - 1 - step if back else step
            at = pivots[c, i]
            if at != i:
                for j in range(columns):
                    y[c, i, j], y[c, at, j] = y[c, at, j], y[c, i, j]
    return 0


@njit(error_model="numpy", cache=True)
def determinant(f: Data, pivots: Data) -> Data:
    """The determinant from LU factors."""
    product = f[0, 0] if pivots[0] == 0 else -f[0, 0]
    for i in range(1, f.shape[0]):
        product *= f[i, i] if pivots[i] == i else -f[i, i]
    return product


def cofactors_real(count: int, n: int, a_: Data, y_: Data) -> int:
    """y = det(a) inv(a).T, by singular values where a has no inverse. 1: no convergence of these."""
    a, y = carray(a_, (count, n, n)), carray(y_, (count, n, n))
    f, pivots = np.empty((n, n), a.dtype), np.empty(n, np.int32)
    for c in range(count if n else 0):
        fill(f, a[c])
        factor(f, pivots)
        least, most = abs(f[0, 0]), abs(f[0, 0])
        for i in range(1, n):
            least, most = min(least, abs(f[i, i])), max(most, abs(f[i, i]))
        if least > most * 1e-7:
            fill_unit(y[c])
            substitute(f, pivots, y[c], 1)
            scale = determinant(f, pivots)
            for i in range(n):
                for j in range(n):
                    y[c, i, j] *= scale
            continue
        # a = (u s) v, where LAPACK writes u.T and v.T; det(u) det(v) = 1 or -1, or a phase.
        work, left, right = np.empty((n, n), a.dtype), np.empty((n, n), a.dtype), np.empty((n, n), a.dtype)
        s, more, whole = np.empty(n, a.real.dtype), np.empty(8 * n * (n + 8), a.dtype), np.empty(8 * n, np.int32)
        info = np.zeros(1, np.int32)
        turn(a[c], work)
        gesdd(_A, n, n, work, n, s, left, n, right, n, more, len(more), whole, info)
        if info[0]:
            return 1
        cofactors_of(left, s, right, f, pivots, y[c])
    return 0


def cofactors_complex(count: int, n: int, a_: Data, y_: Data) -> int:
    """As `cofactors_real`."""
    a, y = carray(a_, (count, n, n)), carray(y_, (count, n, n))
    f, pivots = np.empty((n, n), a.dtype), np.empty(n, np.int32)
    for c in range(count if n else 0):
        fill(f, a[c])
        factor(f, pivots)
        least, most = abs(f[0, 0]), abs(f[0, 0])
        for i in range(1, n):
            least, most = min(least, abs(f[i, i])), max(most, abs(f[i, i]))
        if least > most * 1e-7:
            fill_unit(y[c])
            substitute(f, pivots, y[c], 1)
            scale = determinant(f, pivots)
            for i in range(n):
                for j in range(n):
                    y[c, i, j] *= scale
            continue
        work, left, right = np.empty((n, n), a.dtype), np.empty((n, n), a.dtype), np.empty((n, n), a.dtype)
        s, more, whole = np.empty(n, a.real.dtype), np.empty(8 * n * (n + 8), a.dtype), np.empty(8 * n, np.int32)
        info, reals = np.zeros(1, np.int32), np.empty(8 * n * (n + 8), a.real.dtype)
        turn(a[c], work)
        complex_gesdd(_A, n, n, work, n, s, left, n, right, n, more, len(more), reals, whole, info)
        if info[0]:
            return 1
        cofactors_of(left, s, right, f, pivots, y[c])
    return 0


@njit(error_model="numpy", cache=True)
def cofactors_of(left: Data, s: Data, right: Data, f: Data, pivots: Data, y: Data) -> None:
    """The cofactors from singular values; f and pivots are memory."""
    n = len(s)
    fill(f, left)
    factor(f, pivots)
    scale = determinant(f, pivots)
    fill(f, right)
    factor(f, pivots)
    scale *= determinant(f, pivots)
    for i in range(n):
        for j in range(n):
            y[i, j] = 0
    for k in range(n):
        others = scale
        for j in range(n):
            if j != k:
                others *= s[j]
        for i in range(n):
            held = others * np.conj(left[k, i])
            for j in range(n):
                y[i, j] += held * np.conj(right[j, k])


# ------------------------------------------------------------------------------------------ eigenvalues


def eigh_real(count: int, n: int, vectors: int, a_: Data, w_: Data, v_: Data) -> int:
    """w, v = np.linalg.eigh(a); without `vectors` v is only memory. 1: no convergence."""
    a, w, v = carray(a_, (count, n, n)), carray(w_, (count, n)), carray(v_, (count, n, n))
    work, more, info = np.empty((n, n), a.dtype), np.empty(1 + 6 * n + 2 * n * n, a.dtype), np.zeros(1, np.int32)
    whole = np.empty(3 + 5 * n, np.int32)
    for c in range(count):
        turn(a[c], work)
        if n:
            job = _V if vectors else _N
            syevd(job, _L, n, work, n, w[c], more, len(more), whole, len(whole), info)
        if info[0]:
            return 1
        turn(work, v[c])
    return 0


def eigh_complex(count: int, n: int, vectors: int, a_: Data, w_: Data, v_: Data) -> int:
    """As `eigh_real`."""
    a, w, v = carray(a_, (count, n, n)), carray(w_, (count, n)), carray(v_, (count, n, n))
    work, more, info = np.empty((n, n), a.dtype), np.empty(1 + 2 * n + n * n, a.dtype), np.zeros(1, np.int32)
    reals, whole = np.empty(1 + 5 * n + 2 * n * n, w.dtype), np.empty(3 + 5 * n, np.int32)
    for c in range(count):
        turn(a[c], work)
        if n:
            job = _V if vectors else _N
            heevd(job, _L, n, work, n, w[c], more, len(more), reals, len(reals), whole, len(whole), info)
        if info[0]:
            return 1
        turn(work, v[c])
    return 0


def eig_real(count: int, n: int, vectors: int, a_: Data, w_: Data, v_: Data) -> int:
    """w, v = np.linalg.eig(a), complex; without `vectors` v is only memory. 1: no convergence."""
    a, w, v = carray(a_, (count, n, n)), carray(w_, (count, n)), carray(v_, (count, n, n))
    work, right, more = np.empty((n, n), a.dtype), np.empty((n, n), a.dtype), np.empty(1 + n * 66, a.dtype)
    real, imag, info = np.empty(n, a.dtype), np.empty(n, a.dtype), np.zeros(1, np.int32)
    for c in range(count):
        turn(a[c], work)
        if n:
            job = _V if vectors else _N
            geev(_N, job, n, work, n, real, imag, right, n, right, n, more, len(more), info)
        if info[0]:
            return 1
        for j in range(n):
            w[c, j] = real[j] + 1j * imag[j]
            if not vectors:
                continue
            for i in range(n):  # a pair of conjugates: real and imaginary parts in two columns
                if imag[j] == 0:
                    v[c, i, j] = right[j, i]
                elif imag[j] > 0:
                    v[c, i, j] = right[j, i] + 1j * right[j + 1, i]
                else:
                    v[c, i, j] = right[j - 1, i] - 1j * right[j, i]
    return 0


def eig_complex(count: int, n: int, vectors: int, a_: Data, w_: Data, v_: Data) -> int:
    """As `eig_real`."""
    a, w, v = carray(a_, (count, n, n)), carray(w_, (count, n)), carray(v_, (count, n, n))
    work, right, more = np.empty((n, n), a.dtype), np.empty((n, n), a.dtype), np.empty(1 + n * 66, a.dtype)
    reals, info = np.empty(1 + 2 * n, a.real.dtype), np.zeros(1, np.int32)
    for c in range(count):
        turn(a[c], work)
        if n:
            job = _V if vectors else _N
            complex_geev(_N, job, n, work, n, w[c], right, n, right, n, more, len(more), reals, info)
        if info[0]:
            return 1
        turn(right, v[c])
    return 0


# -------------------------------------------------------------------------------------- singular values


def svd_real(count: int, m: int, n: int, vectors: int, full: int, a_: Data, u_: Data, s_: Data, v_: Data) -> int:
    """u, s, vh = np.linalg.svd(a, full); without `vectors` u and vh are only memory. 1: no convergence."""
    k = min(m, n)
    p, q = (m, n) if full else (k, k)
    a, s = carray(a_, (count, m, n)), carray(s_, (count, k))
    u, v = carray(u_, (count, m, p)), carray(v_, (count, q, n))
    work, left, right = np.empty((n, m), a.dtype), np.empty((p, m), a.dtype), np.empty((n, q), a.dtype)
    whole, more, info = np.empty(8 * k, np.int32), np.empty(1, a.dtype), np.zeros(1, np.int32)
    letter = _N if not vectors else _A if full else _S
    for c in range(count):
        turn(a[c], work)
        if k:
            if len(more) == 1:
                gesdd(letter, m, n, work, m, s[c], left, m, right, q, more, -1, whole, info)
                more = np.empty(max(int(more[0]), 2), a.dtype)
            gesdd(letter, m, n, work, m, s[c], left, m, right, q, more, len(more), whole, info)
        else:
            fill_unit(left)
            fill_unit(right)
        if info[0]:
            return 1
        if vectors:
            turn(left, u[c])
            turn(right, v[c])
    return 0


def svd_complex(count: int, m: int, n: int, vectors: int, full: int, a_: Data, u_: Data, s_: Data, v_: Data) -> int:
    """As `svd_real`."""
    k, longest = min(m, n), max(m, n)
    p, q = (m, n) if full else (k, k)
    a, s = carray(a_, (count, m, n)), carray(s_, (count, k))
    u, v = carray(u_, (count, m, p)), carray(v_, (count, q, n))
    work, left, right = np.empty((n, m), a.dtype), np.empty((p, m), a.dtype), np.empty((n, q), a.dtype)
    whole, more, info = np.empty(8 * k, np.int32), np.empty(1, a.dtype), np.zeros(1, np.int32)
    reals = np.empty(max(5 * k * k + 7 * k, 2 * longest * k + 2 * k * k + k) + 1, s.dtype)
    letter = _N if not vectors else _A if full else _S
    for c in range(count):
        turn(a[c], work)
        if k:
            if len(more) == 1:
                complex_gesdd(letter, m, n, work, m, s[c], left, m, right, q, more, -1, reals, whole, info)
                more = np.empty(max(int(more[0].real), 2), a.dtype)
            complex_gesdd(letter, m, n, work, m, s[c], left, m, right, q, more, len(more), reals, whole, info)
        else:
            fill_unit(left)
            fill_unit(right)
        if info[0]:
            return 1
        if vectors:
            turn(left, u[c])
            turn(right, v[c])
    return 0


# ---------------------------------------------------------------------------------------------------- QR


def qr_real(count: int, m: int, n: int, complete: int, a_: Data, q_: Data, r_: Data) -> int:
    """q, r = np.linalg.qr(a, "complete" if complete else "reduced")."""
    k = min(m, n)
    p = m if complete else k
    a, q, r = carray(a_, (count, m, n)), carray(q_, (count, m, p)), carray(r_, (count, p, n))
    work, tau, info = np.zeros((max(n, p), m), a.dtype), np.empty(k, a.dtype), np.zeros(1, np.int32)
    more = np.empty(64 * max(m, n, 1), a.dtype)
    for c in range(count):
        turn(a[c], work)
        if k:
            geqrf(m, n, work, m, tau, more, len(more), info)
        for i in range(p):
            for j in range(n):
                r[c, i, j] = work[j, i] if j >= i else 0
        if k:
            orgqr(m, p, k, work, m, tau, more, len(more), info)
        else:
            fill_unit(work)
        turn_back(work, q[c])
    return 0


def qr_complex(count: int, m: int, n: int, complete: int, a_: Data, q_: Data, r_: Data) -> int:
    """As `qr_real`."""
    k = min(m, n)
    p = m if complete else k
    a, q, r = carray(a_, (count, m, n)), carray(q_, (count, m, p)), carray(r_, (count, p, n))
    work, tau, info = np.zeros((max(n, p), m), a.dtype), np.empty(k, a.dtype), np.zeros(1, np.int32)
    more = np.empty(64 * max(m, n, 1), a.dtype)
    for c in range(count):
        turn(a[c], work)
        if k:
            geqrf(m, n, work, m, tau, more, len(more), info)
        for i in range(p):
            for j in range(n):
                r[c, i, j] = work[j, i] if j >= i else 0
        if k:
            ungqr(m, p, k, work, m, tau, more, len(more), info)
        else:
            fill_unit(work)
        turn_back(work, q[c])
    return 0
