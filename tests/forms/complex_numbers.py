"""Complex numbers inside a real function."""

TABLE = """
np.{{real|imag|conj|conjugate|abs|absolute|angle|square|negative|exp|sin|cos|tan|sinh|cosh|tanh|sqrt|log|log10|log2|log1p|expm1|reciprocal|arcsin|arccos|arctan|arcsinh|arctanh|sign|positive|exp2|round}}({{z|Z|x + 1j * y|z[0]|0.3 + 0.2j + 0 * z|z[:0]}})
np.arccosh(2 + z * 1j)
np.abs(x + 1j * y) + np.angle(x + 1j * y)
np.angle(z, deg=True) + np.angle(z, True)
np.angle(x + 0.1j)
{{(x + 1j * y).real|(x + 1j * y).imag|(x * 1j).conj().imag|(a + 1j * b).real|abs(a + 1j * b)|abs(z)|z.conj()|z.conjugate()|z.real * z.imag|Z.T.conj()|z.T.real|np.abs(z) ** 2|(z * z.conj()).real|np.real(z * np.conj(z))|x.real + x.imag|x.conj() * 2|a.real + a.imag|a.conjugate()}}
z.real = x; z
z.imag = x; z
z.imag[1] = a; z
z.real[:2] += x[:2]; z
{{z + x|z - x|z * x|z / x|x / z|x - z|a * z|z * 1j|z + 1|2 / z|1j * x|1j ** x|z ** 2|z ** 3|z ** 0|z ** -1|z ** 0.5|z ** x|p ** z|z ** z|2 ** z|z ** (1 + 1j)|a ** z|z ** i[0]|z ** n|1j * a + x}}
np.power(z, 2) + np.power(z, x)
np.{{sum|mean|prod|cumsum|cumprod|var|std|diff|nansum|nanmean}}({{z|Z}})
np.{{sum|prod|cumsum|cumprod|diff|nansum}}(z[:0])
np.{{sum|mean|prod|cumsum|cumprod|var|std|diff}}(Z, axis=1)
Z.sum(axis=0) + Z.mean() + Z.prod(axis=0)
{{z @ z|Z @ ZS|Z @ w|A @ Z.T|Z.conj().T @ Z|ZS @ ZS}}
np.vdot({{z, z * 2|z, x|x, z|Z, Z}})
np.dot({{z, z|Z, ZS|a, z|1j, x}})
np.inner(z, x) + np.outer(z, x).sum()
np.vecdot(z, x) + np.vecdot(x, z)
np.vecdot(Z, A, axis=0)
np.einsum({{"i,i->", z, z|"ij,jk->ik", Z, ZS|"ij,j->i", Z, w|"i,i", z.conj(), x}})
np.tensordot(Z, ZS, 1)
np.kron(z[:2], x)
np.cross(z[:3], x[:3])
np.trace(ZS) + ZS.trace()
np.where({{m, z, 0|m, z, x|m, 1j, x|z.real > 0, z, z.conj()}})
np.concatenate([z, x])
np.stack([z, x])
np.hstack([z, 1j * a])
np.array([z[0], a])
np.array([a + 1j * b, c])
np.array([1j * a, [b][0]])
z[::-1] + z[i[0]]
z[i]
z[m]
Z[:, 1] * Z[0, 0]
Z.reshape(4, 3) + Z.T
Z.ravel() + Z.flatten()
np.roll(z, 1) + np.flip(z) + np.tile(z, 1)
np.pad(z, 1)
np.repeat(z, 2)
np.diag(z)
np.tril(ZS) + np.triu(ZS, 1)
np.take(z, i)
np.full(3, a + 1j * b)
np.full_like(z, a)
np.zeros_like(z) + a
np.ones(3, complex) * a
np.zeros(3, dtype=np.complex128) + 1j * a
np.linspace(0, 1, 5) * z
np.interp(x, t, z.real)
np.gradient(z)
np.trapezoid(z, t)
np.convolve(z, x)
np.correlate(z, z[:3])
np.correlate(x, z[:3], "full")
np.polyval([1j, a, 1.0], x)
np.polyval(x, z)
np.polyval(z, x)
np.polyval(z, z)
np.real_if_close(z * z.conj())
np.real_if_close(x + 0j)
np.iscomplexobj(z) * a + np.isrealobj(x) * b
np.isfinite(z) * x + np.isnan(z) * y
np.nan_to_num(z)
np.equal(z, z) * x + (z == z.conj()) * x
np.allclose(z, z) * x
complex(a, b) * complex(a, b).conjugate()
(a + b * 1j).real ** 2
z.astype(complex) * 2
x.astype(complex) * 1j
x.astype(np.complex128).real
np.complex128(a) * 1j
np.sum(np.abs(np.exp(1j * x)) ** 2 * y)
np.sum(np.exp(1j * np.outer(x, t)), axis=0)
np.abs(np.sum(np.exp(1j * x)))
np.unwrap(np.angle(np.exp(1j * 3 * t)))
z += x; z
z *= 1j; z
z[0] = a; z
z[1:] = x[1:]; z
z[m] = 0; z
x = x * (1 + 1j); np.abs(x)
w_ = np.zeros(5, complex); w_.real = x; w_.imag = y; np.abs(w_)
w_ = np.empty(5, complex); w_[:] = x; w_ += 1j * y; w_
np.clip(z.real, -1, 1) + np.maximum(z.imag, 0)
np.sum(z).real + z.sum().imag
np.linalg.norm(z) + np.sum(np.abs(z))
np.exp(1j * np.pi * a).real
abs(np.sum(z * np.conj(z)))
np.cumsum(z)[-1].real
np.average(z, weights=p)
np.cov(z, z.conj())
np.add.reduce(z) + np.multiply.reduce(z)
np.add.outer(z, x)
np.add.at(z, i, w); z
np.isclose(z, z) * x
np.argmax(np.abs(z)) * x
z[np.argmax(np.abs(z))]
np.hypot(z.real, z.imag)
np.arctan2(z.imag, z.real)
np.trapezoid(np.abs(z) ** 2, dx=0.1)
math.sqrt(abs(z[0]))
np.copysign(1.0, z.real) * x
np.divide(1, z, out=np.zeros_like(z), where=z != 0)
np.sum(z, where=m) + np.prod(z, where=m)
np.sum(Z, axis=(0, 1), keepdims=True)
[z.real, z.imag][0]
np.stack([z.real, z.imag], axis=-1)
"""
