"""Compiled objects called from the user's nopython code."""

from __future__ import annotations

import threading
from collections import namedtuple

import numpy as np
import pytest
from numba import njit, prange
from numba.core.errors import NumbaWarning, TypingError

import gradc
from gradc.errors import DTypeError, ShapeError, UnsupportedError

Pair = namedtuple("Pair", "w b")
RNG = np.random.default_rng(0)


def cube(x):
    return x * x * x


def loss(w, data):
    a, b = data
    return ((w * a - b) ** 2).sum()


def along(x, axis):
    return np.sum(np.sum(x, axis=axis) ** 2)


def writes(x, y):
    x[0] = y[1] * x[1]
    return (x * y).sum()


@gradc.value_and_grad
def module_level(x):
    return cube(x)


def test_a_gradient_is_called_with_numbers_tuples_and_keywords():
    gradient = gradc.value_and_grad(lambda x, y, n=2.0: x * y**n, argnums=(0, 1))

    @njit
    def total(x):
        value, (dx, dy) = gradient(x, y=3.0)
        return value + dx + dy, gradient(x, 3.0, 1.0)

    assert total(2.0) == (18.0 + 9.0 + 12.0, (6.0, (3.0, 2.0)))


def test_a_gradient_is_called_with_arrays_and_structures():
    gradient = gradc.grad(loss)
    w, a, b = RNG.normal(size=(3, 4))

    @njit
    def step(w, a, b):
        return w - 0.1 * gradient(w, (a, b))

    np.testing.assert_allclose(step(w, a, b), w - 0.1 * gradient(w, (a, b)), rtol=1e-14)
    strided = np.repeat(w, 2)[::2]
    np.testing.assert_allclose(step(strided, a, b), step(w, a, b), rtol=1e-14)
    single = njit(lambda w, a, b: gradient(w, (a, b)))(*(v.astype(np.float32) for v in (w, a, b)))
    assert single.dtype == np.float32


def test_named_tuples_go_in_and_come_out():
    gradient = gradc.grad(lambda p, x: (p.w * x).sum() * p.b)

    @njit
    def step(p, x):
        return gradient(p, x)

    x = np.array([1.0, 2.0])
    made = step(Pair(np.array([3.0, 4.0]), 2.0), x)
    assert type(made) is Pair
    np.testing.assert_array_equal(made.w, [2.0, 4.0])
    assert made.b == 11.0


def test_jit_objects_change_the_arrays_that_they_are_given():
    @gradc.jit
    def double(x):
        x *= 2.0
        return x.sum()

    @njit
    def twice(x):
        return double(x) + double(x)

    x = np.array([1.0, 2.0])
    assert twice(x) == 6.0 + 12.0
    np.testing.assert_array_equal(x, [4.0, 8.0])
    x.flags.writeable = False
    with pytest.raises(UnsupportedError, match="read-only"):
        twice(x)


def test_gradients_run_in_prange():
    gradient = gradc.grad(loss)
    ws = RNG.normal(size=(8, 4))
    a, b = RNG.normal(size=(2, 4))

    @njit(parallel=True)
    def all_of_them(ws, a, b):
        out = np.empty_like(ws)
        for i in prange(len(ws)):
            out[i] = gradient(ws[i], (a, b))
        return out

    expected = [gradient(w, (a, b)) for w in ws]
    np.testing.assert_allclose(all_of_them(ws, a, b), expected, rtol=1e-14)


def test_an_object_may_be_an_argument_of_nopython_code():
    @njit
    def call(f, x):
        return f(x)

    assert call(gradc.grad(cube), 2.0) == 12.0
    assert call(gradc.grad(gradc.grad(cube)), 2.0) == 12.0
    assert call(gradc.grad(gradc.grad(cube)), 3) == 18.0
    assert call(gradc.jit(cube), 2) == 8
    assert call(module_level, 2.0) == (8.0, 12.0)


