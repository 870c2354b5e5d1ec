"""The eight-stage example: its value, its gradient, the backward pass as a teacher would write it, and its circuit.

    f(x, y) = (x + sigmoid(y)) / (sigmoid(x) + (x + y)**2)

Run `python examples/staged.py`: it prints all that and saves the circuit as a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import gradc


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@gradc.value_and_grad(argnums=("x", "y"))
def staged(x, y):
    sigy = sigmoid(y)
    num = x + sigy
    sigx = sigmoid(x)
    xpy = x + y
    xpysqr = xpy**2
    den = sigx + xpysqr
    invden = 1 / den
    f = num * invden
    return f


def main(out=Path("staged-output"), x=3.0, y=-4.0):
    """Print everything about the example, save the picture in `out`; returns value and gradient."""
    value, gradient = staged(x, y)
    print(f"f({x}, {y}) = {value:.6f}, df/dx = {gradient['x']:.6f}, df/dy = {gradient['y']:.6f}\n")
    print(staged.source)
    diagram = staged.diagram(x, y)
    print(diagram)
    out.mkdir(parents=True, exist_ok=True)
    print(f"\nsaved {diagram.save(out / 'staged.svg')}")
    return value, gradient


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("staged-output"), help="directory for the picture")
    main(parser.parse_args().out)
