"""Hamiltonian Monte Carlo in nopython code, which calls gradc's gradient: the eight schools of Rubin (1981).

Eight schools report the effect of coaching and its standard error. Effects of schools are normal around a common mean
`mu` with spread `tau`; how far, the data has to say: ten unknowns. Given `tau` everything is Gaussian, so the exact
posterior follows from an integral over `tau`, and the sampler is held against that.

Run `python examples/hmc.py`: it prints means, R-hat, and the time of a leapfrog step; with JAX installed also that of
the same sampler in Python with JAX's compiled gradient; it saves a picture. Needs the extra `examples` (matplotlib).
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numba import njit, prange
from scipy.integrate import quad

import gradc

EFFECT = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERROR = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def log_posterior(q, effect, error):
    """Log density (up to a constant) of q = (mu, log tau, standardised effects of the schools)."""
    mu, log_tau, eta = q[0], q[1], q[2:]
    tau = np.exp(log_tau)
    prior = -0.5 * (mu / 5.0) ** 2 - np.log(1.0 + (tau / 5.0) ** 2) + log_tau - 0.5 * np.sum(eta * eta)
    return prior - 0.5 * np.sum(((effect - mu - tau * eta) / error) ** 2)


def make_sampler(value_and_grad):
    """The sampler for a log density: plain Python, which Numba compiles where the gradient is gradc's."""

    def sample(q, effect, error, draws, warmup, leaps, seed):
        """Positions after `warmup` (draws, 10), the mean acceptance probability, and the step size that was found.

        The step is adapted by dual averaging (Hoffman and Gelman 2014, section 3.2) towards 0.8 accepted.
        """
        np.random.seed(seed)
        out = np.empty((draws, len(q)))
        value, slope = value_and_grad(q, effect, error)
        step, log_average, excess, accepted = 0.1, 0.0, 0.0, 0.0
        for k in range(warmup + draws):
            p = np.random.standard_normal(len(q))
            energy = value - 0.5 * np.sum(p * p)
            new, new_value, new_slope = q, value, slope
            for _ in range(leaps):
                p = p + 0.5 * step * new_slope
                new = new + step * p
                new_value, new_slope = value_and_grad(new, effect, error)
                p = p + 0.5 * step * new_slope
            probability = min(1.0, np.exp(new_value - 0.5 * np.sum(p * p) - energy))
            if np.random.random() < probability:
                q, value, slope = new, new_value, new_slope
            if k < warmup:
                excess += 0.8 - probability
                log_step = np.log(0.5) - np.sqrt(k + 1.0) / 0.05 * excess / (k + 11.0)
                weight = (k + 1.0) ** -0.75
                log_average = weight * log_step + (1.0 - weight) * log_average
                step = np.exp(log_step if k < warmup - 1 else log_average)
            else:
                out[k - warmup] = q
                accepted += probability
        return out, accepted / draws, step

    return sample


sample = njit(make_sampler(gradc.value_and_grad(log_posterior)))


@njit(parallel=True)
def sample_chains(starts, effect, error, draws, warmup, leaps):
    """One chain per start, side by side: draws (chains, draws, 10) and acceptance probabilities."""
    chains = np.empty((len(starts), draws, starts.shape[1]))
    rates = np.empty(len(starts))
    for c in prange(len(starts)):
        chains[c], rates[c], _ = sample(starts[c], effect, error, draws, warmup, leaps, 100 + c)
    return chains, rates


def r_hat(chains):
    """Split R-hat of draws (chains, draws): 1 where the chains agree (Gelman et al. 2013, section 11.4)."""
    half = chains.shape[1] // 2
    parts = np.concatenate((chains[:, :half], chains[:, half : 2 * half]))
    within = parts.var(axis=1, ddof=1).mean()
    between = parts.mean(axis=1).var(ddof=1)
    return np.sqrt((half - 1) / half + between / within)


