"""Forms in which people write NumPy's functions: values, dtypes, shapes are NumPy's, derivatives the differences'."""

from __future__ import annotations

import importlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import gradc
from tests import routes
from tests.forms import POOL, Form, Row, define, rows
from tests.oracle import contract, copy_args, difference, is_float_leaf, leaves, make_weights, pair, tree_map

TABLES = ("elementwise", "two", "reductions", "shapes", "indexing", "products", "complex_numbers", "systematic")
ROWS = [(t, r) for t in TABLES for r in rows(importlib.import_module(f"tests.forms.{t}").TABLE)]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Divisions by zero and the like are what some forms are about."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# -------------------------------------------------------------------------------------------- the oracle


def single(args: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments with their arrays in single precision."""
    narrow = {"f": np.float32, "c": np.complex64}
    return tuple(
        a.astype(narrow[a.dtype.kind]) if isinstance(a, np.ndarray | np.generic) and a.dtype.kind in narrow else a
        for a in args
    )


def has_single(f: Form) -> bool:
    kinds = (getattr(POOL[n], "dtype", np.dtype(bool)).kind for n in f.names)
    return "f64" not in f.tags and any(k in "fc" for k in kinds)


def direction(args: Sequence[Any], argnums: Sequence[int]) -> tuple[Any, ...]:
    rng = np.random.default_rng(77)

    def pick(leaf: Any) -> Any:
        drawn = rng.standard_normal(np.shape(leaf))
        if np.iscomplexobj(leaf):
            drawn = drawn + 1j * rng.standard_normal(np.shape(leaf))
        return drawn.astype(leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf)(drawn)

    return tuple(tree_map(pick, args[k]) for k in argnums)


def assert_same(actual: Any, expected: Any, rtol: float, what: str) -> None:
    """Equal structures of numbers of the same dtypes and shapes, close where `rtol` is finite."""
    got, want = list(leaves(actual)), list(leaves(expected))
    if isinstance(expected, list | tuple) and np.isfinite(rtol):
        assert type(actual) is type(expected), f"{what}: a {type(actual).__name__}, not a {type(expected).__name__}"
    assert len(got) == len(want), f"{what}: {len(got)} results, not {len(want)}"
    for a, b in zip(got, want, strict=True):
        if b is None and a is None:
            continue
        assert np.shape(a) == np.shape(b), f"{what}: shape {np.shape(a)}, not {np.shape(b)}"
        assert np.asarray(a).dtype == np.asarray(b).dtype, f"{what}: {np.asarray(a).dtype}, not {np.asarray(b).dtype}"
        if np.isfinite(rtol):
            whole = np.asarray(b)
            size = np.abs(whole) if whole.dtype.kind != "b" else np.ones(1)
            largest = float(np.max(size, initial=1.0, where=np.isfinite(size)))
            np.testing.assert_allclose(np.asarray(a), whole, rtol=rtol, atol=rtol * largest, err_msg=what)


def check(f: Form, args: tuple[Any, ...], narrow: bool) -> None:
    """One form on the interpreter: value, what it did to its arguments, reverse and forward derivative."""
    theirs = copy_args(args)
    try:
        expected = f.function(*theirs)
    except Exception:
        with pytest.raises(Exception):  # noqa: B017  # which one is not a promise
            routes.primal_by_interpreter(f.function, copy_args(args))
        return
    ours = copy_args(args)
    rtol = 1e-5 if narrow else 1e-12
    assert_same(routes.primal_by_interpreter(f.function, ours), expected, rtol, "value")
    assert_same(ours, theirs, rtol, "what became of the arguments")
    argnums = [k for k, a in enumerate(args) if is_float_leaf(a)]
    weights = make_weights(expected)
    if "value" in f.tags or not argnums or all(w is None for w in leaves(weights)):
        return
    _, gradients = routes.vjp_by_interpreter(f.function, copy_args(args), argnums, weights)
    assert_same(gradients, tuple(args[k] for k in argnums), np.inf, "gradient")
    along = direction(args, argnums)
    wide = single(()) + routes.double_arguments(args)

    def moved(s: float) -> float:
        at = list(copy_args(wide))
        for k, d in zip(argnums, along, strict=True):
            at[k] = np.asarray(at[k] + s * d) if isinstance(at[k], np.ndarray) else at[k] + s * d
        return contract(f.function(*at), weights)

    slope, error = difference(moved, 2e-3)
    tolerance = (2e-3 if narrow else 2e-8) * max(1.0, abs(slope)) + 10 * error
    assert abs(pair(gradients, along) - slope) <= tolerance, f"reverse {pair(gradients, along)}, not {slope}"
    _, tangents = routes.jvp_by_interpreter(f.function, copy_args(args), argnums, along)
    held = [(w, leaf) for w, leaf in zip(leaves(weights), leaves(expected), strict=True) if w is not None]
    forward = sum(
        float(np.sum(np.real(np.asarray(t) * w))) for t, (w, _) in zip(tangents, held, strict=True)
    )
    assert abs(forward - slope) <= tolerance, f"forward {forward}, not {slope}"
    assert_same(tangents, [leaf for _, leaf in held], np.inf, "tangent")


def failures(forms: Iterator[tuple[Form, bool]]) -> list[str]:
    found = []
    for f, narrow in forms:
        args = single(f.arguments()) if narrow else f.arguments()
        try:
            check(f, args, narrow)
        except Exception as error:  # all that are wrong in a row are listed
            found.append(f"{f.text}{' (single)' if narrow else ''}: {type(error).__name__}: {str(error)[:300]}")
    return found


# --------------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("table", TABLES)
def test_forms(table: str) -> None:
    """Every alternative of every row once, in double or in single precision by turns."""
    turns = itertools.count()
    listed = (f for t, r in ROWS if t == table for f in r.some())
    found = failures((f, has_single(f) and next(turns) % 3 == 0) for f in listed)
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_all_combinations(table: str) -> None:
    """Every combination of alternatives, in single precision every third of those that have it."""
    turns = itertools.count()
    listed = (f for t, r in ROWS if t == table for f in r.every())
    found = failures((f, has_single(f) and next(turns) % 3 == 0) for f in listed)
    assert not found, "\n".join(found)


# ------------------------------------------------------------------------------------------- the kernels


def joint(forms: Sequence[Form]) -> tuple[Any, tuple[str, ...]]:
    """One function that runs several forms on copies of its arguments, so that they are compiled together."""
    names = tuple(n for n in POOL if any(n in f.names for f in forms))
    lines = [f"def joint({', '.join(names)}):"]
    results = []
    for k, f in enumerate(forms):
        *statements, result = (s.strip() for s in f.text.split(";"))
        lines += [f"    def form{k}({', '.join(f.names)}):", *(f"        {s}" for s in statements)]
        lines.append(f"        return {result}")
        copies = [f"{n}.copy()" if isinstance(POOL[n], np.ndarray) and POOL[n].ndim else n for n in f.names]
        results.append(f"form{k}({', '.join(copies)})")
    lines.append(f"    return ({', '.join(results)},)")
    return define("\n".join(lines) + "\n", "joint"), names


def kernel_forms(chosen: Sequence[Row]) -> list[Form]:
    """The forms of some rows for which NumPy has a value."""
    forms = []
    for f in (f for r in chosen if "interpreted" not in r.tags for f in r.some()):
        try:
            f.function(*f.arguments())
        except Exception:
            continue
        if f.names:
            forms.append(f)
    return forms


def check_kernel(forms: Sequence[Form]) -> None:
    function, names = joint(forms)
    args = tuple(POOL[n].copy("K") if isinstance(POOL[n], np.ndarray) else POOL[n] for n in names)
    expected = function(*copy_args(args))
    weights = make_weights(expected)
    narrow = any(getattr(leaf, "dtype", None) in (np.float32, np.complex64) for leaf in leaves((*args, expected)))
    value, pullback = gradc.vjp(function, *copy_args(args))
    assert_same(value, expected, 1e-5 if narrow else 1e-11, "value")
    gradients = pullback(weights)
    argnums = [k for k, a in enumerate(args) if is_float_leaf(a)]
    _, wanted = routes.vjp_by_interpreter(function, copy_args(args), argnums, weights)
    rtol = 1e-5 if narrow else 1e-9
    for k, want in zip(argnums, wanted, strict=True):
        np.testing.assert_allclose(gradients[k], want, rtol=rtol, atol=rtol, err_msg=f"gradient in {names[k]}")


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("first", range(2))
def test_kernels(table: str, first: int) -> None:
    """Kernels give what NumPy and the interpreter give: a quarter of the rows, a dozen forms compiled at once."""
    forms = kernel_forms([r for t, r in ROWS if t == table][first::8])
    found = []
    for k in range(0, len(forms), 12):
        try:
            check_kernel(forms[k : k + 12])
        except Exception:
            for f in forms[k : k + 12]:  # which of them it is
                try:
                    check_kernel([f])
                except Exception as error:
                    found.append(f"{f.text}: {type(error).__name__}: {str(error)[:300]}")
            assert found, f"together, but not alone: {[f.text for f in forms[k:k + 12]]}"
    assert not found, "\n".join(found)


# ------------------------------------------------------------------------------------------- what is refused

# What NumPy takes and gradc does not, with a word of the message that says why or what to write instead.
REFUSED = (
    ("np.frexp(p)[0]", "np.log2"), ("np.spacing(x) * x", "np.finfo"), ("np.nextafter(x, y)", "outside"),
    ("np.frompyfunc(lambda s: s, 1, 1)(x)", "np.vectorize"), ("np.gcd(k, 2) * x", "math.gcd"),
    ("np.poly1d(v)(a)", "np.polyval"), ("np.emath.sqrt(p)", "np.sqrt of x + 0j"),
    ("np.sort_complex(z).real", "argsort"),
    ("np.polynomial.Polynomial([1.0, 2.0])(x)", "polyval"), ("np.fromiter((s * 2 for s in x), float)", "np.array"),
    ("np.lib.stride_tricks.as_strided(x, (3, 2), (8, 8))", "sliding_window_view"), ("np.unique_values(k) * a", "sorts"),
    ("sum(s for s in np.nditer(A))", "ndindex"), ("np.require(x, requirements='C')", "ascontiguousarray"),
    ("np.ravel(FO, order='A')", 'order="C"'), ("np.reshape(FO, -1, order='K')", 'order="C"'),
    ("np.pad(x, 2, 'empty')", "constant"), ("np.pad(x, 2, 'reflect', reflect_type='odd')", "odd extension"),
    ("np.quantile(x, 0.3, weights=p, method='inverted_cdf')", "np.interp"),
    ("np.median(A, overwrite_input=True)", "leave"),
    ("np.gradient(x, 1j)", "complex spacing"), ("np.unique(A, axis=0)", "rows"), ("np.power.reduce(p)", "rule"),
    ("np.median(z)", "complex"), ("np.ptp(z)", "complex"), ("np.einsum_path('ij,jk', A, S)", "optimize"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "word"), REFUSED)
def test_what_is_refused_says_what_to_write(text: str, word: str) -> None:
    f = Row(text, ()).some().__next__()
    with pytest.raises(gradc.GradcError) as caught:
        routes.primal_by_interpreter(f.function, f.arguments())
    assert word in str(caught.value), str(caught.value)


# --------------------------------------------------------------------------------- kinks, and higher order

# Where derivatives are a matter of convention (docs/conventions.md): the gradient of the sum of the result.
KINKS = (
    ("np.maximum.accumulate(x)", [1.0, 1.0, 0.5], [2.0, 1.0, 0.0]),
    ("np.minimum.accumulate(x)", [2.0, 1.0, 1.0], [1.0, 1.5, 0.5]),
    ("np.maximum.accumulate(x)", [0.0, np.nan, 1.0], [1.0, 0.0, 0.0]),
    ("np.fmax.accumulate(x)", [0.0, np.nan, 1.0], [2.0, 0.0, 1.0]),
    ("np.maximum.reduce(x)", [1.0, 3.0, 3.0], [0.0, 0.5, 0.5]), ("np.nanmax(x)", [3.0, np.nan, 3.0], [0.5, 0.0, 0.5]),
    ("np.fmax.reduce(x)", [3.0, np.nan, 3.0], [0.5, 0.0, 0.5]), ("np.hypot.reduce(x)", [0.0, 0.0], [0.0, 0.0]),
    ("np.ptp(x)", [1.0, 1.0], [0.0, 0.0]), ("np.sinc(x)", [0.0, 1.0], [0.0, -1.0]), ("np.i0(x)", [0.0], [0.0]),
    ("np.clip(x, 0.0, 1.0)", [0.0, 1.0, 2.0], [1.0, 1.0, 0.0]), ("np.abs(x)", [0.0, -1.0], [0.0, -1.0]),
    ("np.maximum(x, 0.0)", [0.0, 1.0], [0.0, 1.0]), ("np.maximum(x, x[::-1])", [1.0, 1.0], [1.0, 1.0]),
    ("math.dist(x, x)", [1.0, 2.0], [0.0, 0.0]), ("np.multiply.reduce(x)", [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]),
    ("np.logaddexp.reduce(x)", [-np.inf, 1.0], [0.0, 1.0]), ("np.nanmedian(x)", [np.nan, 2.0], [0.0, 1.0]),
    ("np.piecewise(x, [x < 0, x >= 0], [lambda s: -s, np.sqrt])", [-1.0, 4.0], [-1.0, 0.25]),
    ("np.unique(x)", [2.0, 1.0, 2.0], [1.0, 1.0, 0.0]), ("np.sort(x)[-1:]", [2.0, 1.0, 2.0], [0.0, 0.0, 1.0]),
    ("np.where(x > 0, np.sqrt(x), 0.0)", [0.0, 4.0], [0.0, 0.25]), ("np.power(x, 2)", [0.0], [0.0]),
    ("np.nan_to_num(x)", [np.nan, 1.0], [0.0, 1.0]), ("np.var(x)", [1.0, 1.0], [0.0, 0.0]), ("np.std(x)", [1.0], [0.0]),
)  # fmt: skip


@pytest.mark.parametrize(("text", "x", "wanted"), KINKS)
def test_kinks(text: str, x: list[float], wanted: list[float]) -> None:
    f = next(Row(text, ()).some())
    args = (np.array(x),)
    weights = make_weights(f.function(*args))
    _, (gradient,) = routes.vjp_by_interpreter(
        f.function, args, (0,), tree_map(lambda w: np.ones_like(w) if np.shape(w) else 1.0, weights)
    )
    np.testing.assert_allclose(gradient, wanted, atol=1e-14)


def smooth(x):
    total = np.sum(np.maximum.accumulate(x) ** 3) + np.sum(np.unique(x) ** 2 * x[:1]) + np.nanmedian(x) ** 3
    total += np.sum(np.logaddexp.reduce(x) * x) + np.sum(np.hypot.accumulate(x) ** 2)
    total += np.quantile(x, 0.3, method="hazen") ** 2 + np.sum(np.insert(x, [1, 3], x[:2]) ** 3)
    total += np.sum(np.piecewise(x, [x < 0, x >= 0], [np.exp, lambda s: s**3]) ** 2)
    total += np.sum(np.lib.stride_tricks.sliding_window_view(x, 2).prod(axis=1) ** 2) + np.polyval(x, x[0])
    return total + np.sum(np.apply_along_axis(lambda r: r / np.sum(r * r), 0, x) ** 2)


@pytest.mark.slow
def test_second_derivatives() -> None:
    gradc.check_grads(smooth, (np.array([0.7, -0.4, 1.3, 0.2, -1.1]),), order=2)


def test_sources_run_under_numpy() -> None:
    """The readable text of what front ends write themselves: the user sees the line of the call."""
    x = np.array([0.7, -0.4, 1.3, 0.2, -1.1])
    value, (gradient,) = routes.gradient_by_source(smooth, (x,), (0,))
    expected, (wanted,) = routes.vjp_by_interpreter(smooth, (x,), (0,), 1.0)
    np.testing.assert_allclose(value, smooth(x), rtol=1e-13)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-11)
    text = gradc.value_and_grad(smooth).lower(x).source
    assert "written.py" not in text and "test_coverage.py" in text


def test_linspace_in_single_precision_has_a_kernel() -> None:
    x = np.array([1.0, 2.0, 4.0], dtype=np.float32)
    _, pullback = gradc.vjp(lambda x: np.linspace(x[0], x[2], 4), x)
    (gradient,) = pullback(np.ones(4, np.float32))
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, [2.0, 0.0, 2.0], rtol=1e-6)
