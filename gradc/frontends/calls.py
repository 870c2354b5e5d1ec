"""Calls: the op table, helpers written in Python (inlined), classes, builtins, objects that expand to IR."""

from __future__ import annotations

import ast
import copy
import dataclasses
import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from gradc.errors import GradcError, UnsupportedError
from gradc.frontends import array_calls, builtin_calls, foreign, written
from gradc.frontends.bindings import (
    AttributeFetch,
    Binding,
    Closure,
    Collected,
    DefaultFetch,
    DynamicRange,
    Flat,
    Frame,
    Generator,
    ItemFetch,
    Items,
    Iteration,
    KnownFetch,
    Method,
    NeedStatic,
    Partial,
    contains_value,
    describe,
    is_array,
    is_number,
    is_scalar,
)
from gradc.frontends.expressions import Expressions, is_foldable
from gradc.frontends.fence import check_syntax
from gradc.frontends.instead import instead_of
from gradc.frontends.jumps import RETURN, lower_jumps
from gradc.frontends.liveness import Liveness, bound_names, reads
from gradc.frontends.local_functions import LocalFunction
from gradc.frontends.orders import C_METHODS, LIKE
from gradc.frontends.ruled import RuledCalls
from gradc.frontends.source import FunctionNode, FunctionSource, function_source
from gradc.ir.custom import RuledFunction, put_in_place
from gradc.ir.effects import roots
from gradc.ir.foreign import is_buffer_maker, is_c_function
from gradc.ir.nodes import Block, Value
from gradc.ir.program import Expansion, Typed
from gradc.ir.tree import children, flatten, is_named_tuple, is_structure, unflatten
from gradc.ir.types import WEAK_INT, Array, is_integer
from gradc.ops import CALLS, METHODS
from gradc.ops.memory import make_zeros, size_value

MAX_DEPTH = 64


@dataclasses.dataclass(eq=False, slots=True)
class Code:
    """A function's body in the form that is interpreted."""

    source: FunctionSource
    body: list[ast.stmt]
    locals: frozenset[str]
    liveness: Liveness
    loops: dict[int, tuple[str, ast.For]] = dataclasses.field(default_factory=dict)  # of generators, by id of the node
    bound: dict[int, frozenset[str]] = dataclasses.field(default_factory=dict)

    def bound_in(self, s: ast.stmt) -> frozenset[str]:
        """Names that a statement of this function may bind."""
        found = self.bound.get(id(s))
        if found is None:
            found = self.bound[id(s)] = bound_names([s])
        return found


_codes: dict[FunctionNode, Code] = {}


def code_of(source: FunctionSource) -> Code:
    """The body of a function without jumps, and what is live where."""
    found = _codes.get(source.node)
    if found is None:
        check_syntax(source)
        node = source.node
        if isinstance(node, ast.Lambda):
            statements: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node.body)]
        else:
            statements = node.body
        names = bound_names(statements) | {a.arg for a in _arguments(node.args)} | {RETURN, "$done"}
        body = lower_jumps(statements, node)
        found = Code(source, body, names | bound_names(body), Liveness(body))
        _codes[node] = found
    return found


