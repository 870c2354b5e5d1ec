"""Value and gradient of fibonacci (board.py:95), staged by gradc. Runs under plain NumPy."""

import numpy as np


def fibonacci_value_and_grad(a, b, n):
    # forward
    b_tape = np.empty(max(n, 0))
    a_tape = np.empty(max(n, 0))
    for i in range(n):
        b_tape[i] = b
        a_tape[i] = a
        a, b = b, a * b + a

    # backward
    # from board.py:96: for i in range(n):
    da = 0.0
    db = 1.0
    for i in reversed(range(n)):
        # from board.py:97: a, b = b, a * b + a
        a = a_tape[i]
        da, db = db + b_tape[i] * db, da + a * db

    return b, (float(da), float(db))
