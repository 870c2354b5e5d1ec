"""`.source`: what it says, kept in `golden/`, and that it computes what the interpreter computes."""

from __future__ import annotations

import copy
import inspect
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradc
from gradc.ad.reverse import reverse
from gradc.codegen.arguments import signature_text
from gradc.codegen.expressions import number_text, slot_minimum
from gradc.codegen.readable import source
from gradc.errors import Loc
from gradc.ir.builder import Builder, new_func
from gradc.ir.interp import run
from gradc.ir.nodes import Block, Func, Value
from gradc.ir.program import Capture, leaf_type
from gradc.ir.region import Arg, At, Span
from gradc.ir.tree import Branch, Leaf, flatten, shift_leaves
from gradc.ir.types import WEAK_FLOAT, WEAK_INT, Array, Scalar, Type, size_variable
from gradc.ops import TABLE as OPS
from gradc.ops import memory
from gradc.runtime import pipeline
from tests.board import CASES, arr
from tests.oracle import copy_args
from tests.programs import PROGRAMS

GOLDEN = Path(__file__).parent / "golden"
VECTOR = Array("float64", (size_variable("x_0"),))


class Sketch:
    """A function under construction, one user line at a time."""

    def __init__(self, name: str, **params: Type) -> None:
        self.func = new_func(name, list(params.items()), Loc("model.py", name, 1))
        self.builder = Builder(self.func)
        self._line = 1

    def __enter__(self) -> Sketch:
        self.builder.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.builder.__exit__()

    def line(self, text: str) -> Any:
        """Nodes made inside stand on the next line, which reads `text`."""
        self._line += 1
        return self.builder.at(Loc("model.py", self.func.name, self._line, 0, len(text), text))

    def let(self, name: str, text: str, build: Callable[[], Value]) -> Value:
        """The statement `name = text`."""
        with self.line(f"{name} = {text}"):
            value = build()
        value.name = name
        return value

    def loop(
        self, stop: Any, initial: Sequence[Any], names: Sequence[str], body: Callable[..., Sequence[Value]]
    ) -> list[Value]:
        """for i in range(stop), carrying named scalars."""
        values = [self.builder.value(v) for v in initial]
        index = Value(WEAK_INT, "i")
        carried = [Value(v.ty, name) for v, name in zip(values, names, strict=True)]
        block = Block([index, *carried])
        with self.line("for i in range(n):"):
            loc = self.builder.loc
        with self.builder.into(block):
            block.yields = list(body(index, *carried))
        with self.builder.at(loc):
            made = self.builder.control("for", [0, stop, 1, *values], [block], [v.ty for v in values], reversed=False)
        for value, name in zip(made, names, strict=True):
            value.name = name
        return made


def derivative_text(func: Func, wrt: Sequence[int]) -> tuple[Func, str]:
    """Value and gradient of a hand-built function, and their source."""
    derived = reverse(func, list(wrt))
    names = [p.name for p in func.params]
    signature = inspect.Signature([inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names])
    count = len(func.results)
    gradient = Branch(tuple, tuple(range(len(wrt))), tuple(Leaf(count + k) for k in range(len(wrt))))
    values = Leaf(0) if count == 1 else Branch(tuple, tuple(range(count)), tuple(Leaf(k) for k in range(count)))
    trees = [Leaf(k) for k in range(len(names))]
    text = source(derived, f"{func.name}_value_and_grad", signature, trees, Branch(tuple, (0, 1), (values, gradient)))
    return derived, text


def execute(text: str, name: str, args: Sequence[Any]) -> Any:
    """Run the text under plain NumPy."""
    namespace: dict[str, Any] = {}
    exec(compile(text, "<source>", "exec"), namespace)
    return namespace[name](*args)


def agree(func: Func, args: Sequence[Any], wrt: Sequence[int]) -> str:
    """The source, after its numbers have been compared with the interpreter's."""
    derived, text = derivative_text(func, wrt)
    wanted = run(derived, copy.deepcopy(list(args)))
    got, _ = flatten(execute(text, f"{func.name}_value_and_grad", copy.deepcopy(list(args))))
    for a, b in zip(wanted, got, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12)
        assert isinstance(a, np.ndarray) is isinstance(b, np.ndarray)
    return text


