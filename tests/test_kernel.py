"""Kernels: what lowering makes of a function means what the interpreter says, and has the loops that it should have."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numba import njit, types
from numba.np.numpy_support import from_dtype

import gradc
from gradc import errors
from gradc.ad.reverse import reverse
from gradc.codegen import intrinsics
from gradc.errors import Loc
from gradc.ir.builder import Builder, new_func
from gradc.ir.interp import run
from gradc.ir.loops import KERNEL_DTYPES, KERNEL_FUNCTIONS, OWN_FUNCTIONS, SPECIAL_FUNCTIONS
from gradc.ir.nodes import Block, Func, Value
from gradc.ir.opdef import TABLE
from gradc.ir.region import FULL, Arg, At, Gather, Span
from gradc.ir.types import BOOL, FLOAT, INT, WEAK_INT, Array, size_variable
from gradc.ops import memory
from gradc.passes.cse import cse
from gradc.passes.dce import dce
from gradc.passes.simplify import simplify
from tests import random_smooth
from tests.plain_kernel import STAND_INS, kernel_text, run_text
from tests.random_ir import Example, programs
from tests.random_slices import random_slices, sample_slices

N, M, K = (size_variable(n) for n in ("n", "m", "k"))
T = TABLE


def array(*shape: Any, dtype: str = "float64", layout: Any = "C") -> Array:
    return Array(dtype, shape, layout)


def make(params: dict[str, Any], body: Any, checks: bool = False) -> Func:
    """The function whose results `body` computes from its parameters."""
    func = new_func("f", list(params.items()), Loc("model.py", "f", 7, 0, 1))
    with Builder(func, checks=checks):
        made = body(*func.params)
    func.body.yields = list(made) if isinstance(made, tuple) else [made] if made is not None else []
    return func


def compiled(func: Func) -> Any:
    namespace: dict[str, Any] = {}
    exec(kernel_text(func).replace(", cache=True", ""), namespace)
    return namespace["kernel"]


def assert_same(got: Sequence[Any], wanted: Sequence[Any], rtol: float = 1e-9) -> None:
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(g), np.asarray(w), rtol=rtol, atol=rtol, equal_nan=True)
        if isinstance(w, np.ndarray):
            assert g.dtype == w.dtype
            assert g.shape == w.shape


def agree(func: Func, args: Sequence[Any], numba: bool = False, rtol: float = 1e-9) -> None:
    """Results, exceptions and what becomes of arguments: as in the interpreter."""
    first, second = copy.deepcopy(args), copy.deepcopy(args)
    text = kernel_text(func)
    wanted: Any
    try:
        wanted = run(func, first)
    except Exception as error:
        with pytest.raises(type(error)):
            run_text(text, second)
        return
    got = compiled(func)(*second) if numba else run_text(text, second)
    assert_same(got, wanted, rtol)
    assert_same(second, first, rtol)


# ----------------------------------------------------------------------------------------- random programs


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(programs())
def test_text_means_what_the_interpreter_says(example: Example) -> None:
    agree(example.func, example.args)


@pytest.mark.parametrize("seed", range(60))
def test_derivatives_mean_what_the_interpreter_says(seed: int) -> None:
    func = random_smooth.random_smooth(seed)
    for program in (func, reverse(func, [0, 1, 2, 3])):
        agree(program, random_smooth.sample_arguments(seed), rtol=1e-7)


@pytest.mark.parametrize("seed", range(80))
def test_overlapping_slices_mean_what_the_interpreter_says(seed: int) -> None:
    func = random_slices(seed, 4 + seed % 12)
    agree(func, sample_slices(seed, 2 + seed % 4))
    del func.body.yields[1:]
    derived = dce(cse(simplify(reverse(simplify(func), [0, 1, 2]))))
    agree(derived, sample_slices(seed, 2 + seed % 4), rtol=1e-7)


@pytest.mark.parametrize("seed", [2, 3, 5])
def test_numba_agrees(seed: int) -> None:
    func = reverse(random_smooth.random_smooth(seed), [0, 1, 2, 3])
    agree(func, random_smooth.sample_arguments(seed), numba=True, rtol=1e-7)


def test_text_is_the_same_every_time() -> None:
    texts = {kernel_text(reverse(random_smooth.random_smooth(4), [0, 1])) for _ in range(3)}
    assert len(texts) == 1


# ---------------------------------------------------------------------------------------------- functions


def test_kernel_functions_exist() -> None:
    for name in (*KERNEL_FUNCTIONS, *(f"empty_{d}" for d in KERNEL_DTYPES), "view", "product", "grow"):
        assert hasattr(intrinsics, name), name
        assert name in STAND_INS, name


def test_templates_call_kernel_functions_only() -> None:
    known = {*KERNEL_FUNCTIONS, *SPECIAL_FUNCTIONS, *OWN_FUNCTIONS}
    known |= {"abs", "bool", "min", "max", "if", "else", "not", "and", "or", "np"}
    for op in TABLE.values():
        texts = [op.kernel] if isinstance(op.kernel, str) and op.expand is None else []
        if op.lower is not None and hasattr(op.lower, "step"):
            texts += [text for _, text in op.lower.step]
        for text in texts:
            bare = re.sub(r"\{\w+\}", "", text)
            called = set(re.findall(r"(?<![\w.])([a-z]\w*)\(", bare)) - {n for n, _ in getattr(op.lower, "step", ())}
            assert called <= known, (op.name, called - known)


UNARY = [n for n in KERNEL_FUNCTIONS if n in dir(np) and getattr(np, n).nin == 1]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_vector_math_is_as_exact_as_numpy(dtype: str) -> None:
    """In a loop that LLVM vectorises; libmvec promises 4 units in the last place."""
    x = np.linspace(0.1, 0.9, 1003).astype(dtype)
    names = [*UNARY, "erf", "asin", "acos", "atan", "asinh", "atanh", "sigmoid", "softplus"]
    lines = [f"        out[{k}, i] = {name}(x[i])" for k, name in enumerate(names)]
    text = "\n".join(["def kernel(x, out):", "    for i in range(x.shape[0]):", *lines])
    namespace: dict[str, Any] = {name: getattr(intrinsics, name) for name in names}
    exec(text, namespace)
    out = np.empty((len(names), x.size), dtype)
    njit(error_model="numpy")(namespace["kernel"])(x, out)
    for k, name in enumerate(names):
        if name == "acosh":
            continue  # not defined here
        exact = np.array([STAND_INS[name](v) for v in x.astype(np.float64)])
        np.testing.assert_allclose(out[k], exact, rtol=8 * np.finfo(dtype).eps, err_msg=name)


def test_divisions_round_as_numpys() -> None:
    @njit(error_model="numpy")
    def kernel(x: Any, y: Any, out: Any) -> None:
        for i in range(x.shape[0]):
            out[0, i] = intrinsics.floordiv(x[i], y[i])
            out[1, i] = intrinsics.mod(x[i], y[i])
            out[2, i] = intrinsics.fmod(x[i], y[i])

    numbers = np.array([0.0, -0.0, 1.0, -1.0, 7.5, -7.5, 0.1, np.inf, -np.inf, np.nan, 1e300])
    for dtype in ("float64", "float32", "int64", "int32", "uint8"):
        if "int" in dtype:
            values = np.array([0, 1, 2, 7, 100] + ([-1, -7] if dtype[0] == "i" else []), dtype)
            values = np.append(values, values.dtype.type(np.iinfo(dtype).min))
        else:
            values = numbers[:-1].astype(dtype)
        x, y = (v.ravel() for v in np.meshgrid(values, values))
        out = np.empty((3, x.size), dtype)
        kernel(x, y, out)
        with np.errstate(all="ignore"):
            for row, function in zip(out, (np.floor_divide, np.remainder, np.fmod), strict=True):
                np.testing.assert_array_equal(row, function(x, y), err_msg=f"{function} {dtype}")


def test_integer_powers_wrap() -> None:
    @njit(error_model="numpy")
    def kernel(x: Any, y: Any, out: Any) -> None:
        for i in range(x.shape[0]):
            out[i] = intrinsics.pow(x[i], y[i])

    x, y = (v.ravel() for v in np.meshgrid(np.arange(-5, 12), np.arange(0, 70, 7)))
    out = np.empty(x.size, np.int64)
    kernel(x, y, out)
    np.testing.assert_array_equal(out, x**y)


# ------------------------------------------------------------------------------------------------ products


def multiplier(add: int, dtype: str) -> Any:
    """c = a @ b, or c += a @ b, compiled once for arrays of any strides."""
    at_start = "(0, 0), 0, 1"
    call = f"product(a, {at_start}, b, {at_start}, c, {at_start}, (m, n, k), {add})"
    namespace: dict[str, Any] = {"product": intrinsics.product}
    exec(f"def multiply(a, b, c, m, n, k):\n    {call}\n", namespace)
    matrix = from_dtype(np.dtype(dtype))[:, :]
    return njit((matrix, matrix, matrix, types.int64, types.int64, types.int64))(namespace["multiply"])


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "int64"])
def test_products_of_all_strides(dtype: str) -> None:
    """Rows, columns, steps, one row or column, none at all; tiny ones by loops, others by BLAS."""
    rng = np.random.default_rng(0)
    multiply, multiply_into = multiplier(0, dtype), multiplier(1, dtype)
    rtol = 1e-4 if dtype == "float32" else 1e-10

    def matrix(rows: int, columns: int, form: int) -> Any:
        big = (rng.normal(size=(2 * rows + 1, 2 * columns + 1)) * 5).astype(dtype)
        if dtype == "complex128":
            big = big + 1j * rng.normal(size=big.shape)
        forms = (
            lambda: np.lib.stride_tricks.as_strided(big, (rows, columns)),
            lambda: np.ascontiguousarray(big.T)[:columns, :rows].T,
            lambda: big[::2, ::2][:rows, :columns],
            lambda: big[::-1][:rows, :columns],
        )
        return forms[form]()

    sizes = [(30, 20, 10), (3, 2, 4), (1, 40, 40), (40, 1, 40), (40, 40, 1), (40, 40, 0), (0, 5, 4)]
    sizes += [(1, 600, 700), (600, 1, 1100)]
    for m, n, k in sizes:
        for form in range(4):
            a, b, c = matrix(m, k, form), matrix(k, n, (form + 1) % 4), matrix(m, n, form % 2)
            expected = a @ b
            before = c.copy()
            multiply_into(a, b, c, m, n, k)
            np.testing.assert_allclose(c, before + expected, rtol=rtol, atol=100 * rtol)
            multiply(a, b, c, m, n, k)
            np.testing.assert_allclose(c, expected, rtol=rtol, atol=100 * rtol)


def test_transposed_operands_are_not_copied() -> None:
    func = make({"a": array(N, M), "b": array(N, K)}, lambda a, b: T["matmul"](T["transpose"](a, perm=(1, 0)), b))
    text = kernel_text(func)
    assert text.count("empty_") == 2  # the import and the result
    assert "for " not in text
    agree(func, [np.arange(12.0).reshape(4, 3), np.ones((4, 5))])


def test_batches_of_rows_are_one_product() -> None:
    func = make({"a": array(N, M, 1, K), "b": array(K, M)}, lambda a, b: T["matmul"](a, b))
    assert "for " not in kernel_text(func)
    rng = np.random.default_rng(0)
    agree(func, [rng.normal(size=(2, 3, 1, 4)), rng.normal(size=(4, 3))])
    agree(func, [rng.normal(size=(5, 30, 1, 20)), rng.normal(size=(20, 30))], numba=True)


@pytest.mark.parametrize(
    "shapes",
    [
        ((3, 4), (4,)),
        ((4,), (4, 3)),
        ((2, 3, 4), (2, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((5, 1, 3, 4), (2, 4, 2)),
        ((4,), (4,)),
    ],
)
def test_products_of_all_ranks(shapes: Any) -> None:
    left, right = (
        tuple(1 if n == 1 else size_variable(f"{k}{n}") for n in s) for k, s in zip("ab", shapes, strict=True)
    )
    right = tuple(left[-1] if n == 4 else s for n, s in zip(shapes[1], right, strict=True))
    if shapes[0][0] == shapes[1][0] == 2:
        right = (left[0], *right[1:])
    func = make({"a": array(*left), "b": array(*right)}, lambda a, b: T["matmul"](a, b))
    rng = np.random.default_rng(0)
    agree(func, [rng.normal(size=s) for s in shapes])


def test_a_product_that_is_added_adds_by_itself() -> None:
    def body(a: Any, b: Any, total: Any, overlap: bool) -> Any:
        made = T["matmul"](a, b)
        if overlap:
            T["store"](a, 0.0)
        T["accumulate"](T["transpose"](total, perm=(1, 0)), made)
        return T["sum"](total, axes=(0, 1), keepdims=False)

    params = {"a": array(N, M), "b": array(M, K), "total": array(K, N)}
    rng = np.random.default_rng(0)
    args = [rng.normal(size=s) for s in ((30, 20), (20, 25), (25, 30))]
    func = make(params, lambda a, b, total: body(a, b, total, False))
    assert "empty_" not in kernel_text(func)
    agree(func, args, numba=True)
    late = make(params, lambda a, b, total: body(a, b, total, True))
    assert "empty_" in kernel_text(late)
    agree(late, args)


# -------------------------------------------------------------------------------------------------- fusion


def loops_of(func: Func) -> list[str]:
    """The loops and allocations of a kernel, names of variables left out."""
    found = []
    for line in kernel_text(func).splitlines():
        indent = (len(line) - len(line.lstrip())) // 4
        if line.strip().startswith("for "):
            found.append("  " * (indent - 1) + "for")
        elif " = empty_" in line:
            found.append("  " * (indent - 1) + "new")
    return found


def test_elementwise_chain_is_one_nest() -> None:
    func = make({"x": array(N, M), "b": array(M)}, lambda x, b: T["exp"](T["tanh"](x + b) * x) - 1.0)
    assert loops_of(func) == ["new", "for", "  for"]


def test_softmax_shares_the_row_loop() -> None:
    def softmax(x: Any) -> Any:
        e = T["exp"](x - T["max"](x, axes=(1,), keepdims=True))
        return e / T["sum"](e, axes=(1,), keepdims=True)

    func = make({"x": array(N, M)}, softmax)
    # A row of exponentials and the result; the maximum, the exponentials with their sum, the division.
    assert sorted(loops_of(func)) == sorted(["new", "new", "for", "  for", "  for", "  for"])
    agree(func, [np.random.default_rng(0).normal(size=(4, 5))])


def test_sums_over_rows_run_along_rows() -> None:
    func = make({"x": array(N, M)}, lambda x: T["sum"](x * x, axes=(0,), keepdims=False))
    inner = [line for line in kernel_text(func).splitlines() if "reassoc_add" in line and "import" not in line]
    assert len(inner) == 1
    assert re.match(r"\s+(\w+)\[(\w+)\] = reassoc_add\(\1\[\2\], x\[\w+, \2\] \* x\[\w+, \2\]\)$", inner[0]), inner[0]
    agree(func, [np.arange(6.0).reshape(2, 3)])


def jacobi(steps: Any, a: Any, b: Any) -> Any:
    inside, low, high = Span(1, -1), Span(None, -2), Span(2, None)
    block = Block(params=[Value(WEAK_INT, "t")])
    a, b = T["copy"](a), T["copy"](b)
    builder = memory.current_builder()
    with builder.into(block):
        for old, new in ((a, b), (b, a)):
            regions = ((inside, inside), (inside, low), (inside, high), (high, inside), (low, inside))
            first, *rest = (memory.make_index(old, r) for r in regions)
            total = first
            for part in rest:
                total = total + part
            T["store"](memory.make_index(new, (inside, inside)), total * 0.2)
    builder.control("for", (0, steps, 1), (block,), (), reversed=False, exits=False)
    return T["sum"](a * a, axes=(0, 1), keepdims=False)


def test_stencils_need_no_temporary() -> None:
    func = make({"steps": INT, "a": array(N, N), "b": array(N, N)}, jacobi)
    loops = loops_of(func)
    assert loops.count("new") == 2
    assert loops.count("    for") == 4 - 2  # one nest for each of the two sweeps
    agree(func, [3, *np.random.default_rng(0).normal(size=(2, 6, 6))])


def test_stencil_adjoints_add_row_by_row() -> None:
    """The neighbours' cotangents: one row loop, in it one loop for each shifted `+=`, a row for what they add."""
    func = make({"steps": INT, "a": array(N, N), "b": array(N, N)}, jacobi)
    derived = dce(cse(simplify(reverse(simplify(func), [1], keep_value=False))))
    text = kernel_text(derived)
    sweep = text[text.index(", -1)") :] if ", -1)" in text else text
    assert len(re.findall(r"\+= ", sweep)) >= 10
    for line in re.findall(r"^ +(\w+\[.*\]) \+= (\w+)\[\w+\]$", sweep, re.M):
        assert line
    assert text.count("= empty_") <= 6  # a, b, their cotangents, two rows
    agree(derived, [3, *np.random.default_rng(0).normal(size=(2, 6, 6))])


