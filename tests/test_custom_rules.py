"""Derivative rules of the user: used as given, nested, in loops and branches, on structures; wrong ones are refused."""

from __future__ import annotations

import math
import pickle
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
import sympy

import gradc

RNG = np.random.default_rng(5)
X = RNG.standard_normal(4)
M = RNG.standard_normal((3, 4))


@gradc.custom_vjp
def sine(x):
    """np.sin, whose reverse rule is seven times the truth: one sees whether it is used."""
    return np.sin(x)


def sine_fwd(x):
    return np.sin(x), x


def sine_bwd(x, ct):
    return (7.0 * ct * np.cos(x),)


sine.defvjp(sine_fwd, sine_bwd)


@gradc.custom_jvp
def product(x, y):
    return x * y


@product.defjvp
def product_rule(primals, tangents):
    x, y = primals
    dx, dy = tangents
    return product(x, y), 2.0 * y * dx + 3.0 * x * dy


def close(got: Any, wanted: Any) -> None:
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------------------------------------ custom_vjp


def test_a_plain_call_is_the_function() -> None:
    assert sine(0.5) == np.sin(0.5)
    assert gradc.jit(sine)(0.5) == np.sin(0.5)
    assert "sine" in repr(sine) and sine.__doc__ is not None


def test_reverse_mode_uses_the_rule() -> None:
    close(gradc.grad(sine)(0.5), 7 * math.cos(0.5))
    value, gradient = gradc.value_and_grad(lambda x: (sine(x) * x).sum())(X)
    close(value, (np.sin(X) * X).sum())
    close(gradient, 7 * np.cos(X) * X + np.sin(X))
    out, pullback = gradc.vjp(sine, X)
    close(out, np.sin(X))
    close(pullback(np.ones(4))[0], 7 * np.cos(X))
    close(gradc.jacrev(sine)(X), np.diag(7 * np.cos(X)))
    close(gradc.jacobian(sine)(X), np.diag(7 * np.cos(X)))


def test_higher_orders_go_through_the_code_of_the_rule() -> None:
    close(gradc.grad(gradc.grad(sine))(0.5), -7 * math.sin(0.5))
    close(gradc.grad(gradc.grad(gradc.grad(sine)))(0.5), -7 * math.cos(0.5))
    close(gradc.hessian(lambda x: sine(x).sum())(X), np.diag(-7 * np.sin(X)))
    close(gradc.hvp(lambda x: sine(x).sum())(X, X), -7 * np.sin(X) * X)
    # Inside a function that is differentiated.
    close(gradc.grad(lambda x: x * gradc.grad(sine)(x))(0.5), 7 * math.cos(0.5) - 3.5 * math.sin(0.5))


def test_a_rule_that_calls_the_function_with_a_rule_of_its_own() -> None:
    @gradc.custom_vjp
    def outer(x):
        return x * x

    def forward(x):
        return sine(x) * 0.0 + x * x, (x, sine(x))

    def backward(residuals, ct):
        x, s = residuals
        return (ct * sine(x) * s,)

    outer.defvjp(forward, backward)
    close(gradc.grad(outer)(0.5), math.sin(0.5) ** 2)
    # Both factors are sines with the rule of `sine`.
    close(gradc.grad(gradc.grad(outer))(0.5), 14 * math.sin(0.5) * math.cos(0.5))


def test_calls_that_one_differentiation_does_not_reach_keep_their_rule() -> None:
    def inner(w, x):
        return w * w * sine(x)

    close(gradc.grad(lambda x: gradc.grad(inner)(3.0, x))(0.5), 6 * 7 * math.cos(0.5))


