"""Fourier transforms among loops, stores and branches: spectral solvers, filters, convolutions."""

import numpy as np
import scipy.fft
import scipy.signal

from tests.programs.complex_numbers import wave
from tests.programs.entry import arr, backward, fortran, program, signed, strided


@program((wave(8), signed(8, seed=1), 0.05), (wave(7), signed(7, seed=1), 0.02))
def split_step(psi, potential, dt):
    """Half a step in space, one in frequency, half in space: i dpsi/dt = -psi''/2 + V psi, and |psi|^2 psi."""
    k = 2 * np.pi * np.fft.fftfreq(len(psi), 0.5)
    psi = psi.copy()
    for _ in range(3):
        psi *= np.exp(-0.5j * dt * (potential + np.abs(psi) ** 2))
        psi[:] = np.fft.ifft(np.exp(-0.5j * dt * k**2) * np.fft.fft(psi))
        psi *= np.exp(-0.5j * dt * potential)
    return np.sum(np.abs(psi) ** 2 * np.arange(len(psi))) + (psi[0] * psi[2].conj()).imag


@program((signed(6, 5), arr(6, 3, seed=1)))
def filtered(x, gain):
    return np.sum(np.fft.irfft(np.fft.rfft(x) * gain, x.shape[1]) ** 3)


@program((signed(5), signed(3, seed=1)), (signed(4), signed(4, seed=1)))
def convolved(a, b):
    n = len(a) + len(b) - 1
    return np.fft.irfft(np.fft.rfft(a, n) * np.fft.rfft(b, n), n)


@program((signed(6, 5), 0.7))
def poisson(f, c):
    kx, ky = np.fft.fftfreq(f.shape[0], 0.1), np.fft.rfftfreq(f.shape[1], 0.1)
    u = np.fft.irfft2(np.fft.rfft2(f) / (c + kx[:, None] ** 2 + ky**2), f.shape)
    return np.sum(u**2 * f)


@program((signed(6), 4), (signed(6), 9), argnums=(0,))
def points_by_argument(x, n):
    return np.abs(np.fft.fft(x, n)) ** 2, np.fft.irfft(np.fft.rfft(x, n=n, norm="ortho") ** 2, n + 1)


@program((signed(4, 6), wave(3, 5, 2)))
def several_axes(x, z):
    first = np.fft.fftn(z, axes=(0, 2))[::2] * np.fft.ifft(z, axis=1)[::2].conj()
    return np.sum(first).real + np.sum(np.abs(np.fft.fft2(x, norm="ortho")) ** 3)


@program((fortran(4, 6), strided(4, 6), backward(6, seed=3)))
def memory_of_every_kind(a, b, c):
    total = np.fft.rfft(a, axis=0)[1:] * np.fft.ihfft(b, axis=0)[1:]
    spectrum = np.fft.fft(c * a[1:3].T[::-1].sum(axis=1)[0], norm="forward")
    return np.sum(total.real**2) + np.sum(np.abs(spectrum) ** 4)


@program((signed(3, 4, dtype="float32"),), (signed(2, 5, dtype="float32"),))
def single(x):
    return np.sum(np.abs(np.fft.rfft(x)) ** 2 * x[:, :1]) + np.fft.hfft(x[0] * np.complex64(1 + 2j))[1]


@program((signed(5, 8), 0.3), argnums=(0, 1))
def rows_in_a_loop(x, a):
    energy = 0.0
    out = np.zeros(8)
    for i in range(x.shape[0]):
        spectrum = np.fft.rfft(x[i] + a * out)
        if abs(spectrum[1]) > 1.0:
            spectrum[1] = 0.0
        out = np.fft.irfft(spectrum)
        energy += out[i] ** 2
    return energy, out


@program((wave(6), signed(6)), (wave(5), signed(5)))
def shifted(z, w):
    centred = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(z)))
    return np.sum(np.abs(centred * w) ** 2) + np.sum(centred[: len(w) // 2] * z[: len(w) // 2]).imag


@program((0.3, 4.0), argnums=(0, 1))
def frequencies_of_a_spacing(d, n):
    return np.sum(np.fft.fftfreq(8, d) ** 2 * n) + np.fft.rfftfreq(7, d * n)


@program((np.zeros((0, 4)), 1.5), (signed(1, 4), 1.5))
def batches_of_none_and_one(x, a):
    return np.sum(np.abs(np.fft.fft(x * a)) ** 2) + np.sum(np.fft.rfft(x, axis=-1).real) * a


@program((np.zeros(0),), raises=ValueError)
def nothing_to_transform(x):
    return np.sum(np.abs(np.fft.rfft(x)))


@program((signed(4), 0), raises=ValueError, argnums=(0,))
def no_points(x, n):
    return np.sum(np.abs(np.fft.fft(x, n)))


@program((signed(6, 5), 0.4), (signed(4, 7), 0.4))
def smoothed_by_cosines(x, a):
    kept = scipy.fft.dctn(x, norm="ortho") * np.exp(-a * np.arange(x.shape[1]))
    edge = scipy.fft.dst(x[0], 1) * scipy.fft.idst(kept[0])
    return np.sum(scipy.fft.idctn(kept, norm="ortho") ** 3) + np.sum(edge) ** 2


@program((signed(9), signed(4, seed=1)), (signed(3), signed(8, seed=1)), (signed(1), signed(5, seed=1)))
def convolved_by_scipy(a, b):
    whole = scipy.signal.fftconvolve(a, b)
    return whole, scipy.signal.fftconvolve(a, b * 1j, "same"), scipy.signal.fftconvolve(a, b, mode="valid")


@program((signed(5, 6), signed(2, 3, seed=1)), (signed(4, 4), signed(4, 1, seed=1)))
def images_convolved(a, b):
    blurred = scipy.signal.fftconvolve(a, b, "valid") ** 2
    n = scipy.fft.next_fast_len(a.shape[0] + 6)
    return np.sum(blurred) + np.sum(np.abs(np.fft.fft(a, n, axis=0)) ** 4) / n


@program((signed(5, 3), signed(3, 5, seed=1)), raises=ValueError)
def images_of_which_neither_is_larger(a, b):
    return np.sum(scipy.signal.fftconvolve(a, b, "valid"))
