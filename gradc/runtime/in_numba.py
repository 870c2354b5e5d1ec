"""Calls from nopython code: compiled objects are constants of a type that Numba can call.

    gradient = gradc.grad(loss)                 def call(p0, p1):
                                                    r = kernel(lent(p0), p1[0], p1[1], captured0)
    @njit                                           return (r[0], r[1])
    def step(w, data):
        return w - 0.1 * gradient(w, data)      what `gradient(w, data)` calls in `step`; data is a pair of arrays

The kernel is built for the Numba types at the call, by the type inference of the caller. `call` is a function of its
own, so a second call with the same types adds a call instruction to the caller and nothing else.

Numba has one type for Python's numbers and for NumPy's of 64 bits: they count as Python's (weak). Sizes are not
known then: an axis of size 1 is one like any other, and where it would have to broadcast the kernel raises ShapeError.
What the function captures is frozen when the caller is compiled, as Numba freezes all globals of the caller.
Numba does not keep callers on disk, with `cache=True` either: it could not tell when their derivatives are outdated.
"""

from __future__ import annotations

import inspect
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import impl_ret_borrowed, lower_constant
from numba.core.typeinfer import CallConstraint
from numba.extending import NativeValue, intrinsic, models, register_model, typeof_impl, unbox
from numba.np import arrayobj

import gradc.errors
from gradc.codegen.native.bridge import borrow_arguments
from gradc.errors import DTypeError, GradcError, UnsupportedError
from gradc.frontends.bindings import NeedStatic
from gradc.ir.custom import RuledFunction
from gradc.ir.program import Guard, Typed
from gradc.ir.tree import LEAF_TYPES, Branch, Leaf, Static, Tree, flatten, is_named_tuple
from gradc.ir.types import WEAK_BOOL, WEAK_COMPLEX, WEAK_FLOAT, WEAK_INT, Array, Layout, Scalar, size_variable
from gradc.runtime import fastcall, pipeline
from gradc.runtime.dispatch import Compiled, called_as_jit, load, same_static
from gradc.runtime.leaves import DTYPES, kernel_type
from gradc.runtime.pipeline import Staged
from gradc.runtime.pullback import Pullback
from gradc.runtime.sparse import SparseDerivative

_POINTER = ir.IntType(8).as_pointer()
_PACKAGE = os.path.dirname(gradc.errors.__file__)
_UNSETTLED: weakref.WeakSet[CallConstraint] = weakref.WeakSet()
_WEAK = {"bool": WEAK_BOOL, "int64": WEAK_INT, "float64": WEAK_FLOAT, "complex128": WEAK_COMPLEX}


class CompiledType(types.Callable, types.Opaque):  # type: ignore[misc]
    """The Numba type of one compiled object."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.calls = calls_of(compiled)
        super().__init__(f"{compiled!r} {id(compiled)}")

    @property
    def key(self) -> Any:
        return id(self.compiled)

    def get_call_type(self, context: Any, args: Sequence[Any], kws: dict[str, Any]) -> Any:
        """The signature of a call with arguments of these types, compiled where it is new."""
        given = dict(kws)
        try:
            call = self.calls.find(tuple(args), tuple(given.items()))
        except (GradcError, TypeError) as error:
            inferred = next(_inferred_calls(), None)
            if inferred is not None and inferred not in _UNSETTLED and types.none in (*args, *given.values()):
                _UNSETTLED.add(inferred)  # a variable that is None so far; Numba asks again when it knows more
                raise TypingError(str(error)) from error
            note_place(error)
            raise
        ordered = tuple(types.unliteral(ty) for ty in (*args, *given.values()))
        signature = types.Dispatcher(call.function).get_call_type(context, ordered, {})
        return signature.replace(pysig=call.signature)

    def get_call_signatures(self) -> tuple[tuple[Any, ...], bool]:
        return (), False

    def get_impl_key(self, signature: Any) -> Any:
        return types.Dispatcher(signature.pysig.function).get_impl_key(signature)


def _inferred_calls() -> Iterator[Any]:
    """Numba's constraints for the calls whose types it is inferring, from the inside out; its interface for types does
    not tell.
    """
    frame = inspect.currentframe()
    while frame is not None:
        constraint = frame.f_locals.get("self")
        if isinstance(constraint, CallConstraint):
            yield constraint
        frame = frame.f_back


def note_place(error: Exception) -> None:
    """Add to an error where the user's nopython code calls what could not be compiled."""
    for constraint in _inferred_calls():
        if not constraint.loc.filename.startswith(_PACKAGE) and not hasattr(error, "__notes__"):
            error.add_note(f"where nopython code calls it: {constraint.loc.filename}:{constraint.loc.line}")


