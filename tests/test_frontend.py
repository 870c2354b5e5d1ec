"""The Python front end: programs against Python itself, refusals, captures, static leaves, sources."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import linecache
import math
import sys
from collections import namedtuple
from functools import partial

import numpy as np
import pytest

import gradc
from gradc.errors import DTypeError, UnsupportedError
from gradc.frontends.bindings import NeedStatic
from gradc.frontends.from_python import bind_arguments, parse
from gradc.frontends.source import function_source
from gradc.ir.interp import run
from gradc.ir.nodes import walk_nodes
from gradc.ir.program import Typed
from gradc.ir.tree import flatten, unflatten
from gradc.ir.types import WEAK_INT, Array, size_variable
from gradc.ir.verifier import verify

CASES = []


def case(*args, **keywords):
    """Enter a function with arguments to run it on."""

    def enter(function):
        CASES.append((function, args, keywords))
        return function

    return enter


def evaluate(program, bound):
    """The program's result on bound arguments, by the interpreter."""
    leaves = [leaf for arg in bound for leaf in flatten(arg)[0]]
    for capture in program.captures:
        leaves += flatten(capture.fetch())[0]
    with np.errstate(all="ignore"):
        return unflatten(program.result, list(run(program.func, leaves)))


def assert_same(got, want):
    (found, tree), (wanted, wanted_tree) = flatten(got), flatten(want)
    assert tree == wanted_tree
    for x, y in zip(found, wanted, strict=True):
        assert np.shape(x) == np.shape(y)
        assert np.result_type(x) == np.result_type(y)
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


x5 = np.linspace(0.1, 1, 5)
A = np.arange(12.0).reshape(3, 4) + 0.5


@case(x5)
def fibonacci_arrays(x):
    a, b = x, x * 2
    for _ in range(5):
        a, b = b, a + b
    return a, b


@case(x5, 3)
@case(x5, 0)
def rebinding(x, n):
    h = x
    for i in range(n):
        h = np.tanh(h) + x
    return h.sum()


@case(x5, 4)
def prev_and_current(x, n):
    prev = x
    cur = x * 0.5
    for i in range(n):
        nxt = cur * 0.9 - prev * 0.1
        prev = cur
        cur = nxt
    return prev - cur


@case(x5, 4)
@case(x5, 0)
def best_of(x, n):
    best = x
    fbest = np.sum(x**2)
    y = x.copy()
    for i in range(n):
        y = y * 0.5 + 0.1
        f = np.sum(y**2)
        if f < fbest:
            best = y
            fbest = f
    return best, fbest


@case(A)
def acc_scalar_to_array(A):
    s = 0.0
    for row in A:
        s = s + row
    return s


@case(A)
def acc_scalar_inplace(A):
    s = 0
    for i in range(A.shape[0]):
        s += A[i]
    return s


@case(A)
def none_first(A):
    best = None
    for row in A:
        m = row.sum()
        if best is None or m > best:
            best = m
    return best


@case(x5)
def early_return(x):
    for i in range(len(x)):
        if x[i] > 0.5:
            return x[i] * 2
    return -1.0


@case(x5, 0.4)
@case(x5, 7.0)
def early_return_tuple(x, t):
    for i, v in enumerate(x):
        for j in range(i):
            if v + x[j] > t:
                return v, i, j
    return 0.0, -1, -1


@case(x5)
def for_else(x):
    for i in range(5):
        if x[i] > 2:
            break
    else:
        return x.sum()
    return 0.0


@case(10)
@case(7)
def collatz(n):
    k = 0
    while n != 1:
        if n % 2 == 0:
            n = n // 2
        else:
            n = 3 * n + 1
        k += 1
    return k


@case(x5)
def continue_(x):
    s = 0.0
    for v in x:
        if v < 0.3:
            continue
        if v > 0.9:
            break
        s += v
    return s


@case(x5, True)
@case(x5, False)
def flag_arrays(x, flag):
    if flag:
        y = np.sin(x)
    else:
        y = x[::-1] * 2
    return y


@case(x5, True)
@case(x5, False)
def flag_alias(x, flag):
    y = x if flag else x.copy()
    y[0] = 5.0
    return y.sum() + x.sum()


@case(x5, 1.0)
@case(x5, -1.0)
def view_choice(x, c):
    y = x * 1
    v = y[1:] if c > 0 else y[:-1]
    v *= 2
    return y


