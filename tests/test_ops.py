"""Every row of the op table: types and values against NumPy, derivatives against differences, edges, documentation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy
import numpy as np
import pytest

from gradc.errors import DTypeError, ShapeError, UnsupportedError
from gradc.ir import interp
from gradc.ir.builder import Builder, new_func
from gradc.ir.nodes import Value, walk_nodes
from gradc.ir.opdef import OpDef
from gradc.ir.types import WEAK_FLOAT, Array, Scalar, Type, size_variable
from gradc.ir.verifier import verify
from gradc.ops import ATTRIBUTES, CALLS, METHODS, TABLE
from gradc.passes.expand import expand

ELEMENTWISE = [op for op in TABLE.values() if op.kind == "elementwise" and op.dtype_rule is not None]
SMOOTH = [op for op in ELEMENTWISE if op.partials is not None and op.name not in ("cast", "stop_gradient")]


def type_of(example: Any) -> Type:
    """The IR type of an example argument, with a size variable for each axis that is not 1."""
    if isinstance(example, np.ndarray):
        shape = tuple(1 if n == 1 else size_variable(f"n{n}") for n in example.shape)
        return Array(example.dtype.name, shape)
    if isinstance(example, np.generic):
        return Scalar(example.dtype.name)
    return {bool: Scalar("bool", True), int: Scalar("int64", True), float: WEAK_FLOAT,
            complex: Scalar("complex128", True)}[
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


def samples(
    op: OpDef, shapes: Sequence[tuple[int, ...]] | None = None, dtype: str = "float64", seed: int = 0
) -> list[Any]:
    """Arguments from the op's domain; a shape for each, () for numbers."""
    rng = np.random.default_rng(seed)
    made = []
    for k, (low, high) in enumerate(op.domain):
        shape = shapes[k] if shapes is not None else (4,)
        if op.name == "where" and k == 0:
            made.append(rng.random(shape) < 0.5 if shape else True)
        elif k in op.tests.get("whole", ()):
            made.append(np.floor(np.asarray(rng.uniform(low, high, shape))).astype(dtype)[()])
        else:
            made.append(np.asarray(rng.uniform(low, high, shape)).astype(dtype)[()])
    return made


def apply(op: OpDef, *args: Any) -> Any:
    attrs = {"dtype": "float64", "weak": False} if op.name == "cast" else op.tests.get("attrs", {})
    return op(*args, **attrs)


ids = pytest.mark.parametrize


@ids("op", TABLE.values(), ids=lambda op: op.name)
def test_documented(op: OpDef) -> None:
    assert op.doc


def reference(op: OpDef, *args: Any) -> Any:
    """NumPy's own function for the op where it has one, else the row's."""
    target = next((c for c in op.calls if isinstance(c, np.ufunc)), op.run)
    with np.errstate(all="ignore"):
        attrs = {"dtype": "float64", "weak": False} if op.name == "cast" else op.tests.get("attrs", {})
        return target(*args, **attrs)


BITWISE = {"bitand", "bitor", "bitxor", "lshift", "rshift"}


@ids("shapes", [((), (), ()), ((4,), (4,), (4,)), ((3, 4), (4,), (3, 1)), ((), (3, 4), ()), ((0,), (0,), (0,))],
     ids=str)
@ids("dtype", ["float64", "float32"])
@ids("op", [op for op in ELEMENTWISE if op.name not in BITWISE], ids=lambda op: op.name)
def test_elementwise_values(op: OpDef, dtype: str, shapes: Any) -> None:
    args = samples(op, [shapes[k % 3] for k in range(len(op.operands))], dtype)
    expected = np.asarray(reference(op, *args))
    got = np.asarray(evaluate(lambda *xs: apply(op, *xs), *args))
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-6 if dtype == "float32" else 1e-14)


@ids("op", [op for op in ELEMENTWISE if op.name not in BITWISE and op.calls], ids=lambda op: op.name)
def test_elementwise_on_integers(op: OpDef) -> None:
    args = [np.array([1, 2, 3]), np.array([2, 1, 1]), np.array([3, 3, 3]), np.array([1, 2, 1])][: len(op.operands)]
    expected = reference(op, *args)
    got = evaluate(lambda *xs: apply(op, *xs), *args)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected)


WEAK_ARGS = [(2.0, np.float32(1.5)), (2, np.float32(1.5)), (np.float32(1.5), np.float64(2.0)), (3, 2), (2.5, 2),
             (2, np.int32(3))]


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
        return [TABLE["add"](0.0, 0.0 if p is None else p) for p in op.partials(y, *xs, **op.tests.get("attrs", {}))]

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
            if args[k].dtype == bool or op.operands[k] in op.fixed:
                continue
            wanted = differences(lambda *xs: reference(op, *xs), args, k, op.tests.get("step", 1e-3))
            np.testing.assert_allclose(np.broadcast_to(p, wanted.shape), wanted, rtol=1e-7, atol=1e-8)


@ids("op", SMOOTH, ids=lambda op: op.name)
def test_partials_keep_float32(op: OpDef) -> None:
    args = samples(op, dtype="float32")
    attrs = op.tests.get("attrs", {})

    def program(*xs: Value) -> list[Value]:
        y = apply(op, *xs)
        return [y, *(v for v in op.partials(y, *xs, **attrs) if isinstance(v, Value))]

    func = build(program, *args)
    assert {v.dtype for v in func.results} <= {func.results[0].dtype, "bool"}


@ids("op", [op for op in SMOOTH if op.edge], ids=lambda op: op.name)
def test_partials_at_edges_are_not_nan(op: OpDef) -> None:
    for point in itertools.product(op.edge, repeat=len(op.operands)):
        if np.isfinite(reference(op, *map(np.float64, point))):
            for p in partials(op, *map(np.float64, point)):
                assert not np.isnan(p), point


