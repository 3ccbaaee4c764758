"""Where evolution searches: steps relative to σ, a σ for each column, rules tied by a mirror."""

import numpy as np
import pytest
from conftest import SHORT, coefficients, command, outcome, run_folder

import seeds
from commands import mirroring
from commands.agents import first_theta, load_theta
from commands.training_options import Training
from evolution_strategy_hebb import EvolutionStrategyHebb
from fitness_functions import Agent, describe
from hebbian_weights_update import Synapses
from optimizers import OPTIMIZERS
from rules.merging import merge
from rules.mirror import QUADRUPED
from run_folder.checkpoints import load_agent, load_dat

ANT = "AntBulletEnv-v0"


@pytest.fixture(scope="module")
def quadruped():
    pytest.importorskip("pybullet")
    return describe(ANT)


def cart(**options) -> Agent:
    return Agent("ABCD_lr", describe("CartPole-v1"), **options)


@pytest.mark.parametrize("sigma, popsize", [(0.1, 400), (0.5, 900)])
def test_a_step_ratio_is_the_length_of_a_step_over_the_radius_at_any_sigma(sigma, popsize):
    theta = np.zeros(5_000, np.float32)
    es = EvolutionStrategyHebb(theta, seed=1, sigma=sigma, popsize=popsize, step_ratio=0.2)
    rng = np.random.default_rng(0)
    for _ in range(3):
        moved = es.tell(rng.standard_normal(popsize), np.zeros(popsize))
        assert moved["step_over_radius"] == pytest.approx(0.2, rel=0.15)
    assert es.lr == pytest.approx(0.2 * es.sigma**2 * popsize**0.5)


def test_clipup_counts_directions_and_no_step_is_longer_than_two_units():
    optimizer, gradient = OPTIMIZERS["clipup"](4), np.array([3.0, 0, 4.0, 0], np.float32)
    first = optimizer.step(gradient, 0.1, 1)
    np.testing.assert_allclose(first, [0.12, 0, 0.16, 0], rtol=1e-6)  # 0.1 · √4 · (0.6, 0.8)
    second = optimizer.step(1000 * gradient, 0.1, 2)
    np.testing.assert_allclose(second, 1.9 * first, rtol=1e-6)  # 0.9 of the velocity and one unit
    for t in range(3, 40):
        last = optimizer.step(gradient, 0.1, t)
    np.testing.assert_allclose(np.linalg.norm(last), 0.4, rtol=1e-6)
    stopped = OPTIMIZERS["clipup"](4).step(np.zeros(4, np.float32), 0.1, 1)
    assert not stopped.any()


def test_a_factor_disturbs_its_column_alone_and_the_first_coefficients_stay():
    plain, scaled = cart(), cart(sigma_factors=["η=0.25"])
    theta = scaled.first_theta(3, "normal")
    before = scaled.blocks(theta)["coeffs"]
    np.testing.assert_allclose(before, plain.blocks(plain.first_theta(3, "normal"))["coeffs"])
    moved = scaled.blocks(theta + np.float32(1))["coeffs"] - before
    np.testing.assert_allclose(moved.mean(axis=0), [1, 1, 1, 0.25, 1], rtol=1e-4)
    assert scaled.mean_square(theta) == pytest.approx(plain.mean_square(before.ravel()), rel=1e-5)
    np.testing.assert_allclose(scaled.join(before), theta, rtol=1e-5)


def test_mirrored_synapses_share_half_of_the_rules(quadruped):
    free, tied = Agent("ABCD_lr", quadruped), Agent("ABCD_lr", quadruped, mirror=True)
    assert tied.n == free.n // 2
    theta = tied.first_theta(1, "normal")
    coefficients = tied.blocks(theta)["coeffs"]
    assert coefficients.shape == (12_288, 5)
    assert len(np.unique(np.abs(coefficients), axis=0)) == 12_288 // 2
    np.testing.assert_array_equal(tied.join(coefficients), theta)  # what `--start_from` reads
    assert free.rollout(free.join(coefficients), 3) == tied.rollout(theta, 3)
    with pytest.raises(ValueError, match="not those of a mirrored network"):
        tied.join(free.first_theta(1, "normal"))


