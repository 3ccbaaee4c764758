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

from environments.box2d_bodies import ANGLE, COS, SIN, VX, VY, bodies_of
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
def roll(dt, power, steering, gassing, brake, motion, limits, omega, phase, motors, forces):
    """gymnasium's `Car.step` for the four wheels, in its order of rounding, without skid marks.

    power: of the engine, for the wheels behind; steering: of those in front; motion: of the bodies;
    limits (4,): of friction; omega, phase (4,): rewritten; motors (4,), speeds of the joints'
    motors, and forces (4, 2): the result. All float64.
    """
    for w in range(4):
        steer, gas = (steering, 0.0) if w < 2 else (0.0, gassing)
        side_x, side_y, vx, vy = motion[w, COS], motion[w, SIN], motion[w, VX], motion[w, VY]
        limit = limits[w]
        off = steer - turned(motion, w)
        motors[w] = np.sign(off) * min(50.0 * abs(off), 3.0)
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
        if force > limit:
            forward, across = forward / force * limit, across / force * limit
        omega[w] -= dt * forward * RADIUS / WHEEL_MOMENT_OF_INERTIA
        forces[w, 0] = across * side_x + forward * -side_y
        forces[w, 1] = across * side_y + forward * side_x


class QuickCar(Car):
    """The same car to the bit, without skid marks; its wheels turn in arrays of its own."""

    limit, power = FRICTION_LIMIT, ENGINE_POWER
    steering = gassing = braking = 0.0

    def __init__(self, *place):
        super().__init__(*place)
        self.joints = [w.joint for w in self.wheels]
        self.limits, self.omega, self.phase = np.zeros(4), np.zeros(4), np.zeros(4)
        self.motors, self.forces = np.zeros(4), np.zeros((4, 2))

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
        limit, grass = self.limit, self.limit * 0.6
        self.limits[:] = [limit if wheel.tiles else grass for wheel in self.wheels]
        control = self.power, self.steering, self.gassing, self.braking
        state = self.bodies.look(), self.limits, self.omega, self.phase
        roll(dt, *control, *state, self.motors, self.forces)
        for joint, speed in zip(self.joints, self.motors.tolist(), strict=True):
            joint.motorSpeed = speed  # which wakes wheel and hull
        self.bodies.push(self.forces)

    def turns(self):
        return self.phase, self.omega
