"""Build a run from its arguments and let it go: agents, workers, strategy, run folder, screen."""

import logging
import secrets
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from multiprocessing_logging import install_mp_handler

import workers
from checkpoints import RunFolder
from evolution_strategy_hebb import EveryLifetimeFailed, EvolutionStrategyHebb, run
from fitness_functions import Agent, describe
from screen import Screen

log = logging.getLogger("hebb")


class Stopped(Exception):
    """A signal asked the run to end."""


def agents_for(names: list[str], hebb_rule: str, init_weights: str, max_steps: int | None) -> list:
    """One agent per environment, all with the same θ; ValueError where they cannot share it.

    The environments are looked at in a process of its own: some start threads or take hold of
    a device, which workers that are forked later must not inherit.
    """
    with ProcessPoolExecutor(1, mp_context=workers.fork) as process:
        bodies = list(process.map(describe, names))
    agents = [Agent(hebb_rule, body, init_weights, max_steps) for body in bodies]
    for agent in agents:
        agent.warm_up()
    for agent in agents[1:]:
        if agent.body.sizes != agents[0].body.sizes:
            raise ValueError(
                f"{names[0]} and {agent.body.environment} cannot share one set of coefficients: "
                f"their networks have {agents[0].body.sizes} and {agent.body.sizes} "
                "inputs and outputs"
            )
    return agents


def keep_log(folder: RunFolder) -> None:
    """Warnings, the workers' too, go to the run's log.txt and to the terminal."""
    logging.captureWarnings(True)
    to_file = logging.FileHandler(folder.path / "log.txt", delay=True)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(processName)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(to_file)
    install_mp_handler()  # before the first worker


def train(config: dict) -> int:
    """Live a whole run; the exit status."""
    if config["seed"] is None:
        config["seed"] = secrets.randbelow(2**31)
        print(f"seed {config['seed']}")
    agents = agents_for(
        [config["environment"]], config["hebb_rule"], config["init_weights"], config["max_steps"]
    )
    agent = agents[0]
    strategy = EvolutionStrategyHebb(
        agent.first_theta(config["seed"], config["distribution"]),
        config["seed"],
        config["popsize"],
        config["lr"],
        config["decay"],
        config["sigma"],
    )
    folder = RunFolder.create(config["folder"], config)
    keep_log(folder)
    print(f"run folder {folder.path}")
    return evolve(config, agents, strategy, folder)


def evolve(config: dict, agents: list, strategy: EvolutionStrategyHebb, folder: RunFolder) -> int:
    """Run the generations, saving each; the exit status says how it ended."""
    screen = Screen(config["generations"], config["popsize"])
    stop = StopSignal()
    started = time.monotonic()

    def on_result(result) -> None:
        if stop.number:
            raise Stopped
        if result is not None:
            screen.arrived(strategy.generation)

    def on_generation(row: dict, failures: list[str]) -> None:
        if failures and not on_generation.warned:
            on_generation.warned = True
            log.warning("%d lifetimes failed, the first with: %s", len(failures), failures[0])
        shown = row["generation"] % config["print_every"] == 0
        folder.save(row["generation"], strategy.state(), row, agents[0].blocks(strategy.theta))
        screen.generation(row, shown)

    on_generation.warned = False
    n_workers = workers.available_cores() if config["threads"] == -1 else config["threads"]
    evaluate = partial(workers.evaluate, agents, aggregate=np.mean)
    crew = workers.LocalWorkers(n_workers, strategy.theta.size, evaluate)
    try:
        run(strategy, crew, config["generations"], on_result, on_generation)
    except Stopped:
        screen.clear()
        print(f"stopped after generation {strategy.generation}; {folder.path} holds it")
        return 128 + stop.number
    except EveryLifetimeFailed as error:
        screen.clear()
        print(f"{sys.argv[0]}: error: {error}", file=sys.stderr)
        return 1
    finally:
        crew.close()
        folder.close()
    print(f"{strategy.generation} generations in {time.monotonic() - started:.0f} s")
    return 0


class StopSignal:
    """Remembers a Ctrl-C or SIGTERM, so that nothing is cut off in the middle of a save."""

    def __init__(self):
        self.number = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number, frame) -> None:
        self.number = number
