"""Derivatives called in nopython code, against the same loop with a derivative written by hand, which Numba inlines.

Each contestant is an @njit loop that calls the derivative and adds up what it gives.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

import gradc
from bench.runner import interleaved, text_table


@dataclass(frozen=True)
class Case:
    """A derivative by gradc and by hand, and a loop factory: loop(derivative)(count, *args)."""

    name: str
    gradc: Any
    by_hand: Any
    loop: Callable[[Any], Any]
    args: tuple[Any, ...]
    count: int


# --------------------------------------------------------------------------------------------------- scalars


def product(x):
    return np.sin(x) * x


@njit
def product_by_hand(x):
    return np.cos(x) * x + np.sin(x)


def staged(x, y):
    sigy = 1.0 / (1 + np.exp(-y))
    num = x + sigy
    sigx = 1.0 / (1 + np.exp(-x))
    xpy = x + y
    den = sigx + xpy**2
    return num / den


@njit(error_model="numpy")
def staged_by_hand(x, y):
    sigy = 1.0 / (1 + np.exp(-y))
    num = x + sigy
    sigx = 1.0 / (1 + np.exp(-x))
    xpy = x + y
    invden = 1.0 / (sigx + xpy * xpy)
    dden = -num * invden * invden
    dboth = 2.0 * xpy * dden
    return invden + (1 - sigx) * sigx * dden + dboth, (1 - sigy) * sigy * invden + dboth


def valley(x, y):
    return (1 - x) ** 2 + 100.0 * (y - x**2) ** 2


@njit
def valley_by_hand(x, y):
    a, b = 1 - x, y - x * x
    return a * a + 100.0 * b * b, (-2.0 * a - 400.0 * x * b, 200.0 * b)


def over_x(derivative):
    @njit
    def run(count):
        total = 0.0
        for i in range(count):
            total += derivative(0.1 + 1e-7 * i)
        return total

    return run


def over_pairs(derivative):
    @njit
    def run(count):
        total = 0.0
        for i in range(count):
            dx, dy = derivative(0.1 + 1e-7 * i, 0.2)
            total += dx + 2.0 * dy
        return total

    return run


def over_values_and_pairs(derivative):
    @njit
    def run(count):
        total = 0.0
        for i in range(count):
            value, (dx, dy) = derivative(0.1 + 1e-7 * i, 0.2)
            total += value + dx + 2.0 * dy
        return total

    return run


# ---------------------------------------------------------------------------------------------------- arrays


def norm(x):
    return 0.5 * (x * x).sum()


@njit
def norm_by_hand(x):
    return x.copy()


def chain(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@njit
def chain_by_hand(x):
    dx = np.zeros_like(x)
    for i in range(len(x) - 1):
        t = x[i + 1] - x[i] * x[i]
        dx[i] += -400.0 * x[i] * t - 2.0 * (1 - x[i])
        dx[i + 1] += 200.0 * t
    return dx


def form(x, matrix):
    total = 0.0
    for i in range(len(x)):
        for j in range(len(x)):
            total += x[i] * matrix[i, j] * x[j]
    return 0.5 * total


@njit
def form_by_hand(x, matrix):
    dx = np.zeros_like(x)
    for i in range(len(x)):
        for j in range(len(x)):
            dx[i] += 0.5 * (matrix[i, j] + matrix[j, i]) * x[j]
    return dx


def springs(x):
    d = x[1:] - x[:-1]
    return 0.5 * np.sum(d * d) + 0.25 * np.sum(d**4)


@njit
def springs_by_hand(x):
    dx = np.zeros_like(x)
    for i in range(len(x) - 1):
        d = x[i + 1] - x[i]
        force = d + d * d * d
        dx[i + 1] += force
        dx[i] -= force
    return dx


def attraction(x):
    return -1.0 / np.sqrt(x[0] ** 2 + x[1] ** 2)


@njit
def attraction_by_hand(x):
    square = x[0] * x[0] + x[1] * x[1]
    c = 1.0 / (square * np.sqrt(square))
    dx = np.empty(2)
    dx[0] = c * x[0]
    dx[1] = c * x[1]
    return dx


def oscillator(p):
    """Fifty explicit steps of van der Pol's equation."""
    x, v = p[0], p[1]
    for _ in range(50):
        x, v = x + 0.01 * v, v + 0.01 * (p[2] * (1 - x * x) * v - x)
    return x * x + v


@njit
def oscillator_by_hand(p):
    xs, vs = np.empty(50), np.empty(50)
    x, v = p[0], p[1]
    for i in range(50):
        xs[i] = x
        vs[i] = v
        x, v = x + 0.01 * v, v + 0.01 * (p[2] * (1 - x * x) * v - x)
    dx, dv, dm = 2 * x, 1.0, 0.0
    for i in range(49, -1, -1):
        x, v = xs[i], vs[i]
        dm += dv * 0.01 * (1 - x * x) * v
        dx, dv = dx - dv * 0.01 * (2 * p[2] * x * v + 1), dx * 0.01 + dv * (1 + 0.01 * p[2] * (1 - x * x))
    dp = np.empty(3)
    dp[0] = dx
    dp[1] = dv
    dp[2] = dm
    return dp


