"""Indexing, stores, sorting."""

TABLE = """
x[{{0|-1|n|1:4|1:|:-1|::2|::-1|-3:|4:1:-1|:0|...|..., 0|None|None, ...|:|1:100|n:|:n|i[0]|i[1]|slice(1, 3)|np.s_[1:3]|5:}}] * 2
A[{{0|-1|0, 1|-1, -2|0, :|:, 1|:, -1|1:, :2|::-1|:, ::-1|..., 0|0, ...|None|:, None|:, None, 1|1:2|1:2, 1|::2, 1::2|(1, 2)|1, 2:|-1:|i[0], j[0]|[0]|[0, 2]|:, [0, 1]|[0, 2], [1, 3]|[[0, 2]]|..., None|None, 0, None, 1}}] * 2
T[{{0|:, 0|..., 0|0, 1, 2|:, :, 1|1, ..., 2|:, [0, 2]|:, [0, 2], :2|[0, 1], [1, 2]|[0, 1], :, [1, 2]|:, [0, 1], [1, 2]|0, :, [1, 2]|[0, 1], 1|..., [0, 1]|0, [1, 2]|None, :, 0|:, 1:, ::2|[[0, 1], [1, 0]]|..., None, 0}}] * 2
x[{{i|[0, 0, -1]|np.array([1, 2])|I|k|(i)|i[::-1]|[]|np.arange(3)|range(2)|[True, False, True, False, True]|m|x > 0|~m|(x > 0) & m|I, None|None, i|i, None|-i|i + 1|np.array(2)|np.argsort(x)|np.array([], dtype=int)}}] * 2
A[{{[0, 2]|i[:1]|I[0], j[:2]|:, j|:, [0, 0, 3]|I, j[:2]|I[:, :, None], j|np.ix_([0, 2], [1, 3])|np.ix_(I[0], j)|np.ix_([True, False, True], [1, 2])|M|A > 0|M, ...|m[:3]|:, m[:4]|m[:3], 1|[0, 1], :|[0, 2], 1:3|1:, [0, 1]|I[0][:, None], j|np.arange(3), [1, 0, 3]|j[:3] % 3, 1|..., j|None, [0, 2]|[True, False, True]|[[True, False, True, False]] * 3|M[:, 0]|(np.array([0, 1]), np.array([1, 2]))|1, j|-1, [0, -1]}}] * 2
T[m[:2]] * 2
T[:, m[:3]] * 2
T[M[:2, :3]] * 2
A[A > 0].sum() + A[M].mean()
x[m][0] + x[m].sum()
x[x > 9].sum() + a
(x[1:] - x[:-1]) / (t[1:] - t[:-1])
A[1][2] * A[:, 1][0]
A.T[1] + v
x[[0, 1]][::-1]
A[0][::-1]
A[i[2], i[3]] * a
np.compress([True, False, True], v)
np.compress(m, x)
np.compress(x > 0, x)
np.compress([True, False, True], A, axis=0)
np.compress(m[:4], A, 1)
np.compress([True, False], A, axis=0)
np.compress([0, 1, 1, 0, 0, 1], A)
x.compress(m)
A.compress([True, False, True], axis=0)
np.extract({{m|x > 0|[True, False, True, False, True]}}, x)
np.extract(A > 0, A)
np.extract(M, A)
np.take({{x|A|[a, b, c]}}, {{0|[0, 1]|[0, -1]|I|2|np.array([0, 2])}})
np.take(A, {{[0, 2]|1|I|-1}}, {{axis=0|0|axis=1|axis=-1}})
np.take(x, {{[7, -9]|9|-7|I * 4}}, mode="{{wrap|clip}}")
np.take(A, [7, -9], axis=1, mode="{{wrap|clip}}")
x.take({{i|[0, 1]|2|I}})
A.take([0, 2], axis=0)
A.take([0, 2], 1)
A.take(i)
x.take([9], mode="clip")
np.take(x, i, out=w)
np.take_along_axis(A, {{K % 3, axis=0|K % 4, axis=1|K % 4, 1|K[:, :2] % 4, axis=-1|K[:1] % 3, 0}})
np.take_along_axis(A, np.argmax(A, axis=1)[:, None], axis=1)
np.take_along_axis(A, np.argmax(A, axis=1, keepdims=True), 1)
np.take_along_axis(x, i, axis=0)
np.take_along_axis(x, i, 0)
np.take_along_axis(A, i, axis=None)
np.take_along_axis(A, np.argsort(A, axis=0), axis=0)
np.take_along_axis(ROW, K % 4, axis=1)
np.put_along_axis(A, K[:, :2] % 4, {{a|B[:, :2]|COL|0.0|5}}, axis=1); A
np.put_along_axis(A, np.argmax(A, axis=1)[:, None], a, 1); A
np.put_along_axis(A, np.array([[0, 1, 2, 0]]), ROW, axis=0); A
np.put_along_axis(x, i, w, axis=0); x
np.put_along_axis(A, i, w, axis=None); A
np.put(x, {{[0, 2]|i|0|-1|np.array([1, 2])|[[0, 1]]}}, {{a|1.0|[a, b, c]|y}}); x
np.put(x, [0, 1, 2], [a, b]); x
np.put(x, [7, -8], [a, b], mode="{{wrap|clip}}"); x
np.put(A, [0, 5, 11], v); A
np.put(A, [0, -1], a); A
np.put(A, i, w); A
x.put([0, 1], a); x
np.place(x, m, [a, b]); x
np.place(x, m, y); x
np.place(A, A > 0, [a]); A
np.putmask(x, m, y); x
np.putmask(x, x > 0, a); x
np.putmask(x, m, [a, b]); x
np.copyto(x, y); x
np.copyto(x, a); x
np.copyto(A, ROW); A
np.copyto(x, y, where=m); x
np.copyto(A, 0.0, where=A < 0); A
np.copyto(A, B, "same_kind", M); A
np.copyto(A, B, where=m[:4]); A
np.copyto(x[1:3], y[:2]); x
np.copyto(dst=x, src=y * 2); x
S[np.{{tril_indices|triu_indices}}(4)]
S[np.{{tril_indices|triu_indices}}(4, {{1|-1|k=1}})]
A[np.{{tril_indices|triu_indices}}(3, 0, 4)]
A[np.{{tril_indices_from|triu_indices_from}}(A)]
S[np.{{tril_indices_from|triu_indices_from}}(S, k=-1)]
S[np.{{tril_indices|triu_indices}}(len(S), 1)]
S[np.diag_indices(4)]
S[np.diag_indices_from(S)] * 2
L = np.zeros((3, 3)); L[np.tril_indices(3)] = np.arange(6) * a; L
L = np.zeros((2, 2)); L[np.triu_indices(2)] = v; L + L.T
L = np.zeros((4, 4)); L[np.tril_indices(4, -1)] = A.ravel()[:6]; L
L = np.zeros((5, 5)); L[np.diag_indices(5)] = x; L
S[np.diag_indices(4)] += a; S
S[np.diag_indices_from(S)] = w; S
rows, cols = np.triu_indices(4, 1); S[rows, cols] * S[cols, rows]
x[np.where(x > 0)]
A[np.where(A > 0)] * 2
x[np.where(x > 0)[0]]
A[np.where(A > 0)[0], 0]
x[np.where(x > 0)[0][0]] * a
x[np.where(x > 0)] = 0.0; x
x[np.where(x > 0)] *= 2; x
r_, c_ = np.where(M); A[r_, c_]
r_, c_ = np.nonzero(A > 0); A[r_, c_] * B[r_, c_]
A[np.argwhere(A > 0)[:, 0]]
x[np.where(m, 0, 1)]
A[0 if a > 0 else 1]
# ---- stores
x[{{0|-1|n|i[1]}}] = a; x
x[{{1:3|::2|::-1|1:|i|[0, 2]|m|x > 0|...|:|i[:2]}}] = {{a|0.0|2}}; x
x[1:4] = {{y[:3]|y[1:4] * 2|x[:3]|x[2:5]|v|[a, b, c]|np.zeros(3)}}; x
x[::2] = v; x
x[::-1] = y; x
x[1:-1] = (x[:-2] + x[2:]) / 2; x
x[1:] = x[:-1]; x
x[1:] -= x[:-1]; x
x[:-1] += x[1:]; x
x[1:-1] += a * (x[2:] - 2 * x[1:-1] + x[:-2]); x
x[::-1] += x; x
x[m] = {{v|y[m]|[a, b, c]|x[m] * 2}}; x
x[m] {{+=|-=|*=}} {{a|v|y[m]}}; x
x[x > 0] = x[x > 0] ** 2; x
x[x < 0] *= 0.1; x
x[x < 0] = 0; x
x[~m] **= 2; x
x[i] = w; x
x[i] = {{a|x[j]|w * 2}}; x
x[[0, 0, 1]] = v; x
x[i] {{+=|-=|*=}} {{w|a|x[i]}}; x
x[[0, 2]] += v[:2]; x
x[[0, 2]], x[[1, 3]] = x[[1, 3]], x[[0, 2]]; x
x[0], x[1] = x[1], x[0]; x
x[[0, 1]] = x[[1, 0]]; x
A[0] = {{a|w|A[1]|A[1] * 2|ROW[0]|ROW|[a, b, c, a]}}; A
A[:, 0] = {{a|v|A[:, 1]|COL[:, 0]}}; A
A[:, n] {{+=|-=|*=|/=}} {{v|a|2}}; A
A[0, 1] = a; A[1][2] = b; A[-1, -1] *= 2; A
A[1:, 1:] = {{a|B[1:, 1:]|A[:-1, :-1]|B[:2, :3] * A[1:, 1:]}}; A
A[1:-1, 1:-1] += A[:-2, 1:-1] - A[2:, 1:-1]; A
A[[0, 2]] = {{a|B[:2]|ROW|w}}; A
A[[0, 2], [1, 3]] = {{a|v[:2]}}; A
A[:, [0, 2]] {{=|+=}} {{B[:, :2]|a|COL}}; A
A[np.ix_([0, 2], [1, 3])] {{=|+=}} {{a|B[:2, :2]}}; A
A[M] {{=|+=|*=}} {{a|B[M]}}; A
A[A > 0] = 0.0; A
A[M] = np.arange(7.0) * a; A
A[m[:3]] = ROW; A
A[:, m[:4]] = a; A
A[m[:3], 1] = b; A
A[...] = B; A
A[:] = a; A
A[:] = ROW; A
A[..., 0] = v; A
A.T[0] = v; A
A.T[:2] *= a; A
y = A[1]; y[0] = a; y += w; A
y = A.reshape(-1); y[3] = a; A
y = A.ravel(); y[::2] *= b; A
y = A.T; y[1, 0] = a; A
y = x[1:4]; y[:] = a * y; x * 2
y = x[::2]; y += v; x
y = x[::-1]; y[0] = a; x
A[0], A[1] = A[1], A[0].copy(); A
A[[0, 1]] = A[[1, 0]]; A
A += A.T.T; A
A[0] += A[1]; A[1] += A[0]; A
y = np.zeros(5, dtype=complex); y[1:] = x[1:] + 1j * y[:-1]; y.real
y = np.zeros(3, complex); y[0] = a; y[1] = 1j * b; y.imag
y = np.zeros((2, 2)); y[0, 0] = a; y[1, 1] = b; y[0, 1] = y[1, 0] = c; y
x[0] = x[1] = a; x
T[0, :, 1] = v; T[1, 2] = w; T
T[:, 1, :] = a; T
T[..., -1] *= 2; T
T[[0, 1], :, [1, 2]] = a; T
T[:, [0, 2]] = B[:2]; T
d[()] = a; d * 2
d[...] = b; d * 2
d += a; d * 2
x.fill(a); x
A[0].fill(b); A
y = np.zeros(3); y.fill(a); y
np.fill_diagonal(S, {{a|w|0.0|[a, b, c, a]|1}}); S
np.fill_diagonal(A, {{a|v|0}}); A
np.fill_diagonal(A.T, a); A
y = np.zeros((5, 2)); np.fill_diagonal(y, a, wrap=True); y
y = np.zeros((3, 3, 3)); np.fill_diagonal(y, a); y
np.fill_diagonal(S, [a, b]); S
A.flat[3] = a; A
A.flat[3] * A.flat[-1]
A.flat[2:5]
sum(s for s in A.flat)
# ---- writes through views, by functions
y = A.T; y.flat[1] = a; A
y = A[:, ::2]; y.flat[[0, 3]] = [a, b]; A
FO.flat[5] = a; FO
FO.flat[1:3] = b; FO
A.flat[A > 0] if False else A.flat[[0, -1]]
np.put({{A.T|A[1]|A[:, ::2]|FO|A[::-1]}}, [0, 2], [a, b]); A + FO
np.{{place|putmask}}({{A.T, A.T > 0|A[1], A[1] > 0|A[:, ::2], A[:, ::2] > 0|FO, FO > 0}}, [a, b]); A + FO
np.copyto({{A.T|A[:, ::-1].T|FO.T}}, B.T); A + FO
np.copyto(A[1], w, where=M[1]); A
np.multiply.at({{A.T|A[:3, :3].T}}, ([0, 0, 2], [1, 1, 2]), 2.0); A
np.add.at({{A[1]|FO[1]|A[:, ::-1][0]}}, i % 4, w); A + FO
np.maximum.at(A[1], j, w); A
np.subtract.at(A, (slice(None), 1), v); A
np.fill_diagonal(FO, a); FO
np.fill_diagonal(S[:3, 1:], [a, b, c]); S
np.put_along_axis({{A.T|FO.T}}, np.array([[0, 1, 2, 1]]).T, a, axis=1); A + FO
y = x.view(); y[0] = a; x
y = np.asfortranarray(FO); y[0, 0] = a; FO  !value
y = np.ascontiguousarray(A); y[0, 0] = a; A
y = np.asarray(A); y[0, 0] = a; A
y = np.atleast_2d(x); y[0, 1] = a; x
y = np.squeeze(ROW); y[1] = a; ROW
y = np.expand_dims(x, 0); y[0, 2] = a; x
y = np.moveaxis(T, 0, -1); y[0, 0, 1] = a; T
y = np.swapaxes(A, 0, 1); y[1] = a; A
y = np.flip(x); y[0] = a; x
y = np.rot90(A); y[0] = a; A
y = np.split(x, [2])[1]; y[0] = a; x
y = np.hsplit(A, 2)[0]; y += 1; A
y = np.trim_zeros(x); y[0] = a; x
y = np.roll(x, 1); y[0] = a; x + y
y = np.take(x, [0, 1]); y[0] = a; x + y.sum()
y = np.append(x, a); y[0] = b; x * y[:5]
y = np.nan_to_num(x); y[0] = a; x + y
y = np.delete(x, -1); y[0] = a; x[1:] + y
y = np.positive(x); y[0] = a; x + y
y = np.real(x); y[0] = a; x
y = x[m]; y[0] = a; x + y.sum()
y = A[[0, 1]]; y[0, 0] = a; A[:2] + y
y = A[1:][[0]]; y[0, 0] = a; A[:1] + y
y = np.stack([x, p])[0]; y[0] = a; x + y
y = np.reshape(A, (4, 3)); y[0, 0] = a; A
y = np.broadcast_to(x, (2, 5)) * 1; y[0, 0] = a; x + y
y = np.diag(S).copy(); y[0] = a; y + S[0]
y = np.where(True, x, p); y[0] = a; x + y
y = np.clip(x, -9, 9); y[0] = a; x + y
y = x; y[0] = a; x
y = x[:]; y[0] = a; x
y = +x; y[0] = a; x + y
# ---- sorting
np.sort({{x|A|T|o|[a, b, c]|e|FO|nv[[0, 2, 3]]}})
np.sort(A, {{0|axis=1|-1|axis=None|kind="stable"|axis=0, kind="mergesort"}})
np.sort(T, axis=1)
np.sort(x)[::-1]
np.sort(-x) * -1
-np.sort(-A, axis=1)
np.sort(x, stable=True)
np.sort(nv)[:4]
x.sort(); x
A.sort(); A
A.sort(0); A
A.sort(axis=0); A
A[1].sort(); A
A[:, 1].sort(); A
x[::-1].sort(); x
y = x.copy(); y.sort(); y * t
np.partition(x, 2)[2]
np.partition(x, 2)[:3].sum()
np.sort(np.partition(A, 1, axis=1)[:, :2])
np.partition(x, (1, 3))[[1, 3]]
np.partition(x, -2)[-2:].sum()
x.partition(2); x[2] * a
np.partition(A, 1, axis=None)[1]
x[np.argpartition(x, 2)[2]]
x[np.argpartition(x, -2)[-2:]].sum()
x[x.argpartition(2)[2]]
np.sum(np.sort(x)[:3] * v)
np.lexsort((x, k)) * x
x[np.lexsort((x, y))]
np.unique(x)
np.unique(k) * a
np.unique([a, b, a])
np.unique(x, return_index=True)[1] * x
np.unique(k, return_inverse=True)[1] * x
np.unique(k, return_counts=True)[1] * a
u_, inv = np.unique(k, return_inverse=True); np.bincount(inv, weights=x)
u_, idx, inv, cnt = np.unique(k, True, True, True); x[idx] * cnt
np.unique_counts(k).counts * a
np.union1d(k, [9]) * a
np.intersect1d(k, [0, 4]) * a
np.setdiff1d(k, [0]) * a
np.isin(k, [0, 4]) * x
np.isin(k, [0, 4], invert=True) * x
x[np.isin(k, [4, 7])]
np.flatnonzero(k)[0] * a
np.ravel_multi_index(([0, 1], [2, 3]), (3, 4)) * v[:2]
A.ravel()[np.ravel_multi_index((i % 3, j), A.shape)]
A[np.unravel_index(5, (3, 4))]
A[np.unravel_index(k, A.shape)]
A[np.unravel_index(5, (3, 4), order="F")]
np.select([x > 0, x < -1], [x ** 2, -x], default=a)
np.select([x > 0, x < -1], [x ** 2, -x])
np.select([x > 0], [1.0]) * x
np.select([x > 0, x > -1], [x, y], 0.0)
np.select([x > 0.5, x > 0], [a, x], x * 2)
np.select([m, ~m], [x, y])
np.select([A > 0, M], [A, ROW], default=0)
np.select((x > 0, x <= 0), (x, y))
np.select([x > 0], [x], -1)
np.select([a > 0, b > 0], [x, y])
np.choose(k % 2, [x, y])
np.choose([0, 1, 1, 0, 0], [x, y])
np.choose(1, [x, y])
np.choose(k, [x, y], mode="clip")
np.piecewise(x, [x < 0, x >= 0], [lambda s: -s, lambda s: s ** 2])
np.piecewise(x, [x < 0], [-1.0, 1.0]) * x
np.piecewise(x, [x < -1, x > 1], [lambda s: s + 1, lambda s: s - 1, 0.0])
np.piecewise(x, [x < 0, x >= 0], [lambda s: np.exp(s), lambda s: 1 + s])
np.piecewise(x, [x < 0, x >= 0], [np.exp, np.sin])
np.piecewise(x, [x > 0], [lambda s: np.sqrt(s)])
np.piecewise(x, [x < 0, x >= 0], [lambda s, f: f * s, lambda s, f: s + f], a)
np.piecewise(x, [x < 0, x >= 0], [lambda s, f: f * s, lambda s, f: s + f], f=b)
np.piecewise(a, [a < 0, a >= 0], [lambda s: -s, lambda s: s ** 2])
np.piecewise(d, [d < 0, d >= 0], [lambda s: -s, lambda s: s ** 2])
np.piecewise(A, [A < 0, A >= 0], [lambda s: -s, lambda s: s ** 2])
np.piecewise(x, x < 0, [lambda s: -s, lambda s: s ** 2])
np.piecewise(x, [x < 0, x < 1, x >= 1], [0, lambda s: s, 1])
np.piecewise(x, [x < 0, x > -1], [lambda s: -s, lambda s: s ** 2])
np.piecewise(x, [m, ~m], [lambda s: -s, a])
np.apply_along_axis(lambda s: s @ s, 1, A)
total = 0.0; total = sum(row[0] for row in A); total
[row.sum() * b for row in A][0] if False else A[0].sum()
x[len(x) // 2] * a
x[-len(x)] * a
x[int(a)] * b
x[int(np.floor(b))]
x[round(b)]
x[np.int64(1)] + x[np.array(1)]
x[min(2, len(x))] + x[max(0, 1)]
A[tuple([0, 1])] * a
A[slice(None), 1] * a
A[(slice(None), 1)] * a
A[np.array([0, 1])][:, np.array([1, 2])]
A[..., np.newaxis] * v[:2]
x.shape[0] * x[x.shape[0] - 1]
ROW[0] * COL[:, 0][0]
ROW[[0, 0]] + A[:2]
O[0, 0] * o[0] * O[-1][-1] * o[-1]
o[[0, 0, -1]] * 2
e[m[:0]].sum() + a
e[::-1].sum() + a
E[:, 1].sum() + a
G[:, :0].sum() + a
E[[], :].sum() + a
np.concatenate([E, V])
E.T @ E
E @ v
"""
