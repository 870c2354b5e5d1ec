"""A 2-3-1 network learns a ring and XOR: cross entropy, 2,000 epochs, the decision map before and after.

Run `python examples/two_layers.py`: it prints the share of points on the right side and saves a page of maps.
Needs the extra `examples` (matplotlib).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import gradc


def scores(params, points):
    """The network: positive where a point belongs to the class."""
    hidden = np.tanh(points @ params["W1"] + params["b1"])
    return hidden @ params["w2"] + params["b2"]


@gradc.value_and_grad
def loss(params, points, labels):
    """Mean cross entropy of labels 0 and 1, from the scores: log(1 + exp(s)) - label * s."""
    s = scores(params, points)
    return np.mean(np.logaddexp(0, s) - labels * s)


def ring(rng, n):
    """A disc inside a ring."""
    angle, inside = rng.uniform(0, 2 * np.pi, n), np.arange(n) % 2 == 0
    radius = np.where(inside, rng.uniform(0, 0.45, n), rng.uniform(0.7, 1.0, n))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), inside.astype(float)


def xor(rng, n):
    """Two diagonal quadrants against the other two."""
    points = rng.uniform(-1, 1, (n, 2))
    points += 0.08 * np.sign(points)
    return points, (points[:, 0] * points[:, 1] > 0).astype(float)


def train(points, labels, rng, epochs=2000, rate=0.02):
    """Adam (Kingma, Ba, 2015) on all points; parameters before and after, and the losses."""
    params = {"W1": rng.normal(size=(2, 3)), "b1": np.zeros(3), "w2": rng.normal(size=3), "b2": np.zeros(())}
    before = {name: value.copy() for name, value in params.items()}
    mean, square = ({name: np.zeros_like(value) for name, value in params.items()} for _ in range(2))
    losses = []
    for epoch in range(1, epochs + 1):
        value, gradient = loss(params, points, labels)
        losses.append(value)
        for name, slope in gradient.items():
            mean[name] += 0.1 * (slope - mean[name])
            square[name] += 0.001 * (slope**2 - square[name])
            step = mean[name] / (1 - 0.9**epoch) / (np.sqrt(square[name] / (1 - 0.999**epoch)) + 1e-8)
            params[name] = params[name] - rate * step
    return before, params, losses


def accuracy(params, points, labels):
    """The share of points on the right side."""
    return float(np.mean((scores(params, points) > 0) == (labels == 1)))


def draw(axes, params, points, labels, title):
    """The network's probability over the plane, with the points."""
    side = np.linspace(-1.15, 1.15, 120)
    plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    probability = 1 / (1 + np.exp(-scores(params, plane)))
    axes.contourf(side, side, probability.reshape(120, 120), levels=np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.7)
    axes.scatter(*points.T, c=labels, cmap="RdBu_r", s=18, edgecolors="white", linewidths=0.6)
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")


def main(out=Path("two-layers-output"), epochs=2000, n=300):
    """Train on both data sets, save the maps in `out`; returns the shares of points on the right side."""
    figure, grid = plt.subplots(2, 3, figsize=(9, 6), layout="constrained")
    reached = {}
    for row, (name, data, seed) in zip(grid, (("ring", ring, 1), ("xor", xor, 7)), strict=True):
        rng = np.random.default_rng(seed)
        points, labels = data(rng, n)
        before, after, losses = train(points, labels, rng, epochs)
        reached[name] = accuracy(after, points, labels)
        print(f"{name}: loss {losses[0]:.3f} -> {losses[-1]:.3f}, {100 * reached[name]:.1f}% on the right side")
        draw(row[0], before, points, labels, f"{name}: before")
        draw(row[1], after, points, labels, f"{name}: after {epochs} epochs")
        row[2].plot(losses)
        row[2].set(xlabel="epoch", title="cross entropy", ylim=(0, None))
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "two_layers.png", dpi=110)
    plt.close(figure)
    print(f"saved {out / 'two_layers.png'}")
    return reached


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("two-layers-output"), help="directory for the picture")
    main(parser.parse_args().out)
