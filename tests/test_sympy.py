"""Expressions of SymPy and strings: against SymPy's own numbers and derivatives, and what they refuse."""

from __future__ import annotations

import cmath
import itertools
import math
import pickle
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy import special
from sympy.codegen.numpy_nodes import logaddexp
from sympy.matrices.expressions.dotproduct import DotProduct

import gradc
from bench.symbolic import derivatives_by_sympy, pendulum
from gradc.ad.forward import jvp
from gradc.ad.reverse import reverse
from gradc.codegen.to_sympy import _FUNCTIONS
from gradc.ir.builder import Builder, new_func
from gradc.ir.interp import run
from gradc.ir.nodes import walk_nodes
from gradc.ir.opdef import TABLE
from gradc.ir.tree import flatten, unflatten
from gradc.ir.types import WEAK_FLOAT
from gradc.ir.verifier import verify
from gradc.runtime.lambdify import expression_of

x, y, z = sp.symbols("x y z", real=True)
i, j = sp.symbols("i j", integer=True)


def evaluate(args: Any, expression: Any, *values: Any) -> Any:
    """The value by the interpreter, from verified IR."""
    made = expression_of(args, expression)
    verify(made.__gradc_program__(values).func) if not hasattr(made, "function") else None
    return made(*values)


# thirty functions of two variables, with a point where they are smooth
FUNCTIONS = [
    (x**3 * y**2 - x / y, 1.3, 0.7),
    (sp.sin(x * y) + sp.cos(x) * y, 0.4, 1.2),
    (sp.tan(x) * sp.cot(y), 0.5, 0.8),
    (sp.exp(-(x**2) - y**2), 0.3, -0.6),
    (sp.log(x**2 + y**2 + 1), 0.9, -0.2),
    (sp.sqrt(x * y + 2), 0.7, 1.9),
    (x**y, 1.7, 2.3),
    (sp.Rational(2, 3) * x ** sp.Rational(5, 2) / (1 + y), 1.1, 0.4),
    (sp.asin(x * y), 0.4, 0.6),
    (sp.acos(x) * y, 0.2, 1.5),
    (sp.atan(x / y), 0.8, -1.1),
    (sp.atan2(y, x), 0.8, -1.1),
    (sp.sinh(x) * sp.cosh(y), 0.5, 0.3),
    (sp.tanh(x * y - 1), 1.2, 0.9),
    (sp.asinh(x + y), 0.1, 0.4),
    (sp.acosh(x * y), 2.0, 1.4),
    (sp.atanh(x * y), 0.3, 0.5),
    (sp.sec(x) + sp.csc(y), 0.6, 0.9),
    (sp.sech(x) * sp.csch(y), 0.6, 0.9),
    (sp.acot(x) * sp.acsc(y), 1.4, 2.2),
    (sp.erf(x) * sp.erfc(y), 0.5, 0.2),
    (sp.gamma(x) / y, 2.3, 1.1),
    (sp.loggamma(x * y), 1.4, 1.8),
    (sp.digamma(x) * y**2, 2.1, 0.6),
    (sp.beta(x, y), 1.6, 2.4),
    (sp.Abs(x) * sp.sign(y) * y, -0.7, -1.3),
    (sp.Max(x, y, x * y) * x, 1.2, 1.5),
    (sp.Min(x, y) ** 3 + sp.Heaviside(x - y) * y, 0.4, 0.9),
    (sp.Piecewise((x**2 * y, x > y), (sp.sin(x) * y**3, True)), 0.2, 0.9),
    (sp.exp(x * sp.sin(y)) / (1 + sp.exp(-x)), 0.4, 0.8),
]


def nested(func: Any, order: tuple[str, ...]) -> Any:
    """The sum of the derivatives of a function of two numbers, taken once for each entry of `order`."""
    for mode in order:
        if mode == "rev":
            func = reverse(func, [0, 1], keep_value=False)
        else:
            forward = jvp(func, [0, 1], keep_value=False)
            func = along_ones(forward)
        func = added(func)
        verify(func)
    return func


