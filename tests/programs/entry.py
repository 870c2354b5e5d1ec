"""What a program of this list is: a plain function, inputs to run it on, and what to differentiate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.oracle import is_float_leaf, leaves


@dataclass(frozen=True)
class Program:
    """A small function and the arguments to run it with.

    inputs: argument tuples; those of the same dtypes, ranks and layouts share one kernel.
    argnums: what is differentiated; None means every argument that holds a float.
    gradients: what the gradient is by convention (kinks, ties), one tuple per input; None asks the differences.
    raises: the exception that Python and gradc both raise.
    refused: gradc says that it cannot compile this: never a wrong gradient.
    """

    function: Callable[..., Any]
    inputs: tuple[tuple[Any, ...], ...]
    argnums: tuple[int, ...] | None
    gradients: tuple[tuple[Any, ...], ...] | None
    raises: type[Exception] | None
    group: str
    refused: bool = False

    @property
    def name(self) -> str:
        return f"{self.group}.{self.function.__name__}"

    def active(self, args: tuple[Any, ...]) -> tuple[int, ...]:
        """Positions to differentiate."""
        if self.argnums is not None:
            return self.argnums
        return tuple(k for k, a in enumerate(args) if any(is_float_leaf(leaf) for leaf in leaves(a)))


PROGRAMS: list[Program] = []


def program(
    *inputs: tuple[Any, ...],
    argnums: tuple[int, ...] | None = None,
    gradients: tuple[tuple[Any, ...], ...] | None = None,
    raises: type[Exception] | None = None,
    refused: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: enter the function below into PROGRAMS and leave it as it is."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        group = function.__module__.rpartition(".")[2]
        PROGRAMS.append(Program(function, inputs, argnums, gradients, raises, group, refused))
        return function

    return enter


def arr(*shape: int, seed: int = 0, low: float = 0.3, high: float = 1.7, dtype: str = "float64") -> np.ndarray:
    """A reproducible array of distinct positive numbers, away from every kink."""
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(dtype)


def signed(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    """A reproducible array of numbers of both signs."""
    return np.random.default_rng([seed, 5, *shape]).uniform(-1.5, 1.5, shape).astype(dtype)


def fortran(*shape: int, seed: int = 0) -> np.ndarray:
    """As `signed`, in Fortran order."""
    return np.asfortranarray(signed(*shape, seed=seed))


def strided(*shape: int, seed: int = 0) -> np.ndarray:
    """As `signed`, every other element of a larger array."""
    whole = signed(*(2 * n for n in shape), seed=seed)
    return whole[tuple(slice(None, None, 2) for _ in shape)]


def backward(*shape: int, seed: int = 0) -> np.ndarray:
    """As `signed`, with negative strides."""
    return signed(*shape, seed=seed)[tuple(slice(None, None, -1) for _ in shape)]


def readonly(*shape: int, seed: int = 0) -> np.ndarray:
    """As `signed`, not writeable."""
    made = signed(*shape, seed=seed)
    made.flags.writeable = False
    return made
