"""Longer programs that mix what the other lists have one at a time."""

from __future__ import annotations

import math

import numpy as np

from tests.programs.entry import arr, backward, fortran, program, readonly, signed, strided


@program((arr(6), 0.1, 5), (arr(6), 0.1, 0), (arr(6), 0.1, 1))
def leapfrog_ring(q, dt, n):
    p = np.zeros_like(q)
    for step in range(n):
        force = np.empty_like(q)
        for i in range(len(q)):
            force[i] = q[(i + 1) % len(q)] - 2.0 * q[i] + q[i - 1]
        if step % 2 == 0:
            p += dt * force
            q = q + dt * p
        else:
            q = q + dt * p
            p = p + dt * force * q
    return 0.5 * np.sum(p**2) + np.sum(q**4)


@program((signed(5, 5), signed(5)), (signed(3, 3), signed(3)))
def gauss_pivoting(A, b):
    A = A.copy()
    x = b.copy()
    n = len(b)
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(A[i, k]) > abs(A[best, k]):
                best = i
        if best != k:
            for j in range(k, n):
                A[k, j], A[best, j] = A[best, j], A[k, j]
            x[k], x[best] = x[best], x[k]
        for i in range(k + 1, n):
            f = A[i, k] / A[k, k]
            A[i, k:] -= f * A[k, k:]
            x[i] -= f * x[k]
    for i in range(n - 1, -1, -1):
        x[i] = (x[i] - np.dot(A[i, i + 1 :], x[i + 1 :])) / A[i, i]
    return np.sum(x**2)


@program((signed(4, 4), signed(4)))
def power_iteration(A, v):
    S = A @ A.T
    eigenvalue = 0.0
    for _ in range(20):
        w = S @ v
        norm = np.sqrt(np.sum(w * w))
        v = w / norm
        previous, eigenvalue = eigenvalue, norm
        if abs(previous - eigenvalue) < 1e-6:
            break
    return eigenvalue + v[0]


@program((arr(4), arr(4, seed=1), 7))
def conjugate_gradient(d, b, n):
    x = np.zeros_like(b)
    r = b.copy()
    p = r
    rs = r @ r
    for k in range(n):
        Ap = d * p + 0.1 * np.sum(p)
        a = rs / (p @ Ap)
        x += a * p
        r = r - a * Ap
        new = r @ r
        if np.sqrt(new) < 1e-3:
            break
        p = r + (new / rs) * p
        rs = new
    return np.sum(x * b)


@program((signed(8),), (signed(16),))
def butterfly(x):
    y = x.copy()
    n = len(y)
    width = 1
    while width < n:
        for start in range(0, n, 2 * width):
            for k in range(start, start + width):
                a, b = y[k], y[k + width]
                y[k], y[k + width] = a + b, (a - b) * 0.7
        width *= 2
    return np.sum(y**3)


@program((arr(5, 4), np.array([0, 1, 1, 0, 1])))
def forward_algorithm(emission, observed):
    alpha = np.full(4, 0.25) * emission[0]
    total = 0.0
    for t in range(1, len(observed)):
        scale = np.sum(alpha)
        total += np.log(scale)
        alpha = alpha / scale
        nxt = np.empty(4)
        for j in range(4):
            s = 0.0
            for i in range(4):
                if abs(i - j) <= 1:
                    s += alpha[i] * (0.5 if i == j else 0.25)
            nxt[j] = s * emission[t, j] if observed[t] else s / emission[t, j]
        alpha = nxt
    return total + np.log(alpha.sum())


@program((signed(5), signed(4, seed=1)))
def soft_edit_distance(a, b):
    n, m = len(a), len(b)
    D = np.zeros((n + 1, m + 1))
    D[0, 1:] = np.arange(1, m + 1)
    D[1:, 0] = np.arange(1, n + 1)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            cost = (a[i - 1] - b[j - 1]) ** 2
            D[i, j] = min(D[i - 1, j] + 1.0, D[i, j - 1] + 1.0, D[i - 1, j - 1] + cost)
    return D[n, m]


@program((signed(6, 3),))
def knn_weights(P):
    total = 0.0
    for i in range(len(P)):
        d = np.sum((P - P[i]) ** 2, axis=1)
        d[i] = np.max(d) + 1.0
        j = int(np.argmin(d))
        total += np.exp(-d[j]) * P[j, 0]
    return total


@program((signed(4), fortran(4, 3), strided(3), backward(4), readonly(2)))
def every_layout(a, F, s, r, ro):
    F[1:, ::2] *= s[::2]
    F[0] += F[2, ::-1] * s
    r[::-1] += a
    return (F.T @ a) @ s + np.sum(r * a) + ro[0] * F[3, 2] + np.sum(F, axis=1) @ r


