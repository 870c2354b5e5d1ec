"""gradc's own compiler of kernel texts gives what Numba gives for the same text, and gives all memory back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import int64, njit, typeof, types
from numba.core.registry import cpu_target
from numba.core.runtime import _nrt_python, rtsys

from gradc.codegen.native import bridge, split
from gradc.codegen.native.kinds import NotTranslated
from gradc.config import read_config
from gradc.errors import ShapeError
from gradc.runtime.cache import KernelCache, compiler_of

HEAD = """\
import numpy as np
from numba import njit

from gradc.codegen.intrinsics import {functions}
from gradc.errors import ShapeError


@njit(error_model="numpy", cache=True, nogil=True)
def kernel({parameters}):
"""
FUNCTIONS = (
    "abs copysign exp log sqrt tanh sin floor rint atan2 hypot pow fmod floordiv mod sigmoid softplus logaddexp larger "
    "smaller reassoc_add reassoc_mul view product grow empty_float64 empty_float32 empty_int64 empty_int32 empty_uint8 "
    "empty_bool empty_complex128 empty_complex64"
).split()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def text_of(parameters: str, body: str) -> str:
    """A kernel text of a function `kernel`."""
    words = set(re.findall(r"\w+", body))
    used = [f for f in FUNCTIONS if f in words and f != "abs"] or ["exp"]
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    return HEAD.format(functions=", ".join(used), parameters=parameters) + lines


def build(text: str) -> Callable[..., Any]:
    """The function `kernel` of a module text, without the disk cache."""
    namespace: dict[str, Any] = {"__name__": "built"}
    exec(compile(text.replace("cache=True", "cache=False"), "<kernel>", "exec"), namespace)
    return namespace["kernel"]  # type: ignore[no-any-return]


def native(parameters: str, body: str) -> Callable[..., Any]:
    return build(bridge.native_module(text_of(parameters, body), "kernel"))


def flat(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in flat(item)] if isinstance(value, tuple) else [value]


def outcome(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    """The exception as text or the structure of the result; and result and arguments afterwards."""
    copied = [a.copy(order="K") if isinstance(a, np.ndarray) and a.base is None else a for a in args]
    try:
        result = function(*copied)
    except Exception as error:
        return repr(error), flat(tuple(copied))
    return re.sub(r"[^(),]", "", repr(_structure(result))), [*flat(result), *copied]


def _structure(value: Any) -> Any:
    return tuple(_structure(v) for v in value) if isinstance(value, tuple) else 0


def same(parameters: str, body: str, *inputs: tuple[Any, ...]) -> None:
    """Numba's code and gradc's agree bit for bit, apart from the order of reassociable sums."""
    text = text_of(parameters, body)
    ours, theirs = build(bridge.native_module(text, "kernel")), build(text)
    for args in inputs:
        got, values = outcome(ours, args)
        expected, wanted = outcome(theirs, args)
        assert got == expected, body
        for x, y in zip(values, wanted, strict=True):
            assert type(x) is type(y), body
            assert np.asarray(x).dtype == np.asarray(y).dtype, body
            if isinstance(y, np.ndarray):
                assert x.shape == y.shape and (x.size == 0 or x.strides == y.strides), body
            np.testing.assert_allclose(x, y, rtol=1e-6 if np.asarray(y).itemsize == 4 else 1e-14, err_msg=body)


# ------------------------------------------------------------------------------------------------ scalars

NUMBERS = (
    (1.5, -2.5, 7, -3),
    (0.0, 0.0, 0, 2),
    (-0.0, np.inf, -9, 4),
    (np.nan, 1.0, 2**40, 5),
    (1e308, 1e10, -(2**62), 3),
)


@pytest.mark.parametrize(
    "expression",
    [
        "x + y, x - y, x * y, x / y, -x, +x, abs(x)",
        "n + m, n - m, n * m, n / m, -n, abs(n), n * x, x - m",
        "x < y, x <= y, x > y, x >= y, x == y, x != y, x != x, x == n, n < y, n > m, n == m",
        "x if x > y else y, n if n > m else m, n if x > y else y, (n > m) - (n < m)",
        "max(n, m, 3), min(n, m), max(x, y), min(x, y), max(x, n)",
        "n // 7, n % 7, n // 4 * 4 + n % 4, n & 6, n | 1, n ^ m, n << 2, n >> 1",
        "np.float64(n), np.float32(x), np.int32(n), np.uint8(n), np.int64(np.float32(2.75)), bool(x), bool(n), not x",
        "x > 0 and y > 0, x > 0 or y > 0, bool(x) and not bool(y), (x > 0 and n > 0) or (n < m and y != y)",
        "np.int32(n) + np.int32(m), np.uint8(n) + np.uint8(m), np.float32(x) * np.float32(y), np.float32(x) * n",
        "np.float32(x) * np.float32(0.1), np.float32(x) < 0.1, -np.float32(y), np.float32(x) + (n > 0)",
        "exp(x), log(abs(y) + 1.0), sqrt(abs(x)), tanh(y), sin(x), floor(y), rint(x), copysign(x, y), hypot(y, y)",
        "pow(abs(y), 1.5), fmod(y, 2.0), floordiv(x, y), mod(x, y), mod(n, m), floordiv(n, m), atan2(x, y)",
        "sigmoid(x), softplus(y), logaddexp(x, y), larger(x, y), smaller(x, y), larger(n, m), smaller(n, m)",
        "reassoc_add(x, y), reassoc_mul(x, y), reassoc_add(n, m)",
        "len(range(n % 100, m, -3)), len(range(0, m, 2)), len(range(m, 10)), len(range(n % 50))",
        "np.inf, -np.inf, np.nan, 1e-320, -0.0, 9223372036854775807, True",
        "x ** 2, x ** y, n ** 2, 2.0 ** n, abs(np.float32(x)), int(abs(m)), float(n)",
        "(1.0 if exp(x) > 1.0 else sqrt(abs(y))) + (n if m > 3 and exp(y) > 0.5 else 2.0)",
        "1 < m < 4, 0 <= n <= m",
    ],
)
def test_scalars(expression: str) -> None:
    same("x, y, n, m", f"return ({expression},)", *NUMBERS)


@pytest.mark.parametrize(
    "expression",
    ["a + b, a - b, a * b, -a, a.real, b.imag", "a == b, a != a, a * 2.0, a + x, not a, bool(b)", "a / b, abs(a)"],
)
def test_complex_numbers(expression: str) -> None:
    inputs = ((1 + 2j, 0.5 - 1j, 2.0), (0j, 1j, -1.0), (complex(np.inf, 1), 1 - 1j, 0.0))
    same("a, b, x", f"c = complex(x, 1.0)\nreturn (c * a, {expression})", *inputs)


def test_complex_division_is_that_of_numpy() -> None:
    kernel = native("a, b", "return (a / b,)")
    numbers = [
        1 + 2j,
        -0.5j,
        3 + 0j,
        0j,
        complex(np.inf, 1),
        complex(1, np.nan),
        complex(-0.0, 1e300),
        1e-300 + 1e-310j,
    ]
    for a in numbers:
        for b in numbers:
            (quotient,) = kernel(a, b)
            expected = np.divide([a], [b])[0]
            for got, want in ((quotient.real, expected.real), (quotient.imag, expected.imag)):
                np.testing.assert_allclose(got, want, rtol=4e-16, atol=0.0)


def test_variables_and_control() -> None:
    body = """