# ------------------------------------------------------------------------------------------- hand-built functions


def test_staged_example_reads_as_on_the_board() -> None:
    with Sketch("f", x=WEAK_FLOAT, y=WEAK_FLOAT) as s:
        x, y = s.func.params
        sigy = s.let("sigy", "sigmoid(y)", lambda: OPS["sigmoid"](y))
        num = s.let("num", "x + sigy", lambda: x + sigy)
        sigx = s.let("sigx", "sigmoid(x)", lambda: OPS["sigmoid"](x))
        xpy = s.let("xpy", "x + y", lambda: x + y)
        xpysqr = s.let("xpysqr", "xpy**2", lambda: xpy**2)
        den = s.let("den", "sigx + xpysqr", lambda: sigx + xpysqr)
        invden = s.let("invden", "1.0 / den", lambda: 1.0 / den)
        s.func.body.yields = [s.let("f", "num * invden", lambda: num * invden)]
    text = agree(s.func, [-2.0, 5.0], [0, 1])
    body = text[text.index("    # forward") :]
    assert (
        body
        == """\
    # forward
    sigy = sigmoid(y)
    num = x + sigy
    sigx = sigmoid(x)
    xpy = x + y
    xpysqr = xpy**2
    den = sigx + xpysqr
    invden = 1.0 / den
    f = num * invden

    # backward
    # from model.py:9: f = num * invden
    dnum = invden
    dinvden = num
    # from model.py:8: invden = 1.0 / den
    dden = (-invden / den) * dinvden
    # from model.py:7: den = sigx + xpysqr
    dsigx = dden
    dxpysqr = dden
    # from model.py:6: xpysqr = xpy**2
    dxpy = 2 * xpy * dxpysqr
    # from model.py:5: xpy = x + y
    dx = dxpy
    dy = dxpy
    # from model.py:4: sigx = sigmoid(x)
    dx += (1 - sigx) * sigx * dsigx
    # from model.py:3: num = x + sigy
    dx += dnum
    dsigy = dnum
    # from model.py:2: sigy = sigmoid(y)
    dy += (1 - sigy) * sigy * dsigy

    return float(f), (float(dx), float(dy))
"""
    )


def test_swap_in_a_loop_is_one_assignment() -> None:
    with Sketch("fib", a=WEAK_FLOAT, b=WEAK_FLOAT, n=WEAK_INT) as s:
        a, b, n = s.func.params
        _, last = s.loop(n, [a, b], ["a", "b"], lambda i, p, q: [q, p * q])
        s.func.body.yields = [last]
    text = agree(s.func, [1.1, 1.3, 5], [0, 1])
    assert "        a, b = b, a * b\n" in text
    assert "for i in reversed(range(n)):" in text


def test_yield_is_not_moved_past_a_write_that_it_reads() -> None:
    # The first version moved `p * x[0]` to the end of the body, after the store.
    with Sketch("f", x=VECTOR, a=WEAK_FLOAT) as s:
        x, a = s.func.params

        def body(i: Value, p: Value) -> list[Value]:
            first = OPS["cast"](OPS["load"](x, 0, region=(At(Arg(0)),)), dtype="float64", weak=True)
            product = p * first
            OPS["store_at"](x, p + 1.0, 0, region=(At(Arg(0)),))
            OPS["store_at"](x, p * p, 1, region=(At(Arg(0)),))
            return [product]

        (last,) = s.loop(3, [a], ["p"], body)
        s.func.body.yields = [last + OPS["sum"](x, axes=(0,), keepdims=False)]
    agree(s.func, [np.array([0.3, 0.4, 0.5]), 0.7], [0, 1])


def test_names_of_the_user_win_over_names_of_cotangents() -> None:
    with Sketch("f", x=WEAK_FLOAT, dx=WEAK_FLOAT) as s:
        x, dx = s.func.params
        y = s.let("y", "x * dx", lambda: x * dx)
        s.func.body.yields = [s.let("z", "np.sin(y) * x", lambda: OPS["sin"](y) * x)]
    text = agree(s.func, [0.4, 0.5], [0, 1])
    assert "x_ct" in text and "ddx" in text