# ------------------------------------------------------------------------------------------ calls


class UfuncCalls:
    """A ufunc with its methods, as the front ends see them."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self.ufunc = ufunc

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return CALLS[self.ufunc].build(*args, **keywords)

    def __getattr__(self, name: str) -> Any:
        return CALLS[getattr(self.ufunc, name)].build


class Calls:
    """NumPy as the front ends see it: `np.sum(x)` adds nodes."""

    def __init__(self, module: Any = np) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.module, name)
        if isinstance(found, np.ufunc):
            return UfuncCalls(found)
        if found in CALLS:
            return CALLS[found].build
        return Calls(found) if type(found).__name__ == "module" else found


def method(x: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    """x.name(*args) for arrays, and for values as the front ends see it."""
    if isinstance(x, Value):
        return METHODS[name].build(x, *args, **kwargs)
    return getattr(x, name)(*args, **kwargs)


def attribute(x: Any, name: str) -> Any:
    return ATTRIBUTES[name].build(x) if isinstance(x, Value) else getattr(x, name)


def sp(namespace: Any) -> Any:
    """scipy.special, or the calls for it."""
    import scipy.special

    return scipy.special if namespace is np else Calls(scipy.special)


def namespace_is_numpy(namespace: Any) -> bool:
    return namespace is np


def linalg(namespace: Any) -> Any:
    """scipy.linalg, or the calls for it."""
    import scipy.linalg

    return scipy.linalg if namespace is np else Calls(scipy.linalg)


def symmetric(np: Any, x: Any) -> Any:
    return np.matmul(x, np.transpose(x)) + np.eye(4)


m, a = method, attribute
V, M, S, T = (3,), (3, 4), (4, 4), (2, 3, 4)

# Program of (np, *arguments), shapes of the arguments; every float result is differentiated.
PROGRAMS: list[tuple[Any, tuple[tuple[int, ...], ...]]] = [
    (lambda np, x: np.sum(x), (M,)),
    (lambda np, x: np.sum(x, axis=0), (M,)),
    (lambda np, x: np.sum(x, -1, keepdims=True), (M,)),
    (lambda np, x: np.sum(x, axis=(0, 2)), (T,)),
    (lambda np, x: np.sum(x, axis=(-1, 0), keepdims=True), (T,)),
    (lambda np, x: np.sum(x, where=np.greater(x, 1.0), initial=2.0), (M,)),
    (lambda np, x: m(x, "sum", axis=1), (M,)),
    (lambda np, x: np.sum([x, x * 2.0], axis=0), (V,)),
    (lambda np, x: np.mean(x), (M,)),
    (lambda np, x: np.mean(x, axis=0), (M,)),
    (lambda np, x: m(x, "mean", -1, keepdims=True), (T,)),
    (lambda np, x: np.mean(x, axis=0, where=np.greater(x, 0.5)), (M,)),
    (lambda np, x: np.prod(x), (V,)),
    (lambda np, x: np.prod(x, axis=0), (M,)),
    (lambda np, x: np.prod(x, axis=(0, 2), keepdims=True), (T,)),
    (lambda np, x: np.max(x) + np.amax(x, 0) - np.amin(x, axis=0), (M,)),
    (lambda np, x: np.max(x, axis=1), (M,)),
    (lambda np, x: m(x, "min", axis=(0, 1)), (T,)),
    (lambda np, x: np.min(x, axis=0, keepdims=True), (M,)),
    (lambda np, x: np.max(x, axis=1, initial=1.0), (S,)),
    (lambda np, x: np.cumsum(x, axis=0) + np.cumsum(x, axis=-1), (M,)),
    (lambda np, x: np.cumsum(x) * np.cumprod(x), (M,)),
    (lambda np, x: np.cumprod(x - 1.0, axis=0) + m(x, "cumprod", axis=1), (M,)),
    (lambda np, x: np.var(x), (M,)),
    (lambda np, x: np.var(x, axis=0, ddof=1), (M,)),
    (lambda np, x: m(x, "std", axis=1, keepdims=True), (M,)),
    (lambda np, x: np.ptp(x, axis=0), (M,)),
    (lambda np, x, w: np.average(x, axis=1, weights=w), (M, (4,))),
    (lambda np, x, w: np.average(x, weights=w), (M, M)),
    (lambda np, x: x * np.argmax(x, axis=0) + np.argmin(x), (M,)),
    (lambda np, x: x * np.any(np.greater(x, 1.9)) + np.count_nonzero(x), (M,)),
    (lambda np, x, y: np.matmul(x, y), (V, V)),
    (lambda np, x, y: np.matmul(x, y), (M, (4,))),
    (lambda np, x, y: np.matmul(x, y), (V, M)),
    (lambda np, x, y: np.matmul(x, y), (M, S)),
    (lambda np, x, y: np.matmul(x, y), (T, S)),
    (lambda np, x, y: np.matmul(x, y), (M, (2, 4, 5))),
    (lambda np, x, y: np.matmul(x, y), (T, (4,))),
    (lambda np, x, y: np.matmul(x, y), (V, T)),
    (lambda np, x, y: np.matmul(x, y), (T, (2, 4, 2))),
    (lambda np, x, y: np.matmul(x, y), ((5, 1, 3, 4), (2, 4, 2))),
    (lambda np, x, y: np.dot(x, y), ((), M)),
    (lambda np, x, y: np.dot(x, y), (T, (4,))),
    (lambda np, x, y: np.dot(x, y), (T, (5, 4, 2))),
    (lambda np, x, y: np.dot(x, y), (V, (5, 3, 2))),
    (lambda np, x, y: m(x, "dot", y), (M, (4, 2))),
    (lambda np, x, y: np.inner(x, y), (M, (5, 4))),
    (lambda np, x, y: np.inner(x, y), (M, T)),
    (lambda np, x, y: np.outer(x, y), (V, M)),
    (lambda np, x, y: np.vdot(x, y), (M, M)),
    (lambda np, x, y: np.vecdot(x, y), (T, (4,))),
    (lambda np, x, y: np.tensordot(x, y), (T, (3, 4))),
    (lambda np, x, y: np.tensordot(x, y, axes=([0, 1], [1, 0])), (T, (3, 2, 5))),
    (lambda np, x, y: np.tensordot(x, y, 0), (V, M)),
    (lambda np, x: np.reshape(x, (2, -1)), (M,)),
    (lambda np, x: m(x, "reshape", 6, 2), (M,)),
    (lambda np, x: np.reshape(x, (-1,), order="F"), (M,)),
    (lambda np, x: np.reshape(x, (4, 3, 2), order="F"), (T,)),
    (lambda np, x: m(a(x, "T"), "ravel"), (M,)),
    (lambda np, x: m(x, "flatten", "F"), (M,)),
    (lambda np, x: np.transpose(x, (2, 0, 1)), (T,)),
    (lambda np, x: m(x, "transpose", 1, -1, 0), (T,)),
    (lambda np, x: a(x, "T") * 2.0, (T,)),
    (lambda np, x: a(x, "mT") * 2.0, (T,)),
    (lambda np, x: m(x, "swapaxes", 0, -1), (T,)),
    (lambda np, x: np.moveaxis(x, [0, 1], [-1, 0]), (T,)),
    (lambda np, x: np.rollaxis(x, 2), (T,)),
    (lambda np, x: np.expand_dims(x, (0, -1)), (M,)),
    (lambda np, x: np.squeeze(x), ((1, 3, 1),)),
    (lambda np, x: np.squeeze(x, axis=-1), ((1, 3, 1),)),
    (lambda np, x: np.flip(x) + np.flip(x, 1) + np.flip(x, (0, -1)), (M,)),
    (lambda np, x: np.fliplr(x) * np.flipud(x), (M,)),
    (lambda np, x: np.rot90(x, 3), (M,)),
    (lambda np, x, y: np.concatenate((x, y, x), axis=1), (M, (3, 2))),
    (lambda np, x, y: np.concatenate([x, y], axis=None), (M, V)),
    (lambda np, x, y: np.stack([x, y], axis=-1), (M, M)),
    (lambda np, x, y: np.hstack([x, y, 1.0]), (V, (5,))),
    (lambda np, x, y: np.hstack((x, y)), (M, (3, 2))),
    (lambda np, x, y: np.vstack((x, y)), ((4,), M)),
    (lambda np, x, y: np.column_stack((x, y)), (V, M)),
    (lambda np, x, y: np.dstack((x, y)), (M, M)),
    (lambda np, x: np.append(x, [1.0, 2.0]), (M,)),
    (lambda np, x, y: np.append(x, y, axis=0), (M, (2, 4))),
    (lambda np, x, y: np.array([[x, 1.0], [y, x * y]]), ((), ())),
    (lambda np, x, y: np.array([[x, y], [y, x]]), (V, V)),
    (lambda np, x: np.asarray(x) + np.copy(x), (M,)),
    (lambda np, x: np.broadcast_to(x, (2, 3, 4)), ((4,),)),
    (lambda np, x, y: np.broadcast_arrays(x, y)[0] * 2.0, ((3, 1), (4,))),
    (lambda np, x: np.atleast_2d(x) + np.atleast_3d(x), ((4,),)),
    (lambda np, x: np.atleast_1d(x), ((),)),
    (lambda np, x: np.tile(x, (2, 3)), (M,)),
    (lambda np, x: np.tile(x, 2), (V,)),
    (lambda np, x: np.repeat(x, 2, axis=1) + 0.0, (M,)),
    (lambda np, x: m(x, "repeat", 3), (M,)),
    (lambda np, x: np.repeat(x, [1, 0, 2], axis=0), (M,)),
    (lambda np, x: np.repeat(x, [2], axis=0), (M,)),
    (lambda np, x: np.add.reduce(x) + np.maximum.reduce(x) * np.multiply.reduce(x), (M,)),
    (lambda np, x: np.add.reduce(x, axis=None) + np.minimum.reduce(x, 1, initial=0.5), (M,)),
    (lambda np, x: np.add.accumulate(x) * np.multiply.accumulate(x), (M,)),
    (lambda np, x, y: np.where(np.logical_and.reduce(np.greater(x, 1.0)), x, y), (M, (4,))),
    (lambda np, x, y: np.where(np.logical_or.reduce(np.greater(x, 1.0), axis=1), y, 2.0), (M, V)),
    (lambda np, x: np.roll(x, 1) + np.roll(x, -2, axis=0) + np.roll(x, (1, 7), axis=(0, 1)), (M,)),
    (lambda np, x: np.pad(x, 1), (M,)),
    (lambda np, x: np.pad(x, ((1, 2), (0, 3)), constant_values=2.0), (M,)),
    (lambda np, x: np.pad(x, 2, mode="edge"), (M,)),
    (lambda np, x: np.pad(x, (2, 1), mode="wrap"), (M,)),
    (lambda np, x: np.pad(x, 2, mode="reflect"), (M,)),
    (lambda np, x: np.pad(x, 2, mode="symmetric"), (M,)),
    (lambda np, x: np.tril(x) + np.triu(x, 1) * 2.0 + np.tril(x, -1), (T,)),
    (lambda np, x: np.diag(x), (S,)),
    (lambda np, x: np.diag(x, 1), (M,)),
    (lambda np, x: np.diag(x, -2), (V,)),
    (lambda np, x: np.diagonal(x, 1, 1, 2), (T,)),
    (lambda np, x: m(x, "trace"), (M,)),
    (lambda np, x: np.trace(x, -1), (S,)),
    (lambda np, x: np.eye(4) * x + np.eye(4, k=-1) - np.identity(4), (S,)),
    (lambda np, x: x * np.arange(4) + np.arange(1, 9, 2) - np.arange(0.0, 1.0, 0.25), (M,)),
    (lambda np, x: x * np.arange(a(x, "shape")[0]), (V,)),
    (lambda np, x, y: np.linspace(x, y, 5), ((), ())),
    (lambda np, x, y: np.linspace(x, y, 5, endpoint=False), ((), ())),
    (lambda np, x: x + np.linspace(0.0, 1.0, a(x, "size")), (V,)),
    (lambda np, x: np.full((2, 3), x) + np.ones((2, 3)) + np.zeros((2, 3)), ((),)),
    (lambda np, x: np.full_like(x, 2.0) * x + np.ones_like(x) + np.zeros_like(x, shape=(4,)), (M,)),
    (lambda np, x: np.zeros((3, 4), order="F") + x, (M,)),
    (lambda np, x: np.split(x, 2, axis=1)[1] * np.split(x, [1, 3], axis=1)[1], (M,)),
    (lambda np, x: np.clip(x, 0.7, 1.4) + m(x, "clip", None, 1.1) + np.clip(x, a_min=0.6, a_max=None), (M,)),
    (lambda np, x: np.round(x, 1) + np.rint(x) * x, (M,)),
    (lambda np, x: np.sinc(x) + np.deg2rad(x) - np.degrees(x), (M,)),
    (lambda np, x: np.where(np.greater(x, 1.0), np.sqrt(np.fabs(x - 1.0)), 0.0), (M,)),
    (lambda np, x: np.nan_to_num(x) + np.fabs(x), (M,)),
    (lambda np, x, y: np.add(x, y, out=np.zeros((3, 4))) * 2.0, (M, M)),
    (lambda np, x: np.take(x, [2, 0, -1], axis=1) * np.take(x, 1, axis=1)[:, None] if namespace_is_numpy(np) else
        np.take(x, [2, 0, -1], axis=1) * np.expand_dims(np.take(x, 1, axis=1), 1), (M,)),
    (lambda np, x: np.take(x, [[0, 1], [11, 3]]) + np.take(x, [9, 99], mode="clip"), (M,)),
    (lambda np, x: np.sort(x, axis=0) * np.sort(x), (M,)),
    (lambda np, x: np.sort(x, axis=None) * np.arange(12), (M,)),
    (lambda np, x: np.take_along_axis(x, np.argsort(x, axis=0), axis=0) + x * np.argsort(x), (M,)),
    (lambda np, x: x * np.searchsorted(np.array([0.6, 1.0, 1.5]), x) + np.digitize(x, [0.7, 1.2]), (M,)),
    (lambda np, x: np.compress(np.greater(np.arange(4), 1), x, axis=1), (M,)),
    (lambda np, x: np.extract(np.greater(x, 1.0), x), (M,)),
    (lambda np, x: np.take(x, np.flatnonzero(np.greater(x, 1.2))), (M,)),
    (lambda np, x: np.select([np.greater(x, 1.5), np.greater(x, 1.0)], [x * 2.0, x**2], 0.5), (M,)),
    (lambda np, x: np.delete(x, 1, axis=0) * 2.0, (M,)),
    (lambda np, x: np.delete(x, [0, 3, 5]), (M,)),
    (lambda np, x, y: np.insert(x, 1, y), ((5,), ())),
    (lambda np, x, y: np.insert(x, [1, 3], y), ((5,), (2,))),
    (lambda np, x, y: np.insert(x, 2, y, axis=1), (M, V)),
    (lambda np, x, y: np.meshgrid(x, y)[0] * np.meshgrid(x, y, indexing="ij")[1].T if namespace_is_numpy(np) else
        np.meshgrid(x, y)[0] * np.transpose(np.meshgrid(x, y, indexing="ij")[1]), (V, (4,))),
    (lambda np, x: np.tri(4) * x + np.indices((4, 4))[1] if namespace_is_numpy(np) else
        np.tri(4) * x + np.take(np.indices((4, 4)), 1, axis=0), (S,)),
    (lambda np, x: np.bincount(np.array([0, 2, 2]), weights=x, minlength=4), (V,)),
    (lambda np, x: x * np.allclose(x, x) + x * np.isclose(x, 1.0) + x * np.isin(x, [1.0]), (M,)),
    (lambda np, x: np.diff(x) * 2.0, (M,)),
    (lambda np, x: np.diff(x, n=2, axis=0), ((5, 2),)),
    (lambda np, x: np.diff(x, prepend=0.0, append=1.0), (M,)),
    (lambda np, x: np.ediff1d(x, to_begin=0.5, to_end=[1.0, 2.0]), (M,)),
    (lambda np, x: np.gradient(x, axis=0) + np.gradient(x, 0.5, axis=1), (M,)),
    (lambda np, x: np.gradient(x, 0.5, axis=1, edge_order=2), (M,)),
    (lambda np, x, t: np.gradient(x, np.cumsum(t), axis=1), (M, (4,))),
    (lambda np, x: np.multiply(*np.gradient(x)), (M,)),
    (lambda np, x, t: np.trapezoid(x, t) + np.trapezoid(x, dx=0.5), (M, (4,))),
    (lambda np, x, f: np.interp(x, np.array([0.7, 1.0, 1.9]), f), (M, V)),
    (lambda np, x, f: np.interp(x, np.cumsum(f), f, left=-1.0), ((), V)),
    (lambda np, x, y: np.convolve(x, y), ((5,), V)),
    (lambda np, x, y: np.convolve(x, y, mode="same"), ((5,), V)),
    (lambda np, x, y: np.convolve(x, y, "valid") * np.correlate(x, y), ((5,), V)),
    (lambda np, x, y: np.correlate(x, y, "full"), ((5,), V)),
    (lambda np, x, p: np.polyval(p, x) + np.polyval([2.0, 0.0, 1.0], x), (M, V)),
    (lambda np, x, y: np.cross(x, y), (V, V)),
    (lambda np, x, y: np.cross(x, y, axis=0), ((3, 2), (3, 2))),
    (lambda np, x, y: np.kron(x, y), (M, (2, 3))),
    (lambda np, x, y: np.kron(x, y), (V, (2, 3))),
    (lambda np, x, y: np.einsum("ij,jk->ik", x, y), (M, (4, 2))),
    (lambda np, x, y: np.einsum("ij,jk", x, y), (M, (4, 2))),
    (lambda np, x, y: np.einsum("bij,bjk->bik", x, y), (T, (2, 4, 3))),
    (lambda np, x, y: np.einsum("...ij,jk->...ki", x, y), (T, (4, 3))),
    (lambda np, x: np.einsum("ii->i", x) + np.einsum("ii", x), (S,)),
    (lambda np, x: np.einsum("ij->j", x), (M,)),
    (lambda np, x, y: np.einsum("i,j->ij", x, y), (V, (4,))),
    (lambda np, x, y: np.einsum("ij,ij->", x, y) + np.einsum("ij,ij->i", x, y), (M, M)),
    (lambda np, x, y, z: np.einsum("ij,jk,kl->il", x, y, z, optimize=True), (M, S, (4, 2))),
    (lambda np, x, y: np.einsum(x, [0, 1], y, [1, 2], [2, 0]), (M, S)),
    (lambda np, x, y: np.einsum("abc,ab->c", x, y), (T, (2, 3))),
    (lambda np, x, y: np.einsum("abc,acd->abd", x, y), (T, (1, 4, 2))),
    (lambda np, x: np.median(x) + np.median(x, axis=0) + np.median(x, axis=(0, 1), keepdims=True), (M,)),
    (lambda np, x: np.quantile(x, 0.3, axis=1), (M,)),
    (lambda np, x: np.percentile(x, [10, 50.0, 100], axis=0), (M,)),
    (lambda np, x: np.cov(x) + np.cov(x, rowvar=False, bias=True)[:3, :3] if namespace_is_numpy(np) else
        np.cov(x) + np.split(np.split(np.cov(x, rowvar=False, bias=True), [3])[0], [3], axis=1)[0], (M,)),
    (lambda np, x, y: np.cov(x, y) + np.corrcoef(x, y), ((6,), (6,))),
    (lambda np, x: np.nansum(np.where(np.greater(x, 1.5), np.array(math.nan), x), axis=0) + np.nanprod(x), (M,)),
    (lambda np, x: np.nanmean(np.where(np.greater(x, 1.8), np.array(math.nan), x), axis=0), ((7, 3),)),
    (lambda np, x: np.nanstd(x) + np.nanvar(x, axis=0, ddof=1) + np.nanmax(x) + np.nanmin(x, axis=0), (M,)),
    (lambda np, x: np.linalg.norm(x) + np.linalg.norm(x, axis=1, keepdims=True), (M,)),
    (lambda np, x: np.linalg.norm(x, 1) + np.linalg.norm(x, np.inf) + np.linalg.norm(x, "fro"), (M,)),
    (lambda np, x: np.linalg.norm(x, 3) + np.linalg.norm(x, 1) + np.linalg.norm(x, -np.inf), (V,)),
    (lambda np, x: np.linalg.norm(x, axis=(0, 2)) + np.linalg.norm(x, ord=-1, axis=(0, 2)), (T,)),
    (lambda np, x: np.linalg.vector_norm(x, ord=4) + np.linalg.matrix_norm(x), (M,)),
    (lambda np, x, b: np.linalg.solve(x + np.eye(4), b), (S, (4,))),
    (lambda np, x, b: np.linalg.solve(x + np.eye(4), b), (S, (4, 2))),
    (lambda np, x: np.linalg.inv(x) + np.linalg.matrix_power(x, 3) + np.linalg.matrix_power(x, -1), (S,)),
    (lambda np, x: np.linalg.det(x) + np.linalg.slogdet(x)[1] * np.linalg.slogdet(x)[0], (S,)),
    (lambda np, x: np.linalg.cholesky(symmetric(np, x)), (S,)),
    (lambda np, x: np.linalg.cholesky(symmetric(np, x), upper=True), (S,)),
    (lambda np, x, b: linalg(np).solve_triangular(x, b, lower=True), (S, (4,))),
    (lambda np, x, b: linalg(np).solve_triangular(x, b, trans="T", unit_diagonal=True), (S, (4, 2))),
    (lambda np, x, b: linalg(np).cho_solve(linalg(np).cho_factor(symmetric(np, x)), b), (S, (4,))),
    (lambda np, x, y, z: np.linalg.multi_dot([x, y, z]), (M, S, (4, 2))),
    (lambda np, x, y: np.subtract.outer(x, y) * np.multiply.outer(x, y), (V, M)),
    (lambda np, x: sp(np).logsumexp(x, axis=1) * sp(np).logsumexp(x), (M,)),
    (lambda np, x, b: sp(np).logsumexp(x, axis=0, b=b, keepdims=True), (M, M)),
    (lambda np, x: sp(np).softmax(x, axis=-1) + sp(np).log_softmax(x, axis=0) + sp(np).softmax(x), (M,)),
    (lambda np, x: sp(np).expit(x) + sp(np).log_expit(x) + sp(np).logit(x / 3.0) + sp(np).cbrt(x), (M,)),
    (lambda np, x, y: sp(np).xlogy(x, y) + sp(np).rel_entr(x, y) + sp(np).kl_div(x, y) + sp(np).entr(x), (M, M)),
    (lambda np, x: sp(np).huber(1.1, x) + sp(np).pseudo_huber(1.1, x) + sp(np).ndtr(x), (M,)),
    (lambda np, x, y: sp(np).betaln(x, y) + sp(np).beta(x, y) + sp(np).gammaln(x), (M, M)),
    (lambda np, x: np.multiply(sp(np).polygamma(2, x), 0.1) + sp(np).psi(x - 0.4), (M,)),
]


def inputs(shapes: Any, dtype: str = "float64", seed: int = 0) -> list[Any]:
    """Distinct numbers between 0.5 and 2, a float for shape ()."""
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.5, 2.0, s).astype(dtype) if s else float(rng.uniform(0.5, 2.0)) for s in shapes]


def program_ids(value: Any) -> str | None:
    if hasattr(value, "__code__"):
        return str(value.__code__.co_firstlineno)
    return None


@ids(("program", "shapes"), PROGRAMS, ids=program_ids)
def test_calls_agree_with_numpy(program: Any, shapes: Any) -> None:
    for dtype in ("float64", "float32"):
        args = inputs(shapes, dtype)
        with np.errstate(all="ignore"):
            expected = np.asarray(program(np, *args))
        got = np.asarray(evaluate(lambda *xs: program(Calls(), *xs), *args))
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=2e-5 if dtype == "float32" else 1e-12)


@ids(("program", "shapes"), PROGRAMS, ids=program_ids)
def test_calls_have_gradients(program: Any, shapes: Any) -> None:
    """<weights, jvp(t)> by differences of NumPy's own program equals <vjp(weights), t> by reverse."""
    from gradc.ad.reverse import reverse

    args = inputs(shapes)
    expected = np.asarray(program(np, *args))
    weights = np.random.default_rng(1).uniform(-1, 1, expected.shape)

    def loss(namespace: Any, *xs: Any) -> Any:
        return namespace.sum(namespace.multiply(program(namespace, *xs[:-1]), xs[-1]))

    func = build(lambda *xs: loss(Calls(), *xs), *args, weights if weights.shape else float(weights))
    made = reverse(func, range(len(args)))
    verify(made)
    value, *grads = interp.run(made, (*args, weights if weights.shape else float(weights)))
    np.testing.assert_allclose(value, np.sum(expected * weights), rtol=1e-12)
    directions = inputs(shapes, seed=2)
    h = 1e-4

    def moved(t: float) -> Any:
        return np.sum(np.asarray(program(np, *(x + t * d for x, d in zip(args, directions, strict=True)))) * weights)

    slope = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    total = sum(float(np.sum(g * d)) for g, d in zip(grads, directions, strict=True))
    np.testing.assert_allclose(total, slope, rtol=1e-7, atol=1e-8)


