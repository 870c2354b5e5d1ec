"""Array programs made of scalar recurrences and triangular loops (class L)."""

from __future__ import annotations

import numpy as np

from tests.workloads.entry import workload


def durbin(r):
    """PolyBench durbin: Levinson's recursion for a Toeplitz system."""
    y = np.empty_like(r)
    alpha = -r[0]
    beta = 1.0
    y[0] = -r[0]
    for k in range(1, r.shape[0]):
        beta *= 1.0 - alpha * alpha
        alpha = -(r[k] + np.dot(np.flip(r[:k]), y[:k])) / beta
        y[:k] += alpha * np.flip(y[:k])
        y[k] = alpha
    return y


def make_durbin(rng, n):
    return 0.3 * rng.standard_normal(n) / np.arange(1, n + 1) ** 1.5, rng.standard_normal(n)


@workload("durbin", "L", make_durbin, (0,), ((3,), (6,), (25,)), {"S": (1000,), "M": (6000,)})
def durbin_loss(r, R):
    return np.sum(R * durbin(r))


def cholesky(A):
    """PolyBench cholesky: the lower triangle, in place, row by row."""
    A[0, 0] = np.sqrt(A[0, 0])
    for i in range(1, A.shape[0]):
        for j in range(i):
            A[i, j] -= np.dot(A[i, :j], A[j, :j])
            A[i, j] /= A[j, j]
        A[i, i] -= np.dot(A[i, :i], A[i, :i])
        A[i, i] = np.sqrt(A[i, i])


def make_cholesky(rng, n):
    B = rng.standard_normal((n, n))
    return B @ B.T / n + 2.0 * np.eye(n), rng.standard_normal((n, n))


@workload("cholesky", "L", make_cholesky, (0,), ((2,), (5,), (17,)), {"S": (100,), "M": (300,)})
def cholesky_loss(A, R):
    cholesky(A)
    return np.sum(R * A)


def syrk(alpha, beta, C, A):
    """PolyBench syrk: the lower triangle of C := alpha A A' + beta C."""
    for i in range(A.shape[0]):
        C[i, : i + 1] *= beta
        for k in range(A.shape[1]):
            C[i, : i + 1] += alpha * A[i, k] * A[: i + 1, k]


def make_syrk(rng, m, n):
    return 1.5, 1.2, rng.standard_normal((n, n)), rng.standard_normal((n, m)), rng.standard_normal((n, n))


@workload("syrk", "L", make_syrk, (0, 1, 2, 3), ((2, 3), (4, 5), (12, 15)), {"S": (50, 70), "M": (150, 200)})
def syrk_loss(alpha, beta, C, A, RC):
    syrk(alpha, beta, C, A)
    return np.sum(RC * C)


def symm(alpha, beta, C, A, B):
    """PolyBench symm: C := alpha A B + beta C, A symmetric and only its lower triangle read."""
    temp2 = np.empty((C.shape[1],), dtype=C.dtype)
    C *= beta
    for i in range(C.shape[0]):
        for j in range(C.shape[1]):
            C[:i, j] += alpha * B[i, j] * A[i, :i]
            temp2[j] = B[:i, j] @ A[i, :i]
        C[i, :] += alpha * B[i, :] * A[i, i] + alpha * temp2


def make_symm(rng, m, n):
    return (
        1.5,
        1.2,
        rng.standard_normal((m, n)),
        rng.standard_normal((m, m)),
        rng.standard_normal((m, n)),
        rng.standard_normal((m, n)),
    )


@workload("symm", "L", make_symm, (0, 1, 2, 3, 4), ((2, 3), (5, 4), (13, 11)), {"S": (40, 50), "M": (120, 150)})
def symm_loss(alpha, beta, C, A, B, RC):
    symm(alpha, beta, C, A, B)
    return np.sum(RC * C)


def gramschmidt(A):
    """PolyBench gramschmidt: modified, by columns; A is overwritten."""
    Q = np.zeros_like(A)
    R = np.zeros((A.shape[1], A.shape[1]), dtype=A.dtype)
    for k in range(A.shape[1]):
        nrm = np.dot(A[:, k], A[:, k])
        R[k, k] = np.sqrt(nrm)
        Q[:, k] = A[:, k] / R[k, k]
        for j in range(k + 1, A.shape[1]):
            R[k, j] = np.dot(Q[:, k], A[:, j])
            A[:, j] -= Q[:, k] * R[k, j]
    return Q, R


def make_gramschmidt(rng, m, n):
    A = rng.standard_normal((m, n)) + 2.0 * np.eye(m, n)
    return A, rng.standard_normal((m, n)), rng.standard_normal((m, n)), rng.standard_normal((n, n))


@workload("gramschmidt", "L", make_gramschmidt, (0,), ((3, 2), (6, 4), (19, 12)), {"S": (70, 60), "M": (220, 180)})
def gramschmidt_loss(A, RA, RQ, RR):
    Q, R = gramschmidt(A)
    return np.sum(RA * A) + np.sum(RQ * Q) + np.sum(RR * R)


def deriche(alpha, img):
    """PolyBench deriche: Deriche's recursive edge detector, along rows and then along columns."""
    k = (1.0 - np.exp(-alpha)) * (1.0 - np.exp(-alpha)) / (1.0 + alpha * np.exp(-alpha) * 2.0 - np.exp(2.0 * alpha))
    a1 = a5 = k
    a2 = a6 = k * np.exp(-alpha) * (alpha - 1.0)
    a3 = a7 = k * np.exp(-alpha) * (alpha + 1.0)
    a4 = a8 = -k * np.exp(-2.0 * alpha)
    b1 = 2.0 ** (-alpha)
    b2 = -np.exp(-2.0 * alpha)
    c1 = c2 = 1

    y1 = np.empty_like(img)
    y1[:, 0] = a1 * img[:, 0]
    y1[:, 1] = a1 * img[:, 1] + a2 * img[:, 0] + b1 * y1[:, 0]
    for j in range(2, img.shape[1]):
        y1[:, j] = a1 * img[:, j] + a2 * img[:, j - 1] + b1 * y1[:, j - 1] + b2 * y1[:, j - 2]
    y2 = np.empty_like(img)
    y2[:, -1] = 0.0
    y2[:, -2] = a3 * img[:, -1]
    for j in range(img.shape[1] - 3, -1, -1):
        y2[:, j] = a3 * img[:, j + 1] + a4 * img[:, j + 2] + b1 * y2[:, j + 1] + b2 * y2[:, j + 2]
    out = c1 * (y1 + y2)

    y1[0, :] = a5 * out[0, :]
    y1[1, :] = a5 * out[1, :] + a6 * out[0, :] + b1 * y1[0, :]
    for i in range(2, img.shape[0]):
        y1[i, :] = a5 * out[i, :] + a6 * out[i - 1, :] + b1 * y1[i - 1, :] + b2 * y1[i - 2, :]
    y2[-1, :] = 0.0
    y2[-2, :] = a7 * out[-1, :]
    for i in range(img.shape[0] - 3, -1, -1):
        y2[i, :] = a7 * out[i + 1, :] + a8 * out[i + 2, :] + b1 * y2[i + 1, :] + b2 * y2[i + 2, :]
    out[:] = c2 * (y1 + y2)
    return out


def make_deriche(rng, w, h):
    return 0.25, rng.random((w, h)), rng.standard_normal((w, h))


@workload("deriche", "L", make_deriche, (0, 1), ((3, 4), (6, 5), (21, 17)), {"S": (400, 200), "M": (1500, 1000)})
def deriche_loss(alpha, img, R):
    return np.sum(R * deriche(alpha, img))
