"""The quadruped and its kin: the original's numbers, fresh worlds, your bodies, no traces."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="pybullet has no wheels after Python 3.11")
pytest.importorskip("pybullet_envs_gymnasium")

import environments
from environments import bullet_ants

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
IDS = {
    "standard": "AntBulletEnv-v0",
    "damaged_left": "AntDamagedLeftBulletEnv-v0",
    "damaged_right": "AntDamagedRightBulletEnv-v0",
}
WALKERS = [f"{walker}BulletEnv-v0" for walker in bullet_ants.WALKERS]
# The way to the target is measured by BLAS, whose last bit depends on the processor; progress is
# the difference of two, over 0.0165 s. On processors with AVX-512 it is the recorded one exactly.
LAST_BITS = 2 * np.spacing(1000 / 0.0165)


class Draws:
    """A random source that hands out recorded numbers."""

    def __init__(self, numbers):
        self.numbers = iter(numbers)

    def uniform(self, low, high):
        number = next(self.numbers)
        assert low <= number <= high
        return number


def make(environment, **options):
    return environments.make(environment, **options)


def play(env, actions):
    """All that the steps give back, a row each: observation, reward, end, terms of the reward."""
    rows = []
    for action in actions:
        observation, reward, end, *_ = env.unwrapped.step(action)
        assert observation.dtype == np.float32
        rows.append([*observation, reward, end, *env.unwrapped.rewards])
    return np.array(rows)


def waves(env, steps, size=1.0, seed=0):
    """Actions that move and topple a robot, beyond its limits too."""
    shape = (steps, *env.action_space.shape)
    return size * np.random.default_rng(seed).uniform(-1.2, 1.2, shape)


@pytest.mark.parametrize("place", ["environment", "robot", "both"])
@pytest.mark.parametrize("body", IDS)
def test_a_quadruped_is_the_recorded_one_bit_for_bit_in_its_first_and_later_lifetimes(body, place):
    recorded = np.load(GOLDEN / f"ant_{body}.npz")
    env = make(IDS[body])
    for _ in range(2):
        if place != "robot":
            env.unwrapped.np_random = Draws(recorded["uniform_draws"])
        if place != "environment":
            env.unwrapped.robot.np_random = Draws(recorded["uniform_draws"])
        start, _ = env.reset()
        rows = play(env, recorded["actions"])
        assert np.abs([start, *rows[:, :28]] - recorded["observations"]).max() == 0.0
        assert np.abs(rows[:, 28] - recorded["rewards"]).max() <= LAST_BITS
        assert np.abs(rows[:, 31] - recorded["progress"]).max() <= LAST_BITS
    env.close()


@pytest.mark.parametrize(
    ("precision", "by"),
    [(np.float64, "CCalls"), (np.float32, "PythonCalls"), (np.float32, "CCalls")],
)
@pytest.mark.parametrize("environment", WALKERS)
def test_a_walker_does_what_the_original_does_bit_for_bit(environment, precision, by, monkeypatch):
    if not environments.gym_registry():
        pytest.skip("the original needs gym")
    from environments import bullet_calls, bullet_walkers

    monkeypatch.setattr(bullet_walkers, "calls", getattr(bullet_calls, by))
    from pybullet_envs import gym_locomotion_envs as originals

    original = getattr(originals, environment.removesuffix("-v0"))()
    original.robot.np_random = np.random.default_rng(3)
    env = make(environment)
    env.unwrapped.np_random = np.random.default_rng(3)
    actions = waves(env, 300).astype(precision)
    if environment.startswith("Humanoid"):  # there numpy 2 rounds torques to the action's precision
        actions = actions.astype(np.float64)
    start, (ours, _) = original.reset(), env.reset()
    assert np.array_equal(start, ours) and start.dtype == ours.dtype
    assert np.array_equal(play(original, actions), play(env, actions))
    original.close()
    env.close()


@pytest.mark.parametrize("environment", [*WALKERS, "AntDamagedLeftBulletEnv-v0"])
def test_every_reset_is_a_first_reset_whatever_happened_before_and_beside(environment):
    fresh, used, other = make(environment), make(environment), make("AntBulletEnv-v0")
    assert used.unwrapped.reset_is_fresh
    actions = waves(fresh, 300)
    start, _ = fresh.reset(seed=7)
    expected = play(fresh, actions)
    for size, steps in ((30.0, 600), (0.0, 100), (1.0, 1)):  # a long fall, a rest, a false start
        used.reset(seed=steps)
        play(used, waves(used, steps, size, seed=steps))
        other.reset()
        assert np.array_equal(used.reset(seed=7)[0], start)
        for action, row in zip(actions, expected, strict=True):
            play(other, waves(other, 1))
            assert np.array_equal(play(used, [action])[0], row)
    for env in (fresh, used, other):
        env.close()


def test_a_seed_decides_the_start_and_no_seed_goes_on_drawing():
    env = make("AntBulletEnv-v0")
    one, next_one = env.reset(seed=1)[0], env.reset()[0]
    assert np.array_equal(env.reset(seed=1)[0], one) and np.array_equal(env.reset()[0], next_one)
    assert not np.array_equal(one, next_one)
    env.close()


@pytest.mark.parametrize("body", ["left", "right"])
def test_a_damaged_body_is_the_intact_one_but_for_one_geom(body):
    import pybullet_data

    intact = Path(pybullet_data.getDataPath(), "mjcf", "ant.xml").read_text().splitlines()
    damaged = (bullet_ants.DAMAGED / f"ant_asym_{body}.xml").read_text().splitlines()
    (change,) = [pair for pair in zip(intact, damaged, strict=True) if pair[0] != pair[1]]
    geom, before, after = {
        "left": ("left_ankle_geom", "0.4 0.4", "0.1 0.1"),
        "right": ("fourth_ankle_geom", "0.4 -0.4", "0.1 -0.1"),
    }[body]
    assert geom in change[0] and change[0].replace(before, after) == change[1]


def test_a_body_of_yours_is_an_id_in_three_lines(tmp_path, monkeypatch):
    body = (bullet_ants.DAMAGED / "ant_asym_left.xml").read_text()
    (tmp_path / "tall.xml").write_text(body.replace("0.1 0.1", "0.6 0.6"))
    (tmp_path / "my_bodies.py").write_text(
        "import environments\n\nenvironments.register_body('TallAntBulletEnv-v0', 'tall.xml')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    env = environments.make("my_bodies:TallAntBulletEnv-v0")
    monkeypatch.chdir(ROOT)  # the file is found from anywhere
    start, _ = env.reset(seed=1)
    assert start.shape == (28,)
    for other in ("AntBulletEnv-v0", "AntDamagedLeftBulletEnv-v0"):
        assert not np.array_equal(start, make(other).reset(seed=1)[0])
    assert not np.array_equal(env.step(np.ones(8))[0], make("AntBulletEnv-v0").reset(seed=1)[0])
    assert env.spec.max_episode_steps == 1000
    env.close()


@pytest.mark.parametrize(
    ("environment", "change", "complaint"),
    [
        ("AntXBulletEnv-v0", None, "cannot read the body"),
        ("AntXBulletEnv-v0", ("<worldbody>", ""), "cannot read the body"),
        ("AntXBulletEnv-v0", ('<joint axis="0 0 1" name="hip_1"', "<site"), "7 joints"),
        ("AntXBulletEnv-v0", ('name="left_back_foot"', 'name="stump"'), "left_back_foot"),
        ("Spider-v0", ("", ""), "MyAntBulletEnv-v0"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_in_one_line(tmp_path, environment, change, complaint):
    path = tmp_path / "body.xml"
    if change:
        path.write_text((bullet_ants.DAMAGED / "ant_asym_left.xml").read_text().replace(*change, 1))
    with pytest.raises(ValueError, match=re.escape(complaint)) as refused:
        bullet_ants.register_body(environment, path)
    assert "\n" not in str(refused.value)
    assert environment not in bullet_ants.SPECS


def test_here_the_engine_is_reached_by_its_c_interface_and_a_closed_one_is_an_error():
    env = make("AntBulletEnv-v0").unwrapped
    env.reset(seed=1)
    assert type(env.robot.calls).__name__ == "CCalls" or sys.platform != "linux"
    env.close()
    for call in (lambda: env.step(np.zeros(8)), env.robot.calc_state):
        with pytest.raises(Exception, match="Not connected"):
            call()


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=120
    )


def test_finding_one_starts_no_engine():
    done = run(
        "import sys\n"
        "import environments\n"
        "environments.find('AntDamagedLeftBulletEnv-v0')\n"
        "assert 'pybullet' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr


def test_the_engine_is_silent_and_exceptions_are_not():
    done = run(
        "import environments\n"
        "from machine import quiet\n"
        "for environment in ('AntBulletEnv-v0', 'HumanoidBulletEnv-v0'):\n"
        "    env = environments.make(environment)\n"
        "    env.reset(seed=1), env.step(env.action_space.sample()), env.reset(), env.close()\n"
        "print('said')\n"
        "with quiet.quiet():\n"
        "    raise RuntimeError('heard')\n"
    )
    assert done.stdout == "said\n"
    assert done.stderr.startswith("Traceback") and done.stderr.endswith("heard\n")


def resident_megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def test_a_closed_environment_leaves_no_client_and_no_descriptor():
    def client_and_descriptors():
        env = make("AntBulletEnv-v0")
        env.reset()
        env.reset()
        number = env.unwrapped.physicsClientId
        env.close()
        return number, len(os.listdir("/proc/self/fd"))

    before = client_and_descriptors()
    assert all(client_and_descriptors() == before for _ in range(20))


def growth(lifetimes, steps):
    """Megabytes that lifetimes of random actions leave behind, after the first few."""
    env = make("AntBulletEnv-v0")
    actions = waves(env, steps)
    for lifetime in range(lifetimes):
        if lifetime == 10:
            before = resident_megabytes()
        env.reset(seed=lifetime)
        for action in actions:
            env.step(action)
    env.close()
    return resident_megabytes() - before


def test_lifetimes_leave_no_memory_behind():
    assert growth(lifetimes=110, steps=30) < 4


@pytest.mark.slow
def test_five_hundred_full_lifetimes_leave_no_memory_behind():
    assert growth(lifetimes=500, steps=1000) <= 20


def seconds(env, actions):
    """Time of the steps, and the part of it that the physics takes."""
    physics, step = 0.0, env._p.stepSimulation

    def timed():
        nonlocal physics
        start = perf_counter()
        step()
        physics += perf_counter() - start

    env._p.stepSimulation = timed
    start = perf_counter()
    for action in actions:
        env.step(action)
    return perf_counter() - start, physics


@pytest.mark.slow
def test_a_step_costs_three_fifths_of_the_originals_and_little_more_than_the_physics():
    assert environments.gym_registry(), "the original needs gym"
    from pybullet_envs.gym_locomotion_envs import AntBulletEnv as Original

    env, original, ratios = make("AntBulletEnv-v0").unwrapped, Original(), []
    for seed in range(7):
        actions = waves(env, 960, seed=seed)
        start = perf_counter()
        env.reset(seed=seed)
        reset = perf_counter() - start
        ours, physics = seconds(env, actions)
        original.reset()
        theirs, _ = seconds(original, actions)
        ratios.append((ours / theirs, (reset + ours) / physics))
    of_the_original, of_the_physics = np.median(ratios, axis=0)
    assert of_the_original <= 0.60
    assert of_the_physics <= 1.65


def test_a_film_needs_no_display_and_follows_the_robot(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    env = make("AntBulletEnv-v0", render_mode="rgb_array")
    env.reset(seed=1)
    for _ in range(60):
        env.step(np.zeros(8))
    near = env.render()
    assert near.shape == (240, 320, 3) and near.dtype == np.uint8 and near.std() > 10
    robot = env.unwrapped.robot
    engine = env.unwrapped._p
    engine.resetBasePositionAndOrientation(robot.objects[0], [20, 0, 0.5], [0, 0, 0, 1])
    env.step(np.zeros(8))
    warm = env.render().astype(int)
    assert (warm[:, :, 0] - warm[:, :, 2] > 30).sum() > 500  # the robot's orange is in the picture
    env.close()


@pytest.mark.skipif(sys.platform != "linux", reason="DISPLAY is X11's")
@pytest.mark.parametrize("display", [None, ":987"])
def test_the_window_without_a_display_is_refused_in_one_line(monkeypatch, display):
    monkeypatch.delenv("DISPLAY", raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(ValueError, match="needs a display"):
        make("AntBulletEnv-v0", render_mode="human")
