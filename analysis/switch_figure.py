"""The figure of plot_hebb.py that shows who learns anew: choices around the switch of a task that
changes within a lifetime (environments/learning_tasks.py)."""

import numpy as np

import environments
from analysis.lifetime_figures import agent_of, lines
from analysis.settings import settings
from commands.replay_options import SwitchFigure
from fitness_functions import Agent
from run_folder.checkpoints import RunFolder

AROUND = 8  # trials shown on each side of the switch
BEFORE, FIRST, LAST = slice(AROUND - 4, AROUND), slice(AROUND, AROUND + 2), slice(-4, None)


def choices(agent: Agent, theta: np.ndarray, seeds: range) -> tuple[np.ndarray, float]:
    """The share of right choices in each of the 2·AROUND trials around the switch, over lifetimes
    of these seeds, and their mean fitness; ValueError for a task without a switch."""
    name, right, fitness = agent.interface.environment, [], []
    env = environments.make(name, **dict(agent.interface.wrappers))
    try:
        if not hasattr(env.unwrapped, "n_places"):
            raise ValueError(f"{name} does not change within a lifetime; TMaze-v0 does, for one")
        inside = agent.inside(env)
        for seed in seeds:
            rewards: list[float] = []
            outcome = inside.rollout(theta, seed, lambda *step, to=rewards: to.append(step[-1]))
            paid = [reward > 0 for reward in rewards if reward]  # one reward for each trial
            switch = env.unwrapped.switch
            if outcome.failure or len(paid) < switch + AROUND:
                raise ValueError(f"the lifetime with seed {seed} ends early")
            right.append(paid[switch - AROUND : switch + AROUND])
            fitness.append(outcome.fitness)
    finally:
        env.close()
    return np.mean(right, axis=0), float(np.mean(fitness))


def switch(plt, paths: list[str], config: SwitchFigure):
    """The share of right choices, trial by trial around the switch, a panel for each task: median
    and quartiles over the runs of a setting; and as a table, to print."""
    runs = [RunFolder.open(path) for path in paths]
    tasks = list(dict.fromkeys(run.arguments["environment"][0] for run in runs))
    figure, panels = plt.subplots(
        1, len(tasks), figsize=(1 + 3.4 * len(tasks), 3.6), squeeze=False, sharey=True
    )
    seeds = range(config.seed, config.seed + config.episodes)
    trials = np.arange(-AROUND, AROUND)
    print("% of right choices: the 4 trials before the switch, the first 2 after it, the last 4")
    for task, axes in zip(tasks, panels[0], strict=True):
        groups = settings([run for run in runs if run.arguments["environment"][0] == task])
        for (label, group), line in zip(groups.items(), lines(), strict=False):
            found = [choices(*agent_of(run.path, config), seeds) for run in group]
            shares = 100 * np.array([share for share, _ in found])
            low, middle, high = np.percentile(shares, [25, 50, 75], axis=0)
            axes.fill_between(trials, low, high, color=line["color"], alpha=0.15, linewidth=0)
            axes.plot(trials, middle, label=label.removeprefix("hebb_rule "), **line)
            parts = (np.median(shares[:, part].mean(axis=1)) for part in (BEFORE, FIRST, LAST))
            fitness = np.median([one for _, one in found])
            shown = "  ".join(f"{part:5.1f}" for part in parts)
            print(f"{task}, {label} ({len(group)} runs): {shown}  fitness {fitness:.1f}")
        axes.axvline(-0.5, color="black", linewidth=0.8, linestyle="--")
        axes.axhline(50, color="grey", linewidth=0.6)
        axes.set(xlabel="trial after the switch", ylim=(0, 100))
        axes.set_title(task, loc="left")
    panels[0, 0].set_ylabel("% of right choices (median and quartiles of runs)")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, handlelength=3)
    return figure
