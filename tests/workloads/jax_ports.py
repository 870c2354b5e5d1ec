"""The workloads written for JAX: same arguments, same value.

CLOSE follows the NumPy text (a Python loop becomes `fori_loop`, a store `.at[].set`); GOOD is what somebody who knows
JAX would write, where that differs (`scan`, masks or products in place of triangular loops, `vmap`). Import JAX with
x64 enabled before use; `enable_x64` does both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import erf, gammaln
from jax.scipy.special import logsumexp as jax_logsumexp

jax.config.update("jax_enable_x64", True)

CLOSE: dict[str, Callable[..., Any]] = {}
GOOD: dict[str, Callable[..., Any]] = {}


def close(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return lambda f: CLOSE.setdefault(name, f)


def good(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return lambda f: GOOD.setdefault(name, f)


def static_argnums(args: tuple[Any, ...]) -> tuple[int, ...]:
    """Positions of Python ints: sizes and trip counts, static under `jax.jit`."""
    return tuple(k for k, a in enumerate(args) if isinstance(a, int))


# ------------------------------------------------------------------------------------------ products


@close("gemver")
def gemver(alpha, beta, A, u1, v1, u2, v2, w, x, y, z, RA, Rw, Rx):
    A = A + jnp.outer(u1, v1) + jnp.outer(u2, v2)
    x = x + beta * y @ A + z
    w = w + alpha * A @ x
    return jnp.sum(RA * A) + jnp.sum(Rw * w) + jnp.sum(Rx * x)


@close("k2mm")
def k2mm(alpha, beta, A, B, C, D, RD):
    return jnp.sum(RD * (alpha * A @ B @ C + beta * D))


@close("doitgen")
def doitgen(NR, NQ, NP, A, C4, RA):
    A = jnp.reshape(jnp.reshape(A, (NR, NQ, 1, NP)) @ C4, (NR, NQ, NP))
    return jnp.sum(RA * A)


@good("doitgen")
def doitgen_good(NR, NQ, NP, A, C4, RA):
    return jnp.sum(RA * (A @ C4))


@good("correlation")
def correlation(M, float_n, data, Rdata, Rcorr):
    mean = jnp.mean(data, axis=0)
    # A variance of zero under the root has no place here: the columns under the threshold are masked before it.
    variance = jnp.var(data, axis=0)
    small = variance <= 0.01
    stddev = jnp.where(small, 1.0, jnp.sqrt(jnp.where(small, 1.0, variance)))
    data = (data - mean) / (jnp.sqrt(float_n) * stddev)
    corr = data.T @ data
    corr = corr - jnp.diag(jnp.diag(corr)) + jnp.eye(M)
    return jnp.sum(Rcorr * corr) + jnp.sum(Rdata * data)


# --------------------------------------------------------------------------------------------- loops


@good("durbin")
def durbin(r, R):
    n = r.shape[0]
    index = jnp.arange(n)

    def step(carry, k):
        y, alpha, beta = carry
        beta = beta * (1.0 - alpha * alpha)
        live = index < k
        reversed_y = jnp.where(live, y[jnp.clip(k - 1 - index, 0, n - 1)], 0.0)
        alpha = -(r[k] + jnp.sum(jnp.where(live, r, 0.0) * reversed_y)) / beta
        y = jnp.where(live, y + alpha * reversed_y, y).at[k].set(alpha)
        return (y, alpha, beta), None

    first = (jnp.zeros_like(r).at[0].set(-r[0]), -r[0], jnp.ones((), r.dtype))
    (y, _, _), _ = lax.scan(step, first, jnp.arange(1, n))
    return jnp.sum(R * y)


@close("cholesky")
def cholesky(A, R):
    """Triangular loops over masked rows: slices of traced length do not exist in JAX."""
    n = A.shape[0]
    index = jnp.arange(n)

    def column(j, state):
        A, i = state
        partial = jnp.sum(jnp.where(index < j, A[i] * A[j], 0.0))
        entry = (A[i, j] - partial) / A[j, j]
        return A.at[i, j].set(jnp.where(j < i, entry, A[i, j])), i

    def row(i, A):
        A, _ = lax.fori_loop(0, n, column, (A, i))
        diagonal = A[i, i] - jnp.sum(jnp.where(index < i, A[i] * A[i], 0.0))
        return A.at[i, i].set(jnp.sqrt(diagonal))

    return jnp.sum(R * lax.fori_loop(0, n, row, A))


@good("cholesky")
def cholesky_good(A, R):
    """The library's factorisation of the lower triangle; the strict upper triangle passes through."""
    lower = jnp.tril(A)
    symmetric = lower + jnp.tril(A, -1).T
    return jnp.sum(R * (jnp.linalg.cholesky(symmetric, symmetrize_input=False) + jnp.triu(A, 1)))


