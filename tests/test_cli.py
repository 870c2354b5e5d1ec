"""The command line: what it prints, its exit codes, its errors without tracebacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gradc
from gradc.__main__ import literal, main

MODEL = """
import numpy as np


def loss(x, y, w):
    t = np.tanh(w * x)
    return np.sum((t - y) ** 2)


def power(x, n):
    s = 1.0
    for _ in range(n):
        s = s * x
    return s


def wrong(x):
    raise KeyError("no such thing")


def generator(x):
    yield x
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert "\033" not in out
    return code, out, err


def test_expression(capsys):
    code, out, _ = run(capsys, "(x + y) * z", "x=-2", "y=5", "z=-4")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "(x + y) * z = -12"
    assert [line.strip() for line in lines[1:4]] == ["d/dx = -4", "d/dy = -4", "d/dz = 3"]
    assert "def expression_value_and_grad(x, y, z):" in out
    assert "cotangent" in out


def test_expression_of_arrays_saves_its_picture(capsys, tmp_path):
    picture = tmp_path / "c.svg"
    code, out, _ = run(capsys, "sum(x * x)", "x=[1, 2]", "--save", str(picture))
    assert code == 0
    assert "d/dx = [2. 4.]" in out
    assert picture.read_text().lstrip().startswith("<")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x +", "x=1"], "x +"),
        (["x * q", "x=1"], "q"),
        (["__import__('os')", "x=1"], "__import__"),
    ],
)
def test_expressions_that_are_refused(capsys, arguments, said):
    code, out, err = run(capsys, *arguments)
    assert code == 1
    assert said in err
    assert out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["x", "y"],
        ["x * y", "x=1", "y"],
        ["x", "x=one"],
        ["x", "x=1", "x=2"],
        ["nonsense"],
        ["--nonsense"],
        ["show"],
        ["show", "model.py"],
        ["show", "absent.py:f"],
        ["cache", "burn"],
        ["absent.ir"],
        [""],
        ["model.py:loss"],
    ],
)
def test_wrong_calls(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith("python -m gradc: ")
    assert out == ""


def test_show(capsys, model):
    code, out, _ = run(capsys, "show", f"{model}:loss", "--args", "[1, 2.5]", "[0.0, 1.0]", "-0.5")
    assert code == 0
    assert "def loss_value_and_grad(x, y, w):" in out
    assert "d/dw = " in out
    code, out, _ = run(capsys, "show", f"{model}:power", "--args", "2.0", "3")
    assert code == 0
    assert "d/dx = 12" in out
    code, out, _ = run(capsys, "show", f"{model}:power", "--args", "2.0", "3", "--stage", "parse")
    assert out.startswith("func power(")
    code, out, _ = run(capsys, "show", f"{model}:loss", "--args", "1.0", "0.5", "2.0", "--explain")
    assert "stage" in out


def test_values_that_look_like_options(capsys, model):
    code, out, _ = run(capsys, "show", f"{model}:power", "--args", "-1e-3", "2", "--stage", "source")
    assert code == 0
    assert out.startswith('"""Value and gradient of power')
    code, out, _ = run(capsys, "check", f"{model}:power", "--order", "2", "--args", "-1.5", "3")
    assert code == 0


def test_expressions_name_no_file_that_nobody_has(capsys):
    _, out, _ = run(capsys, "sin(x) * y", "x=1", "y=2")
    assert "<expression" not in out
    assert "# from the expression: sin(x) * y" in out


def test_functions_that_return_arrays_show_their_jacobian(capsys):
    code, out, _ = run(capsys, "x * y", "x=[1, 2]", "y=[3, 4]")
    assert code == 0
    assert "x * y = [3. 8.]" in out
    assert "d/dx = [[3. 0.]\n          [0. 4.]]" in out
    assert "expression_jacobian" in out


def test_errors_of_functions_are_plain(capsys, model):
    code, _, err = run(capsys, "show", f"{model}:generator", "--args", "1.0")
    assert code == 1
    assert "model.py:" in err
    code, _, err = run(capsys, "show", f"{model}:absent", "--args", "1.0")
    assert code == 2
    assert "loss" in err
    code, _, err = run(capsys, "show", f"{model}:loss", "--args", "1.0")
    assert code == 2
    assert "missing a required argument: 'y'" in err


def test_check(capsys, model):
    code, out, _ = run(capsys, "check", f"{model}:loss", "--args", "[1, 2.5]", "[0.0, 1.0]", "-0.5")
    assert code == 0
    assert "agree" in out


def test_cache(capsys):
    code, out, _ = run(capsys, "cache")
    assert code == 0
    assert str(gradc.cache.folder()) in out
    assert out.rstrip().endswith("B")


def test_doctor(capsys):
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    for name in ("python", "numba", "vector math", "BLAS", "threads", "cache"):
        assert name in out


def test_passes_on_a_dump(capsys, tmp_path):
    path = tmp_path / "f.ir"
    path.write_text(gradc.show(lambda x: x * 1.0 + x * 1.0, 2.0, stage="parse"))
    code, out, _ = run(capsys, str(path), "-p", "simplify,cse", "--verify")
    assert code == 0
    assert out.count("mul") < path.read_text().count("mul")
    code, out, _ = run(capsys, str(path), "-p", "reverse,kernel")
    assert code == 0
    assert "njit" in out
    code, _, err = run(capsys, str(path), "-p", "nonsense")
    assert code == 2
    assert "simplify" in err
    path.write_text("nonsense")
    assert run(capsys, str(path))[0] == 1


def test_help(capsys):
    for arguments in ([], ["--help"]):
        code, out, _ = run(capsys, *arguments)
        assert code == 0
        assert "python -m gradc" in out
    with pytest.raises(SystemExit) as ended:
        main(["show", "--help"])
    assert ended.value.code == 0


def test_literals():
    assert literal("-5") == -5
    assert np.array_equal(literal("[1, 2.5]"), [1.0, 2.5])
    assert set(literal("{'w': [1.0], 'b': 2.0}")) == {"w", "b"}
