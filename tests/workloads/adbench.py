"""ADBench's Gaussian mixture and LSTM objectives (class A), as loops and as array expressions."""

from __future__ import annotations

import math

import numpy as np

from tests.workloads.entry import workload


def log_gamma_distrib(a, p):
    """Logarithm of the multivariate gamma function."""
    out = 0.25 * p * (p - 1) * math.log(math.pi)
    for j in range(1, p + 1):
        out += math.lgamma(a + 0.5 * (1 - j))
    return out


def logsumexp(x):
    largest = np.max(x)
    return largest + np.log(np.sum(np.exp(x - largest)))


def gmm_loops(alphas, means, icf, x, gamma, m):
    """Log posterior of a Gaussian mixture with a Wishart prior, one number at a time.

    alphas (K,), means (K, d), icf (K, d (d + 1) / 2): logarithms of the diagonals of inverse Cholesky factors, then the
    strict lower triangle by columns; x (n, d). Source: Srajer, Kukelova, Fitzgibbon, ADBench (2018).
    """
    n, d = x.shape
    K = alphas.shape[0]
    Qdiags = np.empty((K, d), dtype=x.dtype)
    sum_qs = np.zeros(K, dtype=x.dtype)
    for k in range(K):
        for i in range(d):
            sum_qs[k] += icf[k, i]
            Qdiags[k, i] = np.exp(icf[k, i])
    main_term = np.empty(K, dtype=x.dtype)
    xcentered = np.empty(d, dtype=x.dtype)
    Qxcentered = np.empty(d, dtype=x.dtype)
    slse = 0.0
    for ix in range(n):
        for k in range(K):
            for i in range(d):
                xcentered[i] = x[ix, i] - means[k, i]
            for i in range(d):
                Qxcentered[i] = Qdiags[k, i] * xcentered[i]
            pos = d
            for i in range(d):
                for j in range(i + 1, d):
                    Qxcentered[j] += icf[k, pos] * xcentered[i]
                    pos += 1
            norm2 = 0.0
            for i in range(d):
                norm2 += Qxcentered[i] * Qxcentered[i]
            main_term[k] = alphas[k] + sum_qs[k] - 0.5 * norm2
        largest = main_term[0]
        for k in range(1, K):
            if main_term[k] > largest:
                largest = main_term[k]
        total = 0.0
        for k in range(K):
            total += np.exp(main_term[k] - largest)
        slse += largest + np.log(total)
    lse_alphas = logsumexp(alphas)
    const = -n * d * 0.5 * math.log(2 * math.pi)

    wishart_n = d + m + 1
    C = wishart_n * d * (np.log(gamma) - 0.5 * math.log(2)) - log_gamma_distrib(0.5 * wishart_n, d)
    prior = 0.0
    for k in range(K):
        frobenius = 0.0
        for i in range(d):
            frobenius += Qdiags[k, i] * Qdiags[k, i]
        for i in range(d, icf.shape[1]):
            frobenius += icf[k, i] * icf[k, i]
        prior += 0.5 * gamma * gamma * frobenius - m * sum_qs[k]
    return const + slse - n * lse_alphas + prior - K * C


def gmm_vectorised(alphas, means, icf, x, gamma, m):
    """The same value from array expressions."""
    n, d = x.shape
    K = alphas.shape[0]
    Qdiags = np.exp(icf[:, :d])
    sum_qs = np.sum(icf[:, :d], axis=1)
    L = np.zeros((K, d, d), dtype=x.dtype)
    pos = d
    for i in range(d):
        L[:, i + 1 :, i] = icf[:, pos : pos + d - i - 1]
        pos += d - i - 1
    xc = x[None, :, :] - means[:, None, :]
    Qxc = Qdiags[:, None, :] * xc + xc @ np.swapaxes(L, 1, 2)
    main_term = alphas[:, None] + sum_qs[:, None] - 0.5 * np.sum(Qxc**2, axis=2)
    largest = np.max(main_term, axis=0)
    slse = np.sum(largest + np.log(np.sum(np.exp(main_term - largest), axis=0)))
    const = -n * d * 0.5 * math.log(2 * math.pi)
    wishart_n = d + m + 1
    C = wishart_n * d * (np.log(gamma) - 0.5 * math.log(2)) - log_gamma_distrib(0.5 * wishart_n, d)
    prior = 0.5 * gamma**2 * (np.sum(Qdiags**2) + np.sum(icf[:, d:] ** 2)) - m * np.sum(sum_qs)
    return const + slse - n * logsumexp(alphas) + prior - K * C


