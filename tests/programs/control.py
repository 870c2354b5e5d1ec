"""Loops, branches, early exits."""

from __future__ import annotations

import math

import numpy as np

from tests.programs.entry import arr, program, signed


@program((1.3, 5), (1.3, 0), (1.3, -2))
def zero_trips(x, n):
    y = x
    for _ in range(n):
        y = y * x + 1.0
    return y


@program((signed(4), 0), (signed(4), 3))
def zero_trip_store(x, n):
    y = x.copy()
    for i in range(n):
        y[i] = y[i] * y[i + 1]
    return np.sum(y**2)


@program((0.01,), (3.7,), (200.0,))
def while_doubling(x):
    while x < 100.0:
        x = x * 2.0 + 0.1 * x * x
    return x


@program((2.0,), (50.0,))
def while_newton(a):
    x = a
    while abs(x * x - a) > 1e-13 * a:
        x = 0.5 * (x + a / x)
    return x


@program((signed(5),))
def while_on_array(x):
    y = x.copy()
    k = 0
    while np.sum(y**2) > 0.1 and k < 50:
        y = y * 0.8
        y[k % 5] *= y[(k + 1) % 5]
        k += 1
    return np.sum(y) + k


@program((arr(5), 2.0), (arr(5), 0.1), (arr(5), 100.0))
def early_return(x, limit):
    total = 0.0
    for i in range(len(x)):
        total += x[i] ** 2
        if total > limit:
            return total * x[i]
    return total


@program((arr(3, 4), 3.0), (arr(3, 4), 1000.0))
def return_from_nested_loops(A, limit):
    s = 1.0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            s = s + s * A[i, j]
            if s > limit:
                return s * A[0, 0]
        s = s * 0.9
    return s


@program((1.0, 2.0), (2.0, 1.0), (-1.0, 3.0))
def several_returns(x, y):
    if x < 0:
        return x * y
    if x > y:
        return x - y**2
    z = x * 3.0
    return z * y


@program((arr(6), 1.2), (arr(6), 9.0))
def break_out(x, limit):
    total = 0.0
    for i in range(len(x)):
        if total > limit:
            break
        total += x[i] * x[i]
    return total * limit


@program((signed(6),))
def continue_over(x):
    total = 0.0
    for i in range(len(x)):
        if x[i] < 0:
            continue
        total += x[i] ** 3
    return total


@program((signed(4, 5),))
def break_and_continue_nested(A):
    total = 0.0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            if A[i, j] > 1.2:
                break
            if j % 2 == 1:
                continue
            total += A[i, j] * (i + 1)
        total = total * 1.1
    return total


@program((arr(5), 1.0), (arr(5), 0.01))
def for_else(x, limit):
    total = 0.0
    for v in x:
        total += v * v
        if v < limit:
            break
    else:
        total *= 2.0
    return total


@program((0.5,), (2.5,))
def while_break(x):
    n = 0
    while True:
        x = x * 1.3
        n += 1
        if x > 10.0 or n >= 20:
            break
    return x * n


@program((0.5,), (1.5,))
def while_continue(x):
    n = 0
    y = 1.0
    while n < 6:
        n += 1
        if n % 3 == 0:
            continue
        y *= x
    return y


@program((signed(5),))
def loop_backwards(x):
    y = x.copy()
    for i in range(len(x) - 2, -1, -1):
        y[i] += 0.5 * y[i + 1] ** 2
    return y[0]


@program((signed(9), 2), (signed(9), 3))
def loop_with_step(x, s):
    total = 0.0
    for i in range(0, len(x), s):
        total += x[i] * (i + 1.0)
    return total * total


@program((signed(5),))
def loop_negative_indices(x):
    total = 0.0
    for i in range(1, len(x)):
        total += x[-i] * x[-i - 1]
    return total


@program((signed(4, 4),))
def triangular_loops(A):
    total = 0.0
    for i in range(A.shape[0]):
        for j in range(i):
            total += A[i, j] * A[j, i]
        for j in range(i, A.shape[1]):
            total -= A[i, j] ** 2
    return total


@program((signed(5), np.array([2, 0, 3])))
def bounds_from_data(x, counts):
    total = 0.0
    for n in counts:
        for j in range(n):
            total += x[j] ** 2
    return total


