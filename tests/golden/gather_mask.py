"""Value and gradient of gather_mask (board.py:161), staged by gradc. Runs under plain NumPy."""

import numpy as np


def gather_mask_value_and_grad(x, index):
    # forward
    x = x.copy()
    y = x[index] * 2.0
    mask = x > 1.0
    x[mask] = 1.0
    value = np.sum(y) + np.sum(x**3)

    # backward
    # from board.py:164: return np.sum(y) + np.sum(x**3)
    dx = 3 * x**2
    # from board.py:163: x[x > 1.0] = 1.0
    dx[mask] = 0.0
    # from board.py:162: y = x[index] * 2.0
    np.add.at(dx, index, 2.0)

    return float(value), dx
