"""Complex numbers inside real functions: arithmetic, parts as views, buffers and loops, arguments that are complex."""

import cmath

import numpy as np

from tests.programs.entry import arr, program, signed


def wave(*shape: int, seed: int = 0, dtype: str = "complex128") -> np.ndarray:
    """A reproducible array of complex numbers in all four quadrants."""
    return (signed(*shape, seed=seed) + 1j * signed(*shape, seed=seed + 50)).astype(dtype)


# ---------------------------------------------------------------------------------------------- expressions


@program((signed(5), 0.7))
def interference(x, k):
    z = np.exp(1j * k * x) + 0.5 * np.exp(-2j * x)
    return np.sum(np.abs(z) ** 2 * x)


@program((0.3, 1.2, 0.8, 1.5))
def series_impedance(R, L, C, omega):
    Z = R + 1j * omega * L + 1 / (1j * omega * C)
    return abs(1 / Z) ** 2 + Z.imag * cmath.phase(Z)


@program((signed(4), signed(4, seed=1)))
def made_of_parts(a, b):
    z = a + 1j * b
    w = np.conj(z) * z.real - z.conj() / (2 + z.imag**2)
    return np.sum((z * w).imag + np.angle(w) * w.real)


@program((wave(4), 1.3))
def complex_argument(z, a):
    return np.sum(np.abs(z) ** 2 * z.real) * a + np.sum((z**3 * np.conj(z)).imag)


@program((1.2 - 0.7j, 0.4))
def complex_scalar(z, a):
    return abs(z * z + a * z.conjugate()) + (z**a).real + (a**z).imag


@program((wave(3), wave(2, 3, seed=1)))
def complex_result(z, A):
    return A @ z, np.outer(z, z.conj()), z.real * 2.0


@program(({"z": wave(3), "phase": 0.3},))
def structured(p):
    turned = p["z"] * np.exp(1j * p["phase"])
    return {"in": turned.real, "quadrature": turned.imag.sum(), "whole": turned}


@program((signed(4), wave(4)))
def elementary(x, z):
    y = np.sqrt(z) + np.log(z + 3) * np.tanh(z) - np.sin(z) * np.cosh(x) + np.arctan(z / 2)
    y = y / (np.cos(z) + 3.0) + np.arcsinh(z) * np.expm1(x * 1j)
    return np.sum(y.real**2 - y.imag)


@program((signed(3), wave(3)))
def powers(x, z):
    a = z**2 + z**-1 + (z + 2) ** 0.5 + (z + 3) ** (1 + 1j) + 2.0 ** (1j * x)
    return np.sum(np.abs(a + np.power(z + 3, x)))


@program((arr(4), wave(4)))
def chosen(x, z):
    w = np.where(z.real > 0, z * x, x)
    v = np.where(np.abs(z) > 1, z, 0.0) + np.select([z.imag > 0.2], [w], z)
    return np.sum(np.abs(w + v) ** 2) if np.isfinite(z).all() and z[0] != 0 else np.sum(x)


@program((signed(6, dtype="float32"), 0.5))
def single_precision(x, a):
    z = np.exp(1j * x) * (a + 2j)
    return np.sum(np.abs(z * z.conj()) * x)


@program((wave(4, dtype="complex64"),))
def single_precision_argument(z):
    w = z * (1 + 2j) + 0.5
    return np.sum(w.real * w.imag)


@program((np.array([0.0, 1.0, 0.5]), np.array([0.0, 0.5, -1.0])),
         gradients=((np.array([0.0, 1.0 / np.hypot(1.0, 0.5), 0.5 / np.hypot(0.5, 1.0)]),
                     np.array([0.0, 0.5 / np.hypot(1.0, 0.5), -1.0 / np.hypot(0.5, 1.0)])),))
def size_at_zero(a, b):
    return np.sum(np.abs(a + 1j * b))


# --------------------------------------------------------------------------------------- arrays and products