def test_a_result_is_whole_though_a_shorter_loop_reads_it() -> None:
    def body(x: Any) -> Any:
        y = x * 2.0
        part = memory.make_index(y, (Span(None, -1),))
        return y, T["sum"](part * part, axes=(0,), keepdims=False)

    agree(make({"x": array(N)}, body), [np.arange(1.0, 6.0)])


def test_a_row_is_whole_though_a_shorter_loop_beside_it_reads_it() -> None:
    """Another nest reads all of what this row loop reads a part of."""

    def body(x: Any, y: Any) -> Any:
        t = x * 2.0
        left = (FULL, Span(None, -1))
        T["store"](memory.make_index(y, (FULL, Span(1, None))), memory.make_index(t, left) * memory.make_index(y, left))
        flipped = T["transpose"](t, perm=(1, 0))
        return T["sum"](T["sin"](flipped) * x, axes=(0, 1), keepdims=False), y

    agree(make({"x": array(N, N), "y": array(N, N)}, body), list(np.random.default_rng(0).normal(size=(2, 4, 4))))


def chain(x: Any) -> Any:
    """Rosenbrock's function."""
    left, right = memory.make_index(x, (Span(None, -1),)), memory.make_index(x, (Span(1, None),))
    terms = 100.0 * T["square"](right - T["square"](left)) + T["square"](1.0 - left)
    return T["sum"](terms, axes=(0,), keepdims=False)


