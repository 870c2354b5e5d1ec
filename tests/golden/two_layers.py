"""Value and gradient of two_layers (board.py:62), staged by gradc. Runs under plain NumPy."""

import numpy as np


def two_layers_value_and_grad(params, X, Y):
    # shapes: W1 (n, m), b1 (m,), W2 (m, k), b2 (k,), X (p, n), Y (p, k)
    W1 = params["W1"]
    b1 = params["b1"]
    W2 = params["W2"]
    b2 = params["b2"]

    # forward
    z1 = X @ W1 + b1  # (p, m)
    h = np.tanh(z1)  # (p, m)
    scores = h @ W2 + b2  # (p, k)
    t1 = scores - Y
    value = np.mean(t1**2)

    # backward
    # from board.py:66: return np.mean((scores - Y) ** 2)
    dscores = 2 * t1 * (1.0 / scores.size)
    # from board.py:65: scores = h @ params["W2"] + params["b2"]
    db2 = np.sum(dscores, axis=0)
    dh = dscores @ W2.T
    dW2 = h.T @ dscores
    # from board.py:64: h = np.tanh(z1)
    dz1 = (1 - h * h) * dh
    # from board.py:63: z1 = X @ params["W1"] + params["b1"]
    db1 = np.sum(dz1, axis=0)
    dW1 = X.T @ dz1

    return float(value), {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}