@program((signed(5),))
def loop_over_array(x):
    p = 1.0
    for v in x:
        p = p * (1.0 + v * v)
    return p


@program((signed(3, 4),))
def loop_over_rows(A):
    s = np.zeros(4)
    for row in A:
        s = s + row * s + row**2
    return np.sum(s)


@program((signed(5),))
def loop_enumerate(x):
    total = 0.0
    for i, v in enumerate(x):
        total += (i + 1) * v * v
    return total


@program((signed(5),))
def loop_enumerate_start(x):
    total = 0.0
    for k, v in enumerate(x, 2):
        total += v**k
    return total


@program((signed(5), arr(5)))
def loop_zip(x, y):
    total = 0.0
    for a, b in zip(x, y):  # noqa: B905 - the plain form is what is tested
        total += a * b**2
    return total


@program((signed(6), arr(4)))
def loop_zip_unequal(x, y):
    total = 0.0
    for i, (a, b) in enumerate(zip(x, y)):  # noqa: B905
        total += a * b * i
    return total


@program((signed(5),))
def loop_reversed(x):
    acc = 0.0
    for v in reversed(x):
        acc = acc * 0.5 + v * v
    return acc


@program((signed(5),))
def loop_reversed_range(x):
    acc = 0.0
    for i in reversed(range(len(x))):
        acc = acc * x[i] + 1.0
    return acc


@program((1.2, -0.7, 0.4))
def loop_over_tuple(a, b, c):
    total = 0.0
    for v in (a, b, c):
        total = total * v + v
    return total


@program((signed(3), arr(3)))
def loop_over_list_of_arrays(x, y):
    total = 0.0
    for v in [x, y, x * y]:
        total += np.sum(v**2)
    return total


@program((0.3,), (1.3,), (2.3,))
def elif_chain(x):
    if x < 1:
        y = x * x
    elif x < 2:
        y = 3.0 * x
    else:
        y = math.exp(-x)
    return y * x


@program((0.3, 1.0), (0.3, -1.0))
def branch_rebinds_several(x, c):
    a = x
    b = 2.0 * x
    if c > 0:
        a, b = b * x, a
    else:
        b = a * b
    return a + 10.0 * b


@program((1.5,), (-1.5,))
def branch_defines(x):
    if x > 0:
        y = x**2
        z = 3.0
    else:
        y = -x
        z = x
    return y * z


@program((0.5,), (1.5,), (2.5,))
def chained_comparison(x):
    if 1 < x < 2:
        return x**3
    return 2.0 * x if 0 < x <= 1 != 3 else x


@program((0.5, 2.0), (-0.5, 2.0), (0.5, -2.0))
def boolean_operators(x, y):
    r = 0.0
    if x > 0 and y > 0:
        r = x * y
    if not x > 0 or y < 0:
        r = x - y
    return r


@program((0.5,), (-0.5,))
def conditional_expression(x):
    return (x * x if x > 0 else -3.0 * x) + (1.0 if x < 1 else x)


@program((0.5,), (-0.5,))
def short_circuit(x):
    return math.sqrt(x) if x > 0 and math.sqrt(x) < 10 else x


@program((signed(5),))
def branch_in_loop(x):
    y = 0.0
    for v in x:
        if v > 0.5:
            y += v * v
        elif v < -0.5:
            y -= v**3
        else:
            y *= 1.0 + v
    return y


@program((signed(6),))
def carried_scalars(x):
    a, b = 0.0, 1.0
    for v in x:
        a, b = b + v * a, a * 0.5 + v
    return a * b


@program((signed(6),))
def running_maximum(x):
    best = x[0]
    at = 0
    for i in range(1, len(x)):
        if x[i] > best:
            best = x[i]
            at = i
    return best * (at + 1)


@program((1.1, 4), (1.1, 1), (1.1, 0))
def power_by_loop(x, n):
    r = 1.0
    while n > 0:
        if n % 2 == 1:
            r = r * x
        x = x * x
        n //= 2
    return r


@program((0.3, 7), (0.3, 12))
def collatz_trips(x, n):
    while n != 1:
        if n % 2 == 0:
            n = n // 2
            x = math.sin(x) + 1.0
        else:
            n = 3 * n + 1
            x = x * 0.9
    return x


