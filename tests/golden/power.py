"""Value and gradient of power (board.py:87), staged by gradc. Runs under plain NumPy."""

import numpy as np


def power_value_and_grad(x, n):
    # forward
    y_tape = np.empty(max(n, 0))
    sin_y_tape = np.empty(max(n, 0))
    y = x
    for i in range(n):
        y_tape[i] = y
        sin_y = np.sin(y)
        sin_y_tape[i] = sin_y
        y *= sin_y

    # backward
    # from board.py:89: for i in range(n):
    dy = 1.0
    for i in reversed(range(n)):
        y1 = y_tape[i]
        # from board.py:90: y = y * np.sin(y)
        dy = sin_y_tape[i] * dy + y1 * dy * np.cos(y1)
    # from board.py:89: for i in range(n):
    dx = dy

    return float(y), float(dx)