def test_in_loops() -> None:
    def f(x, n):
        total = 0.0
        for i in range(n):
            x = sine(x) * 0.9
            total += x * i
        return total

    def truth(x: float, n: int) -> float:
        dx, d_total = 1.0, 0.0
        for i in range(n):
            dx = 7 * math.cos(x) * 0.9 * dx
            x = math.sin(x) * 0.9
            d_total += dx * i
        return d_total

    for n in (0, 1, 5):
        close(gradc.grad(f)(0.4, n), truth(0.4, n))

    def states(x):
        h = np.zeros(4)
        for i in range(3):
            h = sine(h * x[i] + x)
        return h.sum()

    dx = np.zeros((4, 4))
    h = np.zeros(4)
    for i in range(3):
        z = h * X[i] + X
        dz = dx * X[i] + np.eye(4)
        dz[:, i] += h
        h, dx = np.sin(z), 7 * np.cos(z)[:, None] * dz
    close(gradc.grad(states)(X), dx.sum(axis=0))

    def whiles(x):
        while x > 0.3:
            x = sine(x) * 0.5
        return x

    close(gradc.grad(whiles)(0.9), 3.5 * math.cos(0.9) * 3.5 * math.cos(0.5 * math.sin(0.9)))


def test_in_branches() -> None:
    def f(x):
        if x > 0.0:
            y = sine(x)
        else:
            y = x * 2.0
        return y * y

    close(gradc.grad(f)(0.5), 14 * math.sin(0.5) * math.cos(0.5))
    close(gradc.grad(f)(-0.5), -4.0)
    close(gradc.grad(lambda x: sine(x) if x > 0.0 else x)(0.5), 7 * math.cos(0.5))


def test_structures_and_residuals_of_every_kind() -> None:
    class Pair(NamedTuple):
        a: Any
        b: Any

    @gradc.custom_vjp
    def f(p, scale, k):
        return {"sum": (p.a * scale).sum() + p.b[0] * k, "array": p.a * 2.0}

    def forward(p, scale, k):
        return f(p, scale, k), (p.a, [scale, None, "tag"], k)

    def backward(residuals, ct):
        a, (scale, nothing, tag), k = residuals
        assert nothing is None and tag == "tag"
        return Pair(a * scale * ct["sum"] + 10.0 * ct["array"], (5.0 * ct["sum"] * k, None)), None, None

    f.defvjp(forward, backward)

    def loss(a, b, scale):
        got = f(Pair(a, (b, 1.0)), scale, 3)
        return got["sum"] + 2.0 * got["array"].sum()

    da, db, d_scale = gradc.grad(loss, (0, 1, 2))(X, 0.7, 1.5)
    close(da, X * 1.5 + 20.0)
    close(db, 15.0)
    assert d_scale == 0.0
    # A result that nobody uses has a cotangent of zeros.
    close(gradc.grad(lambda a: f(Pair(a, (1.0, 1.0)), 1.5, 3)["sum"])(X), X * 1.5)
    close(gradc.grad(lambda a: f(Pair(a, (1.0, 1.0)), 1.5, 3)["array"].sum())(X), np.full(4, 10.0))


