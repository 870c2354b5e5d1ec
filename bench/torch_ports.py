"""Some workloads written for PyTorch: same arguments, same value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

PORTS: dict[str, Callable[..., Any]] = {}


def port(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return lambda f: PORTS.setdefault(name, f)


@port("staged")
def staged(x, y):
    sigy = 1.0 / (1.0 + torch.exp(-y))
    sigx = 1.0 / (1.0 + torch.exp(-x))
    return (x + sigy) / (sigx + (x + y) ** 2)


@port("neuron")
def neuron(w, x):
    return torch.sigmoid(torch.dot(w[:2], x) + w[2])


@port("least_squares")
def least_squares(p, t, y):
    return torch.sum((torch.sum(p[0::2, None] * torch.exp(-p[1::2, None] * t), dim=0) - y) ** 2)


@port("rosenbrock")
def rosenbrock(x):
    return torch.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


@port("mlp")
def mlp(p, x, labels):
    h1 = torch.relu(torch.addmm(p["b1"], x, p["W1"]))
    h2 = torch.relu(torch.addmm(p["b2"], h1, p["W2"]))
    return torch.nn.functional.cross_entropy(torch.addmm(p["b3"], h2, p["W3"]), labels)


@port("jacobi_2d")
def jacobi_2d(TSTEPS, A, B, RA, RB):
    def framed(M, K):
        inner = 0.2 * (M[1:-1, 1:-1] + M[1:-1, :-2] + M[1:-1, 2:] + M[2:, 1:-1] + M[:-2, 1:-1])
        return torch.cat((K[:1], torch.cat((K[1:-1, :1], inner, K[1:-1, -1:]), dim=1), K[-1:]))

    for _ in range(1, TSTEPS):
        B = framed(A, B)
        A = framed(B, A)
    return torch.sum(RA * A) + torch.sum(RB * B)


@port("cholesky")
def cholesky(A, R):
    symmetric = torch.tril(A) + torch.tril(A, -1).T
    return torch.sum(R * (torch.linalg.cholesky(symmetric) + torch.triu(A, 1)))


def gmm(alphas, means, icf, x, gamma, m):
    n, d = x.shape
    K = alphas.shape[0]
    Qdiags = torch.exp(icf[:, :d])
    sum_qs = torch.sum(icf[:, :d], dim=1)
    rows, cols = torch.triu_indices(d, d, 1)
    L = torch.zeros((K, d, d), dtype=x.dtype)
    L[:, cols, rows] = icf[:, d:]
    xc = x[None] - means[:, None]
    Qxc = Qdiags[:, None] * xc + xc @ L.transpose(1, 2)
    main_term = alphas[:, None] + sum_qs[:, None] - 0.5 * torch.sum(Qxc**2, dim=2)
    slse = torch.sum(torch.logsumexp(main_term, dim=0))
    const = -n * d * 0.5 * math.log(2 * math.pi)
    wishart_n = d + m + 1
    log_gamma = 0.25 * d * (d - 1) * math.log(math.pi)
    log_gamma += sum(math.lgamma(0.5 * wishart_n + 0.5 * (1 - j)) for j in range(1, d + 1))
    C = wishart_n * d * (torch.log(gamma) - 0.5 * math.log(2)) - log_gamma
    prior = 0.5 * gamma**2 * (torch.sum(Qdiags**2) + torch.sum(icf[:, d:] ** 2)) - m * torch.sum(sum_qs)
    return const + slse - n * torch.logsumexp(alphas, dim=0) + prior - K * C


PORTS["gmm"] = PORTS["gmm_vectorised"] = gmm
