"""Value and gradient of horner (board.py:79), staged by gradc. Runs under plain NumPy."""

import numpy as np


def horner_value_and_grad(c, x):
    # forward
    s_tape = np.empty_like(c)
    s = 0.0
    for i in range(c.shape[0]):
        s_tape[i] = s
        s = s * x + c[i]

    # backward
    # from board.py:81: for i in range(len(c)):
    dc = np.zeros_like(c)
    ds = 1.0
    dx = 0.0
    for i in reversed(range(c.shape[0])):
        # from board.py:82: s = s * x + c[i]
        dc[i] += ds
        dx += s_tape[i] * ds
        ds = x * ds

    return float(s), (dc, float(dx))
