"""Random plain functions, real and complex: they have Python's value and the differences' gradient, or are refused."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc
from tests import random_complex, routes
from tests.oracle import copy_args, directional, leaves, pair, random_direction
from tests.random_programs import SIZE, program_text

ACTIVE = (0, 1, 2, 3)


def load(seed: int, folder: Path, text: Callable[[int], str] = program_text) -> Callable[..., Any]:
    """The function of program `seed`, from a real file: gradc reads sources."""
    path = folder / f"random_program_{seed}.py"
    path.write_text(text(seed))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.f


def arguments(seed: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    return (float(rng.uniform(-1, 1)), rng.uniform(-1, 1, SIZE), rng.uniform(-1, 1, SIZE),
            rng.uniform(-1, 1, (SIZE, SIZE)), int(rng.integers(0, 4)))  # fmt: skip


def check(seed: int, folder: Path, route: Callable[..., Any]) -> None:
    compare(load(seed, folder), arguments(seed), ACTIVE, route)


def check_complex(seed: int, folder: Path, route: Callable[..., Any]) -> None:
    rng, n = np.random.default_rng(seed), random_complex.SIZE

    def part(*shape: int) -> Any:
        return rng.uniform(-1, 1, shape)

    args = (float(part()), complex(part(), part()), part(n), part(n) + 1j * part(n), part(n, n) + 1j * part(n, n))
    function = load(seed, folder, random_complex.program_text)
    compare(function, (*args, int(rng.integers(0, 4))), tuple(range(len(args))), route)


def compare(
    function: Callable[..., Any], args: tuple[Any, ...], active: tuple[int, ...], route: Callable[..., Any]
) -> None:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = function(*copy_args(args))
        except (ValueError, IndexError):
            pytest.skip("Python raises")
        passed = copy_args(args)
        try:
            value, gradients = route(function, passed, active)
        except gradc.UnsupportedError as refusal:
            pytest.skip(f"refused: {str(refusal).splitlines()[0]}")
        assert abs(float(value) - expected) <= 1e-11 * max(1.0, abs(expected))
        for before, after in zip(leaves(args), leaves(passed), strict=True):
            np.testing.assert_array_equal(after, before)
        for k in range(2):
            direction = random_direction(args, active, k)
            slope, uncertainty = directional(function, args, active, direction)
            if uncertainty < 1e-6 * max(1.0, abs(slope)):  # else there is a kink nearby
                assert abs(pair(gradients, direction) - slope) <= 1e-8 * max(1.0, abs(slope)) + 10 * uncertainty


def by_interpreter(function: Any, args: Any, active: tuple[int, ...]) -> Any:
    return routes.vjp_by_interpreter(function, args, active, 1.0)


def by_source(function: Any, args: Any, active: tuple[int, ...]) -> Any:
    return routes.gradient_by_source(function, args, active)


def by_kernel(function: Any, args: Any, active: tuple[int, ...]) -> Any:
    return gradc.value_and_grad(function, active)(*args)


@pytest.mark.parametrize("seed", range(60))
def test_by_interpreter(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path, by_interpreter)


@pytest.mark.parametrize("seed", range(60, 90))
def test_by_source(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path, by_source)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 350))
def test_many_by_interpreter(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path, by_interpreter)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(600, 640))
def test_by_kernel(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path, by_kernel)


@pytest.mark.parametrize("seed", range(20))
def test_complex_by_interpreter(seed: int, tmp_path: Path) -> None:
    check_complex(seed, tmp_path, by_interpreter)


@pytest.mark.parametrize("seed", range(20, 35))
def test_complex_by_source(seed: int, tmp_path: Path) -> None:
    check_complex(seed, tmp_path, by_source)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_complex_by_interpreter(seed: int, tmp_path: Path) -> None:
    check_complex(seed, tmp_path, by_interpreter)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(600, 630))
def test_complex_by_kernel(seed: int, tmp_path: Path) -> None:
    check_complex(seed, tmp_path, by_kernel)
