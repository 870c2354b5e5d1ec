"""Names, views and buffers: who sees a write."""

from __future__ import annotations

import numpy as np

from tests.programs.entry import arr, backward, fortran, program, readonly, signed, strided


@program((signed(4),), (signed(3, seed=1),))
def alias_then_scale(x):
    y = x
    y[0] *= 2.0
    return np.sum(x * x) + y[0]


@program((signed(4), 0.7))
def alias_after_copy(x, a):
    y = x.copy()
    z = y
    z[1] = a * x[0]
    y[2] *= y[1]
    return np.sum(y * x)


@program((signed(6),))
def slice_is_view(x):
    y = x * 1.0
    v = y[1:4]
    v *= 3.0
    y[2] += v[0]
    return np.sum(y**2)


@program((signed(6),))
def view_of_view(x):
    y = x * 2.0
    v = y[1:]
    w = v[::2]
    w[1] = w[0] * w[2]
    v[0] += y[5]
    return np.sum(y * x)


@program((signed(3, 4),))
def transpose_store(A):
    B = A * 1.0
    B.T[1] = B.T[0] * 2.0
    B.T[2, 0] += A[1, 1]
    return np.sum(B**2)


@program((signed(2, 6),))
def reshape_view_store(A):
    B = A.copy()
    C = B.reshape(3, 4)
    C[1] *= A[0, :4]
    B[0, 5] += C[2, 3]
    return np.sum(B * B)


@program((signed(6),))
def ravel_store(x):
    y = x.copy()
    M = y.reshape(2, 3)
    M[0, 1] = M[1, 2] ** 2
    f = M.ravel()
    f[3] *= 2.0
    return np.sum(y**3)


@program((signed(7),))
def overlap_forward(x):
    y = x.copy()
    y[1:] += y[:-1]
    return np.sum(y**2)


@program((signed(7),))
def overlap_backward(x):
    y = x.copy()
    y[:-1] *= y[1:]
    return np.sum(y**2)


@program((signed(7),))
def overlap_store(x):
    y = x * 1.5
    y[2:] = y[:-2]
    y[::-1] = y * y
    return np.sum(y * x)


@program((signed(8),))
def reversed_onto_itself(x):
    y = x.copy()
    y[:] = y[::-1] * y
    y += y[::-1]
    return np.sum(y**2)


@program((signed(3, 3),))
def transpose_onto_itself(A):
    B = A * 1.0
    B += B.T
    B[:] = B.T * B[0]
    return np.sum(B * A)


@program((signed(5),))
def element_swap(x):
    y = x.copy()
    y[0], y[3] = y[3], y[0] * 2.0
    return y[0] * y[1] + y[3] * y[4]


@program((signed(4, 3),))
def row_swap_copies(A):
    B = A.copy()
    t = B[0].copy()
    B[0] = B[2]
    B[2] = t * 2.0
    return np.sum(B * A)


@program((signed(4, 3),))
def row_swap_views(A):
    # NumPy's views make this overwrite row 2 with row 2: gradients follow the program, not the intention.
    B = A.copy()
    B[0], B[2] = B[2], B[0]
    return np.sum(B * A)


@program((signed(5), signed(5, seed=2)))
def swap_in_loop(u, v):
    a = u.copy()
    b = v.copy()
    for i in range(3):
        b[1:-1] = a[:-2] * 0.5 + a[2:] * a[1:-1]
        a, b = b, a
    return np.sum(a * u) + np.sum(b * v)


@program((signed(5), signed(5, seed=2)))
def swap_even_trips(u, v):
    a = u.copy()
    b = v.copy()
    for _ in range(4):
        a, b = b, a
        a *= 1.1
    a[0] = 7.0
    return np.sum(a * a) + np.sum(b * b * b)


@program((signed(4), 3), (signed(4), 0))
def rebind_in_loop(h, n):
    for _ in range(n):
        h = np.tanh(h * 1.5)
    return np.sum(h)


@program((signed(4, 4), signed(4)))
def rebind_product(W, h):
    for _ in range(3):
        h = np.tanh(W @ h)
    return np.sum(h**2)


@program((signed(4),))
def rebind_keeps_old(x):
    y = x * 2.0
    old = y
    for _ in range(2):
        y = y + old
    old[0] = 0.0
    return np.sum(y * old)


@program((signed(4), 1.5), (signed(4), -1.5))
def choose_array(x, c):
    a = x * 2.0
    b = x * 3.0
    y = a if c > 0 else b
    y[0] += 1.0
    return np.sum(a**2) + np.sum(b**2) + c * np.sum(y)


@program((signed(4), 1.5), (signed(4), -1.5))
def bind_in_branch(x, c):
    y = x * 1.0
    if c > 0:
        z = y
    else:
        z = y.copy()
    z[1] = c
    return np.sum(y * x) + np.sum(z)


@program((signed(4),))
def argument_twice_in_list(x):
    y = x * 1.0
    both = [y, y]
    both[0][1] *= 3.0
    return np.sum(both[1] ** 2)


def _same_twice():
    x = signed(4, seed=9)
    return (x, x)


# The arguments are two, though the array is one: each gets its own partial derivative, as it is only read.
@program(_same_twice(), gradients=((signed(4, seed=9) ** 2, 2 * signed(4, seed=9) ** 2),))
def same_array_twice_read(a, b):
    return np.sum(a * b**2)


@program((signed(3, 2),))
def augmented_argument(A):
    A *= 2.0
    A[0] += A[1]
    return np.sum(A**2)


@program((signed(4), signed(4, seed=1)))
def store_array_in_argument(x, y):
    x[:] = y
    x[1] = y[0] * x[2]
    return np.sum(x * y)


