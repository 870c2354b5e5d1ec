"""C functions in compiled and differentiated code: ctypes, cffi, scipy.LowLevelCallable."""

from __future__ import annotations

import ctypes
import ctypes.util
import math

import numpy as np
import pytest
import scipy.special.cython_special
from numba import cfunc, njit
from numba.extending import get_cython_function_address
from scipy import LowLevelCallable, special
from scipy.integrate import nquad, quad
from scipy.ndimage import generic_filter

import gradc
from gradc.errors import NonDifferentiableError, UnsupportedError
from gradc.ir.foreign import c_function, parse_prototype, prototype_of_word
from gradc.ir.interp import run as interpret

libm = ctypes.CDLL(ctypes.util.find_library("m"))
cbrt = libm.cbrt
cbrt.argtypes, cbrt.restype = [ctypes.c_double], ctypes.c_double
ldexp = libm.ldexp
ldexp.argtypes, ldexp.restype = [ctypes.c_double, ctypes.c_int], ctypes.c_double

READ = np.ctypeslib.ndpointer(np.float64, ndim=1, flags="C")
WRITTEN = np.ctypeslib.ndpointer(np.float64, ndim=1, flags=("C", "W"))


@cfunc("float64(int32, CPointer(float64))")
def c_square_norm(n, x):
    total = 0.0
    for i in range(n):
        total += x[i] * x[i]
    return total


@cfunc("void(int32, float64, CPointer(float64), CPointer(float64))")
def c_axpy(n, a, x, y):
    for i in range(n):
        y[i] += a * x[i]


square_norm = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, READ)(c_square_norm.address)
axpy = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_double, READ, WRITTEN)(c_axpy.address)

root = gradc.custom_vjp(cbrt)
root.defvjp(lambda x: (cbrt(x), cbrt(x)), lambda y, ct: (ct / (3.0 * y * y),))

length = gradc.custom_vjp(lambda x: square_norm(len(x), x))
length.defvjp(lambda x: (length(x), x), lambda x, ct: (2.0 * ct * x,))


def weighted_roots(x):
    total = 0.0
    for i in range(len(x)):
        total += root(x[i]) * x[i]
    return total


X = np.array([1.0, 8.0, 27.0])


def source_of(compiled, *args):
    """What `.source` defines, run under plain Python."""
    space = {}
    exec(compiled.source, space)
    return space[f"{compiled.__name__}_{compiled.transform.kind}"]


# ---------------------------------------------------------------------------------------------- reading them


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (cbrt, "float64(float64)"),
        (ldexp, "float64(float64, int32)"),
        (square_norm, "float64(int32, float64*)"),
        (axpy, "void(int32, float64, float64*, float64*!)"),
        (LowLevelCallable.from_cython(scipy.special.cython_special, "j0"), "float64(float64, int320)"),
        (LowLevelCallable(cbrt), "float64(float64)"),
    ],
)
def test_prototypes_are_read_and_written(given, text):
    prototype = c_function(given).prototype
    assert str(prototype) == text
    assert parse_prototype(text) == prototype_of_word(prototype.word) == prototype
    assert prototype.word.isidentifier()


def test_what_is_not_declared_is_refused():
    undeclared = ctypes.CDLL(ctypes.util.find_library("m")).cos
    with pytest.raises(UnsupportedError, match=r"no argument types[\s\S]*set cos.argtypes"):
        gradc.jit(lambda x: undeclared(x))(1.0)
    undeclared.argtypes, undeclared.restype = [ctypes.POINTER(ctypes.c_double)], ctypes.c_double
    with pytest.raises(UnsupportedError, match="ndpointer"):
        gradc.jit(lambda x: undeclared(x))(X)
    with pytest.raises(UnsupportedError, match="Python's own C interface"):
        gradc.jit(lambda x: ctypes.pythonapi.PyFloat_GetMax())(1.0)


# ------------------------------------------------------------------------------------------------ computing


