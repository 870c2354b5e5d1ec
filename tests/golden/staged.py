"""Value and gradient of staged (board.py:36), staged by gradc. Runs under plain NumPy."""

import numpy as np


def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow on either side."""
    e = np.exp(-np.abs(x))
    return np.where(np.greater_equal(x, 0), 1 / (1 + e), e / (1 + e))[()]


def staged_value_and_grad(x, y):
    x, y = np.float64(x), np.float64(y)  # division by zero gives inf, as in NumPy

    # forward
    sigy = sigmoid(y)
    num = x + sigy
    sigx = sigmoid(x)
    xpy = x + y
    xpysqr = xpy**2
    den = sigx + xpysqr
    invden = 1.0 / den
    f = num * invden

    # backward
    # from board.py:44: f = num * invden
    dnum = invden
    dinvden = num
    # from board.py:43: invden = 1.0 / den
    dden = (-invden / den) * dinvden
    # from board.py:42: den = sigx + xpysqr
    dsigx = dden
    dxpysqr = dden
    # from board.py:41: xpysqr = xpy**2
    dxpy = 2 * xpy * dxpysqr
    # from board.py:40: xpy = x + y
    dx = dxpy
    dy = dxpy
    # from board.py:32: return 1.0 / (1.0 + np.exp(-x))
    dx += (1 - sigx) * sigx * dsigx
    # from board.py:38: num = x + sigy
    dx += dnum
    dsigy = dnum
    # from board.py:32: return 1.0 / (1.0 + np.exp(-x))
    dy += (1 - sigy) * sigy * dsigy

    return float(f), (float(dx), float(dy))
