"""A kernel as a module of its own: Numba and NumPy, nothing of gradc.

The kernel is the text that gradc compiles, with its vector math, BLAS calls and allocations written as Numba has them.
Around it stand the helpers that it calls, what its arguments have to be, and a function of the user's arguments.
"""

from __future__ import annotations

import builtins
import inspect
import re
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from gradc import errors
from gradc.codegen.arguments import Results, describe_leaves, signature_text, unpack_lines
from gradc.codegen.fourier import part_of
from gradc.codegen.kernel import Printer
from gradc.codegen.layout import APART, CHECK, ArgumentChecks, apart_lines, arguments_text
from gradc.codegen.naming import fresh_name
from gradc.codegen.standalone_library import LIBRARY_HELPERS, NEEDED
from gradc.errors import UnsupportedError
from gradc.ir.loops import (
    FOURIER_FUNCTIONS,
    KERNEL_FUNCTIONS,
    OWN_FUNCTIONS,
    SPECIAL_FUNCTIONS,
    Alloc,
    Bind,
    Buffer,
    CallC,
    Kernel,
    Lin,
    Product,
    Raise,
    Transform,
)
from gradc.ir.nodes import Func
from gradc.ir.program import Capture
from gradc.ir.tree import Tree
from gradc.ir.types import Array, Scalar, Type
from gradc.ops import parameter_slopes

INDENT = "    "
WIDTH = 100

