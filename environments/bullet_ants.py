"""The quadruped, its damaged bodies and yours, and Bullet's other walkers: a table of ids.

Importing this module and adding a body needs no physics engine: that starts with the first `reset`.
"""

import os
import re
from pathlib import Path
from xml.etree import ElementTree

from gymnasium.envs.registration import EnvSpec

# walker -> the reward at which pybullet_envs calls it solved; a lifetime has 1000 steps there too
WALKERS = {"Ant": 2500.0, "HalfCheetah": 3000.0, "Hopper": 2500.0, "Walker2D": 2500.0,
           "Humanoid": None}  # fmt: skip
DAMAGED = Path(__file__).resolve().parents[1] / "damaged_bullet_morphologies"
BODIES = {
    "AntDamagedLeftBulletEnv-v0": DAMAGED / "ant_asym_left.xml",
    "AntDamagedRightBulletEnv-v0": DAMAGED / "ant_asym_right.xml",
}
FEET = {"front_left_foot", "front_right_foot", "left_back_foot", "right_back_foot"}
N_JOINTS = 8


def _spec(environment: str, walker: str, **kwargs) -> EnvSpec:
    entry_point = f"environments.bullet_walkers:{walker}BulletEnv"
    return EnvSpec(environment, entry_point, WALKERS[walker], max_episode_steps=1000, kwargs=kwargs)


# id -> what makes it; the port's own environments of these names stay what they are
SPECS = {f"{walker}BulletEnv-v0": _spec(f"{walker}BulletEnv-v0", walker) for walker in WALKERS}


def register_body(environment: str, body: str | os.PathLike) -> None:
    """Make an id of a quadruped's body, an MJCF file with the intact one's feet and 8 joints.

    The id ends in Ant...BulletEnv-v0: by this name it gets the quadruped's task (burn-in, progress
    as the fitness, early stop). ValueError for another name, and for a file that does not fit.
    """
    if not re.fullmatch(r"\w*Ant\w*BulletEnv-v\d+", environment):
        raise ValueError(f"{environment!r}: the id of a quadruped is like MyAntBulletEnv-v0")
    body = Path(body).resolve()
    _check_body(body)
    SPECS[environment] = _spec(environment, "Ant", body=str(body))


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


for _environment, _body in BODIES.items():
    register_body(_environment, _body)
