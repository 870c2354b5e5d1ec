"""What kernels call below NumPy: vector math, reassociable accumulators, allocation, products (`product_intrinsic`).

Everything here is an `@intrinsic`, so a kernel pays for a few LLVM instructions and not for compiling an overload.
Importing this module loads libmvec and finds NumPy's Fourier transforms, also in a process that loads a compiled kernel
from Numba's disk cache.
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

from gradc.codegen.complex_functions import ComplexFunctions
from gradc.codegen.fourier import fourier_fft as fourier_fft  # kernels import these from here
from gradc.codegen.fourier import fourier_ifft as fourier_ifft
from gradc.codegen.fourier import fourier_irfft as fourier_irfft
from gradc.codegen.fourier import fourier_rfft as fourier_rfft
from gradc.codegen.product_intrinsic import as_intp, declare, shape_values
from gradc.codegen.product_intrinsic import product as product  # kernels import it from here
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
    call = builder.call(declare(module, symbol, ty, [ty] * len(args)), args)
    attributes = "nounwind willreturn memory(none)"
    variants = vector_variants(symbol, len(args), single)
    if variants:
        declared = [
            declare(module, v, ir.VectorType(ty, lanes), [ir.VectorType(ty, lanes)] * len(args))
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


def _function(
    arity: int, on_floats: Emit | None, on_integers: Emit | None = None, on_complex: Emit | None = None
) -> Any:
    """An intrinsic of operands of one type: `on_floats(builder, *values)`, `on_integers(builder, ty, *values)`.

    `on_complex(builder, real, imag)` gives both parts of the result.
    """

    def by_parts(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        assert on_complex is not None
        ty = signature.return_type
        z, result = context.make_complex(builder, ty, value=args[0]), context.make_complex(builder, ty)
        result.real, result.imag = on_complex(builder, z.real, z.imag)
        return result._getvalue()

    def choose(types_: tuple[Any, ...]) -> Any:
        first = types_[0]
        if any(t != first for t in types_):
            return None
        if _float_type(first) and on_floats is not None:
            return first(*types_), lambda context, builder, signature, args: on_floats(builder, *args)
        if isinstance(first, types.Integer | types.Boolean) and on_integers is not None:
            return first(*types_), lambda context, builder, signature, args: on_integers(builder, first, *args)
        if isinstance(first, types.Complex) and on_complex is not None:
            return first(*types_), by_parts
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


_COMPLEX = ComplexFunctions(_call_libm, _call_llvm)


def _libm(name: str, arity: int = 1) -> Any:
    on_complex = getattr(_COMPLEX, name, None)
    return _function(arity, lambda builder, *args: _call_libm(builder, name, *args), on_complex=on_complex)


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
    multiplied = builder.mul(builder.load(result), builder.load(base))
    builder.store(builder.select(odd, multiplied, builder.load(result)), result)
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
            sizes = shape_values(context, builder, args[0], signature.args[0])
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
        start = as_intp(context, builder, args[1], signature.args[1])
        sizes = shape_values(context, builder, args[2], signature.args[2])
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