def along_ones(func: Any) -> Any:
    """The function with 1 for the tangents of its parameters, which are the second half of them."""
    from gradc.ir.builder import Builder
    from gradc.ir.nodes import Block, clone_func
    from gradc.runtime.ownership import substitute

    func = clone_func(func)
    builder = Builder(func, checks=False)
    with builder, builder.into(Block()) as top:
        ones = {p: builder.const(1.0) for p in func.params[len(func.params) // 2 :]}
    func.body.nodes[:0] = top.nodes
    substitute(func, ones, len(top.nodes))
    del func.body.params[len(ones) :]
    return func


def added(func: Any) -> Any:
    """The function with the sum of its results."""
    from gradc.ir.builder import Builder

    with Builder(func, checks=False):
        total = func.results[0]
        for r in func.results[1:]:
            total = total + r
    func.body.yields = [total]
    return func


@pytest.mark.parametrize("k", range(len(FUNCTIONS)), ids=lambda k: str(FUNCTIONS[k][0]))
def test_derivatives_to_order_three_agree_with_sympy(k: int) -> None:
    expression, a, b = FUNCTIONS[k]
    program = expression_of((x, y), expression).__gradc_program__((a, b))
    wanted = expression
    at = {x: sp.Float(a, 30), y: sp.Float(b, 30)}
    for order in range(4):
        number = float(sp.N(wanted.subs(at).doit()))
        every = itertools.product(("fwd", "rev"), repeat=order)
        for modes in every:
            (value,) = run(nested(program.func, modes), [a, b])
            assert math.isclose(value, number, rel_tol=1e-10, abs_tol=1e-10), (modes, value, number)
        wanted = sp.diff(wanted, x) + sp.diff(wanted, y)


# special functions of one variable, with a point
SPECIAL = [
    (sp.besselj(2, x) * sp.bessely(sp.Rational(1, 2), x), 1.4), (sp.besseli(1, x) + sp.besselk(0, x), 0.8),
    (sp.jn(1, x) + sp.yn(2, x), 1.7), (sp.airyai(x) * sp.airybi(x) + sp.airyaiprime(x) - sp.airybiprime(x), -0.6),
    (sp.erfinv(x) + sp.erfi(x) + sp.erf2(x, 2 * x).rewrite(sp.erf), 0.3), (sp.expint(3, x) + sp.E1(x), 0.9),
    (sp.expint(sp.Rational(1, 3), x), 0.8), (sp.Ei(x) * sp.li(x + 1) + sp.Li(x + 2), 0.7),
    (sp.Si(x) + sp.Ci(x) * sp.Shi(x) - sp.Chi(x), 1.1), (sp.fresnels(x) * sp.fresnelc(x), 0.8),
    (sp.LambertW(x) + sp.LambertW(-x / 4, -1), 0.9), (sp.zeta(x + 2) * sp.zeta(3, x) + sp.dirichlet_eta(x + 1), 0.8),
    (sp.polylog(2, x) + sp.polylog(1, x) + sp.polylog(-1, x), 0.4), (sp.harmonic(x) + sp.harmonic(x, 2), 1.3),
    (sp.elliptic_k(x) + sp.elliptic_e(x) + sp.elliptic_f(x, sp.Rational(1, 4)) + sp.elliptic_e(x, 0.25), 0.3),
    (sp.lowergamma(2.5, x) + sp.uppergamma(1.5, x), 1.2), (sp.betainc_regularized(2, 3, 0, x), 0.4),
    (sp.betainc(2, 3, x / 2, x), 0.6), (sp.beta(x, 2) * sp.digamma(x) + sp.polygamma(2, x), 1.6),
    (sp.binomial(x + 3, x) * sp.factorial(x) + sp.RisingFactorial(x, 2.5) + sp.FallingFactorial(x + 4, 2.5), 1.1),
    (sp.hyper((1, 0.5), (2.5,), x) + sp.hyper((0.5,), (1.5,), x) + sp.hyper((), (1.5,), x), 0.4),
    (sp.legendre(3, x) * sp.multigamma(x + 2, 2), 0.4),
    (sp.lowergamma(x, 1.2) + sp.uppergamma(x, x) + sp.betainc_regularized(x, 2 * x, 0, sp.Rational(2, 5)), 1.3),
    (sp.sinc(x) ** 2 + sp.sinc(x / 1000), 0.2), (sp.loggamma(x) * sp.gamma(x - 2), 1.4),
]


@pytest.mark.parametrize("k", range(len(SPECIAL)), ids=lambda k: str(SPECIAL[k][0]))
def test_special_functions_and_their_derivatives(k: int) -> None:
    expression, a = SPECIAL[k]
    func = expression_of(x, expression).__gradc_program__((a,)).func
    for order in range(3):
        if order:
            func = reverse(func, [0], keep_value=False) if order == 1 else along_ones(jvp(func, [0], keep_value=False))
            verify(func)
        (found,) = run(func, [a])
        wanted = by_differences(expression, a, order)
        assert math.isclose(found, float(wanted), rel_tol=1e-11, abs_tol=1e-11), (order, found, wanted)


# Ops whose formula in SymPy has no numbers or no derivative, or is another function than the op at some of the points.
NOT_SYMPYS = {"erfcinv", "cast", "stop_gradient", "let", "where", "mod", "clip", "strong_mul", "heaviside", "cbrt"}


@pytest.mark.parametrize(
    "op",
    [op for op in TABLE.values() if op.partials and op.name in _FUNCTIONS and op.name not in NOT_SYMPYS],
    ids=lambda op: op.name,
)
def test_partials_of_ops_are_sympys(op: Any) -> None:
    rng = np.random.default_rng(1)
    whole = op.tests.get("whole", ())
    point = [float(rng.integers(1, 4)) if k in whole else rng.uniform(*d) for k, d in enumerate(op.domain)]
    symbols = sp.symbols(f"s0:{len(point)}", real=True)
    formula = _FUNCTIONS[op.name](*symbols)
    func = new_func("f", [(f"x{k}", WEAK_FLOAT) for k in range(len(point))])
    with Builder(func, checks=False):
        func.body.yields = [op(*func.params, **op.tests.get("attrs", {}))]
    for k, name in enumerate(op.operands):
        if name in op.fixed:
            continue
        (found,) = run(reverse(func, [k], keep_value=False), point)
        at = {s: sp.Integer(int(v)) if j in whole else sp.Float(v, 40) for j, (s, v) in enumerate(zip(symbols, point))}
        slope = sp.diff(formula, symbols[k])
        if slope.has(sp.Derivative):  # which SymPy has no formula for
            kept = {s: v for s, v in at.items() if s != symbols[k]}
            wanted = by_differences(formula.subs(kept).subs(symbols[k], x), point[k], 1)
        else:
            wanted = sp.N(slope.subs(at).doit(), 25)
        assert math.isclose(found, float(sp.re(wanted)), rel_tol=1e-11, abs_tol=1e-12), (name, found, wanted)


def by_differences(expression: Any, a: float, order: int) -> float:
    """A derivative by differences with 45 digits: SymPy's own are singular at points where these functions are not."""
    step = sp.Rational(1, 10**7)

    def at(k: int) -> Any:
        return sp.re(sp.N(expression.subs(x, sp.Rational(a) + k * step), 45))

    if order == 0:
        return float(at(0))
    if order == 1:
        return float((8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step))
    return float((16 * (at(1) + at(-1)) - (at(2) + at(-2)) - 30 * at(0)) / (12 * step**2))


def test_special_functions_of_several_variables() -> None:
    n, a = sp.symbols("n a", positive=True)
    polynomials = sp.legendre(n, x) + sp.chebyshevt(n, x) + sp.chebyshevu(n, x) + sp.hermite(n, x) + sp.laguerre(n, x)
    polynomials += sp.gegenbauer(n, a, x) + sp.jacobi(n, a, a, x) + sp.assoc_laguerre(n, a, x)
    func = expression_of((n, a, x), polynomials).__gradc_program__((3, 1.5, 0.4)).func
    value, slope = run(reverse(func, [2]), [3, 1.5, 0.4])
    exact = sp.expand_func(polynomials.subs({n: 3, a: sp.Rational(3, 2)}).doit())
    assert math.isclose(value, exact.subs(x, 0.4), rel_tol=1e-13)
    assert math.isclose(slope, exact.diff(x).subs(x, 0.4), rel_tol=1e-13)


# ------------------------------------------------------------------------------------------------- values


def test_arguments_come_as_numbers_tuples_arrays_and_matrices() -> None:
    matrix = sp.Matrix([[x, y * z], [z, 1]])
    assert np.array_equal(evaluate([(x, y), z], matrix, np.array([1.0, 2.0]), 3.0), [[1, 6], [3, 1]])
    assert evaluate([(x, (y, z))], {"a": x, "b": [y, z * 2]}, (1, (2, 3))) == {"a": 1.0, "b": [2.0, 6.0]}
    assert evaluate([sp.Matrix([x, y])], x - y, np.array([3, 1])) == 2.0
    assert evaluate("x y", x - y, 3.0, 1.0) == 2.0
    assert evaluate(x, sp.Integer(3), 1.0) == 3.0


def test_symbols_may_stand_for_arrays() -> None:
    values = np.array([0.5, 2.0])
    expression = sp.Piecewise((sp.sin(x), x < 1), (x**2, True))
    assert np.allclose(evaluate(x, expression, values), [np.sin(0.5), 4.0])


def test_sums_and_products_are_loops() -> None:
    entries = sp.IndexedBase("X")
    assert evaluate(entries, sp.Sum(entries[i] ** 2 * i, (i, 0, 3)), np.arange(4.0)) == 36.0
    assert evaluate(x, sp.Sum(x * i * j, (j, 0, i), (i, 0, 3)), 1.0) == 25.0
    assert evaluate(x, sp.Product(x + i, (i, 1, 4)), 1.0) == 120.0
    with pytest.raises(IndexError):
        evaluate(entries, sp.Sum(entries[i], (i, 0, 4)), np.arange(4.0))
    with pytest.raises(IndexError):
        evaluate(entries, entries[4], np.arange(4.0))


def test_matrix_expressions_are_products_of_arrays() -> None:
    a, b = sp.MatrixSymbol("A", 2, 2), sp.MatrixSymbol("b", 2, 1)
    m, v = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[1.0], [-1.0]])
    assert np.allclose(evaluate((a, b), 2 * a * b + b, m, v), 2 * m @ v + v)
    assert np.allclose(evaluate((a, b), a.inv() * b, m, v), np.linalg.solve(m, v))
    assert np.isclose(evaluate(a, a[0, 1] * sp.Trace(a) + sp.Determinant(a), m), 2 * 6 - 1)
    assert np.allclose(evaluate(a, a.T, m), m.T)


