"""Bullet's walkers: read in bulk, and every reset a first reset.

Robots, tasks and physics are those of `pybullet_envs_gymnasium`; observations and rewards are those
of the original `pybullet_envs`, bit for bit (the port rounds the joints' angles differently).
What is different is the way to them:

- what a step asks the engine and tells it goes through `bullet_calls`, in bulk; before, every part
  and joint took calls of its own, half the time of a step;
- every `reset` builds a new world and costs 2 ms. In the original a second reset differs from the
  first: by then the floor counts as a part of the robot, whose place is the mean of its parts;
- no server is searched for, films need neither display nor OpenGL, and the engine is silent.
"""

import ctypes
import functools
import math
import sys
import time

import numpy as np

from environments.bullet_arithmetic import centre, drive, effort, observe
from environments.bullet_calls import calls
from machine.quiet import quiet
from machine.rebound import rebound

with quiet():
    import pybullet
    from pybullet_envs_gymnasium import gym_locomotion_envs as upstream
    from pybullet_envs_gymnasium.env_bases import MJCFBaseBulletEnv
    from pybullet_envs_gymnasium.robot_bases import BodyPart, Pose_Helper, XmlBasedRobot
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


class Part(BodyPart):
    """A part of a robot that does not ask where it was at first."""

    def __init__(self, bullet_client, body_name, bodies, body_index, part_index):
        self._p, self.bodies, self.bodyIndex = bullet_client, bodies, body_index
        self.bodyPartIndex, self.bp_pose = part_index, Pose_Helper(self)


class BulkRobot:
    """Mixed into a robot of upstream's: the state of everything at once, and all torques.

    `env` is set before anything else: robot and environment share one random source, on whichever
    of the two it is replaced.
    """

    env = None
    np_random = property(
        lambda self: self.env.np_random,
        lambda self, source: setattr(self.env, "np_random", source),
    )

    addToScene = rebound(XmlBasedRobot.addToScene, BodyPart=Part)

    def robot_specific_reset(self, bullet_client):
        super().robot_specific_reset(bullet_client)
        joints = self.ordered_joints
        parts = [part.bodyPartIndex for part in self.parts.values()]  # in the order of the sums
        self.calls = calls(
            *(bullet_client, self.objects[0], parts, self.robot_body.bodyPartIndex),
            [joint.jointIndex for joint in joints],
        )
        self.feet_at = np.array([foot.bodyPartIndex for foot in self.feet])
        self.places, self.pose = np.empty((len(parts), 3)), np.empty(10)
        self.joints = np.empty((len(joints), 2))
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
        self.calls.push(self.torques)

    def calc_state(self):
        """The observation, float32: the original's formulas, in its order of rounding."""
        self.calls.look(self.places, self.pose, self.joints)
        x, y = centre(self.places)
        pose = self.pose.tolist()
        self.body_real_xyz = pose[:3]
        z = self.body_real_xyz[2]
        self.body_xyz = x, y, z
        self.body_rpy = roll, pitch, yaw = pybullet.getEulerFromQuaternion(pose[3:7])
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
        vx, vy, vz = turn.dot(self.pose[7:]).tolist()
        body = (
            *(z - self.initial_z, np.sin(angle), np.cos(angle)),
            *(0.3 * vx, 0.3 * vy, 0.3 * vz, roll, pitch),
        )
        state = np.empty(8 + self.joints.size + self.feet_at.size, np.float32)
        self.joints_at_limit, self.sane = observe(
            *(state, self.joint_speeds, body, self.joints, self.middles, self.spans),
            self.feet_contact,
        )
        return state


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
        self.robot = object.__new__(bulk(type(self.robot)))
        self.robot.env = self
        self.robot.__init__()
        self.robot.model_xml = body or self.robot.model_xml
        self.unborn = vars(self.robot).copy()

    def connect(self):
        with quiet():
            self._p = Engine(pybullet.GUI if self.render_mode == "human" else pybullet.DIRECT)
            self._p.configureDebugVisualizer(pybullet.COV_ENABLE_GUI, 0)
            if self.render_mode is None:  # else every reset computes the hulls of what is seen
                self._p.unloadPlugin(self._p.loadPlugin("tinyRendererPlugin"))
        self.physicsClientId, self.ownsPhysicsClient = self._p._client, True

    def reset(self, seed=None, options=None):
        """A new world. With a seed the start depends on it alone; without, draws go on.

        The engine's `restoreState` would be faster, but keeps the order of pairs in
        its collision detection: humanoids that have fallen before come to differ within 200 steps.
        """
        if self.physicsClientId < 0:
            self.connect()
        vars(self.robot).clear()  # in place: whoever holds the robot goes on holding it
        vars(self.robot).update(self.unborn)
        if self.scene:
            self.scene.stadiumLoaded = 0
        with quiet():
            self._p.resetSimulation()
            self._p.setPhysicsEngineParameter(deterministicOverlappingPairs=1)
            state, info = MJCFBaseBulletEnv.reset(self, seed=seed, options=options)
        (self.floor,) = self.stadium_scene.ground_plane_mjcf
        # from now on the floor counts as one of the robot's parts, as in the original
        ground, _ = self._p.getBasePositionAndOrientation(self.floor)
        self.robot.places = np.vstack([self.robot.places, ground])
        return state, info

    def change_body(self, body: str):
        """Go on with the body of another MJCF file of the same joints: it takes over the pose and
        all speeds of the present one."""
        robot, engine = self.robot, self._p
        old, joints = robot.objects[0], [joint.jointIndex for joint in robot.ordered_joints]
        place, speed = engine.getBasePositionAndOrientation(old), engine.getBaseVelocity(old)
        states = engine.getJointStates(old, joints)
        height, ground = robot.initial_z, robot.places[-1]
        engine.removeBody(old)
        robot.parts = robot.jdict = robot.robot_body = None
        robot.model_xml, robot.doneLoading = body, 0
        with quiet():
            robot.reset(engine)
        for joint, state in zip(joints, states, strict=True):
            engine.resetJointState(robot.objects[0], joint, *state[:2])
        engine.resetBasePositionAndOrientation(robot.objects[0], *place)
        engine.resetBaseVelocity(robot.objects[0], *speed)
        robot.initial_z, robot.places = height, np.vstack([robot.places, ground])
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
        robot.calls.touch(self.floor, robot.feet_at, robot.feet_contact)
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
