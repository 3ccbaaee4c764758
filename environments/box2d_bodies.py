"""Where bodies of Box2D are and how they move: asked of its Python, or read where it keeps them.

Its Python makes several objects for every number. Reading is possible as long as a b2Body is laid
out as here (Box2D 2.3, b2Body.h), which is tried out once; the numbers are the same.
"""

import ctypes
import functools

import Box2D
import numpy as np
from numba import types

from machine.compiled import compiled

X, Y, SIN, COS, ANGLE, VX, VY, SPIN, SPEED = range(9)  # of a body: the columns of its motion
WORDS = (3, 4, 5, 6, 14, 16, 17, 18)  # of four bytes in a b2Body: where all but the last stand
FORCE, SIZE = 19, 21  # the first of two words, and how many are of interest
ADDRESS = types.intp
_copy = types.ExternalFunction("memcpy", ADDRESS(ADDRESS, ADDRESS, ADDRESS))


@compiled
def _look(bodies, motion):
    words = np.empty(SIZE, np.float32)
    for b in range(bodies.size):
        _copy(words.ctypes.data, bodies[b], words.nbytes)
        for k in range(len(WORDS)):
            motion[b, k] = words[WORDS[k]]
        vx, vy = words[WORDS[VX]], words[WORDS[VY]]
        motion[b, SPEED] = np.sqrt(vx * vx + vy * vy)


@compiled
def _push(bodies, forces):
    words = np.empty(2, np.float32)
    for b in range(len(forces)):
        place = bodies[b] + 4 * FORCE
        _copy(words.ctypes.data, place, words.nbytes)
        words[0] += np.float32(forces[b, 0])
        words[1] += np.float32(forces[b, 1])
        _copy(place, words.ctypes.data, words.nbytes)


class PythonBodies:
    """Bodies by Box2D's Python."""

    def __init__(self, bodies: list):
        self.bodies, self.motion = bodies, np.zeros((len(bodies), 9))

    def look(self) -> np.ndarray:
        """(bodies, 9) float64 of float32 values, valid until the next look: place, sine, cosine and
        angle (rad), velocity, angular velocity, and speed."""
        for body, row in zip(self.bodies, self.motion, strict=True):
            (x, y), (vx, vy) = body.position, body.linearVelocity
            q, speed = body.transform.q, body.linearVelocity.length
            row[:] = x, y, q.s, q.c, body.angle, vx, vy, body.angularVelocity, speed
        return self.motion

    def push(self, forces: np.ndarray) -> None:
        """Apply forces (n, 2) float64 to the centres of the first n bodies, which are awake."""
        for body, force in zip(self.bodies, forces.tolist(), strict=False):
            body.ApplyForceToCenter(force, True)


class Bodies(PythonBodies):
    """The same from memory: a tenth of the time."""

    def __init__(self, bodies: list):
        super().__init__(bodies)
        self.places = np.array([int(body.this) for body in bodies], np.intp)

    def look(self):
        _look(self.places, self.motion)
        return self.motion

    def push(self, forces):
        _push(self.places, forces)


@functools.cache
def _as_known() -> bool:
    """Whether a b2Body is laid out as in WORDS."""
    motion = {"linearVelocity": (3, -4), "angularVelocity": 5}
    fixture = Box2D.b2FixtureDef(shape=Box2D.b2CircleShape(radius=1), density=1)
    world = Box2D.b2World((0, 0))
    body = world.CreateDynamicBody(position=(6, -7), angle=0.5, fixtures=fixture, **motion)
    body.ApplyForceToCenter((8, -9), True)
    words = (ctypes.c_float * (FORCE + 2)).from_address(int(body.this))
    motion = PythonBodies([body]).look()[0, :SPEED].tolist()
    return [words[k] for k in WORDS] == motion and words[FORCE:] == [8, -9]


def bodies_of(bodies: list) -> PythonBodies:
    """The fastest way to these bodies here."""
    return (Bodies if _as_known() else PythonBodies)(bodies)
