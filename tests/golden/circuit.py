"""Value and gradient of circuit (board.py:49), staged by gradc. Runs under plain NumPy."""

import numpy as np


def circuit_value_and_grad(x, y, z):
    # forward
    q = x + y
    f = q * z

    # backward
    # from board.py:51: f = q * z
    dq = z
    dz = q
    # from board.py:50: q = x + y
    dx = dq
    dy = dq

    return f, (dx, dy, dz)