class _Renamed(ast.NodeTransformer):
    """A copy of an expression with names replaced."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:  # NodeTransformer's name
        return ast.copy_location(ast.Name(self.names.get(node.id, node.id), node.ctx), node)


def _generator_loop(
    node: ast.GeneratorExp | ast.ListComp, number: int, finish: Callable[[ast.expr], ast.stmt]
) -> ast.For:
    """The loop that a comprehension means, with `finish(element)` as its innermost statement and names of its own."""
    names = {
        n.id: f"${n.id}{number}" for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)
    }
    rename = _Renamed(names)
    body = finish(rename.visit(copy.deepcopy(node.elt)))
    first = node.generators[0]
    for g in reversed(node.generators):
        for test in reversed(g.ifs):
            condition = rename.visit(copy.deepcopy(test))
            body = ast.copy_location(ast.If(condition, [body], []), condition)
        # The first iterable is evaluated outside, where the names mean what they did.
        over = g.iter if g is first else rename.visit(copy.deepcopy(g.iter))
        body = ast.copy_location(ast.For(rename.visit(copy.deepcopy(g.target)), over, [body], []), g.iter)
    assert isinstance(body, ast.For)
    return body


def _sum_loop(node: ast.GeneratorExp, number: int) -> tuple[str, ast.For]:
    """The loop that `sum` of a generator expression means, and the name of the total."""
    total = f"$ sum{number}"

    def finish(element: ast.expr) -> ast.stmt:
        old, new = (ast.copy_location(ast.Name(total, context), element) for context in (ast.Load(), ast.Store()))
        added = ast.copy_location(ast.BinOp(old, ast.Add(), element), element)
        return ast.copy_location(ast.Assign([new], added), element)

    return total, _generator_loop(node, number, finish)


def _collecting_loop(node: ast.GeneratorExp | ast.ListComp, number: int) -> tuple[str, ast.For]:
    """The loop that fills an array with the items of a comprehension, and the name of the array."""
    out = f"$ items{number}"  # no variable of the comprehension has a name like it

    def finish(element: ast.expr) -> ast.stmt:
        array, position = (ast.copy_location(ast.Name(n, ast.Load()), element) for n in (out, f"$ at{number}"))
        target = ast.copy_location(ast.Subscript(array, position, ast.Store()), element)
        return ast.copy_location(ast.Assign([target], element), element)

    loop = _generator_loop(node, number, finish)
    position = ast.copy_location(ast.Name(f"$ at{number}", ast.Store()), loop.target)
    loop.target = ast.copy_location(ast.Tuple([position, loop.target], ast.Store()), loop.target)
    return out, loop


def _arguments(args: ast.arguments) -> list[ast.arg]:
    rest = [a for a in (args.vararg, args.kwarg) if a is not None]
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *rest]


class Calls(Expressions):
    """Interprets calls."""

    def _eval_Call(self, node: ast.Call) -> Binding:
        callee = self.eval(node.func)
        if callee is builtin_calls.super_type:
            self.refuse("`super()` cannot be compiled", hint="call the method of the class by name.")
        args: list[Binding] = []
        for arg in node.args:
            if isinstance(arg, ast.Starred):
                args += self.known_items(self.eval(arg.value), "`*` arguments")
            else:
                args.append(self.eval(arg))
        keywords: dict[str, Binding] = {}
        for keyword in node.keywords:
            b = self.eval(keyword.value)
            if keyword.arg is not None:
                keywords[keyword.arg] = b
                continue
            if not isinstance(b, dict):
                self.refuse(f"`**` arguments are {describe(b)}, not a dict")
            keywords.update(b)
        return self.call(callee, args, keywords)

    def call(self, callee: Binding, args: Sequence[Binding], keywords: dict[str, Binding]) -> Binding:
        """callee(*args, **keywords)."""
        args = list(args)
        if is_buffer_maker(callee):
            return foreign.from_buffer(self, args, keywords)
        match callee:
            case Closure():
                bound = self._bind_closure(callee, args, keywords)
                return self.inline(callee.source, callee.frame.function, callee.frame, bound)
            case LocalFunction():
                return self.call(callee.closure, args, keywords)
            case Method():
                return self._call_method(callee, args, keywords)
            case Partial():
                return self.call(callee.callee, [*callee.args, *args], {**callee.keywords, **keywords})
            case functools.partial():
                fetch = self.fetch_of.get(id(callee), (callee, KnownFetch(callee, "partial")))[1]
                stored = [
                    self.external(a, ItemFetch(AttributeFetch(fetch, "args"), k, "argument"))
                    for k, a in enumerate(callee.args)
                ]
                named = {
                    n: self.external(a, ItemFetch(AttributeFetch(fetch, "keywords"), n, n))
                    for n, a in callee.keywords.items()
                }
                return self.call(callee.func, [*stored, *args], {**named, **keywords})
            case types.MethodType() if callee not in CALLS:
                frozen = self._of_frozen(callee)
                if frozen is not None:
                    return self.call(frozen, args, keywords)
                fetch = self.fetch_of.get(id(callee), (callee, KnownFetch(callee, "method")))[1]
                owner = self.external(callee.__self__, AttributeFetch(fetch, "__self__"))
                return self.call(callee.__func__, [owner, *args], keywords)
            case Value():
                self.refuse(f"{describe(callee)} is not callable")
        for table in (builtin_calls.TABLE, array_calls.TABLE):
            if callee in _hashable(table, callee):
                return table[callee](self, args, keywords)
        args = [self._run_argument(a) for a in args]
        keywords = {n: self._run_argument(a) for n, a in keywords.items()}
        if is_foldable(callee, args, keywords):
            return self.fold(callee, *args)
        if args and callee in _hashable(builtin_calls.JOINS, callee):
            if isinstance(args[0], Collected):
                return builtin_calls.JOINS[callee](self, args[0].array, *args[1:], **keywords)
            if is_array(args[0]) and args[0].rank and not isinstance(self.length(args[0]), int):
                joined = builtin_calls.JOINS[callee](self, args[0], *args[1:], **keywords)
                return self.call_table(np.copy, joined)
        if callee in _hashable(CALLS, callee):
            args = [self.as_array(a) for a in args]
            keywords = {n: self.as_array(a) for n, a in keywords.items()}
            if getattr(CALLS[callee].build, "takes_functions", False):
                args = [LocalFunction(self, a) if isinstance(a, Closure) else a for a in args]
            name = getattr(callee, "__name__", type(callee).__name__)
            made = self.build(CALLS[callee].build, args, keywords, name)
            if any(callee is f for f in LIKE) and is_array(made) and args and is_array(args[0]):
                self.orders.note_stored(made, args[0])
            elif callee is np.ascontiguousarray and not self.orders.is_c(made):
                made = self.emit("copy", made)
                self.orders.c_order |= roots(made)
            return made
        return self._call_object(callee, args, keywords)

    def _of_frozen(self, method: types.MethodType) -> Partial | None:
        """A method of a distribution of scipy.stats whose parameters were fixed outside: that of the distribution."""
        owner: Any = method.__self__
        dist: Any = getattr(owner, "dist", None)
        module = sys.modules.get("scipy.stats")
        plain: Any = getattr(module, str(getattr(dist, "name", "")), None) if dist is not None else None
        if plain is None or type(plain) is not type(dist) or (plain.a, plain.b) != (dist.a, dist.b):
            return None
        target = getattr(plain, method.__name__, None)
        if target not in CALLS:
            return None
        fetch = AttributeFetch(
            self.fetch_of.get(id(method), (method, KnownFetch(method, method.__name__)))[1], "__self__"
        )
        given = self.external(owner.args, AttributeFetch(fetch, "args"))
        named = self.external(owner.kwds, AttributeFetch(fetch, "kwds"))
        names = list(inspect.signature(CALLS[plain].build).parameters)
        return Partial(target, (), {**dict(zip(names, given, strict=False)), **named})

    def _run_argument(self, b: Binding) -> Binding:
        """A generator expression that is passed on is run, as a list."""
        return self.comprehended(b.node) if isinstance(b, Generator) else b

    def as_array(self, b: Binding) -> Binding:
        """An argument of an array function: lists of a run-time length are arrays to it."""
        if isinstance(b, Collected):
            return b.array
        if isinstance(b, Flat):
            made: Value = self.call_table(np.ravel, b.base)
            return made
        if type(b) in (list, tuple) and any(isinstance(x, Collected) for x in b):
            return type(b)(self.as_array(x) for x in b)
        return b

    def as_list(self, b: Collected) -> NoReturn:
        """A list of a run-time length is needed as a list: its length must be known."""
        if b.needs:
            self.need(b.needs)
        self.refuse(
            "the length of this list is known at run time only",
            "a list comprehension over an array or a run-time range becomes an array, and is used like a list here.",
            "write np.array([…]), or store into an array made before.",
        )

    def _call_object(self, callee: Any, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        if isinstance(callee, RuledFunction):
            return self.call_ruled(callee, args, keywords)
        if isinstance(callee, np.vectorize):
            options = {"otypes": callee.otypes, "signature": callee.signature, "excluded": callee.excluded or None}
            given = {n: v for n, v in options.items() if v is not None}
            return self.call(array_calls.vectorized(self, [callee.pyfunc], given), args, keywords)
        if is_c_function(callee):
            return foreign.call(self, callee, args, keywords)
        plain = getattr(callee, "__gradc_function__", None)
        if plain is not None and not isinstance(callee, type):
            return self.call(plain, args, keywords)
        if hasattr(callee, "__gradc_interpret__") and not isinstance(callee, type):
            args = [LocalFunction(self, a) if isinstance(a, Closure) else a for a in args]
            return callee.__gradc_interpret__(self, args, keywords)
        if hasattr(callee, "__gradc_expand__") and not isinstance(callee, type):
            if getattr(callee, "takes_functions", False):
                args = [LocalFunction(self, a) if isinstance(a, Closure) else a for a in args]
            return self.expand(callee, args, keywords)
        if isinstance(getattr(callee, "py_func", None), types.FunctionType):
            return self.call(callee.py_func, args, keywords)
        if isinstance(callee, types.FunctionType):
            module = (callee.__module__ or "").split(".")[0]
            if module in ("numpy", "scipy"):
                self._refuse_library(callee)
            bound = self._bind_function(callee, args, keywords)
            return self.inline(function_source(callee), callee, None, bound)
        if isinstance(callee, type):
            return self._construct(callee, args, keywords)
        module = (getattr(callee, "__module__", None) or type(callee).__module__ or "").split(".")[0]
        if isinstance(callee, np.ufunc) or module in ("numpy", "scipy"):
            self._refuse_library(callee)
        method = inspect.getattr_static(type(callee), "__call__", None)
        if isinstance(method, types.FunctionType) or hasattr(method, "__gradc_expand__"):
            return self.call(method, [callee, *args], keywords)
        name = getattr(callee, "__name__", None)
        if name is not None and not any(contains_value(a) for a in (*args, *keywords.values())) and _is_pure(callee):
            return callee(*args, **keywords)
        return self.refuse(
            f"{describe(callee)} cannot be called in a compiled function", "there is no rule for it.",
            "write it with NumPy's functions, pass its result in as an argument, or give it a rule: gradc.custom_vjp.",
        )

    def call_ruled(self, callee: RuledFunction, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        """A call of a function that has a derivative rule of the user."""
        if self.ruled is None:
            self.ruled = RuledCalls(self)
        return self.ruled.call(callee, args, keywords)

    def _refuse_library(self, callee: Any) -> None:
        name = getattr(callee, "__name__", type(callee).__name__)
        # Ufuncs do not say where they are from.
        found = (m for m in ("numpy", "scipy.special") if getattr(sys.modules.get(m), name, None) is callee)
        module = (getattr(callee, "__module__", None) or next(found, "numpy")).replace("numpy", "np", 1)
        self.refuse(
            f"`{module}.{name}` has no rule", "gradc compiles the NumPy and SciPy functions that are in its op table.",
            instead_of(callee)
            or "write it with functions that are in the table, or pass its result in as an argument.",
        )

    # ------------------------------------------------------------------------------------- op table

    def build(self, build: Callable[..., Any], args: Sequence[Any], keywords: dict[str, Any], name: str) -> Binding:
        """Run an entry of the op table on bindings. Options that turn out to be run-time values are made static."""
        try:
            signature = inspect.signature(build)
            bound = signature.bind(*args, **keywords)
        except TypeError as error:
            raise UnsupportedError(
                f"{name}: {error}", self.builder.loc, "this form of the call has no rule.",
            ) from None
        except ValueError:
            bound = None
        if bound is not None:
            self._know_switches(signature, bound.arguments)
        nodes, block = len(self.builder.block.nodes), self.builder.block
        try:
            return build(*args, **keywords) if bound is None else build(*bound.args, **bound.kwargs)
        except GradcError as error:
            self._freeze_options(args, keywords)
            raise error if error.loc is not None else type(error)(
                error.what, self.builder.loc, error.why, error.hint
            ) from None
        except (TypeError, AttributeError, ValueError) as error:
            del block.nodes[nodes:]
            self._freeze_options(args, keywords)
            raise UnsupportedError(
                f"{name} cannot be compiled with these arguments", self.builder.loc, str(error)
            ) from error

    def _know_switches(self, signature: inspect.Signature, given: dict[str, Any]) -> None:
        """Make numbers given for options that are True or False known; `where` is a mask."""
        for name, b in given.items():
            if isinstance(signature.parameters[name].default, bool) and name != "where" and is_scalar(b):
                given[name] = self.static(b, f"`{name}`")

    def _freeze_options(self, args: Sequence[Any], keywords: dict[str, Any]) -> None:
        """Ask for integer arguments to be known, where they are leaves: an axis, a number of sections."""
        pending = [*args, *keywords.values()]
        needs: set[Any] = set()
        while pending:
            b = pending.pop()
            if isinstance(b, tuple | list):
                pending += b
            elif is_scalar(b) and (is_integer(b.ty) or b.dtype == "bool"):
                needs |= self.dependencies(b) or frozenset()
        if needs:
            self.need(frozenset(needs))

    def _call_method(self, callee: Method, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        base, name = callee.base, callee.name
        if isinstance(base, Value) or is_number(base):
            local = builtin_calls.METHODS.get(name)
            if local is not None:
                return local(self, base, args, keywords)
            if name not in METHODS:
                self.refuse(f"method `{name}` of {describe(base)} cannot be compiled", "there is no rule for it.")
            made = self.build(METHODS[name].build, [self.value(base), *args], keywords, f"method {name}")
            if name in C_METHODS and is_array(made):
                self.orders.c_order |= roots(made)
            return made
        if isinstance(base, list | dict):
            return builtin_calls.call_container_method(self, base, name, args, keywords)
        if isinstance(base, str | range | slice | frozenset | tuple) and not is_named_tuple(type(base)):
            if contains_value(args) and not isinstance(base, str):
                self.refuse(f"method `{name}` of {describe(base)} cannot be compiled with run-time values")
            if isinstance(base, str) and name == "format":
                return base
            return getattr(base, name)(*args, **keywords)
        if is_named_tuple(type(base)) and name in ("_replace", "_asdict"):
            return getattr(base, name)(*args, **keywords)
        found = inspect.getattr_static(type(base), name, None)
        if isinstance(found, staticmethod):
            return self.call(found.__func__, args, keywords)
        if isinstance(found, classmethod):
            return self.call(found.__func__, [type(base), *args], keywords)
        if isinstance(found, types.FunctionType):
            return self.call(found, [base, *args], keywords)
        return self.refuse(f"method `{name}` of {describe(base)} cannot be compiled")

    # ------------------------------------------------------------------------------------- inlining

    def _bind_function(
        self, function: types.FunctionType, args: list[Binding], keywords: dict[str, Binding]
    ) -> dict[str, Binding]:
        try:
            signature = inspect.signature(function, follow_wrapped=False)
            bound = signature.bind(*args, **keywords)
        except TypeError as error:
            self.refuse(f"{function.__name__}(): {error}")
        for name, parameter in signature.parameters.items():
            if name in bound.arguments:
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                bound.arguments[name] = ()
            elif parameter.kind is parameter.VAR_KEYWORD:
                bound.arguments[name] = {}
            else:
                fetch = self.fetch_of.get(id(function), (function, KnownFetch(function, function.__name__)))[1]
                bound.arguments[name] = self.external(parameter.default, DefaultFetch(fetch, name))
        return dict(bound.arguments)

    def _bind_closure(self, callee: Closure, args: list[Binding], keywords: dict[str, Binding]) -> dict[str, Binding]:
        spec = callee.source.node.args
        parameters: list[inspect.Parameter] = []
        positional = [*spec.posonlyargs, *spec.args]
        defaults = dict(zip([a.arg for a in positional[len(positional) - len(callee.defaults) :]], callee.defaults,
                            strict=True))
        for k, a in enumerate(positional):
            only = k < len(spec.posonlyargs)
            kind = inspect.Parameter.POSITIONAL_ONLY if only else inspect.Parameter.POSITIONAL_OR_KEYWORD
            parameters.append(inspect.Parameter(a.arg, kind))
        if spec.vararg is not None:
            parameters.append(inspect.Parameter(spec.vararg.arg, inspect.Parameter.VAR_POSITIONAL))
        parameters += [inspect.Parameter(a.arg, inspect.Parameter.KEYWORD_ONLY) for a in spec.kwonlyargs]
        if spec.kwarg is not None:
            parameters.append(inspect.Parameter(spec.kwarg.arg, inspect.Parameter.VAR_KEYWORD))
        known = {**defaults, **callee.keyword_defaults}
        optional = [p.replace(default=None) if p.name in known else p for p in parameters]
        try:
            bound = inspect.Signature(optional).bind(*args, **keywords)
        except TypeError as error:
            self.refuse(f"{callee.source.name}(): {error}")
        for p in parameters:
            if p.name not in bound.arguments:
                if p.kind is p.VAR_POSITIONAL:
                    bound.arguments[p.name] = ()
                else:
                    bound.arguments[p.name] = {} if p.kind is p.VAR_KEYWORD else known[p.name]
        return dict(bound.arguments)

    def inline(
        self, source: FunctionSource, function: Any, parent: Frame | None, arguments: dict[str, Binding]
    ) -> Binding:
        """Interpret a function's body in place of a call."""
        depth = sum(1 for f in self.frames if f.source.node is source.node)
        if depth >= MAX_DEPTH or len(self.frames) >= 4 * MAX_DEPTH:
            self.refuse(
                f"`{source.name}` calls itself without an end that is known while compiling",
                f"after {depth} calls inside each other there was still another one.",
                "write it as a loop.",
            )
        signature = _signature(arguments)
        for f in self.frames:
            if f.source.node is source.node and f.signature == signature:
                self._freeze_options(list(arguments.values()), {})
                self.refuse(
                    f"`{source.name}` calls itself, and how often is known at run time only",
                    "a call is compiled as a part of its caller.", "write it as a loop.",
                )
        code = code_of(source)
        frame = Frame(source, function, parent, code.locals, dict(arguments), code=code)
        frame.site, frame.signature = self.builder.loc, signature
        frame.hidden = getattr(function, "__module__", "") == written.__name__
        self.frames.append(frame)
        before, self.builder.loc = self.builder.loc, self.loc(source.node)
        try:
            self.run_body(code.body)
            result = frame.env.get(RETURN)
        finally:
            self.builder.loc = before
            if frame in self.frames:
                del self.frames[self.frames.index(frame) :]
        return self.read("the result", result)

    def run_body(self, body: list[ast.stmt]) -> None:
        """Run a function's statements."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------- classes

    def _construct(self, cls: type, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        if (cls.__module__ or "").split(".")[0] == "numpy" and instead_of(cls) is not None:
            self._refuse_library(cls)
        if is_named_tuple(cls):
            try:
                return cls(*args, **keywords)
            except TypeError as error:
                self.refuse(str(error))
        if dataclasses.is_dataclass(cls):
            return self._construct_dataclass(cls, args, keywords)
        if issubclass(cls, BaseException):
            self.refuse("an exception can only be raised", hint="write `raise` before it.")
        if issubclass(cls, np.generic) and args and not keywords:
            value = self.value(args[0])
            if isinstance(value.ty, Array) and value.rank == 0:
                value = self.scalar(value, "the argument")
            return self.emit("cast", value, dtype=np.dtype(cls).name, weak=False)
        return self.refuse(
            f"an object of class {cls.__name__} cannot be made in a compiled function",
            "structure is tuples, lists, dicts, named tuples and dataclasses.", "use a dataclass or a named tuple.",
        )

    def _construct_dataclass(self, cls: Any, args: list[Binding], keywords: dict[str, Binding]) -> Binding:
        if isinstance(cls.__dict__.get("__init__"), types.FunctionType) and "__create_fn__" not in str(
            cls.__init__.__qualname__
        ) and cls.__init__.__code__.co_filename != "<string>":
            self.refuse(f"{cls.__name__} has its own __init__", hint="let the dataclass make it.")
        try:
            bound = inspect.signature(cls).bind(*args, **keywords)
        except TypeError as error:
            self.refuse(f"{cls.__name__}(): {error}")
        made = object.__new__(cls)
        for f in dataclasses.fields(cls):
            if f.name in bound.arguments:
                b = bound.arguments[f.name]
            elif f.default is not dataclasses.MISSING:
                b = f.default
            elif f.default_factory is not dataclasses.MISSING:
                b = f.default_factory()
            else:
                continue
            object.__setattr__(made, f.name, b)
        after = getattr(cls, "__post_init__", None)
        if isinstance(after, types.FunctionType):
            self.call(after, [made], {})
        return made

    # ------------------------------------------------------------------------------------- expansion

    def expand(self, callee: Any, args: Sequence[Binding], keywords: dict[str, Binding]) -> Binding:
        """A call of an object whose `__gradc_expand__` says what it becomes."""
        leaves, tree = flatten((tuple(args), dict(keywords)), LEAVES)
        leaves = [_literal(v) for v in leaves]
        stand_ins = [Typed(v.ty) if isinstance(v, Value) else v for v in leaves]
        typed_args, typed_keywords = unflatten(tree, stand_ins)
        try:
            expansion: Expansion = callee.__gradc_expand__(typed_args, typed_keywords)
        except NeedStatic as request:
            for leaf, stand_in in zip(leaves, stand_ins, strict=True):
                if any(stand_in is asked for asked in request.leaves):
                    self.static(leaf, "an argument of a derivative")
            self.refuse("a value must be known when the function is compiled", hint="use a literal, or an argument.")
        operands: list[Value] = [self.value(leaf) for leaf in leaves]
        for capture in expansion.captures:
            binding = self.external(capture.fetch(), capture.fetch)  # type: ignore[arg-type]
            operands += [self.value(leaf) for leaf in flatten(binding, LEAVES)[0]]
        operands += expansion.outer
        for guard in expansion.guards:
            self.guards.setdefault(guard.fetch.key(), guard)  # type: ignore[attr-defined]
        results = put_in_place(expansion.func, operands, self.builder)
        return unflatten(expansion.result, results)

    # ------------------------------------------------------------------------------------- iteration

    def sum_generator(self, g: Generator, start: Binding) -> Binding:
        """sum() of a generator expression: a loop that adds, where the number of terms is known at run time only."""
        code = self.frame.code
        name, loop = code.loops.setdefault(id(g.node), _sum_loop(g.node, len(code.loops)))
        with self._own_names(name, loop, start):
            self.run_body([loop])
            return self.read("the sum", self.frame.env[name])

    @contextmanager
    def _own_names(self, name: str, loop: ast.For, b: Binding) -> Iterator[None]:
        """Run a loop that a comprehension means, with `name` bound to `b`; its names go afterwards."""
        frame = self.frame
        names = bound_names([loop]) | {name}
        frame.locals |= names
        frame.env[name] = b
        frame.code.liveness.block([loop], frame.live | {name} | reads(loop) | frozenset(frame.env))
        live = frame.live
        yield
        frame.live = live
        for n in names:
            frame.env.pop(n, None)

    def comprehended(self, node: ast.ListComp | ast.GeneratorExp) -> Binding:
        """A list comprehension: a list where the length is known, else an array of its items."""
        first = node.generators[0]
        over: Any = None
        if len(node.generators) == 1 and not first.ifs:
            with self.at(first.iter):
                over = self.eval(first.iter)
                found = self.iterate(over)
            if isinstance(found, Iteration) and isinstance(found.length, Value):
                return self._collect(node, found)
        return self.listed(node, over)

    def _collect(self, node: ast.ListComp | ast.GeneratorExp, over: Iteration) -> Collected:
        code = self.frame.code
        name, loop = code.loops.setdefault(id(node), _collecting_loop(node, len(code.loops)))
        assert isinstance(over.length, Value)
        needs = self.dependencies(over.length) or frozenset()
        sample = self.as_array(self._sample(node, over))
        if not isinstance(sample, Value) and not is_number(sample):
            if needs:
                self.need(needs)
            self.refuse(
                f"a list of {describe(sample)}, of a length that is known at run time only, cannot be compiled",
                "its items become an array, so they are numbers or arrays of one shape.",
                "make one list for each part.",
            )
        item = self.value(sample) if is_number(sample) else sample
        sizes: list[int | Value] = [over.length]
        for size in item.shape:
            n = self.materialise(size, self.sources())
            if n is None:
                self.refuse("the items of this list have a size that is not known before", hint="store into an array.")
            sizes.append(n)
        array = make_zeros(sizes, item.dtype, filled=False)
        # Items that are views are copied: writing one while the other is in use would have to change both.
        outer = frozenset(v for v in roots(item) if self.builder.in_scope(v))
        with self._own_names(name, loop, array):
            self.run_collecting(loop, over)
        self.link(frozenset((array,)), outer, "")
        return Collected(array, needs)

    def _sample(self, node: ast.ListComp | ast.GeneratorExp, over: Iteration) -> Binding:
        """An item of a comprehension, interpreted for its type only."""
        before = self.take()
        block = Block(params=[Value(WEAK_INT)])
        target = node.generators[0].target
        names = {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
        with self.builder.into(block):
            self.frame.overlays.append(dict.fromkeys(names))
            self.assign(target, over.item(block.params[0]))
            b = self.eval(node.elt)
        self.restore(before)
        return b

    def run_collecting(self, loop: ast.For, over: Iteration) -> None:
        """Run the loop that fills an array with items."""
        raise NotImplementedError

    def known_items(self, b: Binding, what: str) -> list[Binding]:
        """The items of something whose length is known while compiling."""
        found = self.iterate(b)
        if isinstance(found, list):
            return found
        if isinstance(b, Collected):
            self.as_list(b)
        length = self.static(found.length, f"the length of {what}")
        return [found.item(k) for k in range(int(length))]

    def iterate(self, b: Binding) -> list[Binding] | Iteration:
        """What a loop over `b` goes through: items, or a run-time iteration."""
        match b:
            case Generator():
                return self.iterate(self.comprehended(b.node))
            case Iteration():
                return b
            case Collected():
                return self.iterate(b.array)
            case Flat():
                return self.iterate(self.call_table(np.ravel, b.base))
            case DynamicRange():
                length = self.length(b)
                return Iteration(length, lambda k: self.item(b, k), ())
            case dict():
                return list(b)
            case Items():
                return b
            case list() | tuple() | str() | range():
                return list(b)
            case frozenset():
                return sorted(b, key=repr)
            case Value() if is_array(b) and b.rank:
                size = self.builder.canonical_size(b.shape[0])
                return Iteration(size if isinstance(size, int) else size_value(b, 0), lambda k: self.row(b, k), (b,))
        if is_structure(b) and isinstance(b, tuple):
            return list(b)
        return self.refuse(f"{describe(b)} cannot be looped over")

    def length(self, b: Binding) -> Binding:
        """len(b)."""
        return builtin_calls.length(self, b)


LEAVES: tuple[type, ...] = (Value, bool, int, float, complex, np.generic)


def _literal(v: Any) -> Any:
    """The Python number that a value is by its definition, or the value."""
    constant = isinstance(v, Value) and v.node is not None and v.node.op.name == "const"
    return v.node.attrs["value"] if constant else v


def _signature(b: Any) -> Any:
    """What decides how a call is compiled: types of values, and everything that is known."""
    if isinstance(b, Value):
        return b.ty
    if is_structure(b) or type(b) is dict:
        keys, items = children(b)
        return (type(b), keys, tuple(_signature(item) for item in items))
    return (type(b), b if is_number(b) or isinstance(b, str) else id(b))


def _hashable(table: Any, key: Any) -> Any:
    """The table, or nothing where the key cannot be looked up."""
    try:
        hash(key)
    except TypeError:
        return ()
    return table


def _is_pure(callee: Any) -> bool:
    return (getattr(callee, "__module__", None) or "").split(".")[0] in ("builtins", "math", "operator", "numpy")


__all__ = ["Calls", "Code", "code_of"]