def test_names_that_python_or_the_module_needs_are_not_used() -> None:
    with Sketch("f", x=WEAK_FLOAT) as s:
        (x,) = s.func.params
        range_ = s.let("range", "x * x", lambda: x * x)
        np_ = s.let("np", "x + range", lambda: x + range_)
        sigmoid_ = s.let("sigmoid", "np * x", lambda: np_ * x)
        s.func.body.yields = [OPS["sigmoid"](sigmoid_) * range_]
    agree(s.func, [0.4], [0])


def test_arrays_are_updated_in_place_only_where_nobody_else_holds_them() -> None:
    with Sketch("f", x=VECTOR) as s:
        (x,) = s.func.params
        y = s.let("y", "x + 1.0", lambda: x + 1.0)
        view = s.let("v", "y[1:]", lambda: memory.make_index(y, (Span(1, None),)))
        y2 = s.let("y", "y * 2.0", lambda: y * 2.0)
        total = OPS["sum"](view, axes=(0,), keepdims=False) + OPS["sum"](y2, axes=(0,), keepdims=False)
        s.func.body.yields = [total]
    text = agree(s.func, [np.array([0.3, 0.4, 0.5])], [0])
    assert "*=" not in text


def test_result_that_is_written_is_copied_from_what_is_still_read() -> None:
    # The first version returned y itself, to which 1 had been added before it was read.
    with Sketch("f", x=VECTOR) as s:
        (x,) = s.func.params
        y = s.let("y", "np.sin(x)", lambda: OPS["sin"](x))
        z = s.let("z", "y.copy()", lambda: OPS["copy"](y))
        OPS["accumulate"](z, 1.0)
        total = OPS["sum"](y, axes=(0,), keepdims=False)
        s.func.body.yields = [z, total]
    signature = inspect.signature(lambda x: None)
    text = source(s.func, "f_jit", signature, [Leaf(0)], Branch(tuple, (0, 1), (Leaf(0), Leaf(1))))
    argument = np.array([0.3, 0.4])
    z_got, total_got = execute(text, "f_jit", [argument])
    np.testing.assert_allclose(z_got, np.sin(argument) + 1.0)
    np.testing.assert_allclose(total_got, np.sum(np.sin(argument)))


def test_division_by_zero_gives_inf_for_python_floats() -> None:
    with Sketch("f", x=WEAK_FLOAT, y=WEAK_FLOAT) as s:
        x, y = s.func.params
        s.func.body.yields = [s.let("z", "x / y", lambda: x / y)]
    _, text = derivative_text(s.func, [0, 1])
    with np.errstate(all="ignore"):
        value, _ = execute(text, "f_value_and_grad", [1.0, 0.0])
    assert value == np.inf and type(value) is float


def test_python_numbers_do_not_widen_single_precision() -> None:
    single = Array("float32", (size_variable("x_0"),))
    with Sketch("f", x=single, a=WEAK_FLOAT) as s:
        x, a = s.func.params
        h = s.let("h", "math.exp(a) / a", lambda: OPS["exp"](a) / a)
        s.func.body.yields = [OPS["sum"](x * h, axes=(0,), keepdims=False)]
    _, text = derivative_text(s.func, [0])
    value, (gradient,) = execute(text, "f_value_and_grad", [np.ones(3, np.float32), 0.5])
    assert value.dtype == np.float32 and gradient.dtype == np.float32


def test_text_is_the_same_every_time() -> None:
    texts = set()
    for _ in range(2):
        with Sketch("f", x=VECTOR, a=WEAK_FLOAT) as s:
            x, a = s.func.params
            (total,) = s.loop(
                memory.dim(x, axis=0),
                [0.0],
                ["s"],
                lambda i, t: [OPS["cast"](t + OPS["load"](x, i, region=(At(Arg(0)),)) * a, dtype="float64", weak=True)],  # noqa: B023
            )
            s.func.body.yields = [total]
        texts.add(agree(s.func, [np.ones(3), 0.5], [0, 1]))
    assert len(texts) == 1


# ------------------------------------------------------------------------------------- arguments and results


class Pair(NamedTuple):
    """A named tuple."""

    left: float
    right: float


