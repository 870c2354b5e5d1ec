"""What kernels call below NumPy: vector math, reassociable accumulators, products on strided operands, allocation.

Everything here is an `@intrinsic`, so a kernel pays for a few LLVM instructions and not for compiling an overload.
Importing this module loads libmvec, also in a process that loads a compiled kernel from Numba's disk cache.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from llvmlite.ir.instructions import CallInstrAttributes
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj
from numba.np.numpy_support import from_dtype

from gradc.ir.loops import KERNEL_DTYPES

# ------------------------------------------------------------------------------------------- vector math

# libmvec's variants by instruction set: letter, lanes of double, and the CPU feature that they need.
_ISAS = (("b", 2, "sse2"), ("d", 4, "avx2"), ("e", 8, "avx512f"))


def _load_libmvec() -> Any:
    """libmvec as a ctypes library, also made visible to LLVM; None where there is none."""
    if platform.machine() not in ("x86_64", "AMD64") or platform.system() != "Linux":
        return None
    try:
        llvm.load_library_permanently("libmvec.so.1")
        return ctypes.CDLL("libmvec.so.1")
    except (OSError, RuntimeError):
        return None


def _host_features() -> frozenset[str]:
    """Features of the CPU that Numba compiles for."""
    if config.CPU_NAME == "generic":
        return frozenset(("sse2",))
    if config.CPU_FEATURES:
        return frozenset(f[1:] for f in config.CPU_FEATURES.split(",") if f.startswith("+")) | {"sse2"}
    return frozenset(name for name, on in llvm.get_host_cpu_features().items() if on)


_LIBMVEC = _load_libmvec()
_FEATURES = _host_features()


def vector_variants(symbol: str, arity: int, single: bool) -> list[tuple[str, int]]:
    """The routines of libmvec for a libm function that this CPU can run: (symbol, lanes)."""
    found = []
    for letter, lanes, feature in _ISAS:
        width = lanes * 2 if single else lanes
        name = f"_ZGV{letter}N{width}{'v' * arity}_{symbol}"
        if feature in _FEATURES and _LIBMVEC is not None and hasattr(_LIBMVEC, name):
            found.append((name, width))
    return found


class _RawAttributes(CallInstrAttributes):
    """Attributes of a call as the text given; llvmlite knows a fixed set only."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def __bool__(self) -> bool:
        return True

    def _to_list(self, _type: Any) -> list[str]:
        return [self._text]


def _declare(module: ir.Module, name: str, result: ir.Type, operands: list[ir.Type]) -> ir.Function:
    found = module.globals.get(name)
    return found if found is not None else ir.Function(module, ir.FunctionType(result, operands), name)


def _keep_alive(module: ir.Module, functions: list[ir.Function]) -> None:
    """Enter declarations into llvm.compiler.used, else they are stripped before the vectoriser asks for them."""
    byte_pointer = ir.IntType(8).as_pointer()
    entries = [f.bitcast(byte_pointer) for f in functions]
    variable = module.globals.get("llvm.compiler.used")
    if variable is None:
        variable = ir.GlobalVariable(module, ir.ArrayType(byte_pointer, len(entries)), "llvm.compiler.used")
        variable.linkage, variable.section = "appending", "llvm.metadata"
    else:
        entries = [*variable.initializer.constant, *entries]
        variable.value_type = ir.ArrayType(byte_pointer, len(entries))
        variable.type = variable.value_type.as_pointer()
    variable.initializer = ir.Constant(variable.value_type, entries)


def _float_type(ty: Any) -> tuple[ir.Type, bool] | None:
    """The LLVM type of a float type of Numba, and whether it is single precision."""
    if ty == types.float64:
        return ir.DoubleType(), False
    if ty == types.float32:
        return ir.FloatType(), True
    return None


def _call_libm(builder: Any, name: str, *args: Any) -> Any:
    """Call a libm function, or what libmvec has for it once vectorised, on values of one float type."""
    ty = args[0].type
    single = isinstance(ty, ir.FloatType)
    symbol = name + "f" if single else name
    module = builder.module
    call = builder.call(_declare(module, symbol, ty, [ty] * len(args)), args)
    attributes = "nounwind willreturn memory(none)"
    variants = vector_variants(symbol, len(args), single)
    if variants:
        declared = [
            _declare(module, v, ir.VectorType(ty, lanes), [ir.VectorType(ty, lanes)] * len(args))
            for v, lanes in variants
            if v not in module.globals
        ]
        if declared:
            _keep_alive(module, declared)
        attributes += ' "vector-function-abi-variant"="' + ",".join(f"{v}({v})" for v, _ in variants) + '"'
    call.attributes = _RawAttributes(attributes)
    return call