def test_rules_with_loops_and_stores() -> None:
    @gradc.custom_vjp
    def cumulated(x):
        return np.cumsum(x)

    def forward(x):
        out = np.zeros(len(x))
        total = 0.0
        for i in range(len(x)):
            total += x[i]
            out[i] = total
        return out, out

    def backward(out, ct):
        dx = np.empty(len(out))
        total = 0.0
        for i in range(len(out) - 1, -1, -1):
            total += ct[i] * out[i]
            dx[i] = total
        return (dx,)

    cumulated.defvjp(forward, backward)
    weights = np.array([1.0, -2.0, 3.0, 0.5])

    def truth(x: np.ndarray) -> np.ndarray:
        return np.cumsum((weights * np.cumsum(x))[::-1])[::-1]

    close(gradc.grad(lambda x: (cumulated(x) * weights).sum())(X), truth(X))
    second = gradc.jacrev(gradc.grad(lambda x: (cumulated(x) * weights).sum()))(X)
    step = 1e-6
    numeric = [(truth(X + step * e) - truth(X - step * e)) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(second, np.transpose(numeric), atol=1e-8)


def test_writes_around_a_call_do_not_reach_it() -> None:
    def argument(x):
        y = x * 1.0
        z = sine(y)
        y[:] = 0.0
        return (z * z).sum() + y.sum()

    wanted = 14 * np.sin(X) * np.cos(X)
    close(gradc.grad(argument)(X), wanted)

    @gradc.custom_vjp
    def exponential(x):
        return np.exp(x)

    def forward(x):
        y = np.exp(x)
        return y, y

    exponential.defvjp(forward, lambda y, ct: (y * ct,))

    def result(x):
        y = exponential(x)
        y[0] = 5.0
        y *= 2.0
        return (y * y).sum()

    wanted = 8 * np.exp(2 * X)
    wanted[0] = 0.0
    close(gradc.grad(result)(X), wanted)

    def in_a_loop(x):
        y = x * 1.0
        total = 0.0
        for i in range(4):
            z = exponential(y[i:])
            z[0] = z[0] * 2.0
            total += z.sum()
            y[i] = 0.0
        return total

    wanted = (np.arange(4) + 2.0) * np.exp(X)
    close(gradc.grad(in_a_loop)(X), wanted)

    @gradc.custom_vjp
    def identity(x):
        return x

    identity.defvjp(lambda x: (x, None), lambda _, ct: (ct * 3.0,))

    def same(x):
        y = identity(x)
        return (y * x + identity(y)).sum()

    close(gradc.grad(same)(X), 3 * X + X + 9.0)


def test_views_and_layouts() -> None:
    close(gradc.grad(lambda m: (sine(m.T) * np.ones((4, 3))).sum())(M), 7 * np.cos(M))
    close(gradc.grad(lambda m: sine(m[1:, ::2]).sum())(M)[1:, ::2], 7 * np.cos(M[1:, ::2]))
    close(gradc.grad(lambda m: sine(m).sum())(np.asfortranarray(M)), 7 * np.cos(M))
    close(gradc.grad(lambda x: (sine(x).reshape(2, 2).T * np.array([[1.0, 2.0], [3.0, 4.0]])).sum())(X),
          7 * np.cos(X) * np.array([1.0, 3.0, 2.0, 4.0]))

    @gradc.custom_vjp
    def flat(m):
        return m.T.reshape(-1)

    flat.defvjp(lambda m: (m.T.reshape(-1), m.T), lambda t, ct: ((ct.reshape(t.shape) * t).T,))
    weights = np.arange(12.0)
    wanted = weights.reshape(4, 3).T * M
    for given in (M, np.asfortranarray(M)):
        close(gradc.grad(lambda m: (flat(m) * weights).sum())(given), wanted)
    close(gradc.grad(lambda m: (flat(m.T) * weights).sum())(M), weights.reshape(3, 4) * M)


def test_float32() -> None:
    x = X.astype(np.float32)
    got = gradc.grad(lambda x: sine(x).sum())(x)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, 7 * np.cos(x), rtol=1e-6)


def test_arguments_by_name_and_defaults() -> None:
    @gradc.custom_vjp
    def f(x, power=2.0):
        return x**power

    f.defvjp(lambda x, power: (x**power, (x, power)), lambda r, ct: (r[0] * ct, 100.0 * r[1]))
    close(gradc.grad(lambda x, p: f(power=p, x=x), (0, 1))(3.0, 2.0), (3.0, 200.0))
    close(gradc.grad(lambda x: f(x))(3.0), 3.0)
    close(gradc.grad(f, ("x", "power"))(3.0, 2.0)["power"], 200.0)


def test_globals_and_closures_are_read_at_the_call() -> None:
    factor = np.array([1.0])

    @gradc.custom_vjp
    def f(x):
        return x * factor[0]

    f.defvjp(lambda x: (x * factor[0], None), lambda _, ct: (ct * factor[0] * 10.0,))
    g = gradc.grad(f)
    close(g(2.0), 10.0)
    factor[0] = 4.0
    close(g(2.0), 40.0)
    close(gradc.grad(lambda x: f(x) * x)(2.0), 2.0 * 4.0 + 2.0 * 40.0)


def test_objects_around_a_rule() -> None:
    assert pickle.loads(pickle.dumps(sine)) is sine
    close(pickle.loads(pickle.dumps(gradc.grad(sine)))(0.5), 7 * math.cos(0.5))
    x = sympy.Symbol("x")
    assert gradc.to_sympy(gradc.grad(lambda x: sine(x) * x)) == 7 * x * sympy.cos(x) + sympy.sin(x)
    assert "custom" in str(gradc.value_and_grad(lambda x: sine(x) * x).diagram(0.5))
    gradient = gradc.grad(sine)

    @numba.njit
    def call(x):
        return gradient(x)

    close(call(0.5), 7 * math.cos(0.5))