@ids(("program", "shapes"), PROGRAMS, ids=program_ids)
def test_expansions_mean_the_same(program: Any, shapes: Any) -> None:
    args = inputs(shapes)
    func = build(lambda *xs: program(Calls(), *xs), *args)
    expanded = expand(func)
    verify(expanded)
    assert not any(node.op.expand for node in walk_nodes(expanded.body))
    for got, wanted in zip(interp.run(expanded, args), interp.run(func, args), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-13)


def hessian(program: Any, x: np.ndarray) -> np.ndarray:
    """The Hessian of program(np, x) by reverse over reverse, one row at a time."""
    from gradc.ad.reverse import reverse

    inner = reverse(build(lambda v: program(Calls(), v), x), [0], keep_value=False)
    outer = reverse(inner, [0], keep_value=False, seeds="params")
    rows = [interp.run(outer, (x, row.reshape(x.shape)))[0].ravel() for row in np.eye(x.size)]
    return np.array(rows)


SECOND = [
    lambda np, x: np.prod(x),
    lambda np, x: np.sum(np.prod(np.reshape(x, (2, 2)), axis=0) ** 2),
    lambda np, x: np.sum(np.cumprod(x) ** 3),
    lambda np, x: np.sum(np.cumsum(x) ** 3),
    lambda np, x: np.sum(np.matmul(np.reshape(x, (2, 2)), np.reshape(x, (2, 2))) ** 2),
    lambda np, x: np.sum(np.tanh(x) * np.logaddexp(x, 1.0)),
    lambda np, x: np.std(np.exp(x)) + np.mean(x**4),
    lambda np, x: np.sum(np.hypot(x, 2.0) * np.arctan2(x, np.flip(x) + 3.0)),
    lambda np, x: np.sum(np.concatenate((x, x**2)) ** 2) + np.max(x**3),
    lambda np, x: np.sum(np.linspace(np.sum(x), 2.0, 7) ** 3),
]


