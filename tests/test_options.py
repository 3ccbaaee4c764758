"""What each option means, not only that it runs."""

import csv
import json

import gymnasium
import numpy as np
import pytest
import torch
from conftest import SHORT, coefficients, command, outcome, run_folder
from gymnasium import spaces

import environments
from commands.agents import agents_of_run
from environments.conditions import ChangingWorld, chosen
from environments.observations import Normalizer, Statistics
from environments.tasks import clip, interface_of, tanh_to_bounds, task_of
from evolution_strategy_hebb import HeldOut
from fitness_functions import Agent, describe
from seeds import WORLD, integer


def cart(rule="ABCD_lr", task=None, **options):
    return Agent(rule, describe("CartPole-v1", **(task or {})), **options)


def rows_of(run):
    with open(run / "fitness.csv") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


# ---- static networks ---------------------------------------------------------------------------


def test_a_static_network_is_a_plastic_one_without_coefficients_and_normalization():
    static = cart("static")
    plastic = cart("ABCD_lr_D_in_and_out", {"normalization": "none"}, init_weights="coevolve")
    weights = static.first_theta(2, "normal")
    theta = plastic.join(np.zeros((8832, 6)), weights)
    for seed in range(5):
        assert static.rollout(weights, seed) == plastic.rollout(theta, seed)


def test_a_flat_weight_vector_of_the_static_reference_acts_as_in_torch(tmp_path):
    layers = [torch.nn.Linear(n, m, bias=False) for n, m in ((4, 128), (128, 64), (64, 2))]
    network = torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1], torch.nn.Tanh(), layers[2])
    vector = torch.nn.utils.parameters_to_vector(network.parameters()).detach().numpy()
    torch.save(vector, tmp_path / "static.dat")
    line = ["--environment", "CartPole-v1", "--hebb_rule", "static", "--episodes", 3]
    line += ["--path_hebb", tmp_path / "static.dat", "--json", tmp_path / "out.json"]
    result = command("evaluate_hebb.py", *line)
    assert result.returncode == 0, result.stderr
    for episode in json.loads((tmp_path / "out.json").read_text())["episodes"]:
        env, total, done = environments.make("CartPole-v1"), 0.0, False
        observation, _ = env.reset(seed=integer(episode["seed"], WORLD))
        while not done:
            action = int(network(torch.tensor(observation)).argmax())
            observation, reward, terminated, truncated, _ = env.step(action)
            total, done = total + reward, terminated or truncated
        assert total == episode["fitness"]


def test_static_networks_evolve_with_the_same_commands(tmp_path):
    line = [*SHORT, "--generations", 2, "--folder", tmp_path, "--hebb_rule", "static"]
    assert command("train_hebb.py", *line).returncode == 0
    run = run_folder(tmp_path)
    assert any(name.startswith("weights__CartPole-v1") for name in coefficients(run))
    assert command("evaluate_hebb.py", "--run", run, "--episodes", 2).returncode == 0


@pytest.mark.parametrize("option", [("--normalization", "max"), ("--update_every", "2")])
def test_options_of_a_rule_are_refused_for_static_networks(option, refused, tmp_path):
    line = [*SHORT, "--hebb_rule", "static", "--folder", tmp_path]
    refused(command("train_hebb.py", *line, *option), option[0])


# ---- observations ------------------------------------------------------------------------------


def test_merged_statistics_are_those_of_all_observations_at_once():
    rng = np.random.default_rng(0)
    data = rng.normal(3, 2, (1000, 4))
    statistics = Statistics(4)
    for part in np.split(data, [1, 10, 400]):
        statistics.merge(len(part), part.sum(axis=0), (part**2).sum(axis=0))
    theirs = gymnasium.wrappers.utils.RunningMeanStd(epsilon=0, shape=(4,))
    theirs.update(data)
    np.testing.assert_allclose(statistics.mean, theirs.mean)
    np.testing.assert_allclose(statistics.squares / statistics.count, theirs.var)
    np.testing.assert_allclose(statistics.as_block()[1], np.sqrt(theirs.var + 1e-8), rtol=1e-6)