def make_gmm(rng, d, K, n):
    return (
        rng.standard_normal(K),
        rng.random((K, d)),
        0.5 * rng.standard_normal((K, d * (d + 1) // 2)),
        rng.standard_normal((n, d)),
        1.0,
        2,
    )


GMM_TESTS = ((2, 2, 3), (3, 4, 5), (5, 6, 15))
GMM_BENCH = {"d2 K5": (2, 5, 1000), "d10 K25": (10, 25, 1000), "d20 K50": (20, 50, 1000), "d64 K25": (64, 25, 1000)}

workload("gmm", "A", make_gmm, (0, 1, 2, 3, 4), GMM_TESTS, GMM_BENCH)(gmm_loops)
workload("gmm_vectorised", "A", make_gmm, (0, 1, 2, 3, 4), GMM_TESTS, GMM_BENCH)(gmm_vectorised)


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def lstm_layer(weight, bias, hidden, cell, x):
    """One layer's step with ADBench's elementwise gates: the new hidden and cell."""
    forget = sigmoid(x * weight[0] + bias[0])
    ingate = sigmoid(hidden * weight[1] + bias[1])
    outgate = sigmoid(x * weight[2] + bias[2])
    change = np.tanh(hidden * weight[3] + bias[3])
    cell = cell * forget + ingate * change
    hidden = outgate * np.tanh(cell)
    return hidden, cell


def lstm_rows(main_params, extra_params, state, sequence):
    """Mean log likelihood of a sequence under a stacked LSTM.

    main_params (2 l, 4, b): weights and biases of each layer; extra_params (3, b); state (2 l, b): hidden and cell of
    each layer, overwritten; sequence (c, b). Source: ADBench (2018).
    """
    layers = state.shape[0] // 2
    c, b = sequence.shape
    total = 0.0
    for t in range(c - 1):
        x = sequence[t] * extra_params[0]
        for i in range(0, 2 * layers, 2):
            state[i], state[i + 1] = lstm_layer(main_params[i], main_params[i + 1], state[i], state[i + 1], x)
            x = state[i]
        ypred = x * extra_params[1] + extra_params[2]
        ynorm = ypred - np.log(np.sum(np.exp(ypred)) + 2.0)
        total += np.sum(sequence[t + 1] * ynorm)
    return -total / ((c - 1) * b)


def scalar_sigmoid(z):
    return 1.0 / (1.0 + math.exp(-z))


def lstm_loops(main_params, extra_params, state, sequence):
    """The same value, one number at a time."""
    layers = state.shape[0] // 2
    c, b = sequence.shape
    x = np.empty(b, dtype=sequence.dtype)
    ypred = np.empty(b, dtype=sequence.dtype)
    total = 0.0
    for t in range(c - 1):
        for j in range(b):
            x[j] = sequence[t, j] * extra_params[0, j]
        for i in range(layers):
            for j in range(b):
                hidden = state[2 * i, j]
                forget = scalar_sigmoid(x[j] * main_params[2 * i, 0, j] + main_params[2 * i + 1, 0, j])
                ingate = scalar_sigmoid(hidden * main_params[2 * i, 1, j] + main_params[2 * i + 1, 1, j])
                outgate = scalar_sigmoid(x[j] * main_params[2 * i, 2, j] + main_params[2 * i + 1, 2, j])
                change = math.tanh(hidden * main_params[2 * i, 3, j] + main_params[2 * i + 1, 3, j])
                state[2 * i + 1, j] = state[2 * i + 1, j] * forget + ingate * change
                state[2 * i, j] = outgate * math.tanh(state[2 * i + 1, j])
                x[j] = state[2 * i, j]
        lse = 2.0
        for j in range(b):
            ypred[j] = x[j] * extra_params[1, j] + extra_params[2, j]
            lse += math.exp(ypred[j])
        lse = math.log(lse)
        for j in range(b):
            total += sequence[t + 1, j] * (ypred[j] - lse)
    return -total / ((c - 1) * b)


def make_lstm(rng, layers, c, b):
    return (
        rng.standard_normal((2 * layers, 4, b)),
        rng.standard_normal((3, b)),
        rng.standard_normal((2 * layers, b)),
        (rng.random((c, b)) > 0.5).astype(float),
    )


LSTM_TESTS = ((1, 3, 2), (2, 4, 5), (2, 7, 6))
LSTM_BENCH = {"l2 c1024": (2, 1024, 14), "l4 c1024": (4, 1024, 14)}

workload("lstm", "A", make_lstm, (0, 1, 2, 3), LSTM_TESTS, LSTM_BENCH)(lstm_loops)
workload("lstm_rows", "A", make_lstm, (0, 1, 2, 3), LSTM_TESTS, LSTM_BENCH)(lstm_rows)
