"""What stands behind evaluate_hebb.py: load an agent, evaluate its episodes, report them."""

import json
import os
import sys
import time
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

import environments
from analysis.experiments import together
from analysis.films import Reel, check_film, frames_per_second, write_film
from analysis.trials import Plan, Trial, as_json, compare, plan, run_trial, table
from commands.agents import agents_of_files, agents_of_run
from commands.replay_options import Evaluation
from fitness_functions import Agent
from machine.provenance import worker_count
from run_folder.checkpoints import RunFolder
from run_folder.safe_files import write_file
from workers import local
from workers.rollouts import Broadcast, rollout

EPISODES = 100


class Episode(NamedTuple):
    """One lifetime to evaluate: in which of the agents' environments, from which seed."""

    environment: int
    seed: int


class EpisodeResult(NamedTuple):
    fitness: float
    steps: int
    failure: str | None
    seconds: float


def run_episode(agents: list[Agent], given: Broadcast, episode: Episode) -> EpisodeResult:
    """Evaluate it; a pure function of its arguments, but for the seconds."""
    begun = time.perf_counter()
    outcome = rollout(agents[episode.environment], given.theta, episode.seed)
    return EpisodeResult(*outcome, time.perf_counter() - begun)


def agents_of(config: Evaluation) -> tuple[list[Agent], np.ndarray]:
    """The agents to replay, one per environment, and their θ."""
    names = ("hebb_rule", "init_weights", "path_hebb", "path_coev")
    given = [name for name in names if getattr(config, name) is not None]
    where, ends = config.environment or (), ends_of(config)
    if config.run:
        if given:
            raise ValueError(f"--run knows its {given[0]}; leave --{given[0]} out")
        return agents_of_run(config.run, config.which, where, **ends)
    if not config.path_hebb:
        raise ValueError("nothing to replay: give --run RUN_FOLDER, or --path_hebb FILE")
    paths = [path for path in (config.path_hebb, config.path_coev) if path]
    return agents_of_files(paths, config.hebb_rule, config.init_weights, where, **ends)


def ends_of(config: Evaluation) -> dict[str, int | None]:
    """What may end its lifetimes, in place of what ended those of the run."""
    return {"max_steps": config.max_steps, "early_stop": config.early_stop}


def try_episode(planned: Plan, agents: list[Agent], given: Broadcast, episode: Episode) -> Trial:
    """The same under each condition of a plan."""
    return run_trial(planned, agents[episode.environment], given.theta, episode.seed)


def evaluate(config: Evaluation) -> int:
    """Evaluate and report; the exit status, 1 when every episode failed."""
    config = replace(config, episodes=config.episodes or EPISODES)
    agents, theta = agents_of(config)
    planned = plan(config, agents[0])
    check_options(config, agents)
    episodes = [
        Episode(index, config.seed + k)
        for index in range(len(agents))
        for k in range(config.episodes)
    ]
    began = time.perf_counter()
    if config.render:
        results = watch(agents, theta, episodes)
    else:
        job = partial(try_episode, planned) if planned.after else run_episode
        n_workers = worker_count(config.threads)
        pool = local.LocalWorkers(min(n_workers, len(episodes)), theta.size, partial(job, agents))
        try:
            results = pool.map(Broadcast(theta), episodes, lambda *_: None)
        finally:
            pool.close()
    tell = partial(report_trials, planned) if planned.after else report
    tell(config, agents, episodes, results, time.perf_counter() - began)
    if config.video:
        print(film(config, agents[0], theta, planned))
    return int(all(result.failure for result in results))


def check_options(config: Evaluation, agents: list[Agent]) -> None:
    """ValueError for a film that cannot be, before anything is evaluated for it."""
    done = {"lesion": config.lesion, "freeze": config.freeze, "video": config.video}
    experiment = next((name for name, given in done.items() if given), None)
    if config.render and experiment:
        raise ValueError(f"--render shows whole lifetimes; leave it or --{experiment} out")
    if not config.video:
        return
    check_film(config.video)
    if len(agents) > 1:
        raise ValueError("--video films one environment; name it with --environment")
    layers = len(agents[0].policy.sizes) - 1
    if (config.video_weights or 1) > layers:
        given = config.video_weights
        raise ValueError(f"--video_weights {given}: the network has layers 1 to {layers}")


