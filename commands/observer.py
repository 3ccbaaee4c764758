"""What happens beside evolution: the screen, the run folder, the log, and the wish to stop."""

import logging
import math
import shlex
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from commands.screen import Board, Screen
from commands.training_options import Training
from evolution_strategy_hebb import finite_mean
from run_folder.checkpoints import RunFolder
from run_folder.formats import IN_WORLD, THETA_IN
from workers import rollouts

log = logging.getLogger("hebb")
KEPT_FAILURES = 50  # individuals that are kept, so that their failure can be repeated


class Stopped(Exception):
    """A signal asked the run to end."""


def shell_line(script: str, *words) -> str:
    """What runs another script of ours from the same directory."""
    python = "python" if shutil.which("python") == sys.executable else sys.executable
    return shlex.join(map(str, (python, Path(sys.argv[0]).with_name(script), *words)))


class Observer:
    """Of one run: what `evolution_strategy_hebb.run` calls; Stopped from it ends the run."""

    def __init__(self, config: Training, folder: RunFolder, agents, strategy, statistics, stop):
        self.config, self.folder, self.agents, self.agent = config, folder, agents, agents[0]
        self.strategy, self.statistics, self.stop = strategy, statistics, stop
        self.screen = Screen(config.quiet, config.generations, config.popsize)
        self.board = Board(folder.path) if config.tensorboard else None
        self.failures, self.clock = 0, time.perf_counter()

    def broadcast(self, theta: np.ndarray) -> rollouts.Broadcast:
        """What the workers get."""
        return rollouts.Broadcast(theta, self.agent.statistics)

    def result(self, individual, result) -> None:
        """An individual's lifetimes have ended; without a result they take very long; with None
        nothing has ended for a while."""
        if self.stop.number:
            raise Stopped
        if individual is None:
            return
        if result is None:
            slow = f"{individual.name} takes very long; --lifetime_timeout ends such lifetimes"
            log.warning(slow)
            self.screen.warn(slow)
            return
        if not individual.held_out:
            self.screen.arrived(self.strategy.generation)
        if result.failure:
            self.failures += 1
            if self.failures <= KEPT_FAILURES:
                self.keep_failure(individual, result.failure)

    def keep_failure(self, individual, failure: str) -> None:
        """Keep what repeats a failed lifetime, and say how."""
        blocks = self.agent.blocks(individual.candidate(self.strategy.theta))
        path = self.folder.save_failure(individual.name, individual.generation + 1, blocks)
        log.warning("%s failed: %s; to repeat it:", individual.name, failure)
        names = [*self.config.environment]
        names += (self.config.eval_environment or ()) if individual.held_out else ()
        # conditions are compared in one environment at a time
        groups = [[name] for name in names] if self.config.conditions else [names]
        for episode in range(self.config.episodes):
            words = ["--run", path, "--episodes", 1, "--seed", individual.lifetime_seed(episode)]
            words += ["--conditions", *self.config.conditions] if self.config.conditions else []
            for group in groups:
                log.warning("%s", shell_line("evaluate_hebb.py", *words, "--environment", *group))
        if self.failures == 1:
            self.screen.warn(f"a lifetime failed: {failure} (log.txt says how to repeat it)")

    def means_by_world(self, whose: str, agents: list, results: list) -> dict:
        """A column for each of several worlds, unless fitness.csv was begun without them; NaN
        without results."""
        if len(agents) == 1:
            return {}
        names = [whose + agent.world for agent in agents]
        worlds = [result.worlds for result in results if result.worlds] or [[math.nan] * len(names)]
        means = map(finite_mean, zip(*worlds, strict=True))
        begun = self.folder.rows[0] if self.folder.rows else names
        return {name: mean for name, mean in zip(names, means, strict=True) if name in begun}

    def evaluated(self, results: list) -> None:
        """The individuals of a generation are, and θ has made its step; it goes with what they
        have observed too."""
        if self.statistics:
            for result in results:
                if result.observed:
                    self.statistics.merge(*result.observed)
            self.agent.statistics = self.statistics.as_block()

    def generation(self, row: dict, results: list, scores: list) -> None:
        """A generation is complete, and θ was scored or was not."""
        state = self.strategy.state()
        if self.config.shared_rules:
            state["assignment"] = self.agent.assignment
        if self.statistics:
            state |= self.statistics.state()
        seen = [agent for agent in self.agents if not agent.unseen]
        row |= self.means_by_world(IN_WORLD, seen, results)
        if self.config.eval_every:
            row |= self.means_by_world(THETA_IN, self.agents, scores)
        before = self.folder.rows[-1]["elapsed"] if self.folder.rows else 0
        began, self.clock = self.clock, time.perf_counter()
        row["elapsed"] = round(before + self.clock - began, 3)
        blocks = self.agent.blocks(self.strategy.theta)
        self.folder.save(row["generation"], state, row, blocks)
        if self.board:
            self.board.generation(row, blocks)
        self.screen.generation(row, row["generation"] % self.config.print_every == 0)
