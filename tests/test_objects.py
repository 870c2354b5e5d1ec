"""Compiled objects as Python objects: pickles, equality, signatures, types."""

from __future__ import annotations

import copy
import functools
import inspect
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradc


def power(x, n=2):
    """x to the n."""
    return x**n


def ruled(factor):
    """A function with a rule that exists nowhere by name, whose rule refers to it."""
    f = gradc.custom_vjp(lambda x: x * factor)
    f.defvjp(lambda x: (f(x), None), lambda _, ct: (10.0 * factor * ct,))
    return f


def test_equal_objects_compute_the_same_of_one_function():
    gradient = gradc.grad(power)
    assert gradient == gradc.grad(power) and hash(gradient) == hash(gradc.grad(power))
    assert pickle.loads(pickle.dumps(gradient)) == gradient == copy.deepcopy(gradient)
    assert gradc.hessian(power) == gradc.hessian(power)
    assert gradc.hvp(power) == gradc.hvp(power) != gradc.hvp(power).as_hessp()
    others = [gradc.jit(power), gradc.value_and_grad(power), gradc.grad(power, "x"), gradc.grad(lambda x: x), power, 3]
    assert all(gradient != other for other in others)
    assert len({gradient, gradc.grad(power), *others}) == 1 + len(others)


def test_signatures_and_documentation_are_those_of_the_function():
    gradient = gradc.grad(power)
    assert str(inspect.signature(gradient)) == "(x, n=2)"
    assert gradient.__doc__ == power.__doc__ and gradient.__name__ == "power" and gradient.__wrapped__ is power
    assert gradient.__module__ == __name__
    assert repr(gradc.value_and_grad(power, argnums="x")) == "<gradc.value_and_grad(power, argnums='x')>"
    assert inspect.getfullargspec(gradient).args == ["x", "n"]
    assert str(inspect.signature(gradc.hvp(lambda x, y: x * y))) == "(x, y, v)"
    assert str(inspect.signature(gradc.lambdify("a, b", "a * b"))) == "(a, b)"
    assert functools.wraps(gradient)(lambda: None).__name__ == "power"


def test_functions_with_rules_pickle_by_source():
    f = ruled(3.0)
    again = pickle.loads(pickle.dumps(f))
    assert again(2.0) == 6.0 and gradc.grad(again)(2.0) == 30.0
    gradient = pickle.loads(pickle.dumps(gradc.grad(lambda x: f(x) * x)))
    assert gradient(2.0) == 6.0 + 60.0
    assert pickle.loads(pickle.dumps(gradc.grad(f)))(2.0) == 30.0
    layer = gradc.checkpoint(lambda x: f(x) ** 2)
    assert gradc.grad(pickle.loads(pickle.dumps(layer)))(1.0) == 2 * 3.0 * 30.0


def test_lambdified_expressions_and_products_pickle():
    expression = pickle.loads(pickle.dumps(gradc.lambdify("x, y", "x**2 * y")))
    assert expression(2.0, 3.0) == 12.0 and gradc.grad(expression)(2.0, 3.0) == 12.0
    product = gradc.hvp(lambda x: (x**3).sum())
    x = np.ones(2)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(product.as_hessp()))(x, x), [6.0, 6.0])


def test_cloudpickle(tmp_path: Path):
    cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is an optional dependency of the tests")
    k = 3.0
    f = ruled(2.0)
    made = {"a": gradc.grad(lambda x: x * k), "b": gradc.value_and_grad(lambda x: f(x) * x), "c": gradc.grad(power)}
    again = cloudpickle.loads(cloudpickle.dumps(made))
    assert (again["a"](2.0), again["b"](2.0), again["c"](2.0)) == (3.0, (8.0, 44.0), 4.0)
    (tmp_path / "pickled").write_bytes(cloudpickle.dumps((made["a"], lambda x: made["a"](x) + 1.0)))
    code = "import pickle, sys; a, b = pickle.load(open(sys.argv[1], 'rb')); print(a(2.0), b(2.0))"
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "pickled"], capture_output=True, text=True)
    assert run.stdout.split() == ["3.0", "4.0"], run.stderr


