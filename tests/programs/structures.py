"""Structured arguments and results, closures, helpers, argument forms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from tests.programs.entry import arr, program, signed

SCALE = 1.7
OFFSETS = np.array([0.5, -1.0, 2.0, 0.25])


@dataclass
class Layer:
    w: np.ndarray
    b: float


@dataclass(frozen=True)
class Model:
    first: Layer
    gains: tuple[float, float]


class Point(NamedTuple):
    x: float
    y: float


@program(({"a": 1.5, "b": signed(3)},))
def dict_argument(p):
    return p["a"] * np.sum(p["b"] ** 2)


@program(({"w": [signed(2, 3), signed(3, seed=2)], "s": (0.5, {"k": 2.0})}, signed(2, seed=3)))
def nested_argument(p, x):
    h = np.tanh(x @ p["w"][0])
    return np.sum(h * p["w"][1]) * p["s"][0] + p["s"][1]["k"] ** 2


@program(([signed(2), signed(3)],))
def list_argument(xs):
    total = 0.0
    for x in xs:
        total += np.sum(x**2)
    return total * xs[0][0]


@program((Layer(signed(3), 0.4), signed(3, seed=1)))
def dataclass_argument(layer, x):
    return math.tanh(np.dot(layer.w, x) + layer.b)


@program((Model(Layer(signed(3), 0.4), (2.0, -0.5)), signed(3, seed=1)))
def nested_dataclass(model, x):
    a, b = model.gains
    return a * np.sum(model.first.w * x) + b * model.first.b**2


@program((Point(0.3, -0.8),))
def namedtuple_argument(p):
    x, y = p
    return p.x * y + x**2 + p[1]


@program((signed(3), 0.5))
def tuple_result(x, a):
    return a * np.sum(x), x * a


@program((signed(3), 0.5))
def dict_result(x, a):
    return {"loss": np.sum(x**2) * a, "parts": [x[0] * a, x * x]}


@program((0.5, 2.0))
def namedtuple_local_and_result(a, b):
    p = Point(a * b, a + b)
    return Point(p.y, p.x**2)


@program((0.5, 2.0))
def dataclass_local(a, b):
    layer = Layer(np.array([a, b, a * b]), b)
    layer.b = layer.b * 2.0
    return np.sum(layer.w) * layer.b


@program((signed(3),))
def dict_of_locals(x):
    cache = {"sq": x**2}
    cache["sum"] = np.sum(cache["sq"])
    cache["sq"] *= 2.0
    total = 0.0
    for key in cache:
        total += np.sum(cache[key])
    return total


@program((signed(3),))
def dict_items(x):
    weights = {"a": 2.0, "b": 3.0}
    total = 0.0
    for k, w in weights.items():
        total += w * np.sum(x ** (2 if k == "a" else 3))
    return total


@program((signed(4),))
def list_comprehension(x):
    squares = [x[i] ** 2 for i in range(4) if i != 2]
    return sum(squares) * squares[0]


@program((signed(3),))
def comprehension_stack(x):
    rows = [x * k for k in range(1, 4)]
    A = np.stack(rows)
    return np.sum(A @ x) + np.sum(np.array([v * v for v in (x[0], x[1])]))


@program((signed(3),))
def list_append(x):
    parts = []
    for i in range(3):
        parts.append(x * (i + 1.0))
    return np.sum(np.concatenate(parts) ** 2)


@program((signed(3), 1.2))
def generator_sum(x, a):
    return sum(a * x[i] ** (i + 1) for i in range(3)) + max(a, 0.5) * min(x[0], 5.0)


@program((0.4, 1.3))
def closure(x, y):
    k = x * y

    def inner(t):
        return t * k + y

    return inner(x) * inner(2.0)


@program((0.4,))
def lambda_local(x):
    square = lambda t: t * t  # noqa: E731
    twice = lambda f, t: f(f(t))  # noqa: E731
    return twice(square, x) + (lambda a, b=2.0: a * b)(x)


def _apply(f, x, n):
    for _ in range(n):
        x = f(x)
    return x


@program((0.4,))
def function_passed(x):
    return _apply(math.sin, x, 3) + _apply(lambda t: t * x, 2.0, 2)


@program((signed(4),))
def module_constants(x):
    return SCALE * np.sum(x * OFFSETS) + np.sum(np.maximum(x, OFFSETS) ** 2)


def _poly(x, a=2.0, *, b=3.0, power=2):
    return a * x**power + b


@program((0.4,))
def default_and_keyword_arguments(x):
    return _poly(x) + _poly(x, x) + _poly(x, b=x) + _poly(x, 1.0, b=x * x, power=3)


def _total(first, *rest, **named):
    out = first
    for r in rest:
        out = out * r
    for v in named.values():
        out = out + v * v
    return out


@program((0.4, 1.5))
def star_arguments(x, y):
    pair = (x, y)
    return _total(*pair, 3.0) + _total(x, k=y) + _total(y, x, **{"a": x * y})


@program((0.4, 1.5, -0.6))
def star_parameters(*values):
    total = 0.0
    for i, v in enumerate(values):
        total += (i + 1) * v * v
    return total


@program((0.4,), (0.4, 5.0))
def default_parameter(x, a=2.5):
    return x * x * a


@program((0.4, 1.5))
def tuple_unpacking(x, y):
    (a, b), c = (x * y, x + y), x
    first, *rest = a, b, c
    return first * rest[0] + rest[1] ** 2


@program((0.4, 1.5))
def swap_scalars(x, y):
    x, y = y, x * y
    x, y = y + x, x
    return x - 3.0 * y


def _two(x):
    return x * x, {"half": x / 2}


@program((0.4,))
def helper_structured_result(x):
    a, d = _two(x)
    b, _ = _two(d["half"])
    return a * b


@njit
def _jitted_helper(x, n):
    out = 0.0
    for i in range(n):
        out += x[i] * x[i]
    return out


@program((signed(4),))
def njit_helper(x):
    return _jitted_helper(x, 3) * x[3]


@program((np.float64(0.4), np.float64(1.5)))
def numpy_scalars(x, y):
    return x * np.exp(y) + x**y


@program((np.float32(0.4), arr(3, dtype="float32")))
def float32_scalar_and_array(s, x):
    return np.sum(s * x**2)


@program((arr(4, dtype="float32"), 1.5))
def float32_with_python_float(x, a):
    y = x * a + 1
    y[1:] *= np.sqrt(x[:-1])
    return np.sum(y)


@program((arr(3, dtype="float32"), arr(3, seed=1)))
def mixed_precision(x, y):
    z = x.astype(np.float64) * y
    w = (y * 2.0).astype(np.float32)
    return np.sum(z) + np.sum(w * x)


@program((2, 0.5), argnums=(0, 1))
def integer_differentiated(n, x):
    return n * x + n**2


@program((3, 0.5))
def integer_static(n, x):
    out = x
    for k in range(n):
        out = out * x + k
    return out / n


@program((0.4, "square"), (0.4, "cube"))
def string_option(x, kind):
    if kind == "square":
        return x * x
    return x**3


@program((0.4, None), (0.4, 2.0))
def none_option(x, scale):
    if scale is None:
        scale = 3.0
    return x * x * scale


@program((0.4, True), (0.4, False))
def bool_option(x, negate):
    y = math.exp(x)
    if negate:
        y = -y
    return y * x


def outer_factory(k):
    def inner(x):
        return k * x * x

    return inner


_inner_closure = program((0.3,))(outer_factory(2.5))


@program((signed(2, 3),))
def annotations_and_docstring(A: np.ndarray) -> float:
    """Has a docstring, annotations, and an annotated local."""
    total: float = 0.0
    count: int
    count = A.shape[0]
    for i in range(count):
        total += A[i, 0] ** 2
    pass
    return total


@program((signed(3),))
def method_forms(x):
    A = x.reshape((3, 1)) * x
    return A.sum() + A.mean(axis=0).max() + x.dot(x) + A.T.sum(axis=-1).min() + A.ravel().prod() + x.copy().sum()


@program((signed(3), signed(3, seed=2)))
def unused_and_constant(x, y):
    z = np.exp(y)  # not used
    c = np.ones(3) * 2.0
    return np.sum(x * c) + 0.0 * z.size


@program((0.7, 1.1))
def constant_result_part(x, y):
    return x * 0.0 + 3.0


@program((0.7,))
def nested_definitions(x):
    def outer(a):
        def inner(b):
            return a * b + x

        return inner(a) + inner(2.0)

    return outer(x) * outer(1.0)


@program((signed(4),))
def conditional_structure(x):
    pair = (x[0], x[1]) if x[2] > -10 else (x[1], x[0])
    a, b = pair
    return a * 2.0 + b**2


@program((signed(3), signed(3, seed=5)))
def loop_over_dict_of_arrays(x, y):
    state = {"x": x.copy(), "y": y.copy()}
    for _ in range(3):
        state["x"] = state["x"] * 0.5 + state["y"]
        state["y"] += state["x"] ** 2
    return np.sum(state["x"] * state["y"])
