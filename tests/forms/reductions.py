"""Reductions and statistics."""

TABLE = """
np.{{sum|mean|prod|max|min|amax|amin}}({{a|d|h|x|A|T|o|O|FO|ST|[a, b, c]|(a, b)|[[a, b], [c, a]]|[x, y]|a * i|H}})
np.{{sum|prod}}({{e|E|G|m|M|i|k}}) * a
np.{{sum|prod|mean}}(E, axis=1)
np.{{sum|prod}}({{E|G}}, axis={{0|1|(0, 1)|None}}) + a
np.{{max|min|mean}}(E, axis=1)
np.max(G, axis=0)
np.{{sum|mean|prod|max|min|amax|amin|ptp}}(A, {{0|1|-1|axis=0|axis=-2|axis=(0, 1)|axis=(1, 0)|axis=(0,)|axis=()|axis=None, keepdims=True|axis=1, keepdims=True|-1, keepdims=True|keepdims=True|keepdims=False}})
np.{{sum|mean|prod|max|min|var|std}}(T, {{axis=(0, 2)|axis=(0, -1)|axis=(-1, 0), keepdims=True|axis=1|(1, 2)}})
{{A|x|T|o}}.{{sum|mean|prod|max|min|var|std}}()
A.{{sum|mean|prod|max|min|var|std}}({{0|axis=1|-1|axis=(0, 1)|axis=-1, keepdims=True|keepdims=True}})
A.{{sum|prod|mean}}(dtype=np.float64)
np.{{sum|prod|mean|cumsum|cumprod}}({{A|i|m|k}}, dtype={{np.float64|float|"float64"}}) + a
np.{{sum|mean|prod}}(A, axis=0, dtype=np.float32)
np.{{sum|prod|mean}}(k) * a
np.mean(k, axis=0) * a + np.mean(m) * a + np.max(k) * a + np.ptp(k) * a
np.{{sum|prod}}(A, axis=1, initial={{2.0|a}})
np.{{max|min}}(A, axis={{1|None|(0, 1)|-1}}, initial={{0.1|a}})
np.{{max|min}}(A, initial=0.0, where=M)
np.max(A, axis=1, initial=-np.inf, where=M)
np.min(A, axis=1, initial=np.inf, where=M)
np.{{max|min}}(E, axis=1, initial=0.0)
np.{{max|min}}(e, initial=a)
np.{{max|min}}(x, 0, None, False, 0.3)
np.{{sum|mean|prod|var|std}}(A, where={{M|m[:4]|M[:, :1]|A > 0}})
np.{{sum|mean|prod|var|std}}(A, axis=1, where=M)
np.{{sum|mean|prod}}(A, axis=0, keepdims=True, where=A > -1)
A.sum(where=M) + A.mean(where=M) + A.var(where=M) + A.max(where=M, initial=-3.0)
np.sum(x, where=True)
np.sum(x, out=np.array(0.0))
np.sum(A, axis=0, out=w)
np.mean(A, 0, None, w); w
np.max(A, axis=0, out=w)
A.sum(axis=0, out=w)
w[:] = np.sum(A, 0); w
np.{{sum|mean|max}}(x * y + a) * x
np.prod(zv)
np.prod(ZP, axis={{0|1|-1|(0, 1)|None}})
np.prod(ZP, axis=1, keepdims=True)
zv.prod()
np.sum(A * ROW, axis=0) / np.sum(B * B)
np.{{var|std}}({{x|A|T|a|d|o|[a, b, c]|k * a|p}})
np.{{var|std}}(A, {{0|axis=1|axis=(0, 1)|axis=-1, ddof=1|ddof=1|axis=0, keepdims=True|axis=0, ddof=1, keepdims=True|ddof=n|ddof=0.5|axis=1, correction=1|axis=1, mean=np.mean(A, axis=1, keepdims=True)|axis=0, dtype=np.float64}})
np.{{var|std}}(A, 0, None, None, 1)
x.std(ddof=1) + x.var(ddof=1)
np.{{var|std}}(x, axis=0, out=np.array(0.0))
np.std(o)
np.{{median|mean}}({{x|A|T|w|a|d|o|[a, b, c]|k|FO}})
np.median(A, {{0|axis=1|axis=-1|axis=(0, 1)|axis=1, keepdims=True|keepdims=True|axis=None}})
np.median(T, axis=(0, 2))
np.median(T, axis=(0, 2), keepdims=True)
np.{{percentile|quantile}}({{x|A|T|w|[a, b, c]}}, {{0.3|0|1|0.5|[0.2, 0.7]|(0.1, 0.5, 0.9)|np.array([0.2, 0.7])|[0.5]}})
np.{{percentile|quantile}}(A, 0.3, {{0|axis=1|axis=-1|axis=(0, 1)|axis=1, keepdims=True|keepdims=True}})
np.{{percentile|quantile}}(A, [0.2, 0.7], {{axis=1|axis=0|axis=1, keepdims=True|axis=(0, 1), keepdims=True}})
np.{{percentile|quantile}}(A, [[0.2, 0.7], [0.1, 0.4]], {{axis=1|axis=None|axis=0, keepdims=True}})
np.percentile(A, q=75, axis=0) - np.percentile(A, q=25, axis=0)
np.percentile(x, 50) + np.percentile(x, [25, 50, 75]).sum()
np.percentile(x, n * 10)
np.quantile(x, a)
np.{{quantile|nanquantile}}(x, {{[0.2, 1.3]|1.2|a + 1|np.array([-0.1, 0.4])}})
np.quantile(x, np.array([a, 0.2]))
np.{{percentile|quantile}}(x, 0.37, method="{{linear|lower|higher|midpoint|nearest|hazen|weibull|median_unbiased|normal_unbiased|interpolated_inverted_cdf|inverted_cdf|averaged_inverted_cdf|closest_observation}}")
np.quantile(A, [0.25, 0.6], axis=1, method="{{lower|higher|nearest|midpoint}}")
np.{{nanmedian|nanmean|nansum|nanprod|nanvar|nanstd|nanmax|nanmin}}({{N|nv|x|A|a|[a, b]}})
np.{{nanmedian|nanmean|nansum|nanprod|nanvar|nanstd|nanmax|nanmin}}(N, {{axis=0|axis=1|-1|axis=(0, 1)|axis=1, keepdims=True|keepdims=True}})
np.{{nanpercentile|nanquantile}}({{N|nv|x}}, {{0.3|[0.2, 0.7]}})
np.{{nanpercentile|nanquantile}}(N, {{0.3|[0.2, 0.7]}}, axis={{0|1|-1|(0, 1)}})
np.{{nanpercentile|nanquantile}}(N, {{0.3|[0.2, 0.7]}}, axis=1, keepdims=True)
np.{{nanvar|nanstd}}(N, axis=1, ddof=1)
np.nanvar(N, ddof=1) + np.nanstd(N, ddof=1)
np.nansum(N, axis=0, initial=2.0)
np.nansum(N, where=M)
np.nanmean(N, where=M | (N > 0))
np.{{nancumsum|nancumprod}}({{N|nv}})
np.{{nancumsum|nancumprod}}(N, axis={{0|1}})
np.{{nanargmax|nanargmin}}(nv) * a
x[np.nanargmax(x)] + nv[np.nanargmin(nv)]
A[0, np.nanargmax(A, axis=1)]
np.nan_to_num(N).sum(axis=0)
np.ptp({{x|A|T|a|[a, b, c]}})
np.ptp(A, axis=0, keepdims=True)
np.average({{x|A|[a, b, c]}})
np.average(x, weights=p)
np.average(A, axis={{0|1|-1|(0, 1)|None}}, weights=P)
np.average(A, axis=0, weights=v * v)
np.average(A, axis=1, weights=w * w)
np.average(A, 1, w * w)
np.average(A, axis=1, weights=w * w, keepdims=True)
np.average(A, axis=1, weights=P, keepdims=True)
np.average(x, weights=p, returned=True)
np.average(A, axis=1, weights=w * w, returned=True)
np.average(A, axis=0, returned=True)
np.average(A, returned=True)
np.average([a, b], weights=[0.2, 0.8])
np.average(x, weights=k + 1)
np.average(A, axis=0)
np.average(T, axis=(0, 1), weights=V * V)
np.average(T, axis=(0, 2), weights=P[:2])
np.cov({{x|A|A.T}})
np.cov(x, y)
np.cov(A, B)
np.cov(A, {{rowvar=False|bias=True|ddof=0|ddof=2|rowvar=False, bias=True}})
np.cov(x, y, ddof=0)[0, 1]
np.cov(x, bias=True)
np.cov(np.stack([x, y]))
np.cov([x, y])
np.cov(A, aweights=w * w)
np.cov(A, fweights=[1, 2, 1, 3])
np.cov(A, aweights=w * w, fweights=[1, 2, 1, 3])
np.cov(x, aweights=p, bias=True)
np.cov(A, aweights=w * w, ddof=0)
np.corrcoef({{A|x}})
np.corrcoef(x, y)
np.corrcoef(x, y)[0, 1]
np.corrcoef(A, rowvar=False)
np.corrcoef(A, B)
np.{{cumsum|cumprod}}({{x|A|T|a|d|o|e|E|[a, b, c]|[x, y]|k * a|zv|ZP|FO}})
np.{{cumsum|cumprod}}(A, {{0|1|axis=-1|axis=0|axis=None}})
{{x|A|T}}.{{cumsum|cumprod}}()
A.{{cumsum|cumprod}}({{0|axis=1|-1}})
np.cumprod(ZP, axis=1)
np.cumsum(A, axis=0, out=B)
np.cumsum(A, axis=1, dtype=float)
np.cumsum(A[:, ::-1], axis=1)[:, ::-1]
np.{{cumulative_sum|cumulative_prod}}(x)
np.{{cumulative_sum|cumulative_prod}}(A, axis=1)
np.{{cumulative_sum|cumulative_prod}}(A, axis=0, include_initial=True)
np.cumulative_sum(x, include_initial=True)
np.diff({{x|A|T|o|[a, b, c]|e|FO}})
np.diff(A, {{1|2|n=2|axis=0|n=2, axis=0|1, 0|n=0|axis=-2|n=3}})
np.diff(x, n=5)
np.diff(x, n=7)
np.diff(x, prepend=0)
np.diff(x, prepend=a, append=b)
np.diff(x, append=y)
np.diff(x, prepend=[a])
np.diff(A, axis=0, prepend=ROW)
np.diff(A, prepend=0.0, append=1)
np.diff(A, prepend=COL)
np.diff(A, n=2, axis=1, prepend=a)
np.diff(k) * a
np.ediff1d({{x|A|[a, b, c]}})
np.ediff1d(x, to_end=a)
np.ediff1d(x, to_begin=[a, b], to_end=c)
np.ediff1d(x, to_end=y, to_begin=0)
np.ediff1d(x, 9.0)
np.gradient({{x|A|T|[a, b, c]|k * 1.0 * a}})
np.gradient(x, {{0.5|a|t|edge_order=2|0.5, edge_order=2|t, edge_order=2|axis=0|[0.0, 0.3, 0.7, 1.2, 2.0]}})
np.gradient(A, {{axis=0|axis=1|axis=-1|axis=(0, 1)|axis=(1, 0)|0.5|0.5, 0.25|a, b|t[:3], 0.5|t[:3], t[:4]|t[:4], axis=1|0.3, axis=0|edge_order=2|t[:4], axis=1, edge_order=2|0.5, axis=0, edge_order=2|t[:3], t[:4], edge_order=2}})
np.gradient(A)[0] + np.gradient(A)[1]
gx, gy = np.gradient(A); gx * gy
np.gradient(x[:2])
np.trapezoid({{x|A|T}})
np.trapezoid(x, {{t|dx=0.1|dx=a|x=t|t, 0.1|t * a}})
np.trapezoid(A, axis=0)
np.trapezoid(A, dx=0.1, axis=0)
np.trapezoid(A, t[:4])
np.trapezoid(A, t[:3], axis=0)
np.trapezoid(A, x=B, axis=1)
np.trapezoid(A, x=B, axis=0)
np.trapezoid(A, x=COL, axis=0)
np.trapezoid(o)
np.trapezoid([a, b, c], [0.0, 0.5, 2.0])
np.trapezoid(x, x=[0.0, 0.5, 1.0, 1.5, 3.0])
# ---- as an index, a condition or a weight
x[np.argmax(x)] + x[np.argmin(x)] + x[x.argmax()] + x[x.argmin()]
np.argmax(A) * a + A.argmax() * b + np.argmin(A) * a
np.argmax(A, axis=0) * w + A.argmin(axis=1).sum() * a
np.argmax(A, axis=1, keepdims=True) * A
A[np.arange(3), np.argmax(A, axis=1)]
A[np.unravel_index(np.argmax(A), A.shape)]
A.flat[np.argmax(A)]
A.ravel()[np.argmax(A)]
x[np.argsort(x)] * t
x[np.argsort(x)[::-1]] * t
x[np.argsort(-x)[:2]]
A[:, np.argsort(A[0])]
np.take_along_axis(A, np.argsort(A, axis=1), axis=1) * w
np.argsort(A, axis=None) * a
np.argsort(A, axis=0) * A
np.argsort(x, kind="stable") * x
x.argsort() * x
np.argsort([a, b, c]) * a
x[np.nonzero(x > 0)]
A[np.nonzero(A > 0)]
x[np.flatnonzero(x > 0)]
np.sum(x[x.nonzero()])
np.count_nonzero(x > 0) * x
np.count_nonzero(A > 0, axis=1) * v
np.count_nonzero(A > 0, axis=0, keepdims=True) * A
np.searchsorted(t, x) * x
np.searchsorted(t, a) * x
np.searchsorted(t, A, side="right") * A
np.searchsorted([0.0, 0.5, 1.0], x) * x
t.searchsorted(x) * x
t.searchsorted(a, side="right") * a
x[np.searchsorted(t, np.array([-0.5, 0.5]))]
np.searchsorted(x, y, sorter=np.argsort(x)) * x
np.digitize(x, t) * x
np.digitize(x, [0.0, 0.5]) * x
np.digitize(x, [0.5, 0.0]) * x
np.digitize(A, t) * A
np.any(A > 0, axis=1) * v + np.all(A > -2, axis=1) * v
(A > 0).any(axis=0) * w + (A > 0).all() * a
np.any(A > 0, axis=(0, 1)) * a + np.all(m, keepdims=True) * x
np.bincount(k, weights=x)
np.bincount(k, x, 10)
np.bincount(k, weights=x, minlength=9)
np.bincount(k, minlength=10) * a
np.bincount([0, 1, 1, 3, 0], weights=x)
np.bincount(k) * a
np.histogram(x, bins=t)[0] * w
np.histogram(x, bins=[-5.0, 0.0, 5.0], weights=p)[0]
np.histogram(x, bins=3, range=(-3, 3), weights=p)[0]
np.histogram(x, bins=3)[1]
np.allclose(x, x) * x + np.isclose(x, x) * x
"""