@program((signed(5),))
def fourier_by_product(x):
    n = len(x)
    k = np.arange(n)
    W = np.exp(-2j * np.pi * np.outer(k, k) / n)
    X = W @ x
    power = np.abs(X) ** 2
    return np.sum(power * np.log(power + 1.0))


@program((wave(3), arr(4, seed=2), wave(4, 3, seed=3)), argnums=(0, 1))
def phase_retrieval(z, y, A):
    return np.sum((np.abs(A @ z) ** 2 - y) ** 2) / len(y)


@program((wave(3), signed(3, 3, seed=1)))
def expectation(psi, S):
    H = S + S.T + 1j * (S - S.T)
    return (np.vdot(psi, H @ psi) / np.vdot(psi, psi)).real


@program((signed(3, 3), wave(3)))
def products(A, z):
    B = A * (1 + 1j) + 1j * np.eye(3)
    t = np.einsum("ij,j,k->ik", B, z, z.conj()) + np.tensordot(B, B, 1)
    return (np.dot(z, B @ z) + np.inner(z, z) + np.trace(t) + np.sum(t.T * np.kron(z, z[:1]))).real


@program((arr(3, 3), wave(3)))
def scattering(A, z):
    M = A + 3 * np.eye(3) + 1j * A.T
    x = np.linalg.solve(M, z)
    return np.linalg.norm(x) + np.abs(np.linalg.det(M)) + np.sum(np.linalg.inv(M)).imag


@program((signed(4), wave(4)))
def arranged(x, z):
    w = np.concatenate((z, x * 2j))[1:6]
    s = np.stack((w, np.roll(w, 1)), axis=1)
    t = np.hstack((s.T.reshape(-1)[::-1], np.repeat(z[:2], 2), np.array([x[0], z[0]])))
    return np.sum(np.abs(np.cumsum(t)) ** 2) + np.prod(z).real + np.mean(t).imag + np.cumprod(z)[2].real


@program((wave(5), np.array([0, 2, 2, 4])))
def gathered(z, k):
    w = z[k] * np.conj(z[k[::-1]])
    out = np.zeros(5, dtype=complex)
    np.add.at(out, k, w)
    return np.sum(np.abs(out) ** 2) + np.var(z) + np.std(w)


# ------------------------------------------------------------------------------------------- parts as views


@program((signed(4),))
def stores_to_parts(x):
    z = np.zeros(4, complex)
    z.real[...] = x
    z.imag[1:3] = x[1:3] ** 2
    z.imag += x
    z.real[0] *= 2.0
    z.real[np.array([0, 2])] += x[:2]
    z.imag[x > 0] = 3 * x[x > 0]
    z.real = z.real * 2 + z.imag
    return np.sum(np.abs(z) ** 2 * np.arange(4))


@program((signed(4),))
def store_to_a_named_part(x):
    z = x + 1j * x**2
    re = z.real
    re[0] = 3.0 * x[1]
    re[1:] *= x[0]
    return np.sum(np.abs(z) ** 2)


@program((signed(4), wave(4)))
def results_into_buffers(x, z):
    w = np.zeros(4, dtype=complex)
    np.multiply(z, 1j * x, out=w)
    np.conj(w, out=w)
    np.add(w, x, out=w, where=x > 0)
    size = np.zeros(4)
    np.abs(w, out=size)
    return np.sum(size**2 * x) + np.sum(w).imag


def _shift(part, by):
    part += by


@program((signed(3),))
def part_given_to_a_helper(x):
    z = np.exp(1j * x)
    for _ in range(2):
        z.real *= 0.5
        _shift(z.imag, x)
    return np.sum((z * z).real)


@program((signed(4),))
def part_of_what_nobody_else_has(x):
    y = np.real(np.exp(1j * x) * x)
    y[0] = 2.0 * x[1]
    tail = y[2:]
    tail *= x[0]
    return np.sum(y**2)


@program((wave(3),))
def part_of_an_argument(z):
    z.real[0] = z.imag[1] * 2.0
    z.imag[...] = z.real**2
    return np.sum(np.abs(z) ** 2)


