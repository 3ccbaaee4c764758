"""The figures of plot_hebb.py on what survives what: shares as heat maps, rewards around a change.

They read what `evaluate_hebb.py --run RUN --conditions ... --json RUN/conditions.json` (and
`--knockout ... --json RUN/knockouts.json`) has written; nothing is evaluated again.
"""

import json
from pathlib import Path

import numpy as np

from analysis.lifetime_figures import lines
from commands.replay_options import Figure
from run_folder.checkpoints import RunFolder
from run_folder.safe_files import read_with

MAX_FILE = 1 << 26  # bytes of a conditions.json
ACROSS = 5  # panels side by side


def read(folder: Path, name: str) -> dict:
    """RUN/conditions.json or RUN/knockouts.json; FileError where there is none."""

    def decode(file) -> dict:
        record = json.load(file)
        for section in record["sections"]:
            for row in section["rows"]:
                str(row["condition"]), row["episodes"] + 0
                for one in row["kinds"].values():
                    one["share"], one["low"], one["p"], [*one["curve"]]
        return record

    option = "--" + name.removesuffix("s") if name == "knockouts" else "--" + name
    return read_with(
        decode, folder / f"{name}.json", f"file of evaluate_hebb.py {option}", MAX_FILE
    )


def heat(axes, shares: np.ndarray) -> None:
    """(rows, columns) shares from red (nothing is left) to blue (all is), in numbers; NaN is a
    gap."""
    axes.imshow(shares, cmap="RdBu", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            colour = "black" if 0.2 < share < 0.8 else "white"
            look = {"ha": "center", "va": "center", "color": colour, "fontsize": 8}
            axes.text(column, row, f"{round(100 * share)}".replace("-", "−"), **look)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def conditions(plt, paths: list[str], config: Figure):
    """What is left of the unchanged score: conditions (the best survived first) by networks."""
    columns: list[tuple[str, dict]] = []  # label, condition -> share
    groups: list[tuple[float, str]] = []  # where a group of columns begins, and its title
    for path in paths:
        folder = RunFolder.open(path).path
        for section in read(folder, "conditions")["sections"]:
            at, rows = section["at"], section["rows"]
            if columns:
                columns.append(("", {}))
            groups.append(
                (len(columns), f"{folder.name}\n{f'after {at} steps' if at else 'from the start'}")
            )
            for kind in rows[0]["kinds"]:
                of = {row["condition"]: row["kinds"][kind]["share"] for row in rows}
                columns.append((kind, of))
    names = list(dict.fromkeys(name for _, of in columns for name in of))
    shares = np.array([[of.get(name) for _, of in columns] for name in names], float)
    order = np.argsort(-np.nanmean(shares, axis=1), kind="stable")
    order = [0, *order[order != 0]]  # the unchanged world on top
    size = (2 + 0.62 * len(columns), 1.3 + 0.23 * len(names))
    figure, axes = plt.subplots(figsize=size)
    heat(axes, shares[order])
    axes.set_yticks(range(len(names)), [names[k] for k in order])
    axes.set_xticks(range(len(columns)), [label for label, _ in columns])
    axes.axhline(0.5, color="white", linewidth=3)
    for start, title in groups:
        axes.text(start - 0.5, -0.7, title, fontsize=8, va="bottom")
    figure.suptitle("what is left of the unchanged score, %")
    return figure


def adaptation(plt, path: str, config: Figure):
    """Reward per step around a change in mid-life, condition by condition."""
    record = read(RunFolder.open(path).path, "conditions")
    section = next((section for section in record["sections"] if section["at"]), None)
    if section is None:
        raise ValueError("no condition begins in mid-life: evaluate with --at STEP above 0")
    unchanged, *rows = section["rows"]
    down = -(-len(rows) // ACROSS)
    figure, panels = plt.subplots(
        down, min(ACROSS, len(rows)), figsize=(9.6, 0.8 + 1.4 * down), sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    first = next(iter(unchanged["kinds"].values()))["curve"]
    steps = record["bin"] * (np.arange(len(first)) + 0.5)
    for axes, row in zip(panels.flat, rows, strict=False):
        axes.plot(steps, first, color="grey", linewidth=2.5, alpha=0.4, label="plastic, unchanged")
        for (kind, one), line in zip(row["kinds"].items(), lines(), strict=False):
            axes.plot(steps, one["curve"], label=kind, linewidth=1.1, **line)
        axes.axvline(section["at"], color="black", linewidth=0.8, linestyle="--")
        axes.set_title(row["condition"], fontsize=8)
    for axes in panels.flat[len(rows) :]:
        axes.axis("off")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    of = f"mean of {len(record['seeds'])} lifetimes over {record['bin']} steps"
    figure.suptitle(f"{record['environment']}: reward per step, {of}")
    return figure


def knockouts(plt, path: str, config: Figure):
    """What is left of the score without a column of the coefficients, by layer."""
    record = read(RunFolder.open(path).path, "knockouts")
    (section,) = record["sections"]
    shares = {
        tuple(row["condition"].split(", ")): row["kinds"]["plastic"]["share"]
        for row in section["rows"][1:]
    }
    columns, layers = (list(dict.fromkeys(names)) for names in zip(*shares, strict=True))
    values = [[shares.get((name, layer)) for name in columns] for layer in layers]
    figure, axes = plt.subplots(figsize=(1.8 + 0.6 * len(columns), 1.2 + 0.3 * len(layers)))
    heat(axes, np.array(values, float))
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(layers)), layers)
    figure.suptitle(f"{record['environment']}:\nwhat is left without a column, %")
    return figure


DRAWN = {"conditions": conditions, "adaptation": adaptation, "knockouts": knockouts}
