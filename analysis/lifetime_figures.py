"""The figures of plot_hebb.py of lifetimes: one from inside, the ways of the weights through
several, and what rewards become after damage."""

import itertools

import numpy as np

from analysis.experiments import Recorder, together
from analysis.trials import plan, rollouts
from commands.agents import agents_of_run
from commands.replay_options import EpisodesFigure, LifetimeFigure
from fitness_functions import Agent
from run_folder.checkpoints import RunFolder

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
WINDOW = 50  # steps of the running mean of the rewards
SNAPSHOTS = 300  # of the weights in a lifetime, at least, if it is long enough
MEMORY = 12_500_000  # weights in them, at most: 100 MB for each lifetime


def lines():
    """Colour and line style of one curve after the other."""
    return (
        {"color": COLOURS[k % len(COLOURS)], "linestyle": STYLES[k % len(STYLES)]}
        for k in itertools.count()
    )


def agent_of(run: str, config) -> tuple[Agent, np.ndarray]:
    """The agent of a run in one environment, and its θ."""
    name = getattr(config, "environment", None) or RunFolder.open(run).arguments["environment"][0]
    max_steps = getattr(config, "max_steps", None)
    agents, theta = agents_of_run(run, config.which, [name], max_steps=max_steps)
    return agents[0], theta


def record(config: LifetimeFigure, agent: Agent, theta: np.ndarray, seed: int, snapshots: int = 0):
    """Evaluate one lifetime, with what the options do to it, and keep what it is like."""
    planned = plan(config, agent)
    recorder = Recorder(agent.reset_weights(theta, seed), snapshots)
    outcome = agent.rollout(
        theta, seed, together(*planned.on_step(planned.asked, agent, seed), recorder)
    )
    if outcome.failure:
        raise ValueError(f"the lifetime with seed {seed} failed: {outcome.failure}")
    if planned.notes and max(planned.notes) >= outcome.steps:
        raise ValueError(f"the lifetime with seed {seed} has {outcome.steps} steps and ends before")
    return recorder, planned.notes


def layer_names(agent: Agent) -> list[str]:
    """Layer 1 is the one behind the input."""
    shapes = agent.policy.shapes
    return [f"layer {k} ({n_pre} to {n_post})" for k, (n_pre, n_post) in enumerate(shapes, 1)]


def mark(axes, notes: dict[int, str], say: bool = False) -> None:
    """A line where something was done to the network."""
    for step in notes:
        axes.axvline(step, color="black", linewidth=0.8, linestyle="--")
    if say and notes:
        said = [f"{words} after {step}" for step, words in sorted(notes.items())]
        axes.set_title(f"{', '.join(said)} steps", loc="right")


def running_mean(rewards, window: int = WINDOW) -> np.ndarray:
    """Over the last `window` steps (or all, if there are fewer), from the first full mean on."""
    window = min(window, len(rewards))
    return np.convolve(rewards, np.full(window, 1 / window), "valid")