total = 0.0
count = 0
last = 1.0
for i in range(1, n):
    if i % 3 == 0:
        continue
    if total > 40.0:
        break
    last, total = total, total + np.float64(i) * x
    count += 1
while True:
    total = total - 1.0
    if not total > 3.0:
        break
    for j in range(n, 0, -2):
        count += j
for k in range(0, n, n if n > 0 else 1):
    count -= k
return (total, count, last, (last, (count,)))
"""
    same("x, n", body, (1.0, 10), (0.5, 0), (2.0, 25), (-1.0, 7))


def test_a_step_of_zero_is_an_error() -> None:
    body = "total = 0\nfor i in range(0, n, m):\n    total += i\nreturn (total,)"
    same("n, m", body, (10, 3), (10, -3), (-10, -4), (5, 0))


# ------------------------------------------------------------------------------------------------- arrays

DTYPES = ("bool", "int32", "int64", "uint8", "float32", "float64", "complex64", "complex128")


def sample(dtype: str, *shape: int) -> Any:
    values = (np.arange(np.prod(shape, dtype=int)) * 7 % 11 - 4).reshape(shape)
    return (values > 0) if dtype == "bool" else values.astype(dtype)


@pytest.mark.parametrize("dtype", ["bool", "int32", "uint8", "float32", "complex128"])
def test_dtypes(dtype: str) -> None:
    body = f"""
n = a.shape[0]
out = empty_{dtype}((n,))
for i in range(n):
    out[i] = a[n - 1 - i]
