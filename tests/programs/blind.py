"""Programs of many kinds in other hands' styles, each of which once was wrong or refused, or is of a kind that was."""

from __future__ import annotations

import numpy as np

from tests.programs.entry import arr, program, signed


@program((signed(3), 3), (signed(4), 1), (signed(2), 0))
def two_arrays_rebound_in_a_branch(p, k):
    """The shape of the new `p` is asked for in reverse before its old content is back."""
    w = p
    for t in range(k):
        p = 0.9 * p
        if t > 0:
            p = np.sin(p)
            w = np.full(len(p), 0.5)
    return np.sum(w * p)


@program((signed(3),), (signed(5),), (signed(0),))
def nested_sums_of_exponentials(x):
    """Both loops are reversed with their forward parts, one inside the other."""
    total = 0.5
    for i in range(len(x)):
        for j in range(len(x)):
            total -= np.exp(x[i] - x[j])
    return total


@program((signed(3, 2), 0.3), (signed(4, 2), 0.1))
def nested_sums_under_a_condition(x, limit):
    total = 0.0
    for i in range(len(x)):
        if x[i, 0] > limit:
            for j in range(i):
                total += 1.0 / np.sqrt(np.sum((x[i] - x[j]) ** 2) + 1.0)
        else:
            total += np.exp(x[i, 1])
    return total, x


@program((-1.0, signed(3), signed(3, 3)), (1.0, signed(3), signed(3, 3)))
def rebound_in_a_branch_of_a_loop_that_runs(c, w, A):
    """The loop runs, but `A` may still be the argument after it, which `kept` names too."""
    kept = A
    for _ in range(2):
        if c > 0:
            A = A.T * 2.0
    A[-1, -1] = w @ w
    return np.sum(kept * w)


@program((signed(3), signed(3, seed=1)))
def items_of_a_zip_are_read_when_their_turn_comes(x, w):
    total = 0.0
    for factor, a in zip([1.0, 2.0, 3.0], x):
        x[1:] += a * factor
        total += a * w[0]
    for k, (part, a) in enumerate(zip((w, x), x)):
        x[2] += a * part[k]
    return total + x[2]


@program((signed(3),))
def items_of_a_loop_written_out_are_read_when_their_turn_comes(x):
    y = np.array([x[0], x[1], x[2]])
    total = 0.0
    functions = [np.sin, np.cos, np.tanh]
    for i, a in enumerate(y):
        y[2] += functions[i](a)
        total += a
    return total


def _one_of(a, b, limit):
    if a[0] > limit:
        return a
    return a + b


@program((signed(3), signed(3, seed=1), -9.0), (signed(3), signed(3, seed=1), 9.0))
def what_a_loop_goes_through_may_be_written(x, w, limit):
    """The loop holds the array though no name does."""
    total = 0.0
    for a in _one_of(x, w, limit):
        x[1:] += a
        total += a
    return total


@program((signed(3), signed(3, seed=1)), refused=True)
def listed_views_of_an_array_written_later(x, w):
    rows = [r for r in x[:, None]]
    x *= w
    return sum(r[0] for r in rows)


@program((signed(3),), refused=True)
def writes_into_listed_views(x):
    rows = [r for r in x[:, None]]
    rows[1][0] = 7.0
    return x.sum()


def _twice(a):
    a *= 2
    return 1


@program((signed(3),), refused=True)
def updated_element_changes_on_the_right(x):
    x[1] += x[_twice(x)] * 3
    return x.sum()


def _first_with(a, b, limit):
    for i in range(3):
        if a[i] > limit:
            return a
        if b[i] > 0.5:
            return b * 1.0
    return a + b


@program((signed(3), signed(3, seed=1), -9.0), (signed(3), signed(3, seed=1), 9.0), refused=True)
def what_a_loop_goes_through_may_be_a_copy(x, w, limit):
    """The copy would not see the writes."""
    total = 0.0
    for a in _first_with(x, w, limit):
        x[1:] += a
        total += a
    return total