@dataclass
class Body:
    """A dataclass."""

    mass: float
    at: np.ndarray


def structured(args: dict[str, Any], result: Any, captured: dict[str, Any] | None = None) -> tuple[Any, str]:
    """Source of the function that doubles every float of its arguments and captures and returns them as `result` is.

    Its default arguments are those in `args`.
    """
    leaves, trees = [], []
    for value in args.values():
        own, tree = flatten(value)
        trees.append(shift_leaves(tree, len(leaves)))
        leaves += own
    captures = []
    for name, value in (captured or {}).items():
        own, tree = flatten(value)
        captures.append(Capture(name, lambda value=value: value, tree, len(leaves), len(own)))
        leaves += own
    names = [f"leaf_{k}" for k in range(len(leaves))]
    func = new_func("f", [(n, leaf_type(v, n)) for n, v in zip(names, leaves, strict=True)], Loc("model.py", "f", 1))
    with Builder(func):
        func.body.yields = [p * 2.0 for p in func.params]
    _, tree = flatten(result)
    parameter = inspect.Parameter
    signature = inspect.Signature([parameter(n, parameter.POSITIONAL_OR_KEYWORD) for n in args])
    text = source(func, "f_jit", signature, trees, tree, captures)
    return execute(text, "f_jit", list(args.values())), text


def test_structured_arguments_are_taken_apart_at_the_top() -> None:
    params = {"W": np.ones(3), "b": 2.0}
    got, text = structured({"params": params, "layers": [(1.0, 2.0), (3.0, 4.0)]}, {"a": 0.0, "rest": [0.0] * 5})
    assert '    W = params["W"]\n' in text
    assert got["rest"] == [4.0, 2.0, 4.0, 6.0, 8.0] and got["a"].tolist() == [2.0] * 3


def test_named_tuples_and_dataclasses_are_rebuilt_as_what_they_were() -> None:
    args = {"pair": Pair(1.0, 2.0), "body": Body(3.0, np.ones(2))}
    got, text = structured(args, (Pair(0.0, 0.0), Body(0.0, 0.0)))
    assert got[0] == Pair(2.0, 4.0) and type(got[0]) is Pair
    assert got[1].mass == 6.0 and type(got[1]) is Body
    assert "left, right = pair" in text and "mass = body.mass" in text


def test_a_class_that_no_argument_has_becomes_a_named_tuple() -> None:
    got, text = structured({"x": 1.0, "y": 2.0}, Pair(0.0, 0.0))
    assert got == (2.0, 4.0) and got.right == 4.0
    assert 'Pair = collections.namedtuple("Pair", ["left", "right"])' in text


def test_captured_numbers_are_constants_and_large_arrays_are_keywords() -> None:
    captured = {"G": 9.81, "w": np.array([0.25, np.inf]), "data": np.ones(100)}
    _, text = structured({"x": 1.0}, (0.0, 0.0, 0.0, 0.0), {k: captured[k] for k in ("G", "w")} | {"k": 3})
    assert "G = 9.81\n" in text and "w = np.array([0.25, np.inf])\n" in text
    with pytest.raises(TypeError, match="data"):
        structured({"x": 1.0}, (0.0, 0.0), {"data": captured["data"]})


def test_defaults_stay_and_extra_parameters_follow_by_keyword() -> None:
    def f(x: float, lr: float = 0.1, *, mode: str = "a", flag: object = None) -> None: ...

    text = signature_text(inspect.signature(f), ["ct"])
    assert text == "(x, lr=0.1, *, mode='a', flag=None, ct)"


# ----------------------------------------------------------------------------------------------- expressions