b[0] = out[0]
{"b[1] = b[1] or out[1]" if dtype == "bool" else "b[1] += out[1]"}
return (out, b[1], a)
"""
    same("a, b", body, (sample(dtype, 5), sample(dtype, 3)), (sample(dtype, 2), sample(dtype, 4)))


def test_layouts_and_ranks() -> None:
    body = """
out = np.empty((c.shape[1], c.shape[0]), np.float64)
for i in range(c.shape[0]):
    for j in range(c.shape[1]):
        out[j, i] = c[i, j] + 10.0 * f[i, j] + 100.0 * s[i, j] + z[()]
        f[i, j] *= 2.0
z[()] = s[0, 0]
return (out, q[1, 0, 1, 2], z[()], s)
"""
    base = np.arange(48.0).reshape(6, 8)
    f, s = np.asfortranarray(base[:3, :4]), base[1:4, ::2]
    args = (base[:3, :4].copy(), f, s, np.array(2.5), sample("float64", 2, 2, 2, 3))
    same("c, f, s, z, q", body, args)


def test_views_and_parts() -> None:
    body = """
flat = view(a, 0, (a.shape[0] * a.shape[1],))
row = view(a, a.shape[1], (a.shape[1], 1))
flat[2] = 50.0
if turn:
    part = a[1:3, ::-1]
    other = a[0:2].transpose((1, 0))
else:
    part = b[0:2, 1:k]
    other = b[None, 1, 0:3].transpose((1, 0))
part[0, 0] = 7.0
total = 0.0
for i in range(part.shape[0]):
    for j in range(part.shape[1]):
        total += part[i, j] * np.float64(1 + i + 2 * j)
return (flat, row, total, a, part.shape[1], other.shape[0], other[1, 0])
"""
    args = (sample("float64", 4, 3), sample("float64", 3, 3), True, 3)
    same("a, b, turn, k", body, args, (*args[:2], False, 3), (*args[:2], False, 9), (*args[:2], False, -1))


def test_memory_that_grows_and_memory_of_loops() -> None:
    body = """
tape = np.empty((2,), np.float64)
length = 0
held = empty_float64((1,))
held[0] = 1.0
for i in range(n):
    row = empty_float64((1 + i % 3,))
    for j in range(row.shape[0]):
        row[j] = np.float64(i * j)
    if length + row.shape[0] > tape.shape[0]:
        tape = grow(tape, length + row.shape[0])
    for j in range(row.shape[0]):
        tape[length + j] = row[j]
    length += row.shape[0]
    old = held
    held = empty_float64((i + 1,))
    held[i] = old[0] + 1.0
    held[0] = held[i]
out = np.empty((length,), np.float64)
for k in range(length):
    out[k] = tape[k]
return (out, held[0], held[0], length)
"""
    same("n", body, (0,), (1,), (9,), (100,))


def test_small_arrays_that_stay_lie_on_the_stack() -> None:
    body = """
t = empty_float64((n, 2))
few = empty_int64((3,))
for i in range(n):
    t[i, 0] = np.float64(i)
    t[i, 1] = 1.0
if n > 2:
    rows = empty_float64((n,))
    for i in range(n):
        rows[i] = t[i, 0] * t[i, 1]
    t[0, 0] = rows[n - 1]
kept = empty_float64((n,))
few[0] = t.shape[0]
total = 0.0
for i in range(n):
    total += t[i, 0]
    kept[i] = total
if n == 7:
    raise ShapeError("seven")
return (kept, few[0], total)
"""
    same("n", body, (0,), (1,), (5,), (7,), (63,), (64,), (65,), (1000,))
    text = text_of("n", body)
    assembly = bridge.translated(text, "kernel", (int64,)).assembly
    assert assembly.count("alloca [1024 x i8]") == 3  # t, few and rows; not what is returned


def test_results_are_arguments_and_shared_arrays() -> None:
    kernel = native("a, b", "c = empty_float64((2,))\nc[0] = b\nc[1] = 1.0\nreturn (a, c, (c, a), b)")
    a = np.arange(3.0)
    first, c, (again, last), b = kernel(a, 2.0)
    assert first is a and last is a and b == 2.0
    assert np.shares_memory(c, again)
    c[0] = 9.0
    assert again[0] == 9.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_products(dtype: str) -> None:
    m, n, k = ("a.shape[0]", "b.shape[1]", "a.shape[1]")
    body = f"""
