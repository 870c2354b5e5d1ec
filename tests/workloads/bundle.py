"""ADBench's bundle adjustment: residuals whose Jacobian is sparse, as a loop and as array expressions.

One vector holds everything that is adjusted: n cameras of 11 numbers (Rodrigues rotation 3, centre 3, focal length,
principal point 2, radial distortion 2), m points of 3, and the weight of each of the p observations. Residuals: two per
observation, weighted reprojection errors, then 1 - w^2. Source: Srajer, Kukelova, Fitzgibbon, ADBench (2018).
"""

from __future__ import annotations

import numpy as np

CAMERA = 11


def ba_loops(x, n, m, observed, features):
    """observed (p, 2): camera and point of each observation; features (p, 2): where it was seen."""
    p = observed.shape[0]
    points, weights = CAMERA * n, CAMERA * n + 3 * m
    out = np.empty(3 * p)
    for i in range(p):
        c = CAMERA * observed[i, 0]
        q = points + 3 * observed[i, 1]
        w = x[weights + i]
        rx, ry, rz = x[c], x[c + 1], x[c + 2]
        dx, dy, dz = x[q] - x[c + 3], x[q + 1] - x[c + 4], x[q + 2] - x[c + 5]
        square = rx * rx + ry * ry + rz * rz
        if square != 0.0:
            theta = np.sqrt(square)
            cos, sin = np.cos(theta), np.sin(theta)
            ux, uy, uz = rx / theta, ry / theta, rz / theta
            t = (ux * dx + uy * dy + uz * dz) * (1.0 - cos)
            px = dx * cos + (uy * dz - uz * dy) * sin + ux * t
            py = dy * cos + (uz * dx - ux * dz) * sin + uy * t
            pz = dz * cos + (ux * dy - uy * dx) * sin + uz * t
        else:
            px = dx + ry * dz - rz * dy
            py = dy + rz * dx - rx * dz
            pz = dz + rx * dy - ry * dx
        u, v = px / pz, py / pz
        r = u * u + v * v
        scale = 1.0 + x[c + 9] * r + x[c + 10] * r * r
        out[2 * i] = w * (u * scale * x[c + 6] + x[c + 7] - features[i, 0])
        out[2 * i + 1] = w * (v * scale * x[c + 6] + x[c + 8] - features[i, 1])
        out[2 * p + i] = 1.0 - w * w
    return out


def ba_vectorised(x, n, m, observed, features):
    """The same for all observations at once; no camera has a rotation of exactly zero."""
    cameras = x[: CAMERA * n].reshape(n, CAMERA)[observed[:, 0]]
    points = x[CAMERA * n : CAMERA * n + 3 * m].reshape(m, 3)[observed[:, 1]]
    w = x[CAMERA * n + 3 * m :]
    theta = np.sqrt(np.sum(cameras[:, :3] ** 2, axis=1))
    axis = cameras[:, :3] / theta[:, None]
    d = points - cameras[:, 3:6]
    cos, sin = np.cos(theta), np.sin(theta)
    t = np.sum(axis * d, axis=1) * (1.0 - cos)
    moved = d * cos[:, None] + np.cross(axis, d) * sin[:, None] + axis * t[:, None]
    seen = moved[:, :2] / moved[:, 2:]
    r = np.sum(seen * seen, axis=1)
    scale = 1.0 + cameras[:, 9] * r + cameras[:, 10] * r * r
    errors = seen * (scale * cameras[:, 6])[:, None] + cameras[:, 7:9] - features
    return np.concatenate(((errors * w[:, None]).reshape(-1), 1.0 - w * w))


def make_ba(rng, n, m, p):
    """Cameras around a cloud of points; each point is seen by p / m cameras or one more."""
    cameras = np.concatenate(
        [rng.normal(size=(n, 3)) * 0.3, rng.normal(size=(n, 3)) * 0.2 - [0.0, 0.0, 6.0],
         rng.uniform(0.9, 1.1, (n, 1)), rng.normal(size=(n, 2)) * 0.01, rng.normal(size=(n, 2)) * 0.01], axis=1,
    )  # fmt: skip
    observed = np.stack([rng.integers(0, n, p), np.arange(p) % m], axis=1)
    x = np.concatenate([cameras.ravel(), rng.normal(size=3 * m), rng.uniform(0.5, 1.0, p)])
    return x, n, m, observed, rng.normal(size=(p, 2)) * 0.1
