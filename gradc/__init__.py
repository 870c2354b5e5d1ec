"""gradc compiles derivatives: plain NumPy functions in, staged and readable backward code out, run by Numba."""

from gradc.api import (
    checkpoint,
    custom_jvp,
    custom_vjp,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    lambdify,
    stop_gradient,
    to_sympy,
    value_and_grad,
    vjp,
)
from gradc.errors import (
    DTypeError,
    GradcError,
    GradientMismatch,
    InternalError,
    NonDifferentiableError,
    NonFiniteError,
    ShapeError,
    UnsupportedError,
)
from gradc.inspect import show
from gradc.runtime.cache import cache
from gradc.testing import check_grads, numerical_grad
from gradc.version import __version__

__all__ = [
    "DTypeError",
    "GradcError",
    "GradientMismatch",
    "InternalError",
    "NonDifferentiableError",
    "NonFiniteError",
    "ShapeError",
    "UnsupportedError",
    "__version__",
    "cache",
    "check_grads",
    "checkpoint",
    "custom_jvp",
    "custom_vjp",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "lambdify",
    "numerical_grad",
    "show",
    "stop_gradient",
    "to_sympy",
    "value_and_grad",
    "vjp",
]
