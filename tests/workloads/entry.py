"""What a workload is: a plain NumPy loss, a maker of its inputs, and what to differentiate."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Workload:
    """One program to differentiate.

    loss: plain NumPy function of the kernel's arguments and then the fixed weights R_k; its value is sum_k <R_k, out_k>
        over everything that the kernel returns or mutates (or the kernel's own scalar result).
    make: (generator, *size) -> the loss's arguments, all in float64.
    argnums: every float argument of the kernel (not the weights).
    sizes: three sizes for tests, the middle one the smallest that is not trivial.
    bench: sizes to time at, by name.
    kind: class for geometric means: B products, E elementwise, S stencil in time, L scalar or triangular loops,
        X irregular, N networks, A ADBench, C small calls.
    """

    name: str
    kind: str
    loss: Callable[..., Any]
    make: Callable[..., tuple[Any, ...]]
    argnums: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...]
    bench: dict[str, tuple[int, ...]]
    float32: bool = True

    def args(self, size: tuple[int, ...], dtype: str = "float64", seed: int = 0) -> tuple[Any, ...]:
        """The arguments at one size, the same on every call."""
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode()), *size])
        made = self.make(rng, *size)
        return made if dtype == "float64" else cast(made, dtype)


WORKLOADS: dict[str, Workload] = {}


def workload(
    name: str,
    kind: str,
    make: Callable[..., tuple[Any, ...]],
    argnums: tuple[int, ...],
    sizes: tuple[tuple[int, ...], ...],
    bench: dict[str, tuple[int, ...]],
    **options: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: enter the loss below into WORKLOADS and leave it as it is."""

    def enter(loss: Callable[..., Any]) -> Callable[..., Any]:
        WORKLOADS[name] = Workload(name, kind, loss, make, argnums, sizes, bench, **options)
        return loss

    return enter


def cast(tree: Any, dtype: str) -> Any:
    """Float arrays and NumPy floats in a structure, converted; Python numbers and integers stay."""
    if isinstance(tree, np.ndarray | np.floating):
        return tree.astype(dtype) if tree.dtype.kind == "f" else tree
    if isinstance(tree, dict):
        return {k: cast(v, dtype) for k, v in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(cast(v, dtype) for v in tree)
    return tree