def test_calls_convert_numbers_as_c_does():
    compiled = gradc.jit(lambda x, n: ldexp(x, n))
    assert compiled(1.5, 3) == ldexp(1.5, 3) == 12.0
    assert compiled(np.float32(1.5), np.int64(3)) == 12.0
    assert type(gradc.jit(lambda x: cbrt(x))(8)) is float
    assert gradc.jit(cbrt)(27.0) == cbrt(27.0)
    with pytest.raises(UnsupportedError, match="argument 2 of the C function `ldexp` .* type int32"):
        compiled(1.5, 2.0)
    with pytest.raises(UnsupportedError, match="takes 2 arguments, and is given 1"):
        gradc.jit(lambda x: ldexp(x))(1.0)
    with pytest.raises(UnsupportedError, match="every element in a loop"):
        gradc.jit(lambda x: cbrt(x))(X)


def test_small_types_and_booleans():
    mixed = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_float, ctypes.c_byte, ctypes.c_bool)(lambda a, b, c: (a > b) != c)
    third = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_float)(lambda a: a / 3.0)
    compiled = gradc.jit(lambda a, b, c: (mixed(a, b, c), third(a)))
    for args in ((1.5, -1, False), (1.5, 1, True), (1.5, 100, False)):
        assert compiled(*args) == (mixed(*args), third(args[0]))


def test_arrays_are_passed_by_their_first_element():
    compiled = gradc.jit(lambda x: square_norm(len(x), x))
    assert compiled(X) == compiled(np.repeat(X, 2)[::2]) == X @ X
    assert gradc.jit(lambda x: square_norm(len(x) - 1, x[1:]))(X) == X[1:] @ X[1:]

    def update(x, y):
        axpy(len(x), 2.0, x, y)
        return square_norm(len(x), y)

    y = np.ones(3)
    assert gradc.jit(update)(X, y) == ((1 + 2 * X) ** 2).sum()
    np.testing.assert_array_equal(y, 1 + 2 * X)
    with pytest.raises(UnsupportedError, match="given twice"):
        gradc.jit(update)(X, X)
    with pytest.raises(UnsupportedError, match="has to be an array of float64"):
        gradc.jit(lambda x: square_norm(3, x))(X.astype(np.float32))


def test_a_function_without_results_has_to_write_somewhere():
    silent = ctypes.CFUNCTYPE(None, ctypes.c_int, READ)(c_square_norm.address)

    def calls(x):
        silent(3, x)
        return x.sum()

    with pytest.raises(UnsupportedError, match="not known to write anywhere"):
        gradc.jit(calls)(X)


def test_all_routes_agree():
    def squares_length(x):
        return length(x * x)

    for function, args in ((weighted_roots, (X,)), (squares_length, (X,))):
        compiled = gradc.grad(function)
        expected = compiled(*args)
        lowered = compiled.lower(*args)
        staged = lowered._staged
        captured = [leaf for capture in staged.program.captures for leaf in [capture.fetch()]]
        (interpreted,) = interpret(staged.func, [*args, *captured])
        np.testing.assert_allclose(interpreted, expected, rtol=1e-14)
        assert str(captured[0]) not in lowered.kernel_source  # the address is an argument
        assert lowered.stats["compiled by"] == "gradc"
        given = {"weighted_roots": {"cbrt": cbrt}}.get(compiled.__name__, {"square_norm": square_norm})
        np.testing.assert_allclose(source_of(compiled, *args)(*args, **given), expected, rtol=1e-14)


def test_saved_modules_take_the_function(tmp_path):
    source = gradc.grad(weighted_roots).lower(X).source
    space = {}
    exec(source.save(tmp_path / "saved.py").read_text(), space)
    assert space["ARGUMENTS"] == {"x": "float64[n]", "cbrt": "function"}
    np.testing.assert_allclose(space["weighted_roots_grad"](X, cbrt), 4 / 3 * np.cbrt(X), rtol=1e-14)
    with pytest.raises(UnsupportedError, match="cannot hold the C function `cbrt`"):
        source.save(tmp_path / "compiled.py", numba=True)


