"""The programs whose `.source` is kept in `tests/golden`: one for each thing that a reader should find well said."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

G = 9.81
WEIGHTS = np.array([0.25, 0.5, 0.25])
CASES: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = []


def case(*args: Any, argnums: Any = 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: keep the source of value and gradient of the function below for these arguments."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append((function, args, argnums))
        return function

    return enter


def arr(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers between 0.3 and 1.7."""
    return np.random.default_rng([seed, *shape]).uniform(0.3, 1.7, shape)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


@case(3.0, -4.0, argnums=(0, 1))
def staged(x, y):
    sigy = sigmoid(y)
    num = x + sigy
    sigx = sigmoid(x)
    xpy = x + y
    xpysqr = xpy**2
    den = sigx + xpysqr
    invden = 1.0 / den
    f = num * invden
    return f


@case(-2.0, 5.0, -4.0, argnums=(0, 1, 2))
def circuit(x, y, z):
    q = x + y
    f = q * z
    return f


@case(2.0, -3.0, argnums=(0, 1))
def neuron(w, x, b=0.5):
    dot = w * x + b
    return math.tanh(dot)


@case({"W1": arr(3, 4), "b1": arr(4), "W2": arr(4, 2, seed=1), "b2": arr(2)}, arr(5, 3), arr(5, 2))
def two_layers(params, X, Y):
    z1 = X @ params["W1"] + params["b1"]
    h = np.tanh(z1)
    scores = h @ params["W2"] + params["b2"]
    return np.mean((scores - Y) ** 2)


@case(arr(6, 3), arr(3, 4), np.array([0, 2, 1, 3, 0, 1]), argnums=1)
def softmax_loss(X, W, labels):
    scores = X @ W
    scores = scores - np.max(scores, axis=1, keepdims=True)
    log_sum = np.log(np.sum(np.exp(scores), axis=1))
    picked = scores[np.arange(len(labels)), labels]
    return np.mean(log_sum - picked)


@case(arr(5), 0.7, argnums=(0, 1))
def horner(c, x):
    s = 0.0
    for i in range(len(c)):
        s = s * x + c[i]
    return s


@case(1.1, 6)
def power(x, n):
    y = x
    for i in range(n):
        y = y * np.sin(y)
    return y


@case(1.0, 0.5, 5, argnums=(0, 1))
def fibonacci(a, b, n):
    for i in range(n):
        a, b = b, a * b + a
    return b


@case(2.0)
def newton(a):
    x = a
    while abs(x * x - a) > 1e-12:
        x = 0.5 * (x + a / x)
    return x


@case(0.5)
def branches(x):
    if x > 1.0:
        y = x * x
    elif x > 0.0:
        y = np.sin(x)
    else:
        y = -x
    return 3.0 * y


@case(5, arr(8), arr(8, seed=1), argnums=(1, 2))
def jacobi_1d(T, A, B):
    for t in range(1, T):
        B[1:-1] = 0.33333 * (A[:-2] + A[1:-1] + A[2:])
        A[1:-1] = 0.33333 * (B[:-2] + B[1:-1] + B[2:])
    return np.sum(A * A)


@case(3, arr(6, 6), argnums=1)
def seidel_2d(T, A):
    n = A.shape[0]
    for t in range(T):
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                A[i, j] = (A[i - 1, j] + A[i, j - 1] + A[i, j] + A[i, j + 1] + A[i + 1, j]) / 5.0
    return np.sum(A)


@case(arr(4, 4) @ arr(4, 4).T + 4.0 * np.eye(4))
def cholesky(A):
    n = A.shape[0]
    for i in range(n):
        for j in range(i):
            A[i, j] -= A[i, :j] @ A[j, :j]
            A[i, j] /= A[j, j]
        A[i, i] -= A[i, :i] @ A[i, :i]
        A[i, i] = np.sqrt(A[i, i])
    return np.sum(np.log(np.diag(A)))


@case(arr(7))
def early_exit(x):
    total = 0.0
    for i in range(len(x)):
        if total > 3.0:
            break
        total += x[i] ** 2
    return total


@case(arr(6), np.array([0, 3, 3, 5]))
def gather_mask(x, index):
    y = x[index] * 2.0
    x[x > 1.0] = 1.0
    return np.sum(y) + np.sum(x**3)


class State(NamedTuple):
    """Angle and speed."""

    theta: float
    omega: float


@case(State(0.3, 0.0), 0.01, 20, argnums=(0, 1))
def pendulum(state, h, steps):
    theta, omega = state.theta, state.omega
    for k in range(steps):
        omega = omega - h * G * math.sin(theta)
        theta = theta + h * omega
    return theta


@case(arr(9))
def smooth(x):
    total = 0.0
    for i in range(1, len(x) - 1):
        v = WEIGHTS[0] * x[i - 1] + WEIGHTS[1] * x[i] + WEIGHTS[2] * x[i + 1]
        total += v**2
    return total


@case(arr(5), arr(5, seed=2), argnums=(0, 1))
def arc_length(x, y):
    dx = x[1:] - x[:-1]
    dy = y[1:] - y[:-1]
    return np.sum(np.sqrt(dx**2 + dy**2))


@case(np.float32(2.0), arr(4).astype(np.float32), argnums=(0, 1))
def single_precision(scale, x):
    y = x / math.sqrt(2.0)
    return np.sum(scale * y * y) / 3.0


def scale_in_place(a, s):
    a *= s


@case(arr(4), 1.5, argnums=(0, 1))
def helper_mutates(a, s):
    b = a.copy()
    scale_in_place(b, s)
    c = b[::2]
    c += 1.0
    return np.sum(b * b)


@case(arr(3, 3), arr(3), argnums=(0, 1))
def rnn(W, h):
    for t in range(4):
        h = np.tanh(W @ h)
    return np.sum(h)
