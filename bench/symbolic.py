"""Tables of expressions: growing ones against CasADi, JAX and SymPy; n-link pendulums against SymPy's own derivatives.

Times are processor times, so that a busy machine disturbs them less. "first" is from the expression to the first
gradient, compilation included; run with GRADC_CACHE=0, else gradc may load what an earlier run compiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.runner import show_seconds, text_table

INPUTS = 20
Step = tuple[str, int, int, int]


def steps(operations: int, seed: int = 0) -> list[Step]:
    """A program: each step is a function of a * b + c, of inputs and of results of the last 60 steps."""
    rng = np.random.default_rng(seed)
    made: list[Step] = []
    count, done = INPUTS, 0
    while done < operations:
        a, b, c = (int(k) for k in rng.integers(max(0, count - 60), count, 3))
        name = ("sin", "cos", "tanh", "gauss", "root")[int(rng.integers(5))]
        made.append((name, a, (a + 1) % count if a == b else b, c))
        count, done = count + 1, done + (5 if name in ("gauss", "root") else 3)
    return made


def evaluated(program: Sequence[Step], xs: Sequence[Any], m: Any) -> Any:
    """The sum of the last results, with the functions of module `m`."""
    held = list(xs)
    for name, a, b, c in program:
        u = held[a] * held[b] + held[c]
        if name == "gauss":
            held.append(m.exp(-(u * u)))
        else:
            held.append(1 / m.sqrt(1 + u * u) if name == "root" else getattr(m, name)(u))
    total = held[-1]
    for x in held[-INPUTS:-1]:
        total = total + x
    return total


def as_sympy(program: Sequence[Step], xs: Sequence[Any]) -> Any:
    """The same as an expression of SymPy, which is not asked to evaluate it: on shared parts that takes forever."""
    import sympy

    def add(*terms: Any) -> Any:
        return sympy.Add(*terms, evaluate=False)

    def mul(*factors: Any) -> Any:
        return sympy.Mul(*factors, evaluate=False)

    def power(x: Any, n: Any) -> Any:
        return sympy.Pow(x, n, evaluate=False)

    held = list(xs)
    for name, a, b, c in program:
        u = add(mul(held[a], held[b]), held[c])
        if name == "gauss":
            held.append(sympy.exp(mul(-1, power(u, 2)), evaluate=False))
        elif name == "root":
            held.append(power(add(1, power(u, 2)), -sympy.S.Half))
        else:
            held.append(getattr(sympy, name)(u, evaluate=False))
    return add(*held[-INPUTS:])


def by_gradc(program: Sequence[Step], x: Any) -> Callable[[], Any]:
    import sympy

    import gradc

    symbols = sympy.symbols(f"x0:{INPUTS}")
    derivative = gradc.value_and_grad(gradc.lambdify([symbols], as_sympy(program, symbols)))
    return lambda: derivative(x)


def by_casadi(program: Sequence[Step], x: Any) -> Callable[[], Any]:
    import casadi

    symbols = casadi.SX.sym("x", INPUTS)
    value = evaluated(program, [symbols[k] for k in range(INPUTS)], casadi)
    derivative = casadi.Function("f", [symbols], [value, casadi.gradient(value, symbols)])
    return lambda: derivative(x)


def by_jax(program: Sequence[Step], x: Any) -> Callable[[], Any]:
    import jax

    jax.config.update("jax_enable_x64", True)

    derivative = jax.jit(jax.value_and_grad(lambda v: evaluated(program, [v[k] for k in range(INPUTS)], jax.numpy)))
    given = jax.numpy.asarray(x)
    return lambda: jax.block_until_ready(derivative(given))


PEERS: dict[str, tuple[Callable[[Sequence[Step], Any], Callable[[], Any]], int]] = {
    "gradc": (by_gradc, 100_000),
    "casadi": (by_casadi, 100_000),
    "jax": (by_jax, 1_000),  # 10,000 operations take it minutes
}


def per_call(call: Callable[[], Any], budget: float = 0.5) -> float:
    """The best of five means, in seconds of processor time."""
    start = time.process_time()
    call()
    count = max(1, int(budget / 5 / max(time.process_time() - start, 1e-7)))
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(count):
            call()
        best = min(best, (time.process_time() - start) / count)
    return best


def expressions_table(sizes: Sequence[int] = (100, 1_000, 10_000, 100_000)) -> str:
    """First gradient and later calls for growing expressions."""
    lines = []
    x = np.linspace(0.1, 0.9, INPUTS)
    for size in sizes:
        program = steps(size)
        first, later = [], []
        reference = None
        for make, most in PEERS.values():
            if size > most:
                first.append("-")
                later.append("-")
                continue
            start = time.process_time()
            call = make(program, x)
            _, gradient = call()
            first.append(show_seconds(time.process_time() - start))
            later.append(show_seconds(per_call(call)))
            found = np.asarray(gradient, float).ravel()
            reference = found if reference is None else reference
            assert np.allclose(found, reference, rtol=1e-9, atol=1e-12 * np.abs(reference).max())
        lines.append([f"{size:,}", *first, *later])
    header = ["operations", *(f"{p} first" for p in PEERS), *(f"{p} call" for p in PEERS)]
    return "Value and gradient of expressions in 20 variables\n\n" + text_table(header, lines) + "\n"


# ------------------------------------------------------------------------------------------------ pendulums


def pendulum(links: int) -> tuple[list[Any], Any, Any]:
    """Arguments, mass matrix and forcing of a chain of equal links, by Kane's method."""
    import sympy
    from sympy.physics import mechanics as me

    angles, speeds = me.dynamicsymbols(f"q:{links}"), me.dynamicsymbols(f"u:{links}")
    mass, length, gravity, t = sympy.symbols("m l g t")
    frame, point = me.ReferenceFrame("N"), me.Point("O")
    point.set_vel(frame, 0)
    bobs, loads, kinematics = [], [], []
    for k, (q, u) in enumerate(zip(angles, speeds, strict=True)):
        link = frame.orientnew(f"A{k}", "Axis", [q, frame.z])
        link.set_ang_vel(frame, u * frame.z)
        end = point.locatenew(f"P{k}", length * link.x)
        end.v2pt_theory(point, frame, link)
        bobs.append(me.Particle(f"b{k}", end, mass))
        loads.append((end, mass * gravity * frame.x))
        kinematics.append(q.diff(t) - u)
        point = end
    method = me.KanesMethod(frame, q_ind=angles, u_ind=speeds, kd_eqs=kinematics)
    method.kanes_equations(bobs, loads)
    return [[*angles, *speeds], [mass, length, gravity]], method.mass_matrix, method.forcing


