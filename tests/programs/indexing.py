"""Elements, slices, gathers, masks: reads and stores."""

from __future__ import annotations

import numpy as np

from tests.programs.entry import arr, program, signed

INDEX = np.array([0, 2, 2, 4, 0])
MASK = np.array([True, False, True, True, False])


@program((signed(5),))
def elements(x):
    return x[0] * x[-1] + x[2] ** 2


@program((signed(3, 4),))
def elements_2d(A):
    return A[0, 1] * A[-1, -2] + A[1][2] * A[2, 0]


@program((signed(3, 4), 1, 2), (signed(3, 4), -1, -4), (signed(3, 4), 0, 0))
def elements_by_argument(A, i, j):
    return A[i, j] ** 2 + A[i].sum() * A[:, j].sum()


@program((signed(7),))
def slices(x):
    return np.sum(x[1:-1] * x[2:]) + np.sum(x[:3] * x[-3:]) + np.sum(x[::2]) * np.sum(x[1::3])


@program((signed(7),))
def slices_negative_step(x):
    return np.sum(x[::-1] * x) + np.sum(x[5:1:-2] * x[:2]) + np.sum(x[-2::-3])


@program((signed(7), 2, 5), (signed(7), 5, 2), (signed(7), -3, 100), (signed(7), 0, 0))
def slices_by_argument(x, a, b):
    return np.sum(x[a:b] ** 2) + np.sum(x[:a]) * np.sum(x[b:])


@program((signed(5),))
def empty_slice(x):
    return np.sum(x[3:3]) + np.sum(x[4:1]) + x[0]


@program((signed(5),))
def empty_store(x):
    y = x.copy()
    y[3:2] = 7.0
    y[5:] *= 2.0
    return np.sum(y**2)


@program((signed(3, 4, 2),))
def ellipsis_and_newaxis(A):
    return np.sum(A[..., 0] * A[:, :, 1]) + np.sum(A[1, ...] * A[0][:, :]) + np.sum(A[:, None, 0, :] * A[None, 1, :3])


@program((signed(5),))
def gather(x):
    return np.sum(x[INDEX] * np.arange(5.0)) + np.sum(x[INDEX] ** 2)


@program((signed(5), np.array([1, 1, -1])), (signed(5), np.array([0, -5, 4])))
def gather_by_argument(x, idx):
    return np.sum(x[idx] ** 2 * np.array([1.0, 2.0, 3.0]))


@program((signed(5),))
def gather_list(x):
    return np.sum(x[[3, 3, 1]] * np.array([1.0, 2.0, 3.0]))


@program((signed(4, 5), np.array([0, 3, 0]), np.array([1, 1, 4])))
def gather_pairs(A, rows, cols):
    return np.sum(A[rows, cols] ** 2 * np.array([1.0, 2.0, 3.0]))


@program((signed(4, 5), np.array([0, 3, 0])))
def gather_rows_and_columns(A, idx):
    return np.sum(A[idx] ** 2) + np.sum(A[:, idx] * A[:, 1:2]) + np.sum(A[1, idx])


@program((signed(4, 3), np.array([2, 0, 1, 1])))
def log_likelihood_pick(z, labels):
    return np.sum(z[np.arange(len(labels)), labels] ** 3)


@program((signed(5), signed(3, seed=1), np.array([4, 0, 2])))
def scatter_store(x, v, idx):
    y = x.copy()
    y[idx] = v * v
    return np.sum(y * x)


@program((signed(5), signed(3, seed=1), np.array([4, 1, 4])))
def scatter_add_repeats(x, v, idx):
    # y[idx] += v adds once per distinct position: the last one counts.
    y = x.copy()
    y[idx] += v
    return np.sum(y**2)


@program((signed(4, 3), signed(2, 3, seed=1), np.array([3, 0])))
def scatter_rows(A, V, idx):
    B = A.copy()
    B[idx] *= V
    B[idx, 1] = V[:, 0]
    return np.sum(B**2)