@program((signed(4),))
def overwritten_gets_zero(x):
    x[:] = 1.0
    x[2] = 3.0
    return np.sum(x * 2.0)


@program((signed(5),))
def overwritten_in_part(x):
    s = x[1] ** 2
    x[1:3] = s
    return np.sum(x * x)


@program((fortran(3, 4), fortran(4, 3, seed=1)))
def fortran_inputs(A, B):
    C = A @ B
    A[0, 1:] += B[1:, 0]
    return np.sum(C**2) + np.sum(A * B.T)


@program((strided(3, 4), strided(4, seed=2)))
def strided_inputs(A, x):
    A[1] *= x
    return np.sum((A @ x) ** 2) + A[2, 1] * x[-1]


@program((backward(5), backward(5, seed=3)))
def negative_strides(x, y):
    x[1:] -= y[:-1] * x[:-1]
    return np.dot(x, y) + x[0]


@program((readonly(4), readonly(4, seed=1)))
def readonly_inputs(x, y):
    return np.sum(x * np.exp(y))


@program((signed(1), signed(1, 3)), (signed(1, seed=4), signed(1, 5, seed=1)))
def size_one_axes(x, A):
    return np.sum(x * A) + x[0] * A[0, -1] ** 2


@program((signed(1, 1),))
def size_one_store(A):
    B = A * 2.0
    B[0, 0] *= A[0, 0]
    B += A.T
    return np.sum(B)


@program((np.array(0.7),), (np.array(-0.3),))
def zero_dimensional(x):
    return np.sin(x) * x


@program((np.array(0.7),))
def zero_dimensional_store(x):
    y = np.zeros(())
    y[()] = x * x
    y += 1.0
    return y * x


@program((signed(5),))
def iterate_and_mutate(x):
    y = x.copy()
    for i in range(1, len(y)):
        y[i] = y[i] * y[i - 1]
        y[i - 1] = y[i] + 1.0
    return np.sum(y)


def _double_first(a):
    a[0] *= 2.0


def _scale_into(out, x, s):
    out[:] = x * s
    out[-1] = s


def _grow(a):
    a += a
    return a


@program((signed(4),))
def helper_mutates(x):
    y = x.copy()
    _double_first(y)
    _double_first(y[1:])
    return np.sum(y**2)


@program((signed(4), 0.4))
def helper_out_argument(x, s):
    out = np.empty_like(x)
    _scale_into(out, x, s)
    _scale_into(out[1:], x[1:], s * s)
    return np.sum(out * x)


@program((signed(4),))
def helper_returns_argument(x):
    y = x * 1.0
    z = _grow(y)
    z[0] = 5.0
    return np.sum(y * x)


@program((signed(3, 4),))
def row_view_in_loop(A):
    B = A.copy()
    for row in B:
        row *= 2.0
        row[0] = row[1] * row[2]
    return np.sum(B**2)


@program((signed(6),))
def accumulate_into_window(x):
    out = np.zeros(8)
    for i in range(len(x)):
        out[i : i + 3] += x[i] * x[i]
    return np.sum(out**2)


@program((signed(4, 4),))
def diagonal_by_loop(A):
    B = A.copy()
    for i in range(B.shape[0]):
        B[i, i] = B[i, i] ** 2
        B[i, :i] = 0.0
    return np.sum(B * A)


@program((arr(5),))
def buffer_reused(x):
    tmp = np.empty_like(x)
    total = 0.0
    for k in range(1, 4):
        tmp[:] = x * k
        tmp *= tmp
        total += np.sum(tmp * x)
    return total


@program((signed(3), signed(3, seed=1)))
def returns_views(x, y):
    z = np.concatenate((x * 2.0, y))
    z[2] *= z[3]
    return z[:3], z[3:]


@program((signed(4),))
def returns_argument(x):
    x[0] = x[1] * x[2]
    return x


@program((signed(4),))
def chained_assignment(x):
    a = b = x * 2.0
    a[1] = 3.0 * x[0]
    b[2] = a[1] * b[3]
    return np.sum(a * b)


@program((signed(4),))
def chained_element_store(x):
    y = x.copy()
    y[0] = y[2] = y[1] * x[3]
    return np.sum(y**2)


@program((signed(5),))
def flip_is_view(x):
    y = x.copy()
    f = np.flip(y)
    f[0] = y[0] * 3.0
    return np.sum(y * f)


@program((signed(2, 3),))
def expand_and_squeeze_views(A):
    B = A.copy()
    E = B[:, None, :]
    E[0, 0, 1] = B[1, 2] * 2.0
    S = np.squeeze(E, axis=1)
    S[1] *= B[0]
    return np.sum(B**2)


@program((signed(2, 3, 4),))
def swapaxes_store(A):
    B = A.copy()
    S = np.swapaxes(B, 0, 2)
    S[1, :, 0] = B[1, :, 3] * 2.0
    T = B.transpose(1, 0, 2)
    T[0] += B[:, 2]
    return np.sum(B**2)


def _gate(weight, hidden, x):
    gate = np.tanh(x * weight)
    hidden[:] = hidden * gate


@program((signed(3, 2), signed(3, 2, seed=1), signed(2, seed=2)))
def carried_view_of_mutated_rows(w, state, x):
    for i in range(w.shape[0]):
        _gate(w[i], state[i], x)
        x = state[i]
    return np.sum(x**2)


@program((signed(3, 2), signed(2, seed=2)))
def carried_view_then_write(state, x):
    # The last view sees the write that follows the loop.
    for i in range(state.shape[0]):
        state[i] *= x
        x = state[i]
    state[-1, 0] = 2.0 * state[0, 1]
    return np.sum(x**2)
