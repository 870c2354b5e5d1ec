"""Counters as arithmetic of the index, and reversed loops that run forwards: the numbers stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.frontends.from_python import parse
from gradc.ir.interp import run
from gradc.ir.nodes import Func, walk_nodes
from gradc.ir.parser import parse_func
from gradc.ir.verifier import verify
from gradc.passes.direction import direction
from gradc.passes.induction import induction
from gradc.passes.simplify import simplify
from tests.oracle import copy_args, directional, pair, random_direction


def packed_triangle(x, y):
    n, pos, s = y.shape[0], 0, 0.0
    for i in range(n):
        for j in range(i, n):
            s += x[pos] * y[i] * y[j]
            pos += 1
    return s


def after_the_loop(x, y):
    pos = 2
    for i in range(y.shape[0]):
        x[pos] += y[i]
        pos += 2
    return x[pos] * pos


def downwards(x, y):
    pos = x.shape[0]
    for i in range(y.shape[0] - 1, 0, -1):
        pos -= 1
        x[pos] = y[i] * x[pos]
    return x[pos - 1] + pos


def no_trips(x, y):
    pos = 3
    for i in range(y.shape[0], 2):
        pos += 1
        x[pos] = y[i]
    return x[pos]


def two_counters(x, y):
    a, b = 0, 9
    for i in range(y.shape[0]):
        x[a] += x[b] * y[i]
        a, b = a + 1, b - 1
    return float(a * b) * x[a]


def before_and_after_the_step(x, y):
    pos = 0
    for i in range(y.shape[0]):
        x[pos] += y[i]
        pos += 1
        x[pos] *= y[i]
    return np.sum(x)


def numpy_counter(x, y):
    pos = np.int64(1)
    for i in range(y.shape[0]):
        x[pos] += pos * y[i]
        pos = pos + 1
    return np.sum(x) * pos


COUNTERS = [
    packed_triangle, after_the_loop, downwards, no_trips, two_counters, before_and_after_the_step, numpy_counter,
]  # fmt: skip


def early_end(x, y):
    pos = 0
    for i in range(y.shape[0]):
        if y[i] > 0.5:
            break
        pos += 1
    return x[pos]


def under_a_condition(x, y):
    pos = 0
    for i in range(y.shape[0]):
        if y[i] > 0.0:
            pos += 1
        x[pos] += y[i]
    return np.sum(x * x)


def growing_steps(x, y):
    pos, step = 0, 0
    for i in range(y.shape[0] - 1):
        pos += step
        step += 1
        x[pos] += y[i]
    return np.sum(x * x)


def wide_steps(x, y):
    pos = 0
    for i in range(0, y.shape[0], 2):
        x[pos] += y[i]
        pos += 1
    return np.sum(x * x)


OTHERS = [early_end, under_a_condition, growing_steps, wide_steps]


def arguments() -> tuple[Any, ...]:
    rng = np.random.default_rng(4)
    return rng.standard_normal(16), np.array([0.3, -0.2, 0.4, -1.1, 0.45])


def counters(func: Func) -> int:
    loops = [n for n in walk_nodes(func.body) if n.op.name == "for"]
    return sum(p.dtype == "int64" for n in loops for p in n.blocks[0].params[1:])


@pytest.mark.parametrize("f", [*COUNTERS, *OTHERS], ids=lambda f: f.__name__)
def test_counters(f: Callable[..., Any]) -> None:
    func = simplify(parse(f, arguments()).func)
    result = verify(induction(func), "induction")
    if f in COUNTERS:
        assert counters(result) < counters(func)
    given, expected = copy_args(arguments()), copy_args(arguments())
    (value,) = run(result, list(given))
    np.testing.assert_allclose(value, f(*expected), rtol=1e-15)
    for ours, theirs in zip(given, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert np.asarray(value).dtype == np.asarray(f(*copy_args(arguments()))).dtype


@pytest.mark.slow
@pytest.mark.parametrize("f", [*COUNTERS, *OTHERS], ids=lambda f: f.__name__)
def test_gradients(f: Callable[..., Any]) -> None:
    args = arguments()
    value, gradients = gradc.value_and_grad(f, (0, 1))(*args)
    np.testing.assert_allclose(value, f(*copy_args(args)), rtol=1e-13)
    along = random_direction(args, (0, 1), 5)
    expected, error = directional(lambda *a: f(*copy_args(a)), args, (0, 1), along, h=1e-4)
    assert abs(pair(gradients, along) - expected) < 1e-8 + error


def test_positions_of_a_packed_triangle_are_checked_before_its_rows() -> None:
    """And counted from the front without a test for each, forwards and backwards."""
    text = gradc.value_and_grad(packed_triangle, (0, 1)).lower(*arguments()).kernel_source
    assert "if pos" not in text and "else pos" not in text
    with pytest.raises(IndexError):
        gradc.grad(packed_triangle)(np.ones(14), np.ones(5))


# --------------------------------------------------------------------------------------------- direction


def turned(body: str, params: str = "%x: float64[n], %y: float64[n], %c: float64") -> bool:
    lines = "\n".join("    " + line for line in body.split("\n"))
    func = verify(parse_func(f"""func f({params}) {{
  %0: int64~ = const() {{value=0}}
  %1: int64~ = const() {{value=1}}
  %2: int64~ = dim(%x) {{axis=0}}
  %3: int64~ = sub(%2, %1)
  %s: float64 = for(%1, %3, %1, %c) {{exits=False, reversed=True}}
  block(%i: int64~, %t: float64) {{
    %j: int64~ = sub(%i, %1)
    %a: float64 = load(%y, %i) {{region=[#0]}}
{lines}
  }}
  return %s
}}
"""))
    return direction(func) is not func


def test_loops_that_may_be_turned() -> None:
    assert turned("accumulate_at(%x, %a, %i) {region=[#0]}\n%u: float64 = add(%t, %a)\nyield %u")
    assert turned("accumulate_at(%x, %a, %i) {region=[#0]}\naccumulate_at(%x, %a, %j) {region=[#0]}\nyield %t")
    assert turned("store_at(%x, %a, %i) {region=[#0]}\n%b: float64 = load(%x, %i) {region=[#0]}\n"
                  "%u: float64 = sub(%t, %b)\nyield %u")  # fmt: skip


def test_loops_that_may_not() -> None:
    """A recurrence, a place that is stored again, what another iteration reads, a number that is not only added to."""
    assert not turned("%b: float64 = load(%x, %j) {region=[#0]}\nstore_at(%x, %b, %i) {region=[#0]}\nyield %t")
    assert not turned("store_at(%x, %a, %0) {region=[#0]}\nyield %t")
    assert not turned("store_at(%x, %a, %i) {region=[#0]}\naccumulate_at(%x, %a, %j) {region=[#0]}\nyield %t")
    assert not turned("%u: float64 = mul(%t, %a)\n%w: float64 = add(%u, %a)\nyield %w")
    assert not turned("accumulate_at(%x, %t, %i) {region=[#0]}\n%u: float64 = add(%t, %a)\nyield %u")
    assert not turned("yield %a")
