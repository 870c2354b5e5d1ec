"""Plain functions x inputs x routes: values are Python's, gradients are the differences', arguments are kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradc
from tests import routes
from tests.oracle import contract, copy_args, full_gradient, leaves, make_weights, pair, random_direction, tree_map
from tests.programs import PROGRAMS, Program

# One or two of each kind, so that every run compiles some; the rest of the kernels are behind `-m slow`.
REPRESENTATIVE = {
    "aliasing.alias_then_scale", "aliasing.swap_in_loop", "aliasing.overlap_forward", "aliasing.strided_inputs",
    "aliasing.zero_dimensional", "complex_numbers.crank_nicolson", "complex_numbers.stores_to_parts",
    "control.zero_trips", "control.while_on_array", "control.return_from_nested_loops",
    "control.index_out_of_range", "fourier.split_step", "fourier.convolved",
    "indexing.gather_by_argument", "indexing.mask_store", "indexing.slices_by_argument",
    "structures.nested_argument", "structures.tuple_result", "structures.float32_with_python_float",
    "structures.integer_differentiated", "numerics.small_classifier", "numerics.where_unguarded_root",
    "numerics.reductions", "numerics.batched_products",
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Divisions by zero and the like are what some programs are about."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def single_precision(args: tuple[Any, ...], out: Any) -> bool:
    single = (np.float32, np.complex64)
    return any(getattr(leaf, "dtype", None) in single for part in (*args, out) for leaf in leaves(part))


def assert_same(actual: Any, expected: Any, rtol: float, what: str) -> None:
    """Equal structures of close numbers; None in `expected` is not looked at."""

    def compare(want: Any, got: Any) -> None:
        if want is None or isinstance(want, str):
            return
        np.testing.assert_allclose(
            np.asarray(got),
            np.asarray(want),
            rtol=rtol,
            atol=rtol * max(1.0, float(np.max(np.abs(want), initial=0.0, where=np.isfinite(want)))),
            err_msg=what,
        )
        assert np.shape(got) == np.shape(want), what

    tree_map(compare, expected, actual)


def expected_gradient(program: Program, index: int, weights: Any) -> tuple[Any, ...]:
    args = program.inputs[index]
    argnums = program.active(args)
    if program.gradients is not None:
        return tuple(tree_map(lambda g: g * weights, gradient) for gradient in program.gradients[index])
    plain = routes.double_arguments(routes.float_arguments(args, argnums))
    return full_gradient(lambda *a: contract(program.function(*a), weights), plain, argnums)


def check(program: Program, route: Callable[..., tuple[Any, tuple[Any, ...]]]) -> None:
    for index, args in enumerate(program.inputs):
        if program.refused:
            with pytest.raises(gradc.UnsupportedError):
                route(program.function, copy_args(args), program.active(args), 1.0)
            continue
        if program.raises is not None:
            with pytest.raises(program.raises):
                program.function(*copy_args(args))
            with pytest.raises(program.raises):
                route(program.function, copy_args(args), program.active(args), 1.0)
            continue
        argnums = program.active(args)
        passed = copy_args(args)
        expected = program.function(*routes.float_arguments(copy_args(args), argnums))
        weights = make_weights(expected)
        value, gradients = route(program.function, routes.float_arguments(passed, argnums), argnums, weights)
        single = single_precision(args, expected)
        what = f"{program.name}, input {index}"
        assert_same(value, expected, 1e-5 if single else 1e-12, f"value of {what}")
        assert_same(
            gradients, expected_gradient(program, index, weights), 1e-4 if single else 2e-8, f"gradient of {what}"
        )
        assert_same(passed, args, 0.0, f"arguments of {what} were changed")


def by_interpreter(function: Any, args: Any, argnums: Any, weights: Any) -> Any:
    return routes.vjp_by_interpreter(function, args, argnums, weights)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_by_interpreter(program: Program) -> None:
    check(program, by_interpreter)


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.raises is None and not p.refused], ids=lambda p: p.name)
def test_primal_by_interpreter(program: Program) -> None:
    for args in program.inputs:
        ours, theirs = copy_args(args), copy_args(args)
        expected = program.function(*theirs)
        value = routes.primal_by_interpreter(program.function, ours)
        rtol = 1e-6 if single_precision(args, expected) else 1e-14
        assert_same(value, expected, rtol, f"value of {program.name}")
        assert_same(ours, theirs, rtol, f"what {program.name} did to its arguments")


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.name in REPRESENTATIVE], ids=lambda p: p.name)
def test_by_kernel(program: Program) -> None:
    check(program, routes.gradient_by_kernel)


@pytest.mark.slow
@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.name not in REPRESENTATIVE], ids=lambda p: p.name)
def test_by_kernel_all(program: Program) -> None:
    check(program, routes.gradient_by_kernel)


def scalar_programs() -> list[Program]:
    """Programs with one float result: what `value_and_grad` takes."""
    found = []
    for program in PROGRAMS:
        if program.raises is None and not program.refused:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                out = program.function(*copy_args(program.inputs[0]))
            if isinstance(out, float | np.floating):
                found.append(program)
    return found


@pytest.mark.parametrize("program", scalar_programs(), ids=lambda p: p.name)
def test_by_source(program: Program) -> None:
    def route(function: Any, args: Any, argnums: Any, weights: Any) -> Any:
        value, gradients = routes.gradient_by_source(function, args, argnums)
        return value, tree_map(lambda g: None if g is None else g * weights, gradients)

    check(program, route)


@pytest.mark.slow
@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.raises is None and not p.refused], ids=lambda p: p.name)
def test_jit(program: Program) -> None:
    for args in program.inputs:
        ours, theirs = copy_args(args), copy_args(args)
        expected = program.function(*theirs)
        value = gradc.jit(program.function)(*ours)
        rtol = 1e-5 if single_precision(args, expected) else 1e-12
        assert_same(value, expected, rtol, f"value of {program.name}")
        assert_same(ours, theirs, rtol, f"what {program.name} did to its arguments")


def in_kind(leaf: Any, value: Any) -> Any:
    """A number or an array as the kind of thing that `leaf` is."""
    if isinstance(leaf, np.ndarray):
        return np.asarray(value, leaf.dtype)
    return leaf.dtype.type(value) if isinstance(leaf, np.generic) and value is not None else value


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.raises is None and not p.refused], ids=lambda p: p.name)
def test_forward_and_reverse_are_adjoint(program: Program) -> None:
    """<J v, w> = <v, J^T w> for random v and w, whatever the differences say at a kink."""
    args = program.inputs[0]
    argnums = program.active(args)
    if not argnums:
        pytest.skip("nothing to differentiate")
    given = routes.float_arguments(copy_args(args), argnums)
    weights = make_weights(program.function(*copy_args(given)), 1)
    directions = tuple(
        tree_map(in_kind, given[k], d) for k, d in zip(argnums, random_direction(given, argnums, 2), strict=True)
    )
    _, gradients = routes.vjp_by_interpreter(program.function, copy_args(given), argnums, weights)
    _, tangents = routes.jvp_by_interpreter(program.function, copy_args(given), argnums, directions)
    cotangents = [w for w in leaves(weights) if w is not None]
    forward = sum(float(np.sum(t * w).real) for t, w in zip(tangents, cotangents, strict=True))
    backward = pair(gradients, directions)
    single = single_precision(args, program.function(*copy_args(given)))
    np.testing.assert_allclose(forward, backward, rtol=1e-5 if single else 1e-11, atol=1e-5 if single else 1e-11)


def write_one_read_other(a, b):
    a[0] *= 2.0
    return np.sum(a * b**2)


def test_same_array_twice_with_a_write() -> None:
    """Python sees one array under two names: so does the derivative."""
    x = np.array([0.5, -1.5, 2.0])
    value, gradient = gradc.value_and_grad(write_one_read_other)(x, x)
    assert value == write_one_read_other(*[x.copy()] * 2)
    # (2 x0)**3 + x1**3 + x2**3
    np.testing.assert_allclose(gradient, [24 * x[0] ** 2, 3 * x[1] ** 2, 3 * x[2] ** 2], rtol=1e-14)
    np.testing.assert_array_equal(x, [0.5, -1.5, 2.0])


def test_overlapping_arguments_with_a_write_are_refused() -> None:
    x = np.array([0.5, -1.5, 2.0, 3.0])
    with pytest.raises(gradc.GradcError, match="overlap"):
        gradc.value_and_grad(write_one_read_other)(x[1:], x[:-1])


def test_result_does_not_alias_arguments() -> None:
    """The function returns its argument; the derivative returns a copy of it."""

    def identity(x):
        return x

    x = np.array([1.0, 2.0])
    out, pullback = gradc.vjp(identity, x)
    (gradient,) = pullback(np.array([3.0, 4.0]))
    assert not np.shares_memory(out, x)
    np.testing.assert_array_equal(gradient, [3.0, 4.0])


def test_pullback_does_not_see_later_writes() -> None:
    x = np.array([1.0, 2.0])
    _, pullback = gradc.vjp(lambda v: v**2, x)
    x[:] = 100.0
    np.testing.assert_allclose(pullback(np.ones(2))[0], [2.0, 4.0])


def test_one_kernel_for_all_sizes() -> None:
    """Sizes are not part of a signature; which axes are 1 is."""
    derivative = gradc.grad(lambda x: np.sum(x[1:] * x[:-1] ** 2))
    for n in (2, 3, 17):
        x = np.linspace(0.5, 1.5, n)
        expected = np.zeros(n)
        expected[1:] += x[:-1] ** 2
        expected[:-1] += 2 * x[1:] * x[:-1]
        np.testing.assert_allclose(derivative(x), expected)
