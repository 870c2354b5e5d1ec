"""Jacobians, Hessians and products with them: shapes, structures, nesting, and that all routes agree."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_hess, rosen_hess_prod

import gradc
from gradc.ad.jacobian import cheaper_mode, jacobian
from gradc.ad.reverse import reverse
from gradc.frontends.from_python import bind_arguments, parse
from gradc.ir.interp import run
from gradc.ir.tree import flatten
from gradc.ir.verifier import verify
from gradc.runtime.ownership import copy_on_entry
from tests.random_smooth import random_smooth, sample_arguments


def by_interpreter(function: Callable[..., Any], args: tuple[Any, ...], wrt: list[int], mode: Any) -> tuple[Any, ...]:
    """The Jacobians of a function's results in some leaves, from verified IR."""
    program = parse(function, bind_arguments(function, args, {}))
    func = jacobian(program.func, wrt, mode)
    verify(func)
    captured = [leaf for capture in program.captures for leaf in flatten(capture.fetch())[0]]
    return run(func, [*flatten(args)[0], *captured])


def by_differences(function: Callable[..., Any], args: tuple[Any, ...], k: int, step: float = 1e-6) -> Any:
    """The Jacobian of an array-valued function in argument k by central differences."""
    x = np.asarray(args[k], float)
    out = np.asarray(function(*args))
    found = np.empty(out.shape + x.shape)
    for place in np.ndindex(*x.shape):
        sides = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            sides.append(np.asarray(function(*args[:k], moved if x.ndim else float(moved), *args[k + 1 :])))
        found[(..., *place)] = (sides[0] - sides[1]) / (2 * step)
    return found


def stencil(x, a):
    y = np.tanh(x) * a
    return y[1:] * y[:-1]


def looped(x, a):
    out = np.zeros(len(x) - 1)
    s = 0.0
    for k in range(len(x) - 1):
        if x[k] > 0:
            s += x[k] * a
        out[k] = s * x[k + 1]
        out[0] *= 0.5
    return out


def until(x, a):
    z = x * 1.0
    while z.sum() < 10.0:
        z = z * z + a
    return z


def matrices(w, x):
    return np.exp(w @ x * 0.1)


def selected(x, a):
    return x[x > 0.2] * a


X = np.array([0.1, 0.5, -0.3, 0.9, 1.2])
W = np.linspace(-1.0, 1.0, 12).reshape(3, 4)


@pytest.mark.parametrize("mode", ["fwd", "rev"])
@pytest.mark.parametrize(
    ("function", "args"),
    [
        (stencil, (X, 2.0)),
        (looped, (X, 2.0)),
        (until, (abs(X), 1.1)),
        (matrices, (W, np.linspace(0.3, 1.0, 4))),
        (matrices, (W, np.linspace(0.3, 1.0, 8).reshape(4, 2))),
        (selected, (X, 1.5)),
        (np.vdot, (X, X[::-1].copy())),
    ],
    ids=["stencil", "looped", "until", "vector", "matrix", "selected", "number"],
)
def test_jacobians_agree_with_differences(function: Any, args: tuple[Any, ...], mode: str) -> None:
    target = function if function is not np.vdot else lambda x, y: (x * y).sum()
    for k, found in enumerate(by_interpreter(target, args, [0, 1], mode)):
        wanted = by_differences(target, args, k)
        assert np.shape(found) == wanted.shape
        assert np.allclose(found, wanted, rtol=1e-6, atol=1e-7)


def test_the_cheaper_mode_is_picked() -> None:
    program = parse(stencil, (X, 2.0))
    assert cheaper_mode(program.func, [1], {"x_0": 5}) == "fwd"
    program = parse(lambda x: (x * x).sum(), (X,))
    assert cheaper_mode(program.func, [0], {"x_0": 5}) == "rev"
    assert cheaper_mode(program.func, [0], {"x_0": 2}) == "fwd"