_SAME_IN_NUMPY = (
    "sqrt", "fabs", "floor", "ceil", "rint", "trunc", "copysign", "nextafter", "exp", "exp2", "expm1", "log", "log2",
    "log10", "log1p", "cbrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "hypot", "fmod", "logaddexp", "logaddexp2",
)  # fmt: skip
IMPORTED: dict[str, str] = {
    **{name: f"from numpy import {name}" for name in _SAME_IN_NUMPY},
    **{f"a{name}": f"from numpy import arc{name} as a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "atan2": "from numpy import arctan2 as atan2",
    "pow": "from numpy import power as pow",
    "floordiv": "from numpy import floor_divide as floordiv",
    "mod": "from numpy import remainder as mod",
    "larger": "from numpy import maximum as larger",
    "smaller": "from numpy import minimum as smaller",
    "erf": "from math import erf",
    "erfc": "from math import erfc",
    "lgamma": "from math import lgamma",
    "tgamma": "from math import gamma as tgamma",
}
"""Kernel functions that NumPy or `math` has, as Numba compiles them."""

HELPERS: dict[str, str] = {
    "reassoc_add": '''\
@njit(fastmath={"reassoc", "contract"})
def reassoc_add(total, term):
    """total + term; the compiler may reorder the terms of such a sum, and so vectorise it."""
    return total + term
''',
    "reassoc_mul": '''\
@njit(fastmath={"reassoc", "contract"})
def reassoc_mul(total, factor):
    """total * factor; the compiler may reorder the factors of such a product."""
    return total * factor
''',
    "sigmoid": '''\
@njit(error_model="numpy")
def sigmoid(x):
    """1 / (1 + exp(-x)), which does not overflow."""
    e = np.exp(-abs(x))
    return (1 if x >= 0 else e) / (1 + e)
''',
    "softplus": '''\
@njit(error_model="numpy")
def softplus(x):
    """log(1 + exp(x)), which does not overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))
''',
    "grow": '''\
@njit
def grow(data, size):
    """A longer copy: at least `size`, at least twice as long."""
    longer = np.empty(max(size, 2 * len(data)), data.dtype)
    longer[: len(data)] = data
    return longer
''',
    "matrix": '''\
@njit
def matrix(array, row, column, rows, columns):
    """The matrix in an array whose rows and columns run along two of its axes; along axis -1 nothing changes."""
    down = array.strides[row] if row >= 0 else 0
    across = array.strides[column] if column >= 0 else 0
    return as_strided(array, (rows, columns), (down, across))
''',
    "product": '''\
@njit
def product(a, row_a, col_a, b, row_b, col_b, c, row_c, col_c, m, n, k, add):
    """c (+)= a @ b by BLAS, for matrices in arrays."""
    if m > 0 and n > 0:
        target = matrix(c, row_c, col_c, m, n)
        if not add:
            target[:, :] = 0
        if k > 0:
            left = np.ascontiguousarray(matrix(a, row_a, col_a, m, k))
            right = np.ascontiguousarray(matrix(b, row_b, col_b, k, n))
            target += np.dot(left, right)
''',
    "exact_product": '''\
@njit
def exact_product(a, row_a, col_a, b, row_b, col_b, c, row_c, col_c, m, n, k, add):
    """c (+)= a @ b by loops, for integers and booleans."""
    if m > 0 and n > 0:
        target = matrix(c, row_c, col_c, m, n)
        if not add:
            target[:, :] = 0
        if k > 0:
            left, right = matrix(a, row_a, col_a, m, k), matrix(b, row_b, col_b, k, n)
            for i in range(m):
                for j in range(n):
                    for p in range(k):
                        target[i, j] = target[i, j] + left[i, p] * right[p, j]
''',
    "special": '''\
def special(name, operands):
    """A function of `scipy.special` for compiled code, from SciPy's C interface: d is a double, l an integer."""
    c_types = {"d": (ctypes.c_double, "double"), "l": (ctypes.c_long, "(?:Py_ssize_t|long)")}
    wanted = "double .(" + ", ".join(c_types[o][1] for o in operands) + ")(, int .*)?."
    get_name, get_pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    get_name.restype, get_name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    for found, capsule in cython_special.__pyx_capi__.items():
        signature = re.fullmatch(wanted, get_name(capsule).decode())
        if signature and re.fullmatch("(__pyx_fuse_[0-9]+(_[0-9]+)?)?" + name, found):
            break
    else:
        raise ImportError(f"this SciPy has no C function {name} of {operands}")
    # Cython passes a last argument that is 0 in calls from C.
    last = [ctypes.c_int] if signature[2] else []
    function = ctypes.CFUNCTYPE(ctypes.c_double, *(c_types[o][0] for o in operands), *last)(
        get_pointer(capsule, get_name(capsule))
    )
    names = "abcd"[: len(operands)]
    given = [f"int({n})" if o == "l" else n for n, o in zip(names, operands)] + ["0"] * len(last)
    return njit(eval(f"lambda {', '.join(names)}: function({', '.join(given)})", {"function": function}))
''',
    "fourier": '''\
class UFunc(ctypes.Structure):
    """The start of NumPy's public PyUFuncObject."""

    _fields_ = [("head", ctypes.c_char * object.__basicsize__), ("numbers", ctypes.c_int * 4),
                ("loops", ctypes.POINTER(ctypes.c_void_p)), ("data", ctypes.POINTER(ctypes.c_void_p))]


def fourier(part, even, odd, to_real=False):
    """NumPy's transform of rows for compiled code, by the C loops of the ufuncs for even and odd numbers of points."""
    found = []
    for ufunc in (even, odd):
        held = UFunc.from_address(id(ufunc))
        k = [signature[1] for signature in ufunc.types].index(np.dtype(part).char)
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(held.loops[k])
        found += [function, (held.data[k] or 0) if held.data else 0]
    loop, data, odd_loop, odd_data = found

    @njit
    def transform(a, axis_a, row_a, c, axis_c, row_c, rows, size_a, size_c, scale):
        points = size_c if to_real else size_a
        if rows > 0 and points > 0:
            factor = np.ones(1, part)
            if scale > 0:
                factor[0] = 1 / (np.sqrt(points) if scale == 1 else points)
            pointers = np.array([a.ctypes.data, factor.ctypes.data, c.ctypes.data])
            sizes = np.array([rows, size_a, size_c])
            steps = np.array([a.strides[row_a] if row_a >= 0 else 0, 0, c.strides[row_c] if row_c >= 0 else 0,
                              a.strides[axis_a] if axis_a >= 0 else 0, c.strides[axis_c] if axis_c >= 0 else 0])
            if points % 2:
                odd_loop(pointers.ctypes, sizes.ctypes, steps.ctypes, odd_data)
            else:
                loop(pointers.ctypes, sizes.ctypes, steps.ctypes, data)
            factor[0] = 1  # it is there until now

    return transform
''',
    **LIBRARY_HELPERS,
    "prepared": '''\
def prepared(array, order):
    """The array as the kernel takes it: in this order of memory, and not read-only; copied where it is not so."""
    return np.require(array, None, ["W", "A", order] if order else ["W", "A"])
''',
    "in_place": '''\
def in_place(name, array, order):
    """An array that the kernel writes into, which cannot be a copy."""
    if array is not prepared(array, order):
        raise ValueError(f"{name} is written to: pass a writeable array in {order or 'any'} order")
    return array
''',
}  # fmt: skip


class _Standalone(Printer):
    """Prints a kernel with what Numba itself has."""

    def _alloc(self, stmt: Alloc) -> None:
        buffer = stmt.buffer
        kept = range(len(buffer.extents)) if buffer.kept is None else buffer.kept
        sizes = [self.size(buffer.extents[k]) for k in kept]
        shape = sizes[0] if len(sizes) == 1 else f"({', '.join(sizes)})"
        self.line(f"{buffer.name} = np.empty({shape}, np.{buffer.dtype.replace('bool', 'bool_')})")

    def _bind(self, stmt: Bind) -> None:
        buffer, source = stmt.buffer, stmt.source
        if stmt.cond is not None or source is None:
            super()._bind(stmt)
            return
        shape = [self.scalars.lin(e) for e in buffer.extents]
        start = self.offset(source)
        count = " * ".join(s if re.fullmatch(r"\w+", s) else f"({s})" for s in shape) or "1"
        stop = count if start == "0" else f"{start} + {count}"
        flat = f"{source.buffer.name}.reshape({source.buffer.name}.size)"
        written = f"({', '.join(shape)}{',' if len(shape) == 1 else ''})"
        reshaped = "" if len(shape) == 1 else f".reshape({written})"
        self.line(f"{buffer.name} = {flat}[{start}:{stop}]{reshaped}")

    def _product(self, stmt: Product) -> None:
        m, n, k = stmt.sizes
        blas = stmt.c[0].dtype.startswith(("float", "complex"))
        whole = [_whole_matrix(*operand, *sizes) for operand, sizes in zip(
            (stmt.a, stmt.b, stmt.c), ((m, k), (k, n), (m, n)), strict=True
        )] if blas else []  # fmt: skip
        if whole and all(whole) and whole[2] == stmt.c[0].name and not stmt.add and stmt.c[0].fresh:
            self.line(f"np.dot({whole[0]}, {whole[1]}, {whole[2]})")
            return
        operands = []
        for buffer, start, row, column in (stmt.a, stmt.b, stmt.c):
            operands.append(f"{self._from(buffer, start)}, {row}, {column}")
        sizes = ", ".join(self.scalars.lin(s) for s in stmt.sizes)
        function = "product" if blas else "exact_product"
        self.line(f"{function}({', '.join(operands)}, {sizes}, {bool(stmt.add)})")

    def _transform(self, stmt: Transform) -> None:
        operands = [f"{self._from(buffer, start)}, {along}, {row}" for buffer, start, along, row in (stmt.a, stmt.c)]
        sizes = ", ".join(self.scalars.lin(s) for s in stmt.sizes)
        part = part_of(stmt.function, stmt.a[0].dtype, stmt.c[0].dtype)
        self.line(f"{stmt.function}_{part}({', '.join(operands)}, {sizes}, {stmt.scale})")

    def _from(self, buffer: Buffer, start: Sequence[Lin]) -> str:
        """A buffer from a position on."""
        at = [self.scalars.lin(p) for p in start]
        part = ", ".join(f"{p}:" if p != "0" else ":" for p in at)
        return f"{buffer.name}[{part}]" if any(p != "0" for p in at) else buffer.name

    def _callc(self, stmt: CallC) -> None:
        call = stmt.call.rpartition("_")[0] if stmt.call.startswith("linalg_") else stmt.call
        given = self.given(stmt)
        if call.startswith("linalg_") and call not in HELPERS or call == "linalg_qr" and given[3] == "1":
            raise UnsupportedError(
                f"this program calls {call}, which Numba does not have",
                why="gradc calls LAPACK for it.",
                hint="save the NumPy module instead: .save(path) without numba=True.",
            )
        self.line(f"{stmt.name} = {call}({', '.join(given)})")

    def _raise(self, stmt: Raise) -> None:
        cls = next((getattr(m, stmt.error) for m in (errors, builtins) if hasattr(m, stmt.error)), ValueError)
        builtin = next(c for c in cls.__mro__ if c.__module__ == "builtins")
        place = f" ({PurePath(stmt.loc.filename).name}:{stmt.loc.lineno})" if stmt.loc.lineno else ""
        message = (stmt.message + place).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        self.line(f'raise {builtin.__name__}("{message}")')

    def definition(self, name: str, types: Sequence[str], heads: Sequence[str]) -> str:
        """The kernel: a function of the leaves of the arguments that returns a tuple of results."""
        self.body(self.kernel.body)
        results = [self.result(r) for r in self.kernel.results]
        self.line(f"return {results[0]}" if len(results) == 1 else f"return ({', '.join(results)})")
        signature = f"@njit(({', '.join(types)}{',' if len(types) == 1 else ''}), "
        # Numba cannot keep what holds addresses of C functions.
        cached = "" if any("special_" in line or "fourier_" in line for line in self.lines) else "cache=True, "
        options = f'error_model="numpy", {cached}nogil=True)'
        if len(signature) + len(options) > 120:
            signature += "\n      "
        head = f"def {name}({', '.join(self.kernel.params)}):"
        return "\n".join([(signature + options).replace(" \n", "\n"), head, *heads, *self.lines]) + "\n"


def numba_module(
    kernel: Kernel,
    func: Func,
    name: str,
    signature: inspect.Signature,
    args: Sequence[Tree],
    result: Tree,
    captures: Sequence[Capture],
    looks: ArgumentChecks,
    changed: Sequence[int],
) -> str:
    """The module text that defines `name` and `name_kernel`. Needs NumPy and Numba, and SciPy where there are products.

    func: what `kernel` was lowered from, with one parameter per leaf. changed: positions of arrays that the kernel
    writes into.

    Raises: UnsupportedError where the kernel calls what Numba does not have.
    """
    for capture in captures:
        if capture.is_address:
            raise UnsupportedError(
                f"a file for Numba cannot hold the C function `{capture.name}`", func.loc,
                why="its address is another one in the next process.",
                hint="save it without numba=True: that module takes the function as an argument.",
            )
    leaves = describe_leaves(signature, args, captures, [p.name for p in func.params])
    trees = dict(zip(signature.parameters, args, strict=True))
    constants = {line.partition(" ")[0] for line in leaves.constants}
    used = {*leaves.names, *signature.parameters, *HELPERS, name, "np", "njit", "ARGUMENTS"}
    kernel_name = fresh_name(f"{name}_kernel", used)
    printer = _Standalone(kernel)
    ones = [
        f"{INDENT}if {param}.shape[{axis}] != 1:\n"
        f'{INDENT * 2}raise ValueError("this kernel was made for {param} of size 1 along axis {axis}")'
        for param, value in zip(kernel.params, func.params, strict=True)
        if isinstance(value.ty, Array)
        for axis, size in enumerate(value.ty.shape)
        if size == 1
    ]
    text = printer.definition(kernel_name, [_numba_type(p.ty) for p in func.params], ones)
    helpers, imports, definitions = _needed(text)
    # The function with the user's arguments.
    texts = [_from_kernel(v.ty, n) for v, n in zip(func.results, _result_names(func, used), strict=True)]
    returned = Results(texts, trees)
    extra = {leaves.names[k]: k for k in range(len(func.params)) if leaves.names[k] in leaves.extra}
    passed = [_prepared(p.ty, leaves.names[k], k in changed) for k, p in enumerate(func.params)]
    helpers |= {"prepared"} if any("(" in p for p in passed) else set()
    helpers |= {"in_place"} if any(p.startswith("in_place(") for p in passed) else set()
    given = ", ".join(f"{p}={p}" for p in [*signature.parameters, *leaves.extra])
    body = [f"check_arguments({given})"] if given else []
    body += unpack_lines(leaves, trees, lambda k: True)
    apart = apart_lines(func, leaves.names, looks.written)
    body += apart
    names = ", ".join(t.partition("(")[2].rstrip(")") if "(" in t else t for t in texts)
    call = f"{kernel_name}({', '.join(passed)})"
    if len(call) > WIDTH:
        call = f"{kernel_name}(\n" + "".join(f"{INDENT * 2}{p},\n" for p in passed) + f"{INDENT})"
    body.append(f"{names} = {call}" if texts else call)
    lines = [INDENT + line for line in body] + returned.lines(result, INDENT, "return ", WIDTH)
    header = f"def {name}{signature_text(signature, leaves.extra)}:"
    checks = [arguments_text(func, trees, extra, looks.fixed), CHECK] if given else []
    numba_names = sorted(set(re.findall(r"\b(u?int\d+|float\d+|complex\d+|boolean|types)\b", text.split("\ndef ")[0])))
    head = [*imports, "import numpy as np", f"from numba import {', '.join([*numba_names, 'njit'])}"]
    if returned.definitions:
        head.insert(0, "import collections")
    if "matrix" in helpers:
        head.append("from numpy.lib.stride_tricks import as_strided")
    parts = [
        _title(func, name, kernel_name, "np.dot" in text or "product" in helpers, "special" in helpers,
            "fourier" in helpers),
        "\n".join(_sorted_imports(head)),
        *(["\n".join([*returned.definitions, *leaves.constants])] if returned.definitions or constants else []),
        *checks[:1],
    ]
    checks += [APART] if apart else []
    # What is compiled at once stands behind what it calls.
    called = "\n".join([header, *lines]) + "\n"
    blocks = [called, *(HELPERS[h] for h in HELPERS if h in helpers), *definitions, text, *checks[1:]]
    return "\n\n".join(parts) + "\n\n\n" + "\n\n".join(blocks)


def _title(func: Func, name: str, kernel_name: str, products: bool, special: bool, fourier: bool) -> str:
    loc = func.loc
    where = f" (from {loc.function or func.name}, {PurePath(loc.filename).name}:{loc.lineno})"
    where = where if loc.lineno and not loc.filename.startswith("<") else ""
    needs = "NumPy, Numba and SciPy" if special else "NumPy and Numba"
    needs += ", and SciPy, by which Numba reaches BLAS" if products and not special else ""
    kept = "" if special or fourier else ", and kept\nin __pycache__"
    return (
        f'"""{name}{where}, staged by gradc for Numba.\n\n'
        f"Needs {needs}. `{name}` takes the arguments that `ARGUMENTS` says;\n"
        f"`{kernel_name}` takes the numbers and arrays in them, and can be called from functions under\n"
        f'numba.njit. It is compiled when this module is first imported, for the types that stand above it{kept}.\n"""'
    )


def _sorted_imports(lines: Sequence[str]) -> list[str]:
    """Python's own first; what comes from NumPy in one line."""
    own = [line for line in lines if re.match(r"(import|from) (collections|ctypes|math|re)\b", line)]
    names = sorted(line.removeprefix("from numpy import ") for line in lines if line.startswith("from numpy import "))
    gathered = [f"from numpy import {', '.join(names)}"] if names else []
    others = [line for line in lines if line not in own and not line.startswith("from numpy import ")]
    plain = [line for line in others if line.startswith("import ")]
    return [*own, *([""] if own else []), *plain, *sorted([*gathered, *(x for x in others if x not in plain)])]


def _needed(text: str) -> tuple[set[str], list[str], list[str]]:
    """The helpers that the kernel calls, imports of what NumPy, `math` and SciPy have for the others, and definitions.

    Raises: UnsupportedError for a function that none of them has.
    """
    code = re.sub(r'"(\\.|[^"\\])*"', "", text)
    called = set(re.findall(r"(?<![\w.])(\w+)\(", code))
    imports = []
    helpers = {"matrix"} if called & {"product", "exact_product"} else set()
    special = {}
    own: dict[str, str] = {}
    transforms = []
    for function in sorted(called):
        if function.rpartition("_")[0] in FOURIER_FUNCTIONS:
            transforms.append(function)
        elif function in HELPERS:
            helpers |= {function, *NEEDED.get(function, ())}
        elif function in IMPORTED:
            imports.append(IMPORTED[function])
        elif function in OWN_FUNCTIONS:
            name, arity, orders = OWN_FUNCTIONS[function]
            names = ", ".join("abx"[:arity]) if arity == 3 else "a, x"
            imports.append("import math")
            own[name] = f'@njit(error_model="numpy")\n{parameter_slopes.plain_text(name)}\n'
            given = ", ".join(str(k) for k in orders)
            own[function] = f"@njit\ndef {function}({names}):\n    return {name}({names}, {given})\n"
        elif function in SPECIAL_FUNCTIONS and SPECIAL_FUNCTIONS[function][2] < 0:
            special[function] = SPECIAL_FUNCTIONS[function]
        elif function in KERNEL_FUNCTIONS or function.startswith(("special_", "call_c_")):
            raise UnsupportedError(
                f"this program calls {function}, which Numba does not have",
                why="gradc calls it by its address, or made it itself.",
                hint="save the NumPy module instead: .save(path) without numba=True.",
            )
    if special:
        helpers.add("special")
        imports += ["import ctypes", "import re", "from scipy.special import cython_special"]
    definitions = [f'{f} = special("{name}", "{operands}")' for f, (name, operands, _) in special.items()]
    if transforms:
        helpers.add("fourier")
        imports += ["import ctypes", "from numpy.fft import _pocketfft_umath"]
    definitions += [_transform_definition(function) for function in transforms]
    texts = ["\n".join(definitions) + "\n"] if definitions else []
    return helpers, list(dict.fromkeys(imports)), [*texts, *own.values()]


def _transform_definition(function: str) -> str:
    kind, _, part = function.removeprefix("fourier_").rpartition("_")
    even, odd = ("rfft_n_even", "rfft_n_odd") if kind == "rfft" else (kind, kind)
    real = ", to_real=True" if kind == "irfft" else ""
    return f'{function} = fourier("{part}", _pocketfft_umath.{even}, _pocketfft_umath.{odd}{real})'


def _whole_matrix(buffer: Buffer, start: tuple[Lin, ...], row: int, column: int, rows: Lin, columns: Lin) -> str:
    """A buffer that is the matrix or its transpose, all of it and without gaps, as text; "" for others."""
    if (row, column) not in ((0, 1), (1, 0)) or len(buffer.extents) != 2 or buffer.layout == "A":
        return ""
    if any(not p.same(Lin()) for p in start) or buffer.of or buffer.kept is not None:
        return ""
    if not buffer.extents[row].same(rows) or not buffer.extents[column].same(columns):
        return ""
    return buffer.name if row == 0 else f"{buffer.name}.T"


def _numba_type(ty: Type) -> str:
    assert isinstance(ty, Scalar | Array)
    dtype = "boolean" if ty.dtype == "bool" else ty.dtype
    if isinstance(ty, Scalar):
        return dtype
    rank = len(ty.shape)
    if rank == 0:
        return f'types.Array({dtype}, 0, "C")'
    axes = [":"] * rank
    if ty.layout in ("C", "F"):
        axes[-1 if ty.layout == "C" else 0] = "::1"
    return f"{dtype}[{', '.join(axes)}]"


def _prepared(ty: Type, name: str, changed: bool) -> str:
    """An argument as the kernel takes it."""
    if not isinstance(ty, Array):
        return name
    order = "" if ty.layout == "A" else ty.layout
    return f'in_place("{name}", {name}, "{order}")' if changed else f'prepared({name}, "{order}")'


def _result_names(func: Func, used: set[str]) -> list[str]:
    return [fresh_name(v.name or ("value" if k == 0 else "result"), used) for k, v in enumerate(func.results)]


def _from_kernel(ty: Type, name: str) -> str:
    """A result of the kernel, which Numba gives Python's numbers for, as what the function returns."""
    if isinstance(ty, Scalar) and not ty.weak:
        return f"np.{np.dtype(ty.dtype).name.replace('bool', 'bool_')}({name})"
    return name
