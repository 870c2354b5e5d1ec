"""Greeks of a European call: the price is written once, its sensitivities are derivatives.

Delta, vega, theta and rho are one gradient; gamma is the derivative of delta. All are compared with the formulas of
Black and Scholes (1973) and Merton (1973), over a whole grid of spot prices and times.

Run `python examples/black_scholes.py`: it prints the largest differences and saves a page of surfaces.
Needs the extra `examples` (matplotlib).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import ndtr

import gradc

RATE, VOLATILITY, STRIKE = 0.03, 0.25, 100.0


def price(spot, strike, time, rate, volatility):
    """The value of a call: ndtr is the normal distribution function."""
    spread = volatility * np.sqrt(time)
    d1 = (np.log(spot / strike) + (rate + volatility**2 / 2) * time) / spread
    d2 = d1 - spread
    return spot * ndtr(d1) - strike * np.exp(-rate * time) * ndtr(d2)


def total(spot, strike, time, rate, volatility):
    """The sum over all options: each price depends on its own numbers only, so its gradient holds all sensitivities."""
    return np.sum(price(spot, strike, time, rate, volatility))


greeks = gradc.value_and_grad(total, argnums=("spot", "time", "rate", "volatility"))
delta = gradc.grad(total)
gamma = gradc.grad(lambda spot, *rest: np.sum(delta(spot, *rest)))


def formulas(spot, strike, time, rate, volatility):
    """The same by the textbook."""
    spread = volatility * np.sqrt(time)
    d1 = (np.log(spot / strike) + (rate + volatility**2 / 2) * time) / spread
    density = np.exp(-(d1**2) / 2) / np.sqrt(2 * np.pi)
    discounted = strike * np.exp(-rate * time) * ndtr(d1 - spread)
    return {
        "delta": ndtr(d1),
        "gamma": density / (spot * spread),
        "vega": spot * density * np.sqrt(time),
        "theta": -spot * density * volatility / (2 * np.sqrt(time)) - rate * discounted,
        "rho": time * discounted,
    }


def main(out=Path("black-scholes-output"), n=60):
    """Compute the greeks on a grid, save the surfaces in `out`; returns the largest relative difference of each."""
    spot, time = np.meshgrid(np.linspace(50.0, 150.0, n), np.linspace(0.05, 2.0, n))
    rate, volatility = np.full_like(spot, RATE), np.full_like(spot, VOLATILITY)
    arguments = (spot, STRIKE, time, rate, volatility)
    _, slopes = greeks(*arguments)
    found = {
        "delta": slopes["spot"],
        "gamma": gamma(*arguments),
        "vega": slopes["volatility"],
        "theta": -slopes["time"],  # what a day that passes takes away
        "rho": slopes["rate"],
    }
    expected = formulas(*arguments)
    errors = {k: float(np.max(np.abs(found[k] - expected[k])) / np.max(np.abs(expected[k]))) for k in found}
    print("largest difference from the formulas, relative: " + ", ".join(f"{k} {e:.1e}" for k, e in errors.items()))

    figure, grid = plt.subplots(2, 3, figsize=(11, 6.4), layout="constrained")
    surfaces = {"price": price(*arguments), **found}
    for axes, (name, surface) in zip(grid.flat, surfaces.items(), strict=True):
        image = axes.contourf(spot, time, surface, levels=24, cmap="viridis")
        axes.axvline(STRIKE, color="white", lw=0.6)
        axes.set(title=name, xlabel="spot price", ylabel="years to expiry")
        figure.colorbar(image, ax=axes)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "black_scholes.png", dpi=110)
    plt.close(figure)
    print(f"saved {out / 'black_scholes.png'}")
    return errors


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("black-scholes-output"), help="directory for the picture")
    main(parser.parse_args().out)
