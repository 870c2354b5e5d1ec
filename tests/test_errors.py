"""What a user is told: what is wrong, in which file and line, why, and what to write instead."""

from __future__ import annotations

import functools
import inspect
import linecache
import math
import random
import traceback

import numpy as np
import pytest

import gradc


def line_of(function, text):
    """The number of the line of `function` that contains `text`."""
    lines, first = inspect.getsourcelines(function)
    return next(first + k for k, line in enumerate(lines) if text in line and "def line_of" not in line)


def product(x, y):
    return x * y


def total(x):
    return (x * x).sum()


# --------------------------------------------------------------------------- arguments that have no kernel


@pytest.mark.parametrize(
    ("x", "what", "hint"),
    [
        (np.ones(2, np.float16), "float16", "x.astype(np.float32)"),
        (np.ones(2, np.longdouble), np.dtype(np.longdouble).name, "x.astype(np.float64)"),
        (np.float16(1), "float16", "x.astype(np.float32)"),
        (np.ones(2, ">f8"), ">f8", "newbyteorder('=')"),
        (np.array([1.0, None], dtype=object), "object", "x.astype(np.float64)"),
        (np.array(["a"]), "<U1", "x.astype(np.float64)"),
        (np.array([1], "M8[s]"), "datetime64", "x.astype(np.float64)"),
        (np.ma.masked_array([1.0, 2.0]), "MaskedArray", "np.asarray(x)"),
        (2**70, str(2**70), "float(x)"),
    ],
)
def test_arguments_without_a_kernel_are_refused_with_the_cast_to_write(x, what, hint):
    for made in (gradc.jit(lambda x: x), gradc.grad(lambda x: x)):
        with pytest.raises((gradc.DTypeError, gradc.UnsupportedError)) as caught:
            made(x)
        assert "`x`" in str(caught.value) and what in str(caught.value)
        assert hint in caught.value.hint
        assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("x", "hint"),
    [
        (np.arange(3), "x.astype(np.float64)"),
        (np.array([True, False]), "x.astype(np.float64)"),
        (np.int32(3), "float(x)"),
        (True, "float(x)"),
    ],
)
def test_integers_are_not_differentiated(x, hint):
    with pytest.raises(gradc.DTypeError) as caught:
        gradc.grad(lambda x: (x * 1.0) ** 2)(x)
    assert hint in caught.value.hint
    with pytest.raises(gradc.DTypeError, match=r"p\['w'\]"):
        gradc.grad(lambda p: p["w"] * 1.0)({"w": x})


def test_an_argument_without_numbers_is_not_differentiated():
    with pytest.raises(gradc.DTypeError, match="holds no numbers"):
        gradc.grad(lambda f, x: x)(len, 1.0)


# ----------------------------------------------------------------------------------- what has no gradient


def test_only_a_number_has_a_gradient():
    def vector(x):
        return x * 2.0

    with pytest.raises(gradc.ShapeError, match="array of shape") as caught:
        gradc.grad(vector)(np.ones(3))
    assert "gradc.vjp" in caught.value.hint and "gradc.jacobian" in caught.value.hint
    assert caught.value.filename == __file__
    assert caught.value.lineno == line_of(vector, "def vector")
    for f, what in [(lambda x: (x, x), "a tuple"), (lambda x: {"a": x}, "a dict"), (lambda x: None, "None")]:
        with pytest.raises(gradc.ShapeError, match=what):
            gradc.value_and_grad(f)(1.0)
    with pytest.raises(gradc.DTypeError, match="complex128"):
        gradc.grad(lambda x: x * 1j)(1.0)
    with pytest.raises(gradc.DTypeError, match="bool"):
        gradc.grad(lambda x: x > 0)(1.0)


def test_has_aux_asks_for_a_pair():
    for f in (lambda x: x, lambda x: (x, x, x), lambda x: [x, x]):
        with pytest.raises(gradc.ShapeError, match="pair"):
            gradc.grad(f, has_aux=True)(1.0)