@ids("program", SECOND, ids=program_ids)
@ids("x", [np.array([0.5, 1.5, -0.7, 2.0]), np.array([0.0, 1.5, 0.0, 2.0])], ids=["plain", "zeros"])
def test_second_derivatives(program: Any, x: np.ndarray) -> None:
    from gradc.ad.reverse import reverse

    first = reverse(build(lambda v: program(Calls(), v), x), [0], keep_value=False)
    h = 1e-3

    def slope(v: np.ndarray) -> np.ndarray:
        return interp.run(first, (v,))[0]

    wanted = []
    for e in np.eye(x.size):
        near, far = slope(x + h * e) - slope(x - h * e), slope(x + 2 * h * e) - slope(x - 2 * h * e)
        wanted.append((8 * near - far) / (12 * h))
    np.testing.assert_allclose(hessian(program, x), wanted, rtol=1e-7, atol=1e-7)


# Op, operands, attributes: every rule that is not elementwise.
RULES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    *((name, (M,), {"axes": (1,), "keepdims": False}) for name in ("sum", "mean", "prod", "max", "min")),
    ("matmul", (M, S), {}),
    ("concatenate", (M, S), {"axis": 0}),
    ("array_of", ((), ()), {"shape": (2,), "type": Array("float64", (2,))}),
    ("cumsum", (M,), {"axis": 0}),
    ("cumprod", (M,), {"axis": 1}),
    ("recurrence", (M, M), {"axis": 1, "reverse": True}),
    ("shift", (M,), {"axis": 0, "by": -1}),
    ("solve", (S, S), {}),
    ("solve_triangular", (S, S), {"lower": True, "unit": False}),
    ("inv", (S,), {}),
    ("cofactors", (S,), {}),
    ("det", (S,), {}),
    ("logabsdet", (S,), {}),
    ("convolve", ((5,), V), {}),
    ("roll", (M, 2), {"axis": 1}),
    ("tril", (S,), {"k": 1}),
    ("triu", (S,), {"k": 0}),
    ("linspace", ((), ()), {"shape": (5,), "type": Array("float64", (5,)), "endpoint": True}),
]