def film(config: Evaluation, agent: Agent, theta: np.ndarray, planned: Plan) -> str:
    """Film the first episode, and beside it the same one with what the options do to it; a line
    that says what it shows."""
    for device in ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER"):
        os.environ.setdefault(device, "dummy")  # no window, no sound
    path, seed, name = config.video, config.seed, agent.interface.environment
    reels, ends = [], []
    for condition in planned.filmed:
        env = environments.make(name, "rgb_array", **dict(agent.interface.wrappers))
        try:
            inside, fps = agent.inside(env), frames_per_second(env)
            notes = planned.notes if condition == planned.asked else {0: condition}
            reels.append(Reel(path, env.render, fps, config.video_weights, notes))
            done = planned.on_step(condition, inside, seed)
            outcome = inside.rollout(theta, seed, together(*done, reels[-1]))
            reels[-1].shoot()  # the end, whatever its number
        except (ValueError, OSError):
            raise
        except Exception as error:  # an environment may raise anything, and so may its renderer
            raise ValueError(f"{name} cannot be filmed: {type(error).__name__}: {error}") from error
        finally:
            env.close()
        ends.append(
            f"{condition} {outcome.fitness:.2f}" if planned.after else f"{outcome.fitness:.2f}"
        )
    pictures = write_film(path, reels, fps)
    return f"{path}: seed {seed}, {pictures} pictures, fitness {', '.join(ends)}"


def watch(agents: list[Agent], theta: np.ndarray, episodes: list[Episode]) -> list[EpisodeResult]:
    """Evaluate in this process, in a window."""
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or "WAYLAND_DISPLAY" in os.environ
    ):
        raise ValueError("--render needs a display; there is none (xvfb-run makes one)")
    results = []
    for episode in episodes:
        agents[episode.environment].render_mode = "human"
        results.append(run_episode(agents, theta, episode))
        print(f"episode with seed {episode.seed}: {results[-1].fitness:.2f}", flush=True)
    return results


def report_trials(planned: Plan, config, agents, episodes, trials, seconds: float) -> None:
    """A table of conditions per environment, and each episode with --json."""
    tables = []
    for index, agent in enumerate(agents):
        own = [t for e, t in zip(episodes, trials, strict=True) if e.environment == index]
        name, rows = agent.interface.environment, compare(own, planned.conditions)
        print(f"{name}, {planned}; {rows[0]['episodes']} of {len(own)} episodes last longer")
        print(*table(rows), "", sep="\n")
        tables.append({"environment": name, "conditions": rows})
    tell_seeds(config.seed, config.episodes, seconds)
    each = [as_json(trial, planned.conditions) for trial in trials]
    write_json(config, agents, tables, episodes, [{"conditions": parts} for parts in each])


def tell_seeds(first: int, episodes: int, seconds: float) -> None:
    """The last line of an evaluation."""
    print(f"seeds {first} to {first + episodes - 1}, {seconds:.1f} s")


def write_json(config: Evaluation, agents, table: list, episodes, results: list[dict]) -> None:
    """Write the table and each episode where --json says; FileError where that cannot be."""
    if not config.json:
        return
    each = [
        {"environment": agents[e.environment].interface.environment, "seed": e.seed} | result
        for e, result in zip(episodes, results, strict=True)
    ]
    text = json.dumps({"environments": table, "episodes": each}, indent=1)
    write_file(config.json, text.encode())


def report(config: Evaluation, agents, episodes, results, seconds: float) -> None:
    """A row per environment, and each episode with --json."""
    width = max(len(agent.interface.environment) for agent in agents)
    rows, seen = [], RunFolder.open(config.run).seen if config.run else set()
    for index, agent in enumerate(agents):
        own = [r for e, r in zip(episodes, results, strict=True) if e.environment == index]
        fitness = np.array([r.fitness for r in own if r.failure is None])
        failed = len(own) - fitness.size
        mean, std = (fitness.mean(), fitness.std()) if fitness.size else (np.nan, np.nan)
        name = agent.interface.environment
        line = f"{name:{width}}  {mean:9.2f} ± {std:.2f} over {len(own)} episodes"
        if seen and len(agents) > 1:
            line += "  (seen)" if name in seen else "  (unseen)"
        reason = next((r.failure for r in own if r.failure), None)
        print(line + (f", {failed} of them failed: {reason}" if failed else ""))
        known = {"mean": mean, "std": std} if fitness.size else {"mean": None, "std": None}
        rows.append({"environment": name} | known | {"failed": failed})
    tell_seeds(config.seed, config.episodes, seconds)
    each = [
        {
            "fitness": r.fitness if r.failure is None else None,
            "steps": r.steps,
            "failure": r.failure,
        }
        for r in results
    ]
    write_json(config, agents, rows, episodes, each)