def test_a_value_that_decides_the_structure_is_not_differentiated():
    def f(x, n):
        return x * np.ones(3).reshape(n, 1).sum()

    with pytest.raises((gradc.UnsupportedError, gradc.DTypeError)):
        gradc.grad(f, argnums=1)(2.0, 3)


# ----------------------------------------------------------------------------- exceptions while a kernel runs


def test_shapes_that_do_not_fit_are_told_with_the_line_of_the_user():
    def add(x, y):
        z = x * 2.0
        return (z + y).sum()

    for made in (gradc.jit(add), gradc.grad(add)):
        made(np.ones(3), np.ones(3))
        for _ in range(2):
            with pytest.raises(gradc.ShapeError) as caught:
                made(np.ones(3), np.ones(4))
            assert caught.value.filename == __file__
            assert caught.value.lineno == line_of(add, "z + y")
            assert isinstance(caught.value, ValueError)
            assert str(caught.value).startswith("sizes 3 (axis 0) and 4 (axis 0) differ\n")
            assert "they are x.shape[0] and y.shape[0]" in str(caught.value)


def test_an_index_out_of_range_is_told_with_the_line_of_the_user():
    def pick(x, i):
        y = x * 2.0
        return y[i]

    for made in (gradc.jit(pick), gradc.grad(pick)):
        made(np.ones(3), 2)
        for bad in (3, -4):
            with pytest.raises(IndexError) as caught:
                made(np.ones(3), bad)
            assert caught.value.filename == __file__
            assert caught.value.lineno == line_of(pick, "y[i]")
            last = traceback.extract_tb(caught.value.__traceback__)[-1]
            assert last.filename == __file__ and last.name == "pick" and "y[i]" in last.line