@pytest.mark.parametrize("seed", range(40))
def test_parentheses_keep_the_order_of_evaluation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    double = Scalar("float64")
    func = new_func("f", [("a", double), ("b", double), ("c", double)], Loc("model.py", "f", 1))
    with Builder(func):
        values: list[Value] = list(func.params)
        for _ in range(9):
            p, q = (values[k] for k in rng.integers(max(0, len(values) - 4), len(values), 2))
            op = rng.choice(["add", "sub", "mul", "div", "neg", "pow", "where", "exp"])
            if op == "neg":
                made = -p
            elif op == "pow":
                made = OPS["abs"](p) ** 2 if rng.random() < 0.5 else p**2
            elif op == "where":
                made = OPS["where"](OPS["lt"](p, q), p, q)
            elif op == "exp":
                made = OPS["tanh"](p - q)
            else:
                made = OPS[str(op)](p, q)
            values.append(made)
        func.body.yields = [values[-1]]
    signature = inspect.signature(lambda a, b, c: None)
    text = source(func, "f_jit", signature, [Leaf(0), Leaf(1), Leaf(2)], Leaf(0))
    args = [np.float64(v) for v in rng.uniform(0.5, 1.5, 3)]
    with np.errstate(all="ignore"):
        np.testing.assert_equal(execute(text, "f_jit", args), run(func, args)[0])


def test_operands_get_the_parentheses_that_their_place_needs() -> None:
    assert slot_minimum("", " + ") == 9
    assert slot_minimum("a - ", "") == 10
    assert slot_minimum("np.exp(-", ")") == 12
    assert slot_minimum("np.exp(", ")") == 0
    assert slot_minimum("", ".copy()") == 100
    assert slot_minimum("np.sum(", ", axis=0)") == 0


def test_numbers_print_as_what_they_are() -> None:
    namespace = {"np": np}
    for value in (1, -2, 0.1, -0.0, 1e300, float("inf"), -float("inf"), 2j, 1 - 3j, True, np.float32(0.1), np.int64(3)):
        again = eval(number_text(value)[0], namespace)
        assert (
            again == value and type(again) is type(value) and np.signbit(np.real(again)) == np.signbit(np.real(value))
        )
    assert np.isnan(eval(number_text(float("nan"))[0], namespace))


# --------------------------------------------------------------------------------------------------- goldens


def same(a: Any, b: Any, rtol: float) -> None:
    """Both structures hold the same numbers."""
    left, left_tree = flatten(a)
    right, right_tree = flatten(b)
    assert len(left) == len(right), (left_tree, right_tree)
    for p, q in zip(left, right, strict=True):
        np.testing.assert_allclose(q, p, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[c[0].__name__ for c in CASES])
def test_golden(number: int, request: pytest.FixtureRequest) -> None:
    function, args, argnums = CASES[number]
    derivative = gradc.value_and_grad(function, argnums)
    text = derivative.lower(*args).source
    path = GOLDEN / f"{function.__name__}.py"
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert path.exists(), "run pytest --update-golden, and read the new file as carefully as source"
    assert text == path.read_text()
    before = set(sys.modules)
    got = execute(text, f"{function.__name__}_value_and_grad", copy.deepcopy(list(args)))
    assert not any(m.startswith(("gradc", "numba")) for m in set(sys.modules) - before)
    single = any(getattr(leaf, "dtype", None) == np.float32 for leaf in flatten(args)[0])
    same(derivative(*copy.deepcopy(args)), got, 1e-5 if single else 1e-10)


# ------------------------------------------------------------------------------------------------ programs


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.raises is None and not p.refused], ids=lambda p: p.name)
def test_plain_functions_do_what_python_does(program: Any) -> None:
    args = program.inputs[0]
    text = gradc.jit(program.function).lower(*copy_args(args)).source
    expected_args, got_args = copy_args(args), copy_args(args)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = program.function(*expected_args)
        got = execute(text, f"{program.function.__name__}_jit", got_args)
    rtol = 1e-4 if any(getattr(leaf, "dtype", None) == np.float32 for leaf in flatten(args)[0]) else 1e-11
    same(expected, got, rtol)
    same(expected_args, got_args, rtol)


def test_pullback_takes_cotangents_after_the_arguments() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sin(x) * y

    args = (arr(3), arr(3, seed=1))
    program = pipeline.parse(f, args)
    request = pipeline.Request("pullback", (0, 1), Branch(tuple, (0, 1), (Leaf(0), Leaf(1))))
    shown = pipeline.transform(program, request, readable=True)
    text = source(shown.func, shown.name, inspect.signature(f), program.args, shown.result)
    assert "def f_pullback(x, y, ct):" in text
    dx, dy = execute(text, "f_pullback", [*args, np.ones(3)])
    np.testing.assert_allclose(dx, np.cos(args[0]) * args[1])
    np.testing.assert_allclose(dy, np.sin(args[0]))


