"""The documents tell the truth: tables that are made are up to date, conventions are what kernels compute."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.routes import vjp_by_interpreter

DOCS = Path(__file__).parent.parent / "docs"


def test_the_list_of_functions_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_numpy", DOCS / "make_numpy.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "numpy.md").read_text() == module.table(), "run python docs/make_numpy.py"


def absolute(x: Any) -> Any:
    return abs(x)


def tie(x: Any, y: Any) -> Any:
    return np.maximum(x, y)


def relu(x: Any) -> Any:
    return np.maximum(x, 0.0)


def largest(x: Any) -> Any:
    return np.max(x)


def clipped(x: Any) -> Any:
    return np.clip(x, 0.0, 1.0)


def root(x: Any) -> Any:
    return np.sqrt(x)


def length(x: Any) -> Any:
    return np.sqrt(np.sum(x**2))


def guarded_root(x: Any) -> Any:
    return np.where(x > 0, np.sqrt(x), 0.0)


def guarded_log(x: Any) -> Any:
    return np.where(x > 0, np.log(x), x)


def logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def power(x: Any, y: Any) -> Any:
    return x**y


def zeroth_power(x: Any) -> Any:
    return x**0


def steps(x: Any) -> Any:
    return np.sign(x) + np.floor(x) + np.ceil(x) + np.rint(x) + (x > 0)


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        (absolute, (0.0,), (0.0,)),
        (tie, (1.0, 1.0), (0.5, 0.5)),
        (relu, (0.0,), (0.0,)),
        (largest, (np.array([2.0, 1.0, 2.0]),), (np.array([0.5, 0.0, 0.5]),)),
        (clipped, (0.0,), (1.0,)),
        (clipped, (1.0,), (1.0,)),
        (root, (0.0,), (np.inf,)),
        (length, (np.zeros(3),), (np.zeros(3),)),
        (guarded_root, (0.0,), (0.0,)),
        (guarded_log, (-1.0,), (1.0,)),
        (logistic, (-1000.0,), (0.0,)),
        (power, (0.0, 2.0), (0.0, 0.0)),
        (zeroth_power, (0.0,), (0.0,)),
        (steps, (0.5,), (0.0,)),
    ],
)
def test_conventions(function: Callable[..., Any], args: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    _, gradients = vjp_by_interpreter(function, args, tuple(range(len(args))), 1.0)
    for gradient, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_array_equal(gradient, wanted)
