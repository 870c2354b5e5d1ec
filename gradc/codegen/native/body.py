"""Statements: the function of a kernel text as one LLVM function.

    i32 @symbol(ptr results, parts of the arguments...)

gives a status: 0, or the number of the exception that is to be raised. Results are written one after the other to
`results`, in words of eight bytes: a scalar as it is (a complex number takes two at most), an array as data, sizes,
strides, reference, parent.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gradc import errors
from gradc.codegen import intrinsics
from gradc.codegen.native.arrays import ARGUMENTS, MEMORY_ERROR, SIZE_ERROR, Arrays, is_part
from gradc.codegen.native.calls import Helper
from gradc.codegen.native.flow import METADATA, NO_UNROLLING
from gradc.codegen.native.kinds import LLVM, SIZE, ArrayKind, Kind, NotTranslated, Value
from gradc.codegen.native.split import split
from gradc.codegen.native.stack import MOST, staying_names
from gradc.ir.loops import FOURIER_FUNCTIONS

Result: TypeAlias = "Kind | tuple[Result, ...]"
"""What a kernel returns: scalars and arrays in nested tuples."""


@dataclass(frozen=True, slots=True)
class Native:
    """A kernel text as LLVM assembly.

    errors: for each status from 1 on, the exception class and its message. words: length of `results`.
    helpers, products: functions that Numba's and `intrinsics.py`'s code generators write, and the assembly calls.
    """

    symbol: str
    assembly: str
    result: Result
    words: int
    errors: tuple[tuple[type[BaseException], str], ...]
    helpers: tuple[Helper, ...]
    products: tuple[str, ...]


SCIPY = "gradc.codegen.scipy_functions"
OWN = "gradc.codegen.own_functions"


def translate(text: str, name: str, kinds: Sequence[Kind], symbol: str) -> Native:
    """The function `name` of a kernel text for arguments of these kinds. Raises: NotTranslated."""
    tree = ast.parse(text)
    imported: dict[str, Any] = {}
    function: ast.FunctionDef | None = None
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "gradc.codegen.intrinsics":
            imported |= {alias.asname or alias.name: getattr(intrinsics, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module in (SCIPY, OWN):
            functions = importlib.import_module(node.module)  # the first imports SciPy; few kernels need them
            imported |= {alias.name: getattr(functions, alias.name) for alias in node.names}
        elif isinstance(node, ast.FunctionDef) and node.name == name:
            function = node
    if function is None:
        raise NotTranslated(f"there is no function {name}")
    return Body(imported, symbol).function(function, kinds, last_lines(text))


def last_lines(text: str) -> dict[str, int]:
    """The last line that has each word of a text."""
    last: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        for word in _WORD.findall(line):
            last[word] = number
    return last


_WORD = re.compile(r"[^\W\d]\w*")


_FRAME = """\
%frame = call ptr @NRT_Allocate(i64 {bytes})
%frame.none = icmp eq ptr %frame, null
br i1 %frame.none, label %frame.missing, label %entry
frame.missing:
store i32 {status}, ptr %status
br label %exit
"""


class Body(Arrays):
    """Emits a function."""

    def __init__(self, imported: dict[str, Any], symbol: str) -> None:
        super().__init__(imported)
        self.symbol = symbol
        self.errors: dict[tuple[type[BaseException], str], int] = {
            (MemoryError, "Allocation failed (probably too large)."): MEMORY_ERROR,
            (ValueError, _TOO_BIG): SIZE_ERROR,
        }
        self.words = 0
        self.result: Result | None = None
        self.assigned: dict[int, set[str]] = {}
        self.released: set[str] = set()

    # ---------------------------------------------------------------------------------------- function

    def function(self, node: ast.FunctionDef, kinds: Sequence[Kind], last: Mapping[str, int]) -> Native:
        names = [a.arg for a in node.args.args]
        if len(names) != len(kinds):
            raise NotTranslated("another number of arguments")
        if any(isinstance(statement, ast.Raise) for statement in node.body):
            raise NotTranslated("a function that always raises")
        self._note_assigned(node.body)
        self.staying = staying_names(node, is_part)
        operands = ["ptr noalias nocapture writeonly %results"]
        for k, (name, kind) in enumerate(zip(names, kinds, strict=True)):
            operands += self._argument(k, name, kind)
        for number, statement in enumerate(node.body):
            self.nest = number
            if self.dead:  # after an exception that is always raised; the type of the result is still to be known
                self.label(self.new_label())
            self.statement(statement)
            if not self.dead:
                self._release_unused(statement, last)
        if not self.dead:
            raise NotTranslated("a function without return")
        return Native(
            self.symbol,
            self._assembly(operands),
            self.result if self.result is not None else (),
            self.words,
            tuple(self.errors),
            tuple(self.helpers.values()),
            tuple(self.products),
        )

    def _release_unused(self, statement: ast.stmt, last: Mapping[str, int]) -> None:
        """Give back the memory of variables that no later statement names, so that new arrays find it warm."""
        for name in [n for n in self.owners if n not in self.released]:
            if last[name] <= (statement.end_lineno or 0):
                self.release(name)
                self.released.add(name)

    def _argument(self, number: int, name: str, kind: Kind) -> list[str]:
        """The operands that an argument is handed over as."""
        if isinstance(kind, str):
            self.assign(name, (kind, f"%a{number}"))
            return [f"{LLVM[kind]} %a{number}"]
        prefix = f"%a{number}"
        sizes = [f"{prefix}.n{k}" for k in range(kind.ndim)]
        strides = [f"{prefix}.s{k}" for k in range(kind.ndim)]
        self.bind(name, kind, f"{prefix}.data", sizes, strides, {ARGUMENTS})
        self.borrowed.add(name)
        self.assign(f"{name}.reference", ("ptr", f"{prefix}.reference"))
        self.assign(f"{name}.parent", ("ptr", f"{prefix}.parent"))
        return [
            f"ptr {prefix}.data", *(f"i64 {s}" for s in sizes), *(f"i64 {s}" for s in strides),
            f"ptr {prefix}.reference", f"ptr {prefix}.parent",
        ]  # fmt: skip

    def _assembly(self, operands: Sequence[str]) -> str:
        lines = [*self.declared.values()]
        if self.kept:
            entries = ", ".join(f"ptr @{v}" for v in self.kept)
            lines.append(
                f'@llvm.compiler.used = appending global [{len(self.kept)} x ptr] [{entries}], section "llvm.metadata"'
            )
        count = len(self.owners)
        if count:
            if "NRT_decref" not in self.declared:
                lines.append("declare void @NRT_decref(ptr) nounwind")
            lines.append(_RELEASE)
        places = [f"ptr {slot.partition(' ')[0]}" for slot in self.slots()]
        places += ["ptr %status", "ptr %owned", *(f"ptr %stack.{k}" for k in range(self.stacked))]
        parts = split(["entry:", *self.finished()], self.symbol, [*operands, *places], self.slots())
        lines += parts.functions
        if parts.words:
            for declaration in ("declare ptr @NRT_Allocate(i64) nounwind", "declare void @NRT_Free(ptr) nounwind"):
                lines.append(declaration)
        lines.append(f"define i32 @{self.symbol}({', '.join(operands)}) nounwind {{")
        lines.append("start:" if parts.words else "entry:")
        lines.append("%status = alloca i32")
        lines += (f"%stack.{k} = alloca [{MOST} x i8], align 64" for k in range(self.stacked))
        lines += [slot for slot in self.slots() if slot.partition(" ")[0] not in parts.taken]
        if count:
            lines.append(f"%owned = alloca [{count} x ptr]")
            lines.append(f"store [{count} x ptr] zeroinitializer, ptr %owned")
        if parts.words:
            lines += _FRAME.format(bytes=8 * parts.words, status=MEMORY_ERROR).splitlines()
        lines += parts.lines[0 if parts.words else 1 :]
        lines.append("exit:")
        if count:
            lines.append(f"call void @gradc_release(ptr %owned, i64 {count})")
        lines += ["br label %leave", "leave:"]
        if parts.words:
            lines.append("call void @NRT_Free(ptr %frame)")
        lines += ["%final = load i32, ptr %status", "ret i32 %final", "}"]
        lines += [f"attributes #{n} = {{ {text} }}" for text, n in self.attributes.items()]
        lines += METADATA
        lines += (f"{note} = distinct !{{{note}, {NO_UNROLLING}}}" for note in self.loop_notes)
        lines += self.alias_metadata()
        return "\n".join([*lines, ""])

    # ----------------------------------------------------------------------------- what loops assign

    def _note_assigned(self, statements: Iterable[ast.stmt]) -> set[str]:
        """Names that statements assign; noted for every loop."""
        names: set[str] = set()
        for statement in statements:
            if isinstance(statement, ast.Assign):
                for target in statement.targets:
                    names.update(n.id for n in _targets(target))
                    value = statement.value
                    if isinstance(target, ast.Name) and isinstance(value, ast.Subscript | ast.Call | ast.Name):
                        self.sites.setdefault(target.id, []).append(value)
            elif isinstance(statement, ast.AugAssign):
                if isinstance(statement.target, ast.Name):
                    names.add(statement.target.id)
            elif isinstance(statement, ast.If):
                names |= self._note_assigned(statement.body) | self._note_assigned(statement.orelse)
            elif isinstance(statement, ast.For | ast.While):
                inside = self._note_assigned(statement.body)
                if isinstance(statement, ast.For) and isinstance(statement.target, ast.Name):
                    inside.add(statement.target.id)
                self.assigned[id(statement)] = inside
                names |= inside
        return names

    # -------------------------------------------------------------------------------------- statements

    def statements(self, nodes: Iterable[ast.stmt]) -> None:
        for node in nodes:
            if self.dead:
                return
            self.statement(node)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[target]):
                self._assign(target, node.value)
            case ast.AugAssign():
                self._augmented(node)
            case ast.For():
                self._for(node)
            case ast.If():
                self._if(node)
            case ast.While():
                self._while(node)
            case ast.Raise():
                self._raise(node)
            case ast.Break() if self.loops:
                self.branch(self.loops[-1][1])
            case ast.Continue() if self.loops:
                self.branch(self.loops[-1][0])
            case ast.Pass():
                pass
            case ast.Expr(value=ast.Call(func=ast.Name(id="product"))) if "product" in self.imported:
                assert isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
                self.product(node.value)
            case ast.Expr(value=ast.Call(func=ast.Name(id=name)) as call) if name in FOURIER_FUNCTIONS:
                self.transform(name, call)
            case ast.Return(value=ast.expr()):
                assert isinstance(node, ast.Return) and node.value is not None
                self._return(node.value)
            case _:
                raise NotTranslated(f"statement {ast.unparse(node)}")

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple):
            if not isinstance(value, ast.Tuple) or len(value.elts) != len(target.elts):
                raise NotTranslated(f"value {ast.unparse(value)}")
            values = [self.scalar(v) for v in value.elts]
            for one, result in zip(target.elts, values, strict=True):
                self._assign_scalar(one, result)
        elif isinstance(target, ast.Name) and self._assign_array(target.id, value):
            pass
        else:
            self._assign_scalar(target, self.scalar(value))

    def _assign_scalar(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            if target.id in self.arrays:
                raise NotTranslated(f"variable {target.id} is an array and a number")
            self.assign(target.id, value)
            return
        if not isinstance(target, ast.Subscript):
            raise NotTranslated(f"assignment to {ast.unparse(target)}")
        name, kind = self.array(target.value)
        text = self.cast(value, kind.dtype)
        self.store(kind.dtype, text, self.address(name, kind, self.positions(target)), self.memory_of(name))

    def _assign_array(self, target: str, value: ast.expr) -> bool:
        """Assign to an array variable; False where the value is a scalar."""
        match value:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="np"), attr="empty"),
                args=[ast.Tuple() as shape, ast.Attribute() as ty],
            ) if ty.attr.rstrip("_") in LLVM:
                self.allocate(target, ty.attr.rstrip("_"), [self.integer(e) for e in shape.elts])
            case ast.Call(func=ast.Name(id=made), args=[ast.Tuple() as shape]) if self._makes(made):
                self.allocate(target, self._makes(made), [self.integer(e) for e in shape.elts])
            case ast.Call(func=ast.Name(id="view")) if "view" in self.imported:
                assert isinstance(value, ast.Call)
                self.view(target, value)
            case ast.Call(func=ast.Name(id="grow")) if "grow" in self.imported:
                assert isinstance(value, ast.Call)
                self.grow(target, value)
            case ast.Name() if value.id in self.arrays:
                self.rename(target, value.id)
            case ast.Subscript() if is_part(value):
                self.slice(target, value)
            case ast.Call(func=ast.Attribute(attr="transpose")):
                assert isinstance(value, ast.Call)
                self.transpose(target, value)
            case _:
                return False
        return True

    def _makes(self, function: str) -> str:
        """The dtype of the arrays that a function of `codegen/intrinsics.py` makes; empty where it makes none."""
        dtype = function.removeprefix("empty_") if function in self.imported else ""
        return dtype if dtype != function and dtype in LLVM else ""

    def _augmented(self, node: ast.AugAssign) -> None:
        op = type(node.op).__name__
        if isinstance(node.target, ast.Name):
            before = self.get(node.target.id)
            self.assign(node.target.id, self.arithmetic(op, before, self.scalar(node.value)))
            return
        if not isinstance(node.target, ast.Subscript):
            raise NotTranslated(f"statement {ast.unparse(node)}")
        name, kind = self.array(node.target.value)
        pointer = self.address(name, kind, self.positions(node.target))
        memory = self.memory_of(name)
        before = kind.dtype, self.load(kind.dtype, pointer, memory)
        value = self.arithmetic(op, before, self.scalar(node.value))
        self.store(kind.dtype, self.cast(value, kind.dtype), pointer, memory)

    def _raise(self, node: ast.Raise) -> None:
        match node.exc:
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str() as message)]):
                cls = next((getattr(m, name) for m in (errors, builtins, np.linalg) if hasattr(m, name)), None)
            case _:
                cls, message = None, ""
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise NotTranslated(f"statement {ast.unparse(node)}")
        number = self.errors.setdefault((cls, message), len(self.errors) + 1)
        self.line(f"store i32 {number}, ptr %status")
        self.branch("exit")

    # ---------------------------------------------------------------------------------------- control

    def _if(self, node: ast.If) -> None:
        condition = self.condition(node.test)
        then, done = self.new_label(), self.new_label()
        orelse = self.new_label() if node.orelse else done
        self.branch_if(condition, then, orelse)
        changed: set[str] = set()
        ends = not node.orelse  # whether the end is reached
        for label, statements in ((then, node.body), (orelse, node.orelse)):
            if not statements:
                continue
            self.label(label)
            self.enter()
            self.statements(statements)
            assigned = self.leave()
            if not self.dead:
                changed |= assigned
                ends = True
                self.branch(done)
        if not ends:
            self.dead = True
            return
        self.label(done)
        self.forget(changed)

    def _loop_body(self, node: ast.For | ast.While, go_on: str, leave: str) -> None:
        self.loops.append((go_on, leave))
        self.depth += 1
        self.statements(node.body)
        self.depth -= 1
        self.loops.pop()

    def _while(self, node: ast.While) -> None:
        if node.orelse:
            raise NotTranslated("while … else")
        head, body, done = self.new_label(), self.new_label(), self.new_label()
        changed = self.assigned[id(node)]
        for name in changed:
            self.forget_variable(name)
        self.branch(head)
        self.label(head)
        self.enter()
        if isinstance(node.test, ast.Constant) and node.test.value is True:
            self.branch(body)
        else:
            self.branch_if(self.condition(node.test), body, done)
        self.label(body)
        self._loop_body(node, head, done)
        self.branch(head)
        self.leave()
        self.label(done)
        for name in changed:
            self.forget_variable(name)

    def _for(self, node: ast.For) -> None:
        call, target = node.iter, node.target
        if node.orelse or not isinstance(target, ast.Name):
            raise NotTranslated("for … else")
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
            raise NotTranslated(f"for … in {ast.unparse(call)}")
        bounds = [self.integer(a) for a in call.args]
        start, stop, step = ("0", bounds[0], "1") if len(bounds) == 1 else (*bounds, "1")[:3]
        changed = self.assigned[id(node)]
        for name in changed:
            self.forget_variable(name)
        head, body, latch, done = (self.new_label() for _ in range(4))
        counted = step not in ("1", "-1")
        first, last, by = start, stop, step
        if counted:
            if not step.lstrip("-").isdigit():
                self._refuse_no_step(step)
            first, last, by = "0", self.trip_count(start, stop, step), "1"
        before = self.current
        self.branch(head)
        self.label(head)
        self.enter()
        index, following = self.new(), self.new()
        self.line(f"{index} = phi i64 [{first}, %{before}], [{following}, %{latch}]")
        test = self.emit(f"icmp {'slt' if by == '1' else 'sgt'} i64 {index}, {last}")
        self.branch_if(test, body, done)
        self.label(body)
        value = index
        if counted:
            value = self.plus(start, self.emit(f"mul nsw i64 {index}, {step}"))
        self.assign(target.id, ("int64", value))
        self._loop_body(node, latch, done)
        self.branch(latch)
        self.label(latch)
        unsigned = "nuw " if by == "1" and first.isdigit() else ""
        self.line(f"{following} = add {unsigned}nsw i64 {index}, {by}")
        self.line(f"br label %{head}{self._loop_note(node, last)}")
        self.leave()
        self.label(done)
        for name in changed:
            self.forget_variable(name)

    def _loop_note(self, node: ast.For, last: str) -> str:
        """Metadata of a loop. Unrolling (after vectorisation, too) helps short loops and sums, and doubles the code."""
        if (last.isdigit() and int(last) <= _SHORT) or any(_accumulates(s) for s in node.body):
            return ""
        note = self.new_metadata()
        self.loop_notes.append(note)
        return f", !llvm.loop {note}"

    def _refuse_no_step(self, step: str) -> None:
        go_on, refuse = self.new_label(), self.new_label()
        zero = self.emit(f"icmp eq i64 {step}, 0")
        self.branch_if(zero, refuse, go_on)
        self.label(refuse)
        number = self.errors.setdefault((ValueError, "range() arg 3 must not be zero"), len(self.errors) + 1)
        self.line(f"store i32 {number}, ptr %status")
        self.branch("exit")
        self.label(go_on)

    # ---------------------------------------------------------------------------------------- results

    def _return(self, node: ast.expr) -> None:
        if self.levels or self.result is not None:
            raise NotTranslated("a return inside")
        self.result = self._results(node)
        self.line("store i32 0, ptr %status")
        self.branch("exit" if self.owners.keys() - self.given - self.released else "leave")

    def _results(self, node: ast.expr) -> Result:
        if isinstance(node, ast.Tuple):
            return tuple(self._results(e) for e in node.elts)
        if self.is_array(node):
            return self._array_result(*self.array(node))
        dtype, text = self.scalar(node)
        self.store(dtype, text, self._word(), "")
        self.words += max(1, SIZE[dtype] // 8)
        return dtype

    def _word(self) -> str:
        return self.emit(f"getelementptr inbounds i64, ptr %results, i64 {self.words}")

    def _array_result(self, name: str, kind: ArrayKind) -> Result:
        borrowed = name in self.borrowed
        if borrowed or name in self.given:
            reference = self.shared_reference(name)
        else:
            reference = self.given[name] = self.reference(name)
            self.line(f"store ptr null, ptr {self._place(name)}, align 8")
        words: list[Value] = [self.get(f"{name}.data")]
        words += [("int64", s) for s in (*self.sizes(name, kind), *self.strides(name, kind))]
        words += [("ptr", reference), self.get(f"{name}.parent") if borrowed else ("ptr", "null")]
        for ty, text in words:
            self.line(f"store {LLVM.get(ty, ty)} {text}, ptr {self._word()}, align 8")
            self.words += 1
        return kind


_SHORT = 16  # iterations up to which a loop of a known number of them may be unrolled


def _accumulates(statement: ast.stmt) -> bool:
    """Whether a statement adds to a scalar whose additions may be reordered."""
    match statement:
        case ast.Assign(targets=[ast.Name()], value=ast.Call(func=ast.Name(id="reassoc_add" | "reassoc_mul"))):
            return True
        case ast.If():
            return any(_accumulates(s) for s in (*statement.body, *statement.orelse))
    return False


def _targets(node: ast.expr) -> list[ast.Name]:
    if isinstance(node, ast.Name):
        return [node]
    return [n for e in node.elts for n in _targets(e)] if isinstance(node, ast.Tuple) else []


_TOO_BIG = "array is too big; `arr.size * arr.dtype.itemsize` is larger than the maximum possible size."

_RELEASE = """\
define internal void @gradc_release(ptr %owned, i64 %count) noinline nounwind {
entry:
  br label %head
head:
  %k = phi i64 [0, %entry], [%following, %body]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %body, label %done
body:
  %place = getelementptr inbounds ptr, ptr %owned, i64 %k
  %reference = load ptr, ptr %place, align 8
  call void @NRT_decref(ptr %reference)
  %following = add nsw i64 %k, 1
  br label %head
done:
  ret void
}"""