# -------------------------------------------------------------------------------- arrays that are bound anew


def _two_states(x: Any, n: int) -> Any:
    u, v = x.copy(), np.sin(x)
    for _ in range(n):
        u, v = u + 0.1 * v, v - 0.1 * u * u
    return np.sum(u * v)


def _old_and_new(x: Any, n: int) -> Any:
    total = 0.0
    for _ in range(n):
        y = np.tanh(x[::-1] * 1.1)
        total += np.sum((y - x) ** 2)
        x = y
    return total + x[0]


def _kept_view(x: Any, n: int) -> Any:
    h = x * 1.0
    head = h[1:]
    for _ in range(n):
        h[:] = np.cos(h)
        h[0] += head[0] * 0.5
    return np.sum(head**2) + h[0]


def _same_array_twice(x: Any, n: int) -> Any:
    a, b = x * 2.0, x + 1.0
    for _ in range(n):
        c = np.sin(a + b)
        a = c
        b = c
        b = b * 1.5
    return np.sum(a) + np.sum(b * b)


def _changed_in_place_after(x: Any, n: int) -> Any:
    h = np.zeros(x.size)
    for k in range(n):
        h = np.tanh(h + x)
        h[k % 3] *= 2.0
    return np.sum(h**2)


def _bound_in_a_branch(x: Any, n: int) -> Any:
    h = x.copy()
    for k in range(n):
        if k % 2:
            h = h * h
        else:
            h = h + x
    return np.sum(h)


def _history(x: Any, n: int) -> Any:
    h, before = x.copy(), x.copy()
    for _ in range(n):
        after = 2 * h - before - 0.1 * np.sin(h)
        before = h
        h = after
    return np.sum(h * before)


def _inner_solve(x: Any, n: int) -> Any:
    h = x.copy()
    for _ in range(n):
        g = h
        while np.sum(g**2) > 0.5:
            g = 0.6 * g
        h = h + 0.3 * g
    return np.sum(h**3)


def _momentum(x: Any, n: int) -> Any:
    v = np.zeros(3)
    for _ in range(n):
        v = 0.9 * v - 0.1 * x
        x = x + v
    return np.sum(x * v)


REBINDING = (
    _two_states, _old_and_new, _kept_view, _same_array_twice, _changed_in_place_after, _bound_in_a_branch, _history,
    _inner_solve, _momentum,
)  # fmt: skip


@pytest.mark.parametrize("function", REBINDING, ids=lambda f: f.__name__.strip("_"))
@pytest.mark.parametrize("n", [0, 1, 4])
def test_arrays_that_loops_replace_are_told_apart(function: Any, n: int) -> None:
    """`h = np.tanh(W @ h)` is printed as that only where nobody could tell it from a store into h."""
    x = np.array([0.9, -0.4, 0.7])
    text = gradc.value_and_grad(function).lower(x, n).source
    given = x.copy()
    value, gradient = execute(text, f"{function.__name__.strip('_')}_value_and_grad", [given, n])
    np.testing.assert_array_equal(given, x)
    assert value == pytest.approx(function(x.copy(), n), rel=1e-13)
    steps = 1e-6 * np.eye(3)
    expected = [(function(x + d, n) - function(x - d, n)) / 2e-6 for d in steps]
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-8)
    plain = gradc.jit(function).lower(x, n).source
    given = x.copy()
    assert execute(plain, f"{function.__name__.strip('_')}_jit", [given, n]) == pytest.approx(value, rel=1e-13)
    np.testing.assert_array_equal(given, x)


def test_a_recurrent_loop_reads_as_it_was_written() -> None:
    text = gradc.value_and_grad(_momentum).lower(np.ones(3), 4).source
    assert "v = 0.9 * v - 0.1 * x" in text
    assert "[:]" not in text
    assert ".copy()" not in text.partition("for ")[2].partition("value =")[0]