def test_other_things_that_sympy_makes() -> None:
    a = sp.MatrixSymbol("A", 2, 2)
    m = np.array([[1.0, 2.0], [3.0, 5.0]])
    assert np.array_equal(evaluate(a, a + sp.Identity(2), m), m + np.eye(2))
    assert np.array_equal(evaluate(a, a[:1, :], m), m[:1])
    assert np.array_equal(evaluate(a, sp.BlockMatrix([[a], [a]]), m), np.vstack([m, m]))
    power = evaluate(a, sp.HadamardPower(a, 2) + a**2, m)
    assert np.array_equal(power, m**2 + m @ m)
    parts = sp.cse([sp.sin(x + y) ** 2, sp.sin(x + y) + x])
    assert parts[0]
    assert np.allclose(evaluate((x, y), parts, 1.0, 2.0), [math.sin(3.0) ** 2, math.sin(3.0) + 1])
    inside = sp.Piecewise((1, sp.Contains(x, sp.Interval(0, 1), evaluate=False)), (0, True))
    assert evaluate(x, inside, 0.5) == 1.0 and evaluate(x, inside, 2.0) == 0.0
    assert evaluate(x, sp.Poly(x**2 + 1, x), 3.0) == 10.0
    v = sp.MatrixSymbol("v", 2, 1)
    assert evaluate(v, DotProduct(v, v) * 2, m[:, :1]) == 20.0
    assert np.array_equal(evaluate((x, y), np.array([[x, 1], [x * y, y]]), 2.0, 3.0), [[2, 1], [6, 3]])
    assert np.array_equal(evaluate(x, sp.MutableDenseNDimArray([[x, 0], [1, x]]), 2.0), [[2, 0], [1, 2]])
    assert math.isclose(evaluate((x, y), logaddexp(x, y), 1.0, 2.0), np.logaddexp(1.0, 2.0))


