"""Conditions: what they do to a world, and from when on; what is said of those who survive them."""

import functools
import itertools
import json

import numpy as np
import pytest
from conftest import SHORT, command, run_folder

import environments
from analysis.adaptation import Knockout
from analysis.comparison import curve, holm, interval_of_ratio, sign_flips, table, verdict
from environments.changes import LEGS
from environments.conditions import CONDITIONS, ChangingWorld, chosen, seen_in
from fitness_functions import Agent, describe
from run_folder.checkpoints import RunFolder

TASKS = ("AntBulletEnv-v0", "CarRacing-v0", "CartPole-v1", "Pendulum-v1", "FrozenLake-v1")
NEUTRAL = {  # strengths that change nothing, where that is not 1
    **dict.fromkeys(("noise", "dead_sensors", "shifted_sensors", "mirrored_actions"), 0),
    **dict.fromkeys(("delayed_actions", "sticky_actions", "colours", "occluded"), 0),
    **dict.fromkeys(("shifted_camera", "slope"), 0),
}
EVERYWHERE = [(task, row) for task in TASKS for row in CONDITIONS]
STEPS = 60


@functools.cache
def world(task: str):
    """An environment, what a network needs to know of it, and some actions."""
    if "Bullet" in task:
        pytest.importorskip("pybullet")
    env, interface = environments.make(task), describe(task)
    env.action_space.seed(1)
    return env, interface, [env.action_space.sample() for _ in range(STEPS)]


def episode(task: str, change=None, after: int = 0) -> list[np.ndarray]:
    """What is seen of an episode, with the rewards: one row per step, the reset's first."""
    env, _, actions = world(task)
    if change:
        env = ChangingWorld(env, change, after)
    seen = [np.append(env.reset(seed=3)[0], 0.0)]
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append(np.append(observation, reward))
        if terminated or truncated:
            break
    return seen


@functools.cache
def unchanged(task: str) -> list[np.ndarray]:
    return episode(task)


def differs(seen: list, other: list) -> list[int]:
    """The steps in which two episodes differ."""
    pairs = itertools.zip_longest(seen, other)
    return [t for t, (one, two) in enumerate(pairs) if not np.array_equal(one, two)]


@pytest.mark.parametrize("task", TASKS)
def test_conditions_change_the_world_from_their_step_on_and_the_next_reset_forgets_them(task):
    early = 3 if task in ("CartPole-v1", "FrozenLake-v1") else 20
    for row in chosen(["all"], world(task)[1]):
        for after in (0, early):
            seen = episode(task, row.change(5), after)
            changed = differs(seen, unchanged(task))
            assert changed == [] or min(changed) >= (after + 1 if after else 0), row
            assert differs(episode(task, row.change(5), after), seen) == [], row  # the same again
            if task in TASKS[:2] and (row.name != "slippery" or not after):
                assert changed, row
    assert differs(episode(task), unchanged(task)) == []


@pytest.mark.parametrize(
    "task", ["AntBulletEnv-v0", "CarRacing-v0", "Pendulum-v1", "FrozenLake-v1"]
)
def test_a_condition_of_no_strength_changes_nothing_bit_for_bit(task):
    for row in chosen(["all"], world(task)[1]):
        if row.name.startswith(("short_", "locked_", "uneven_")):  # another body; no motor
            continue
        if (task, row.name) == ("FrozenLake-v1", "mirrored_actions"):  # all of Discrete ones are
            continue
        still = row._replace(strength=NEUTRAL.get(row.name, 1))
        for after in (0, 20):
            assert differs(episode(task, still.change(5), after), unchanged(task)) == [], still


def test_a_body_that_takes_the_place_of_an_equal_one_goes_on_as_it_did():
    (row,) = chosen(["short_back_left=1"], world("AntBulletEnv-v0")[1])
    for after in (0, 20):
        seen = np.array(episode("AntBulletEnv-v0", row.change(5), after))
        away = np.abs(seen - unchanged("AntBulletEnv-v0")).max(axis=1)
        away[after + 1] = 0  # the new body has not touched the ground yet
        assert away.max() < 1e-3


