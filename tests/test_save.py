"""`.source.save(path)`: files that run without gradc, give what kernels give, and refuse what they are not for."""

from __future__ import annotations

import importlib.util
import json
import math
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import special

import gradc
from gradc.codegen.standalone import HELPERS, IMPORTED
from gradc.ir.loops import KERNEL_FUNCTIONS
from gradc.ir.tree import flatten
from tests.board import CASES
from tests.oracle import copy_args

BIG = np.linspace(0.0, 1.0, 50)
RATE = 2.5


class Layer(NamedTuple):
    W: Any
    b: Any


@dataclass
class Model:
    scale: Any
    layers: Any


def network(model, x, y):
    for layer in model.layers:
        x = np.tanh(x @ layer.W + layer.b)
    return model.scale * np.mean((x - y) ** 2)


def smooth(field, rate, steps):
    for _ in range(steps):
        field[1:-1] += rate * (field[2:] - 2 * field[1:-1] + field[:-2])
    return np.sum(field**2)


def until_large(x):
    total = 0.0
    while x * x < 100:
        x = 1.5 * x + np.sin(x)
        total += x
    return total


def along(x, axis, mode="double"):
    y = np.sum(x, axis=axis)
    if mode == "double":
        y = 2 * y
    return np.sum(y**2)


def with_captures(x):
    return np.sum(x * BIG) * RATE + math.erf(x[0])


def add_to(x, y):
    x += y
    return np.sum(x)


def of_scipy(x, n):
    return np.sum(special.jv(n, x) * special.erfinv(np.tanh(x))) + special.eval_hermite(3, x[0])


def airy(x):
    return special.airy(x)[0]


def counts(a, b):
    return a @ b


def arguments() -> list[tuple[Any, tuple[Any, ...], dict[str, Any], dict[str, Any]]]:
    """(compiled object, arguments, further arguments of the file, imports that only Numba needs)."""
    rng = np.random.default_rng(0)
    layers = [Layer(rng.normal(size=(3, 4)), np.zeros(4)), Layer(rng.normal(size=(4, 2)), np.zeros(2))]
    return [
        (gradc.value_and_grad(network), (Model(0.5, layers), rng.normal(size=(5, 3)), rng.normal(size=(5, 2))), {}),
        (gradc.value_and_grad(smooth, ("field", "rate")), (rng.normal(size=12), 0.1, 7), {}),
        (gradc.value_and_grad(until_large), (0.7,), {}),
        (gradc.hessian(along), (rng.normal(size=(3, 4)), 1), {}),
        (gradc.grad(with_captures), (rng.normal(size=50),), {"BIG": BIG}),
        (gradc.jit(add_to), (rng.normal(size=4), rng.normal(size=4)), {}),
        (gradc.jit(counts), (np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)), {}),
        (gradc.grad(until_large), (np.float32(0.7),), {}),
        (gradc.grad(of_scipy), (rng.uniform(0.1, 2.0, 5), 1.5), {}),
    ]


CASES_HERE = arguments()
NAMES = ["network", "smooth", "until_large", "along", "with_captures", "add_to", "counts", "single", "of_scipy"]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # Numba's disk cache asks for it
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
    return module


def assert_same(got: Any, wanted: Any, rtol: float = 1e-10) -> None:
    """The same structure of the same numbers of the same types."""
    left, left_tree = flatten(got)
    right, right_tree = flatten(wanted)
    assert left_tree == right_tree
    for a, b in zip(left, right, strict=True):
        assert type(a) is type(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=1e-4 if np.asarray(b).dtype == np.float32 else rtol, atol=1e-12)


def saved_and_compared(number: int, path: Path, numba: bool) -> None:
    compiled, args, extra = CASES_HERE[number]
    given = copy_args(args)
    wanted = compiled(*given)
    assert compiled.source.save(path, numba=numba) == path
    name = compiled.lower(*copy_args(args)).staged.name
    kept = copy_args(args)
    assert_same(getattr(load(path), name)(*kept, **extra), wanted)
    assert_same(kept, given)


@pytest.mark.parametrize("number", range(len(CASES_HERE)), ids=NAMES)
def test_saved_numpy_modules_compute_what_kernels_compute(number: int, tmp_path: Path) -> None:
    saved_and_compared(number, tmp_path / f"numpy_{NAMES[number]}.py", numba=False)


@pytest.mark.slow  # Numba compiles each module: seconds
@pytest.mark.parametrize("number", range(len(CASES_HERE)), ids=NAMES)
def test_saved_numba_modules_compute_what_kernels_compute(number: int, tmp_path: Path) -> None:
    saved_and_compared(number, tmp_path / f"numba_{NAMES[number]}.py", numba=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)), ids=[c[0].__name__ for c in CASES])
def test_saved_numba_modules_of_the_golden_programs(number: int, tmp_path: Path) -> None:
    function, args, argnums = CASES[number]
    derivative = gradc.value_and_grad(function, argnums)
    path = derivative.lower(*args).source.save(tmp_path / f"golden_{function.__name__}.py", numba=True)
    got = getattr(load(path), f"{function.__name__}_value_and_grad")(*copy_args(args))
    assert_same(got, derivative(*copy_args(args)), 1e-9)