def test_a_rule_that_is_set_anew_is_used() -> None:
    @gradc.custom_vjp
    def f(x):
        return x

    f.defvjp(lambda x: (x, None), lambda _, ct: (2.0 * ct,))
    g = gradc.grad(lambda x: f(x))
    assert g(1.0) == 2.0
    f.defvjp(lambda x: (x, None), lambda _, ct: (5.0 * ct,))
    assert g(1.0) == 5.0


def test_a_local_function_inside_a_compiled_one() -> None:
    def solve(a):
        def residual(x):
            return sine(x) - a

        x = 0.1
        for _ in range(3):
            x = x - 0.01 * residual(x) * gradc.grad(residual)(x)
        return x

    step = 1e-6

    def plain(a: float) -> float:
        x = 0.1
        for _ in range(3):
            x = x - 0.01 * (math.sin(x) - a) * 7 * math.cos(x)
        return x

    close(gradc.jit(solve)(0.3), plain(0.3))

    def derivative(a: float) -> float:
        x, dx = 0.1, 0.0
        for _ in range(3):
            r, g = math.sin(x) - a, 7 * math.cos(x)
            dr, dg = 7 * math.cos(x) * dx - 1.0, -7 * math.sin(x) * dx
            x, dx = x - 0.01 * r * g, dx - 0.01 * (dr * g + r * dg)
        return dx

    close(gradc.grad(solve)(0.3), derivative(0.3))


# ------------------------------------------------------------------------------------------------ custom_jvp


def test_custom_jvp_in_both_modes() -> None:
    assert product(2.0, 5.0) == 10.0
    close(gradc.jvp(product, (2.0, 5.0), (1.0, 10.0)), (10.0, 70.0))
    close(gradc.grad(product, (0, 1))(2.0, 5.0), (10.0, 6.0))
    close(gradc.jacfwd(lambda x: product(x, x))(X), np.diag(5 * X))
    close(gradc.jacrev(lambda x: product(x, x))(X), np.diag(5 * X))
    close(gradc.grad(lambda m: product(m, M).sum())(M), 2 * M)


def test_custom_jvp_nests() -> None:
    # d/dx = 2 y in the rule's own code, whose derivative in y is 2; d/dy = 3 x.
    wanted = np.array([[0.0, 2.0], [3.0, 0.0]])

    def f(v):
        return product(v[0], v[1])

    v = np.array([2.0, 5.0])
    close(gradc.hessian(f)(v), wanted)
    close(gradc.jacfwd(gradc.jacfwd(f))(v), wanted)
    close(gradc.jacrev(gradc.jacfwd(f))(v), wanted)
    close(gradc.jacrev(gradc.jacrev(f))(v), wanted)


def test_custom_jvp_in_loops_and_branches() -> None:
    def f(x, y):
        total = 0.0
        for i in range(4):
            if i % 2 == 0:
                x = product(x, y)
            else:
                total += x
        return total

    # x y, then x y^2: dx' = 2 y dx + 3 x dy
    x, y = 1.5, 0.7
    close(gradc.grad(f, (0, 1))(x, y), (2 * y + 4 * y * y, 3 * x + (2 * y * 3 * x + 3 * x * y)))
    close(gradc.jvp(f, (x, y), (1.0, 0.0))[1], 2 * y + 4 * y * y)


def test_custom_jvp_with_structures() -> None:
    @gradc.custom_jvp
    def f(p, n):
        return p["a"] * n, p["b"].sum()

    @f.defjvp
    def rule(primals, tangents):
        p, n = primals
        dp, dn = tangents
        assert dn is None
        return (p["a"] * n, p["b"].sum()), (4.0 * dp["a"], (dp["b"] * p["b"]).sum())

    def loss(a, b):
        u, v = f({"a": a, "b": b}, 3)
        return u + v * 2.0

    da, db = gradc.grad(loss, (0, 1))(1.5, X)
    close(da, 4.0)
    close(db, 2 * X)
    close(gradc.jvp(loss, (1.5, X), (1.0, np.ones(4)))[1], 4.0 + 2 * X.sum())


