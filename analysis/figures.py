"""What plot_hebb.py draws: the look of all figures, and those of runs (fitness, coefficients).

Colours are Okabe & Ito's, with a line style each, and maps are diverging from blue to red: they can
be told apart in print, and by colour-blind readers.
"""

import io
import itertools
import textwrap
from pathlib import Path

import numpy as np

from analysis import condition_figures, lifetime_figures, results, switch_figure
from analysis.films import check_file, library
from analysis.lifetime_figures import COLOURS, agent_of, layer_names, lines
from analysis.settings import MAX_LABEL, MAX_LABELS, settings
from commands.agents import agents_for, first_theta
from commands.parsing import recorded
from commands.replay_options import AgentFigure, Figure
from commands.screen import Screen
from commands.training_options import Training
from fitness_functions import Agent
from run_folder.checkpoints import RunFolder
from run_folder.formats import IN_WORLD, THETA_IN
from run_folder.safe_files import write_file

SUFFIXES = (".png", ".svg", ".pdf")
LOOK = {
    "font.size": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "hebb",  # the same figure, the same bytes
    "pdf.fonttype": 42,  # text that can be searched and edited
}


def draw(name: str, runs: str | list[str], config: Figure) -> str:
    """Draw a figure of FIGURES, of one run or of several; where it is."""
    out = config.out or f"{name}.png"
    check_file(out, SUFFIXES)
    library("matplotlib").use("Agg")
    plt = library("matplotlib.pyplot")
    with plt.rc_context(LOOK):
        figure = DRAWN[name](plt, runs, config)
        data, kind = io.BytesIO(), Path(out).suffix[1:].lower()
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
        figure.savefig(data, format=kind, metadata=undated[kind])
        plt.close(figure)
    write_file(out, data.getvalue())
    return out


def add_legend(figure, axes, below: bool = False) -> None:
    """Among the curves where the labels are short and few, else (or if asked to) below them."""
    handles, labels = axes.get_legend_handles_labels()
    short = max(map(len, labels)) <= MAX_LABEL and len(labels) <= MAX_LABELS
    if short and not below:
        axes.legend(loc="best")
        return
    wrapped = [textwrap.fill(label, 90) for label in labels]
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.16 * sum(1 + label.count("\n") for label in wrapped))
    figure.legend(handles, wrapped, loc="outside lower left", handlelength=3)


def column(run: RunFolder, name: str) -> np.ndarray:
    return np.array([row.get(name, np.nan) for row in run.rows], float)


