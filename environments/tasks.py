"""The table of tasks: what a lifetime does with a network's output, its rewards and its end.

One row per kind of environment, as in the reference's fitness_functions.py; the first row whose
pattern is found in an environment's id is the one that counts.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from gymnasium import spaces

from rules.mirror import QUADRUPED, Mirror


def car(y: np.ndarray, space) -> np.ndarray:
    """Steering in (-1, 1), gas and brake in (0, 1)."""
    steering, gas, brake = y.tolist()
    return np.array([math.tanh(steering), sigmoid(gas), sigmoid(brake)])


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), and 0 where `math.exp` would overflow."""
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def tanh(y: np.ndarray, space) -> np.ndarray:
    """tanh(y), which also is what the rule sees as the last activation."""
    np.tanh(y, out=y)
    return y.copy()


def tanh_to_bounds(y: np.ndarray, space) -> np.ndarray:
    """tanh(y), stretched to the bounds of the space; the rule sees tanh(y)."""
    np.tanh(y, out=y)
    low, high = space.low.ravel(), space.high.ravel()
    return (high + low) / 2 + (high - low) / 2 * y


def clip(y: np.ndarray, space) -> np.ndarray:
    """y within the bounds of the space; the rule sees y."""
    return np.clip(y, space.low.ravel(), space.high.ravel())


def its_reward(env, reward: float) -> float:
    """The environment's own."""
    return reward


def progress(env, reward: float) -> float:
    """The distance gained in this step, one of the five terms of the quadruped's reward."""
    terms = getattr(env.unwrapped, "rewards", None)
    return reward if terms is None else terms[1]


@dataclass(frozen=True)
class Task:
    """A row of the table."""

    pattern: str  # of the environment's id
    bound: Callable = clip  # network output and Box space -> action
    normalize: str = "max"  # the weights of each layer, after every update
    reward: Callable = its_reward
    burn_in: int = 0  # zero actions before the first real one, which still sees the reset
    grace: int = -1  # until t > grace nothing ends a lifetime, not even `done`
    patience: float = math.inf  # more negative rewards in a row than this end it
    update_every: int = 1  # steps from one update of the weights to the next
    mirror: Mirror | None = None  # what left and right are, for --mirror


TASKS = (
    Task(r"CarRacing-v\d+$", bound=car, patience=20),
    Task(
        r"Ant\w*BulletEnv-v\d+$",  # the quadruped and its damaged bodies
        bound=tanh,
        normalize="none",
        reward=progress,
        burn_in=40,
        grace=200,
        patience=30,
        mirror=QUADRUPED,
    ),
    Task(r"Bullet", bound=tanh, normalize="none", grace=200, patience=30),
    Task(r""),
)


BOUNDS = {"auto": None, "clip": clip, "tanh": tanh_to_bounds}


def task_of(
    environment: str,
    normalization: str = "auto",
    action_bounds: str = "auto",
    early_stop: int | None = None,
    update_every: int = 1,
) -> Task:
    """The row of an environment, with the options of these names in place of what it says."""
    name = environment.rpartition(":")[2]  # of module:Id-v0 the id alone
    task = next(task for task in TASKS if re.search(task.pattern, name))
    return replace(
        task,
        normalize=task.normalize if normalization == "auto" else normalization,
        bound=BOUNDS[action_bounds] or task.bound,
        patience=task.patience if early_stop is None else early_stop,
        update_every=update_every,
    )


# what a network may see beside its observation, of the step before (as in RL², Duan et al. 2016):
# name -> how many numbers (0: as many as the network has outputs)
INPUTS = {"reward": 1, "action": 0}


