"""Every row of the op table: types and values against NumPy, derivatives against differences, edge points, documentation."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gradc.ir import interp
from gradc.ir.builder import Builder, new_func
from gradc.ir.nodes import Value
from gradc.ir.opdef import OpDef
from gradc.ir.types import WEAK_FLOAT, Array, Scalar, Type, size_variable
from gradc.ir.verifier import verify
from gradc.ops import TABLE

ELEMENTWISE = [op for op in TABLE.values() if op.kind == "elementwise" and op.dtype_rule is not None]
SMOOTH = [op for op in ELEMENTWISE if op.partials is not None and op.name not in ("cast", "stop_gradient")]


def type_of(example: Any) -> Type:
    """The IR type of an example argument, with a size variable for each axis that is not 1."""
    if isinstance(example, np.ndarray):
        shape = tuple(1 if n == 1 else size_variable(f"n{n}") for n in example.shape)
        return Array(example.dtype.name, shape)
    if isinstance(example, np.generic):
        return Scalar(example.dtype.name)
    return {bool: Scalar("bool", True), int: Scalar("int64", True), float: WEAK_FLOAT, complex: Scalar("complex128", True)}[
        type(example)
    ]


def build(program: Any, *args: Any, checks: bool = True) -> Any:
    """The function that `program`, called on values with a current builder, makes for arguments like `args`."""
    func = new_func("f", [(f"x{k}", type_of(a)) for k, a in enumerate(args)])
    with Builder(func, checks=checks):
        made = program(*func.params)
        func.body.yields = list(made) if isinstance(made, tuple | list) else [made]
    verify(func)
    return func


def evaluate(program: Any, *args: Any) -> Any:
    """The value of `program` on `args` by the interpreter."""
    results = interp.run(build(program, *args), args)
    return results[0] if len(results) == 1 else results


def samples(op: OpDef, shapes: tuple[tuple[int, ...], ...] | None = None, dtype: str = "float64", seed: int = 0) -> list[Any]:
    """Arguments from the op's domain; a shape for each, () for numbers."""
    rng = np.random.default_rng(seed)
    made = []
    for k, (low, high) in enumerate(op.domain):
        shape = shapes[k] if shapes is not None else (4,)
        if op.name == "where" and k == 0:
            made.append(rng.random(shape) < 0.5 if shape else True)
        else:
            made.append(np.asarray(rng.uniform(low, high, shape)).astype(dtype)[()])
    return made


def apply(op: OpDef, *args: Any) -> Any:
    attrs = {"dtype": "float64", "weak": False} if op.name == "cast" else {}
    return op(*args, **attrs)


ids = pytest.mark.parametrize


@ids("op", TABLE.values(), ids=lambda op: op.name)
def test_documented(op: OpDef) -> None:
    assert op.doc


def reference(op: OpDef, *args: Any) -> Any:
    """NumPy's own function for the op where it has one, else the row's."""
    target = next((c for c in op.calls if isinstance(c, np.ufunc)), op.run)
    with np.errstate(all="ignore"):
        return target(*args, **({"dtype": "float64", "weak": False} if op.name == "cast" else {}))


BITWISE = {"bitand", "bitor", "bitxor", "lshift", "rshift"}


@ids("shapes", [((), (), ()), ((4,), (4,), (4,)), ((3, 4), (4,), (3, 1)), ((), (3, 4), ()), ((0,), (0,), (0,))], ids=str)
@ids("dtype", ["float64", "float32"])
@ids("op", [op for op in ELEMENTWISE if op.name not in BITWISE], ids=lambda op: op.name)
def test_elementwise_values(op: OpDef, dtype: str, shapes: Any) -> None:
    args = samples(op, shapes[: len(op.operands)], dtype)
    expected = np.asarray(reference(op, *args))
    got = np.asarray(evaluate(lambda *xs: apply(op, *xs), *args))
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-6 if dtype == "float32" else 1e-14)