def mixture(x, centers):
    total = 0.0
    for k in range(centers.shape[0]):
        d = 0.0
        for j in range(len(x)):
            d += (x[j] - centers[k, j]) ** 2
        total += np.exp(-0.5 * d)
    return -np.log(total)


@njit
def mixture_by_hand(x, centers):
    dx = np.zeros_like(x)
    total = 0.0
    for k in range(centers.shape[0]):
        d = 0.0
        for j in range(len(x)):
            d += (x[j] - centers[k, j]) ** 2
        e = np.exp(-0.5 * d)
        total += e
        for j in range(len(x)):
            dx[j] += e * (x[j] - centers[k, j])
    return dx / total


def over_array(derivative):
    @njit
    def run(count, x):
        total = 0.0
        for _ in range(count):
            total += derivative(x)[0]
        return total

    return run


def over_array_and_matrix(derivative):
    @njit
    def run(count, x, matrix):
        total = 0.0
        for _ in range(count):
            total += derivative(x, matrix)[0]
        return total

    return run


def cases() -> list[Case]:
    x = np.linspace(0.5, 1.5, 100)
    both = (0, 1)
    centers = np.sin(np.arange(20.0)).reshape(4, 5)
    return [
        Case("sin(x) x", gradc.grad(product), product_by_hand, over_x, (), 100_000),
        Case("staged", gradc.grad(staged, both), staged_by_hand, over_pairs, (), 100_000),
        Case("rosenbrock 2", gradc.value_and_grad(valley, both), valley_by_hand, over_values_and_pairs, (), 100_000),
        Case("norm 3", gradc.grad(norm), norm_by_hand, over_array, (x[:3].copy(),), 20_000),
        Case("rosenbrock 10", gradc.grad(chain), chain_by_hand, over_array, (x[:10].copy(),), 20_000),
        Case("rosenbrock 100", gradc.grad(chain), chain_by_hand, over_array, (x,), 5_000),
        Case("springs 8", gradc.grad(springs), springs_by_hand, over_array, (x[:8].copy(),), 20_000),
        Case("attraction", gradc.grad(attraction), attraction_by_hand, over_array, (x[:2].copy(),), 20_000),
        Case("van der Pol", gradc.grad(oscillator), oscillator_by_hand, over_array, (x[:3].copy(),), 2_000),
        Case("mixture 4x5", gradc.grad(mixture), mixture_by_hand, over_array_and_matrix, (x[:5], centers), 5_000),
        Case("form 10", gradc.grad(form), form_by_hand, over_array_and_matrix, (x[:10].copy(), np.eye(10)), 5_000),
    ]


def nopython_table(budget: float, clock: Callable[[], float] = time.process_time) -> str:
    """Nanoseconds per derivative, and how many times as long gradc's takes."""
    lines = []
    for case in cases():
        loops = {name: case.loop(getattr(case, name)) for name in ("gradc", "by_hand")}
        results = [loop(10, *case.args) for loop in loops.values()]
        assert abs(results[0] - results[1]) <= 1e-9 * abs(results[1]), case.name
        calls = {name: (lambda loop=loop, c=case: loop(c.count, *c.args)) for name, loop in loops.items()}
        seconds = interleaved(calls, budget, clock=clock)
        ours, theirs = (1e9 * seconds[name] / case.count for name in ("gradc", "by_hand"))
        lines.append([case.name, f"{ours:.1f} ns", f"{theirs:.1f} ns", f"{ours / theirs:.2f}"])
    title = "Derivatives called in nopython code"
    return f"{title}\n\n{text_table(['function', 'gradc', 'by hand', 'gradc/by hand'], lines)}\n\n{sampler_line()}\n"


def sampler_line() -> str:
    """What a leapfrog step of `examples/hmc.py` takes, and of the same sampler in Python with JAX's gradient."""
    path = Path(__file__).parent.parent / "examples" / "hmc.py"
    spec = importlib.util.spec_from_file_location("hmc", path)
    assert spec is not None and spec.loader is not None
    hmc = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(hmc)
        ours = hmc.nanoseconds_per_step(hmc.sample, 5_000, 12)
        theirs = hmc.nanoseconds_per_step(hmc.jax_sampler(), 200, 12)
    except ModuleNotFoundError as error:
        return f"Hamiltonian Monte Carlo: {error.name} is not installed."
    times = f"gradc {ours:.0f} ns, JAX {theirs:.0f} ns, {theirs / ours:.0f} times"
    return f"Hamiltonian Monte Carlo, a leapfrog step: {times}"