def test_cheap_values_are_computed_where_they_are_read() -> None:
    """One loop for each shift of what is added to the gradient, and nothing in memory but the gradient."""
    func = dce(cse(simplify(reverse(simplify(make({"x": array(N)}, chain)), [0], keep_value=False))))
    loops = loops_of(func)
    assert loops.count("new") == 1
    assert len([line for line in loops if line.strip() == "for"]) == 3
    agree(func, [np.linspace(-1, 1, 7)])


def test_a_sum_that_one_loop_makes_is_not_computed_in_another_from_its_first_term() -> None:
    """`m` is read in two loops, and is cheap: but `t`, of which it is made, is more than what it was filled with."""

    def body(x: Any, y: Any) -> Any:
        t = x * y
        T["accumulate"](t, x)
        m = -t
        a = T["sin"](m)
        s = memory.copy(y)
        T["store"](memory.make_index(s, (Span(1, None),)), memory.make_index(a, (Span(None, -1),)))
        return m * s

    agree(make({"x": array(N), "y": array(N)}, body), list(np.random.default_rng(0).normal(size=(2, 5))))


@pytest.mark.parametrize("between", [False, True])
def test_what_is_overwritten_is_not_read_again(between: bool) -> None:
    """`t` would be cheap to compute in both loops, but for the store."""

    def body(x: Any, y: Any) -> Any:
        t = x * 2.0
        T["accumulate"](memory.make_index(y, (Span(None, -1),)), memory.make_index(t, (Span(None, -1),)))
        if between:
            T["store"](x, np.float64(5.0))
        T["accumulate"](memory.make_index(y, (Span(1, None),)), memory.make_index(t, (Span(None, -1),)))

    agree(make({"x": array(N), "y": array(N)}, body), list(np.random.default_rng(0).normal(size=(2, 5))))


