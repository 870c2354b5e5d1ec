"""Derivatives go into SciPy's solvers as they are: values, types and layouts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import optimize
from scipy.integrate import solve_ivp

import gradc

RNG = np.random.default_rng(0)


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


VALUE_AND_GRAD = gradc.value_and_grad(rosenbrock)
HESSIAN = gradc.hessian(rosenbrock)
PRODUCT = gradc.hvp(rosenbrock)
START = 1 + 0.1 * RNG.normal(size=1000)


# ------------------------------------------------------------------------------------------------ minimize


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS-B", "CG", "TNC", "SLSQP"])
def test_gradients_minimise(method):
    start = START[:50] if method in ("BFGS", "SLSQP") else START
    found = optimize.minimize(VALUE_AND_GRAD, start, jac=True, method=method)
    assert found.success, found.message
    np.testing.assert_allclose(found.x, 1.0, atol=2e-4 if method != "SLSQP" else 2e-2)


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov", "trust-constr"])
@pytest.mark.parametrize("product", [PRODUCT, PRODUCT.as_hessp()], ids=["hvp", "as_hessp"])
def test_hessian_products_minimise_in_a_thousand_dimensions(method, product):
    options = {"xtol": 1e-9} if method == "Newton-CG" else {}
    found = optimize.minimize(VALUE_AND_GRAD, START, jac=True, hessp=product, method=method, options=options)
    assert found.success or method == "trust-constr", found.message
    np.testing.assert_allclose(found.x, 1.0, atol=1e-4)


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-exact", "trust-constr", "dogleg"])
def test_hessians_minimise(method):
    start = np.full(40, 1.1) if method == "dogleg" else START[:40]
    options = {"xtol": 1e-9} if method == "Newton-CG" else {}
    found = optimize.minimize(VALUE_AND_GRAD, start, jac=True, hess=HESSIAN, method=method, options=options)
    assert found.success, found.message
    np.testing.assert_allclose(found.x, 1.0, atol=1e-4)


def test_arguments_are_passed_on():
    def distance(x, scale, center):
        return np.sum(scale * (x - center) ** 2)

    args = (2.0, np.arange(3.0))
    found = optimize.minimize(
        gradc.value_and_grad(distance), np.zeros(3), args=args, jac=True, hessp=gradc.hvp(distance).as_hessp(),
        method="trust-ncg",
    )
    np.testing.assert_allclose(found.x, args[1], atol=1e-10)
    found = optimize.minimize(gradc.jit(distance), np.zeros(3), args=args, jac=gradc.grad(distance), method="BFGS")
    np.testing.assert_allclose(found.x, args[1], atol=1e-6)


def test_constraints_have_jacobians_and_hessians_of_a_combination():
    def circle(x):
        return np.array([x[0] ** 2 + x[1] ** 2, x[0] - x[1]])

    def combined(x, v):
        return v @ circle(x)

    constraint = optimize.NonlinearConstraint(
        gradc.jit(circle), [1.0, -5.0], [1.0, 5.0], jac=gradc.jacobian(circle), hess=gradc.hessian(combined)
    )
    found = optimize.minimize(
        gradc.value_and_grad(lambda x: x[0] + 2 * x[1]), np.array([-0.7, 0.1]), jac=True,
        hess=lambda x: np.zeros((2, 2)), method="trust-constr", constraints=[constraint],
        options={"gtol": 1e-10, "xtol": 1e-12},
    )
    np.testing.assert_allclose(found.x, [-1 / 5**0.5, -2 / 5**0.5], atol=1e-5)


# ------------------------------------------------------------------------------------------------ equations


def damped(p, t):
    return p[0] * np.exp(-p[1] * t) * np.cos(p[2] * t + p[3])


def residuals(p, t, y):
    return damped(p, t) - y


TRUTH = np.array([2.0, 0.5, 3.0, 0.4])
TIMES = np.linspace(0.0, 5.0, 80)
MEASURED = damped(TRUTH, TIMES) + 0.01 * RNG.normal(size=80)


@pytest.mark.parametrize("method", ["trf", "lm", "dogbox"])
def test_least_squares(method):
    jacobian = gradc.jacobian(residuals)
    found = optimize.least_squares(
        gradc.jit(residuals), [1.5, 0.4, 2.8, 0.1], jac=jacobian, args=(TIMES, MEASURED), method=method
    )
    numerical = optimize.least_squares(residuals, [1.5, 0.4, 2.8, 0.1], args=(TIMES, MEASURED), method=method)
    assert found.success
    np.testing.assert_allclose(found.x, TRUTH, atol=0.02)
    np.testing.assert_allclose(found.x, numerical.x, rtol=1e-5)
    np.testing.assert_allclose(found.jac, numerical.jac, atol=1e-5)


def test_curve_fit_with_one_parameter_per_argument():
    def model(t, a, b, w, phase):
        return a * np.exp(-b * t) * np.cos(w * t + phase)

    each = gradc.jacobian(model, argnums=(1, 2, 3, 4))
    found, _ = optimize.curve_fit(
        gradc.jit(model), TIMES, MEASURED, p0=[1.5, 0.4, 2.8, 0.1], jac=lambda *a: np.stack(each(*a), axis=1)
    )
    np.testing.assert_allclose(found, TRUTH, atol=0.02)


def test_a_bundle_of_nonlinear_least_squares():
    """Points and cameras in the plane: each camera sees each point along a direction."""
    points, cameras = RNG.normal(size=(8, 2)) + [0.0, 6.0], RNG.normal(size=(4, 3)) * [1.0, 0.3, 0.1]

    def directions(x, seen):
        views = x[: 3 * seen.shape[0]].reshape(seen.shape[0], 3)
        places = x[3 * seen.shape[0] :].reshape(seen.shape[1], 2)
        out = np.empty(seen.size)
        for i in range(seen.shape[0]):
            for j in range(seen.shape[1]):
                across, along = places[j, 0] - views[i, 0], places[j, 1] - views[i, 1]
                out[i * seen.shape[1] + j] = np.arctan2(across, along) + views[i, 2] - seen[i, j]
        return out

    truth = np.concatenate((cameras.ravel(), points.ravel()))
    seen = directions(truth, np.zeros((4, 8))).reshape(4, 8)
    start = truth + 0.05 * RNG.normal(size=len(truth))
    found = optimize.least_squares(gradc.jit(directions), start, jac=gradc.jacobian(directions), args=(seen,))
    assert found.cost < 1e-14


@pytest.mark.parametrize("method", ["hybr", "lm"])
def test_root(method):
    def equations(x):
        return np.array([x[0] + 0.5 * (x[0] - x[1]) ** 3 - 1, 0.5 * (x[1] - x[0]) ** 3 + x[1]])

    found = optimize.root(gradc.jit(equations), [0.0, 0.0], jac=gradc.jacobian(equations), method=method)
    assert found.success
    np.testing.assert_allclose(equations(found.x), 0.0, atol=1e-10)
    as_list = gradc.jacobian(lambda x: [x[0] + 0.5 * (x[0] - x[1]) ** 3 - 1, 0.5 * (x[1] - x[0]) ** 3 + x[1]])
    again = optimize.root(equations, [0.0, 0.0], jac=as_list, method=method)
    np.testing.assert_allclose(again.x, found.x, atol=1e-10)


def test_roots_of_one_variable():
    def cubic(x):
        return x**3 - 2

    first, second = gradc.grad(cubic), gradc.grad(gradc.grad(cubic))
    found = optimize.newton(cubic, 1.5, fprime=first, fprime2=second)
    assert found == pytest.approx(2 ** (1 / 3))  # a NumPy scalar: that is what SciPy makes of x0
    assert type(optimize.brentq(gradc.grad(lambda x: x**4 - x), 0.0, 2.0)) is float
    found = optimize.root_scalar(gradc.value_and_grad(cubic), x0=1.5, fprime=True, method="newton")
    assert found.converged and found.root == pytest.approx(2 ** (1 / 3))
    halley = optimize.root_scalar(cubic, x0=1.5, fprime=first, fprime2=second, method="halley")
    assert halley.root == pytest.approx(2 ** (1 / 3))
    assert optimize.minimize_scalar(gradc.jit(lambda x: (x - 2.0) ** 2)).x == pytest.approx(2.0)


# ------------------------------------------------------------------------------------------------ equations of motion


def robertson(t, y):
    slow, fast = 0.04 * y[0], 3e7 * y[1] ** 2
    back = 1e4 * y[1] * y[2]
    return np.array([back - slow, slow - back - fast, fast])


def van_der_pol(t, y, mu):
    return [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]


def brusselator(t, y, n):
    u, v = y[:n], y[n:]
    du, dv = np.empty(n), np.empty(n)
    exchange = 0.02 * (n + 1) ** 2
    for i in range(n):
        u_left, v_left = (1.0, 3.0) if i == 0 else (u[i - 1], v[i - 1])
        u_right, v_right = (1.0, 3.0) if i == n - 1 else (u[i + 1], v[i + 1])
        du[i] = 1 + u[i] ** 2 * v[i] - 4 * u[i] + exchange * (u_left - 2 * u[i] + u_right)
        dv[i] = 3 * u[i] - u[i] ** 2 * v[i] + exchange * (v_left - 2 * v[i] + v_right)
    return np.concatenate((du, dv))


@pytest.mark.parametrize("method", ["BDF", "Radau", "LSODA"])
def test_robertson(method):
    found = solve_ivp(
        gradc.jit(robertson), (0.0, 1e5), [1.0, 0.0, 0.0], jac=gradc.jacobian(robertson, argnums="y"), method=method,
        rtol=1e-7, atol=1e-11,
    )
    assert found.success
    # Mazzia and Magherini, Test Set for IVP Solvers 2.4, has the problem; the values are RADAU5's at 1e-12.
    np.testing.assert_allclose(found.y[:, -1], [1.786592114e-2, 7.274753e-8, 0.98213400], rtol=1e-4)
    assert found.y.sum(axis=0) == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_van_der_pol(method):
    def solve(jac):
        tight = {"rtol": 1e-6, "atol": 1e-9}
        return solve_ivp(gradc.jit(van_der_pol), (0.0, 1000.0), [2.0, 0.0], method, jac=jac, args=(1000.0,), **tight)

    found, numerical = solve(gradc.jacobian(van_der_pol, argnums=1)), solve(None)
    assert found.success
    assert numerical.success
    np.testing.assert_allclose(found.y[:, -1], numerical.y[:, -1], rtol=1e-2)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_brusselator(method):
    n = 30
    x = np.arange(1, n + 1) / (n + 1)
    start = np.concatenate((1 + np.sin(2 * np.pi * x), np.full(n, 3.0)))
    jacobian = gradc.jacobian(brusselator, argnums=1)

    def solve(jac):
        return solve_ivp(gradc.jit(brusselator), (0.0, 5.0), start, jac=jac, args=(n,), method=method, rtol=1e-6)

    found, numerical = solve(jacobian), solve(None)
    assert found.success and numerical.success
    np.testing.assert_allclose(found.y[:, -1], numerical.y[:, -1], rtol=1e-4)
    made = jacobian(0.0, start, n)
    assert made.flags.c_contiguous and made.dtype == np.float64 and made.shape == (2 * n, 2 * n)


def test_no_warnings_of_deprecated_conversions():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimize.minimize(VALUE_AND_GRAD, START[:10], jac=True, method="L-BFGS-B")
        optimize.check_grad(gradc.jit(rosenbrock), gradc.grad(rosenbrock), START[:5])
