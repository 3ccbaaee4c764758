"""From options and files to agents and their θ."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

import seeds
from commands.mirroring import best_half
from commands.options import part
from commands.parsing import recorded
from commands.screen import Screen
from commands.training_options import Training
from environments.conditions import chosen
from fitness_functions import STATISTICS, Agent, examine
from hebbian_weights_update import rule_of
from rules.merging import merge
from run_folder.checkpoints import RunFolder, load_dat
from workers.local import map_apart

# Files hold the rules of all synapses, whatever they were searched with, and are evaluated in what
# one asks for, whatever they were searched in.
AS_FILED = {
    "shared_rules": 0,
    "mirror": False,
    "sigma_factors": None,
    "seed": 0,
    "conditions": None,
    "eval_environment": None,
}


def agents_for(config: Training, names: Sequence[str] = ()) -> list[Agent]:
    """One agent per environment (of the arguments of a run, or of these names), and behind it one
    for each condition in it, then those of --eval_environment, all with the same θ; ValueError
    where they cannot share it.

    The environments are looked at in a process of its own: some start threads or take hold of
    a device, which workers that are forked later must not inherit.
    """
    task, names = part(config, "task"), list(names or config.environment)
    n_seen = len(names)
    for name in config.eval_environment or ():
        if name in names:
            raise ValueError(f"--eval_environment {name}: θ is scored there already")
        names.append(name)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"--environment names {name} twice; --episodes gives more lifetimes in it"
            )
    task["inputs"] = tuple(task["inputs"] or ())
    look = partial(examine, wrappers=tuple(part(config, "wrapper").items()), **task)
    try:
        interfaces = map_apart(look, names)
    except ChildProcessError:
        raise ValueError(f"{' or '.join(names)} ends the process that makes it") from None
    agents = [
        Agent(interface=interface, seed=config.seed, **part(config, "agent"))
        for interface in interfaces
    ]
    for agent in agents:
        agent.warm_up()
    for agent in agents[1:]:
        if agent.interface.sizes != agents[0].interface.sizes:
            raise ValueError(
                f"{names[0]} and {agent.interface.environment} cannot share one set of"
                f" coefficients: their networks have {agents[0].interface.sizes}, and"
                f" {agent.interface.sizes}"
            )
    seen, unseen = agents[:n_seen], agents[n_seen:]
    for agent in unseen:
        agent.unseen = True
    changed = [chosen(config.conditions or (), agent.interface) for agent in seen]
    worlds = [
        each
        for agent, conditions in zip(seen, changed, strict=True)
        for each in (agent, *map(agent.under, conditions))
    ]
    for agent in worlds:
        if [one.world for one in worlds].count(agent.world) > 1:
            raise ValueError(f"--conditions: {agent.world} twice; --episodes gives more lifetimes")
    return worlds + unseen


def check_meaning(config: Training) -> None:
    """ValueError for options that would be without meaning."""
    if config.eval_environment and not config.eval_every:
        raise ValueError("--eval_environment: how often? It needs --eval_every")
    if config.ray_address and config.engine != "ray":
        raise ValueError("--ray_address needs --engine ray")
    for name in ("normalization", "update_every", "shared_rules", "init_weights"):
        value = getattr(config, name)
        if config.hebb_rule == "static" and value != getattr(Training, name):
            raise ValueError(f"--{name} {value}: a static network's weights are evolved, and stay")


def first_theta(config: Training, agents: Sequence[Agent]) -> np.ndarray:
    """(n,): that of the agent it starts from, or drawn; ValueError for another network's.

    From a static run any rule with D begins as a drift towards its weights; from a network that is
    not mirrored that of `--mirror` begins with half of the hidden neurons, see `mirroring`; with
    `--shared_rules` those that are alike are merged, and the agents share them so."""
    agent = agents[0]
    if not config.start_from:
        if config.which != Training.which:
            raise ValueError(f"--which {config.which}: of which run? It needs --start_from")
        return agent.first_theta(config.seed, config.distribution)
    if config.normalize_observations:
        raise ValueError(
            "--start_from and --normalize_observations do not go together: .dat files do not tell"
            " it"
        )
    run = RunFolder.open(config.start_from)
    before, which = recorded(Training, run.arguments), config.which
    rule = rule_of(before.hebb_rule)
    same = {"interface": agent.interface, "hidden": config.hidden, "recurrent": config.recurrent}
    halve = config.mirror and not before.mirror and (agent.static or not agent.n_evolved)
    if rule == agent.rule and halve:
        free = Agent(config.hebb_rule, init_weights=config.init_weights, **same)
        coefficients, _, weights = free.split(theta_of([free], run, which))
        coefficients = weights[:, None] if agent.static else coefficients
        Screen(config.quiet).say("trying which half of the neurons to mirror; takes some minutes")
        seen = [one.interface for one in agents if not one.unseen]
        interfaces = list({one.environment: one for one in seen}.values())
        find = partial(best_half, interfaces, part(config, "agent"), coefficients)
        (theta,) = map_apart(find, [config.seed])
        return theta
    if rule == agent.rule and config.shared_rules:
        free = Agent(**part(config, "agent") | {"shared_rules": 0}, interface=agent.interface)
        of_synapses, others = np.split(theta_of([free], run, which), [free.n_of_synapses])
        of_synapses = of_synapses.reshape(-1, len(rule.columns))  # in units of σ
        rng = seeds.stream(config.seed, seeds.SHARED_RULES)
        assignment, merged = merge(of_synapses, config.shared_rules, rng)
        share(agents, assignment)
        return np.concatenate([merged.ravel(), others])
    if rule == agent.rule:
        return theta_of([agent], run, which)
    if rule.program:
        raise ValueError(
            f"--start_from {config.start_from}: its rule is {rule}, and that of this run is"
            f" {agent.rule}; give --hebb_rule {rule}"
        )
    static = Agent("static", **same)
    return agent.drifting(theta_of([static], run, which))


def share(agents: Sequence[Agent], assignment: np.ndarray) -> None:
    """Let synapses share rules by this assignment (S,), in place of one that is drawn."""
    for agent in agents:
        agent.assignment = assignment


def theta_of(agents: Sequence[Agent], run: RunFolder, which: str) -> np.ndarray:
    """The θ that agents share in a run folder; of generations A-B the mean, which leaves less of
    what chance has added to each of them (Polyak & Juditsky 1992); statistics are the last's."""
    thetas = [load_theta(agents, paths) for paths in run.files_of(which).values()]
    return np.mean(thetas, axis=0, dtype=np.float64).astype(np.float32)