def test_source_does_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np, gradc\n"
        "from tests.board import CASES\n"
        "for f, args, argnums in CASES:\n"
        "    print(gradc.value_and_grad(f, argnums).lower(*args).source)\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, check=True,
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent.parent)},
        ).stdout
        for seed in ("0", "1", "77")
    }  # fmt: skip
    assert len(texts) == 1
    assert len(texts.pop()) > 10_000


# ----------------------------------------------------------------------------------- what a person would write


def _steps(x: Any, n: int) -> Any:
    for _ in range(n):
        x = x * np.sin(x)
    return x


def _stops(x: Any) -> Any:
    best = 0.0
    for v in x:
        best = best + v * v
        if best > 4.0:
            break
    else:
        best = best * 2.0
    return best


def _numbered(x: Any) -> Any:
    s = 0.0
    for t, v in enumerate(x):
        s += v * t
    return s


IDIOMS: tuple[tuple[Callable[..., Any], tuple[Any, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (lambda x: np.sum(np.eye(3) @ x), (arr(3),), ("np.eye(3)",), ("arange",)),
    (lambda x, y: max(x, y) * min(x, y), (2.0, 3.0), ("is_above(x, y)", "is_above(y, x)"), ("0.5 * (np.float64",)),
    (lambda x: np.sum(x.reshape(-1)[::2]), (arr(3, 4),), (".reshape(-1)",), ("x.shape[0] * x.shape[1]",)),
    (lambda x: np.sum(x[:, None] - x[None]), (arr(4),), ("np.sum(", "axis="), ("reshape", "keepdims")),
    (lambda x: np.mean(np.sum(x**2, axis=1)), (arr(4, 2),), ("2 * x",), ("np.full", "[:, None]")),
    (lambda x: x * x - 1.0, (3.0,), ("dx = 2 * x",), ("+=",)),
    (lambda x, y: np.sum(x / y), (arr(3), arr(3)), ("dx = 1 / y", "dy = -t1 / y"), ("1.0",)),
    (lambda x, h: np.sum(x[1:] - 2 * h * x[:-1]), (arr(4), 2.0), ("dx[:-1] -= t1",), ("+= -", "np.full")),
    (_steps, (0.5, 3), ("sin_x_tape", "sin_x = np.sin(x)"), ("t_tape",)),
    (_stops, (np.array([0.5, 0.3]),), ("            break\n",), ("= False\n            ", "else:\n            test")),
    (_numbered, (arr(3),), ("for t in range(x.shape[0]):",), ("t = ", "for i")),
    (lambda x: np.sum(x + np.tanh(x)), (arr(3),), (), ("dx = dx +",)),
)  # fmt: skip


@pytest.mark.parametrize("case", IDIOMS, ids=lambda c: c[0].__name__.strip("_<>"))
def test_text_is_what_a_person_would_write(case: Any) -> None:
    function, args, said, unsaid = case
    derivative = gradc.value_and_grad(function, argnums=tuple(k for k, a in enumerate(args) if not isinstance(a, int)))
    text = derivative.lower(*args).source
    code = re.sub(r"#.*", "", text)
    for part in said:
        assert part in code, text
    for part in unsaid:
        assert part not in code, text
    (name,) = re.findall(r"^def (\w+_value_and_grad)\(", text, re.MULTILINE)
    value, gradient = execute(text, name, copy.deepcopy(list(args)))
    assert value == pytest.approx(function(*args), rel=1e-13)
    floats = [float(np.sum(g)) for g in gradient]
    for k, found in zip([k for k, a in enumerate(args) if not isinstance(a, int)], floats, strict=True):
        up, down = ([*args[:k], args[k] + e, *args[k + 1 :]] for e in (1e-6, -1e-6))
        assert found == pytest.approx((function(*up) - function(*down)) / 2e-6, rel=1e-6, abs=1e-8)


def test_derivatives_of_derivatives_say_so() -> None:
    cube = gradc.grad(gradc.grad(_steps)).lower(0.5, 2).source
    assert "def _steps_grad_grad(x, n):" in cube or "def steps_grad_grad(x, n):" in cube
    assert "Gradient of the gradient of _steps" in cube
    assert "Hessian of" in gradc.hessian(lambda x: np.sum(x**3)).lower(arr(3)).source
