"""Array programs that step a field in time (class S), and one stencil without time (hdiff)."""

from __future__ import annotations

import numpy as np

from tests.workloads.entry import workload


def seidel_2d(TSTEPS, N, A):
    """PolyBench seidel-2d: nine points, in place; each row reads itself."""
    for _t in range(0, TSTEPS - 1):
        for i in range(1, N - 1):
            A[i, 1:-1] += (
                A[i - 1, :-2] + A[i - 1, 1:-1] + A[i - 1, 2:] + A[i, 2:] + A[i + 1, :-2] + A[i + 1, 1:-1] + A[i + 1, 2:]
            )
            for j in range(1, N - 1):
                A[i, j] += A[i, j - 1]
                A[i, j] /= 9.0


def make_seidel_2d(rng, steps, n):
    return steps, n, rng.standard_normal((n, n)), rng.standard_normal((n, n))


@workload("seidel_2d", "S", make_seidel_2d, (2,), ((2, 3), (4, 6), (5, 15)), {"S": (8, 50), "M": (15, 100)})
def seidel_2d_loss(TSTEPS, N, A, R):
    seidel_2d(TSTEPS, N, A)
    return np.sum(R * A)


def jacobi_2d(TSTEPS, A, B):
    """PolyBench jacobi-2d: five points, ping-pong between two fields."""
    for _t in range(1, TSTEPS):
        B[1:-1, 1:-1] = 0.2 * (A[1:-1, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[2:, 1:-1] + A[:-2, 1:-1])
        A[1:-1, 1:-1] = 0.2 * (B[1:-1, 1:-1] + B[1:-1, :-2] + B[1:-1, 2:] + B[2:, 1:-1] + B[:-2, 1:-1])


def make_jacobi_2d(rng, steps, n):
    return steps, *(rng.standard_normal((n, n)) for _ in range(4))


@workload("jacobi_2d", "S", make_jacobi_2d, (1, 2), ((2, 3), (4, 6), (6, 17)), {"S": (50, 150), "M": (80, 350)})
def jacobi_2d_loss(TSTEPS, A, B, RA, RB):
    jacobi_2d(TSTEPS, A, B)
    return np.sum(RA * A) + np.sum(RB * B)


def fdtd_2d(TMAX, ex, ey, hz, fict):
    """PolyBench fdtd-2d: Maxwell's equations on a staggered grid."""
    for t in range(TMAX):
        ey[0, :] = fict[t]
        ey[1:, :] -= 0.5 * (hz[1:, :] - hz[:-1, :])
        ex[:, 1:] -= 0.5 * (hz[:, 1:] - hz[:, :-1])
        hz[:-1, :-1] -= 0.7 * (ex[:-1, 1:] - ex[:-1, :-1] + ey[1:, :-1] - ey[:-1, :-1])


def make_fdtd_2d(rng, tmax, nx, ny):
    return (
        tmax,
        *(rng.standard_normal((nx, ny)) for _ in range(3)),
        rng.standard_normal(tmax),
        *(rng.standard_normal((nx, ny)) for _ in range(3)),
    )


@workload(
    "fdtd_2d",
    "S",
    make_fdtd_2d,
    (1, 2, 3, 4),
    ((2, 3, 4), (4, 6, 5), (5, 14, 18)),
    {"S": (20, 200, 220), "M": (60, 400, 450)},
)
def fdtd_2d_loss(TMAX, ex, ey, hz, fict, Rex, Rey, Rhz):
    fdtd_2d(TMAX, ex, ey, hz, fict)
    return np.sum(Rex * ex) + np.sum(Rey * ey) + np.sum(Rhz * hz)


def build_up_b(b, rho, dt, u, v, dx, dy):
    """Right side of the pressure Poisson equation (Barba and Forsyth, CFD Python, step 11)."""
    b[1:-1, 1:-1] = rho * (
        1 / dt * ((u[1:-1, 2:] - u[1:-1, 0:-2]) / (2 * dx) + (v[2:, 1:-1] - v[0:-2, 1:-1]) / (2 * dy))
        - ((u[1:-1, 2:] - u[1:-1, 0:-2]) / (2 * dx)) ** 2
        - 2 * ((u[2:, 1:-1] - u[0:-2, 1:-1]) / (2 * dy) * (v[1:-1, 2:] - v[1:-1, 0:-2]) / (2 * dx))
        - ((v[2:, 1:-1] - v[0:-2, 1:-1]) / (2 * dy)) ** 2
    )


def pressure_poisson(nit, p, dx, dy, b):
    """A few Jacobi sweeps, with the cavity's boundary values."""
    pn = np.empty_like(p)
    pn = p.copy()
    for _q in range(nit):
        pn = p.copy()
        p[1:-1, 1:-1] = ((pn[1:-1, 2:] + pn[1:-1, 0:-2]) * dy**2 + (pn[2:, 1:-1] + pn[0:-2, 1:-1]) * dx**2) / (
            2 * (dx**2 + dy**2)
        ) - dx**2 * dy**2 / (2 * (dx**2 + dy**2)) * b[1:-1, 1:-1]
        p[:, -1] = p[:, -2]
        p[0, :] = p[1, :]
        p[:, 0] = p[:, 1]
        p[-1, :] = 0


def cavity_flow(nx, ny, nt, nit, u, v, dt, dx, dy, p, rho, nu):
    """Flow in a lid-driven cavity: momentum and pressure, stepped in place by helpers that mutate."""
    b = np.zeros((ny, nx), dtype=u.dtype)
    for _n in range(nt):
        un = u.copy()
        vn = v.copy()
        build_up_b(b, rho, dt, u, v, dx, dy)
        pressure_poisson(nit, p, dx, dy, b)
        u[1:-1, 1:-1] = (
            un[1:-1, 1:-1]
            - un[1:-1, 1:-1] * dt / dx * (un[1:-1, 1:-1] - un[1:-1, 0:-2])
            - vn[1:-1, 1:-1] * dt / dy * (un[1:-1, 1:-1] - un[0:-2, 1:-1])
            - dt / (2 * rho * dx) * (p[1:-1, 2:] - p[1:-1, 0:-2])
            + nu
            * (
                dt / dx**2 * (un[1:-1, 2:] - 2 * un[1:-1, 1:-1] + un[1:-1, 0:-2])
                + dt / dy**2 * (un[2:, 1:-1] - 2 * un[1:-1, 1:-1] + un[0:-2, 1:-1])
            )
        )
        v[1:-1, 1:-1] = (
            vn[1:-1, 1:-1]
            - un[1:-1, 1:-1] * dt / dx * (vn[1:-1, 1:-1] - vn[1:-1, 0:-2])
            - vn[1:-1, 1:-1] * dt / dy * (vn[1:-1, 1:-1] - vn[0:-2, 1:-1])
            - dt / (2 * rho * dy) * (p[2:, 1:-1] - p[0:-2, 1:-1])
            + nu
            * (
                dt / dx**2 * (vn[1:-1, 2:] - 2 * vn[1:-1, 1:-1] + vn[1:-1, 0:-2])
                + dt / dy**2 * (vn[2:, 1:-1] - 2 * vn[1:-1, 1:-1] + vn[0:-2, 1:-1])
            )
        )
        u[0, :] = 0
        u[:, 0] = 0
        u[:, -1] = 0
        u[-1, :] = 1
        v[0, :] = 0
        v[-1, :] = 0
        v[:, 0] = 0
        v[:, -1] = 0


def make_cavity_flow(rng, nx, ny, nt, nit):
    dx = 2 / (nx - 1)
    dy = 2 / (ny - 1)
    fields = [0.1 * rng.standard_normal((ny, nx)) for _ in range(3)]
    weights = [rng.standard_normal((ny, nx)) for _ in range(3)]
    return nx, ny, nt, nit, fields[0], fields[1], 0.1 / nx**2, dx, dy, fields[2], 1.0, 0.1, *weights


@workload(
    "cavity_flow",
    "S",
    make_cavity_flow,
    (4, 5, 6, 7, 8, 9, 10, 11),
    ((4, 4, 1, 2), (7, 6, 3, 4), (13, 11, 4, 5)),
    {"S": (61, 61, 25, 5), "M": (121, 121, 50, 10)},
)
def cavity_flow_loss(nx, ny, nt, nit, u, v, dt, dx, dy, p, rho, nu, Ru, Rv, Rp):
    cavity_flow(nx, ny, nt, nit, u, v, dt, dx, dy, p, rho, nu)
    return np.sum(Ru * u) + np.sum(Rv * v) + np.sum(Rp * p)


def build_up_b_periodic(rho, dt, dx, dy, u, v):
    """As `build_up_b`, with periodic boundaries in x (CFD Python, step 12)."""
    b = np.zeros_like(u)
    b[1:-1, 1:-1] = rho * (
        1 / dt * ((u[1:-1, 2:] - u[1:-1, 0:-2]) / (2 * dx) + (v[2:, 1:-1] - v[0:-2, 1:-1]) / (2 * dy))
        - ((u[1:-1, 2:] - u[1:-1, 0:-2]) / (2 * dx)) ** 2
        - 2 * ((u[2:, 1:-1] - u[0:-2, 1:-1]) / (2 * dy) * (v[1:-1, 2:] - v[1:-1, 0:-2]) / (2 * dx))
        - ((v[2:, 1:-1] - v[0:-2, 1:-1]) / (2 * dy)) ** 2
    )
    # x = 2
    b[1:-1, -1] = rho * (
        1 / dt * ((u[1:-1, 0] - u[1:-1, -2]) / (2 * dx) + (v[2:, -1] - v[0:-2, -1]) / (2 * dy))
        - ((u[1:-1, 0] - u[1:-1, -2]) / (2 * dx)) ** 2
        - 2 * ((u[2:, -1] - u[0:-2, -1]) / (2 * dy) * (v[1:-1, 0] - v[1:-1, -2]) / (2 * dx))
        - ((v[2:, -1] - v[0:-2, -1]) / (2 * dy)) ** 2
    )
    # x = 0
    b[1:-1, 0] = rho * (
        1 / dt * ((u[1:-1, 1] - u[1:-1, -1]) / (2 * dx) + (v[2:, 0] - v[0:-2, 0]) / (2 * dy))
        - ((u[1:-1, 1] - u[1:-1, -1]) / (2 * dx)) ** 2
        - 2 * ((u[2:, 0] - u[0:-2, 0]) / (2 * dy) * (v[1:-1, 1] - v[1:-1, -1]) / (2 * dx))
        - ((v[2:, 0] - v[0:-2, 0]) / (2 * dy)) ** 2
    )
    return b


def pressure_poisson_periodic(nit, p, dx, dy, b):
    """Jacobi sweeps with periodic boundaries in x and walls in y."""
    for _q in range(nit):
        pn = p.copy()
        p[1:-1, 1:-1] = ((pn[1:-1, 2:] + pn[1:-1, 0:-2]) * dy**2 + (pn[2:, 1:-1] + pn[0:-2, 1:-1]) * dx**2) / (
            2 * (dx**2 + dy**2)
        ) - dx**2 * dy**2 / (2 * (dx**2 + dy**2)) * b[1:-1, 1:-1]
        p[1:-1, -1] = ((pn[1:-1, 0] + pn[1:-1, -2]) * dy**2 + (pn[2:, -1] + pn[0:-2, -1]) * dx**2) / (
            2 * (dx**2 + dy**2)
        ) - dx**2 * dy**2 / (2 * (dx**2 + dy**2)) * b[1:-1, -1]
        p[1:-1, 0] = ((pn[1:-1, 1] + pn[1:-1, -1]) * dy**2 + (pn[2:, 0] + pn[0:-2, 0]) * dx**2) / (
            2 * (dx**2 + dy**2)
        ) - dx**2 * dy**2 / (2 * (dx**2 + dy**2)) * b[1:-1, 0]
        p[-1, :] = p[-2, :]
        p[0, :] = p[1, :]


def channel_flow(nit, u, v, dt, dx, dy, p, rho, nu, F):
    """Flow in a channel driven by a force, stepped until its sum settles; returns the number of steps."""
    udiff = 1
    stepcount = 0
    while udiff > 0.001:
        un = u.copy()
        vn = v.copy()
        b = build_up_b_periodic(rho, dt, dx, dy, u, v)
        pressure_poisson_periodic(nit, p, dx, dy, b)
        u[1:-1, 1:-1] = (
            un[1:-1, 1:-1]
            - un[1:-1, 1:-1] * dt / dx * (un[1:-1, 1:-1] - un[1:-1, 0:-2])
            - vn[1:-1, 1:-1] * dt / dy * (un[1:-1, 1:-1] - un[0:-2, 1:-1])
            - dt / (2 * rho * dx) * (p[1:-1, 2:] - p[1:-1, 0:-2])
            + nu
            * (
                dt / dx**2 * (un[1:-1, 2:] - 2 * un[1:-1, 1:-1] + un[1:-1, 0:-2])
                + dt / dy**2 * (un[2:, 1:-1] - 2 * un[1:-1, 1:-1] + un[0:-2, 1:-1])
            )
            + F * dt
        )
        v[1:-1, 1:-1] = (
            vn[1:-1, 1:-1]
            - un[1:-1, 1:-1] * dt / dx * (vn[1:-1, 1:-1] - vn[1:-1, 0:-2])
            - vn[1:-1, 1:-1] * dt / dy * (vn[1:-1, 1:-1] - vn[0:-2, 1:-1])
            - dt / (2 * rho * dy) * (p[2:, 1:-1] - p[0:-2, 1:-1])
            + nu
            * (
                dt / dx**2 * (vn[1:-1, 2:] - 2 * vn[1:-1, 1:-1] + vn[1:-1, 0:-2])
                + dt / dy**2 * (vn[2:, 1:-1] - 2 * vn[1:-1, 1:-1] + vn[0:-2, 1:-1])
            )
        )
        # periodic at x = 2
        u[1:-1, -1] = (
            un[1:-1, -1]
            - un[1:-1, -1] * dt / dx * (un[1:-1, -1] - un[1:-1, -2])
            - vn[1:-1, -1] * dt / dy * (un[1:-1, -1] - un[0:-2, -1])
            - dt / (2 * rho * dx) * (p[1:-1, 0] - p[1:-1, -2])
            + nu
            * (
                dt / dx**2 * (un[1:-1, 0] - 2 * un[1:-1, -1] + un[1:-1, -2])
                + dt / dy**2 * (un[2:, -1] - 2 * un[1:-1, -1] + un[0:-2, -1])
            )
            + F * dt
        )
        # periodic at x = 0
        u[1:-1, 0] = (
            un[1:-1, 0]
            - un[1:-1, 0] * dt / dx * (un[1:-1, 0] - un[1:-1, -1])
            - vn[1:-1, 0] * dt / dy * (un[1:-1, 0] - un[0:-2, 0])
            - dt / (2 * rho * dx) * (p[1:-1, 1] - p[1:-1, -1])
            + nu
            * (
                dt / dx**2 * (un[1:-1, 1] - 2 * un[1:-1, 0] + un[1:-1, -1])
                + dt / dy**2 * (un[2:, 0] - 2 * un[1:-1, 0] + un[0:-2, 0])
            )
            + F * dt
        )
        v[1:-1, -1] = (
            vn[1:-1, -1]
            - un[1:-1, -1] * dt / dx * (vn[1:-1, -1] - vn[1:-1, -2])
            - vn[1:-1, -1] * dt / dy * (vn[1:-1, -1] - vn[0:-2, -1])
            - dt / (2 * rho * dy) * (p[2:, -1] - p[0:-2, -1])
            + nu
            * (
                dt / dx**2 * (vn[1:-1, 0] - 2 * vn[1:-1, -1] + vn[1:-1, -2])
                + dt / dy**2 * (vn[2:, -1] - 2 * vn[1:-1, -1] + vn[0:-2, -1])
            )
        )
        v[1:-1, 0] = (
            vn[1:-1, 0]
            - un[1:-1, 0] * dt / dx * (vn[1:-1, 0] - vn[1:-1, -1])
            - vn[1:-1, 0] * dt / dy * (vn[1:-1, 0] - vn[0:-2, 0])
            - dt / (2 * rho * dy) * (p[2:, 0] - p[0:-2, 0])
            + nu
            * (
                dt / dx**2 * (vn[1:-1, 1] - 2 * vn[1:-1, 0] + vn[1:-1, -1])
                + dt / dy**2 * (vn[2:, 0] - 2 * vn[1:-1, 0] + vn[0:-2, 0])
            )
        )
        u[0, :] = 0
        u[-1, :] = 0
        v[0, :] = 0
        v[-1, :] = 0
        udiff = (np.sum(u) - np.sum(un)) / np.sum(u)
        stepcount += 1
    return stepcount


def make_channel_flow(rng, nx, ny, nit):
    dx = 2 / (nx - 1)
    dy = 2 / (ny - 1)
    nu = 1.0 if nx < 30 else 0.1  # small grids settle in tens of steps
    dt = 0.2 * min(dx, dy) ** 2 / nu
    u = 0.02 + 0.01 * rng.standard_normal((ny, nx))
    v = 0.01 * rng.standard_normal((ny, nx))
    p = 1.0 + 0.02 * rng.standard_normal((ny, nx))
    return nit, u, v, dt, dx, dy, p, 1.0, nu, 1.0, *(rng.standard_normal((ny, nx)) for _ in range(3))


@workload(
    "channel_flow",
    "S",
    make_channel_flow,
    (1, 2, 3, 4, 5, 6, 7, 8, 9),
    ((4, 5, 2), (5, 6, 2), (7, 6, 3)),
    {"S": (61, 61, 5)},
    float32=False,
)
def channel_flow_loss(nit, u, v, dt, dx, dy, p, rho, nu, F, Ru, Rv, Rp):
    channel_flow(nit, u, v, dt, dx, dy, p, rho, nu, F)
    return np.sum(Ru * u) + np.sum(Rv * v) + np.sum(Rp * p)


def hdiff(in_field, out_field, coeff):
    """Horizontal diffusion with a flux limiter, on a field with a halo of two."""
    I, J, K = out_field.shape[0], out_field.shape[1], out_field.shape[2]
    lap_field = 4.0 * in_field[1 : I + 3, 1 : J + 3, :] - (
        in_field[2 : I + 4, 1 : J + 3, :]
        + in_field[0 : I + 2, 1 : J + 3, :]
        + in_field[1 : I + 3, 2 : J + 4, :]
        + in_field[1 : I + 3, 0 : J + 2, :]
    )
    res = lap_field[1:, 1 : J + 1, :] - lap_field[:-1, 1 : J + 1, :]
    flx_field = np.where((res * (in_field[2 : I + 3, 2 : J + 2, :] - in_field[1 : I + 2, 2 : J + 2, :])) > 0, 0, res)
    res = lap_field[1 : I + 1, 1:, :] - lap_field[1 : I + 1, :-1, :]
    fly_field = np.where((res * (in_field[2 : I + 2, 2 : J + 3, :] - in_field[2 : I + 2, 1 : J + 2, :])) > 0, 0, res)
    out_field[:, :, :] = in_field[2 : I + 2, 2 : J + 2, :] - coeff[:, :, :] * (
        flx_field[1:, :, :] - flx_field[:-1, :, :] + fly_field[:, 1:, :] - fly_field[:, :-1, :]
    )


def make_hdiff(rng, i, j, k):
    return (rng.random((i + 4, j + 4, k)), rng.random((i, j, k)), rng.random((i, j, k)), rng.standard_normal((i, j, k)))


@workload(
    "hdiff", "E", make_hdiff, (0, 1, 2), ((2, 3, 2), (4, 3, 5), (9, 8, 7)), {"S": (64, 64, 60), "M": (128, 128, 160)}
)
def hdiff_loss(in_field, out_field, coeff, Rout):
    hdiff(in_field, out_field, coeff)
    return np.sum(Rout * out_field)
