"""Which scalars of emitted text are Python numbers and which are NumPy's, where that changes what is computed.

    1.0 / x      x a Python float: raises where the compiled code gives inf
    x ** -0.5    the same
    h * a        a of float32 and h a NumPy float64: the result would be float64

The first is cured by converting the function's Python arguments to NumPy scalars once, at the top, where every inexact
number of the program is double precision, else by converting the operand. The second by `float(...)` around what
the program has as a Python number and NumPy does not give as one.
"""

from __future__ import annotations

import re

import numpy as np

from gradc.codegen.liveness import carried_inputs, carried_params, carried_yields
from gradc.ir.nodes import Func, Node, Value, walk_nodes
from gradc.ir.types import Array, Scalar, Stack, is_complex

# Python numbers in, Python number out.
_NATIVE = frozenset(
    ("add", "sub", "mul", "div", "floordiv", "mod", "pow", "neg", "lt", "le", "gt", "ge", "eq", "ne", "logical_and",
     "logical_or", "logical_not", "let", "stop_gradient")
)  # fmt: skip
_RAISES = re.compile(r"/|%|\*\*")
_WRAPPERS = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}


def has_only_doubles(func: Func) -> bool:
    """Whether every inexact number is of double precision, and every integer an int64."""
    types = [v.ty for v in func.params] + [r.ty for n in walk_nodes(func.body) for r in n.results]
    items = [t.item if isinstance(t, Stack) else t for t in types]
    return all(t.dtype in ("float64", "complex128", "int64", "bool") for t in items)