@program((signed(4),), refused=True)
def part_read_after_the_write(x):
    z = x + 1j * x**2
    re = z.real
    z[0] = 5.0
    return np.sum(re)


@program((signed(4),), refused=True)
def slice_of_a_part_is_written(x):
    z = x + 1j * x**2
    tail = z.real[1:]
    tail[0] = 3.0
    return np.sum(z.real)


# ------------------------------------------------------------------------------------------ loops and buffers


@program((0.31, 0.5, 12), (-0.4, 0.6, 3))
def quadratic_map(a, b, n):
    c = complex(a, b)
    z = 0j
    for _ in range(n):
        z = z * z + c
    return abs(z)


@program((0.4, 0.6))
def escape(a, b):
    z, c, steps = 0j, complex(a, b), 0
    while abs(z) < 2.0 and steps < 50:
        z = z**2 + c
        steps += 1
    return np.log(abs(z)) + steps


@program((arr(6), signed(6, seed=1), 0.1))
def crank_nicolson(V, psi, dt):
    n = len(V)
    u = psi.astype(complex)
    lower = -0.5j * dt
    for _ in range(3):
        diagonal = 1 + 1j * dt * (1 + 0.5 * V)
        rhs = (2 - diagonal) * u
        rhs[1:] -= lower * u[:-1]
        rhs[:-1] -= lower * u[1:]
        c = np.zeros(n, dtype=complex)
        d = np.zeros(n, dtype=complex)
        c[0] = lower / diagonal[0]
        d[0] = rhs[0] / diagonal[0]
        for i in range(1, n):
            m = diagonal[i] - lower * c[i - 1]
            c[i] = lower / m
            d[i] = (rhs[i] - lower * d[i - 1]) / m
        u[n - 1] = d[n - 1]
        for i in range(n - 2, -1, -1):
            u[i] = d[i] - c[i] * u[i + 1]
    return np.sum(np.abs(u) ** 2 * np.arange(n))


@program((arr(3), arr(5, seed=1), wave(5, seed=2)), argnums=(0,))
def impedance_fit(p, omega, measured):
    R, L, C = p
    loss = 0.0
    for k in range(len(omega)):
        s = 1j * omega[k]
        Z = R + s * L + 1 / (s * C)
        loss += abs(Z - measured[k]) ** 2
    return loss


@program((signed(5), arr(2)))
def recursive_filter(x, a):
    pole = a[0] * np.exp(1j * a[1])
    state = 0j
    y = np.zeros(5, dtype=complex)
    for n in range(5):
        state = pole * state + x[n]
        y[n] = state * state.conjugate() + 1j * state
    y[1:] *= y[:-1]
    y[0] += 2j
    return np.sum(y.real - y.imag**2)


@program((signed(4), 2))
def overwritten_in_a_loop(x, n):
    z = np.exp(1j * x)
    for k in range(n):
        z[k] = z[k + 1] * z[k] ** 2
        z *= 1 + 0.1j
        z[z.real > 0.3] = z.conj()[z.real > 0.3] * 2
    return np.sum(z.real * x)


@program((signed(3), 0.2))
def transfer_matrices(thickness, k):
    M = np.eye(2, dtype=complex)
    for d in thickness:
        phase = k * d
        layer = np.array([[np.cos(phase), 1j * np.sin(phase) / 2], [2j * np.sin(phase), np.cos(phase)]])
        M = M @ layer
    return np.abs(M[0, 0] + M[1, 0]) ** 2


@program((signed(5), 0.3))
def coupled_phases(theta, K):
    for _ in range(3):
        order = np.mean(np.exp(1j * theta))
        theta = theta + K * np.abs(order) * np.sin(np.angle(order) - theta)
    return np.abs(np.mean(np.exp(1j * theta))) ** 2


@program((signed(3), True), (signed(3), False))
def real_or_complex(x, flag):
    if flag:
        z = np.exp(1j * x)
    else:
        z = x + 0j
    total = 0j if x[0] > 0 else 1.0
    for k in range(3):
        total = total + z[k] * (k - 1j)
    return abs(total)
