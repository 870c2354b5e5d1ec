"""A recurrent network in a plain loop: a GRU learns to remember.

Each sequence is a wave that is marked at one moment; at the end the network has to say what the wave was at the mark.
The gates of the cell (Cho et al., 2014) decide at every step what is kept. Gradients flow back through the `for` loop.

Run `python examples/gru.py`: it prints the error before and after, and saves what the network remembers.
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


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def remembered(params, inputs):
    """What the network says after the last step. inputs: (steps, sequences, 2)."""
    h = np.zeros((inputs.shape[1], params["U"].shape[0]))
    for x in inputs:
        update = sigmoid(x @ params["Wz"] + h @ params["Uz"] + params["bz"])
        reset = sigmoid(x @ params["Wr"] + h @ params["Ur"] + params["br"])
        proposal = np.tanh(x @ params["W"] + (reset * h) @ params["U"] + params["b"])
        h = update * h + (1 - update) * proposal
    return h @ params["v"] + params["c"]


@gradc.value_and_grad
def loss(params, inputs, targets):
    return np.mean((remembered(params, inputs) - targets) ** 2)


def sequences(rng, count, steps):
    """Waves of random phase and pace with one marked moment each, and the waves' values there."""
    t = np.arange(steps)[:, None]
    wave = np.sin(rng.uniform(0.2, 0.6, count) * t + rng.uniform(0, 2 * np.pi, count))
    marked = rng.integers(0, steps, count)
    inputs = np.stack([wave, (t == marked).astype(float)], axis=2)
    return inputs, wave[marked, np.arange(count)], marked


def initial_parameters(rng, hidden):
    """Weights of variance 1 / inputs; the update gate leans towards keeping."""
    params = {}
    for gate in ("z", "r", ""):
        params[f"W{gate}"] = rng.normal(size=(2, hidden)) / np.sqrt(2)
        params[f"U{gate}"] = rng.normal(size=(hidden, hidden)) / np.sqrt(hidden)
        params[f"b{gate}"] = np.full(hidden, 1.0 if gate == "z" else 0.0)
    return {**params, "v": rng.normal(size=hidden) / np.sqrt(hidden), "c": np.zeros(())}


def train(params, rng, steps, rounds, batch=64, rate=0.01):
    """Adam on fresh sequences; the losses."""
    mean, square = ({k: np.zeros_like(v) for k, v in params.items()} for _ in range(2))
    losses = []
    for k in range(1, rounds + 1):
        inputs, targets, _ = sequences(rng, batch, steps)
        value, gradient = loss(params, inputs, targets)
        losses.append(value)
        for name, slope in gradient.items():
            mean[name] += 0.1 * (slope - mean[name])
            square[name] += 0.001 * (slope**2 - square[name])
            step = mean[name] / (1 - 0.9**k) / (np.sqrt(square[name] / (1 - 0.999**k)) + 1e-8)
            params[name] = params[name] - rate * step
    return losses


def main(out=Path("gru-output"), steps=20, rounds=800, hidden=12):
    """Train, test on fresh sequences, save the picture in `out`; returns the mean squared errors before and after."""
    rng = np.random.default_rng(0)
    params = initial_parameters(rng, hidden)
    inputs, targets, marked = sequences(np.random.default_rng(1), 300, steps)
    before = float(np.mean((remembered(params, inputs) - targets) ** 2))
    losses = train(params, rng, steps, rounds)
    said = remembered(params, inputs)
    after = float(np.mean((said - targets) ** 2))
    print(f"mean squared error on fresh sequences: {before:.3f} before, {after:.4f} after {rounds} steps")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.semilogy(losses, lw=0.8)
    left.set(xlabel="step", title="mean squared error of a batch")
    dots = right.scatter(targets, said, c=steps - 1 - marked, s=10, cmap="viridis")
    right.plot([-1, 1], [-1, 1], "k-", lw=0.6)
    right.set_xticks([-1, -0.5, 0, 0.5, 1])
    right.set(xlabel="the wave at its mark", ylabel="what the network says", title="fresh sequences")
    figure.colorbar(dots, ax=right, label="steps since the mark")
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "gru.png", dpi=110)
    plt.close(figure)
    print(f"saved {out / 'gru.png'}")
    return before, after


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gru-output"), help="directory for the picture")
    main(parser.parse_args().out)
