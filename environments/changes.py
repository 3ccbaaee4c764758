"""What may change in a world: functions (env, strength, rng) -> env, the rows of conditions.py.

Each is called once, at the moment of the change, with an environment that was reset. It changes the
world and returns env (bodies, physics, cameras), or returns a wrapper around it (sensors, actions).
The next reset forgets what was done.
"""

import collections
import math
import os
import tempfile
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.wrappers import StickyAction, TransformAction, TransformObservation

GRAVITY = 9.8  # m/s², of Bullet's walkers
LEGS = {  # of the quadruped, by the body of its lower part -> the number in its joints' names
    "front_left": ("front_left_foot", 1),
    "front_right": ("front_right_foot", 2),
    "back_left": ("left_back_foot", 3),
    "back_right": ("right_back_foot", 4),
}


def _some(rng, share: float, of: np.ndarray) -> np.ndarray:
    """A random share of these, at least one if it is above 0."""
    return rng.permutation(of)[: math.ceil(share * len(of))]


def _sensors(make: Callable) -> Callable:
    """The condition of make(strength, rng, space, unit): array -> array, float32.

    unit: half the range of each sensor where it is bounded (of pixels 127.5), else 1."""

    def condition(env, strength, rng):
        space = env.observation_space
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
        with np.errstate(over="ignore"):
            half = (high - low) / 2
        change = make(strength, rng, space, np.where(half < 1e6, half, np.float32(1)))

        def sense(observation):
            changed = change(np.asarray(observation, np.float32))
            if np.issubdtype(space.dtype, np.integer):
                changed = np.rint(changed).clip(low, high)
            return changed.astype(space.dtype)

        return TransformObservation(env, sense, space)

    return condition


@_sensors
def noise(strength, rng, space, unit):
    spread = np.float32(strength) * unit
    return lambda x: x + spread * rng.standard_normal(space.shape, np.float32)


@_sensors
def dead_sensors(strength, rng, space, unit):
    alive = np.ones(math.prod(space.shape), np.float32)
    alive[_some(rng, strength, np.arange(alive.size))] = 0
    return lambda x: x * alive.reshape(space.shape)


@_sensors
def shifted_sensors(strength, rng, space, unit):
    shift = np.float32(strength) * unit * rng.choice(np.float32([-1, 1]), space.shape)
    return lambda x: x + shift


@_sensors
def scaled_sensors(strength, rng, space, unit):
    return lambda x: x * np.float32(strength)


@_sensors
def colours(strength, rng, space, unit):
    share = np.float32(strength)
    return lambda image: (1 - share) * image + share * image[..., [2, 0, 1]]


@_sensors
def occluded(strength, rng, space, unit):
    shape = space.shape  # (H, W), (H, W, C), or frames or channels first, as in `Interface.encode`
    axis = 1 if len(shape) == 2 or (len(shape) == 3 and shape[-1] <= shape[0]) else 2
    width = shape[axis]
    hidden = math.ceil(strength * width)
    left = rng.integers(width - hidden + 1)
    shown = np.ones(shape, np.float32)
    np.moveaxis(shown, axis, 0)[left : left + hidden] = 0
    return lambda image: image * shown


def weak_actions(env, strength, rng):
    return TransformAction(env, lambda action: strength * np.asarray(action), env.action_space)


def mirrored_actions(env, strength, rng):
    """Of actions between -x and x; of Discrete ones the first becomes the last, and so on."""
    space = env.action_space
    if isinstance(space, Discrete):
        last = 2 * int(space.start) + int(space.n) - 1
        return TransformAction(env, lambda action: last - action, space)
    both = np.flatnonzero(space.low.ravel() == -space.high.ravel())
    negated = np.zeros(math.prod(space.shape), bool)
    negated[_some(rng, strength, both)] = True
    negated = negated.reshape(space.shape)
    return TransformAction(env, lambda action: np.where(negated, -action, action), space)


def delayed_actions(env, strength, rng):
    """The first action is repeated until the next one arrives."""
    under_way = collections.deque(maxlen=int(strength) + 1)

    def delay(action):
        under_way.append(action)
        return under_way[0]

    return TransformAction(env, delay, env.action_space)


class _Sticky(StickyAction):
    np_random = None  # its own: gymnasium's would draw from the world's, and set it


def sticky_actions(env, strength, rng):
    """In each step, with this probability the action of the step before is repeated."""
    wrapper = _Sticky(env, strength)
    wrapper.np_random = rng
    return wrapper


def _shorter(env, shares: dict[str, float]):
    """The lower parts of these legs become shorter (or longer): a body of another shape."""
    import pybullet_data

    world = env.unwrapped
    folder = os.path.join(pybullet_data.getDataPath(), "mjcf")
    tree = ElementTree.parse(os.path.join(folder, world.robot.model_xml))
    for leg, share in shares.items():
        geom = tree.find(f".//body[@name='{LEGS[leg][0]}']/geom")
        ends = [float(x) for x in geom.get("fromto").split()]
        shorter = [a + share * (b - a) for a, b in zip(ends[:3], ends[3:], strict=True)]
        geom.set("fromto", " ".join(map(str, ends[:3] + shorter)))
    with tempfile.TemporaryDirectory() as folder:
        tree.write(os.path.join(folder, "ant.xml"))
        world.change_body(os.path.join(folder, "ant.xml"))
    return env


def short_leg(leg, env, strength, rng):
    """The lower part of a leg becomes shorter, as in the damaged bodies of the paper."""
    return _shorter(env, {leg: strength})


def uneven_legs(env, strength, rng):
    """The lower part of each leg is left to a share of its own, drawn between strength and 1."""
    return _shorter(env, {leg: rng.uniform(*sorted((strength, 1.0))) for leg in LEGS})


def locked_leg(leg, env, strength, rng):
    """Hip and ankle lose their motors; a brake holds them where they are."""
    world = env.unwrapped
    engine, robot = world._p, world.robot
    for name in (f"hip_{LEGS[leg][1]}", f"ankle_{LEGS[leg][1]}"):
        joint = robot.jdict[name]
        k = robot.ordered_joints.index(joint)
        engine.setJointMotorControl2(
            robot.objects[0], joint.jointIndex, engine.POSITION_CONTROL,
            targetPosition=joint.get_position(), force=strength * robot.gains[k],
        )  # fmt: skip
        robot.gains[k] = 0.0
    return env


def heavy(env, strength, rng):
    world = env.unwrapped
    body = world.robot.objects[0]
    for link in range(-1, world._p.getNumJoints(body)):
        mass = world._p.getDynamicsInfo(body, link)[0]
        world._p.changeDynamics(body, link, mass=strength * mass)
    return env


def slippery_floor(env, strength, rng):
    world = env.unwrapped
    friction = world._p.getDynamicsInfo(world.floor, -1)[1]
    world._p.changeDynamics(world.floor, -1, lateralFriction=strength * friction)
    return env


def gravity(env, strength, rng):
    env.unwrapped._p.setGravity(0, 0, -strength * GRAVITY)
    return env


def slope(env, strength, rng):
    """Uphill in the direction of the way, which is x: gravity turns, and not the floor."""
    angle = math.radians(strength)
    env.unwrapped._p.setGravity(-GRAVITY * math.sin(angle), 0, -GRAVITY * math.cos(angle))
    return env


def slippery_road(env, strength, rng):
    env.unwrapped.car.change(grip=strength)
    return env


def weak_engine(env, strength, rng):
    env.unwrapped.car.change(power=strength)
    return env


def shifted_camera(env, strength, rng):
    env.unwrapped.camera_shift = float(strength), 0.0
    return env