def exact():
    """Density of tau, and the posterior means of mu and tau, by integration over tau."""

    def given(tau):
        """log p(tau, effects), mean of mu."""
        weight = 1.0 / (ERROR**2 + tau**2)
        precision = weight.sum() + 1 / 25
        mean = (weight * EFFECT).sum() / precision
        log_p = 0.5 * np.log(weight).sum() - 0.5 * np.log(precision)
        log_p += 0.5 * precision * mean**2 - 0.5 * (weight * EFFECT**2).sum() - np.log(1 + (tau / 5) ** 2)
        return log_p, mean

    top = given(3.0)[0]

    def density(tau):
        return np.exp(given(tau)[0] - top)

    total = quad(density, 0, np.inf)[0]
    mu = quad(lambda tau: density(tau) * given(tau)[1], 0, np.inf)[0] / total
    tau = quad(lambda tau: density(tau) * tau, 0, np.inf)[0] / total
    return lambda t: np.array([density(x) / total for x in t]), mu, tau


def jax_sampler():
    """The same sampler, run by Python, with JAX's compiled value and gradient."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    @jax.jit
    @jax.value_and_grad
    def value_and_grad(q, effect, error):
        mu, log_tau, eta = q[0], q[1], q[2:]
        tau = jnp.exp(log_tau)
        prior = -0.5 * (mu / 5.0) ** 2 - jnp.log(1.0 + (tau / 5.0) ** 2) + log_tau - 0.5 * jnp.sum(eta * eta)
        return prior - 0.5 * jnp.sum(((effect - mu - tau * eta) / error) ** 2)

    def called(q, effect, error):
        value, gradient = value_and_grad(q, effect, error)
        return float(value), np.asarray(gradient)

    return make_sampler(called)


def nanoseconds_per_step(sampler, draws, leaps):
    """Best of three runs, per leapfrog step."""
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        sampler(np.zeros(10), EFFECT, ERROR, draws, 100, leaps, 1)
        best = min(best, time.perf_counter() - start)
    return best / ((draws + 100) * leaps) * 1e9


def save_picture(mu, tau, density, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for chain in tau:
        left.plot(chain[:500], linewidth=0.6)
    left.set(xlabel="draw", ylabel="tau", title="Spread between schools, four chains")
    grid = np.linspace(0.01, 20, 200)
    right.hist(tau.ravel(), bins=100, range=(0, 20), density=True, alpha=0.5, label="tau, sampled")
    right.plot(grid, density(grid), color="black", label="tau, exact")
    right.hist(mu.ravel(), bins=100, range=(-10, 20), density=True, alpha=0.4, label="mu, sampled")
    right.set(xlabel="points of the test", title="Posterior")
    right.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("hmc-output"), help="directory for the picture")
    parser.add_argument("--draws", type=int, default=10_000, help="draws of each of four chains")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    leaps = 12
    starts = np.random.default_rng(0).normal(size=(4, 10))
    chains, rates = sample_chains(starts, EFFECT, ERROR, options.draws, 1_000, leaps)
    mu, tau = chains[:, :, 0], np.exp(chains[:, :, 1])
    density, mu_exact, tau_exact = exact()
    print(f"mu  {mu.mean():6.3f}, exact {mu_exact:6.3f}, R-hat {r_hat(mu):.4f}")
    print(f"tau {tau.mean():6.3f}, exact {tau_exact:6.3f}, R-hat {r_hat(np.log(tau)):.4f}")
    print(f"accepted {100 * rates.mean():.0f}%")
    save_picture(mu, tau, density, options.out / "hmc.png")

    ours = nanoseconds_per_step(sample, 10_000, leaps)
    print(f"leapfrog step with gradc {ours:.0f} ns")
    if importlib.util.find_spec("jax") is None:
        print("JAX is not installed, so there is nothing to compare with.")
        return
    theirs = nanoseconds_per_step(jax_sampler(), 200, leaps)
    print(f"leapfrog step with JAX {theirs:.0f} ns, {theirs / ours:.0f} times as long")


if __name__ == "__main__":
    main()
