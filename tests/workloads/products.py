"""Array programs made of products (class B)."""

from __future__ import annotations

import numpy as np

from tests.workloads.entry import workload


def gemver(alpha, beta, A, u1, v1, u2, v2, w, x, y, z):
    """PolyBench gemver: two rank-one updates, then two matrix-vector products, all into arguments."""
    A += np.outer(u1, v1) + np.outer(u2, v2)
    x += beta * y @ A + z
    w += alpha * A @ x


def make_gemver(rng, n):
    scale = n**-0.5
    vectors = [rng.standard_normal(n) for _ in range(8)]
    return (
        1.5,
        1.2,
        scale * rng.standard_normal((n, n)),
        *(v * scale for v in vectors[:4]),
        *vectors[4:],
        rng.standard_normal((n, n)),
        rng.standard_normal(n),
        rng.standard_normal(n),
    )


@workload("gemver", "B", make_gemver, tuple(range(11)), ((4,), (7,), (19,)), {"S": (1000,), "M": (3000,)})
def gemver_loss(alpha, beta, A, u1, v1, u2, v2, w, x, y, z, RA, Rw, Rx):
    gemver(alpha, beta, A, u1, v1, u2, v2, w, x, y, z)
    return np.sum(RA * A) + np.sum(Rw * w) + np.sum(Rx * x)


def k2mm(alpha, beta, A, B, C, D):
    """PolyBench 2mm: D := alpha A B C + beta D."""
    D[:] = alpha * A @ B @ C + beta * D


def make_k2mm(rng, ni, nj, nk, nl):
    return (
        1.5,
        1.2,
        rng.standard_normal((ni, nk)) * nk**-0.5,
        rng.standard_normal((nk, nj)) * nj**-0.5,
        rng.standard_normal((nj, nl)),
        rng.standard_normal((ni, nl)),
        rng.standard_normal((ni, nl)),
    )


@workload(
    "k2mm", "B", make_k2mm, tuple(range(6)), ((2, 3, 4, 5), (5, 4, 6, 3), (16, 18, 22, 24)), {"S": (800, 850, 900, 950)}
)
def k2mm_loss(alpha, beta, A, B, C, D, RD):
    k2mm(alpha, beta, A, B, C, D)
    return np.sum(RD * D)


def doitgen(NR, NQ, NP, A, C4):
    """PolyBench doitgen: A[r, q, :] := A[r, q, :] @ C4, by a batched product."""
    A[:] = np.reshape(np.reshape(A, (NR, NQ, 1, NP)) @ C4, (NR, NQ, NP))


def make_doitgen(rng, nr, nq, n):
    return (
        nr,
        nq,
        n,
        rng.standard_normal((nr, nq, n)),
        rng.standard_normal((n, n)) * n**-0.5,
        rng.standard_normal((nr, nq, n)),
    )


@workload(
    "doitgen",
    "B",
    make_doitgen,
    (3, 4),
    ((2, 3, 4), (4, 5, 3), (10, 8, 12)),
    {"S": (60, 60, 128), "M": (110, 125, 256)},
)
def doitgen_loss(NR, NQ, NP, A, C4, RA):
    doitgen(NR, NQ, NP, A, C4)
    return np.sum(RA * A)


def correlation(M, float_n, data):
    """PolyBench correlation: standardise the columns in place, then the upper triangle, mirrored."""
    mean = np.mean(data, axis=0)
    stddev = np.std(data, axis=0)
    stddev[stddev <= 0.1] = 1.0
    data -= mean
    data /= np.sqrt(float_n) * stddev
    corr = np.eye(M, dtype=data.dtype)
    for i in range(M - 1):
        corr[i + 1 : M, i] = corr[i, i + 1 : M] = data[:, i] @ data[:, i + 1 : M]
    return corr


def make_correlation(rng, m, n):
    data = rng.standard_normal((n, m))
    data[:, 0] = 0.01 * data[:, 0]  # one column under the threshold
    return m, float(n), data, rng.standard_normal((n, m)), rng.standard_normal((m, m))


@workload(
    "correlation", "B", make_correlation, (1, 2), ((3, 5), (4, 6), (11, 17)), {"S": (500, 600), "M": (1400, 1800)}
)
def correlation_loss(M, float_n, data, Rdata, Rcorr):
    corr = correlation(M, float_n, data)
    return np.sum(Rcorr * corr) + np.sum(Rdata * data)