# ------------------------------------------------------------------------------------------------ checkpoint


def test_checkpoint_computes_the_derivative() -> None:
    def body(x, w):
        y = x * 1.0
        for i in range(3):
            y = np.tanh(y * w + x)
        return y

    kept = gradc.checkpoint(body)

    def loss(body):
        def f(x, w):
            h = x
            for _ in range(5):
                h = body(h, w)
            return (h * h).sum()

        return f

    wanted = gradc.grad(loss(body), (0, 1))(X, 0.4)
    got = gradc.grad(loss(kept), (0, 1))(X, 0.4)
    close(got[0], wanted[0])
    close(got[1], wanted[1])
    close(gradc.jvp(loss(kept), (X, 0.4), (X, 1.0))[1], gradc.jvp(loss(body), (X, 0.4), (X, 1.0))[1])
    close(gradc.hessian(loss(kept))(X, 0.4), gradc.hessian(loss(body))(X, 0.4))


def test_checkpoint_differentiates_what_a_closure_reads() -> None:
    def f(x, w):
        layer = gradc.checkpoint(scaled)
        return layer(x, w) + layer(w, x)

    def scaled(x, w):
        return math.sin(x) * math.exp(w)

    x, w = 0.3, 0.6
    close(
        gradc.grad(f, (0, 1))(x, w),
        (math.cos(x) * math.exp(w) + math.sin(w) * math.exp(x), math.sin(x) * math.exp(w) + math.cos(w) * math.exp(x)),
    )


def test_checkpoint_keeps_less() -> None:
    def body(x):
        for _ in range(6):
            x = np.tanh(x * x + 1.0)
        return x

    kept = gradc.checkpoint(body)

    def loss(body):
        def f(x):
            h = np.zeros(len(x))
            h[:] = x
            for _ in range(5):
                h[:] = body(h)
            return h.sum()

        return f

    def tape(f: Any) -> Any:
        return gradc.grad(f).lower(X).stats["residuals"]["tape bytes"]

    close(gradc.grad(loss(kept))(X), gradc.grad(loss(body))(X))
    assert str(tape(loss(kept))) == "40*x_0"  # the argument of each call
    assert len(str(tape(loss(body)))) > 0 and str(tape(loss(body))) != "40*x_0"


def test_sources_run_under_plain_numpy() -> None:
    def body(x):
        for _ in range(6):
            x = np.tanh(x * x + 1.0)
        return x

    kept = gradc.checkpoint(body)
    weights = np.arange(4.0)

    def looped(x):
        total = 0.0
        for i in range(3):
            x = sine(x) * 0.5
            total += x[i] * product(x, x).sum()
        return total

    for f in (lambda x: kept(kept(x)).sum(), lambda x: (sine(x) * product(x, weights)).sum(), looped):
        compiled = gradc.value_and_grad(f)
        value, gradient = compiled(X)
        space: dict[str, Any] = {}
        exec(compiled.source, space)
        (function,) = [v for n, v in space.items() if n.endswith("value_and_grad")]
        got = function(X.copy())
        close(got[0], value)
        close(got[1], gradient)


def test_checkpoint_of_a_rule() -> None:
    kept = gradc.checkpoint(lambda x: sine(x) * x)
    close(gradc.grad(kept)(0.5), 7 * math.cos(0.5) * 0.5 + math.sin(0.5))


# ------------------------------------------------------------------------- rules that tell the truth change nothing


def cumulated(x, w):
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = np.tanh(x[i] * w) + (y[i - 1] if i > 0 else 0.0)
    return y


def chosen(x, w):
    if w > 0.2:
        return np.sin(x * w)
    return x * x * w


def bell(s, w):
    return np.exp(-s * s) * w