class NumberKinds:
    """For every scalar whether its text may give, and whether it always gives, a Python number."""

    def __init__(self, func: Func) -> None:
        self._func = func
        self._may: set[Value] = set()
        self._always: set[Value] = set()
        self.converted: list[Value] = []
        self.only_doubles = has_only_doubles(func)
        self._pushed: dict[Value, list[Value]] = {}
        for node in walk_nodes(func.body):
            if node.op.name == "push":
                self._pushed.setdefault(node.operands[0], []).append(node.operands[1])
        self._solve()
        if self.only_doubles:
            feeding = self._feeding([n for n in walk_nodes(func.body) if self.needs_numpy(n)])
            self.converted = [p for p in func.params if p in feeding and _is_weak_float(p)]
            if self.converted:
                self._may.clear()
                self._always.clear()
                self._solve()

    def may_be_python(self, value: Value) -> bool:
        """Whether the text of a value may give a Python number."""
        return value in self._may

    def is_python(self, value: Value) -> bool:
        """Whether the text of a value always gives a Python number."""
        return value in self._always

    def needs_numpy(self, node: Node) -> bool:
        """Whether Python would raise where NumPy gives inf or nan."""
        if node.op.name not in ("div", "pow", "mod") and not (
            isinstance(node.op.emit, str) and "np." not in node.op.emit and _RAISES.search(node.op.emit)
        ):
            return False
        if not node.results or not isinstance(node.result.ty, Scalar) or np.dtype(node.result.dtype).kind not in "fc":
            return False
        if not all(v in self._may for v in node.operands):
            return False
        last = node.operands[-1]
        known = last.node.attrs["value"] if last.node is not None and last.node.op.name == "const" else None
        if node.op.name == "pow":
            base = node.operands[0].node
            return not (base is not None and base.op.name == "const" and known is not None)
        return not known and np.dtype(last.dtype).kind in "fc"

    def wrapper(self, node: Node) -> str:
        """`float` and its like, where the program has a Python number and the text may give NumPy's."""
        if self.only_doubles or len(node.results) != 1 or node.op.kind == "control":
            return ""
        ty = node.result.ty
        if (
            not isinstance(ty, Scalar)
            or not ty.weak
            or (node.result in self._always and not self.needs_numpy(node))
        ):
            return ""
        if node.op.name in ("cast", "const", "undef", "let"):
            return ""
        return _WRAPPERS[np.dtype(ty.dtype).kind]

    # ------------------------------------------------------------------------------------------------

    def _solve(self) -> None:
        """`may` grows from nothing and `always` shrinks from everything, until nothing changes."""
        everything = [v for n in walk_nodes(self._func.body) for b in n.blocks for v in b.params]
        everything += [r for n in walk_nodes(self._func.body) for r in n.results] + self._func.params
        self._always = {v for v in everything if isinstance(v.ty, Scalar)}
        for param in self._func.params:
            weak = isinstance(param.ty, Scalar) and param.ty.weak and param not in self.converted
            self._set(param, weak, weak)
        changed = True
        while changed:
            before = len(self._may), len(self._always)
            for node in walk_nodes(self._func.body):
                self._visit(node)
            changed = before != (len(self._may), len(self._always))

    def _set(self, value: Value, may: bool, always: bool) -> None:
        if may:
            self._may.add(value)
        if not always:
            self._always.discard(value)

    def _merge(self, value: Value, sources: list[Value]) -> None:
        self._set(value, any(s in self._may for s in sources), all(s in self._always for s in sources))

    def _visit(self, node: Node) -> None:
        name = node.op.name
        if name == "if":
            for k, result in enumerate(node.results):
                self._merge(result, [b.yields[k] for b in node.blocks])
            return
        if name in ("for", "while"):
            for extra in ([node.blocks[0].params[0]] if name == "for" else []) + node.results[
                len(carried_params(node)) :
            ]:
                self._set(extra, True, True)
            for k, param in enumerate(carried_params(node)):
                sources = [carried_inputs(node)[k], carried_yields(node)[k]]
                twins = [param, node.results[k]] + ([node.blocks[0].params[k]] if name == "while" else [])
                for value in twins:
                    self._merge(value, sources)
            return
        if len(node.results) != 1:
            return
        result = node.result
        ty = result.ty
        if not isinstance(ty, Scalar):
            return
        wrapped = bool(self.wrapper(node))
        if wrapped or node.op.kind == "query" or name == "undef":
            self._set(result, True, True)
        elif name == "const":
            python = self.only_doubles or not isinstance(node.attrs["value"], np.generic)
            self._set(result, python, python)
        elif name == "cast":
            self._set(result, ty.weak, ty.weak)
        elif name in _NATIVE and not any(isinstance(v.ty, Array) for v in node.operands):
            may = all(v in self._may for v in node.operands) and not self.needs_numpy(node)
            self._set(result, may, may and all(v in self._always for v in node.operands))
        elif name == "pop":
            self._merge(result, self._pushed.get(node.operands[0], []))
        else:
            self._set(result, False, False)

    def _feeding(self, nodes: list[Node]) -> set[Value]:
        """All values that the operands of `nodes` are computed from."""
        sources: dict[Value, list[Value]] = {}
        for node in walk_nodes(self._func.body):
            for result in node.results:
                found = list(node.operands)
                for block in node.blocks:
                    found += block.yields
                sources.setdefault(result, []).extend(found)
            if node.op.name in ("for", "while"):
                for k, param in enumerate(carried_params(node)):
                    twins = [param] + ([node.blocks[0].params[k]] if node.op.name == "while" else [])
                    for twin in twins:
                        sources.setdefault(twin, []).extend([carried_inputs(node)[k], carried_yields(node)[k]])
        seen: set[Value] = set()
        work = [v for n in nodes for v in n.operands]
        while work:
            value = work.pop()
            if value not in seen:
                seen.add(value)
                work.extend(sources.get(value, ()))
        return seen


def numpy_double(value: Value) -> str:
    """The NumPy type of a scalar in double precision, as text."""
    return "np.complex128" if is_complex(value.ty) else "np.float64"


def _is_weak_float(value: Value) -> bool:
    return isinstance(value.ty, Scalar) and value.ty.weak and value.ty.dtype in ("float64", "complex128")