c = empty_{dtype}(({m}, {n}))
product(a, (0, 0), 0, 1, b, (0, 0), 0, 1, c, (0, 0), 0, 1, ({m}, {n}, {k}), 0)
d = empty_{dtype}(({n}, {m}))
product(b, (0, 0), 1, 0, a, (0, 0), 1, 0, d, (0, 0), 0, 1, ({n}, {m}, {k}), 0)
v = empty_{dtype}(({m},))
product(a, (0, 0), 0, 1, b, (0, 0), 0, -1, v, (0,), 0, -1, ({m}, 1, {k}), 0)
product(a, (0, 0), 0, 1, b, (0, 0), 0, 1, c, (0, 0), 0, 1, ({m}, {n}, {k}), 1)
return (c, d, v)
"""
    big = (sample(dtype, 20, 30), sample(dtype, 30, 25))
    same("a, b", body, big, (sample(dtype, 2, 3), sample(dtype, 3, 4)), (sample(dtype, 2, 0), sample(dtype, 0, 4)))


def test_products_of_strided_memory() -> None:
    body = """
c = np.empty((a.shape[0], b.shape[1]), np.float64)
product(a, (0, 0), 0, 1, b, (0, 0), 0, 1, c, (0, 0), 0, 1, (a.shape[0], b.shape[1], a.shape[1]), 0)
return c
"""
    a, b = sample("float64", 40, 40), sample("float64", 20, 30)
    same("a, b", body, (a[::2, ::2], np.asfortranarray(b)))


def test_names_beyond_ascii() -> None:
    same("größe, λ", "Σ = größe[0] * λ\nreturn (Σ,)", (np.array([2.0]), 3.0))


# ----------------------------------------------------------------------------------------- exceptions, memory

FAILING = """
held = empty_float64((1,))
for i in range(n):
    inner = empty_float64((4,))
    inner[0] = 1.0
    held[0] = inner[0]
    if i == 3:
        raise ShapeError("three\\n  place.py:3")
    if a[i] < 0.0:
        raise IndexError("a negative number")
big = empty_float64((n, m, m))
return (held, big.shape[0], a)
"""


def test_exceptions() -> None:
    a = np.array([1.0, 1.0, 1.0, 1.0, 1.0])
    same("a, n, m", FAILING, (a, 5, 1), (-a, 5, 1), (a, 2, 1), (a, 2, 2**40), (a, 2, 2**29))
    with pytest.raises(ShapeError, match="three"):
        native("a, n, m", FAILING)(a, 5, 1)


def counts() -> int:
    """How many blocks of Numba's run time are held (`alloc` would count those that were not to be had, too)."""
    stats = rtsys.get_allocation_stats()
    return stats.mi_alloc - stats.mi_free  # type: ignore[no-any-return]


def test_memory_is_given_back() -> None:
    rtsys.initialize(cpu_target.target_context)
    enabled = _nrt_python.memsys_stats_enabled()
    if not enabled:
        _nrt_python.memsys_enable_stats()
    try:
        failing = native("a, n, m", FAILING)
        growing = native("n", "t = empty_int64((1,))\nfor i in range(n):\n    t = grow(t, i)\nreturn t.shape[0]")
        a = np.ones(5)
        for call in (lambda: failing(a, 2, 1), lambda: growing(20)):
            call()
            before = counts()
            for _ in range(3):
                call()
            assert counts() == before
        for args in ((a, 5, 1), (-a, 5, 1), (a, 2, 2**40), (a, 2, 2**29)):
            before = counts()
            for _ in range(3):
                with pytest.raises((ShapeError, IndexError, ValueError, MemoryError)):
                    failing(*args)
            assert counts() == before
    finally:
        if not enabled:
            _nrt_python.memsys_disable_stats()


# ------------------------------------------------------------------------------------------------ around it


def test_called_from_compiled_code() -> None:
    body = "b = empty_float64((a.shape[0],))\nfor i in range(a.shape[0]):\n    b[i] = exp(a[i]) * x\nreturn (b, x)"
    kernel = native("a, x", body)

    @njit  # type: ignore[untyped-decorator]
    def caller(a: Any) -> Any:
        total = 0.0
        for k in range(3):
            b, x = kernel(a, float(k))
            total += b.sum() + x
        return total

    a = np.array([0.0, 1.0, 2.0])
    assert caller(a) == pytest.approx(3 * np.exp(a).sum() + 3)