def lifetime(plt, run: str, config: LifetimeFigure):
    """One lifetime: reward, cumulative reward, norms of weights and of their changes at the left,
    the activations of every layer at the right."""
    agent, theta = agent_of(run, config)
    kept, notes = record(config, agent, theta, config.seed)
    n_rows = max(4, len(agent.policy.sizes))
    figure, axes = plt.subplots(n_rows, 2, figsize=(9, 1.9 * n_rows), sharex=True)
    left, right = axes[:, 0], axes[:, 1]
    steps = np.arange(1, len(kept.rewards) + 1)
    left[0].plot(steps, kept.rewards, color=COLOURS[5], linewidth=0.6)
    mean = running_mean(kept.rewards)
    left[0].plot(steps[-mean.size :], mean, color=COLOURS[1], linewidth=1.4)
    left[0].set_title(f"thick: mean over {min(WINDOW, len(steps))} steps", loc="left")
    left[1].plot(steps, np.cumsum(kept.rewards), color=COLOURS[0])
    left[0].set_ylim(min(0, *kept.rewards) * 1.05, max(0, *kept.rewards) * 1.05 or None)
    for values, panel in ((kept.norms, left[2]), (kept.changes, left[3])):
        for norms, line in zip(np.transpose(values), lines(), strict=False):
            norms = np.where(norms > 0, norms, np.nan)  # no update after the last step
            panel.plot(steps, norms, linewidth=1, **line)
    left[2].set_ylim(bottom=0)
    if np.max(kept.changes) > 0:
        left[3].set_yscale("log")
    for name, line in zip(layer_names(agent), lines(), strict=False):
        left[3].plot([], [], label=name, **line)
    figure.legend(loc="outside lower left", ncols=4, handlelength=3)
    titles = ("reward per step", "cumulative reward", "norm of weights", "norm of their changes")
    for panel, title in zip(left, titles, strict=False):
        panel.set_ylabel(title)
        mark(panel, notes, say=panel is left[0])
    show_activations(figure, right, kept.activations, notes)
    for panel in [*left[4:], *right[len(agent.policy.sizes) :]]:
        panel.axis("off")
    for panel in (left[3], right[len(agent.policy.sizes) - 1]):
        panel.set_xlabel("step")
        panel.tick_params(labelbottom=True)
    figure.suptitle(f"{agent.interface.environment}, one lifetime (seed {config.seed})")
    return figure


def show_activations(figure, panels, activations: list, notes: dict[int, str]) -> None:
    """Every layer as a map of neurons over steps."""
    names = ["input", *(f"hidden layer {k}" for k in range(1, len(activations[0]) - 1)), "output"]
    for panel, name, layer in zip(panels, names, zip(*activations, strict=True), strict=False):
        values = np.array(layer).T
        top = float(np.percentile(np.abs(values), 99)) or float(np.abs(values).max()) or 1.0
        extent = (0.5, values.shape[1] + 0.5, len(values) + 0.5, 0.5)
        picture = panel.imshow(
            values, cmap="RdBu_r", vmin=-top, vmax=top, aspect="auto", extent=extent,
            interpolation="nearest",
        )  # fmt: skip
        panel.grid(False)
        panel.set_ylabel(f"{name}\n({len(values)})")
        panel.set_yticks([1, len(values)])
        figure.colorbar(picture, ax=panel, pad=0.01, extend="both")
        mark(panel, notes)


def components(snapshots: list[np.ndarray], n: int = 3) -> tuple[list[np.ndarray], np.ndarray]:
    """The rows of (T, S) snapshots on their common first principal components, and the shares of
    the variance that these explain: [(T, n)], (n,).

    The decomposition is that of the small matrix of scalar products, of which there are far fewer
    than synapses.
    """
    rows = np.concatenate(snapshots)
    rows = rows - rows.mean(axis=0)
    u, squared, _ = np.linalg.svd((rows @ rows.T).astype(np.float64), hermitian=True)
    u, largest = np.pad(u, [(0, 0), (0, n)])[:, :n], np.pad(squared, (0, n))[:n]
    ends = np.cumsum([len(one) for one in snapshots])[:-1]
    return np.split(u * np.sqrt(largest), ends), largest / (squared.sum() or 1)


