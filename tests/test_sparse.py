"""Sparse Jacobians and Hessians: no entry outside the pattern, values of the dense ones, few sweeps."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares, minimize, rosen, rosen_hess

import gradc
from gradc.runtime.coloring import column_colors, fullest_row, places_by_symmetry, symmetric_colors
from gradc.runtime.pattern import find_pattern
from tests.patterns import check_program, pattern_of, programs_of
from tests.programs import PROGRAMS
from tests.test_lanes import PROGRAMS as SWEPT
from tests.workloads.bundle import CAMERA, ba_loops, ba_vectorised, make_ba


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


# ------------------------------------------------------------------------------- patterns, by the interpreter


SLOW = {"mixed.gauss_pivoting", "mixed.forward_algorithm", "mixed.soft_edit_distance", "mixed.knn_weights"}
MARKED = [pytest.param(p, marks=pytest.mark.slow if p.name in SLOW else ()) for p in PROGRAMS]


@pytest.mark.parametrize("program", MARKED, ids=lambda p: p.name)
def test_patterns_hold_every_derivative(program):
    """Of every program of the tests, in each array argument, at several points for one pattern."""
    if program.refused:
        return
    list(check_program(program.function, program.inputs[0]))


@pytest.mark.parametrize("program", MARKED, ids=lambda p: p.name)
def test_patterns_of_gradients_hold_every_second_derivative(program):
    if program.refused:
        return
    list(check_program(program.function, program.inputs[0], gradients=True))


@pytest.mark.parametrize(("function", "args"), SWEPT, ids=lambda x: getattr(x, "__name__", ""))
def test_patterns_of_looped_programs_hold_every_derivative(function, args):
    list(check_program(function, args))
    list(check_program(function, args, gradients=True))


def exact(function: Any, args: tuple[Any, ...], k: int = 0) -> Any:
    (func, leaves), *_ = programs_of(function, args)
    return pattern_of(func, leaves, k)


N = 6
X = np.linspace(0.2, 1.7, N)
BAND = np.abs(np.subtract.outer(np.arange(N), np.arange(N)))


def three_point(x):
    out = np.zeros(len(x))
    for i in range(1, len(x) - 1):
        out[i] = x[i - 1] * x[i + 1]
    return out


def huber(x):
    """A branch on a differentiated value in each iteration."""
    out = np.zeros(len(x) - 1)
    for i in range(len(x) - 1):
        r = x[i + 1] - x[i]
        if abs(r) < 0.1:
            out[i] = r * r
        else:
            out[i] = abs(r)
    return out


def added_in_a_branch(x):
    """What was there flows into itself only."""
    out = np.zeros(len(x))
    for i in range(len(x) - 1):
        if x[i] > 1.0:
            out[i] += x[i + 1] ** 2
    return out


def wrapped_in_a_branch(x):
    """Indices computed inside of a branch on x."""
    out = np.zeros(len(x))
    for i in range(len(x)):
        if x[i] > 1.0:
            out[i] = x[(i + 1) % 6] ** 2
    return out


def implicit(x):
    """A while loop whose trips depend on x, around one element at a time."""
    out = np.zeros(len(x))
    for i in range(len(x)):
        u = 1.0
        while abs(u * u - x[i]) > 1e-12:
            u = 0.5 * (u + x[i] / u)
        out[i] = u
    return out


def red_black(x):
    """In place: what is written in one step is read in the next."""
    u = x.copy()
    for i in range(0, len(u) - 1, 2):
        u[i] = u[i] * u[i + 1]
    return u


def by_row(x):
    a = x.reshape(2, 3)
    return a @ np.ones((3, 2))


def running(x):
    return np.cumsum(x * x)


def rolled(x):
    return np.roll(x, 1) * x


def joined(x):
    return np.concatenate((x[1:], 2.0 * x[:1], [3.0]))


EXACT = [
    (three_point, (BAND == 1) & ((np.arange(N) > 0) & (np.arange(N) < N - 1))[:, None]),
    (huber, (np.eye(N) + np.eye(N, k=1))[:-1] > 0),
    (added_in_a_branch, np.eye(N, k=1) * (np.arange(N) < N - 1)[:, None] > 0),
    (wrapped_in_a_branch, np.roll(np.eye(N), -1, axis=0) > 0),
    (implicit, BAND == 0),
    (red_black, (BAND == 0) | ((np.eye(N, k=1) > 0) & (np.arange(N) % 2 == 0)[:, None])),
    (by_row, np.kron(np.eye(2), np.ones((2, 3))).reshape(2, 2, 6) > 0),
    (running, np.tril(np.ones((N, N))) > 0),
    (rolled, (BAND == 0) | (np.roll(np.eye(N), 1, axis=0) > 0)),
    (joined, np.concatenate((np.roll(np.eye(N), -1, axis=0), np.zeros((1, N)))) > 0),
]  # fmt: skip


@pytest.mark.parametrize(("function", "expected"), EXACT, ids=lambda x: getattr(x, "__name__", ""))
def test_patterns_are_tight(function, expected):
    np.testing.assert_array_equal(exact(function, (X,)), expected)


def test_a_branch_that_is_not_taken_here_is_in_the_pattern():
    """One pattern holds for every x, so both sides count."""

    def either(x):
        return x * x[0] if x[1] > 0.0 else x * x[2]

    pattern = exact(either, (np.ones(4),))
    assert pattern[3, 0] and pattern[3, 2]


def gathered_in_a_branch(x, near):
    out = np.zeros(len(x))
    for i in range(len(x)):
        if x[i] > 1.0:
            out[-i - 1] = x[near[-i - 1]] ** 2
        else:
            out[abs(i - 2)] += x[max(near[i] - 1, 0)]
    return out


def renumbered_in_a_branch(x, near):
    order, out = near.copy(), np.zeros(len(x))
    for i in range(len(x)):
        if x[i] > 1.0:
            order[(i + 1) % len(x)] = i
            out[i] = x[order[i]]
    return out


def some_branch_out_of_bounds(x, near):
    """Indices that only a branch not taken at these x looks up; nobody may read what they point to."""
    out = x * 1.0
    for i in range(len(x)):
        if x[i] > 100.0:
            out[i] = x[near[i + 1000]] + x[near[0:0][i]]
        elif x[i] > 50.0:
            out[i] = x[i % (near[0] - near[0])]
    return out


NEAR = np.array([3, 1, 4, 1, 5, 0])


def test_branches_on_x_gather_where_index_arrays_say():
    expected = np.zeros((N, N), bool)
    for i in range(N):
        for target in (-i - 1, abs(i - 2)):  # what either branch reads flows into what either one writes
            expected[target, [NEAR[-i - 1], max(NEAR[i] - 1, 0)]] = True
    np.testing.assert_array_equal(exact(gathered_in_a_branch, (X, NEAR)), expected)
    for function in (gathered_in_a_branch, renumbered_in_a_branch):
        list(check_program(function, (X, NEAR)))
    np.testing.assert_array_equal(np.diag(exact(some_branch_out_of_bounds, (X, NEAR))), True)
    jac = gradc.sparse_jacobian(some_branch_out_of_bounds)
    np.testing.assert_array_equal(jac(X, NEAR).toarray(), np.eye(N))


def test_a_branch_on_other_arguments_is_followed():
    def chosen(x, flip):
        y = np.zeros(len(x))
        for i in range(len(x)):
            y[i] = x[len(x) - 1 - i] if flip[i] else x[i]
        return y

    jac = gradc.sparse_jacobian(chosen)
    for flip in (np.zeros(N, bool), np.ones(N, bool), np.arange(N) % 2 == 0, np.zeros(N, bool)):
        expected = np.where(flip[:, None], np.eye(N)[::-1], np.eye(N))
        np.testing.assert_array_equal(jac.pattern(X, flip).toarray(), expected > 0)
        np.testing.assert_array_equal(jac(X, flip).toarray(), expected)


# ----------------------------------------------------------------------------------------- compiled objects


def energy(x):
    return np.sum((x[1:] - x[:-1] ** 2) ** 2) + np.sum(np.cos(x))


def arrow(x):
    return x[0] * np.sum(x[1:] ** 2) + np.sum(x**3)


def gathered(x, rows):
    return x[rows[:, 0]] * np.sin(x[rows[:, 1]])


def scattered(x, rows):
    """Assembly: contributions of pairs add up."""
    out = np.zeros(len(x))
    np.add.at(out, rows[:, 0], x[rows[:, 1]] ** 2)
    return out


def test_values_are_those_of_the_dense_jacobian():
    rows = np.array([[0, 1], [2, 2], [2, 5], [4, 3]])
    for function, args in (
        (three_point, ()), (huber, ()), (implicit, ()), (red_black, ()), (running, ()), (gathered, (rows,)),
        (scattered, (rows,)),
    ):  # fmt: skip
        sparse, dense = gradc.sparse_jacobian(function), gradc.jacobian(function)
        for n in (6, 7):
            x = 0.7 + 0.5 * np.cos(np.arange(n))
            made = sparse(x, *args)
            assert isinstance(made, scipy.sparse.csr_array)
            expected = dense(x, *args)
            np.testing.assert_allclose(made.toarray(), expected, rtol=1e-13, atol=1e-14)
            assert made.has_sorted_indices and made.nnz <= sparse.pattern(x, *args).nnz


def test_hessians():
    for function, sweeps in ((energy, 3), (arrow, 2), (rosen_like, 3)):
        made = gradc.sparse_hessian(function)
        x = np.cos(np.arange(9.0))
        np.testing.assert_allclose(made(x).toarray(), gradc.hessian(function)(x), rtol=1e-12, atol=1e-12)
        big = np.linspace(-1.0, 1.0, 500)
        assert made.compression(big).sweeps <= sweeps + 1
        np.testing.assert_allclose((made(big) @ big), gradc.hvp(function)(big, big), rtol=1e-10, atol=1e-10)


def rosen_like(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def test_sweeps_do_not_grow_with_the_size():
    jac = gradc.sparse_jacobian(three_point)
    for n in (10, 100, 5000):
        x = np.sin(np.arange(float(n)))
        assert jac.compression(x).sweeps <= 3
        step = 1e-6 * np.cos(np.arange(n))
        np.testing.assert_allclose(jac(x) @ step, (three_point(x + step) - three_point(x - step)) / 2, atol=1e-15)


def test_few_rows_are_swept_in_reverse():
    def sums(x):
        return np.array([np.sum(x[: len(x) // 2] ** 2), np.sum(x[len(x) // 2 :] ** 3)])

    jac = gradc.sparse_jacobian(sums)
    x = np.linspace(0, 1, 40)
    assert (jac.compression(x).mode, jac.compression(x).sweeps) == ("rev", 1)
    np.testing.assert_allclose(jac(x).toarray(), gradc.jacrev(sums)(x))


def test_changed_indices_are_seen():
    """In place, in another array, and back."""
    jac = gradc.sparse_jacobian(gathered)
    rows = np.array([[0, 1], [2, 3]])
    for change in ((0, 0, 5), (1, 1, 0), (0, 0, 0)):
        rows[change[0], change[1]] = change[2]
        np.testing.assert_array_equal(jac(X, rows).toarray(), gradc.jacfwd(gathered)(X, rows))


LINKS = np.array([1, 2, 0, 5, 4, 3])


def linked(x):
    return x * x[LINKS]


def test_changed_captures_are_seen():
    jac = gradc.sparse_jacobian(linked)
    np.testing.assert_array_equal(jac(X).toarray(), gradc.jacfwd(linked)(X))
    LINKS[0], LINKS[1] = 4, 0
    np.testing.assert_array_equal(jac(X).toarray(), gradc.jacfwd(linked)(X))


def test_patterns_are_found_once():
    jac = gradc.sparse_jacobian(gathered)
    rows = np.array([[0, 1], [2, 3]])
    first = jac.compression(X, rows)
    assert jac.compression(X + 1.0, rows.copy()) is first
    assert jac.compression(X, rows + 1) is not first
    assert jac.compression(np.append(X, 0.0), rows) is not first
    assert jac.compression(X, rows) is first


def test_results_are_the_callers():
    jac = gradc.sparse_jacobian(rolled)
    made = jac(X)
    made.indices[:] = 0
    made.indptr[:] = 0
    jac.pattern(X).indices[:] = 0
    np.testing.assert_allclose(jac(X).toarray(), gradc.jacfwd(rolled)(X))


def test_arrays_of_several_axes_count_in_c_order():
    def grid(u):
        return u[1:, :] * u[:-1, :]

    u = np.asfortranarray(np.arange(1.0, 13.0).reshape(4, 3))
    for given_u in (np.ascontiguousarray(u), u, u[::2]):
        expected = gradc.jacfwd(grid)(given_u)
        np.testing.assert_array_equal(
            gradc.sparse_jacobian(grid)(given_u).toarray(), expected.reshape(-1, given_u.size)
        )


def test_single_precision_stays_single():
    made = gradc.sparse_jacobian(rolled)(X.astype(np.float32))
    assert made.dtype == np.float32
    assert gradc.sparse_hessian(energy)(X.astype(np.float32)).dtype == np.float32


def test_empty_and_tiny():
    jac, hess = gradc.sparse_jacobian(rolled), gradc.sparse_hessian(energy)
    assert jac(np.zeros(0)).shape == (0, 0)
    assert jac(np.ones(1)).toarray().tolist() == [[2.0]]
    assert hess(np.ones(1)).shape == (1, 1)
    constant = gradc.sparse_jacobian(lambda x: np.ones(3))
    assert constant(X).nnz == 0 and constant(X).shape == (3, N)


def test_the_argument_and_names():
    def scaled(a, x):
        return a * x * x[0]

    by_position, by_name = gradc.sparse_jacobian(scaled, 1), gradc.sparse_jacobian(scaled, argnums="x")
    np.testing.assert_array_equal(by_position(2.0, X).toarray(), by_name(2.0, x=X).toarray())
    np.testing.assert_allclose(by_name(2.0, X).toarray(), gradc.jacfwd(scaled, 1)(2.0, X))

    @gradc.sparse_jacobian
    def doubled(x):
        """Twice."""
        return 2.0 * x

    assert doubled.__doc__ == "Twice." and doubled.__name__ == "doubled"
    assert "sparse_jacobian" in repr(doubled)


def test_arguments_are_not_changed():
    def clobbers(x):
        x[1:] *= x[:-1]
        return x

    x = X.copy()
    made = gradc.sparse_jacobian(clobbers)(x)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_allclose(made.toarray(), gradc.jacfwd(clobbers)(X))


def test_refusals():
    with pytest.raises(gradc.ShapeError, match="not one array"):
        gradc.sparse_jacobian(lambda x: (x, 2 * x))(X)
    with pytest.raises(gradc.UnsupportedError, match="in one array"):
        gradc.sparse_jacobian(lambda x: 2.0 * x)(1.0)
    with pytest.raises(gradc.UnsupportedError, match="in one array"):
        gradc.sparse_jacobian(lambda d: 2.0 * d["a"])({"a": X})
    with pytest.raises(gradc.UnsupportedError, match="one argument"):
        gradc.sparse_jacobian(rolled, argnums=(0,))
    with pytest.raises(gradc.DTypeError, match="argument"):
        gradc.sparse_jacobian(rolled)(np.arange(4))
    with pytest.raises(gradc.DTypeError, match="sparse Jacobian"):
        gradc.sparse_jacobian(lambda x: x > 0.5)(X)
    with pytest.raises(gradc.ShapeError, match="not a number"):
        gradc.sparse_hessian(rolled)(X)
    with pytest.raises(IndexError):
        gradc.sparse_jacobian(gathered)(X, np.array([[0, 17]]))
    with pytest.raises(TypeError, match="takes a function"):
        gradc.sparse_jacobian(3)
    inner = gradc.sparse_jacobian(rolled)
    with pytest.raises(gradc.UnsupportedError, match="inside a compiled function"):
        gradc.jit(lambda x: inner(x))(X)


def test_functions_of_every_kind():
    jitted, gradient = gradc.sparse_jacobian(gradc.jit(rolled)), gradc.sparse_jacobian(gradc.grad(energy))
    np.testing.assert_allclose(jitted(X).toarray(), gradc.jacfwd(rolled)(X))
    np.testing.assert_allclose(gradient(X).toarray(), gradc.hessian(energy)(X), atol=1e-12)
    parts = gradc.sparse_jacobian(lambda x: np.abs(x[1:] + 1j * x[:-1]))
    np.testing.assert_allclose(parts(X).toarray(), gradc.jacfwd(lambda x: np.hypot(x[1:], x[:-1]))(X))


def test_a_result_whose_size_depends_on_x_is_refused():
    with pytest.raises(gradc.UnsupportedError, match="size of what"):
        gradc.sparse_jacobian(lambda x: x[x > 0.0] ** 2)(X)


def test_a_result_whose_size_depends_on_other_arguments():
    def chosen(x, mask):
        return x[mask] ** 2

    jac = gradc.sparse_jacobian(chosen)
    for mask in (X > 0.5, X > 1.0, X > 0.5, X > 9.0):
        np.testing.assert_allclose(jac(X, mask).toarray(), gradc.jacfwd(chosen)(X, mask))


def test_rules_of_the_user():
    @gradc.custom_vjp
    def rounded(x):
        return np.round(x)

    rounded.defvjp(lambda x: (np.round(x), None), lambda res, ct: (ct,))
    made = gradc.sparse_jacobian(lambda x: rounded(x) * 2.0)(X)
    np.testing.assert_array_equal(made.toarray(), 2.0 * np.eye(N))

    @gradc.checkpoint
    def squared(x):
        return x * x

    jac = gradc.sparse_jacobian(lambda x: squared(x)[1:])
    np.testing.assert_allclose(jac(X).toarray(), np.diag(2.0 * X)[1:])
    assert jac.compression(X).sweeps == 1


def test_a_hessian_by_a_rule_need_not_be_symmetric():
    """What the rule gives back is no gradient; the sparse Hessian is what the dense one is."""

    @gradc.custom_vjp
    def odd(x):
        return np.sum(x * x)

    odd.defvjp(lambda x: (np.sum(x * x), x), lambda x, ct: (ct * np.concatenate((x[1:] ** 2, x[:1])),))

    def total(x):
        return odd(x) + np.sum(x**3)

    dense = gradc.hessian(total)(X)
    assert np.abs(dense - dense.T).max() > 0.5
    np.testing.assert_allclose(gradc.sparse_hessian(total)(X).toarray(), dense, atol=1e-14)


def test_copies_and_pickles():
    jac = gradc.sparse_jacobian(three_point)
    for other in (pickle.loads(pickle.dumps(jac)), copy.copy(jac), copy.deepcopy(jac)):
        np.testing.assert_array_equal(other(X).toarray(), jac(X).toarray())
    hess = pickle.loads(pickle.dumps(gradc.sparse_hessian(energy)))
    np.testing.assert_allclose(hess(X).toarray(), gradc.hessian(energy)(X), atol=1e-12)


# ------------------------------------------------------------------------------------------ colors, sweeps


@st.composite
def patterns(draw: Any) -> Any:
    rows, columns = draw(st.integers(0, 9)), draw(st.integers(1, 9))
    return np.array(draw(st.lists(st.lists(st.booleans(), min_size=columns, max_size=columns),
                                  min_size=rows, max_size=rows)), bool).reshape(rows, columns)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(patterns())
def test_columns_of_one_color_have_no_row_in_common(dense):
    pattern = scipy.sparse.csr_array(dense)
    colors = column_colors(pattern)
    for color in range(colors.max() + 1):
        assert dense[:, colors == color].sum(axis=1).max(initial=0) <= 1
    assert colors.max() + 1 >= fullest_row(pattern)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 9), st.data())
def test_star_colorings_determine_every_entry(n, data):
    dense = np.array(data.draw(st.lists(st.booleans(), min_size=n * n, max_size=n * n))).reshape(n, n)
    dense = dense | dense.T
    pattern = scipy.sparse.csr_array(dense)
    colors = symmetric_colors(pattern)
    places = places_by_symmetry(pattern.indptr.astype(np.int64), pattern.indices.astype(np.int64), colors)
    assert places.min(initial=0) >= 0
    values = np.where(dense, np.random.default_rng(0).normal(size=(n, n)), 0.0)
    values = values + values.T
    table = np.stack([values @ (colors == c) for c in range(colors.max() + 1)])
    rows, columns = dense.nonzero()
    np.testing.assert_allclose(table.reshape(-1)[places], values[rows, columns], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "columns", "share"),
    [(3, 5, 0.5), (70, 64, 0.1), (50, 65, 0.2), (40, 1000, 0.01), (300, 700, 0.005), (5, 300, 1.0), (0, 9, 0.0),
     (9, 130, 0.0)],
)  # fmt: skip
def test_refined_sweeps_find_the_pattern(rows, columns, share):
    dense = np.random.default_rng(0).random((rows, columns)) < share
    matrix = dense.astype(np.uint64)
    count = 0

    def sweep(words):
        nonlocal count
        count += 1
        return np.array([np.bitwise_or.reduce(words[row > 0], initial=0) for row in matrix], np.uint64)

    np.testing.assert_array_equal(find_pattern(sweep, columns, rows).toarray(), dense)
    assert count <= 4 * -(-columns // 64) + 4


def test_refinement_needs_few_sweeps():
    """A band of three in 100,000 columns: not one sweep for 64 columns."""
    count = 0

    def sweep(words):
        nonlocal count
        count += 1
        padded = np.concatenate(([0], words, [0])).astype(np.uint64)
        return padded[:-2] | padded[1:-1] | padded[2:]

    pattern = find_pattern(sweep, 100_000, 100_000)
    assert pattern.nnz == 299_998 and count <= 8


# ----------------------------------------------------------------------------------------- bundle adjustment


@pytest.mark.parametrize("function", [ba_loops, ba_vectorised])
def test_bundle_adjustment_takes_a_sweep_per_number_of_an_observation(function):
    """Columns: 11 of each camera, 3 of each point, 1 weight each; an observation has 15 of them."""
    jac = gradc.sparse_jacobian(function)
    rng = np.random.default_rng(3)
    args = make_ba(rng, 3, 6, 20)
    small = jac(*args)
    np.testing.assert_allclose(small.toarray(), gradc.jacfwd(function)(*args), rtol=1e-11, atol=1e-11)

    args = make_ba(rng, 10, 80, 300)
    x, n, m, observed, features = args
    assert x.size == 650 and jac.compression(*args).sweeps <= 18
    made = jac(*args)
    assert made.nnz == 300 * (14 + 14 + 1)  # the other coordinate of the principal point is not in it
    # Each observation by itself, dense.
    one = gradc.jacfwd(function)
    for i in (0, 7, 299):
        camera, point = observed[i]
        columns = np.r_[CAMERA * camera : CAMERA * (camera + 1), CAMERA * n + 3 * point : CAMERA * n + 3 * point + 3,
                        CAMERA * n + 3 * m + i]  # fmt: skip
        block = one(x[columns], 1, 1, np.zeros((1, 2), int), features[i : i + 1])
        rows = np.array([2 * i, 2 * i + 1, 600 + i])
        np.testing.assert_allclose(made.toarray()[np.ix_(rows, columns)], block, rtol=1e-11, atol=1e-11)


# ---------------------------------------------------------------------------------------------------- SciPy


def reaction(u, rate):
    """-u'' + rate u + u^3 = 1 on a line of unit spacing, u = 0 at both ends."""
    inner = np.concatenate((np.zeros(1), u, np.zeros(1)))
    return 2.0 * u - inner[:-2] - inner[2:] + rate * u + u**3 - 1.0


def test_least_squares_takes_a_sparse_jacobian():
    found = least_squares(reaction, np.zeros(1000), jac=gradc.sparse_jacobian(reaction), args=(1.0,))
    assert found.success and np.abs(found.fun).max() < 1e-6 and found.nfev < 15


def test_bundle_adjustment_with_scipy():
    """Points move; cameras and what they see are exact, so the reprojection errors vanish at the solution."""
    rng = np.random.default_rng(5)
    x, n, m, observed, features = make_ba(rng, 4, 12, 48)
    x[CAMERA * n + 3 * m :] = 1.0
    features = features + ba_loops(x, n, m, observed, features)[: 2 * 48].reshape(48, 2)
    start = x + np.concatenate((np.zeros(CAMERA * n), 0.05 * rng.normal(size=3 * m), np.zeros(48)))
    jac = gradc.sparse_jacobian(ba_loops)
    found = least_squares(ba_loops, start, jac=jac, args=(n, m, observed, features), tr_solver="lsmr", x_scale="jac")
    assert found.success and found.cost < 1e-10


def test_trust_region_takes_a_sparse_hessian():
    x0 = np.full(40, 0.5)
    found = minimize(
        gradc.value_and_grad(rosen_like), x0, jac=True, hess=gradc.sparse_hessian(rosen_like), method="trust-constr",
        options={"maxiter": 300, "gtol": 1e-8},
    )  # fmt: skip
    np.testing.assert_allclose(found.x, np.ones(40), atol=1e-5)
    assert found.fun < 1e-10
    np.testing.assert_allclose(gradc.sparse_hessian(rosen_like)(x0).toarray(), rosen_hess(x0), rtol=1e-10)
    assert rosen(x0) == pytest.approx(rosen_like(x0))


@pytest.mark.slow
def test_hand_tracking_against_jax():
    pytest.importorskip("jax")
    import jax

    from tests.workloads.hand import BONES, hand, make_hand
    from tests.workloads.jax_ports import hand as port

    args = make_hand(np.random.default_rng(1), BONES, 7)
    theta, parents, *rest = args
    expected = jax.jacfwd(lambda theta: port(theta, parents, *rest))(theta)
    np.testing.assert_allclose(gradc.jacobian(hand)(*args), expected, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(gradc.jacrev(hand)(*args), expected, rtol=1e-10, atol=1e-11)


def test_an_index_array_that_changed_in_place_gives_its_own_pattern() -> None:
    def picked(x: Any, index: Any) -> Any:
        y = x[index] * x
        y[0] = y[-1]
        return y

    x, index = np.linspace(0.3, 1.2, 6), np.arange(6)
    made, dense = gradc.sparse_jacobian(picked), gradc.jacobian(picked)
    for content in (np.arange(6), np.arange(6)[::-1], [5, 5, 0, 1, 2, 3], np.zeros(6)):
        index[:] = content
        np.testing.assert_allclose(made(x, index).toarray(), dense(x, index), rtol=1e-14)
