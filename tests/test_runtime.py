"""The boundary between Python and kernels: signatures, structures, memory, names, threads, the cache on disk."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import gradc
from gradc.config import ConfigError, read_config
from gradc.runtime.cache import KernelCache


def product(x, y):
    return x * y * y


def total(x):
    return (x * x).sum()


@gradc.value_and_grad(argnums=("x", "y"))
def decorated(x, y=2.0):
    """What it does."""
    return x * y


@gradc.grad
def bare(x):
    return x * x * x


Pair = namedtuple("Pair", "w b")


@dataclasses.dataclass
class Layer:
    w: Any
    b: Any
    name: str = "layer"


def count_programs(made: Any) -> int:
    return sum(len(entries) for entries in made._families.values())


# --------------------------------------------------------------------------------------------- interface


def test_argnums_give_a_bare_gradient_a_tuple_or_a_dict():
    assert gradc.grad(product)(3.0, 2.0) == 4.0
    assert gradc.grad(product, 1)(3.0, 2.0) == 12.0
    assert gradc.grad(product, -1)(3.0, 2.0) == 12.0
    assert gradc.grad(product, "y")(3.0, 2.0) == 12.0
    assert gradc.grad(product, (1, 0))(3.0, 2.0) == (12.0, 4.0)
    assert gradc.grad(product, [0])(3.0, 2.0) == (4.0,)
    assert gradc.grad(product, ("y", "x"))(3.0, y=2.0) == {"y": 12.0, "x": 4.0}
    assert gradc.value_and_grad(product, (0, 1))(3.0, 2.0) == (12.0, (4.0, 12.0))


def test_decorators_stand_bare_and_with_arguments():
    assert decorated(3.0) == (6.0, {"x": 2.0, "y": 3.0})
    assert decorated(3.0, y=5.0) == (15.0, {"x": 5.0, "y": 3.0})
    assert bare(2.0) == 12.0
    assert decorated.__name__ == "decorated"
    assert decorated.__doc__ == "What it does."
    assert str(inspect.signature(decorated)) == "(x, y=2.0)"
    assert repr(bare) == "<gradc.grad(bare, argnums=0)>"


def test_has_aux_passes_on_what_has_no_derivative():
    def f(x, n):
        return x * x, {"double": 2 * x, "n": n, "text": "done"}

    assert gradc.grad(f, has_aux=True)(3.0, 4) == (6.0, {"double": 6.0, "n": 4, "text": "done"})
    value, gradient = gradc.value_and_grad(f, has_aux=True)(3.0, 4)
    assert value == (9.0, {"double": 6.0, "n": 4, "text": "done"})
    assert gradient == 6.0


@pytest.mark.parametrize("argnums", [2, -3, "z", (0, 0), (0, "y"), (), 1.5])
def test_argnums_that_name_no_argument_are_refused_when_the_object_is_made(argnums):
    with pytest.raises((ValueError, TypeError)):
        gradc.grad(product, argnums)


def test_wrong_arguments_are_a_type_error_that_names_the_function():
    with pytest.raises(TypeError, match=r"product\(\) missing 1 required positional argument: 'y'"):
        gradc.grad(product)(1.0)
    made = gradc.grad(product)
    made(1.0, 2.0)
    with pytest.raises(TypeError, match="product"):
        made(1.0, 2.0, z=3.0)


def test_star_arguments_and_keyword_only_arguments():
    def f(x, *rest, scale=1.0, **options):
        total = x * scale
        for r in rest:
            total += r * options["weight"]
        return total

    made = gradc.grad(f, argnums=(0, 2))
    for _ in range(2):
        assert made(1.0, 2.0, 3.0, scale=4.0, weight=5.0) == (4.0, 5.0)
    assert gradc.grad(f, argnums=("scale", "weight"))(2.0, 3.0, scale=4.0, weight=5.0) == {"scale": 2.0, "weight": 3.0}


# -------------------------------------------------------------------------------------------- result kinds


def test_gradients_have_the_kind_of_their_argument():
    gradient = gradc.grad(product, (0, 1))
    x, y = gradient(3.0, np.float32(2))
    assert type(x) is float
    assert type(y) is np.float32
    x, y = gradient(np.float64(3), 2)
    assert type(x) is np.float64
    assert type(y) is float and y == 12.0
    z = gradc.grad(lambda x: (x * 3.0).sum())(np.array(2.0))
    assert type(z) is np.ndarray and z.shape == () and z == 3.0
    single = gradc.grad(total)(np.ones((2, 3), np.float32))
    assert single.dtype == np.float32 and single.flags.c_contiguous


def test_values_of_derivatives_are_python_floats_and_jit_returns_what_the_function_returns():
    for x in (np.arange(3.0), np.arange(3.0, dtype=np.float32)):
        value, _ = gradc.value_and_grad(total)(x)
        assert type(value) is (float if x.dtype == np.float64 else np.float32)
        assert type(gradc.jit(total)(x)) is type(total(x))
    for args in [(2, 3), (2.0, 3), (np.float32(2), 3), (np.int32(2), np.int64(3)), (True, 2), (np.ones(2), 1)]:
        ours, theirs = gradc.jit(product)(*args), product(*args)
        assert type(ours) is type(theirs), args
        np.testing.assert_array_equal(ours, theirs)


def test_structured_arguments_have_gradients_of_their_structure():
    def f(net, scale):
        hidden = net["first"].w * scale + net["first"].b
        out = net["rest"][0].w * hidden + net["rest"][0].b
        return (out * out).sum()

    first, rest = Layer(np.array([1.0, 2.0]), 0.5), [Pair(2.0, np.array([0.0, 1.0]))]
    net = {"first": first, "rest": rest, "note": "x", "none": None}
    made = gradc.grad(f)
    for _ in range(2):
        gradient = made(net, 3.0)
        assert list(gradient) == ["first", "rest", "note", "none"]
        assert type(gradient["first"]) is Layer and gradient["first"].name == "layer"
        assert type(gradient["rest"][0]) is Pair
        assert gradient["note"] == "x" and gradient["none"] is None
        assert type(gradient["first"].b) is float
    expected = gradc.numerical_grad(f)(net, 3.0)
    np.testing.assert_allclose(gradient["first"].w, expected["first"].w, rtol=1e-6)
    np.testing.assert_allclose(gradient["rest"][0].b, expected["rest"][0].b, rtol=1e-6)
    np.testing.assert_allclose(gradient["rest"][0].w, expected["rest"][0].w, rtol=1e-6)


def test_structured_results():
    def f(x):
        return {"pair": Pair(x + 1, [x, None]), "layer": Layer(x * 2, (), "n")}, 3

    for made in (f, gradc.jit(f), gradc.jit(f)):
        result, three = made(2.0)
        assert result == {"pair": Pair(3.0, [2.0, None]), "layer": Layer(4.0, (), "n")} and three == 3


# ------------------------------------------------------------------------------------------ which kernels


def test_one_kernel_serves_all_sizes_but_not_other_dtypes_ranks_layouts_or_axes_of_size_one():
    made = gradc.grad(total)
    for n in (2, 3, 0, 7):
        x = np.arange(float(n))
        np.testing.assert_array_equal(made(x), 2 * x)
    assert count_programs(made) == 1
    ranks = (np.ones(1), np.ones((2, 3)), np.ones((1, 3)))
    for x in (*ranks, np.ones((3, 2)).T, np.ones((4, 6))[::2, ::2], np.ones(3, np.float32)):
        gradient = made(x)
        np.testing.assert_array_equal(gradient, 2 * x)
        assert gradient.dtype == x.dtype
    assert count_programs(made) == 7
    np.testing.assert_array_equal(made(np.ones((3, 2))), 2 * np.ones((3, 2)))
    assert count_programs(made) == 7


def test_arrays_of_any_rank_follow_each_other():
    made = gradc.grad(lambda x: np.sum(x * x))
    for x in (np.ones(3), np.ones(()), np.ones((2, 2)), np.ones(1), np.ones(3)):
        for _ in range(2):
            np.testing.assert_array_equal(made(x), 2 * x)


def test_signatures_that_alternate_keep_their_kernels():
    made = gradc.value_and_grad(product, (0, 1))
    for _ in range(3):
        assert made(3.0, 2.0) == (12.0, (4.0, 12.0))
        assert made(3, 2) == (12.0, (4.0, 12.0))
        assert made(np.float32(3), 2.0)[0] == 12.0
    assert count_programs(made) == 2


def test_read_only_unaligned_and_broadcast_inputs():
    made = gradc.grad(total)
    x = np.arange(3.0)
    made(x)
    frozen = x.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(made(frozen), 2 * x)
    record = np.zeros(3, dtype=[("byte", "i1"), ("number", "f8")])
    record["number"] = x
    assert not record["number"].flags.aligned
    np.testing.assert_array_equal(made(record["number"]), 2 * x)
    np.testing.assert_array_equal(made(np.broadcast_to(2.0, (3,))), np.full(3, 4.0))
    assert count_programs(made) == 2

    def write(a):
        a[0] = 1.0

    with pytest.raises(ValueError, match="read-only"):
        gradc.jit(write)(frozen)


# ------------------------------------------------------------------------------------------------- memory


def scale_first(x, y):
    x[0] *= 2.0
    return (x * y).sum()


def test_a_derivative_never_changes_its_arguments_and_jit_changes_them_as_the_function_does():
    x, y = np.array([3.0, 4.0]), np.array([5.0, 6.0])
    dx, dy = gradc.grad(scale_first, (0, 1))(x, y)
    np.testing.assert_array_equal(x, [3.0, 4.0])
    np.testing.assert_array_equal(dx, [10.0, 6.0])
    np.testing.assert_array_equal(dy, [6.0, 4.0])
    assert gradc.jit(scale_first)(x, y) == 6.0 * 5.0 + 4.0 * 6.0
    np.testing.assert_array_equal(x, [6.0, 4.0])


def test_one_array_given_twice_stays_one_array_where_it_is_written_to():
    x = np.array([3.0, 4.0])
    expected = np.array([8 * 3.0, 2 * 4.0])  # (2 x0)^2 + x1^2
    np.testing.assert_array_equal(gradc.grad(scale_first)(x, x), expected)
    np.testing.assert_array_equal(gradc.grad(scale_first)(x, x[:]), expected)
    first, second = gradc.grad(scale_first, (0, 1))(x, x)
    np.testing.assert_array_equal(first + second, expected)
    np.testing.assert_array_equal(x, [3.0, 4.0])
    np.testing.assert_array_equal(gradc.grad(scale_first)(x, x.copy()), [6.0, 4.0])
    np.testing.assert_array_equal(gradc.grad(scale_first)(x, x), expected)
    assert gradc.jit(scale_first)(x, x) == 52.0
    np.testing.assert_array_equal(x, [6.0, 4.0])


def test_arguments_that_overlap_with_a_write_between_them_are_refused():
    x = np.arange(4.0)
    for made in (gradc.jit(scale_first), gradc.grad(scale_first)):
        with pytest.raises(gradc.UnsupportedError, match="overlap"):
            made(x[:-1], x[1:])
    np.testing.assert_array_equal(x, np.arange(4.0))
    # Without a write, and interleaved without a common element, there is nothing to refuse.
    assert gradc.jit(lambda a, b: (a * b).sum())(x[:-1], x[1:]) == 8.0
    assert gradc.jit(scale_first)(x[::2], x[1::2]) == 6.0


def test_results_alias_neither_arguments_nor_each_other():
    def same(x):
        return x, x, x[1:], x.T

    x = np.arange(4.0)
    results = gradc.jit(same)(x)
    for k, r in enumerate(results):
        np.testing.assert_array_equal(r, same(x)[k])
        assert not np.shares_memory(r, x)
        assert not any(np.shares_memory(r, other) for other in results[:k])


def test_a_pullback_keeps_what_it_needs():
    x, y = np.array([1.0, 2.0]), 3.0
    out, pullback = gradc.vjp(lambda x, y: x * x * y, x, y)
    np.testing.assert_array_equal(out, [3.0, 12.0])
    x[:] = 100.0
    out[:] = 100.0
    for _ in range(2):
        dx, dy = pullback(np.array([1.0, 10.0]))
        np.testing.assert_array_equal(dx, [6.0, 120.0])
        assert dy == 41.0
    assert isinstance(gradc.vjp(lambda x: x * 2, 1.0)[1](1), tuple)


def test_a_cotangent_has_the_structure_shape_and_dtype_of_the_result():
    out, pullback = gradc.vjp(lambda x: {"a": x, "n": 3}, np.ones(2))
    np.testing.assert_array_equal(pullback({"a": np.array([1, 2]), "n": None})[0], [1.0, 2.0])
    with pytest.raises(gradc.ShapeError, match="shape"):
        pullback({"a": np.ones(3), "n": None})
    with pytest.raises(gradc.ShapeError, match="structure"):
        pullback(np.ones(2))
    with pytest.raises(gradc.DTypeError):
        pullback({"a": np.ones(2) * 1j, "n": None})


def test_vjp_takes_integers_as_data():
    def pick(x, index, n):
        total = x[index] * 0.0
        for k in range(n):
            total = total + x[index] * k
        return total

    out, pullback = gradc.vjp(pick, np.array([1.0, 2.0, 3.0]), np.array([0, 2]), 3)
    np.testing.assert_array_equal(out, [3.0, 9.0])
    dx, di, dn = pullback(np.ones(2))
    np.testing.assert_array_equal(dx, [3.0, 0.0, 3.0])
    assert di is None and dn is None
    assert gradc.vjp(lambda x, y: x * y, 2.0, 3)[1](1.0) == (3.0, 2.0)


# -------------------------------------------------------------------------------------------------- names

SCALE = 2.0
TABLE = np.array([1.0, 2.0])


def helper(x):
    return x * x


def test_names_are_read_when_the_call_happens(monkeypatch):
    def f(x):
        return helper(x) * SCALE + (TABLE * x).sum()

    made = gradc.value_and_grad(f)
    for _ in range(2):
        assert made(3.0) == (27.0, 15.0)
    monkeypatch.setitem(globals(), "SCALE", 10.0)
    assert made(3.0) == (99.0, 63.0)
    TABLE[0] = 2.0
    try:
        assert made(3.0) == (102.0, 64.0)
    finally:
        TABLE[0] = 1.0
    monkeypatch.setitem(globals(), "helper", lambda x: x)
    assert made(3.0) == (39.0, 13.0)
    monkeypatch.setitem(globals(), "SCALE", np.array([1.0, 2.0]))
    with pytest.raises(gradc.ShapeError):
        made(3.0)


def test_closure_variables_are_read_when_the_call_happens():
    factor = 2.0

    def f(x):
        return x * factor

    made = gradc.jit(f)
    assert made(3.0) == 6.0
    factor = 5.0
    assert made(3.0) == 15.0
    factor = 5
    assert made(3) == 15 and type(made(3)) is int


def test_static_arguments_choose_the_program():
    def f(x, mode, power):
        return x * 2 if mode == "double" else x**power

    made = gradc.grad(f)
    assert made(3.0, "double", 2) == 2.0
    assert made(3.0, "power", 2) == 6.0
    assert made(3.0, "power", 3) == 27.0
    assert made(3.0, "double", 2) == 2.0


def test_derivatives_nest():
    def cube(x):
        return x * x * x

    assert gradc.grad(gradc.grad(cube))(2.0) == 12.0
    assert gradc.grad(gradc.grad(gradc.grad(cube)))(2.0) == 6.0
    assert gradc.grad(gradc.jit(cube))(2.0) == 12.0
    slope = gradc.grad(cube)
    assert gradc.grad(lambda x: slope(x) * x)(2.0) == 36.0
    assert gradc.jit(lambda x: slope(x) + gradc.stop_gradient(x))(2.0) == 14.0


def sum_of_squares(w):
    return (w * w).sum()


def test_a_gradient_may_be_made_and_called_in_a_function_that_is_compiled():
    def after_training(rate):
        w = np.array([1.0, 2.0])
        for _ in range(3):
            w = w - rate * gradc.grad(sum_of_squares)(w)
        return (w * w).sum()

    assert gradc.grad(after_training)(0.1) == pytest.approx(-60 * 0.8**5)
    gradc.check_grads(after_training, (0.1,), order=2)
    value_and_slope = gradc.value_and_grad(helper)
    assert gradc.jit(lambda n: value_and_slope(n))(3) == (9, 6.0)
    assert gradc.jit(lambda x: gradc.vjp(helper, x)[0])(3.0) == helper(3.0)
    with pytest.raises(gradc.UnsupportedError, match="the pullback of helper cannot be a result"):
        gradc.jit(lambda x: gradc.vjp(helper, x))(1.0)


def swish(x):
    return np.tanh(x) * x


def both_ways(x, ct):
    out, pullback = gradc.vjp(swish, x)
    (dx,) = pullback(ct)
    return out, dx


def pulled_twice(x, y, n):
    def inner(a, b):
        return {"s": a @ b, "v": a * b * n, "n": 3}

    out, pullback = gradc.vjp(inner, x, y)
    x[0] = 100.0  # after this the pullback still has the old x
    return pullback({"s": 2.0, "v": x, "n": None}), out["s"], pullback({"s": 0.0, "v": y, "n": None})


def climbs(x):
    for i in range(3):
        out, pullback = gradc.vjp(lambda v: np.sin(v) * i, x)
        x = x + 0.1 * pullback(out)[0]
    return x


def test_pullbacks_are_called_in_compiled_functions():
    x, ct = np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 100.0])
    compiled = gradc.jit(both_ways)
    for args in ((x, ct), (1.5, 2.0)):
        np.testing.assert_allclose(np.array(compiled(*args)), np.array(both_ways(*args)), rtol=1e-14)
    twice = gradc.jit(pulled_twice)(x.copy(), ct, 2.0)
    for found, expected in zip(twice, pulled_twice(x.copy(), ct, 2.0), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    np.testing.assert_allclose(gradc.jit(climbs)(x), climbs(x), rtol=1e-14)
    gradc.check_grads(lambda x: climbs(x).sum(), (x,))
    gradc.check_grads(lambda x: (both_ways(x, x * x)[1] ** 2).sum(), (x,), order=2)
    power = gradc.jit(lambda n: gradc.vjp(lambda a, b: a**b, 2.0, n)[1](1.0))
    assert power(3) == gradc.vjp(lambda a, b: a**b, 2.0, 3)[1](1.0)
    nopython = numba.njit(lambda x, ct: compiled(x, ct))
    np.testing.assert_allclose(np.array(nopython(x, ct)), np.array(both_ways(x, ct)), rtol=1e-14)


def test_an_array_without_axes_may_be_several_results():
    def twice(d):
        return d, np.reshape(d, (1, 1)) * 3.0, np.squeeze(d)

    value, pullback = gradc.vjp(twice, np.array(1.5))
    assert value[0] == 1.5
    assert value[1].shape == (1, 1)
    (gradient,) = pullback((1.0, np.ones((1, 1)), 2.0))
    assert gradient == 6.0


def test_cotangents_unlike_the_result_are_refused_in_compiled_functions():
    x = np.array([1.0, 2.0, 3.0])
    for ct, error in (
        (1.0, gradc.ShapeError), ((x, x), gradc.ShapeError), (x * 1j, gradc.DTypeError), (np.ones(4), gradc.ShapeError),
    ):
        with pytest.raises(error, match="test_runtime.py"):
            gradc.jit(both_ways)(x, ct)


def test_a_function_defined_inside_may_be_differentiated_there():
    def residual(w, points):
        def u(x):
            return np.tanh(w[0] * x) * w[1]

        total = 0.0
        for x in points:
            total += (gradc.grad(u)(x) - u(x)) ** 2
        return total

    def residual_by_hand(w, points):
        t = np.tanh(w[0] * points)
        return (((1 - t * t) * w[0] * w[1] - t * w[1]) ** 2).sum()

    w, points = np.array([0.5, 1.5]), np.linspace(0.0, 1.0, 4)
    value, gradient = gradc.value_and_grad(residual)(w, points)
    assert value == pytest.approx(residual_by_hand(w, points))
    np.testing.assert_allclose(gradient, gradc.numerical_grad(residual_by_hand)(w, points), rtol=1e-6)

    def second(x, c):
        return gradc.grad(gradc.grad(lambda y: c * y**3))(x)

    assert gradc.grad(second, (0, 1))(2.0, 3.0) == (18.0, 12.0)

    def writes(w, x):
        def f(v):
            w[0] = v
            return v * v

        return gradc.grad(f)(x) + w[0]

    with pytest.raises(gradc.UnsupportedError, match="writes into an array"):
        gradc.jit(writes)(w, 2.0)


@gradc.grad
def ordered(x, y=3.0, *, z=2):
    return x * y**2 * z


def test_arguments_of_inner_derivatives_are_bound_as_python_binds_them():
    assert gradc.jit(lambda a, b: ordered(y=a, x=b))(2.0, 5.0) == ordered(y=2.0, x=5.0) == 8.0
    assert gradc.jit(lambda a, b: ordered(a, z=b))(2.0, 5) == 45.0


def test_a_wrapper_keeps_its_own_signature():
    @functools.wraps(product)
    def wrapper(*args, **kwargs):
        return product(*args, **kwargs) * 2

    assert gradc.grad(wrapper, argnums=(0, 1))(3.0, 2.0) == (8.0, 24.0)
    assert gradc.grad(wrapper, argnums="y")(3.0, y=2.0) == 24.0


# ------------------------------------------------------------------------------------------ looking inside


class Model:
    """Weights and a loss."""

    def __init__(self):
        self.w = np.array([1.0, 2.0])

    def loss(self, x, y=1.0):
        """Of one example."""
        return (self.w * x).sum() * y

    def __call__(self, x):
        return self.loss(x, 3.0)

    @classmethod
    def square(cls, x):
        return x * x


class Heir(Model):
    pass


class Compiling(Model):
    @gradc.jit
    def __call__(self, x):
        return self.loss(x, 4.0)


def powers(a, x, n=2, *, scale=1.0):
    return (a * x**n).sum() * scale


def test_partial_objects_bound_methods_and_callable_objects_are_differentiated():
    x = np.array([3.0, 4.0])
    model = Model()
    assert gradc.grad(Model.square)(3.0) == 6.0
    made = gradc.grad(model.loss)
    np.testing.assert_array_equal(made(x), [1.0, 2.0])
    np.testing.assert_array_equal(gradc.grad(model)(x), [3.0, 6.0])
    np.testing.assert_array_equal(gradc.grad(Heir())(x), [3.0, 6.0])
    np.testing.assert_array_equal(gradc.grad(Compiling())(x), [4.0, 8.0])
    assert Compiling()(x) == gradc.jit(lambda x: model(x))(x) * 4.0 / 3.0
    assert gradc.grad(model.loss, "y")(x) == 11.0
    assert (made.__name__, made.__doc__, str(inspect.signature(made))) == ("loss", "Of one example.", "(x, y=1.0)")
    model.w[0] = 5.0
    np.testing.assert_array_equal(made(x, y=2.0), [10.0, 4.0])
    model.w = np.array([0.0, 1.0])
    np.testing.assert_array_equal(made(x), [0.0, 1.0])
    partial = functools.partial(powers, np.array([1.0, 2.0]), scale=3.0)
    np.testing.assert_array_equal(gradc.grad(partial)(x), [18.0, 48.0])
    assert gradc.grad(partial, "scale")(x) == 9.0 + 32.0
    for again in (pickle.loads(pickle.dumps(made)), pickle.loads(pickle.dumps(gradc.jit(gradc.grad(model.loss))))):
        np.testing.assert_array_equal(again(x), [0.0, 1.0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(gradc.grad(partial)))(x), [18.0, 48.0])
    gradc.check_grads(model.loss, (x,))


def test_lower_shows_the_program_without_running_it():
    def write(x):
        x[0] = 2.0
        return x.sum()

    x = np.ones(3)
    lowered = gradc.value_and_grad(write).lower(x)
    assert "def write_value_and_grad(x):" in lowered.source
    assert "njit" in lowered.kernel_source
    assert lowered.ir.startswith("func ")
    assert lowered.stats["operations"] > 0 and lowered.stats["seconds"]["reverse"] > 0
    np.testing.assert_array_equal(x, np.ones(3))


def test_source_is_that_of_the_signature_called_last():
    made = gradc.grad(product)
    assert "lower" in made.source and "not been called" in made.source
    made(2.0, 3.0)
    namespace: dict[str, Any] = {}
    exec(made.source, namespace)
    assert namespace["product_grad"](3.0, 2.0) == 4.0


def test_stages_are_dumped_and_printed(tmp_path, monkeypatch, capsys):
    settings = read_config({"GRADC_DUMP": str(tmp_path), "GRADC_DEBUG": "reverse"})
    monkeypatch.setattr("gradc.runtime.pipeline.config", lambda: settings)
    gradc.grad(product)(2.0, 3.0)
    names = sorted(p.name for p in (tmp_path / "product_grad").iterdir())
    assert names[0] == "01-parse.ir" and any(n.endswith("-reverse.ir") for n in names) and "kernel.py" in names
    printed = capsys.readouterr().err
    assert "after reverse" in printed and "after cse" not in printed


def test_pickles_by_reference():
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    again = pickle.loads(pickle.dumps(gradc.grad(product, "y")))
    assert again(3.0, 2.0) == 12.0
    assert copy.copy(decorated) is decorated
    made = gradc.grad(lambda x: x)
    assert copy.deepcopy([made])[0] is made


def closure(k):
    table = np.arange(3.0)

    def factorial(x, n):
        return x if n <= 1 else n * factorial(x, n - 1)

    def f(x, n=3, *, weights=(1.0, 2.0)):
        """Documented."""
        return (k * x * table).sum() * weights[1] + factorial(x[0], n), np.sin(x[1])

    return f


def test_pickles_by_source(tmp_path):
    x = np.array([1.0, 2.0, 3.0])
    two = [gradc.grad(lambda x: x * x), gradc.grad(lambda x: x * x * x)]
    assert [made(2.0) for made in pickle.loads(pickle.dumps(two))] == [4.0, 12.0]
    made = gradc.grad(closure(2.0), has_aux=True)
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again(x)[0], made(x)[0])
    assert again.__doc__ == "Documented."
    assert str(inspect.signature(again)) == str(inspect.signature(made))
    thrice = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(again))))
    np.testing.assert_array_equal(thrice(x)[0], made(x)[0])
    nested = gradc.grad(gradc.grad(lambda x: x**4))
    assert pickle.loads(pickle.dumps(nested))(1.0) == 12.0


def test_pickles_are_loaded_by_other_processes(tmp_path):
    module = tmp_path / "short_lived.py"
    module.write_text(
        "import numpy as np\n\n\ndef make(k):\n    def f(x):\n        return (np.sin(x) * k).sum()\n\n    return f\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import short_lived
    finally:
        sys.path.remove(str(tmp_path))
    made = gradc.grad(short_lived.make(3.0))
    expected = made(np.zeros(2))
    (tmp_path / "pickled").write_bytes(pickle.dumps(made))
    code = "import pickle, sys, numpy as np; print(pickle.load(open(sys.argv[1], 'rb'))(np.zeros(2)).tolist())"
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", code, tmp_path / "pickled"], capture_output=True, text=True)
        assert run.stdout.strip() == str(expected.tolist()), run.stderr
        module.unlink(missing_ok=True)  # the second time there is only the pickle


def test_functions_in_a_pickle_may_refer_to_each_other():
    def f(x, n):
        return x if n == 0 else x * g(x, n - 1)

    g = gradc.jit(f)
    again = pickle.loads(pickle.dumps(gradc.grad(f)))
    assert again(2.0, 2) == 12.0


def test_what_has_no_source_cannot_be_pickled():
    f = eval("lambda x: x * x")
    with pytest.raises(pickle.PicklingError, match="source"):
        pickle.dumps(gradc.grad(f))


# -------------------------------------------------------------------------------------- threads, processes


def test_first_calls_may_come_from_many_threads():
    made = gradc.value_and_grad(lambda x: (x * np.sin(x)).sum())
    x = np.linspace(0, 1, 5)
    results: list[Any] = []
    barrier = threading.Barrier(4)

    def call():
        barrier.wait()
        results.append(made(x))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 4 and count_programs(made) == 1
    for value, gradient in results:
        assert value == pytest.approx(float((x * np.sin(x)).sum()))
        np.testing.assert_allclose(gradient, np.sin(x) + x * np.cos(x))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_may_fork_after_compiling():
    made = gradc.grad(product)
    made(3.0, 2.0)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if made(3.0, 2.0) == 4.0 and made(np.float32(3), 2.0) == 4.0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


PROGRAM = """
    import sys, time
    import numpy as np
    import gradc
    from gradc.runtime import cache

    def loss(w, x):
        return (np.tanh(x @ w) ** 2).sum()

    made = gradc.value_and_grad(loss)
    value, gradient = made(np.ones((2, 2)), np.ones((3, 2)))
    kernel = made._last[0].call
    print(bool(kernel.stats.cache_hits), round(float(value), 6), round(float(gradient[0, 0]), 6))
