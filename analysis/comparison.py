"""Paired comparisons of lifetimes in a changed world: shares, intervals, tests, and their table.

A score is what a lifetime earns from the change on; a share is its mean over the mean of the
unchanged lifetimes of the same seeds (of the plastic network's for the frozen one).
"""

import math
import shutil
from collections.abc import Callable, Sequence

import numpy as np

from analysis.trials import time_to_recover

DRAWS = 10_000  # of the bootstrap and of the random signs
BIN = 25  # steps of which a curve keeps the mean
LEVEL = 0.05  # of significance
WIDE = 76  # columns that a table with intervals needs
NAME = 22  # columns in which it has the name of a condition


def interval_of_ratio(scores: np.ndarray, base: np.ndarray) -> tuple[float, float]:
    """The bootstrap's 95 % interval of mean(scores) / mean(base), whose episodes are drawn in
    pairs, from a fixed seed. scores, base: (n,)."""
    drawn = np.random.default_rng(0).integers(base.size, size=(DRAWS, base.size))
    low, high = np.quantile(scores[drawn].mean(axis=1) / base[drawn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def sign_flips(differences: np.ndarray) -> float:
    """The two-sided p value of a paired permutation test: how often the mean of the (n,)
    differences is as far from 0 when each has a random sign (Fisher 1935). Never 0, since the
    signs as they are count as one of the draws."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (DRAWS, differences.size))
    # 1e-9: equal sums must not differ by their rounding
    reached = np.abs(signs @ differences) >= abs(differences.sum()) * (1 - 1e-9)
    return float((reached.sum() + 1) / (DRAWS + 1))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """p values made larger, so that of all of them one is falsely below a level with no more than
    that probability (Holm 1979). None stays."""
    order = sorted((k for k in range(len(p)) if p[k] is not None), key=p.__getitem__)
    result, largest = list(p), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[k]))
        result[k] = largest
    return result


def curve(rewards: Sequence[np.ndarray], steps: int) -> list[float]:
    """The mean reward per step over all episodes, of each whole BIN of the steps; 0 after a
    lifetime's end."""
    total = np.zeros(steps - steps % BIN)
    for own in rewards:
        total[: own.size] += own[: total.size]
    means = total.reshape(-1, BIN).mean(axis=1) / max(len(rewards), 1)
    return [round(float(mean), 5) for mean in means]


def recovery(changed, unchanged, at: int, window: int) -> tuple[float | None, float | None]:
    """The share of the episodes that come back to 90 % of the unchanged reward per step, over
    `window` steps, and the median of the steps until then. Both (None, None) where no unchanged
    lifetime lasts beyond the change."""
    times = [
        time_to_recover(own[at:], base[at:].mean(), min(window, base.size - at))
        for own, base in zip(changed, unchanged, strict=True)
        if base.size > at
    ]
    back = [time for time in times if not math.isnan(time)]
    if not times:
        return None, None
    return len(back) / len(times), float(np.median(back)) if back else None


def compare(
    find: Callable, kinds: dict[str, str], changes: Sequence[str], at: int, window: int
) -> list[dict]:
    """A row for the unchanged world, then one per change.

    find(kind, change) -> the results, one per seed; change -1: the unchanged world. kinds: name
    -> the kind whose unchanged lifetimes are its measure. p: the first kind's against its measure,
    the others' against the first kind; Holm's, over all changes.
    """
    every = (find(kind, change) for kind in kinds for change in range(-1, len(changes)))
    longest = max(one.steps for results in every for one in results)
    rows = []
    for change, words in enumerate(["unchanged", *changes], -1):
        results = [find(kind, change) for kind in kinds]
        bases = [find(measure, -1) for measure in kinds.values()]
        seeds = list(zip(*results, *bases, strict=True))
        whole = [k for k, each in enumerate(seeds) if not any(one.failure for one in each)]
        row = {"condition": words, "episodes": len(whole), "failed": len(seeds) - len(whole)}
        row["kinds"], rival = {}, None
        for name, own, base in zip(kinds, results, bases, strict=True):
            rewards, measure = ([each[k].rewards for k in whole] for each in (own, base))
            row["kinds"][name], shares = _kind(rewards, measure, rival, at, window)
            row["kinds"][name]["curve"] = curve(rewards, longest)
            rival = shares if rival is None else rival
        rows.append(row)
    for name in kinds:
        others = [row["kinds"][name] for row in rows[1:]]
        for one, p in zip(others, holm([one["p"] for one in others]), strict=True):
            one["p"] = p
    return rows


def _kind(rewards, measure, rival, at: int, window: int) -> tuple[dict, np.ndarray]:
    """What a row says of one kind, and its (n,) shares, NaN where they have no meaning."""
    scores, base = (np.array([own[at:].sum() for own in each]) for each in (rewards, measure))
    level = base.mean() if base.size else math.nan
    level = level if level > 0 else math.nan  # no share of nothing
    shares = scores / level
    differences = shares - (base / level if rival is None else rival)
    known = bool(np.isfinite(differences).all()) and base.size > 0
    low, high = interval_of_ratio(scores, base) if level > 0 else (None, None)
    recovered, steps = recovery(rewards, measure, at, window)
    entry = {
        "mean": float(scores.mean()) if scores.size else None,
        "share": float(scores.mean() / level) if level > 0 else None,
        "low": low,
        "high": high,
        "p": sign_flips(differences) if known else None,
        "recovered": recovered,
        "recovery": steps,
        "scores": [float(score) for score in scores],
    }
    return entry, shares


def cell(entry: dict, wide: bool) -> str:
    """A share in percent, its interval, and a star where p is below LEVEL."""
    if entry["share"] is None:
        return "-"
    text, *ends = (str(round(100 * entry[name])) for name in ("share", "low", "high"))
    if wide:
        text += f" ({'..'.join(ends)})"
    return text + ("*" if entry["p"] is not None and entry["p"] < LEVEL else " ")


def table(rows: Sequence[dict], width: int | None = None) -> list[str]:
    """The rows as lines; with intervals from WIDE columns on (default: those of the terminal)."""
    wide = (width or shutil.get_terminal_size().columns) >= WIDE
    size = 16 if wide else 8
    names = list(rows[0]["kinds"])
    lines = [f"{'':{NAME}}" + "".join(f"{name:>{size - 1}} " for name in names) + f"{'back':>9}"]
    for row in rows:
        cells = "".join(f"{cell(entry, wide):>{size}}" for entry in row["kinds"].values())
        first = row["kinds"][names[0]]
        back = "" if first["recovered"] is None else f"{100 * first['recovered']:.0f}%"
        back += "" if first["recovery"] is None else f" {first['recovery']:.0f}"
        failed = f"  {row['failed']} failed" if row["failed"] else ""
        name = row["condition"]
        if len(name) > NAME:  # a line of its own
            lines.append(name)
            name = ""
        lines.append(f"{name:{NAME}}{cells}{back:>9}{failed}")
    return lines


def outcomes(rows: Sequence[dict], name: str) -> tuple[int, int, int]:
    """In how many conditions the first kind keeps more than another, less, or neither for sure."""
    first = next(iter(rows[0]["kinds"]))
    counts = [0, 0, 0]
    for row in rows[1:]:
        one, other = row["kinds"][first], row["kinds"][name]
        decided = other["p"] is not None and other["p"] < LEVEL
        counts[(one["share"] < other["share"]) if decided else 2] += 1
    return tuple(counts)


def verdict(rows: Sequence[dict], name: str) -> str:
    """How the first kind fares against another over all conditions, in a sentence."""
    first = next(iter(rows[0]["kinds"]))
    more, less, undecided = outcomes(rows, name)
    return (
        f"{first} keeps more than {name} in {more} of {len(rows) - 1} conditions, less in {less};"
        f" {undecided} undecided"
    )
