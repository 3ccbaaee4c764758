"""The quadruped, its damaged bodies and yours: Bullet's walkers in gymnasium's registry.

Importing this module and registering needs no physics engine: that starts with the first `reset`.
"""

import importlib.util
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import gymnasium

WALKERS = ("Ant", "HalfCheetah", "Hopper", "Walker2D", "Humanoid")
DAMAGED = Path(__file__).resolve().parents[1] / "damaged_bullet_morphologies"
BODIES = {
    "AntDamagedLeftBulletEnv-v0": DAMAGED / "ant_asym_left.xml",
    "AntDamagedRightBulletEnv-v0": DAMAGED / "ant_asym_right.xml",
}
FEET = {"front_left_foot", "front_right_foot", "left_back_foot", "right_back_foot"}
N_JOINTS = 8


def register() -> None:
    """Bullet's ids in gymnasium's registry, the walkers among them from `bullet_walkers`.

    The limits of 1000 steps and the reward thresholds are those of pybullet_envs.
    ImportError without pybullet or pybullet_envs_gymnasium.
    """
    for package in ("pybullet", "pybullet_envs_gymnasium"):
        if not importlib.util.find_spec(package):
            raise ImportError(f"Bullet's environments need {package}: pip install {package}")
    import pybullet_envs_gymnasium  # noqa: F401 (fills the registry, leaves the engine alone)

    for walker in WALKERS:
        entry_point = f"environments.bullet_walkers:{walker}BulletEnv"
        gymnasium.registry[f"{walker}BulletEnv-v0"].entry_point = entry_point
    for environment, body in BODIES.items():
        register_body(environment, body)


def register_body(environment: str, body: str | os.PathLike) -> None:
    """Make an id of a quadruped's body, an MJCF file with the intact one's feet and 8 joints.

    The id ends in Ant...BulletEnv-v0: by this name it gets the quadruped's task (burn-in, progress
    as the fitness, early stop). ValueError for another name, and for a file that does not fit.
    """
    if not re.fullmatch(r"\w*Ant\w*BulletEnv-v\d+", environment):
        raise ValueError(f"{environment!r}: the id of a quadruped is like MyAntBulletEnv-v0")
    body = Path(body).resolve()
    _check_body(body)
    gymnasium.registry.pop(environment, None)
    gymnasium.register(
        environment,
        "environments.bullet_walkers:AntBulletEnv",
        max_episode_steps=1000,
        reward_threshold=2500.0,
        kwargs={"body": str(body)},
    )


def _check_body(body: Path) -> None:
    """ValueError unless the MJCF file has the quadruped's feet and number of joints."""
    try:
        world = ElementTree.parse(body).find("worldbody")
    except (OSError, ElementTree.ParseError) as error:
        raise ValueError(f"cannot read the body {body}: {error}") from error
    bodies = [] if world is None else [part.get("name") for part in world.iter("body")]
    if missing := sorted(FEET.difference(bodies)):
        raise ValueError(f"{body} is no quadruped's MJCF: it lacks the body {', '.join(missing)}")
    joints = [joint.get("name") for joint in world.iter("joint")]
    if len(joints) != N_JOINTS:
        raise ValueError(f"{body} has {len(joints)} joints; a quadruped has {N_JOINTS}")
