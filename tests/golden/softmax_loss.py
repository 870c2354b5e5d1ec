"""Value and gradient of softmax_loss (board.py:70), staged by gradc. Runs under plain NumPy."""

import numpy as np


def softmax_loss_value_and_grad(X, W, labels):
    # shapes: X (n, m), W (m, k), labels (n,)

    # forward
    scores = X @ W  # (n, k)
    t1 = np.max(scores, axis=1, keepdims=True)
    scores1 = scores - t1  # (n, k)
    t2 = np.exp(scores1)
    t3 = np.sum(t2, axis=1)
    log_sum = np.log(t3)  # (n,)
    t4 = np.arange(labels.shape[0])
    picked = scores1[t4, labels]
    value = np.mean(log_sum - picked)

    # backward
    # from board.py:75: return np.mean(log_sum - picked)
    t5 = 1.0 / X.shape[0]
    # from board.py:74: picked = scores[np.arange(len(labels)), labels]
    dpicked = np.full_like(picked, -t5)
    dscores = np.zeros_like(scores1)
    np.add.at(dscores, (t4, labels), dpicked)
    # from board.py:73: log_sum = np.log(np.sum(np.exp(scores), axis=1))
    dscores += t2 * ((1 / t3) * t5)[:, None]
    # from board.py:72: scores = scores - np.max(scores, axis=1, keepdims=True)
    mask = scores == t1
    t6 = np.sum(mask, axis=1, keepdims=True).astype(np.float64)
    dscores += np.where(mask, np.sum(-dscores, axis=1, keepdims=True) / t6, 0.0)
    # from board.py:71: scores = X @ W
    dW = X.T @ dscores

    return float(value), dW