def test_names_that_python_does_not_have() -> None:
    t = sp.Symbol("t")
    angle = sp.Function("theta")(t)
    assert evaluate([sp.Symbol("m₁"), sp.Symbol("x²")], sp.Symbol("m₁") - sp.Symbol("x²"), 3.0, 1.0) == 2.0
    symbols = [sp.Symbol("lambda"), sp.Symbol("x'"), sp.Dummy("x"), sp.Dummy("x"), angle, angle.diff(t), sp.Symbol("λ")]
    made = gradc.lambdify(symbols, sum((k + 1) * s for k, s in enumerate(symbols)))
    assert list(made._signature.parameters) == ["lambda_", "x_prime", "x", "x_", "theta", "theta_d", "λ"]
    assert evaluate(symbols, sum((k + 1) * s for k, s in enumerate(symbols)), *[1] * 7) == 28.0


def test_vectors_are_named_for_their_symbols() -> None:
    t = sp.Symbol("t")
    angles = [sp.Function(f"q{k}")(t) for k in range(3)]
    made = gradc.lambdify([angles, [a.diff(t) for a in angles], (x, y), z], x)
    assert list(made._signature.parameters) == ["q", "q_d", "arg2", "z"]


def test_a_branch_that_is_not_taken_is_not_computed() -> None:
    program = expression_of(x, sp.Piecewise((sp.log(x), x > 0), (x, True))).__gradc_program__((1.0,))
    kinds = [node.op.name for node in program.func.body.nodes]
    assert "if" in kinds and "log" not in kinds


