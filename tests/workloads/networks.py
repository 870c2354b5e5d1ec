"""Networks (class N)."""

from __future__ import annotations

import numpy as np

from tests.workloads.entry import workload


def glorot(rng, *shape):
    return rng.standard_normal(shape) * (2.0 / (shape[-2] + shape[-1])) ** 0.5


def make_mlp(rng, batch, n_in, n_h1, n_h2, n_out):
    params = {
        "W1": glorot(rng, n_in, n_h1), "b1": 0.1 * rng.standard_normal(n_h1),
        "W2": glorot(rng, n_h1, n_h2), "b2": 0.1 * rng.standard_normal(n_h2),
        "W3": glorot(rng, n_h2, n_out), "b3": 0.1 * rng.standard_normal(n_out),
    }  # fmt: skip
    return params, rng.random((batch, n_in)), rng.integers(0, n_out, batch)


@workload(
    "mlp",
    "N",
    make_mlp,
    (0, 1),
    ((2, 4, 3, 5, 3), (5, 6, 7, 4, 3), (9, 13, 11, 12, 10)),
    {"32": (32, 784, 256, 128, 10), "128": (128, 784, 256, 128, 10), "1024": (1024, 784, 256, 128, 10)},
)
def mlp_loss(params, x, labels):
    """Cross entropy of two ReLU layers and a linear one."""
    h1 = np.maximum(x @ params["W1"] + params["b1"], 0)
    h2 = np.maximum(h1 @ params["W2"] + params["b2"], 0)
    z = h2 @ params["W3"] + params["b3"]
    z = z - np.max(z, axis=1, keepdims=True)
    logp = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.mean(logp[np.arange(len(labels)), labels])


def make_net_231(rng, n):
    return (
        rng.standard_normal((2, 3)),
        rng.standard_normal(3),
        rng.standard_normal((3, 1)),
        rng.standard_normal(1),
        rng.standard_normal((n, 2)),
        (rng.random((n, 1)) > 0.5).astype(float),
    )


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


@workload("net_231", "N", make_net_231, (0, 1, 2, 3), ((2,), (7,), (50,)), {"500": (500,)})
def net_231_loss(W1, b1, W2, b2, x, y):
    """Mean squared error of a 2-3-1 sigmoid network."""
    hidden = sigmoid(x @ W1 + b1)
    out = sigmoid(hidden @ W2 + b2)
    return np.mean((out - y) ** 2)


def conv2d(x, w, b):
    """Valid convolution, NHWC, as a sum over the kernel window."""
    kh, kw = w.shape[0], w.shape[1]
    h_out = x.shape[1] - kh + 1
    w_out = x.shape[2] - kw + 1
    out = np.zeros((x.shape[0], h_out, w_out, w.shape[3]), dtype=x.dtype)
    for i in range(kh):
        for j in range(kw):
            out += x[:, i : i + h_out, j : j + w_out, :] @ w[i, j]
    return out + b


def maxpool2d(x):
    """2 by 2 maxima."""
    out = np.empty((x.shape[0], x.shape[1] // 2, x.shape[2] // 2, x.shape[3]), dtype=x.dtype)
    for i in range(x.shape[1] // 2):
        for j in range(x.shape[2] // 2):
            out[:, i, j, :] = np.max(x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, :], axis=(1, 2))
    return out


def lenet5(x, conv1, b1, conv2, b2, fc1, fb1, fc2, fb2, fc3, fb3):
    x = np.maximum(conv2d(x, conv1, b1), 0)
    x = maxpool2d(x)
    x = np.maximum(conv2d(x, conv2, b2), 0)
    x = maxpool2d(x)
    x = np.reshape(x, (x.shape[0], x.shape[1] * x.shape[2] * x.shape[3]))
    x = np.maximum(x @ fc1 + fb1, 0)
    x = np.maximum(x @ fc2 + fb2, 0)
    return x @ fc3 + fb3


def make_lenet5(rng, n, h, w):
    flat = 16 * ((((h - 4) // 2) - 4) // 2) * ((((w - 4) // 2) - 4) // 2)
    return (
        rng.random((n, h, w, 1)),
        0.2 * rng.standard_normal((5, 5, 1, 6)),
        rng.standard_normal(6),
        0.1 * rng.standard_normal((5, 5, 6, 16)),
        rng.standard_normal(16),
        glorot(rng, flat, 120),
        rng.standard_normal(120),
        glorot(rng, 120, 84),
        rng.standard_normal(84),
        glorot(rng, 84, 10),
        rng.standard_normal(10),
        rng.standard_normal((n, 10)),
    )


@workload("lenet5", "N", make_lenet5, tuple(range(11)), ((2, 16, 16), (3, 18, 16), (2, 20, 24)), {"S": (4, 28, 28)})
def lenet5_loss(x, conv1, b1, conv2, b2, fc1, fb1, fc2, fb2, fc3, fb3, R):
    return np.sum(R * lenet5(x, conv1, b1, conv2, b2, fc1, fb1, fc2, fb2, fc3, fb3))


def gru(x, h, p):
    """Gated recurrent unit over the first axis of x (Cho et al. 2014); the state is rebound in the loop."""
    for t in range(x.shape[0]):
        r = sigmoid(x[t] @ p["Wr"] + h @ p["Ur"] + p["br"])
        z = sigmoid(x[t] @ p["Wz"] + h @ p["Uz"] + p["bz"])
        n = np.tanh(x[t] @ p["Wn"] + r * (h @ p["Un"]) + p["bn"])
        h = (1.0 - z) * n + z * h
    return h


def make_gru(rng, steps, batch, n_in, n_h):
    p = {}
    for gate in "rzn":
        p["W" + gate] = glorot(rng, n_in, n_h)
        p["U" + gate] = glorot(rng, n_h, n_h)
        p["b" + gate] = 0.1 * rng.standard_normal(n_h)
    return (
        rng.standard_normal((steps, batch, n_in)),
        rng.standard_normal((batch, n_h)),
        p,
        rng.standard_normal((batch, n_h)),
    )


@workload("gru", "N", make_gru, (0, 1, 2), ((2, 2, 3, 4), (5, 3, 4, 2), (11, 4, 6, 8)), {"S": (100, 16, 32, 64)})
def gru_loss(x, h, p, R):
    return np.sum(R * gru(x, h, p))


def softmax(x):
    """Over the last of four axes."""
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def make_softmax(rng, n, h, sm):
    return rng.standard_normal((n, h, sm, sm)), rng.standard_normal((n, h, sm, sm))


@workload("softmax", "N", make_softmax, (0,), ((2, 2, 3), (3, 2, 5), (3, 4, 9)), {"S": (16, 16, 128)})
def softmax_loss(x, R):
    return np.sum(R * softmax(x))
