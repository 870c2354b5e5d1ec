"""Elementwise functions, reductions, products, shapes; kinks, ties and dangerous corners."""

from __future__ import annotations

import math

import numpy as np

from tests.programs.entry import arr, program, signed


@program((0.4,), (-1.3,))
def elementary_scalars(x):
    return math.sin(x) * math.exp(x) + math.cos(x) ** 2 + math.tanh(x) - math.atan(x) + math.sinh(x) / math.cosh(x)


@program((arr(4, low=0.2, high=0.9),))
def elementary_arrays(x):
    y = np.log(x) + np.sqrt(x) + np.arcsin(x) * np.arccos(x) + np.log1p(x) * np.expm1(x) + np.tan(x)
    return np.sum(y * np.arctan2(x, 1.0 + x))


@program((arr(4), arr(4, seed=1)))
def powers(x, y):
    return np.sum(x**y + x**-1.5 + x**3 + 2.0**y) + np.sum(np.power(x, 2)) + np.sum(np.square(y))


@program((signed(4),))
def integer_powers_of_negative(x):
    return np.sum(x**2 + x**3 - x**-1) + np.sum((-2.0) ** 2 * x)


@program((0.0, 2.0), (0.0, 3.0), gradients=((0.0, 0.0), (0.0, 0.0)))
def power_at_zero(x, y):
    return x**y


@program((0.0,), gradients=((0.0,),))
def zero_to_the_zero(x):
    return x**0


@program((signed(3, 4), signed(4, seed=1), signed(3, 1, seed=2), 0.7))
def broadcasting(A, row, col, s):
    return np.sum(A * row + col * s - row / (2.0 + col**2)) + np.sum(row * col)


@program((signed(4), signed(3, 4, seed=1)))
def broadcasting_in_place(x, A):
    B = A.copy()
    B += x
    B *= B[:, :1]
    B -= 2.0
    return np.sum(B**2)


@program((signed(3, 4),))
def reductions(A):
    return (
        np.sum(A, axis=0)[1] * np.mean(A)
        + np.sum(A.mean(axis=1) ** 2)
        + np.sum(np.sum(A, axis=-1, keepdims=True) * A)
        + np.sum(A, axis=(0, 1)) ** 2
    )


@program((signed(2, 3, 4),))
def reductions_3d(A):
    return (
        np.sum(np.sum(A, axis=(0, 2)) ** 2)
        + np.sum(np.max(A, axis=1) ** 2)
        + np.sum(np.min(A, axis=(0, 1), keepdims=True))
    )


@program((signed(3, 4),))
def variance(A):
    return np.var(A) + np.sum(np.std(A, axis=0)) + np.sum(np.var(A, axis=1, ddof=1) ** 2) + np.std(A)


@program((signed(5),))
def products_of_elements(x):
    return np.prod(x) + np.sum(np.prod(x.reshape(1, 5), axis=1))


@program((np.array([2.0, 0.0, 3.0]),), (np.array([0.0, 0.0, 3.0]),))
def product_with_zeros(x):
    return np.prod(x)


@program((signed(4), signed(4, seed=1), signed(4, 4, seed=2), signed(4, 3, seed=3)))
def matrix_products(x, y, A, B):
    return x @ y + np.sum(A @ B) + x @ A @ y + np.sum(np.dot(A, x) * y) + np.sum(x @ B) + np.sum(A.T @ B)


@program((signed(2, 3, 4), signed(2, 4, 2, seed=1), signed(4, 3, seed=2)))
def batched_products(A, B, C):
    return np.sum((A @ B) ** 2) + np.sum(A @ C) + np.sum(A @ C[:, 0])


@program((signed(3), signed(4, seed=1)))
def outer_products(x, y):
    return np.sum(np.outer(x, y) ** 2) + np.outer(x, x)[0, 2]


