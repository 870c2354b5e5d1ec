"""Value and gradient of single_precision (board.py:200), staged by gradc. Runs under plain NumPy."""

import numpy as np


def single_precision_value_and_grad(scale, x):
    # forward
    y = x / 1.4142135623730951
    t1 = scale * y
    value = np.sum(t1 * y) / 3.0

    # backward
    # from board.py:202: return np.sum(scale * y * y) / 3.0
    t2 = np.float32(1.0) * (1 / 3.0)
    t3 = y * t2
    dy = t1 * t2
    dscale = np.sum(y * t3)
    dy += scale * t3
    # from board.py:201: y = x / math.sqrt(2.0)
    dx = (1 / 1.4142135623730951) * dy

    return value, (dscale, dx)
