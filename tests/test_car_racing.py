"""CarRacing-v0 against recordings of gym 0.21 and OpenGL, and the promises of its reset."""

import gc
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import psutil
import pytest
from conftest import ROOT
from gymnasium.envs.box2d.car_racing import CarRacing

import environments
from environments import box2d_bodies, car_racing
from environments.car_racing import CarRacingV0
from environments.car_racing_pixels import score_pixels

GOLDEN = Path(__file__).parent / "golden"
RECORDINGS = ["car_racing_v0_0.npz", "car_racing_v0_1.npz"]


class Draws:
    """A random source that only hands out the recorded draws."""

    def __init__(self, values):
        self.values = iter(values)

    def uniform(self, low, high):
        return next(self.values)


def replay(recording):
    """The states, rewards, ends and hulls of a recording's actions on its track, and the env."""
    env = environments.make("CarRacing-v0")
    env.unwrapped.np_random = Draws(recording["uniform_draws"])
    states, rewards, dones, hulls = [env.reset()[0]], [], [], []
    for action in recording["actions"]:
        state, reward, terminated, truncated, _ = env.step(action)
        hull = env.unwrapped.car.hull
        states.append(state)
        rewards.append(reward)
        dones.append(terminated or truncated)
        hulls.append([*hull.position, hull.angle, *hull.linearVelocity])
    return env, np.array(states), np.array(rewards), np.array(dones), np.array(hulls)


@pytest.fixture(scope="module", params=RECORDINGS)
def replayed(request):
    with np.load(GOLDEN / request.param) as file:
        recording = dict(file)
    return recording, *replay(recording)


def episode(env, seed, steps=60):
    """All that an agent sees of an episode under a driver that swerves and brakes."""
    seen = [env.reset(seed=seed)[0].tobytes()]
    for t in range(steps):
        action = np.array([np.sin(t / 7), 0.6, 0.3 * (t % 20 > 15)], np.float32)
        state, reward, *_ = env.step(action)
        seen.append((state.tobytes(), reward))
    return seen


def test_track_rewards_hull_and_ends_are_the_recorded_ones_bit_for_bit(replayed):
    recording, env, _, rewards, dones, hulls = replayed
    assert np.array_equal(env.unwrapped.track, recording["track"])
    assert np.array_equal(rewards, recording["rewards"])
    assert np.array_equal(hulls, recording["hull"])
    assert np.array_equal(dones, recording["dones"])


def test_the_state_is_the_recorded_opengl_picture(replayed):
    recording, _, states, *_ = replayed
    difference = np.abs(states[recording["frame_steps"]].astype(int) - recording["frames"])
    world, dashboard = difference[:, :84], difference[:, 84:]
    assert (world <= 2).mean() >= 0.9999
    assert (dashboard <= 2).all()


def test_a_reset_forgets_whatever_happened_before():
    fresh, old = CarRacingV0(), CarRacingV0()
    for seed in (8, 5, 9):
        episode(old, seed)
    assert episode(old, 5) == episode(fresh, 5)


def test_observations_are_new_arrays_within_the_space():
    env = CarRacingV0()
    first, _ = env.reset(seed=1)
    kept = first.copy()
    second, *_ = env.step(np.array([0.0, 1.0, 0.0]))
    assert env.observation_space.contains(second)
    assert np.array_equal(first, kept) and not np.array_equal(first, second)
    assert np.array_equal(env.action_space.low, [-1, 0, 0])
    assert np.array_equal(env.action_space.high, [1, 1, 1])


def test_visited_tiles_turn_plain():
    env = CarRacingV0()
    episode(env, 1)
    painted = {id(colour.base) for _, colour in env.road_poly}
    assert len({tile.road_visited for tile in env.road}) == 2
    for i, tile in enumerate(env.road):
        assert id(tile.color.base) in painted
        assert (tile.color == 102).all() == (tile.road_visited or i % 3 == 0)


def test_an_episode_ends_with_the_last_tile_and_not_before():
    env = CarRacingV0()
    env.reset(seed=1)
    wait = np.zeros(3)
    env.tile_visited_count = len(env.track) - 1
    assert env.step(wait)[2] is False
    env.tile_visited_count = len(env.track)
    _, reward, terminated, truncated, _ = env.step(wait)
    assert terminated and not truncated and reward == pytest.approx(-0.1)


def test_leaving_the_playfield_ends_the_episode_with_minus_100():
    env = CarRacingV0()
    env.reset(seed=1)
    for body in env.car.drawlist:
        body.position += (400, 0)
    state, reward, terminated, *_ = env.step(np.zeros(3))
    assert terminated and reward == -100
    assert (state[:84] == 0).all(axis=-1).mean() > 0.3  # black beyond the field


@pytest.mark.parametrize(
    "action", [[np.nan, 0, 0], [0, np.inf, 0], [0, 0], [[0, 0, 0]], [0, 0, 0, 0]]
)
def test_an_action_that_is_not_three_finite_numbers_is_refused_in_one_line(action):
    env = CarRacingV0()
    env.reset(seed=1)
    with pytest.raises(ValueError, match="three finite numbers") as error:
        env.step(np.array(action, float))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("action", [[9, 9, 0], [-9, -9, -9], [0, 1, 9], [1e30, 1, 1e30]])
def test_actions_beyond_their_bounds_leave_a_finite_world(action):
    env = CarRacingV0()
    env.reset(seed=1)
    rewards = [env.step(np.array(action, float))[1] for _ in range(60)]
    assert np.isfinite(rewards).all() and np.isfinite([*env.car.hull.position]).all()


def test_every_score_has_its_own_pixels():
    images = {score_pixels(score).tobytes() for score in range(-100, 1000)}
    assert len(images) == 1100
    assert not score_pixels(0)[:, :2].any()


