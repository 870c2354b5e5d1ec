"""Loops in blocks: the same derivatives as without `gradc.checkpoint`, from less memory."""

from __future__ import annotations

import ast
import inspect
import math
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.ad.forward import jvp
from gradc.ad.reverse import reverse
from gradc.frontends.from_python import bind_arguments, parse
from gradc.ir.interp import run
from gradc.ir.nodes import Func, clone_func, walk_nodes
from gradc.ir.tree import flatten
from gradc.ir.verifier import verify
from tests import routes
from tests.oracle import copy_args, is_float_leaf
from tests.programs import PROGRAMS, Program
from tests.random_regions import SIZE, random_regions
from tests.random_smooth import random_accumulator, random_smooth, sample_arguments

MARKS = [("auto", 0), ("every", 1), ("every", 2), ("every", 7)]


def marked(func: Func, seed: int, share: float = 0.7) -> Func:
    """A copy of `func` whose loops are, at random, to go in blocks."""
    copy = clone_func(func)
    rng = np.random.default_rng(seed)
    for node in walk_nodes(copy.body):
        if node.op.name in ("for", "while") and rng.random() < share:
            node.attrs["checkpoint"] = MARKS[rng.integers(len(MARKS))]
    return copy


def copied(args: Any) -> list[Any]:
    return [a.copy() if isinstance(a, np.ndarray) else a for a in args]


def has_blocks(func: Func) -> bool:
    return any(node.attrs.get("checkpoint") == ("state", 0) for node in walk_nodes(func.body))


def assert_equal(actual: Any, expected: Any) -> None:
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


# ------------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("seed", range(40))
def test_gradients_of_random_programs_do_not_depend_on_blocks(seed: int) -> None:
    func = random_smooth(seed, 5 + seed % 12) if seed % 4 else random_accumulator(seed, 5)
    args = sample_arguments(seed)
    derivative = reverse(marked(func, seed), range(5))
    verify(derivative)
    assert_equal(run(derivative, copied(args)), run(reverse(func, range(5)), copied(args)))


def test_random_programs_do_go_in_blocks() -> None:
    assert sum(has_blocks(reverse(marked(random_smooth(seed, 8), seed), range(5))) for seed in range(30)) > 10


def budgeted(func: Func, seed: int) -> Func:
    """A copy of `func` whose `for` loops that are never left early have budgets from too little to more than enough."""
    copy = clone_func(func)
    rng = np.random.default_rng(seed)
    for node in walk_nodes(copy.body):
        if node.op.name == "for" and not node.attrs.get("exits"):
            node.attrs["checkpoint"] = ("budget", int(10 ** rng.uniform(1, 4)))
    return copy


@pytest.mark.parametrize("seed", range(30))
def test_gradients_of_random_programs_do_not_depend_on_budgets(seed: int) -> None:
    func, n = (random_smooth(seed, 5 + seed % 12), 3) if seed % 2 else (random_regions(seed, 5), SIZE)
    args = sample_arguments(seed, n)
    try:
        derivative = reverse(budgeted(func, seed), range(5))
    except gradc.UnsupportedError as error:
        assert "size that is known before the loop" in error.why
        return
    verify(derivative)
    assert_equal(run(derivative, copied(args)), run(reverse(func, range(5)), copied(args)))


@pytest.mark.parametrize("seed", range(1, 17, 2))
def test_second_derivatives_of_random_programs_do_not_depend_on_budgets(seed: int) -> None:
    func = random_smooth(seed, 4)
    args = sample_arguments(seed)
    cts = [np.cos(np.arange(float(np.size(a)))).reshape(np.shape(a)) for a in args]
    cts = [c if c.ndim else np.float64(c) for c in cts]
    try:
        first, plain = (reverse(f, range(5), keep_value=False) for f in (budgeted(func, seed), func))
    except gradc.UnsupportedError as error:
        assert "size that is known before the loop" in error.why
        return
    second, expected = (reverse(f, range(5), keep_value=False, seeds="params") for f in (first, plain))
    verify(second)
    assert_equal(run(second, [*copied(args), *cts]), run(expected, [*copied(args), *cts]))