def test_jacobians_are_compiled_loops() -> None:
    found = gradc.jacobian(stencil)
    assert np.allclose(found(X, 2.0), by_differences(stencil, (X, 2.0), 0), atol=1e-8)
    assert "def stencil_jacobian(x, a):" in found.source
    space: dict[str, Any] = {}
    exec(found.source, space)
    assert np.allclose(space["stencil_jacobian"](X, 2.0), found(X, 2.0), atol=1e-14)
    assert found(X[:3], 2.0).shape == (2, 3)


class Params(NamedTuple):
    w: Any
    c: float


def test_structures_and_argnums_nest_the_result_outside() -> None:
    def f(p, z):
        return {"a": p.w @ z, "b": z.sum() * p.c}

    p, z = Params(np.arange(6.0).reshape(2, 3), 2.0), np.array([1.0, 2.0, 3.0])
    found = gradc.jacrev(f, argnums=(0, 1))(p, z)
    assert isinstance(found["a"][0], Params)
    assert found["a"][0].w.shape == (2, 2, 3) and found["a"][0].c.shape == (2,)
    assert np.array_equal(found["a"][1], p.w)
    assert found["b"][0].c == 6.0 and np.array_equal(found["b"][1], [2.0, 2.0, 2.0])
    assert np.array_equal(gradc.jacfwd(f, argnums=("z",))(p, z)["b"]["z"], [2.0, 2.0, 2.0])


def test_kinds_follow_the_argument() -> None:
    found = gradc.jacfwd(lambda x: np.exp(x) * 2)
    assert type(found(1)) is float
    single = gradc.jacrev(lambda x: x * x)(np.ones(2, np.float32))
    assert single.dtype == np.float32 and single.flags.c_contiguous


def test_decorators_take_arguments() -> None:
    @gradc.hessian(argnums=(0, 1))
    def h(x, y):
        return (x**2 * y).sum()

    (xx, xy), (yx, yy) = h(np.array([1.0, 2.0]), 3.0)
    assert np.array_equal(xx, 6 * np.eye(2)) and np.array_equal(xy, [2.0, 4.0])
    assert np.array_equal(yx, xy) and yy == 0.0 and type(yy) is float

    @gradc.jacfwd
    def g(x):
        return x * 2

    assert np.array_equal(g(np.ones(2)), 2 * np.eye(2))
    with pytest.raises(ValueError, match="mode is"):
        gradc.jacobian(g, mode="forward")


def test_what_has_no_jacobian_is_refused() -> None:
    with pytest.raises(gradc.DTypeError, match="complex"):
        gradc.jacfwd(lambda x: x * x)(np.array([1.0 + 1j]))
    with pytest.raises(gradc.DTypeError, match="no Jacobian"):
        gradc.jacfwd(lambda x: (x, 1))(1.0)
    with pytest.raises(gradc.DTypeError, match="mode=\"fwd\""):
        gradc.jacrev(lambda x: x * 1j)(np.array([1.0]))


# ------------------------------------------------------------------------------------------- second order


def rosenbrock(x):
    total = 0.0
    for k in range(len(x) - 1):
        total += (1 - x[k]) ** 2 + 100 * (x[k + 1] - x[k] ** 2) ** 2
    return total


def test_hessian_and_its_product() -> None:
    v = np.arange(5.0)
    assert np.allclose(gradc.hessian(rosenbrock)(X), rosen_hess(X), rtol=1e-12)
    product = gradc.hvp(rosenbrock)
    assert np.allclose(product(X, v), rosen_hess_prod(X, v), rtol=1e-12)
    assert "def rosenbrock_hvp(x, v):" in product.source
    again = pickle.loads(pickle.dumps(gradc.hvp(rosen)))
    assert repr(again) == "<gradc.hvp(rosen)>"
    with pytest.raises(gradc.ShapeError, match="differ"):
        product(X, np.ones(3))
    with pytest.raises(gradc.ShapeError, match="structure"):
        product(X, (1.0, 2.0))
    start = np.array([0.5, 0.5])
    found = minimize(rosenbrock, start, method="trust-ncg", jac=gradc.grad(rosenbrock), hessp=product)
    assert np.allclose(found.x, 1.0, atol=1e-5)


