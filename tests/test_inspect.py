"""`.diagram`, `.explain`, `gradc.show` and `GRADC_DEBUG=nan`: what they show is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc
from gradc.inspect.diagram import MissingProgram
from gradc.inspect.layout import svg_of
from gradc.inspect.text import value_text

rng = np.random.default_rng(0)


def circuit(x, y, z):
    q = x + y
    f = q * z
    return f


def vertex(diagram: Any, name: str) -> Any:
    return next(v for v in diagram.vertices if v.name == name)


def test_circuit_has_value_and_cotangent_of_every_node():
    diagram = gradc.grad(circuit, argnums=(0, 1, 2)).diagram(-2.0, 5.0, -4.0)
    seen = {v.name: (v.value, v.cotangent) for v in diagram.vertices}
    assert seen == {"x": ("-2", "-4"), "y": ("5", "-4"), "z": ("-4", "3"), "q": ("3", "-4"), "f": ("-12", "1")}
    assert [v.name for v in vertex(diagram, "f").inputs] == ["q", "z"]
    assert re.search(r"q +\S* *= x \+ y +3 +-4", str(diagram))
    assert "\033" not in str(diagram)
    assert "\033[32m" in diagram.text(colours=True)


def test_cotangents_of_forks_are_whole():
    def f(x):
        a = x * x
        return a * x + a

    diagram = gradc.grad(f).diagram(3.0)
    assert vertex(diagram, "a").cotangent == "4"
    assert vertex(diagram, "x").cotangent == "33"


def test_jit_shows_cotangents_of_all_floats():
    diagram = gradc.jit(circuit).diagram(-2.0, 5.0, -4.0)
    assert vertex(diagram, "x").cotangent == "-4"


def test_loops_and_branches_are_clusters():
    def f(x, n):
        s = x
        for _ in range(n):
            if s > 2.0:
                s = np.sqrt(s)
            else:
                s = s * 2.0
        return s

    diagram = gradc.grad(f).diagram(1.5, 2)
    text = diagram.text()
    assert "for _ in range(n):" in text
    assert "if s > 2.0: true" in text
    assert diagram.dot().count("subgraph") >= 2
    assert diagram.root.items[-1].title == "for _ in range(n):"


def test_arrays_that_loops_write_into_show_the_write():
    def f(x, n):
        h = x.copy()
        for _ in range(n):
            h[1:] = np.sin(h[:-1])
        return np.sum(h)

    text = gradc.grad(f).diagram(np.ones(4), 3).text()
    assert "←" in text
    assert "sin" in text


def test_large_circuits_fold_by_source_line():
    def f(x):
        for _ in [0] * 3:
            y = x * x + x * 2.0 + np.sin(x)
            x = y + 1.0
        return x

    unfolded, folded = gradc.grad(f).diagram(0.5), gradc.grad(f).diagram(0.5, fold=5)
    assert len(folded.vertices) < len(unfolded.vertices)
    assert any(v.label == "y = x * x + x * 2.0 + np.sin(x)" for v in folded.vertices)


def test_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    diagram = gradc.grad(circuit).diagram(-2.0, 5.0, -4.0)
    monkeypatch.setenv("PATH", str(tmp_path))  # without Graphviz
    root = ElementTree.fromstring(diagram.svg())
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"x", "f = ×", "-12", "-4"} <= set(texts)
    assert diagram._repr_svg_() == diagram.svg()
    for ending in ("svg", "dot", "txt"):
        assert diagram.save(tmp_path / f"c.{ending}").stat().st_size > 100
    with pytest.raises(MissingProgram, match=r"apt install graphviz"):
        diagram.save(tmp_path / "c.png")
    with pytest.raises(ValueError, match=r"\.svg"):
        diagram.save(tmp_path / "c.docx")


def test_diagram_leaves_arguments_alone():
    def f(x):
        x[0] = x[1] * 2.0
        return np.sum(x * x)

    x = np.array([1.0, 2.0])
    gradc.grad(f).diagram(x)
    gradc.grad(f).explain(x)
    assert x.tolist() == [1.0, 2.0]


# ------------------------------------------------------------------------------------------------ explain


def network(layers, X, y):
    h = X
    for W, b in layers[:-1]:
        h = np.tanh(h @ W + b)
    W, b = layers[-1]
    return np.mean((h @ W + b - y) ** 2)


def relu_network(layers, X, y):
    h = X
    for W, b in layers[:-1]:
        h = np.maximum(h @ W + b, 0)
    W, b = layers[-1]
    return np.mean((h @ W + b - y) ** 2)


def layers(scale: float, bias: float = 0.0, depth: int = 6, width: int = 20) -> list[tuple[Any, Any]]:
    draw = np.random.default_rng(3)
    sizes = [8, *[width] * depth, 1]
    return [
        (draw.normal(size=(m, n)) * scale / np.sqrt(m), np.full(n, bias))
        for m, n in zip(sizes, sizes[1:], strict=False)
    ]


X, Y = rng.normal(size=(40, 8)), rng.normal(size=(40, 1))


@pytest.mark.parametrize(
    ("f", "scale", "bias", "flags"),
    [
        (network, 1.0, 0.0, set()),
        (relu_network, 1.4, 0.0, set()),
        (network, 0.1, 0.0, {"vanishing"}),
        (relu_network, 15.0, 0.0, {"exploding"}),
    ],
)
def test_flags_of_networks(f, scale, bias, flags):
    assert set(gradc.grad(f).explain(layers(scale, bias), X, Y).flags) == flags


def test_saturated_units_are_found():
    found = gradc.grad(network).explain(layers(30.0), X, Y)
    assert all("saturated" in row.flags for row in found.rows if row.name.startswith("h"))


def test_dead_units_are_found_with_their_share():
    dying = layers(1.4, depth=2)
    dying[0][1][:15] = -100.0
    found = gradc.grad(relu_network).explain(dying, X, Y)
    row = next(row for row in found.rows if row.name == "h")
    assert row.flags == ("dead",)
    assert row.shares["dead"] == 0.75
    assert gradc.grad(relu_network).explain(dying, X, Y, dead=0.9).flags == ()


def test_units_in_columns_are_told_from_samples():
    def loss(W1, W2, X):  # one column per sample
        h = np.maximum(W1 @ X, 0)
        return np.mean((W2 @ h) ** 2)

    W1 = np.abs(rng.normal(size=(6, 3)))
    W1[:4] *= -1
    found = gradc.grad(loss, argnums=(0, 1)).explain(W1, rng.normal(size=(2, 6)), np.abs(rng.normal(size=(3, 30))))
    assert next(row for row in found.rows if row.name == "h").shares["dead"] == pytest.approx(4 / 6)


def sum_of_powers(W, h, n):
    for _ in range(n):
        h = W @ h
    return np.sum(h)


def test_gates_of_recurrent_networks_are_not_layers():
    def gru(p, inputs):
        h = np.zeros((inputs.shape[1], p["U"].shape[0]))
        for x in inputs:
            z = 1 / (1 + np.exp(-(x @ p["Wz"] + h @ p["Uz"])))
            r = 1 / (1 + np.exp(-(x @ p["Wr"] + h @ p["Ur"])))
            h = z * h + (1 - z) * np.tanh(x @ p["W"] + (r * h) @ p["U"])
        return np.mean((h @ p["v"]) ** 2)

    draw = np.random.default_rng(2)
    p = {name: draw.normal(size=(3, 5)) / 2 for name in ("W", "Wz", "Wr")}
    p |= {name: draw.normal(size=(5, 5)) / 2.5 for name in ("U", "Uz", "Ur")} | {"v": draw.normal(size=5)}
    assert gradc.grad(gru).explain(p, draw.normal(size=(10, 8, 3))).flags == ()


@pytest.mark.parametrize(
    "relu",
    [
        lambda z: np.maximum(0.0, z),
        lambda z: np.where(z > 0, z, 0.0),
        lambda z: np.where(z <= 0, 0, z),
        lambda z: z * (z > 0),
        lambda z: np.clip(z, 0, None),
    ],
)
def test_every_way_to_write_a_relu_is_known(relu):
    def loss(W, b, X):
        return np.mean(relu(X @ W + b) ** 2)

    W, b = rng.normal(size=(8, 10)), np.where(np.arange(10) < 6, -100.0, 0.0)
    found = gradc.grad(loss, argnums=(0, 1)).explain(W, b, X)
    assert found.flags == ("dead",)
    assert max(row.shares.get("dead", 0) for row in found.rows) == pytest.approx(0.6)


def test_recurrent_networks_vanish_along_the_loop():
    def loss(W, h, n):
        for _ in range(n):
            h = np.tanh(W @ h)
        return np.sum(h)

    healthy, weak, strong = np.eye(4) * 0.98, np.eye(4) * 0.2, np.eye(4) * 10
    assert gradc.grad(loss).explain(healthy, np.full(4, 0.1), 12).flags == ()
    assert gradc.grad(loss).explain(weak, np.full(4, 0.1), 12).flags == ("vanishing",)
    assert gradc.grad(loss).explain(weak, np.full(4, 0.1), 12, along_loops=1e-20).flags == ()
    assert gradc.grad(lambda W, h, n: sum_of_powers(W, h, n)).explain(strong, np.ones(4), 12).flags == ("exploding",)


def test_a_trained_classifier_is_not_saturated():
    def loss(w, X, t):
        p = 1 / (1 + np.exp(-(X @ w)))
        return -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))

    Z = np.array([[9.0], [-9.0], [8.0], [-8.0]])
    assert gradc.grad(loss).explain(np.ones(1), Z, np.array([1.0, 0.0, 1.0, 0.0])).flags == ()


def test_first_place_that_is_not_finite():
    def f(x):
        a = x - 1
        b = np.log(a)
        c = np.sum(b)
        return c

    found = gradc.grad(f).explain(np.array([2.0, 1.0, 0.5]))
    assert found.first_forward.what == "nan"
    assert "np.log(a)" in found.first_forward.loc.line()
    assert found.first_backward.what == "inf"
    assert "nan" in next(row for row in found.rows if row.name == "c").flags
    assert "first nan forward" in str(found)


def test_masks_with_infinities_are_healthy():
    def f(x, keep):
        masked = np.where(keep, x, -np.inf)
        e = np.exp(masked - np.max(masked))
        return e[0] / np.sum(e)

    assert gradc.grad(f).explain(np.array([1.0, 2.0, 3.0]), np.array([True, True, False])).flags == ()


def test_rows_hold_the_numbers():
    found = gradc.grad(circuit, argnums=(0, 1, 2)).explain(-2.0, 5.0, -4.0)
    row = next(row for row in found.rows if row.name == "q")
    assert (row.value_range, row.cotangent_range, row.cotangent_norm, row.text) == ((3, 3), (-4, -4), 4, "q = x + y")


# --------------------------------------------------------------------------------------------------- show


def test_show_stops_at_any_stage():
    assert "def circuit_value_and_grad(x, y, z):" in gradc.show(circuit, 1.0, 2.0, 3.0)
    assert gradc.show(circuit, 1.0, 2.0, 3.0, stage="parse").startswith("func circuit(")
    assert gradc.show(circuit, 1.0, 2.0, 3.0, stage="reverse").startswith("func circuit_vjp(")
    assert "njit" in gradc.show(circuit, 1.0, 2.0, 3.0, stage="kernel")
    with pytest.raises(ValueError, match="the stages are parse"):
        gradc.show(circuit, 1.0, 2.0, 3.0, stage="nonsense")


def test_debug_nan_stops_at_the_users_line(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "import gradc, numpy as np\n"
        "def f(x):\n"
        "    a = x - 1\n"
        "    y = np.where(a > 0, np.log(a), 0.0)\n"  # the side not taken may be anything
        "    b = np.sqrt(a)\n"
        "    return np.sum(b + y)\n"
        "g = gradc.value_and_grad(f)\n"
        "print(gradc.grad(lambda x: np.sum(np.where(x > 0, x * np.log(x), 0.0)))(np.array([0.0, 1.0, -1.0])))\n"
        "for x in ([2.0, 3.0], [2.0, 0.5], [2.0, 1.0]):\n"
        "    try: print('value', g(np.array(x))[0])\n"
        "    except gradc.NonFiniteError as error: print(error.what, error.lineno, error.why)\n"
    )
    environ = {**os.environ, "GRADC_DEBUG": "nan"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environ, check=True)
    first, *lines = done.stdout.splitlines()
    assert first == "[0. 1. 0.]"
    assert lines[0].startswith("value 3.1")
    assert lines[1].startswith("nan appears here 5 it computes sqrt")
    assert lines[2].startswith("inf appears here 5 its derivative computes")


def test_every_listed_program_can_be_looked_at():
    from tests import board

    with np.errstate(all="ignore"):
        for function, args, argnums in board.CASES:
            compiled = gradc.value_and_grad(function, argnums=argnums)
            diagram = compiled.diagram(*args)
            assert "digraph" in diagram.dot()
            ElementTree.fromstring(svg_of(diagram.root))
            assert str(diagram)
            explained = compiled.explain(*args)
            assert len(explained.rows) > 1
            assert not {"nan", "inf", "dead", "exploding"} & set(explained.flags)


def test_rows_of_writes_and_loops():
    def heat(u, steps, rate):
        for _ in range(steps):
            u[1:-1] += rate * (u[2:] - 2 * u[1:-1] + u[:-2])
        return np.sum(u**2)

    u = np.zeros(6)
    u[2] = 1.0
    found = gradc.grad(heat).explain(u, 3, 0.1)
    assert [row.name for row in found.rows] == ["u", "rate", "u[1:-1]", "result"]
    assert found.rows[2].value_range == (0.0, pytest.approx(0.8))
    assert "u[1:-1]" in gradc.grad(heat).diagram(u, 3, 0.1).text()


# --------------------------------------------------------------------------------------- views and writes


def test_views_have_the_cotangent_that_flows_through_them():
    def f(A, b):
        top = A[1:]
        across = top.T
        row = A[0]
        return np.sum(across**2) + row @ b + np.sum(A)

    A, b = rng.normal(size=(3, 4)), rng.normal(size=4)
    diagram = gradc.grad(f).diagram(A, b)
    assert vertex(diagram, "top").cotangent == value_text(2 * A[1:])
    assert vertex(diagram, "across").cotangent == value_text(2 * A[1:].T)
    assert vertex(diagram, "row").cotangent == value_text(b)
    found = {row.name: row for row in gradc.grad(f).explain(A, b).rows}
    assert found["top"].cotangent_norm == pytest.approx(2 * np.linalg.norm(A[1:]))


def test_views_of_what_changes_later_are_told_apart():
    def f(u, n):
        u = u.copy()
        for _ in range(n):
            left = u[:-2]
            u[1:-1] = u[1:-1] + 0.1 * (u[2:] - left)
            head = u[:1]
            u[0] = 2.0 * u[0]
            u[1] = u[1] + head[0]
        return np.sum(u**2)

    u = rng.normal(size=6)
    for n in (1, 2, 3):
        diagram = gradc.grad(f).diagram(u, n)
        with_views = vertex(diagram, "u").cotangent
        assert with_views == value_text(gradc.grad(f)(u, n))
    steps = 1e-6 * np.eye(6)
    np.testing.assert_allclose(gradc.grad(f)(u, 2), [(f(u + d, 2) - f(u - d, 2)) / 2e-6 for d in steps], rtol=1e-6)


def test_writes_say_where_and_show_what_flows_back():
    def f(x):
        y = np.zeros(x.size)
        for i in range(1, x.size):
            y[i] = 3.0 * x[i - 1]
        y[::2] += x[::2]
        keep = x > 0
        return np.sum(y[keep])

    text = gradc.grad(f).diagram(np.array([1.0, -2.0, 3.0])).text()
    assert re.search(r"y\S* += \[i\] ← of y, t\d +-6 +1", text)
    assert "[::2] +=" in text
    assert "x[i−1]" in text
    assert re.search(r"keep +\S*= x > 0 +\[True, False, True\]", text)
    assert "4: 3 true" in gradc.grad(f).diagram(np.array([1.0, -2.0, 3.0, 1.0])).text()


def test_folded_circuits_go_from_top_to_bottom():
    def f(x):
        y = np.sin(x) * x + 1.0
        z = np.sin(y) * y + 1.0
        u = np.sin(z) * z + 1.0
        v = np.sin(u) * u + 1.0
        return v

    across, down = gradc.grad(f).diagram(0.5), gradc.grad(f).diagram(0.5, fold=3)
    sides = []
    for diagram in (across, down):
        root = ElementTree.fromstring(svg_of(diagram.root))
        sides.append((float(root.get("width")), float(root.get("height"))))
    assert sides[0][0] > sides[0][1]
    assert sides[1][0] < sides[1][1]


def test_explanations_show_themselves_in_notebooks():
    html = gradc.grad(lambda x: np.log(x - 1.0))(2.0), gradc.grad(lambda x: np.log(x - 1.0)).explain(0.5)._repr_html_()
    assert "<pre" in html[1]
    assert "color:#cf222e" in html[1]
    assert "\033" not in html[1]
    ElementTree.fromstring(html[1])