@program((signed(4, 4), 1), (signed(4, 4), 2), (signed(4, 4), 3))
def row_onto_a_column_of_its_array(A, k):
    """NumPy copies overlapping matrices, and vectors not: `.source` has to keep the copy."""
    for i in range(4):
        row = A[i]
        A[:, k % 4] = row * 1.0
        row[0], row[i] = row[i], row[0]
    return np.sum(A[1:])


@program((signed(6), signed(6, seed=1)))
def half_onto_every_other(x, w):
    x[::2] = x[:3] * 1.0
    x *= w
    return np.sum(x**2)


@program((signed(4), signed(4, seed=1), signed(4, 4)), (signed(4, seed=2), signed(4, seed=3), signed(4, 4, seed=4)))
def found_in_a_loop_in_a_loop(x, w, A):
    """A branch of the inner loop is taped: `.source` takes it off in every case."""
    for row in A:
        row[:] = x * row[0]
        row = _first_with(row, x, row[1])
        w -= A @ (x * row)
    return np.sum(w)


@program((signed(4), signed(4, seed=1), 1, 9.0), (signed(4), signed(4, seed=1), 1, -9.0), (signed(4), arr(4), 3, 0.0))
def rebound_in_branches_of_a_branch(x, w, k, limit):
    """The outer branch is run again in reverse, and with it the array that both inner ones are stored in."""
    w = w * 1.0
    if k < 3:
        if x[0] < limit:
            w = np.tanh(x * w)
        elif k > 0:
            w = np.tanh(x * np.mean(w))
    return np.sum(w * 2.0)


@program((signed(3, 3),), refused=True)
def write_into_the_ravel_of_what_a_transpose_gave(A):
    """NumPy's array is in the order of the transpose, so its ravel is a copy."""
    B = A.T * 2.0
    B.ravel()[1] = 5.0
    return np.sum(A * B)


@program((signed(3, 3),), refused=True)
def reshaped_columns_before_a_write(A):
    """NumPy's columns of a gather are in Fortran order: the write does not reach what reshape has copied."""
    B = A[:, [0, 2, 1]]
    flat = B.reshape(-1)
    B[0, 1] = 5.0
    return np.sum(flat * A.ravel())


@program((signed(3, 3),))
def ravel_of_a_copy_is_a_view(A):
    B = np.ascontiguousarray(np.sin(A.T))
    B.ravel()[1] = 5.0
    C = A.T.copy()
    C.reshape(-1)[2] = B[0, 1] * A[0, 0]
    return np.sum(A * B * C)


@program((signed(4), signed(4, seed=1), 1), (signed(4), signed(4, seed=1), 3))
def rebound_where_nothing_gets(x, w, k):
    """The condition is decided while compiling: what the branch would have stored is never made."""
    if k > 2:
        pass
    elif x[0] < x[0]:
        w = x * w
    return np.sum(w * x)


@program((signed(6), 1, 4), (signed(6, seed=1), 3, 3))
def slices_of_one_length_by_two_names(x, lo, hi):
    """What the first slice gives is computed in the loop of the second, which has another length by name."""
    t = np.sin(x[lo:hi])
    u = x[: hi - lo] * 2.0
    x[0] = 7.0
    return np.sum(t * u) + np.sum(x)


@program((signed(6), 4), (signed(6, seed=1), 0))
def read_later_than_its_source_is_overwritten(x, n):
    t = np.exp(x[:n])
    x[1:] = x[:-1] * 1.5
    return np.sum(t * x[:n])


@program((signed(6), 5), (signed(6, seed=1), 0), (signed(6, seed=2), 1))
def next_element_then_this_one(x, n):
    """The store of element t + 1 hits nothing that was read, the one of element t does."""
    y = np.zeros(n + 1)
    y[0] = x[0]
    for t in range(n):
        y[t + 1] = np.sin(y[t]) * x[t]
        if y[t + 1] > 0.9:
            break
        y[t] = y[t] * y[t + 1]
    return np.sum(y * y)


@program((signed(6), 6), (signed(6, seed=1), 0))
def positions_that_wrap(x, n):
    """Elements before the first are those at the end, which other iterations write."""
    y = np.ones(6)
    for i in range(n):
        y[i - 2] = y[i - 3] * x[i]
        y[i] = y[i] + y[i - 2] ** 2
    return np.sum(y * x)