@program((signed(2, 3), signed(2, 3, seed=1), signed(3, seed=2)))
def joining(A, B, x):
    C = np.concatenate((A, B), axis=1)
    D = np.stack((A, B), axis=0)
    E = np.vstack((A, x))
    F = np.hstack((x, x[:2]))
    return np.sum(C**2) + np.sum(D[0] * D[1]) + np.sum(E[2] ** 3) + np.sum(F[3:] * F[:2])


@program((signed(2, 6),))
def shapes(A):
    B = A.reshape(3, -1)
    C = np.reshape(A, (2, 2, 3))
    D = np.transpose(C, (2, 0, 1))
    return np.sum(B[1] * B[2]) + np.sum(D[0] * D[1]) + np.sum(A.T[1] ** 2) + np.sum(np.expand_dims(A, 1)[:, 0] * A)


@program((signed(3, 3),))
def triangles(A):
    return np.sum(np.triu(A) * A) + np.sum(np.tril(A, -1) ** 2) + np.sum(np.diag(A) ** 3) + np.sum(np.diag(A[0]) @ A)


@program((signed(4),))
def makers(x):
    a = np.zeros(4) + np.ones_like(x) * np.arange(4) + np.linspace(0.0, 1.0, 4)
    b = np.full(4, x[0]) + np.full_like(x, 2.0)
    e = np.eye(4)
    return np.sum(a * x) + np.sum(b * x) + np.sum(e @ x)


@program((signed(4),))
def where_guard(x):
    safe = np.where(x > 0, x, 1.0)
    return np.sum(np.where(x > 0, np.log(safe), x**2))


@program((np.array([-1.0, 0.0, 4.0]),), gradients=((np.array([-2.0, 0.0, 0.25]),),))
def where_unguarded_root(x):
    # The side that is not taken is infinite or NaN in value and derivative.
    return np.sum(np.where(x > 0, np.sqrt(x), x**2))


@program((np.array([0.0, 2.0]),), gradients=((np.array([1.0, -0.25]),),))
def where_unguarded_division(x):
    return np.sum(np.where(x == 0, x, 1.0 / x))


@program((signed(4), signed(4, seed=1)))
def where_broadcast(x, y):
    return np.sum(np.where(x[:, None] > y, x[:, None] * y, 0.0)) + np.sum(np.where(x > 0, 1.0, y))


@program((signed(5), signed(5, seed=1)))
def maxima(x, y):
    return np.sum(np.maximum(x, y) ** 2 + np.minimum(x, 0.1) * y) + np.max(x) * np.min(y) + max(x[0], y[0])


@program((np.array([1.0, 2.0]), np.array([1.0, 3.0])), gradients=((np.array([0.5, 0.0]), np.array([0.5, 1.0])),))
def maximum_tie(x, y):
    return np.sum(np.maximum(x, y))


@program((np.array([0.0, -1.0, 2.0]),), gradients=((np.array([0.0, 0.0, 1.0]),),))
def relu_kink(x):
    return np.sum(np.maximum(x, 0))


@program((np.array([0.0, -1.0, 2.0]),), gradients=((np.array([0.0, -1.0, 1.0]),),))
def abs_kink(x):
    return np.sum(np.abs(x))


@program((np.array([3.0, 1.0, 3.0]),), gradients=((np.array([0.5, 0.0, 0.5]),),))
def max_tie(x):
    return np.max(x)


@program((2.0, 2.0), gradients=((0.5, 0.5),))
def builtin_max_tie(x, y):
    return max(x, y)


@program((np.array([-1.0, 0.0, 0.5, 1.0, 2.0]),), gradients=((np.array([0.0, 1.0, 1.0, 1.0, 0.0]),),))
def clip_bounds(x):
    return np.sum(np.clip(x, 0.0, 1.0))


@program((np.array([-1000.0, 0.0, 1000.0]),), gradients=((np.array([0.0, 0.25, 0.0]),),))
def saturated_sigmoid(x):
    return np.sum(1.0 / (1.0 + np.exp(-x)))


