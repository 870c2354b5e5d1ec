"""Tests run with the IR verified after each stage."""

import os

import pytest

os.environ.setdefault("GRADC_DEBUG", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden`: write the texts in `tests/golden` anew."""
    parser.addoption("--update-golden", action="store_true", help="write the texts in tests/golden anew")
