"""Value and gradient of staged (board.py:36), staged by gradc. Runs under plain NumPy."""

import numpy as np


def staged_value_and_grad(x, y):
    x, y = np.float64(x), np.float64(y)  # division by zero gives inf, as in NumPy

    # forward
    t1 = np.exp(-y)
    t2 = 1.0 + t1
    sigy = 1.0 / t2
    num = x + sigy
    t3 = np.exp(-x)
    t4 = 1.0 + t3
    sigx = 1.0 / t4
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
    dx += (sigx / t4) * dsigx * t3
    # from board.py:38: num = x + sigy
    dx += dnum
    dsigy = dnum
    # from board.py:32: return 1.0 / (1.0 + np.exp(-x))
    dy += (sigy / t2) * dsigy * t1

    return float(f), (float(dx), float(dy))
