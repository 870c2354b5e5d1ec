"""What cannot be compiled whatever its types are: found by one walk over the syntax, reported together."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradc.errors import UnsupportedError, format_message
from gradc.frontends.source import FunctionSource

_GENERATOR = ("a generator suspends; gradc compiles a function that runs to its end.", "return the values as an array.")
_ASYNC = ("a coroutine suspends; gradc compiles a function that runs to its end.", "write a plain function.")
_TRY = ("what raises is not known when the function is compiled.", "test for the exceptional case with `if`.")
_SCOPE = (
    "a compiled function has no state of its own between calls.",
    "pass the value in as an argument and return the new one.",
)

# Syntax class -> (how it is called, why, what to write instead).
_REFUSED: dict[type[ast.AST], tuple[str, str, str]] = {
    ast.Yield: ("`yield`", *_GENERATOR),
    ast.YieldFrom: ("`yield from`", *_GENERATOR),
    ast.Await: ("`await`", *_ASYNC),
    ast.AsyncFor: ("`async for`", *_ASYNC),
    ast.AsyncWith: ("`async with`", *_ASYNC),
    ast.AsyncFunctionDef: ("`async def`", *_ASYNC),
    ast.Try: ("`try`", *_TRY),
    ast.Global: ("`global`", *_SCOPE),
    ast.Nonlocal: ("`nonlocal`", *_SCOPE),
    ast.ClassDef: (
        "a class definition inside a function", "classes are static structure.",
        "define the class outside the function.",
    ),
    ast.Delete: ("`del`", "names and items have a fixed place in compiled code.", "leave the name; it costs nothing."),
}
if hasattr(ast, "TryStar"):
    _REFUSED[ast.TryStar] = ("`try`", *_TRY)


def refusals(source: FunctionSource) -> Iterator[UnsupportedError]:
    """An error for every refused construct of the function."""
    body = source.node.body if isinstance(source.node.body, list) else [source.node.body]
    if isinstance(source.node, ast.AsyncFunctionDef):
        yield _refusal(source, source.node, *_REFUSED[ast.AsyncFunctionDef])
        return
    for statement in body:
        for node in ast.walk(statement):
            found = _REFUSED.get(type(node))
            if found is not None:
                yield _refusal(source, node, *found)
            elif isinstance(node, ast.While) and node.orelse and _binds(node.test):
                yield _refusal(
                    source, node.test, "`:=` in the condition of `while … else`",
                    "the condition becomes a statement of the loop.", "assign the name in the loop's body.",
                )
            elif isinstance(node, ast.comprehension) and node.is_async:
                yield _refusal(source, node.target, "`async for`", *_ASYNC)


def _binds(test: ast.expr) -> bool:
    return any(isinstance(n, ast.NamedExpr) for n in ast.walk(test))


def _refusal(source: FunctionSource, node: ast.AST, what: str, why: str, hint: str) -> UnsupportedError:
    return UnsupportedError(f"{what} cannot be compiled", source.loc(node), why, hint)


def check_syntax(source: FunctionSource) -> None:
    """Raise one UnsupportedError that lists every refused construct of the function."""
    raise_together(list(refusals(source)))


def raise_together(errors: list[UnsupportedError]) -> None:
    """Raise the first of `errors` with the messages of the others after its own; nothing where there are none."""
    if not errors:
        return
    first = errors[0]
    messages = [format_message(e.what, e.loc, e.why, e.hint) for e in errors]
    first.args = ("\n".join(messages),)
    raise first
