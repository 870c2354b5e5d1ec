"""The syntax tree of exactly the function object that Python would run.

A function is found by the position of its code, never by name or text alone, and the text is compiled again to prove
that it is the text the function was made from: a file edited after it was loaded is an error, not a guess.
"""

from __future__ import annotations

import ast
import linecache
import os
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from gradc.errors import Loc, UnsupportedError

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_COMPILER_FLAGS = 0x1FF0000  # the bits of `from __future__` imports in co_flags


@dataclass(frozen=True, eq=False, slots=True)
class FunctionSource:
    """A function's syntax, and how places in it read for the user."""

    name: str
    filename: str
    node: FunctionNode
    lines: tuple[str, ...]
    real: bool

    def loc(self, node: ast.AST) -> Loc:
        """The place of `node`; columns count characters (the syntax tree counts UTF-8 bytes)."""
        lineno: int = getattr(node, "lineno", 0)
        if not lineno or lineno > len(self.lines):
            return Loc(self.filename, self.name, lineno)
        line = self.lines[lineno - 1]
        column = _characters(line, getattr(node, "col_offset", 0))
        same_line = getattr(node, "end_lineno", lineno) == lineno
        end = _characters(line, getattr(node, "end_col_offset", 0) or 0) if same_line else len(line)
        return Loc(self.filename, self.name, lineno, column, end, "" if self.real else line)

    def within(self, node: FunctionNode) -> FunctionSource:
        """The source of a definition inside this one."""
        name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
        return FunctionSource(name, self.filename, node, self.lines, self.real)


def _characters(line: str, offset: int) -> int:
    if line.isascii():
        return offset
    return len(line.encode()[:offset].decode(errors="ignore"))


@lru_cache(maxsize=256)
def _parsed(text: str, filename: str, flags: int) -> tuple[ast.Module, tuple[types.CodeType, ...]] | None:
    try:
        tree = ast.parse(text)
        code = compile(text, filename, "exec", flags=flags, dont_inherit=True)
    except (SyntaxError, ValueError):
        return None
    return tree, tuple(_inner_codes(code))


def _inner_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _inner_codes(const)


def _texts(filename: str, module_globals: dict[str, Any]) -> Iterator[str]:
    """Texts that the file may have had when it was loaded: the one in memory first, then the one on disk."""
    seen: set[str] = set()
    for _ in range(2):
        text = "".join(linecache.getlines(filename, module_globals))
        if text and text not in seen:
            seen.add(text)
            yield text
        try:
            with open(filename, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError):
            return
        if text and text not in seen:
            seen.add(text)
            yield text


def function_source(function: types.FunctionType) -> FunctionSource:
    """The syntax tree that `function` was compiled from.

    Raises: UnsupportedError where there is no source, or where it is not the source that was loaded.
    """
    return _source_of_code(function.__code__, function.__globals__)


_known: dict[types.CodeType, list[tuple[types.CodeType, FunctionSource]]] = {}


def _source_of_code(code: types.CodeType, module_globals: dict[str, Any]) -> FunctionSource:
    # Equal code objects may stand at different columns, so identity decides.
    for known, source in _known.get(code, ()):
        if known is code:
            return source
    filename = code.co_filename
    flags = code.co_flags & _COMPILER_FLAGS
    name = code.co_name
    where = Loc(filename, name, code.co_firstlineno)
    found_text = False
    for text in _texts(filename, module_globals):
        found_text = True
        parsed = _parsed(text, filename, flags)
        if parsed is None:
            continue
        tree, codes = parsed
        node = _find(tree, code)
        if node is not None and _is_same_text(node, code, codes):
            real = os.path.exists(filename)
            source = FunctionSource(name, filename, node, tuple(text.splitlines()), real)
            _known.setdefault(code, []).append((code, source))
            return source
    if not found_text:
        raise UnsupportedError(
            f"the source of {name} cannot be had", where,
            why=f"gradc reads a function's source, and {filename} is not a file it can read.",
            hint="define the function in a file or in a notebook cell.",
        )
    raise UnsupportedError(
        f"the source of {name} is not the one that was loaded", where,
        why=f"{filename} was changed after Python loaded the function, or it is not its source.",
        hint="load the module again (importlib.reload, or a new process).",
    )


def _find(tree: ast.Module, code: types.CodeType) -> FunctionNode | None:
    """The definition at the position of `code`."""
    found: list[FunctionNode] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if node.name == code.co_name and first == code.co_firstlineno:
                found.append(node)
        elif isinstance(node, ast.Lambda) and code.co_name == "<lambda>" and node.lineno == code.co_firstlineno:
            found.append(node)
    if len(found) <= 1:
        return found[0] if found else None
    extent = _extent(code)
    if extent is None:
        return None
    around: list[tuple[tuple[int, int], tuple[int, int], FunctionNode]] = []
    for node in found:
        body = node.body if isinstance(node, ast.Lambda) else node
        start = (body.lineno, body.col_offset)
        end = (body.end_lineno or 0, body.end_col_offset or 0)
        if start <= extent[0] and extent[1] <= end:
            if not isinstance(node, ast.Lambda) or (start, end) == extent:
                return node
            around.append((start, end, node))
    # Python drops branches on constants, so less than the body of a lambda may be left. What is left of one around it
    # would not fit into this body: it has the whole expression of the inner lambda.
    innermost = [n for s, e, n in around if all(s >= start and e <= end for start, end, _ in around)]
    return innermost[0] if len(innermost) == 1 else None


def _extent(code: types.CodeType) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """First and last position of the instructions of `code` that have columns (the prologue has none)."""
    starts: list[tuple[int, int]] = []
    ends: list[tuple[int, int]] = []
    for line, end_line, column, end_column in code.co_positions():
        if line is None or end_line is None or column is None or end_column is None or (column == end_column == 0):
            continue
        starts.append((line, column))
        ends.append((end_line, end_column))
    return (min(starts), max(ends)) if starts else None


def _is_same_text(node: FunctionNode, code: types.CodeType, codes: tuple[types.CodeType, ...]) -> bool:
    """Whether compiling the text again gives `code`."""
    if any(candidate == code for candidate in codes):
        return True
    if not any("@pytest_ar" in name for inner in _inner_codes(code) for name in inner.co_names):
        return False
    # pytest rewrites `assert` statements; everything else keeps its position.
    rewritten = set(code.co_positions())
    asserts = [n for n in ast.walk(node) if isinstance(n, ast.Assert)]
    for candidate in codes:
        if candidate.co_name != code.co_name or candidate.co_firstlineno != code.co_firstlineno:
            continue
        kept = [
            p for p in candidate.co_positions()
            if p[0] is not None and not any(a.lineno <= p[0] <= (a.end_lineno or a.lineno) for a in asserts)
        ]
        if all(p in rewritten for p in kept):
            return True
    return False