def test_mirrored_static_weights_are_filed_whole(quadruped):
    free, tied = Agent("static", quadruped), Agent("static", quadruped, mirror=True)
    assert tied.n == free.n // 2 == 6_144
    theta = tied.first_theta(1, "normal")
    (weights,) = tied.blocks(theta).values()
    assert weights.shape == (12_288,)
    assert 0.05 < weights.std() < 0.2  # as `default` draws them
    np.testing.assert_array_equal(tied.join(weights), theta)
    assert free.rollout(free.join(weights), 3) == tied.rollout(theta, 3)
    with pytest.raises(ValueError, match="not those of a mirrored network"):
        tied.join(free.first_theta(1, "normal"))


@pytest.mark.parametrize("rule", ["A", "ABCD", "ABCD_lr", "ABCD_lr_D_in_and_out", "static"])
def test_a_tied_network_does_in_the_mirror_what_it_does(quadruped, rule):
    """Step after step of its rule, from mirrored weights and on mirrored observations. Static
    weights are their own mirror image."""
    ours, other = (Agent(rule, quadruped, mirror=True) for _ in range(2))
    theta = ours.first_theta(2, "normal") * (1 if ours.static else 0.1)
    for agent in (ours, other):
        agent.synapses = Synapses(agent.rule, agent.policy.weights, agent.policy.shapes, "max")
        agent.synapses.load(ours.split(theta)[0])
        agent.reset_weights(theta, seed=5)
    neurons = [
        (np.array(QUADRUPED.inputs), np.array(QUADRUPED.input_signs)),
        *((np.arange(n) ^ 1, np.ones(n, int)) for n in ours.policy.sizes[1:-1]),
        (np.array(QUADRUPED.outputs), np.array(QUADRUPED.output_signs)),
    ]
    pairs = zip(neurons[:-1], neurons[1:], strict=True)
    for mine, its, (pre, post) in zip(
        ours.policy.layers(), other.policy.layers(), pairs, strict=True
    ):
        there, image = np.ix_(post[0], pre[0]), mine * post[1][:, None] * pre[1][None, :]
        assert np.array_equal(its[there], image) == ours.static
        its[there] = image
    (inputs, signs), (outputs, turned) = neurons[0], neurons[-1]
    rng = np.random.default_rng(0)
    for _ in range(20):
        observation = rng.standard_normal(28).astype(np.float32)
        mirrored = np.empty_like(observation)
        mirrored[inputs] = observation * signs
        for agent, seen in ((ours, observation), (other, mirrored)):
            assert agent.policy.forward(seen)
            np.tanh(agent.policy.output, out=agent.policy.output)
            agent.synapses.update(agent.policy.activations)
        expected = np.empty_like(ours.policy.output)
        expected[outputs] = ours.policy.output * turned
        np.testing.assert_allclose(other.policy.output, expected, atol=1e-4)
    assert np.abs(ours.policy.output).max() > 0.01


