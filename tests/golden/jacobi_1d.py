"""Value and gradient of jacobi_1d (board.py:121), staged by gradc. Runs under plain NumPy."""

import numpy as np


def jacobi_1d_value_and_grad(T, A, B):
    # forward
    A = A.copy()
    B = B.copy()
    for t in range(1, T):
        B[1:-1] = 0.33333 * (A[:-2] + A[1:-1] + A[2:])
        A[1:-1] = 0.33333 * (B[:-2] + B[1:-1] + B[2:])
    value = np.sum(A * A)

    # backward
    # from board.py:125: return np.sum(A * A)
    dA = 2 * A
    # from board.py:122: for t in range(1, T):
    dB = np.zeros_like(B)
    for t in reversed(range(1, T)):
        # from board.py:124: A[1:-1] = 0.33333 * (B[:-2] + B[1:-1] + B[2:])
        t1 = 0.33333 * dA[1:-1]
        dA[1:-1] = 0.0
        dB[2:] += t1
        dB[:-2] += t1
        dB[1:-1] += t1
        # from board.py:123: B[1:-1] = 0.33333 * (A[:-2] + A[1:-1] + A[2:])
        t2 = 0.33333 * dB[1:-1]
        dB[1:-1] = 0.0
        dA[2:] += t2
        dA[:-2] += t2
        dA[1:-1] += t2

    return float(value), (dA, dB)
