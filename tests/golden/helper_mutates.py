"""Value and gradient of helper_mutates (board.py:210), staged by gradc. Runs under plain NumPy."""

import numpy as np


def helper_mutates_value_and_grad(a, s):
    # forward
    b = a.copy()
    b_old = b.copy()
    b *= s
    c = b[::2]
    c += 1.0
    value = np.sum(b * b)

    # backward
    # from board.py:215: return np.sum(b * b)
    db = 2 * b
    # from board.py:206: a *= s
    b[:] = b_old
    ds = np.sum(b * db)
    # from board.py:211: b = a.copy()
    da = s * db

    return float(value), (da, float(ds))
