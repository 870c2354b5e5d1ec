"""Value and gradient of rnn (board.py:219), staged by gradc. Runs under plain NumPy."""

import numpy as np


def rnn_value_and_grad(W, h):
    # shapes: W (n, n), h (n,)

    # forward
    h = h.copy()
    h_old_tape = np.empty((4, h.shape[0]))
    for t in range(4):
        h_old_tape[t] = h
        h = np.tanh(W @ h)  # (n,)
    value = np.sum(h)

    # backward
    # from board.py:220: for t in range(4):
    dW = np.zeros_like(W)
    dh = np.ones_like(h)
    for t in reversed(range(4)):
        # from board.py:221: h = np.tanh(W @ h)
        h1 = h
        h = h_old_tape[t]
        t1 = (1 - h1 * h1) * dh
        dW += h * t1[:, None]
        dh[:] = W.T @ t1

    return float(value), (dW, dh)
