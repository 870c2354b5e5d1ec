"""Small calls (class C): where the time is the call's."""

from __future__ import annotations

import math

import numpy as np

from tests.workloads.entry import workload


def make_staged(rng, _n):
    return float(rng.standard_normal()), float(rng.standard_normal())


@workload("staged", "C", make_staged, (0, 1), ((1,), (2,), (3,)), {"": (1,)})
def staged(x, y):
    """f(x, y) = (x + sigmoid(y)) / (sigmoid(x) + (x + y)**2), in eight statements (after Karpathy's course notes)."""
    sigy = 1.0 / (1.0 + math.exp(-y))
    num = x + sigy
    sigx = 1.0 / (1.0 + math.exp(-x))
    xpy = x + y
    xpysqr = xpy**2
    den = sigx + xpysqr
    invden = 1.0 / den
    return num * invden


def make_neuron(rng, _n):
    return rng.standard_normal(3), rng.standard_normal(2)


@workload("neuron", "C", make_neuron, (0, 1), ((1,), (2,), (3,)), {"": (1,)})
def neuron(w, x):
    """A two-input sigmoid neuron with a bias."""
    dot = w[0] * x[0] + w[1] * x[1] + w[2]
    return 1.0 / (1.0 + math.exp(-dot))


def make_least_squares(rng, n):
    t = np.linspace(0.0, 1.0, n)
    return rng.standard_normal(10) / 3, t, np.sin(3 * t) + 0.1 * rng.standard_normal(n)


@workload("least_squares", "C", make_least_squares, (0,), ((3,), (8,), (30,)), {"50": (50,)})
def least_squares(p, t, y):
    """Sum of squares of a curve with ten parameters: five decaying exponentials."""
    model = np.zeros_like(t)
    for k in range(5):
        model += p[2 * k] * np.exp(-p[2 * k + 1] * t)
    residual = model - y
    return np.sum(residual**2)


def make_rosenbrock(rng, n):
    return (1.0 + 0.3 * rng.standard_normal(n),)


@workload("rosenbrock", "C", make_rosenbrock, (0,), ((2,), (10,), (50,)), {"2": (2,), "10": (10,), "1000": (1000,)})
def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
