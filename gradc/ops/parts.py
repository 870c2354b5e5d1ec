"""Real and imaginary parts, conjugates, angles: what leads from complex numbers to real ones and back.

Cotangents pair with tangents as Re(ct * tangent), without conjugation (docs/conventions.md). So the transpose of `real`
puts a real cotangent into the real part, that of `imag` puts it into the imaginary part with the sign turned.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.errors import UnsupportedError
from gradc.ir.nodes import Value, current_builder
from gradc.ir.opdef import TABLE, OpDef, call
from gradc.ir.types import Array, Scalar, is_complex
from gradc.ops.elementary import arctan2
from gradc.ops.elementwise import lt
from gradc.ops.memory import zeros_like
from gradc.ops.rules import (
    as_value,
    constant_of,
    convert,
    elementwise,
    floating,
    numpy_call,
    real_part,
    whole_dtype,
    write_out,
)


def _pairs(values: Sequence[Value], attrs: dict[str, Any]) -> Scalar:
    """The complex dtype of two real parts."""
    found = floating(values, attrs)
    return Scalar(whole_dtype(found.dtype), found.weak)


def _run_complex(re: Any, im: Any) -> Any:
    dtype = np.result_type(re, im)
    whole = np.empty(np.broadcast(re, im).shape, "complex64" if dtype.name == "float32" else "complex128")
    whole.real, whole.imag = re, im
    return whole[()]


def _whole_kernel(re: str, im: str) -> Any:
    text = f"complex({re}, {im})"
    return lambda known, compute: f"np.complex64({text})" if compute in ("float32", "complex64") else text


def _complex_jvp(tangents: Sequence[Value | None], y: Value, re: Value, im: Value) -> Value:
    first, second = (0.0 if t is None else t for t in tangents)
    made: Value = complex_of(first, second)
    return made


complex_of: OpDef = elementwise(
    "complex_of(re, im)", run=_run_complex, emit="complex_of({re}, {im})", kernel=_whole_kernel("{re}", "{im}"),
    dtype=_pairs,
    takes_complex=True, linear=("re", "im"), jvp=_complex_jvp,
    vjp=lambda ct, y, re, im: [real(ct), -imag(ct)],
    prelude='''def complex_of(re, im):
    """The complex number, or array of them, with these parts."""
    z = np.empty(np.broadcast(re, im).shape, np.result_type(np.result_type(re, im), np.complex64))
    z.real, z.imag = re, im
    return z[()]
''',
    doc="The complex number with these real parts. Unlike re + 1j*im it keeps infinities and the sign of zero.",
)
def _imag_vjp(ct: Value, y: Value, x: Value) -> list[Value]:
    known = constant_of(ct)
    weak = isinstance(ct.ty, Scalar) and ct.ty.weak
    return [current_builder().const(complex(0.0, -known)) if known is not None and weak else complex_of(0.0, -ct)]


real: OpDef = elementwise(
    "real(x)", run=np.real, emit="{x}.real", kernel="{x}.real", dtype=real_part, takes_complex=True, linear=("x",),
    partials=lambda y, x: [1], jvp=lambda tangents, y, x: real(tangents[0]),
    doc="The real part of a complex number. As a call it is a copy where NumPy has a view; stores go to the base.",
)
imag: OpDef = elementwise(
    "imag(x)", run=np.imag, emit="{x}.imag", kernel="{x}.imag", dtype=real_part, takes_complex=True, linear=("x",),
    vjp=_imag_vjp, jvp=lambda tangents, y, x: imag(tangents[0]),
    doc="The imaginary part of a complex number; as `real`.",
)
conj: OpDef = elementwise(
    "conj(x)", run=np.conj, emit="np.conj({x})", kernel=_whole_kernel("{x}.real", "-{x}.imag"), takes_complex=True,
    linear=("x",), vjp=lambda ct, y, x: [conj(ct)], jvp=lambda tangents, y, x: conj(tangents[0]),
    doc="The complex conjugate. Not holomorphic: its rules conjugate what they are given.",
)


# ------------------------------------------------------------------------------------------------- calls


def part_of(op: OpDef, x: Value) -> Value:
    """The real or imaginary part of a complex value, entered among what NumPy would give as views."""
    part: Value = op(x)
    if isinstance(x.ty, Array):
        current_builder().snapshots.append(part)
    return part


@call(np.real, attribute="real")
def _real_call(val: Any) -> Value:
    x = as_value(val)
    return part_of(real, x) if is_complex(x.ty) else x


@call(np.imag, attribute="imag")
def _imag_call(val: Any) -> Value:
    x = as_value(val)
    if is_complex(x.ty):
        return part_of(imag, x)
    if isinstance(x.ty, Array):
        return zeros_like(x)
    return convert(current_builder().const(0), x.dtype, x.ty.weak if isinstance(x.ty, Scalar) else False)


@call(np.conj)
def _conj_call(x: Any, /, out: Any = None, *, where: Any = True) -> Value:
    value = as_value(x)
    if is_complex(value.ty):
        return numpy_call(conj, np.conj)(value, out=out, where=where)
    same = current_builder().emit("copy", (value,)) if isinstance(value.ty, Array) else convert(value, value.dtype)
    return same if out is None and where is True else write_out(same, out, where)


@call(method=("conj", "conjugate"))
def _conj_method(x: Any) -> Value:
    # Of real arrays NumPy's method gives the array itself.
    value = as_value(x)
    return conj(value) if is_complex(value.ty) else value


@call(np.angle)
def _angle_call(z: Any, deg: Any = False) -> Value:
    x = as_value(z)
    parts = (imag(x), real(x)) if is_complex(x.ty) else (0.0, x)
    found: Value = current_builder().add(arctan2, parts, {}, weak=False)
    return found * (180.0 / math.pi) if deg else found


@call(np.iscomplexobj)
def _iscomplexobj_call(x: Any) -> bool:
    return is_complex(as_value(x).ty)


@call(np.isrealobj)
def _isrealobj_call(x: Any) -> bool:
    return not is_complex(as_value(x).ty)


@call(np.isreal)
def _isreal_call(x: Any) -> Value:
    return current_builder().add(TABLE["eq"], (_imag_call(x), 0), {}, weak=False)


@call(np.iscomplex)
def _iscomplex_call(x: Any) -> Value:
    return current_builder().add(TABLE["ne"], (_imag_call(x), 0), {}, weak=False)


@call(np.real_if_close)
def _real_if_close_call(a: Any, tol: Any = 100) -> Value:
    """The real part; numbers that are not close to real raise, because a compiled result has one dtype."""
    x = as_value(a)
    if not is_complex(x.ty):
        return x
    limit = constant_of(tol) if isinstance(tol, Value) else tol
    if not isinstance(limit, int | float):
        raise UnsupportedError("np.real_if_close takes a literal tolerance")
    builder = current_builder()
    close = lt(TABLE["abs"](imag(x)), float(np.finfo(x.dtype).eps * limit if limit > 1 else limit))
    if x.rank:
        close = builder.emit("all", (close,), axes=tuple(range(x.rank)), keepdims=False)
    if builder.checks:
        message = "np.real_if_close of numbers that are not close to real: write z.real, or leave them complex"
        builder.emit("check", (close,), error="DTypeError", message=message)
    return part_of(real, x)


# -------------------------------------------------------------------------------------------- cmath


def _number(x: Any, dtype: str = "complex128") -> Value:
    """A number as a function of cmath takes it: a Python complex, or a float."""
    value = as_value(x)
    if isinstance(value.ty, Array):
        if value.rank:
            raise UnsupportedError("cmath's functions take numbers, not arrays", hint="use NumPy's function")
        value = current_builder().emit("load", (value,), region=())
    return convert(value, dtype, weak=True)


def _cmath_call(op: OpDef) -> Any:
    def build(z: Any, /) -> Value:
        return current_builder().add(op, (_number(z),), {}, weak=True)

    return build


for _name in ("exp", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "log10"):
    call(getattr(cmath, _name))(_cmath_call(TABLE[_name]))
for _name in ("sin", "cos", "tan", "sinh", "cosh", "tanh"):
    call(getattr(cmath, f"a{_name}"))(_cmath_call(TABLE[f"arc{_name}"]))


@call(cmath.log)
def _cmath_log(z: Any, base: Any = None, /) -> Value:
    log: Value = current_builder().add(TABLE["log"], (_number(z),), {}, weak=True)
    return log if base is None else log / _cmath_log(base)


@call(cmath.phase)
def _phase_call(z: Any, /) -> Value:
    number = _number(z)
    return arctan2(imag(number), real(number))


@call(cmath.polar)
def _polar_call(z: Any, /) -> tuple[Value, Value]:
    return TABLE["abs"](_number(z)), _phase_call(z)


@call(cmath.rect)
def _rect_call(r: Any, phi: Any, /) -> Value:
    size, angle = _number(r, "float64"), _number(phi, "float64")
    return complex_of(size * TABLE["cos"](angle), size * TABLE["sin"](angle))


__all__ = ["complex_of", "conj", "imag", "part_of", "real"]