@dataclass(frozen=True)
class Interface:
    """What a network needs to know of an environment's spaces, and the way through them."""

    environment: str
    task: Task
    observations: spaces.Space
    actions: spaces.Space
    wrappers: tuple = ()  # (name, value) of what `environments.make` puts around it
    time_limit: bool = True  # it ends its episodes itself
    follows_seed: bool = True  # as far as was looked at: `fitness_functions.examine`
    inputs: tuple[str, ...] = ()  # of INPUTS

    @cached_property
    def pixels(self) -> bool:
        """Whether observations are images; stacked frames are if each of them is."""
        space = self.observations
        if not isinstance(space, spaces.Box) or len(space.shape) > 4:
            return False
        stacked = dict(self.wrappers).get("frame_stack", 1) > 1
        n_axes = len(space.shape) - stacked
        return n_axes > 2 or (n_axes == 2 and space.dtype == np.uint8)

    @cached_property
    def n_inputs(self) -> int:
        """Channels of an image, elements of a vector, or values of a Discrete space."""
        space = self.observations
        if isinstance(space, spaces.Discrete):
            return int(space.n)
        if self.pixels:
            return self.encode(np.empty(space.shape, space.dtype)).shape[-1]
        return math.prod(space.shape)

    @property
    def n_outputs(self) -> int:
        """Elements of an action, or values of a Discrete space."""
        if isinstance(self.actions, spaces.Discrete):
            return int(self.actions.n)
        return math.prod(self.actions.shape)

    @property
    def level(self) -> float:
        """The value of a float image that is white; 255 of a uint8 one is a matter of course."""
        high = float(np.max(self.observations.high))
        return high if math.isfinite(high) and high > 0 else 1.0

    @property
    def sizes(self) -> str:
        """What environments must have in common to share one θ, in words."""
        units = "channels of an image" if self.pixels else "inputs"
        return f"{self.n_inputs} {units} and {self.n_outputs} outputs"

    def encode(self, observation) -> np.ndarray:
        """The network's input: an (H, W, C) image, or a float32 vector."""
        if isinstance(self.observations, spaces.Discrete):
            one_hot = np.zeros(self.n_inputs, np.float32)
            one_hot[int(observation) - int(self.observations.start)] = 1
            return one_hot
        if not self.pixels:
            return np.asarray(observation, np.float32).ravel()
        image = np.asarray(observation)
        if image.ndim == 2:
            return image[:, :, None]
        if image.ndim == 4:  # stacked frames of several channels: (frames, H, W, C)
            return np.moveaxis(image, 0, 2).reshape(*image.shape[1:3], -1)
        # frames stacked by a wrapper come with their channels first
        return image if image.shape[-1] <= image.shape[0] else np.moveaxis(image, 0, -1)

    def act(self, y: np.ndarray):
        """The action of the network's output y; y becomes what enters the rule."""
        if isinstance(self.actions, spaces.Discrete):
            return int(y.argmax()) + int(self.actions.start)
        return self.task.bound(y, self.actions).reshape(self.actions.shape)

    @property
    def n_recalled(self) -> int:
        """Numbers of the step before that the network sees."""
        return sum(INPUTS[name] or self.n_outputs for name in self.inputs)

    def recall(self, action, reward: float, recalled: np.ndarray) -> None:
        """Fill recalled (n_recalled,), what the network sees of a step in the next one; a discrete
        action is one-hot."""
        begin = 0
        for name in self.inputs:
            end = begin + (INPUTS[name] or self.n_outputs)
            if name == "reward":
                recalled[begin] = reward
            elif isinstance(self.actions, spaces.Discrete):
                recalled[begin:end] = 0
                recalled[begin + int(action) - int(self.actions.start)] = 1
            else:
                recalled[begin:end] = np.ravel(action)
            begin = end

    def rest(self):
        """The zero action of the burn-in."""
        return np.zeros(self.actions.shape)


WRAPPERS = {  # what makes one of ours of another space, inside a module of the user's
    ("Dict", "observation"): "FlattenObservation makes a Box of it",
    ("Tuple", "observation"): "FlattenObservation makes a Box of it",
    ("MultiDiscrete", "observation"): "FlattenObservation makes a Box of it",
    ("MultiBinary", "observation"): "FlattenObservation makes a Box of it",
    ("MultiDiscrete", "action"): "TransformAction takes a Box to it",
    ("MultiBinary", "action"): "TransformAction takes a Box to it",
}


def interface_of(
    env, environment: str, wrappers: tuple = (), inputs: tuple = (), **options
) -> Interface:
    """How an environment's spaces meet a network; ValueError for spaces that cannot.

    inputs: names in INPUTS; options: those of `task_of`.
    """
    for role, space in (("observation", env.observation_space), ("action", env.action_space)):
        if not isinstance(space, spaces.Box | spaces.Discrete):
            kind = type(space).__name__
            wrapper = WRAPPERS.get((kind, role))
            raise ValueError(
                f"{environment}: its {role} space is {kind}; Box and Discrete are supported"
                + (f", and gymnasium.wrappers.{wrapper}" if wrapper else "")
            )
    task, actions = task_of(environment, **options), env.action_space
    box = isinstance(actions, spaces.Box)
    if task.bound is tanh_to_bounds and box and not actions.is_bounded():
        raise ValueError(f"{environment}: its actions have no bounds that tanh could reach")
    space = env.observation_space
    return Interface(environment, task, space, actions, wrappers, inputs=inputs)