@good("syrk")
def syrk(alpha, beta, C, A, RC):
    lower = jnp.tril(jnp.ones(C.shape, bool))
    return jnp.sum(RC * jnp.where(lower, beta * C + alpha * A @ A.T, C))


@good("symm")
def symm(alpha, beta, C, A, B, RC):
    full = jnp.tril(A) + jnp.tril(A, -1).T
    return jnp.sum(RC * (beta * C + alpha * full @ B))


@good("gramschmidt")
def gramschmidt(A, RA, RQ, RR):
    n = A.shape[1]
    index = jnp.arange(n)

    def step(k, state):
        A, Q, R = state
        norm = jnp.sqrt(A[:, k] @ A[:, k])
        q = A[:, k] / norm
        row = jnp.where(index > k, q @ A, 0.0)
        return A - jnp.outer(q, row), Q.at[:, k].set(q), R.at[k].set(row.at[k].set(norm))

    A, Q, R = lax.fori_loop(0, n, step, (A, jnp.zeros_like(A), jnp.zeros((n, n), A.dtype)))
    return jnp.sum(RA * A) + jnp.sum(RQ * Q) + jnp.sum(RR * R)


@good("deriche")
def deriche(alpha, img, R):
    e = jnp.exp(-alpha)
    k = (1.0 - e) * (1.0 - e) / (1.0 + alpha * e * 2.0 - jnp.exp(2.0 * alpha))
    a1, a2, a3, a4 = k, k * e * (alpha - 1.0), k * e * (alpha + 1.0), -k * jnp.exp(-2.0 * alpha)
    b1, b2 = 2.0 ** (-alpha), -jnp.exp(-2.0 * alpha)

    def along_first(x):
        zero = jnp.zeros_like(x[0])

        def forward(carry, xi):
            x_before, y_1, y_2 = carry
            y = a1 * xi + a2 * x_before + b1 * y_1 + b2 * y_2
            return (xi, y, y_1), y

        def backward(carry, xi):
            x_1, x_2, y_1, y_2 = carry
            y = a3 * x_1 + a4 * x_2 + b1 * y_1 + b2 * y_2
            return (xi, x_1, y, y_1), y

        y1 = lax.scan(forward, (zero,) * 3, x)[1]
        y2 = lax.scan(backward, (zero,) * 4, x, reverse=True)[1]
        return y1 + y2

    return jnp.sum(R * along_first(along_first(img.T).T))


# ------------------------------------------------------------------------------------------ stencils


@close("seidel_2d")
def seidel_2d(TSTEPS, N, A, R):
    def element(j, state):
        A, i = state
        return A.at[i, j].set((A[i, j] + A[i, j - 1]) / 9.0), i

    def row(i, A):
        above, below = lax.dynamic_slice(A, (i - 1, 0), (1, N))[0], lax.dynamic_slice(A, (i + 1, 0), (1, N))[0]
        here = A[i]
        total = here[1:-1] + above[:-2] + above[1:-1] + above[2:] + here[2:] + below[:-2] + below[1:-1] + below[2:]
        A = A.at[i, 1:-1].set(total)
        return lax.fori_loop(1, N - 1, element, (A, i))[0]

    A = lax.fori_loop(0, TSTEPS - 1, lambda t, A: lax.fori_loop(1, N - 1, row, A), A)
    return jnp.sum(R * A)


