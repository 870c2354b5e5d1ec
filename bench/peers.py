"""Peers as adapters: each turns (workload, arguments, argnums) into a call of no arguments, or says why it cannot.

A call returns (value, gradients), finished, not scheduled. Python ints are sizes: static for JAX, plain for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from tests.oracle import is_float_leaf, tree_map
from tests.workloads import Workload

Call: TypeAlias = Callable[[], Any]


class NoBaseline(Exception):
    """The peer cannot do this workload; the message says why."""


def gradc_peer(workload: Workload, args: tuple[Any, ...], argnums: tuple[int, ...]) -> Call:
    import gradc

    derivative = gradc.value_and_grad(workload.loss, argnums)
    return lambda: derivative(*args)


def numba_by_hand(workload: Workload, args: tuple[Any, ...], argnums: tuple[int, ...]) -> Call:
    from bench.by_hand import NUMBA

    if workload.name not in NUMBA:
        raise NoBaseline
    function = NUMBA[workload.name]
    return lambda: function(*args)


def numpy_by_hand(workload: Workload, args: tuple[Any, ...], argnums: tuple[int, ...]) -> Call:
    from bench.by_hand import NUMPY

    if workload.name not in NUMPY:
        raise NoBaseline
    function = NUMPY[workload.name]
    return lambda: function(*args)


def _jax(table: str) -> Callable[[Workload, tuple[Any, ...], tuple[int, ...]], Call]:
    def adapter(workload: Workload, args: tuple[Any, ...], argnums: tuple[int, ...]) -> Call:
        import jax

        from tests.workloads import jax_ports

        ports = getattr(jax_ports, table)
        if workload.name not in ports:
            raise NoBaseline
        function = jax.jit(
            jax.value_and_grad(ports[workload.name], argnums), static_argnums=jax_ports.static_argnums(args)
        )
        given = tuple(a if isinstance(a, int) else jax.tree.map(jax.numpy.asarray, a) for a in args)
        return lambda: jax.block_until_ready(function(*given))

    return adapter


jax_close = _jax("CLOSE")
jax_good = _jax("GOOD")


def torch_peer(workload: Workload, args: tuple[Any, ...], argnums: tuple[int, ...]) -> Call:
    import torch

    from bench.torch_ports import PORTS

    if workload.name not in PORTS:
        raise NoBaseline
    function = PORTS[workload.name]

    def tensor(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return torch.from_numpy(np.ascontiguousarray(leaf))
        return torch.tensor(leaf, dtype=torch.float64) if isinstance(leaf, float) else leaf

    given = [tree_map(tensor, a) for a in args]
    inputs: list[Any] = []

    def require(leaf: Any, value: Any) -> None:
        if is_float_leaf(leaf):
            value.requires_grad_(True)
            inputs.append(value)

    for k in argnums:
        tree_map(require, args[k], given[k])

    def call() -> Any:
        loss = function(*given)
        found = iter(torch.autograd.grad(loss, inputs))
        return loss.detach(), tuple(tree_map(lambda _leaf: next(found), args[k]) for k in argnums)

    return call


PEERS: dict[str, Callable[[Workload, tuple[Any, ...], tuple[int, ...]], Call]] = {
    "gradc": gradc_peer,
    "by hand": numba_by_hand,
    "numpy": numpy_by_hand,
    "jax": jax_close,
    "jax good": jax_good,
    "torch": torch_peer,
}
