"""Array programs with pairs, gathers, and long elementwise chains (classes X, E, S)."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

from tests.workloads.entry import workload


def get_acc(pos, mass, G, softening):
    """Accelerations of all particles by all particles (after Mocz, N-body in Python)."""
    x = pos[:, 0:1]
    y = pos[:, 1:2]
    z = pos[:, 2:3]
    dx = x.T - x
    dy = y.T - y
    dz = z.T - z
    inv_r3 = dx**2 + dy**2 + dz**2 + softening**2
    inv_r3[inv_r3 > 0] = inv_r3[inv_r3 > 0] ** (-1.5)
    ax = G * (dx * inv_r3) @ mass
    ay = G * (dy * inv_r3) @ mass
    az = G * (dz * inv_r3) @ mass
    return np.hstack((ax, ay, az))


def get_energy(pos, vel, mass, G):
    """Kinetic and potential energy; the diagonal of the distances is zero under the root."""
    KE = 0.5 * np.sum(mass * vel**2)
    x = pos[:, 0:1]
    y = pos[:, 1:2]
    z = pos[:, 2:3]
    dx = x.T - x
    dy = y.T - y
    dz = z.T - z
    inv_r = np.sqrt(dx**2 + dy**2 + dz**2)
    mask = inv_r > 0
    inv_r[mask] = 1.0 / inv_r[mask]
    PE = G * np.sum(np.sum(np.triu(-(mass * mass.T) * inv_r, 1)))
    return KE, PE


def nbody(Nt, mass, pos, vel, dt, G, softening):
    """Leapfrog; the energies of every step, the last positions and velocities."""
    vel -= np.mean(mass * vel, axis=0) / np.mean(mass)
    acc = get_acc(pos, mass, G, softening)
    KE = np.empty(Nt + 1, dtype=pos.dtype)
    PE = np.empty(Nt + 1, dtype=pos.dtype)
    KE[0], PE[0] = get_energy(pos, vel, mass, G)
    for i in range(Nt):
        vel += acc * dt / 2.0
        pos += vel * dt
        acc[:] = get_acc(pos, mass, G, softening)
        vel += acc * dt / 2.0
        KE[i + 1], PE[i + 1] = get_energy(pos, vel, mass, G)
    return KE, PE


def make_nbody(rng, n, steps):
    return (
        steps,
        20.0 * (0.5 + rng.random((n, 1))) / n,
        rng.standard_normal((n, 3)),
        0.5 * rng.standard_normal((n, 3)),
        0.01,
        1.0,
        0.1,
        *(rng.standard_normal(steps + 1) for _ in range(2)),
        *(rng.standard_normal((n, 3)) for _ in range(2)),
    )


@workload("nbody", "S", make_nbody, (1, 2, 3, 4, 5, 6), ((2, 1), (4, 3), (9, 5)), {"S": (25, 40), "M": (50, 80)})
def nbody_loss(Nt, mass, pos, vel, dt, G, softening, RK, RP, Rpos, Rvel):
    KE, PE = nbody(Nt, mass, pos, vel, dt, G, softening)
    return np.sum(RK * KE) + np.sum(RP * PE) + np.sum(Rpos * pos) + np.sum(Rvel * vel)


def spmv(A_row, A_col, A_val, x):
    """Product of a sparse matrix in CSR form and a vector, row by row."""
    y = np.empty(A_row.size - 1, A_val.dtype)
    for i in range(A_row.size - 1):
        cols = A_col[A_row[i] : A_row[i + 1]]
        vals = A_val[A_row[i] : A_row[i + 1]]
        y[i] = vals @ x[cols]
    return y


def make_spmv(rng, m, n, nnz):
    rows = np.sort(rng.integers(0, m, nnz))
    indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=m)))).astype(np.int32)
    return (
        indptr,
        rng.integers(0, n, nnz).astype(np.int32),
        rng.standard_normal(nnz),
        rng.standard_normal(n),
        rng.standard_normal(m),
    )


@workload("spmv", "X", make_spmv, (2, 3), ((2, 3, 5), (6, 5, 9), (20, 17, 60)), {"S": (4096, 4096, 8192)})
def spmv_loss(A_row, A_col, A_val, x, R):
    return np.sum(R * spmv(A_row, A_col, A_val, x))


def arc_distance(theta_1, phi_1, theta_2, phi_2):
    """Great-circle distance of points on the unit sphere (haversine form)."""
    temp = np.sin((theta_2 - theta_1) / 2) ** 2 + np.cos(theta_1) * np.cos(theta_2) * np.sin((phi_2 - phi_1) / 2) ** 2
    return 2 * np.arctan2(np.sqrt(temp), np.sqrt(1 - temp))


def make_arc_distance(rng, n):
    return (*(rng.random(n) for _ in range(4)), rng.standard_normal(n))


@workload(
    "arc_distance", "E", make_arc_distance, (0, 1, 2, 3), ((2,), (5,), (33,)), {"S": (100_000,), "M": (1_000_000,)}
)
def arc_distance_loss(theta_1, phi_1, theta_2, phi_2, R):
    return np.sum(R * arc_distance(theta_1, phi_1, theta_2, phi_2))


def black_scholes(S, K, T, r, sigma):
    """Prices of European calls and puts (Black and Scholes 1973)."""
    d1 = (np.log(S / K) + (r + 0.5 * sigma**2) * T) / (sigma * np.sqrt(T))
    d2 = d1 - sigma * np.sqrt(T)
    cdf_d1 = 0.5 * (1.0 + erf(d1 / np.sqrt(2.0)))
    cdf_d2 = 0.5 * (1.0 + erf(d2 / np.sqrt(2.0)))
    discount = np.exp(-r * T)
    call = S * cdf_d1 - K * discount * cdf_d2
    put = K * discount * (1.0 - cdf_d2) - S * (1.0 - cdf_d1)
    return call, put


def make_black_scholes(rng, n):
    return (
        90 + 20 * rng.random(n),
        90 + 20 * rng.random(n),
        0.5 + rng.random(n),
        0.03,
        0.1 + 0.2 * rng.random(n),
        rng.standard_normal(n),
        rng.standard_normal(n),
    )


@workload("black_scholes", "E", make_black_scholes, (0, 1, 2, 3, 4), ((2,), (5,), (33,)), {"S": (1_000_000,)})
def black_scholes_loss(S, K, T, r, sigma, Rc, Rp):
    call, put = black_scholes(S, K, T, r, sigma)
    return np.sum(Rc * call) + np.sum(Rp * put)
