"""CarRacing-v0 without a display: gymnasium's physics and rules, v0's pixels.

gymnasium (1.4) kept v0's physics, track and rewards bit for bit, but draws a different picture,
slowly. Here its own code runs, and only what it must not do is replaced: the state is painted by
`car_racing_pixels`, and every reset builds a new world.
"""

import math

import Box2D
import numpy as np
from gymnasium.envs.box2d import car_racing
from gymnasium.envs.box2d.car_racing import FPS, PLAYFIELD, SCALE, STATE_H, STATE_W, ZOOM
from gymnasium.utils import EzPickle

from environments.box2d_bodies import ANGLE, SIN, as_known
from environments.car_racing_pixels import draw, score_pixels
from environments.car_racing_tiles import Tiles
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
    _quick = False  # whether the car is driven in Box2D's memory

    def __init__(self, render_mode=None):
        # v0 knew no finished lap short of all tiles: more than 100 % is never reached.
        super().__init__(render_mode, lap_complete_percent=1.0)
        EzPickle.__init__(self, render_mode)

    _reset = rebound(
        car_racing.CarRacing.reset, Car=QuickCar, FrictionDetector=lambda env, share: None
    )
    _reset_for_films = rebound(car_racing.CarRacing.reset, Car=Car)
    _build_track = rebound(car_racing.CarRacing._create_track, np=Scalars)

    def reset(self, *, seed=None, options=None):
        filmed = self.render_mode in ("human", "rgb_array")
        self._quick = as_known() and not filmed
        return (self._reset if self._quick else self._reset_for_films)(seed=seed, options=options)

    def _destroy(self):
        """A new world instead of an emptied one: in that, Box2D keeps order and memory."""
        if self.road:
            # A body that is its own userData is a cycle through C that Python cannot free.
            for body in [*self.road, *self.car.wheels]:
                body.userData = None
            self.road, self.car, self._tiles = None, None, None
        self.world = Box2D.b2World((0, 0))
        self.camera_shift = 0.0, 0.0

    def close(self):
        super().close()
        self._destroy()
        self._quick = False

    def _create_track(self):
        """Build gymnasium's track, then lay out its polygons for the rasteriser."""
        if not self._build_track():
            return False
        corners, colours = zip(*self.road_poly, strict=True)
        # A visited tile's colour is changed in place: make each a row of one array.
        rows = np.array(colours, np.float64)
        self.road_poly = list(zip(corners, rows, strict=True))
        tiles = [k for k, colour in enumerate(colours) if isinstance(colour, np.ndarray)]
        for tile, k in zip(self.road, tiles, strict=True):  # all others are kerbs
            tile.color = rows[k]
        self._road = np.array(corners, np.float32), rows
        self._tiles = Tiles(self.road, tiles, rows, self.road_color)
        return True

    def step(self, action):
        action = None if action is None else self._checked(action)
        return self._quick_step(action) if self._quick else super().step(action)

    def _quick_step(self, action):
        """gymnasium's step, with contacts looked at afterwards."""
        car = self.car
        if action is not None:
            steering, gas, brake = action.tolist()
            car.steer(-steering)
            car.gas(gas)
            car.brake(brake)
        car.step(1 / FPS)
        self.world.Step(1 / FPS, 6 * 30, 2 * 30)
        self.t += 1 / FPS
        new = self._tiles.meet(car)
        self.tile_visited_count += new
        for _ in range(new):  # one by one, as they were added
            self.reward += 1000 / len(self.track)
        self.state = self._render("state_pixels")
        if action is None:
            return self.state, 0, False, False, {}
        self.reward -= 0.1
        reward, self.prev_reward = self.reward - self.prev_reward, self.reward
        finished = self.tile_visited_count == len(self.track)
        x, y = car.bodies.motion[4, :SIN].tolist()
        if abs(x) > PLAYFIELD or abs(y) > PLAYFIELD:
            return self.state, -100, True, False, {"lap_finished": False}
        return self.state, reward, finished, False, {"lap_finished": True} if finished else {}

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
