"""Statements: assignments of every form, branches, checks, nested definitions, `match`."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import importlib
import operator
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from gradc import errors
from gradc.frontends.bindings import (
    Binding,
    Closure,
    KnownFetch,
    PathEnds,
    describe,
    is_array,
    is_number,
    is_scalar,
)
from gradc.frontends.expressions import _BINARY
from gradc.frontends.loops import Loops
from gradc.frontends.merge import statements_end
from gradc.frontends.subscripts import Index
from gradc.ir.effects import buffers_written, roots
from gradc.ir.nodes import Block, Value
from gradc.ir.region import FULL
from gradc.ir.tree import is_named_tuple, is_structure
from gradc.ir.types import is_complex
from gradc.ops.memory import size_value

_TRANSPARENT: tuple[Any, ...] = (np.errstate, np.printoptions, warnings.catch_warnings)


class Statements(Loops):
    """Interprets statements."""

    def run_body(self, body: list[ast.stmt]) -> None:
        """Run a function's statements."""
        self.run_statements(body)

    def run_statements(self, body: Sequence[ast.stmt]) -> None:
        """Run statements one after the other. Raises: PathEnds where control certainly does not reach the end."""
        for statement in body:
            self.run_statement(statement)

    def run_statement(self, s: ast.stmt) -> None:
        """Run one statement."""
        self.frame.live = self.frame.code.liveness.after.get(id(s), self.frame.live)
        handler = getattr(self, f"_exec_{type(s).__name__}", None)
        with self.at(s):
            if handler is None:
                self.refuse(f"`{type(s).__name__.lower()}` cannot be compiled", "there is no rule for this statement.")
            handler(s)

    def _exec_Pass(self, s: ast.Pass) -> None:
        pass

    def _exec_Expr(self, s: ast.Expr) -> None:
        if not isinstance(s.value, ast.Constant):
            self.eval(s.value)

    # ------------------------------------------------------------------------------------ assignment

    def _exec_Assign(self, s: ast.Assign) -> None:
        b = self.eval(s.value)
        for target in s.targets:
            self.assign(target, b)

    def _exec_AnnAssign(self, s: ast.AnnAssign) -> None:
        if s.value is not None:
            self.assign(s.target, self.eval(s.value))

    def assign(self, target: ast.expr, b: Binding) -> None:
        """Assign to a name, an item, an attribute or several of them."""
        with self.at(target):
            match target:
                case ast.Name():
                    self.bind(target.id, b)
                case ast.Subscript():
                    base = self.eval(target.value)
                    self.store_item(base, self.eval(target.slice), b)
                case ast.Attribute():
                    self._store_attribute(self.eval(target.value), target.attr, b)
                case ast.Tuple() | ast.List():
                    self._unpack(target.elts, b)
                case ast.Starred():
                    self.assign(target.value, list(self.known_items(b, "what is unpacked")))
                case _:
                    self.refuse(f"`{ast.unparse(target)}` cannot be assigned to")

    def _unpack(self, targets: list[ast.expr], b: Binding) -> None:
        starred = [k for k, t in enumerate(targets) if isinstance(t, ast.Starred)]
        if is_array(b) and not starred:
            if b.rank == 0:
                self.refuse("an array without axes cannot be unpacked")
            n, size = len(targets), self.builder.canonical_size(b.shape[0])
            message = f"not enough or too many values to unpack (expected {n})"
            same = size == n if isinstance(size, int) else self.emit("eq", size_value(b, 0), n)
            self.fail("ValueError", message, same)
            items: list[Binding] = [self.row(b, k) for k in range(n)]
        else:
            items = self.known_items(b, "what is unpacked")
        if starred:
            (at,) = starred
            after = len(targets) - at - 1
            if len(items) < len(targets) - 1:
                self.fail("ValueError", f"not enough values to unpack (expected at least {len(targets) - 1})")
            items = [*items[:at], items[at : len(items) - after], *items[len(items) - after :]]
        if len(items) != len(targets):
            many = "too many" if len(items) > len(targets) else "not enough"
            self.fail("ValueError", f"{many} values to unpack (expected {len(targets)})")
        for target, item in zip(targets, items, strict=True):
            self.assign(target.value if isinstance(target, ast.Starred) else target, item)

    def _store_attribute(self, base: Binding, name: str, b: Binding) -> None:
        if is_structure(base) and dataclasses.is_dataclass(base):
            if getattr(type(base), "__dataclass_params__").frozen:  # noqa: B009  # mypy does not know it
                self.fail("AttributeError", f"cannot assign to field {name!r} of a frozen dataclass")
            if name not in {f.name for f in dataclasses.fields(base)}:
                self.refuse(f"{type(base).__name__} has no field {name!r}")
            self.note_rebind(base)
            object.__setattr__(base, name, b)
            return
        if is_array(base) and name in ("real", "imag") and (name == "real" or is_complex(base.ty)):
            index = Index([FULL] * base.rank, view=True)
            if is_complex(base.ty):
                self.write_part(base, index, name, b)
            else:
                self.write_region(base, index, b)
            return
        self.refuse(
            f"attribute {name!r} of {describe(base)} cannot be assigned", "objects are static.",
            "use a dataclass, or return the new value.",
        )

    def _exec_AugAssign(self, s: ast.AugAssign) -> None:
        function = _BINARY[type(s.op)]
        match s.target:
            case ast.Name():
                old = self.look_up(s.target.id)
                self.bind(s.target.id, self._updated(old, function, self.eval(s.value)))
            case ast.Subscript():
                base = self.eval(s.target.value)
                key = self.eval(s.target.slice)
                if is_array(base):
                    whole, part = self.part_of(base)
                    index = self.parse_index(whole, key)
                    block = self.builder.block
                    before = len(block.nodes)
                    b = self.eval(s.value)
                    copies = index.is_element or not index.is_basic  # Python has read what is updated by now
                    if copies and roots(whole) & buffers_written(Block(nodes=block.nodes[before:])):
                        self.refuse(
                            "the right side changes the array that is updated",
                            "Python reads the old element before that.",
                            "compute the right side in a statement before.",
                        )
                    if part:
                        self.update_part(whole, index, part, function, b)
                    else:
                        self.update_region(base, index, function, b)
                    return
                old = self.item(base, key)
                new = self._updated(old, function, self.eval(s.value))
                if new is not old:
                    self.store_item(base, key, new)
            case ast.Attribute():
                owner = self.eval(s.target.value)
                old = self.attribute(owner, s.target.attr)
                new = self._updated(old, function, self.eval(s.value))
                if new is not old:
                    self._store_attribute(owner, s.target.attr, new)

    def _updated(self, old: Binding, function: Callable[[Any, Any], Any], b: Binding) -> Binding:
        """What `old op= b` leaves: `old` itself where it changes in place."""
        if is_array(old):
            self.update_array(old, function, b)
            return old
        if isinstance(old, list) and function is operator.add:
            self.note_rebind(old)
            old.extend(self.known_items(b, "what a list is extended by"))
            return old
        if isinstance(old, dict) and function is operator.or_ and isinstance(b, dict):
            self.note_rebind(old)
            old.update(b)
            return old
        return self.binary(function, old, b)

    # -------------------------------------------------------------------------------------- branches

    def _exec_If(self, s: ast.If) -> None:
        with self.at(s.test):
            condition = self.truth(self.eval(s.test))
        if not isinstance(condition, Value):
            self.run_statements(s.body if condition else s.orelse)
            return
        live = self.frame.code.liveness.after.get(id(s))
        self.branches(
            condition, lambda: self.run_statements(s.body), lambda: self.run_statements(s.orelse), live,
            statements_end(s.orelse),
        )

    def _exec_For(self, s: ast.For) -> None:
        self.exec_for(s)

    def _exec_While(self, s: ast.While) -> None:
        self.exec_while(s)

    def _exec_With(self, s: ast.With) -> None:
        for item in s.items:
            call = item.context_expr
            manager = self.eval(call.func) if isinstance(call, ast.Call) else None
            if not any(manager is known for known in _TRANSPARENT) or item.optional_vars is not None:
                with self.at(call):
                    self.refuse(
                        "this `with` cannot be compiled", "a context manager acts on the interpreter's state.",
                        "move it around the call of the compiled function.",
                    )
        self.run_statements(s.body)

    # ---------------------------------------------------------------------------------------- checks

    def _exec_Assert(self, s: ast.Assert) -> None:
        holds = self.truth(self.eval(s.test))
        message = ""
        if s.msg is not None and holds is not True:
            self.in_message = True
            b = self.eval(s.msg)
            self.in_message = False
            message = b if isinstance(b, str) else ast.unparse(s.msg)
        self.fail("AssertionError", message, holds)

    def _exec_Raise(self, s: ast.Raise) -> NoReturn:
        if s.exc is None:
            self.refuse("a bare `raise` cannot be compiled")
        node = s.exc.func if isinstance(s.exc, ast.Call) else s.exc
        cls: Any = self.eval(node)
        if not (isinstance(cls, type) and issubclass(cls, Exception)):
            self.refuse(f"{describe(cls)} cannot be raised")
        assert isinstance(cls, type)
        name = cls.__name__
        known = getattr(builtins, name, None) or getattr(errors, name, None)
        if known is not cls:
            self.refuse(
                f"{cls.__name__} cannot be raised in a compiled function",
                "compiled code raises Python's own exceptions.", "raise ValueError, or another builtin exception.",
            )
        self.in_message = True
        parts = [self.eval(a) for a in s.exc.args] if isinstance(s.exc, ast.Call) else []
        self.in_message = False
        texts = [str(p) for p in parts if isinstance(p, str) or is_number(p)]
        values = [p for p in parts if is_scalar(p)]
        false = self.builder.const(False)
        self.builder.emit("check", (false, *values), error=name, message=" ".join(texts))
        raise PathEnds

    # ----------------------------------------------------------------------------------- definitions

    def _exec_FunctionDef(self, s: ast.FunctionDef) -> None:
        made: Binding = self.closure(s)
        for decorator in reversed(s.decorator_list):
            made = self._decorated(decorator, made)
        self.frame.env[s.name] = made

    def _decorated(self, decorator: ast.expr, made: Binding) -> Binding:
        """A nested definition under a decorator; Numba's compile, so they do not change what it computes."""
        node = decorator.func if isinstance(decorator, ast.Call) else decorator
        callee = self.eval(node)
        if (getattr(callee, "__module__", "") or "").split(".")[0] == "numba":
            return made
        with self.at(decorator):
            wrapper = self.eval(decorator)
            module = getattr(wrapper, "__module__", None) or ""
            if isinstance(wrapper, types.FunctionType | Closure) and module.split(".")[0] not in ("functools", "gradc"):
                return self.call(wrapper, [made], {})
            return self.refuse(
                "a decorator of a nested function cannot be compiled",
                hint="define the function at module level, or call it without the decorator.",
            )

    def _exec_Import(self, s: ast.Import) -> None:
        for alias in s.names:
            module = importlib.import_module(alias.name if alias.asname else alias.name.split(".")[0])
            importlib.import_module(alias.name)
            self._bind_imported(alias.asname or alias.name.split(".")[0], module)

    def _exec_ImportFrom(self, s: ast.ImportFrom) -> None:
        package = self.frame.function.__globals__.get("__package__")
        module = importlib.import_module("." * s.level + (s.module or ""), package)
        self.fetch_of.setdefault(id(module), (module, KnownFetch(module, module.__name__)))
        for alias in s.names:
            if alias.name == "*":
                self.refuse("`from … import *` cannot be compiled")
            self._bind_imported(alias.asname or alias.name, self.attribute_of_object(module, alias.name))

    def _bind_imported(self, name: str, b: Binding) -> None:
        if isinstance(b, types.ModuleType):
            self.fetch_of.setdefault(id(b), (b, KnownFetch(b, b.__name__)))
        self.bind(name, b)

    # ----------------------------------------------------------------------------------------- match

    def _exec_Match(self, s: ast.Match) -> None:
        subject = self.eval(s.subject)
        self._match_cases(subject, s.cases, s)

    def _match_cases(self, subject: Binding, cases: Sequence[ast.match_case], s: ast.Match) -> None:
        if not cases:
            return
        case, rest = cases[0], cases[1:]
        bound: dict[str, Binding] = {}
        with self.at(case.pattern):
            holds = self._matches(case.pattern, subject, bound)
        if holds is not False:
            for name, b in bound.items():
                self.bind(name, b)
            if case.guard is not None:
                guard = case.guard
                holds = self.both(holds, lambda: self.truth(self.eval(guard)))
        if not isinstance(holds, Value):
            if holds:
                self.run_statements(case.body)
            else:
                self._match_cases(subject, rest, s)
            return
        live = self.frame.code.liveness.after.get(id(s))
        self.branches(
            holds, lambda: self.run_statements(case.body), lambda: self._match_cases(subject, rest, s), live
        )

    def _matches(self, pattern: ast.pattern, b: Binding, bound: dict[str, Binding]) -> Binding:
        """Whether a pattern matches; names that it binds are collected."""
        match pattern:
            case ast.MatchValue():
                return self.truth(self.compare(ast.Eq(), b, self.eval(pattern.value)))
            case ast.MatchSingleton():
                return self.compare(ast.Is(), b, pattern.value)
            case ast.MatchAs():
                holds = self._matches(pattern.pattern, b, bound) if pattern.pattern is not None else True
                if pattern.name is not None and holds is not False:
                    bound[pattern.name] = b
                return holds
            case ast.MatchOr():
                found: Binding = False
                for option in pattern.patterns:
                    found = self.either(found, lambda option=option: self._matches(option, b, bound))  # type: ignore[misc]
                return found
            case ast.MatchSequence():
                return self._matches_sequence(pattern, b, bound)
            case ast.MatchMapping():
                return self._matches_mapping(pattern, b, bound)
            case ast.MatchClass():
                return self._matches_class(pattern, b, bound)
        return self.refuse("this pattern cannot be compiled")

    def _matches_sequence(self, pattern: ast.MatchSequence, b: Binding, bound: dict[str, Binding]) -> Binding:
        if not isinstance(b, list | tuple):
            return False
        items, patterns = list(b), pattern.patterns
        stars = [k for k, p in enumerate(patterns) if isinstance(p, ast.MatchStar)]
        if stars:
            (at,) = stars
            after = len(patterns) - at - 1
            if len(items) < len(patterns) - 1:
                return False
            star = patterns[at]
            assert isinstance(star, ast.MatchStar)
            if star.name is not None:
                bound[star.name] = items[at : len(items) - after]
            items = [*items[:at], *items[len(items) - after :]]
            patterns = [p for p in patterns if not isinstance(p, ast.MatchStar)]
        if len(items) != len(patterns):
            return False
        holds: Binding = True
        for p, item in zip(patterns, items, strict=True):
            holds = self.both(holds, lambda p=p, item=item: self._matches(p, item, bound))  # type: ignore[misc]
        return holds

    def _matches_mapping(self, pattern: ast.MatchMapping, b: Binding, bound: dict[str, Binding]) -> Binding:
        if not isinstance(b, dict):
            return False
        keys = [self.key(self.eval(k)) for k in pattern.keys]
        holds: Binding = all(k in b for k in keys)
        for k, p in zip(keys, pattern.patterns, strict=True):
            holds = self.both(holds, lambda k=k, p=p: self._matches(p, b[k], bound))  # type: ignore[misc]
        if pattern.rest is not None:
            bound[pattern.rest] = {k: v for k, v in b.items() if k not in keys}
        return holds

    def _matches_class(self, pattern: ast.MatchClass, b: Binding, bound: dict[str, Binding]) -> Binding:
        cls = self.eval(pattern.cls)
        if not self.call(isinstance, [b, cls], {}):
            return False
        names = list(getattr(cls, "__match_args__", ()))[: len(pattern.patterns)]
        if cls in (int, float, bool, str) and pattern.patterns:
            return self._matches(pattern.patterns[0], b, bound)
        if is_named_tuple(cls):
            names = list(cls._fields)[: len(pattern.patterns)]
        holds: Binding = True
        parts = [*zip(names, pattern.patterns, strict=True), *zip(pattern.kwd_attrs, pattern.kwd_patterns, strict=True)]
        for name, p in parts:
            holds = self.both(
                holds, lambda name=name, p=p: self._matches(p, self.attribute(b, name), bound)  # type: ignore[misc]
            )
        return holds