def test_products_of_functions_with_options() -> None:
    def f(x, a=100, *, n=1):
        return a * (x[0] ** 2 * x[1]) ** n

    x, v = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    product = gradc.hvp(f)
    assert np.array_equal(product(x, v), [400.0, 200.0])
    assert np.array_equal(product(x, 3, v), [12.0, 6.0])
    assert np.array_equal(product.as_hessp()(x, v, 3), [12.0, 6.0])


def test_products_are_differentiated_and_called_like_functions() -> None:
    assert gradc.grad(gradc.hvp(lambda x: x**3))(2.0, 3.0) == 18.0

    def used(x, v):
        return gradc.hvp(lambda u: (u * u * u).sum())(x, v).sum()

    assert np.array_equal(gradc.grad(used)(np.array([1.0, 2.0]), np.array([3.0, 4.0])), [18.0, 24.0])


def cube(x, a):
    total = 0.0
    for k in range(2):
        total += np.sin(x[k] * a) * x[1 - k] ** 2
    return total


def mutating(x, a):
    w = x * 1.0
    for k in range(3):
        w[k % 2] = np.sin(w[1 - k % 2] * a) * w[k % 2]
        w[:] += w[::-1] * w[0]
        if w[1] > 0.2:
            w *= a
    return np.sum(w * x)


@pytest.mark.parametrize("cube", [cube, mutating])
def test_third_order_by_every_route_agrees(cube: Any) -> None:
    """The same third derivatives by all orders of forward and reverse, from IR; and differences of the second."""
    x, a = np.array([0.4, 0.9]), 1.3
    found = []
    for modes in itertools.product(("fwd", "rev"), repeat=3):
        func = parse(cube, (x, a)).func
        for mode in modes:
            func = jacobian(func, [0], mode)
            verify(func)
        found.append(run(func, [x, a])[0])
        assert found[-1].shape == (2, 2, 2)
        assert np.allclose(found[-1], found[0], rtol=1e-12, atol=1e-12)
    step, wanted = 1e-5, np.empty((2, 2, 2))
    second = jacobian(jacobian(parse(cube, (x, a)).func, [0], "rev"), [0], "fwd")
    for k in range(2):
        moved = [run(second, [x + sign * step * np.eye(2)[k], a])[0] for sign in (1, -1)]
        wanted[..., k] = (moved[0] - moved[1]) / (2 * step)
    assert np.allclose(found[0], wanted, atol=1e-7)


@pytest.mark.parametrize("seed", range(6))
def test_second_derivatives_of_random_programs_agree_by_every_route(seed: int) -> None:
    func, args = copy_on_entry(random_smooth(seed, 5)), sample_arguments(seed)
    found = []
    for inner, outer in itertools.product(("fwd", "rev"), repeat=2):
        first = jacobian(func, [0, 3], inner)
        second = jacobian(copy_on_entry(first), [0], outer)
        verify(second)
        found.append(run(second, args))
    found.append(run(jacobian(reverse(func, [0, 3], keep_value=False), [0], "fwd"), args))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert np.allclose(a, b, rtol=1e-9, atol=1e-9)


def test_what_the_seed_does_not_change_stands_before_the_loop() -> None:
    func = jacobian(parse(matrices, (W, np.linspace(0.3, 1.0, 4))).func, [1], "fwd")
    outside = [node.op.name for node in func.body.nodes]
    assert "exp" in outside and "for" in outside


def test_jacobians_inside_differentiated_functions() -> None:
    def inner(x):
        return gradc.jacobian(lambda v: v * v * x[0])(x).sum()

    assert np.allclose(gradc.grad(inner)(np.array([1.0, 2.0])), [8.0, 2.0])


def test_tangents_inside_compiled_functions() -> None:
    def slope(x, a):
        return gradc.jvp(lambda u, b: u**3 * a * b, (x, a), (1.0, 0.0))[1]

    assert gradc.grad(slope, (0, 1))(2.0, 3.0) == (108.0, 72.0)

    def f(x, v):
        y, t = gradc.jvp(lambda u: np.sin(u) * u[0], (x,), (v,))
        return (y * t).sum()

    gradc.check_grads(f, (np.array([0.3, 0.7]), np.array([1.0, 2.0])))