@pytest.mark.parametrize("leg, side", [("front_left", "left"), ("back_right", "right")])
def test_short_legs_are_those_of_the_damaged_bodies(leg, side):
    from environments.bullet_ants import DAMAGED

    def swap(env):
        env.unwrapped.change_body(str(DAMAGED / f"ant_asym_{side}.xml"))
        return env

    (row,) = chosen([f"short_{leg}"], world("AntBulletEnv-v0")[1])
    for after in (0, 20):
        seen = episode("AntBulletEnv-v0", row.change(5), after)
        assert differs(seen, episode("AntBulletEnv-v0", swap, after)) == []


def test_uneven_legs_are_each_left_to_a_share_of_their_own():
    env = world("AntBulletEnv-v0")[0]

    def halves(name, seed):  # of the lower part of each leg: how far its centre of mass is
        env.reset(seed=3)
        (row,) = chosen([name], world("AntBulletEnv-v0")[1])
        row.change(seed)(env)
        robot, engine = env.unwrapped.robot, env.unwrapped._p
        links = [robot.parts[foot].bodyPartIndex for foot, _ in LEGS.values()]
        return np.abs([engine.getDynamicsInfo(robot.objects[0], k)[3][0] for k in links])

    whole = halves("uneven_legs=1", 1)
    assert np.all(whole == whole[0])
    shares = np.array([halves("uneven_legs", seed) for seed in range(12)]) / whole
    assert np.unique(shares).size == 48
    assert 0.5 <= shares.min() < 0.6 and 0.9 < shares.max() <= 1
    assert np.array_equal(halves("uneven_legs", 5), shares[5] * whole)


def test_of_several_conditions_with_commas_each_lifetime_has_one():
    names, task = ["weak_actions=0.5", "delayed_actions", "scaled_sensors=2"], "Pendulum-v1"
    rows = chosen([",".join(names), *names], world(task)[1])
    seen = [[episode(task, row.change(seed)) for seed in range(12)] for row in rows]
    one, *each = seen
    found = [[not differs(own[0], one[seed]) for own in each].index(True) for seed in range(12)]
    assert {*found} == {0, 1, 2}
    assert str(rows[0]) == "weak_actions=0.5,delayed_actions=2,scaled_sensors=2"
    again = [episode(task, rows[0].change(seed)) for seed in range(12)]
    assert not any(map(differs, one, again))


def test_a_body_that_evolution_had_by_a_condition_was_seen():
    plain = {"environment": ["AntBulletEnv-v0"]}
    assert seen_in(plain) == seen_in({"environment": "AntBulletEnv-v0"}) == {"AntBulletEnv-v0"}
    assert seen_in(plain | {"conditions": ["all"]}) > {"AntDamagedLeftBulletEnv-v0"}
    for name in ("short_back_right", "short_back_right=0.25", "heavy,short_back_right"):
        seen = seen_in(plain | {"conditions": [name, "short_front_left=0.5", "noise"]})
        assert seen == {"AntBulletEnv-v0", "AntDamagedRightBulletEnv-v0"}


@pytest.mark.parametrize("leg", range(4))
def test_a_locked_leg_stands_still_and_only_that(leg):
    interface = world("AntBulletEnv-v0")[1]
    row = [row for row in chosen(["all"], interface) if row.name.startswith("locked")][leg]
    seen = np.array(episode("AntBulletEnv-v0", row.change(5), 20))
    angles = seen[35:, 8:24:2]  # hip and ankle of each leg in turn; one was beyond its limit
    moved = np.ptp(angles, axis=0).reshape(4, 2).max(axis=1)
    assert moved[leg] < 0.03 and np.delete(moved, leg).min() > 0.1