def programs(cumulated: Any, chosen: Any, bell: Any) -> dict[str, Any]:
    """Programs that call three functions in every place there is."""

    def stores(x, w):
        y = x * 1.0
        for i in range(4):
            y[i:] = chosen(y[i:], w)
            y *= 1.1
            w = w * 0.8
        return (y * x).sum()

    def whiles(x, w):
        s = x[0]
        n = 0
        while n < 5 and s < 10.0:
            s = bell(s, w) + x[n % 4]
            if s > 0.5:
                s = s * bell(w, s)
            else:
                x = chosen(x, s)
            n += 1
        return s + x.sum()

    def rows(x, w):
        a = np.zeros((3, 4))
        a[0] = x
        for i in range(1, 3):
            a[i] = cumulated(a[i - 1], w)
            a[i - 1] = chosen(a[i], w)
            b = cumulated(chosen(a[i], w), bell(w, w))
            a[i, 0] += b[1]
            b[:] = 0.0
        return (a * a).sum()

    def nested(x, w):
        g = gradc.grad(lambda z: cumulated(z, w).sum() + bell(z[0], w))(x)
        return (chosen(g, w) * x).sum()

    return {"stores": stores, "whiles": whiles, "rows": rows, "nested": nested}


def by_jvp(f: Any) -> Any:
    made = gradc.custom_jvp(f)
    made.defjvp(lambda primals, tangents: gradc.jvp(f, primals, tangents))
    return made


def by_vjp(f: Any) -> Any:
    made = gradc.custom_vjp(f)

    def of_number(residuals, ct):
        x, w = residuals
        return gradc.grad(lambda x, w: f(x, w) * ct, (0, 1))(x, w)

    def of_array(residuals, ct):
        x, w = residuals
        return gradc.grad(lambda x, w: (f(x, w) * ct).sum(), (0, 1))(x, w)

    backward = of_number if f is bell else of_array
    made.defvjp(lambda x, w: (f(x, w), (x, w)), backward)
    return made