def weights(plt, run: str, config: EpisodesFigure):
    """The way of the weights through several lifetimes, on three principal components."""
    agent, theta = agent_of(run, config)
    episodes = range(config.seed, config.seed + config.episodes)
    snapshots = min(SNAPSHOTS, MEMORY // agent.policy.n_plastic)
    kept = [record(config, agent, theta, seed, snapshots) for seed in episodes]
    notes = kept[0][1]
    ways, shares = components([np.array(one.weights) for one, _ in kept])
    figure = plt.figure(figsize=(9, 4.6))
    grid = figure.add_gridspec(3, 2, width_ratios=(1.25, 1))
    space = figure.add_subplot(grid[:, 0], projection="3d")
    panels = [figure.add_subplot(grid[0, 1])]
    panels += [figure.add_subplot(grid[k, 1], sharex=panels[0]) for k in (1, 2)]
    for way, (one, _), seed, line in zip(ways, kept, episodes, lines(), strict=False):
        space.plot(*way.T, label=f"seed {seed}", linewidth=0.7, **line)
        space.plot(*way[:1].T, "o", color=line["color"], markersize=5)
        space.plot(*way[-1:].T, "s", color=line["color"], markersize=5, markeredgecolor="black")
        for k, panel in enumerate(panels):
            panel.plot(one.times, way[:, k], linewidth=0.6, **line)
    names = [f"PC {k + 1} ({100 * share:.1f} %)" for k, share in enumerate(shares)]
    apart = [name + " " * 6 for name in names]  # from the power of ten behind it
    space.set(xlabel=apart[0], ylabel=apart[1], zlabel=apart[2])
    space.locator_params(nbins=5)
    for axes in (space, *panels):
        axes.ticklabel_format(scilimits=(-3, 4), useMathText=True)
    for panel, name in zip(panels, names, strict=True):
        panel.set_ylabel(name)
        panel.tick_params(labelbottom=panel is panels[-1])
        mark(panel, notes, say=panel is panels[0])
    panels[-1].set_xlabel("step")
    space.plot([], [], "o", color="grey", label="start")
    space.plot([], [], "s", color="grey", markeredgecolor="black", label="end")
    figure.legend(loc="outside lower center", ncols=7)
    figure.suptitle(f"{agent.interface.environment}: all {agent.policy.n_plastic} weights")
    return figure


def recovery(plt, run: str, config: EpisodesFigure):
    """Reward per step of the same lifetimes under every condition: mean and quartiles over the
    episodes, each smoothed; a lifetime that is over earns nothing while the intact one goes on.
    Shown while at least half of the intact lifetimes go on, of which the title says how many."""
    agent, theta = agent_of(run, config)
    planned = plan(config, agent)
    if not planned.after:
        raise ValueError("recovery from what? give --lesion STEP, --freeze STEP or both")
    kept: dict[str, list] = {condition: [] for condition in planned.conditions}
    for seed in range(config.seed, config.seed + config.episodes):
        for condition, outcome, rewards in rollouts(planned, agent, theta, seed):
            if outcome.failure:
                raise ValueError(f"the lifetime with seed {seed} failed: {outcome.failure}")
            kept[condition].append(rewards)
    longest = max(rewards.size for rewards in kept["intact"])
    if longest <= planned.after:
        raise ValueError(f"the longest intact lifetime has {longest} steps, not {planned.after}")
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    sizes = sorted(rewards.size for rewards in kept["intact"])
    shown = max(sizes[len(sizes) // 2], planned.after + 1)  # steps that half of them reach
    lasting = sum(size >= shown for size in sizes)
    window = min(WINDOW, planned.after)  # the lesion lies behind the first full mean
    for (condition, each), line in zip(kept.items(), lines(), strict=False):
        earned = np.full((len(each), longest), np.nan)
        for row, rewards, intact in zip(earned, each, kept["intact"], strict=True):
            row[: intact.size] = 0
            n = min(rewards.size, intact.size)
            row[:n] = rewards[:n]
        means = np.array([running_mean(row[:shown], window) for row in earned])
        steps = np.arange(shown - means.shape[1], shown) + 1  # the last of each mean
        low, high = np.nanpercentile(means, [25, 75], axis=0)
        axes.fill_between(steps, low, high, color=line["color"], alpha=0.15, linewidth=0)
        axes.plot(steps, np.nanmean(means, axis=0), label=condition, linewidth=1.4, **line)
    axes.axvline(planned.after, color="black", linewidth=0.8, linestyle="--")
    of = f"mean and quartiles of {config.episodes} lifetimes ({lasting} at the right end)"
    of += f", over the last {window} steps"
    axes.set(xlabel="step", ylabel="reward per step")
    axes.set_title(f"{agent.interface.environment}: {planned}\n{of}", loc="left")
    axes.legend(loc="best")
    return figure