def test_shifted_self_update_reads_before_it_writes() -> None:
    def body(a: Any) -> None:
        T["accumulate"](memory.make_index(a, (Span(1, None),)), memory.make_index(a, (Span(None, -1),)))
        T["store"](memory.make_index(a, (Span(None, -1),)), memory.make_index(a, (Span(1, None),)) * 2.0)

    agree(make({"a": array(N)}, body), [np.arange(7.0)])
    agree(make({"a": array(N)}, body), [np.arange(1.0)])


def test_unequal_sizes_are_found_before_anything_is_written() -> None:
    func = make({"a": array(N), "b": array(M), "out": array(K)}, lambda a, b, out: T["store"](out, a + b), checks=True)
    out = np.zeros(3)
    kernel = compiled(func)
    with pytest.raises(errors.ShapeError, match=r"model\.py:7"):
        kernel(np.ones(3), np.ones(1000), out)
    with pytest.raises(errors.ShapeError):
        kernel(np.ones(1000), np.ones(1000), out)
    assert not out.any()
    kernel(np.ones(3), np.ones(3), out)
    assert (out == 2).all()


def test_memory_is_given_on() -> None:
    """Products and elementwise steps of equal size work in one array."""

    def body(x: Any, w: Any, b: Any) -> Any:
        for _ in range(4):
            x = T["maximum"](T["matmul"](x, w) + b, 0.0)
        return x

    func = make({"x": array(N, M), "w": array(M, M), "b": array(M)}, body)
    assert kernel_text(func).count(" = empty_") == 2
    rng = np.random.default_rng(0)
    agree(func, [rng.normal(size=(3, 4)), rng.normal(size=(4, 4)), rng.normal(size=4)])


