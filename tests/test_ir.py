"""The IR: text that parses back, invariants that are verified, an interpreter with NumPy's memory semantics."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings

import gradc.ops  # noqa: F401  # loads the table
from gradc.errors import InternalError, Loc, ShapeError
from gradc.ir.builder import Builder, new_func
from gradc.ir.interp import run
from gradc.ir.nodes import Block, Func, Value
from gradc.ir.parser import parse_func
from gradc.ir.printer import print_func
from gradc.ir.region import FULL, NEWAXIS, Arg, At, Gather, Span
from gradc.ir.types import (
    BOOL,
    FLOAT,
    INT,
    WEAK_INT,
    Array,
    Scalar,
    Stack,
    add_sizes,
    clamp_size,
    multiply_sizes,
    size_variable,
)
from gradc.ir.verifier import verify
from gradc.ops.memory import make_index, size_value
from tests.random_ir import Example, programs

N = size_variable("n")
ROUGH = settings(max_examples=60, deadline=None)


def outcome(func: Func, args: list) -> list:
    """Results, and arguments after the call, bit by bit (NaNs are one); the exception where one is raised."""
    args = copy.deepcopy(args)
    try:
        results = run(func, args)
    except (IndexError, OverflowError) as error:
        return [type(error)]
    shown = []
    for value in (*results, *args):
        array = np.array(value)
        array = np.where(np.isnan(array), np.nan, array) if array.dtype.kind == "f" else array
        shown.append((array.tobytes(), array.dtype, array.shape))
    return shown


# -------------------------------------------------------------------------------------------------- text


@ROUGH
@given(programs())
def test_text_parses_back(example: Example) -> None:
    text = print_func(example.func)
    parsed = parse_func(text)
    assert print_func(parsed) == text
    verify(parsed)
    assert outcome(parsed, example.args) == outcome(example.func, example.args)


def attributes_func(**attrs: object) -> Func:
    func = new_func("attributes", [("x", FLOAT)])
    with Builder(func) as b:
        b.emit("stop_gradient", func.params)
    func.body.nodes[0].attrs = attrs
    return func


@pytest.mark.parametrize(
    "value",
    [
        0, -7, 10**30, 1.5, -0.0, 1e-300, 1e22, np.inf, -np.inf, complex(-0.0, 2.5), True, None, "", 'a "b" \\ \n é',
        np.float32(0.1), np.float64(-0.0), np.int8(-3), np.bool_(True), np.complex64(1 - 2j), np.dtype("int32"),
        (), (1,), (1, (2.0, "x")), [1, "a"], {"k": (1, 2)}, Arg(3), (Arg(0), 4, -1),
        (At(1), At(Arg(0)), At(-2), FULL, Span(1, None), Span(None, -1, 2)),
        (Span(Arg(1), Arg(2), Arg(3)), NEWAXIS, Gather(2)),
        Span(0, Arg(4)), FLOAT, WEAK_INT, Stack(FLOAT), Stack(Array("float32", (3, N), "A")),
        Array("float64", (add_sizes(multiply_sizes(N, N), -3), clamp_size(add_sizes(N, -1)), 1), "F"),
        Array("int64", (size_variable("len(1:k of n)"), size_variable("max"))), add_sizes(multiply_sizes(N, -2), 5),
    ],
    ids=repr,
)  # fmt: skip
def test_attributes_parse_back(value: object) -> None:
    text = print_func(attributes_func(a=value, b=1))
    parsed = parse_func(text)
    again = parsed.body.nodes[0].attrs["a"]
    assert print_func(parsed) == text
    assert type(again) is type(value)
    assert repr(again) == repr(value)


def test_nan_parses_back() -> None:
    assert np.isnan(parse_func(print_func(attributes_func(a=np.nan))).body.nodes[0].attrs["a"])


def test_names_sizes_and_places_parse_back() -> None:
    place = Loc('a "file".py', "f", 3, 4, 9)
    func = new_func(
        "<lambda>", [("x", Array("float64", (N,))), ("p['w']", FLOAT), ("k", WEAK_INT)], Loc("m.py", "f", 1, 0, 5)
    )
    with Builder(func) as b, b.at(place):
        size = size_value(func.params[0], 0)
        b.size_of(size)
        total = b.emit("add", (func.params[1], 1.0))
        total.name = "x"
        func.body.yields = [total]
    func.body.nodes[-1].loc = Loc("<expression>", "", 1, 2, 3, "x + 1", True)
    parsed = parse_func(print_func(func))
    assert [p.name for p in parsed.params] == ["x", "p['w']", "k"]
    assert parsed.name == "<lambda>"
    assert parsed.loc == func.loc
    assert [n.loc for n in parsed.body.nodes] == [n.loc for n in func.body.nodes]
    assert parsed.results[0].name == "x"
    assert parsed.body.nodes[0].result.size == N
    assert print_func(parsed) == print_func(func)


def test_unreadable_text_names_the_line() -> None:
    with pytest.raises(InternalError, match="line 2 .* cannot be read: %y: float64 = nothing"):
        parse_func("func f(%x: float64) {\n  %y: float64 = nothing(%x)\n  return %y\n}\n")


# ---------------------------------------------------------------------------------------------- verifier

BROKEN = {
    "the type rule gives float64": """
  %y: float32 = neg(%x)
  return %y""",
    "the condition is a boolean": """
  %y: float64 = if(%x)
  block() {
    yield %x
  }
  block() {
    yield %x
  }
  return %y""",
    "0 a block yields, but 1 results": """
  %0: bool = lt(%x, %x)
  %y: float64 = if(%0)
  block() {
    yield %x
  }
  block() {
    yield
  }
  return %y""",
    "number 0: initial values int64, body parameters float64": """
  %y: int64 = for(%k, %k, %k, %k)
  block(%i: int64~, %c: float64) {
    yield %c
  }
  return %x""",
    "number 0: initial values float64, body parameters float64.2.": """
  for(%k, %k, %k, %x)
  block(%i: int64~, %c: float64[2]) {
    yield %c
  }
  return %x""",
    "the constant 1 does not have its type": """
  %0: float64~ = const() {value=1}
  return %0""",
    "the region has 1 entries for 2 axes": """
  %0: float64 = load(%m, %k) {region=[#0]}
  return %0""",
    "the region names operand #3, which is missing": """
  %0: float64 = load(%m, %k) {region=[#3, #0]}
  return %0""",
    "cannot be in the region of load": """
  %0: float64 = load(%m, %k) {region=[:, #0]}
  return %0""",
    "a write goes to an array": """
  store(%x, %x)
  return %x""",
    "NoSuchError is an exception": """
  %0: bool = lt(%x, %x)
  check(%0) {error="NoSuchError", message=""}
  return %x""",
}


@pytest.mark.parametrize("problem", BROKEN)
def test_broken_invariants_are_found(problem: str) -> None:
    text = (
        f'func f(%x: float64, %k: int64, %m: float64[n, 3]) @0:1:0-1 {{{BROKEN[problem]}\n}}\n@0 = "model.py" in "f"\n'
    )
    func = parse_func(text)
    with pytest.raises(InternalError, match=problem) as caught:
        verify(func, "cse")
    assert "after pass cse" in str(caught.value)


def test_errors_show_the_program_around_them() -> None:
    func = parse_func(
        "func f(%x: float64) {\n  %0: float64 = neg(%x) @0:2:4-6\n  %y: float32 = exp(%0) @0:3:4-6\n  return %y\n}\n"
        '@0 = "model.py" in "f"\n'
    )
    with pytest.raises(InternalError) as caught:
        verify(func)
    message = str(caught.value)
    assert "model.py:3:4, in f" in message
    assert ">   %y: float32 = exp(%0)" in message
    assert "%0: float64 = neg(%x)" in message


def test_values_stand_before_their_uses() -> None:
    func = parse_func("func f(%x: float64) {\n  %0: float64 = neg(%x)\n  %1: float64 = exp(%0)\n  return %1\n}\n")
    func.body.nodes.reverse()
    with pytest.raises(InternalError, match="operand 0, .* is not in scope"):
        verify(func)


def test_values_of_inner_blocks_do_not_escape() -> None:
    func = new_func("f", [("c", BOOL), ("x", FLOAT)])
    with Builder(func) as b:
        then, other = Block(), Block()
        with b.into(then):
            inner = b.emit("neg", (func.params[1],))
        then.yields, other.yields = [inner], [func.params[1]]
        b.control("if", [func.params[0]], [then, other], [FLOAT])
        func.body.yields = [inner]
    with pytest.raises(InternalError, match="not in scope"):
        verify(func)


# ------------------------------------------------------------------------------------------- interpreter


def build(params: list, body: object) -> Func:
    func = new_func("f", params)
    with Builder(func) as b:
        func.body.yields = list(body(b, *func.params))  # type: ignore[operator]
    return verify(func)


def test_overlapping_writes_read_their_value_first() -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        later, earlier = make_index(x, (Span(1, None),)), make_index(x, (Span(None, -1),))
        b.emit("accumulate", (later, earlier))
        return [x]

    x = np.arange(6.0)
    expected = x.copy()
    expected[1:] += expected[:-1].copy()
    func = build([("x", Array("float64", (N,)))], body)
    (result,) = run(func, [x])
    assert result is x
    np.testing.assert_array_equal(x, expected)


def test_a_view_of_one_element_is_written_through() -> None:
    def body(b: Builder, x: Value, k: Value) -> list[Value]:
        b.emit("store", (make_index(x, (At(Arg(0)),), k), 9.0))
        return []

    x = np.zeros(3)
    run(build([("x", Array("float64", (N,))), ("k", INT)], body), [x, -1])
    np.testing.assert_array_equal(x, [0, 0, 9])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("start", "stop", "step"), [(0, 5, 1), (5, 0, -2), (3, 3, 1), (1, 6, 3)])
def test_for_visits_what_range_visits(start: int, stop: int, step: int, reverse: bool) -> None:
    def body(b: Builder) -> list[Value]:
        block = Block([Value(WEAK_INT, "i"), Value(WEAK_INT, "code")])
        with b.into(block):
            block.yields = [b.emit("add", (b.emit("mul", (block.params[1], 10)), block.params[0]))]
        return b.control("for", [start, stop, step, 0], [block], [WEAK_INT], reversed=reverse)

    code = 0
    for i in reversed(range(start, stop, step)) if reverse else range(start, stop, step):
        code = 10 * code + i
    assert run(build([], body), []) == (code,)


def test_loops_that_are_left_count_their_trips() -> None:
    def body(b: Builder, limit: Value) -> list[Value]:
        cond, block = Block([Value(WEAK_INT, "t")]), Block([Value(WEAK_INT, "t")])
        with b.into(cond):
            cond.yields = [b.emit("lt", (cond.params[0], 100))]
        with b.into(block):
            block.yields = [b.emit("ge", (block.params[0], limit)), b.emit("add", (block.params[0], 1))]
        return b.control("while", [0], [cond, block], [WEAK_INT, WEAK_INT], exits=True)

    func = build([("limit", INT)], body)
    assert run(func, [3]) == (4, 4)
    assert run(func, [1000]) == (100, 100)


def test_python_and_numpy_scalars_are_told_apart() -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        weak = b.emit("add", (b.const(1), b.const(2.5)))
        return [weak, b.emit("mul", (x, weak)), b.emit("div", (weak, 0))]

    weak, strong, infinite = run(build([("x", Scalar("float32"))], body), [2.0])
    assert type(weak) is float
    assert type(strong) is np.float32
    assert infinite == np.inf


def test_integer_division_by_zero_raises() -> None:
    func = build([("k", INT)], lambda b, k: [b.emit("floordiv", (1, k))])
    assert run(func, [2]) == (0,)
    with pytest.raises(ZeroDivisionError):
        run(func, [0])


def test_checks_raise_what_they_name() -> None:
    def body(b: Builder, k: Value) -> list[Value]:
        with b.at(Loc("model.py", "f", 7, 0, 3)):
            b.emit("check", (b.emit("gt", (k, 0)),), error="ShapeError", message="sizes differ")
            b.emit("check", (b.emit("gt", (k, 1)), k), error="ValueError", message="small:")
        return []

    func = build([("k", INT)], body)
    with pytest.raises(ShapeError, match="sizes differ") as shape:
        run(func, [0])
    assert shape.value.lineno == 7
    with pytest.raises(ValueError) as value:
        run(func, [1])
    assert value.value.args == ("small:", 1)
    assert run(func, [2]) == ()


def test_a_result_of_the_wrong_type_is_an_internal_error() -> None:
    func = build([("x", Array("float64", (N,)))], lambda b, x: [b.emit("neg", (x,))])
    func.body.nodes[0].result.ty = Array("float32", (N,))
    with pytest.raises(InternalError, match="op neg gave an array float64"):
        run(func, [np.ones(2)])
