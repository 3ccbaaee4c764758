"""What stands behind evaluate_hebb.py: load an agent, live its episodes, report them."""

import json
import os
import sys
import time
from functools import partial
from typing import NamedTuple

import numpy as np

import workers
from checkpoints import RunFolder, load_agent, load_dat
from fitness_functions import Agent
from options import HEBB_RULE, INIT_WEIGHTS
from safe_files import write_file


class Episode(NamedTuple):
    """One lifetime to live: in which of the agents' environments, from which seed."""

    environment: int
    seed: int


class Lived(NamedTuple):
    fitness: float
    steps: int
    failure: str | None
    seconds: float


def live_episode(agents: list[Agent], theta: np.ndarray, episode: Episode) -> Lived:
    begun = time.perf_counter()
    outcome = workers.live(agents[episode.environment], theta, episode.seed)
    return Lived(*outcome, time.perf_counter() - begun)


def read_agent(config: dict) -> tuple[list[Agent], np.ndarray, list[str]]:
    """The agents (one per environment), their θ, and the environments it was evolved in."""
    if config["run"]:
        given = [
            name
            for name in ("hebb_rule", "init_weights", "path_hebb", "path_coev")
            if config[name] is not None
        ]
        if given:
            raise ValueError(f"--run knows its {given[0]}; leave --{given[0]} out")
        trained = RunFolder.open(config["run"]).arguments
        paths = load_agent(config["run"], config["which"])
    else:
        if not config["path_hebb"]:
            raise ValueError("nothing to replay: give --run RUN_FOLDER, or --path_hebb FILE")
        trained = {
            "environment": [],
            "hebb_rule": config["hebb_rule"] or HEBB_RULE.default,
            "init_weights": config["init_weights"] or INIT_WEIGHTS.default,
        }
        paths = [path for path in (config["path_hebb"], config["path_coev"]) if path]
        for path in paths:
            if not os.path.exists(path):
                raise ValueError(f"{path} does not exist")
    seen = trained["environment"]
    names = config["environment"] or seen or ["CarRacing-v0"]
    agents = workers.agents_for(
        names, trained["hebb_rule"], trained["init_weights"], config["max_steps"]
    )
    return agents, agents[0].join(*load_blocks(agents[0], paths)), seen


def load_blocks(agent: Agent, paths: dict | list) -> list[np.ndarray]:
    """The blocks of θ from their files (by label, or in order), checked against this agent's."""
    expected = agent.blocks(np.empty(agent.n, np.float32))
    if isinstance(paths, dict):
        paths = [paths[label] for label in expected if label in paths]
    if len(paths) != len(expected):
        labels = " and ".join(expected)
        missing = "--path_coev" if len(paths) < len(expected) else "no --path_coev"
        raise ValueError(f"{agent.body.environment} takes a file of {labels}: give {missing}")
    return [
        load_dat(path, block.size, f"the {label} of {agent.rule} on {agent.body.environment}")
        for path, (label, block) in zip(paths, expected.items(), strict=True)
    ]


def evaluate(config: dict) -> int:
    """Live and report; the exit status."""
    agents, theta, seen = read_agent(config)
    episodes = [
        Episode(index, config["seed"] + k)
        for index in range(len(agents))
        for k in range(config["episodes"])
    ]
    began = time.perf_counter()
    if config["render"]:
        lived = watch(agents, theta, episodes)
    else:
        n_workers = workers.available_cores() if config["threads"] == -1 else config["threads"]
        crew = workers.LocalWorkers(
            min(n_workers, len(episodes)), theta.size, partial(live_episode, agents)
        )
        try:
            lived = crew.map(theta, episodes, lambda *_: None)
        finally:
            crew.close()
    report(config, agents, episodes, lived, seen, time.perf_counter() - began)
    return 0


def watch(agents: list[Agent], theta: np.ndarray, episodes: list[Episode]) -> list[Lived]:
    """Live in this process, in a window."""
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or "WAYLAND_DISPLAY" in os.environ
    ):
        raise ValueError("--render needs a display; there is none (xvfb-run makes one)")
    lived = []
    for episode in episodes:
        agents[episode.environment].render_mode = "human"
        lived.append(live_episode(agents, theta, episode))
        print(f"episode with seed {episode.seed}: {lived[-1].fitness:.2f}", flush=True)
    return lived


def report(config, agents, episodes, lived, seen: list[str], seconds: float) -> None:
    """A row per environment, and each episode with --json."""
    width = max(len(agent.body.environment) for agent in agents)
    table = []
    for index, agent in enumerate(agents):
        results = [r for e, r in zip(episodes, lived, strict=True) if e.environment == index]
        fitness = np.array([r.fitness for r in results if r.failure is None])
        failed = len(results) - fitness.size
        mean, std = (fitness.mean(), fitness.std()) if fitness.size else (np.nan, np.nan)
        name = agent.body.environment
        line = f"{name:{width}}  {mean:9.2f} ± {std:.2f} over {len(results)} episodes"
        if seen and len(agents) > 1:
            line += "  (seen)" if name in seen else "  (unseen)"
        reason = next((r.failure for r in results if r.failure), None)
        print(line + (f", {failed} of them failed: {reason}" if failed else ""))
        table.append({"environment": name, "mean": mean, "std": std, "failed": failed})
    print(f"seeds {config['seed']} to {config['seed'] + config['episodes'] - 1}, {seconds:.1f} s")
    if config["json"]:
        each = [
            {
                "environment": agents[e.environment].body.environment,
                "seed": e.seed,
                "fitness": r.fitness if r.failure is None else None,
                "steps": r.steps,
                "failure": r.failure,
            }
            for e, r in zip(episodes, lived, strict=True)
        ]
        text = json.dumps({"environments": table, "episodes": each}, indent=1)
        write_file(config["json"], text.encode())