@ids(("name", "shapes", "attrs"), RULES, ids=lambda v: v if isinstance(v, str) else "")
def test_forward_and_reverse_rules_are_adjoint(name: str, shapes: Any, attrs: Any) -> None:
    """<ct, jvp(t)> = <vjp(ct), t>, and jvp agrees with differences."""
    op = TABLE[name]
    args = [s if isinstance(s, int) else x for s,
            x in zip(shapes, inputs([s if isinstance(s, tuple) else () for s in shapes]))]
    moving = [k for k, s in enumerate(shapes) if isinstance(s, tuple)]
    tangents = inputs([shapes[k] for k in moving], seed=3)
    y = interp.run(build(lambda *xs: op(*xs, **attrs), *args), args)[0]
    ct = np.random.default_rng(4).uniform(-1, 1, y.shape)

    def forward(*values: Value) -> Any:
        xs, ts = values[: len(args)], list(values[len(args) :])
        given = [ts.pop(0) if k in moving else None for k in range(len(args))]
        if op.jvp is None:
            assert len(op.linear) == len(args)
            return op(*given, **attrs)
        return op.jvp(given, op(*xs, **attrs), *xs, **attrs)

    def backward(*values: Value) -> Any:
        xs, seed = values[:-1], values[-1]
        cts = op.vjp(seed, op(*xs, **attrs), *xs, **attrs)
        return [c for k, c in enumerate(cts) if k in moving]

    y_t = evaluate(forward, *args, *tangents)
    found = evaluate(backward, *args, ct)
    grads = found if isinstance(found, tuple) else (found,)
    total = sum(np.sum(g * np.ones_like(t) * t) for g, t in zip(grads, tangents, strict=True))
    np.testing.assert_allclose(np.sum(y_t * ct), total, rtol=1e-12)
    h = 1e-6
    shifted = []
    for sign in (1, -1):
        moved = list(args)
        for k, t in zip(moving, tangents, strict=True):
            moved[k] = moved[k] + sign * h * t
        shifted.append(interp.run(build(lambda *xs: op(*xs, **attrs), *moved), moved)[0])
    np.testing.assert_allclose(y_t, (shifted[0] - shifted[1]) / (2 * h), rtol=1e-6, atol=1e-8)


