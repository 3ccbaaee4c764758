"""Bullet's walkers: read in bulk, and every reset a first reset.

Robots, tasks and physics are those of `pybullet_envs_gymnasium`; observations and rewards are those
of the original `pybullet_envs`, bit for bit (the port rounds the joints' angles differently).
What is different is the way to them:

- one call asks the engine for all links, one for the joints, one for the contacts, and one tells it
  all torques; before, every part and joint took calls of its own, half the time of a step;
- every `reset` builds a new world and costs 6 ms. In the original a second reset differs from the
  first: by then the floor counts as a part of the robot, whose place is the mean of its parts;
- no server is searched for, films need neither display nor OpenGL, and the engine is silent.
"""

import ctypes
import functools
import math
import sys
import time
from itertools import chain

import numpy as np

from bullet_arithmetic import centre, drive, effort, observe
from quiet import quiet

with quiet():
    import pybullet
    from pybullet_envs_gymnasium import gym_locomotion_envs as upstream
    from pybullet_envs_gymnasium.env_bases import MJCFBaseBulletEnv
    from pybullet_utils.bullet_client import BulletClient


class Engine(BulletClient):
    """A connection to a physics engine of its own; each function is looked up once."""

    def __getattr__(self, name):
        function = super().__getattr__(name)
        if name != "disconnect":  # looking it up marks the client as gone
            setattr(self, name, function)
        return function


def display_opens() -> bool:
    """Whether the engine's window can open; without a display the engine would end the process."""
    if sys.platform != "linux":
        return True
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        return False
    x11.XOpenDisplay.restype = ctypes.c_void_p
    display = x11.XOpenDisplay(None)
    return bool(display) and not x11.XCloseDisplay(ctypes.c_void_p(display))


class BulkRobot:
    """Mixed into a robot of upstream's: one call for the state of everything, one for the torques.

    `env` is set before anything else: robot and environment share one random source, on whichever
    of the two it is replaced.
    """

    env = None
    np_random = property(
        lambda self: self.env.np_random,
        lambda self, source: setattr(self.env, "np_random", source),
    )

    def robot_specific_reset(self, bullet_client):
        super().robot_specific_reset(bullet_client)
        # The order of the parts is the order of the sums in `calc_state`; -1 is the base.
        links = [part.bodyPartIndex for part in self.parts.values()]
        self.base_at = links.index(-1) if -1 in links else None
        self.links = [link for link in links if link >= 0]
        self.torso, self.ground = self.robot_body.bodyPartIndex, []
        joints = self.ordered_joints
        self.driven = [joint.jointIndex for joint in joints]
        low, high = np.array([[joint.lowerLimit, joint.upperLimit] for joint in joints]).T
        self.middles, self.spans = 0.5 * (low + high), high - low
        # The humanoid's motors are its joints, in the same order, with powers of their own.
        powers = getattr(self, "motor_power", [joint.power_coef for joint in joints])
        self.gains = np.array([self.power * power for power in powers])
        self.torques, self.turn, self.way = np.empty(len(joints)), np.eye(3), np.empty(2)
        self.joint_speeds = np.zeros(len(joints), np.float32)

    def apply_action(self, a):
        a = np.asarray(a)
        if a.shape != self.gains.shape or not drive(a, self.gains, self.torques):
            raise ValueError(f"an action must be {self.gains.size} finite numbers")
        mode, torques = pybullet.TORQUE_CONTROL, self.torques.tolist()
        self._p.setJointMotorControlArray(self.objects[0], self.driven, mode, forces=torques)

    def look(self):
        """Positions of all parts; position, orientation (quaternion) and speed of the torso."""
        engine, body = self._p, self.objects[0]
        links = engine.getLinkStates(body, self.links, computeLinkVelocity=self.torso >= 0)
        places = [link[0] for link in links]
        if self.torso >= 0:
            torso = links[self.links.index(self.torso)]
            position, orientation, speed = torso[0], torso[1], torso[6]
        else:
            position, orientation = engine.getBasePositionAndOrientation(body)
            speed, _ = engine.getBaseVelocity(body)
            places.insert(self.base_at, position)
        return places + self.ground, position, orientation, speed

    def calc_state(self):
        """The observation, float32: the original's formulas, in its order of rounding."""
        places, self.body_real_xyz, orientation, speed = self.look()
        x, y = centre(numbers(places, 3))
        z = self.body_real_xyz[2]
        self.body_xyz = x, y, z
        self.body_rpy = roll, pitch, yaw = pybullet.getEulerFromQuaternion(orientation)
        if self.initial_z is None:
            self.initial_z = z
        to_y, to_x = self.walk_target_y - y, self.walk_target_x - x
        self.walk_target_theta = np.arctan2(to_y, to_x)
        self.way[:] = to_y, to_x
        self.walk_target_dist = math.sqrt(self.way.dot(self.way))
        angle = self.walk_target_theta - yaw
        turn = self.turn
        turn[0, 0] = turn[1, 1] = np.cos(-yaw)
        turn[1, 0] = np.sin(-yaw)
        turn[0, 1] = -turn[1, 0]
        vx, vy, vz = turn.dot(speed).tolist()
        body = (
            *(z - self.initial_z, np.sin(angle), np.cos(angle)),
            *(0.3 * vx, 0.3 * vy, 0.3 * vz, roll, pitch),
        )
        states = self._p.getJointStates(self.objects[0], self.driven)
        joints = numbers([joint[:2] for joint in states], 2)
        state = np.empty(8 + joints.size + len(self.feet), np.float32)
        self.joints_at_limit, self.sane = observe(
            state, self.joint_speeds, body, joints, self.middles, self.spans, self.feet_contact
        )
        return state


