"""Additions to one element beside those of inner loops: when they are kept apart, and that the numbers stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.frontends.from_python import parse
from gradc.ir.interp import run
from gradc.ir.nodes import walk_nodes
from gradc.ir.verifier import verify
from gradc.passes.apart import apart
from gradc.passes.cse import cse
from gradc.passes.dce import dce
from gradc.passes.hoist import hoist
from gradc.passes.ranges import ranges
from gradc.passes.simplify import simplify
from tests.oracle import copy_args

APART: list[Callable[..., Any]] = []
TOGETHER: list[Callable[..., Any]] = []


def in_parts(f: Callable[..., Any]) -> Callable[..., Any]:
    APART.append(f)
    return f


def as_it_is(f: Callable[..., Any]) -> Callable[..., Any]:
    TOGETHER.append(f)
    return f


# Every program gets M (4, 4), x (4,) and writes into y (4,).


@in_parts
def both_sides(M, x, y):
    for i in range(len(y)):
        s = 0.0
        for j in range(len(y)):
            y[j] += M[i, j] * x[i]
            s += M[i, j] * x[j]
        y[i] += s


@in_parts
def slices_and_two_elements(M, x, y):
    for i in range(len(y)):
        y[i] += x[i]
        for j in range(i):
            y[:j] += M[i, j] * x[j]
        y[i] += 2.0 * x[i]


@in_parts
def inside_another_loop(M, x, y):
    for k in range(2):
        for i in range(len(y)):
            for j in range(3):
                y[j] += M[i, j] * x[k]
            y[i] += x[i] * M[i, k]
        y *= 0.5


@as_it_is
def what_is_read(M, x, y):
    for i in range(len(y)):
        for j in range(len(y)):
            y[j] += M[i, j] * y[i]
        y[i] += x[i]


@as_it_is
def what_is_read_through_a_view(M, x, y):
    z = y[::-1]
    for i in range(len(y)):
        s = 0.0
        for j in range(len(y)):
            y[j] += M[i, j]
            s += z[j]
        y[i] += s


@as_it_is
def what_is_stored(M, x, y):
    for i in range(len(y)):
        for j in range(len(y)):
            y[j] += M[i, j] * x[i]
        y[0] = 1.0
        y[i] += x[i]


@as_it_is
def another_element(M, x, y):
    for i in range(len(y)):
        for j in range(len(y)):
            y[j] += M[i, j] * x[i]
        y[i - 1] += x[i]


@as_it_is
def a_loop_that_is_left(M, x, y):
    for i in range(len(y)):
        for j in range(len(y)):
            y[j] += M[i, j] * x[i]
        if x[i] > 0.3:
            break
        y[i] += x[i]


@as_it_is
def fewer_iterations(M, x, y):
    for i in range(2):
        for j in range(len(y)):
            y[j] += M[i, j] * x[i]
        y[i] += x[i]


def arguments() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(4, 4)), rng.normal(size=4), rng.normal(size=4)]


@pytest.mark.parametrize("f", [*APART, *TOGETHER], ids=lambda f: f.__name__)
def test_numbers_stay(f: Callable[..., Any]) -> None:
    func = parse(f, arguments()).func
    for run_pass in (simplify, cse, ranges, hoist, dce):
        func = run_pass(func)
    result = verify(apart(func), "apart")
    assert (result is func) == (f in TOGETHER)
    given, expected = copy_args(arguments()), copy_args(arguments())
    run(result, given)
    f(*expected)
    for ours, theirs in zip(given, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)


def test_gradients_of_sums_over_pairs() -> None:
    def energy(x, M):
        total = 0.0
        for i in range(len(x)):
            for j in range(len(x)):
                total += np.sin(x[i]) * M[i, j] * x[j] ** 2
        return total

    M, x, _ = arguments()
    ops = [node.op.name for node in walk_nodes(gradc.grad(energy).lower(x, M).staged.func.body)]
    assert ops.count("zeros") == 2
    gradc.check_grads(energy, (x, M), order=2)
    expected = np.cos(x) * (M @ x**2) + 2 * x * (M.T @ np.sin(x))
    np.testing.assert_allclose(gradc.grad(energy)(x, M), expected, rtol=1e-13)