def test_numba_compiles_the_same_calls(monkeypatch):
    def update(x, y, n):
        axpy(len(x), 2.0, x, y)
        return square_norm(len(x), y) + ldexp(1.0, n)

    text = gradc.jit(update).lower(X, X + 1, 2).kernel_source.replace(", cache=True", "")
    space = {}
    exec(text, space)
    (kernel,) = (f for name, f in space.items() if name.startswith("update"))
    y = X + 1
    addresses = [c_function(f).address for f in (axpy, square_norm, ldexp)]
    assert kernel(X, y, 2, *addresses) == ((X + 1 + 2 * X) ** 2).sum() + 4.0
    np.testing.assert_array_equal(y, 3 * X + 1)


# -------------------------------------------------------------------------------------------- differentiating


def test_without_a_rule_they_are_refused_where_they_are_differentiated():
    for derivative in (gradc.grad(lambda x: 2.0 * cbrt(x)), gradc.jacfwd(lambda x: 2.0 * cbrt(x))):
        with pytest.raises(
            NonDifferentiableError, match=r"`cbrt` has no derivative\n.*test_c_functions.py[\s\S]*custom_vjp\(cbrt\)"
        ):
            derivative(8.0)
    with pytest.raises(NonDifferentiableError, match="`square_norm` has no derivative"):
        gradc.grad(lambda x: square_norm(len(x), x))(X)

    def into_local(x):
        out = np.ones(3)
        axpy(3, 2.0, x, out)
        return out.sum()

    for derivative in (gradc.grad(into_local), gradc.jacfwd(into_local)):
        with pytest.raises(NonDifferentiableError, match="`axpy` has no derivative"):
            derivative(X)
    assert gradc.grad(lambda x: x * gradc.stop_gradient(cbrt(x)))(8.0) == 2.0
    assert gradc.grad(lambda x, y: x * cbrt(y))(3.0, 8.0) == 2.0


def test_reverse_rules():
    assert gradc.grad(root)(8.0) == pytest.approx(1 / 12)
    np.testing.assert_allclose(gradc.grad(weighted_roots)(X), 4 / 3 * np.cbrt(X), rtol=1e-14)
    np.testing.assert_allclose(gradc.grad(lambda x: length(x * x))(X), 4 * X**3, rtol=1e-14)
    np.testing.assert_allclose(gradc.grad(lambda x: x[0] * length(x[1:]))(X), [X[1:] @ X[1:], 16.0, 54.0])


def test_forward_rules_and_higher_orders():
    third = gradc.custom_jvp(cbrt)

    @third.defjvp
    def rule(primals, tangents):
        y = third(primals[0])
        return y, tangents[0] / (3.0 * y * y)

    assert gradc.jvp(third, (8.0,), (1.0,)) == (2.0, pytest.approx(1 / 12))
    assert gradc.grad(gradc.grad(third))(8.0) == pytest.approx(-2 / 9 * 8 ** (-5 / 3))


def test_jacobians_and_hessians_go_through_rules_in_loops():
    third = gradc.custom_jvp(cbrt)
    third.defjvp(lambda primals, tangents: (third(primals[0]), tangents[0] / (3.0 * third(primals[0]) ** 2)))

    def sums(x):
        out = np.empty(len(x))
        for i in range(len(x)):
            total = 0.0
            for j in range(i + 1):
                total += third(x[j]) * x[i]
            out[i] = total
        return out

    x = np.linspace(1.0, 3.0, 5)
    roots = np.cbrt(x)
    expected = np.tril(np.outer(x, roots / (3.0 * x))) + np.diag(np.cumsum(roots))
    np.testing.assert_allclose(gradc.jacfwd(sums)(x), expected, rtol=1e-13)
    np.testing.assert_allclose(gradc.jacrev(sums)(x), expected, rtol=1e-13)
    hessian = gradc.hessian(lambda x: (sums(x) ** 2).sum())(x)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-12)
    gradc.check_grads(lambda x: (sums(x) ** 2).sum(), (x,), order=2)


