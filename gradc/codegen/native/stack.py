"""Which arrays of a kernel text never leave the function: small ones among them need no memory from the heap.

    t = empty_float64((n,))             t[i], t.shape[0] and product(t, ...) stay in the function
    s = t[1:]; return t                 a view of t, or t itself, leave
"""

from __future__ import annotations

import ast
from collections.abc import Callable

MOST = 1024
"""Bytes up to which such an array lies on the stack: taking memory from the heap and giving it back costs 20 ns."""

_WHOLE = ("product", "fourier_", "call_c_", "linalg_")

ARRAYS = 8
"""How many arrays of a function may."""


def staying_names(function: ast.FunctionDef, is_part: Callable[[ast.Subscript], bool]) -> set[str]:
    """Names that are only used element by element, for their sizes, or by calls that take whole arrays."""
    used: dict[str, int] = {}
    staying: dict[str, int] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used[node.id] = used.get(node.id, 0) + 1
        inside: list[ast.expr] = []
        match node:
            case ast.Subscript() if not is_part(node):
                inside = [node.value]
            case ast.Attribute(attr="shape"):
                inside = [node.value]
            case ast.Call(func=ast.Name(id=name), args=args) if name.startswith(_WHOLE):
                inside = args
        for one in inside:
            if isinstance(one, ast.Name):
                staying[one.id] = staying.get(one.id, 0) + 1
    return {name for name, count in staying.items() if used[name] == count}