def runs_again(blocks: int, slots: int) -> int:
    """The least number of blocks run again, by Griewank and Walther (2000)."""
    r = next(r for r in range(blocks + 1) if math.comb(slots + r, slots) >= blocks)
    return r * blocks - math.comb(slots + r, slots + 1)


COSTS = [(1, 1), (2, 1), (9, 1), (30, 64), (40, 100), (90, 200), (50, 300), (99, 9999)]


def alternate(x, y, n):
    for _ in range(n):
        x, y = np.sin(x) * y, np.cos(y) + x
    return x * y


@pytest.mark.parametrize(("steps", "budget"), COSTS)
def test_blocks_run_again_as_seldom_as_the_slots_allow(steps: int, budget: int) -> None:
    func = clone_func(parse(alternate, bind_arguments(alternate, (0.3, 0.4, steps), {})).func)
    for node in walk_nodes(func.body):
        if node.op.name == "for":
            node.attrs["checkpoint"] = ("budget", budget)
    chosen, ran = {}, 0

    def observe(node: Any, operands: Any, results: Any) -> None:
        nonlocal ran
        if node.op.name == "let" and node.result.name in ("block", "slots"):
            chosen[node.result.name] = results[0]
        # One cosine per run of an iteration: that of the derivative of the sine has the place of a backward statement.
        ran += node.op.name == "cos" and not node.loc.reverse

    run(reverse(func, [0, 1]), [0.3, 0.4, steps], observe)
    blocks = -(-steps // chosen["block"])
    assert ran == 2 * steps + chosen["block"] * runs_again(blocks, chosen["slots"])
    state, tape = 16, 24
    assert chosen["slots"] * state + chosen["block"] * tape <= max(budget, state + tape)


@pytest.mark.parametrize("seed", range(8))
def test_second_derivatives_of_random_programs_do_not_depend_on_blocks(seed: int) -> None:
    func = random_smooth(seed, 4)
    args = sample_arguments(seed)
    rng = np.random.default_rng(seed)
    cts = [rng.normal(size=np.shape(a)) for a in args]
    cts = [c if c.ndim else np.float64(c) for c in cts]
    first, plain = (reverse(f, range(5), keep_value=False) for f in (marked(func, seed), func))
    second, expected = (reverse(f, range(5), keep_value=False, seeds="params") for f in (first, plain))
    verify(second)
    assert_equal(run(second, [*copied(args), *cts]), run(expected, [*copied(args), *cts]))
    assert_equal(
        run(jvp(first, range(5), keep_value=False), [*copied(args), *cts]),
        run(jvp(plain, range(5), keep_value=False), [*copied(args), *cts]),
    )
    assert_equal(
        run(reverse(jvp(marked(func, seed), range(5)), range(10), outputs=[1]), [*copied(args), *cts]),
        run(reverse(jvp(func, range(5)), range(10), outputs=[1]), [*copied(args), *cts]),
    )


def has_loop(program: Program) -> bool:
    return any(isinstance(node, ast.For | ast.While) for node in ast.walk(ast.parse(source_of(program.function))))


def source_of(function: Any) -> str:
    return textwrap.dedent(inspect.getsource(function))


@pytest.mark.parametrize(
    "program", [p for p in PROGRAMS if p.raises is None and not p.refused and has_loop(p)], ids=lambda p: p.name
)
def test_gradients_of_programs_do_not_depend_on_blocks(program: Program) -> None:
    args = program.inputs[0]
    argnums = program.active(args)
    given = routes.float_arguments(copy_args(args), argnums)
    with np.errstate(all="ignore"):
        parsed = parse(program.function, bind_arguments(program.function, given, {}))
    if not any(node.op.name in ("for", "while") for node in walk_nodes(parsed.func.body)):
        return
    leaves = [leaf for arg in bind_arguments(program.function, given, {}) for leaf in flatten(arg)[0]]
    leaves += [leaf for capture in parsed.captures for leaf in flatten(capture.fetch())[0]]
    wrt = [k for k, leaf in enumerate(leaves) if is_float_leaf(leaf) and k not in parsed.static]
    if not wrt or not any(is_float_leaf(v) for v in run(parsed.func, copied(leaves))):
        return
    rng = np.random.default_rng(0)
    seeds = [v for v in run(parsed.func, copied(leaves)) if is_float_leaf(v)]
    cts = [rng.normal(size=np.shape(v)).astype(np.asarray(v).dtype) for v in seeds]
    cts = [c if c.ndim else type(v)(c) for c, v in zip(cts, seeds, strict=True)]
    expected = run(reverse(parsed.func, wrt, seeds="params"), [*copied(leaves), *cts])
    derivative = reverse(marked(parsed.func, len(program.name), share=1.0), wrt, seeds="params")
    verify(derivative)
    assert_equal(run(derivative, [*copied(leaves), *cts]), expected)


# -------------------------------------------------------------------------------------------- programs


def diffuse(u, rate, steps):
    for _ in gradc.checkpoint(range(steps)):
        u[1:-1] = u[1:-1] + rate * (u[2:] - 2.0 * u[1:-1] + u[:-2] - u[1:-1] ** 3)
    return np.sum(u * u)


def diffuse_plainly(u, rate, steps):
    for _ in range(steps):
        u[1:-1] = u[1:-1] + rate * (u[2:] - 2.0 * u[1:-1] + u[:-2] - u[1:-1] ** 3)
    return np.sum(u * u)


def relax(x, rate):
    while gradc.checkpoint(np.sum(x * x) > 1.0, every=3):
        x = np.sin(x) * rate
    return np.sum(x * x)


def relax_plainly(x, rate):
    while np.sum(x * x) > 1.0:
        x = np.sin(x) * rate
    return np.sum(x * x)


def leaves_early(x, w):
    total = 0.0
    for i in gradc.checkpoint(range(len(x) - 1, -1, -1), every=2):
        for j in gradc.checkpoint(range(i), every=2):
            w = np.tanh(w * x[j] + w)
            if j == 3:
                continue
            total += w * x[i]
            if total > 0.9:
                break
        if w < -0.99:
            return total + w
    return total * w


def leaves_early_plainly(x, w):
    total = 0.0
    for i in range(len(x) - 1, -1, -1):
        for j in range(i):
            w = np.tanh(w * x[j] + w)
            if j == 3:
                continue
            total += w * x[i]
            if total > 0.9:
                break
        if w < -0.99:
            return total + w
    return total * w


def diffuse_in_little(u, rate, steps):
    for _ in gradc.checkpoint(range(steps), budget="300 B"):
        u[1:-1] = u[1:-1] + rate * (u[2:] - 2.0 * u[1:-1] + u[:-2] - u[1:-1] ** 3)
    return np.sum(u * u)


def diffuse_in_much(u, rate, steps):
    for _ in gradc.checkpoint(range(steps), budget="2MB"):
        u[1:-1] = u[1:-1] + rate * (u[2:] - 2.0 * u[1:-1] + u[:-2] - u[1:-1] ** 3)
    return np.sum(u * u)


PAIRS = [
    (diffuse_in_little, diffuse_plainly, (np.sin(np.arange(8.0)), 0.1, 0)),
    (diffuse_in_little, diffuse_plainly, (np.sin(np.arange(8.0)), 0.1, 37)),
    (diffuse_in_much, diffuse_plainly, (np.sin(np.arange(8.0)), 0.1, 37)),
    (diffuse, diffuse_plainly, (np.sin(np.arange(8.0)), 0.1, 0)),
    (diffuse, diffuse_plainly, (np.sin(np.arange(8.0)), 0.1, 1)),
    (diffuse, diffuse_plainly, (np.sin(np.arange(8.0)), 0.1, 23)),
    (relax, relax_plainly, (np.arange(4.0), 0.99)),
    (leaves_early, leaves_early_plainly, (np.cos(np.arange(9.0)), 0.4)),
    (leaves_early, leaves_early_plainly, (0.3 * np.cos(np.arange(9.0)), 0.2)),
]


@pytest.mark.parametrize(("in_blocks", "plain", "args"), PAIRS)
def test_value_and_gradients_are_those_of_the_plain_loop(in_blocks: Any, plain: Any, args: Any) -> None:
    assert in_blocks(*copy_args(args)) == plain(*copy_args(args))
    expected = gradc.value_and_grad(plain, (0, 1))(*args)
    value, gradient = gradc.value_and_grad(in_blocks, (0, 1))(*args)
    assert value == pytest.approx(expected[0], rel=1e-12)
    assert_equal(gradient, expected[1])
    value, gradient = routes.gradient_by_source(in_blocks, args, (0, 1))
    assert value == pytest.approx(expected[0], rel=1e-12)
    assert_equal(gradient, expected[1])


def test_hessian_of_a_loop_in_blocks() -> None:
    args = (np.sin(np.arange(6.0)), 0.1, 11)
    np.testing.assert_allclose(gradc.hessian(diffuse)(*args), gradc.hessian(diffuse_plainly)(*args), rtol=1e-10)


def test_an_affine_loop_and_one_that_only_accumulates_stay_as_they_are() -> None:
    def sums(x, a):
        total = 0.0
        for i in gradc.checkpoint(range(len(x) - 1)):
            x[i + 1] = 0.5 * (x[i] + x[i + 1])
        for i in gradc.checkpoint(range(len(x))):
            total += np.exp(a * x[i])
        return total

    derivative = gradc.grad(sums, (0, 1)).lower(np.ones(5), 0.3)
    assert "block" not in derivative.source
    assert derivative.stats["residuals"]["tape bytes"] == 0


def test_what_a_loop_in_blocks_overwrites_for_others_is_taped_once_for_all_blocks() -> None:
    def f(x, w):
        before = np.sum(np.exp(x))  # x is needed as it was before the loop
        for i in gradc.checkpoint(range(len(x)), every=2):
            w = np.sin(w)
            x[i] = w
        return before + np.sum(x) + w

    x, w = np.linspace(0.1, 1.0, 5), 0.8
    derivative = gradc.grad(f, (0, 1))
    dx, dw = derivative(x, w)
    np.testing.assert_allclose(dx, np.exp(x))
    sines, slopes = [w], [1.0]
    for _ in x:
        slopes.append(slopes[-1] * np.cos(sines[-1]))
        sines.append(np.sin(sines[-1]))
    assert dw == pytest.approx(sum(slopes[1:]) + slopes[-1])
    assert derivative.lower(x, w).stats["residuals"]["growing tapes"] == 0


def test_stats_tell_the_bytes_of_tapes_as_a_formula_and_for_these_sizes() -> None:
    u = np.sin(np.arange(102.0))
    plain = gradc.grad(diffuse_plainly).lower(u, 0.1, 400).stats["residuals"]
    assert str(plain["tape bytes"]) == "8*max(u_0 - 2, 0)*steps1"
    assert plain["tape bytes here"] == 8 * 100 * 400
    in_blocks = gradc.grad(diffuse).lower(u, 0.1, 400).stats["residuals"]
    assert in_blocks["tape bytes here"] == 8 * 100 * 20 + 8 * 102 * 20
    in_little = gradc.grad(diffuse_in_little).lower(u, 0.1, 400).stats["residuals"]
    assert in_little["tape bytes here"] == 8 * 100 + 8 * 102
    in_much = gradc.grad(diffuse_in_much).lower(u, 0.1, 400).stats["residuals"]
    assert in_much["tape bytes here"] <= 2_000_000


def test_sizes_of_a_buffer_that_a_block_overwrites_are_not_its_content() -> None:
    """A second derivative of random loops that are left early was wrong: x was written again for its size."""
    func = random_regions(1134, 7)
    args = sample_arguments(1134, SIZE)
    for mark in MARKS:
        copy = clone_func(func)
        for node in walk_nodes(copy.body):
            if node.attrs.get("exits"):
                node.attrs["checkpoint"] = mark
        assert has_blocks(reverse(copy, range(5)))
        assert_equal(run(reverse(copy, range(5)), copied(args)), run(reverse(func, range(5)), copied(args)))


# ------------------------------------------------------------------------------------------- interface


def test_outside_compiled_code_it_gives_its_argument_back() -> None:
    r, x = range(3), np.arange(3.0)
    assert gradc.checkpoint(r, every=2) is r
    assert gradc.checkpoint(x) is x
    assert gradc.checkpoint(False) is False
    with pytest.raises(TypeError, match="every=2.5"):
        gradc.checkpoint(r, every=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one"):
        gradc.checkpoint(r, every=0)
    assert gradc.checkpoint(r, budget="1.5 GiB") is r
    for wrong in ("64 apples", "-3", ""):
        with pytest.raises(ValueError, match="is not a number of bytes"):
            gradc.checkpoint(r, budget=wrong)
    with pytest.raises(TypeError, match="not both"):
        gradc.checkpoint(r, every=2, budget=100)
    with pytest.raises(TypeError, match="no iterations"):
        gradc.checkpoint(np.sin, every=2)  # type: ignore[call-overload]


def test_what_has_no_loop_is_refused() -> None:
    def over_a_list(x):
        for a in gradc.checkpoint([x, 2.0, x]):
            x = np.sin(a * x)
        return x

    def in_an_if(x):
        if gradc.checkpoint(x > 1.0):
            x = x * x
        return x

    def until(x):
        while gradc.checkpoint(x > 0.1, budget="1MB"):
            x = np.sin(x) * 0.5
        return x

    def left(x):
        for _ in gradc.checkpoint(range(10), budget="1MB"):
            x = np.sin(x) * 0.5
            if x < 0.1:
                break
        return x

    for f in (until, left):
        with pytest.raises(gradc.UnsupportedError, match="run to their end"):
            gradc.grad(f)(1.0)
    with pytest.raises(gradc.UnsupportedError, match="written out"):
        gradc.grad(over_a_list)(1.0)
    with pytest.raises(gradc.UnsupportedError, match="header of a `while`"):
        gradc.grad(in_an_if)(1.0)


def test_the_length_of_blocks_may_be_an_argument() -> None:
    def f(x, k):
        for _ in gradc.checkpoint(range(10), every=k):
            x = np.sin(x)
        return x

    expected = 1.0
    y = 0.7
    for _ in range(10):
        y, expected = np.sin(y), expected * np.cos(y)
    assert gradc.grad(f)(0.7, 3) == pytest.approx(expected)
    assert gradc.grad(f)(0.7, 4) == pytest.approx(expected)
    with pytest.raises(gradc.UnsupportedError, match="at least one"):
        gradc.grad(f)(0.7, 0)


@pytest.mark.slow
def test_memory_of_a_long_loop_falls() -> None:
    """Peak memory of the process: tapes of 320 MB become states and tapes of one block, 5 MB."""

    def peak(function: str) -> float:
        script = textwrap.dedent(
            f"""
            import resource
            import numpy as np
            import gradc
            from tests.test_checkpoint import diffuse, diffuse_in_much, diffuse_plainly
            derivative = gradc.value_and_grad({function}, (0, 1))
            u = np.sin(np.arange(2000.0))
            derivative(u, 0.1, 10)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            derivative(u, 0.1, 10_000)
            print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
            """
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert peak("diffuse_plainly") > 150
    assert peak("diffuse") < 25
    assert peak("diffuse_in_much") < 12


def heated(u0, p, steps, budget):
    u = u0.copy()
    for _ in gradc.checkpoint(range(steps), budget=budget):
        for i in range(1, len(u) - 1):
            u[i] += p * np.cos(u[i]) * u[i - 1]
    return np.sum(u)


def heated_plainly(u0, p, steps, budget):
    u = u0.copy()
    for _ in range(steps):
        for i in range(1, len(u) - 1):
            u[i] += p * np.cos(u[i]) * u[i - 1]
    return np.sum(u)


def test_a_length_that_is_asked_for_inside_the_loop_is_known_before_it() -> None:
    u = np.linspace(0.1, 1.0, 9)
    plain = gradc.grad(heated_plainly, (0, 1))
    assert plain.lower(u, 0.1, 30, 1).stats["residuals"]["growing tapes"] == 0
    for budget in (1, 700, "1MB"):
        for got, wanted in zip(gradc.grad(heated, (0, 1))(u, 0.1, 30, budget), plain(u, 0.1, 30, 1), strict=True):
            assert np.allclose(got, wanted, rtol=1e-13)