@case(A, 1, 2, 1.0)
@case(A, 0, 2, -1.0)
def row_choice(A, i, j, c):
    B = A.copy()
    if c > 0:
        r = B[i]
    else:
        r = B[:, j][:3]
        r = B[j]
    r[0] = 100.0
    return B


@case(x5)
def maybe_unbound_ok(x):
    if x[0] < 0.5:
        y = 3.0
    z = 1.0
    if x[0] < 0.5:
        z = y
    return z


@case(x5)
def loop_var_after(x):
    for i in range(len(x)):
        t = x[i]
    return t * i


@case(x5)
def conditional_first(x):
    d = 0.0
    for i in range(len(x)):
        if i == 0:
            prev = x[0]
        else:
            d += x[i] - prev
            prev = x[i]
    return d


@case(x5, 3)
def list_of_layers(x, n):
    ws = [x * k for k in range(3)]
    for w in ws:
        x = np.tanh(x + w)
    return x


@case([x5, x5 * 2, x5 * 3], x5)
def index_params(ws, x):
    for i in range(len(ws)):
        x = np.tanh(ws[i] * x)
    return x


@case([x5, x5 * 2, x5 * 3], x5, 2)
def index_params_n(ws, x, n):
    for i in range(n):
        x = np.tanh(ws[i] * x)
    return x


@case({"w": x5, "b": 0.5})
def dict_params(p):
    q = {k: v * 2 for k, v in p.items()}
    q["c"] = q["w"].sum()
    return q


@case({"w": x5, "b": 0.5}, 3)
def dict_loop(p, n):
    p = dict(p)
    for i in range(n):
        p["w"] = p["w"] - 0.1 * p["w"]
        p["b"] -= 0.5
    return p


@case({"w": x5, "b": 0.5}, 3)
def dict_rebind_loop(p, n):
    for i in range(n):
        p = {k: v * 0.9 for k, v in p.items()}
    return p


@case([x5, x5 * 2], 3)
def list_rebind_loop(ws, n):
    for i in range(n):
        ws = [w - 0.1 * np.sin(w) for w in ws]
    return ws


P = namedtuple("P", "a b")


@case(P(x5, 2.0), 3)
def nt_loop(p, n):
    for i in range(n):
        p = P(p.a * 0.5, p.b + 1)
    return p._replace(b=p.b * 2)


@dataclasses.dataclass
class D:
    a: np.ndarray
    b: float = 1.0

    def norm(self):
        return np.sqrt(np.sum(self.a**2)) + self.b

    @property
    def twice(self):
        return self.b * 2


@case(D(x5, 3.0))
def dc(d):
    e = D(d.a * 2)
    e.b += d.norm() + e.twice
    d = dataclasses.replace(d, b=4.0) if False else d
    return e


@case(x5, 2)
@case(x5, 3)
def static_pow(x, n):
    return np.sum(x**n)


@case(A, 0)
@case(A, 1)
def static_axis(A, axis):
    return A.sum(axis=axis)


@case(0.3, 5)
def power(x, n):
    if n == 0:
        return 1.0
    return x * power(x, n - 1)


@case(x5)
def closures(x):
    k = 2.0

    def f(y, m=3.0):
        return k * y * m

    g = lambda z: f(z) + k
    k = 5.0
    return g(x).sum() + f(x, m=1.0).sum()


@case(x5)
def partials(x):
    def f(a, b, c):
        return a * b + c

    g = partial(f, 2.0, c=1.0)
    return g(x)


def helper_mut(y, i):
    y[i] = 7.0
    y += 1


@case(x5)
def mutating_helper(x):
    y = x.copy()
    helper_mut(y, 2)
    for i in range(3):
        helper_mut(y, i)
    return y


