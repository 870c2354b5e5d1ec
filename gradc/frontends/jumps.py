"""Early `return`, `break` and `continue` become structure: branches, and flags where branches do not suffice.

    if c:                         if c:
        return a                      $return = a
    rest                          else:
    return b                          rest; $return = b

A loop that is left early gets a flag: `node.exit_flag` names the variable that ends it after the iteration that sets
it. Names that start with `$` cannot clash with the user's. The input is copied, never changed.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

_Statement = TypeVar("_Statement", bound=ast.stmt)

RETURN = "$return"
DONE = "$done"
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class _Loop:
    exit_flag: str
    skip_flag: str


def walk_statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a body and of the statements inside it, without those of nested definitions."""
    for statement in body:
        yield statement
        if isinstance(statement, _SCOPES):
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from walk_statements(getattr(statement, field, ()))
        for case in getattr(statement, "cases", ()):
            yield from walk_statements(case.body)


def _own_jumps(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """`break` and `continue` that belong to a loop around `body`."""
    for statement in body:
        if isinstance(statement, ast.Break | ast.Continue):
            yield statement
        elif isinstance(statement, ast.For | ast.While):
            yield from _own_jumps(statement.orelse)
        elif not isinstance(statement, _SCOPES):
            for inner in ("body", "orelse"):
                yield from _own_jumps(getattr(statement, inner, ()))
            for case in getattr(statement, "cases", ()):
                yield from _own_jumps(case.body)


def _returns(body: Sequence[ast.stmt]) -> bool:
    return any(isinstance(s, ast.Return) for s in walk_statements(body))


def _jumps(statement: ast.stmt) -> bool:
    """Whether control may leave the statement other than at its end (raising apart)."""
    if isinstance(statement, ast.Return | ast.Break | ast.Continue):
        return True
    return _returns([statement]) or any(True for _ in _own_jumps([statement]))


def always_leaves(body: Sequence[ast.stmt]) -> bool:
    """Whether control never reaches the end of `body`."""
    for s in body:
        if isinstance(s, ast.Return | ast.Break | ast.Continue | ast.Raise):
            return True
        if isinstance(s, ast.If) and s.orelse and always_leaves(s.body) and always_leaves(s.orelse):
            return True
        if isinstance(s, ast.With) and always_leaves(s.body):
            return True
        endless = isinstance(s, ast.While) and isinstance(s.test, ast.Constant) and bool(s.test.value)
        if endless and not any(isinstance(j, ast.Break) for j in _own_jumps(s.body)):  # type: ignore[attr-defined]
            return True
    return False


class _Lowering:
    def __init__(self) -> None:
        self.count = 0
        self.uses_done = False

    def assign(self, name: str, value: ast.expr, at: ast.AST) -> ast.stmt:
        target = ast.copy_location(ast.Name(name, ast.Store()), at)
        return ast.copy_location(ast.Assign([target], value), at)

    def constant(self, value: bool | None, at: ast.AST) -> ast.expr:
        return ast.copy_location(ast.Constant(value), at)

    def load(self, name: str, at: ast.AST) -> ast.expr:
        return ast.copy_location(ast.Name(name, ast.Load()), at)

    def block(self, body: Sequence[ast.stmt], loop: _Loop | None, flag_return: bool) -> list[ast.stmt]:
        """`body` without jumps. `flag_return`: a return must set the flag that skips what follows elsewhere."""
        out: list[ast.stmt] = []
        for k, s in enumerate(body):
            rest = list(body[k + 1 :])
            match s:
                case ast.Return():
                    value = s.value if s.value is not None else self.constant(None, s)
                    out.append(self.assign(RETURN, value, s))
                    if flag_return:
                        self.uses_done = True
                        out.append(self.assign(DONE, self.constant(True, s), s))
                    if loop is not None:
                        out.append(self.assign(loop.exit_flag, self.constant(True, s), s))
                    return out
                case ast.Break():
                    assert loop is not None
                    out.append(self.assign(loop.exit_flag, self.constant(True, s), s))
                    return out
                case ast.Continue():
                    assert loop is not None
                    out.append(self.assign(loop.skip_flag, self.constant(True, s), s))
                    return out
                case ast.If() if _jumps(s):
                    return out + self.branch(s, rest, loop, flag_return)
                case ast.Match() if _jumps(s):
                    new_match = _like(s)
                    new_match.cases = []
                    for case in s.cases:
                        new_case = copy.copy(case)
                        new_case.body = self.block([*case.body, *rest], loop, flag_return)
                        new_match.cases.append(new_case)
                    out.append(new_match)
                    if not _is_catch_all(s.cases[-1]):
                        wildcard = ast.match_case(
                            ast.copy_location(ast.MatchAs(None, None), s), None, self.block(rest, loop, flag_return)
                        )
                        new_match.cases.append(wildcard)
                    return out
                case ast.For() | ast.While():
                    lowered, complete = self.loop(s, loop, rest, flag_return)
                    out.extend(lowered)
                    if complete:
                        return out
                case ast.With():
                    # The manager has no effect on numbers, so its body is a part of the block.
                    new_with = _like(s)
                    new_with.body = []
                    out.append(new_with)
                    return out + self.block([*s.body, *rest], loop, flag_return)
                case ast.If() | ast.Match():
                    out.append(self.inside(s, loop, flag_return))
                case _:
                    out.append(s)
        return out

    def inside(self, s: ast.stmt, loop: _Loop | None, flag_return: bool) -> ast.stmt:
        """A branching statement that has no jumps of its own, with loops inside it lowered."""
        new = _like(s)
        if isinstance(new, ast.If) and isinstance(s, ast.If):
            new.body = self.block(s.body, loop, flag_return)
            new.orelse = self.block(s.orelse, loop, flag_return)
        elif isinstance(new, ast.Match) and isinstance(s, ast.Match):
            new.cases = []
            for case in s.cases:
                new_case = copy.copy(case)
                new_case.body = self.block(case.body, loop, flag_return)
                new.cases.append(new_case)
        return new

    def branch(self, s: ast.If, rest: list[ast.stmt], loop: _Loop | None, flag_return: bool) -> list[ast.stmt]:
        new = _like(s)
        leaves_then, leaves_else = always_leaves(s.body), bool(s.orelse) and always_leaves(s.orelse)
        if not rest or (leaves_then and leaves_else):
            new.body = self.block(s.body, loop, flag_return)
            new.orelse = self.block(s.orelse, loop, flag_return)
            return [new]
        if leaves_then:
            new.body = self.block(s.body, loop, flag_return)
            new.orelse = self.block([*s.orelse, *rest], loop, flag_return)
            return [new]
        if leaves_else:
            new.body = self.block([*s.body, *rest], loop, flag_return)
            new.orelse = self.block(s.orelse, loop, flag_return)
            return [new]
        new.body = self.block(s.body, loop, True)
        new.orelse = self.block(s.orelse, loop, True)
        flags = self.flags_set(s, loop)
        return [new, *self.unless(flags, self.block(rest, loop, flag_return), s)]

    def flags_set(self, s: ast.stmt, loop: _Loop | None) -> list[str]:
        flags: list[str] = []
        own = list(_own_jumps([s]))
        if loop is not None and any(isinstance(j, ast.Continue) for j in own):
            flags.append(loop.skip_flag)
        if loop is not None and (_returns([s]) or any(isinstance(j, ast.Break) for j in own)):
            flags.append(loop.exit_flag)
        elif _returns([s]):
            flags.append(DONE)
        return flags

    def unless(self, flags: list[str], body: list[ast.stmt], at: ast.AST) -> list[ast.stmt]:
        """`body`, where none of the flags is set."""
        if not body:
            return []
        result = body
        for flag in flags:
            skip = ast.copy_location(ast.Pass(), at)
            result = [ast.copy_location(ast.If(self.load(flag, at), [skip], result), at)]
        return result

    def loop(
        self, s: ast.For | ast.While, outer: _Loop | None, rest: list[ast.stmt], flag_return: bool
    ) -> tuple[list[ast.stmt], bool]:
        """The loop without jumps, and whether the result includes what follows it (`rest`)."""
        self.count += 1
        own = _Loop(f"$exit{self.count}", f"$skip{self.count}")
        new = _like(s)
        body = list(s.body)
        returns = _returns(s.body)
        assert isinstance(new, ast.For | ast.While)
        if isinstance(s, ast.While) and isinstance(new, ast.While) and any(
            isinstance(n, ast.NamedExpr) for n in ast.walk(s.test)
        ):
            # A condition that binds a name is the first statement of an endless loop.
            leave = ast.copy_location(ast.Break(), s.test)
            go_on = ast.copy_location(ast.Pass(), s.test)
            body.insert(0, ast.copy_location(ast.If(s.test, [go_on], [leave]), s.test))
            new.test = self.constant(True, s.test)
        jumps = list(_own_jumps(body))
        exits = returns or any(isinstance(j, ast.Break) for j in jumps)
        skips = any(isinstance(j, ast.Continue) for j in jumps)
        lowered = self.block(body, own, True)
        first: list[ast.stmt] = []
        if exits:
            first.append(self.assign(own.exit_flag, self.constant(False, s), s))
        if skips:
            first.append(self.assign(own.skip_flag, self.constant(False, s), s))
        new.body = first + lowered
        new.exit_flag = own.exit_flag if exits else None  # type: ignore[union-attr]
        new.orelse = []
        out: list[ast.stmt] = []
        if exits:
            out.append(self.assign(own.exit_flag, self.constant(False, s), s))
        out.append(new)
        if s.orelse and any(_jumps(inner) for inner in s.orelse):
            # A jump in the `else` part leaves more than the loop: what follows is a part of it.
            after = self.block([*s.orelse, *rest], outer, flag_return)
            if not exits:
                return out + after, True
            taken = self.block(rest, outer, flag_return)
            if returns:
                taken = self.done_or(taken, outer, s)
            taken = taken or [ast.copy_location(ast.Pass(), s)]
            return [*out, ast.copy_location(ast.If(self.load(own.exit_flag, s), taken, after), s)], True
        if s.orelse:
            out.extend(self.unless([own.exit_flag] if exits else [], self.block(s.orelse, outer, flag_return), s))
        if returns:
            out.extend(self.done_or(self.block(rest, outer, flag_return), outer, s))
        return out, returns

    def done_or(self, rest: list[ast.stmt], outer: _Loop | None, at: ast.AST) -> list[ast.stmt]:
        """`rest`, unless the function has returned; then an enclosing loop ends too."""
        self.uses_done = True
        leave: list[ast.stmt] = [ast.copy_location(ast.Pass(), at)]
        if outer is not None:
            leave = [self.assign(outer.exit_flag, self.constant(True, at), at)]
        elif not rest:
            return []
        return [ast.copy_location(ast.If(self.load(DONE, at), leave, rest), at)]


def _like(s: _Statement) -> _Statement:
    """A shallow copy of a statement."""
    return copy.copy(s)


def _is_catch_all(case: ast.match_case) -> bool:
    return case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


def lower_jumps(body: Sequence[ast.stmt], at: ast.AST) -> list[ast.stmt]:
    """The statements of a function without `return`, `break` and `continue`; the result is in `$return`."""
    lowering = _Lowering()
    returns = _returns(body)
    falls_through = returns and not always_leaves(body)
    source = list(body)
    if falls_through:
        source.append(ast.copy_location(ast.Return(None), body[-1]))
    out = lowering.block(source, None, False)
    if lowering.uses_done:
        out.insert(0, lowering.assign(DONE, lowering.constant(False, at), at))
    return out