@program((signed(3, 4), 2), (signed(3, 4), 0), (signed(3, 4), 3))
def split_at(A, k):
    top, bottom = A[:k], A[k:]
    return np.sum(top**2) - np.sum(bottom**3) + top.shape[0] * np.sum(A)


@program((1.5, 0.2), (-1.5, 0.2), (0.05, 0.2))
def huber_like(r, delta):
    if abs(r) <= delta:
        return 0.5 * r * r
    return delta * (abs(r) - 0.5 * delta) * (1 if r > 0 else 2)


@program((signed(7), 3), (signed(7), 1), (signed(7), 7))
def moving_average(x, w):
    out = np.zeros(len(x) - w + 1)
    s = 0.0
    for i in range(len(x)):
        s += x[i]
        if i >= w:
            s -= x[i - w]
        if i >= w - 1:
            out[i - w + 1] = s / w
    return np.sum(out**2)


@program((arr(5),))
def running_product_and_reset(x):
    p = 1.0
    log = []
    for i in range(5):
        p *= x[i]
        log.append(p)
        if i == 2:
            p = x[0]
    return log[1] * log[4] + sum(log)


def _rotate(M, i, j, angle):
    c, s = np.cos(angle), np.sin(angle)
    row = M[i].copy()
    M[i] = c * row - s * M[j]
    M[j] = s * row + c * M[j]
    return M


@program((signed(3, 3), np.array([0.3, -0.8, 1.1])))
def givens_chain(M, angles):
    M = M * 1.0
    k = 0
    for i in range(2):
        for j in range(i + 1, 3):
            M = _rotate(M, i, j, angles[k])
            k += 1
    return np.sum(M[0] * M[2]) + M[1, 1]


@program((signed(4, 4),))
def checkerboard(A):
    B = A.copy()
    for colour in (0, 1):
        for i in range(1, 3):
            for j in range(1 + (i + colour) % 2, 3, 2):
                B[i, j] = 0.25 * (B[i - 1, j] + B[i + 1, j] + B[i, j - 1] * B[i, j + 1])
    return np.sum(B**2)


@program((arr(3), 10.0), (arr(3), 0.5))
def clip_gradient_step(w, limit):
    for _ in range(3):
        g = 2.0 * w + np.sin(w)
        n = math.sqrt(np.sum(g * g))
        if n > limit:
            g *= limit / n
        w = w - 0.1 * g
    return np.sum(w**2)


@program((signed(4), signed(3, 4, seed=1)))
def sequence_of_views(x, A):
    B = A.copy()
    v = B[0]
    for i in range(1, 3):
        v += x * B[i]
        v = B[i]
    v *= 2.0
    return np.sum(B**2)


@program((signed(4), 0.5), (signed(4), -0.5))
def alias_through_branch(x, c):
    a = x * 1.0
    b = x * 2.0
    if c > 0:
        target = a
    else:
        target = b
    for i in range(3):
        target[i] = target[i + 1] * a[i] + b[i]
    return np.sum(a * b)


@program((signed(4),))
def two_names_one_loop(x):
    a = x.copy()
    b = a
    for i in range(1, 4):
        b[i] += a[i - 1] ** 2
        a[0] = b[i] * 0.5
    a = a * 2.0
    b[0] = 1.0
    return np.sum(a * b)


@program((signed(5), 3))
def dynamic_rank_one_updates(x, n):
    A = np.eye(5)
    for k in range(n):
        u = x[k:] * 1.0
        A[k:, k:] += u[:, None] * u
        A[:k, k] = A[k, :k] + x[k]
    return np.sum(A * A)


@program((arr(2, 3),))
def size_changes_in_loop(A):
    x = A[0]
    for _ in range(3):
        x = np.concatenate((x[1:], x[:1] * A[1, 0]))
    return np.sum(x * A[1])


@program((arr(4), 4), (arr(4), 1), (arr(4), 0))
def triangular_stack(x, n):
    total = 0.0
    for i in range(n):
        prefix = x[: i + 1]
        weights = np.exp(prefix - np.max(prefix))
        total += np.sum(weights * prefix) / np.sum(weights)
    return total


@program((0.3, 0.7))
def tuple_state_machine(a, b):
    state = (a, b, 0)
    while state[2] < 5:
        u, v, k = state
        state = (u * v + a, v * 0.9, k + 1)
    return state[0] + state[1]


@program((signed(3),))
def list_of_arrays_rebound(x):
    layers = [x * 1.0, x * 2.0, x * 3.0]
    for k in range(1, 3):
        layers[k] = np.tanh(layers[k - 1]) + layers[k]
        layers[k - 1] *= 2.0
    return np.sum(layers[0] * layers[1] * layers[2])


@program((signed(3, 3),))
def nested_conditionals(A):
    total = 0.0
    for i in range(3):
        for j in range(3):
            v = A[i, j]
            if v > 0:
                if i == j:
                    total += v**3
                elif i < j:
                    total -= v
                else:
                    w = v * total
                    total += w if w < 1 else v
            elif v > -1:
                continue
            else:
                total *= 0.5
    return total


