"""Value and gradient of smooth (board.py:184), staged by gradc. Runs under plain NumPy."""

import numpy as np

WEIGHTS = np.array([0.25, 0.5, 0.25])


def smooth_value_and_grad(x):
    # forward and backward, in one loop
    # from board.py:186: for i in range(1, len(x) - 1):
    dx = np.zeros_like(x)
    total = 0.0
    for i in range(1, x.shape[0] - 1):
        v = WEIGHTS[0] * x[i-1] + WEIGHTS[1] * x[i] + WEIGHTS[2] * x[i+1]
        total += v**2
        # backward
        # from board.py:188: total += v**2
        dv = 2 * v
        # from board.py:187: v = WEIGHTS[0] * x[i - 1] + WEIGHTS[1] * x[i] + WEIGHTS[2] * x[i + 1]
        dx[i+1] += WEIGHTS[2] * dv
        dx[i] += WEIGHTS[1] * dv
        dx[i-1] += WEIGHTS[0] * dv

    return float(total), dx