def test_a_function_that_writes_is_wrapped():
    def combined(a, x, y):
        out = y.copy()
        axpy(len(x), a, x, out)
        return out

    combine = gradc.custom_vjp(combined)
    combine.defvjp(lambda a, x, y: (combined(a, x, y), (a, x)), lambda r, ct: ((ct * r[1]).sum(), r[0] * ct, ct))
    y = np.ones(3)
    da, dx, dy = gradc.grad(lambda a, x, y: (combine(a, x, y) ** 2).sum(), argnums=(0, 1, 2))(2.0, X, y)
    total = y + 2.0 * X
    assert da == pytest.approx(2 * total @ X)
    np.testing.assert_allclose(dx, 4 * total)
    np.testing.assert_allclose(dy, 2 * total)


def test_low_level_callables_and_cython_functions():
    j0 = gradc.custom_vjp(LowLevelCallable.from_cython(scipy.special.cython_special, "j0"))
    j1 = gradc.jit(LowLevelCallable.from_cython(scipy.special.cython_special, "j1"))
    j0.defvjp(lambda x: (j0(x), x), lambda x, ct: (-ct * j1(x),))
    assert j0(1.3) == special.j0(1.3) and j1(1.3) == special.j1(1.3)
    assert gradc.grad(lambda x: j0(x * x))(1.3) == pytest.approx(-2.6 * special.j1(1.69), rel=1e-14)
    address = get_cython_function_address("scipy.special.cython_special", "i0")
    i0 = gradc.custom_jvp(ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address))
    i0.defjvp(lambda primals, tangents: (i0(primals[0]), special.i1(primals[0]) * tangents[0]))
    assert i0(1.3) == special.i0(1.3)


def test_they_are_called_in_nopython_code():
    gradient = gradc.grad(weighted_roots)

    @njit
    def call(x):
        return gradient(x)

    np.testing.assert_allclose(call(X), 4 / 3 * np.cbrt(X), rtol=1e-14)


def test_rebinding_is_seen():
    holder = [cbrt]

    def through(x):
        return holder[0](x)

    compiled = gradc.jit(through)
    sine = ctypes.CDLL(ctypes.util.find_library("m")).sin
    sine.argtypes, sine.restype = [ctypes.c_double], ctypes.c_double
    assert compiled(8.0) == 2.0
    holder[0] = sine
    assert compiled(8.0) == math.sin(8.0)


def test_cffi():
    cffi = pytest.importorskip("cffi", reason="cffi is an optional dependency of the tests")
    ffi = cffi.FFI()
    ffi.cdef("double cbrt(double); double pow(double, double);")
    lib = ffi.dlopen(ctypes.util.find_library("m"))
    assert gradc.jit(lambda x: lib.cbrt(x) + lib.pow(x, 2.0))(8.0) == 66.0
    power = gradc.custom_jvp(lib.pow)

    @power.defjvp
    def rule(primals, tangents):
        x, y = primals
        return power(x, y), y * power(x, y - 1.0) * tangents[0]

    assert gradc.grad(power)(3.0, 2.0) == 6.0
    add = ffi.cast("void(*)(int, double, const double *, double *)", c_axpy.address)

    def update(x, y):
        add(len(x), 2.0, ffi.from_buffer("double[]", x), ffi.from_buffer("double[]", y, require_writable=True))
        return y.sum()

    y = np.ones(3)
    assert gradc.jit(update)(X, y) == 75.0
    np.testing.assert_array_equal(y, 1 + 2 * X)
    with pytest.raises(UnsupportedError, match="require_writable"):
        gradc.jit(lambda x: add(3, 2.0, ffi.from_buffer("double[]", x), ffi.from_buffer("double[]", x)))(X)


# ------------------------------------------------------------------------------------- compiled objects as C functions

POINTER = ctypes.POINTER(ctypes.c_double)


def pointer(x):
    return x.ctypes.data_as(POINTER)


def wave(x):
    return np.exp(-x * x) * np.sin(3.0 * x)


def decay(x, y, a=2.0):
    return np.exp(-a * x * y) * x