@program((signed(5), 2.0))
def mask_store(x, c):
    y = x * 1.0
    y[y < 0] = c
    y[MASK] *= 3.0
    return np.sum(y**2)


@program((signed(5),), (signed(5, seed=4),))
def mask_read(x):
    return np.sum(x[x > 0] ** 2) + np.sum(x[MASK] ** 3)


@program((signed(3, 4),))
def mask_2d(A):
    B = A.copy()
    B[B > 0.5] = 0.0
    B[A < 0] **= 2
    return np.sum(B * A)


@program((signed(4, 3), np.array([True, False, True, False])))
def mask_rows(A, keep):
    B = A.copy()
    B[keep] *= 2.0
    return np.sum(A[keep] ** 2) + np.sum(B**3)


@program((arr(6),))
def mask_store_array(x):
    y = x.copy()
    m = y > 1.0
    y[m] = y[m] ** (-1.5)
    return np.sum(y * x)


@program((signed(4, 4),))
def column_updates(A):
    B = A.copy()
    for k in range(1, 4):
        B[:, k] -= B[:, k - 1] * B[0, k]
    return np.sum(B**2)


@program((signed(4, 4),))
def strided_block_store(A):
    B = np.zeros((4, 4))
    B[::2, 1::2] = A[1::2, ::2] * 2.0
    B[::-1, 0] = A[0] ** 2
    return np.sum(B * A)


@program((signed(3, 4),))
def store_broadcast(A):
    B = np.zeros((3, 4))
    B[:] = A[0]
    B[:, 1:3] += A[:, :1]
    B[1] = 2.5
    return np.sum(B * A)


@program((signed(3, 4),))
def store_scalar_from_array(A):
    out = np.empty(3)
    for i in range(3):
        out[i] = np.max(A[i]) * A[i, 0]
    return np.sum(out**2)


@program((signed(8),))
def dynamic_windows(x):
    total = 0.0
    for i in range(1, len(x)):
        total += np.sum(x[:i]) * np.sum(x[i:] ** 2)
    return total


@program((signed(6), np.array([0, 2, 2, 6])))
def segments(x, ptr):
    out = np.empty(len(ptr) - 1)
    for k in range(len(ptr) - 1):
        out[k] = np.sum(x[ptr[k] : ptr[k + 1]] ** 2)
    return np.sum(out * np.arange(1.0, 4.0))


@program((signed(5), 3), (signed(5), -5))
def integer_arithmetic_index(x, k):
    return x[(k * 2 + 1) % 5] * x[k // 2] + x[abs(k) - 1]


@program((signed(4, 6),))
def argmax_as_index(A):
    j = np.argmax(A[1])
    k = np.argmin(A, axis=1)
    return A[0, j] ** 2 + np.sum(A[np.arange(4), k] ** 2)


@program((signed(5), np.array([3, 1, 2, 0, 4], dtype=np.int32)))
def int32_index(x, idx):
    total = 0.0
    for i in range(len(idx)):
        total += x[idx[i]] * (i + 1)
    return total * np.sum(x[idx] ** 2)


@program((signed(3, 3, 3),))
def three_axes(A):
    B = A.copy()
    B[1, :, 2] = A[:, 0, 1] * B[2, :, 2]
    B[:, 1] += B[:, 0]
    B[0, 0, 0] = B[2, 2, 2] ** 2
    return np.sum(B * A)


@program((signed(3), np.array([10, 20, 30])))
def integer_data(x, counts):
    return np.sum(x * counts) + np.sum(x**2) * counts.sum() / len(counts)


@program((signed(5), np.array([1, 0, 1, 1, 0], dtype=bool)))
def boolean_factor(x, keep):
    return np.sum(x**2 * keep) + np.sum((x > 0) * x**3)


@program((signed(4),))
def len_shape_size(x):
    A = np.zeros((len(x), x.size))
    A[:, 0] = x
    A[1] += x
    return np.sum(A**2) * A.shape[1] * A.ndim
