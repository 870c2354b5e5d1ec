"""Train a network on scikit-learn's handwritten digits: plain NumPy, gradients by gradc.

Run `python examples/digits.py`: it prints the share of held-back digits that are read correctly, and saves the loss
curve and a page of the misread ones. Needs the extra `examples` (scikit-learn, matplotlib, tqdm).
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

import gradc


def forward(params, images):
    """Scores of the ten digits for every image."""
    hidden = np.maximum(images @ params["W1"] + params["b1"], 0)
    hidden = np.maximum(hidden @ params["W2"] + params["b2"], 0)
    return hidden @ params["W3"] + params["b3"]


@gradc.value_and_grad
def loss(params, images, labels):
    """Mean cross entropy."""
    scores = forward(params, images)
    scores = scores - np.max(scores, axis=1, keepdims=True)
    log_probability = scores - np.log(np.sum(np.exp(scores), axis=1, keepdims=True))
    return -np.mean(log_probability[np.arange(len(labels)), labels])


def initial_parameters(rng, sizes):
    """He's initialisation: weights of variance 2 / inputs, biases zero."""
    params = {}
    for layer, (n_in, n_out) in enumerate(pairwise(sizes), 1):
        params[f"W{layer}"] = rng.standard_normal((n_in, n_out)) * np.sqrt(2 / n_in)
        params[f"b{layer}"] = np.zeros(n_out)
    return params


def load(rng):
    """Training and held-back images (scaled to 0..1) and labels: four fifths and one fifth."""
    digits = load_digits()
    order = rng.permutation(len(digits.target))
    images, labels = digits.data[order] / 16.0, digits.target[order]
    split = len(labels) * 4 // 5
    return images[:split], labels[:split], images[split:], labels[split:]


def train(params, images, labels, rng, epochs=60, batch=32, rate=0.1):
    """Mini-batch gradient descent with a rate that falls to zero; changes `params`, returns the loss of every step."""
    history = []
    steps = epochs * (len(labels) // batch)
    with tqdm(total=steps, unit="step", mininterval=0.2) as bar:
        for _ in range(epochs):
            order = rng.permutation(len(labels))
            for first in range(0, len(labels) - batch + 1, batch):
                chosen = order[first : first + batch]
                value, gradient = loss(params, images[chosen], labels[chosen])
                step = rate * (1 - len(history) / steps)
                for name in params:
                    params[name] -= step * gradient[name]
                history.append(value)
                bar.update()
                if len(history) % 50 == 0:
                    bar.set_postfix(loss=f"{np.mean(history[-50:]):.4f}")
    return history


def save_loss_curve(history, path):
    smooth = np.convolve(history, np.ones(50) / 50, mode="valid")
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.semilogy(history, color="0.85", label="each mini-batch")
    axes.semilogy(np.arange(len(smooth)) + 49, smooth, label="mean of 50")
    axes.set(xlabel="step", ylabel="cross entropy", title="Handwritten digits")
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)


def save_misread(images, labels, read, path):
    """A page of the digits that were read as another one."""
    wrong = np.flatnonzero(read != labels)
    rows = max(1, -(-len(wrong) // 6))
    figure, grid = plt.subplots(rows, 6, figsize=(7, 1.4 * rows + 0.4), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, k in zip(grid.flat, wrong, strict=False):
        axes.imshow(images[k].reshape(8, 8), cmap="gray_r")
        axes.set_title(f"{labels[k]} read as {read[k]}", fontsize=8)
    figure.suptitle(f"{len(wrong)} of {len(labels)} held-back digits misread")
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)


def main(out=Path("digits-output"), seed=0):
    """Train, test, save both pictures in `out`; returns the share of held-back digits read correctly."""
    rng = np.random.default_rng(seed)
    train_images, train_labels, test_images, test_labels = load(rng)
    params = initial_parameters(rng, (64, 128, 64, 10))
    history = train(params, train_images, train_labels, rng)

    read = np.argmax(forward(params, test_images), axis=1)
    accuracy = float(np.mean(read == test_labels))
    print(f"{accuracy:.1%} of {len(test_labels)} held-back digits read correctly")

    out.mkdir(parents=True, exist_ok=True)
    save_loss_curve(history, out / "loss.png")
    save_misread(test_images, test_labels, read, out / "misread.png")
    print(f"saved {out / 'loss.png'} and {out / 'misread.png'}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("digits-output"), help="directory for the pictures")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    main(options.out, options.seed)