class CallSignature(inspect.Signature):
    """The parameters of a call as Numba binds arguments to them, with the function that it calls."""

    __slots__ = ("function",)

    def __init__(self, parameters: Sequence[inspect.Parameter], function: Any) -> None:
        super().__init__(parameters)
        self.function = function


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """What a call with certain types calls. frozen: leaves of captures as they were; guards: what it was built on."""

    function: Any
    signature: CallSignature
    staged: Staged
    frozen: tuple[Any, ...]

    def holds(self) -> bool:
        """Whether a function that is compiled now may use it."""
        guards: Sequence[Guard] = self.staged.program.guards
        if not all(guard.holds() for guard in guards):
            return False
        now = _captured(self.staged)
        return len(now) == len(self.frozen) and all(map(same_static, now, self.frozen))


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What a call with an argument that may be None calls, which then calls one of these."""

    function: Any
    signature: CallSignature
    calls: tuple[Call | Choice, ...]

    def holds(self) -> bool:
        return all(call.holds() for call in self.calls)


class Calls:
    """The calls of one compiled object, by the types of their arguments."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._made: dict[Any, list[Any]] = {}  # all of them: Numba refers to functions weakly
        self._lock = threading.RLock()

    def find(self, args: tuple[Any, ...], kws: tuple[tuple[str, Any], ...]) -> Any:
        """The call (or choice) for arguments of these types. Raises: GradcError for what cannot be compiled."""
        with self._lock:
            made = self._made.setdefault((args, kws), [])
            if not made or not made[-1].holds():
                optional = any(isinstance(ty, types.Optional) for ty in (*args, *(ty for _, ty in kws)))
                if optional:
                    made.append(_make_choice(self._compiled, self, args, kws))
                else:
                    made.append(_make_call(self._compiled, args, dict(kws)))
            return made[-1]


def calls_of(compiled: Compiled) -> Calls:
    calls: Calls | None = compiled.__dict__.get("_calls_in_numba")
    return calls if calls is not None else compiled.__dict__.setdefault("_calls_in_numba", Calls(compiled))


# ------------------------------------------------------------------------------------------------ arguments