# ------------------------------------------------------------------------------- kinks, ties, edges

CONVENTIONS: list[tuple[Any, tuple[Any, ...], tuple[Any, ...]]] = [
    (lambda np, x: abs(x) if np is numpy else CALLS[abs].build(x), (0.0,), (0.0,)),
    (lambda np, x: np.maximum(x, 0.0), (0.0,), (0.0,)),
    (lambda np, x: np.maximum(0, x), (numpy.array([-1.0, 0.0, 2.0]),), ([0.0, 0.0, 1.0],)),
    (lambda np, x, y: np.maximum(x, y), (1.5, 1.5), (0.5, 0.5)),
    (lambda np, x, y: np.minimum(x, y), (numpy.array([1.0, 2.0]), numpy.array([1.0, 3.0])), ([0.5, 1.0], [0.5, 0.0])),
    (lambda np, x, y: np.fmax(x, y), (numpy.nan, 1.5), (0.0, 1.0)),
    (lambda np, x, y: np.fmin(x, y), (1.5, numpy.nan), (1.0, 0.0)),
    (lambda np, x: np.max(x), (numpy.array([2.0, 1.0, 2.0, 2.0]),), ([1 / 3, 0.0, 1 / 3, 1 / 3],)),
    (lambda np, x: np.min(x, axis=0), (numpy.array([[2.0, 1.0], [2.0, 3.0]]),), ([[0.5, 1.0], [0.5, 0.0]],)),
    (lambda np, x: np.clip(x, 0.0, 1.0), (numpy.array([-0.5, 0.0, 0.5, 1.0, 2.0]),), ([0.0, 1.0, 1.0, 1.0, 0.0],)),
    (lambda np, x: np.sqrt(x), (0.0,), (numpy.inf,)),
    (lambda np, x: np.sqrt(x) * 0.0, (0.0,), (0.0,)),
    (lambda np, x: np.where(np.greater(x, 0), np.sqrt(x), 0.0), (numpy.array([-1.0, 0.0, 4.0]),), ([0.0, 0.0, 0.25],)),
    (lambda np, x: np.where(np.not_equal(x, 0.0), 1.0 / x, 0.0), (numpy.array([0.0, 2.0]),), ([0.0, -0.25],)),
    (lambda np, x: np.where(np.greater(x, 0.0), np.log(x), x), (numpy.array([0.0, 2.0]),), ([1.0, 0.5],)),
    (lambda np, x, y: np.hypot(x, y), (0.0, 0.0), (0.0, 0.0)),
    (lambda np, x, y: np.arctan2(x, y), (0.0, 0.0), (0.0, 0.0)),
    (lambda np, x: np.std(x), (numpy.array([2.0, 2.0]),), ([0.0, 0.0],)),
    (lambda np, x, y: np.power(x, y), (0.0, 2.0), (0.0, 0.0)),
    (lambda np, x, y: np.power(x, y), (0.0, 0.0), (0.0, 0.0)),
    (lambda np, x, y: np.power(x, y), (0.0, 1.0), (1.0, 0.0)),
    (lambda np, x, y: np.power(x, y), (2.0, 0.0), (0.0, numpy.log(2.0))),
    (lambda np, x: np.power(x, 2), (-3.0,), (-6.0,)),
    (lambda np, x: np.power(x, 0), (0.0,), (0.0,)),
    (lambda np, x: np.power(x, -1), (numpy.array([-2.0, 4.0]),), ([-0.25, -0.0625],)),
    (lambda np, x: np.sign(x) + np.floor(x) + np.rint(x) + np.ceil(x), (0.5,), (0.0,)),
    (lambda np, x: x * np.greater(x, 1.0), (numpy.array([0.5, 2.0]),), ([0.0, 1.0],)),
    (lambda np, x: np.prod(x), (numpy.array([0.0, 3.0, 4.0]),), ([12.0, 0.0, 0.0],)),
    (lambda np, x: np.prod(x), (numpy.array([0.0, 3.0, 0.0]),), ([0.0, 0.0, 0.0],)),
    (lambda np, x: np.cumprod(x), (numpy.array([2.0, 0.0, 5.0]),), ([1.0, 12.0, 0.0],)),
    (lambda np, x: np.sinc(x), (0.0,), (0.0,)),
    (lambda np, x: np.linalg.norm(x), (numpy.zeros(2),), ([0.0, 0.0],)),
    (lambda np, x: np.linalg.norm(x, 3), (numpy.zeros(2),), ([0.0, 0.0],)),
    (lambda np, x: np.nansum(x), (numpy.array([1.0, numpy.nan]),), ([1.0, 0.0],)),
    (lambda np, x: np.nanstd(x), (numpy.array([2.0, numpy.nan, 2.0]),), ([0.0, 0.0, 0.0],)),
    (lambda np, x: sp(np).expit(x), (numpy.array([-1000.0, 1000.0]),), ([0.0, 0.0],)),
    (lambda np, x: sp(np).xlogy(x, x), (1.0,), (1.0,)),
    (lambda np, x: np.tanh(x), (numpy.array([-800.0, 0.0]),), ([0.0, 1.0],)),
    (lambda np, x, y: np.logaddexp(x, y), (800.0, 800.0), (0.5, 0.5)),
    (lambda np, x: np.trunc(x) + x, (1.5,), (1.0,)),
    (lambda np, x, y: np.remainder(x, y), (-3.5, 2.0), (1.0, 2.0)),
    (lambda np, x, y: np.copysign(x, y), (2.0, -1.0), (-1.0, 0.0)),
]


