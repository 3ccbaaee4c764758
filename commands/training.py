"""What stands behind train_hebb.py: build a run from its arguments, or from its folder, and let
it go: agents, workers, strategy, run folder, screen."""

import logging
import secrets
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np

from commands.options import TRAINING
from commands.parsing import complete, resumed
from commands.screen import Board, Screen
from environments import MAX_STEPS
from environments.observations import Statistics
from evolution_strategy_hebb import EveryLifetimeFailed, EvolutionStrategyHebb, run
from fitness_functions import Agent
from machine.provenance import available_cores, worker_count
from machine.startup import answer_signals
from run_folder.checkpoints import RunFolder, load_agent, load_theta
from run_folder.run_log import keep_log
from workers import local

log = logging.getLogger("hebb")
STRATEGY = (  # the options that are the evolution strategy's
    *("seed", "popsize", "lr", "decay", "sigma"),
    *("optimizer", "momentum", "step_ratio", "common_random_numbers"),
)
RUN = ("generations", "eval_every", "eval_episodes", "stop_at")  # those of its loop
AGGREGATES = {"mean": np.mean, "min": np.min}
MAX_DRAWN = 2**29  # bytes of noise that workers leave for the master; else it is drawn again
KEPT_FAILURES = 50  # individuals whose parameters are kept, so that their failure can be repeated


class Stopped(Exception):
    """A signal asked the run to end."""


class StopSignal:
    """Remembers a Ctrl-C, SIGTERM or SIGHUP, so that nothing is cut off in the middle of a save."""

    def __init__(self):
        self.number = 0
        answer_signals(self._note)

    def _note(self, number, frame) -> None:
        self.number = number


def train(given: dict) -> int:
    """Live a run from the arguments that were given, or go on with one; the exit status."""
    if given.get("resume"):
        with RunFolder.open(given["resume"], write=True) as folder:
            config = resumed(TRAINING, given, folder.arguments)
            agents = local.agents_for(config)
            reach(config)
            stop = StopSignal()
            folder.change_arguments(generations=config["generations"])
            theta = first_theta(config, agents[0]) if folder.state is None else None
            return go_on(config, folder, agents, theta, stop)
    config = complete(TRAINING, given)
    check_static(config)
    screen = Screen(config["quiet"])
    if config["seed"] is None:
        config["seed"] = secrets.randbelow(2**31)
        screen.say(f"seed {config['seed']}")
    agents = local.agents_for(config)  # before a folder is made: the environment may be unknown
    theta = first_theta(config, agents[0])
    reach(config)
    stop = StopSignal()  # until here, while there is nothing to save, a signal ends all at once
    with RunFolder.create(config["folder"], config) as folder:
        screen.say(f"run folder {folder.path}")
        return go_on(config, folder, agents, theta, stop)


def first_theta(config: dict, agent: Agent) -> np.ndarray:
    """(n,): that of the agent it starts from, or drawn; ValueError for another network's."""
    if not config["start_from"]:
        return agent.first_theta(config["seed"], config["distribution"])
    if agent.n_observed or config["shared_rules"]:
        name = "normalize_observations" if agent.n_observed else "shared_rules"
        raise ValueError(f"--start_from and --{name} do not go together: .dat files do not tell it")
    return load_theta(agent, load_agent(config["start_from"]))


def check_static(config: dict) -> None:
    """ValueError for options that would be without meaning."""
    for name in ("normalization", "update_every", "shared_rules", "init_weights"):
        default = next(option.default for option in TRAINING if option.name == name)
        if config["hebb_rule"] == "static" and config[name] != default:
            raise ValueError(
                f"--{name} {config[name]}: a static network's weights are evolved, and stay"
            )


def reach(config: dict) -> None:
    """Connect to the cluster where the run is to live on one; ValueError if nobody answers."""
    if config["engine"] == "ray":
        from workers import ray_cluster

        ray_cluster.connect(config)


def crew_for(config: dict, agents: list, n_workers: int, drawn: np.ndarray | None):
    """The workers of the engine that was asked for; they leave the noise in `drawn`."""
    n, timeout = agents[0].n + agents[0].n_observed, config["lifetime_timeout"]
    aggregate = AGGREGATES[config["aggregate"]]
    if config["engine"] == "ray":
        from workers.ray_workers import RayWorkers, evaluator

        limit = None if config["threads"] == -1 else n_workers
        make_evaluate = partial(evaluator, config, aggregate)
        return RayWorkers(limit, n, make_evaluate, timeout, drawn, available_cores())
    evaluate = partial(local.evaluate, agents, aggregate, config["episodes"], drawn=drawn)
    return local.LocalWorkers(n_workers, n, evaluate, timeout)


def shell_line(script: str, *words) -> str:
    """What runs another script of ours from the same directory."""
    python = "python" if shutil.which("python") == sys.executable else sys.executable
    return shlex.join(map(str, (python, Path(sys.argv[0]).with_name(script), *words)))