def test_a_normalizer_normalizes_and_sums_up_what_it_sees():
    block = np.array([[1.0, 2.0], [2.0, 4.0]], np.float32)
    normalizer = Normalizer(lambda x: np.asarray(x, np.float32), block)
    np.testing.assert_array_equal(normalizer([3.0, 2.0]), [1.0, 0.0])
    np.testing.assert_array_equal(normalizer([1.0, -2.0]), [0.0, -1.0])
    count, total, squares = normalizer.sums
    assert count == 2 and list(total) == [4.0, 0.0] and list(squares) == [10.0, 8.0]


def test_normalized_runs_are_the_same_for_any_number_of_workers_and_are_replayed(tmp_path):
    runs = []
    for threads in (1, 2):
        line = [*SHORT, "--generations", 3, "--normalize_observations", "--threads", threads]
        result = command("train_hebb.py", *line, "--folder", tmp_path / str(threads))
        assert result.returncode == 0, result.stderr
        runs.append(run_folder(tmp_path / str(threads)))
    assert coefficients(runs[0]) == coefficients(runs[1])
    (path,) = runs[0].glob("*__observation_statistics__3.dat")
    statistics = torch.load(path, weights_only=False)
    assert statistics.shape == (2, 4) and (statistics[1] > 0).all() and (statistics[1] != 1).all()
    line = ["--run", runs[0], "--which", "last", "--episodes", 2]
    assert command("evaluate_hebb.py", *line).returncode == 0