"""


def run_program(tmp_path: Path, **environment: str) -> list[str]:
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(PROGRAM))
    result = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(gradc.__file__).parents[1]), **environment},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_other_processes_load_kernels_from_the_cache(tmp_path):
    folder = tmp_path / "cache"
    first = run_program(tmp_path, GRADC_CACHE_DIR=str(folder))
    assert first[0] == "False"
    assert folder.stat().st_mode & 0o777 == 0o700
    second = run_program(tmp_path, GRADC_CACHE_DIR=str(folder))
    assert second == ["True", *first[1:]]
    for file in [*folder.iterdir(), *(folder / "__pycache__").iterdir()]:
        if file.is_file():
            file.write_bytes(file.read_bytes()[:100])
    damaged = run_program(tmp_path, GRADC_CACHE_DIR=str(folder))
    assert damaged == first
    assert run_program(tmp_path, GRADC_CACHE_DIR=str(folder)) == second
    for file in [*folder.iterdir(), *(folder / "__pycache__").iterdir()]:
        if file.is_file():
            file.write_bytes(b"garbage")
    assert run_program(tmp_path, GRADC_CACHE_DIR=str(folder)) == first


def test_the_cache_can_be_off(tmp_path):
    folder = tmp_path / "cache"
    assert run_program(tmp_path, GRADC_CACHE_DIR=str(folder), GRADC_CACHE="0")[0] == "False"
    assert not folder.exists()


@pytest.mark.slow
def test_several_processes_fill_one_cache(tmp_path):
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(PROGRAM))
    environment = {
        **os.environ, "PYTHONPATH": str(Path(gradc.__file__).parents[1]), "GRADC_CACHE_DIR": str(tmp_path / "cache")
    }  # fmt: skip
    running = [subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, env=environment) for _ in range(4)]
    outputs = {process.communicate()[0].split(maxsplit=1)[1] for process in running}
    assert len(outputs) == 1 and all(process.returncode == 0 for process in running)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_cache_folder_that_others_can_write_to_is_not_used(tmp_path, monkeypatch):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setattr("gradc.runtime.cache.config", lambda: read_config({"GRADC_CACHE_DIR": str(folder)}))
    with pytest.warns(RuntimeWarning, match="other users can write"):
        assert KernelCache().folder() != folder


def test_the_cache_can_be_measured_and_cleared(tmp_path, monkeypatch):
    monkeypatch.setattr("gradc.runtime.cache.config", lambda: read_config({"GRADC_CACHE_DIR": str(tmp_path)}))
    cache = KernelCache()
    assert cache.size() == 0
    (tmp_path / "kernel_0.py").write_text("12345")
    (tmp_path / "other.txt").write_text("mine")
    assert cache.size() == 5
    cache.clear()
    assert cache.size() == 0 and (tmp_path / "other.txt").exists()


@pytest.mark.parametrize(("name", "value"), [("GRADC_CACHE", "no"), ("GRADC_DEBUG", "9"), ("GRADC_DEBUG", "c.s.e")])
def test_settings_that_are_not_legal_are_refused_with_the_legal_ones(name, value):
    with pytest.raises(ConfigError, match=name) as caught:
        read_config({name: value})
    assert caught.value.hint


def test_settings_are_read():
    settings = read_config({"GRADC_DEBUG": "cse, reverse", "GRADC_DUMP": "out", "GRADC_CACHE": "0"})
    assert settings.debug_stages == {"cse", "reverse"} and settings.verifies("cse") and not settings.verifies("dce")
    assert settings.dump == Path("out") and not settings.cache
    assert read_config({"XDG_CACHE_HOME": "/x"}).cache_dir == Path("/x/gradc") or sys.platform != "linux"


# ---------------------------------------------------------------------------------------------- differences


def test_numerical_grad_has_the_interface_of_grad():
    assert gradc.numerical_grad(product, ("x", "y"))(3.0, 2.0) == pytest.approx({"x": 4.0, "y": 12.0})
    gradient = gradc.numerical_grad(lambda p: (p["w"] * p["w"]).sum() * p["b"])({"w": np.ones((2, 2)), "b": 2})
    np.testing.assert_allclose(gradient["w"], np.full((2, 2), 4.0), rtol=1e-7)
    assert gradient["b"] == pytest.approx(4.0)
    with pytest.raises(gradc.DTypeError):
        gradc.numerical_grad(total)(np.arange(3))
    with pytest.raises(gradc.ShapeError):
        gradc.numerical_grad(lambda x: x)(np.ones(3))


def test_check_grads_passes_on_right_gradients_and_names_the_worst_entry_of_wrong_ones():
    x = np.array([0.5, -1.0, 2.0])
    gradc.check_grads(product, (x, 3.0))
    gradc.check_grads(product, (2, 3), order=2)
    gradc.check_grads(lambda x, n: [x * n, {"s": np.sin(x)}], (x, 3), order=2)
    gradc.check_grads(scale_first, (x, x))
    gradc.check_grads(product, (x.astype(np.float32), np.float32(2)))

    def wrong(x):
        return x * gradc.stop_gradient(np.where(np.arange(3) == 1, x, 1.0))

    with pytest.raises(gradc.GradientMismatch, match=r"args\[0\]\[1\]"):
        gradc.check_grads(wrong, (x,))
    with pytest.raises(gradc.GradientMismatch, match="nan"):
        gradc.check_grads(lambda x: x * np.nan, (x,))
    for mode in ("fwd", "rev"):
        gradc.check_grads(product, (x, 3.0), modes=mode)
        with pytest.raises(gradc.GradientMismatch, match=rf"mode '{mode}'"):
            gradc.check_grads(wrong, (x,), modes=mode)
    with pytest.raises(ValueError, match="modes"):
        gradc.check_grads(product, (x, 3.0), modes=("forward",))
    with pytest.raises(gradc.DTypeError):
        gradc.check_grads(product, ("a", "b"))


def test_parameters_may_have_names_of_builtins():
    def f(len, tuple, float, Exception, n):
        return len["x"] * tuple[0] * float * n

    made = gradc.grad(f, argnums=("len", "float"))
    for _ in range(2):
        assert made({"x": 2.0}, (3.0, None), 4, None, n=5.0) == {"len": {"x": 60.0}, "float": 30.0}


def test_jvp_gives_the_result_and_its_tangent():
    out, tangent = gradc.jvp(lambda p, n: {"y": p["w"] ** n, "n": n}, ({"w": 2.0}, 3), ({"w": 1.0}, None))
    assert out == {"y": 8.0, "n": 3} and tangent == {"y": 12.0, "n": None}
    x = np.arange(1.0, 4.0)
    assert gradc.jvp(scale_first, (x, x), (np.ones(3), np.ones(3))) == (17.0, 18.0)
    np.testing.assert_array_equal(x, [1.0, 2.0, 3.0])
    for a in (np.ones((2, 3)), np.asfortranarray(np.ones((2, 3))), np.ones((4, 6))[::2, ::2]):
        np.testing.assert_array_equal(gradc.jvp(lambda a: a.T * a.T, (a,), (np.ones((2, 3)),))[1], np.full((3, 2), 2.0))
    with pytest.raises(gradc.ShapeError, match="shape"):
        gradc.jvp(total, (x,), (np.ones(4),))
    with pytest.raises(gradc.ShapeError, match="structure"):
        gradc.jvp(total, (x,), ({"x": x},))


table = np.arange(5.0)


def test_sizes_of_captures_have_names_of_their_own():
    inner = gradc.grad(lambda x: (x * table).sum())

    def make():
        def outer(table):
            return inner(table).sum()

        return outer

    with pytest.raises(gradc.ShapeError, match="differ"):
        gradc.jit(make())(np.arange(3.0))


def test_hessian_products_pickle_by_source():
    made = gradc.hvp(lambda x: (x**3).sum())
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(made))(x, x), made(x, x))


def scaled_by_default(x, factor=2.0, *, shift=1.0):
    return x * factor + shift


def test_defaults_of_helpers_are_read_where_python_keeps_them(monkeypatch):
    """They were looked up by `inspect.signature` at every call, which took 7 us."""
    compiled = gradc.value_and_grad(lambda x: scaled_by_default(x) * x)
    for factor, shift in ((2.0, 1.0), (5.0, 1.0), (5.0, -3.0)):
        monkeypatch.setattr(scaled_by_default, "__defaults__", (factor,))
        monkeypatch.setattr(scaled_by_default, "__kwdefaults__", {"shift": shift})
        assert compiled(3.0) == (9.0 * factor + 3.0 * shift, 6.0 * factor + shift)
        with monkeypatch.context() as patch:
            patch.setattr(inspect, "signature", None)  # the straight call does not need it
            assert compiled(3.0) == (9.0 * factor + 3.0 * shift, 6.0 * factor + shift)
    monkeypatch.setattr(scaled_by_default, "__defaults__", None)
    with pytest.raises(TypeError, match="factor"):
        compiled(3.0)


# ----------------------------------------------------------------------------------------------- garbage collection


def test_the_garbage_collector_rests_while_compiling_and_is_as_it_was_after() -> None:
    import gc

    from gradc.runtime.collection import collector_rests

    assert gc.isenabled()
    with collector_rests():
        with collector_rests():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(gradc.UnsupportedError):
        gradc.jit(lambda x: [x for _ in iter(x, 1)])(1.0)
    gradc.jit(lambda x: x + 1.0)(1.0)
    assert gc.isenabled()
    gc.disable()
    try:
        gradc.jit(lambda x: x + 2.0)(1.0)
        assert not gc.isenabled()
    finally:
        gc.enable()
