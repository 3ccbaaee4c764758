"""What Bullet's walkers compute at every step, compiled, to the bits of the original's numpy.

numpy adds up to 127 numbers in eight lanes, which `total` repeats. Sines, angles and the product
of a matrix and a vector are not here: they are those of numpy's own libraries.
"""

import numpy as np

from machine.compiled import compiled

AT_LIMIT = np.float32(0.99)  # of a joint's range


@compiled
def total(x):
    """The sum of fewer than 128 numbers, as `np.add.reduce` rounds it."""
    n = x.size
    whole = n - n % 8
    s = x[0] - x[0]
    if whole:
        a, b, c, d, e, f, g, h = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
        for k in range(8, whole, 8):
            a, b, c, d = a + x[k], b + x[k + 1], c + x[k + 2], d + x[k + 3]
            e, f, g, h = e + x[k + 4], f + x[k + 5], g + x[k + 6], h + x[k + 7]
        s = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for k in range(whole, n):
        s += x[k]
    return s


@compiled
def centre(places):
    """Mean x and y of points (n, 3) float64."""
    return total(places[:, 0]) / len(places), total(places[:, 1]) / len(places)


@compiled
def drive(action, gains, torques):
    """Fill torques (n,) float64 from an action, clipped to [-1, 1]; False if it is not finite."""
    finite = True
    for j in range(gains.size):
        x = np.float64(action[j])
        finite &= np.isfinite(x)
        torques[j] = gains[j] * min(max(x, -1.0), 1.0)
    return finite


@compiled
def observe(state, speeds, body, joints, middles, spans, contacts):
    """Fill state (8 + 2 n + feet,) and speeds (n,), float32; how many joints are at their limits,
    and whether the state is free of NaN.

    body: the eight numbers in front; joints (n, 2) float64: angle and speed of each; middles and
    spans (n,) of the joints' ranges; contacts (feet,).
    """
    n, at_limit, sane = len(joints), 0, True
    for k in range(8):
        state[k] = body[k]
    for j in range(n):
        # the angle from -1 to 1 within the joint's limits, and its speed
        angle = np.float32(2 * (joints[j, 0] - middles[j]) / spans[j])
        at_limit += abs(angle) > AT_LIMIT
        state[8 + 2 * j] = angle
        state[9 + 2 * j] = speeds[j] = 0.1 * joints[j, 1]
    state[8 + 2 * n :] = contacts
    for k in range(state.size):
        x = state[k]
        state[k] = -5 if x < -5 else 5 if x > 5 else x
        sane &= not np.isnan(x)
    return at_limit, sane


@compiled
def effort(action, speeds):
    """The means of |action · speed| and of action², each in the precision of its terms."""
    current, squares = np.abs(action * speeds), np.square(action)
    n = len(action)
    current[0], squares[0] = total(current) / n, total(squares) / n
    return np.float64(current[0]), np.float64(squares[0])