@ids(("program", "args", "wanted"), CONVENTIONS, ids=program_ids)
def test_conventions(program: Any, args: Any, wanted: Any) -> None:
    from gradc.ad.reverse import reverse

    func = build(lambda *xs: program(Calls(), *xs), *args)
    made = reverse(func, range(len(args)), keep_value=False)
    verify(made)
    for got, gradient in zip(interp.run(made, args), wanted, strict=True):
        np.testing.assert_array_equal(got, gradient)


@ids(
    ("program", "error"),
    [
        (lambda np, x: np.sum(x, axis=2), ShapeError),
        (lambda np, x: np.matmul(x, x), ShapeError),
        (lambda np, x: np.reshape(x, (5, 5)), ShapeError),
        (lambda np, x: np.concatenate((x, np.ravel(x))), ShapeError),
        (lambda np, x: np.max(x[:0] if isinstance(x, np.ndarray) else np.zeros((0, 3))), (ShapeError, ValueError)),
        (lambda np, x: np.add(x, x, out=np.zeros((3, 4), dtype=int)), DTypeError),
        (lambda np, x: np.subtract(np.greater(x, 0.0), np.less(x, 0.0)), DTypeError),
        (lambda np, x: CALLS[math.sin].build(x), UnsupportedError),
        (lambda np, x: np.eye(-1), ShapeError),
    ],
    ids=program_ids,
)
def test_bad_arguments_say_so(program: Any, error: Any) -> None:
    x = np.arange(12.0).reshape(3, 4)
    with pytest.raises(error):
        evaluate(lambda v: program(Calls(), v), x)


def test_weakness_follows_the_function() -> None:
    """np.exp(2.0) is a NumPy scalar and widens float32; math.exp(2.0) is a Python float and does not."""
    x = np.ones(3, np.float32)
    assert evaluate(lambda v, c: v * CALLS[np.exp].build(c), x, 2.0).dtype == np.float64
    assert evaluate(lambda v, c: v * CALLS[math.exp].build(c), x, 2.0).dtype == np.float32
    assert evaluate(lambda v, c: v * CALLS[float].build(c), x, np.float64(2.0)).dtype == np.float32


def test_prod_of_a_scalar_and_rank_zero() -> None:
    assert evaluate(lambda v: Calls().sum(v), 2.0) == 2.0
    assert evaluate(lambda v: Calls().mean(v), np.array(3.0)) == 3.0
    assert evaluate(lambda v: method(v, "item"), np.array(3.0)) == 3.0
    assert evaluate(lambda v: attribute(v, "size") + len(attribute(v, "shape")), np.ones((2, 3))) == 8
