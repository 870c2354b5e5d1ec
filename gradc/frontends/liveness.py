"""Which local names may still be read: after every statement, and at the head of every loop.

Works on statements without jumps (`jumps.py`). Names that nested definitions read count as always live.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from gradc.frontends.jumps import RETURN

Names = frozenset[str]


class Liveness:
    """`after[id(statement)]` and `head[id(loop)]`: names that may be read from there on."""

    def __init__(self, body: Sequence[ast.stmt]) -> None:
        self.after: dict[int, Names] = {}
        self.head: dict[int, Names] = {}
        self.always = frozenset(_read_by_definitions(body))
        self.block(body, self.always | {RETURN})

    def block(self, body: Sequence[ast.stmt], live: Names) -> Names:
        """Names live before `body`, where `live` are live after it."""
        for statement in reversed(body):
            self.after[id(statement)] = live
            live = self.statement(statement, live)
        return live

    def statement(self, s: ast.stmt, live: Names) -> Names:
        match s:
            case ast.If():
                return reads(s.test) | self.block(s.body, live) | self.block(s.orelse, live)
            case ast.For() | ast.While():
                return self.loop(s, live)
            case ast.Match():
                before = live
                for case in s.cases:
                    bound = _pattern_names(case.pattern)
                    inner = self.block(case.body, live) | (reads(case.guard) if case.guard else frozenset())
                    before |= inner - bound
                return before | reads(s.subject)
            case ast.FunctionDef():
                return (live - {s.name}) | reads(*s.decorator_list, *s.args.defaults, *_present(s.args.kw_defaults))
            case ast.Assign():
                return (live - stored(s.targets)) | reads(s.value, *s.targets)
            case ast.AnnAssign():
                if s.value is None:
                    return live
                return (live - stored([s.target])) | reads(s.value, s.target)
            case ast.AugAssign():
                target = frozenset((s.target.id,)) if isinstance(s.target, ast.Name) else reads(s.target)
                return live | target | reads(s.value)
            case ast.With():
                return live | reads(*(item.context_expr for item in s.items))
            case ast.Import() | ast.ImportFrom():
                return live - {(a.asname or a.name).split(".")[0] for a in s.names}
            case _:
                return live | reads(s)

    def loop(self, s: ast.For | ast.While, live: Names) -> Names:
        flag = getattr(s, "exit_flag", None)
        bound = stored([s.target]) if isinstance(s, ast.For) else frozenset()
        tested = reads(s.test) if isinstance(s, ast.While) else reads(s.target)
        head = live | tested
        while True:
            end = head | {flag} if flag else head
            before = tested | live | (self.block(s.body, end) - bound)
            if before <= head:
                break
            head |= before
        self.head[id(s)] = head
        return head | reads(s.iter) if isinstance(s, ast.For) else head


def reads(*nodes: ast.AST) -> Names:
    """Names that expressions may read (names bound inside them included, which is safe)."""
    return frozenset(
        n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    )


def stored(targets: Iterable[ast.expr]) -> Names:
    """Names that assignment targets bind for certain (items and attributes bind nothing)."""
    names: set[str] = set()
    for target in targets:
        match target:
            case ast.Name():
                names.add(target.id)
            case ast.Tuple() | ast.List():
                names |= stored(target.elts)
            case ast.Starred():
                names |= stored([target.value])
    return frozenset(names)


def bound_names(body: Iterable[ast.AST]) -> Names:
    """Names that statements may bind in their own function, comprehension targets apart."""
    names: set[str] = set()
    pending = list(body)
    while pending:
        node = pending.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
                pending += [*node.decorator_list]
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                names |= {n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
                continue
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
            case ast.Import() | ast.ImportFrom():
                names |= {(a.asname or a.name).split(".")[0] for a in node.names}
            case ast.MatchAs() | ast.MatchStar() if node.name:
                names.add(node.name)
            case ast.MatchMapping() if node.rest:
                names.add(node.rest)
        pending += list(ast.iter_child_nodes(node))
    return frozenset(names)


def _pattern_names(pattern: ast.pattern) -> Names:
    return bound_names([pattern])


def _present(nodes: Iterable[ast.expr | None]) -> list[ast.expr]:
    return [n for n in nodes if n is not None]


def _read_by_definitions(body: Sequence[ast.stmt]) -> Iterable[str]:
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.Lambda):
                inner = node.body if isinstance(node.body, list) else [node.body]
                for part in inner:
                    yield from reads(part)
                    yield from (n.target.id for n in ast.walk(part) if isinstance(n, ast.AugAssign)
                                and isinstance(n.target, ast.Name))
