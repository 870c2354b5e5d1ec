"""Programs around Fourier transforms (class F): filters, and solvers of differential equations that step in spectra."""

from __future__ import annotations

import numpy as np

from tests.workloads.entry import workload


def make_spectrum(rng, n):
    return rng.standard_normal(n), 1 + rng.random(n // 2 + 1)


@workload("spectrum", "F", make_spectrum, (0, 1), ((6,), (15,), (64,)), {"1024": (1024,), "65536": (65536,)})
def spectrum_loss(x, target):
    return np.sum((np.abs(np.fft.rfft(x)) - target) ** 2)


def make_fft_convolution(rng, n, m):
    return rng.standard_normal(n), rng.standard_normal(m), rng.standard_normal(n + m - 1)


@workload("fft_convolution", "F", make_fft_convolution, (0, 1), ((3, 2), (9, 4), (30, 12)), {"S": (1500, 200)})
def fft_convolution_loss(x, h, R):
    n = len(x) + len(h) - 1
    return np.sum(R * np.fft.irfft(np.fft.rfft(x, n) * np.fft.rfft(h, n), n))


def make_poisson(rng, n):
    return rng.standard_normal((n, n)), 0.7, rng.standard_normal((n, n))


@workload("poisson", "F", make_poisson, (0, 1), ((4,), (7,), (12,)), {"128": (128,), "512": (512,)}, float32=False)
def poisson_loss(f, c, R):
    n = f.shape[0]
    k = 2 * np.pi * np.fft.fftfreq(n, 1 / n)
    u = np.fft.irfft2(np.fft.rfft2(f) / (c + k[:, None] ** 2 + k[: n // 2 + 1] ** 2), f.shape)
    return np.sum(R * u**2)


def schroedinger(steps, V, re, im, dt):
    """i dpsi/dt = -psi''/2 + (V + |psi|^2) psi on a period of 10, by steps in space and in frequency in turns."""
    n = len(V)
    kinetic = np.exp(-0.5j * dt * (2 * np.pi * np.fft.fftfreq(n, 10 / n)) ** 2)
    psi = re + 1j * im
    for _ in range(steps):
        psi *= np.exp(-1j * dt * (V + np.abs(psi) ** 2))
        psi[:] = np.fft.ifft(kinetic * np.fft.fft(psi))
    return psi


def make_schroedinger(rng, steps, n):
    x = np.linspace(-5, 5, n)
    return steps, x**2 / 2, np.exp(-(x**2)), 0.1 * rng.standard_normal(n), 0.01, rng.standard_normal(n)


@workload(
    "schroedinger", "F", make_schroedinger, (1, 2, 3), ((1, 4), (3, 9), (5, 16)),
    {"S": (200, 64), "M": (100, 512)}, float32=False,
)  # fmt: skip
def schroedinger_loss(steps, V, re, im, dt, R):
    return np.sum(R * np.abs(schroedinger(steps, V, re, im, dt)) ** 2)


def burgers(steps, u, nu, dt):
    """du/dt + u du/dx = nu d2u/dx2 on a period of 2 pi, the second derivative implicit."""
    n = len(u)
    k = np.fft.rfftfreq(n, 1 / n)
    for _ in range(steps):
        spectrum = np.fft.rfft(u)
        slope = np.fft.irfft(1j * k * spectrum, n)
        u = np.fft.irfft((spectrum - dt * np.fft.rfft(u * slope)) / (1 + dt * nu * k**2), n)
    return u


def make_burgers(rng, steps, n):
    x = 2 * np.pi * np.arange(n) / n
    return steps, np.sin(x) + 0.1 * rng.standard_normal(n), 0.1, 0.005, rng.standard_normal(n)


@workload(
    "burgers", "F", make_burgers, (1, 2), ((1, 5), (3, 8), (5, 15)), {"S": (200, 128), "M": (100, 1024)}, float32=False
)
def burgers_loss(steps, u, nu, dt, R):
    return np.sum(R * burgers(steps, u, nu, dt))
