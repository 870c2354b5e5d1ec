"""The ways to a derivative that tests compare: IR interpreter, compiled kernel, `.source` under plain NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import gradc
from gradc.ad.forward import jvp
from gradc.ad.reverse import reverse
from gradc.frontends.from_python import bind_arguments, parse
from gradc.ir.interp import run
from gradc.ir.tree import flatten, unflatten
from gradc.ir.verifier import verify
from gradc.passes.stability import stability
from tests.oracle import copy_args, is_float_leaf, make_weights, tree_map


def primal_by_interpreter(function: Callable[..., Any], args: Sequence[Any]) -> Any:
    """The function's result from its IR; arguments are changed as the function changes them."""
    bound = bind_arguments(function, args, {})
    program = parse(function, bound)
    verify(program.func)
    values = run(program.func, [*_argument_leaves(bound), *_capture_leaves(program)])
    return unflatten(program.result, values)


def vjp_by_interpreter(
    function: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int], weights: Any
) -> tuple[Any, tuple[Any, ...]]:
    """(result, gradients of <weights, result>) from reversed IR."""
    bound = bind_arguments(function, args, {})  # its leaves are those of `args`, then those of defaults
    program = parse(function, bound)
    flat = _argument_leaves(bound)
    positions, start = [], 0
    for k, arg in enumerate(args):
        leaves, _ = flatten(arg)
        if k in argnums:
            positions += [start + i for i, leaf in enumerate(leaves) if is_float_leaf(leaf)]
        start += len(leaves)
    assert not program.static.keys() & set(positions), "the value of a differentiated argument was needed to compile"
    # Stable forms are a part of what is promised at saturation and at norms of 0.
    derived = reverse(stability(program.func), positions, keep_value=True, seeds="params")
    verify(derived)
    given, _ = flatten(weights)  # None is structure, so only leaves with a derivative remain
    results = run(derived, [*flat, *_capture_leaves(program), *given])
    values, gradients = results[: -len(positions)], dict(zip(positions, results[-len(positions) :], strict=True))
    out, start = [], 0
    for k, arg in enumerate(args):
        leaves, tree = flatten(arg)
        if k in argnums:
            out.append(unflatten(tree, [gradients.get(start + i) for i in range(len(leaves))]))
        start += len(leaves)
    return unflatten(program.result, values), tuple(out)


def jvp_by_interpreter(
    function: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int], tangents: Sequence[Any]
) -> tuple[Any, list[Any]]:
    """(result, tangents of its floating-point leaves) from the IR of forward mode; `tangents`: one per argnum."""
    bound = bind_arguments(function, args, {})
    program = parse(function, bound)
    flat = _argument_leaves(bound)
    positions, given, start = [], [], 0
    for k, arg in enumerate(args):
        leaves, _ = flatten(arg)
        if k in argnums:
            positions += [start + i for i, leaf in enumerate(leaves) if is_float_leaf(leaf)]
            given += flatten(tangents[list(argnums).index(k)])[0]
        start += len(leaves)
    derived = jvp(stability(program.func), positions)
    verify(derived)
    results = run(derived, [*flat, *_capture_leaves(program), *given])
    count = len(program.func.results)
    return unflatten(program.result, results[:count]), results[count:]


def _argument_leaves(args: Sequence[Any]) -> list[Any]:
    return [leaf for arg in args for leaf in flatten(arg)[0]]


def _capture_leaves(program: Any) -> list[Any]:
    return [leaf for capture in program.captures for leaf in flatten(capture.fetch())[0]]


def gradient_by_kernel(
    function: Callable[..., Any], args: Sequence[Any], argnums: tuple[int, ...], weights: Any
) -> tuple[Any, tuple[Any, ...]]:
    """(result, gradients of <weights, result>) from the public interface."""
    if isinstance(weights, float | np.floating):
        value, gradients = gradc.value_and_grad(function, argnums)(*args)
        return value, tree_map(lambda g: None if g is None else g * weights, gradients)
    out, pullback = gradc.vjp(function, *args)
    gradients = pullback(weights)
    return out, tuple(gradients[k] for k in argnums)


def gradient_by_source(
    function: Callable[..., Any], args: Sequence[Any], argnums: tuple[int, ...]
) -> tuple[Any, tuple[Any, ...]]:
    """(value, gradient) from the readable text of `value_and_grad`, run by Python and NumPy alone."""
    text = gradc.value_and_grad(function, argnums).lower(*args).source
    namespace: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(text, "<source>", "exec"), namespace)
    emitted = namespace[f"{function.__name__}_value_and_grad"]
    with np.errstate(all="ignore"):
        return emitted(*copy_args(args))


def float_arguments(args: Sequence[Any], argnums: Sequence[int]) -> tuple[Any, ...]:
    """The arguments with differentiated Python ints as floats, for the differences."""
    return tuple(float(a) if k in argnums and type(a) is int else a for k, a in enumerate(args))


def double_arguments(args: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments in double precision, for differences of a program in single precision."""

    def double(leaf: Any) -> Any:
        wide = {"f": np.float64, "c": np.complex128}.get(getattr(leaf, "dtype", np.dtype(bool)).kind)
        return leaf if wide is None else leaf.astype(wide)

    return tuple(tree_map(double, a) for a in args)


__all__ = [
    "double_arguments", "float_arguments", "gradient_by_kernel", "gradient_by_source", "jvp_by_interpreter",
    "make_weights", "primal_by_interpreter", "vjp_by_interpreter",
]  # fmt: skip