@good("seidel_2d")
def seidel_2d_good(TSTEPS, N, A, R):
    """Scans over steps and rows; the recurrence along a row, x_j = (b_j + x_{j-1}) / 9, as an associative scan."""

    def compose(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    def row(above, rows):
        here, below = rows
        b = here[1:-1] + above[:-2] + above[1:-1] + above[2:] + here[2:] + below[:-2] + below[1:-1] + below[2:]
        ninth = jnp.full_like(b, 1.0 / 9.0)
        scale, shift = lax.associative_scan(compose, (ninth, b / 9.0))
        new = jnp.concatenate((here[:1], scale * here[0] + shift, here[-1:]))
        return new, new

    def step(A, _):
        rows = lax.scan(row, A[0], (A[1:-1], A[2:]))[1]
        return jnp.concatenate((A[:1], rows, A[-1:])), None

    A = lax.scan(step, A, length=TSTEPS - 1)[0]
    return jnp.sum(R * A)


@close("jacobi_2d")
def jacobi_2d(TSTEPS, A, B, RA, RB):
    def five(A):
        return 0.2 * (A[1:-1, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[2:, 1:-1] + A[:-2, 1:-1])

    def step(t, state):
        A, B = state
        B = B.at[1:-1, 1:-1].set(five(A))
        A = A.at[1:-1, 1:-1].set(five(B))
        return A, B

    A, B = lax.fori_loop(1, TSTEPS, step, (A, B))
    return jnp.sum(RA * A) + jnp.sum(RB * B)


@good("jacobi_2d")
def jacobi_2d_good(TSTEPS, A, B, RA, RB):
    """A scan that carries the interiors alone, padded with the fixed borders by concatenation in each step."""

    def five(M):
        return 0.2 * (M[1:-1, 1:-1] + M[1:-1, :-2] + M[1:-1, 2:] + M[2:, 1:-1] + M[:-2, 1:-1])

    def framed(inner, M):
        rows = jnp.concatenate((M[1:-1, :1], inner, M[1:-1, -1:]), axis=1)
        return jnp.concatenate((M[:1], rows, M[-1:]))

    def step(state, _):
        A, B = state
        B = framed(five(A), B)
        A = framed(five(B), A)
        return (A, B), None

    (A, B), _ = lax.scan(step, (A, B), length=TSTEPS - 1)
    return jnp.sum(RA * A) + jnp.sum(RB * B)


@close("fdtd_2d")
def fdtd_2d(TMAX, ex, ey, hz, fict, Rex, Rey, Rhz):
    def step(fields, f):
        ex, ey, hz = fields
        ey = ey.at[0, :].set(f)
        ey = ey.at[1:, :].add(-0.5 * (hz[1:, :] - hz[:-1, :]))
        ex = ex.at[:, 1:].add(-0.5 * (hz[:, 1:] - hz[:, :-1]))
        hz = hz.at[:-1, :-1].add(-0.7 * (ex[:-1, 1:] - ex[:-1, :-1] + ey[1:, :-1] - ey[:-1, :-1]))
        return (ex, ey, hz), None

    (ex, ey, hz), _ = lax.scan(step, (ex, ey, hz), fict)
    return jnp.sum(Rex * ex) + jnp.sum(Rey * ey) + jnp.sum(Rhz * hz)


@close("cavity_flow")
def cavity_flow(nx, ny, nt, nit, u, v, dt, dx, dy, p, rho, nu, Ru, Rv, Rp):
    def pressure(q, state):
        p, b = state
        p = p.at[1:-1, 1:-1].set(
            ((p[1:-1, 2:] + p[1:-1, 0:-2]) * dy**2 + (p[2:, 1:-1] + p[0:-2, 1:-1]) * dx**2) / (2 * (dx**2 + dy**2))
            - dx**2 * dy**2 / (2 * (dx**2 + dy**2)) * b
        )
        p = p.at[:, -1].set(p[:, -2])
        p = p.at[0, :].set(p[1, :])
        p = p.at[:, 0].set(p[:, 1])
        return p.at[-1, :].set(0.0), b

    def advect(f, un, vn, slope):
        return (
            f[1:-1, 1:-1]
            - un[1:-1, 1:-1] * dt / dx * (f[1:-1, 1:-1] - f[1:-1, 0:-2])
            - vn[1:-1, 1:-1] * dt / dy * (f[1:-1, 1:-1] - f[0:-2, 1:-1])
            - slope
            + nu
            * (
                dt / dx**2 * (f[1:-1, 2:] - 2 * f[1:-1, 1:-1] + f[1:-1, 0:-2])
                + dt / dy**2 * (f[2:, 1:-1] - 2 * f[1:-1, 1:-1] + f[0:-2, 1:-1])
            )
        )

    def step(state, _):
        un, vn, p = state
        dudx, dvdy = (un[1:-1, 2:] - un[1:-1, 0:-2]) / (2 * dx), (vn[2:, 1:-1] - vn[0:-2, 1:-1]) / (2 * dy)
        dudy, dvdx = (un[2:, 1:-1] - un[0:-2, 1:-1]) / (2 * dy), (vn[1:-1, 2:] - vn[1:-1, 0:-2]) / (2 * dx)
        b = rho * (1 / dt * (dudx + dvdy) - dudx**2 - 2 * (dudy * dvdx) - dvdy**2)
        p, _ = lax.fori_loop(0, nit, pressure, (p, b))
        u = un.at[1:-1, 1:-1].set(advect(un, un, vn, dt / (2 * rho * dx) * (p[1:-1, 2:] - p[1:-1, 0:-2])))
        v = vn.at[1:-1, 1:-1].set(advect(vn, un, vn, dt / (2 * rho * dy) * (p[2:, 1:-1] - p[0:-2, 1:-1])))
        u = u.at[0, :].set(0.0).at[:, 0].set(0.0).at[:, -1].set(0.0).at[-1, :].set(1.0)
        v = v.at[0, :].set(0.0).at[-1, :].set(0.0).at[:, 0].set(0.0).at[:, -1].set(0.0)
        return (u, v, p), None

    (u, v, p), _ = lax.scan(step, (u, v, p), length=nt)
    return jnp.sum(Ru * u) + jnp.sum(Rv * v) + jnp.sum(Rp * p)


@close("hdiff")
def hdiff(in_field, out_field, coeff, Rout):
    I, J = out_field.shape[:2]
    f = in_field
    lap = 4.0 * f[1 : I + 3, 1 : J + 3] - (
        f[2 : I + 4, 1 : J + 3] + f[0 : I + 2, 1 : J + 3] + f[1 : I + 3, 2 : J + 4] + f[1 : I + 3, 0 : J + 2]
    )
    res = lap[1:, 1 : J + 1] - lap[:-1, 1 : J + 1]
    flx = jnp.where(res * (f[2 : I + 3, 2 : J + 2] - f[1 : I + 2, 2 : J + 2]) > 0, 0, res)
    res = lap[1 : I + 1, 1:] - lap[1 : I + 1, :-1]
    fly = jnp.where(res * (f[2 : I + 2, 2 : J + 3] - f[2 : I + 2, 1 : J + 2]) > 0, 0, res)
    out = f[2 : I + 2, 2 : J + 2] - coeff * (flx[1:] - flx[:-1] + fly[:, 1:] - fly[:, :-1])
    return jnp.sum(Rout * out)


# ------------------------------------------------------------------------------------------ irregular


@close("nbody")
def nbody(Nt, mass, pos, vel, dt, G, softening, RK, RP, Rpos, Rvel):
    n = pos.shape[0]
    away = ~jnp.eye(n, dtype=bool)

    def differences(pos):
        return pos[None, :, :] - pos[:, None, :]

    def acceleration(pos):
        d = differences(pos)
        inv_r3 = (jnp.sum(d**2, axis=2) + softening**2) ** (-1.5)
        return G * jnp.einsum("ijc,ij,j->ic", d, inv_r3, mass[:, 0])

    def energy(pos, vel):
        r2 = jnp.where(away, jnp.sum(differences(pos) ** 2, axis=2), 1.0)
        potential = -(mass * mass.T) / jnp.sqrt(r2)
        return 0.5 * jnp.sum(mass * vel**2), G * jnp.sum(jnp.triu(potential, 1))

    def step(state, _):
        pos, vel, acc = state
        vel = vel + acc * dt / 2.0
        pos = pos + vel * dt
        acc = acceleration(pos)
        vel = vel + acc * dt / 2.0
        return (pos, vel, acc), energy(pos, vel)

    vel = vel - jnp.mean(mass * vel, axis=0) / jnp.mean(mass)
    K0, P0 = energy(pos, vel)
    (pos, vel, _), (KE, PE) = lax.scan(step, (pos, vel, acceleration(pos)), length=Nt)
    return RK[0] * K0 + RP[0] * P0 + RK[1:] @ KE + RP[1:] @ PE + jnp.sum(Rpos * pos) + jnp.sum(Rvel * vel)


@good("spmv")
def spmv(A_row, A_col, A_val, x, R):
    m = A_row.shape[0] - 1
    rows = jnp.repeat(jnp.arange(m), jnp.diff(A_row), total_repeat_length=A_col.shape[0])
    return jnp.sum(R * jax.ops.segment_sum(A_val * x[A_col], rows, m))


@close("arc_distance")
def arc_distance(theta_1, phi_1, theta_2, phi_2, R):
    temp = (
        jnp.sin((theta_2 - theta_1) / 2) ** 2 + jnp.cos(theta_1) * jnp.cos(theta_2) * jnp.sin((phi_2 - phi_1) / 2) ** 2
    )
    return jnp.sum(R * (2 * jnp.arctan2(jnp.sqrt(temp), jnp.sqrt(1 - temp))))


@close("black_scholes")
def black_scholes(S, K, T, r, sigma, Rc, Rp):
    d1 = (jnp.log(S / K) + (r + 0.5 * sigma**2) * T) / (sigma * jnp.sqrt(T))
    d2 = d1 - sigma * jnp.sqrt(T)
    cdf_d1 = 0.5 * (1.0 + erf(d1 / np.sqrt(2.0)))
    cdf_d2 = 0.5 * (1.0 + erf(d2 / np.sqrt(2.0)))
    discount = jnp.exp(-r * T)
    call = S * cdf_d1 - K * discount * cdf_d2
    put = K * discount * (1.0 - cdf_d2) - S * (1.0 - cdf_d1)
    return jnp.sum(Rc * call) + jnp.sum(Rp * put)


# ------------------------------------------------------------------------------------------- networks


@close("mlp")
def mlp(params, x, labels):
    h1 = jnp.maximum(x @ params["W1"] + params["b1"], 0)
    h2 = jnp.maximum(h1 @ params["W2"] + params["b2"], 0)
    z = h2 @ params["W3"] + params["b3"]
    logp = jax.nn.log_softmax(z)
    return -jnp.mean(jnp.take_along_axis(logp, labels[:, None], axis=1))


@close("net_231")
def net_231(W1, b1, W2, b2, x, y):
    return jnp.mean((jax.nn.sigmoid(jax.nn.sigmoid(x @ W1 + b1) @ W2 + b2) - y) ** 2)


@close("lenet5")
def lenet5(x, conv1, b1, conv2, b2, fc1, fb1, fc2, fb2, fc3, fb3, R):
    def conv(x, w, b):
        return lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")) + b

    def pool(x):
        x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
        return jnp.max(x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2, x.shape[3]), axis=(2, 4))

    x = pool(jnp.maximum(conv(x, conv1, b1), 0))
    x = pool(jnp.maximum(conv(x, conv2, b2), 0))
    x = x.reshape(x.shape[0], -1)
    x = jnp.maximum(x @ fc1 + fb1, 0)
    x = jnp.maximum(x @ fc2 + fb2, 0)
    return jnp.sum(R * (x @ fc3 + fb3))


@close("gru")
def gru(x, h, p, R):
    def step(h, xt):
        r = jax.nn.sigmoid(xt @ p["Wr"] + h @ p["Ur"] + p["br"])
        z = jax.nn.sigmoid(xt @ p["Wz"] + h @ p["Uz"] + p["bz"])
        n = jnp.tanh(xt @ p["Wn"] + r * (h @ p["Un"]) + p["bn"])
        return (1.0 - z) * n + z * h, None

    return jnp.sum(R * lax.scan(step, h, x)[0])


@close("softmax")
def softmax(x, R):
    return jnp.sum(R * jax.nn.softmax(x, axis=-1))


# -------------------------------------------------------------------------------------------- adbench


@close("gmm")
def gmm(alphas, means, icf, x, gamma, m):
    n, d = x.shape
    K = alphas.shape[0]
    Qdiags = jnp.exp(icf[:, :d])
    sum_qs = jnp.sum(icf[:, :d], axis=1)
    rows, cols = np.triu_indices(d, 1)
    L = jnp.zeros((K, d, d), x.dtype).at[:, cols, rows].set(icf[:, d:])
    xc = x[None] - means[:, None]
    Qxc = Qdiags[:, None] * xc + xc @ jnp.swapaxes(L, 1, 2)
    main_term = alphas[:, None] + sum_qs[:, None] - 0.5 * jnp.sum(Qxc**2, axis=2)
    slse = jnp.sum(jax_logsumexp(main_term, axis=0))
    const = -n * d * 0.5 * math.log(2 * math.pi)
    wishart_n = d + m + 1
    log_gamma = 0.25 * d * (d - 1) * math.log(math.pi) + jnp.sum(
        gammaln(0.5 * wishart_n + 0.5 * (1 - jnp.arange(1, d + 1)))
    )
    C = wishart_n * d * (jnp.log(gamma) - 0.5 * math.log(2)) - log_gamma
    prior = 0.5 * gamma**2 * (jnp.sum(Qdiags**2) + jnp.sum(icf[:, d:] ** 2)) - m * jnp.sum(sum_qs)
    return const + slse - n * jax_logsumexp(alphas) + prior - K * C


CLOSE["gmm_vectorised"] = gmm


@close("lstm")
def lstm(main_params, extra_params, state, sequence):
    layers = state.shape[0] // 2
    c, b = sequence.shape

    def step(state, pair):
        x, gold = pair
        x = x * extra_params[0]
        new = []
        for i in range(layers):
            weight, bias, hidden, cell = main_params[2 * i], main_params[2 * i + 1], state[2 * i], state[2 * i + 1]
            forget = jax.nn.sigmoid(x * weight[0] + bias[0])
            ingate = jax.nn.sigmoid(hidden * weight[1] + bias[1])
            outgate = jax.nn.sigmoid(x * weight[2] + bias[2])
            change = jnp.tanh(hidden * weight[3] + bias[3])
            cell = cell * forget + ingate * change
            x = outgate * jnp.tanh(cell)
            new += [x, cell]
        ypred = x * extra_params[1] + extra_params[2]
        return jnp.stack(new), jnp.sum(gold * (ypred - jnp.log(jnp.sum(jnp.exp(ypred)) + 2.0)))

    _, terms = lax.scan(step, state, (sequence[:-1], sequence[1:]))
    return -jnp.sum(terms) / ((c - 1) * b)


CLOSE["lstm_rows"] = lstm


# ---------------------------------------------------------------------------------------------- small


@close("staged")
def staged(x, y):
    sigy = 1.0 / (1.0 + jnp.exp(-y))
    sigx = 1.0 / (1.0 + jnp.exp(-x))
    return (x + sigy) / (sigx + (x + y) ** 2)


@close("neuron")
def neuron(w, x):
    return jax.nn.sigmoid(w[:2] @ x + w[2])


@close("least_squares")
def least_squares(p, t, y):
    amplitude, rate = p[0::2], p[1::2]
    return jnp.sum((jnp.sum(amplitude[:, None] * jnp.exp(-rate[:, None] * t), axis=0) - y) ** 2)


@close("rosenbrock")
def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


# ----------------------------------------------------------------------------------------------- hand tracking


def hand(theta, parents, relatives, inverses, vertices, weights, matched, points):
    """`tests.workloads.hand.hand`; parents is a NumPy array, by which the tree is written out."""
    bends = jnp.zeros((len(parents), 2))
    fingers = theta[6:26].reshape(5, 4)
    for joint, column in ((0, 0), (1, 2), (2, 3)):
        bends = bends.at[2 + joint :: 4, 0].set(fingers[:, column])
    bends = bends.at[2::4, 1].set(fingers[:, 1])
    cx, sx, cy, sy = jnp.cos(bends[:, 0]), jnp.sin(bends[:, 0]), jnp.cos(bends[:, 1]), jnp.sin(bends[:, 1])
    zero, one = jnp.zeros_like(cx), jnp.ones_like(cx)
    turns = jnp.stack(
        [cy, sx * sy, cx * sy, zero, zero, cx, -sx, zero, -sy, sx * cy, cx * cy, zero, zero, zero, zero, one], axis=1
    ).reshape(-1, 4, 4)
    own = jnp.asarray(relatives) @ turns
    poses = []
    for b, parent in enumerate(np.asarray(parents)):
        poses.append(own[b] if parent < 0 else poses[parent] @ own[b])
    moves = (jnp.stack(poses) @ jnp.asarray(inverses))[:, :3]
    posed = jnp.einsum("bij,jv,bv->iv", moves, vertices, weights)
    angle = jnp.sqrt(jnp.sum(theta[:3] ** 2))
    axis = theta[:3] / angle
    turned = jnp.cross(axis, posed.T).T * jnp.sin(angle)
    moved = posed * jnp.cos(angle) + turned + axis[:, None] * (axis @ posed) * (1.0 - jnp.cos(angle))
    return (points - (moved + theta[3:6, None]).T[matched]).reshape(-1)


# ------------------------------------------------------------------------------------------ spectral


@close("spectrum")
def spectrum(x, target):
    return jnp.sum((jnp.abs(jnp.fft.rfft(x)) - target) ** 2)


@close("fft_convolution")
def fft_convolution(x, h, R):
    n = len(x) + len(h) - 1
    return jnp.sum(R * jnp.fft.irfft(jnp.fft.rfft(x, n) * jnp.fft.rfft(h, n), n))


@close("poisson")
def poisson(f, c, R):
    n = f.shape[0]
    k = 2 * np.pi * jnp.fft.fftfreq(n, 1 / n)
    u = jnp.fft.irfft2(jnp.fft.rfft2(f) / (c + k[:, None] ** 2 + k[: n // 2 + 1] ** 2), f.shape)
    return jnp.sum(R * u**2)


@close("schroedinger")
def schroedinger(steps, V, re, im, dt, R):
    n = len(V)
    kinetic = jnp.exp(-0.5j * dt * (2 * np.pi * jnp.fft.fftfreq(n, 10 / n)) ** 2)

    def step(psi, _):
        psi = psi * jnp.exp(-1j * dt * (V + jnp.abs(psi) ** 2))
        return jnp.fft.ifft(kinetic * jnp.fft.fft(psi)), None

    psi, _ = lax.scan(step, re + 1j * im, None, length=steps)
    return jnp.sum(R * jnp.abs(psi) ** 2)


@close("burgers")
def burgers(steps, u, nu, dt, R):
    n = len(u)
    k = jnp.fft.rfftfreq(n, 1 / n)

    def step(u, _):
        spectrum = jnp.fft.rfft(u)
        slope = jnp.fft.irfft(1j * k * spectrum, n)
        return jnp.fft.irfft((spectrum - dt * jnp.fft.rfft(u * slope)) / (1 + dt * nu * k**2), n), None

    u, _ = lax.scan(step, u, None, length=steps)
    return jnp.sum(R * u)
