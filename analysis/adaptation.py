"""What survives what: the same episodes in an unchanged and in a changed world, side by side.

plastic: the run's network. frozen: the same, its plasticity ended at the moment of the change.
static (or against): the best of the run of --against. All have the same seeds.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from analysis.comparison import BIN, compare, table, verdict
from analysis.evaluation import agents_of, ends_of, tell_seeds
from analysis.experiments import Freeze, together
from commands.agents import agents_of_run
from commands.replay_options import Evaluation
from commands.screen import Bar
from environments.conditions import chosen
from fitness_functions import Agent
from machine.provenance import worker_count
from run_folder.checkpoints import RunFolder
from run_folder.safe_files import write_file
from workers import local, rollouts

EPISODES = 20
NOTHING = -1  # the change of an unchanged lifetime


class Kind(NamedTuple):
    """A network that is compared."""

    agent: Agent
    theta: np.ndarray
    freezes: bool = False


class Knockout(NamedTuple):
    """A column of coefficients set to zero or to its mean, in one layer (from 1) or in all (0)."""

    column: str
    layer: int
    to: str = "zero"
    strength = None

    def __str__(self) -> str:
        return f"{self.column}, {f'layer {self.layer}' if self.layer else 'all layers'}"

    def change(self, agent: Agent, theta: np.ndarray) -> np.ndarray:
        """θ without what is knocked out. Coefficients of neurons are in the layer that they end."""
        theta, sizes, rule = theta.copy(), agent.policy.sizes, agent.rule
        of_synapses, of_neurons, _ = np.split(theta, [agent.n_of_synapses, agent.n_coefficients])
        if self.column in rule.columns:
            block, columns, counts = of_synapses, rule.columns, agent.policy.shapes.prod(axis=1)
        else:
            block, columns, counts = of_neurons, rule.neuron_columns, sizes
        column = block.reshape(-1, len(columns))[:, columns.index(self.column)]
        layers = np.split(column, np.cumsum(counts)[:-1])  # views
        for layer in [layers[self.layer - len(sizes)]] if self.layer else layers:
            layer[...] = layer.mean() if self.to == "mean" else 0
        return theta


class Case(NamedTuple):
    """One lifetime to evaluate: network, number of the change, step of the change, and seed."""

    kind: str
    change: int
    at: int
    seed: int


class CaseResult(NamedTuple):
    rewards: np.ndarray  # (steps,)
    steps: int
    failure: str | None
    seconds: float


def run_case(kinds: dict[str, Kind], changes: Sequence, _, case: Case) -> CaseResult:
    """Evaluate it; a pure function of its arguments."""
    begun = time.perf_counter()
    agent, theta = kinds[case.kind].agent, kinds[case.kind].theta
    agent.around, change = lambda env, seed: env, None
    if case.change != NOTHING:
        change = changes[case.change]
    if isinstance(change, Knockout):
        theta = change.change(agent, theta)
    elif change:
        after = case.at + agent.interface.task.burn_in if case.at else 0
        agent.around = change.around(after)
    rewards: list[float] = []
    calls: list[Callable] = [lambda t, activations, weights, reward: rewards.append(reward)]
    if kinds[case.kind].freezes:
        calls.append(Freeze(case.at, agent.synapses))
    _, steps, failure = rollouts.rollout(agent, theta, case.seed, together(*calls))
    return CaseResult(np.array(rewards), steps, failure, time.perf_counter() - begun)


def kinds_of(config: Evaluation) -> dict[str, Kind]:
    """Who is compared, in one environment, by name."""
    agents, theta = agents_of(config)
    if len(agents) > 1 and config.environment:
        raise ValueError("--conditions and --knockout take one --environment")
    agent = agents[0]
    kinds = {"static" if agent.static else "plastic": Kind(agent, theta)}
    if config.conditions and not agent.static:
        kinds["frozen"] = Kind(agent, theta, freezes=True)
    if config.against:
        where, ends = [agent.interface.environment], ends_of(config)
        (other,), other_theta = agents_of_run(config.against, "best", where, **ends)
        name = "static" if other.static and not agent.static else "against"
        kinds[name] = Kind(other, other_theta)
    return kinds


def knockouts(config: Evaluation, agent: Agent) -> list[Knockout]:
    """Every column that was named, in all layers and in each; ValueError for another."""
    known = agent.rule.columns + agent.rule.neuron_columns
    names = list(known) if config.knockout == ["all"] else config.knockout
    for name in names:
        if name not in known:
            columns = ", ".join(known) or "none"
            raise ValueError(f"--knockout {name}: the columns of {agent.rule} are {columns}")
    layers = range(len(agent.policy.sizes))
    return [Knockout(name, layer, config.knockout_to) for name in names for layer in layers]


def check_options(config: Evaluation) -> None:
    """ValueError for options that do not go together with a comparison."""
    taken = "conditions" if config.conditions else "knockout"
    if not config.run:
        raise ValueError(f"--{taken} needs the --run of an agent")
    for name in ("render", "lesion", "freeze", "video", "knockout"):
        if getattr(config, name) and name != taken:
            raise ValueError(f"--{taken} and --{name} do not go together")


def plan(kinds: dict[str, Kind], n_changes: int, ats: Sequence[int], seeds: range) -> list[Case]:
    """Every lifetime: the unchanged ones first, and none of a network without any plasticity."""
    cases = []
    for change in range(NOTHING, n_changes):
        for name, kind in kinds.items():
            steps = [at for at in ats if at] if kind.freezes else ats
            if change == NOTHING and not kind.freezes:
                steps = [0]
            cases += [Case(name, change, at, seed) for at in steps for seed in seeds]
    return cases


def evaluate(config: Evaluation) -> int:
    """Evaluate, compare, print, file; the exit status, 1 when every lifetime failed."""
    check_options(config)
    kinds = kinds_of(config)
    agent, theta, _ = next(iter(kinds.values()))
    if config.conditions:
        changes, ats = chosen(config.conditions, agent.interface), sorted({*config.at})
    else:
        changes, ats = knockouts(config, agent), [0]
    seeds = range(config.seed, config.seed + (config.episodes or EPISODES))
    began = time.perf_counter()
    cases = plan(kinds, len(changes), ats, seeds)
    job = partial(run_case, kinds, changes)
    pool = local.LocalWorkers(min(worker_count(config.threads), len(cases)), theta.size, job)
    with Bar(len(cases), "lifetimes") as bar:
        try:
            results = pool.map(rollouts.Broadcast(theta), cases, bar.arrived)
        finally:
            pool.close()
    report(config, kinds, changes, ats, dict(zip(cases, results, strict=True)), seeds)
    for case, result in zip(cases, results, strict=True):
        if result.failure:
            print(f"for one, {case.kind} with seed {case.seed} failed: {result.failure}")
            break
    tell_seeds(config.seed, len(seeds), time.perf_counter() - began)
    return int(all(result.failure for result in results))


def report(config: Evaluation, kinds, changes, ats, results: dict, seeds: range) -> None:
    """A table per step of the change, and all of it with --json."""
    environment, sections = next(iter(kinds.values())).agent.interface.environment, []
    first = next(iter(kinds))
    for at in ats:

        def find(name: str, change: int, at=at) -> list:
            step = at if change != NOTHING or kinds[name].freezes else 0
            return [results[Case(name, change, step, seed)] for seed in seeds]

        measures = {
            name: first if kind.freezes else name
            for name, kind in kinds.items()
            if at or not kind.freezes
        }
        rows = compare(find, measures, list(map(str, changes)), at, config.window)
        when = f"changed after {at} steps" if at else "changed from the start"
        print(f"{environment}, {when}: % of the unchanged score, {len(seeds)} episodes")
        if rows[0]["kinds"][first]["share"] is None:
            print(f"no shares: unchanged, {first} earns nothing after {at} steps")
        print(*table(rows), *(verdict(rows, name) for name in [*measures][1:]), "", sep="\n")
        sections.append({"at": at, "rows": rows})
    if config.json:
        kept = RunFolder.open(config.run).files_of(config.which).values()
        files = [path.name for blocks in kept for path in blocks.values()]
        record = {"environment": environment, "files": files}
        record |= {"seeds": [*seeds], "bin": BIN, "sections": sections}
        write_file(config.json, json.dumps(record).encode())
