"""From the arguments of a call to a compiled kernel: the objects that `jit`, `grad` and their like return.

A signature is the structure of the arguments and, for each leaf, what `leaves.py` calls its key. The general way of a
call flattens the arguments, looks the signature up, and compiles where it is new; the signature of the last call
has a `__call__` of its own (`fastcall.py`), so each object has a class of its own to hang it on.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import threading
import types
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, Self, overload

import numpy as np

from gradc.config import config
from gradc.errors import GradcError, UnsupportedError
from gradc.ir.foreign import c_function, is_low_level_callable
from gradc.ir.nodes import Func, Value
from gradc.ir.program import Expansion, Program, Typed
from gradc.ir.tree import LEAF_TYPES, Branch, Tree, flatten, unflatten
from gradc.ir.types import WEAK_FLOAT, WEAK_INT, Array
from gradc.runtime import fastcall, pipeline
from gradc.runtime.built import BuiltFunction
from gradc.runtime.cache import cache, compiler_of
from gradc.runtime.collection import collector_rests
from gradc.runtime.failures import explained, no_such_signature, without_way
from gradc.runtime.forwarding import forwarding, identity_of, is_forwarded
from gradc.runtime.leaves import (
    DTYPES,
    LeafKey,
    alias_pattern,
    check_differentiable,
    kernel_type,
    leaf_key,
    plain_leaf,
    writable_alias,
)
from gradc.runtime.lowered import Lowered, SourceText
from gradc.runtime.nonfinite import stop_where_not_finite
from gradc.runtime.ownership import Slot, accept_ints, take_arguments
from gradc.runtime.pickling import BySource, by_reference, portable
from gradc.runtime.pipeline import Request, Staged
from gradc.runtime.plan import (
    Plan,
    Transform,
    argnums_text,
    check_argnums,
    leaf_paths,
    make_plan,
    rebuild_values,
)
from gradc.runtime.typevars import P, Q, R_co, X

_INT64 = range(-(2**63), 2**63)
_NUMPY_CLASSES = {np.bool_, *(getattr(np, name) for name in DTYPES if name != "bool")}
_EXACT = frozenset({bool, float, complex, np.ndarray, *_NUMPY_CLASSES})
_JIT = Transform("jit")
_KEPT_PROGRAMS = 64  # per signature: one for each value of its static leaves, and for each rebinding


@dataclass(eq=False, slots=True)
class Entry:
    """One program of one signature, with the kernels of it."""

    program: Program
    static: dict[int, Any]
    argument_count: int
    keys: tuple[LeafKey, ...]
    names: tuple[str, ...]
    written: tuple[int, ...]
    variants: dict[tuple[tuple[int, int], ...], Kernel] = field(default_factory=dict)

    def captured(self, leaves: Sequence[Any]) -> list[Any] | None:
        """The leaves of what the function captures at this moment; None where the entry is not for this call."""
        for k, value in self.static.items():
            if k < self.argument_count and not same_static(leaves[k], value):
                return None
        if not all(guard.holds() for guard in self.program.guards):
            return None
        found: list[Any] = []
        for capture in self.program.captures:
            try:
                inner, tree = flatten(capture.fetch())
            except (AttributeError, KeyError, IndexError, NameError, ValueError):
                return None
            if tree != capture.tree:
                return None
            found += inner
        for k, leaf in enumerate(found, self.argument_count):
            if leaf_key(leaf) != self.keys[k] or (k in self.static and not same_static(leaf, self.static[k])):
                return None
        return found


@dataclass(eq=False, slots=True)
class Kernel:
    """A compiled kernel with the way from its results to what a call returns."""

    staged: Staged
    call: Callable[..., Any]
    finish: Callable[[Any], Any] | None
    text: str
    fast: Callable[..., Any] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """A call that was not made, to look at: the program for it, and the leaves it would be run with.

    leaves: those of the arguments (`count` of them), then those of what the function captures. wrt: positions of
    the differentiated ones; empty for `jit`.
    """

    program: Program
    names: tuple[str, ...]
    leaves: list[Any]
    count: int
    wrt: tuple[int, ...]
    has_aux: bool
    aliases: tuple[tuple[int, int], ...]


# `diagram` and `explain`: entered by gradc.inspect, which lies above this layer; `cfunc`: by `runtime/cfunc.py`.
INSPECTORS: dict[str, Callable[..., Any]] = {}


def same_static(x: Any, y: Any) -> bool:
    """Whether two values are the same for a program that was built on one of them."""
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        return type(x) is type(y) and x.dtype == y.dtype and np.array_equal(x, y)
    return type(x) is type(y) and bool(x == y)


_objects: weakref.WeakValueDictionary[int, Compiled] = weakref.WeakValueDictionary()  # by id: equal ones are not one


class Compiled(Generic[P, R_co]):
    """A function that is compiled for the arguments it is called with. `gradc.jit`, `gradc.grad`, … make these."""

    _base: type[Compiled]

    def __init__(self, function: Callable[..., Any], transform: Transform) -> None:
        self._function = function
        self._transform = transform
        self._signature = signature_of(function)
        self._families: dict[Any, list[Entry]] = {}
        self._plans: dict[tuple[Tree, ...], Plan] = {}
        self._locks: dict[Any, threading.Lock] = {}
        self._last: tuple[Kernel, frozenset[int]] | None = None
        self._by_source: dict[int, BySource] = {}
        functools.update_wrapper(self, function, updated=())
        self._qualname = getattr(function, "__qualname__", type(function).__name__)
        self.__signature__ = self._signature  # for who asks without looking at what is wrapped
        self._bind = fastcall.binder(self._signature, self._qualname)
        type(self).__call__ = fastcall.general_call(self._signature, Compiled._call, self._qualname)  # type: ignore[assignment]
        check_argnums(transform.argnums, self._signature, self._qualname)
        _objects[id(self)] = self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the compiled function. Every object has a class of its own, which overrides this."""
        return self._call(self._bind(*args, **kwargs))  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        options = f", argnums={argnums_text(self._transform)}" if self._transform.kind not in ("jit", "vjp") else ""
        options += ", has_aux=True" if self._transform.has_aux else ""
        kind = self._label or self._transform.kind
        return f"<gradc.{kind}({self._qualname}{options})>"

    @property
    def _label(self) -> str:
        """What the object calls itself where that is not the kind of its transform."""
        built = isinstance(self._function, BuiltFunction) and self._transform.kind == "jit"
        return self._function.kind if built else ""  # type: ignore[attr-defined]

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(
        self: Compiled[Concatenate[Any, Q], X], instance: object, owner: type | None = None
    ) -> Callable[Q, X]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> Any:
        found = by_reference(self)
        if found is not None:
            return found
        return compiled, (portable(self._function, self._by_source), self._transform, self._base)

    def __eq__(self, other: object) -> bool:
        """Objects are equal that compute the same of one function: of the same object, with the same options."""
        if not isinstance(other, Compiled):
            return NotImplemented
        return bool(self._meaning == other._meaning)

    def __hash__(self) -> int:
        return hash(self._meaning)

    @property
    def _meaning(self) -> Any:
        function: Any = self._function
        if not isinstance(function, Compiled):
            function = function.meaning if isinstance(function, BuiltFunction) else identity_of(function)
        return self._base, self._transform, function

    def __copy__(self) -> Compiled:
        """The object itself, as copies of functions are."""
        return self

    def __deepcopy__(self, memo: Any) -> Compiled:
        """The object itself, as copies of functions are."""
        return self

    # ------------------------------------------------------------------------------------ looking inside

    @property
    def source(self) -> SourceText:
        """The readable staged program of the signature called last: a module text for plain NumPy.

        `.source.save(path)` writes it to a file that runs without gradc, `.source.save(path, numba=True)` the kernel.
        """
        if self._last is None:
            return SourceText.of(
                f"# {self!r} has not been called yet.\n"
                "# Call it, or use .lower(*args).source with arguments like those it will be called with.\n",
                None,
            )
        return Lowered(repr(self), self._signature, self._last[0].staged).source

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The program for these arguments, without compiling or running it.

        Args:
            *args: arguments like those of a call.
            **kwargs: arguments by name.

        Returns:
            A `Lowered`, with `.source`, `.kernel_source`, `.ir` and `.stats`.

        Raises:
            GradcError: where the function cannot be compiled, as a call would.

        Examples:
            >>> import gradc
            >>> lowered = gradc.grad(lambda x: x * x).lower(3.0)
            >>> "dx = 2 * x" in lowered.source
            True
        """
        values = self._bind(*args, **kwargs)
        try:
            leaves, plan, trees, keys, _ = self._prepare(values)
            entry, captured = self._entry(leaves, plan, trees, keys)
            aliases = alias_pattern([*leaves, *captured], entry.written, entry.names) if entry.written else ()
            known = entry.variants.get(aliases)
            staged = known.staged if known is not None else self._stage(entry.program, plan, aliases, leaves)
        except GradcError as error:
            raise without_way(error) from None
        return Lowered(repr(self), self._signature, staged, [*leaves, *captured])

    @property
    def transform(self) -> Transform:
        """What is computed of the function."""
        return self._transform

    @property
    def inspected_names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(self._signature.parameters)

    def inspected_call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Call:
        """The program for a call with these arguments, with the leaves of it; nothing is run."""
        leaves, plan, trees, keys, _ = self._prepare(self._bind(*args, **kwargs))
        entry, captured = self._entry(leaves, plan, trees, keys)
        full = [*leaves, *captured]
        aliases = alias_pattern(full, entry.written, entry.names) if entry.written else ()
        return Call(entry.program, entry.names, full, len(leaves), plan.wrt, self._transform.has_aux, aliases)

    def diagram(self, *args: Any, **kwargs: Any) -> Any:
        """The circuit of the function, every node with its value and its cotangent.

        Args:
            *args: arguments like those of a call.
            **kwargs: arguments by name. `fold`, where the function has no parameter of that name: from how many
                operations on one box stands for each source line (60).

        Returns:
            A `gradc.inspect.Diagram`: `print` gives text, a notebook shows the picture, `.save(path)` writes it.

        Raises:
            GradcError: where the function cannot be compiled, as a call would.

        Examples:
            >>> import gradc
            >>> len(gradc.grad(lambda x, y: x * y).diagram(2.0, 3.0).vertices)
            3
        """
        return INSPECTORS["diagram"](self, args, kwargs)

    def explain(self, *args: Any, **kwargs: Any) -> Any:
        """Values and cotangents stage by stage, with what is wrong about them.

        Args:
            *args: arguments like those of a call.
            **kwargs: arguments by name, and thresholds by theirs: see `gradc.inspect.Thresholds`.

        Returns:
            A `gradc.inspect.Explanation`: `print` gives the table, `.rows` holds it.

        Raises:
            GradcError: where the function cannot be compiled, as a call would.

        Examples:
            >>> import numpy as np, gradc
            >>> explanation = gradc.grad(lambda x: np.sum(np.tanh(x))).explain(np.full(4, 30.0))
            >>> any("saturated" in row.flags for row in explanation.rows)
            True
        """
        return INSPECTORS["explain"](self, args, kwargs)

    def cfunc(self, signature: str) -> Any:
        """This function as a C function, for SciPy and for C.

        Integers and the pointer after them are an array; with "double (int n, double *x)" a function of several numbers
        gets those of `x`. `void *` points to doubles for the last arguments. Pointers that are left take the results
        which are not returned, in order. What the function captures is frozen.

        Args:
            signature: in C, such as "double (double)".

        Returns:
            A `CFunc` with `.address`, `.ctypes`, `.errors` and `.low_level_callable(user_data=None)`. An exception
            gives NaN (of arrays the first element; 0 for integers) and is counted in `.errors`.

        Raises:
            UnsupportedError: for a signature that does not fit the function.

        Examples:
            >>> import gradc
            >>> c = gradc.value_and_grad(lambda x: x @ x).cfunc("double (intptr_t n, const double *x, double *grad)")
            >>> c.errors
            0
        """
        return INSPECTORS["cfunc"](self, signature)

    # ---------------------------------------------------------------------------------------- general way

    def _call(self, values: tuple[Any, ...], seeds: Sequence[Any] = ()) -> Any:
        return self._run(values, seeds)[1]

    def _run(self, values: tuple[Any, ...], seeds: Sequence[Any] = ()) -> tuple[Kernel, Any]:
        """The kernel for these values of the parameters, and what the call returns. seeds: cotangents or tangents."""
        try:
            leaves, plan, trees, keys, converted = self._prepare(values)
            entry, captured = self._entry(leaves, plan, trees, keys)
            full = [*leaves, *captured]
            aliases = alias_pattern(full, entry.written, entry.names) if entry.written else ()
            kernel = entry.variants.get(aliases) or self._kernel(entry, plan, aliases, full)
        except GradcError as error:
            raise without_way(error) from None
        if self._last is None or self._last[0] is not kernel or self._last[1] != converted:
            self._last = kernel, converted
            if not seeds and not aliases and not config().nan:
                self._install(kernel, entry, trees, keys, converted)
        mutates = self._transform.kind == "jit"
        for k, x in enumerate(full):
            if x.__class__ is np.ndarray:
                full[k] = self._lend(x, mutates and k in entry.written)
        if config().nan:
            func = kernel.staged.func
            stop_where_not_finite(func, [*full, *as_laid_out(seeds, func.params[len(full) :])])
        try:
            result = kernel.call(*full, *as_laid_out(seeds, kernel.staged.func.params[len(full) :]))
        except Exception as error:
            raise explained(error, kernel.staged.func, full) from None
        return kernel, kernel.finish(result) if kernel.finish is not None else result

    def _failed(self, values: tuple[Any, ...], error: Exception) -> Any:
        """What the straight call does with an exception of its kernel."""
        if no_such_signature(error):
            return self._call(values)
        assert self._last is not None
        raise explained(error, self._last[0].staged.func, flatten(values)[0]) from None

    def _lend(self, x: np.ndarray[Any, Any], written: bool) -> np.ndarray[Any, Any]:
        """`x` as kernels take it: aligned, not marked read-only."""
        flags = x.flags
        if flags.writeable and flags.aligned:
            return x
        if written:
            if not flags.writeable:
                raise ValueError("assignment destination is read-only")
            raise UnsupportedError(
                "an argument that is written to is not aligned in memory", hint="pass a copy: x.copy()."
            )
        return writable_alias(x) if flags.aligned else x.copy(order="K")

    def _prepare(
        self, values: tuple[Any, ...]
    ) -> tuple[list[Any], Plan, tuple[Tree, ...], tuple[LeafKey, ...], frozenset[int]]:
        """Leaves, plan, structure and keys of the arguments, and which leaves a Python int became a float at."""
        leaves, tree = flatten(values)
        assert isinstance(tree, Branch)
        trees = tree.items
        plan = self._plans.get(trees)
        if plan is None:
            plan = self._plans[trees] = make_plan(trees, self._signature, self._transform, self._qualname)
        for k, x in enumerate(leaves):
            cls = x.__class__
            if cls not in _EXACT and not (cls is int and x in _INT64):
                leaves[k] = plain_leaf(x, plan.names[k])
        converted: frozenset[int] = frozenset()
        if any(leaves[k].__class__ is int for k in plan.wrt):
            converted = frozenset(k for k in plan.wrt if leaves[k].__class__ is int)
            for k in converted:
                leaves[k] = float(leaves[k])
        return leaves, plan, trees, tuple([leaf_key(x) for x in leaves]), converted

    def _entry(
        self, leaves: list[Any], plan: Plan, trees: tuple[Tree, ...], keys: tuple[LeafKey, ...]
    ) -> tuple[Entry, list[Any]]:
        """The entry for a call, made where there is none; and what the function captures."""
        family = (trees, keys)
        found = self._find(family, leaves)
        if found is not None:
            return found
        for k, x in enumerate(leaves):
            plain_leaf(x, plan.names[k])
        for k in plan.wrt:
            check_differentiable(leaves[k], plan.names[k])
        with self._lock(family):
            found = self._find(family, leaves)
            if found is not None:
                return found
            values = rebuild_values(trees, leaves)
            program = program_of(self._function, values)
            self._check_rebinds(program)
            captured: list[Any] = []
            names = list(plan.names)
            for capture in program.captures:
                inner, tree = flatten(capture.fetch())
                captured += inner
                names += leaf_paths(tree, capture.name)
            entry = Entry(
                program,
                program.static,
                len(leaves),
                (*keys, *(leaf_key(x) for x in captured)),
                tuple(names),
                pipeline.written_leaves(program),
            )
            entries = self._families.setdefault(family, [])
            entries.insert(0, entry)
            del entries[_KEPT_PROGRAMS:]
            return entry, captured

    def _check_rebinds(self, program: Program) -> None:
        if self._transform.kind == "jit" and program.rebinds:
            raise UnsupportedError(
                "an item of an argument is replaced",
                program.rebinds[0],
                why="the compiled function gets the items, not the container, so the caller would not see it.",
                hint="return the new item, or write into the array that is there: x[...] = value.",
            )

    def _find(self, family: Any, leaves: Sequence[Any]) -> tuple[Entry, list[Any]] | None:
        for entry in tuple(self._families.get(family, ())):
            captured = entry.captured(leaves)
            if captured is not None:
                return entry, captured
        return None

    def _lock(self, key: Any) -> threading.Lock:
        return self._locks.setdefault(key, threading.Lock())

    def _stage(
        self,
        program: Program,
        plan: Plan,
        aliases: tuple[tuple[int, int], ...],
        leaves: Sequence[Any] = (),
        keep_calls: bool = False,
    ) -> Staged:
        transform = self._transform
        request = Request(
            transform.kind,
            plan.wrt,
            plan.gradient,
            transform.has_aux,
            aliases,
            pipeline.known_sizes(program, leaves),
            self._label,
        )
        return pipeline.transform(program, request, keep_calls=keep_calls)

    def _kernel(
        self, entry: Entry, plan: Plan, aliases: tuple[tuple[int, int], ...], leaves: Sequence[Any]
    ) -> Kernel:
        with self._lock((id(entry), aliases)):
            kernel = entry.variants.get(aliases)
            if kernel is None:
                kernel = entry.variants[aliases] = build_kernel(self._stage(entry.program, plan, aliases, leaves))
            return kernel

    def _install(
        self,
        kernel: Kernel,
        entry: Entry,
        trees: tuple[Tree, ...],
        keys: tuple[LeafKey, ...],
        converted: frozenset[int],
    ) -> None:
        """Make the straight call for this signature the object's `__call__`."""
        given: list[LeafKey] = list(entry.keys)
        for k in converted:
            given[k] = int
        fast = kernel.fast if not converted else None
        if fast is None:
            fast = fastcall.fast_call(
                self._signature,
                self._qualname,
                trees,
                given,
                converted,
                entry.program.captures,
                entry.program.guards,
                entry.static,
                entry.written,
                kernel.call,
                kernel.finish,
                Compiled._call,
                Compiled._failed,
            )
        if fast is not None:
            if not converted:
                kernel.fast = fast
            type(self).__call__ = fast  # type: ignore[assignment]

    # ------------------------------------------------------------------------- inside compiled functions

    @property
    def __gradc_function__(self) -> Callable[..., Any]:
        """The plain function that a call of this object means inside another compiled function."""
        if self._transform.kind != "jit" or isinstance(self._function, BuiltFunction):
            raise AttributeError("only jit means its function")
        return self._function

    def __gradc_expand__(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Expansion:
        """What a call of this object becomes inside another compiled function."""
        staged = self._staged_call(args, kwargs)
        program = staged.program
        return Expansion(staged.func, staged.result, program.captures, program.guards, program.outer)

    def _staged_call(self, args: Sequence[Any], kwargs: dict[str, Any], keep_calls: bool = True) -> Staged:
        """The program of a call with these arguments, whose leaves may be types only. keep_calls: see `transform`.

        Its parameters are the leaves of `args` and `kwargs` in order, then those of the captures, then outer values.
        """
        leaves, tree = flatten((tuple(args), dict(kwargs)), (*LEAF_TYPES, Typed))
        slot_args, slot_kwargs = unflatten(tree, [Slot(k) for k in range(len(leaves))])
        slots, bound = flatten(self._bind(*slot_args, **slot_kwargs), (*LEAF_TYPES, Slot))
        values = unflatten(bound, [leaves[s.k] if isinstance(s, Slot) else s for s in slots])
        staged, ints = self._expanded(values, keep_calls)
        return dataclasses.replace(staged, func=take_arguments(accept_ints(staged.func, ints), slots))

    def _expanded(self, values: tuple[Any, ...], keep_calls: bool = True) -> tuple[Staged, list[int]]:
        """The program for leaves of which some are types only; and which run-time ints it takes as floats."""
        leaves, tree = flatten(values, (*LEAF_TYPES, Typed))
        assert isinstance(tree, Branch)
        plan = make_plan(tree.items, self._signature, self._transform, self._qualname)
        ints: list[int] = []
        for k in plan.wrt:
            if leaves[k].__class__ is int:
                leaves[k] = float(leaves[k])
            elif isinstance(leaves[k], Typed) and leaves[k].ty == WEAK_INT:
                leaves[k] = Typed(WEAK_FLOAT)
                ints.append(k)
            if not isinstance(leaves[k], Typed):
                check_differentiable(leaves[k], plan.names[k])
        program = program_of(self._function, rebuild_values(tree.items, leaves))
        return self._stage(program, plan, (), keep_calls=keep_calls), ints


def as_laid_out(seeds: Sequence[Any], params: Sequence[Value]) -> list[Any]:
    """Seeds with the layout that the kernel takes."""
    return [
        np.asarray(x, order="F" if p.ty.layout == "F" else "C") if isinstance(p.ty, Array) else x
        for x, p in zip(seeds, params, strict=True)
    ]


def compiled(function: Callable[..., Any], transform: Transform, base: type[Compiled] = Compiled) -> Compiled:
    """The object that computes `transform` of `function`, with a class of its own."""
    if is_low_level_callable(function):
        function = c_function(function)
    if isinstance(function, Compiled) or callable(function):
        if is_forwarded(function):
            function = forwarding(function)
        cls = type(f"Compiled_{transform.kind}", (base,), {"__module__": __name__, "_base": base})
        return cls(function, transform)  # type: ignore[no-any-return]
    raise TypeError(f"gradc.{transform.kind} takes a function, not {function!r}")


def called_as_jit(function: Any) -> Compiled:
    """The compiled object that a call of a function, which can hold attributes, means in compiled code."""
    made: Compiled | None = function.__dict__.get("_called_as_jit")
    return made if made is not None else function.__dict__.setdefault("_called_as_jit", compiled(function, _JIT))


def program_of(function: Callable[..., Any], values: Sequence[Any]) -> Program:
    """What the front end makes of a call of `function`; derivatives of derivatives start from the inner one's IR."""
    if isinstance(function, Compiled) and function._transform.kind != "jit":
        staged, _ = function._expanded(tuple(values))
        func = Func(staged.name, staged.func.body, staged.func.loc, staged.func.notes)  # f_grad, of which f_grad_grad
        return dataclasses.replace(staged.program, func=func, result=staged.result)
    plain = plain_function(function)
    if hasattr(plain, "__gradc_program__"):  # a function inside one that is being compiled
        return plain.__gradc_program__(values)  # type: ignore[no-any-return]
    return pipeline.parse(plain, values)


def plain_function(function: Any) -> Any:
    """The Python function that a callable stands for: a jit object's, an njit dispatcher's, or itself."""
    while True:
        if isinstance(function, Compiled):
            function = function._function
        elif hasattr(function, "py_func"):
            function = function.py_func
        else:
            return function


@collector_rests()
def build_kernel(staged: Staged) -> Kernel:
    """Emit and compile."""
    types_of = [r.ty for r in staged.func.results]
    pack = fastcall.pack_of(staged.result, types_of)
    text, name = pipeline.kernel_text(staged, pack)
    signature = tuple(kernel_type(p.ty) for p in staged.func.params)
    call = staged.stages.timed("compile", lambda: load(staged, text, name, signature))
    finish = fastcall.finisher(staged.result, types_of) if pack is None else None
    return Kernel(staged, call, finish, text)


def load(staged: Staged, text: str, name: str, signature: tuple[Any, ...]) -> Callable[..., Any]:
    """The compiled function. Raises: InternalError where Numba refuses the text, never Numba's own traceback."""
    try:
        kernel = cache.load(text, name, signature)
        staged.stages.compiler = compiler_of(kernel)
        return kernel
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise pipeline.internal_error(
            f"the kernel of {staged.name} was not compiled: {first.strip()}", staged.func, "kernel"
        ) from None


def signature_of(function: Any) -> inspect.Signature:
    """The parameters of a function. Raises: UnsupportedError where they cannot be had."""
    try:
        return inspect.signature(plain_function(function), follow_wrapped=False)
    except (TypeError, ValueError):
        raise UnsupportedError(
            f"{function!r} has no signature that Python could tell",
            why="gradc compiles Python functions.",
            hint="wrap it: lambda x: f(x).",
        ) from None


def _renew_locks() -> None:
    """In a fork: locks that another thread of the parent held would never open."""
    cache.renew_locks()
    for made in list(_objects.values()):
        made._locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