def test_functions_are_passed_on():
    apply = gradc.grad(lambda f, x: f(x) * x, argnums=1)
    inner = gradc.jit(cube)
    square = njit(lambda x: x * x)

    @njit
    def call(x):
        return apply(inner, x), apply(square, x)

    assert call(2.0) == (32.0, 12.0)


def test_jacobians_and_hessians_are_called():
    jacobian, hessian, product = gradc.jacobian(cube), gradc.hessian(lambda x: cube(x).sum()), gradc.hvp(
        lambda x: cube(x).sum()
    )

    @njit
    def call(x):
        return jacobian(x), hessian(x), product(x, x)

    x = np.array([1.0, 2.0])
    first, second, third = call(x)
    np.testing.assert_array_equal(first, np.diag([3.0, 12.0]))
    np.testing.assert_array_equal(second, np.diag([6.0, 12.0]))
    np.testing.assert_array_equal(third, [6.0, 24.0])


def test_literals_are_known_and_other_numbers_are_not():
    gradient = gradc.grad(along)
    x = np.arange(6.0).reshape(2, 3)

    @njit
    def both(x):
        return gradient(x, 0), gradient(x, axis=1)

    first, second = both(x)
    np.testing.assert_array_equal(first, gradient(x, 0))
    np.testing.assert_array_equal(second, gradient(x, 1))

    @njit
    def unknown(x, axis):
        return gradient(x, axis)

    with pytest.raises(UnsupportedError, match="`axis` of along must be known"):
        unknown(x, 1)


scale = 2.0
table = np.array([1.0, 2.0, 3.0, 4.0])


def scaled(x):
    return (x * table[::2]).sum() * scale


def test_captured_values_are_frozen_when_the_caller_is_compiled(monkeypatch):
    gradient = gradc.grad(scaled)

    def make():
        @njit
        def call(x):
            return gradient(x)

        return call

    x = np.zeros(2)
    before = make()
    np.testing.assert_array_equal(before(x), [2.0, 6.0])
    monkeypatch.setitem(globals(), "scale", 10.0)
    np.testing.assert_array_equal(before(x), [2.0, 6.0])
    np.testing.assert_array_equal(make()(x), [10.0, 30.0])
    np.testing.assert_array_equal(gradient(x), [10.0, 30.0])


def test_a_write_into_a_captured_array_is_refused():
    counts = np.zeros(3)

    @gradc.jit
    def count(x):
        counts[0] += 1.0
        return x

    with pytest.raises(UnsupportedError, match="writes into an array that it captures"):
        njit(lambda x: count(x))(1.0)


def test_global_arrays_of_the_caller_are_read_only_and_welcome():
    gradient = gradc.grad(loss)
    data = (np.ones(3), np.zeros(3))

    @njit
    def call(w):
        return gradient(w, data)

    np.testing.assert_array_equal(call(np.arange(3.0)), [0.0, 2.0, 4.0])


def test_arguments_that_overlap_with_a_write_raise():
    gradient = gradc.grad(writes, argnums=(0, 1))
    call = njit(lambda x, y: gradient(x, y))
    x, y = np.array([[1.0, 2.0, 3.0], [0.5, 1.0, 2.0]])
    for given, expected in zip(call(x, y), gradient(x, y), strict=True):
        np.testing.assert_array_equal(given, expected)
    with pytest.raises(UnsupportedError, match="overlap in memory"):
        call(x, x)


def test_axes_of_size_one_never_broadcast_silently():
    gradient = gradc.grad(lambda x, y: (x * y).sum())
    call = njit(lambda x, y: gradient(x, y))
    np.testing.assert_array_equal(call(np.ones(1), np.full(1, 3.0)), [3.0])
    with pytest.raises(ShapeError, match="differ"):
        call(np.ones(1), np.ones(3))


