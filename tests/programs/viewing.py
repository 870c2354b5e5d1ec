"""Which calls give a view and which a copy: a write to either side shows it."""

from __future__ import annotations

import numpy as np

from tests.programs.entry import fortran, program, signed


@program((signed(3, 3),))
def diag_is_taken_after_the_write(A):
    B = A.copy()
    for i in range(3):
        d = np.diag(B)
        s = np.sum(d**2)
        B[i, i] = 5.0 * A[0, 1] * s
    e = np.diagonal(B)
    g = B.diagonal().copy()
    return np.sum(e**3) + np.sum(g)


@program((signed(3),))
def diag_of_a_vector_is_a_copy(x):
    y = x.copy()
    D = np.diag(y)
    y[1] = 7.0
    D[0, 0] *= 2.0
    return np.sum(D * D) + np.sum(y)


@program((signed(2, 3), signed(6, seed=1)), (signed(1, 3), signed(3, seed=1)))
def ravel_reshape_flatten(A, w):
    B = A.copy()
    r = B.ravel()
    s = B.reshape(-1)
    t = np.ravel(B)
    c = B.flatten()
    r[1] = 4.0 * A[0, 0]
    s[2] *= t[1]
    return np.sum(B**2) + np.sum(w * (r * s + t * c))


@program((signed(2, 3), signed(6, seed=1)))
def ravel_of_a_transpose_is_a_copy(A, w):
    B = A.copy()
    r = B.T.ravel()
    B[0, 1] = 5.0
    r[0] *= 2.0
    return np.sum(r * w) + np.sum(B)


@program((fortran(2, 3), signed(6, seed=1)))
def ravel_of_fortran_is_a_copy(A, w):
    r = np.ravel(A)
    s = A.reshape(3, 2)
    A[0, 1] = 5.0
    r[0] *= 2.0
    s[1] *= 3.0
    return np.sum(r * w) + np.sum(A) + np.sum(s**2)


@program((signed(4),))
def asarray_is_the_same_array(x):
    y = np.asarray(x)
    z = np.ascontiguousarray(x)
    c = np.array(x)
    y[0] = 3.0 * x[1]
    z[2] *= y[0]
    return np.sum(x**2) + np.sum(c * x)


@program((signed(4),))
def astype_is_a_copy(x):
    y = x.astype(float)
    y[0] = 3.0
    z = x.astype(np.float64, copy=False)
    z[1] *= 2.0
    return np.sum(x**2) + np.sum(y * x)


@program((signed(2, 1, 3),))
def squeeze_and_expand(A):
    B = A * 1.0
    S = B.squeeze(1)
    E = np.expand_dims(S, 0)
    T = np.atleast_2d(B[0, 0])
    S[0, 1] = 4.0 * A[1, 0, 2]
    E[0, 1] *= 2.0
    T[0, 2] = E[0, 1, 1] * S[0, 1]
    return np.sum(B**2)


@program((signed(2, 3, 4),))
def axes_are_views(A):
    B = A.copy()
    M = np.moveaxis(B, 0, 2)
    W = B.swapaxes(0, 1)
    P = np.transpose(B, (2, 0, 1))
    M[1, 2, 0] = 3.0
    W[0, 1, 1] *= M[0, 0, 1]
    P[3, 1] += W[:, 0, 2]
    return np.sum(B**3)


@program((signed(3, 4),))
def flips_are_views(A):
    B = A.copy()
    U = np.flipud(B)
    L = np.fliplr(B)
    F = np.flip(B)
    U[0] *= 2.0
    L[1, 0] = U[0, 1]
    F[0, 0] += L[1, 0] ** 2
    return np.sum(B**2)


@program((signed(6),))
def splits_are_views(x):
    y = x.copy()
    a, b, c = np.split(y, 3)
    p, q = np.split(y, [3])
    a[0] = b[1] * c[0]
    p[2] *= q[0]
    return np.sum(y**2)


@program((signed(4),))
def functions_that_copy(x):
    y = x.copy()
    parts = (np.roll(y, 1), np.concatenate((y,)), np.tile(y, 1), np.triu(y.reshape(2, 2)).ravel(), np.stack((y, y))[0],
             +y, np.where(True, y, 0.0), y[[0, 1, 2, 3]], y[y < 100.0], np.repeat(y, 1), np.clip(y, -9, 9))  # fmt: skip
    y[:] = 0.0
    total = 0.0
    for k, part in enumerate(parts):
        total += (k + 1) * np.sum(part**2)
    return total


@program((signed(4),))
def real_part_is_the_array(x):
    y = x.copy()
    r = y.real
    n = np.real(y)
    y[0] = 5.0 * y[1]
    r[2] *= 2.0
    return np.sum(r * x) + np.sum(n**2)


@program((signed(3),))
def broadcast_after_the_write(x):
    y = x.copy()
    y[1] = 2.0 * x[0]
    B = np.broadcast_to(y, (2, 3))
    return np.sum(B * B[0] ** 2)


@program((signed(3, 3),))
def whole_slices_are_views(A):
    B = A.copy()
    C = B[:]
    D = B[...]
    E = B[()]
    C[0] *= 2.0
    D[1] *= C[0]
    E[2] += D[1]
    return np.sum(B**2)


@program((signed(3, 4),))
def elements_are_copies(A):
    B = A.copy()
    e = B[0, 1]
    row = B[1]
    x = row[2]
    B[0, 1] = 9.0
    row[2] *= 3.0
    return e * x * B[1, 2] + np.sum(B)


@program((signed(3, 4),))
def gathered_rows_are_copies(A):
    B = A.copy()
    R = B[[0, 2]]
    K = B[np.array([True, False, True])]
    R[0] = 3.0
    K *= 2.0
    B[2, 1] = R[1, 1] * K[1, 1]
    return np.sum(B**2) + np.sum(R) + np.sum(K**2)


@program((signed(5),))
def out_arguments(x):
    y = x.copy()
    z = np.empty(5)
    np.multiply(x, 2.0, out=z)
    np.add(z[1:], y[:-1], out=y[1:])
    np.sin(y, out=y)
    r = np.maximum(y, 0.1, out=z)
    r[0] = 3.0 * y[0]
    return np.sum(z * x)


@program((signed(3, 3), signed(3, seed=1)))
def augmented_with_overlap(A, x):
    B = A.copy()
    B[1:] += B[:-1]
    B[:, 0] *= B[:, 1]
    B.T[2] -= B[2]
    B += B[0]
    return np.sum(B @ x)


# NumPy's views that gradc has as copies: refused where a later write would show the difference.


@program((signed(3, 3),), refused=True)
def diag_sees_a_later_write(A):
    B = A.copy()
    d = np.diag(B)
    B[1, 1] = 5.0 * A[0, 1]
    return np.sum(d**2)


@program((signed(3, 3),), refused=True)
def diagonal_sees_the_write_of_the_next_trip(A):
    B = A.copy()
    d = B.diagonal()
    total = 0.0
    for i in range(3):
        total += d[0] * (i + 1)
        B[0, 0] *= 2.0
    return total


@program((signed(3),), refused=True)
def broadcast_sees_a_later_write(x):
    y = x.copy()
    B = np.broadcast_to(y, (2, 3))
    y[1] = 2.0 * x[0]
    return np.sum(B * B[0] ** 2)
