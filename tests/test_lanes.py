"""Vector mode: several seeds in one sweep give what one at a time gives, whatever their number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.ad.forward import jvp
from gradc.ad.jacobian import jacobian
from gradc.ad.lanes import Spread
from gradc.frontends.from_python import bind_arguments, parse
from gradc.ir.interp import run
from gradc.ir.nodes import walk_nodes
from gradc.ir.verifier import verify
from gradc.runtime.ownership import copy_on_entry
from tests.test_higher import by_differences, looped, matrices, selected, stencil, until

X = np.array([0.1, 0.5, -0.3, 0.9, 1.2])


def integrated(x, a):
    """Carried scalars, a buffer that changes in place, a branch and an early end of the loop."""
    u, v = x[0], x[1]
    trail = np.zeros((4, len(x)))
    for k in range(4):
        u, v = u + 0.1 * v, v - 0.1 * np.sin(u) * a
        trail[k] = x * u
        trail[k, 1] += v if v > 0 else u * u
        if u > 3.0:
            break
    return trail


def rows(x, a):
    """A loop with temporaries of known size and with products."""
    out = np.empty((len(x), 2))
    for k in range(len(x)):
        turn = np.array([[np.cos(x[k]), -np.sin(x[k])], [np.sin(x[k]), np.cos(x[k])]])
        out[k] = turn @ (a * np.array([x[k - 1], 1.0]))
    return out


def grid(x, a):
    """An argument of two axes, swept in place."""
    u = x * 1.0
    for _ in range(2):
        for i in range(1, u.shape[0] - 1):
            for j in range(u.shape[1]):
                u[i, j] = a * (u[i - 1, j] + u[i + 1, j]) - np.tanh(u[i, j])
    return u


def growing(x, a):
    """A while loop whose trips only the run knows, taped in reverse."""
    s = 1.0
    for k in range(len(x)):
        while s < 5.0 * (k + 1):
            s = s * (1.1 + a * x[k] * x[k])
    return s


PROGRAMS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (stencil, (X, 0.7)),
    (looped, (X, 0.7)),
    (until, (X, 0.7)),
    (selected, (X, 0.7)),
    (matrices, (np.linspace(-1, 1, 6).reshape(2, 3), np.array([0.3, 0.1, -0.2]))),
    (integrated, (X, 0.7)),
    (rows, (X, 0.7)),
    (grid, (np.linspace(-1, 1, 12).reshape(4, 3), 0.3)),
    (growing, (X, 0.2)),
]


def by_interpreter(function: Callable[..., Any], args: tuple[Any, ...], mode: Any, lanes: int) -> Any:
    program = parse(function, bind_arguments(function, args, {}))
    func = jacobian(copy_on_entry(program.func), [0], mode, lanes=lanes)
    verify(func)
    (found,) = run(func, args)
    return found


@pytest.mark.parametrize("mode", ["fwd", "rev"])
@pytest.mark.parametrize(("function", "args"), PROGRAMS, ids=lambda x: getattr(x, "__name__", ""))
def test_any_number_of_lanes_gives_the_same(function, args, mode):
    expected = by_differences(function, args, 0)
    one = by_interpreter(function, args, mode, 1)
    np.testing.assert_allclose(one, expected, rtol=1e-6, atol=1e-7)
    for lanes in (2, 3, 8):
        np.testing.assert_allclose(by_interpreter(function, args, mode, lanes), one, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("function", [looped, integrated, rows], ids=lambda f: f.__name__)
def test_compiled_vector_mode_holds_for_every_size(function):
    compiled = gradc.jacfwd(function), gradc.jacrev(function)
    for n in (5, 3, 2, 7, 11):
        x = np.cos(np.arange(n) + 0.3)
        expected = by_differences(function, (x, 0.7), 0)
        for made in compiled:
            np.testing.assert_allclose(made(x, 0.7), expected, rtol=1e-6, atol=1e-7)


def test_no_seeds_at_all():
    @gradc.jacfwd
    def doubled(x):
        out = np.zeros(len(x))
        for k in range(len(x)):
            out[k] = 2.0 * x[k]
        return out

    assert doubled(np.ones(9)).shape == (9, 9)
    assert doubled(np.ones(0)).shape == (0, 0)


def test_loops_of_the_primal_run_once_for_all_lanes():
    """Sines are of the primal: one in the loop, whatever the number of lanes."""

    def waves(x):
        s = 0.0
        for k in range(7):
            s = s + np.sin(s + x[k])
        return s

    program = parse(waves, bind_arguments(waves, (np.ones(7),), {}))
    counts = []
    for lanes in (1, 4):
        func = jacobian(program.func, [0], "fwd", lanes=lanes)
        counts.append([n.op.name for n in walk_nodes(func.body)].count("sin"))
    assert counts == [1, 1]


def test_a_course_that_depends_on_the_seed_is_swept_seed_by_seed():
    """A rule of the user that branches on its tangent."""

    @gradc.custom_jvp
    def odd(x):
        return x * 2.0

    @odd.defjvp
    def odd_jvp(primals, tangents):
        t = tangents[0]
        if t > 0.5:
            t = t + 1.0 * t
        else:
            t = 2.0 * t
        return odd(primals[0]), t

    def total(x):
        s = np.zeros(len(x))
        for k in range(len(x)):
            s[k] = odd(x[k])
        return s

    program = parse(total, bind_arguments(total, (X,), {}))
    derived = jvp(program.func, [0])
    assert not Spread(derived, derived.params[-1:]).uniform
    np.testing.assert_allclose(gradc.jacfwd(total)(X), 2.0 * np.eye(5))


def test_vector_mode_nests():
    def energy(x):
        s = 0.0
        for k in range(len(x) - 1):
            s += np.sin(x[k]) * x[k + 1] ** 2
        return s

    routes = [
        gradc.hessian(energy)(X), gradc.jacfwd(gradc.jacrev(energy))(X), gradc.jacrev(gradc.jacfwd(energy))(X),
        gradc.jacfwd(gradc.jacfwd(energy))(X), gradc.jacrev(gradc.grad(energy))(X),
    ]
    for found in routes[1:]:
        np.testing.assert_allclose(found, routes[0], rtol=1e-12, atol=1e-12)
    third = gradc.grad(lambda x: np.sum(gradc.jacfwd(gradc.grad(energy))(x)))(X)
    differences = by_differences(lambda x: np.sum(gradc.hessian(energy)(x)), (X,), 0)
    np.testing.assert_allclose(third, differences, rtol=1e-6, atol=1e-7)
