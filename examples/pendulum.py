"""Swing a pendulum up: SymPy writes the equations of motion, gradc differentiates the simulation, SciPy steers.

SymPy's Lagrangian mechanics gives the accelerations of a cart with a pendulum. `gradc.lambdify` compiles them, a plain
NumPy loop steps them in time, and the gradient of "far from upright at the end" in all forces goes back through it.

Run `python examples/pendulum.py`: it saves a picture of the motion that was found, of the forces and of the angle.
Needs the extra `examples` (matplotlib).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
from scipy.optimize import minimize
from sympy.physics.mechanics import LagrangesMethod, dynamicsymbols

import gradc

CART, BOB, LENGTH, GRAVITY = 1.0, 0.3, 0.5, 9.81  # kg, kg, m, m/s2
STEPS, DT = 80, 0.025  # two seconds


def accelerations():
    """The accelerations of cart and angle as a compiled function of (position, angle), their rates, and the force."""
    x, angle = dynamicsymbols("x theta")
    rates = [x.diff(), angle.diff()]
    force = sp.Symbol("force")
    # The angle is measured from hanging down.
    bob_speed = (rates[0] + LENGTH * rates[1] * sp.cos(angle)) ** 2 + (LENGTH * rates[1] * sp.sin(angle)) ** 2
    kinetic = CART * rates[0] ** 2 / 2 + BOB * bob_speed / 2
    potential = -BOB * GRAVITY * LENGTH * sp.cos(angle)
    method = LagrangesMethod(kinetic - potential, [x, angle])
    method.form_lagranges_equations()
    pushed = method.forcing + sp.Matrix([force, 0])
    return gradc.lambdify([(x, angle), rates, force], method.mass_matrix.LUsolve(pushed))


accelerate = accelerations()


def simulate(forces):
    """Positions, angles and their rates after each step, from hanging at rest."""
    path = np.zeros((len(forces) + 1, 4))
    for k in range(len(forces)):
        place, rate = path[k, :2], path[k, 2:]
        middle = rate + 0.5 * DT * accelerate(place, rate, forces[k])[:, 0]
        half = place + 0.5 * DT * middle
        # The midpoint rule: accelerations half a step later.
        path[k + 1, 2:] = rate + DT * accelerate(half, middle, forces[k])[:, 0]
        path[k + 1, :2] = place + DT * middle
    return path


@gradc.value_and_grad
def cost(forces):
    """Distance from standing upright, at rest and at the start, at the end; and a price on force."""
    end = simulate(forces)[-1]
    missed = end[0] ** 2 + (end[1] - np.pi) ** 2 + 0.1 * (end[2] ** 2 + end[3] ** 2)
    return 10 * missed + 1e-3 * DT * np.sum(forces**2)


def show(path, forces, file):
    """The motion as a fan of positions, forces and angle over time."""
    times = DT * np.arange(len(path))
    figure, (motion, graphs) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(3, 2), layout="constrained")
    colours = plt.get_cmap("viridis")(np.linspace(0, 1, len(path)))
    for (x, angle, _, _), colour in list(zip(path, colours, strict=True))[::2]:
        bob = x + LENGTH * np.sin(angle), -LENGTH * np.cos(angle)
        motion.plot([x, bob[0]], [0, bob[1]], color=colour, linewidth=1)
        motion.plot(*bob, "o", color=colour, markersize=5)
    motion.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    motion.set(aspect="equal", xlabel="position of the cart (m)", title="from hanging (dark) to standing (light)")
    graphs.step(times[:-1], forces, where="post", color="tab:red", label="force (N)")
    graphs.plot(times, np.degrees(path[:, 1]) / 10, color="tab:blue", label="angle (10 degrees)")
    graphs.axhline(18, color="tab:blue", linewidth=0.8, linestyle=":")
    graphs.set(xlabel="time (s)", title="forces and angle")
    graphs.legend(loc="upper left")
    figure.savefig(file, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("."), help="directory for the picture")
    options = parser.parse_args()
    first = 2.0 * np.sin(np.linspace(0, 6 * np.pi, STEPS))
    found = minimize(cost, first, jac=True, method="L-BFGS-B", options={"maxiter": 600, "maxfun": 1500})
    path = simulate(found.x)
    lean = np.degrees(abs(path[-1, 1] - np.pi))
    print(f"{found.nfev} simulations with their gradients; at the end the pendulum leans by {lean:.2f} degrees")
    print(f"largest force {np.abs(found.x).max():.1f} N, speed left {np.hypot(*path[-1, 2:]):.3f}")
    show(path, found.x, options.out / "pendulum.png")


if __name__ == "__main__":
    main()
