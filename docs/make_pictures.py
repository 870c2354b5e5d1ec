"""Draw the pictures of the documentation: `python docs/make_pictures.py` (with Graphviz installed)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import gradc
from gradc.inspect import Diagram

IMAGES = Path(__file__).resolve().parent / "images"


def f(x, y):
    """The staged example of the README."""
    sigy = 1 / (1 + np.exp(-y))
    num = x + sigy
    sigx = 1 / (1 + np.exp(-x))
    xpy = x + y
    xpysqr = xpy**2
    den = sigx + xpysqr
    invden = 1 / den
    return num * invden


def diagrams() -> dict[str, Diagram]:
    """Each picture by the name of its file."""
    return {"staged.svg": gradc.value_and_grad(f, argnums=(0, 1)).diagram(3.0, -4.0)}


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    for name, diagram in diagrams().items():
        print(diagram.save(IMAGES / name))