def numbers(rows, n):
    """Tuples of n floats as an array (rows, n); numpy takes three times as long."""
    return np.fromiter(chain.from_iterable(rows), float).reshape(-1, n)


@functools.cache
def bulk(robot_class: type) -> type:
    return type(robot_class.__name__, (BulkRobot, robot_class), {})


class FreshWorld:
    """Mixed into an environment of upstream's: every reset is a first reset.

    body: MJCF file that replaces the robot's own.
    """

    reset_is_fresh = True  # a promise: nothing done before changes a lifetime, bit for bit

    def __init__(self, body: str | None = None, render_mode: str | None = None):
        if render_mode == "human" and not display_opens():
            raise ValueError("render_mode 'human' needs a display that DISPLAY names; film instead")
        super().__init__(render_mode=render_mode)
        self.body = body
        self.robot = object.__new__(bulk(type(self.robot)))
        self.robot.env = self
        self.renew_robot()

    def renew_robot(self):  # in place: whoever holds the robot goes on holding it
        self.robot.__init__()
        self.robot.model_xml = self.body or self.robot.model_xml

    def connect(self):
        with quiet():
            self._p = Engine(pybullet.GUI if self.render_mode == "human" else pybullet.DIRECT)
            self._p.configureDebugVisualizer(pybullet.COV_ENABLE_GUI, 0)
        self.physicsClientId, self.ownsPhysicsClient = self._p._client, True

    def reset(self, seed=None, options=None):
        """A new world. With a seed the start depends on it alone; without, draws go on.

        The engine's `restoreState` would take a tenth of the time, but keeps the order of pairs in
        its collision detection: humanoids that have fallen before come to differ within 200 steps.
        """
        if self.physicsClientId < 0:
            self.connect()
        self.renew_robot()
        self.scene = None
        with quiet():
            self._p.resetSimulation()
            self._p.setPhysicsEngineParameter(deterministicOverlappingPairs=1)
            state, info = MJCFBaseBulletEnv.reset(self, seed=seed, options=options)
        (self.floor,) = self.stadium_scene.ground_plane_mjcf
        self.robot.ground = [self._p.getBasePositionAndOrientation(self.floor)[0]]
        return state, info

    def change_body(self, body: str):
        """Go on with the body of another MJCF file of the same joints: it takes over the pose and
        all speeds of the present one."""
        robot, engine = self.robot, self._p
        old, kept = robot.objects[0], (robot.initial_z, robot.ground)
        place, speed = engine.getBasePositionAndOrientation(old), engine.getBaseVelocity(old)
        joints = engine.getJointStates(old, robot.driven)
        engine.removeBody(old)
        robot.parts = robot.jdict = robot.robot_body = None
        robot.model_xml, robot.doneLoading = body, 0
        with quiet():
            robot.reset(engine)
        for joint, state in zip(robot.driven, joints, strict=True):
            engine.resetJointState(robot.objects[0], joint, *state[:2])
        engine.resetBasePositionAndOrientation(robot.objects[0], *place)
        engine.resetBaseVelocity(robot.objects[0], *speed)
        robot.initial_z, robot.ground = kept
        robot.calc_state()
        self.potential = robot.calc_potential()  # the change itself is no progress

    def step(self, a):
        """`rewards` keeps the reward's terms: alive, progress, electricity, limits of joints, 0."""
        robot = self.robot
        robot.apply_action(a)
        self._p.stepSimulation()
        state = robot.calc_state()
        # float(): one precision for the height, whatever numpy's rules for scalars
        self._alive = float(robot.alive_bonus(float(state[0]) + robot.initial_z, robot.body_rpy[1]))
        before, self.potential = self.potential, robot.calc_potential()
        touching = {touch[3] for touch in self._p.getContactPoints(robot.objects[0], self.floor)}
        robot.feet_contact[:] = [foot.bodyPartIndex in touching for foot in robot.feet]
        current, stall = effort(np.asarray(a), robot.joint_speeds)
        current = self.electricity_cost * current + self.stall_torque_cost * stall
        limits = float(self.joints_at_limit_cost * robot.joints_at_limit)
        self.rewards = [self._alive, float(self.potential - before), current, limits, 0.0]
        reward = sum(self.rewards)
        self.reward += reward
        if self.render_mode == "human":
            self.render()
        done = self._isDone() or not robot.sane
        return state, reward, done, False, {}

    def render(self):
        """The picture for "rgb_array", (240, 320, 3) uint8; the camera follows the robot."""
        if self.render_mode == "human":
            self.camera_adjust()
            time.sleep(self.scene.dt)  # about real time
        if self.render_mode != "rgb_array":
            return None
        size = self._render_width, self._render_height
        view = self._p.computeViewMatrixFromYawPitchRoll(
            self.robot.body_real_xyz, self._cam_dist, self._cam_yaw, self._cam_pitch, 0, 2
        )
        lens = self._p.computeProjectionMatrixFOV(60, size[0] / size[1], 0.1, 100.0)
        picture = self._p.getCameraImage(*size, view, lens, renderer=pybullet.ER_TINY_RENDERER)[2]
        return np.reshape(np.asarray(picture, np.uint8), (size[1], size[0], 4))[:, :, :3]

    def close(self):
        with quiet():
            super().close()


class AntBulletEnv(FreshWorld, upstream.AntBulletEnv):
    pass


class HalfCheetahBulletEnv(FreshWorld, upstream.HalfCheetahBulletEnv):
    pass


class HopperBulletEnv(FreshWorld, upstream.HopperBulletEnv):
    pass


class Walker2DBulletEnv(FreshWorld, upstream.Walker2DBulletEnv):
    pass


class HumanoidBulletEnv(FreshWorld, upstream.HumanoidBulletEnv):
    pass
