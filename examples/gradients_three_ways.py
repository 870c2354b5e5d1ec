"""One gradient, three ways: analytic by SymPy, numerical by differences, and by backpropagation.

Left: the error of differences against their step. It falls with the step until rounding takes over; the other two are
exact to the last digits. Right: the time of a gradient against the number of parameters. Differences run the function
once or twice per parameter, backpropagation about three times in all.

Run `python examples/gradients_three_ways.py`: it prints a table and saves both plots.
Needs the extra `examples` (matplotlib).
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import sympy

import gradc


def energy(w):
    """A chain of springs that harden, in a wavy potential."""
    stretch = w[1:] - w[:-1]
    return np.sum(stretch**2 / 2 + stretch**4 / 4) + np.sum(np.sin(w) * np.exp(-(w**2) / 2))


backpropagation = gradc.grad(energy)


def analytic(n):
    """The gradient from SymPy's derivative of the written-out formula, as a NumPy function."""
    w = sympy.symbols(f"w:{n}")
    springs = sum((b - a) ** 2 / 2 + (b - a) ** 4 / 4 for a, b in pairwise(w))
    formula = springs + sum(sympy.sin(x) * sympy.exp(-(x**2) / 2) for x in w)
    function = sympy.lambdify(w, [sympy.diff(formula, x) for x in w], cse=True)
    return lambda values: np.array(function(*values))


def differences(w, step, central=True):
    """The gradient by differences."""
    gradient = np.empty_like(w)
    for k in range(len(w)):
        up, down = w.copy(), w.copy()
        up[k] += step
        down[k] -= step if central else 0.0
        gradient[k] = (energy(up) - energy(down)) / (2 * step if central else step)
    return gradient


def seconds(call, *arguments, least=0.02):
    """Time of one call: the best of a few rounds of calls."""
    call(*arguments)
    best = np.inf
    for _ in range(3):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < least:
            call(*arguments)
            count += 1
        best = min(best, (time.perf_counter() - start) / count)
    return best


def main(out=Path("gradients-output"), symbolic=(4, 8, 16, 32), numbers=(4, 16, 64, 256, 1024)):
    """Measure errors and times, save the plots in `out`; returns the largest errors of the exact ways."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=8)
    exact = analytic(8)(w)
    steps = 10.0 ** np.arange(-13, 0.5, 0.5)
    error = {
        central: [np.max(np.abs(differences(w, h, central) - exact)) for h in steps] for central in (True, False)
    }
    own = float(np.max(np.abs(backpropagation(w) - exact)))
    print(f"largest error: backpropagation {own:.1e}, central differences at best {min(error[True]):.1e}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    left.loglog(steps, error[False], label="forward differences")
    left.loglog(steps, error[True], label="central differences")
    left.axhline(max(own, 1e-17), color="C2", label="backpropagation (against SymPy)")
    left.set(xlabel="step", title="largest error of the gradient")
    left.legend(loc="lower left", bbox_to_anchor=(0.0, 0.07))
    times = {
        "analytic (SymPy)": [(n, seconds(analytic(n), rng.normal(size=n))) for n in symbolic],
        "central differences": [(n, seconds(differences, rng.normal(size=n), 1e-6)) for n in numbers],
        "backpropagation": [(n, seconds(backpropagation, rng.normal(size=n))) for n in numbers],
    }
    for (name, measured), colour in zip(times.items(), ("C3", "C1", "C2"), strict=True):
        right.loglog(*zip(*measured, strict=True), "o-", color=colour, label=name)
        print(f"{name:<20}" + "  ".join(f"n={n}: {1e6 * t:.1f} µs" for n, t in measured))
    right.set(xlabel="number of parameters", title="seconds for a gradient")
    right.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "gradients.png", dpi=110)
    plt.close(figure)
    print(f"saved {out / 'gradients.png'}")
    return own, min(error[True])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gradients-output"), help="directory for the picture")
    main(parser.parse_args().out)
