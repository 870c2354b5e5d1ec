"""ADBench's hand tracking: residuals of a posed mesh in 26 numbers, whose Jacobian is dense and tall.

A hand has 22 bones in a tree: a root, the palm, and five fingers of four. The pose: a global rotation (axis times
angle) and translation, then per finger three bends and one spread. Linear blend skinning moves the vertices, and each
observed point is compared with one of them. Source: Srajer, Kukelova, Fitzgibbon, ADBench (2018), after Taylor et al.
(2014).
"""

from __future__ import annotations

import numpy as np

BONES = 22


def hand(theta, parents, relatives, inverses, vertices, weights, matched, points):
    """Differences (3 p,) of points and vertices.

    theta (26,); parents (B,); relatives, inverses (B, 4, 4): bones at rest against their parents, and from the model;
    vertices (4, V) homogeneous; weights (B, V); matched (p,): the vertex of each point; points (p, 3).
    """
    bones = len(parents)
    bends = np.zeros((bones, 2))
    for finger in range(5):
        for joint in range(3):
            bends[2 + 4 * finger + joint, 0] = theta[6 + 4 * finger + joint + (1 if joint > 0 else 0)]
        bends[2 + 4 * finger, 1] = theta[7 + 4 * finger]
    poses = np.zeros((bones, 4, 4))
    posed = np.zeros((3, vertices.shape[1]))
    for b in range(bones):
        cx, sx, cy, sy = np.cos(bends[b, 0]), np.sin(bends[b, 0]), np.cos(bends[b, 1]), np.sin(bends[b, 1])
        turn = np.zeros((4, 4))
        turn[0, 0] = cy
        turn[0, 1] = sx * sy
        turn[0, 2] = cx * sy
        turn[1, 1] = cx
        turn[1, 2] = -sx
        turn[2, 0] = -sy
        turn[2, 1] = sx * cy
        turn[2, 2] = cx * cy
        turn[3, 3] = 1.0
        own = relatives[b] @ turn
        poses[b] = own if parents[b] < 0 else poses[parents[b]] @ own
        posed += weights[b] * ((poses[b] @ inverses[b])[:3] @ vertices)
    angle = np.sqrt(np.sum(theta[:3] ** 2))
    axis = theta[:3] / angle
    cos, sin = np.cos(angle), np.sin(angle)
    along = (axis @ posed) * (1.0 - cos)
    moved = posed * cos + np.cross(axis, posed.T).T * sin + axis[:, None] * along[None, :] + theta[3:6, None]
    return (points - moved.T[matched]).reshape(-1)


def make_hand(rng, bones, vertices):
    """A hand of random bones with as many points as vertices."""
    parents = np.array([-1, 0] + [1 if k % 4 == 0 else 1 + k for k in range(bones - 2)])
    relatives = np.tile(np.eye(4), (bones, 1, 1))
    relatives[:, :3, :3] = np.linalg.qr(rng.normal(size=(bones, 3, 3)))[0]
    relatives[:, :3, 3] = rng.normal(size=(bones, 3)) * 0.3
    absolutes = relatives.copy()
    for b in range(1, bones):
        absolutes[b] = absolutes[parents[b]] @ relatives[b]
    weights = rng.random((bones, vertices)) ** 4
    return (
        rng.normal(size=26) * 0.3, parents, relatives, np.linalg.inv(absolutes),
        np.concatenate((rng.normal(size=(3, vertices)), np.ones((1, vertices)))), weights / weights.sum(axis=0),
        rng.integers(0, vertices, vertices), rng.normal(size=(vertices, 3)),
    )  # fmt: skip
