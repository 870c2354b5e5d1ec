"""What holds of many functions: results of numbers count in promotion, `out=` is written, axes of size 1 and 0."""

TABLE = """
# ---- Python's numbers give NumPy's numbers, which count where they meet single precision
np.{{sin|exp|sqrt|square|abs|fabs|negative|positive|reciprocal|cbrt|log1p|sinc|i0|nan_to_num|sign|floor|rint|deg2rad|degrees|real|conj|angle|exp2}}(a) * x
np.{{clip(a, 0.0, 1.0)|round(a, 1)|around(a)|where(a > 0, a, b)|where(True, a, b)|maximum(a, b)|add(a, b)|power(a, 2)|hypot(a, b)|logaddexp(a, b)|mod(a, b)|float_power(a, 2)}} * x
np.{{sum(a)|mean(a)|prod(a)|max(a)|std(a)|var(a)|median(a)|percentile(a, 30)|ptp(a)|cumsum(a)|average(a)|nansum(a)|nanmean(a)|nanmax(a)}} * x
np.{{sum([a, b])|mean([a, b])|max((a, b))|dot(a, b)|outer(a, b)[0, 0]|inner(a, b)|kron(a, b)|interp(a, t, t)|trapezoid([a, b])|polyval([a, b], 2.0)|vdot([a], [b])}} * x
np.{{array(a)|asarray(a)|full(5, a)|full((), a)|atleast_1d(a)|ravel(a)|reshape(a, 1)|squeeze(a)|copy(a)|float64(a)|linspace(a, b, 5)|expand_dims(a, 0)|broadcast_to(a, 5)|array([a])[0]|stack([a])}} * x
np.{{zeros(5) * a|zeros(5) + a|ones(5) * a|array([a, b]).sum()|array([a, b]).max()|eye(5)[0] * a|diag([a])[0]|repeat(a, 5)|tile(a, 5)|arange(5) * a}} * x
np.{{select([x > 0], [a], b)|piecewise(x, [x > 0], [a, b])|where(x > 0, a, b)|maximum(x, a)|clip(x, a, b)|append(x, a)|insert(x, 1, a)|full_like(x, a)|pad(x, 1, constant_values=a)|concatenate([x, [a]])|hstack([x, a])}} * 2
{{math.sin(a)|abs(a)|min(a, b)|max(a, b)|a ** 2|(a if a > 0 else b)|float(a)|sum([a, b])|pow(a, 2)|-a|round(a, 1)|divmod(a, b)[1]|a % b|a // b|(a, b)[0]|a.real|x[0]|x.sum()|x.max()|x.item(0)|x[0].item()|len(x) * a}} * x
# ---- out=
np.{{sin|exp|log|sqrt|square|abs|fabs|negative|positive|reciprocal|cbrt|log1p|sign|floor|rint|deg2rad|degrees|radians|conj|exp2|tanh|arctan|ceil|trunc}}(p, out=r) * p
y = np.empty(5); np.{{exp|fabs|deg2rad|conjugate|sign|positive|sqrt|sinh}}(p, y); y * p
y = np.empty(5); np.{{add|float_power|maximum|arctan2|logaddexp|copysign|fmod|hypot|power|divide}}(p, r, y); y * p
np.{{add|float_power|maximum|arctan2|logaddexp|copysign|fmod|hypot|power|divide|fmin|heaviside}}(p, r, out=p) * r
np.{{sum|mean|prod|max|min|var|std|median|ptp|nansum|nanmean|nanmax|nanmin|nanprod|nanvar|nanstd|nanmedian}}(A, axis=0, out=w) * 2
y = np.empty(4); np.{{sum|mean|prod|max|min|var|std|median|nansum|nanmax|nanmedian|ptp}}(A, 0, out=y); y * w
y = np.empty(4); A.{{sum|mean|prod|max|min|var|std}}(0, out=y); y * w
y = np.empty(4); np.{{percentile|quantile|nanpercentile|nanquantile}}(A, 0.4, 0, y); y * w
np.{{cumsum|cumprod|nancumsum|nancumprod|maximum.accumulate|add.accumulate|multiply.accumulate|fmax.accumulate}}(A, 1, out=B) * 2
A.{{cumsum|cumprod}}(1, out=B) * 2
y = np.empty((3, 2)); np.{{take(A, [0, 2], 1, y)|take(A, [0, 2], axis=1, out=y)|compress([1, 0, 1, 0], A, 1, y)|compress([1, 0, 1, 0], A, axis=1, out=y)}}; y * 2  !f64
y = np.empty((3, 2)); np.{{dot(A, C, y)|dot(A, C, out=y)|matmul(A, C, out=y)|matmul(A, C, y)|einsum("ij,jk->ik", A, C, out=y)}}; y * 2  !f64
y = np.empty((6, 4)); np.{{concatenate([A, B], out=y)|concatenate((A, B), 0, y)}}; y * 2
y = np.empty((2, 3, 4)); np.stack([A, B], out=y); y * 2
y = np.empty((5, 3)); np.{{outer(x, v, y)|multiply.outer(x, v, out=y)|outer(x, v, out=y)}}; y * 2
y = np.empty(4); np.trace(W[:, :2, :], 0, 1, 2, None, y[:2]); y[:2] * 2
y = np.zeros(5); np.{{clip(x, -1, 1, y)|clip(x, -1, 1, out=y)|round(x, 1, y)|around(x, 1, out=y)|choose(k % 2, [x, p], out=y)}}; y * 2
np.add(x, 1, x); np.multiply(x, y, out=x); np.subtract(x, p, x); x
np.exp(A, out=A[:, :]); A
np.add(A[0], A[1], A[0]); A
np.sum(A, axis=1, out=A[:, 0]); A
np.cumsum(x, out=x); x
np.maximum(x, 0, out=x); x
np.divide(x, p, where=m, out=y) + x
np.where(m, x, y, ) * 2
np.add(x, y, out=None)
np.sum(A, axis=0, out=None, keepdims=False)
np.exp(x, where=True)
np.add(x, y, where=x > 0, out=p)
np.{{maximum|multiply|subtract|power}}(p, 2.0, where=p > 1, out=p.copy())
# ---- axes of size 1 and 0
np.{{sum|mean|prod|max|min|var|std|median|cumsum|cumprod|sort|argsort|diff|flip|ravel|squeeze|ptp|average|nansum|unique}}({{ROW|COL|O|o}})
np.{{sum|mean|prod|max|min|var|std|median|cumsum|cumprod|sort|argsort|diff|flip|ptp|nanmax|nanmean}}({{ROW|COL|O}}, axis={{0|1}})
np.{{sum|prod|cumsum|cumprod|sort|argsort|flip|ravel|nansum|any|all|unique|diff}}({{e|E|G}})
np.{{sum|prod|cumsum|cumprod|sort|argsort|flip|nansum|any|all|diff}}({{E|G}}, axis={{0|1}})
np.{{max|min|argmax|mean|median|var|ptp|std}}({{E, axis=1|G, axis=0}})
np.{{max|min|argmax|ptp}}({{e|E|G}}) + a
np.{{concatenate|stack|vstack|hstack|dstack|column_stack}}([{{o, o|O, O|e, e|E, E}}])
np.{{transpose|atleast_2d|atleast_3d|fliplr|flipud|rot90|tril|triu}}({{O|ROW|COL|E|G}})
np.{{expand_dims}}({{O|e|E}}, 0)
np.{{dot|matmul|inner|outer|kron|vdot}}({{o, o|O, O|e, e}})
{{O @ ROW[:, :1]|COL @ O|ROW @ COL[:, :1].repeat(4, 0)[:4]|E @ E.T|E.T @ E|G @ G.T|G.T @ G|O @ o|o @ O|E @ v|G.T @ v}}
ROW + COL + O + o[0] + a
ROW * A - COL / P + O
np.where(ROW > 0, COL, A) + np.where(COL > 0, ROW, O)
np.{{maximum|minimum|logaddexp|arctan2|copysign|fmod}}({{ROW, COL|O, A|COL, O|o, x|E, o[None] * 0 + v|G, O|G, COL}})
ROW[0] * COL[:, 0][:1] + ROW[:, 0] + COL[0]
ROW[:, [0, 0]] + COL[[0]] + O[[0], [0]]
y = np.zeros((3, 4)); y[:] = ROW; y += COL; y[:, :1] = COL * 2; y[1:2] = ROW; y
y = np.zeros((1, 1)); y[0, 0] = a; y[:] += O; y
y = np.zeros((0, 3)); y[:] = 1.0; y + v
y = x[:0]; y += 1; x
np.pad({{o|O|ROW|e}}, 1)
np.pad(O, 1, mode="{{edge|wrap|reflect|symmetric|mean}}")
np.tile({{o|O|e}}, 3) * 2
np.repeat({{o|O|e|COL}}, 2)
np.roll({{o|O|e|COL}}, 1)
np.take({{o|O|COL}}, 0) + np.take(o, [0, 0, -1])
np.interp(o, t, y[:5]) + np.interp(e, t, y).sum()
np.convolve(o, o) + np.correlate(o, o)
np.einsum("ij,jk->ik", COL, ROW) + np.einsum("ij,ij->i", ROW, ROW)
np.einsum("{{ij->i|ij->j|ij->}}", {{E|G|O}})
np.tensordot({{O, O|E, E.T|ROW, S|COL, ROW}}, axes={{1}})
np.cov(ROW) + np.var(ROW, ddof=1)
np.gradient(x[:2]) * 2
np.trapezoid({{o|e|O}}) + a
np.{{diff|ediff1d}}(o).sum() + np.diff(e).sum() + a
np.bincount(k[:0], weights=e, minlength=2) + a
np.split({{o, 1|O, 1|e, 1}})
np.linspace(a, b, {{0|1|2}})
np.{{zeros|ones|empty}}(({{0|0, 3|1, 0}})).sum() + a
np.meshgrid(o, e)
np.diag({{o|O|e}})
np.searchsorted(o, x) * x + np.searchsorted(e, x) * y
np.percentile({{o|O}}, [30, 60])
x[e.astype(int)].sum() + a
x[np.zeros(0, int)].sum() + x[np.zeros(5, bool)].sum() + a
sum(s for s in e) + a  !f64
[s for s in np.zeros((0, 2))] and a or b
np.array([s * 2 for s in e]).sum() + a  !f64
np.max(x[:0], initial=a) + np.min(e, initial=b)
np.{{logical_or|logical_and}}.reduce(m[:0]) * a + np.add.reduce(e) + np.multiply.reduce(e)
np.apply_along_axis(np.sum, 0, ROW) + np.vectorize(math.sin)(ROW[0])
np.select([ROW > 0, COL > 0], [ROW, COL], O)
np.block([[O, ROW], [COL, A]])
np.insert(e, 0, a) + np.delete(o, 0).sum() + np.append(e, a)
np.squeeze(COL)[None] + np.expand_dims(ROW[0], 0)[:, :3]
"""
