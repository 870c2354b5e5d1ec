"""Value and gradient of power (board.py:87), staged by gradc. Runs under plain NumPy."""

import numpy as np


def power_value_and_grad(x, n):
    # forward
    y_tape = np.empty(max(n, 0))
    t_tape = np.empty(max(n, 0))
    y = x
    for i in range(n):
        y_tape[i] = y
        t1 = np.sin(y)
        t_tape[i] = t1
        y *= t1

    # backward
    # from board.py:89: for i in range(n):
    dy = 1.0
    for i in reversed(range(n)):
        y1 = y_tape[i]
        # from board.py:90: y = y * np.sin(y)
        dy = t_tape[i] * dy + y1 * dy * np.cos(y1)
    # from board.py:89: for i in range(n):
    dx = dy

    return float(y), float(dx)
