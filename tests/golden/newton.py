"""Value and gradient of newton (board.py:102), staged by gradc. Runs under plain NumPy."""

import numpy as np


def newton_value_and_grad(a):
    a = np.float64(a)  # division by zero gives inf, as in NumPy

    # forward
    x_tape = []
    x = a
    trips = 0
    while np.abs(x * x - a) > 1e-12:
        trips += 1
        x_tape.append(x)
        x = 0.5 * (x + a / x)

    # backward
    # from board.py:104: while abs(x * x - a) > 1e-12:
    dx = 1.0
    da = 0.0
    for _ in reversed(range(trips)):
        x1 = x_tape.pop()
        # from board.py:105: x = 0.5 * (x + a / x)
        dx *= 0.5
        da += (1 / x1) * dx
        dx -= (a / x1 / x1) * dx
    # from board.py:104: while abs(x * x - a) > 1e-12:
    da += dx

    return float(x), float(da)
