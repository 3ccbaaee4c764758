"""CarRacing-v0 without a display: gymnasium's physics and rules, v0's pixels.

gymnasium (1.4) kept v0's physics, track and rewards bit for bit, but draws a different picture,
slowly. Here its own code runs, and only what it must not do is replaced: the state is painted by
`car_racing_pixels`, and every reset builds a new world.
"""

import math

import Box2D
import numpy as np
from gymnasium.envs.box2d import car_racing
from gymnasium.envs.box2d.car_racing import SCALE, STATE_H, STATE_W, ZOOM
from gymnasium.utils import EzPickle

from environments.box2d_bodies import ANGLE
from environments.car_racing_pixels import draw, score_pixels
from environments.car_racing_wheels import Car, QuickCar
from machine.rebound import Scalars, rebound


class CarRacingV0(car_racing.CarRacing):
    """CarRacing-v0 (gym 0.21): observations (96, 96, 3) uint8, actions (steer, gas, brake).

    An episode ends when every tile was visited, or with -100 where the car leaves the
    playfield; each step costs 0.1 and each of N tiles pays 1000/N once. render_mode: None,
    "human", "rgb_array" (gymnasium's picture) or "state_pixels" (the observation).
    camera_shift, right and down in pixels of the state, moves all but the dashboard until the next
    reset.
    Every observation is a new array. ValueError for an action that is not three finite numbers.
    """

    reset_is_fresh = True  # an episode depends on its seed and actions alone, not on the past

    def __init__(self, render_mode=None):
        # v0 knew no finished lap short of all tiles: more than 100 % is never reached.
        super().__init__(render_mode, lap_complete_percent=1.0)
        EzPickle.__init__(self, render_mode)

    _reset = rebound(car_racing.CarRacing.reset, Car=QuickCar)
    _reset_for_films = rebound(car_racing.CarRacing.reset, Car=Car)
    _build_track = rebound(car_racing.CarRacing._create_track, np=Scalars)

    def reset(self, *, seed=None, options=None):
        filmed = self.render_mode in ("human", "rgb_array")
        return (self._reset_for_films if filmed else self._reset)(seed=seed, options=options)

    def _destroy(self):
        """A new world instead of an emptied one: in that, Box2D keeps order and memory."""
        if self.road:
            # A body that is its own userData is a cycle through C that Python cannot free.
            for body in [*self.road, *self.car.wheels]:
                body.userData = None
            self.road, self.car = None, None
        self.world = Box2D.b2World((0, 0))
        self.camera_shift = 0.0, 0.0

    def close(self):
        super().close()
        self._destroy()

    def _create_track(self):
        """Build gymnasium's track, then lay out its polygons for the rasteriser."""
        if not self._build_track():
            return False
        corners, colours = zip(*self.road_poly, strict=True)
        # A visited tile's colour is changed in place: make each a row of one array.
        rows = np.array(colours, np.float64)
        self.road_poly = list(zip(corners, rows, strict=True))
        tiles = iter(self.road)
        for colour, row in zip(colours, rows, strict=True):
            if isinstance(colour, np.ndarray):  # a kerb's is a tuple
                next(tiles).color = row
        self._road = np.array(corners, np.float32), rows
        return True

    def step(self, action):
        if action is not None:
            action = self._checked(action)
        return super().step(action)

    def _checked(self, action):
        """The action as (3,) float64; with a NaN the car would be nowhere, and never return."""
        action = np.asarray(action, np.float64)
        given = action.tolist()
        if action.shape != (3,) or not math.isfinite(sum(given)):
            raise ValueError(f"CarRacing-v0 takes three finite numbers as action, got {given}")
        return action

    def _render(self, mode):
        if mode != "state_pixels":
            return super()._render(mode)
        state = np.empty((STATE_H, STATE_W, 3), np.uint8)
        motion = self.car.bodies.look()
        hull_angle, vx, vy, _, speed = motion[4, ANGLE:].tolist()
        angle = math.atan2(vx, vy) if speed > 0.5 else -hull_angle
        zoom = 0.1 * SCALE * max(1 - self.t, 0) + ZOOM * SCALE * min(self.t, 1)
        camera = zoom, angle, *self.camera_shift
        draw(state, self._road, camera, motion, *self.car.turns(), score_pixels(int(self.reward)))
        return state