def test_integer_division_by_zero_raises_as_in_python():
    def divide(x, n, m):
        return x * (n // m)

    made = gradc.grad(divide)
    assert made(2.0, 7, 2) == 3.0
    with pytest.raises(ZeroDivisionError) as caught:
        made(2.0, 7, 0)
    assert caught.value.lineno == line_of(divide, "n // m")


class TooLarge(ValueError):
    """An exception of the user's own."""


def test_exceptions_of_the_user_pass_through():
    def positive(x):
        if x < 0:
            raise ValueError("x is negative")
        assert x < 10, "x is large"
        return x * x

    for made in (gradc.jit(positive), gradc.grad(positive)):
        made(1.0)
        with pytest.raises(ValueError, match="x is negative") as caught:
            made(-1.0)
        assert type(caught.value) is ValueError
        assert caught.value.lineno == line_of(positive, "raise ValueError")
        with pytest.raises(AssertionError, match="x is large"):
            made(11.0)


def test_sizes_that_are_computed_are_told_as_numbers():
    def middle(x, y):
        return (x[1:-1] * y).sum()

    with pytest.raises(gradc.ShapeError) as caught:
        gradc.jit(middle)(np.ones(7), np.ones(4))
    assert str(caught.value).startswith("sizes 5 (axis 0) and 4 (axis 0) differ\n")
    assert "x.shape[0] - 2" in caught.value.why and "y.shape[0]" in caught.value.why


def test_functions_that_always_raise_raise_that():
    def always(x):
        raise ValueError("not written yet")

    def static(x):
        items = [1, 2, 3]
        return items[len(items)] * x

    def after_a_loop(x):
        for _ in range(3):
            x = x * 2
        raise KeyError("end")

    for f, kind in ((always, ValueError), (static, IndexError), (after_a_loop, KeyError)):
        for made in (gradc.jit(f), gradc.grad(f), gradc.jacobian(f)):
            with pytest.raises(kind) as caught:
                made(1.0)
            assert type(caught.value) is kind
            assert traceback.extract_tb(caught.value.__traceback__)[-1].filename == __file__


def test_an_argument_is_not_changed_twice_where_a_kernel_raises():
    def write(x, i):
        x[0] += 1.0
        return x[i]

    made = gradc.jit(write)
    x = np.zeros(2)
    made(x, 1)
    with pytest.raises(IndexError):
        made(x, 5)
    np.testing.assert_array_equal(x, [2.0, 0.0])


# --------------------------------------------------------------------------------------- defects of gradc


def test_numba_tracebacks_never_reach_the_user(monkeypatch):
    from gradc.runtime import pipeline

    def broken(staged, pack=None):
        name = "broken_HASH_OF_KERNEL"
        return f"from numba import njit\n@njit\ndef {name}(x):\n    return x.no_such_attribute\n", name

    monkeypatch.setattr(pipeline, "kernel_text", broken)
    with pytest.raises(gradc.InternalError) as caught:
        gradc.jit(lambda x: x)(1.0)
    assert caught.value.hint.startswith("repro: ")
    assert "\n" not in caught.value.hint
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_stage_that_fails_is_an_internal_error(monkeypatch):
    from gradc.runtime import pipeline

    def fail(func):
        raise KeyError("lost")

    monkeypatch.setattr(pipeline, "PASSES", (("cse", fail),))
    with pytest.raises(gradc.InternalError, match="stage cse"):
        gradc.jit(lambda x: x)(1.0)


def test_messages_show_the_line_with_a_caret():
    def f(x):
        with open("file") as file:
            return x

    with pytest.raises(gradc.UnsupportedError) as caught:
        gradc.grad(f)(1.0)
    text = str(caught.value)
    line = line_of(f, "with open")
    assert f"{__file__}:{line}" in text
    assert linecache.getline(__file__, line).strip() in text and "^" in text
    assert "why: " in text and caught.value.hint


# ------------------------------------------------------------------------- programs that cannot be compiled


def a_set_of_values(x):
    s = {x, x + 1.0}  # here
    return sum(s)


def a_method_that_is_none(x):
    return x.nosuch()  # here


def a_name_that_is_none(x):
    return x + undefined_name  # noqa: F821 here


def a_function_of_another_module(x):
    return x * random.random()  # here


def random_numbers(x):
    return np.sum(x * np.random.normal(size=3))  # here


def math_of_an_array(x):
    return math.sin(x)  # here


def an_array_as_condition(x):
    if x > 1:  # here
        return x.sum()
    return 0.0


def a_float_as_index(x):
    return x[1.5]  # here


def a_number_with_index(x):
    y = x.sum()
    return y[0]  # here


def a_text_of_a_number(x):
    return float(f"{x.sum():.2f}")  # here


def too_many_indices(x):
    return x[0, 1]  # here


def an_axis_that_is_none(x):
    return np.sum(x, axis=5)  # here


def an_option_that_is_none(x):
    return np.sum(x, nosuch=1)  # here


def operands_that_are_too_many(x):
    return np.sum(np.sin(x, x, x, x))  # here


def a_shape_that_does_not_fit(x):
    return np.sum(np.concatenate([x, np.ones((2, 2))]))  # here


def bits_of_floats(x):
    return np.sum(x & 1)  # here


def a_call_of_an_array(x):
    return x(3)  # here


def a_call_of_none(x):
    f = None
    return f(x)  # here


def a_list_that_grows(x):
    items = []
    while np.sum(x) < 100:  # here
        items.append(x)
        x = x * 2
    return np.sum(x)


def recursion_without_end(x):
    return recursion_without_end(x) + 1  # here


def a_number_taken_apart(x):
    a, _ = x.sum()  # here
    return a


def objects(x):
    return np.sum(np.array([x, 1.0], dtype=object))  # here


def a_cached_function(x):
    @functools.lru_cache  # here
    def g(t):
        return t

    return g(x)


def an_inverse_of_tensors(x):
    return np.linalg.tensorinv(np.outer(x, x), ind=1).sum()  # here


def a_generator(x):
    yield x  # here


def an_attempt(x):
    try:  # here
        return 1 / x.sum()
    except ZeroDivisionError:
        return 0.0


def output(x):
    print(x)  # here
    return x.sum()


def a_deleted_name(x):
    y = x
    del y  # here
    return x.sum()


def a_class(x):
    class A:  # here
        pass

    return x.sum()


WRONG = (
    a_set_of_values, a_method_that_is_none, a_name_that_is_none, a_function_of_another_module, random_numbers,
    math_of_an_array, an_array_as_condition, a_float_as_index, a_number_with_index, a_text_of_a_number,
    too_many_indices, an_axis_that_is_none, an_option_that_is_none, operands_that_are_too_many,
    a_shape_that_does_not_fit, bits_of_floats, a_call_of_an_array, a_call_of_none, a_list_that_grows,
    recursion_without_end, a_number_taken_apart, objects, a_cached_function, an_inverse_of_tensors, a_generator,
    an_attempt, output, a_deleted_name, a_class,
)  # fmt: skip


@pytest.mark.parametrize("function", WRONG, ids=lambda f: f.__name__)
def test_wrong_programs_are_refused_at_their_line(function):
    with pytest.raises(gradc.GradcError) as caught:
        gradc.grad(function)(np.array([1.0, 2.0, 3.0]))
    error = caught.value
    assert not isinstance(error, gradc.InternalError)
    assert error.filename == __file__
    assert error.lineno == line_of(function, "here")
    text = str(error)
    assert "^" in text and f"in {function.__name__}" in text
    builtin = {"UnsupportedError": TypeError, "ShapeError": ValueError, "DTypeError": TypeError}
    assert isinstance(error, builtin[type(error).__name__])


@pytest.mark.parametrize("x", ["abc", None, object(), {1, 2}, len])
def test_what_holds_no_numbers_is_named(x):
    with pytest.raises(gradc.DTypeError, match=r"argument `weights` of .*f holds no numbers") as caught:

        def f(weights):
            return 1.0

        gradc.grad(f)(x)
    assert caught.value.hint


def test_a_function_without_return_is_told_to_return():
    def f(x):
        x * 2

    with pytest.raises(gradc.ShapeError) as caught:
        gradc.grad(f)(1.0)
    assert "return" in caught.value.hint


def test_lists_over_a_number_that_is_cut_to_an_integer():
    def f(x):
        return sum([x * i for i in range(int(x))])

    assert gradc.grad(f)(3.7) == 3.0
    assert gradc.grad(f)(2.2) == 1.0


def test_a_missing_key_is_the_key_error_of_python():
    with pytest.raises(KeyError) as caught:
        gradc.grad(lambda d: d["b"])({"a": 1.0})
    assert caught.value.args == ("b",)


def the_repro_runs(error, capsys):
    """The line that the error prints runs on the command line, and shows the stage's work on the same program."""
    from gradc.__main__ import main

    assert error.hint.startswith("repro: python -m gradc ")
    assert f"\n  {error.hint}" in str(error)
    arguments = error.hint.removeprefix("repro: python -m gradc ").split()
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_a_planted_bug_is_reported_with_a_line_that_shows_it(monkeypatch, capsys):
    import gradc.inspect.commands  # noqa: F401  # takes the passes as they are now, for the line that is run
    from gradc.ir.nodes import Value, clone_func
    from gradc.runtime import pipeline

    def lose(func):
        broken = clone_func(func)
        broken.body.yields = [Value(v.ty) for v in broken.body.yields]
        return broken

    monkeypatch.setattr(pipeline, "PASSES", (("cse", lose),))
    with pytest.raises(gradc.InternalError, match="broken after pass cse") as caught:
        gradc.grad(lambda x: x * x)(1.0)
    assert "the program around it" in caught.value.why
    assert "mul" in the_repro_runs(caught.value, capsys)


def test_a_planted_bug_in_the_text_is_reported_with_a_line_that_shows_it(monkeypatch, capsys):
    from gradc.runtime import pipeline

    def fail(*args, **kwargs):
        raise KeyError("lost")

    lowered = gradc.grad(lambda x: x * x).lower(1.0)
    monkeypatch.setattr(pipeline, "source", fail)
    with pytest.raises(gradc.InternalError, match="source of lambda_grad was not made") as caught:
        print(lowered.source)
    assert "dx = 2 * x" in the_repro_runs(caught.value, capsys)