class _Arguments:
    """Examples for the arguments of a call, and how its leaves are read from its parameters."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.leaves: list[Any] = []  # types of leaves
        self.paths: list[str] = []
        self.names: list[str] = []
        self.labels: set[str] = set()  # of arrays, by which their sizes are named
        self.literals: dict[int, Any] = {}  # by the id of the leaf that stands for it

    def example(self, ty: Any, path: str, name: str) -> Any:
        """A value of structure and types like `ty`."""
        if isinstance(ty, types.StringLiteral):
            return ty.literal_value
        if isinstance(ty, types.NoneType):
            return None
        if isinstance(ty, types.BaseTuple):
            items = [self.example(item, f"{path}[{k}]", f"{name}[{k}]") for k, item in enumerate(ty.types)]
            cls = getattr(ty, "instance_class", None)
            return cls._make(items) if cls is not None else tuple(items)
        if isinstance(ty, types.Dispatcher):
            return ty.dispatcher
        if isinstance(ty, CompiledType):
            return ty.compiled
        plain = types.unliteral(ty)
        leaf = Typed(self._leaf(plain, name))
        if plain is not ty and hasattr(ty, "literal_value"):
            self.literals[id(leaf)] = ty.literal_value
        self.leaves.append(plain)
        self.paths.append(path)
        self.names.append(name)
        return leaf

    def _leaf(self, ty: Any, name: str) -> Scalar | Array:
        dtype = _dtype_name(ty.dtype if isinstance(ty, types.Array) else ty)
        if isinstance(ty, types.Array) and dtype:
            if not ty.aligned:
                raise self.refused(name, "an array that is not aligned in memory", "pass a copy: x.copy().")
            layout: Layout = ty.layout
            label = re.sub(r"\W+", "_", name).strip("_")
            while label in self.labels:
                label += "_"
            self.labels.add(label)
            return Array(dtype, tuple(size_variable(f"{label}_{axis}") for axis in range(ty.ndim)), layout)
        if isinstance(ty, types.Array):
            raise DTypeError(
                f"argument `{name}` of {self.compiled._qualname} is an array of {ty.dtype}",
                why="arrays of numbers and booleans of up to 64 bits a part can be compiled for.",
            )
        if dtype:
            return _WEAK.get(dtype) or Scalar(dtype)
        hint = "pass arrays and numbers one by one, or a tuple of them."
        if isinstance(ty, types.List | types.ListType | types.Set | types.RangeType):
            hint = "pass an array, such as np.array(...), or a tuple."
        if isinstance(ty, types.UnicodeType):
            hint = "write the string as a literal."
        raise self.refused(name, f"of Numba type {ty}", hint)

    def refused(self, name: str, what: str, hint: str) -> UnsupportedError:
        """The error for an argument."""
        return UnsupportedError(
            f"argument `{name}` of {self.compiled._qualname}, called in nopython code, is {what}",
            why="nopython code passes numbers, arrays, tuples and named tuples of them, functions, None and literals.",
            hint=hint,
        )

    def with_literals(self, example: Any, asked: Sequence[Any]) -> Any:
        """The examples with the numbers that are asked for in the place of their types."""
        known = {id(leaf): self.literals[id(leaf)] for leaf in asked if id(leaf) in self.literals}
        if len(known) < len(asked):
            leaves, _ = flatten(example, (*LEAF_TYPES, Typed))
            missing = [self.names[k] for k, leaf in enumerate(leaves) if any(leaf is a for a in asked)]
            raise UnsupportedError(
                f"the value of argument {', '.join(f'`{m}`' for m in missing)} of {self.compiled._qualname} must be "
                "known when nopython code that calls it is compiled",
                why="it is a count, a shape or an option that decides what is compiled.",
                hint="write the number at the call, or numba.literally() it in the caller.",
            )
        return _replaced(example, known)


def _replaced(example: Any, known: dict[int, Any]) -> Any:
    if isinstance(example, dict):
        return {key: _replaced(item, known) for key, item in example.items()}
    if isinstance(example, tuple):
        items = [_replaced(item, known) for item in example]
        return type(example)._make(items) if is_named_tuple(type(example)) else tuple(items)  # type: ignore[attr-defined]
    return known.get(id(example), example)


def _dtype_name(ty: Any) -> str:
    """The NumPy name of a Numba scalar type that kernels know; empty for others."""
    name = "bool" if isinstance(ty, types.Boolean) else str(ty)
    return name if isinstance(ty, types.Number | types.Boolean) and name in DTYPES else ""


# ------------------------------------------------------------------------------------------------- building


def _make_call(compiled: Compiled, args: tuple[Any, ...], kws: dict[str, Any]) -> Call:
    arguments = _Arguments(compiled)
    parameters = [f"_gradc_{k}" for k in range(len(args))]
    written = list(compiled._signature.parameters)
    labels = [written[k] if k < len(written) else f"argument {k}" for k in range(len(args))]
    given = tuple(map(arguments.example, args, parameters, labels))
    named = {name: arguments.example(ty, name, name) for name, ty in kws.items()}
    staged = _staged(compiled, arguments, (given, named))
    compiled._check_rebinds(staged.program)
    frozen = tuple(x.copy(order="K") if isinstance(x, np.ndarray) else x for x in _captured(staged))
    tests = _write_checks(compiled, arguments, staged, len(frozen))
    types_of = [r.ty for r in staged.func.results]
    pack = fastcall.pack_of(staged.result, types_of)
    text, name = pipeline.kernel_text(staged, pack)
    kernel = load(staged, text, name, tuple(kernel_type(p.ty) for p in staged.func.params))
    space: dict[str, Any] = {f.__name__: f for f in (lean, lent, overlap, not_on_disk, UnsupportedError)}
    space["kernel"] = kernel
    operands = [
        f"lent({path})" if isinstance(ty, types.Array) else path
        for ty, path in zip(arguments.leaves, arguments.paths, strict=True)
    ]
    for k, value in enumerate(frozen):
        space[f"frozen_{k}"] = value.item() if isinstance(value, np.generic) else value
        operands.append(f"lent(frozen_{k})" if isinstance(value, np.ndarray) else f"frozen_{k}")
    operands = [_converted(x, p.ty, space) for x, p in zip(operands, staged.func.params, strict=True)]
    result = "r" if pack is not None else _result_text(staged.result, compiled, space)
    label = pipeline._identifier(staged.name)
    lines = ["not_on_disk()", "lean()", *tests, f"r = kernel({', '.join(operands)})", f"return {result}"]
    head = f"def {label}({', '.join((*parameters, *kws))}):"
    exec("\n    ".join([head, *lines]), space)
    function = njit(nogil=True)(space[label])
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = CallSignature([inspect.Parameter(p, kind) for p in (*parameters, *kws)], function)
    return Call(function, signature, staged, frozen)


def _make_choice(compiled: Compiled, calls: Calls, args: tuple[Any, ...], kws: tuple[tuple[str, Any], ...]) -> Choice:
    """The function that asks whether the first argument that may be None is, and calls `compiled` either way."""
    parameters = [f"_gradc_{k}" for k in range(len(args))]
    given = {**dict(zip(parameters, args, strict=True)), **dict(kws)}
    chosen = next(name for name, ty in given.items() if isinstance(ty, types.Optional))

    def call_with(ty: Any) -> Call | Choice:
        now = {**given, chosen: ty}
        return calls.find(tuple(now[p] for p in parameters), tuple((name, now[name]) for name, _ in kws))  # type: ignore[no-any-return]

    def passed(name: str, stand_in: str) -> str:
        ty = given[name]
        literal = isinstance(ty, types.Literal) and isinstance(ty.literal_value, str | int | bool)
        return stand_in if name == chosen else repr(ty.literal_value) if literal else name

    def call_text(stand_in: str) -> str:
        named = (f"{name}={passed(name, stand_in)}" for name, _ in kws)
        return f"return compiled({', '.join([*(passed(p, stand_in) for p in parameters), *named])})"

    of_value = call_with(given[chosen].type)
    found: tuple[Call | Choice, ...] = (of_value,)
    try:
        found, if_none = (call_with(types.none), of_value), call_text("None")
    except (GradcError, TypeError):
        written = list(compiled._signature.parameters)
        place = int(chosen.removeprefix("_gradc_")) if chosen in parameters else -1
        label = written[place] if 0 <= place < len(written) else chosen
        if_none = f"raise TypeError('argument `{label}` of {compiled._qualname} is None')"
    lines = [f"def choose({', '.join(given)}):", f"    if {chosen} is None:", f"        {if_none}"]
    space: dict[str, Any] = {"compiled": compiled, "present": present}
    exec("\n".join([*lines, f"    {call_text(f'present({chosen})')}"]), space)
    function = njit(nogil=True)(space["choose"])
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return Choice(function, CallSignature([inspect.Parameter(p, kind) for p in given], function), found)


def _staged(compiled: Compiled, arguments: _Arguments, example: Any) -> Staged:
    """The program of the call, with the values of literals where it needs them."""
    while True:
        try:
            given, named = example
            return compiled._staged_call(given, named, keep_calls=False)
        except NeedStatic as request:
            asked = request.leaves
        if not asked:
            raise UnsupportedError(f"{compiled._qualname} needs more of its values while compiling than it is given")
        example = arguments.with_literals(example, asked)


def _captured(staged: Staged) -> list[Any]:
    leaves: list[Any] = []
    for capture in staged.program.captures:
        leaves += flatten(capture.fetch())[0]
    return leaves


def _converted(operand: str, ty: Any, space: dict[str, Any]) -> str:
    """The operand with the type of its parameter, where that is not what Numba takes a frozen number for."""
    if isinstance(ty, Scalar) and not ty.weak and operand.startswith("frozen_"):
        cls = f"cls_{ty.dtype}"
        space[cls] = np.bool_ if ty.dtype == "bool" else getattr(np, ty.dtype)
        return f"{cls}({operand})"
    return operand


def _write_checks(compiled: Compiled, arguments: _Arguments, staged: Staged, captured: int) -> list[str]:
    """Statements that raise where an array that the function writes into shares memory with another argument.

    Raises: UnsupportedError for writes that a caller in nopython code could not see or must not allow.
    """
    lines: list[str] = []
    arrays = [k for k, ty in enumerate(arguments.leaves) if isinstance(ty, types.Array)]
    mutates = compiled._transform.kind == "jit"
    for w in pipeline.written_leaves(staged.program):
        if w >= len(arguments.leaves):
            if mutates and w < len(arguments.leaves) + captured:
                raise UnsupportedError(
                    f"{compiled._qualname} writes into an array that it captures, and is called in nopython code",
                    staged.func.loc,
                    why="captured values are frozen there, as Numba freezes globals.",
                    hint="pass the array as an argument.",
                )
            continue
        if mutates and not arguments.leaves[w].mutable:
            raise arguments.refused(arguments.names[w], "a read-only array that is written to", "pass a copy of it.")
        for k in arrays:
            if k != w:
                lines += [
                    f"if overlap({arguments.paths[w]}, {arguments.paths[k]}):",
                    f'    raise UnsupportedError("arguments {arguments.names[w]} and {arguments.names[k]} overlap in '
                    f'memory, and {arguments.names[w]} is written to: pass a copy")',
                ]
    return lines


def _result_text(tree: Tree, compiled: Compiled, space: dict[str, Any]) -> str:
    """The expression of the results `r` with the structure of `tree`."""
    match tree:
        case Leaf(k):
            return f"r[{k}]"
        case Static(value) if isinstance(value, str | None):
            return repr(value)
        case Branch(cls, _, items) if cls is tuple or is_named_tuple(cls):
            inner = "".join(f"{_result_text(item, compiled, space)}, " for item in items)
            if cls is tuple:
                return f"({inner})"
            name = f"cls_{len(space)}"
            space[name] = cls
            return f"{name}({inner})"
    what = f"a {tree.cls.__name__}" if isinstance(tree, Branch) else f"the object {tree.value!r}"
    raise UnsupportedError(
        f"the result of {compiled!r}, called in nopython code, holds {what}",
        why="nopython code holds numbers, arrays, tuples and named tuples of them.",
        hint="name arguments by position in argnums, and return tuples or named tuples.",
    )


# -------------------------------------------------------------------------------------------- intrinsics


@intrinsic  # type: ignore[untyped-decorator]
def lent(typingctx: Any, array: Any) -> Any:
    """The same array without its read-only mark, for kernels that do not write into it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return impl_ret_borrowed(context, builder, signature.return_type, args[0])

    return array.copy(readonly=False)(array), codegen


