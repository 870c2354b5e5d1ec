"""Where was the heat? Recover the initial state of a simulation from its end, with SciPy and gradc.

The simulation steps a temperature field in place, as a NumPy user writes it. The misfit's gradient in all initial
temperatures costs about as much as the simulation itself, whatever their number.

Run `python examples/inverse_heat.py`: it saves a picture of the true, the observed and the recovered field.
Needs the extra `examples` (matplotlib).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import gradc


def diffuse(field, steps, rate):
    """Step the heat equation in place; the border stays as it is."""
    for _ in range(steps):
        field[1:-1, 1:-1] += rate * (
            field[2:, 1:-1] + field[:-2, 1:-1] + field[1:-1, 2:] + field[1:-1, :-2] - 4 * field[1:-1, 1:-1]
        )


@gradc.value_and_grad
def misfit(start, observed, steps, rate, smoothness):
    """Squared distance of the simulated end from the observed one, and a price on roughness of the start."""
    field = start.reshape(observed.shape).copy()
    roughness = np.sum((field[1:] - field[:-1]) ** 2) + np.sum((field[:, 1:] - field[:, :-1]) ** 2)
    diffuse(field, steps, rate)
    return np.sum((field - observed) ** 2) + smoothness * roughness


def true_start(n):
    """A warm bar, a warm disc and a cold spot."""
    y, x = np.mgrid[0:n, 0:n] / (n - 1)
    field = np.zeros((n, n))
    field[(abs(x - 0.3) < 0.06) & (abs(y - 0.5) < 0.3)] = 1.0
    field[(x - 0.7) ** 2 + (y - 0.35) ** 2 < 0.14**2] = 0.8
    field[(x - 0.68) ** 2 + (y - 0.75) ** 2 < 0.08**2] = -0.6
    return field


def main(out=Path("inverse-heat-output"), n=48, steps=25, rate=0.2, noise=1e-3, iterations=200):
    """Simulate, observe, recover, save the picture in `out`; returns the relative error of the recovered start."""
    truth = true_start(n)
    observed = truth.copy()
    diffuse(observed, steps, rate)
    observed += noise * np.random.default_rng(0).standard_normal(observed.shape)

    arguments = (observed, steps, rate, 3e-5)
    found = minimize(
        misfit, np.zeros(n * n), args=arguments, jac=True, method="L-BFGS-B", options={"maxiter": iterations}
    )
    recovered = found.x.reshape(n, n)
    error = float(np.linalg.norm(recovered - truth) / np.linalg.norm(truth))
    blurred = float(np.linalg.norm(observed - truth) / np.linalg.norm(truth))
    print(
        f"{n * n} unknowns, {found.nfev} gradients: relative error {error:.3f} (of the observed field: {blurred:.3f})"
    )

    out.mkdir(parents=True, exist_ok=True)
    figure, grid = plt.subplots(1, 3, figsize=(10, 3.6))
    for axes, field, title in zip(
        grid, (truth, observed, recovered), ("true start", "observed end", "recovered start"), strict=True
    ):
        image = axes.imshow(field, vmin=-1.0, vmax=1.0, cmap="RdBu_r")
        axes.set_title(title)
        axes.axis("off")
    figure.colorbar(image, ax=grid, shrink=0.8)
    figure.savefig(out / "inverse_heat.png", dpi=120, bbox_inches="tight")
    plt.close(figure)
    print(f"saved {out / 'inverse_heat.png'}")
    return error


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("inverse-heat-output"), help="directory for the picture")
    main(parser.parse_args().out)
