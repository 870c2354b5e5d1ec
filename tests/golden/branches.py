"""Value and gradient of branches (board.py:110), staged by gradc. Runs under plain NumPy."""

import numpy as np


def branches_value_and_grad(x):
    # forward
    if x > 1.0:
        y = x * x
    elif x > 0.0:
        y = np.sin(x)
    else:
        y = -x
    value = 3.0 * y

    # backward
    # from board.py:117: return 3.0 * y
    dy = 3.0
    # from board.py:111: if x > 1.0:
    if x > 1.0:
        # from board.py:112: y = x * x
        dx = 2 * x * dy
    elif x > 0.0:
        # from board.py:114: y = np.sin(x)
        dx = dy * np.cos(x)
    else:
        # from board.py:116: y = -x
        dx = -dy

    return float(value), float(dx)