def test_what_nopython_code_cannot_hold_is_refused_by_name():
    of_dict = gradc.grad(lambda d: d["a"] ** 2)
    with pytest.raises(UnsupportedError, match="argument `d` .* of Numba type DictType"):
        njit(lambda x: of_dict({"a": x}))(1.0)
    by_name = gradc.grad(lambda x, y: x * y, argnums=("x", "y"))
    with pytest.raises(UnsupportedError, match="holds a dict"):
        njit(lambda x: by_name(x, x))(1.0)
    listed = gradc.jit(lambda x: [x, x])
    with pytest.raises(UnsupportedError, match="holds a list"):
        njit(lambda x: listed(x))(1.0)


def test_errors_of_kernels_reach_the_caller():
    gradient = gradc.grad(lambda x, i: x[i] ** 2)
    call = njit(lambda x, i: gradient(x, i))
    np.testing.assert_array_equal(call(np.array([1.0, 2.0]), -1), [0.0, 4.0])
    with pytest.raises(IndexError, match="out of bounds"):
        call(np.array([1.0, 2.0]), 2)


def calls_in(caller):
    """Lines of LLVM code of a function that was compiled for one signature."""
    (text,) = caller.inspect_llvm().values()
    return text.count("\n")


def test_a_call_site_costs_the_caller_a_call():
    def density(x):
        total = 0.0
        for i in range(len(x)):
            total += np.sin(x[i]) * np.exp(x[i]) / (1 + x[i] ** 2)
        return total

    gradient = gradc.grad(density)
    x = np.ones(3)
    one = njit(lambda x: gradient(x))
    four = njit(lambda x: gradient(x) + gradient(x + 1) + gradient(x + 2) + gradient(x + 3))
    bare = njit(lambda x: x + (x + 1) + (x + 2) + (x + 3))
    for caller in (one, four, bare):
        caller(x)
    made = gradient.__dict__["_calls_in_numba"]._made
    assert sum(map(len, made.values())) == 1
    assert calls_in(four) < calls_in(one) + calls_in(bare) + 500