@ids("op", [op for op in ELEMENTWISE if op.name not in BITWISE and op.calls], ids=lambda op: op.name)
def test_elementwise_on_integers(op: OpDef) -> None:
    args = [np.array([1, 2, 3]), np.array([2, 1, 1]), np.array([3, 3, 3])][: len(op.operands)]
    expected = reference(op, *args)
    got = evaluate(lambda *xs: apply(op, *xs), *args)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected)


WEAK_ARGS = [(2.0, np.float32(1.5)), (2, np.float32(1.5)), (np.float32(1.5), np.float64(2.0)), (3, 2), (2.5, 2), (2, np.int32(3))]


@ids("args", WEAK_ARGS, ids=str)
@ids("name", ["add", "sub", "mul", "div", "floordiv", "mod", "pow", "lt", "eq"])
def test_python_numbers_promote_weakly(name: str, args: tuple[Any, Any]) -> None:
    import operator

    python = {"div": "truediv"}.get(name, name)
    for x, y in (args, args[::-1]):
        expected = getattr(operator, python)(x, y)
        got = evaluate(lambda a, b: TABLE[name](a, b), x, y)
        assert type(got) is type(expected)
        assert got == expected


@ids("x", [0.0, 1.0, -1.0])
def test_float_division_by_zero_does_not_raise(x: float) -> None:
    with np.errstate(all="ignore"):
        np.testing.assert_equal(evaluate(lambda a, b: a / b, x, 0.0), np.float64(x) / 0.0)


@ids("name", ["floordiv", "mod"])
def test_integer_division_by_zero_raises(name: str) -> None:
    with pytest.raises(ZeroDivisionError):
        evaluate(lambda a, b: TABLE[name](a, b), 3, 0)


def test_integer_to_negative_power_raises() -> None:
    with pytest.raises(ValueError, match="negative integer powers"):
        evaluate(lambda a, b: a**b, np.int64(3), -1)
    assert evaluate(lambda a: a**-1, 2) == 0.5


# ----------------------------------------------------------------------------------- partials


def partials(op: OpDef, *args: Any) -> list[np.ndarray]:
    """The row's partial derivatives at the arguments; 0 for those it has not."""

    def program(*xs: Value) -> list[Any]:
        y = apply(op, *xs)
        return [TABLE["add"](0.0, 0.0 if p is None else p) for p in op.partials(y, *xs)]

    with np.errstate(all="ignore"):
        return [np.asarray(p) for p in interp.run(build(program, *args), args)]


def differences(f: Any, args: list[Any], k: int, h: float = 1e-5) -> Any:
    """Fourth-order central difference of f in argument k."""

    def at(step: float) -> Any:
        moved = list(args)
        moved[k] = moved[k] + step
        return f(*moved)

    with np.errstate(all="ignore"):
        return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


@ids("op", SMOOTH, ids=lambda op: op.name)
def test_partials(op: OpDef) -> None:
    for seed in range(3):
        args = samples(op, seed=seed)
        found = partials(op, *args)
        assert len(found) == len(op.operands)
        for k, p in enumerate(found):
            if args[k].dtype == bool:
                continue
            wanted = differences(lambda *xs: reference(op, *xs), args, k, op.tests.get("step", 1e-3))
            np.testing.assert_allclose(np.broadcast_to(p, wanted.shape), wanted, rtol=1e-7, atol=1e-8)


@ids("op", SMOOTH, ids=lambda op: op.name)
def test_partials_keep_float32(op: OpDef) -> None:
    args = samples(op, dtype="float32")
    func = build(lambda *xs: [v for v in op.partials(apply(op, *xs), *xs) if isinstance(v, Value)], *args)
    assert {v.dtype for v in func.results} <= {"float32", "bool"}


@ids("op", [op for op in SMOOTH if op.edge], ids=lambda op: op.name)
def test_partials_at_edges_are_not_nan(op: OpDef) -> None:
    for point in itertools.product(op.edge, repeat=len(op.operands)):
        if np.isfinite(reference(op, *map(np.float64, point))):
            for p in partials(op, *map(np.float64, point)):
                assert not np.isnan(p), point
