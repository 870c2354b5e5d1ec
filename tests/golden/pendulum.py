"""Value and gradient of pendulum (board.py:175), staged by gradc. Runs under plain NumPy."""

import numpy as np

G = 9.81


def pendulum_value_and_grad(state, h, steps):
    theta, omega = state

    # forward
    theta_tape = np.empty(max(steps, 0))
    sin_theta_tape = np.empty(max(steps, 0))
    omega_tape = np.empty(max(steps, 0))
    for k in range(steps):
        theta_tape[k] = theta
        sin_theta = np.sin(theta)
        sin_theta_tape[k] = sin_theta
        omega -= h * G * sin_theta
        omega_tape[k] = omega
        theta += h * omega

    # backward
    # from board.py:177: for k in range(steps):
    domega = 0.0
    dtheta = 1.0
    dh = 0.0
    for k in reversed(range(steps)):
        # from board.py:179: theta = theta + h * omega
        omega = omega_tape[k]
        dh += omega * dtheta
        domega += h * dtheta
        # from board.py:178: omega = omega - h * G * math.sin(theta)
        t1 = -domega
        dtheta += h * G * t1 * np.cos(theta_tape[k])
        dh += sin_theta_tape[k] * t1 * G

    return float(theta), (type(state)(float(dtheta), float(domega)), float(dh))