def test_a_normalized_run_that_is_resumed_is_the_undisturbed_run(tmp_path):
    line = [*SHORT, "--normalize_observations", "--optimizer", "adam", "--lr", "0.05"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert command("train_hebb.py", *line, "--generations", 4, "--folder", whole).returncode == 0
    assert command("train_hebb.py", *line, "--generations", 2, "--folder", parts).returncode == 0
    run = run_folder(parts)
    assert command("train_hebb.py", "--resume", run, "--generations", 4).returncode == 0
    assert coefficients(run) == coefficients(run_folder(whole))


def test_theta_is_scored_with_the_statistics_that_it_is_filed_with(tmp_path):
    line = ["--environment", "Pendulum-v1", "--popsize", 4, "--seed", 3, "--generations", 2]
    line += ["--normalize_observations", "--eval_every", 1, "--eval_episodes", 3]
    assert command("train_hebb.py", *line, "--folder", tmp_path).returncode == 0
    run = run_folder(tmp_path)
    for row in rows_of(run):
        (agent,), theta = agents_of_run(run, str(int(row["generation"])))
        held_out = [HeldOut(3, 0, number).lifetime_seed() for number in range(3)]
        scores = [agent.rollout(theta, seed).fitness for seed in held_out]
        assert row["theta_mean"] == pytest.approx(np.mean(scores), rel=1e-12)


def test_pixels_are_not_normalized(refused, tmp_path):
    line = ["--environment", "CarRacing-v0", "--normalize_observations", "--folder", tmp_path]
    refused(command("train_hebb.py", *line), "CarRacing-v0", "vectors")


class Camera(gymnasium.Env):
    """Random pictures."""

    observation_space = spaces.Box(0, 255, (30, 40, 3), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.look(), {}

    def look(self):
        return self.np_random.integers(0, 256, (30, 40, 3), dtype=np.uint8)

    def step(self, action):
        return self.look(), 1.0, False, False, {}


class Memory(Camera):
    """Random bytes."""

    observation_space = spaces.Box(0, 255, (128,), np.uint8)


gymnasium.register("Camera-v0", Camera, max_episode_steps=9)
gymnasium.register("Memory-v0", Memory, max_episode_steps=9)


def test_stacked_grey_frames_are_gymnasium_s_with_the_newest_last():
    interface = describe("Camera-v0", (("grayscale", True), ("frame_stack", 3)))
    assert interface.pixels and interface.n_inputs == 3
    env = environments.make("Camera-v0", grayscale=True, frame_stack=3)
    grey = gymnasium.wrappers.GrayscaleObservation(environments.make("Camera-v0"))
    frames = [grey.reset(seed=1)[0], *(grey.step(0)[0] for _ in range(4))]
    env.reset(seed=1)
    for _ in range(4):
        observation = env.step(0)[0]
    image = interface.encode(observation)
    assert image.shape == (30, 40, 3)
    np.testing.assert_array_equal(image, np.stack(frames[-3:], axis=-1))


def test_stacked_colour_frames_are_channels_and_stacked_vectors_are_longer():
    interface = describe("Camera-v0", (("frame_stack", 2),))
    assert interface.n_inputs == 6
    frames = np.random.default_rng(0).integers(0, 256, (2, 30, 40, 3), dtype=np.uint8)
    image = interface.encode(frames)
    np.testing.assert_array_equal(image[..., :3], frames[0])
    np.testing.assert_array_equal(image[..., 3:], frames[1])
    agent = Agent("ABCD_lr", interface)
    assert agent.rollout(agent.first_theta(0, "normal"), 0).fitness == 9
    assert describe("CartPole-v1", (("frame_stack", 4),)).n_inputs == 16
    memory = describe("Memory-v0", (("frame_stack", 4),))
    assert not memory.pixels and memory.n_inputs == 4 * 128  # as without the stack


@pytest.mark.parametrize("stack", [1, 3])
def test_an_occluded_picture_lacks_columns_however_frames_are_stacked(stack):
    interface = describe("Camera-v0", (("frame_stack", stack),))
    (row,) = chosen(["occluded=0.5"], interface)
    env = ChangingWorld(environments.make("Camera-v0", frame_stack=stack), row.change(1), 0)
    env.reset(seed=1)
    picture = interface.encode([env.step(0)[0] for _ in range(3)][-1])
    black = (picture == 0).all(axis=(0, 2))
    assert black.sum() == 20 and not (picture[:, ~black] == 0).all(axis=(1, 2)).any()


@pytest.mark.parametrize(
    "name, option", [("CartPole-v1", "grayscale"), ("FrozenLake-v1", "frame_stack")]
)
def test_wrappers_that_do_not_fit_are_refused_by_name(name, option):
    with pytest.raises(ValueError, match=option):
        describe(name, ((option, 2),))


# ---- actions, weights, ends --------------------------------------------------------------------


def test_actions_are_clipped_or_stretched_to_their_space():
    space = spaces.Box(np.array([-2.0, 0.0]), np.array([2.0, 1.0]), dtype=np.float32)
    y = np.array([3.0, -0.5], np.float32)
    np.testing.assert_array_equal(clip(y.copy(), space), [2.0, 0.0])
    stretched = tanh_to_bounds(y, space)
    np.testing.assert_allclose(stretched, [2 * np.tanh(3), (1 + np.tanh(-0.5)) / 2], rtol=1e-6)
    np.testing.assert_allclose(y, np.tanh([3, -0.5]), rtol=1e-6)  # what enters the rule


def test_tanh_needs_bounds():
    env = Camera()
    env.action_space = spaces.Box(-np.inf, np.inf, (1,))
    with pytest.raises(ValueError, match="no bounds"):
        interface_of(env, "Camera-v0", action_bounds="tanh")


def test_options_take_the_place_of_the_task_s_row():
    task = task_of("AntBulletEnv-v0", "standard", "clip", 5, 3)
    assert (task.normalize, task.bound, task.patience, task.update_every) == (
        "standard",
        clip,
        5,
        3,
    )
    assert task.burn_in == 40  # the rest of the row stays
    assert task_of("CarRacing-v0", early_stop=0).patience == 0


class Punishing(Camera):
    observation_space = spaces.Box(-1, 1, (2,), np.float32)

    def look(self):
        return self.np_random.random(2, np.float32)

    def step(self, action):
        return self.look(), -1.0, False, False, {}


gymnasium.register("Punishing-v0", Punishing, max_episode_steps=50)


def test_more_negative_rewards_in_a_row_than_early_stop_end_a_lifetime():
    agent = Agent("ABCD_lr", describe("Punishing-v0", early_stop=6))
    assert agent.rollout(agent.first_theta(0, "normal"), 0).steps == 7
    agent = Agent("ABCD_lr", describe("Punishing-v0"))
    assert agent.rollout(agent.first_theta(0, "normal"), 0).steps == 50


def test_weights_change_only_at_every_kth_step():
    agent = Agent("ABCD_lr", describe("Punishing-v0", update_every=4, normalization="none"))
    seen = []
    agent.rollout(
        agent.first_theta(0, "normal"), 0, lambda t, a, weights, r: seen.append(weights[0].copy())
    )
    changed = [not np.array_equal(*pair) for pair in zip(seen, seen[1:], strict=False)]
    # seen[t] is what step t leaves behind; the weights change at the end of steps 3, 7, 11, ...
    assert changed == [(t + 1) % 4 == 3 for t in range(48)] + [False]  # none after the last step


def test_standard_normalization_gives_each_layer_mean_zero_and_deviation_one():
    agent = Agent("ABCD_lr", describe("Punishing-v0", normalization="standard"))
    layers = {}
    agent.rollout(
        agent.first_theta(0, "normal"),
        0,
        lambda t, a, weights, r: layers.update(enumerate(weights)),
    )
    for layer in layers.values():
        assert abs(layer.mean()) < 1e-5 and abs(layer.std() - 1) < 1e-5


def test_hidden_layers_have_the_sizes_asked_for():
    agent = cart(hidden=[7, 6, 5])
    assert list(agent.policy.sizes) == [4, 7, 6, 5, 2]
    assert agent.n == 5 * (4 * 7 + 7 * 6 + 6 * 5 + 5 * 2)
    assert agent.rollout(agent.first_theta(0, "normal"), 0).failure is None


def test_shared_rules_are_rows_that_many_synapses_use():
    shared, own = cart(shared_rules=10, seed=5), cart()
    theta = shared.first_theta(0, "normal")
    assert shared.n == theta.size == 50
    coefficients = shared.blocks(theta)["coeffs"]
    assert coefficients.shape == (8832, 5) and len(np.unique(coefficients, axis=0)) == 10
    assert own.rollout(own.join(coefficients), 3) == shared.rollout(theta, 3)
    other = cart(shared_rules=10, seed=6).blocks(theta)["coeffs"]
    assert not np.array_equal(other, coefficients)  # another seed, another assignment


def test_all_life_options_are_replayed_from_the_folder(tmp_path):
    line = [*SHORT, "--generations", 1, "--hidden", 16, 8, "--shared_rules", 20]
    line += ["--update_every", 2, "--normalization", "standard", "--frame_stack", 2]
    result = command("train_hebb.py", *line, "--folder", tmp_path)
    assert result.returncode == 0, result.stderr
    result = command("evaluate_hebb.py", "--run", run_folder(tmp_path), "--episodes", 2)
    assert result.returncode == 0, result.stderr


# ---- the run -----------------------------------------------------------------------------------


def test_a_run_stops_at_the_fitness_asked_for(tmp_path):
    line = [*SHORT, "--generations", 50, "--stop_at", 1, "--folder", tmp_path]
    assert command("train_hebb.py", *line).returncode == 0
    run = run_folder(tmp_path)
    assert len(rows_of(run)) == 1
    before = outcome(run)
    assert command("train_hebb.py", "--resume", run).returncode == 0
    assert outcome(run) == before  # it has ended, and stays so


def test_theta_itself_is_scored_on_held_out_seeds_and_the_best_by_it_is_kept(tmp_path):
    line = [*SHORT, "--generations", 6, "--eval_every", 2, "--eval_episodes", 4, "--print_every", 5]
    result = command("train_hebb.py", *line, "--folder", tmp_path)
    assert " θ " in result.stdout
    run = run_folder(tmp_path)
    scores = [row["theta_mean"] for row in rows_of(run)]
    assert [np.isnan(score) for score in scores] == [True, False] * 3
    best = int(np.nanargmax(scores)) + 1
    kept = {int(name.rsplit("__", 1)[1].removesuffix(".dat")) for name in coefficients(run)}
    assert kept == {best, 5, 6}
    theta = cart().join(torch.load(next(run.glob("*__6.dat")), weights_only=False))
    from evolution_strategy_hebb import HeldOut

    episodes = [HeldOut(3, 5, number) for number in range(4)]
    again = [cart().rollout(e.candidate(theta), e.lifetime_seed()).fitness for e in episodes]
    assert scores[5] == np.mean(again)


def test_an_evaluation_of_theta_itself_changes_nothing(tmp_path, short_run):
    line = [*SHORT, "--generations", 3, "--eval_every", 1, "--eval_episodes", 2]
    assert command("train_hebb.py", *line, "--folder", tmp_path).returncode == 0
    assert coefficients(run_folder(tmp_path)) == coefficients(short_run)


def test_theta_is_scored_where_evolution_learns_nothing(tmp_path):
    line = [*SHORT, "--generations", 3, "--eval_every", 2, "--eval_episodes", 3]
    line += ["--conditions", "noise", "--eval_environment", "CartPole-v0", "--folder"]
    assert command("train_hebb.py", *line, tmp_path / "unseen").returncode == 0
    run = run_folder(tmp_path / "unseen")
    names = ["CartPole-v1", "CartPole-v1 with noise=0.3", "CartPole-v0"]
    rows = [[row["theta in " + name] for name in names] for row in rows_of(run)]
    assert np.isnan(rows[0]).all() and np.isnan(rows[2]).all()
    assert "mean in CartPole-v0" not in rows_of(run)[0]
    theta = cart().join(torch.load(next(run.glob("*__2.dat")), weights_only=False))
    from evolution_strategy_hebb import HeldOut

    seeds = [HeldOut(3, 1, number).lifetime_seed() for number in range(3)]
    unseen = Agent("ABCD_lr", describe("CartPole-v0"))
    assert rows[1][2] == np.mean([unseen.rollout(theta, seed).fitness for seed in seeds])
    assert rows_of(run)[1]["theta_mean"] == pytest.approx(np.mean(rows[1][:2]))
    drawn = command("plot_hebb.py", "fitness", run, "--out", tmp_path / "x.svg")
    assert f"theta in CartPole-v0: {rows[1][2]:.1f} in generation 2" in drawn.stdout
    assert "<!-- θ in CartPole-v0 -->" in (tmp_path / "x.svg").read_text()
    without = [word for word in line if word not in ("--eval_environment", "CartPole-v0")]
    assert command("train_hebb.py", *without, tmp_path / "without").returncode == 0
    assert coefficients(run) == coefficients(run_folder(tmp_path / "without"))


def test_tensorboard_files_hold_the_rows_of_fitness_csv(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    line = [*SHORT, "--generations", 2, "--tensorboard", "--folder", tmp_path]
    assert command("train_hebb.py", *line).returncode == 0
    run = run_folder(tmp_path)
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    means = [event.value for event in events.Scalars("mean")]
    np.testing.assert_allclose(means, [row["mean"] for row in rows_of(run)], rtol=1e-6)
    assert "coeffs" in events.Tags()["histograms"]


@pytest.mark.parametrize("aggregate, choose", [("mean", np.mean), ("min", np.min)])
def test_fitness_over_episodes_is_their_mean_or_their_worst(aggregate, choose, tmp_path):
    line = [*SHORT, "--popsize", 2, "--generations", 1, "--episodes", 3, "--aggregate", aggregate]
    assert command("train_hebb.py", *line, "--folder", tmp_path).returncode == 0
    from evolution_strategy_hebb import EvolutionStrategyHebb

    agent = cart()
    theta = agent.first_theta(3, "normal")
    expected = [
        choose([agent.rollout(i.candidate(theta), i.lifetime_seed(k)).fitness for k in range(3)])
        for i in EvolutionStrategyHebb(theta, 3, 2).ask()
    ]
    (row,) = rows_of(run_folder(tmp_path))
    assert (row["best"], row["worst"]) == (max(expected), min(expected))


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        ["--environment", "ALE/Breakout-v5", "--grayscale", "--frame_stack", 4, "--max_steps", 300],
        ["--environment", "Hopper-v5", "--normalize_observations"],
    ],
    ids=["Atari", "MuJoCo"],
)
def test_atari_and_mujoco_train_for_a_few_generations(line, tmp_path):
    line = [*line, "--popsize", 8, "--generations", 3, "--seed", 1, "--folder", tmp_path]
    result = command("train_hebb.py", *line, timeout=1200)
    assert result.returncode == 0, result.stderr
    assert len(rows_of(run_folder(tmp_path))) == 3