def test_buffers_of_loops_are_made_before_them() -> None:
    def body(x: Any, steps: Any) -> Any:
        y = T["copy"](x)
        builder = memory.current_builder()
        block = Block(params=[Value(WEAK_INT, "t")])
        with builder.into(block):
            T["store"](y, T["matmul"](y, y) * 0.1)
        builder.control("for", (0, steps, 1), (block,), (), reversed=False, exits=False)
        return y

    func = make({"x": array(N, N), "steps": INT}, body)
    text = kernel_text(func)
    assert text.rindex("= empty_") < text.index("in range(steps)")
    agree(func, [np.eye(3) + 0.5, 3])


def test_results_do_not_alias() -> None:
    def body(x: Any) -> Any:
        y = x * 2.0
        return y, y, memory.make_index(y, (Span(1, None),)), x

    func = make({"x": array(N)}, body)
    x = np.arange(4.0)
    results = run_text(kernel_text(func), [x])
    for k, a in enumerate(results):
        for b in (*results[:k], x):
            assert not np.shares_memory(a, b)


def test_sizes_that_are_checked_equal_share_loops() -> None:
    def body(a: Any, b: Any, c: Any) -> Any:
        e = T["exp"](a)
        y = e / T["sum"](e, axes=(1,), keepdims=True) * b
        return y, T["sum"](c * y, axes=(0, 1), keepdims=False)

    sizes = [size_variable(n) for n in ("p", "q", "r", "s", "t", "u")]
    func = make({"a": array(*sizes[:2]), "b": array(*sizes[2:4]), "c": array(*sizes[4:])}, body, checks=True)
    assert sorted(loops_of(func)) == sorted(["new", "new", "for", "  for", "  for"])
    agree(func, list(np.random.default_rng(0).normal(size=(3, 4, 5))))
    agree(func, [np.ones((4, 5)), np.ones((4, 5)), np.ones((4, 6))])