@intrinsic  # type: ignore[untyped-decorator]
def present(typingctx: Any, x: Any) -> Any:
    """What an argument that may be None is, where it is not."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = context.cast(builder, args[0], signature.args[0], signature.return_type)
        if context.enable_nrt:
            context.nrt.incref(builder, signature.return_type, value)
        return value

    return x.type(x), codegen


@intrinsic  # type: ignore[untyped-decorator]
def overlap(typingctx: Any, x: Any, y: Any) -> Any:
    """Whether two arrays may share memory."""

    def extents(context: Any, builder: Any, ty: Any, value: Any) -> Any:
        array = arrayobj.make_array(ty)(context, builder, value)
        shape = cgutils.unpack_tuple(builder, array.shape)
        strides = cgutils.unpack_tuple(builder, array.strides)
        return arrayobj.get_array_memory_extents(context, builder, ty, array, shape, strides, array.data)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first, second = (extents(context, builder, ty, v) for ty, v in zip(signature.args, args, strict=True))
        return arrayobj.extents_may_overlap(context, builder, *first, *second)

    return types.boolean(x, y), codegen


@intrinsic  # type: ignore[untyped-decorator]
def lean(typingctx: Any) -> Any:
    """Makes calls of the functions that call this one cheap: of a few numbers, a gradient costs as much as a call."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("inlinehint")
        borrow_arguments(context.active_code_library)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def not_on_disk(typingctx: Any) -> Any:
    """Keeps Numba from caching the functions that call this one on disk.

    The code of a kernel belongs to a module that another process does not have, and Numba would not notice
    that a differentiated function, or what it calls, has changed.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Numba does not cache what uses an address of the running process. A load of it, or an instruction that keeps
        # it in use, would stand in the caller's loop and keep that from being unrolled and vectorised.
        context.add_dynamic_addr(builder, id(not_on_disk), info="not_on_disk")
        module = builder.module
        if "llvm.used" not in module.globals:
            kept = module.globals[f"numba.dynamic.globals.{id(not_on_disk):x}"].bitcast(_POINTER)
            used = ir.GlobalVariable(module, ir.ArrayType(_POINTER, 1), "llvm.used")
            used.linkage, used.section = "appending", "llvm.metadata"
            used.initializer = ir.Constant(used.value_type, [kept])
        return context.get_dummy_value()

    return types.none(), codegen


# ------------------------------------------------------------------------------------------- registration


def register() -> Callable[..., Any]:
    """Tell Numba about compiled objects; gives the function that types them."""
    register_model(CompiledType)(models.OpaqueModel)

    @typeof_impl.register(Compiled)  # type: ignore[untyped-decorator]
    def typeof_compiled(value: Compiled, context: Any) -> CompiledType:
        return CompiledType(value)

    @typeof_impl.register(RuledFunction)  # type: ignore[untyped-decorator]
    def typeof_ruled(value: RuledFunction, context: Any) -> CompiledType:
        """A function with a derivative rule is called like the function itself, compiled."""
        return CompiledType(called_as_jit(value))

    @typeof_impl.register(Pullback)  # type: ignore[untyped-decorator]
    def typeof_pullback(value: Pullback, context: Any) -> CompiledType:
        """What the pullback keeps is frozen, as what a function captures is."""
        return CompiledType(called_as_jit(value))

    @typeof_impl.register(SparseDerivative)  # type: ignore[untyped-decorator]
    def typeof_sparse(value: SparseDerivative, context: Any) -> None:
        value.__gradc_expand__((), {})

    @lower_constant(CompiledType)  # type: ignore[untyped-decorator]
    def constant(context: Any, builder: Any, ty: Any, value: Any) -> Any:
        return context.get_dummy_value()

    @unbox(CompiledType)  # type: ignore[untyped-decorator]
    def unboxed(ty: Any, value: Any, c: Any) -> Any:
        return NativeValue(c.context.get_dummy_value())

    return typeof_compiled  # type: ignore[no-any-return]


typeof_compiled = register()
