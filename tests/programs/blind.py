"""Programs of many kinds in other hands' styles, each of which once was wrong or refused, or is of a kind that was."""

from __future__ import annotations

import numpy as np

from tests.programs.entry import program, signed


@program((signed(3), 3), (signed(4), 1), (signed(2), 0))
def two_arrays_rebound_in_a_branch(p, k):
    """The shape of the new `p` is asked for in reverse before its old content is back."""
    w = p
    for t in range(k):
        p = 0.9 * p
        if t > 0:
            p = np.sin(p)
            w = np.full(len(p), 0.5)
    return np.sum(w * p)


@program((signed(3),), (signed(5),), (signed(0),))
def nested_sums_of_exponentials(x):
    """Both loops are reversed with their forward parts, one inside the other."""
    total = 0.5
    for i in range(len(x)):
        for j in range(len(x)):
            total -= np.exp(x[i] - x[j])
    return total


@program((signed(3, 2), 0.3), (signed(4, 2), 0.1))
def nested_sums_under_a_condition(x, limit):
    total = 0.0
    for i in range(len(x)):
        if x[i, 0] > limit:
            for j in range(i):
                total += 1.0 / np.sqrt(np.sum((x[i] - x[j]) ** 2) + 1.0)
        else:
            total += np.exp(x[i, 1])
    return total, x


@program((-1.0, signed(3), signed(3, 3)), (1.0, signed(3), signed(3, 3)))
def rebound_in_a_branch_of_a_loop_that_runs(c, w, A):
    """The loop runs, but `A` may still be the argument after it, which `kept` names too."""
    kept = A
    for _ in range(2):
        if c > 0:
            A = A.T * 2.0
    A[-1, -1] = w @ w
    return np.sum(kept * w)
