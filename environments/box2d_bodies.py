"""Where bodies of Box2D are, how they move and what they touch: asked of its Python, or read where
it keeps them.

Its Python makes several objects for every number. Reading, and writing what drives a car, is
possible as long as Box2D's objects are laid out as here (2.3: b2Body.h, b2Contact.h,
b2RevoluteJoint.h), which is tried out once; the numbers are the same.
"""

import ctypes
import functools

import Box2D
import numpy as np
from numba import types

from machine.compiled import compiled

X, Y, SIN, COS, ANGLE, VX, VY, SPIN, SPEED = range(9)  # of a body: the columns of its motion
# of a b2Body, in words of four bytes: its flags, all but the last of these columns, and its force
FLAGS, WORDS, FORCE, SIZE = 1, (3, 4, 5, 6, 14, 16, 17, 18), 19, 21
AWAKE = 2  # a bit of the flags
MOTOR_SPEED = 42  # of a b2RevoluteJoint, in words of four bytes
# in words of eight bytes: of a b2Body the first b2ContactEdge; of that the other body, the contact
# and the next edge; of a b2Contact its flags, with a bit that tells whether the two touch
FIRST_EDGE, OTHER, CONTACT, NEXT, EDGE_SIZE, CONTACT_FLAGS, TOUCHING = 17, 0, 1, 3, 4, 1, 2
ADDRESS = types.intp
_copy = types.ExternalFunction("memcpy", ADDRESS(ADDRESS, ADDRESS, ADDRESS))


@compiled
def look(bodies, motion):
    """Read the motion (n, 9) float64 of bodies (n,), addresses; whether all of them are awake."""
    words, awake = np.empty(SIZE, np.float32), True
    for b in range(bodies.size):
        _copy(words.ctypes.data, bodies[b], words.nbytes)
        for k in range(len(WORDS)):
            motion[b, k] = words[WORDS[k]]
        vx, vy = words[WORDS[VX]], words[WORDS[VY]]
        motion[b, SPEED] = np.sqrt(vx * vx + vy * vy)
        awake &= words.view(np.uint32)[FLAGS] & AWAKE != 0
    return awake


@compiled
def drive(body, force_x, force_y, joint, motor_speed):
    """Apply a force to the centre of a body and set the speed of a joint's motor; all are awake."""
    words, place = np.empty(2, np.float32), body + 4 * FORCE
    _copy(words.ctypes.data, place, words.nbytes)
    words[0] += np.float32(force_x)
    words[1] += np.float32(force_y)
    _copy(place, words.ctypes.data, words.nbytes)
    words[0] = motor_speed
    _copy(joint + 4 * MOTOR_SPEED, words.ctypes.data, 4)


@compiled
def touch(bodies, others, met):
    """Fill met (n, m) bool: which of the bodies (n,) touch which of the others (m,), addresses, the
    latter in ascending order."""
    edge, flags = np.empty(EDGE_SIZE, np.intp), np.empty(1, np.intp)
    met[:] = False
    for b in range(bodies.size):
        _copy(edge[NEXT:].ctypes.data, bodies[b] + 8 * FIRST_EDGE, 8)
        while edge[NEXT]:
            _copy(edge.ctypes.data, edge[NEXT], edge.nbytes)
            _copy(flags.ctypes.data, edge[CONTACT] + 8 * CONTACT_FLAGS, flags.nbytes)
            k = np.searchsorted(others, edge[OTHER])
            if k < others.size and others[k] == edge[OTHER] and flags[0] & TOUCHING:
                met[b, k] = True


def address(thing) -> int:
    """Where Box2D keeps an object of its Python."""
    return int(thing.this)


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


class Bodies(PythonBodies):
    """The same from memory: a tenth of the time."""

    def __init__(self, bodies: list):
        super().__init__(bodies)
        self.places = np.array([address(body) for body in bodies], np.intp)

    def look(self):
        look(self.places, self.motion)
        return self.motion


def _read(kind, thing, n=1) -> list:
    """The first n numbers of a kind of ctypes in an object of Box2D."""
    return list((kind * n).from_address(address(thing)))


def _motions_as_known(body) -> bool:
    """Whether a b2Body that is awake keeps motion and force, (8, -9), where they are read."""
    words, flags = _read(ctypes.c_float, body, SIZE), _read(ctypes.c_uint32, body, FLAGS + 1)
    motion = PythonBodies([body]).look()[0, :SPEED].tolist()
    body.awake = False
    asleep = _read(ctypes.c_uint32, body, FLAGS + 1)
    body.awake = True
    return (
        [words[k] for k in WORDS] == motion
        and words[FORCE:] == [8, -9]
        and [flags[FLAGS] & AWAKE, asleep[FLAGS] & AWAKE] == [AWAKE, 0]
    )


def _contacts_as_known(body) -> bool:
    """Whether a b2Body and its contacts, some of which touch, are linked as they are read."""
    edges = body.contacts
    ends = {0, *map(address, edges)}
    if _read(ctypes.c_ssize_t, body, FIRST_EDGE + 1)[FIRST_EDGE] not in ends - {0}:
        return False
    for edge in edges:
        words = _read(ctypes.c_ssize_t, edge, EDGE_SIZE)
        flags = _read(ctypes.c_ssize_t, edge.contact, CONTACT_FLAGS + 1)[CONTACT_FLAGS]
        if (
            [words[OTHER], words[CONTACT]] != [address(edge.other), address(edge.contact)]
            or words[NEXT] not in ends
            or (flags & TOUCHING != 0) != edge.contact.touching
        ):
            return False
    return {edge.contact.touching for edge in edges} == {True, False}


@functools.cache
def as_known() -> bool:
    """Whether Box2D's objects are laid out as they are read and written here."""
    circle = Box2D.b2FixtureDef(shape=Box2D.b2CircleShape(radius=1), density=1, isSensor=True)
    motion = {"linearVelocity": (3, -4), "angularVelocity": 5}
    world = Box2D.b2World((0, 0))
    body = world.CreateDynamicBody(position=(6, -7), angle=0.5, fixtures=circle, **motion)
    near, _ = (  # and one with which only the squares around them overlap
        world.CreateStaticBody(position=place, fixtures=circle) for place in ((7, -7), (7.9, -5.2))
    )
    world.Step(0, 1, 1)
    body.ApplyForceToCenter((8, -9), True)
    joint = world.CreateRevoluteJoint(bodyA=near, bodyB=body, motorSpeed=0.75)
    motor_speed = _read(ctypes.c_float, joint, MOTOR_SPEED + 1)[MOTOR_SPEED]
    return _contacts_as_known(body) and motor_speed == 0.75 and _motions_as_known(body)


def bodies_of(bodies: list) -> PythonBodies:
    """The fastest way to these bodies here."""
    return (Bodies if as_known() else PythonBodies)(bodies)
