"""Arrays: elements, allocation, views, and who owns which memory.

An array variable `A` is kept as scalar variables: `A.data`, its sizes `A.n0`, …, for layout A its strides in bytes
`A.s0`, …. Memory of Numba's run time is counted: every local variable owns one reference, held in a row of pointers
that one function gives back where the function is left by an exception. What no later statement names is given back
before, and the references of results pass to the caller. Arguments are borrowed. A variable of a loop keeps its memory
for the next iteration where the size is the same.

Elements of different allocations never overlap, which LLVM is told by alias scopes: one for each variable that
allocates and one for all arguments, separately for each statement at the top of the function, which keeps lists short.

Subscripts of kernel texts count from the front: the lowerer wraps negative ones itself.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from gradc.codegen import foreign
from gradc.codegen.fourier import part_of
from gradc.codegen.native.calls import Calls
from gradc.codegen.native.flow import UNLIKELY
from gradc.codegen.native.kinds import COMPLEX, FLOATS, SIGNED, SIZE, ArrayKind, NotTranslated, Value, memory_type
from gradc.codegen.native.stack import ARRAYS, MOST
from gradc.ir.foreign import VOID, prototype_of_word

ARGUMENTS = "arguments"
MEMORY_ERROR, SIZE_ERROR = 1, 2  # statuses of the function; those of `raise` statements follow


class Arrays(Calls):
    """Emits what concerns memory."""

    def __init__(self, imported: dict[str, object]) -> None:
        super().__init__(imported)
        self.arrays: dict[str, ArrayKind] = {}
        self.borrowed: set[str] = set()
        self.owners: dict[str, int] = {}  # places of variables in the row of references
        self.given: dict[str, str] = {}  # references that the caller gets
        self.roots: dict[str, set[str]] = {}  # what memory a variable may name: variables that allocate, ARGUMENTS
        self.nest = 0
        self.scopes: dict[tuple[int, str], tuple[str, str]] = {}  # the lists of scopes of its accesses in a nest
        self.staying: set[str] = set()
        self.stacked = 0  # arrays that lie on the stack where they are small
        self.depth = 0  # of loops around what is emitted
        self.products: dict[str, None] = {}
        self.sites: dict[str, list[ast.expr]] = {}  # values assigned to each variable

    # --------------------------------------------------------------------------------------- variables

    def is_array(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self.arrays

    def array(self, node: ast.expr) -> tuple[str, ArrayKind]:
        """The array variable that an expression is."""
        if not isinstance(node, ast.Name) or node.id not in self.arrays:
            raise NotTranslated(f"expression {ast.unparse(node)} as an array")
        return node.id, self.arrays[node.id]

    def parts_of(self, name: str, kind: ArrayKind) -> list[str]:
        """The variables that an array variable is kept as."""
        parts = [f"{name}.data", *(f"{name}.n{k}" for k in range(kind.ndim))]
        if kind.layout == "A":
            parts += [f"{name}.s{k}" for k in range(kind.ndim)]
        return parts

    def forget_variable(self, name: str) -> None:
        """What a variable holds is no longer known."""
        kind = self.arrays.get(name)
        self.forget(self.parts_of(name, kind) if kind is not None else (name,))

    def bind(
        self, name: str, kind: ArrayKind, data: str, sizes: Sequence[str], strides: Sequence[str], roots: set[str]
    ) -> None:
        """Make an array variable name memory; `strides` (in bytes) where the layout is A."""
        have = self.arrays.get(name)
        if name in self.dtypes:
            raise NotTranslated(f"variable {name} is a number and an array")
        if kind.layout != "A" and len(self.sites.get(name, ())) > 1 and self._layout(name) == "A":
            strides = self._contiguous_strides(kind, sizes)
            kind = ArrayKind(kind.dtype, kind.ndim, "A")
        if have is None:
            self.arrays[name] = kind
        elif have != kind:
            raise NotTranslated(f"variable {name} is {have} and {kind}")
        self.roots.setdefault(name, set()).update(roots)
        self.assign(f"{name}.data", ("ptr", data))
        for k, size in enumerate(sizes):
            self.assign(f"{name}.n{k}", ("int64", size))
        if kind.layout == "A":
            for k, stride in enumerate(strides):
                self.assign(f"{name}.s{k}", ("int64", stride))

    def size(self, name: str, axis: int) -> str:
        return self.get(f"{name}.n{axis}")[1]

    def sizes(self, name: str, kind: ArrayKind) -> list[str]:
        return [self.size(name, k) for k in range(kind.ndim)]

    def strides(self, name: str, kind: ArrayKind) -> list[str]:
        """Strides in bytes."""
        if kind.layout == "A":
            return [self.get(f"{name}.s{k}")[1] for k in range(kind.ndim)]
        return [self.scaled(s, SIZE[kind.dtype]) for s in self.steps(name, kind)]

    def steps(self, name: str, kind: ArrayKind) -> list[str]:
        """Strides in elements."""
        if kind.layout == "A":
            return [self.emit(f"sdiv exact i64 {s}, {SIZE[kind.dtype]}") for s in self.strides(name, kind)]
        order = list(range(kind.ndim))
        if kind.layout == "C":
            order.reverse()
        steps = ["1"] * kind.ndim
        step = "1"
        for k in order:
            steps[k] = step
            if k != order[-1]:
                step = self.times(step, self.size(name, k))
        return steps

    def times(self, a: str, b: str) -> str:
        """A product of sizes."""
        if a == "1":
            return b
        if b == "1":
            return a
        if a.isdigit() and b.isdigit():
            return str(int(a) * int(b))
        return self.emit(f"mul nuw nsw i64 {a}, {b}")

    def scaled(self, a: str, factor: int) -> str:
        return self.times(a, str(factor))

    def plus(self, a: str, b: str) -> str:
        """A sum of positions."""
        if a == "0":
            return b
        if b == "0":
            return a
        return self.emit(f"add nsw i64 {a}, {b}")

    # ---------------------------------------------------------------------------------------- elements

    def _subscript(self, node: ast.Subscript) -> Value:
        value = node.value
        if isinstance(value, ast.Attribute) and value.attr == "shape" and isinstance(node.slice, ast.Constant):
            name, kind = self.array(value.value)
            axis = node.slice.value
            if type(axis) is not int or not 0 <= axis < kind.ndim:
                raise NotTranslated(f"expression {ast.unparse(node)}")
            return "int64", self.size(name, axis)
        name, kind = self.array(value)
        return kind.dtype, self.load(kind.dtype, self.address(name, kind, self.positions(node)), self.memory_of(name))

    def positions(self, node: ast.Subscript) -> list[str]:
        """The integers of a subscript."""
        entries = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        before, self.in_index = self.in_index, True
        found = []
        for entry in entries:
            dtype, text = self.scalar(entry)
            if dtype != "int64":
                text = self.cast((dtype, text), "int64")
            found.append(text)
        self.in_index = before
        return found

    def address(self, name: str, kind: ArrayKind, positions: list[str]) -> str:
        """The place of an element."""
        if len(positions) != kind.ndim:
            raise NotTranslated(f"{len(positions)} subscripts of {name}, which has {kind.ndim} axes")
        data = self.get(f"{name}.data")[1]
        if kind.layout == "A":
            offset = "0"
            for position, stride in zip(positions, self.strides(name, kind), strict=True):
                if position != "0":
                    step = stride if position == "1" else self.emit(f"mul nsw i64 {position}, {stride}")
                    offset = self.plus(offset, step)
            return data if offset == "0" else self.emit(f"getelementptr inbounds i8, ptr {data}, i64 {offset}")
        axes = range(kind.ndim) if kind.layout == "C" else reversed(range(kind.ndim))
        offset = ""
        for k in axes:
            if offset in ("", "0"):
                offset = positions[k]
            else:
                row = self.emit(f"mul nsw i64 {offset}, {self.size(name, k)}")
                offset = self.plus(row, positions[k])
        return self.element(kind.dtype, data, offset)

    def element(self, dtype: str, data: str, offset: str) -> str:
        """A pointer moved by a number of elements."""
        if offset in ("", "0"):
            return data
        return self.emit(f"getelementptr inbounds {memory_type(dtype)}, ptr {data}, i64 {offset}")

    def load(self, dtype: str, pointer: str, memory: str) -> str:
        if dtype in COMPLEX:
            part = COMPLEX[dtype]
            second = self.element(part, pointer, "1")
            real, imag = (self.load(part, p, memory) for p in (pointer, second))
            return self.complex_of(dtype, real, imag)
        text = self.emit(f"load {memory_type(dtype)}, ptr {pointer}, align {SIZE[dtype]}{memory}")
        return self.emit(f"trunc i8 {text} to i1") if dtype == "bool" else text

    def store(self, dtype: str, text: str, pointer: str, memory: str) -> None:
        if dtype in COMPLEX:
            part = COMPLEX[dtype]
            second = self.element(part, pointer, "1")
            for place, value in zip((pointer, second), self.parts(dtype, text), strict=True):
                self.store(part, value, place, memory)
            return
        if dtype == "bool":
            text = self.emit(f"zext i1 {text} to i8")
        self.line(f"store {memory_type(dtype)} {text}, ptr {pointer}, align {SIZE[dtype]}{memory}")

    # ------------------------------------------------------------------------------------ alias scopes

    def memory_of(self, name: str) -> str:
        """Metadata of an access to the memory that a variable names."""
        key = (self.nest, name)
        if key not in self.scopes:
            self.scopes[key] = self.new_metadata(), self.new_metadata()
        inside, outside = self.scopes[key]
        return f", !alias.scope {inside}, !noalias {outside}"

    def alias_metadata(self) -> list[str]:
        """The definitions of the metadata that accesses name."""
        domain = self.new_metadata()
        lines = [f'{domain} = distinct !{{{domain}, !"kernel"}}']
        by_nest: dict[int, dict[str, str]] = {}
        resolved = {name: self._resolved_roots(name) for _, name in self.scopes}
        for nest, name in self.scopes:
            scopes = by_nest.setdefault(nest, {})
            for root in sorted(resolved[name]):
                if root not in scopes:
                    scope = scopes[root] = self.new_metadata()
                    lines.append(f"{scope} = distinct !{{{scope}, {domain}}}")
        for (nest, name), (inside, outside) in self.scopes.items():
            own = resolved[name]
            scopes = by_nest[nest]
            lines.append(f"{inside} = !{{{', '.join(text for root, text in scopes.items() if root in own)}}}")
            lines.append(f"{outside} = !{{{', '.join(text for root, text in scopes.items() if root not in own)}}}")
        return lines

    def _resolved_roots(self, name: str) -> set[str]:
        """The variables whose allocations `name` may name, views followed to their ends."""
        found: set[str] = set()
        seen: set[str] = set()
        pending = [name]
        while pending:
            at = pending.pop()
            if at in seen:
                continue
            seen.add(at)
            for root in self.roots[at]:
                if root in (ARGUMENTS, at):
                    found.add(root)
                else:
                    pending.append(root)
        return found

    # -------------------------------------------------------------------------------------- allocation

    def allocate(self, name: str, dtype: str, sizes: Sequence[str]) -> None:
        """name = np.empty(sizes, dtype)."""
        if self.depth and name not in self.arrays and len(self.sites.get(name, ())) == 1:
            data = self._kept_memory(name, dtype, sizes)
        elif not self.depth and name in self.staying and len(self.sites.get(name, ())) == 1 and self.stacked < ARRAYS:
            data = self._stack_or_heap(name, dtype, sizes)
        else:
            data, reference = self.new_memory(*self.bytes_of(dtype, sizes))
            self.own(name, reference)
        self.bind(name, ArrayKind(dtype, len(sizes), "C"), data, sizes, (), {name})

    def _stack_or_heap(self, name: str, dtype: str, sizes: Sequence[str]) -> str:
        """Memory for an array that stays in the function: on the stack where it is small."""
        total, status = self.bytes_of(dtype, sizes)
        if total.isdigit() and int(total) > MOST:
            data, reference = self.new_memory(total, status)
            self.own(name, reference)
            return data
        place = f"%stack.{self.stacked}"
        self.stacked += 1
        make, done = self.new_label(), self.new_label()
        before = self.current
        self.branch_if(self.emit(f"icmp ugt i64 {total}, {MOST}"), make, done)
        self.label(make)
        data, reference = self.new_memory(total, status)
        made = self.current
        self.branch(done)
        self.label(done)
        owned = self.phi("ptr", [("null", before), (reference, made)])
        held = self.phi("ptr", [(place, before), (data, made)])
        self.own(name, owned)
        return held

    def _kept_memory(self, name: str, dtype: str, sizes: Sequence[str]) -> str:
        """Memory for a variable of a loop: that of the iteration before, where it has the size and no view holds it."""
        total, status = self.bytes_of(dtype, sizes)
        place = self._place(name)
        check, make, done = self.new_label(), self.new_label(), self.new_label()
        old = self.emit(f"load ptr, ptr {place}, align 8")
        self.branch_if(self.emit(f"icmp eq ptr {old}, null"), make, check)
        self.label(check)
        alone = self.emit(f"icmp eq i64 {self.emit(f'load i64, ptr {old}, align 8')}, 1")
        size = self.emit(f"getelementptr inbounds i8, ptr {old}, i64 32")
        fits = self.emit(f"icmp eq i64 {self.emit(f'load i64, ptr {size}, align 8')}, {total}")
        self.branch_if(self.emit(f"and i1 {alone}, {fits}"), done, make)
        self.label(make)
        _, reference = self.new_memory(total, status)
        self.line(f"store ptr {reference}, ptr {place}, align 8")
        self.declare("NRT_decref", "void", "ptr", " nounwind")
        self.line(f"call void @NRT_decref(ptr {old})")
        made = self.current
        self.branch(done)
        self.label(done)
        held = self.phi("ptr", [(old, check), (reference, made)])
        return self._data_of(held)

    def _data_of(self, reference: str) -> str:
        place = self.emit(f"getelementptr inbounds i8, ptr {reference}, i64 24")
        return self.emit(f"load ptr, ptr {place}, align 8")

    def bytes_of(self, dtype: str, sizes: Sequence[str]) -> tuple[str, str]:
        """The bytes that an array takes (more than there are where that overflows), and the status where they fail."""
        total, overflow = str(SIZE[dtype]), ""
        for size in sizes:
            if size.isdigit() and total.isdigit():
                total = str(int(total) * int(size))
                continue
            callee = self.declare("llvm.smul.with.overflow.i64", "{i64, i1}", "i64, i64")
            both = self.emit(f"call {{i64, i1}} {callee}(i64 {total}, i64 {size})")
            total = self.emit(f"extractvalue {{i64, i1}} {both}, 0")
            flag = self.emit(f"extractvalue {{i64, i1}} {both}, 1")
            overflow = self.emit(f"or i1 {overflow}, {flag}") if overflow else flag
        status = str(MEMORY_ERROR)
        if overflow:
            total = self.emit(f"select i1 {overflow}, i64 {2**62}, i64 {total}")
            status = self.emit(f"select i1 {overflow}, i32 {SIZE_ERROR}, i32 {MEMORY_ERROR}")
        return total, status

    def new_memory(self, total: str, status: str) -> tuple[str, str]:
        """Data pointer and reference of new memory; control leaves the function where there is none."""
        self.declare("NRT_MemInfo_alloc_aligned", "noalias ptr", "i64, i32", " nounwind")
        self.line(f"store i32 {status}, ptr %status")
        reference = self.emit(f"call noalias ptr @NRT_MemInfo_alloc_aligned(i64 {total}, i32 64)")
        missing = self.emit(f"icmp eq ptr {reference}, null")
        go_on = self.new_label()
        self.line(f"br i1 {missing}, label %exit, label %{go_on}, !prof {UNLIKELY}")
        self.label(go_on)
        return self._data_of(reference), reference

    def release(self, name: str) -> None:
        """Give back what a variable owns: nothing uses it any more."""
        place = self._place(name)
        reference = self.emit(f"load ptr, ptr {place}, align 8")
        self.line(f"store ptr null, ptr {place}, align 8")
        self.declare("NRT_decref", "void", "ptr", " nounwind")
        self.line(f"call void @NRT_decref(ptr {reference})")

    def own(self, name: str, reference: str) -> None:
        """Make `reference` the one that a variable owns; the one that it owned is given back."""
        if name in self.borrowed:
            raise NotTranslated(f"argument {name} is assigned")
        place = self._place(name)
        if self.depth or name in self.arrays:
            old = self.emit(f"load ptr, ptr {place}, align 8")
            self.line(f"store ptr {reference}, ptr {place}, align 8")
            self.declare("NRT_decref", "void", "ptr", " nounwind")
            self.line(f"call void @NRT_decref(ptr {old})")
        else:
            self.line(f"store ptr {reference}, ptr {place}, align 8")

    def _place(self, name: str) -> str:
        number = self.owners.setdefault(name, len(self.owners))
        return self.emit(f"getelementptr inbounds ptr, ptr %owned, i64 {number}")

    def reference(self, name: str) -> str:
        """The reference that a variable holds or borrows."""
        if name in self.borrowed:
            return self.get(f"{name}.reference")[1]
        if name in self.given:
            return self.given[name]
        return self.emit(f"load ptr, ptr {self._place(name)}, align 8")

    def shared_reference(self, name: str) -> str:
        """One more reference to a variable's memory."""
        reference = self.reference(name)
        self.declare("NRT_incref", "void", "ptr", " nounwind")
        self.line(f"call void @NRT_incref(ptr {reference})")
        return reference

    # ------------------------------------------------------------------------------------------- views

    def view(self, target: str, node: ast.Call) -> None:
        """target = view(array, offset, shape)."""
        name, kind = self.array(node.args[0])
        if kind.layout == "A":
            raise NotTranslated(f"a view of {name}, which is strided")
        shape = node.args[2]
        assert isinstance(shape, ast.Tuple)
        offset = self.integer(node.args[1])
        sizes = [self.integer(e) for e in shape.elts]
        data = self.element(kind.dtype, self.get(f"{name}.data")[1], offset)
        self.own(target, self.shared_reference(name))
        self.bind(target, ArrayKind(kind.dtype, len(sizes), "C"), data, sizes, (), {name})

    def slice(self, target: str, node: ast.Subscript) -> None:
        """target = array[entries]: integers, slices and None."""
        source, data, sizes, strides = self._sliced(node)
        kind = ArrayKind(self.arrays[source].dtype, len(sizes), self._layout_of(node))
        self.own(target, self.shared_reference(source))
        self.bind(target, kind, data, sizes, strides, {source})

    def transpose(self, target: str, node: ast.Call) -> None:
        """target = array[entries].transpose(permutation)."""
        assert isinstance(node.func, ast.Attribute)
        order = ast.literal_eval(node.args[0])
        inner = node.func.value
        if isinstance(inner, ast.Subscript):
            source, data, sizes, strides = self._sliced(inner)
        else:
            source, kind = self.array(inner)
            data, sizes, strides = self.get(f"{source}.data")[1], self.sizes(source, kind), self.strides(source, kind)
        if sorted(order) != list(range(len(sizes))):
            raise NotTranslated(f"expression {ast.unparse(node)}")
        self.own(target, self.shared_reference(source))
        kind = ArrayKind(self.arrays[source].dtype, len(sizes), "A")
        self.bind(target, kind, data, [sizes[k] for k in order], [strides[k] for k in order], {source})

    def _sliced(self, node: ast.Subscript) -> tuple[str, str, list[str], list[str]]:
        """The array that a subscript is of; data pointer, sizes and strides of the part."""
        source, kind = self.array(node.value)
        held, steps = self.sizes(source, kind), self.strides(source, kind)
        sizes, strides, offset, axis = [], [], "0", 0
        for entry in _entries(node):
            if isinstance(entry, ast.Constant) and entry.value is None:
                sizes.append("1")
                strides.append("0")
                continue
            if axis == kind.ndim:
                raise NotTranslated(f"expression {ast.unparse(node)}")
            if isinstance(entry, ast.Slice):
                start, length, step = self._bounds(entry, held[axis])
                sizes.append(length)
                strides.append(steps[axis] if step == 1 else self.emit(f"mul nsw i64 {steps[axis]}, {step}"))
            else:
                start = self.integer(entry)
            if start != "0":
                offset = self.plus(offset, self.emit(f"mul nsw i64 {start}, {steps[axis]}"))
            axis += 1
        sizes += held[axis:]
        strides += steps[axis:]
        data = self.get(f"{source}.data")[1]
        if offset != "0":
            data = self.emit(f"getelementptr i8, ptr {data}, i64 {offset}")
        return source, data, sizes, strides

    def _bounds(self, entry: ast.Slice, size: str) -> tuple[str, str, int]:
        """First position, length and step of a slice, as Python clips them."""
        step = constant_integer(entry.step) if entry.step is not None else 1
        if not step:
            raise NotTranslated("a slice with step 0")
        if entry.lower is None and entry.upper is None and step == 1:
            return "0", size, 1
        least, most = ("0", size) if step > 0 else ("-1", self.emit(f"sub nsw i64 {size}, 1"))
        start, stop = (least, most) if step > 0 else (most, least)
        if entry.lower is not None:
            start = self._clipped(self.integer(entry.lower), size, least, most)
        if entry.upper is not None:
            stop = self._clipped(self.integer(entry.upper), size, least, most)
        return start, self.trip_count(start, stop, str(step)), step

    def _clipped(self, position: str, size: str, least: str, most: str) -> str:
        negative = self.emit(f"icmp slt i64 {position}, 0")
        wrapped = self.emit(f"add i64 {position}, {size}")
        position = self.emit(f"select i1 {negative}, i64 {wrapped}, i64 {position}")
        below = self.emit(f"icmp slt i64 {position}, {least}")
        position = self.emit(f"select i1 {below}, i64 {least}, i64 {position}")
        above = self.emit(f"icmp sgt i64 {position}, {most}")
        return self.emit(f"select i1 {above}, i64 {most}, i64 {position}")

    def _layout(self, name: str) -> str:
        """The layout of a variable that several statements assign: theirs if it is one, else A."""
        found = {self._layout_of(site) for site in self.sites[name]}
        return found.pop() if len(found) == 1 else "A"

    def _layout_of(self, node: ast.expr) -> str:
        match node:
            case ast.Name():
                kind = self.arrays.get(node.id)
                return kind.layout if kind is not None else "A"
            case ast.Subscript(value=ast.Name(id=source)):
                kind = self.arrays.get(source)
                return "C" if kind is not None and kind.layout == "C" and _keeps_order(_entries(node)) else "A"
            case ast.Call(func=ast.Attribute(attr="transpose")):
                return "A"
        return "C"

    def _contiguous_strides(self, kind: ArrayKind, sizes: Sequence[str]) -> list[str]:
        strides = ["0"] * kind.ndim
        step = str(SIZE[kind.dtype])
        for k in reversed(range(kind.ndim)) if kind.layout == "C" else range(kind.ndim):
            strides[k] = step
            step = self.times(step, sizes[k])
        return strides

    def rename(self, target: str, source: str) -> None:
        """target = source."""
        kind = self.arrays[source]
        data, sizes = self.get(f"{source}.data")[1], self.sizes(source, kind)
        strides = self.strides(source, kind) if kind.layout == "A" else ()
        self.own(target, self.shared_reference(source))
        self.bind(target, kind, data, sizes, strides, {source})

    def grow(self, target: str, node: ast.Call) -> None:
        """target = grow(array, size): a copy that holds at least `size` elements and twice as many."""
        name, kind = self.array(node.args[0])
        wanted = self.integer(node.args[1])
        if kind.ndim != 1 or kind.layout != "C":
            raise NotTranslated(f"grow({name})")
        held = self.size(name, 0)
        twice = self.emit(f"shl i64 {held}, 1")
        larger = self.emit(f"icmp sgt i64 {wanted}, {twice}")
        size = self.emit(f"select i1 {larger}, i64 {wanted}, i64 {twice}")
        old = self.get(f"{name}.data")[1]
        data, reference = self.new_memory(*self.bytes_of(kind.dtype, [size]))
        self.declare("llvm.memcpy.p0.p0.i64", "void", "ptr, ptr, i64, i1")
        count = self.scaled(held, SIZE[kind.dtype])
        align = SIZE[COMPLEX.get(kind.dtype, kind.dtype)]
        self.line(
            f"call void @llvm.memcpy.p0.p0.i64(ptr align 64 {data}, ptr align {align} {old}, i64 {count}, i1 false)"
        )
        self.own(target, reference)
        self.bind(target, kind, data, [size], (), {target})

    # ---------------------------------------------------------------------------------------- products

    def c_call(self, name: str, node: ast.Call) -> Value:
        """A call of a C function at an address, with numbers and with arrays by their first elements."""
        prototype = prototype_of_word(name.removeprefix(foreign.PREFIX))
        address = self.emit(f"inttoptr i64 {self.cast(self.scalar(node.args[0]), 'int64')} to ptr")
        operands = []
        waiting = node.args[1:]
        for parameter in prototype.all_parameters:
            if parameter.zero:
                operands.append(f"{memory_type(parameter.dtype)} 0")
                continue
            given = waiting.pop(0)
            if parameter.pointer:
                operands.append(f"ptr {self.get(f'{self.array(given)[0]}.data')[1]}")
                continue
            text = self.cast(self.scalar(given), parameter.dtype)
            if parameter.dtype == "bool":
                text = self.emit(f"zext i1 {text} to i8")
            narrow = parameter.dtype not in FLOATS and SIZE[parameter.dtype] < 4
            extended = (" signext" if parameter.dtype in SIGNED else " zeroext") if narrow else ""
            operands.append(f"{memory_type(parameter.dtype)}{extended} {text}")
        if prototype.result == VOID:
            self.line(f"call void {address}({', '.join(operands)})")
            return "int64", "0"
        made = self.emit(f"call {memory_type(prototype.result)} {address}({', '.join(operands)})")
        if prototype.result == "bool":
            return "bool", self.emit(f"trunc i8 {made} to i1")
        wide = foreign.given_as(prototype.result)
        return wide, self.cast((prototype.result, made), wide)

    def library_call(self, name: str, node: ast.Call) -> Value:
        """A call of a function of `codegen/library.py`, by its symbol."""
        operands = []
        for given in node.args:
            if isinstance(given, ast.Name) and given.id in self.arrays:
                operands.append(f"ptr {self.get(f'{self.array(given)[0]}.data')[1]}")
            else:
                operands.append(f"i64 {self.integer(given)}")
        callee = self.declare(f"gradc_{name}", "i64", ", ".join(o.partition(" ")[0] for o in operands))
        return "int64", self.emit(f"call i64 {callee}({', '.join(operands)})")

    def product(self, node: ast.Call) -> None:
        """product(a, at, row, column, b, …, c, …, sizes, add): one call of the function for the dtype."""
        operands: list[str] = []
        dtypes = set()
        for k in (0, 4, 8):
            name, kind = self.array(node.args[k])
            dtypes.add(kind.dtype)
            at = node.args[k + 1]
            assert isinstance(at, ast.Tuple)
            start = [self.integer(e) for e in at.elts]
            axes = [constant_integer(node.args[k + 2]), constant_integer(node.args[k + 3])]
            operands.append(f"ptr {self.address(name, kind, start)}")
            steps = self.steps(name, kind)
            operands += [f"i64 {steps[axis] if axis >= 0 else 0}" for axis in axes]
        sizes = node.args[12]
        assert isinstance(sizes, ast.Tuple)
        if len(dtypes) != 1:
            raise NotTranslated("a product of different dtypes")
        operands += [f"i64 {self.integer(e)}" for e in sizes.elts]
        operands.append(f"i1 {'true' if constant_integer(node.args[13]) else 'false'}")
        symbol = f"gradc_native_product_{dtypes.pop()}"  # not the name of what kernels of Numba keep to themselves
        self.products[symbol] = None
        pattern = ", ".join([*["ptr, i64, i64"] * 3, "i64, i64, i64, i1"])
        callee = self.declare(symbol, "void", pattern)
        self.line(f"call void {callee}({', '.join(operands)})")


    def transform(self, function: str, node: ast.Call) -> None:
        """fourier_fft(a, start, axis, rows, c, …, sizes, scale): one call of the function for the dtype."""
        operands: list[str] = []
        dtypes: list[str] = []
        for k in (0, 4):
            name, kind = self.array(node.args[k])
            dtypes.append(kind.dtype)
            at = node.args[k + 1]
            assert isinstance(at, ast.Tuple)
            operands.append(f"ptr {self.address(name, kind, [self.integer(e) for e in at.elts])}")
            strides = self.strides(name, kind)
            axes = [constant_integer(node.args[k + 2]), constant_integer(node.args[k + 3])]
            operands += [f"i64 {strides[axis] if axis >= 0 else 0}" for axis in axes]
        part = part_of(function, *dtypes)
        sizes = node.args[8]
        if part is None or not isinstance(sizes, ast.Tuple):
            raise NotTranslated(f"{function} of {' and '.join(dtypes)}")
        operands += [f"i64 {self.integer(e)}" for e in sizes.elts]
        operands.append(f"i64 {constant_integer(node.args[9])}")
        symbol = f"gradc_native_{function}_{part}"
        self.products[symbol] = None
        callee = self.declare(symbol, "void", "ptr, i64, i64, ptr, i64, i64, i64, i64, i64, i64")
        self.line(f"call void {callee}({', '.join(operands)})")


def _entries(node: ast.Subscript) -> list[ast.expr]:
    return node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]


def is_part(node: ast.Subscript) -> bool:
    """Whether a subscript is a part of an array, not an element."""
    return any(isinstance(e, ast.Slice) or (isinstance(e, ast.Constant) and e.value is None) for e in _entries(node))


def _keeps_order(entries: Sequence[ast.expr]) -> bool:
    """Whether a part of memory in C order is in C order: positions, then one slice without a step, then whole axes."""
    sliced = False
    for entry in entries:
        if isinstance(entry, ast.Constant) and entry.value is None:
            continue
        if isinstance(entry, ast.Slice):
            if entry.step is not None or (sliced and (entry.lower is not None or entry.upper is not None)):
                return False
            sliced = True
        elif sliced:
            return False
    return True


def constant_integer(node: ast.expr) -> int:
    """A literal integer."""
    value = ast.literal_eval(node)
    if type(value) not in (int, bool):
        raise NotTranslated(f"{ast.unparse(node)} as a literal")
    return int(value)
