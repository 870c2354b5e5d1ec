"""The documents tell the truth: tables that are made are up to date, conventions are what kernels compute."""

from __future__ import annotations

import doctest
import html
import importlib.util
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.runtime.dispatch import Compiled
from gradc.runtime.lowered import SourceText
from tests.routes import vjp_by_interpreter

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def load(name: str) -> ModuleType:
    """A script of the folder."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_list_of_functions_is_up_to_date() -> None:
    assert (DOCS / "numpy.md").read_text() == load("make_numpy").table(), "run python docs/make_numpy.py"


@pytest.mark.slow  # collects and runs a part of test_ops.py in a process of its own
def test_the_op_of_the_guide_passes_the_tests_of_the_table() -> None:
    page = (DOCS / "contributing" / "add-an-op.md").read_text()
    entry = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "elementwise(" in block)
    script = "import sys, pytest\nfrom scipy.special import cosm1\n" + entry
    script += "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', 'tests/test_ops.py', '-k', 'cosm1']))\n"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(re.findall(r"(\d+) passed", ran.stdout)[-1]) >= 5


def texts_of_picture(svg: str) -> set[str]:
    return {html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)}


def test_pictures_show_what_gradc_draws() -> None:
    made = load("make_pictures").diagrams()
    assert set(made) <= {path.name for path in (DOCS / "images").iterdir()}
    for name, diagram in made.items():
        shown = texts_of_picture((DOCS / "images" / name).read_text())
        for vertex in diagram.vertices:
            assert {vertex.head, vertex.value, vertex.cotangent} <= shown, "run python docs/make_pictures.py"


def test_every_example_is_named() -> None:
    page = (DOCS / "examples.md").read_text()
    assert set(re.findall(r"^\| `(\w+\.py)`", page, re.MULTILINE)) == {p.name for p in (ROOT / "examples").glob("*.py")}


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    missing = [m for m in ("zensical", "mkdocstrings") if importlib.util.find_spec(m) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed; `.ci/run` installs the extra `docs` and builds the site")
    for name in ("docs", "gradc"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    functions = (tmp_path / "site" / "reference" / "api" / "index.html").read_text()
    for name in gradc.__all__:
        assert f'id="gradc.{name}"' in functions or f'id="gradc.errors.{name}"' in functions or name in EXPLAINED, name


EXPLAINED = ("__version__", "cache")


PUBLIC = [getattr(gradc, name) for name in gradc.__all__ if name not in EXPLAINED]
FUNCTIONS = [f for f in PUBLIC if inspect.isfunction(f)]
METHODS = [Compiled.lower, Compiled.diagram, Compiled.explain, Compiled.cfunc, SourceText.save]


@pytest.mark.parametrize("function", [*FUNCTIONS, *METHODS], ids=lambda f: f.__qualname__)
def test_public_functions_say_what_they_take_and_give(function: Any) -> None:
    text = inspect.getdoc(function) or ""
    described = re.search(r"^Args:\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    parameters = [p for p in inspect.signature(function).parameters if p != "self"]
    assert described is not None
    for name in parameters:
        assert re.search(rf"^    \**{name}: \S", described[1], re.MULTILINE), f"{name} is not described"
    assert re.search(r"^Returns:\n    \S", text, re.MULTILINE)
    assert re.search(r"^Examples:\n    >>> ", text, re.MULTILINE)
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("error", [e for e in PUBLIC if isinstance(e, type)], ids=lambda e: e.__name__)
def test_errors_say_what_they_are(error: Any) -> None:
    builtin = next(c for c in error.__mro__ if c.__module__ == "builtins")
    assert builtin is Exception or f"`{builtin.__name__}`" in error.__doc__


def test_examples_in_docstrings_run() -> None:
    names = "api testing inspect.staging inspect.diagram inspect.explain runtime.dispatch runtime.lowered runtime.cache"
    ran = 0
    for name in names.split():
        failed, tried = doctest.testmod(sys.modules[f"gradc.{name}"])
        assert not failed
        ran += tried
    assert ran > 60


def absolute(x: Any) -> Any:
    return abs(x)


def tie(x: Any, y: Any) -> Any:
    return np.maximum(x, y)


def relu(x: Any) -> Any:
    return np.maximum(x, 0.0)


def largest(x: Any) -> Any:
    return np.max(x)


def clipped(x: Any) -> Any:
    return np.clip(x, 0.0, 1.0)


def root(x: Any) -> Any:
    return np.sqrt(x)


def length(x: Any) -> Any:
    return np.sqrt(np.sum(x**2))


def guarded_root(x: Any) -> Any:
    return np.where(x > 0, np.sqrt(x), 0.0)


def guarded_log(x: Any) -> Any:
    return np.where(x > 0, np.log(x), x)


def running(x: Any) -> Any:
    return np.sum(np.maximum.accumulate(x))


def different(x: Any) -> Any:
    return np.sum(np.unique(x))


def logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def power(x: Any, y: Any) -> Any:
    return x**y


def zeroth_power(x: Any) -> Any:
    return x**0


def steps(x: Any) -> Any:
    return np.sign(x) + np.floor(x) + np.ceil(x) + np.rint(x) + (x > 0)


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        (absolute, (0.0,), (0.0,)),
        (tie, (1.0, 1.0), (0.5, 0.5)),
        (relu, (0.0,), (0.0,)),
        (largest, (np.array([2.0, 1.0, 2.0]),), (np.array([0.5, 0.0, 0.5]),)),
        (running, (np.array([1.0, 1.0, 0.0]),), (np.array([2.0, 1.0, 0.0]),)),
        (different, (np.array([2.0, 1.0, 2.0]),), (np.array([1.0, 1.0, 0.0]),)),
        (clipped, (0.0,), (1.0,)),
        (clipped, (1.0,), (1.0,)),
        (root, (0.0,), (np.inf,)),
        (length, (np.zeros(3),), (np.zeros(3),)),
        (guarded_root, (0.0,), (0.0,)),
        (guarded_log, (-1.0,), (1.0,)),
        (logistic, (-1000.0,), (0.0,)),
        (power, (0.0, 2.0), (0.0, 0.0)),
        (zeroth_power, (0.0,), (0.0,)),
        (steps, (0.5,), (0.0,)),
    ],
)
def test_conventions(function: Callable[..., Any], args: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    _, gradients = vjp_by_interpreter(function, args, tuple(range(len(args))), 1.0)
    for gradient, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_array_equal(gradient, wanted)