def test_physics_are_the_engine_s():
    env = world("AntBulletEnv-v0")[0]
    interface = world("AntBulletEnv-v0")[1]
    env.reset(seed=1)
    inner = env.unwrapped
    links = range(-1, inner._p.getNumJoints(inner.robot.objects[0]))

    def masses():
        return [inner._p.getDynamicsInfo(inner.robot.objects[0], link)[0] for link in links]

    before = masses()
    for row in chosen(["heavy=3", "slippery=0.5", "slope=30"], interface):
        row.change(0)(env)
    assert np.allclose(masses(), 3 * np.array(before)) and sum(before) > 100
    assert inner._p.getDynamicsInfo(inner.floor, -1)[1] == pytest.approx(0.4)
    pull = inner._p.getPhysicsEngineParameters()
    pull = [pull[f"gravityAcceleration{axis}"] for axis in "XYZ"]
    assert np.allclose(pull, [-4.9, 0, -9.8 * np.cos(np.pi / 6)])


def test_actions_are_late_by_their_steps():
    env, interface, _ = world("Pendulum-v1")
    (late,) = chosen(["delayed_actions=2"], interface)
    env.reset(seed=1)
    wrapper = late.change(0)(env)
    assert [wrapper.action(k) for k in range(6)] == [0, 0, 0, 1, 2, 3]


def test_pixels_stay_pixels():
    _, interface, _ = world("CarRacing-v0")
    for row in chosen(["noise=2", "dark", "colours", "occluded=0.5"], interface):
        env = ChangingWorld(world("CarRacing-v0")[0], row.change(1), 0)
        image = env.reset(seed=3)[0]
        assert image.shape == (96, 96, 3) and image.dtype == np.uint8, row
        if row.name == "occluded":
            assert (image[:80].max(axis=(0, 2)) == 0).sum() >= 48
        if row.name == "dark":
            assert 80 < image.max() < 130


def test_a_p_value_is_that_of_all_signs():
    differences = np.random.default_rng(2).normal(0.5, 1, 10)
    signs = np.array(list(itertools.product([-1, 1], repeat=10)))
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
    assert abs(sign_flips(differences) - exact) < 0.015
    assert sign_flips(np.zeros(10)) == 1 and sign_flips(np.ones(20)) < 0.001
    assert sign_flips(-differences) == sign_flips(differences)


def test_several_p_values_are_holm_s():
    assert holm([0.01, None, 0.04, 0.03]) == [0.03, None, 0.06, 0.06]  # his steps: 3p, 2p, p
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_the_interval_of_a_share_covers_it_and_is_paired():
    rng = np.random.default_rng(1)
    base = rng.normal(100, 30, 200)
    low, high = interval_of_ratio(0.5 * base, base)
    assert low == pytest.approx(0.5) and high == pytest.approx(0.5)  # the same luck in both
    low, high = interval_of_ratio(0.5 * rng.permutation(base), base)
    assert 0.45 < low < 0.5 < high < 0.55


def test_a_curve_ends_with_zeros_where_lifetimes_are_over():
    assert curve([np.ones(50), np.ones(100)], 110) == [1, 1, 0.5, 0.5]


def test_a_knockout_takes_a_column_out_of_its_layer_alone():
    sizes = [4, 5, 3, 2]
    agent = Agent("ABCD_lr", describe("CartPole-v1"), hidden=sizes[1:3])
    theta = agent.first_theta(1, "normal")
    parts = np.split(np.arange(41), [20, 35])  # the synapses of each layer
    for layer, to in itertools.product(range(4), ("zero", "mean")):
        expected = theta.reshape(-1, 5).copy()
        for part in [parts[layer - 1]] if layer else parts:
            expected[part, 3] = 0 if to == "zero" else expected[part, 3].mean()
        new = Knockout("η", layer, to).change(agent, theta)
        assert np.array_equal(new, expected.ravel()) and agent.rule.columns[3] == "η"
    assert np.array_equal(theta, agent.first_theta(1, "normal"))
    agent = Agent("neuron_centric", describe("CartPole-v1"), hidden=sizes[1:3])
    theta = agent.first_theta(1, "normal")
    names = agent.rule.neuron_columns
    expected = theta.reshape(-1, len(names)).copy()
    expected[4:9, 1] = 0  # the neurons at the end of the first layer
    assert np.array_equal(Knockout(names[1], 1).change(agent, theta), expected.ravel())
    agent = Agent("ABCD_lr", describe("CartPole-v1"), hidden=sizes[1:3], recurrent=True)
    theta = agent.first_theta(1, "normal")
    expected = theta.reshape(-1, 5).copy()
    expected[45:69, 3] = 0  # the second layer, behind (4 + 5) * 5, has (5 + 3) * 3
    assert np.array_equal(Knockout("η", 2).change(agent, theta), expected.ravel())


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    """A run of static networks that `balancing` is compared with."""
    folder = tmp_path_factory.mktemp("static")
    line = [*SHORT, "--hebb_rule", "static", "--generations", 2, "--folder", folder]
    result = command("train_hebb.py", *line)
    assert result.returncode == 0, result.stderr
    return run_folder(folder)


