"""Value and gradient of arc_length (board.py:193), staged by gradc. Runs under plain NumPy."""

import numpy as np


def arc_length_value_and_grad(x, y):
    # forward
    dx = x[1:] - x[:-1]
    dy = y[1:] - y[:-1]
    t1 = np.sqrt(dx**2 + dy**2)
    value = np.sum(t1)

    # backward
    # from board.py:196: return np.sum(np.sqrt(dx**2 + dy**2))
    t2 = np.where(t1 == 0, 0.0, 0.5 / np.where(t1 == 0, 1.0, t1))
    ddy = 2 * dy * t2
    ddx = 2 * dx * t2
    # from board.py:195: dy = y[1:] - y[:-1]
    y_ct = np.zeros_like(y)
    y_ct[1:] += ddy
    y_ct[:-1] -= ddy
    # from board.py:194: dx = x[1:] - x[:-1]
    x_ct = np.zeros_like(x)
    x_ct[1:] += ddx
    x_ct[:-1] -= ddx

    return float(value), (x_ct, y_ct)