# What stands in several branches, what is nested deeply, and what has many: as SymPy and as Python has them. The Python
# function takes the real parts of its arguments for conditions, so that it can be differentiated by a complex step.


def shared_choices(levels: int) -> Any:
    """Each level stands in all branches of the next one: written out, 3**levels of the innermost."""
    e = x
    for k in range(levels):
        e = sp.Piecewise((sp.sin(e) + k, y < k), (sp.cos(e) * x, z < k), (e * y, True), evaluate=False)
    return e


def take_shared(a: complex, b: complex, c: complex) -> complex:
    e = a
    for k in range(13):
        e = cmath.sin(e) + k if b.real < k else cmath.cos(e) * a if c.real < k else e * b
    return e


def deep_choices(levels: int) -> Any:
    """Only the last branch of each level goes on."""
    e = x * y
    for k in range(levels, 0, -1):
        e = sp.Piecewise((sp.log(x - k) * y + k, x > k), (sp.cos(y * k) * e + sp.sqrt(k - x), True), evaluate=False)
    return e


def take_deep(a: complex, b: complex, c: complex) -> complex:
    e = a * b
    for k in range(20, 0, -1):
        e = cmath.log(a - k) * b + k if a.real > k else cmath.cos(b * k) * e + cmath.sqrt(k - a)
    return e


def wide_choices(pairs: int) -> Any:
    return sp.Piecewise(*((sp.sin(x + k) * y + sp.sqrt(k - x), x < k) for k in range(pairs)), (x * y, z > 0))


def take_wide(a: complex, b: complex, c: complex) -> complex:
    for k in range(45):
        if a.real < k:
            return cmath.sin(a + k) * b + cmath.sqrt(k - a)
    return a * b if c.real > 0 else complex(math.nan)


@pytest.mark.parametrize(
    ("expression", "function", "points"),
    [
        (shared_choices(13), take_shared, [(0.4, 3.5, 7.5), (0.4, 20.0, -1.0), (0.4, -1.0, 20.0)]),
        (deep_choices(20), take_deep, [(10.5, 0.3, 0.0), (-1.0, 0.3, 0.0), (50.0, 0.3, 0.0)]),
        (wide_choices(45), take_wide, [(-3.0, 0.4, 0.0), (11.5, 0.4, 0.0), (43.5, 0.4, 0.0), (60.0, 0.4, 1.0)]),
    ],
    ids=["shared", "deep", "wide"],
)
def test_code_of_branches_is_as_long_as_the_expression(expression: Any, function: Any, points: Any) -> None:
    """A branch that is not taken is not computed either, where that would give NaN."""
    program = expression_of((x, y, z), expression).__gradc_program__((0.1, 0.2, 0.3))
    verify(program.func)
    assert len(list(walk_nodes(program.func.body))) < 1200
    derivative = reverse(program.func, [0, 1, 2])
    verify(derivative)
    assert len(list(walk_nodes(derivative.body))) < 6000
    for point in points:
        steps = [[v + 1e-30j * (k == axis) for k, v in enumerate(point)] for axis in range(3)]
        wanted = [function(*map(complex, point)).real, *(function(*map(complex, s)).imag / 1e-30 for s in steps)]
        assert np.allclose(run(derivative, list(point)), wanted, rtol=1e-11, atol=1e-12)
    none = run(derivative, [60.0, 0.4, -1.0])
    assert math.isnan(none[0]) == (function is take_wide) and (function is not take_wide or none[1] == 0.0)


