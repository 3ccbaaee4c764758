"""What stands behind train_hebb.py: build a run from its arguments, or from its folder, and let
it go: agents, workers, strategy, run folder, screen."""

import importlib.util
import logging
import secrets
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

import numpy as np

import seeds
from commands.agents import agents_for, check_meaning, first_theta, share
from commands.observer import Observer, Stopped, shell_line
from commands.options import part
from commands.parsing import complete, resumed
from commands.screen import Screen
from commands.training_options import Training
from environments import MAX_STEPS
from environments.conditions import one_by_one
from environments.observations import Statistics
from evolution_strategy_hebb import EveryLifetimeFailed, EvolutionStrategyHebb, run
from machine.provenance import available_cores, worker_count
from machine.startup import answer_signals
from run_folder.checkpoints import RunFolder
from run_folder.run_log import keep_log
from workers import local, rollouts

log = logging.getLogger("hebb")
# of the fitness in all worlds and episodes; with ranks that is what is shown, see `tell`
AGGREGATES = {"mean": np.mean, "min": np.min, "ranks": np.mean}
MAX_DRAWN = 2**29  # bytes of noise that workers leave for the master; else it is drawn again


class StopSignal:
    """Remembers a Ctrl-C, SIGTERM or SIGHUP, so that nothing is cut off in the middle of a save."""

    def __init__(self):
        self.number = 0
        answer_signals(self._note)

    def _note(self, number, frame) -> None:
        self.number = number


def train(given: dict) -> int:
    """Evolve a run from the arguments that were given, or go on with one; the exit status."""
    if given.get("resume"):
        with RunFolder.open(given["resume"], write=True) as folder:
            config = resumed(Training, given, folder.arguments)
            agents = agents_for(config)
            theta = first_theta(config, agents) if folder.state is None else None
            reach(config)
            stop = StopSignal()
            folder.change_arguments(generations=config.generations)
            return go_on(config, folder, agents, theta, stop)
    config = complete(Training, given)
    check_meaning(config)
    screen = Screen(config.quiet)
    if config.seed is None:
        config = replace(config, seed=secrets.randbelow(2**31))
        screen.say(f"seed {config.seed}")
    agents = agents_for(config)  # before a folder is made: the environment may be unknown
    theta = first_theta(config, agents)
    before = RunFolder.open(config.start_from) if config.start_from else None
    reach(config)
    stop = StopSignal()  # until here, while there is nothing to save, a signal ends all at once
    with RunFolder.create(config.folder, asdict(config), before) as folder:
        screen.say(f"run folder {folder.path}")
        return go_on(config, folder, agents, theta, stop)


def reach(config: Training) -> None:
    """Look for TensorBoard, and connect to the cluster, where the run is to use them; ValueError
    if it is missing, or nobody answers."""
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ValueError("--tensorboard needs tensorboard: pip install tensorboard")
    if config.engine == "ray":
        from workers import ray_cluster

        names = (
            *config.environment,
            *one_by_one(config.conditions),
            *(config.eval_environment or ()),
        )
        modules = [name.partition(":")[0] for name in names if ":" in name]
        ray_cluster.connect(config.ray_address, worker_count(config.threads), modules)


def evaluator(
    config: Training, agents: list | None = None, noise=seeds.noise, assignment=None
) -> Callable:
    """What a worker does with an individual; without agents, those of the arguments are made.

    assignment: of synapses to shared rules."""
    agents, aggregate = agents or agents_for(config), AGGREGATES[config.aggregate]
    if assignment is not None:
        share(agents, assignment)
    return partial(rollouts.evaluate, agents, aggregate, config.episodes, noise=noise)


def worker_pool(config: Training, agents: list, n_workers: int, noise: local.SharedNoise | None):
    """The workers of the engine that was asked for."""
    n, n_observed = agents[0].n, agents[0].statistics.shape[1]
    if config.engine == "ray":
        from workers.ray_workers import RayWorkers

        limit = None if config.threads == -1 else n_workers
        # at each node, since agents are large
        make_evaluate = partial(evaluator, config, assignment=agents[0].assignment)
        return RayWorkers(
            limit, n, make_evaluate, config.lifetime_timeout, n_observed, noise, available_cores()
        )
    draw = noise.draw if noise else seeds.noise
    evaluate = evaluator(config, agents, draw)
    return local.LocalWorkers(n_workers, n, evaluate, config.lifetime_timeout, n_observed)


def warn_of(config: Training, agents: list) -> None:
    """Say what a person would want to know before hours of evolution; log.txt keeps it."""
    for interface in {agent.interface.environment: agent.interface for agent in agents}.values():
        words = []
        if not (config.max_steps or interface.time_limit):
            words.append(f"has no time limit; lifetimes end after {MAX_STEPS} steps")
        if not interface.follows_seed:
            words.append(
                "does not follow its seed: two resets with one seed differ, and a run cannot be"
                " repeated"
            )
        for word in words:
            log.warning("%s %s", interface.environment, word)
            Screen().warn(f"{interface.environment} {word}")


def go_on(config: Training, folder: RunFolder, agents: list, theta: np.ndarray | None, stop) -> int:
    """Evolve from the state of the folder, or from θ, to the last generation."""
    keep_log(folder.path / "log.txt")
    warn_of(config, agents)
    most = max(config.popsize, config.eval_episodes if config.eval_every else 0)
    n_workers = min(worker_count(config.threads), most)
    agent, pairs = agents[0], config.popsize // 2
    noise = None
    if 4 * pairs * agent.n <= MAX_DRAWN:
        noise = local.SharedNoise(pairs, agent.n)
    strategy = EvolutionStrategyHebb(
        np.zeros(agent.n) if theta is None else theta,
        **part(config, "strategy"),
        threads=n_workers,
        noise=noise.find if noise else seeds.noise,
    )
    statistics = Statistics(agent.interface.n_inputs) if config.normalize_observations else None
    if folder.state is not None:
        strategy.load_state(folder.state)
        if "assignment" in folder.state:
            share(agents, folder.state["assignment"])
        if statistics:
            statistics.load_state(folder.state)
            agent.statistics = statistics.as_block()
    pool = worker_pool(config, agents, n_workers, noise)
    observer = Observer(config, folder, agents, strategy, statistics, stop)
    try:
        apart, row = config.aggregate == "ranks", folder.rows[-1] if folder.rows else {}
        run(strategy, pool, observer, apart=apart, row=row, **part(config, "loop"))
    except Stopped:
        observer.screen.say(
            f"stopped after generation {strategy.generation}; to go on:\n"
            + shell_line("train_hebb.py", "--resume", folder.path),
            needed=True,
        )
        return 128 + stop.number
    except EveryLifetimeFailed as error:
        observer.screen.clear()
        print(f"{sys.argv[0]}: error: {error}", file=sys.stderr)
        return 1
    finally:
        pool.close()
    elapsed = folder.rows[-1]["elapsed"] if folder.rows else 0
    observer.screen.say(f"{strategy.generation} generations in {elapsed:.0f} s; {folder.path}")
    return 0