def test_objects_of_main_travel_with_cloudpickle(tmp_path: Path):
    pytest.importorskip("cloudpickle", reason="cloudpickle is an optional dependency of the tests")
    (tmp_path / "program.py").write_text(
        "import pickle, cloudpickle, gradc\n"
        "scale = 3.0\n"
        "@gradc.grad\ndef gradient(x):\n    return (scale * x) ** 2\n"
        "@gradc.custom_vjp\ndef ruled(x):\n    return x\n"
        "ruled.defvjp(lambda x: (x, None), lambda _, ct: (7.0 * ct,))\n"
        "@gradc.sparse_jacobian\ndef sparse(x):\n    return x * x\n"
        "both = gradient, gradc.grad(lambda x: ruled(x) + 1.0), sparse\n"
        "assert pickle.loads(pickle.dumps(both))[0] is gradient\n"
        "open('by_value', 'wb').write(cloudpickle.dumps(both))\n"
        "open('by_name', 'wb').write(pickle.dumps(gradient))\n"
    )
    (tmp_path / "reader.py").write_text(
        "import pickle\nimport numpy as np\n"
        "first, other, sparse = pickle.load(open('by_value', 'rb'))\n"
        "print(first(1.0), other(1.0), sparse(np.ones(1)).toarray())\n"
        "try:\n    pickle.load(open('by_name', 'rb'))\n"
        "except AttributeError as error:\n    print('this process does not have' in str(error))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(gradc.__file__).parent.parent)}
    for name in ("program.py", "reader.py"):
        command = [sys.executable, name]
        run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["18.0", "7.0", "[[2.]]", "True"]


def test_sparse_derivatives_and_rules_are_objects_like_functions():
    sparse = gradc.sparse_jacobian(power)
    assert sparse == gradc.sparse_jacobian(power) != gradc.sparse_jacobian(power, "x")
    assert sparse != gradc.sparse_hessian(power) and len({sparse, gradc.sparse_jacobian(power)}) == 1
    f = ruled(2.0)
    assert copy.deepcopy(sparse) is sparse and copy.copy(f) is f is copy.deepcopy(f)


def test_methods_of_one_object_are_equal():
    class Model:
        def loss(self, x):
            return x * x

    one, two = Model(), Model()
    assert gradc.grad(one.loss) == gradc.grad(one.loss) != gradc.grad(two.loss)
    assert hash(gradc.grad(one.loss)) == hash(gradc.grad(one.loss))


def test_pullbacks_pickle_and_copy():
    _, pullback = gradc.vjp(lambda x, n: x**n, np.array([1.0, 2.0]), 3)
    for again in (pickle.loads(pickle.dumps(pullback)), copy.deepcopy(pullback)):
        np.testing.assert_array_equal(again(np.ones(2))[0], [3.0, 12.0])


SAMPLE = '''
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import gradc

Vector = npt.NDArray[np.float64]


@gradc.grad
def bare(x: Vector) -> float:
    return float(x @ x)


@gradc.value_and_grad(argnums=("x", "y"), has_aux=True)
def with_options(x: float, y: float) -> tuple[float, int]:
    return x * y, 1


@gradc.custom_vjp
def ruled(x: float) -> float:
    return x


@gradc.custom_jvp
def tangent(x: float) -> float:
    return x


@tangent.defjvp
def rule(primals: tuple[float], tangents: tuple[float]) -> tuple[float, float]:
    return primals[0], tangents[0]


def plain(x: Vector, scale: float = 1.0) -> float:
    return scale * float(x @ x)


ruled.defvjp(lambda x: (x, None), lambda _, ct: (ct,))
gradient: Vector = bare(np.ones(3))
objects = [gradc.jit(plain), gradc.grad(plain), gradc.jacobian(plain, mode="fwd"), gradc.hessian(plain, argnums="x")]
out, pullback = gradc.vjp(plain, np.ones(3))
cotangents: tuple[Any, ...] = pullback(1.0)
product: Vector = gradc.hvp(plain).as_hessp()(np.ones(3), np.ones(3), 2.0)
value, change = gradc.jvp(plain, (np.ones(3),), (np.ones(3),))
text: str = bare.source
kept: float = gradc.stop_gradient(2.0)
checked: float = rule((1.0,), (2.0,))[1]
both: Callable[[Vector, float], tuple[float, Vector]] = gradc.value_and_grad(plain)


class Model:
    @gradc.jit
    def loss(self, x: Vector) -> float:
        return float(x @ x)


reveal_type(bare)
reveal_type(with_options)
reveal_type(gradc.jit()(plain))
reveal_type(gradc.grad(plain)(np.ones(3), scale=2.0))
reveal_type(gradc.grad(plain)(x=np.ones(3)))
reveal_type(gradc.value_and_grad(plain)(np.ones(3)))
reveal_type(gradc.value_and_grad(plain, "scale"))
reveal_type(gradc.grad(gradc.grad(lambda x: x))(2.0))
reveal_type(gradc.jit(gradc.grad(plain))(np.ones(3)))
reveal_type(gradc.hessian(plain))
reveal_type(gradc.sparse_jacobian(plain))
reveal_type(gradc.vjp(plain, np.ones(3)))
reveal_type(ruled)
reveal_type(gradc.checkpoint(plain))
reveal_type(gradc.checkpoint(range(3)))
reveal_type(Model().loss)
reveal_type(kept)
bare("text", 2)
gradc.grad(plain)(np.ones(3), lam=2.0)
gradc.jit(plain)(3)
ruled("text")
gradc.grad(3)
'''

REVEALED = """
Gradient[[x: V]]
Compiled[[x: float, y: float], Any]
Compiled[[x: V, scale: float =], float]
V
Any
tuple[float, V]
Compiled[[x: V, scale: float =], tuple[float, Any]]
float
V
Compiled[[x: V, scale: float =], Any]
SparseDerivative[[x: V, scale: float =]]
tuple[float, Pullback]
CustomVJP[[x: float], float]
Checkpointed[[x: V, scale: float =], float]
range
def (x: V) -> float
float
"""


@pytest.mark.slow
def test_types_of_decorated_functions(tmp_path: Path):
    pytest.importorskip("mypy", reason="mypy is a tool of development")
    sample = tmp_path / "sample.py"
    sample.write_text(SAMPLE)
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path}", "--follow-imports=silent"]
    command = [sys.executable, "-m", "mypy", *options, "--ignore-missing-imports", str(sample)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(gradc.__file__).parent.parent)
    lines = run.stdout.splitlines()
    wrong = {int(line.split(":")[1]) for line in lines if "error:" in line}
    end = len(SAMPLE.splitlines())
    assert wrong == set(range(end - 4, end + 1)), run.stdout + run.stderr
    notes = [line.rpartition("Revealed type is ")[2].strip('"') for line in lines if "Revealed" in line]
    revealed = [re.sub(r"numpy\.ndarray\[.*?numpy\.float64\]\]", "V", note) for note in notes]
    assert [re.sub(r"\b(\w+\.)+(?=\w)", "", note) for note in revealed] == REVEALED.strip().splitlines()