def test_objects_are_typed_from_several_threads():
    gradient = gradc.grad(cube)
    results = []

    def work(k):
        results.append(njit(lambda x: gradient(x) + k)(2.0) - k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [12.0] * 3


def test_a_sampler_runs_wholly_in_nopython_code():
    """Hamiltonian Monte Carlo of a Gaussian with a known covariance."""
    precision = np.array([[2.0, 0.6], [0.6, 1.0]])

    def log_density(q, precision):
        return -0.5 * (q @ (precision @ q))

    value_and_grad = gradc.value_and_grad(log_density)

    @njit
    def sample(q, precision, count, step, leaps, seed):
        np.random.seed(seed)
        draws = np.empty((count, len(q)))
        value, slope = value_and_grad(q, precision)
        accepted = 0
        for k in range(count):
            p = np.random.standard_normal(len(q))
            energy = value - 0.5 * np.sum(p * p)
            new, new_value, new_slope = q.copy(), value, slope
            for _ in range(leaps):
                p = p + 0.5 * step * new_slope
                new = new + step * p
                new_value, new_slope = value_and_grad(new, precision)
                p = p + 0.5 * step * new_slope
            if np.log(np.random.random()) < new_value - 0.5 * np.sum(p * p) - energy:
                q, value, slope = new, new_value, new_slope
                accepted += 1
            draws[k] = q
        return draws, accepted / count

    draws, rate = sample(np.zeros(2), precision, 20_000, 0.4, 5, 1)
    assert rate > 0.9
    np.testing.assert_allclose(np.cov(draws.T), np.linalg.inv(precision), atol=0.05)


def test_callers_are_not_kept_on_disk(tmp_path, monkeypatch):
    (tmp_path / "caller.py").write_text(
        "import gradc\nfrom numba import njit\ng = gradc.grad(lambda x: x * x)\n"
        "@njit(cache=True)\ndef call(x):\n    return g(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import caller

    with pytest.warns(NumbaWarning, match="Cannot cache"):
        assert caller.call(3.0) == 6.0


def test_rules_of_the_user_are_followed():
    @gradc.custom_vjp
    def steep(x):
        return x * x

    steep.defvjp(lambda x: (steep(x), x), lambda x, ct: (10.0 * x * ct,))
    gradient = gradc.grad(lambda x: steep(x) + x)
    call = njit(lambda x: gradient(x))
    assert call(3.0) == gradient(3.0) == 31.0


def test_a_loop_over_a_scalar_gradient_is_vectorised():
    gradient = gradc.grad(cube)

    @njit
    def fill(xs, out):
        for i in range(len(xs)):
            out[i] = gradient(xs[i])

    xs = np.arange(5.0)
    out = np.empty(5)
    fill(xs, out)
    np.testing.assert_array_equal(out, 3 * xs**2)
    (text,) = fill.inspect_llvm().values()
    assert " x double> " in text


def test_lambdified_expressions_are_called():
    f = gradc.lambdify("a, b", "a**2 * sin(b)")
    gradient, of_vector = gradc.grad(f, (0, 1)), gradc.grad(gradc.lambdify(["p"], "p[0] * p[1]**2"))
    call = njit(lambda a, b: (f(a, b), gradient(a, b)))
    assert call(2.0, 0.5) == (f(2.0, 0.5), gradient(2.0, 0.5))
    np.testing.assert_array_equal(njit(lambda p: of_vector(p))(np.array([2.0, 3.0])), [9.0, 12.0])


@gradc.custom_vjp
def steeper(x):
    return x * x


steeper.defvjp(lambda x: (steeper(x), x), lambda x, ct: (10.0 * x * ct,))


@njit
def with_rule(x):
    return steeper(x) + gradc.stop_gradient(x) * x


def test_functions_with_rules_and_stop_gradient_are_nopython_code():
    """So that a function which Numba compiles can be differentiated, rules included."""
    assert with_rule(3.0) == 18.0
    assert gradc.grad(with_rule)(3.0) == 33.0


def test_nested_structures_go_through_prange():
    gradient = gradc.grad(lambda p: (p[0].w * p[1]).sum() * p[0].b)

    @njit(parallel=True)
    def all_of_them(xs):
        out = np.empty(len(xs))
        for i in prange(len(xs)):
            pair, dx = gradient((Pair(xs[i : i + 1] * 1.0, 2.0), xs[i : i + 1]))
            out[i] = pair.w[0] + pair.b + dx[0]
        return out

    xs = np.arange(1.0, 5.0)
    np.testing.assert_allclose(all_of_them(xs), 2 * xs + xs**2 + 2 * xs)


# ------------------------------------------------------------------- derivatives that nopython code asks for


@njit
def cubed(x):
    return x * x * x


@njit
def squares(w, x):
    return np.sum((x * w) ** 2)


@njit
def newton(f, x):
    for _ in range(20):
        x = x - f(x) / gradc.grad(f)(x)
    return x


def test_derivatives_are_made_in_nopython_code():
    w, x = np.array([1.0, 2.0]), np.array([3.0, -1.0])

    @njit
    def of_name(w, x):
        g = gradc.grad(squares)
        value, both = gradc.value_and_grad(squares, (0, 1))(w, x)
        return g(w, x), gradc.grad(squares, argnums="x")(w, x), value, both

    by_position, by_name, value, both = of_name(w, x)
    np.testing.assert_array_equal(by_position, 2 * x * x * w)
    np.testing.assert_array_equal(by_name, 2 * w * w * x)
    np.testing.assert_array_equal(both, (by_position, by_name))
    assert value == 13.0

    @njit
    def second(w, x):
        return gradc.hessian(squares)(w, x), gradc.hvp(squares)(w, x, w), gradc.jvp(squares, (w, x), (w, np.zeros(2)))

    matrix, product, (value, tangent) = second(w, x)
    np.testing.assert_array_equal(matrix, np.diag(2 * x * x))
    np.testing.assert_array_equal(product, matrix @ w)
    assert (value, tangent) == (13.0, 26.0)


def test_functions_are_arguments_of_what_differentiates_them():
    assert newton(njit(lambda x: x * x - 2.0), 1.0) == pytest.approx(2.0**0.5)
    assert newton(gradc.jit(lambda x: x * x * x - 8.0), 1.0) == pytest.approx(2.0)

    @njit
    def of_closures(x):
        def inner(y):
            return y * y * y

        return gradc.grad(inner)(x) + gradc.grad(gradc.grad(lambda y: y * y))(x)

    assert of_closures(2.0) == 14.0
    assert gradc.grad(of_closures)(2.0) == 12.0


def power(x):
    return x**4


def test_python_functions_are_differentiated_in_nopython_code_and_not_called():
    assert njit(lambda x: gradc.grad(power)(x) + gradc.jvp(power, (x,), (1.0,))[1])(2.0) == 64.0

    @njit
    def descend(x, n):
        return x if n == 0 else descend(x - gradc.grad(power)(x), n - 1)

    assert descend(0.1, 2) == pytest.approx(0.1 - 4 * 0.1**3 - 4 * (0.1 - 4 * 0.1**3) ** 3)

    @njit(parallel=True)
    def slopes(x):
        out = np.empty_like(x)
        for i in prange(len(x)):
            out[i] = gradc.grad(power)(x[i])
        return out

    np.testing.assert_array_equal(slopes(np.arange(3.0)), 4 * np.arange(3.0) ** 3)
    with pytest.raises(UnsupportedError, match=r"power is called in nopython code[\s\S]*put power under numba.njit"):
        njit(lambda x: gradc.grad(power)(x) + power(x))(2.0)
    with pytest.raises(TypingError, match="Untyped global name 'power'"):
        njit(lambda x: power(x))(2.0)  # what Numba says where nobody asks for derivatives


def test_derivatives_that_nopython_code_cannot_make_are_refused():
    with pytest.raises(UnsupportedError, match="`argnums` of gradc.grad.* not written as a literal"):
        njit(lambda w, x, k: gradc.grad(squares, k)(w, x))(np.ones(2), np.ones(2), 0)
    with pytest.raises(UnsupportedError, match=r"no function known to it[\s\S]*g = gradc.grad\(f\)"):
        njit(lambda x: gradc.grad(np.sin)(x))(1.0)
    with pytest.raises(UnsupportedError, match="gradc.vjp cannot be called in nopython code"):
        njit(lambda w: gradc.vjp(squares, w, w)[0])(np.ones(2))
    sparse = gradc.sparse_jacobian(lambda x: x[1:] - x[:-1])
    with pytest.raises(UnsupportedError, match="its result is a scipy.sparse matrix"):
        njit(lambda x: sparse(x))(np.ones(2))


def test_marked_loops_are_nopython_code():
    @njit
    def looped(x):
        total = 0.0
        for i in gradc.checkpoint(range(4), every=2):
            total += i * x
        for v in gradc.checkpoint(np.ones(3), budget="1MB"):
            total += v * x
        return total

    assert looped(2.0) == 18.0
    assert gradc.grad(looped)(2.0) == 9.0


def test_errors_of_derivatives_made_in_nopython_code_tell_the_place():
    for call in (
        njit(lambda x: gradc.jvp(cubed, (x,), (np.ones(3),))),
        njit(lambda x: gradc.grad(cubed, 3)(x)),
        njit(lambda x: gradc.vjp(cubed, x)[0]),
        njit(lambda x: gradc.jvp(cubed, x, 1.0)),
    ):
        with pytest.raises((ValueError, TypeError)) as caught:
            call(2.0)
        place = f"{__file__}:{call.py_func.__code__.co_firstlineno}"
        assert caught.value.__notes__ == [f"where nopython code calls it: {place}"]
    with pytest.raises(TypeError, match="takes a tuple of primals"):
        gradc.jvp(cubed.py_func, 2.0, 1.0)


# -------------------------------------------------------------------------------------- arguments that may be None


def test_arguments_that_may_be_none():
    def scaled(x, a=None, b=None, mode="square"):
        y = x * x if mode == "square" else x * x * x
        if a is not None:
            y = y * a
        return y if b is None else y + b * x

    gradient = gradc.grad(scaled)

    @njit
    def call(x, with_a, with_b):
        a = None
        b = None
        if with_a:
            a = 2.0
        if with_b:
            b = 3.0
        return gradient(x, a, b, "cube"), gradient(x, b=b)

    for with_a in (True, False):
        for with_b in (True, False):
            a, b = 2.0 if with_a else None, 3.0 if with_b else None
            assert call(2.0, with_a, with_b) == (gradient(2.0, a, b, "cube"), gradient(2.0, b=b))


def test_an_argument_that_must_not_be_none_raises_where_it_is():
    gradient = gradc.grad(lambda x, b: x * b)

    @njit
    def call(values):
        best = None
        for v in values:
            if best is None or v < best:
                best = v
        return gradient(best, 3.0)

    assert call(np.array([2.0, 1.0])) == 3.0
    with pytest.raises(TypeError, match="argument `x` .* is None"):
        call(np.zeros(0))
    of_array = gradc.grad(lambda w, mask=None: np.sum(w**2) if mask is None else np.sum(w**2 * mask))

    @njit
    def masked(w, flag):
        mask = None
        if flag:
            mask = w
        return of_array(w, mask)

    w = np.array([1.0, 2.0])
    np.testing.assert_array_equal(masked(w, True), 2 * w * w)
    np.testing.assert_array_equal(masked(w, False), 2 * w)


def test_errors_tell_where_nopython_code_calls():
    of_array = gradc.grad(lambda x: x * 2.0)
    call = njit(lambda x: of_array(x))
    with pytest.raises(ShapeError, match="not a number") as caught:
        njit(lambda x: call(x))(np.ones(2))
    line = call.py_func.__code__.co_firstlineno
    assert caught.value.__notes__ == [f"where nopython code calls it: {__file__}:{line}"]


# ------------------------------------------------------------------------------------------------------ pullbacks


def test_pullbacks_are_called():
    w, x = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    _, pullback = gradc.vjp(lambda w, x, n, s: (w * x * s, np.sum(w) * n), w, x, 2, 1.5)
    ct = (np.array([1.0, 10.0]), 0.5)
    expected = pullback(ct)
    w[:] = 0.0
    for found in (njit(lambda a, b: pullback((a, b)))(*ct), gradc.jit(lambda a, b: pullback((a, b)))(*ct)):
        for part, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(part, other)
    np.testing.assert_array_equal(gradc.jacobian(lambda a: pullback((a, 1.0))[0])(ct[0]), np.diag(1.5 * x))


def test_cotangents_that_do_not_fit_are_refused_in_compiled_code():
    _, pullback = gradc.vjp(lambda x: 2.0 * x, np.ones(3))
    call = njit(lambda ct: pullback(ct))
    np.testing.assert_array_equal(call(np.ones(3))[0], np.full(3, 2.0))
    for ct in (np.ones(1), np.ones(2)):
        with pytest.raises(ShapeError):
            call(ct)
        with pytest.raises(ShapeError):
            gradc.jit(lambda ct: pullback(ct))(ct)
    with pytest.raises(ShapeError, match=r"has shape \(\)"):
        call(1.0)
    with pytest.raises(DTypeError, match="complex128"):
        call(np.ones(3, complex))


def test_c_functions_are_arguments_of_one_type():
    """One solver is compiled for all functions of a signature."""

    @njit
    def descend(slope, x):
        for _ in range(50):
            x = x - 0.25 * slope(x)
        return x

    for goal in (1.0, 3.0):
        slope = gradc.grad(lambda x, goal=goal: (x - goal) ** 2).cfunc("double (double)")
        assert descend(slope, 0.0) == pytest.approx(goal)
    assert len(descend.signatures) == 1
