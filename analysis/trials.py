"""Experiments on lifetimes: the same episodes intact, lesioned, frozen and both, side by side."""

import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from analysis.experiments import Freeze, Lesion, together
from commands.replay_options import Lesions
from fitness_functions import Agent
from workers.rollouts import rollout

RECOVERED = 0.9  # of the intact lifetime's reward
CONDITIONS = ("intact", "lesioned", "frozen", "lesioned and frozen")


class Plan(NamedTuple):
    """An experiment, as --lesion, --freeze and their options describe it."""

    lesion: int | None
    freeze: int | None
    layers: Sequence[int] | None
    fraction: float
    to: str
    window: int = 0

    @property
    def after(self) -> int | None:
        """The step that divides a lifetime; None when nothing is done to it."""
        return self.lesion or self.freeze

    @property
    def conditions(self) -> tuple[str, ...]:
        return CONDITIONS if self.lesion else CONDITIONS[::2]

    @property
    def asked(self) -> str:
        """The condition that the options describe when only one lifetime is shown."""
        return CONDITIONS[bool(self.lesion) + 2 * bool(self.freeze)]

    @property
    def filmed(self) -> tuple[str, ...]:
        """The conditions that a film shows side by side."""
        return ("intact", self.asked) if self.after else ("intact",)

    @property
    def notes(self) -> dict[int, str]:
        """What is done to the lifetime that the options describe: step -> words."""
        done = {self.freeze: "frozen", self.lesion: "lesioned"}
        if self.lesion == self.freeze:
            done = {self.lesion: "lesioned, frozen"}
        return {step: words for step, words in done.items() if step}

    def __str__(self) -> str:
        """What is done, in words."""
        words = []
        if self.lesion:
            layers = "all layers"
            if self.layers:
                layers = "layer " + ", ".join(map(str, self.layers))
            words.append(
                f"{100 * self.fraction:g} % of {layers} to {self.to} after {self.lesion} steps"
            )
        words.append(f"frozen after {self.freeze or self.lesion}")
        return "; ".join(words)

    def on_step(self, condition: str, agent: Agent, seed: int) -> list[Callable]:
        """What is to be done to a lifetime under a condition, in this order."""
        done: list[Callable] = []
        if "lesioned" in condition:
            init = agent.init_weights
            done.append(Lesion(self.lesion, seed, self.fraction, self.to, self.layers, init))
        if "frozen" in condition:
            done.append(Freeze(self.freeze or self.lesion or 0, agent.synapses))
        return done


def plan(config: Lesions, agent: Agent) -> Plan:
    """The experiment of the options; ValueError for what this agent's network does not have."""
    names = ("lesion_layers", "lesion_fraction", "lesion_to")
    result = Plan(config.lesion, config.freeze, *(getattr(config, name) for name in names))
    n_layers = len(agent.policy.sizes) - 1
    for number in result.layers or ():
        if number > n_layers:
            raise ValueError(f"--lesion_layers {number}: the network has layers 1 to {n_layers}")
    if result.to == "random" and (agent.static or agent.init_weights == "coevolve"):
        raise ValueError("--lesion_to random: these initial weights are evolved, not drawn")
    return result._replace(window=getattr(config, "window", 0))


class Part(NamedTuple):
    """One lifetime of an experiment."""

    fitness: float
    steps: int
    before: float  # mean reward per step
    after: float  # the same, with 0 for the steps that only the intact lifetime reaches; nan: none
    recovery: float  # steps; nan when it did not recover


class Trial(NamedTuple):
    """One episode under every condition: scalars only."""

    steps: int
    failure: str | None
    seconds: float
    parts: tuple[Part, ...] = ()


def rollouts(plan: Plan, agent: Agent, theta: np.ndarray, seed: int) -> Iterator[tuple]:
    """The same episode under every condition of a plan, one after the other: condition, outcome
    and the rewards of its steps."""
    for condition in plan.conditions:
        rewards: list[float] = []
        note = functools.partial(_note, rewards)
        on_step = together(*plan.on_step(condition, agent, seed), note)
        yield condition, rollout(agent, theta, seed, on_step), np.array(rewards)