def test_what_survives_what_is_the_same_for_any_number_of_workers(balancing, static, tmp_path):
    several = "noise=0.05,sticky_actions=0.1"
    line = ["--run", balancing, "--conditions", "all", several, "--at", 50, 0]
    line += ["--against", static, "--max_steps", 150]
    files = [tmp_path / f"{threads}.json" for threads in (1, 3)]
    for threads, path in zip((1, 3), files, strict=True):
        result = command(
            "evaluate_hebb.py", *line, "--episodes", 6, "--json", path, "--threads", threads
        )
        assert result.returncode == 0, result.stderr
    assert files[0].read_bytes() == files[1].read_bytes()
    record = json.loads(files[0].read_text())
    birth, later = record["sections"]
    assert (birth["at"], later["at"]) == (0, 50) and record["seeds"] == list(range(6))
    assert list(birth["rows"][0]["kinds"]) == ["plastic", "static"]
    assert list(later["rows"][0]["kinds"]) == ["plastic", "frozen", "static"]
    first = birth["rows"][0]["kinds"]["plastic"]
    assert first["share"] == 1 and first["low"] == first["high"] == 1
    plain = tmp_path / "plain.json"
    command("evaluate_hebb.py", *line[:2], *line[-2:], "--episodes", 6, "--json", plain)
    plain = [episode["fitness"] for episode in json.loads(plain.read_text())["episodes"]]
    assert first["scores"] == plain
    assert later["rows"][0]["kinds"]["plastic"]["scores"] == [max(0, x - 50) for x in plain]
    for row in birth["rows"]:
        for one in row["kinds"].values():
            assert one["low"] <= one["share"] <= one["high"] and 0 < one["p"] <= 1
        assert row["condition"] in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    *_, name, values = table(later["rows"], 60)  # a long name has a line of its own
    assert name == several and len(values) == len(table(later["rows"][:1], 60)[-1])
    assert max(map(len, table(later["rows"], 60))) <= 60
    assert verdict(later["rows"], "frozen") in result.stdout


def test_the_other_agent_is_the_best_of_its_run_whichever_is_asked_of_the_first(
    balancing, static, tmp_path
):
    best = tmp_path / "best.json"
    line = ["--run", static, "--episodes", 3, "--json", best]
    assert command("evaluate_hebb.py", *line).returncode == 0
    path, generation = tmp_path / "against.json", RunFolder.open(balancing).rows[-1]["generation"]
    line = ["--run", balancing, "--which", generation, "--against", static, "--at", 0]
    line += ["--conditions", "noise", "--episodes", 3, "--json", path]
    assert command("evaluate_hebb.py", *line).returncode == 0
    (section,) = json.loads(path.read_text())["sections"]
    scores = [one["fitness"] for one in json.loads(best.read_text())["episodes"]]
    assert section["rows"][0]["kinds"]["static"]["scores"] == scores