@pytest.mark.parametrize("name", ["stores", "whiles", "rows", "nested"])
def test_true_rules_change_nothing(name: str) -> None:
    plain = programs(cumulated, chosen, bell)[name]
    x, w = 0.5 * X, 0.7
    gradient, hessian = gradc.grad(plain, (0, 1))(x, w), gradc.hessian(plain)(x, w)
    tangent = gradc.jvp(plain, (x, w), (x, 1.0))[1]
    for wrap in (gradc.checkpoint, by_jvp, by_vjp):
        ruled = programs(wrap(cumulated), wrap(chosen), wrap(bell))[name]
        got = gradc.grad(ruled, (0, 1))(x, w)
        np.testing.assert_allclose(got[0], gradient[0], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(got[1], gradient[1], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(gradc.hessian(ruled)(x, w), hessian, rtol=1e-10, atol=1e-12)
        if wrap is not by_vjp:
            np.testing.assert_allclose(gradc.jvp(ruled, (x, w), (x, 1.0))[1], tangent, rtol=1e-11)


# --------------------------------------------------------------------------------------------- stop_gradient


def test_stop_gradient() -> None:
    close(gradc.grad(lambda x: (x * gradc.stop_gradient(np.sin(x))).sum())(X), np.sin(X))
    assert gradc.grad(lambda x: gradc.stop_gradient({"a": (x, 1)})["a"][0] * x)(3.0) == 3.0
    assert gradc.jvp(lambda x: gradc.stop_gradient(x) * x, (3.0,), (1.0,)) == (9.0, 3.0)
    assert gradc.grad(gradc.grad(lambda x: gradc.stop_gradient(x) * x * x))(3.0) == 6.0


# --------------------------------------------------------------------------------------------------- refused


def rule_with(backward: Any, forward: Any = None) -> Any:
    @gradc.custom_vjp
    def scaled(x, y):
        return x * y

    scaled.defvjp(forward or (lambda x, y: (x * y, None)), backward)
    return scaled


@pytest.mark.parametrize(
    ("backward", "words"),
    [
        (lambda _, ct: (ct,), "1 cotangents for 2 arguments"),
        (lambda _, ct: ct, "for 2 arguments"),
        (lambda _, ct: (ct.sum(), None), "shape () for `x`"),
        (lambda _, ct: (np.ones((2, 3)), None), "for `x`"),
        (lambda _, ct: ({"a": ct}, None), "for `x`"),
    ],
)
def test_wrong_cotangents_are_refused(backward: Any, words: str) -> None:
    f = rule_with(backward)
    with pytest.raises(gradc.ShapeError) as caught:
        gradc.grad(lambda x: f(x, 2.0).sum())(X)
    assert words in str(caught.value) and "`scaled`" in str(caught.value)


def test_a_cotangent_whose_length_is_wrong_at_run_time_is_refused() -> None:
    f = rule_with(lambda n, ct: (np.ones(n), None), lambda x, y: (x * y, len(x) + 1))
    with pytest.raises(gradc.ShapeError, match="`scaled`"):
        gradc.grad(lambda x: f(x, 2.0).sum())(X)


def test_refusals_say_why() -> None:
    with pytest.raises(gradc.NonDifferentiableError, match="forward mode"):
        gradc.jvp(sine, (0.5,), (1.0,))
    with pytest.raises(gradc.UnsupportedError, match="defvjp"):
        gradc.grad(gradc.custom_vjp(lambda x: x))(1.0)

    @gradc.custom_vjp
    def writes(x):
        x[0] = 1.0
        return x.sum()

    writes.defvjp(lambda x: (x.sum(), None), lambda _, ct: (None,))
    with pytest.raises(gradc.UnsupportedError, match="writes into"):
        gradc.grad(lambda x: writes(x * 2.0))(X)

    @gradc.custom_vjp
    def recursive(x):
        return recursive(x) + 1.0

    recursive.defvjp(lambda x: (x, None), lambda _, ct: (ct,))
    with pytest.raises(gradc.UnsupportedError, match="calls itself"):
        gradc.jit(lambda x: recursive(x))(1.0)

    f = rule_with(lambda _, ct: (ct, None), lambda x, y: ((x, y), None))
    with pytest.raises(gradc.ShapeError, match="structure"):
        gradc.grad(lambda x: f(x, 2.0).sum())(X)
    with pytest.raises(TypeError, match="not a function"):
        sine.defvjp(sine_fwd, None)


RATE = 2.0


def test_rules_that_call_each_other() -> None:
    """The derivative of sine by cosine's rule and the other way round; what they read of the module is shared."""
    sine_, cosine = gradc.custom_jvp(lambda x: np.sin(x)), gradc.custom_vjp(lambda x: np.cos(x))
    exponential = gradc.custom_vjp(lambda x: np.exp(x))
    sine_.defjvp(lambda p, t: (sine_(p[0]), RATE / 2 * t[0] * (cosine(p[0]) + 0 * exponential(p[0]))))
    cosine.defvjp(lambda x: (cosine(x), x), lambda x, ct: (-ct * sine_(x) * RATE / 2,))
    exponential.defvjp(lambda x: (exponential(x), x), lambda x, ct: (ct * exponential(x) * (1 + 0 * cosine(x)),))
    slope = gradc.grad(lambda x: sine_(x * x))
    close(slope(0.7), 1.4 * math.cos(0.49))
    close(gradc.grad(slope)(0.7), 2 * math.cos(0.49) - 1.96 * math.sin(0.49))
    close(gradc.grad(gradc.grad(sine_))(0.7), -math.sin(0.7))
    twice = gradc.jacrev(gradc.grad(lambda x: (cosine(x) * exponential(x)).sum()))
    close(twice(X), np.diag(-2 * np.sin(X) * np.exp(X)))


def test_functions_that_call_each_other_without_an_end_are_refused() -> None:
    first, second = gradc.custom_jvp(lambda x: second(x)), gradc.custom_jvp(lambda x: first(x))
    for f in (first, second):
        f.defjvp(lambda p, t: (p[0], t[0]))
    with pytest.raises(gradc.UnsupportedError, match="calls itself"):
        gradc.grad(first)(0.5)


def test_check_grads_leaves_forward_mode_out_where_a_rule_has_none() -> None:
    honest = gradc.custom_vjp(lambda x: np.sin(x))
    honest.defvjp(lambda x: (honest(x), x), lambda x, ct: (ct * np.cos(x),))
    gradc.check_grads(lambda x: honest(x) * x, (X,), order=2)
    with pytest.raises(gradc.GradientMismatch, match="mode 'rev'"):
        gradc.check_grads(sine, (0.5,))
    with pytest.raises(gradc.NonDifferentiableError, match="forward mode cannot use it"):
        gradc.check_grads(honest, (0.5,), modes="fwd")
