"""Elementwise functions of one argument and of two, math and builtins."""

TABLE = """
# ---- one argument
np.{{sin|cos|tan|sinh|cosh|tanh|arctan|arcsinh|exp|exp2|expm1|square|negative|positive|sinc|i0}}({{a|d|h|x|A|T|o|O|e|E|G|FO|ST|i}})
np.{{arcsin|arccos|arctanh|asin|acos|atanh}}({{a|u|Q}})
np.{{atan|asinh}}({{a|x|A}})
np.{{arccosh|acosh}}(1.5 + {{a|p|P}})
np.{{log|log2|log10|log1p|sqrt|cbrt|reciprocal}}({{a|d|h|p|P|o|O|e|E|G|n}})
np.cbrt({{c|x}})
np.{{abs|absolute|fabs}}({{a|c|d|x|A|e|E|FO}})
np.{{sign|floor|ceil|trunc|rint|fix|round|around}}({{a|c|d|x|A|e|o}}) * {{a|x}}
np.{{round|around}}({{x|A|a}}, 1)
np.{{round|around}}({{x|A|a}}, decimals=2) * 1.0
x.round(1) + x
x.round(decimals=1) + x.round()
np.heaviside({{x|A|a}}, 0.5) * {{a}}
np.heaviside(x, y) * y
np.{{deg2rad|rad2deg|radians|degrees}}({{a|d|x|A|e}})
np.sinc(np.array([0.0, 1e-9, 0.5]) * x[:3])
np.nan_to_num({{x|N|nv|a|d}})
np.nan_to_num(N, nan=1.5)
np.nan_to_num(nv, True, 2.0)
np.nan_to_num(N, nan=-1.0, posinf=3.0, neginf=-3.0)
np.nan_to_num(N * np.inf, posinf=3.0, neginf=-3.0)
np.nan_to_num(nv, copy=False)
np.clip({{x|A|a|d|T|e|o}}, -0.5, 0.5)
np.clip(x, -0.5, None)
np.clip(x, None, 0.5)
np.clip(x, a_min=-0.5, a_max=0.5)
np.clip(x, a_max=0.5, a_min=None)
np.clip(x, min=-0.5, max=0.5)
np.clip(x, max=0.5)
np.clip(x, c, a)
np.clip(x, y - 0.5, y + 0.5)
np.clip(A, ROW, None)
np.clip(A, ROW - 1, COL + 3)
np.clip(a, x, x + 1)
np.clip([a, b, c], 0.0, 1.0)
np.clip(x, [-0.5, -0.4, -0.3, -0.2, -0.1], 0.5)
np.clip(x, -np.inf, 0.5)
np.clip(x, -0.5, 0.5, out=y)
y = np.empty(5); np.clip(x, -0.5, 0.5, y); y * 2
x.clip(-0.5, 0.5)
x.clip(0)
x.clip(max=0.3)
x.clip(min=-0.5)
A.clip(-1, COL)
np.clip(x, 0, 1)
np.clip(x, -1, 1).sum()
np.where(np.isfinite(x), x, 0.0)
np.where(np.isnan(N), 0.0, N)
x * np.isfinite(x)
x * np.logical_and(x > 0, y < 1)
x * np.logical_or(x > 0, y < 1)
x * np.logical_not(x > 0)
x * np.logical_xor(x > 0, y < 1)
x * ((x > 0) & (y < 1))
x * ~(x > 0)
(x > 0) * y
(x > 0).astype(float) * y
np.sum(x[x > 0] ** 2)
np.where((A > 0) | M, A, B)
np.greater(x, y) * x + np.less_equal(x, y) * y
np.not_equal(x, y) * x
np.equal(x, x) * x
np.isinf(x) * x + np.signbit(x) * x
np.logical_and.reduce([x > -9, y > -9, x > y]) * x
np.any(x > 0) * x
if_ = 1.0 if np.all(x > 0) else 2.0; if_ * x
np.exp(x, out=y)
y = np.zeros(5); np.exp(x, y); y
y = np.zeros(5); np.exp(x, out=y, where=m); y * x
np.log(p, out=np.zeros_like(p), where=p > 1)
np.sqrt(p, where=p > 1, out=np.zeros(5))
np.negative(x, where=m, out=x.copy())
np.sin(x, dtype=np.float64)
np.exp([a, b, c])
np.sin((a, b)) + np.cos([x, y]).sum()
np.sqrt([[a, b], [b, a]])
np.float64(a) * x
np.exp(1000 * a) + np.exp(-1000 * b)
np.exp(np.array([-800.0, 800.0, 0.0]) * a)
np.expm1(1e-12 * x) + np.log1p(1e-12 * x)
np.log(1e-300 * p) + np.log(1e300 * p)  !f64
np.tanh(400 * x)
np.abs(-x) ** 0.5
-x + +x
abs(x) + abs(a) + abs(A).sum()
np.ldexp(x, 2)
np.modf(p)
np.modf(p)[0] + x
np.isposinf(x) * x
np.isneginf(x) * x
np.real_if_close(x) * 2
np.trunc(x) + np.fix(x) + x
np.iscomplex(x) * x + np.isreal(x) * x
np.angle(x) * y
# ---- math and builtins
math.{{sin|cos|tan|asin|acos|atan|sinh|cosh|tanh|asinh|atanh|exp|expm1|log|log2|log10|log1p|sqrt|fabs|degrees|radians|erf|erfc|gamma|lgamma|exp2|cbrt}}({{a|d|h}})
math.{{floor|ceil|trunc}}({{a|b}}) * b
math.{{floor|ceil}}(d) * b
math.{{sin|exp|fabs|floor}}(x[1])
math.acosh(b)
math.log(a, {{2|b|10.0}})
math.pow(a, {{2|b|0.5|-1}})
math.hypot(a, b)
math.hypot(a)
math.hypot(a, b, c)
math.atan2(a, {{b|c|-0.5}})
math.fmod({{a|b|c}}, 0.3)
math.copysign(a, c)
math.remainder(b, 0.5)
math.ldexp(a, 3)
math.isfinite(a) * b + math.isnan(a) + math.isinf(a)
math.isclose(a, b) * b
math.pi * a + math.e * b + math.tau
math.dist([a, b], [c, 0.5])
math.dist(x, y)
math.fsum([a, b, c])
math.fsum(x)
math.prod([a, b, c])
math.prod(x)
math.factorial(3) * a
math.comb(5, 2) * a + math.perm(4, 2) + math.gcd(12, 8)
math.isqrt(10) * a
math.modf(b)
math.inf if a > 5 else a
min(a, b) + max(a, b)
max(a, b, c) * min([a, b, c])
max(x) - min(x)
max(a, 0) + max(0, c) + min(1, a)
max(v for v in x)
max(x[i] for i in range(3))
min((a, b)) + max([x[0], x[1]])
max([a], default=0.0)
max(x, key=abs)
sum(x)
sum(A)
sum([a, b, c])
sum(x, a)
sum(x, start=a)
sum([x, y], start=np.zeros(5))
sum(s * s for s in x)
sum(s * t for s, t in zip(x, y))
sum(x[i] * (i + 1) for i in range(5))
sum(row @ row for row in A)
sum([row.sum() for row in A])
sum(map(abs, x))
sum(np.dot(r, s) for r, s in zip(A, B))
abs(c) + abs(a)
pow(a, 2) + pow(b, c) + pow(x, 2).sum()
pow(a, n)
float(a) + float(x[0]) + float(d) + float(o[0])
float(np.sum(x)) * x
float(1) * a + int(b) + bool(a)
complex(a, b).real + complex(a).imag
abs(complex(a, b))
len(x) * x / len(A)
sum(k_ * s for k_, s in enumerate(x))
sum(k_ * s for k_, s in enumerate(x, 1))
sum(k_ * s for k_, s in enumerate(x, start=2))
sum(s * s for s in reversed(x))
np.array([s * 2 for s in x])
np.array(list(map(math.sin, x)))
[f for f in (a, b, c)]
sorted([2, 1, 3])[0] * a
round(a, 1) * b
round(b) * b
divmod(b, 0.5)
b // 0.4 + b % 0.4
any([a > 0, b > 3]) * a + all([a > 0]) * b
x.item(0) + x.item(-1) + A.item(1, 2) + A.item((0, 1)) + A.item(5)
d.item() * a + o.item()
np.float64(a).item() * 2
x[0].item() + np.sum(x).item()
functools.reduce(lambda s, t: s * t, [a, b, c])
functools.reduce(operator.mul, [a, b, c])
operator.add(a, b) * operator.mul(x, y)
isinstance(a, float) * b
"""
