"""The routines of `codegen/library.py` for files that hold a kernel without gradc: loops, and Numba's `np.linalg`."""

from __future__ import annotations

LIBRARY_HELPERS: dict[str, str] = {
    "linalg_lu": '''\
@njit(error_model="numpy")
def linalg_lu(count, n, a, factors, pivots):
    """LU factors with row exchanges, of every matrix of a stack: row k was exchanged with row pivots[k]."""
    f, p = factors.reshape((count, n, n)), pivots.reshape((count, n))
    f[:] = a.reshape((count, n, n))
    for c in range(count):
        for k in range(n):
            at = k
            for i in range(k + 1, n):
                if abs(f[c, i, k]) > abs(f[c, at, k]):
                    at = i
            p[c, k] = at
            for j in range(n):
                f[c, k, j], f[c, at, j] = f[c, at, j], f[c, k, j]
            if f[c, k, k] != 0:
                for i in range(k + 1, n):
                    f[c, i, k] = f[c, i, k] / f[c, k, k]
                    for j in range(k + 1, n):
                        f[c, i, j] -= f[c, i, k] * f[c, k, j]
    return 0
''',
    "linalg_exchange": '''\
@njit
def linalg_exchange(count, n, columns, back, x, pivots, made):
    """Row i exchanged with row pivots[i], for i from the first on, or from the last."""
    y, p = made.reshape((count, n, columns)), pivots.reshape((count, n))
    y[:] = x.reshape((count, n, columns))
    for c in range(count):
        for step in range(n):
            i = n - 1 - step if back else step
            if p[c, i] != i:
                for j in range(columns):
                    y[c, i, j], y[c, p[c, i], j] = y[c, p[c, i], j], y[c, i, j]
    return 0
''',
    "linalg_triangle": '''\
@njit(error_model="numpy")
def linalg_triangle(t, x, lower, trans, unit):
    """Replace x by the solution of t @ x = x, or t.T @ x = x; 1 where there is none. lower: t, or t.T."""
    n = len(x)
    for step in range(n):
        i = step if lower else n - 1 - step
        start, stop = (0, i) if lower else (i + 1, n)
        for k in range(start, stop):
            factor = t[k, i] if trans else t[i, k]
            for j in range(x.shape[1]):
                x[i, j] -= factor * x[k, j]
        if not unit:
            if t[i, i] == 0:
                return 1
            for j in range(x.shape[1]):
                x[i, j] = x[i, j] / t[i, i]
    return 0
''',
    "linalg_lu_solve": '''\
@njit
def linalg_lu_solve(count, n, columns, trans, factors, pivots, b, made):
    """The solutions of linear systems, or of the transposed ones, from LU factors; 1 where there is none."""
    f, x = factors.reshape((count, n, n)), made.reshape((count, n, columns))
    if trans:
        x[:] = b.reshape((count, n, columns))
    else:
        linalg_exchange(count, n, columns, 0, b, pivots, made)
    for c in range(count):
        if linalg_triangle(f[c], x[c], True, trans == 1, trans == 0):
            return 1
        if linalg_triangle(f[c], x[c], False, trans == 1, trans == 1):
            return 1
    if trans:
        linalg_exchange(count, n, columns, 1, x.copy(), pivots, made)
    return 0
''',
    "linalg_solve_triangular": '''\
@njit
def linalg_solve_triangular(count, n, columns, lower, unit, t, b, made):
    """The solutions of triangular systems; 1 where there is none."""
    s, x = t.reshape((count, n, n)), made.reshape((count, n, columns))
    x[:] = b.reshape((count, n, columns))
    for c in range(count):
        if linalg_triangle(s[c], x[c], lower == 1, False, unit == 1):
            return 1
    return 0
''',
    "linalg_cofactors": '''\
@njit
def linalg_cofactors(count, n, a, made):
    """det(a) * inv(a).T for every matrix of a stack, also for singular ones."""
    matrices, y = a.reshape((count, n, n)), made.reshape((count, n, n))
    for c in range(count):
        u, s, vh = np.linalg.svd(matrices[c])
        turn = np.linalg.det(np.ascontiguousarray(u)) * np.linalg.det(np.ascontiguousarray(vh))
        scaled = np.conj(u)
        for k in range(n):
            for j in range(n):
                if j != k:
                    scaled[:, k] *= s[j]
        y[c] = turn * np.dot(np.ascontiguousarray(scaled), np.ascontiguousarray(np.conj(vh)))
    return 0
''',
    "linalg_cholesky": '''\
@njit
def linalg_cholesky(count, n, a, made):
    """The Cholesky factor of every matrix of a stack."""
    matrices, y = a.reshape((count, n, n)), made.reshape((count, n, n))
    for c in range(count):
        y[c] = np.linalg.cholesky(matrices[c])
    return 0
''',
    "linalg_eigh": '''\
@njit
def linalg_eigh(count, n, vectors, a, values, made):
    """Eigenvalues and eigenvectors of every Hermitian matrix of a stack."""
    matrices, w, v = a.reshape((count, n, n)), values.reshape((count, n)), made.reshape((count, n, n))
    for c in range(count):
        w[c], v[c] = np.linalg.eigh(matrices[c])
    return 0
''',
    "linalg_eig": '''\
@njit
def linalg_eig(count, n, vectors, a, values, made):
    """Eigenvalues and eigenvectors of every matrix of a stack."""
    matrices, w, v = a.reshape((count, n, n)), values.reshape((count, n)), made.reshape((count, n, n))
    for c in range(count):
        w[c], v[c] = np.linalg.eig(matrices[c].astype(w.dtype))
    return 0
''',
    "linalg_svd": '''\
@njit
def linalg_svd(count, m, n, vectors, full, a, left, values, right):
    """Singular values and vectors of every matrix of a stack."""
    k = min(m, n)
    p, q = (m, n) if full else (k, k)
    matrices, s = a.reshape((count, m, n)), values.reshape((count, k))
    u, v = left.reshape((count, m, p)), right.reshape((count, q, n))
    for c in range(count):
        u[c], s[c], v[c] = np.linalg.svd(matrices[c], full)
    return 0
''',
    "linalg_qr": '''\
@njit
def linalg_qr(count, m, n, complete, a, orthogonal, triangular):
    """The reduced QR factors of every matrix of a stack."""
    k = min(m, n)
    matrices = a.reshape((count, m, n))
    q, r = orthogonal.reshape((count, m, k)), triangular.reshape((count, k, n))
    for c in range(count):
        q[c], r[c] = np.linalg.qr(matrices[c])
    return 0
''',
}
"""Helpers by name, those that others call after what they call."""
NEEDED: dict[str, tuple[str, ...]] = {
    "linalg_lu_solve": ("linalg_exchange", "linalg_triangle"),
    "linalg_solve_triangular": ("linalg_triangle",),
}
"""What helpers call."""