def test_branches_in_conditions_and_of_truth_values() -> None:
    inner = sp.Piecewise((sp.sqrt(x), x > 0), (-x, True))
    e = sp.Piecewise((y, y > 3), (inner * 2, inner > 1), (sp.sin(inner), sp.ITE(y > 0, x > -5, x > 5)))
    for a, b, wanted in ((4.0, 5.0, 5.0), (4.0, 1.0, 4.0), (-0.5, 1.0, math.sin(0.5)), (-0.5, -1.0, math.nan)):
        assert np.allclose(evaluate((x, y), e, a, b), wanted, equal_nan=True)
    assert np.allclose(evaluate((x, y), e, np.array([4.0, -0.5]), 1.0), [4.0, math.sin(0.5)])


def test_sums_against_their_direction_follow_sympy() -> None:
    for e in (
        sp.Sum(x * i, (i, 4, 1)),
        sp.Product(x + i, (i, 5, 3)),
        sp.Sum(x * i * j, (j, i, 2), (i, 0, 5)),
        sp.Product(sp.Sum(x + j * i, (j, 3, i)), (i, 1, 5)),
        sp.Sum(j * x, (j, 0, i - 2), (i, 0, 3)),
    ):
        assert math.isclose(evaluate(x, e, 1.3), e.doit().subs(x, 1.3), rel_tol=1e-13)


def test_common_subexpressions_are_computed_once() -> None:
    s = sp.sin(x + y)
    program = expression_of((x, y), [s**2, sp.exp(s), s * x]).__gradc_program__((1.0, 1.0))
    assert [node.op.name for node in program.func.body.nodes].count("sin") == 1


def test_expressions_that_share_their_parts_are_gone_through_once() -> None:
    """Written out, this one has 4**40 terms: whatever SymPy evaluates about it takes forever."""

    def add(*terms: Any) -> Any:
        return sp.Add(*terms, evaluate=False)

    def mul(*factors: Any) -> Any:
        return sp.Mul(*factors, evaluate=False)

    shared, wanted, slope = x, 0.7, 1.0
    for _ in range(40):
        square = sp.Pow(add(1, mul(shared, shared)), -sp.Rational(3, 2), evaluate=False)
        shared = add(mul(-1, square), mul(-2, sp.sech(shared, evaluate=False)))
        inner = (1 + wanted**2) ** -1.5
        slope *= 3 * wanted * inner / (1 + wanted**2) + 2 * math.tanh(wanted) / math.cosh(wanted)
        wanted = -inner - 2 / math.cosh(wanted)
    program = expression_of(x, shared).__gradc_program__((0.7,))
    value, found = run(reverse(program.func, [0]), [0.7])
    assert math.isclose(value, wanted, rel_tol=1e-12)
    assert math.isclose(found, slope, rel_tol=1e-9)


def test_deep_expressions_do_not_recurse() -> None:
    deep = x
    for _ in range(3000):
        deep = sp.sin(deep, evaluate=False)
    assert 0 < evaluate(x, deep, 0.5) < 0.1


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("args", "expression", "words", "place"),
    [
        (x, x + y, "y is not among the arguments", "y"),
        (x, sp.Derivative(sp.Function("f")(x), x), ".doit()", "Derivative"),
        (x, 1 + sp.Integral(sp.sin(x) / x, x), ".doit()", "Integral"),
        (x, x + sp.mathieus(1, 1, x), "mathieus has no rule", "mathieus"),
        (x, x + sp.hyper((1, 1, 1), (2, 2), x), "hypergeometric function of 3 and 2", "hyper"),
        (x, sp.expint(x, x), "order must be", "expint"),
        (x, 1 + sp.LambertW(x, 2), "not real", "LambertW"),
        (x, sp.Function("f")(x) + 1, "not known", "f(x)"),
        (x, x * sp.Heaviside(x).diff(x), "derivative of a jump", "DiracDelta"),
        (x, sp.zoo, "division by zero", "zoo"),
        (x, sp.Sum(i, (i, 0, y)), "when the expression is compiled", "Sum"),
        ("x", "x^2 + 1", "write ** for powers", "^2"),
        ("x", "x + (1", "not an expression", "("),
        ("x", "1 + __import__('os')", "not known", "__import__"),
        ("x", "x.__class__", "does not belong", "x.__class__"),
        ("x", "2 * x(3)", "cannot be called", "x("),
        ("x", "x * yy", "not among the arguments", "yy"),
        ("x", "(lambda: x)()", "not known", "lambda"),
        ("x", "1 + 9**9**9", "too large", "9**9"),
        ("x", "x + [1]*1000", "no arithmetic", "[1]"),
        (sp.Symbol("x"), x + 1, "other assumptions", "x"),
        ("x", "[x for _ in (1,)]", "does not belong", "[x for"),
    ],
)
def test_refusals_show_the_expression(args: Any, expression: Any, words: str, place: str) -> None:
    with pytest.raises(gradc.UnsupportedError) as caught:
        expression_of(args, expression).__gradc_program__((1.0,))
    message = str(caught.value)
    assert words in message
    lines = message.splitlines()
    caret = next(k for k, line in enumerate(lines) if set(line.strip()) <= set("|^ ") and "^" in line)
    assert lines[caret - 1][lines[caret].index("^") :].startswith(place)


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(gradc.ShapeError, match="another size than 2"):
        evaluate([(x, y)], x, np.arange(3.0))
    with pytest.raises(gradc.ShapeError, match="stands for 2 numbers"):
        evaluate([(x, y)], x, 3.0)
    with pytest.raises(gradc.UnsupportedError, match="twice"):
        expression_of((x, x), x)
    with pytest.raises(gradc.UnsupportedError, match="gradc.jit"):
        expression_of((x,), math.sin)


