"""What those meet who try gradc for the first time: mistakes say what to do."""

from __future__ import annotations

import dataclasses
import tomllib
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

import gradc
from gradc.config import config
from gradc.runtime import failures


def product(x, y):
    return np.sum(x @ y)


def missing(p):
    return p["a"] * p["c"]


def unknown(x):
    return special.cosm1(x)


@pytest.mark.parametrize("calls", [1, 2])
def test_sizes_that_do_not_fit_are_told_with_the_shapes(calls: int) -> None:
    gradient = gradc.grad(product)
    if calls == 2:  # the straight call finds the error too
        gradient(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(gradc.ShapeError, match=r"x has shape \(2, 3\), y has shape \(4, 2\)"):
        gradient(np.ones((2, 3)), np.ones((4, 2)))


@pytest.mark.parametrize("transform", [gradc.jit, gradc.grad, gradc.value_and_grad], ids=lambda f: f.__name__)
def test_a_key_that_is_missing_is_a_key_error(transform: Any) -> None:
    with pytest.raises(KeyError, match="c") as caught:
        transform(missing)({"a": 2.0, "b": 3.0})
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == 'return p["a"] * p["c"]'


@pytest.mark.parametrize("call", [lambda f: f(1.0), lambda f: f.lower(1.0)], ids=["call", "lower"])
def test_a_refusal_does_not_show_the_way_through_the_compiler(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "config", lambda: dataclasses.replace(config(), debug=0))
    with pytest.raises(gradc.UnsupportedError) as caught:
        call(gradc.grad(unknown))
    assert len(traceback.extract_tb(caught.value.__traceback__)) <= 5


def test_functions_without_a_rule_are_called_by_their_own_name() -> None:
    with pytest.raises(gradc.UnsupportedError, match=r"`scipy\.special\.cosm1` has no rule"):
        gradc.grad(unknown)(1.0)


def test_a_script_beside_the_clone_imports_the_package() -> None:
    """A folder `gradc`, the clone, lies beside the script. A .pth file, which this setting makes, wins against it.

    setuptools' finder for editable installs is asked last, and the folder would be an empty package.
    """
    settings = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert settings["tool"]["setuptools"]["package-dir"] == {"": "."}
