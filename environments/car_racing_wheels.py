"""gymnasium's car, twice: as it is, for films, and with its four wheels in one compiled call."""

import functools
import types

import numpy as np
from gymnasium.envs.box2d import car_dynamics
from gymnasium.envs.box2d.car_dynamics import (
    ENGINE_POWER,
    FRICTION_LIMIT,
    SIZE,
    WHEEL_MOMENT_OF_INERTIA,
    WHEEL_R,
)

from environments.box2d_bodies import ANGLE, COS, SIN, VX, VY, address, bodies_of, drive, look
from machine.compiled import compiled
from machine.rebound import Scalars, rebound

RADIUS, STIFFNESS = WHEEL_R * SIZE, 205000 * SIZE * SIZE


@functools.cache
def _shape(corners):
    return car_dynamics.polygonShape(vertices=list(corners))


def _kept_shape(vertices):
    """One shape for equal corners: each that is given to a fixture is never freed by Box2D."""
    return _shape(tuple(vertices))


class Car(car_dynamics.Car):
    """gymnasium's car, without the memory it leaks and with quicker arithmetic on floats.

    bodies: the wheels, then the hull.
    """

    _build = rebound(car_dynamics.Car.__init__, polygonShape=_kept_shape)
    step = rebound(car_dynamics.Car.step, np=Scalars)
    gas = rebound(car_dynamics.Car.gas, np=Scalars)

    def __init__(self, *place):
        self._build(*place)
        self.bodies = bodies_of(self.drawlist)

    def steer(self, s):
        super().steer(float(s))

    def brake(self, b):
        super().brake(float(b))

    def change(self, grip=1.0, power=1.0):
        """Multiply the grip of the tyres and the power of the engine."""
        limits = {"FRICTION_LIMIT": grip * FRICTION_LIMIT, "ENGINE_POWER": power * ENGINE_POWER}
        step = rebound(car_dynamics.Car.step, np=Scalars, **limits)
        self.step = types.MethodType(step, self)

    def turns(self):
        """The rolled angles of the wheels, rad, and their angular speeds: (4,) float64 each."""
        return np.array([(w.phase, w.omega) for w in self.wheels]).T.copy()


@compiled
def turned(motion, wheel):
    """The angle of a wheel's joint, rad: its own less the hull's, rounded as Box2D does."""
    return np.float64(np.float32(motion[wheel, ANGLE]) - np.float32(motion[4, ANGLE]))


@compiled
def roll(dt, limit, power, steering, gassing, brake, bodies, joints, motion, on_road, omega, phase):
    """gymnasium's `Car.step` for the four wheels, in its order of rounding, without skid marks; or
    False, and nothing is done, if a body sleeps.

    limit: of friction on the road; power: of the engine, for the wheels behind; steering: of those
    in front; bodies (5,), joints (4,): addresses; motion (5, 9): of the bodies, read here; on_road
    (5,) bool; omega, phase (4,): rewritten. All others are float64.
    """
    if not look(bodies, motion):
        return False
    for w in range(4):
        steer, gas = (steering, 0.0) if w < 2 else (0.0, gassing)
        side_x, side_y, vx, vy = motion[w, COS], motion[w, SIN], motion[w, VX], motion[w, VY]
        most = limit if on_road[w] else limit * 0.6
        off = steer - turned(motion, w)
        vf = -side_y * vx + side_x * vy  # forward and side speed
        vs = side_x * vx + side_y * vy
        omega[w] += dt * power * gas / WHEEL_MOMENT_OF_INERTIA / (abs(omega[w]) + 5.0)
        if brake >= 0.9:
            omega[w] = 0
        elif brake > 0:
            omega[w] -= np.sign(omega[w]) * min(15 * brake, abs(omega[w]))
        phase[w] += omega[w] * dt
        forward, across = (omega[w] * RADIUS - vf) * STIFFNESS, -vs * STIFFNESS
        force = np.sqrt(forward * forward + across * across)
        if force > most:
            forward, across = forward / force * most, across / force * most
        omega[w] -= dt * forward * RADIUS / WHEEL_MOMENT_OF_INERTIA
        force_x, force_y = across * side_x + forward * -side_y, across * side_y + forward * side_x
        drive(bodies[w], force_x, force_y, joints[w], np.sign(off) * min(50.0 * abs(off), 3.0))
    return True


class QuickCar(Car):
    """The same car to the bit, without skid marks, driven where Box2D keeps it."""

    limit, power = FRICTION_LIMIT, ENGINE_POWER
    steering = gassing = braking = 0.0

    def __init__(self, *place):
        super().__init__(*place)
        self.on_road, self.omega, self.phase = np.zeros(5, bool), np.zeros(4), np.zeros(4)
        bodies, joints = self.bodies, np.array([address(w.joint) for w in self.wheels], np.intp)
        self._state = bodies.places, joints, bodies.motion, self.on_road, self.omega, self.phase

    def steer(self, s):
        self.steering = float(s)

    def gas(self, gas):
        gas = min(max(float(gas), 0.0), 1.0)
        self.gassing += min(gas - self.gassing, 0.1)  # rises slowly, falls at once

    def brake(self, b):
        self.braking = float(b)

    def change(self, grip=1.0, power=1.0):
        self.limit, self.power = grip * FRICTION_LIMIT, power * ENGINE_POWER

    def step(self, dt):
        control = self.limit, self.power, self.steering, self.gassing, self.braking
        if not roll(dt, *control, *self._state):
            for body in self.drawlist:
                body.awake = True
            roll(dt, *control, *self._state)

    def turns(self):
        return self.phase, self.omega
