"""gymnasium's car, twice: as it is, for films, and with its four wheels in one compiled call."""

import functools
import math
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

from machine.compiled import compiled
from machine.rebound import rebound

RADIUS, STIFFNESS = WHEEL_R * SIZE, 205000 * SIZE * SIZE
ACROSS = (1, 0)  # a wheel's axis, in its own coordinates


class Scalars:
    """The few numpy functions that gymnasium calls on single floats, without numpy's overhead."""

    sqrt = math.sqrt

    @staticmethod
    def square(x):
        return x * x

    @staticmethod
    def sign(x):
        return 1.0 if x > 0 else -1.0 if x < 0 else 0.0

    @staticmethod
    def clip(x, low, high):
        return float(min(max(x, low), high))


@functools.cache
def _shape(corners):
    return car_dynamics.polygonShape(vertices=list(corners))


def _kept_shape(vertices):
    """One shape for equal corners: each that is given to a fixture is never freed by Box2D."""
    return _shape(tuple(vertices))


class Car(car_dynamics.Car):
    """gymnasium's car, without the memory it leaks and with quicker arithmetic on floats."""

    __init__ = rebound(car_dynamics.Car.__init__, polygonShape=_kept_shape)
    step = rebound(car_dynamics.Car.step, np=Scalars)
    gas = rebound(car_dynamics.Car.gas, np=Scalars)

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
        """The rolled angles of the wheels, rad, and their angular speeds."""
        return [w.phase for w in self.wheels], [w.omega for w in self.wheels]


@compiled
def roll(dt, power, control, moving, omega, phase, orders):
    """gymnasium's `Car.step` for the four wheels, in its order of rounding, without skid marks.

    power: of the engine; control (4, 3): steering, gas and brake of each; moving (4, 6): joint's
    angle, axis x and y, velocity x and y, limit of friction; omega, phase (4,): rewritten;
    orders (4, 3), the result: speed of the joint's motor, force x and y.
    """
    for w in range(4):
        steer, gas, brake = control[w]
        angle, side_x, side_y, vx, vy, limit = moving[w]
        off = steer - angle
        orders[w, 0] = np.sign(off) * min(50.0 * abs(off), 3.0)
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
        orders[w, 1] = across * side_x + forward * -side_y
        orders[w, 2] = across * side_y + forward * side_x


class QuickCar(Car):
    """The same car to the bit, without skid marks; its wheels turn in arrays of its own."""

    limit, power = FRICTION_LIMIT, ENGINE_POWER

    def __init__(self, *place):
        super().__init__(*place)
        self.joints = [w.joint for w in self.wheels]
        self.control, self.moving = np.zeros((4, 3)), np.zeros((4, 6))
        self.omega, self.phase, self.orders = np.zeros(4), np.zeros(4), np.zeros((4, 3))

    def steer(self, s):
        self.control[:2, 0] = s

    def gas(self, gas):
        gas = min(max(gas, 0.0), 1.0)
        self.control[2:, 1] += min(gas - self.control[2, 1], 0.1)  # rises slowly, falls at once

    def brake(self, b):
        self.control[:, 2] = b

    def change(self, grip=1.0, power=1.0):
        self.limit, self.power = grip * FRICTION_LIMIT, power * ENGINE_POWER

    def step(self, dt):
        moving = []
        for wheel, joint in zip(self.wheels, self.joints, strict=True):
            axis, velocity = wheel.GetWorldVector(ACROSS), wheel.linearVelocity
            limit = self.limit if wheel.tiles else self.limit * 0.6
            moving.append((joint.angle, axis.x, axis.y, velocity.x, velocity.y, limit))
        self.moving[:] = moving
        roll(dt, self.power, self.control, self.moving, self.omega, self.phase, self.orders)
        orders = self.orders.tolist()
        for wheel, joint, (speed, x, y) in zip(self.wheels, self.joints, orders, strict=True):
            joint.motorSpeed = speed
            wheel.ApplyForceToCenter((x, y), True)

    def turns(self):
        return self.phase, self.omega.tolist()
