"""Common subexpressions: what was computed before, from the same content, is used again.

    %a = mul(%x, %y)
    %b = mul(%x, %y)
    %c = add(%a, %b)
    ->
    %a = mul(%x, %y)
    %c = add(%a, %a)

Content has versions: a write gives every buffer that it may change a new one, a loop gives the buffers that its body
changes a new one at its start and at its end. What was computed in a block is forgotten at its end. New arrays are one
only if neither buffer is ever written and not both are results of the function.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from gradc.ir.effects import buffers_written, own_reads, own_write, roots
from gradc.ir.nodes import Block, Func, Node, Value, clone_func
from gradc.ir.types import Array

_KINDS = ("elementwise", "reduce", "product", "view", "read", "query", "fresh", "check")
_NEVER = ("undef", "empty")


def cse(func: Func) -> Func:
    """`func` with repeated computations, and checks that were passed before, made once."""
    merger = _Merger(clone_func(func))
    merger.run()
    return merger.func if merger.changed else func


class _Merger:
    def __init__(self, func: Func) -> None:
        self.func = func
        self.changed = False
        self._replaced: dict[Value, Value] = {}
        self._versions: dict[Value, int] = {}
        self._next_version = 0
        self._scopes: list[dict[Hashable, Node]] = []
        self._written = buffers_written(func.body)
        self._results = {r for v in func.results for r in roots(v)}

    def run(self) -> None:
        self._block(self.func.body)

    def _resolve(self, value: Value) -> Value:
        while value in self._replaced:
            value = self._replaced[value]
        return value

    def _block(self, block: Block) -> None:
        self._scopes.append({})
        kept: list[Node] = []
        for node in block.nodes:
            node.operands = [self._resolve(v) for v in node.operands]
            if node.blocks:
                self._control(node)
                kept.append(node)
                continue
            earlier = self._earlier(node)
            if earlier is None:
                kept.append(node)
                target = own_write(node)
                if target is not None:
                    self._write(roots(target))
                continue
            self.changed = True
            for old, new in zip(node.results, earlier.results, strict=True):
                self._merge(old, new)
        block.nodes = kept
        block.yields = [self._resolve(v) for v in block.yields]
        self._scopes.pop()

    def _merge(self, old: Value, new: Value) -> None:
        self._replaced[old] = new
        if old.name and not new.name:
            new.name = old.name
        if new.size is None:
            new.size = old.size
        if old in self._results:
            self._results.add(new)

    def _control(self, node: Node) -> None:
        changed = frozenset(r for block in node.blocks for r in buffers_written(block))
        is_loop = node.op.name != "if"
        if is_loop:
            self._write(changed)
        before = dict(self._versions)
        for block in node.blocks:
            if not is_loop:
                self._versions = dict(before)
            self._block(block)
        self._write(changed)

    def _write(self, buffers: Iterable[Value]) -> None:
        for buffer in buffers:
            self._next_version += 1
            self._versions[buffer] = self._next_version

    def _earlier(self, node: Node) -> Node | None:
        """The node that has computed this before, or None, and then it is remembered."""
        if node.op.kind not in _KINDS or node.op.name in _NEVER:
            return None
        if node.op.kind not in ("view", "check") and any(self._is_written(v) for v in node.results):
            return None
        key = self._key(node)
        for scope in reversed(self._scopes):
            found = scope.get(key)
            if found is not None:
                if node.op.kind != "view" and self._both_results(node, found):
                    return None
                return found
        self._scopes[-1][key] = node
        return None

    def _is_written(self, value: Value) -> bool:
        return isinstance(value.ty, Array) and value in self._written

    def _both_results(self, node: Node, found: Node) -> bool:
        return any(
            isinstance(a.ty, Array) and a in self._results and b in self._results
            for a, b in zip(node.results, found.results, strict=True)
        )

    def _key(self, node: Node) -> Hashable:
        if node.op.name == "dim":
            size = node.operands[0].shape[node.attrs["axis"]]
            return ("dim", size, node.result.ty)
        operands = list(node.operands)
        if node.op.commutative:
            operands.sort(key=id)
        content = frozenset((r, self._versions.get(r, 0)) for v in own_reads(node) for r in roots(v))
        # The message of a check does not matter: the earlier one has raised if it fails.
        attrs = {k: v for k, v in node.attrs.items() if k != "message"} if node.op.kind == "check" else node.attrs
        types = tuple(v.ty for v in node.results)
        return (node.op.name, tuple(operands), freeze(attrs), content, types)


def freeze(value: Any) -> Hashable:
    """A hashable key that tells apart what `==` does not: 1 and 1.0 and True, 0.0 and -0.0; NaN is itself."""
    match value:
        case dict():
            return tuple((k, freeze(v)) for k, v in sorted(value.items()))
        case tuple() | list():
            return (type(value).__name__, *(freeze(v) for v in value))
        case np.generic():
            return (value.dtype.name, freeze(value.item()))
        case float():
            return ("float", "nan" if math.isnan(value) else value, math.copysign(1.0, value))
        case complex():
            return ("complex", freeze(value.real), freeze(value.imag))
        case bool() | int() | str():
            return (type(value).__name__, value)
    return value if isinstance(value, Hashable) else id(value)
