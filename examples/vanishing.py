"""Why is the loss flat? A deep network with a bad start: `.explain` finds what is wrong, then it is put right.

The network fits a wavy curve. Three bad starts: weights so large that every tanh saturates, weights so small that the
gradient vanishes on its way back, and ReLUs with biases so low that they never turn on. A start that scales with the
number of inputs does better.

Run `python examples/vanishing.py`: it prints the tables and saves gradient norms and training curves.
Needs the extra `examples` (matplotlib).
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import gradc


def tanh_network(layers, x):
    h = x
    for W, b in layers[:-1]:
        h = np.tanh(h @ W + b)
    W, b = layers[-1]
    return h @ W + b


def relu_network(layers, x):
    h = x
    for W, b in layers[:-1]:
        h = np.maximum(h @ W + b, 0)
    W, b = layers[-1]
    return h @ W + b


@gradc.value_and_grad
def tanh_loss(layers, x, y):
    return np.mean((tanh_network(layers, x) - y) ** 2)


@gradc.value_and_grad
def relu_loss(layers, x, y):
    return np.mean((relu_network(layers, x) - y) ** 2)


def start(rng, scale, bias=0.0, sizes=(2, 24, 24, 24, 24, 24, 1)):
    """Weights of standard deviation scale / sqrt(inputs), equal biases in the hidden layers."""
    layers = [(scale * rng.normal(size=(m, n)) / np.sqrt(m), np.full(n, bias)) for m, n in pairwise(sizes)]
    layers[-1][1][:] = 0.0
    return layers


def train(loss, layers, x, y, steps, rate=0.05):
    """Gradient descent with gradients of length at most 1; the losses."""
    losses = []
    for _ in range(steps):
        value, gradient = loss(layers, x, y)
        losses.append(value)
        length = np.sqrt(sum(np.sum(g**2) for layer in gradient for g in layer))
        rate_now = rate / max(1.0, length)
        layers = [(W - rate_now * dW, b - rate_now * db) for (W, b), (dW, db) in zip(layers, gradient, strict=True)]
    return losses


def main(out=Path("vanishing-output"), steps=1500):
    """Explain and train every start, save the picture in `out`; returns the flags and the last losses."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (128, 2))
    y = np.sin(3 * x[:, :1]) * x[:, 1:]
    starts = {
        "saturated: tanh, weights × 30": (tanh_loss, start(rng, 30.0)),
        "vanishing: tanh, weights / 10": (tanh_loss, start(rng, 0.1)),
        "dead: ReLU, biases -3": (relu_loss, start(rng, 1.4, -3.0)),
        "healthy: tanh, weights × 1": (tanh_loss, start(rng, 1.0)),
        "healthy: ReLU, weights × 1.4": (relu_loss, start(rng, 1.4)),
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    found = {}
    for k, (name, (loss, layers)) in enumerate(starts.items()):
        explanation = loss.explain(layers, x, y)
        print(f"{name}\n{explanation}\n")
        style = "-" if name.startswith("healthy") else "--"
        hidden = [max(row.cotangent_norm, 1e-8) for row in explanation.rows if row.name.startswith("h")]
        left.semilogy(range(1, len(hidden) + 1), hidden, style, marker="o", ms=4, color=f"C{k}", label=name)
        losses = train(loss, layers, x, y, steps)
        right.semilogy(losses, style, color=f"C{k}")
        found[name.split(":")[0] if style == "--" else name] = (explanation.flags, losses[-1])
    left.set(xlabel="layer", title="gradient of the loss in each layer's output: norm (0 is drawn at 1e-8)")
    left.set_xticks(range(1, 6))
    right.set(xlabel="step of gradient descent", title="loss (vanishing and dead lie on each other)")
    figure.legend(loc="outside lower center", ncols=5, fontsize=8)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "vanishing.png", dpi=110)
    plt.close(figure)
    for name, (flags, last) in found.items():
        print(f"{name}: flags {', '.join(flags) or 'none'}; loss after {steps} steps {last:.2g}")
    print(f"saved {out / 'vanishing.png'}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("vanishing-output"), help="directory for the picture")
    main(parser.parse_args().out)
