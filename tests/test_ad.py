"""Reverse mode on IR: random programs against differences, and its three invariants, each tested as such.

The interpreter runs everything here, so a failure is one of `ad/`, not of a front end or of a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gradc.ad.forward import jvp
from gradc.ad.reverse import Reverser, reverse
from gradc.errors import DTypeError, NonDifferentiableError
from gradc.ir.builder import Builder, new_func
from gradc.ir.interp import run
from gradc.ir.nodes import Block, Func, Node, Value, clone_block, walk_nodes
from gradc.ir.opdef import TABLE, OpDef
from gradc.ir.region import Arg, At
from gradc.ir.types import FLOAT, WEAK_FLOAT, WEAK_INT, Array, size_variable
from gradc.ir.verifier import verify
from gradc.ops import memory
from tests.random_regions import SIZE, random_regions
from tests.random_smooth import random_accumulator, random_smooth, sample_arguments

ALL = range(5)
AT0 = (At(Arg(0)),)


def copied(args: Sequence[Any]) -> list[Any]:
    return [a.copy() if isinstance(a, np.ndarray) else a for a in args]


def moved(args: Sequence[Any], direction: Sequence[Any], by: float) -> list[Any]:
    return [a + by * d for a, d in zip(args, direction, strict=True)]


def inner(p: Sequence[Any], q: Sequence[Any]) -> float:
    return sum(float(np.sum(a * b)) for a, b in zip(p, q, strict=True))


def difference_error(value: Any, args: Sequence[Any], direction: Sequence[Any], expected: float) -> float:
    """How far `expected` is from central differences along a direction, at the best of three steps."""
    errors = []
    for h in (1e-4, 1e-5, 1e-6):
        difference = (value(moved(args, direction, h)) - value(moved(args, direction, -h))) / (2 * h)
        assert np.isfinite(difference)
        errors.append(abs(difference - expected) / (1 + abs(difference) + abs(expected)))
    return min(errors)


def check_gradient(func: Func, seed: int) -> None:
    """Value, arguments, shapes, and a directional derivative of the gradient of a random program."""
    args = sample_arguments(seed)
    before = copied(args)
    derivative = reverse(func, ALL)
    verify(derivative)
    value, *gradient = run(derivative, args)
    assert [np.shape(g) for g in gradient] == [np.shape(a) for a in args]
    for a, b in zip(args, before, strict=True):
        np.testing.assert_array_equal(a, b, err_msg="the derivative changed its arguments")
    np.testing.assert_allclose(value, run(func, copied(args))[0], rtol=1e-12)
    direction = [np.random.default_rng(seed).normal(size=np.shape(a)) for a in args]
    error = difference_error(lambda a: float(run(func, copied(a))[0]), args, direction, inner(gradient, direction))
    assert error < 1e-6


@pytest.mark.parametrize("seed", range(60))
def test_gradients_of_random_programs_agree_with_differences(seed: int) -> None:
    check_gradient(random_smooth(seed, 5 + seed % 12), seed)


@pytest.mark.parametrize("seed", range(60))
def test_gradients_of_accumulating_programs_agree_with_differences(seed: int) -> None:
    check_gradient(random_accumulator(seed, 5), seed)


@pytest.mark.parametrize("seed", range(25))
def test_reverse_of_reverse_agrees_with_differences_of_the_gradient(seed: int) -> None:
    func = random_smooth(seed, 4)
    args = sample_arguments(seed)
    first = reverse(func, ALL, keep_value=False)
    second = reverse(first, ALL, keep_value=False, seeds="params")
    verify(second)
    rng = np.random.default_rng(seed)
    cts = [rng.normal(size=np.shape(a)) for a in args]
    cts = [c if c.ndim else np.float64(c) for c in cts]
    products = run(second, [*copied(args), *cts])
    direction = [rng.normal(size=np.shape(a)) for a in args]
    error = difference_error(lambda a: inner(run(first, copied(a)), cts), args, direction, inner(products, direction))
    assert error < 1e-5


@pytest.mark.parametrize("seed", range(40))
def test_forward_and_reverse_agree_by_the_adjoint_identity(seed: int) -> None:
    func = random_smooth(seed, 5 + seed % 9)
    args = sample_arguments(seed)
    rng = np.random.default_rng(seed)
    tangents = [rng.normal(size=np.shape(a)) for a in args]
    tangents = [t if t.ndim else np.float64(t) for t in tangents]
    forward = jvp(func, ALL)
    verify(forward)
    value, tangent = run(forward, [*copied(args), *copied(tangents)])
    gradient = run(reverse(func, ALL, keep_value=False), copied(args))
    np.testing.assert_allclose(value, run(func, copied(args))[0], rtol=1e-12)
    np.testing.assert_allclose(tangent, inner(gradient, tangents), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(60))
def test_gradients_of_loops_over_regions_agree_with_tangents(seed: int) -> None:
    func = random_regions(seed, 3 + seed % 5)
    args = sample_arguments(seed, SIZE)
    rng = np.random.default_rng(seed)
    tangents = [rng.normal(size=np.shape(a)) for a in args]
    tangents = [t if t.ndim else np.float64(t) for t in tangents]
    _, tangent = run(jvp(func, ALL), [*copied(args), *copied(tangents)])
    derivative = reverse(func, ALL, keep_value=False)
    verify(derivative)
    np.testing.assert_allclose(inner(run(derivative, copied(args)), tangents), tangent, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_forward_over_reverse_agrees_with_reverse_over_reverse(seed: int) -> None:
    func = random_smooth(seed, 4)
    args = sample_arguments(seed)
    rng = np.random.default_rng(seed)
    tangents, cts = (
        [np.float64(v) if not v.ndim else v for v in (rng.normal(size=np.shape(a)) for a in args)] for _ in "tc"
    )
    gradient = reverse(func, ALL, keep_value=False)
    columns = run(jvp(gradient, ALL, keep_value=False), [*copied(args), *copied(tangents)])
    rows = run(reverse(gradient, ALL, keep_value=False, seeds="params"), [*copied(args), *copied(cts)])
    np.testing.assert_allclose(inner(columns, cts), inner(rows, tangents), rtol=1e-8, atol=1e-8)


# ------------------------------------------------------------------------------------------ invariants


class Watched(Reverser):
    """Reverse mode that also records what a rule will read of a buffer, and checks it at the reverse of the node."""

    watched = 0

    def _reverse_node(self, node: Node) -> None:
        for root, uses in self.plan.restored.items():
            if node in uses and node.op.kind not in ("control", "write"):
                for place in self.plan.content[root, node]:
                    if isinstance(place, Value):
                        self._check_content(place, node)
        super()._reverse_node(node)

    def _made_before(self, array: Value, node: Node, block: Block) -> bool:
        return array.node is None or array.node in block.nodes[: block.nodes.index(node)]

    def _check_content(self, array: Value, node: Node) -> None:
        sweep = self.frame.sweep
        if node not in sweep.nodes or array not in sweep.values:
            return
        copy, marker = sweep.nodes[node], Value(array.ty)
        if self.structure.block_of[node] is sweep.block:
            if copy not in sweep.target.nodes or not self._made_before(sweep.values[array], copy, sweep.target):
                return  # moved behind a merged loop
            before = Block()
            with self.builder.into(before):
                held = memory.copy(sweep.values[array])
            at = sweep.target.nodes.index(copy)
            sweep.target.nodes[at:at] = before.nodes
        else:
            item = Array(array.ty.dtype, array.ty.shape)
            tape = self._tape(node, sweep, item, "held", lambda: memory.copy(sweep.values[array]), key=marker)
            held = tape.read(self._reverse_counters(tape, self.frame), self.builder)
        equal = self.builder.emit("eq", (held, self.primal(array)))
        same = self.builder.emit("all", (equal,), axes=tuple(range(array.rank)), keepdims=False)
        self.builder.emit("check", (same,), error="AssertionError", message="a buffer was not restored")
        Watched.watched += 1


def test_memory_invariant_every_buffer_a_rule_reads_holds_what_it_held() -> None:
    Watched.watched = 0
    programs = [(random_smooth(seed, 9), 3) for seed in range(40)]
    programs += [(random_regions(seed, 5), SIZE) for seed in range(40)]
    for seed, (func, n) in enumerate(programs):
        watched = Watched(func, list(ALL), True, "ones", [0]).run()
        verify(watched)
        run(watched, sample_arguments(seed, n))
    assert Watched.watched > 50


def test_shadow_invariant_an_overwritten_buffer_passes_nothing_on() -> None:
    """x[0] = a: what x[0] held before has no influence, and its cotangent goes to a."""
    func = new_func("f", [("x", Array("float64", (size_variable("n"),))), ("a", WEAK_FLOAT)])
    x, a = func.params
    with Builder(func) as b:
        TABLE["store_at"](x, a * 3.0, b.const(0), region=AT0)
        TABLE["accumulate_at"](x, a, b.const(1), region=AT0)
        func.body.yields = [TABLE["sum"](TABLE["square"](x), axes=(0,), keepdims=False)]
    _, dx, da = run(reverse(func, [0, 1]), [np.array([5.0, 7.0, 2.0]), 2.0])
    np.testing.assert_array_equal(dx, [0.0, 18.0, 4.0])
    assert da == 2 * 6.0 * 3.0 + 18.0


def test_forks_add_and_the_first_contribution_assigns() -> None:
    func = new_func("f", [("x", WEAK_FLOAT), ("y", WEAK_FLOAT)])
    x, y = func.params
    with Builder(func):
        s = x + y
        func.body.yields = [s * x * x]
    derivative = reverse(func, [0, 1])
    assert not any(n.op.name == "zeros" for n in walk_nodes(derivative.body))
    assert run(derivative, [3.0, 4.0])[1:] == (3.0 * 3.0 + 2 * 7.0 * 3.0, 9.0)


# -------------------------------------------------------------------------------------------- residuals


def loop_over(func: Func, b: Builder, inits: list[Any], make: Any) -> list[Value]:
    """for i in range(n): carried = make(i, *carried)."""
    n = memory.size_value(func.params[0], 0)
    block = Block(params=[Value(WEAK_INT, "i"), *(Value(FLOAT, "s") for _ in inits)])
    with b.into(block):
        block.yields = make(*block.params)
    return b.control("for", [b.const(0), n, b.const(1), *inits], [block], [FLOAT for _ in inits])


def vector_func() -> Func:
    return new_func("f", [("x", Array("float64", (size_variable("n"),))), ("a", FLOAT)])


def count(func: Func, *names: str) -> int:
    return sum(n.op.name in names for n in walk_nodes(func.body))


def test_an_accumulating_loop_is_reversed_in_the_same_loop_without_a_tape() -> None:
    func = vector_func()
    x, a = func.params
    with Builder(func) as b:

        def body(i: Value, s: Value) -> list[Value]:
            t = TABLE["exp"](TABLE["load"](x, i, region=AT0) * a)
            return [s + t * t]

        (total,) = loop_over(func, b, [b.const(np.float64(0.0))], body)
        func.body.yields = [total * 2.0]
    derivative = reverse(func, [0, 1])
    assert count(derivative, "for") == 1
    assert count(derivative, "stack_new", "empty") == 0
    args = [np.array([0.1, 0.2, -0.4]), np.float64(0.7)]
    value, dx, da = run(derivative, args)
    e = np.exp(2 * args[0] * args[1])
    np.testing.assert_allclose(value, 2 * e.sum())
    np.testing.assert_allclose(dx, 4 * args[1] * e)
    np.testing.assert_allclose(da, (4 * args[0] * e).sum())


def test_an_affine_stencil_tapes_nothing() -> None:
    func = vector_func()
    x, a = func.params
    with Builder(func) as b:

        def body(i: Value) -> list[Value]:
            left = memory.make_index(x, (memory.Span(None, -1, None),))
            right = memory.make_index(x, (memory.Span(1, None, None),))
            TABLE["store"](left, 0.5 * (left + right))
            return []

        loop_over(func, b, [], body)
        func.body.yields = [TABLE["sum"](x, axes=(0,), keepdims=False) * a]
    derivative = reverse(func, [0])
    assert count(derivative, "stack_new", "empty", "push") == 0
    assert derivative.notes["residuals"]["tape bytes"] == 0
    assert derivative.notes["residuals"]["growing tapes"] == 0


def matrix_loop(row: Any, column: Any, start: int = 1, step: int = 1) -> Func:
    """for i in range(start, n - 1, step): m[row(i)] = sin(m[column(i)] * a); the sum of m."""
    size = size_variable("n")
    func = new_func("f", [("m", Array("float64", (size, size))), ("a", FLOAT)])
    m, a = func.params
    with Builder(func) as b:
        n = memory.size_value(m, 0)
        block = Block(params=[Value(WEAK_INT, "i")])
        with b.into(block):
            region = (At(Arg(0)), memory.Span())
            source = memory.make_index(m, region, column(block.params[0], n))
            target = memory.make_index(m, region, row(block.params[0], n))
            TABLE["store"](target, TABLE["sin"](source * a))
        b.control("for", [b.const(start), n - 1, b.const(step)], [block], [])
        func.body.yields = [TABLE["sum"](m, axes=(0, 1), keepdims=False)]
    return func


@pytest.mark.parametrize(
    ("row", "column", "taped"),
    [
        (lambda i, n: i + 1, lambda i, n: i, False),  # a trajectory
        (lambda i, n: i - 1, lambda i, n: i, True),  # row i is read, and overwritten in the next iteration
        (lambda i, n: i, lambda i, n: i + 1, True),  # the same, the other way round
        (lambda i, n: i, lambda i, n: i, True),
        (lambda i, n: 0, lambda i, n: i, False),
        (lambda i, n: i, lambda i, n: n - 1, False),
        (lambda i, n: i, lambda i, n: i - 2, True),  # -1 at first: the last row, which is not overwritten; not proved
        (lambda i, n: n - 1 - i, lambda i, n: i, True),
    ],
)
def test_rows_that_no_later_iteration_overwrites_are_not_saved(row: Any, column: Any, taped: bool) -> None:
    func = matrix_loop(row, column)
    derivative = reverse(func, [0, 1])
    assert (derivative.notes["residuals"]["saved_writes"] == 1) == taped
    args = [np.sin(np.arange(36.0)).reshape(6, 6), np.float64(0.7)]
    _, *gradient = run(derivative, copied(args))
    direction = [np.cos(np.arange(36.0)).reshape(6, 6), 0.3]
    error = difference_error(lambda v: float(run(func, copied(v))[0]), args, direction, inner(gradient, direction))
    assert error < 1e-8


def test_sizes_of_one_name_in_two_loops_are_two_numbers() -> None:
    """for i: s += sum(sin(y[:len(x[:i])])); for j: y[len(x[:j])] = a, the second a copy of the first with its names."""
    vector = Array("float64", (size_variable("n"),))
    func = new_func("f", [("x", vector), ("y", vector), ("a", FLOAT)])
    x, y, a = func.params
    with Builder(func) as b:
        n = memory.size_value(x, 0)
        block = Block(params=[Value(WEAK_INT, "i"), Value(FLOAT, "s")])
        with b.into(block):
            i, s = block.params
            length = memory.dim(memory.make_index(x, (memory.Span(None, Arg(0), None),), i), axis=0)
        again = clone_block(block, mapping := {})
        with b.into(block):
            head = memory.make_index(y, (memory.Span(None, Arg(0), None),), length)
            block.yields = [s + TABLE["sum"](TABLE["sin"](head), axes=(0,), keepdims=False)]
        with b.into(again):
            TABLE["store_at"](y, a, mapping[length], region=AT0)
            again.params.pop()
        (total,) = b.control("for", [0, n, 1, b.const(np.float64(0.0))], [block], [FLOAT])
        b.control("for", [0, n, 1], [again], [])
        func.body.yields = [total * total]
    args = [np.zeros(4), np.array([0.3, -0.7, 1.1, 0.4]), np.float64(0.8)]
    _, dy, da = run(reverse(func, [1, 2]), copied(args))
    before = 3 * np.sin(0.3) + 2 * np.sin(-0.7) + np.sin(1.1)
    np.testing.assert_allclose(dy, 2 * before * np.array([3, 2, 1, 0]) * np.cos(args[1]))
    assert da == 0.0


def test_a_value_is_read_where_the_loop_has_stored_it() -> None:
    """h[:] = tanh(h * a): the tape that restores h holds all tanhs but the last, so they have no tape of their own."""
    func = vector_func()
    x, a = func.params
    with Builder(func) as b:
        h = memory.copy(x)

        def body(i: Value) -> list[Value]:
            TABLE["store"](h, TABLE["tanh"](h * a))
            return []

        loop_over(func, b, [], body)
        func.body.yields = [TABLE["sum"](TABLE["square"](h), axes=(0,), keepdims=False)]
    derivative = reverse(func, [0, 1])
    assert derivative.notes["residuals"]["taped"] == []
    assert count(derivative, "empty") == 1
    args = [np.array([0.3, -0.7, 1.1, 0.4]), np.float64(0.8)]
    _, *gradient = run(derivative, args)
    direction = [np.array([1.0, -2.0, 0.5, 0.3]), 0.7]
    error = difference_error(lambda v: float(run(func, copied(v))[0]), args, direction, inner(gradient, direction))
    assert error < 1e-8


def test_integers_cannot_be_differentiated_and_missing_rules_are_errors() -> None:
    func = new_func("f", [("k", WEAK_INT), ("x", WEAK_FLOAT)])
    with Builder(func):
        func.body.yields = [func.params[1] * 2.0]
    with pytest.raises(DTypeError, match="k"):
        reverse(func, [0])
    opaque = OpDef("opaque", "elementwise", ("x",), run=np.sin)
    with Builder(func):
        func.body.yields = [opaque(func.params[1])]
    with pytest.raises(NonDifferentiableError, match="opaque"):
        reverse(func, [1])


def test_tangents_reach_a_buffer_that_is_not_differentiated_itself() -> None:
    """buffer[0] = a * x[0]: an argument that is only written into carries a tangent all the same."""
    vector = Array("float64", (size_variable("n"),))
    func = new_func("f", [("x", vector), ("buffer", vector)])
    x, buffer = func.params
    with Builder(func) as b:
        TABLE["store_at"](buffer, TABLE["load"](x, b.const(0), region=AT0) * 3.0, b.const(0), region=AT0)
        func.body.yields = [TABLE["sum"](buffer, axes=(0,), keepdims=False)]
    value, tangent = run(jvp(func, [0]), [np.array([2.0, 5.0]), np.array([1.0, 4.0]), np.array([1.0, 0.0])])
    assert (value, tangent) == (10.0, 3.0)


def test_views_of_a_fortran_ordered_argument_share_its_cotangent_and_tangent() -> None:
    """m.T.reshape(-1) is a view of m where m is in Fortran order."""
    func = new_func("f", [("m", Array("float64", (2, 3), "F")), ("a", FLOAT)])
    m, a = func.params
    with Builder(func) as b:
        flat = memory.make_reshape(TABLE["transpose"](m, perm=(1, 0)), (6,))
        TABLE["store_at"](flat, a * a, b.const(3), region=AT0)
        func.body.yields = [TABLE["sum"](TABLE["square"](m), axes=(0, 1), keepdims=False)]
    verify(func)
    held = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    value, dm, da = run(reverse(func, [0, 1]), [held, np.float64(2.0)])
    expected = 2 * held
    expected[1, 1] = 0.0
    np.testing.assert_array_equal(dm, expected)
    assert da == 2 * 4.0 * 4.0
    ones = np.ones((2, 3))
    assert run(jvp(func, [0, 1]), [held, np.float64(2.0), ones, np.float64(1.0)])[1] == expected.sum() + da


@pytest.mark.parametrize("backwards", [False, True])
def test_an_index_that_a_loop_counts_is_recomputed_in_either_direction(backwards: bool) -> None:
    func = vector_func()
    x, a = func.params
    with Builder(func) as b:
        n = memory.size_value(x, 0)
        block = Block(params=[Value(WEAK_INT, "i"), Value(WEAK_INT, "pos"), Value(FLOAT, "s")])
        with b.into(block):
            i, pos, s = block.params
            t = TABLE["load"](x, pos, region=AT0) * TABLE["load"](x, i, region=AT0)
            block.yields = [pos + 1, TABLE["sin"](s * a + t)]
        made = b.control("for", [1, n, 1, 0, b.const(np.float64(0.5))], [block], [WEAK_INT, FLOAT], reversed=backwards)
        func.body.yields = [made[1]]
    derivative = reverse(func, [0, 1])
    verify(derivative)
    args = [np.array([0.3, -0.7, 1.1, 0.4]), np.float64(0.8)]
    _, *gradient = run(derivative, args)
    direction = [np.array([1.0, -2.0, 0.5, 0.3]), 0.7]
    error = difference_error(lambda v: float(run(func, copied(v))[0]), args, direction, inner(gradient, direction))
    assert error < 1e-8
    assert "pos" not in derivative.notes["residuals"]["taped"]


def test_sizes_known_only_inside_a_branch_reach_its_reverse() -> None:
    """What a joint branch makes and does not run again has its size taped where the branch ran."""
    func = new_func("f", [("v", Array("float64", (size_variable("n"),))), ("a", FLOAT), ("k", WEAK_INT)])
    v, a, k = func.params
    with Builder(func) as b:
        blocks = []
        for scale in (2.0, 3.0):
            block = Block()
            with b.into(block):
                head = memory.make_index(v, (memory.Span(None, Arg(0), None),), k)
                joined = TABLE["concatenate"](TABLE["exp"](head * a), head, axis=0)
                block.yields = [TABLE["sum"](TABLE["tanh"](joined * scale), axes=(0,), keepdims=False)]
            blocks.append(block)
        func.body.yields = b.control("if", [TABLE["gt"](a, 0.5)], blocks, [FLOAT])
    for a_value in (0.3, 0.8):
        args = [np.array([0.2, -0.4, 0.9]), np.float64(a_value), 2]
        _, *gradient = run(reverse(func, [0, 1]), args)
        direction = [np.array([1.0, 0.5, -0.7]), 0.6, 0]
        error = difference_error(
            lambda x: float(run(func, [x[0], x[1], 2])[0]), args, direction, inner(gradient, direction[:2])
        )
        assert error < 1e-8
