"""Elementwise functions of two arguments, operators, and the methods of ufuncs."""

TABLE = """
np.{{add|subtract|multiply|divide|true_divide}}({{a, b|a, x|x, a|x, y|A, ROW|A, COL|ROW, COL|T, A|A, w|x, o|o, a|d, x|d, a|h, x|O, A|e, e|e, a|E, v|G, COL|FO, A|ST, A|A, O|1, x|x, 2|i, w|x, True}})
{{x + y|x - y|x * y|x / y|a + x|x - a|a * x|a / x|A - ROW|COL * ROW|T / A|x + 1|2 - x|3 * x|1 / x|x / 2|i * w|m * x|d + a|h * d|e + a|E * v|o * x|O - A}}
x = x + y; x += a; x -= y; x *= b; x /= p; x
A += ROW; A -= COL; A *= 2; A /= 3; A
x += x; x
s = a; s += b; s *= x; s
A[1] += x[:4]; A[:, 0] *= a; A
np.add(x, y, out=x); x * 2
np.add(x, y, x)
np.multiply(x, a, out=y)
out = np.empty(5); np.multiply(x, y, out=out); out + x
out = np.empty((3, 4)); np.add(A, ROW, out=out); out
out = np.zeros((2, 3, 4)); np.add(A, a, out=out); out
np.add(x, y, where=m, out=np.zeros(5))
np.divide(x, y, out=np.zeros_like(x), where=y > 0)
np.divide(x, zv[:5], out=np.ones_like(x), where=zv != 0)
np.divide(a, x, out=np.zeros_like(x), where=x != 0)
np.subtract(x, y, out=(x,)); x
np.multiply(A, B, out=A[:, :]); A
np.add(A[0], A[1], out=A[2]); A
np.add(x, y, dtype=np.float64)
np.multiply([a, b], [c, a])
np.add(a, [b, c]) + np.subtract((a, b), c)
np.power({{p, r|p, a|a, p|p, 2|p, 3|p, -1|p, 0.5|p, -1.5|2.0, x|x, 2|x, 3|x, 0|x, 1|x, 2.0|x, n|P, R|P, ROW|P, 2|p, k|k, 2.0|a, b|d, 2|d, a|e, 2|E, v|p, o|i * 1.0, 2}})
np.{{pow|float_power}}({{p, r|p, 2|x, 2|x, 3|P, w|a, b|i, 2}}) * 1.0
{{p ** r|p ** a|a ** p|2 ** x|2.0 ** x|x ** 2|x ** 3|x ** 0|x ** -1|x ** -2|p ** 0.5|p ** -0.5|P ** ROW|A ** 2|a ** b|a ** 2|a ** n|p ** n|x ** n|x ** i[0]|c ** 3|c ** 2.0|d ** 2|p ** k|e ** 2|k ** 2 * a|n ** a|n ** 2 * a}}
zv ** 2 + zv ** 3 + zv ** 1
zv ** 0 * x
zv ** 2.0 + x
np.power(zv, 2) * x
x **= 2; x
p **= 0.5; p
p **= r; p
x @ y
np.{{mod|remainder|fmod|floor_divide}}({{x, 0.3|x, -0.3|x, p|x, a|a, p|b, 0.5|c, 0.3|A, 0.7|d, 0.25|e, 2.0}}) + {{x|a}}
np.mod(A, ROW) + np.fmod(A, ROW)
{{x % 0.3|x % -0.3|x % p|c % 0.3|c % b|x // 0.3 * x|x // p * x|a // b|b // a * b|A % ROW|A // ROW * A|x % 1|x // 1 * y|b % n|k % 3 * x|k // 2 * x|-k % 3 * x}}
x %= 0.3; x
x //= 0.3; x * y
np.divmod(x, 0.3)
divmod(x, 0.3)
np.divmod(x, p)[1]
np.{{arctan2|atan2|hypot|copysign}}({{x, y|a, b|a, c|x, a|c, x|A, ROW|COL, ROW|d, a|e, e|P, 1.0|2.0, p}})
np.{{maximum|minimum|fmax|fmin}}({{x, y|x, 0|0, x|x, 0.0|a, x|x, a|a, b|A, ROW|COL, ROW|T, A|d, a|e, e|e, 0.0|E, v|x, i[0]}})
np.{{maximum|fmax}}(x, -np.inf)
np.{{fmax|fmin}}({{nv, 0.1|0.1, nv|nv, x[:1]}})
np.{{fmax|fmin}}(nv, nv * 2)  !value
np.{{fmax|fmin}}(N, A)
np.maximum(x, 0) ** 2
np.maximum(0.0, np.minimum(x, 1.0))
np.maximum(x, y, out=x)
np.maximum.reduce([x, y, p])
np.minimum.reduce([x, y, p])
np.{{logaddexp|logaddexp2}}({{x, y|a, x|a, b|A, ROW|1000 * x, 900.0|-1000 * x, y|x, -np.inf|x, x + 800|d, a|e, e}})
np.where(m, x, y)
np.where(m, x, 0)
np.where(m, 0.0, x)
np.where(x > 0, x, 0.1 * x)
np.where(x > a, a, x)
np.where(M, A, ROW)
np.where(M, A, a)
np.where(m[:4], A, B)
np.where(M[:, :1], A, B)
np.where(True, x, y)
np.where(a > 0, x, y)
np.where(a > 0, a, b)
np.where([True, False, True, False, True], x, y)
np.where(np.array([1, 0, 1, 0, 1]), x, y)
np.where(k, x, y)
np.where(x, x, y)
np.where(p > 1, np.sqrt(p - 1), 0.0)
np.where(x > 0, np.sqrt(x), 0.0)
np.where(x > 0, np.log(x), x)
np.where(x != 0, np.sin(x) / x, 1.0)
np.where(zv == 0, 1.0, np.sin(zv) / np.where(zv == 0, 1.0, zv))
np.where(zv == 0, 1.0, np.sin(zv) / zv)
np.where(x > 0, x, np.where(x < -1, -1.0, x ** 2))
np.where(m, [1.0, 2.0, 3.0, 4.0, 5.0], x)
np.where(e > 0, e, 1.0)
np.where(M, T, U)
np.where(m, a, b)
np.where(m, 1, x)
np.where(m, x, np.nan)[m]
np.where(m, 1, 0) * x
# ---- methods of ufuncs
np.add.reduce({{x|A|T|e|E}})
np.add.reduce(A, axis={{0|1|-1|None|(0, 1)}})
np.add.reduce(A, 1)
np.add.reduce(A, axis=1, keepdims=True)
np.add.reduce(A, axis=None, initial=a)
np.add.reduce(A, where=M)
np.add.reduce(A, axis=0, out=w)
np.add.reduce([x, y])
np.multiply.reduce({{x|A|zv|ZP|e}})
np.multiply.reduce(A, axis=1)
np.{{maximum|minimum}}.reduce({{x|A|T}})
np.{{maximum|minimum}}.reduce(A, axis={{1|-1|None|(0, 1)}})
np.{{maximum|minimum}}.reduce(A, axis=1, initial=0.1)
np.{{maximum|minimum}}.reduce(A, axis=1, keepdims=True)
np.{{fmax|fmin}}.reduce({{x|A|N|nv}})
np.{{fmax|fmin}}.reduce(N, axis=1)
np.{{subtract|divide}}.reduce({{x|A|v}})
np.{{subtract|divide}}.reduce(A, axis=1)
np.{{logaddexp|hypot|logaddexp2}}.reduce({{x|A|v}})
np.{{logaddexp|hypot}}.reduce(A, axis=-1)
np.logaddexp.reduce(A, axis=None)
np.logaddexp.reduce(A, axis=1, keepdims=True)
np.logaddexp.reduce(1000 * x)

np.{{logical_and|logical_or|logical_xor}}.reduce(m) * x
np.{{logical_and|logical_or}}.reduce(M, axis=1) * v
np.{{add|multiply|maximum|minimum|fmax|fmin|subtract|logaddexp|hypot}}.accumulate({{x|A|T|o|e}})
np.{{add|multiply|maximum|minimum|subtract|logaddexp}}.accumulate(A, axis={{1|-1|0}})
np.{{add|multiply|maximum}}.accumulate(A, 1)
np.divide.accumulate(p)
np.add.accumulate(x, dtype=np.float64)
np.maximum.accumulate(x[::-1])[::-1]
np.maximum.accumulate(x, out=y)
np.maximum.accumulate(np.array([a, b, c]))
np.maximum.accumulate([a, b, c])
x - np.maximum.accumulate(x)
np.min(x - np.maximum.accumulate(x))
np.multiply.accumulate(ZP, axis=1)
np.minimum.accumulate(N[0][2:])
np.{{add|subtract|multiply|divide|maximum|minimum|power|hypot|arctan2|logaddexp|fmax|mod}}.outer({{p, r|p, w * w|x[:2] * 0 + 1.1, P|P, v * v|p, a|a, p|p, e}})
np.subtract.outer(x, x) ** 2
np.subtract.outer(x, y).T
np.greater.outer(x, y) * a
np.equal.outer(k, k) * a
np.add.outer([a, b], x)
np.add.outer(A, T)
np.add.at(x, i, w); x
np.add.at(x, i, 1.5); x
np.add.at(x, [0, 0, 1], v); x
np.add.at(x, 2, a); x
np.add.at(x, slice(1, 3), a); x
np.add.at(A, ([0, 0, 2], [1, 1, 3]), v); A
np.add.at(A, (slice(None), [0, 0, 1]), COL); A
np.add.at(A, [0, 0], ROW); A
np.add.at(A, (I, j[:2]), a); A
np.add.at(x, m, a); x
np.subtract.at(x, i, w); x
np.multiply.at(x, i, w); x
np.multiply.at(x, [0, 1], 2.0); x
np.divide.at(p, i, 2.0); p
np.maximum.at(x, i, w); x
np.minimum.at(x, i, 0.1); x
np.power.at(p, [0, 1], 2.0); p
np.negative.at(x, [0, 1, 1]); x
np.exp.at(x, [0, 1]); x
np.add.reduceat(x, [0, 2, 4])
np.add.reduceat(x, i[:1])
np.add.reduceat(A, [0, 1], axis=1)
np.add.reduceat(A, [0, 2])
np.multiply.reduceat(x, [0, 3])
np.maximum.reduceat(x, [0, 2])
np.vectorize(lambda s: s * s + 1)(x)
np.vectorize(lambda s, t: s * t)(x, a)
np.apply_along_axis(lambda r: r / r.sum(), 1, P)
np.apply_along_axis(np.sum, 0, A)
np.apply_along_axis(np.cumsum, 1, A)
np.apply_over_axes(np.sum, T, [0, 2])
np.bitwise_and(k, 3) * x + (k | 1) * x + (k ^ 2) * x + (k << 1) * x + (k >> 1) * x
np.float_power(x, 2)
"""
