"""Value and gradient of cholesky (board.py:139), staged by gradc. Runs under plain NumPy."""

import numpy as np


def strong_mul(ct, partial):
    """ct * partial, and exactly 0 where ct is 0: an infinite partial does not turn a zero into NaN."""
    return np.where(ct == 0, 0.0, ct * np.where(ct == 0, 1.0, partial))[()]


def cholesky_value_and_grad(A):
    # forward
    A = A.copy()
    n = A.shape[0]
    A_old_tape = []
    A_old_tape1 = np.empty(n)
    for i in range(n):
        for j in range(i):
            A[i, j] -= A[i, :j] @ A[j, :j]
            A_old_tape.append(A[i, j])
            A[i, j] /= A[j, j]
        A[i, i] -= A[i, :i] @ A[i, :i]
        A_old_tape1[i] = A[i, i]
        A[i, i] = np.sqrt(A[i, i])
    t1 = np.arange(min(n, A.shape[1]))
    t2 = A[t1, t1]
    value = np.sum(np.log(t2))

    # backward
    # from board.py:147: return np.sum(np.log(np.diag(A)))
    dA = np.zeros_like(A)
    np.add.at(dA, (t1, t1), 1 / t2)
    # from board.py:141: for i in range(n):
    for i in reversed(range(n)):
        # from board.py:146: A[i, i] = np.sqrt(A[i, i])
        A[i, i] = A_old_tape1[i]
        dA[i, i] = strong_mul(dA[i, i], 0.5 / np.sqrt(A[i, i]))
        # from board.py:145: A[i, i] -= A[i, :i] @ A[i, :i]
        dA[i, :i] -= 2 * dA[i, i] * A[i, :i]
        # from board.py:142: for j in range(i):
        for j in reversed(range(i)):
            # from board.py:144: A[i, j] /= A[j, j]
            t3 = dA[i, j]
            A[i, j] = A_old_tape.pop()
            t4 = A[j, j]
            dA[i, j] = (1 / t4) * t3
            dA[j, j] -= (A[i, j] / t4 / t4) * t3
            # from board.py:143: A[i, j] -= A[i, :j] @ A[j, :j]
            t5 = -dA[i, j]
            dA[i, :j] += A[j, :j] * t5
            dA[j, :j] += A[i, :j] * t5

    return float(value), dA
