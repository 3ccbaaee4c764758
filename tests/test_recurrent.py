"""Networks that see what was before: recurrent layers, the last reward and action."""

import numpy as np
import pytest
from conftest import SHORT, coefficients, command, run_folder

from fitness_functions import Agent, describe
from hebbian_weights_update import Synapses, rule_of
from policies import MLP_heb


def test_a_hidden_layer_sees_itself_one_step_before():
    policy, rng = MLP_heb(3, 2, (5, 4), recurrent=True), np.random.default_rng(0)
    policy.start("uni_big", rng)
    first, second, last = policy.layers()
    assert [layer.shape for layer in policy.layers()] == [(5, 8), (4, 9), (2, 4)]
    h1, h2 = np.zeros(5), np.zeros(4)
    for _ in range(3):
        x = rng.standard_normal(3)
        assert policy.forward(x)
        h1 = np.tanh(first @ np.concatenate([x, h1]))
        h2 = np.tanh(second @ np.concatenate([h1, h2]))
        for ours, wanted in zip(policy.activation_layers(), (x, h1, h2, last @ h2), strict=True):
            np.testing.assert_allclose(ours, wanted, atol=1e-6)
    policy.start("uni_big", rng)
    assert not policy.activations.any()  # a new lifetime remembers nothing


def test_recurrent_synapses_learn_from_the_step_before():
    policy, rng = MLP_heb(3, 2, (5,), recurrent=True), np.random.default_rng(0)
    policy.start("uni_big", rng)
    policy.forward(rng.standard_normal(3))
    before = policy.activation_layers()[1].copy()
    policy.forward(rng.standard_normal(3))
    x, h, y = policy.activation_layers()
    synapses = Synapses(rule_of("w = pre + 10 * post"), policy.weights, policy.shapes)
    synapses.update(policy.activations)
    first, last = policy.layers()
    np.testing.assert_allclose(first, np.concatenate([x, before]) + 10 * h[:, None], rtol=1e-6)
    np.testing.assert_allclose(last, h + 10 * y[:, None], rtol=1e-6)


def test_a_neuron_has_one_coefficient_wherever_its_activation_stands():
    interface = describe("CartPole-v1")
    plain = Agent("neuron_centric", interface, hidden=(5, 4))
    agent = Agent("neuron_centric", interface, hidden=(5, 4), recurrent=True)
    assert agent.n == plain.n == 5 * (4 + 5 + 4 + 2)
    theta = agent.first_theta(1, "normal")
    assert agent.blocks(theta)["coeffs"].shape == (15, 5)
    agent.rollout(theta, 1)
    for row in agent.synapses.neuron_coefficients:
        # input, layer 1 before, layer 1, layer 2 before, layer 2, output
        np.testing.assert_array_equal(row[4:9], row[9:14])
        np.testing.assert_array_equal(row[14:18], row[18:22])


@pytest.mark.parametrize("environment, width", [("CartPole-v1", 2), ("Pendulum-v1", 1)])
def test_a_network_sees_its_last_reward_and_action(environment, width):
    interface = describe(environment, inputs=("reward", "action"))
    agent = Agent("ABCD", interface, max_steps=5)
    assert agent.policy.sizes[0] == interface.n_inputs + 1 + width
    seen, done = [], []

    def note(t, activations, weights, reward):
        output = activations[-1].copy()
        action = np.eye(2)[np.argmax(output)] if width == 2 else np.clip(output, -2, 2)
        seen.append(activations[0][interface.n_inputs :].copy())
        done.append([reward, *action])

    agent.rollout(agent.first_theta(1, "normal"), 1, note)
    assert not seen[0].any() and len(seen) == 5
    np.testing.assert_allclose(seen[1:], done[:-1], rtol=1e-6)


@pytest.mark.parametrize("rule", ["trace", "static"])
def test_such_a_run_is_resumed_to_the_same_bytes_and_replayed(rule, tmp_path):
    line = [*SHORT, "--hebb_rule", rule, "--recurrent", "--inputs", "action", "reward"]
    line += ["--hidden", 6, "5", "--folder"]
    assert command("train_hebb.py", *line, tmp_path / "whole", "--generations", 2).returncode == 0
    assert command("train_hebb.py", *line, tmp_path / "part", "--generations", 1).returncode == 0
    part = run_folder(tmp_path / "part")
    result = command("train_hebb.py", "--resume", part, "--generations", 2)
    assert result.returncode == 0, result.stderr
    assert coefficients(part) == coefficients(run_folder(tmp_path / "whole"))
    result = command("evaluate_hebb.py", "--run", part, "--episodes", 2)
    assert "over 2 episodes" in result.stdout, result.stderr


def test_inputs_are_named_once(refused, tmp_path):
    line = [*SHORT, "--folder", tmp_path, "--inputs"]
    refused(command("train_hebb.py", *line, "reward", "reward"), "--inputs", "reward")
    refused(command("train_hebb.py", *line, "observation"), "--inputs", "action")