SCRIPT = """
import json, sys
sys.modules["gradc"] = None  # importing it would fail
import numpy as np
{first}
import saved_alone
value, (dx, dy) = saved_alone.product_value_and_grad(np.array([1.0, 2.0]), 3.0)
print(json.dumps([value, dx.tolist(), dy, sorted(m for m in ("numba", "scipy") if m in sys.modules)]))
"""


def product(x, y):
    return np.sum(np.exp(x) * y)


@pytest.mark.parametrize("numba", [False, True], ids=["numpy", "numba"])
def test_saved_modules_run_in_a_process_without_gradc(numba: bool, tmp_path: Path) -> None:
    derivative = gradc.value_and_grad(product, (0, 1))
    value, (dx, dy) = derivative(np.array([1.0, 2.0]), 3.0)
    derivative.source.save(tmp_path / "saved_alone.py", numba=numba)
    first = """
import numba, saved_alone
@numba.njit
def thrice(x):
    return saved_alone_kernel(x, 3.0)[0] * 3
saved_alone_kernel = saved_alone.product_value_and_grad_kernel
assert abs(thrice(np.array([1.0, 2.0])) - 9 * np.exp([1.0, 2.0]).sum()) < 1e-9
"""
    script = SCRIPT.format(first=first if numba else "")
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    got = json.loads(ran.stdout)
    np.testing.assert_allclose(got[0], value, rtol=1e-13)
    np.testing.assert_allclose(got[1], dx, rtol=1e-13)
    np.testing.assert_allclose(got[2], dy, rtol=1e-13)
    assert numba or not got[3]


# ------------------------------------------------------------------------------------------- what a file refuses


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("saved")

    def made(number: int) -> Any:
        compiled, args, _ = CASES_HERE[number]
        path = folder / f"refusing_{NAMES[number]}.py"
        lowered = compiled.lower(*copy_args(args))
        lowered.source.save(path)
        return getattr(load(path), lowered.staged.name), copy_args(args)

    return made


def test_a_value_that_decided_what_was_compiled_is_asked_for(files: Any) -> None:
    hessian, (x, _) = files(3)
    with pytest.raises(ValueError, match="axis is 0: this module was made for 1"):
        hessian(x, 0)
    with pytest.raises(ValueError, match="mode is 'single'"):
        hessian(x, 1, "single")


def test_another_structure_is_refused(files: Any) -> None:
    derivative, (model, x, y) = files(0)
    with pytest.raises(TypeError, match=r"model\.layers: this module was made for"):
        derivative(Model(model.scale, [*model.layers, model.layers[1]]), x, y)


def test_another_dtype_rank_or_size_is_refused(files: Any) -> None:
    derivative, (field, rate, steps) = files(1)
    with pytest.raises(TypeError, match="field is float32 of rank 1"):
        derivative(field.astype(np.float32), rate, steps)
    with pytest.raises(TypeError, match="field is float64 of rank 2"):
        derivative(field[None], rate, steps)
    network_derivative, (model, x, y) = files(0)
    with pytest.raises(ValueError, match=r"y has size 5 along axis 0, not 4: it should be float64\[p, k\]"):
        network_derivative(model, x[:4], y)


def test_axes_of_size_1_are_asked_for(tmp_path: Path) -> None:
    gradient = gradc.grad(lambda x, y: np.sum(x * y))
    path = gradient.lower(np.ones((3, 1)), np.ones((3, 4))).source.save(tmp_path / "broadcast.py")
    function = vars(load(path))["lambda_grad"]
    np.testing.assert_array_equal(function(np.ones((2, 1)), np.ones((2, 5))), [[5.0], [5.0]])
    with pytest.raises(ValueError, match="x has size 4 along axis 1, not 1"):
        function(np.ones((3, 4)), np.ones((3, 4)))


def test_memory_that_arguments_share_is_refused_where_the_function_writes(files: Any) -> None:
    add, (x, _) = files(5)
    with pytest.raises(ValueError, match="x is written to, and shares its memory"):
        add(x, x)


def test_programs_for_arguments_that_are_one_array_are_not_saved(tmp_path: Path) -> None:
    x = np.ones(3)
    with pytest.raises(gradc.UnsupportedError, match="one array"):
        gradc.jit(add_to).lower(x, x).source.save(tmp_path / "one.py")


def test_what_numba_lacks_is_saved_for_numpy_only(tmp_path: Path) -> None:
    source = gradc.grad(airy).lower(0.5).source
    with pytest.raises(gradc.UnsupportedError, match="save the NumPy module instead"):
        source.save(tmp_path / "airy.py", numba=True)
    got = vars(load(source.save(tmp_path / "airy.py")))["airy_grad"](0.5)
    np.testing.assert_allclose(got, special.airy(0.5)[1])


def test_source_reads_at_a_prompt_and_in_a_notebook(tmp_path: Path) -> None:
    gradient = gradc.grad(product)
    assert isinstance(gradient.source, str)
    with pytest.raises(ValueError, match="no program to save yet"):
        gradient.source.save(tmp_path / "none.py")
    source = gradient.lower(np.ones(2), 1.0).source
    assert repr(source) == str(source)
    assert source._repr_markdown_().startswith('```python\n"""Gradient of product')
    assert type(pickle.loads(pickle.dumps(source))) is str


def test_every_kernel_function_has_a_form_without_gradc() -> None:
    assert set(KERNEL_FUNCTIONS) <= {*IMPORTED, *HELPERS}