def fitness(plt, paths: list[str], config: Figure):
    """Mean fitness over generations: one run of a setting with its population's standard deviation,
    several as median and quartiles; θ's own score as dots, and where evolution does not see it as
    crosses; of one run alone the mean in each of its worlds as well."""
    runs = [RunFolder.open(path) for path in paths]
    begun = [run for run in runs if run.rows]
    for run in runs:
        if not run.rows and begun:
            Screen().warn(f"{run.path} has no complete generation yet, and is left out")
        elif not run.rows:
            raise ValueError(f"{run.path} has no complete generation yet")
    runs = begun
    figure, axes = plt.subplots(figsize=(6.4, 4))
    groups = settings(runs)
    worlds = [name for name in runs[0].rows[-1] if name.startswith(IN_WORLD)]
    worlds = worlds if len(runs) == 1 else []
    names = (name for run in runs for name in run.arguments.get("eval_environment") or ())
    unseen = dict(zip(dict.fromkeys(names), itertools.cycle("x+1234"), strict=False))
    for (label, group), line in zip(groups.items(), lines(), strict=False):
        shown = min(len(run.rows) for run in group)
        x = column(group[0], "generation")[:shown]
        means = np.array([column(run, "mean")[:shown] for run in group])
        if len(group) == 1:
            middle, spread = means[0], column(group[0], "std")
            low = np.maximum(middle - spread, column(group[0], "worst"))
            high = np.minimum(middle + spread, column(group[0], "best"))
        else:
            low, middle, high = np.percentile(means, [25, 50, 75], axis=0)
            label += f" ({len(group)} runs)"
            for run in group:
                whole = column(run, "generation"), column(run, "mean")
                axes.plot(*whole, color=line["color"], alpha=0.35, linewidth=0.6)
        label += ", all worlds" * bool(worlds)
        last = f"{middle[-1]:.1f} ({low[-1]:.1f} to {high[-1]:.1f}) in generation {x[-1]:.0f}"
        print(f"{label}: {last}, {means.mean():.1f} over all of them")
        axes.fill_between(x, low, high, color=line["color"], alpha=0.2, linewidth=0)
        axes.plot(x, middle, label=label, linewidth=1.6, **line)
        for run in group:
            add_scores(axes, run, unseen, line["color"])
    for world, mark in unseen.items():
        axes.plot([], [], mark, color="gray", label=f"θ in {world}")
    for name, line in zip(worlds, itertools.islice(lines(), 1, None), strict=False):
        means, world = column(runs[0], name), name.removeprefix(IN_WORLD)
        print(f"{world}: {means[-1]:.1f}, {means.mean():.1f} over all generations")
        axes.plot(x, means, label=world, linewidth=0.8, **line)
    several = any(len(group) > 1 for group in groups.values())
    band = "median and quartiles of runs" if several else "mean ± std of the population"
    axes.set(xlabel="generation", ylabel=f"fitness ({band})")
    axes.xaxis.get_major_locator().set_params(integer=True)
    add_legend(figure, axes, below=bool(unseen))  # crosses lie anywhere
    return figure


def add_scores(axes, run: RunFolder, unseen: dict[str, str], color: str) -> None:
    """θ's own score in the run's worlds as dots, and in unseen ones with their marks."""
    generations = column(run, "generation")
    marks = {"theta_mean": "."} | {THETA_IN + world: mark for world, mark in unseen.items()}
    for name, mark in marks.items():
        scores = column(run, name)
        known = np.isfinite(scores)
        if known.any():
            axes.plot(generations, scores, mark, color=color)
            print(f"  {name}: {scores[known][-1]:.1f} in generation {generations[known][-1]:.0f}")


def coefficients(plt, path: str, config: AgentFigure):
    """The distribution of each coefficient in each layer, before evolution and after."""
    run = RunFolder.open(path)
    agent, theta = agent_of(path, config)
    arguments = recorded(Training, run.arguments)
    if arguments.seed is None:
        raise ValueError(f"{run.path} does not say its seed: what evolved is not known")
    searched = agents_for(arguments)  # its own layout of θ, which files do not have
    before = groups(searched[0], first_theta(arguments, searched))
    after = groups(agent, theta)
    n_columns = max(len(names) for names, _ in before.values())
    size = (1.2 + 1.7 * n_columns, 0.8 + 1.5 * len(before))
    figure, axes = plt.subplots(len(before), n_columns, figsize=size, squeeze=False)
    for row, (group, (names, old)) in zip(axes, before.items(), strict=True):
        for panel in row[len(names) :]:
            panel.axis("off")
        for panel, *values in zip(row, names, old.T, after[group][1].T, strict=False):
            histograms(panel, *values)
        row[0].set_ylabel(group.replace(" (", "\n("))
    figure.legend(
        handles=[
            plt.Line2D([], [], color="black", linestyle="--", label="before evolution"),
            plt.Line2D(
                [], [], color=COLOURS[0], linewidth=3, alpha=0.6, label="after (mean ± std)"
            ),
        ],
        loc="outside lower center",
        ncols=2,
    )
    what = f"{agent.rule}, {' '.join(run.arguments['environment'])}"
    figure.suptitle(f"weights of {what}" if agent.static else f"coefficients of {what}")
    return figure