def warn_of(config: dict, agents: list) -> None:
    """Say what a person would want to know before hours of evolution; log.txt keeps it."""
    for agent in agents:
        body, words = agent.body, []
        if not (config["max_steps"] or body.time_limit):
            words.append(f"has no time limit; lifetimes end after {MAX_STEPS} steps")
        if not body.follows_seed:
            words.append(
                "does not follow its seed: two resets with one seed differ, and a run cannot be"
                " repeated"
            )
        for word in words:
            log.warning("%s %s", body.environment, word)
            Screen().warn(f"{body.environment} {word}")


def go_on(config: dict, folder: RunFolder, agents: list, theta: np.ndarray | None, stop) -> int:
    """Evolve from the state of the folder, or from θ, to the last generation."""
    keep_log(folder.path / "log.txt")
    warn_of(config, agents)
    n_workers = worker_count(config["threads"])
    agent, pairs = agents[0], config["popsize"] // 2
    shared = 4 * pairs * agent.n <= MAX_DRAWN
    strategy = EvolutionStrategyHebb(
        np.zeros(agent.n) if theta is None else theta,
        **{name: config[name] for name in STRATEGY},
        threads=n_workers,
        drawn=local.shared_array(pairs, agent.n) if shared else None,
    )
    statistics = Statistics(agent.body.n_inputs) if agent.n_observed else None
    if folder.state is not None:
        strategy.load_state(folder.state)
        if statistics:
            statistics.load_state(folder.state)
    crew = crew_for(config, agents, n_workers, strategy.drawn)
    observer = Observer(config, folder, agent, strategy, statistics, stop)
    try:
        run(strategy, crew, observer, **{name: config[name] for name in RUN})
    except Stopped:
        observer.screen.say(
            f"stopped after generation {strategy.generation}; to go on:\n"
            + shell_line("train_hebb.py", "--resume", folder.path)
        )
        return 128 + stop.number
    except EveryLifetimeFailed as error:
        observer.screen.clear()
        print(f"{sys.argv[0]}: error: {error}", file=sys.stderr)
        return 1
    finally:
        crew.close()
    elapsed = folder.rows[-1]["elapsed"] if folder.rows else 0
    observer.screen.say(f"{strategy.generation} generations in {elapsed:.0f} s; {folder.path}")
    return 0


class Observer:
    """What happens beside evolution: the screen, the run folder, the log, and the wish to stop."""

    def __init__(self, config: dict, folder: RunFolder, agent, strategy, statistics, stop):
        self.config, self.folder, self.agent = config, folder, agent
        self.strategy, self.statistics, self.stop = strategy, statistics, stop
        self.screen = Screen(config["quiet"], config["generations"], config["popsize"])
        self.board = Board(folder.path) if config["tensorboard"] else None
        self.failures = 0

    def broadcast(self, theta: np.ndarray) -> np.ndarray:
        """θ, and the statistics of the observations if they are normalised."""
        if self.statistics is None:
            return theta
        return np.concatenate([theta, self.statistics.as_block().ravel()])

    def result(self, individual, result) -> None:
        """A lifetime has ended (or, with None, nothing has for a while)."""
        if self.stop.number:
            raise Stopped
        if individual is None:
            return
        self.screen.arrived(self.strategy.generation)
        if result.failure:
            self.failures += 1
            if self.failures <= KEPT_FAILURES:
                self.keep_failure(individual, result.failure)

    def keep_failure(self, individual, failure: str) -> None:
        """Keep what repeats a failed lifetime, and say how."""
        parameters = individual.parameters(self.strategy.theta)
        blocks = self.agent.blocks(self.broadcast(parameters))
        path = self.folder.save_failure(individual.name, individual.generation + 1, blocks)
        log.warning("%s failed: %s; to repeat it:", individual.name, failure)
        for episode in range(self.config["episodes"]):
            words = ("--run", path, "--episodes", 1, "--seed", individual.lifetime_seed(episode))
            log.warning("%s", shell_line("evaluate_hebb.py", *words))
        if self.failures == 1:
            self.screen.warn(f"a lifetime failed: {failure} (log.txt says how to repeat it)")

    def generation(self, row: dict, results: list) -> None:
        """A generation is complete."""
        state = self.strategy.state()
        if self.statistics:
            for result in results:
                if result.seen:
                    self.statistics.merge(*result.seen)
            state |= self.statistics.state()
        before = self.folder.rows[-1]["elapsed"] if self.folder.rows else 0
        row["elapsed"] = round(before + row["seconds"], 3)
        blocks = self.agent.blocks(self.broadcast(self.strategy.theta))
        self.folder.save(row["generation"], state, row, blocks)
        if self.board:
            self.board.generation(row, blocks)
        self.screen.generation(row, row["generation"] % self.config["print_every"] == 0)