def valley(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_quad_integrates_a_gradient():
    c = gradc.grad(wave).cfunc("double (double)")
    value, _ = quad(c.low_level_callable(), 0.0, 2.0)
    assert value == pytest.approx(wave(2.0) - wave(0.0), abs=1e-12)
    assert c.errors == 0 and c.address and "double (double)" in repr(c)


def test_nquad_passes_numbers_in_an_array():
    gradient = gradc.grad(decay, argnums="y")
    c = gradient.cfunc("double (int n, double *x)")
    expected, _ = quad(lambda x: decay(x, 2.0) - decay(x, 0.0), 0.0, 1.0)
    assert nquad(c.low_level_callable(), [[0.0, 1.0], [0.0, 2.0]])[0] == pytest.approx(expected, abs=1e-10)
    x = np.array([1.0])
    assert math.isnan(c.ctypes(1, pointer(x))) and c.errors == 1


def test_user_data_are_the_last_arguments():
    c = gradc.jit(lambda x, a, b: a * np.sin(b * x)).cfunc("double (double, void *)")
    value, _ = quad(c.low_level_callable(np.array([2.0, 3.0])), 0.0, 1.0)
    assert value == pytest.approx(2 / 3 * (1 - math.cos(3.0)), abs=1e-13)


def test_value_and_gradient_by_pointers():
    value_and_grad = gradc.value_and_grad(valley)
    c = value_and_grad.cfunc("double (intptr_t n, const double *x, double *grad)")
    x, gradient = np.arange(4.0), np.empty(4)
    value, expected = value_and_grad(x)
    assert c.ctypes(4, pointer(x), pointer(gradient)) == value
    np.testing.assert_array_equal(gradient, expected)
    into = gradc.jacobian(lambda x: x * x).cfunc("void (int n, double *x, double *jacobian)")
    jacobian = np.empty((4, 4))
    into.ctypes(4, pointer(x), pointer(jacobian))
    np.testing.assert_array_equal(jacobian, np.diag(2 * x))
    both = gradc.value_and_grad(decay, argnums=(0, 1)).cfunc("double (double, double, double *, double *)")
    assert both.ctypes(1.0, 0.5, pointer(gradient), pointer(gradient[1:])) == decay(1.0, 0.5)
    assert tuple(gradient[:2]) == gradc.grad(decay, (0, 1))(1.0, 0.5)


def test_a_filter_of_scipy():
    c = gradc.jit(lambda window: (window * window).sum()).cfunc("int (double *, intptr_t, double *, void *)")
    image = np.random.default_rng(0).normal(size=(5, 6))
    made = generic_filter(image, c.low_level_callable(), size=3)
    np.testing.assert_allclose(made, generic_filter(image, lambda w: (w * w).sum(), size=3), rtol=1e-13)


def test_errors_give_nan_and_are_counted():
    c = gradc.value_and_grad(lambda x: x[3] ** 2).cfunc("double (int, double *, double *)")
    x, gradient = np.arange(4.0), np.zeros(4)
    assert math.isnan(c.ctypes(2, pointer(x), pointer(gradient))) and math.isnan(gradient[0])
    assert math.isnan(c.ctypes(-1, pointer(x), pointer(gradient)))
    assert c.errors == 2
    assert c.ctypes(4, pointer(x), pointer(gradient)) == 9.0 and c.errors == 2


def test_signatures_that_do_not_fit_are_refused():
    gradient = gradc.value_and_grad(valley)
    for signature, message in (
        ("double", "is no C signature"),
        ("double (complex)", "of type complex"),
        ("double (double, double, double *)", "takes 1 arguments, and .* gives it 2"),
        ("double (int, double *)", "gives 2 results, and .* has room for 1"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            gradient.cfunc(signature)
    with pytest.raises(UnsupportedError, match="is an array"):
        gradc.grad(valley).cfunc("double (int, double *)")


def test_c_functions_stay_alive_with_what_c_holds():
    low_level = gradc.grad(wave).cfunc("double (double)").low_level_callable()
    assert quad(low_level, 0.0, 1.0)[0] == pytest.approx(wave(1.0), abs=1e-12)
