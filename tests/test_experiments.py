"""Lesions, frozen plasticity, recordings and films: what they do to a lifetime, and what not."""

import functools
import json
import re

import imageio.v2 as imageio
import numpy as np
import pytest
from conftest import command, run_folder

import environments
from analysis.experiments import Freeze, Lesion, Recorder, together
from analysis.films import CAPTION, Reel, heat_map, write_film
from analysis.trials import time_to_recover
from commands.agents import agents_of_run
from fitness_functions import Agent, describe

SHAPES = [(5, 4), (3, 5), (2, 3)]


def some_layers() -> list[np.ndarray]:
    """Three layers (n_post, n_pre), views as the policy's are."""
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape[::-1]).astype(np.float32).T for shape in SHAPES]


@functools.cache
def agent(environment: str, max_steps: int) -> tuple[Agent, np.ndarray]:
    result = Agent("ABCD_lr", describe(environment), "uni", max_steps)
    return result, result.first_theta(1, "normal")


def recorded(environment, seed, *callables, freeze=0, max_steps=60, snapshots=1000) -> Recorder:
    """A lifetime in which something is done."""
    living, theta = agent(environment, max_steps)
    recorder = Recorder(living.reset_weights(theta, seed), snapshots)
    living.rollout(theta, seed, together(*callables, Freeze(freeze, living.synapses), recorder))
    return recorder


@pytest.mark.parametrize("to", ["zero", "saturate", "random"])
def test_a_lesion_damages_its_share_of_its_layers_once(to):
    lesion = Lesion(10, seed=3, fraction=0.6, to=to, layers=[1, 3])
    layers, before = some_layers(), some_layers()
    for t in range(20):
        lesion(t, None, layers, 0.0)
        if t == 8:
            assert all(np.array_equal(a, b) for a, b in zip(layers, before, strict=True))
    changed = [a != b for a, b in zip(layers, before, strict=True)]
    assert changed[0].sum() <= 12 and changed[1].sum() == 0 and changed[2].sum() <= 4
    new, old = layers[0][changed[0]], before[0][changed[0]]
    if to == "zero":
        assert changed[0].sum() == 12 and changed[2].sum() == 4 and not new.any()
    elif to == "saturate":  # the largest one may be among the damaged, and stays
        assert np.array_equal(new, np.copysign(np.abs(before[0]).max(), old))
        assert changed[0].sum() >= 11
    else:
        assert changed[0].sum() == 12 and np.abs(new).max() <= 0.1  # as `uni` draws them


def test_the_same_episode_is_damaged_in_the_same_way_and_another_in_another():
    results = []
    for seed in (3, 3, 4):
        layers = some_layers()
        Lesion(1, seed, 0.5, "random")(0, None, layers, 0.0)
        results.append(layers[0].copy())
    assert np.array_equal(results[0], results[1]) and not np.array_equal(results[0], results[2])


def test_frozen_weights_stay_and_plastic_ones_do_not():
    frozen = recorded("CartPole-v1", 2, freeze=5).weights
    plastic = recorded("CartPole-v1", 2).weights
    assert len(frozen) > 7
    for k in range(6):
        assert np.array_equal(frozen[k], plastic[k])
    assert all(np.array_equal(one, frozen[5]) for one in frozen[5:])
    assert not np.array_equal(plastic[5], plastic[6])


@pytest.mark.parametrize("frozen, lesioned", [(3, 6), (6, 6), (7, 6)])
def test_a_lesion_outlives_frozen_plasticity_whichever_comes_first(frozen, lesioned):
    lesion = Lesion(lesioned, seed=0)
    weights = recorded("CartPole-v1", 2, lesion, freeze=frozen).weights
    assert weights[5].any() and not weights[6].any()
    assert weights[7].any() == (frozen > lesioned)
    assert np.array_equal(weights[8], weights[7]) == (frozen <= 7)


def test_a_recording_begins_with_the_weights_of_birth_and_ends_with_the_last():
    living, theta = agent("CartPole-v1", 60)
    kept = recorded("CartPole-v1", 2)
    assert np.abs(kept.weights[0]).max() <= 0.1 and kept.weights[0].std() > 0.05
    assert np.array_equal(kept.weights[-1], living.policy.weights)
    assert kept.times == list(range(len(kept.rewards) + 1))
    change = kept.weights[4] - kept.weights[3]
    np.testing.assert_allclose(np.linalg.norm(kept.changes[3]), np.linalg.norm(change), rtol=1e-5)


