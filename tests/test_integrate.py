"""scipy.integrate of samples: values are SciPy's for every number of points, derivatives those of differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import integrate

import gradc

RNG = np.random.default_rng(0)


def agrees(f: Any, *args: Any, order: int = 1) -> None:
    """Value, shape and dtype as in Python; derivatives as differences."""
    wanted, found = f(*args), gradc.jit(f)(*args)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)
    assert np.shape(found) == np.shape(wanted)
    assert np.asarray(found).dtype == np.asarray(wanted).dtype
    if order:
        gradc.check_grads(lambda *a: np.sum(f(*a) ** 2), args, order=order)


def samples(n: int) -> tuple[np.ndarray, ...]:
    return (
        RNG.normal(size=n), np.cumsum(RNG.random(n) + 0.1), RNG.normal(size=(3, n)),
        np.cumsum(RNG.random((3, n)) + 0.1, axis=1),
    )


def test_numbers_of_points() -> None:
    equal = gradc.jit(lambda y: integrate.simpson(y, dx=0.3))
    given = gradc.jit(lambda y, x: integrate.simpson(y, x=x))
    running = gradc.jit(lambda y, x: integrate.cumulative_simpson(y, x=x))
    for n in range(1, 9):
        y, x, _, _ = samples(n)
        np.testing.assert_allclose(equal(y), integrate.simpson(y, dx=0.3), rtol=1e-13)
        if n > 1:
            np.testing.assert_allclose(given(y, x), integrate.simpson(y, x=x), rtol=1e-12)
        if n > 2:
            np.testing.assert_allclose(running(y, x), integrate.cumulative_simpson(y, x=x), rtol=1e-12)
    with pytest.raises(ValueError, match="less than three points"):
        running(y[:2], x[:2])


@pytest.mark.parametrize("n", [6, 7])
def test_simpson(n: int) -> None:
    y, x, many, points = samples(n)
    agrees(lambda y, h: integrate.simpson(y, dx=h), y, 0.3)
    agrees(lambda y, x: integrate.simpson(y, x), y, x, order=2)
    agrees(lambda y, x: integrate.simpson(y, x=x), many, x)
    agrees(lambda y, x: integrate.simpson(y, x=x, axis=0), many.T, points.T)
    agrees(lambda y: integrate.simpson(y), np.arange(n), order=0)


def test_running_integrals() -> None:
    y, x, many, points = samples(5)
    agrees(lambda y, h: integrate.cumulative_trapezoid(y, dx=h), y, 0.3)
    agrees(lambda y, x: integrate.cumulative_trapezoid(y, x, initial=0), many, x, order=2)
    agrees(lambda y, x: integrate.cumulative_trapezoid(y, x, axis=0), many.T, points.T)
    agrees(lambda y, h: integrate.cumulative_simpson(y, dx=h), y, 0.3)
    agrees(lambda y, x: integrate.cumulative_simpson(y, x=x, initial=0), many, x, order=2)
    agrees(lambda y, x, s: integrate.cumulative_simpson(y, x=x, initial=s, axis=0), many.T, points.T, 0.2)
    agrees(lambda y, x: integrate.trapezoid(y, x, axis=0), many.T, x)


def test_what_is_refused() -> None:
    y, x, _, _ = samples(5)
    with pytest.raises(gradc.UnsupportedError, match="initial"):
        gradc.jit(lambda y: integrate.cumulative_trapezoid(y, initial=1))(y)
    with pytest.raises(gradc.ShapeError):
        gradc.jit(lambda y, x: integrate.simpson(y, x=x))(y, x[:4])
    with pytest.raises(ValueError, match="strictly increasing"):
        gradc.jit(lambda y, x: integrate.cumulative_simpson(y, x=x))(y, x[::-1])
    with pytest.raises(gradc.UnsupportedError, match="array `dx`"):
        gradc.jit(lambda y, x: integrate.simpson(y, dx=x))(y, x)
