"""Sylvester's equation and square roots of matrices, by Schur's triangular form; as in `codegen/routines.py`.

LAPACK sees the transposed matrices, and these equations hold for them as well: nothing is written out. Sources:
R. Bartels, G. Stewart, "Solution of the matrix equation AX + XB = C" (1972); A. Bjorck, S. Hammarling, "A Schur method
for the square root of a matrix" (1983).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from gradc.codegen.fortran import complex_gees, gees, gemm, trsyl
from gradc.codegen.routines import fill

_C, _N, _V = (ord(letter) for letter in "CNV")

Data = Any


@njit(cache=True)
def between(u: Data, s: Data, t: Data, v: Data, q: Data, f: Data, w: Data) -> int:
    """q = what solves the equation with Schur forms s and t in bases u and v; 1 where they share an eigenvalue."""
    m, n = q.shape
    info, scale = np.zeros(1, np.int32), np.empty(1, q.real.dtype)
    gemm(_C, _N, n, m, n, 1, u, n, q, n, 0, w, n)
    gemm(_N, _N, n, m, m, 1, w, n, v, m, 0, f, n)
    trsyl(_N, _N, 1, n, m, s, n, t, m, f, n, scale, info)
    if info[0]:
        return 1
    gemm(_N, _N, n, m, n, 1, u, n, f, n, 0, w, n)
    gemm(_N, _C, n, m, m, 1, w, n, v, m, 0, q, n)
    for i in range(m):
        for j in range(n):
            q[i, j] /= scale[0]
    return 0


def sylvester_real(count: int, m: int, n: int, a_: Data, b_: Data, q_: Data, x_: Data) -> int:
    """x = scipy.linalg.solve_sylvester(a, b, q). 1: no or no single solution."""
    a, b = carray(a_, (count, m, m)), carray(b_, (count, n, n))
    q, x = carray(q_, (count, m, n)), carray(x_, (count, m, n))
    t, v, s, u = np.empty((m, m), a.dtype), np.empty((m, m), a.dtype), np.empty((n, n), a.dtype), np.empty_like(b[0])
    f, w = np.empty((m, n), a.dtype), np.empty((m, n), a.dtype)
    more, info, sdim = np.empty(64 * max(m, n, 1), a.dtype), np.zeros(1, np.int32), np.zeros(1, np.int32)
    real, imag = np.empty(max(m, n), a.dtype), np.empty(max(m, n), a.dtype)
    for c in range(count if m and n else 0):
        fill(t, a[c])
        fill(s, b[c])
        fill(x[c], q[c])
        gees(_V, _N, 0, m, t, m, sdim, real, imag, v, m, more, len(more), info, info)
        if info[0]:
            return 1
        gees(_V, _N, 0, n, s, n, sdim, real, imag, u, n, more, len(more), info, info)
        if info[0] or between(u, s, t, v, x[c], f, w):
            return 1
    return 0


def sylvester_complex(count: int, m: int, n: int, a_: Data, b_: Data, q_: Data, x_: Data) -> int:
    """As `sylvester_real`."""
    a, b = carray(a_, (count, m, m)), carray(b_, (count, n, n))
    q, x = carray(q_, (count, m, n)), carray(x_, (count, m, n))
    t, v, s, u = np.empty((m, m), a.dtype), np.empty((m, m), a.dtype), np.empty((n, n), a.dtype), np.empty_like(b[0])
    f, w = np.empty((m, n), a.dtype), np.empty((m, n), a.dtype)
    more, info, sdim = np.empty(64 * max(m, n, 1), a.dtype), np.zeros(1, np.int32), np.zeros(1, np.int32)
    values, reals = np.empty(max(m, n), a.dtype), np.empty(max(m, n), a.real.dtype)
    for c in range(count if m and n else 0):
        fill(t, a[c])
        fill(s, b[c])
        fill(x[c], q[c])
        complex_gees(_V, _N, 0, m, t, m, sdim, values, v, m, more, len(more), reals, info, info)
        if info[0]:
            return 1
        complex_gees(_V, _N, 0, n, s, n, sdim, values, u, n, more, len(more), reals, info, info)
        if info[0] or between(u, s, t, v, x[c], f, w):
            return 1
    return 0


@njit(error_model="numpy", cache=True)
def root_of(t: Data) -> int:
    """Replace t by its principal square root; 1 where there is none."""
    n = t.shape[0]
    u, r, w = np.empty_like(t), np.zeros_like(t), np.empty_like(t)
    more, info, sdim = np.empty(64 * n, t.dtype), np.zeros(1, np.int32), np.zeros(1, np.int32)
    values, reals = np.empty(n, t.dtype), np.empty(n, t.real.dtype)
    complex_gees(_V, _N, 0, n, t, n, sdim, values, u, n, more, len(more), reals, info, info)
    if info[0]:
        return 1
    for j in range(n):  # entry (i, j) of a triangle stands at [j, i]
        r[j, j] = np.sqrt(t[j, j])
        for i in range(j - 1, -1, -1):
            left = t[j, i]
            for k in range(i + 1, j):
                left -= r[k, i] * r[j, k]
            if left != 0:
                below = r[i, i] + r[j, j]
                if below == 0:
                    return 1
                r[j, i] = left / below
    gemm(_N, _N, n, n, n, 1, u, n, r, n, 0, w, n)
    gemm(_N, _C, n, n, n, 1, w, n, u, n, 0, t, n)
    return 0


def sqrtm_real(count: int, n: int, a_: Data, x_: Data) -> int:
    """x = scipy.linalg.sqrtm(a). 1: there is none; 2: it is complex."""
    a, x = carray(a_, (count, n, n)), carray(x_, (count, n, n))
    t = np.empty((n, n), np.complex128)
    for c in range(count if n else 0):
        fill(t, a[c])
        if root_of(t):
            return 1
        real, imag = 0.0, 0.0
        for i in range(n):
            for j in range(n):
                x[c, i, j] = t[i, j].real
                real, imag = max(real, abs(t[i, j].real)), max(imag, abs(t[i, j].imag))
        if imag > 1e-8 * real:
            return 2
    return 0


def sqrtm_complex(count: int, n: int, a_: Data, x_: Data) -> int:
    """As `sqrtm_real`."""
    a, x = carray(a_, (count, n, n)), carray(x_, (count, n, n))
    t = np.empty((n, n), np.complex128)
    for c in range(count if n else 0):
        fill(t, a[c])
        if root_of(t):
            return 1
        fill(x[c], t)
    return 0