def _call_llvm(builder: Any, name: str, *args: Any) -> Any:
    """Call an intrinsic that LLVM itself knows how to vectorise."""
    ty = args[0].type
    whole = ir.FunctionType(ty, [ty] * len(args))
    return builder.call(builder.module.declare_intrinsic(f"llvm.{name}", [ty], whole), args)


Emit = Callable[..., Any]


def _function(arity: int, on_floats: Emit | None, on_integers: Emit | None = None) -> Any:
    """An intrinsic of operands of one type: `on_floats(builder, *values)`, `on_integers(builder, ty, *values)`."""

    def choose(types_: tuple[Any, ...]) -> Any:
        first = types_[0]
        if any(t != first for t in types_):
            return None
        if _float_type(first) and on_floats is not None:
            return first(*types_), lambda context, builder, signature, args: on_floats(builder, *args)
        if isinstance(first, types.Integer | types.Boolean) and on_integers is not None:
            return first(*types_), lambda context, builder, signature, args: on_integers(builder, first, *args)
        return None

    if arity == 1:

        @intrinsic
        def unary(typingctx: Any, x: Any) -> Any:
            return choose((x,))

        return unary

    @intrinsic
    def binary(typingctx: Any, x: Any, y: Any) -> Any:
        return choose((types.unliteral(x), types.unliteral(y)))

    return binary


def _libm(name: str, arity: int = 1) -> Any:
    return _function(arity, lambda builder, *args: _call_libm(builder, name, *args))


def _rounding(name: str) -> Any:
    """A rounding function; integers stay as they are."""
    return _function(1, lambda builder, x: _call_llvm(builder, name, x), lambda builder, ty, x: x)


