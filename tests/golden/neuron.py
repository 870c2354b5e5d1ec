"""Value and gradient of neuron (board.py:56), staged by gradc. Runs under plain NumPy."""

import numpy as np


def neuron_value_and_grad(w, x, b=0.5):
    # forward
    dot = w * x + b
    value = np.tanh(dot)

    # backward
    # from board.py:58: return math.tanh(dot)
    ddot = 1 - value * value
    # from board.py:57: dot = w * x + b
    dw = x * ddot
    dx = w * ddot

    return float(value), (float(dw), float(dx))