@pytest.mark.parametrize("rule", ["ABCD_lr", "static"])
def test_half_of_the_hidden_neurons_do_the_same_beside_their_mirror_image(quadruped, rule):
    free, tied = Agent(rule, quadruped), Agent(rule, quadruped, mirror=True)
    coefficients, _, weights = free.split(free.first_theta(4, "normal"))
    evolved = 2 * weights[:, None] if free.static else 0.1 * coefficients
    rng = np.random.default_rng(1)
    kept = [np.sort(rng.permutation(n)[: n // 2]) for n in (128, 64)]
    theta = tied.beside_its_mirror_image(evolved, kept)
    (filed,) = tied.blocks(theta).values()
    np.testing.assert_array_equal(tied.join(filed), theta)
    assert np.count_nonzero(filed) == evolved.shape[1] * 2 * (28 * 64 + 64 * 32 + 32 * 8)
    for agent, own in ((free, evolved), (tied, filed)):
        agent.synapses.load(agent.split(agent.join(own))[0])
        if agent.static:
            agent.reset_weights(agent.join(own), 0)
    gone = [np.setdiff1d(np.arange(n), half) for n, half in zip((128, 64), kept, strict=True)]
    for _ in range(10):
        observation = rng.standard_normal(28).astype(np.float32)
        for agent in (free, tied):
            agent.policy.forward(observation)
            agent.synapses.update(agent.policy.activations)
        for layer, neurons in enumerate(gone):  # in the whole network, what is left out is silent
            free.policy.layers()[layer][neurons] = 0
            free.policy.layers()[layer + 1][:, neurons] = 0
            free.policy.activation_layers()[layer + 1][neurons] = 0
    for layer, half in enumerate(kept):
        ours, whole = tied.policy.layers()[layer][::2], free.policy.layers()[layer][half]
        if layer:
            ours, whole = ours[:, ::2], whole[:, kept[layer - 1]]
        np.testing.assert_allclose(ours, whole, rtol=1e-5, atol=1e-6)
        assert np.abs(ours).max() > 0.1


@pytest.mark.parametrize(("rule", "size"), [("ABCD_lr", 61_440), ("static", 12_288)])
def test_a_mirrored_run_begins_with_the_best_half_that_was_found(
    tmp_path, monkeypatch, quadruped, rule, size
):
    line = ["--hebb_rule", rule, "--environment", ANT, "--popsize", 2, "--max_steps", 60]
    line += ["--generations", 1, "--folder", tmp_path / "free", "--seed", 1]
    assert command("train_hebb.py", *line).returncode == 0
    source = run_folder(tmp_path / "free")
    monkeypatch.setattr(mirroring, "DRAWS", 2)
    monkeypatch.setattr(mirroring, "FEW", 1)
    monkeypatch.setattr(mirroring, "MANY", 2)
    given = {"hebb_rule": rule, "mirror": True, "max_steps": 60, "seed": 3}
    config = Training(environment=[ANT], start_from=str(source), **given)
    agent, found = Agent(interface=quadruped, **given), []
    for exchanges in (0, 6, 6):
        monkeypatch.setattr(mirroring, "EXCHANGES", exchanges)
        found.append(first_theta(config, [agent]))
    np.testing.assert_array_equal(found[1], found[2])
    lives = seeds.stream(3, seeds.MIRROR).integers(2**31, size=2).tolist()
    fitness = [sum(agent.rollout(theta, seed).fitness for seed in lives) for theta in found]
    assert fitness[1] >= fitness[0]
    (filed,) = agent.blocks(found[0]).values()
    source = load_dat(*load_agent(source).values(), size, "what evolves")
    assert set(np.abs(filed).ravel().tolist()) <= {*np.abs(source).ravel().tolist(), 0.0}


def resumed_like_straight(tmp_path, line):
    """The folder of a run of four generations that was stopped after two and resumed, once it is
    found to end in the same bytes as one that was not."""
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert command("train_hebb.py", *line, "--generations", 4, "--folder", straight).returncode == 0
    assert command("train_hebb.py", *line, "--generations", 2, "--folder", stopped).returncode == 0
    stopped = run_folder(stopped)
    result = command("train_hebb.py", "--resume", stopped, "--generations", 4)
    assert result.returncode == 0, result.stderr
    assert outcome(run_folder(straight))["rows"] == outcome(stopped)["rows"]
    assert set(coefficients(stopped).values()) == set(coefficients(run_folder(straight)).values())
    return stopped


def test_a_run_with_a_ratio_and_factors_is_resumed_to_the_same_bytes_and_replayed(tmp_path):
    line = [*SHORT, "--step_ratio", 0.2, "--sigma_factors", "η=0.3", "D=2", "--optimizer", "clipup"]
    stopped = resumed_like_straight(tmp_path, line)
    replayed = command("evaluate_hebb.py", "--run", stopped, "--episodes", 2)
    assert replayed.returncode == 0, replayed.stderr


@pytest.mark.parametrize(
    "options, words",
    [
        (["--sigma_factors", "E=2"], ("E=2", "A, B, C, η, D")),
        (["--sigma_factors", "η=0"], ("η=0", "above 0")),
        (["--sigma_factors", "η"], ("above 0",)),
        (["--step_ratio", "0"], ("--step_ratio", "above 0")),
        (["--mirror"], ("CartPole-v1", "left and right")),
    ],
)
def test_a_search_that_cannot_be_is_refused_in_one_line(tmp_path, refused, options, words):
    refused(command("train_hebb.py", *SHORT, *options, "--folder", tmp_path), *words)


def test_a_static_run_is_where_a_rule_begins_as_a_drift_towards_its_weights(tmp_path):
    line = ["--hebb_rule", "static", "--generations", 1, "--folder", tmp_path / "static"]
    assert command("train_hebb.py", *SHORT, *line).returncode == 0
    static = run_folder(tmp_path / "static")
    config = Training(start_from=str(static), environment=["CartPole-v1"])
    agent = cart(sigma_factors=["η=0.5"])
    coefficients = agent.blocks(first_theta(config, [agent]))["coeffs"]
    weights = Agent("static", describe("CartPole-v1"))
    weights.reset_weights(load_theta([weights], load_agent(static)), 0)
    np.testing.assert_array_equal(coefficients[:, 4], weights.policy.weights)
    np.testing.assert_array_equal(coefficients[:, :4], [[0, 0, 0, 1]] * 8832)
    line = ["--start_from", static, "--generations", 1, "--folder", tmp_path / "plastic"]
    assert command("train_hebb.py", *SHORT, *line).returncode == 0


@pytest.mark.parametrize(
    "source, rule, words",
    [
        ("plastic", "AD", ("its rule is ABCD_lr", "AD", "--hebb_rule ABCD_lr")),
        ("plastic", "static", ("its rule is ABCD_lr", "static")),
        ("static", "ABC", ("static run takes a rule with D", "ABC")),
    ],
)
def test_a_run_of_another_rule_is_no_start(tmp_path, refused, short_run, source, rule, words):
    run = short_run
    if source == "static":
        line = ["--hebb_rule", "static", "--generations", 1, "--folder", tmp_path / "static"]
        assert command("train_hebb.py", *SHORT, *line).returncode == 0
        run = run_folder(tmp_path / "static")
    line = ["--start_from", run, "--hebb_rule", rule, "--folder", tmp_path / "runs"]
    refused(command("train_hebb.py", *SHORT, *line), *words)


def test_rules_that_are_alike_are_merged_into_their_mean():
    rng = np.random.default_rng(0)
    centres = rng.uniform(-1, 1, (20, 5))
    kinds = rng.permutation(np.arange(20).repeat(50))
    rules = (centres[kinds] + 0.001 * rng.standard_normal((1000, 5))).astype(np.float32)
    for seed in range(20):
        assignment, merged = merge(rules, 30, np.random.default_rng(seed))
        assert merged.shape == (30, 5) and merged.dtype == np.float32
        distances = np.linalg.norm(rules[:, None] - merged, axis=2)
        np.testing.assert_array_equal(distances.argmin(axis=1), assignment)
        for r in np.unique(assignment):
            mean = rules[assignment == r].mean(axis=0)
            np.testing.assert_allclose(merged[r], mean, atol=1e-6)
        again = merge(rules, 30, np.random.default_rng(seed))
        assert np.array_equal(again[0], assignment) and np.array_equal(again[1], merged)
    apart, merged = merge(rules, 1000, rng)
    np.testing.assert_array_equal(merged[apart], rules)  # as many as there are: nothing is merged


def test_a_run_goes_on_with_merged_rules_and_ends_in_the_same_bytes_when_it_is_resumed(
    tmp_path, short_run
):
    line = [*SHORT, "--start_from", short_run, "--shared_rules", 300, "--sigma_factors", "η=0.3"]
    stopped = resumed_like_straight(tmp_path, line)
    filed = load_dat(load_agent(stopped, "last")["coeffs"], 8832 * 5, "what evolves")
    rules, kinds = np.unique(filed.reshape(-1, 5), axis=0, return_inverse=True)
    assert 250 < len(rules) <= 300
    config = Training(start_from=str(stopped), which="last", shared_rules=50, seed=1)
    agents = [cart(shared_rules=50, seed=1) for _ in range(2)]
    theta = first_theta(config, agents)  # merged once more
    assert theta.size == 250 and np.array_equal(agents[0].assignment, agents[1].assignment)
    pairs = {*zip(kinds.ravel().tolist(), agents[0].assignment.tolist(), strict=True)}
    assert len(pairs) == len(rules)  # what has shared a rule goes on to


def test_rules_are_mirrored_or_shared(quadruped):
    with pytest.raises(ValueError, match="--mirror and --shared_rules do not go together"):
        Agent("ABCD_lr", quadruped, mirror=True, shared_rules=5)
