"""Elementary functions of complex numbers by real ones, as instructions: what vectorises there does here too.

Each takes and gives (real, imaginary) parts, and agrees with NumPy at finite numbers, the sides of branch cuts and
signs of zero included. Sources: W. Kahan, "Branch cuts for complex elementary functions" (1987), for tanh and acosh;
the half angle in expm1 is the usual one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir

Pair: TypeAlias = "tuple[Any, Any]"
Libm: TypeAlias = Callable[..., Any]


class ComplexFunctions:
    """`libm(builder, name, *values)` calls a function of libm, `llvm` one that LLVM knows."""

    def __init__(self, libm: Libm, llvm: Libm) -> None:
        self.libm = libm
        self.llvm = llvm

    def exp(self, b: Any, x: Any, y: Any) -> Pair:
        size = self.libm(b, "exp", x)
        cos, sin = self.libm(b, "cos", y), self.libm(b, "sin", y)
        return b.fmul(size, cos), _unless_zero(b, y, b.fmul(size, sin), y)

    def expm1(self, b: Any, x: Any, y: Any) -> Pair:
        half = self.libm(b, "sin", b.fmul(y, _number(y, 0.5)))
        less = b.fmul(_number(y, 2.0), b.fmul(half, half))
        real = b.fsub(b.fmul(self.libm(b, "expm1", x), self.libm(b, "cos", y)), less)
        imag = b.fmul(self.libm(b, "exp", x), self.libm(b, "sin", y))
        return real, _unless_zero(b, y, imag, y)

    def log(self, b: Any, x: Any, y: Any) -> Pair:
        a, c = self.llvm(b, "fabs", x), self.llvm(b, "fabs", y)
        larger = b.fcmp_ordered(">=", a, c)
        high, low = b.select(larger, a, c), b.select(larger, c, a)
        size = self.libm(b, "hypot", x, y)
        # Near the unit circle the logarithm of the size has no digits: log1p of size**2 - 1 has.
        one = _number(x, 1.0)
        excess = b.fadd(b.fmul(b.fsub(high, one), b.fadd(high, one)), b.fmul(low, low))
        near = b.and_(
            b.fcmp_ordered(">", size, _number(x, 0.71)), b.fcmp_ordered("<", size, _number(x, 1.73))
        )
        exact = b.fmul(_number(x, 0.5), self.libm(b, "log1p", b.select(near, excess, one)))
        return b.select(near, exact, self.libm(b, "log", size)), self.libm(b, "atan2", y, x)

    def sinh(self, b: Any, x: Any, y: Any) -> Pair:
        real = b.fmul(self.libm(b, "sinh", x), self.libm(b, "cos", y))
        imag = b.fmul(self.libm(b, "cosh", x), self.libm(b, "sin", y))
        return _unless_zero(b, x, real, b.fmul(x, self.libm(b, "cos", y))), _unless_zero(b, y, imag, y)

    def cosh(self, b: Any, x: Any, y: Any) -> Pair:
        real = b.fmul(self.libm(b, "cosh", x), self.libm(b, "cos", y))
        imag = b.fmul(self.libm(b, "sinh", x), self.libm(b, "sin", y))
        signed = b.fmul(y, self.llvm(b, "copysign", _number(x, 1.0), x))
        return real, _unless_zero(b, y, imag, signed)

    def sin(self, b: Any, x: Any, y: Any) -> Pair:
        real, imag = self.sinh(b, b.fneg(y), x)
        return imag, b.fneg(real)

    def cos(self, b: Any, x: Any, y: Any) -> Pair:
        return self.cosh(b, b.fneg(y), x)

    def tanh(self, b: Any, x: Any, y: Any) -> Pair:
        one = _number(x, 1.0)
        size = self.llvm(b, "fabs", x)
        large = b.fcmp_ordered(">", size, _number(x, 20.0))
        tan = self.libm(b, "tan", y)
        slope = b.fadd(one, b.fmul(tan, tan))
        sinh = self.libm(b, "sinh", b.select(large, one, x))
        square = b.fmul(sinh, sinh)
        below = b.fadd(one, b.fmul(slope, square))
        real = b.fdiv(b.fmul(b.fmul(slope, self.llvm(b, "sqrt", b.fadd(one, square))), sinh), below)
        imag = b.fdiv(tan, below)
        # Beyond, the real part is 1 to all digits, and sinh would overflow.
        decay = self.libm(b, "exp", b.fmul(_number(x, -2.0), size))
        both = b.fmul(self.libm(b, "sin", y), self.libm(b, "cos", y))
        faint = b.fmul(b.fmul(_number(x, 4.0), both), decay)
        return b.select(large, self.llvm(b, "copysign", one, x), real), b.select(large, faint, imag)

    def tan(self, b: Any, x: Any, y: Any) -> Pair:
        real, imag = self.tanh(b, b.fneg(y), x)
        return imag, b.fneg(real)

    def sqrt(self, b: Any, x: Any, y: Any) -> Pair:
        zero, half = _number(x, 0.0), _number(x, 0.5)
        size = self.libm(b, "hypot", x, y)
        away = self.llvm(b, "sqrt", b.fmul(half, b.fadd(self.llvm(b, "fabs", x), size)))
        nothing = b.fcmp_ordered("==", away, zero)
        across = b.fmul(half, b.fdiv(self.llvm(b, "fabs", y), b.select(nothing, _number(x, 1.0), away)))
        right = b.fcmp_ordered(">=", x, zero)
        imag = self.llvm(b, "copysign", b.select(right, across, away), y)
        return b.select(right, away, across), imag

    def acosh(self, b: Any, x: Any, y: Any) -> Pair:
        one = _number(x, 1.0)
        p, q = self.sqrt(b, b.fsub(x, one), y)
        r, s = self.sqrt(b, b.fadd(x, one), y)
        real = self.libm(b, "asinh", b.fadd(b.fmul(p, r), b.fmul(q, s)))
        return real, b.fmul(_number(x, 2.0), self.libm(b, "atan2", q, r))


def _number(like: Any, value: float) -> ir.Constant:
    return ir.Constant(like.type, value)


def _unless_zero(b: Any, x: Any, value: Any, zero: Any) -> Any:
    """`value`, but `zero` where x is 0: 0 * inf is not to come in."""
    return b.select(b.fcmp_ordered("==", x, _number(x, 0.0)), zero, value)