floor, ceil, rint, trunc = (_rounding(n) for n in ("floor", "ceil", "rint", "trunc"))
sqrt, fabs = (_function(1, lambda builder, x, n=n: _call_llvm(builder, n, x)) for n in ("sqrt", "fabs"))
copysign = _function(2, lambda builder, x, y: _call_llvm(builder, "copysign", x, y))
exp, exp2, expm1, log, log2 = (_libm(n) for n in ("exp", "exp2", "expm1", "log", "log2"))
log10, log1p, cbrt = (_libm(n) for n in ("log10", "log1p", "cbrt"))
sin, cos, tan, asin, acos, atan = (_libm(n) for n in ("sin", "cos", "tan", "asin", "acos", "atan"))
sinh, cosh, tanh, asinh, acosh, atanh = (_libm(n) for n in ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"))
erf, erfc, lgamma, tgamma = (_libm(n) for n in ("erf", "erfc", "lgamma", "tgamma"))
atan2, hypot, nextafter = (_libm(n, 2) for n in ("atan2", "hypot", "nextafter"))


# ----------------------------------------------------------------------- composed of the functions above


def _sigmoid(builder: Any, x: Any) -> Any:
    one = ir.Constant(x.type, 1.0)
    e = _call_libm(builder, "exp", builder.fneg(_call_llvm(builder, "fabs", x)))
    numerator = builder.select(builder.fcmp_ordered(">=", x, ir.Constant(x.type, 0.0)), one, e)
    return builder.fdiv(numerator, builder.fadd(one, e))


def _softplus(builder: Any, x: Any) -> Any:
    e = _call_libm(builder, "exp", builder.fneg(_call_llvm(builder, "fabs", x)))
    positive = _call_llvm(builder, "maximum", x, ir.Constant(x.type, 0.0))
    return builder.fadd(positive, _call_libm(builder, "log1p", e))


def _logaddexp(base_2: bool) -> Emit:
    def emit(builder: Any, x: Any, y: Any) -> Any:
        # Equal infinities would give inf - inf; there the distance is 0.
        distance = builder.fsub(x, y)
        same = builder.fcmp_ordered("==", x, y)
        distance = builder.select(same, ir.Constant(x.type, 0.0), distance)
        e = _call_libm(builder, "exp2" if base_2 else "exp", builder.fneg(_call_llvm(builder, "fabs", distance)))
        rest = _call_libm(builder, "log1p", e)
        if base_2:
            rest = builder.fmul(rest, ir.Constant(x.type, 1.4426950408889634))
        return builder.fadd(_call_llvm(builder, "maximum", x, y), rest)

    return emit


sigmoid, softplus = _function(1, _sigmoid), _function(1, _softplus)
logaddexp, logaddexp2 = _function(2, _logaddexp(False)), _function(2, _logaddexp(True))


def _float_divmod(builder: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Quotient and remainder as NumPy's floor_divide and remainder round them (npy_divmod)."""
    zero, one, half = (ir.Constant(x.type, v) for v in (0.0, 1.0, 0.5))
    remainder = builder.frem(x, y)
    quotient = builder.fdiv(builder.fsub(x, remainder), y)
    nonzero = builder.fcmp_unordered("!=", remainder, zero)
    opposite = builder.xor(builder.fcmp_ordered("<", y, zero), builder.fcmp_ordered("<", remainder, zero))
    adjust = builder.and_(nonzero, opposite)
    quotient = builder.select(adjust, builder.fsub(quotient, one), quotient)
    adjusted = builder.select(adjust, builder.fadd(remainder, y), remainder)
    remainder = builder.select(nonzero, adjusted, _call_llvm(builder, "copysign", zero, y))
    low = _call_llvm(builder, "floor", quotient)
    low = builder.select(builder.fcmp_ordered(">", builder.fsub(quotient, low), half), builder.fadd(low, one), low)
    signed_zero = _call_llvm(builder, "copysign", zero, builder.fdiv(x, y))
    low = builder.select(builder.fcmp_unordered("!=", quotient, zero), low, signed_zero)
    by_zero = builder.fcmp_ordered("==", y, zero)
    nan = ir.Constant(x.type, float("nan"))
    return builder.select(by_zero, builder.fdiv(x, y), low), builder.select(by_zero, nan, remainder)


def _int_divmod(builder: Any, ty: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Quotient rounded down and remainder with the divisor's sign; 0 by zero (scalars are checked before)."""
    zero, one = (ir.Constant(x.type, v) for v in (0, 1))
    by_zero = builder.icmp_signed("==", y, zero)
    divisor = builder.select(by_zero, one, y)
    if not getattr(ty, "signed", False):
        quotient, remainder = builder.udiv(x, divisor), builder.urem(x, divisor)
    else:
        # The smallest integer by -1 traps on x86: that quotient is -x, which wraps.
        minus = builder.icmp_signed("==", divisor, ir.Constant(x.type, -1))
        divisor = builder.select(minus, one, divisor)
        quotient, remainder = builder.sdiv(x, divisor), builder.srem(x, divisor)
        opposite = builder.icmp_signed("<", builder.xor(remainder, divisor), zero)
        adjust = builder.and_(builder.icmp_signed("!=", remainder, zero), opposite)
        quotient = builder.select(adjust, builder.sub(quotient, one), quotient)
        remainder = builder.select(adjust, builder.add(remainder, divisor), remainder)
        quotient = builder.select(minus, builder.neg(x), quotient)
    return builder.select(by_zero, zero, quotient), builder.select(by_zero, zero, remainder)


def _int_fmod(builder: Any, ty: Any, x: Any, y: Any) -> Any:
    zero, one = (ir.Constant(x.type, v) for v in (0, 1))
    signed = getattr(ty, "signed", False)
    trap = builder.icmp_signed("==", y, zero)
    if signed:
        trap = builder.or_(trap, builder.icmp_signed("==", y, ir.Constant(x.type, -1)))
    divisor = builder.select(trap, one, y)
    return builder.srem(x, divisor) if signed else builder.urem(x, divisor)


def _int_pow(builder: Any, ty: Any, x: Any, y: Any) -> Any:
    """x**y by squaring, wrapping as NumPy's integers do; 1 where y <= 0 (negative exponents are checked before)."""
    zero, one = (ir.Constant(x.type, v) for v in (0, 1))
    result, base, left = (cgutils.alloca_once_value(builder, v) for v in (one, x, y))
    head, body, done = (builder.append_basic_block(n) for n in ("pow.head", "pow.body", "pow.done"))
    builder.branch(head)
    builder.position_at_end(head)
    builder.cbranch(builder.icmp_signed(">", builder.load(left), zero), body, done)
    builder.position_at_end(body)
    odd = builder.icmp_signed("==", builder.and_(builder.load(left), one), one)
    product = builder.mul(builder.load(result), builder.load(base))
    builder.store(builder.select(odd, product, builder.load(result)), result)
    builder.store(builder.mul(builder.load(base), builder.load(base)), base)
    builder.store(builder.ashr(builder.load(left), one), left)
    builder.branch(head)
    builder.position_at_end(done)
    return builder.load(result)


floordiv = _function(2, lambda b, x, y: _float_divmod(b, x, y)[0], lambda b, ty, x, y: _int_divmod(b, ty, x, y)[0])
mod = _function(2, lambda b, x, y: _float_divmod(b, x, y)[1], lambda b, ty, x, y: _int_divmod(b, ty, x, y)[1])
fmod = _function(2, lambda b, x, y: b.frem(x, y), _int_fmod)
pow = _function(2, lambda b, x, y: _call_libm(b, "pow", x, y), _int_pow)


def _extremum(real: str, comparison: str) -> Any:
    def on_integers(builder: Any, ty: Any, x: Any, y: Any) -> Any:
        compare = builder.icmp_signed if getattr(ty, "signed", False) else builder.icmp_unsigned
        return builder.select(compare(comparison, x, y), x, y)

    return _function(2, lambda builder, x, y: _call_llvm(builder, real, x, y), on_integers)


larger, smaller = _extremum("maximum", ">"), _extremum("minimum", "<")
"""The larger and the smaller of two numbers, NaN where one of them is, as np.maximum and np.minimum."""


# -------------------------------------------------------------------------------------------- accumulators


def _reassociable(real: str) -> Callable[[Any, Any, Any, Any], Any]:
    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ty = signature.return_type
        combine = getattr(builder, "f" + real)
        if isinstance(ty, types.Float):
            return combine(*args, flags=("reassoc", "contract"))
        if isinstance(ty, types.Complex):
            a, b = (context.make_complex(builder, ty, value=v) for v in args)
            result = context.make_complex(builder, ty)
            result.real = combine(a.real, b.real, flags=("reassoc", "contract"))
            result.imag = combine(a.imag, b.imag, flags=("reassoc", "contract"))
            return result._getvalue()
        return getattr(builder, real)(*args)

    return emit


@intrinsic
def reassoc_add(typingctx: Any, accumulator: Any, term: Any) -> Any:
    """accumulator + term, where LLVM may reorder the additions into this accumulator."""
    if accumulator != term or not isinstance(term, types.Float | types.Complex | types.Integer):
        return None
    return term(accumulator, term), _reassociable("add")


@intrinsic
def reassoc_mul(typingctx: Any, accumulator: Any, term: Any) -> Any:
    """accumulator * term for real numbers, where LLVM may reorder the products into this accumulator."""
    if accumulator != term or not isinstance(term, types.Float | types.Integer):
        return None
    return term(accumulator, term), _reassociable("mul")


# ---------------------------------------------------------------------------------------------- memory


def _intp(context: Any, builder: Any, value: Any, ty: Any) -> Any:
    return context.cast(builder, value, ty, types.intp)


def _shape_values(context: Any, builder: Any, shape: Any, ty: Any) -> list[Any]:
    items = cgutils.unpack_tuple(builder, shape, len(ty))
    return [_intp(context, builder, v, t) for v, t in zip(items, ty, strict=True)]


def _is_shape(ty: Any) -> bool:
    return isinstance(ty, types.BaseTuple) and all(isinstance(t, types.Integer) for t in ty)


def _empty(dtype: str) -> Any:
    """An intrinsic that makes a new C-contiguous array of a dtype; compiles faster than np.empty."""
    element = from_dtype(np.dtype(dtype))

    @intrinsic
    def empty(typingctx: Any, shape: Any) -> Any:
        if not _is_shape(shape):
            return None
        made = types.Array(element, len(shape), "C")

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sizes = _shape_values(context, builder, args[0], signature.args[0])
            return arrayobj._empty_nd_impl(context, builder, made, sizes)._getvalue()

        return made(shape), emit

    return empty


EMPTY = {dtype: f"empty_{dtype}" for dtype in KERNEL_DTYPES}
globals().update({name: _empty(dtype) for dtype, name in EMPTY.items()})


@intrinsic
def view(typingctx: Any, array: Any, offset: Any, shape: Any) -> Any:
    """A C-contiguous view of `shape` that starts `offset` elements after the start of a contiguous array."""
    if not isinstance(array, types.Array) or not _is_shape(shape) or not isinstance(offset, types.Integer):
        return None
    result = array.copy(ndim=len(shape), layout="C")

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = arrayobj.make_array(array)(context, builder, args[0])
        start = _intp(context, builder, args[1], signature.args[1])
        sizes = _shape_values(context, builder, args[2], signature.args[2])
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(array.dtype)))
        strides: list[Any] = []
        step = itemsize
        for size in reversed(sizes):
            strides.insert(0, step)
            step = builder.mul(step, size)
        made = arrayobj.make_array(result)(context, builder)
        arrayobj.populate_array(
            made,
            data=builder.gep(source.data, [start]),
            shape=cgutils.pack_array(builder, sizes, ty=ir.IntType(types.intp.bitwidth)),
            strides=cgutils.pack_array(builder, strides, ty=ir.IntType(types.intp.bitwidth)),
            itemsize=itemsize,
            meminfo=source.meminfo,
            parent=source.parent,
        )
        context.nrt.incref(builder, result, made._getvalue())
        return made._getvalue()

    return result(array, offset, shape), emit


# --------------------------------------------------------------------------------------------- products

_BLAS_KINDS = {types.float32: "s", types.float64: "d", types.complex64: "c", types.complex128: "z"}
_SMALL_PRODUCT = 1024  # multiplications below which a loop nest beats a BLAS call
_INT = ir.IntType(64)
_CHAR = ir.IntType(8)
_POINTER = _CHAR.as_pointer()


def _constant(value: int) -> ir.Constant:
    return ir.Constant(_INT, value)


def _times(context: Any, builder: Any, dtype: Any, a: Any, b: Any) -> Any:
    if isinstance(dtype, types.Complex):
        left, right = (context.make_complex(builder, dtype, value=v) for v in (a, b))
        result = context.make_complex(builder, dtype)
        flags = ("contract",)
        result.real = builder.fsub(
            builder.fmul(left.real, right.real, flags=flags),
            builder.fmul(left.imag, right.imag, flags=flags),
            flags=flags,
        )
        result.imag = builder.fadd(
            builder.fmul(left.real, right.imag, flags=flags),
            builder.fmul(left.imag, right.real, flags=flags),
            flags=flags,
        )
        return result._getvalue()
    if isinstance(dtype, types.Float):
        return builder.fmul(a, b, flags=("contract",))
    return builder.and_(a, b) if isinstance(dtype, types.Boolean) else builder.mul(a, b)


def _plus(context: Any, builder: Any, dtype: Any, a: Any, b: Any) -> Any:
    if isinstance(dtype, types.Complex):
        left, right = (context.make_complex(builder, dtype, value=v) for v in (a, b))
        result = context.make_complex(builder, dtype)
        result.real = builder.fadd(left.real, right.real, flags=("reassoc", "contract"))
        result.imag = builder.fadd(left.imag, right.imag, flags=("reassoc", "contract"))
        return result._getvalue()
    if isinstance(dtype, types.Float):
        return builder.fadd(a, b, flags=("reassoc", "contract"))
    return builder.or_(a, b) if isinstance(dtype, types.Boolean) else builder.add(a, b)


def _transposed_if(builder: Any, when: Any, o: dict[str, Any]) -> dict[str, Any]:
    """The operands of c.T (+)= b.T @ a.T instead of c (+)= a @ b where `when` holds."""
    other = {
        "a": o["b"], "ra": o["cb"], "ca": o["rb"], "b": o["a"], "rb": o["ca"], "cb": o["ra"], "c": o["c"],
        "rc": o["cc"], "cc": o["rc"], "m": o["n"], "n": o["m"], "k": o["k"], "add": o["add"],
    }  # fmt: skip
    return {name: builder.select(when, other[name], value) for name, value in o.items()}


def _is(builder: Any, value: Any, number: int) -> Any:
    return builder.icmp_signed("==", value, _constant(number))


def _loop_product(context: Any, builder: Any, dtype: Any, o: dict[str, Any]) -> None:
    """c (+)= a @ b by loops: rows, then the summed index, then columns where memory runs along columns; else dots."""
    by_columns = builder.and_(_is(builder, o["cb"], 1), _is(builder, o["cc"], 1))
    by_rows = builder.and_(_is(builder, o["ra"], 1), _is(builder, o["rc"], 1))
    o = _transposed_if(builder, builder.and_(by_rows, builder.not_(by_columns)), o)
    zero = context.get_constant_null(dtype)

    def address(name: str, row: Any, column: Any) -> Any:
        offset = builder.add(builder.mul(row, o["r" + name]), builder.mul(column, o["c" + name]))
        return builder.gep(o[name], [offset])

    along_columns = builder.and_(_is(builder, o["cb"], 1), _is(builder, o["cc"], 1))
    with builder.if_else(along_columns) as (by_rows, by_dots):
        with by_rows, cgutils.for_range(builder, o["m"], intp=_INT) as row:
            with builder.if_then(builder.not_(o["add"])), cgutils.for_range(builder, o["n"], intp=_INT) as column:
                builder.store(zero, address("c", row.index, column.index))
            with cgutils.for_range(builder, o["k"], intp=_INT) as inner:
                left = builder.load(address("a", row.index, inner.index))
                with cgutils.for_range(builder, o["n"], intp=_INT) as column:
                    right = builder.load(address("b", inner.index, column.index))
                    target = address("c", row.index, column.index)
                    product = _times(context, builder, dtype, left, right)
                    builder.store(_plus(context, builder, dtype, builder.load(target), product), target)
        with by_dots, cgutils.for_range(builder, o["m"], intp=_INT) as row:
            with cgutils.for_range(builder, o["n"], intp=_INT) as column:
                target = address("c", row.index, column.index)
                total = cgutils.alloca_once(builder, zero.type)
                builder.store(zero, total)
                with builder.if_then(o["add"]):
                    builder.store(builder.load(target), total)
                with cgutils.for_range(builder, o["k"], intp=_INT) as inner:
                    left = builder.load(address("a", row.index, inner.index))
                    right = builder.load(address("b", inner.index, column.index))
                    product = _times(context, builder, dtype, left, right)
                    builder.store(_plus(context, builder, dtype, builder.load(total), product), total)
                builder.store(builder.load(total), target)


def _blas_product(context: Any, builder: Any, dtype: Any, o: dict[str, Any]) -> None:
    """c (+)= a @ b by xGEMM or xGEMV; every operand has unit stride along rows or along columns."""
    module, one = builder.module, _constant(1)
    kind = ir.Constant(_CHAR, ord(_BLAS_KINDS[dtype]))
    alpha = cgutils.alloca_once_value(builder, context.get_constant_generic(builder, dtype, 1))
    beta = cgutils.alloca_once_value(
        builder,
        builder.select(o["add"], builder.load(alpha), context.get_constant_generic(builder, dtype, 0)),
    )

    def raw(pointer: Any) -> Any:
        return builder.bitcast(pointer, _POINTER)

    def leading(row: Any, column: Any, rows: Any, columns: Any) -> tuple[Any, Any]:
        """Whether memory runs along a row, and the leading dimension; at least what BLAS insists on."""
        along = _runs_along_rows(builder, row, column, rows, columns)
        stride, least = builder.select(along, row, column), builder.select(along, columns, rows)
        least = builder.select(builder.icmp_signed(">", least, one), least, one)
        return along, builder.select(builder.icmp_signed(">", stride, least), stride, least)

    gemm = _declare(
        module, "numba_xxgemm", ir.IntType(32),
        [_CHAR, _CHAR, _CHAR, _INT, _INT, _INT, _POINTER, _POINTER, _INT, _POINTER, _INT, _POINTER, _POINTER, _INT],
    )  # fmt: skip
    gemv = _declare(
        module, "numba_xxgemv", ir.IntType(32),
        [_CHAR, _CHAR, _INT, _INT, _POINTER, _POINTER, _INT, _POINTER, _POINTER, _POINTER],
    )  # fmt: skip
    plain, transposed = ir.Constant(_CHAR, ord("n")), ir.Constant(_CHAR, ord("t"))
    along_a, lda = leading(o["ra"], o["ca"], o["m"], o["k"])
    along_b, ldb = leading(o["rb"], o["cb"], o["k"], o["n"])
    along_c, ldc = leading(o["rc"], o["cc"], o["m"], o["n"])
    with builder.if_else(_is(builder, o["n"], 1)) as (matrix_vector, matrix_matrix):
        with matrix_vector:
            trans = builder.select(along_a, transposed, plain)

            def call(a: Any, rows: Any, columns: Any, x: Any, factor: Any, y: Any) -> None:
                # BLAS counts in columns: memory that runs along rows is the transposed matrix.
                first, second = builder.select(along_a, columns, rows), builder.select(along_a, rows, columns)
                args = [kind, trans, first, second, raw(alpha), raw(a), lda, raw(x), raw(factor), raw(y)]
                builder.call(gemv, args)

            _in_pieces(context, builder, dtype, o, alpha, beta, call)
        with matrix_matrix:
            # c.T = b.T @ a.T where c runs along rows.
            swap = along_c
            first, second = builder.select(swap, o["b"], o["a"]), builder.select(swap, o["a"], o["b"])
            trans_b = builder.select(builder.xor(along_b, along_c), transposed, plain)
            trans_a = builder.select(builder.xor(along_a, along_c), transposed, plain)
            args = [
                kind,
                builder.select(swap, trans_b, trans_a), builder.select(swap, trans_a, trans_b),
                builder.select(swap, o["n"], o["m"]), builder.select(swap, o["m"], o["n"]), o["k"],
                raw(alpha), raw(first), builder.select(swap, ldb, lda), raw(second), builder.select(swap, lda, ldb),
                raw(beta), raw(o["c"]), ldc,
            ]  # fmt: skip
            builder.call(gemm, args)


_PIECE = 512  # elements of a vector that are gathered at a time


def _in_pieces(
    context: Any, builder: Any, dtype: Any, o: dict[str, Any], one: Any, beta: Any, call: Callable[..., None]
) -> None:
    """c (+)= a @ b for vectors b and c, piece by piece through buffers where their elements are not neighbours.

    `call(a, rows, columns, x, factor, y)` does y = factor * y + a @ x without steps.
    """
    element = context.get_data_type(dtype)
    gathered, scattered = (
        builder.gep(cgutils.alloca_once(builder, ir.ArrayType(element, _PIECE)), [_constant(0), _constant(0)])
        for _ in range(2)
    )
    nothing = cgutils.alloca_once_value(builder, context.get_constant_null(dtype))
    x_plain, y_plain = _is(builder, o["rb"], 1), _is(builder, o["rc"], 1)

    def piece(plain: Any, size: Any) -> tuple[Any, Any]:
        """Length of a piece, and how many there are."""
        length = builder.select(plain, size, _constant(_PIECE))
        return length, builder.sdiv(builder.sub(builder.add(size, length), _constant(1)), length)

    def least(p: Any, q: Any) -> Any:
        return builder.select(builder.icmp_signed("<", p, q), p, q)

    height, rows = piece(y_plain, o["m"])
    width, columns = piece(x_plain, o["k"])
    with cgutils.for_range(builder, rows, intp=_INT) as row_piece:
        row = builder.mul(row_piece.index, height)
        long = least(height, builder.sub(o["m"], row))
        with cgutils.for_range(builder, columns, intp=_INT) as column_piece:
            column = builder.mul(column_piece.index, width)
            wide = least(width, builder.sub(o["k"], column))
            with builder.if_then(builder.not_(x_plain)), cgutils.for_range(builder, wide, intp=_INT) as k:
                source = builder.gep(o["b"], [builder.mul(builder.add(column, k.index), o["rb"])])
                builder.store(builder.load(source), builder.gep(gathered, [k.index]))
            corner = builder.add(builder.mul(row, o["ra"]), builder.mul(column, o["ca"]))
            x = builder.select(x_plain, o["b"], gathered)
            first = builder.select(y_plain, beta, nothing)
            factor = builder.select(_is(builder, column_piece.index, 0), first, one)
            call(builder.gep(o["a"], [corner]), long, wide, x, factor, builder.select(y_plain, o["c"], scattered))
        with builder.if_then(builder.not_(y_plain)), cgutils.for_range(builder, long, intp=_INT) as k:
            target = builder.gep(o["c"], [builder.mul(builder.add(row, k.index), o["rc"])])
            made = builder.load(builder.gep(scattered, [k.index]))
            with builder.if_else(o["add"]) as (adds, stores):
                with adds:
                    builder.store(_plus(context, builder, dtype, builder.load(target), made), target)
                with stores:
                    builder.store(made, target)


def _runs_along_rows(builder: Any, row: Any, column: Any, rows: Any, columns: Any) -> Any:
    """Whether elements of a row are neighbours (also where there is one column or one row only) and rows are apart."""
    one = _constant(1)
    unit = builder.or_(builder.icmp_signed("==", column, one), builder.icmp_signed("<=", columns, one))
    apart = builder.or_(builder.icmp_signed(">=", row, columns), builder.icmp_signed("<=", rows, one))
    return builder.and_(unit, builder.and_(apart, builder.icmp_signed(">=", row, one)))


def _suits_blas(builder: Any, row: Any, column: Any, rows: Any, columns: Any) -> Any:
    return builder.or_(
        _runs_along_rows(builder, row, column, rows, columns), _runs_along_rows(builder, column, row, columns, rows)
    )


_PRODUCT_OPERANDS = ("a", "ra", "ca", "b", "rb", "cb", "c", "rc", "cc", "m", "n", "k", "add")


def product_function(
    context: Any, module: ir.Module, dtype: Any, name: str = "", linkage: str = "internal"
) -> ir.Function:
    """The function of this module that multiplies matrices of one dtype, whatever their strides."""
    name = name or f"gradc_product_{dtype.name}"
    if name in module.globals and not module.globals[name].is_declaration:
        return module.globals[name]
    function, builder, o = _new_product_function(context, module, dtype, ir.VoidType(), name, linkage)
    if dtype in _BLAS_KINDS:
        multiplications = builder.mul(o["m"], builder.mul(o["n"], o["k"]))
        with builder.if_then(builder.icmp_signed(">=", multiplications, _constant(_SMALL_PRODUCT))):
            blas = _blas_function(context, module, dtype, f"{name}_by_blas", linkage)
            with builder.if_then(builder.call(blas, function.args)):
                builder.ret_void()
        o = _transposed_if(builder, _is(builder, o["m"], 1), o)
    _loop_product(context, builder, dtype, o)
    builder.ret_void()
    return function


def _new_product_function(
    context: Any, module: ir.Module, dtype: Any, result: ir.Type, name: str, linkage: str
) -> tuple[ir.Function, Any, dict[str, Any]]:
    """A function of the operands of a product, a builder in it, and its operands by name."""
    pointer = context.get_data_type(dtype).as_pointer()
    operand_types = [pointer, _INT, _INT] * 3 + [_INT, _INT, _INT, ir.IntType(1)]
    function = ir.Function(module, ir.FunctionType(result, operand_types), name)
    function.linkage = linkage
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    return function, builder, dict(zip(_PRODUCT_OPERANDS, function.args, strict=True))


def _blas_function(context: Any, module: ir.Module, dtype: Any, name: str, linkage: str) -> ir.Function:
    """The function that has BLAS multiply where memory allows, and says whether it did.

    LLVM leaves it as it is: its hundred instructions run before every call of BLAS, and took a fifth of compilation.
    """
    function, builder, o = _new_product_function(context, module, dtype, ir.IntType(1), name, linkage)
    function.attributes.add("optnone")
    # A vector times a matrix is a matrix times a vector: xGEMM takes ten times as long as xGEMV for these.
    o = _transposed_if(builder, _is(builder, o["m"], 1), o)
    vector = _is(builder, o["n"], 1)
    suits = _suits_blas(builder, o["ra"], o["ca"], o["m"], o["k"])
    for name_, rows, columns in (("b", "k", "n"), ("c", "m", "n")):
        fits = _suits_blas(builder, o["r" + name_], o["c" + name_], o[rows], o[columns])
        suits = builder.and_(suits, builder.or_(vector, fits))
    with builder.if_then(suits):
        _blas_product(context, builder, dtype, o)
    builder.ret(suits)
    return function


@intrinsic(prefer_literal=True)
def product(
    typingctx: Any, a: Any, at: Any, row_a: Any, col_a: Any, b: Any, bt: Any, row_b: Any, col_b: Any,
    c: Any, ct: Any, row_c: Any, col_c: Any, sizes: Any, add: Any,
) -> Any:  # fmt: skip
    """c[ct] (+)= a[at] @ b[bt] for matrices that start at the given elements; no operand is copied.

    `row_a`, `col_a`: the axes of the array `a` that are the matrix's rows and columns (-1: there is none).
    `sizes`: (m, n, k). `add`: keep what c holds. BLAS does it where memory allows and the product is not tiny.
    """
    arrays = (a, b, c)
    if not all(isinstance(t, types.Array) for t in arrays) or len({t.dtype for t in arrays}) != 1:
        return None
    axes = [getattr(t, "literal_value", None) for t in (row_a, col_a, row_b, col_b, row_c, col_c, add)]
    if not all(isinstance(v, int) for v in axes):
        return None
    axis_numbers = [int(v) for v in axes if v is not None]
    dtype = a.dtype
    signature = types.void(a, at, row_a, col_a, b, bt, row_b, col_b, c, ct, row_c, col_c, sizes, add)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        operands: list[Any] = []
        for k, ty in enumerate(arrays):
            start = [
                _intp(context, builder, v, t)
                for v, t in zip(
                    cgutils.unpack_tuple(builder, args[4 * k + 1], len(sig.args[4 * k + 1])),
                    sig.args[4 * k + 1],
                    strict=True,
                )
            ]
            made = arrayobj.make_array(ty)(context, builder, args[4 * k])
            strides = cgutils.unpack_tuple(builder, made.strides, ty.ndim)
            itemsize = _constant(context.get_abi_sizeof(context.get_data_type(dtype)))
            steps = [builder.sdiv(s, itemsize) for s in strides]
            offset: Any = _constant(0)
            for position, step in zip(start, steps, strict=True):
                offset = builder.add(offset, builder.mul(position, step))
            operands.append(builder.gep(made.data, [offset]))
            operands.extend(_constant(0) if axis < 0 else steps[axis] for axis in axis_numbers[2 * k : 2 * k + 2])
        operands.extend(_shape_values(context, builder, args[12], sig.args[12]))
        operands.append(ir.Constant(ir.IntType(1), int(bool(axis_numbers[6]))))
        builder.call(product_function(context, builder.module, dtype), operands)
        return context.get_dummy_value()

    return signature, emit


FINGERPRINT = (
    "libmvec:"
    + ",".join(letter for letter, _, feature in _ISAS if _LIBMVEC is not None and feature in _FEATURES)
    + f";erfc:{_LIBMVEC is not None and hasattr(_LIBMVEC, '_ZGVbN2v_erfc')}"
)
"""What compiled kernels depend on besides their text: part of the key of the disk cache."""


@njit(nogil=True)
def grow(data: Any, size: int) -> Any:
    """A longer copy of a one-dimensional array: at least `size`, at least twice as long."""
    longer = np.empty(max(size, 2 * data.shape[0]), data.dtype)
    for k in range(data.shape[0]):
        longer[k] = data[k]
    return longer