def test_what_a_loop_only_adds_to_is_added_in_any_order() -> None:
    def loop(x: Any, kept: bool) -> Any:
        builder = memory.current_builder()
        block = Block(params=[Value(WEAK_INT, "i"), Value(FLOAT, "s"), Value(FLOAT, "last")])
        with builder.into(block):
            i, s, last = block.params
            v = T["load"](x, i, region=(At(Arg(0)),))
            block.yields = [s + v - v * v, s if kept else v]
        zero = builder.const(np.float64(0.0))
        n = memory.size_value(x, 0)
        return tuple(
            builder.control("for", (0, n, 1, zero, zero), (block,), (FLOAT, FLOAT), reversed=False, exits=False)
        )

    free, ordered = (make({"x": array(N)}, lambda x, k=kept: loop(x, k)) for kept in (False, True))
    assert "reassoc_add" in kernel_text(free)
    assert "reassoc_add" not in kernel_text(ordered)
    for func in (free, ordered):
        agree(func, [np.arange(9.0)])


def test_sizes_below_zero_make_empty_arrays() -> None:
    def body(n: Any) -> Any:
        builder = memory.current_builder()
        size = T["maximum"](n, 0)
        size.size = n.size = size_variable("n")
        made = T["zeros"](size, shape=(Arg(0),), type=array(n.size))
        block = Block(params=[Value(WEAK_INT, "i")])
        with builder.into(block):
            T["store_at"](made, 1.0, block.params[0], region=(At(Arg(0)),))
        builder.control("for", (0, n, 1), (block,), (), reversed=False, exits=False)
        return made

    for n in (3, 0, -2):
        agree(make({"n": INT}, body), [n])