@program((np.float32(0.5), np.array(0.25, dtype=np.float32)), (0.5, np.array(0.25)))
def zero_d_mixtures(s, z):
    return s * z + np.exp(z) - z**2


@program((signed(2, 3),))
def zero_d_results_of_reductions(A):
    m = np.max(A)
    s = A.sum()
    B = A - m
    B /= s
    return B[0, 0] * B[1, 2] + m * s


@program((signed(3), np.array([1, 0, 2])), (signed(3), np.array([0, 0, 0])))
def permute_in_place(x, perm):
    y = x.copy()
    y[perm] = y * 2.0
    y = y[perm]
    y[perm[0]] += 1.0
    return np.sum(y * x)


@program((signed(4),))
def comparison_arithmetic(x):
    return np.sum((x > 0) * x + (x <= 0) * x**2) + np.sum(x[x != x[0]]) + float(np.sum(x > 0.2))


@program((signed(3), 2.0))
def boolean_scalars_carried(x, limit):
    found = False
    total = 0.0
    for v in x:
        if not found and v * v > 0.1:
            found = True
            total += v * limit
        elif found:
            total += v
    return total * (2.0 if found else 1.0)


@program((arr(3), np.array([2, 3, 1])))
def integer_carried(x, n):
    total = 0.0
    count = 0
    for i in range(3):
        for _ in range(n[i]):
            total = total * 0.5 + x[i] * count
            count += n[i]
    return total / count


@program((0.4, 1.7))
def early_return_in_helper(x, y):
    return _first_above([x, y, x * y], 0.5) + _first_above((y, x), 1.0) * x


def _first_above(values, limit):
    for v in values:
        if v > limit:
            return v * v
    return values[0]


@program((arr(6), 1.5), (arr(6), 100.0))
def early_return_of_arrays(x, limit):
    y = x.copy()
    for i in range(1, len(x)):
        y[i] += y[i - 1]
        if y[i] > limit:
            return y * x
    return y


@program((signed(3, 2),), (signed(5, 2),))
def list_from_rows(A):
    norms = np.array([np.sum(A[i] ** 2) for i in range(3)])
    return np.sum(norms * norms) + np.max(norms)


@program((arr(3), arr(3, seed=1)))
def assign_expression_results(x, y):
    z = w = np.sqrt(x * y)
    z = z + w
    w *= 2.0
    return np.sum(z * w)


@program((np.array([[1.0, 2.0], [2.0, 1.0]]),), gradients=((np.array([[0.0, 0.5], [0.5, 0.0]]),),))
def max_of_all_ties(A):
    return A.max()


@program((np.array([2.0, 2.0, 1.0]),), gradients=((np.array([1.0, 0.0, 0.0]),),))
def argmax_first_of_ties(x):
    return x[np.argmax(x)]


@program((signed(0, 3), signed(3)))
def zero_rows(A, x):
    return np.sum(A @ x) + np.sum(x**2) + np.sum(A)


@program((arr(3), 0), (arr(3), 2))
def while_zero_trips_with_store(x, n):
    y = x * 1.0
    k = 0
    while k < n:
        y[k] = y[k + 1] ** 2
        k += 1
    else:
        y[2] *= 3.0
    return np.sum(y * x)


@program((signed(2, 2), signed(2, 2, seed=1)))
def matrix_recurrence(A, B):
    M = np.eye(2)
    for k in range(4):
        M = M @ A + B if k % 2 else A @ M - M.T
    return np.trace(M) + M[0, 1]


@program((signed(3, 3), 0.5))
def inplace_matmul_through_view(A, s):
    B = np.zeros((2, 3, 3))
    B[0] = A @ A
    B[1, :, :2] = (A.T @ B[0])[:, 1:] * s
    B[:, 0] -= B[:, 2]
    return np.sum(B**2)


@program((0.2, signed(4), signed(4, seed=2)), (0.2, arr(4), signed(4, seed=2)), (0.2, -arr(4), signed(4, seed=2)))
def written_in_one_branch_rebound_in_the_other(s, v, w):
    top = np.max(v)
    if 0.1 < top < 0.9:
        v += np.tanh(v * w)
    else:
        if top > s:
            v = np.where(v > 0.1, np.tanh(w * 2), np.concatenate((v[2:], v[:2])))
    return np.sum(v * 0.25)


@program((0.5, signed(4), arr(4), 3), (0.5, signed(4), arr(4), 0), (-0.5, signed(4), signed(4), 2))
def rebound_in_a_loop_in_a_branch_then_written(s, v, w, k):
    if 0.1 < s < 0.9:
        for _ in range(k):
            w = np.concatenate((w[2:], v[:2]))
    w[0:0] += s
    w[1] *= s
    return np.sum(w * 0.25)
