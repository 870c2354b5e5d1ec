"""The flags of `.explain`: right on networks made to saturate, die, vanish and explode, silent on healthy ones.

Each network is written as users write theirs: layers as functions, lists and tuples of weights, samples in rows or in
columns, loops over samples, units and time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special

import gradc

BOUNDED: dict[str, Any] = {
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "expit": lambda z: special.expit(z),
    "exp_over": lambda z: np.exp(z) / (1 + np.exp(z)),
}
RELUS: dict[str, Any] = {
    "max_0_z": lambda z: np.maximum(0, z),
    "max_z_0": lambda z: np.maximum(z, 0.0),
    "where": lambda z: np.where(z > 0, z, 0),
    "mask": lambda z: z * (z > 0),
    "clip": lambda z: np.clip(z, 0, None),
    "clip_6": lambda z: np.clip(z, 0, 6),
    "half_abs": lambda z: 0.5 * (z + np.abs(z)),
}
SMOOTH: dict[str, Any] = {
    "leaky": lambda z: np.where(z > 0, z, 0.01 * z),
    "leaky_max": lambda z: np.maximum(z, 0.01 * z),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "elu": lambda z: np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1),
    "swish": lambda z: z * special.expit(z),
    "linear": lambda z: z,
}
ALL = BOUNDED | RELUS | SMOOTH


def in_rows(act: Any) -> Any:
    def net(params, X, Y):
        h = X
        for W, b in params[:-1]:
            h = act(h @ W + b)
        W, b = params[-1]
        return np.mean((h @ W + b - Y) ** 2)

    return net


def in_columns(act: Any) -> Any:
    def net(params, X, Y):
        h = X.T
        for W, b in params[:-1]:
            h = act(W.T @ h + b[:, None])
        W, b = params[-1]
        return np.mean((W.T @ h + b[:, None] - Y.T) ** 2)

    return net


def in_functions(act: Any) -> Any:
    def layer(p, h):
        return act(h @ p[0] + p[1])

    def net(params, X, Y):
        h = X
        for p in params[:-1]:
            h = layer(p, h)
        error = h @ params[-1][0] + params[-1][1] - Y
        return np.sum(error * error) / error.shape[0]

    return net


STYLES = (in_rows, in_columns, in_functions)


def layers(sizes: list[int], gain: float, seed: int = 0, bias: float = 0.0) -> list[tuple[Any, Any]]:
    draw = np.random.default_rng(seed)
    return [
        (draw.normal(size=(m, n)) * gain / np.sqrt(m), np.full(n, bias))
        for m, n in zip(sizes, sizes[1:], strict=False)
    ]


def data(seed: int = 0, size: int = 40) -> tuple[Any, Any]:
    draw = np.random.default_rng(seed + 1000)
    return draw.normal(size=(size, 8)), draw.normal(size=(size, 1))


def flags(f: Any, *args: Any, argnums: Any = 0, **limits: float) -> set[str]:
    with np.errstate(all="ignore"):
        return set(gradc.grad(f, argnums=argnums).explain(*args, **limits).flags)


@pytest.mark.parametrize("name", ALL)
def test_fresh_networks_are_healthy(name: str) -> None:
    gain = {"tanh": 1.0, "linear": 1.0}.get(name, 1.5 if name in BOUNDED else np.sqrt(2))
    deep = [8, 20, 20, 20, 20, 20, 1] if name not in BOUNDED or name == "tanh" else [8, 20, 20, 20, 1]
    for seed, sizes in enumerate(([8, 16, 16, 1], [8, 64, 1], deep)):
        style = STYLES[seed % len(STYLES)]
        assert flags(style(ALL[name]), layers(sizes, gain, seed), *data(seed)) == set()


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("style", STYLES)
def test_saturated(name: str, style: Any) -> None:
    for params in (layers([8, 16, 16, 1], 60.0), layers([8, 16, 16, 1], 1.0, bias=12.0)):
        found = flags(style(BOUNDED[name]), params, *data())
        assert "saturated" in found
        assert found <= {"saturated", "vanishing", "exploding"}


@pytest.mark.parametrize("name", RELUS)
@pytest.mark.parametrize("style", STYLES)
def test_dead_with_their_share(name: str, style: Any) -> None:
    params = layers([8, 16, 16, 1], 1.4)
    params[0] = (params[0][0], np.where(np.arange(16) < 12, -50.0, 0.0))
    found = gradc.grad(style(RELUS[name])).explain(params, *data())
    assert set(found.flags) == {"dead"}
    assert max(row.shares.get("dead", 0.0) for row in found.rows) == pytest.approx(0.75)
    few = layers([8, 16, 16, 1], 1.4)
    few[0] = (few[0][0], np.where(np.arange(16) < 3, -50.0, 0.0))
    assert flags(style(RELUS[name]), few, *data()) == set()


@pytest.mark.parametrize("name", ["leaky", "leaky_max", "softplus"])
def test_what_never_dies_is_not_dead(name: str) -> None:
    params = layers([8, 16, 16, 1], 1.4)
    params[0] = (params[0][0], np.where(np.arange(16) < 12, -5.0, 0.0))
    assert "dead" not in flags(in_rows(SMOOTH[name]), params, *data())


@pytest.mark.parametrize("style", STYLES)
def test_depth_vanishes_and_explodes(style: Any) -> None:
    deep = [8, *[16] * 9, 1]
    assert flags(style(BOUNDED["sigmoid"]), layers(deep, 1.0), *data()) == {"vanishing"}
    assert flags(style(np.tanh), layers(deep, 0.2), *data()) == {"vanishing"}
    assert flags(style(RELUS["max_0_z"]), layers(deep, 0.3), *data()) == {"vanishing"}
    assert flags(style(SMOOTH["linear"]), layers(deep, 5.0), *data()) == {"exploding"}
    assert flags(style(RELUS["where"]), layers(deep, 6.0), *data()) == {"exploding"}
    assert flags(style(SMOOTH["linear"]), layers(deep, 5.0), *data(), exploding=1e12) == set()


# -------------------------------------------------------------------------------------------------- loops


def over_samples(W1, b1, w2, X, Y):
    loss = 0.0
    for x, y in zip(X, Y, strict=True):
        h = np.tanh(W1 @ x + b1)
        loss += (w2 @ h - y) ** 2
    return loss / len(Y)


def over_samples_relu(W1, b1, w2, X, Y):
    loss = 0.0
    for i in range(X.shape[0]):
        h = np.maximum(0, W1 @ X[i] + b1)
        loss += (w2 @ h - Y[i]) ** 2
    return loss / len(Y)


def over_units(W1, b1, w2, X, Y):
    H = np.zeros((X.shape[0], W1.shape[0]))
    for j in range(W1.shape[0]):
        H[:, j] = X @ W1[j] + b1[j]
    H = np.where(H > 0, H, 0.0)
    return np.mean((H @ w2 - Y) ** 2)


def over_everything(W1, b1, w2, X, Y):
    loss = 0.0
    for s in range(X.shape[0]):
        out = 0.0
        for j in range(W1.shape[0]):
            z = b1[j]
            for k in range(X.shape[1]):
                z += W1[j, k] * X[s, k]
            out += w2[j] * max(0.0, z)
        loss += (out - Y[s]) ** 2
    return loss / len(Y)


def masked_in_place(W1, b1, w2, X, Y):
    H = X @ W1.T + b1
    H[H < 0] = 0
    return np.mean((H @ w2 - Y) ** 2)


def by_einsum(W1, b1, w2, X, Y):
    H = np.maximum(np.einsum("nk,jk->nj", X, W1) + b1, 0)
    return np.mean((np.einsum("nj,j->n", H, w2) - Y) ** 2)


def small() -> list[Any]:
    draw = np.random.default_rng(0)
    X, Y = data(size=20)
    return [draw.normal(size=(12, 8)) / 3, np.zeros(12), draw.normal(size=12) / 3, X, Y[:, 0]]


@pytest.mark.parametrize("f", [over_samples_relu, over_units, over_everything, masked_in_place, by_einsum])
def test_loops_of_relus(f: Any) -> None:
    args = small()
    assert flags(f, *args, argnums=(0, 1, 2)) == set()
    args[1] = np.where(np.arange(12) < 9, -50.0, 0.0) if f is not over_everything else np.full(12, -50.0)
    assert flags(f, *args, argnums=(0, 1, 2)) == {"dead"}


def test_all_iterations_count_for_saturation() -> None:
    W1, b1, w2, X, Y = small()
    assert flags(over_samples, W1, b1, w2, X, Y, argnums=(0, 1, 2)) == set()
    assert flags(over_samples, W1 * 60, b1, w2, X, Y, argnums=(0, 1, 2)) == {"saturated"}
    last = X * 60
    last[-1] = 0.0
    assert flags(over_samples, W1, b1, w2, last, Y, argnums=(0, 1, 2)) == {"saturated"}
    last = X.copy()
    last[-1] *= 1000
    assert flags(over_samples, W1, b1, w2, last, Y, argnums=(0, 1, 2)) == set()


def recurrent(p, xs, y):
    h = np.zeros(p["U"].shape[0])
    for x in xs:
        h = np.tanh(p["W"] @ x + p["U"] @ h)
    return np.sum((p["V"] @ h - y) ** 2)


def recurrent_linear(p, xs, y):
    h = np.zeros(p["U"].shape[0])
    for t in range(xs.shape[0]):
        h = p["W"] @ xs[t] + p["U"] @ h
    return np.sum((p["V"] @ h - y) ** 2)


@pytest.mark.parametrize(
    ("f", "gain", "expected"),
    [
        (recurrent, 1.0, set()),
        (recurrent_linear, 1.0, set()),
        (recurrent, 0.3, {"vanishing"}),
        (recurrent_linear, 3.0, {"exploding"}),
    ],
)
def test_time(f: Any, gain: float, expected: set[str]) -> None:
    for seed in range(2):
        draw = np.random.default_rng(seed)
        turn = np.linalg.qr(draw.normal(size=(10, 10)))[0]
        p = {"W": draw.normal(size=(10, 4)) * 0.1, "U": gain * turn, "V": draw.normal(size=(2, 10)) / 3}
        assert flags(f, p, draw.normal(size=(20, 4)), draw.normal(size=2)) == expected


# ------------------------------------------------------------------------------------------------- healthy


def test_healthy_programs_of_other_kinds_are_left_alone() -> None:
    draw = np.random.default_rng(4)
    X, y = draw.normal(size=(40, 8)), draw.normal(size=40)
    w = draw.normal(size=8)

    def regression(w, b, X, y):
        return np.mean((X @ w + b - y) ** 2)

    def penalty(x):
        return np.sum(np.maximum(x - 100, 0) ** 2) + np.sum(np.minimum(x, 0) ** 2)

    def dropout(W1, w2, X, y, keep):
        h = np.maximum(X @ W1, 0) * keep / 0.5
        return np.mean((h @ w2 - y) ** 2)

    def threshold(x, A, b):
        return 0.5 * np.sum((A @ np.where(np.abs(x) > 1, x, 0.0) - b) ** 2)

    def residual(Ws, X, y):
        h = X
        for W in Ws:
            h = h + 0.3 * np.tanh(h @ W)
        return np.mean((h[:, 0] - y) ** 2)

    assert flags(regression, w + 1e-12, 0.3, X, X @ w + 0.3, argnums=(0, 1)) == set()  # converged
    assert flags(regression, w, 0.0, X, X @ w, argnums=(0, 1)) == set()
    assert flags(penalty, draw.normal(size=10)) == set()
    W1, w2 = draw.normal(size=(8, 16)) / 2, draw.normal(size=16) / 4
    for keep in ((draw.random((40, 16)) < 0.5) * 1.0, draw.random(16) < 0.5):
        assert flags(dropout, W1, w2, X, y, keep, argnums=(0, 1)) == set()
    assert flags(threshold, draw.normal(size=12), draw.normal(size=(5, 12)), draw.normal(size=5)) == set()
    assert flags(residual, [draw.normal(size=(8, 8)) / 3 for _ in range(12)], X, y) == set()


def test_where_numbers_stop_being_finite() -> None:
    def normalise(x):
        n = x / np.sum(x)
        return np.sum(n**2)

    def softmax(x):
        e = np.exp(x)
        s = e / np.sum(e)
        return -np.log(s[0])

    def root(x):
        r = np.sqrt(x)
        return np.sum(r)

    cases: list[tuple[Any, list[float], str | None, str, str]] = [
        (normalise, [1.0, -1.0], "inf", "n = x / np.sum(x)", "inf"),
        (normalise, [0.0, 0.0], "nan", "n = x / np.sum(x)", "nan"),
        (softmax, [1.0, 1000.0, 2.0], "inf", "e = np.exp(x)", "inf"),
        (root, [0.0, 1.0], None, "r = np.sqrt(x)", "inf"),
    ]
    for f, x, forward, line, backward in cases:
        with np.errstate(all="ignore"):
            found = gradc.grad(f).explain(np.array(x))
        assert (found.first_forward.what if found.first_forward else None) == forward
        assert found.first_backward.what == backward
        place = found.first_forward or found.first_backward
        assert place.loc.line().strip() == line
    with np.errstate(all="ignore"):
        assert gradc.grad(lambda x: np.sqrt(np.sum(x**2))).explain(np.zeros(3)).flags == ()