@program((3.0, 2.0))
def loop_variable_after_loop(x, y):
    i = 0
    for i in range(4):
        x += y * i
    return x * i


@program((signed(4), 5))
def tape_of_arrays(x, n):
    y = x.copy()
    for i in range(n):
        y = np.sin(y) * x
        y[i % 4] = y[(i + 1) % 4] ** 2
    return np.sum(y)


@program((signed(4),))
def nested_loops_with_state(x):
    y = x.copy()
    for t in range(3):
        for i in range(1, len(y)):
            y[i] = y[i] * y[i - 1] + t
        y[0] = y[-1]
    return np.sum(y)


@program((arr(4),))
def while_in_for(x):
    total = 0.0
    for v in x:
        w = v
        while w < 3.0:
            w = w * w + 0.4
        total += w
    return total


@program((0.9, 3))
def for_in_while(x, n):
    k = 0
    y = x
    while y < 30.0:
        for _ in range(n):
            y = y * 1.1 + x
        k += 1
    return y * k


@program((0.5,), (1.5,))
def assertion_passes(x):
    assert x > 0, "positive"
    return math.log(x)


@program((-0.5,), raises=ValueError)
def raises_value_error(x):
    if x < 0:
        raise ValueError("negative")
    return math.sqrt(x)


@program((-0.5,), raises=AssertionError)
def assertion_fails(x):
    assert x > 0, "positive"
    return math.log(x)


@program((signed(3), 3), raises=IndexError)
def index_out_of_range(x, i):
    return x[i] * 2.0


@program((signed(3), 4), raises=IndexError)
def index_out_of_range_in_loop(x, n):
    total = 0.0
    for i in range(n):
        total += x[i]
    return total


@program((signed(3), np.array([0, 5])), raises=IndexError)
def gather_out_of_range(x, idx):
    return np.sum(x[idx])


@program((2.0, 0), raises=ZeroDivisionError)
def integer_division_by_zero(x, n):
    return x * (7 // n)


@program((signed(5),))
def walrus(x):
    total = 0.0
    for v in x:
        if (s := v * v) > 0.5:
            total += s * v
    return total


@program((0.7, 3), (0.7, 0))
def recursion(x, n):
    return _power(x, n)


def _power(x, n):
    if n == 0:
        return 1.0
    return x * _power(x, n - 1)


@program((signed(4), signed(4, seed=3)))
def loop_invariant_work(x, w):
    total = 0.0
    for i in range(3):
        s = np.sum(w * w)
        total += s * x[i] * i
    return total


@program((signed(6),), (signed(6, seed=8),))
def bubble_sort(x):
    y = x.copy()
    n = len(y)
    for i in range(n):
        for j in range(n - 1 - i):
            if y[j] > y[j + 1]:
                y[j], y[j + 1] = y[j + 1], y[j]
    total = 0.0
    for i in range(n):
        total += (i + 1) * y[i] ** 2
    return total


@program((signed(3, 4), signed(4, seed=1)))
def last_value_of_inner_loops(A, x):
    # Only the last iteration counts, so the reverse may not run in the order of the forward sweep.
    s = 0.0
    for _ in range(A.shape[0]):
        for j in range(2, -1, -1):
            s = np.cos(A[0, j]) * x[j]
    return s


@program((signed(2, 3), signed(3, seed=1), 0.6))
def new_array_in_one_branch(A, c, s):
    # What the branch stores has its cotangent from what follows, so its reverse cannot run with it.
    d = A[0]
    if A.shape[0] > 1:
        c = np.tanh(d * s * d[-1])
    return np.sum(np.sin(c))


@program((signed(5), 0.1), (signed(5), -0.1))
def sums_carried_through_inner_loops(x, limit):
    # The outer loop is run with its reverse, and so is then the inner one, which gives the outer one its sum.
    e = 0.0
    for i in range(x.size):
        if x[i] > limit:
            for j in range(i + 1, x.size):
                e += x[i] * np.sin(x[j])
        for j in range(i):
            d = x[i] - x[j]
            e += 1.0 / np.sqrt(d * d + 0.1)
    return e
