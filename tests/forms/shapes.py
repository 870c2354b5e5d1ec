"""Shapes, joining, making arrays."""

TABLE = """
np.reshape({{A|T|FO|ST|x[:4] * 1}}, {{(2, -1)|-1|(-1,)|(2, 2, -1)|[4, -1]|(-1, 2)}}) + 0
np.reshape(A, (4, 3), order="F")
np.reshape(A, (4, 3), "F")
np.reshape(A, -1, order="F")
np.reshape(T, (3, 8), order="F")
np.reshape(FO, (4, 3), order="F")
np.reshape(A, -1, order="A")  !interpreted
np.reshape(A, shape=(2, 6))
np.reshape(A, (2, 6), copy=True)
np.reshape(a, (1, 1))
np.reshape(d, (1,))
np.reshape(d, -1)
np.reshape([a, b, c, a], (2, 2))
np.reshape(E, (3, 0))
np.reshape(o, ())
A.reshape({{2, 6|(2, 6)|-1|2, -1|[2, 6]|A.size|len(A) * 2, -1|*ROW.shape[::-1], 3}})
A.reshape((4, 3), order="F")
A.reshape(-1, order="F")
A.T.reshape(-1)
A.T.reshape(2, 6)
np.ravel({{A|T|FO|ST|a|d|x|[[a, b]]|A.T|E}})
np.ravel(A, order="{{F|C}}")
np.ravel(A, "F")
np.ravel(A, order="{{A|K}}")  !interpreted
{{A|T|FO|x|d}}.{{ravel|flatten}}()
A.{{ravel|flatten}}({{"F"|order="F"|order="C"}})
A.T.flatten()
y = A.flatten(); y[0] = a; A[0, 1] + y
y = A.ravel(); y[0] = a; A + y[1]
np.transpose({{A|T|x|d|a|H|FO|[[a, b], [c, a]]}})
np.transpose(T, {{(1, 0, 2)|[2, 0, 1]|(-1, 0, 1)|axes=(2, 1, 0)}})
np.permute_dims(T, (1, 2, 0))
np.permute_dims(A)
T.transpose({{|1, 0, 2|(2, 0, 1)|[0, 2, 1]|-1, 0, 1|None}})
{{A|T|x|d}}.T * 2
{{A|T|H}}.mT * 2
np.matrix_transpose(T)
np.swapaxes(T, {{0, 2|-1, 0|1, 1}})
T.swapaxes(0, -1)
np.moveaxis(T, {{0, -1|-1, 0|[0, 1], [1, 2]|(0, 1), (-1, 0)|0, 1}})
np.moveaxis(T, source=0, destination=2)
np.rollaxis(T, {{2|2, 1|1|0, 3|-1}})
np.expand_dims({{x|A|a|d}}, {{0|-1|(0, 1)}})
np.expand_dims(x, axis=1)
np.expand_dims(A, (0, -1))
np.squeeze({{COL|O|H|ROW|o|x|d|a}})
np.squeeze(H, {{1|axis=1|(1,)|-3}})
COL.squeeze() * v
COL.squeeze(axis=1) + COL.squeeze(-1)
x[:, np.newaxis] * y
x[None, :] * y[:, None]
x[None]
np.broadcast_to({{x|a|ROW|d}}, {{(5, 5)|(3, 5)}})
np.broadcast_to(ROW, (3, 4))
np.broadcast_to(COL, A.shape)
np.broadcast_to(a, 4)
np.broadcast_to(x, shape=(2, 5))
np.broadcast_to(e, (2, 0))
p_, q_ = np.broadcast_arrays(ROW, COL); p_ * q_
np.broadcast_arrays(A, a)
np.broadcast_arrays(x, y, 1.0)
np.broadcast_shapes((1, 3), (2, 1))[0] * x
np.atleast_1d({{a|d|x|A|[a, b]|1.5}})
np.atleast_2d({{a|d|x|A|T|[a, b]}})
np.atleast_3d({{a|d|x|A|T}})
np.atleast_1d(a, x)
np.atleast_2d(a, x)[1]
np.atleast_3d(a, x)
{{np.concatenate|np.concat}}({{(x, y)|[x, y]|(x, w, v)|[A, B]|(A, ROW)|[x, [a, b]]|[x, e]|[[a], x, np.zeros(2)]|(x, k)|A|T|[[1.0, 2.0], [a, b]]|(x,)|tuple([x, y])|[x[:2], y[2:]]|(e, e)}})
np.concatenate([A, COL], axis={{1|-1}})
np.concatenate([A, COL], 1)
np.concatenate([A, x], axis=None)
np.concatenate([A, [[a, b, c, a]]])
np.concatenate((A, a * np.ones((1, 4))), axis=-2)
np.concatenate([x, y], out=np.empty(10))
np.concatenate([x, y], dtype=np.float64)
np.concatenate([r for r in A])
np.concatenate([A[0], *[A[1], A[2]]])
np.concatenate([T, T], axis=1)
np.stack({{[x, y]|(x, y)|A|[A, B]|[a, b]|[d, a]|[x, x, y]|[x, k]}})
np.stack([x, y], axis={{1|-1|0}})
np.stack([A, B], {{1|2|-1}})
np.stack([x, [1.0, 2.0, 3.0, 4.0, a]])
np.stack([x * s for s in (1.0, 2.0)])
np.stack([r * 2 for r in A])
np.hstack({{[x, y]|(x, a)|[a, b]|[A, COL]|[x, [a]]|(A, B)|[x, 1.0, e]}})
np.vstack({{[x, y]|(A, w)|[a, b]|[A, ROW]|(w, A, ROW)|A|[x, [1.0, 2.0, 3.0, 4.0, 5.0]]}})
np.column_stack({{[x, y]|(v, A)|[A, COL]|[A, B]|(x, x ** 2)|[[a, b], [c, a]]}})
np.column_stack([np.ones(5), x, x ** 2])
np.column_stack([np.ones_like(x), x])
np.dstack({{[x, y]|(A, B)|[a, b]|[T, T]}})
np.append({{x, a|x, y|A, B|x, [a, b]|a, b|[a], x|x, 1.0}})
np.append(A, ROW, axis=0)
np.append(A, COL, 1)
np.append(x, values=a)
np.block([x, y])
np.block([x, a, [b, c]])
np.block([[A, COL], [ROW, O]])
np.block([[S, np.zeros((4, 4))], [np.eye(4), S.T]])
np.block([[a, b], [c, 1.0]])
np.block([[A], [B]])
np.block([[1, x], [y, 0]]) if False else np.block([[x], [y]])
np.block([A, B])
np.block(a)
np.block([[T, T], [T, T]])
np.r_[x, y]
np.r_[x, a, y]
np.r_[a, b, c]
np.r_[x, 0, [a, b]]
np.r_[0.0, x, 0.0]
np.r_[A, B]
np.r_["-1", A, B]
np.r_["0,2", x, y]
np.r_[0:3, x]
np.r_[-1:1:5j] * x
np.r_[x[1:], x[:1]]
np.c_[x, y]
np.c_[A, COL]
np.c_[x, x ** 2, np.ones(5)]
np.c_[A, v]
np.s_[1:3] and x
np.{{split|array_split}}({{x[:4], 2|A, 3|x, [2, 3]|x, (1,)|A, [1]|T, 2|x, [2, 2, 9]|x, np.array([1, 3])}})
np.array_split({{x, 2|x, 3|A, 2|x, 7|A, 3, axis=1}})
np.split(A, 2, axis=1)
np.split(A, [1, 3], axis=-1)
np.split(A, 2, 1)[0]
p_, q_ = np.split(x, [2]); p_.sum() * q_
np.hsplit({{A, 2|A, [1, 3]|x[:4], 2}})
np.vsplit(A, 3)
np.vsplit(A, [1])
np.dsplit(T, 2)
np.unstack(np.array([[a, b], [c, a]]))
np.unstack(np.array([[a, b], [c, a]]), axis=1)
np.tile({{x|A|a|d|[a, b]|COL}}, {{2|(2, 1)|(2, 3)|[2]|1}})
np.tile(A, (2, 1, 2))
np.tile(x, reps=3)
np.tile(x, n)
np.tile(x, 0)
np.repeat({{x|A|a|[a, b]|d}}, {{2|n|1|0}})
np.repeat(A, 2, {{axis=0|axis=1|1|axis=-1}})
np.repeat(x, [1, 0, 2, 3, 1])
np.repeat(x, k)
np.repeat(x, np.array([1, 0, 2, 3, 1]))
np.repeat(A, [1, 2, 0], axis=0)
np.repeat(A, repeats=2)
np.repeat(x, [2])
x.repeat(2)
A.repeat(2, axis=0)
A.repeat([1, 0, 2], 0)
np.roll({{x|A|T|o|e}}, {{1|-2|7|n|0}})
np.roll(A, 1, {{axis=0|axis=1|1|axis=-1}})
np.roll(A, {{(1, 2), axis=(0, 1)|(1, -1), (0, 1)|1, axis=(0, 1)|(1, 2), axis=(1, 1)|[1, 2], axis=[0, 1]}})
np.roll(A, shift=2, axis=0)
np.flip({{x|A|T|e|[a, b]}})
np.flip(A, {{0|axis=1|-1|(0, 1)|axis=None}})
np.{{fliplr|flipud}}({{A|T}})
np.flipud(x)
np.rot90({{A|S|T}})
np.rot90(A, {{2|-1|k=3|4|1, (1, 0)|5}})
np.rot90(T, 1, axes=(1, 2))
np.pad({{x|A|T}}, {{1|2|(1, 2)|((1, 2),)}})
np.pad(x, 2, {{"constant"|"edge"|"reflect"|"symmetric"|"wrap"|mode="edge"|"constant", constant_values=a|constant_values=(a, 1.0)|"linear_ramp"|"linear_ramp", end_values=(a, b)|"maximum"|"mean"|"minimum"|"median"|"mean", stat_length=2}})
np.pad(A, ((1, 1), (0, 2)), "{{constant|edge|reflect|symmetric|wrap|mean|maximum|linear_ramp}}")
np.pad(A, ((1, 2), (0, 0)), mode="{{edge|reflect|wrap}}")
np.pad(A, {{1|(1, 2)|[(0, 1), (2, 0)]|((0, 0), (1, 0))|0}}, "{{edge|reflect|symmetric|wrap}}")
np.pad(A, ((1, 1), (2, 2)), constant_values=((a, b), (c, 0.5)))
np.pad(x, (1, 1), "constant", constant_values=1)
np.pad(x, {0: (1, 2)})
np.pad(T, ((0, 0), (1, 1), (1, 1)), mode="edge")
np.pad(x, 7, "{{reflect|symmetric|wrap}}")
np.pad(o, 2, "{{reflect|symmetric|wrap|edge}}")
np.pad(x, n)
np.insert(x, {{0|2|-1|5|[1, 3]|[0, 0]|[3, 1]|slice(1, 3)|np.array([1, 3])}}, a)
np.insert(x, {{[1, 3]|[0, 0]|[3, 1]|[-1, 0]}}, [a, b])
np.insert(x, 1, y)
np.insert(x, [1], y)
np.insert(A, 1, {{a|w}}, axis=0)
np.insert(A, 1, v, axis=1)
np.insert(A, [1, 2], a, axis=1)
np.insert(A, [1, 1], B[:2], axis=0)
np.insert(A, 1, a)
np.insert(A, 1, B, axis=0)
np.delete(x, {{0|2|-1|[1, 3]|[0, 0]|[3, 1]|slice(1, 3)|np.s_[::2]|np.array([1, 3])|np.array([True, False, False, True, False])|-2|[]|m|n}})
np.delete(A, 1, {{axis=0|axis=1|-1|axis=None}})
np.delete(A, [0, -1], axis=1)
np.delete(A, 1)
np.array({{[a, b]|[[a, b], [c, 1.0]]|[x, y]|x|a|[x[0], x[1]]|(a, (b))|[[x[0], a], [1, 2]]|[A, B]|[d, a]|A.T|[]|[[], []]|d}}) * 2
np.array([a, b], dtype={{np.float32|float|"float64"|np.float64}})
np.array([x, y]).T
np.array(x, copy=True)
np.array(x, ndmin=2)
np.array(A, copy=False)
np.array([[1, 2], [3, 4]]) * a
np.array([x, 2 * x, x ** 2]).sum(axis=0)
np.array(a)
np.array([f(a) for f in (np.sin, np.cos)])
np.{{asarray|asanyarray|copy|ascontiguousarray|asfortranarray|asarray_chkfinite}}({{x|[a, b]|A|a|A.T}})
np.asarray(x, dtype=np.float64) + np.asarray(x, float)
x.copy() + A.copy("F").sum()
y = x.copy(); y[0] = a; x + y
A.astype({{float|np.float64|"float64"|np.float32|"f8"|"f4"|dtype=np.float32|np.double}})
x.astype(np.float64, copy=False)
np.astype(x, np.float64)
x.astype(int) * y
i.astype(float) * w
x.astype(bool) * y
x.astype(x.dtype) + y.astype(A.dtype)
x.view() * 2
np.full(3, a)
np.full((2, 3), a)
np.full((2, 3), x[:3])
np.full(5, x)
np.full(2, 1.5) * a
np.full(3, 2) * a
np.full(3, a, dtype=np.float32)
np.full(n, 2 if a > 0 else 1.3) * b
np.full(3, a if a > 0 else 2) * b
np.full(shape=(2,), fill_value=a)
np.full_like(x, a)
np.full_like(A, w)
np.full_like(i, a)
np.full_like(x, a, dtype=np.float64)
np.full_like(x, a, shape=(2, 2))
np.{{zeros|ones}}({{3|(2, 3)|[2, 3]|x.shape|(2,) + x.shape|len(x)|n|()|0|x.size|A.shape[1]}}) + a
np.{{zeros|ones}}(3, dtype={{float|np.float32|int|"float64"}}) * 0 + a
np.{{zeros_like|ones_like}}({{x|A|a|i|[a, b]|d}}) * 0.0 + a
np.{{zeros_like|ones_like}}(i, dtype=float) + a
np.{{zeros_like|ones_like}}(A, shape=(2,)) + a
out = np.empty_like(x); out[:] = a * x; out
out = np.empty(5); out[:] = x; out[1:3] = a; out
out = np.zeros((5, 2)); out[:, 0] = x; out[:, 1] = y; out
out = np.zeros(x.shape + (2,)); out[..., 1] = x; out
np.eye(4) * a + S
np.{{eye|identity}}({{3|n|len(A)}}) * a
np.eye(3, 4) * A
np.eye(3, 4, {{1|-1|k=2}}) * A
np.eye(3, k=1) @ v
np.eye(3, dtype=np.float64) * a
np.eye(N=3, M=4) * A
np.arange({{5|1, 6|0, 10, 2|5.0|0, 5|5, dtype=float|n + 3|len(x)|4, -1, -1}}) * x
np.arange(0, 1, 0.2) * x
np.arange(0.0, a, 0.2)
np.arange(3, dtype=np.float64) * a
np.arange(0, 5)[::-1] * x
np.linspace(0, 1, 5) * x
np.linspace({{a, b, 5|a, b|0, a, 4|a, 1.0, num=3|a, b, 5, endpoint=False|a, b, 5, False|a, b, num=n + 2|x, y, 3|v, 1.0, 4|0, v, 4|a, b, 1|a, b, 0}})
np.linspace(v, 1.0, 4, axis={{1|-1}})
np.linspace(a, b, 5, retstep=True)
np.linspace(a, b, 5, dtype=np.float64)
np.logspace(a, b, 4)
np.logspace(0, a, 3, base=2.0)
np.geomspace(a, b, 4)
np.geomspace(1.0, 8.0, 4) * a
p_, q_ = np.meshgrid(x, v); p_ * q_
p_, q_ = np.meshgrid(x, v, indexing="ij"); p_ * q_
p_, q_ = np.meshgrid(x, v, sparse=True); p_ * q_
np.meshgrid(x, y, v, indexing="{{ij|xy}}")
np.meshgrid(x)
np.meshgrid(a, x)
np.meshgrid([a, b], [c, 1.0])
p_, q_ = np.mgrid[0:3, 0:4]; p_ * A + q_
p_, q_ = np.ogrid[0:3, 0:4]; p_ * A + q_
np.mgrid[0:1:5j] * x
np.mgrid[0:5] * x
np.{{tril|triu}}({{A|S|T|S, 1|S, -1|S, k=2|x|A, n|E|[[a, b], [c, a]]}})
np.{{diag|diagonal|trace}}({{A|S}})
np.diag(x)
np.diag({{x|S|A}}, {{1|-1|k=2|n}})
np.diag([a, b, c])
np.diag(np.diag(S))
np.diag(np.ones(3)) * a
np.diagflat(x)
np.diagflat(A, 1)
np.{{diagonal|trace}}(A, {{1|-1|offset=2|0, 0, 1|0, 1, 0}})
np.{{diagonal|trace}}(T, {{0, 1, 2|axis1=0, axis2=2|1, 0, 1|offset=-1, axis1=1, axis2=2|axis1=-2, axis2=-1}})
np.{{diagonal|trace}}(T)
S.diagonal() + S.trace() + np.diagonal(S).copy()
S.diagonal(1)
T.trace(axis1=1, axis2=2)
S.trace(offset=1)
np.trace([[a, b], [c, a]])
np.trace(A, dtype=np.float64)
np.vander(x[:3])
np.vander(x[:3], 4)
np.vander(x[:3], 4, increasing=True)
np.tri(3, 4) * A
np.tri(3, k=-1) @ v
np.flip(x)[::-1]
np.resize(x, (2, 4))
np.trim_zeros(zv)
np.fromfunction(lambda s, t: s + t, (3, 4)) * A
np.indices((3, 4))[0] * A
A.ndim * x + A.size * x + A.shape[0] * x + len(A) * x + np.size(A, 1) * x + np.ndim(A) * x + np.shape(A)[1] * x
A.itemsize * x  !value
A.shape[-1] * a
rows, cols = A.shape; np.zeros((cols, rows)) + a
np.iterable(x) * a
sum(A[s] * (s[0] + 1) for s in np.ndindex({{3, 4|A.shape|(3, 4)|*A.shape}}))
sum(x[s] for s in np.ndindex({{5|x.shape|len(x)}}))
sum(T[s] ** 2 for s in np.ndindex(T.shape))
sum(s * (e_[0] + 1) - e_[1] for e_, s in np.ndenumerate(A))
sum(s * (i_ + j_) for (i_, j_), s in np.ndenumerate(A))
np.isscalar(a) * a
x.astype(np.result_type(x, y))
np.finfo(float).eps * x
np.finfo(x.dtype).eps * x
np.iinfo(np.int64).max * x
np.pi * x + np.e + np.euler_gamma * x
np.newaxis is None and x
x.nbytes * a  !value
np.array_repr and x
np.lib.stride_tricks.sliding_window_view(x, {{2|3|(2,)|window_shape=2}})
np.lib.stride_tricks.sliding_window_view(A, {{(2, 2)|2, axis=1|(2,), 0|2, axis=-1|(2, 2), axis=(0, 1)}})
sliding_window_view(x, 3).mean(axis=-1)
sliding_window_view(x, 2) @ np.array([a, b])
np.lib.stride_tricks.sliding_window_view(x, 3)[::2]
"""
