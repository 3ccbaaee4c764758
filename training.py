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

import workers
from checkpoints import RunFolder
from environments import MAX_STEPS, has_time_limit
from evolution_strategy_hebb import EveryLifetimeFailed, EvolutionStrategyHebb, run
from fitness_functions import Agent
from options import TRAINING, complete, resumed
from run_log import keep_log
from screen import Screen
from startup import answer_signals

log = logging.getLogger("hebb")
STRATEGY = (  # the options that are the evolution strategy's
    *("seed", "popsize", "lr", "decay", "sigma"),
    *("optimizer", "momentum", "common_random_numbers"),
)
AGGREGATES = {"mean": np.mean, "min": np.min}
KEPT_FAILURES = 10  # individuals whose parameters are kept, so that their failure can be repeated


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
            agents = build_agents(config)
            stop = StopSignal()
            folder.change_arguments(generations=config["generations"])
            return go_on(config, folder, agents, stop)
    config = complete(TRAINING, given)
    screen = Screen(config["quiet"])
    if config["seed"] is None:
        config["seed"] = secrets.randbelow(2**31)
        screen.say(f"seed {config['seed']}")
    agents = build_agents(config)  # before a folder is made: the environment may be unknown
    stop = StopSignal()  # until here, while there is nothing to save, a signal ends all at once
    with RunFolder.create(config["folder"], config) as folder:
        screen.say(f"run folder {folder.path}")
        return go_on(config, folder, agents, stop)


def build_agents(config: dict) -> list[Agent]:
    names = config["environment"]
    return workers.agents_for(
        names, config["hebb_rule"], config["init_weights"], config["max_steps"]
    )


def command_line(script: str, *words) -> str:
    """What runs another script of ours from the same directory."""
    python = "python" if shutil.which("python") == sys.executable else sys.executable
    return shlex.join(map(str, (python, Path(sys.argv[0]).with_name(script), *words)))


def go_on(config: dict, folder: RunFolder, agents: list[Agent], stop: StopSignal) -> int:
    """Evolve from the state of the folder, or from the start, to the last generation."""
    keep_log(folder.path / "log.txt")
    for name in config["environment"]:
        if not (config["max_steps"] or has_time_limit(name)):
            log.warning("%s has no time limit; lifetimes end after %d steps", name, MAX_STEPS)
    strategy = EvolutionStrategyHebb(
        agents[0].first_theta(config["seed"], config["distribution"]),
        **{name: config[name] for name in STRATEGY},
    )
    if folder.state is not None:
        strategy.load_state(folder.state)
    n_workers = workers.available_cores() if config["threads"] == -1 else config["threads"]
    crew = workers.LocalWorkers(
        n_workers,
        strategy.theta.size,
        partial(workers.evaluate, agents, AGGREGATES[config["aggregate"]], config["episodes"]),
        config["lifetime_timeout"],
    )
    observer = Observer(config, folder, agents[0], strategy, stop)
    try:
        run(strategy, crew, config["generations"], observer)
    except Stopped:
        observer.screen.say(
            f"stopped after generation {strategy.generation}; to go on:\n"
            + command_line("train_hebb.py", "--resume", folder.path)
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

    def __init__(self, config: dict, folder: RunFolder, agent: Agent, strategy, stop: StopSignal):
        self.config, self.folder, self.agent = config, folder, agent
        self.strategy, self.stop = strategy, stop
        self.screen = Screen(config["quiet"], config["generations"], config["popsize"])
        self.failures = 0

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
        blocks = self.agent.blocks(individual.parameters(self.strategy.theta))
        paths = self.folder.save_failure(individual.name, blocks)
        known = {name: self.config[name] for name in ("hebb_rule", "init_weights", "max_steps")}
        flags = known | dict(zip(("path_hebb", "path_coev"), paths, strict=False))
        words = [w for flag, value in flags.items() if value for w in (f"--{flag}", value)]
        log.warning("%s failed: %s; to repeat it:", individual.name, failure)
        for episode in range(self.config["episodes"]):
            seed = ("--episodes", 1, "--seed", individual.lifetime_seed(episode))
            line = ("--environment", *self.config["environment"], *words, *seed)
            log.warning("%s", command_line("evaluate_hebb.py", *line))
        if self.failures == 1:
            self.screen.warn(f"a lifetime failed: {failure} (log.txt says how to repeat it)")

    def generation(self, row: dict) -> None:
        """A generation is complete."""
        before = self.folder.rows[-1]["elapsed"] if self.folder.rows else 0
        row["elapsed"] = round(before + row["seconds"], 3)
        blocks = self.agent.blocks(self.strategy.theta)
        self.folder.save(row["generation"], self.strategy.state(), row, blocks)
        self.screen.generation(row, row["generation"] % self.config["print_every"] == 0)