def test_without_a_column_the_behaviour_loses_what_the_table_says(balancing, tmp_path):
    path = tmp_path / "knockouts.json"
    line = ["--run", balancing, "--knockout", "η", "--episodes", 5, "--json", path]
    result = command("evaluate_hebb.py", *line)
    assert result.returncode == 0, result.stderr
    (section,) = json.loads(path.read_text())["sections"]
    names = ["unchanged", "η, all layers", *(f"η, layer {k}" for k in (1, 2, 3))]
    assert [row["condition"] for row in section["rows"]] == names
    record = section["rows"][1]["kinds"]["plastic"]
    assert record["share"] < 0.5  # no learning rate: the weights of birth stay
    assert [
        row["condition"] for row in section["rows"] if row["condition"] in result.stdout
    ] == names


def test_a_worker_that_dies_costs_nothing_and_a_condition_that_raises_is_reported(
    balancing, tmp_path, monkeypatch
):
    monkeypatch.setenv("FIRST_ONLY", str(tmp_path))
    path = tmp_path / "dies.json"
    names = ["misbehaving:kills_its_worker", "misbehaving:raises=0.25"]
    line = ["--run", balancing, "--conditions", *names, "--at", 0, "--json", path]
    result = command("evaluate_hebb.py", *line, "--episodes", 3, "--threads", 2)
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.iterdir())) == 4  # three workers died
    (section,) = json.loads(path.read_text())["sections"]
    dies, fails = section["rows"][1:]
    assert dies["kinds"] == section["rows"][0]["kinds"] | dies["kinds"]
    assert dies["kinds"]["plastic"]["share"] == 1 and dies["failed"] == 0
    assert fails["condition"] == "raises=0.25" and fails["failed"] == 3
    assert fails["kinds"]["plastic"]["share"] is None and "3 failed" in result.stdout


@pytest.mark.parametrize(
    "name, words",
    [
        ("darkness", ["darkness", "noise", "sticky_actions"]),
        ("gravity", ["gravity", "quadruped", "CartPole-v1"]),
        ("slippery", ["slippery", "quadruped", "CarRacing-v0"]),
        ("dead_sensors=2", ["dead_sensors=2", "0 to 1"]),
        ("noise=much", ["noise=much", "0 on"]),
        ("noise,darkness", ["--conditions darkness", "noise"]),
        ("nowhere:fog", ["nowhere:fog", "nowhere"]),
        ("misbehaving:fog", ["misbehaving:fog"]),
        ("misbehaving:misbehaves", ["misbehaves", "env, strength, rng"]),
        ("misbehaving:loud", ["misbehaving:loud", "env, strength, rng"]),
        ("misbehaving:raises=nan", ["raises=nan", "a number"]),
    ],
)
def test_a_wrong_condition_is_named_with_what_is_allowed(name, words):
    with pytest.raises(ValueError) as caught:
        chosen([name], world("CartPole-v1")[1])
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("broken", ["1 / 0", "def fog(", "raise SystemExit(3)"])
def test_a_module_of_conditions_that_raises_is_named_in_one_line(broken, tmp_path, monkeypatch):
    name = f"broken_{len(broken)}"
    (tmp_path / f"{name}.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"{name}:fog.*Error|{name}:fog.*SystemExit"):
        chosen([f"{name}:fog"], world("CartPole-v1")[1])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--conditions", "all", "--at", "-1"], ["--at", "0"]),
        (["--at", "5"], ["--at", "--conditions"]),
        (["--against", "nowhere", "--knockout", "A"], ["--against", "--conditions"]),
        (["--knockout_to", "mean"], ["--knockout_to", "--knockout"]),
        (["--window", "5"], ["--window", "--conditions or --knockout or --lesion"]),
        (["--lesion_fraction", "1"], ["--lesion_fraction", "--lesion"]),
        (["--video_weights", "1"], ["--video_weights", "--video"]),
        (["--conditions", "darkness", "--lesion", "5"], ["--conditions", "--lesion"]),
        (["--conditions", "darkness"], ["darkness", "noise"]),
        (["--knockout", "E"], ["--knockout E", "A, B, C, η, D"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_comparisons_are_one_line_and_status_two(arguments, words, refused, short_run):
    line = ["--run", short_run, "--episodes", 2]
    refused(command("evaluate_hebb.py", *line, *arguments), *words)