def histograms(panel, name: str, old: np.ndarray, new: np.ndarray) -> None:
    """How a coefficient is distributed before evolution (dashed) and after."""
    low, high = np.percentile(np.concatenate([old, new]), [0.1, 99.9])
    n_bins = 40 if len(new) > 2000 else 20
    bins = np.linspace(low, high, n_bins + 1) if high > low else n_bins
    look = {"bins": bins, "density": True, "histtype": "step"}
    panel.hist(old, color="black", linestyle="--", **look)
    panel.hist(new, color=COLOURS[0], **look)
    panel.hist(new, color=COLOURS[0], alpha=0.25, bins=bins, density=True)
    mean = round(float(new.mean()), 2) + 0.0  # no -0.00
    panel.set_title(f"{name}: {mean:.2f} ± {new.std():.2f}".replace("-", "−"))
    panel.set_yticks([])


def scores(plt, paths: list[str], config: Figure):
    """The fitness of every episode of every run's results.json, by environment; thick: the mean
    and the bootstrap's 95 % interval of it."""
    runs = [RunFolder.open(path) for path in paths]
    each = [
        {name: results.fitness_of(own) for name, own in results.episodes(run.path).items()}
        for run in runs
    ]
    names = list(dict.fromkeys(name for one in each for name in one))
    labels = {run.path: label for label, group in settings(runs).items() for run in group}
    figure, axes = plt.subplots(figsize=(max(4.5, 1.2 + 1.9 * len(names)), 3.8))
    rng = np.random.default_rng(0)
    for k, (run, own, line) in enumerate(zip(runs, each, lines(), strict=False)):
        x = np.arange(len(names)) + 0.7 * ((k + 0.5) / len(runs) - 0.5)
        for position, name in zip(x, names, strict=True):
            if name not in own:
                continue
            spread = position + rng.uniform(-0.15, 0.15, own[name].size) / len(runs)
            axes.plot(spread, own[name], ".", markersize=3, alpha=0.35, color=line["color"])
            (low, high), mean = results.interval(own[name]), own[name].mean()
            ends = [[mean - low], [high - mean]]
            look = {"color": "black", "markerfacecolor": line["color"], "capsize": 4}
            axes.errorbar([position], [mean], ends, fmt="o", **look)
        axes.plot([], [], "o", color=line["color"], label=labels[run.path])
    seen = set().union(*(run.seen for run in runs))
    ticks = [name if name in seen else f"{name}\n(unseen)" for name in names]
    size = "small" if max(map(len, names)) > 20 else "medium"  # else long ids overlap
    axes.set_xticks(np.arange(len(names)), ticks, fontsize=size)
    axes.set_xlim(-0.7, len(names) - 0.3)  # else the dots of one name spread over the figure
    axes.set_ylabel("fitness (mean, its 95 % interval, episodes)")
    add_legend(figure, axes)
    return figure


def groups(agent: Agent, theta: np.ndarray) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """What evolved, layer by layer: the names and values (n, K) of the coefficients of synapses
    (of a static network its dense weights), then those of neurons."""
    values, of_neurons, evolved = agent.split(theta)
    names, policy = agent.rule.columns, agent.policy
    if agent.static:
        names, values = ("w",), evolved[policy.n_conv :, None]
    result = {}
    if names:
        layers = np.split(values, np.cumsum(policy.shapes.prod(axis=1))[:-1])
        result = {name: (names, one) for name, one in zip(layer_names(agent), layers, strict=True)}
    if agent.rule.neuron_columns:
        layers = np.split(of_neurons, np.cumsum(policy.sizes)[:-1])
        kinds = ["input", *(f"hidden {k}" for k in range(1, len(layers) - 1)), "output"]
        for kind, layer in zip(kinds, layers, strict=True):
            result[f"{kind} ({len(layer)} neurons)"] = (agent.rule.neuron_columns, layer)
    return result


DRAWN = {
    "fitness": fitness,
    "lifetime": lifetime_figures.lifetime,
    "weights": lifetime_figures.weights,
    "recovery": lifetime_figures.recovery,
    "coefficients": coefficients,
    "scores": scores,
    "switch": switch_figure.switch,
    **condition_figures.DRAWN,
}