def derivatives_by_sympy(args: Sequence[Any], matrix: Any) -> tuple[Any, Any]:
    """Symbols in the place of the first arguments, and the derivatives of all entries in them, entry by entry."""
    import sympy

    symbols = sympy.symbols(f"s0:{len(args[0])}")
    placed = matrix.xreplace(dict(zip(args[0], symbols, strict=True)))
    return symbols, [sympy.diff(entry, s) for entry in placed for s in symbols]


def pendulum_table(sizes: Sequence[int] = (2, 3, 4, 5, 6)) -> str:
    """The Jacobian of mass matrix and forcing in angles and speeds."""
    import sympy
    from numba import njit

    import gradc

    lines = []
    for links in sizes:
        args, mass, forcing = pendulum(links)
        both = sympy.Matrix.hstack(mass, forcing)
        x, parameters = np.linspace(0.2, 1.1, 2 * links), np.array([1.0, 0.7, 9.81])
        start = time.process_time()
        jacobian = gradc.jacobian(gradc.lambdify(args, both))
        ours = jacobian(x, parameters)
        first = time.process_time() - start
        start = time.process_time()
        symbols, slopes = derivatives_by_sympy(args, both)
        function = njit(sympy.lambdify([list(symbols), args[1]], slopes, cse=True))
        given = tuple(x), tuple(parameters)
        theirs = np.array(function(*given)).reshape(ours.shape)
        sympy_first = time.process_time() - start
        times = per_call(lambda j=jacobian, v=x, p=parameters: j(v, p)), per_call(lambda f=function, g=given: f(*g))
        error = np.abs(ours - theirs).max()
        cells = [show_seconds(s) for s in (first, sympy_first, *times)]
        lines.append([str(links), *cells, f"{error:.0e}"])
    header = ["links", "gradc first", "sympy+numba first", "gradc call", "sympy+numba call", "error"]
    return "Jacobian of an n-link pendulum's mass matrix and forcing\n\n" + text_table(header, lines) + "\n"


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "expressions": ("Expressions of 100 to 100,000 operations, against CasADi and JAX", expressions_table),
    "pendulum": ("Jacobians of n-link pendulums, against SymPy's own derivatives under Numba", pendulum_table),
}
