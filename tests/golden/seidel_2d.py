"""Value and gradient of seidel_2d (board.py:129), staged by gradc. Runs under plain NumPy."""

import numpy as np


def seidel_2d_value_and_grad(T, A):
    # forward
    A = A.copy()
    n = A.shape[0]
    for t in range(T):
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                A[i, j] = (A[i-1, j] + A[i, j-1] + A[i, j] + A[i, j+1] + A[i+1, j]) / 5.0
    value = np.sum(A)

    # backward
    # from board.py:131: for t in range(T):
    dA = np.ones_like(A)
    for t in reversed(range(T)):
        # from board.py:132: for i in range(1, n - 1):
        for i in reversed(range(1, n - 1)):
            # from board.py:133: for j in range(1, n - 1):
            for j in reversed(range(1, n - 1)):
                # from board.py:134: A[i, j] = (A[i - 1, j] + A[i, j - 1] + A[i, j] + A[i, j + 1] + A[i + 1, j]) / 5.0
                t1 = (1 / 5.0) * dA[i, j]
                dA[i, j] = 0.0
                dA[i+1, j] += t1
                dA[i, j+1] += t1
                dA[i, j] += t1
                dA[i, j-1] += t1
                dA[i-1, j] += t1

    return float(value), dA