def test_a_long_recording_keeps_snapshots_evenly_and_not_too_many():
    kept = recorded("Pendulum-v1", 1, max_steps=200, snapshots=10)
    assert 10 <= len(kept.times) <= 20 and len(kept.weights) == len(kept.times)
    assert len(set(np.diff(kept.times))) == 1 and kept.times[-1] > 180
    every = recorded("Pendulum-v1", 1, max_steps=200)
    for t, weights in zip(kept.times, kept.weights, strict=True):
        assert np.array_equal(weights, every.weights[t])


@pytest.mark.parametrize(
    "environment", ["CartPole-v1", "CarRacing-v0", "AntBulletEnv-v0", "FrozenLake-v1"]
)
def test_a_filmed_lifetime_is_the_lifetime(environment, tmp_path):
    if "Bullet" in environment:
        pytest.importorskip("pybullet")
    living, theta = agent(environment, 30)
    plain = Recorder(living.reset_weights(theta, 5))
    outcome = living.rollout(theta, 5, plain)
    env = environments.make(environment, "rgb_array")
    seen = Recorder(living.reset_weights(theta, 5))
    path = str(tmp_path / "film.gif")
    reel = Reel(path, env.render, 30, layer=1)
    assert living.inside(env).rollout(theta, 5, together(reel, seen)) == outcome
    env.close()
    assert write_film(path, [reel], 30) == len(reel.pictures)
    assert seen.rewards == plain.rewards and reel.total == outcome.fitness
    for one, other in zip(seen.activations, plain.activations, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    picture = imageio.get_reader(path).get_data(0)
    assert picture[CAPTION:].std() > 5


def test_the_heat_map_shows_a_weight_at_its_place_and_in_its_colour():
    layer = np.array([[0.0, 1.0], [-1.0, 0.0], [0.0, 0.5]], np.float32)
    picture = heat_map(layer, 1.0, 60)[:, 4:]
    assert picture.shape == (60, 60, 3)
    assert tuple(picture[10, 45]) == (213, 94, 0) and tuple(picture[30, 15]) == (0, 114, 178)
    assert tuple(picture[10, 15]) == (255, 255, 255)
    assert np.isfinite(heat_map(np.zeros((2, 2)), 0.0, 10)).all()


def test_time_to_recover_is_the_first_whole_window_near_the_level():
    rewards = np.array([0, 0, 0, 1, 1, 1, 0.7, 1, 1, 1.0])
    assert time_to_recover(rewards, 1.0, 3) == 3  # 1 1 1
    assert time_to_recover(rewards, 0.7, 3) == 2  # 0 1 1 is enough
    assert time_to_recover(np.ones(10), 1.0, 10) == 0
    assert np.isnan(time_to_recover(np.ones(10), 1.0, 11))  # it died before
    assert np.isnan(time_to_recover(rewards, 2.0, 3))
    assert time_to_recover(np.array([-5, -5, -1.05, -1.05]), -1.0, 2) == 2  # 10 % below −1


def test_a_plastic_network_survives_what_ends_a_frozen_one(balancing, tmp_path):
    path = tmp_path / "trial.json"
    line = ["--run", balancing, "--lesion", 100, "--lesion_fraction", 1, "--episodes", 20]
    result = command("evaluate_hebb.py", *line, "--json", path)
    assert result.returncode == 0, result.stderr
    record = json.loads(path.read_text())
    (table,) = record["environments"]
    rows = {row["condition"]: row for row in table["conditions"]}
    assert list(rows) == ["intact", "lesioned", "frozen", "lesioned and frozen"]
    assert rows["lesioned"]["mean"] > rows["lesioned and frozen"]["mean"] + 100
    assert rows["lesioned"]["after"] > 2 * rows["lesioned and frozen"]["after"]
    assert rows["lesioned"]["recovered"] > rows["lesioned and frozen"]["recovered"]
    assert rows["intact"]["recovery"] == 0 and rows["intact"]["recovered"] == 1
    for name, row in rows.items():
        shown = rf"^{name} +{row['mean']:.2f} ± {row['std']:.2f} +{row['steps']:.1f} "
        assert re.search(shown, result.stdout, re.MULTILINE), (name, result.stdout)
    assert len(record["episodes"]) == 20 and record["episodes"][3]["seed"] == 3
    plain = tmp_path / "plain.json"
    command("evaluate_hebb.py", "--run", balancing, "--episodes", 20, "--json", plain)
    for trial, episode in zip(
        record["episodes"], json.loads(plain.read_text())["episodes"], strict=True
    ):
        assert trial["conditions"]["intact"]["fitness"] == episode["fitness"]


def test_freezing_alone_is_compared_with_the_intact_lifetime(balancing):
    result = command("evaluate_hebb.py", "--run", balancing, "--freeze", 50, "--episodes", 2)
    names = re.findall(r"^(\w[\w ]*?)  .*±", result.stdout, re.MULTILINE)
    assert names == ["intact", "frozen"] and "frozen after 50" in result.stdout


@pytest.mark.parametrize("suffix, half", [(".mp4", 600 + 4 + 400), (".gif", 300 + 4 + 200)])
def test_a_film_shows_a_lifetime_intact_and_lesioned(suffix, half, balancing, tmp_path):
    path = tmp_path / f"film{suffix}"
    line = ["--run", balancing, "--episodes", 1, "--max_steps", 40, "--video_weights", 2]
    line += ["--lesion", 20, "--lesion_fraction", 1, "--freeze", 20]
    result = command("evaluate_hebb.py", *line, "--video", path)
    assert result.returncode == 0, result.stderr
    pictures = [picture[:, :, :3] for picture in imageio.get_reader(path).iter_data()]
    ends = re.search(r"intact (\d+)\.00, lesioned and frozen (\d+)\.00$", result.stdout)
    steps = max(int(fitness) for fitness in ends.groups())  # the shorter one stands still
    assert len(pictures) == (steps if suffix == ".mp4" else steps // 2 + 1)
    height = CAPTION + (400 if suffix == ".mp4" else 200)
    assert all(picture.shape[:2] == (height, 2 * half) for picture in pictures)
    early, late = np.array(pictures[2], int), np.array(pictures[-1], int)
    assert early[CAPTION:].std() > 20
    assert (early[:CAPTION] > 200).mean() > 0.01  # the caption, which counts
    assert np.abs(early[:CAPTION] - late[:CAPTION]).max() > 200
    intact, lesioned = (slice(end - 150, end) for end in (half, 2 * half))
    assert early[CAPTION:, lesioned].std() > 5 > late[CAPTION:, lesioned].std()  # zeros are white
    assert late[CAPTION:, intact].std() > 5
    assert not list(tmp_path.glob(".film*"))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--lesion", "0"], ["--lesion 0", "from 1"]),
        (["--lesion", "5", "--lesion_layers", "4"], ["--lesion_layers 4", "1 to 3"]),
        (["--lesion", "5", "--lesion_layers", "0"], ["--lesion_layers"]),
        (["--lesion", "5", "--lesion_fraction", "1.5"], ["1.5", "up to 1"]),
        (["--lesion", "5", "--lesion_to", "dust"], ["dust", "saturate"]),
        (["--lesion", "600"], ["no intact lifetime", "longest"]),
        (["--lesion", "5", "--render"], ["--render", "--lesion"]),
        (["--video", "film.avi"], ["film.avi", ".mp4", ".gif"]),
        (["--video", "no/such/film.gif"], ["no/such"]),
        (["--video", "film.gif", "--video_weights", "4"], ["--video_weights 4", "1 to 3"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_experiments_are_one_line_and_status_two(arguments, words, refused, short_run):
    line = ["--run", short_run, "--episodes", 2]
    refused(command("evaluate_hebb.py", *line, *arguments), *words)


def test_evolved_initial_weights_are_not_drawn_anew(tmp_path, refused):
    line = ["--environment", "CartPole-v1", "--popsize", 2, "--generations", 1, "--seed", 1]
    command("train_hebb.py", *line, "--init_weights", "coevolve", "--folder", tmp_path)
    line = ["--run", run_folder(tmp_path), "--lesion", 5, "--lesion_to", "random"]
    refused(command("evaluate_hebb.py", *line), "--lesion_to random", "evolved")


def test_a_film_that_fails_leaves_nothing_behind(short_run, tmp_path):
    (living,), theta = agents_of_run(str(short_run), max_steps=5)
    path = str(tmp_path / "film.gif")
    with pytest.raises(ValueError, match="no picture"):
        living.rollout(theta, 0, Reel(path, lambda: None, 30))
    reel = Reel(path, lambda: np.zeros((9, 9, 3), np.uint8), 30)
    living.rollout(theta, 0, reel)
    reel.pictures[-1] = b"no picture"
    with pytest.raises(OSError):
        write_film(path, [reel], 30)
    assert not list(tmp_path.iterdir())
