"""Adjoints written by hand: the limit to aim for. Numba loops with `np.dot` for products, and NumPy alone.

Each takes the arguments of the workload's loss and returns (value, gradients). Arguments are not changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

NUMBA: dict[str, Callable[..., Any]] = {}
NUMPY: dict[str, Callable[..., Any]] = {}


# --------------------------------------------------------------------------------------------- staged


@njit
def staged(x, y):
    sigy = 1.0 / (1.0 + math.exp(-y))
    num = x + sigy
    sigx = 1.0 / (1.0 + math.exp(-x))
    xpy = x + y
    den = sigx + xpy * xpy
    invden = 1.0 / den
    f = num * invden
    dnum = invden
    dden = -invden * invden * num
    dxpy = 2.0 * xpy * dden
    dx = dnum + dxpy + (1.0 - sigx) * sigx * dden
    dy = dxpy + (1.0 - sigy) * sigy * dnum
    return f, (dx, dy)


NUMBA["staged"] = staged
NUMPY["staged"] = staged.py_func


@njit
def neuron(w, x):
    f = 1.0 / (1.0 + math.exp(-(w[0] * x[0] + w[1] * x[1] + w[2])))
    d = f * (1.0 - f)
    dw = np.empty(3)
    dw[0] = d * x[0]
    dw[1] = d * x[1]
    dw[2] = d
    dx = np.empty(2)
    dx[0] = d * w[0]
    dx[1] = d * w[1]
    return f, (dw, dx)


NUMBA["neuron"] = neuron


@njit
def rosenbrock(x):
    f = 0.0
    dx = np.zeros_like(x)
    for i in range(x.shape[0] - 1):
        t = x[i + 1] - x[i] * x[i]
        u = 1.0 - x[i]
        f += 100.0 * t * t + u * u
        dx[i] += -400.0 * t * x[i] - 2.0 * u
        dx[i + 1] += 200.0 * t
    return f, (dx,)


NUMBA["rosenbrock"] = rosenbrock


@njit
def least_squares(p, t, y):
    f = 0.0
    dp = np.zeros_like(p)
    e = np.empty(5)
    for i in range(t.shape[0]):
        model = 0.0
        for k in range(5):
            e[k] = math.exp(-p[2 * k + 1] * t[i])
            model += p[2 * k] * e[k]
        residual = model - y[i]
        f += residual * residual
        for k in range(5):
            dp[2 * k] += 2.0 * residual * e[k]
            dp[2 * k + 1] -= 2.0 * residual * p[2 * k] * e[k] * t[i]
    return f, (dp,)


NUMBA["least_squares"] = least_squares


# ------------------------------------------------------------------------------------------ jacobi_2d


@njit
def _five_points(out, a):
    n, m = a.shape
    for i in range(1, n - 1):
        for j in range(1, m - 1):
            out[i, j] = 0.2 * (a[i, j] + a[i, j - 1] + a[i, j + 1] + a[i + 1, j] + a[i - 1, j])


@njit
def _five_points_adjoint(dout, da, g):
    """Take the interior of `dout`, zero it, and add it to the five neighbours.

    Gathered from `g`, whose border stays zero: one pass with five loads and a store, where scattering has five stores.
    """
    n, m = da.shape
    for i in range(1, n - 1):
        for j in range(1, m - 1):
            g[i, j] = 0.2 * dout[i, j]
            dout[i, j] = 0.0
    for i in range(1, n - 1):
        da[i, 0] += g[i, 1]
        da[i, m - 1] += g[i, m - 2]
        for j in range(1, m - 1):
            da[i, j] += g[i, j] + g[i, j - 1] + g[i, j + 1] + g[i - 1, j] + g[i + 1, j]
    for j in range(1, m - 1):
        da[0, j] += g[1, j]
        da[n - 1, j] += g[n - 2, j]


@njit
def jacobi_2d(TSTEPS, A, B, RA, RB):
    A = A.copy()
    B = B.copy()
    for _t in range(1, TSTEPS):
        _five_points(B, A)
        _five_points(A, B)
    value = 0.0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            value += RA[i, j] * A[i, j] + RB[i, j] * B[i, j]
    dA = RA.copy()
    dB = RB.copy()
    g = np.zeros_like(A)
    for _t in range(1, TSTEPS):
        _five_points_adjoint(dA, dB, g)
        _five_points_adjoint(dB, dA, g)
    return value, (dA, dB)


NUMBA["jacobi_2d"] = jacobi_2d


# ------------------------------------------------------------------------------------------ seidel_2d


@njit
def seidel_2d(TSTEPS, N, A, R):
    A = A.copy()
    for _t in range(TSTEPS - 1):
        for i in range(1, N - 1):
            for j in range(1, N - 1):
                A[i, j] += (
                    A[i - 1, j - 1] + A[i - 1, j] + A[i - 1, j + 1] + A[i, j + 1]
                    + A[i + 1, j - 1] + A[i + 1, j] + A[i + 1, j + 1]
                )  # fmt: skip
            for j in range(1, N - 1):
                A[i, j] = (A[i, j] + A[i, j - 1]) / 9.0
    value = 0.0
    for i in range(N):
        for j in range(N):
            value += R[i, j] * A[i, j]
    d = R.copy()
    for _t in range(TSTEPS - 1):
        for i in range(N - 2, 0, -1):
            for j in range(N - 2, 0, -1):
                d[i, j] /= 9.0
                d[i, j - 1] += d[i, j]
            for j in range(1, N - 1):
                d[i - 1, j - 1] += d[i, j]
            for j in range(1, N - 1):
                d[i - 1, j] += d[i, j]
            for j in range(1, N - 1):
                d[i - 1, j + 1] += d[i, j]
            for j in range(1, N - 1):
                d[i + 1, j - 1] += d[i, j]
            for j in range(1, N - 1):
                d[i + 1, j] += d[i, j]
            for j in range(1, N - 1):
                d[i + 1, j + 1] += d[i, j]
            for j in range(N - 2, 0, -1):
                d[i, j + 1] += d[i, j]
    return value, (d,)


NUMBA["seidel_2d"] = seidel_2d


# ------------------------------------------------------------------------------------------- cholesky


@njit
def cholesky(A, R):
    """Rows backwards; every entry of L is final when it is read, so nothing is taped (cf. Murray 2016, level 1)."""
    L = A.copy()
    n = L.shape[0]
    for i in range(n):
        for j in range(i):
            L[i, j] = (L[i, j] - np.dot(L[i, :j], L[j, :j])) / L[j, j]
        L[i, i] = math.sqrt(L[i, i] - np.dot(L[i, :i], L[i, :i]))
    value = 0.0
    for i in range(n):
        for j in range(n):
            value += R[i, j] * L[i, j]
    d = R.copy()
    for i in range(n - 1, -1, -1):
        ds = 0.5 * d[i, i] / L[i, i]
        d[i, i] = ds
        for k in range(i):
            d[i, k] -= 2.0 * ds * L[i, k]
        for j in range(i - 1, -1, -1):
            dt = d[i, j] / L[j, j]
            d[i, j] = dt
            d[j, j] -= dt * L[i, j]
            for k in range(j):
                d[i, k] -= dt * L[j, k]
            for k in range(j):
                d[j, k] -= dt * L[i, k]
    return value, (d,)


NUMBA["cholesky"] = cholesky


# ------------------------------------------------------------------------------------------------ mlp


@njit
def _bias_relu(h, b):
    n, m = h.shape
    for i in range(n):
        for j in range(m):
            v = h[i, j] + b[j]
            h[i, j] = v if v > 0 else h.dtype.type(0)


@njit
def _mask_and_sum(dh, h, db):
    """dh := dh where the unit was on; db: its sum over the batch."""
    n, m = h.shape
    for j in range(m):
        db[j] = 0
    for i in range(n):
        for j in range(m):
            v = dh[i, j] if h[i, j] > 0 else dh.dtype.type(0)
            dh[i, j] = v
            db[j] += v


@njit
def _mlp(W1, b1, W2, b2, W3, b3, x, labels):
    n = x.shape[0]
    h1 = np.dot(x, W1)
    _bias_relu(h1, b1)
    h2 = np.dot(h1, W2)
    _bias_relu(h2, b2)
    z = np.dot(h2, W3)
    m = z.shape[1]
    loss = 0.0
    scale = 1.0 / n
    db3 = np.zeros_like(b3)
    for i in range(n):
        largest = -np.inf
        for j in range(m):
            z[i, j] += b3[j]
            largest = max(largest, z[i, j])
        total = 0.0
        for j in range(m):
            total += math.exp(z[i, j] - largest)
        loss -= z[i, labels[i]] - largest - math.log(total)
        for j in range(m):
            p = math.exp(z[i, j] - largest) / total
            if j == labels[i]:
                p -= 1.0
            z[i, j] = p * scale
            db3[j] += z[i, j]
    dW3 = np.dot(h2.T, z)
    dh2 = np.dot(z, W3.T)
    db2 = np.empty_like(b2)
    _mask_and_sum(dh2, h2, db2)
    dW2 = np.dot(h1.T, dh2)
    dh1 = np.dot(dh2, W2.T)
    db1 = np.empty_like(b1)
    _mask_and_sum(dh1, h1, db1)
    dW1 = np.dot(x.T, dh1)
    return loss * scale, dW1, db1, dW2, db2, dW3, db3


def mlp(p, x, labels):
    """Gradients in the parameters only."""
    loss, dW1, db1, dW2, db2, dW3, db3 = _mlp(p["W1"], p["b1"], p["W2"], p["b2"], p["W3"], p["b3"], x, labels)
    return loss, ({"W1": dW1, "b1": db1, "W2": dW2, "b2": db2, "W3": dW3, "b3": db3},)


NUMBA["mlp"] = mlp


def mlp_numpy(p, x, labels):
    """What a NumPy user writes."""
    h1 = np.maximum(x @ p["W1"] + p["b1"], 0)
    h2 = np.maximum(h1 @ p["W2"] + p["b2"], 0)
    z = h2 @ p["W3"] + p["b3"]
    z -= z.max(axis=1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.mean(z[rows, labels] - np.log(total[:, 0]))
    dz = e / total
    dz[rows, labels] -= 1
    dz /= len(labels)
    dh2 = dz @ p["W3"].T
    dh2[h2 <= 0] = 0
    dh1 = dh2 @ p["W2"].T
    dh1[h1 <= 0] = 0
    gradients = {"W1": x.T @ dh1, "b1": dh1.sum(axis=0), "W2": h1.T @ dh2, "b2": dh2.sum(axis=0),
                 "W3": h2.T @ dz, "b3": dz.sum(axis=0)}  # fmt: skip
    return loss, (gradients,)


NUMPY["mlp"] = mlp_numpy


# ------------------------------------------------------------------------------------------------ gmm


@njit
def gmm(alphas, means, icf, x, gamma, m):
    """One pass over the points: responsibilities, then their pull on every parameter."""
    n, d = x.shape
    K = alphas.shape[0]
    Qdiags = np.exp(icf[:, :d])
    sum_qs = np.zeros(K)
    for k in range(K):
        for i in range(d):
            sum_qs[k] += icf[k, i]
    dalphas = np.zeros(K)
    dsum_qs = np.zeros(K)
    dmeans = np.zeros_like(means)
    dicf = np.zeros_like(icf)
    dx = np.zeros_like(x)
    xc = np.empty((K, d))
    Qxc = np.empty((K, d))
    dxc = np.empty(d)
    main_term = np.empty(K)
    slse = 0.0
    for ix in range(n):
        for k in range(K):
            for i in range(d):
                xc[k, i] = x[ix, i] - means[k, i]
                Qxc[k, i] = Qdiags[k, i] * xc[k, i]
            pos = d
            for i in range(d):
                for j in range(i + 1, d):
                    Qxc[k, j] += icf[k, pos + j - i - 1] * xc[k, i]
                pos += d - i - 1
            norm2 = 0.0
            for i in range(d):
                norm2 += Qxc[k, i] * Qxc[k, i]
            main_term[k] = alphas[k] + sum_qs[k] - 0.5 * norm2
        largest = np.max(main_term)
        total = 0.0
        for k in range(K):
            main_term[k] = math.exp(main_term[k] - largest)
            total += main_term[k]
        slse += largest + math.log(total)
        for k in range(K):
            w = main_term[k] / total
            dalphas[k] += w
            dsum_qs[k] += w
            for i in range(d):
                Qxc[k, i] *= -w
            pos = d
            for i in range(d):
                s = Qdiags[k, i] * Qxc[k, i]
                dicf[k, i] += Qxc[k, i] * xc[k, i] * Qdiags[k, i]
                for j in range(i + 1, d):
                    at = pos + j - i - 1
                    dicf[k, at] += Qxc[k, j] * xc[k, i]
                    s += icf[k, at] * Qxc[k, j]
                dxc[i] = s
                pos += d - i - 1
            for i in range(d):
                dx[ix, i] += dxc[i]
                dmeans[k, i] -= dxc[i]
    largest = np.max(alphas)
    total = 0.0
    for k in range(K):
        total += math.exp(alphas[k] - largest)
    lse_alphas = largest + math.log(total)
    for k in range(K):
        dalphas[k] -= n * math.exp(alphas[k] - lse_alphas)

    wishart_n = d + m + 1
    log_gamma = 0.25 * d * (d - 1) * math.log(math.pi)
    for j in range(1, d + 1):
        log_gamma += math.lgamma(0.5 * wishart_n + 0.5 * (1 - j))
    C = wishart_n * d * (math.log(gamma) - 0.5 * math.log(2)) - log_gamma
    prior = 0.0
    squares = 0.0
    for k in range(K):
        for i in range(d):
            squares += Qdiags[k, i] * Qdiags[k, i]
            dicf[k, i] += gamma * gamma * Qdiags[k, i] * Qdiags[k, i] + dsum_qs[k] - m
        for i in range(d, icf.shape[1]):
            squares += icf[k, i] * icf[k, i]
            dicf[k, i] += gamma * gamma * icf[k, i]
        prior -= m * sum_qs[k]
    prior += 0.5 * gamma * gamma * squares
    dgamma = gamma * squares - K * wishart_n * d / gamma
    value = -n * d * 0.5 * math.log(2 * math.pi) + slse - n * lse_alphas + prior - K * C
    return value, (dalphas, dmeans, dicf, dx, dgamma)


NUMBA["gmm"] = NUMBA["gmm_vectorised"] = gmm
