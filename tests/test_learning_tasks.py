"""The tasks that need learning: what they pay for, and why no fixed network can earn it."""

import re

import numpy as np
import pytest
from conftest import command

from analysis.switch_figure import AROUND, choices
from environments import make
from environments.learning_tasks import SWITCH, TRIALS
from fitness_functions import Agent, describe

TASKS = ("TMaze-v0", "Reversal-v0")


def episode(name, seed, choose):
    """Observations, actions and rewards of a lifetime; choose(environment, observation)."""
    env = make(name)
    observation, _ = env.reset(seed=seed)
    seen, actions, rewards, over = [], [], [], False
    while not over:
        seen.append(observation)
        actions.append(choose(env.unwrapped, observation))
        observation, reward, over, _, _ = env.step(actions[-1])
        rewards.append(reward)
    return env.unwrapped, seen, actions, rewards


def knowing(env, observation):
    return env.side ^ env.pictures[env.trial] ^ (env.trial >= env.switch)


@pytest.mark.parametrize("name", TASKS)
def test_who_knows_what_is_right_earns_every_trial(name):
    for seed in range(10):
        _, seen, _, rewards = episode(name, seed, knowing)
        assert sum(rewards) == TRIALS and set(rewards) == {0, 1}
        assert len(seen) == TRIALS * {"TMaze-v0": 4, "Reversal-v0": 3}[name]
        assert sorted(set(seen)) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", TASKS)
def test_a_fixed_answer_to_each_observation_earns_nothing_on_average(name):
    for code in range(16):
        answers = [code >> k & 1 for k in range(4)]
        earned = [sum(episode(name, seed, lambda _, o: answers[o])[3]) for seed in range(60)]  # noqa: B023
        assert abs(np.mean(earned)) < 6


@pytest.mark.parametrize("name", TASKS)
def test_the_last_reward_is_gone_at_the_next_choice(name):
    env, _, _, rewards = episode(name, 3, knowing)
    choices = np.arange(env.choice, len(rewards), env.n_places)
    assert not np.array(rewards)[choices[choices > 0] - 1].any()


@pytest.mark.parametrize("name", TASKS)
def test_what_is_right_changes_once_and_differs_between_lifetimes(name):
    sides, switches = set(), set()
    for seed in range(40):
        env, _, _, rewards = episode(name, seed, lambda env, _: env.side ^ env.pictures[env.trial])
        paid = [reward for reward in rewards if reward]
        assert paid == [1] * env.switch + [-1] * (TRIALS - env.switch)
        sides.add(env.side)
        switches.add(env.switch)
        assert episode(name, seed, knowing)[1] == episode(name, seed, knowing)[1]
    assert sides == {0, 1} and switches == set(range(*SWITCH))


def test_the_figure_of_the_switch_counts_right_choices(tmp_path, refused, short_run):
    line = ["--environment", "TMaze-v0", "--inputs", "reward", "action", "--hidden", 8]
    line += ["--popsize", 4, "--generations", 1, "--folder", tmp_path / "runs", "--seed"]
    for seed, rule in ((1, "trace"), (2, "static")):
        assert command("train_hebb.py", *line, seed, "--hebb_rule", rule).returncode == 0
    runs = sorted((tmp_path / "runs").iterdir())
    out = tmp_path / "switch.svg"
    drawn = command("plot_hebb.py", "switch", *runs, "--episodes", 4, "--out", out)
    assert drawn.returncode == 0, drawn.stderr
    first, *rows, last = drawn.stdout.splitlines()
    assert "right choices" in first and last == str(out) and out.stat().st_size > 5000
    for row, rule in zip(rows, ("trace", "static"), strict=True):
        found = re.search(rf"{rule} \(1 runs\): +([\d.]+) +([\d.]+) +([\d.]+)  fitness", row)
        assert all(0 <= float(share) <= 100 for share in found.groups())
    refused(command("plot_hebb.py", "switch", short_run), "CartPole-v1 does not change")


def test_right_choices_are_counted_around_the_switch():
    """A fixed network that always turns to one side is right on one side of the switch only."""
    agent = Agent("static", describe("TMaze-v0"), hidden=(4,))
    shares, fitness = choices(agent, agent.first_theta(1, "normal"), range(1, 2))
    assert sorted((shares[:AROUND].mean(), shares[AROUND:].mean())) == [0, 1]
    assert abs(fitness) <= TRIALS - 2 * SWITCH[0]
