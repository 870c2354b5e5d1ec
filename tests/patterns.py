"""Patterns by the interpreter, against the Jacobians of the same program: the oracle of sparsity tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gradc.ad.dependence import dependence
from gradc.ad.forward import jvp
from gradc.ad.reverse import reverse
from gradc.errors import NonDifferentiableError, UnsupportedError
from gradc.frontends.from_python import bind_arguments, parse
from gradc.ir.builder import Builder
from gradc.ir.interp import run
from gradc.ir.nodes import Func, clone_func
from gradc.ir.tree import flatten
from gradc.ir.types import Array, is_float
from gradc.ir.verifier import verify
from gradc.runtime.ownership import copy_on_entry


def programs_of(function: Callable[..., Any], args: tuple[Any, ...]) -> Iterator[tuple[Func, list[Any]]]:
    """A function of IR for each floating-point result, with the leaves that it takes."""
    program = parse(function, bind_arguments(function, args, {}))
    leaves = [*flatten(args)[0], *(leaf for capture in program.captures for leaf in flatten(capture.fetch())[0])]
    func = copy_on_entry(program.func)
    for k, result in enumerate(func.results):
        if is_float(result.ty):
            one = clone_func(func)
            one.body.yields = [one.body.yields[k]]
            yield one, leaves


def gradient_of(func: Func, k: int) -> Func:
    """The gradient of the sum of the squares of a result in parameter k, as a function."""
    total = clone_func(func)
    builder = Builder(total, checks=False)
    with builder, builder.into(total.body):
        (y,) = total.results
        square = y * y
        axes = tuple(range(y.rank))
        total.body.yields = [builder.emit("sum", (square,), axes=axes, keepdims=False) if axes else square]
    return copy_on_entry(reverse(total, [k], keep_value=False, seeds="ones"))


def pattern_of(func: Func, leaves: Sequence[Any], k: int) -> Any:
    """Boolean, of the shape of the result and then of parameter k."""
    words = dependence(func, k)
    verify(words)
    x = leaves[k]
    found: list[Any] = []
    for first in range(0, max(x.size, 1), 62):
        numbers = np.arange(x.size) - first
        bits = np.where((numbers >= 0) & (numbers < 62), np.left_shift(1, np.clip(numbers, 0, 61)), 0)
        (out,) = run(words, [*(v.copy() if isinstance(v, np.ndarray) else v for v in leaves), bits.reshape(x.shape)])
        out = np.asarray(out)
        found.append((out[..., None] >> np.arange(min(62, x.size - first))) & 1)
    return np.concatenate(found, axis=-1).astype(bool).reshape((*found[0].shape[:-1], *x.shape))


def jacobian_of(func: Func, leaves: Sequence[Any], k: int) -> Any:
    """The Jacobian in parameter k, column by column."""
    tangents = jvp(func, [k], keep_value=False)
    x = leaves[k]
    columns: list[Any] = []
    for place in np.ndindex(*x.shape):
        seed = np.zeros_like(x)
        seed[place] = 1.0
        (made,) = run(tangents, [*(v.copy() if isinstance(v, np.ndarray) else v for v in leaves), seed])
        columns.append(np.asarray(made))
    return np.stack(columns, axis=-1).reshape((*columns[0].shape, *x.shape))


def check_program(
    function: Callable[..., Any], args: tuple[Any, ...], gradients: bool = False, seed: int = 0
) -> Iterator[tuple[int, int, int]]:
    """Check that no derivative is outside the pattern, here and at other values of what is differentiated.

    gradients: of the gradient instead of the function. Yields (entries of the pattern, nonzero derivatives, all
    entries) for each array argument and result.
    """
    rng = np.random.default_rng(seed)
    for func, leaves in programs_of(function, args):
        for k, param in enumerate(func.params):
            if isinstance(param.ty, Array) and is_float(param.ty) and 0 < leaves[k].size <= 200:
                with contextlib.suppress(*RAISED):  # what the program raises for these arguments
                    yield check_func(gradient_of(func, k) if gradients else func, leaves, k, rng)


RAISED = (
    IndexError, ValueError, ZeroDivisionError, OverflowError, AssertionError, UnsupportedError, NonDifferentiableError
)


def check_func(func: Func, leaves: Sequence[Any], k: int, rng: Any) -> tuple[int, int, int]:
    """As `check_program`, of one function and parameter."""
    pattern = pattern_of(func, leaves, k)
    seen = np.zeros_like(pattern)
    x, layout = leaves[k], func.params[k].ty.layout
    for trial in range(4):
        moved = [v.copy() if isinstance(v, np.ndarray) else v for v in leaves]
        if trial:
            other = rng.normal(size=x.shape) * (1.0 if trial < 3 else 10.0)
            moved[k] = np.asarray(other, x.dtype, order="F" if layout == "F" else "C")
        try:
            made = jacobian_of(func, moved, k)
        except RAISED:
            continue
        if made.shape != pattern.shape or np.any((made != 0.0) & ~pattern):
            raise MissingEntry(func.name, np.argwhere((made != 0.0) & ~pattern)[:5])
        seen |= made != 0.0
    return int(pattern.sum()), int(seen.sum()), pattern.size


class MissingEntry(Exception):
    """A derivative that is not zero where the pattern says that it is."""