def run_trial(plan: Plan, agent: Agent, theta: np.ndarray, seed: int) -> Trial:
    """One episode of an experiment; a failed lifetime fails it."""
    begun = time.perf_counter()
    parts, window = [], plan.window
    for condition, (fitness, steps, failure), rewards in rollouts(plan, agent, theta, seed):
        if failure:
            return Trial(steps, f"{condition}: {failure}", time.perf_counter() - begun)
        before, after = np.split(rewards, [plan.after])
        if condition == "intact":
            n, window = after.size, min(window, after.size)
            level = after.mean() if n else math.nan
        mean = after.sum() / max(n, after.size) if n else math.nan
        recovery = time_to_recover(after, level, window)
        parts.append(Part(fitness, steps, before.mean(), mean, recovery))
    steps = sum(part.steps for part in parts)
    return Trial(steps, None, time.perf_counter() - begun, tuple(parts))


def _note(rewards: list, t, activations, weights, reward) -> None:
    rewards.append(reward)


def time_to_recover(rewards: np.ndarray, level: float, window: int) -> float:
    """Steps until the first `window` steps, all within the lifetime, whose mean reward is at least
    90 % of `level`, the mean of the intact lifetime after the same step. nan: never.

    rewards: (n,), from the damage on. For a negative level: 10 % below it.
    """
    if not window or rewards.size < window:
        return math.nan
    sums = np.concatenate([[0.0], np.cumsum(rewards)])
    means = (sums[window:] - sums[:-window]) / window
    # 1e-9: sums of equal rewards must not differ by their rounding
    recovered = means >= level - (1 - RECOVERED) * abs(level) - 1e-9
    return float(np.argmax(recovered)) if recovered.any() else math.nan


def compare(trials: Sequence[Trial], conditions: Sequence[str]) -> list[dict]:
    """A row per condition over the episodes that did not fail and in which the intact network
    lasted beyond the damage. ValueError when there is none."""
    whole = [trial.parts for trial in trials if not trial.failure]
    used = [parts for parts in whole if not math.isnan(parts[0].after)]
    if not used:
        longest = max((parts[0].steps for parts in whole), default=0)
        raise ValueError(
            f"no intact lifetime of {len(trials)} lasts beyond the step of the damage: the longest"
            f" has {longest} steps, and {len(trials) - len(whole)} failed"
        )
    rows = []
    for condition, parts in zip(conditions, zip(*used, strict=True), strict=True):
        fitness, steps, before, after, recovery = np.array(parts).T
        back = recovery[~np.isnan(recovery)]
        rows.append(
            {
                "condition": condition,
                "mean": fitness.mean(),
                "std": fitness.std(),
                "steps": steps.mean(),
                "before": before.mean(),
                "after": after.mean(),
                "recovered": back.size / len(used),
                "recovery": np.median(back) if back.size else None,
                "episodes": len(used),
            }
        )
    return rows


def table(rows: Sequence[dict]) -> list[str]:
    """The rows of `compare` as aligned lines."""
    titles = f"{'fitness':>18}  {'steps':>7}  {'before':>8}  {'after':>8}  {'recovered':>18}"
    lines = [f"{'':19}{titles}"]
    for row in rows:
        fitness = f"{row['mean']:.2f} ± {row['std']:.2f}"
        back = f"{100 * row['recovered']:.0f} %"
        if row["recovery"] is not None:
            back += f" in {row['recovery']:.0f} steps"
        lines.append(
            f"{row['condition']:19}{fitness:>18}  {row['steps']:7.1f}  {row['before']:8.3f}"
            f"  {row['after']:8.3f}  {back:>18}"
        )
    return lines


def as_json(trial: Trial, conditions: Sequence[str]) -> dict:
    """An episode for the file of --json; None for what there is not."""
    parts = zip(conditions, trial.parts, strict=False)
    return {
        condition: {
            name: None if math.isnan(value) else value for name, value in part._asdict().items()
        }
        for condition, part in parts
    }
