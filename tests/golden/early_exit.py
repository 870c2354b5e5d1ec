"""Value and gradient of early_exit (board.py:151), staged by gradc. Runs under plain NumPy."""

import numpy as np


def early_exit_value_and_grad(x):
    # forward
    test_tape = []
    total = 0.0
    trips = 0
    for i in range(x.shape[0]):
        trips += 1
        test = total > 3.0
        test_tape.append(test)
        if test:
            break
        total += x[i]**2

    # backward
    # from board.py:153: for i in range(len(x)):
    dx = np.zeros_like(x)
    dtotal = 1.0
    for i in reversed(range(trips)):
        # from board.py:154: if total > 3.0:
        if not test_tape.pop():
            # from board.py:156: total += x[i] ** 2
            dx[i] += 2 * x[i] * dtotal

    return float(total), dx