# ------------------------------------------------------------------------------------- numbers and control


def test_single_precision_stays_single() -> None:
    def body(x: Any, s: Any) -> Any:
        y = T["exp"](x * 0.1) + 1 / x
        return y * s, T["sum"](y, axes=(0,), keepdims=False), T["where"](T["gt"](x, 0.5), y, 0.0)

    params = {"x": array(N, dtype="float32"), "s": FLOAT}
    func = make(params, lambda x, s: body(x, T["cast"](s, dtype="float32", weak=False)))
    text = kernel_text(func)
    assert "np.float32(0.1)" in text
    args = [np.linspace(0.1, 1, 5, dtype=np.float32), 2.0]
    got, wanted = compiled(func)(*args), run(func, args)
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-6)
    assert got[0].dtype == got[2].dtype == np.float32


def test_small_integers_and_booleans_keep_their_dtypes() -> None:
    def body(x: Any, m: Any) -> Any:
        total = T["sum"](m, axes=(0,), keepdims=False)
        return x * x, x + 1, T["logical_and"](m, m), T["add"](m, m), total, T["sum"](x, axes=(0,), keepdims=False)

    func = make({"x": array(N, dtype="int8"), "m": array(N, dtype="bool")}, body)
    agree(func, [np.array([100, -3, 7], np.int8), np.array([True, False, True])], numba=True)


def test_complex_numbers() -> None:
    def body(z: Any, x: Any) -> Any:
        y = T["exp"](z) * x + T["sqrt"](z)
        return y, T["sum"](y * y, axes=(0,), keepdims=False), T["abs"](y), T["matmul"](y, z)

    func = make({"z": array(N, dtype="complex128"), "x": array(N)}, body)
    agree(func, [np.array([1 + 2j, -0.5j, 3]), np.arange(3.0)], numba=True)


def test_while_with_exit_and_trips() -> None:
    def body(x: Any) -> Any:
        builder = memory.current_builder()
        cond = Block(params=[Value(FLOAT, "w")])
        with builder.into(cond):
            cond.yields = [T["cast"](T["lt"](cond.params[0], 100.0), dtype="bool", weak=False)]
        loop = Block(params=[Value(FLOAT, "w")])
        with builder.into(loop):
            new = loop.params[0] * 2.0 + 1.0
            loop.yields = [T["cast"](T["gt"](new, 50.0), dtype="bool", weak=False), new]
        return tuple(builder.control("while", (x,), (cond, loop), (FLOAT, WEAK_INT), exits=True))

    for start in (1.0, 60.0, 500.0):
        agree(make({"x": FLOAT}, body), [np.float64(start)], numba=start == 1.0)


@pytest.mark.parametrize("step", [1, -1, 2, -3])
@pytest.mark.parametrize("back", [False, True])
def test_loops_in_both_directions_swap_what_they_carry(step: int, back: bool) -> None:
    def body(start: Any, stop: Any, a: Any, b: Any) -> Any:
        builder = memory.current_builder()
        loop = Block(params=[Value(WEAK_INT, "i"), Value(FLOAT, "a"), Value(FLOAT, "b")])
        with builder.into(loop):
            i, p, q = loop.params
            loop.yields = [q, p * 0.5 + i]
        return tuple(
            builder.control("for", (start, stop, step, a, b), (loop,), (FLOAT, FLOAT), reversed=back, exits=False)
        )

    func = make({"start": INT, "stop": INT, "a": FLOAT, "b": FLOAT}, body)
    for start, stop in ((0, 7), (7, -2), (3, 3), (5, 1)):
        agree(func, [start, stop, np.float64(1.5), np.float64(-2.0)])


