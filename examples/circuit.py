"""Circuits of gates: what flows forward is green, what flows back is red.

An add gate hands its cotangent on to both inputs, a multiply gate swaps its inputs' values, a max gate routes it to
the larger one. A neuron is a chain of such gates that ends in a sigmoid.

Run `python examples/circuit.py`: it prints both circuits and saves them as pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import gradc


@gradc.value_and_grad(argnums=("x", "y", "z", "w"))
def gates(x, y, z, w):
    product = x * y
    larger = max(z, w)
    total = product + larger
    return total * 2.0


@gradc.value_and_grad(argnums=("w", "x"))
def neuron(w, x):
    dot = w[0] * x[0] + w[1] * x[1] + w[2]
    return 1 / (1 + np.exp(-dot))


def main(out=Path("circuit-output")):
    """Print the circuits and save them in `out`; returns their gradients."""
    out.mkdir(parents=True, exist_ok=True)
    weights, inputs = np.array([2.0, -3.0, -3.0]), np.array([-1.0, -2.0])
    gradients = []
    for compiled, arguments in ((gates, (3.0, -4.0, 2.0, -1.0)), (neuron, (weights, inputs))):
        _, gradient = compiled(*arguments)
        gradients.append(gradient)
        diagram = compiled.diagram(*arguments)
        print(f"{diagram}\n")
        print(f"saved {diagram.save(out / f'{compiled.__name__}.svg')}\n")
    return gradients


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("circuit-output"), help="directory for the pictures")
    main(parser.parse_args().out)