def load_theta(agents: Sequence[Agent], paths: dict[str, Path] | Sequence) -> np.ndarray:
    """The θ that agents share from the files of its blocks, by label or in order; statistics of
    observations, where there are such, go to the agents. ValueError where the files are not those
    of this network."""
    agent = agents[0]
    expected = agent.blocks(np.empty(agent.n, np.float32))
    if isinstance(paths, dict):
        paths = [paths[label] for label in expected if label in paths]
    if len(paths) != len(expected):
        labels = " and ".join(expected)
        missing = "--path_coev" if len(paths) < len(expected) else "no --path_coev"
        raise ValueError(f"{agent.interface.environment} takes a file of {labels}: give {missing}")
    blocks = [
        load_dat(path, block.size, f"the {label} of {agent.rule} on {agent.interface.environment}")
        for path, (label, block) in zip(paths, expected.items(), strict=True)
    ]
    if STATISTICS in expected:
        statistics = blocks.pop().reshape(2, -1)
        for agent in agents:
            agent.statistics = statistics
    return agent.join(*blocks)


def agents_of_run(
    run: str,
    which: str = "best",
    names: Sequence[str] = (),
    **ends: int | None,
) -> tuple[list[Agent], np.ndarray]:
    """The agents of a run folder, one per environment (its own, or these names), and their θ.

    which: the generation, or A-B, see `theta_of`. ends: max_steps and early_stop, where they are
    not None, in place of the run's.
    """
    folder = RunFolder.open(run)
    given = {name: value for name, value in ends.items() if value is not None}
    config = replace(recorded(Training, folder.arguments), **AS_FILED, **given)
    agents = agents_for(config, names)
    return agents, theta_of(agents, folder, which)


def agents_of_files(
    paths: Sequence[str],
    hebb_rule: str | None = None,
    init_weights: str | None = None,
    names: Sequence[str] = (),
    **ends: int | None,
) -> tuple[list[Agent], np.ndarray]:
    """The same for .dat files of coefficients and, where they are evolved, of weights; what is not
    given is the default of train_hebb.py."""
    for path in paths:
        if not Path(path).exists():
            raise ValueError(f"{path} does not exist")
    config = replace(
        Training(),
        hebb_rule=hebb_rule or Training.hebb_rule,
        init_weights=init_weights or Training.init_weights,
        seed=0,
        **ends,
    )
    agents = agents_for(config, names)
    return agents, load_theta(agents, paths)