@program((np.array([-800.0, 0.5, 900.0]),))
def softplus_by_logaddexp(x):
    return np.sum(np.logaddexp(0.0, x))


@program((np.array([1000.0, 1000.5, -1000.0]),))
def log_softmax_large(x):
    z = x - np.max(x)
    return z[1] - np.log(np.sum(np.exp(z)))


@program((np.zeros(3),), gradients=((np.zeros(3),),))
def norm_at_zero(x):
    return np.sqrt(np.sum(x**2))


@program((np.array([0.3, -1.2, 2.7]),), gradients=((np.zeros(3),),))
def zero_derivatives(x):
    return np.sum(np.floor(x) + np.sign(x) + np.ceil(x)) + np.sum(x > 0)


@program((np.array([5.3, -5.3]), 2.0))
def modulo(x, m):
    return np.sum(x % m) + np.sum(x // m) + 7.5 % m


@program((0.0,), gradients=((math.inf,),))
def division_by_zero_limit(x):
    return np.sqrt(x)


@program((signed(4),))
def mixed_scalar_array_types(x):
    n = len(x)
    k = n // 2
    return (x * 2 + 1).sum() / n - np.float64(k) * x[k] + (x > 0).sum() * x[0]


@program((signed(4),))
def in_place_all_operators(x):
    y = x + 3.0
    y += x
    y -= 0.5
    y *= x
    y /= 2.0 + x**2
    y **= 2
    return np.sum(y)


@program((0.7,))
def in_place_scalars(x):
    x += 2
    x *= x
    x -= 1.0
    x /= 3
    x **= 2
    return x


@program((signed(4), 3))
def integer_float_mixing(x, n):
    total = 0
    for i in range(n):
        total += x[i] * i
        total = total / 2 + n // 2
    return total


@program((signed(3, 3), signed(3, seed=1)))
def quadratic_form_with_solve_by_hand(A, b):
    M = A @ A.T + 3.0 * np.eye(3)
    x = b.copy()
    for k in range(3):
        for i in range(k + 1, 3):
            f = M[i, k] / M[k, k]
            M[i, k:] -= f * M[k, k:]
            x[i] -= f * x[k]
    for i in range(2, -1, -1):
        x[i] = (x[i] - M[i, i + 1 :] @ x[i + 1 :]) / M[i, i]
    return np.dot(x, b)


@program((signed(6),))
def stencil_matrix_free(x):
    y = np.zeros_like(x)
    for _ in range(3):
        y[1:-1] = x[1:-1] + 0.1 * (x[2:] - 2.0 * x[1:-1] + x[:-2]) * y[:-2]
    return np.sum(y**2)


@program((signed(3, 4), signed(4, 2, seed=1), signed(2, seed=2), np.array([0, 1, 0])))
def small_classifier(x, W, b, labels):
    z = np.tanh(x @ W + b)
    z = z - np.max(z, axis=1, keepdims=True)
    logp = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.mean(logp[np.arange(3), labels])


@program((signed(4, 3),))
def pairwise_distances(P):
    d = P[:, None, :] - P[None, :, :]
    r2 = np.sum(d * d, axis=2)
    r = np.sqrt(r2)
    mask = r > 0
    r[mask] = 1.0 / r[mask]
    return np.sum(np.triu(r, 1))


@program((arr(5), 0.3))
def runge_kutta(y, dt):
    def f(u):
        return np.sin(u) - 0.1 * u * u

    for _ in range(4):
        k1 = f(y)
        k2 = f(y + 0.5 * dt * k1)
        k3 = f(y + 0.5 * dt * k2)
        k4 = f(y + dt * k3)
        y = y + dt / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return np.sum(y**2)


@program((arr(6, low=0.1, high=0.9),))
def float_comparison_counts(x):
    count = 0
    for v in x:
        if v > 0.5:
            count += 1
    return count * np.sum(x)


@program((np.zeros(0),), (np.zeros((0,)),))
def empty_array(x):
    return np.sum(x**2) + 3.0