def test_tapes_grow_and_keep_sizes() -> None:
    """Slices of growing length go to a tape, and come back last first."""

    def body(x: Any) -> Any:
        builder = memory.current_builder()
        tape = T["stack_new"](item=array(size_variable("part")))
        n = memory.size_value(x, 0)
        total = T["zeros"](n, shape=(Arg(0),), type=array(N))
        out = Block(params=[Value(WEAK_INT, "i")])
        with builder.into(out):
            T["push"](tape, memory.make_index(x, (Span(None, Arg(0)),), out.params[0]))
        builder.control("for", (0, n, 1), (out,), (), reversed=False, exits=False)
        back = Block(params=[Value(WEAK_INT, "i")])
        with builder.into(back):
            part = T["pop"](tape)
            place = memory.make_index(total, (Span(None, Arg(0)),), back.params[0])
            T["accumulate"](place, part * 2.0)
        builder.control("for", (0, n, 1), (back,), (), reversed=True, exits=False)
        return total

    func = make({"x": array(N)}, body)
    agree(func, [np.arange(20.0)], numba=True)


def test_gathers_scatters_and_masks() -> None:
    def body(x: Any, rows: Any, mask: Any) -> Any:
        region = (Gather(0), FULL)
        taken = memory.make_gather(x, region, rows)
        T["scatter_add"](x, taken, rows, region=region)
        chosen = memory.make_mask_select(x, mask)
        T["scatter_mask"](x, chosen * 2.0, mask)
        T["accumulate_mask"](x, 1.0, mask)
        last = T["last_writers"](x, rows, region=(Gather(0), At(0)), type=array(K, dtype="bool"))
        return taken, chosen, last

    func = make({"x": array(N, M), "rows": array(K, dtype="int64"), "mask": array(N, M, dtype="bool")}, body)
    rng = np.random.default_rng(0)
    args = [rng.normal(size=(4, 3)), np.array([0, -1, 2, 0, 3]), rng.random((4, 3)) < 0.5]
    agree(func, args)
    agree(func, args, numba=True)


def test_a_choice_of_arrays_is_a_choice_of_memory() -> None:
    def body(c: Any, a: Any, b: Any) -> Any:
        chosen = T["select_ref"](c, memory.make_index(a, (FULL, At(1))), memory.make_index(b, (At(-1), FULL)))
        T["store"](chosen, chosen * 3.0 + 1.0)
        return T["sum"](a, axes=(0, 1), keepdims=False)

    func = make({"c": BOOL, "a": array(N, N), "b": array(N, N)}, body)
    for choice in (True, False):
        agree(func, [choice, *np.random.default_rng(0).normal(size=(2, 3, 3))], numba=True)


def test_checks_say_where() -> None:
    def body(x: Any) -> Any:
        T["check"](T["gt"](x, 0.0), error="ValueError", message='a "quoted" \\ message')
        return T["sqrt"](x)

    kernel = compiled(make({"x": FLOAT}, body))
    assert kernel(4.0) == (2.0,)
    with pytest.raises(ValueError, match=r'a "quoted" \\ message\n  model\.py:7'):
        kernel(-1.0)


@pytest.mark.parametrize("layout", ["C", "F", "A"])
def test_layouts_of_arguments(layout: str) -> None:
    def body(x: Any) -> Any:
        turned = T["transpose"](x, perm=(1, 0))
        return x * 2.0, T["sum"](x, axes=(0,), keepdims=False), T["matmul"](x, turned)

    func = make({"x": array(N, M, layout=layout)}, body)
    x = np.random.default_rng(0).normal(size=(24, 26))
    x = {"C": x[:12, :13].copy(), "F": np.asfortranarray(x[:12, :13]), "A": x[::2, ::2]}[layout]
    agree(func, [x])


def test_a_slice_that_ends_behind_the_array_ends_with_it():
    """Its bounds are literals and the array's size is not: the kernel read on after the last element."""

    def f(x):
        y = x.copy()
        y[2:9] = 1.5
        y[:3] += x[1:100][:3]
        return y, x[1:100] * 2.0, x[:40].copy(), np.sum(x[3:50] ** 2)

    compiled = gradc.vjp(f, np.arange(5.0))
    for got, want in zip(compiled[0], f(np.arange(5.0)), strict=True):
        np.testing.assert_array_equal(got, want)
    (gradient,) = compiled[1]((np.ones(5), np.ones(4), np.ones(5), 1.0))
    np.testing.assert_array_equal(gradient, [2.0, 5.0, 4.0, 10.0, 11.0])
    jitted = gradc.jit(lambda x: x[2:4] * 2.0)
    for n in (5, 3, 2, 0):
        np.testing.assert_array_equal(jitted(np.arange(float(n))), np.arange(float(n))[2:4] * 2.0)