# -------------------------------------------------------------------------------------------------- strings


def test_strings_are_python() -> None:
    assert evaluate("x y", "max(x, y) + (x if x > y else y**2) + np.tanh(x) + pi", 1.0, 2.0) == pytest.approx(
        2 + 4 + math.tanh(1.0) + math.pi
    )
    assert evaluate([("x", "y")], ("x + y", {"a": "x * y"}), np.array([1.0, 2.0])) == (3.0, {"a": 2.0})
    assert evaluate((x, y), "x - y", 3.0, 1.0) == 2.0


def test_strings_know_special_functions_by_name() -> None:
    made = gradc.lambdify("x w", "sigmoid(w*x) + logistic(x) + softplus(x) + relu(w) + jv(1, x) + ndtr(w) + erfinv(x)")
    value, slope = gradc.value_and_grad(made)(0.3, 0.7)
    s, t = 1 / (1 + math.exp(-0.21)), 1 / (1 + math.exp(-0.3))
    wanted = s + t + math.log1p(math.exp(0.3)) + 0.7 + special.jv(1, 0.3) + special.ndtr(0.7) + special.erfinv(0.3)
    assert math.isclose(value, wanted, rel_tol=1e-14)
    other = t * (1 - t) + t + special.jvp(1, 0.3) + math.sqrt(math.pi) / 2 * math.exp(special.erfinv(0.3) ** 2)
    assert math.isclose(slope, s * (1 - s) * 0.7 + other, rel_tol=1e-13)
    with pytest.raises(gradc.UnsupportedError, match="not known"):
        gradc.lambdify("x", "seterr(x)")


# ------------------------------------------------------------------------------------------------- compiled


def test_compiled_expressions_are_objects_like_the_others() -> None:
    made = gradc.lambdify((x, y), sp.sin(x * y))
    assert repr(made) == "<gradc.lambdify(expression)>"
    assert made(1.0, 2) == pytest.approx(math.sin(2))
    assert "def expression_lambdify(x, y):" in made.source
    again = pickle.loads(pickle.dumps(made))
    assert again(1.0, 2) == made(1.0, 2)

    def loop(v, a):
        total = 0.0
        for k in range(len(v)):
            total += made(v[k], a)
        return total

    v = np.array([1.0, 2.0])
    assert np.allclose(gradc.grad(loop)(v, 2.0), 2 * np.cos(2 * v), atol=1e-12)


def test_hessian_of_an_expression_of_a_vector() -> None:
    xs = sp.symbols("x0:4")
    expression = sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(xs))
    point = np.array([0.3, -0.2, 0.8, 1.1])
    wanted = sp.lambdify([xs], sp.hessian(expression, xs))(point)
    assert np.allclose(gradc.hessian(gradc.lambdify([xs], expression))(point), wanted, rtol=1e-12, atol=1e-12)


def test_strings_pickle_and_differentiate() -> None:
    made = pickle.loads(pickle.dumps(gradc.lambdify("x, y", "x**2 * sin(y)")))
    assert gradc.grad(made, "y")(2.0, 0.0) == 4.0