def test_training_touches_no_display_and_no_pygame_surface():
    program = (
        "import numpy, pygame, environments;"
        "env = environments.make('CarRacing-v0'); env.reset(seed=1);"
        "[env.step(numpy.array([0.1, 0.5, 0.0])) for _ in range(5)];"
        "assert not (pygame.display.get_init() or pygame.font.get_init());"
        "assert env.unwrapped.surf is None and env.unwrapped.screen is None; env.close()"
    )
    variables = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "SDL_VIDEODRIVER")}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=variables, check=True)


def test_filming_shows_gymnasiums_picture_and_leaves_the_state_alone():
    film, stock = CarRacingV0("rgb_array"), CarRacing("rgb_array", lap_complete_percent=1.0)
    silent = CarRacingV0()
    for env in (film, stock, silent):
        env.reset(seed=4)
    for _ in range(5):
        state, stock_state, quiet = (
            env.step(np.array([0.2, 0.7, 0.0]))[0] for env in (film, stock, silent)
        )
        assert np.array_equal(state, quiet) and not np.array_equal(state, stock_state)
        assert np.array_equal(film.render(), stock.render())
    assert np.array_equal(CarRacingV0("state_pixels").reset(seed=4)[0], silent.reset(seed=4)[0])


@pytest.mark.parametrize("known", [True, False])
def test_the_car_driven_in_memory_is_gymnasiums_bit_for_bit_and_so_are_its_pixels(
    known, monkeypatch
):
    quick, stock = CarRacingV0(), CarRacingV0("rgb_array")
    stock.reset(seed=6)
    assert type(stock.car.bodies) is box2d_bodies.Bodies  # in memory, where it can be read
    for module in (box2d_bodies, car_racing):
        monkeypatch.setattr(module, "as_known", lambda: known)
    quick.reset(seed=6)
    assert (type(quick.car) is not type(stock.car)) == known
    assert (type(quick.car.bodies) is box2d_bodies.Bodies) == known
    assert (quick.world.contactListener is None) == known
    asleep = 0
    for t in range(500):  # swerves off the road, skids, brakes to a stand, drives on
        action = np.array([np.sin(t / 25), t % 90 < 60, (t % 90 > 70) * (0.5 + t % 2)])
        if 400 < t < 480:
            action = np.array([0, 0, 1])
        states, rewards, *_ = zip(quick.step(action), stock.step(action), strict=True)
        assert np.array_equal(*states) and rewards[0] == rewards[1]
        for ours, theirs in zip(quick.car.drawlist, stock.car.drawlist, strict=True):
            assert ours.position == theirs.position and ours.angle == theirs.angle
        assert np.array_equal(quick.car.bodies.look(), stock.car.bodies.look())
        (phases, omegas), (phase, omega) = quick.car.turns(), stock.car.turns()
        assert [*phases, *omegas] == [*phase, *omega]
        if known:
            assert [*quick.car.on_road[:4]] == [bool(wheel.tiles) for wheel in stock.car.wheels]
        asleep += not stock.car.hull.awake
    for ours, theirs in zip(quick.road, stock.road, strict=True):
        assert ours.road_visited == theirs.road_visited and [*ours.color] == [*theirs.color]
    assert quick.tile_visited_count == stock.tile_visited_count > 4
    assert stock.car.particles  # it has left the marks of its skids
    assert asleep  # and stood so long that Box2D let it sleep


def test_it_can_be_shown_closed_and_pickled():
    env = CarRacingV0("human")
    first = env.reset(seed=2)[0]
    env.step(np.zeros(3))
    env.close()
    copy = pickle.loads(pickle.dumps(CarRacingV0()))
    assert np.array_equal(copy.reset(seed=2)[0], first)


def grown(resets, steps):
    """Growth of this process's resident memory in MB over lifetimes, once warm."""
    env, process = CarRacingV0(), psutil.Process()
    for seed in range(-10, resets):
        if seed == 0:
            gc.collect()
            before = process.memory_info().rss
        env.reset(seed=abs(seed))
        for _ in range(steps):
            env.step(np.array([0.1, 0.5, 0.0]))
    return (process.memory_info().rss - before) / 2**20


def test_memory_stays_flat_over_resets():
    assert grown(120, 3) < 2


@pytest.mark.slow
def test_a_thousand_resets_grow_memory_by_a_few_megabytes_at_most():
    assert grown(1000, 50) < 5


@pytest.mark.slow
def test_a_step_is_more_than_fifty_times_faster_than_stock():
    ours, stock = CarRacingV0(), gymnasium.make("CarRacing-v3").unwrapped
    seconds = {ours: [], stock: []}
    ours.reset(seed=0), ours.step(np.zeros(3))  # compile
    for seed in range(5):
        for env, steps in ((ours, 1000), (stock, 100)):
            env.reset(seed=seed)
            start = time.perf_counter()
            for t in range(steps):
                env.step(np.array([np.sin(t / 7), 0.3, 0.0]))
            seconds[env].append((time.perf_counter() - start) / steps)
    assert np.median(seconds[stock]) > 50 * np.median(seconds[ours])


@pytest.mark.skipif(not shutil.which("xvfb-run"), reason="xvfb is not installed")
def test_training_runs_under_xvfb(tmp_path):
    line = ["xvfb-run", "-a", "-s", "-screen 0 1400x900x24 +extension RANDR", "--", sys.executable]
    line += ["train_hebb.py", "--environment", "CarRacing-v0", "--popsize", "2"]
    line += ["--generations", "1", "--threads", "1", "--folder", str(tmp_path)]
    subprocess.run(line, cwd=ROOT, check=True, timeout=300, capture_output=True)
    assert list(tmp_path.rglob("*.dat"))