@case(x5)
def swap_elements(x):
    x = x.copy()
    for i in range(len(x) // 2):
        x[i], x[-1 - i] = x[-1 - i], x[i]
    return x


@case(x5)
def chained(x):
    a = b = x[0]
    a += 1
    c = d = x.copy()
    c[0] = 9
    return a, b, d


@case(x5, 4)
def while_else(x, n):
    i = 0
    while i < n:
        i += 1
        if x[i] > 3:
            break
    else:
        i = 100
    return i


@case((x5, (x5 * 2, 3.0)))
def nested_unpack(t):
    a, (b, c) = t
    (d, *e) = [a, b, c]
    return d + e[0] * e[1]


@case(x5[:3])
def unpack_array(p):
    a, b, c = p
    return a * b + c


@case(x5, 0.5)
def int_to_float(x, a):
    s = 0
    n = 1
    for v in x:
        s += v * a
        n *= 2
    return s, n


@case(3, 4)
def ints(a, b):
    return (
        a // b,
        a % b,
        a / b,
        a**2,
        -a,
        a < b,
        a == b,
        not a,
        (a and b),
        (a or b),
        a & 1,
        a | 4,
        ~a,
        a ^ b,
        a << 2,
        a >> 1,
    )


@case(x5, x5 > 0.4)
def masks(x, m):
    y = x.copy()
    y[m] *= 2
    y[~m & (x < 0.2)] = 0
    y[y > 1] = x[y > 1]
    return y, y[m].sum()


@case(A, np.array([2, 0, 0]))
def gathers(A, idx):
    B = A.copy()
    B[idx] += 1.0
    B[:, 1] = A[idx, 1]
    B[idx, idx] = 3.0
    return B[idx][:, 0], B


@case(A)
def ellipsis_newaxis(A):
    return (A[..., 0] + A[..., None, 1][:, 0]).sum() + A[None, 1:, ::-1].sum() + A[-1, -1]


@case(x5)
def walrus_while(x):
    s = x[0]
    n = 0
    while (t := s * s) < 10 and n < 50:
        s = s + 0.7
        n += 1
    return t, s, n


@case(x5)
def gen_sum(x):
    return sum(x[i] * x[j] for i in range(len(x)) for j in range(i) if i != j)


@case(x5, "b")
@case(x5, "a")
def string_option(x, mode):
    match mode:
        case "a":
            return x.sum()
        case "b":
            return x.max()
        case _:
            raise ValueError("mode")


@case(x5, np.tanh)
@case(x5, math.sqrt)
def fn_arg(x, f):
    if f is np.tanh:
        return f(x)
    return f(x[0]) * x


@case(x5, 3, 5, scale=2.0)
def varargs(x, *rest, scale=1.0, **kw):
    return x * scale + sum(rest) + len(kw)


@case(np.float32(2.5) * np.ones(3, np.float32), 0.5)
def f32(x, a):
    s = 0.0
    for v in x:
        s += v * a
    y = x * a + 1
    return s, y, s.dtype == np.float32


@case(np.array(3.0))
def rank0(x):
    y = x * 2
    x[...] = 5.0
    x += 1
    return y, x[()], x + 1


@case(A)
def inner_loops(A):
    n, m = A.shape
    C = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            t = 0.0
            for k in range(m):
                t += A[i, k] * A[j, k]
            C[i, j] = t
    return C


@case(x5, 2)
def local_lists(x, n):
    out = []
    for i in range(n):
        out.append(x * i)
    return out


@case(x5)
def zip_enum(x):
    s = 0.0
    for i, (a, b) in enumerate(zip(x, reversed(x))):
        s += i * a * b
    for k in reversed(range(3)):
        s = s * 0.5 + x[k]
    for k in range(4, 0, -2):
        s += x[k]
    return s


@case(x5, 1.5)
def nested_cond(x, a):
    if a > 1:
        if a > 2:
            y = x
        elif a > 1.2:
            y = x * 2
        else:
            y = x * 3
        z = y.sum()
    else:
        y = x * 4
        z = 1
    return y * z


@case(A, True)
@case(A, False)
def different_return_arrays(A, c):
    if c:
        return A.T
    return A[:, :3].T * 2 if False else (A * 2).T


@case(x5)
def complex_expr(x):
    return (1 if x[0] > 0 else 2), (x[0] < x[1] < x[2]), (x[0] > 1 and x[1] > 1 or x[2] < 1)


@case(A)
def transposed_store(A):
    B = A.copy().T
    B[0] = 1.0
    B[1:, 0] += B[:-1, 1]
    B += 1
    B -= A.T
    return B


@case(x5)
def overlapping(x):
    x[1:] += x[:-1]
    x[:-1] = x[1:]
    x[::2] = x[::-1][::2]
    return x


@case(x5, 3)
def tuple_state(x, n):
    state = (x, 0.0, 0)
    for i in range(n):
        a, b, c = state
        state = (a * 0.5, b + a.sum(), c + 1)
    return state


@case(x5, 3)
def swap_three(x, n):
    a, b, c = x * 1, x * 2, x * 3
    for i in range(n):
        a, b, c = c, a, b
        a[0] = i
    return a, b, c


@case(A)
def prev_row(A):
    prev = A[0]
    s = 0.0
    for i in range(1, len(A)):
        s += (A[i] * prev).sum()
        prev = A[i]
    return s, prev


@case(A)
def row_after(A):
    for i in range(len(A)):
        r = A[i]
    r[0] = 77.0
    return A


@case(x5, 0)
@case(x5, 5)
def shape_dep(x, n):
    y = x[n:]
    return y.sum() + y.size + len(y)


@case(x5)
def asserts(x):
    assert x.ndim == 1, "must be 1d"
    assert len(x) > 2
    if x[0] > 100:
        raise ValueError("too big")
    elif x[0] > 50:
        raise RuntimeError("big")
    return x * 2


@case(x5)
def deep_helpers(x):
    def outer(n):
        def inner(y):
            if n == 0:
                return y
            return y * n

        return inner

    return outer(0)(x) + outer(3)(x)


@case(x5, None)
@case(x5, 2.0)
def none_default(x, w):
    if w is None:
        w = 1.0
    return x * w


@case(x5)
def list_stack(x):
    ys = [x[i] * 2 for i in range(3)]
    return np.array(ys), np.stack([x, x * 2]), sum(ys), max(ys), min(ys)


@case(A)
def matrix_loop(A):
    M = A @ A.T
    v = np.ones(3)
    lam = 0.0
    for _ in range(10):
        w = M @ v
        lam = np.sqrt(w @ w)
        v = w / lam
    return v, lam


@case(x5, 1e-8)
def newton(x, tol):
    y = x * 1
    it = 0
    err = 1.0
    while err > tol and it < 50:
        step = (y * y - 2.0) / (2 * y)
        y = y - step
        err = np.max(np.abs(step))
        it += 1
    return y, it


@case(x5)
def while_true_return(x):
    i = 0
    while True:
        if x[i] > 0.5:
            return i, x[i]
        i += 1


@case(x5, 3)
def return_in_nested_loop_array(x, n):
    y = x.copy()
    for i in range(n):
        y = y * 2
        for j in range(n):
            if y[j] > 1.5:
                return y * j
    return y


class Cfg:
    dt = 0.1


cfg = Cfg()
CONST = np.array([1.0, 2, 3, 4, 5])
TABLE = {"a": 2.0, "b": [1, 2]}


@case(x5)
def captures(x):
    return x * CONST + TABLE["a"] + TABLE["b"][1] + cfg.dt + Cfg.dt


@case(x5)
def inplace_local_list(x):
    ys = [x * 1, x * 2]
    for y in ys:
        y += 1
    ys[0] *= 3
    zs = ys
    zs.append(x)
    return ys


@case(x5, 2)
def loop_list_content(x, n):
    ys = [x * 1, 0.0]
    for i in range(n):
        ys[0] = ys[0] * 2
        ys[1] += 1
    return ys


@case(x5, 1.0)
@case(x5, -1.0)
def list_content_branch(x, c):
    ys = [x * 1, 0.0]
    if c > 0:
        ys[0] = x * 5
        ys[1] = 2.5
    return ys


@case(x5, 1.0)
@case(x5, -1.0)
def dict_branch(x, c):
    d = {"a": x, "n": 0}
    if c > 0:
        d = {"a": x * 2, "n": 1}
    return d


@case(x5, 4)
def list_over_array(x, n):
    a = np.array([np.sin(v) * 2 for v in x])
    b = np.array([x * i for i in range(n)])
    return a, b, b.shape


@case(A)
def list_used_in_many_ways(A):
    rows = [r.sum() for r in A]
    m = max(rows)
    k = min([r[0] for r in A])
    t = sum(rows)
    s = 0.0
    for i, r in enumerate(rows):
        s += i * r
    return m, k, t, s, rows[1], len(rows), np.stack([r * 2 for r in A]), np.mean(rows), max(v for v in A[0])


@case(x5, 3)
def list_over_range_as_result(x, n):
    ys = [x * i for i in range(n)]
    return ys


@case(x5, 3)
def list_over_range_that_grows(x, n):
    ys = [x * i for i in range(n)]
    ys.append(x)
    return sum(ys) + ys[-1]


@case(x5, 3)
def lists_in_a_loop(x, n):
    t = 0.0
    for k in range(n):
        ys = [v * k for v in x]
        t = t + sum(ys) + any(v > 1 for v in ys)
    return t


@case(A)
def nested_lists(A):
    n, m = A.shape
    return np.array([[A[i, j] * i for j in range(m)] for i in range(n)])


@case(x5)
def list_in_product(x):
    return np.array([x[i] for i in range(len(x) - 1)]) @ np.array([1.0, 2, 3, 4])


@case([x5, x5 * 2])
def lists_of_known_length(ws):
    return [[v for v in [w.sum(), 1]] for w in ws]


@case(A)
def joins(A):
    return (
        np.concatenate([r * 2 for r in A]),
        np.vstack([r for r in A]),
        np.hstack([r for r in A]),
        np.stack([r for r in A], axis=1),
        np.concatenate([A * v for v in A[0]], axis=1),
        np.column_stack([r for r in A]),
    )


@case(x5)
def escaping_slice(x):
    for i in range(2):
        sl = slice(i, i + 2)
    return x[1:3]


@case(x5, 3)
@case(x5, 0)
@case(x5, 1)
def boundary_first(u, n):
    for t in range(n):
        u[0] = 0.5
        u = u * 2 + 1
    return u


@case(x5, 3)
@case(x5, 0)
def write_after(u, n):
    for t in range(n):
        u = u * 2 + 1
    u[1] = 7
    return u.sum()


@case(x5, 3)
@case(x5, 0)
def while_write(u, n):
    v = u
    while n > 0:
        v[n] += 1
        if n == 2:
            v = v * 2
        n -= 1
    v *= 2
    return v, u


@pytest.mark.parametrize(
    ("function", "args", "keywords"), CASES, ids=[f"{f.__name__}{k}" for k, (f, _, _) in enumerate(CASES)]
)
def test_program_agrees_with_python(function, args, keywords):
    theirs = copy.deepcopy(args)
    bound = bind_arguments(function, copy.deepcopy(args), keywords)
    with np.errstate(all="ignore"):
        want = function(*theirs, **keywords)
    program = parse(function, bound)
    verify(program.func)
    assert_same(evaluate(program, bound), want)
    assert_same(list(bound), list(bind_arguments(function, theirs, keywords)))  # arguments are changed alike


# ------------------------------------------------------------------------------------------- refusals

REFUSED = []


def refused(*args, error=UnsupportedError, says="", line=None):
    def enter(function):
        REFUSED.append((function, args, error, says, line))
        return function

    return enter


@refused(x5, says="`yield` cannot", line=1)
def generator(x):
    yield x


@refused(x5, says="`try` cannot", line=1)
def with_try(x):
    try:
        x = 1
    except ValueError:
        pass


@refused(x5, says="`print` cannot", line=1)
def with_print(x):
    print(x)
    return x


@refused(x5, says="same array as another", line=6)
def write_to_one_of_two_names(x):
    a = x * 1
    b = x * 2
    for _ in range(len(x)):
        a = a + 1
        b = a
    b[0] = 5.0
    return a, b


@refused(x5, says="changes its length", line=2)
def growing_list(x):
    out = []
    for v in x:
        out.append(v * 2)
    return out


@refused(x5, says="on one path", line=2)
def none_or_array(x):
    y = None
    if x[0] > 0:
        y = x
    return y


@refused(x5, says="ambiguous", line=1)
def ambiguous(x):
    if x > 0:
        return 1.0
    return 2.0


@refused(x5, says="not defined", line=1)
def undefined(x):
    return x * no_such_name  # noqa: F821


@refused(x5, error=DTypeError, says="in-place update", line=2)
def float_into_int(x):
    y = np.zeros(5, dtype=int)
    y += x
    return y


@refused(1.0, says="calls itself", line=3)
def endless(x):
    if x > 100:
        return x
    return endless(x * 2)


@refused(x5, says="cannot be an index", line=1)
def float_index(x):
    return x[x[0]]


@refused(x5, says="must be known", line=1)
def axis_from_data(x):
    return [x, x * 2, 1.0][int(x[0])]


@refused(x5, says="random.rand` has no rule", line=1)
def global_random(x):
    return x + np.random.rand(5)


@refused(x5, says="list of 2 on one path", line=1)
def lists_of_two_lengths(x):
    y = [x, x] if x[0] > 0 else [x]
    return y[0]


@pytest.mark.parametrize(("function", "args", "error", "says", "line"), REFUSED, ids=[r[0].__name__ for r in REFUSED])
def test_refusals_name_the_line(function, args, error, says, line):
    with pytest.raises(error, match=says.replace("[", r"\[")) as caught:
        parse(function, args)
    assert caught.value.filename == __file__
    assert caught.value.lineno == function.__code__.co_firstlineno + 1 + line
    assert "^" in str(caught.value)


def test_syntactic_refusals_are_reported_together():
    def several(x):
        global unused  # noqa: PLW0604
        with open("f") as f:
            yield f
        del x

    with pytest.raises(UnsupportedError) as caught:
        parse(several, (1.0,))
    assert all(word in str(caught.value) for word in ("`global`", "`yield`", "`del`"))


def test_columns_count_characters():
    def f(x):
        é = "ü"
        yield x  # noqa: E702

    with pytest.raises(UnsupportedError) as caught:
        parse(f, (1.0,))
    line, caret = str(caught.value).splitlines()[2:4]
    assert line[caret.index("^") :].startswith("yield x")


# ------------------------------------------------------------------------------------- static leaves


def test_only_values_that_are_needed_are_static():
    def f(x, n, axis):
        s = 0.0
        for i in range(n):
            s += x.sum(axis=axis)[0] * i
        return s

    program = parse(f, (A, 3, 1))
    assert program.static == {2: 1}


def test_a_loop_over_a_list_by_index_is_written_out():
    def f(ws, n):
        t = 0.0
        for i in range(n):
            t += ws[i].sum()
        return t

    program = parse(f, ([x5, x5], 2))
    assert list(program.static.values()) == [2]
    assert not any(n.op.name == "for" for n in walk_nodes(program.func.body))


def test_a_range_is_kept_as_a_loop():
    def f(x):
        t = 0.0
        for i in range(3):
            t += x[i]
        return t

    assert sum(n.op.name == "for" for n in walk_nodes(parse(f, (x5,)).func.body)) == 1


def test_typed_arguments_ask_for_what_must_be_known():
    def f(x, k):
        return x.sum(axis=k)

    ty = Array("float64", (size_variable("a"), size_variable("b")))
    with pytest.raises(NeedStatic) as caught:
        parse(f, (Typed(ty), Typed(WEAK_INT)))
    assert caught.value.keys == {("leaf", 1)}
    assert parse(f, (Typed(ty), 1)).func.params[0].ty == ty


# ------------------------------------------------------------------------------------------ captures

SCALE = 2.0
LIMIT = 3


def test_captured_numbers_are_read_at_each_call(monkeypatch):
    def f(x):
        return x * SCALE

    program = parse(f, (x5,))
    monkeypatch.setitem(globals(), "SCALE", 7.0)
    assert_same(evaluate(program, (x5,)), x5 * 7.0)


def test_captured_cells_and_attributes_are_read_at_each_call():
    weight = x5 * 1.0
    settings = Cfg()

    def f(x):
        return x * weight + settings.dt

    program = parse(f, (x5,))
    weight = x5 * 3.0
    settings.dt = 0.25
    assert_same(evaluate(program, (x5,)), x5 * x5 * 3.0 + 0.25)


def helper(x):
    return x * 2


def test_helpers_are_guarded(monkeypatch):
    def f(x):
        return helper(x)

    program = parse(f, (x5,))
    assert all(g.holds() for g in program.guards)
    monkeypatch.setitem(globals(), "helper", lambda x: x * 3)
    assert not all(g.holds() for g in program.guards)


def test_a_captured_count_is_static_where_it_is_needed():
    def f(ws):
        return sum(ws[i].sum() for i in range(LIMIT))

    program = parse(f, ([x5, x5, x5],))
    assert list(program.static.values()) == [3]


def test_rebinding_items_of_an_argument_is_noted():
    def f(p):
        p["w"] = p["w"] * 2
        return p["w"].sum()

    def g(p):
        p["w"] *= 2
        return p["w"].sum()

    assert len(parse(f, ({"w": x5.copy()},)).rebinds) == 1
    assert not parse(g, ({"w": x5.copy()},)).rebinds


# ------------------------------------------------------------------------------------------- sources


def test_lambdas_on_one_line_of_which_python_dropped_branches():
    one, two = (lambda x: x + 1.0), (lambda x: x * 2.0 if False else x * 3.0)
    outer = lambda x: (lambda y: y * y if True else y)(x) if True else x  # noqa: E731
    values = [evaluate(parse(f, (5.0,)), (5.0,)) for f in (one, two, outer)]
    assert values == [6.0, 15.0, 25.0]


def test_lambdas_on_one_line_are_found_by_position():
    one, two, three = (lambda x: x + 1.0), (lambda x: x * 2.0), (lambda x: lambda y: x - y)
    assert evaluate(parse(one, (3.0,)), (3.0,)) == 4.0
    assert evaluate(parse(two, (3.0,)), (3.0,)) == 6.0
    inner = three(1.0)
    assert evaluate(parse(inner, (3.0,)), (3.0,)) == -2.0


def load_module(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_file_edited_after_loading_is_an_error(tmp_path):
    path = tmp_path / "model_for_edit.py"
    path.write_text("def f(x):\n    return x + 1\n")
    module = load_module(path, "model_for_edit")
    path.write_text("def f(x):\n    return x + 2\n")
    with pytest.raises(UnsupportedError, match="not the one that was loaded"):
        parse(module.f, (1.0,))


def test_a_file_moved_lines_after_loading_is_an_error(tmp_path):
    path = tmp_path / "model_for_move.py"
    path.write_text("def f(x):\n    return x + 1\n")
    module = load_module(path, "model_for_move")
    path.write_text("\n\ndef f(x):\n    return x + 1\n")
    with pytest.raises(UnsupportedError, match="not the one that was loaded"):
        parse(module.f, (1.0,))


def test_functions_without_source_are_refused():
    namespace = {}
    exec("def f(x):\n    return x", namespace)
    with pytest.raises(UnsupportedError, match="cannot be had"):
        parse(namespace["f"], (1.0,))


def test_functions_from_cells_are_found_through_linecache():
    text = "def f(x):\n    return x * 5\n"
    linecache.cache["<cell 1>"] = (len(text), None, text.splitlines(keepends=True), "<cell 1>")
    namespace = {}
    exec(compile(text, "<cell 1>", "exec"), namespace)
    assert evaluate(parse(namespace["f"], (2.0,)), (2.0,)) == 10.0
    assert function_source(namespace["f"]).loc(function_source(namespace["f"]).node.body[0]).text == "    return x * 5"


def test_builtins_and_classes_are_refused():
    for target in (len, np.sin, dict):
        with pytest.raises(UnsupportedError):
            parse(target, (1.0,))


def test_njit_functions_are_inlined_by_their_python_function():
    numba = pytest.importorskip("numba")

    @numba.njit
    def compiled(x):
        return x * 3

    def f(x):
        return compiled(x) + 1

    assert_same(evaluate(parse(f, (x5,)), (x5,)), x5 * 3 + 1)
    assert_same(evaluate(parse(compiled, (x5,)), (x5,)), x5 * 3)


def test_size_one_axes_are_part_of_the_type():
    program = parse(lambda x: x, (np.ones((1, 3)),))
    assert program.func.params[0].ty.shape[0] == 1
    assert sys.getrecursionlimit() >= 1000


def diagonal_kept_over_a_write(A):
    d = np.diag(A)
    A[1, 1] = 5.0
    return np.sum(d**2)


def diagonal_used_again_in_a_loop(A):
    d = np.diagonal(A)
    s = 0.0
    for i in range(A.shape[0]):
        s += np.sum(d)
        A[i, i] = s
    return s


@pytest.mark.parametrize("function", [diagonal_kept_over_a_write, diagonal_used_again_in_a_loop])
def test_a_diagonal_is_not_used_after_its_array_was_written(function):
    with pytest.raises(UnsupportedError, match="diagonal"):
        parse(function, (np.eye(3),))


SWITCH = False


def test_switches_are_known_wherever_they_come_from() -> None:
    x = np.arange(12.0).reshape(3, 4)
    inner = True

    def f(x, kept):
        return np.sum(x, axis=0, keepdims=kept), np.mean(x, axis=1, keepdims=SWITCH), x.max(axis=0, keepdims=inner)

    compiled = gradc.jit(f)
    for kept in (True, False):
        for found, wanted in zip(compiled(x, kept), f(x, kept), strict=True):
            np.testing.assert_array_equal(found, wanted)