def test_kernels_stay_on_disk(tmp_path: Path) -> None:
    script = (
        "import numpy as np, gradc, gradc.codegen.native.body as body\n"
        "def f(x):\n    return np.sum(np.exp(x) * x)\n"
        "import gradc.codegen.native.bridge as bridge\n"
        "g = gradc.grad(f)\nx = np.arange(3.0)\n"
        "print(g(x), len(bridge._translated), g.lower(x).stats['compiled by'])\n"
    )
    file = tmp_path / "script.py"
    file.write_text(script)
    environment = dict(os.environ, GRADC_CACHE_DIR=str(tmp_path / "cache"), GRADC_NATIVE="1")
    command = [sys.executable, str(file)]
    lines = [
        subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.split()
        for _ in range(2)
    ]
    assert lines[0][-2:] == ["1", "gradc"] and lines[1][-2:] == ["0", "gradc"]
    assert lines[0][:-2] == lines[1][:-2]


def test_numba_compiles_what_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = text_of("a", "b = np.sort(a)\nreturn b")
    signature = (typeof(np.arange(3.0)),)
    with pytest.raises(NotTranslated):
        bridge.translated(text, "kernel", signature)
    for number, value in enumerate(("1", "0")):
        settings = read_config({"GRADC_CACHE_DIR": str(tmp_path / value), "GRADC_NATIVE": value})
        monkeypatch.setattr("gradc.runtime.cache.config", lambda settings=settings: settings)
        for body, by_gradc in ((text, False), (text_of("a", "return (a[0],)"), not number)):
            name = "kernel_HASH_OF_KERNEL"
            kernel = KernelCache().load(body.replace("kernel", name), name, signature)
            kernel(np.array([3.0, 1.0, 2.0]))
            reason = " (not compiled by gradc: variable a is read before it is assigned)" if not number else ""
            assert compiler_of(kernel) == ("gradc" if by_gradc else f"Numba{reason}")


@pytest.mark.parametrize(
    "body",
    [
        "x = 1\nx = 2.0\nreturn (x,)",
        "return (a.sum(),)",
        "for i in a:\n    pass\nreturn (1,)",
        "b = [1.0]\nreturn (b[0],)",
        "if a[0] > 0:\n    return (1.0,)\nreturn (2.0,)",
    ],
)
def test_not_known(body: str) -> None:
    with pytest.raises(NotTranslated):
        bridge.translated(text_of("a", body), "kernel", (typeof(np.arange(3.0)),))


# ---------------------------------------------------------------------------------------- long blocks


@pytest.fixture
def tiny_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every block of more than a few instructions is written as several functions."""
    monkeypatch.setattr(split, "LONGEST", 3)
    monkeypatch.setattr(split, "PART", 2)
    monkeypatch.setattr(bridge, "_translated", {})
    yield


@pytest.mark.parametrize(
    "test",
    [test_views_and_parts, test_memory_that_grows_and_memory_of_loops, test_results_are_arguments_and_shared_arrays,
     test_products_of_strided_memory, test_names_beyond_ascii, test_exceptions],
    ids=lambda test: test.__name__,
)  # fmt: skip
def test_parts_of_blocks_mean_what_the_blocks_mean(test: Callable[[], None], tiny_parts: None) -> None:
    test()


def test_long_blocks_are_taken_apart() -> None:
    lines = [f"t{k} = sin(t{k - 1}) * t{k - 1} + t{max(k - 700, 0)}" for k in range(1, 1400)]
    body = "\n".join(["t0 = x + 1.0", *lines, "return t1399, (t700, x)"])
    text = text_of("x", body)
    found = bridge.translated(text, "kernel", (types.float64,))
    assert found.assembly.count("define internal void @gradc_") > 4
    same("x", body, (0.3,), (np.nan,))


def test_long_code_of_short_branches_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "LONGEST", 60)
    monkeypatch.setattr(split, "PART", 25)
    monkeypatch.setattr(bridge, "_translated", {})
    lines = []
    for k in range(1, 40):
        lines += [f"if t{k - 1} > {0.1 * (k % 7)}:", f"    if x > {0.02 * k}:", f"        t{k} = sin(t{k - 1})"]
        lines += ["    else:", f"        t{k} = t{k - 1} + a[{k % 3}]", "else:", f"    t{k} = exp(t{max(k - 9, 0)})"]
        lines += [f"if t{k} > 5.0:", f"    t{k} = 0.5"] if k % 20 else ["for i in range(3):", "    s += a[i]"]
    body = "\n".join(["t0 = x + 1.0", "s = 0.0", *lines, "return t39, (t25, s)"])
    text = text_of("x, a", body)
    found = bridge.translated(text, "kernel", (types.float64, typeof(np.ones(3))))
    parts = found.assembly.split("define internal void @gradc_")[1:]
    assert len(parts) > 4 and any("br i1" in part for part in parts)
    a = np.array([0.1, -0.3, 0.2])
    same("x, a", body, (0.3, a), (2.0, a), (-1.0, a))