def test_structure_of_results_is_kept() -> None:
    made = expression_of(x, (x, [x * 2], {"a": sp.Matrix([x])}))
    leaves, tree = flatten(made(2.0))
    assert [np.asarray(leaf).tolist() for leaf in leaves] == [2.0, 4.0, [[2.0]]]
    assert unflatten(tree, leaves)[2]["a"].shape == (1, 1)


@pytest.mark.parametrize("links", [2, 3, pytest.param(5, marks=pytest.mark.slow)])
def test_pendulums_of_n_links(links: int) -> None:
    """Kane's mass matrix and forcing, and the accelerations that they give, against SymPy's own derivatives."""
    args, mass, forcing = pendulum(links)
    both = gradc.lambdify(args, (mass, forcing))
    point, parameters = np.linspace(0.2, 1.1, 2 * links), np.array([1.0, 0.7, 9.81])

    def everything(x, p):
        m, f = both(x, p)
        return m, f[:, 0], np.linalg.solve(m, f[:, 0])

    in_mass, in_forcing, in_acceleration = gradc.jacobian(everything)(point, parameters)
    symbols, slopes = derivatives_by_sympy(args, sp.Matrix.hstack(mass, forcing))
    wanted = np.array(sp.lambdify([symbols, args[1]], slopes)(point, parameters))
    wanted = wanted.reshape(links, links + 1, 2 * links)
    assert np.abs(in_mass - wanted[:, :links]).max() < 1e-12
    assert np.abs(in_forcing - wanted[:, links]).max() < 1e-12
    m, f = both(point, parameters)
    a = np.linalg.solve(m, f[:, 0])
    by_hand = np.linalg.solve(m, wanted[:, links] - np.einsum("ijk,j->ik", wanted[:, :links], a))
    assert np.allclose(in_acceleration, by_hand, rtol=1e-12, atol=1e-12 * np.abs(by_hand).max())


# ---------------------------------------------------------------------------------------------- and back


@pytest.mark.parametrize("k", range(0, len(FUNCTIONS), 3), ids=lambda k: str(FUNCTIONS[k][0]))
def test_expressions_come_back(k: int) -> None:
    expression, a, b = FUNCTIONS[k]
    back = gradc.to_sympy(gradc.lambdify((x, y), expression), x, y)
    at = {x: sp.Float(a), y: sp.Float(b)}
    assert math.isclose(float(sp.N(back.subs(at))), float(sp.N(expression.subs(at))), rel_tol=1e-12)


def test_special_functions_come_back() -> None:
    def f(x):
        return special.jv(2, x) * special.j0(x) + special.expn(2, x) + special.ellipk(x) * special.gammainc(2.5, x)

    back = gradc.to_sympy(gradc.grad(f), x)
    assert math.isclose(float(sp.N(back.subs(x, sp.Float(0.4)))), gradc.grad(f)(0.4), rel_tol=1e-12)
    assert "J_{2}" in sp.latex(back)


def branching(x, y, n=3):
    total = 0.0
    for k in range(n):
        total += math.exp(-x * k) * y / 2
    return total if x > 0 else y**2


def in_place(v):
    w = v * 2
    w[0] += 1.5
    return np.sum(w[1:] * w[:-1]) + np.dot(v, v) + math.pi


def test_functions_and_gradients_become_expressions() -> None:
    a, b = sp.symbols("a b")
    assert str(gradc.to_sympy(gradc.grad(lambda x, y: x**3 * np.sin(y)))) == "3*x**2*sin(y)"
    wanted = sp.Piecewise((b / 2 + b * sp.exp(-a) / 2, a > 0), (b**2, True))
    assert gradc.to_sympy(branching, a, "b", 2) == wanted
    found = gradc.to_sympy(in_place, np.ones(3))
    gradient = gradc.to_sympy(gradc.grad(in_place), np.ones(3))
    assert sp.simplify(gradient - sp.Matrix([found.diff(s) for s in sp.symbols("v_0:3")])) == sp.zeros(3, 1)
    assert r"v_{0}" in sp.latex(gradient)


def test_what_is_no_expression_is_refused() -> None:
    def halved(x):
        while x > 1:
            x = x / 2
        return x

    with pytest.raises(gradc.UnsupportedError, match="while"):
        gradc.to_sympy(halved)
