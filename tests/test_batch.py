"""Loops of products as larger products: where it is done, where it must not be, and that the numbers stay."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.frontends.from_python import parse
from gradc.ir.interp import run
from gradc.ir.nodes import Func, walk_nodes
from gradc.ir.verifier import verify
from gradc.passes.batch import batch
from gradc.passes.cse import cse
from gradc.passes.dce import dce
from gradc.passes.hoist import hoist
from gradc.passes.privatize import privatize
from gradc.passes.ranges import ranges
from gradc.passes.simplify import simplify
from tests import random_products
from tests.oracle import copy_args, directional, pair, random_direction
from tests.random_products import program

BATCHED: list[Callable[..., Any]] = []
KEPT: list[Callable[..., Any]] = []


def batched(f: Callable[..., Any]) -> Callable[..., Any]:
    BATCHED.append(f)
    return f


def kept(f: Callable[..., Any]) -> Callable[..., Any]:
    KEPT.append(f)
    return f


# ------------------------------------------------------------------------------------ what is one product
# Every program gets A (5, 4), B (4, 3), C (5, 3), x (5,), s and writes into C or x; m, n, p are its sizes.


@batched
def three_loops(A, B, C, x, s):
    for i in range(C.shape[0]):
        for j in range(C.shape[1]):
            for k in range(B.shape[0]):
                C[i, j] += A[i, k] * B[k, j]


@batched
def three_loops_in_another_order(A, B, C, x, s):
    for k in range(B.shape[0]):
        for i in range(C.shape[0]):
            for j in range(C.shape[1]):
                C[i, j] -= s * A[i, k] * B[k, j]


@batched
def a_number_that_is_summed(A, B, C, x, s):
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            total = 0.5
            for k in range(A.shape[1]):
                total += A[i, k] * B[k, j]
            C[i, j] = s * total + 2.0 * C[i, j]


@batched
def rows_added(A, B, C, x, s):
    for i in range(A.shape[0]):
        for k in range(A.shape[1]):
            C[i] += A[i, k] * B[k]


@batched
def outer_products(A, B, C, x, s):
    for k in range(A.shape[1]):
        C += A[:, k, None] * B[k] * s


@kept
def pairs(A, B, C, x, s):
    """One pass over the rows of A as it stands; two of a matrix and a vector."""
    for i in range(A.shape[0]):
        for j in range(C.shape[1]):
            x[i] += C[i, j] * B[0, j]


@kept
def distances(A, B, C, x, s):
    """The differences would be made and kept first."""
    for i in range(A.shape[0]):
        total = 0.0
        for j in range(A.shape[1]):
            total += (A[i, j] - B[j, 0]) * (A[i, j] - B[j, 0])
        x[i] += total


@batched
def triangle(A, B, C, x, s):
    D = np.zeros((A.shape[0], A.shape[0]))
    for i in range(A.shape[0]):
        D[i, : i + 1] *= s
        for k in range(A.shape[1]):
            D[i, : i + 1] += s * A[i, k] * A[: i + 1, k]
    x += D.sum(axis=0)


@batched
def columns_of_a_product(A, B, C, x, s):
    for j in range(B.shape[1]):
        C[:, j] = A @ B[:, j] + s


@batched
def backwards(A, B, C, x, s):
    for i in range(A.shape[0] - 1, -1, -1):
        for k in range(A.shape[1] - 1, -1, -1):
            C[i] += B[k] * A[i, k]


@batched
def a_part_of_the_range(A, B, C, x, s):
    for k in range(1, A.shape[1] - 1):
        C[1:, :] += A[1:, k, None] * B[k + 1]


@batched
def element_read_before_it_is_written(A, B, C, x, s):
    for j in range(B.shape[1]):
        old = C[0, j]
        C[0, j] = 3.0 * s
        C[1:, j] += old * (A[1:] @ B[:, j])


@batched
def expression_read_before_it_is_overwritten(A, B, C, x, s):
    D = np.zeros((C.shape[1], C.shape[0]))
    for j in range(C.shape[1]):
        t = C[:, j] * s
        C[:, j] = A @ B[:, j]
        D[j, :] = t
    x += D[0] * D[1]


@batched
def samples_of_a_quadratic(A, B, C, x, s):
    total = 0.0
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            r = A[i] @ B[:, j] - C[i, j]
            total += r * x[i]
    x[0] += total


@batched
def no_iterations(A, B, C, x, s):
    n = A.shape[1] - 4
    for i in range(A.shape[0]):
        for k in range(n):
            C[i] += A[i, k] * B[k + 9]


@batched
def one_loop_empty_the_other_not(A, B, C, x, s):
    for k in range(A.shape[1]):
        for i in range(3, A.shape[0] - 3):
            C[i] += A[i, k] * B[k]


@batched
def powers_by_columns(A, B, C, x, s):
    for j in range(B.shape[1]):
        C[:, j] += np.tanh(A @ B[:, j]) * x


@batched
def what_stands_beside_a_loop_that_does_not_run(A, B, C, x, s):
    n = A.shape[1] - 4
    for i in range(A.shape[0]):
        total = s
        for k in range(n):
            total += A[i, k] * B[k, 1]
        C[i] += total * (A[i] @ B)


@batched
def a_loop_inside_that_may_not_run(A, B, C, x, s):
    D = np.zeros((3, 3))
    for i in range(B.shape[1]):
        for j in range(1, A.shape[1] - 3):
            D[j, i] = A[j] @ B[:, i]
        C[i] -= A[0] @ B
    x[:3] += D[1]


# ---------------------------------------------------------------------------------------- what must stay


@kept
def product_with_what_was_just_written(A, B, C, x, s):
    for j in range(1, C.shape[1]):
        C[:4, j] += A[:4, :] @ C[:4, j - 1]


@kept
def sum_that_reads_itself(A, B, C, x, s):
    for k in range(A.shape[1]):
        C += C[k] * A[:, k, None]


@kept
def one_place_stored_again_and_again(A, B, C, x, s):
    for k in range(B.shape[1]):
        x[:] = A @ B[:, k]


@kept
def two_slices_of_what_is_written(A, B, C, x, s):
    for j in range(C.shape[1] - 1):
        C[:, j] = A @ B[:, j] + C[:, j + 1]


@kept
def places_that_repeat(A, B, C, x, s):
    for j in range(C.shape[1]):
        C[:, j // 2] = A @ B[:, j]


@kept
def a_branch(A, B, C, x, s):
    for j in range(C.shape[1]):
        if s > 0:
            C[:, j] += A @ B[:, j]


@kept
def an_early_end(A, B, C, x, s):
    for j in range(C.shape[1]):
        C[:, j] += A @ B[:, j]
        if C[0, j] > 1e3:
            break


@kept
def positions_from_the_end(A, B, C, x, s):
    for j in range(C.shape[1]):
        C[:, j - 1] += A @ B[:, j]


@kept
def growing_slices(A, B, C, x, s):
    for k in range(1, A.shape[1]):
        C[0, :] += A[0, :k] @ B[:k]


@kept
def the_diagonal(A, B, C, x, s):
    for k in range(C.shape[1]):
        C[k, k] += A[k] @ B[:, k]


@kept
def recurrence(A, B, C, x, s):
    for k in range(1, 4):
        x[:4] = 0.1 * (A[:4] @ x[:4]) + s


@kept
def the_last_one_stays(A, B, C, x, s):
    t = np.zeros(3)
    for i in range(A.shape[0]):
        t = A[i] @ B
        s = s * t[0]
    x[0] = s


@kept
def elements_only(A, B, C, x, s):
    for i in range(A.shape[0]):
        for j in range(C.shape[1]):
            C[i, j] = A[i, j] * s + x[i]


def arguments(seed: int = 0) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    shapes = ((5, 4), (4, 3), (5, 3), (5,))
    return (*(rng.standard_normal(s) for s in shapes), 0.7)


def prepared(f: Callable[..., Any]) -> Func:
    """The program as `batch` meets it."""
    func = parse(f, arguments()).func
    for run_pass in (simplify, cse, ranges, hoist, dce):
        func = run_pass(func)
    return func


def loops(func: Func) -> int:
    return sum(n.op.name == "for" for n in walk_nodes(func.body))


@pytest.mark.parametrize("f", [*BATCHED, *KEPT], ids=lambda f: f.__name__)
def test_numbers_stay(f: Callable[..., Any]) -> None:
    func = prepared(f)
    result = verify(batch(func), "batch")
    if f in KEPT:
        assert result is func
    else:
        assert loops(result) < loops(func)
    given, expected = copy_args(arguments()), copy_args(arguments())
    run(result, given)
    f(*expected)
    for ours, theirs in zip(given, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)


def test_three_loops_are_one_product() -> None:
    for f in (three_loops, three_loops_in_another_order, a_number_that_is_summed, samples_of_a_quadratic):
        assert loops(batch(prepared(f))) == 0


def test_random_nests() -> None:
    """Whatever is made of a nest means the same; most of them have something that forbids it."""
    done = 0
    for seed in range(220):
        text, name = program(seed), f"<random nest {seed}>"
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        scope: dict[str, Any] = {"np": np}
        exec(compile(text, name, "exec"), scope)
        args = random_products.arguments(seed)
        given, expected = copy_args(args), copy_args(args)
        try:
            value = scope["f"](*expected)
            func = parse(scope["f"], args).func
        except (ValueError, IndexError, TypeError):
            continue  # it fails in Python, or is refused
        for run_pass in (simplify, cse, ranges, hoist, dce, privatize):
            func = run_pass(func)
        result = batch(func)
        if result is func:
            continue
        done += 1
        order = ("A", "B", "C", "D", "x", "y", "s", "n")
        total = run(verify(result), [given[order.index(p.name)] for p in func.params])[0]
        for ours, theirs in zip((total, *given), (value, *expected), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=text)
    assert done > 5


@pytest.mark.slow
@pytest.mark.parametrize("f", BATCHED, ids=lambda f: f.__name__)
def test_gradients(f: Callable[..., Any]) -> None:
    rng = np.random.default_rng(1)
    RC, rx = rng.standard_normal((5, 3)), rng.standard_normal(5)

    def loss(A, B, C, x, s):
        f(A, B, C, x, s)
        return np.sum(RC * C) + np.sum(rx * x * x)

    args = arguments()
    value, gradients = gradc.value_and_grad(loss, (0, 1, 2, 3, 4))(*args)
    np.testing.assert_allclose(value, loss(*copy_args(args)), rtol=1e-12)
    direction = random_direction(args, range(5), 3)
    expected, error = directional(lambda *a: loss(*copy_args(a)), args, range(5), direction)
    assert abs(pair(gradients, direction) - expected) < 1e-8 + error


def test_sizes_that_do_not_fit_are_still_reported() -> None:
    """C's rows are shorter than the slices of A: only where the inner loop runs does that matter."""

    def f(A, C):
        for i in range(A.shape[0]):
            for k in range(A.shape[1]):
                C[i, : i + 1] += A[i, k] * A[: i + 1, k]
        return np.sum(C)

    with pytest.raises(gradc.ShapeError):
        gradc.grad(f)(np.ones((4, 2)), np.ones((4, 2)))
    assert gradc.value_and_grad(f)(np.ones((4, 0)), np.ones((4, 2)))[0] == 8.0
