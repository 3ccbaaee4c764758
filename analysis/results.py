"""RESULTS.md from the trained agents: every number in it is read from trained/.

    python -m analysis.results

writes RESULTS.md, and its table into the README. A folder of trained/ is a run folder with a
results.json, which `evaluate_hebb.py --run FOLDER --json FOLDER/results.json` writes; of another
generation that is shipped, `--which N` and results_N.json.
"""

import json
from pathlib import Path

import numpy as np

from analysis import survival
from analysis.settings import settings
from commands.options import options_of
from commands.training_options import Training
from run_folder.checkpoints import RunFolder
from run_folder.safe_files import read_with

ROOT = Path(__file__).resolve().parents[1]
TRAINED = ROOT / "trained"
SHOWN = (1, 10, 20, 40, 80)  # generations in the table of what was tried
CORES = 2  # of the machine of the runs that were begun before config.json said it
MAX_RESULTS = 1 << 24  # bytes of a results.json
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
# what the paper reports: mean and standard deviation over 100 episodes, where it gives them
PAPER = {
    ("CarRacing-v0", "ABCD_lr"): "872 ± 11",
    ("CarRacing-v0", "static"): "711 ± 16",
    ("AntBulletEnv-v0", "ABCD_lr"): "1051",
    ("AntDamagedRightBulletEnv-v0", "ABCD_lr"): "1019",
    ("AntDamagedLeftBulletEnv-v0", "ABCD_lr"): "452",
    ("AntBulletEnv-v0", "static"): "1604",
    ("AntDamagedRightBulletEnv-v0", "static"): "1431",
    ("AntDamagedLeftBulletEnv-v0", "static"): "68",
}


def interval(scores: np.ndarray, draws: int = 10_000) -> tuple[float, float]:
    """The bootstrap's 95 % interval of the mean, from a fixed seed."""
    rng = np.random.default_rng(0)
    means = rng.choice(scores, (draws, scores.size)).mean(axis=1)
    return tuple(np.quantile(means, (0.025, 0.975)))


def episodes(folder: Path, name: str = "results.json") -> dict[str, list[dict]]:
    """The episodes of a folder's results.json, by environment; FileError where it has none."""

    def decode(file) -> dict:
        by_name: dict[str, list[dict]] = {}
        for episode in json.load(file)["episodes"]:
            by_name.setdefault(episode["environment"], []).append(episode)
            float(episode["fitness"] or 0), int(episode["seed"])  # what else could be in there?
        return by_name

    return read_with(
        decode, folder / name, "file of evaluate_hebb.py --run RUN --json", MAX_RESULTS
    )


def fitness_of(own: list[dict]) -> np.ndarray:
    """That of the episodes that did not fail."""
    return np.array([one["fitness"] for one in own if one["fitness"] is not None])


def lineage(run: RunFolder) -> list[RunFolder]:
    """The runs that led to an agent, each started from the agent of the one before it."""
    earlier = run.arguments.get("start_from")
    return [*(lineage(RunFolder.open(ROOT / earlier)) if earlier else []), run]


def rows(runs: list[RunFolder], name: str) -> list[dict]:
    """A row per environment that a trained agent was evaluated in, from its lineage and its
    episodes in results.json, or in results_N.json for the θ of generation N."""
    *earlier, run = runs
    by_name = episodes(run.path, name)
    which = Path(name).stem.partition("_")[2]
    last = int(which.rpartition("-")[2] or run.rows[-1]["generation"])
    followed = zip(earlier, runs[1:], strict=True)
    generations = [
        max(one.files_of(next_.arguments.get("which", "best"))) for one, next_ in followed
    ]
    seconds = sum(one.rows[-1]["elapsed"] for one in runs)
    arguments, result = run.arguments, []
    conditions = arguments.get("conditions") or []
    unlike = ", mirrored" * bool(arguments.get("mirror"))  # anything in the paper
    unlike += f", {len(conditions) + 1} worlds" * bool(conditions)
    for task, own in by_name.items():
        fitness = fitness_of(own)
        low, high = interval(fitness)
        failed = len(own) - fitness.size
        unseen = "" if task in run.seen else " (unseen)"
        seeds = [episode["seed"] for episode in own]
        result.append(
            {
                "agent": run.path.name + (which and f", θ of generation {which}"),
                "task": task + unseen,
                "rule": arguments["hebb_rule"] + unlike,
                "paper": "" if unlike else PAPER.get((task, arguments["hebb_rule"]), ""),
                "fitness": fitness.mean(),
                "unlike": unlike,
                "ours": f"{fitness.mean():.1f} ± {fitness.std():.1f}"
                + (f", {failed} failed" if failed else ""),
                "95 % of the mean": f"{low:.1f} to {high:.1f}",
                "seeds": f"{min(seeds)} to {max(seeds)}",
                "generations": " + ".join(map(str, [*generations, last])),
                "population": str(arguments["popsize"]),
                "hours": f"{seconds / 3600:.1f}",
                "hardware": f"{run.config.get('cores', CORES)} cores, {run.config['platform']}",
            }
        )
    return result


def beside_the_paper(all_rows: list[dict]) -> str:
    """A row per task, and per way of evolving that is not the paper's: what the best plastic and
    the best static agent that are shipped score, and the paper's."""
    best: dict[str, dict[str, dict]] = {}
    for row in all_rows:
        task = row["task"] + row["unlike"]
        kind = "static" if row["rule"].startswith("static") else "plastic"
        kinds = best.setdefault(task, {})
        kinds[kind] = max(kinds.get(kind, row), row, key=lambda one: one["fitness"])
    shown = []
    for task, kinds in best.items():
        line = {"task": task}
        for kind in ("plastic", "static"):
            for column, whose in (("ours", ""), ("paper", ", the paper's")):
                line[kind + whose] = kinds[kind][column] if kind in kinds else ""
        shown.append(line)
    return table(shown, tuple(shown[0]))


def table(all_rows: list[dict], columns: tuple[str, ...]) -> str:
    lines = [columns, ("---",) * len(columns), *([row[c] for c in columns] for row in all_rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def options(run: RunFolder, without: tuple[str, ...] = ()) -> str:
    """The options that train an agent like that of this run, but for some of them."""
    words = []
    for option in options_of(Training):
        value = run.arguments.get(option.name, option.default)
        if option.resumable or option.name in ("folder", *without):
            continue
        if value != option.default:
            shown = " ".join(map(str, value)) if isinstance(value, list) else value
            words.append(f"--{option.name}" + ("" if value is True else f" {shown}"))
    return " ".join(words)


def markdown() -> tuple[str, str]:
    """The results in full, and the table for the README."""
    folders = sorted(path.parent for path in TRAINED.glob("*/results.json"))
    agents = [lineage(RunFolder.open(folder)) for folder in folders]
    all_rows = [
        row
        for runs in agents
        for path in sorted(runs[-1].path.glob("results*.json"))
        for row in rows(runs, path.name)
    ]
    full = [
        "# Results",
        "",
        "Written by `python -m analysis.results` from the files in `trained/`. Mean ± standard"
        " deviation of the fitness over 100 episodes, each with new random weights (static: the"
        " evolved ones) and a new world; the interval is the bootstrap's for the mean.",
        "",
        table(all_rows, tuple(name for name in all_rows[0] if name not in ("fitness", "unlike"))),
        "",
    ]
    for folder, runs in zip(folders, agents, strict=True):
        full += agent_section(folder, runs)
    full += survival.markdown(TRAINED)
    compared = TRAINED / "settings"
    full += ["## What learns most per lifetime", ""]
    for notes in sorted(compared.glob("*/NOTES.md")):
        settings_of = [path.parent for path in sorted(notes.parent.glob("**/fitness.csv"))]
        full += [notes.read_text().strip(), "", learning(settings_of), ""]
    runs = sorted(path.parent for path in TRAINED.glob("**/fitness.csv"))
    runs = [run for run in runs if compared not in run.parents]
    full += [
        "## What was tried",
        "",
        (TRAINED / "TRIED.md").read_text().strip(),
        "",
        tried(runs),
        "",
    ]
    return "\n".join(full), beside_the_paper(all_rows)


def agent_section(folder: Path, runs: list[RunFolder]) -> list[str]:
    """The lines about a trained agent: its commands, and its notes."""
    evaluated = " ".join(episodes(folder))
    notes = folder / "NOTES.md"
    return [
        f"## {folder.name}",
        "",
        "Trained with",
        "",
        *(f"    python train_hebb.py {options(run)}" for run in runs),
        "",
        "and evaluated with",
        "",
        f"    python evaluate_hebb.py --run trained/{folder.name} --environment {evaluated}"
        " --episodes 100",
        "",
        *([notes.read_text().strip(), ""] if notes.exists() else []),
    ]


def learning(folders: list[Path]) -> str:
    """A row per setting, a run of which a folder of its seed holds, best first: the score of the
    last θ itself where it was evaluated (`--eval_every`), and the mean fitness of the population
    over all generations and over the last five, each of several seeds."""
    found = []
    for runs in settings([RunFolder.open(folder) for folder in folders]).values():
        means = [np.array([row["mean"] for row in run.rows]) for run in runs]
        theta = np.array([run.rows[-1].get("theta_mean", np.nan) for run in runs])
        over = {} if np.isnan(theta).any() else {"last θ": theta}
        over |= {
            "all generations": np.array([mean.mean() for mean in means]),
            "the last five": np.array([mean[-5:].mean() for mean in means]),
        }
        individuals = {run.rows[-1]["generation"] * run.arguments["popsize"] for run in runs}
        shown = {name: f"{x.mean():.0f} ± {x.std(ddof=1):.0f}" for name, x in over.items()}
        row = {"settings": f"`{options(runs[0], without=('seed',))}`"} | shown
        row |= {"seeds": str(len(runs)), "individuals": ", ".join(map(str, sorted(individuals)))}
        found.append((next(iter(over.values())).mean(), row))
    found.sort(key=lambda one: -one[0])
    return table([row for _, row in found], tuple(found[0][1]))


def tried(folders: list[Path]) -> str:
    """A row per run, agents and others: the mean fitness that each setting gave; and what all of
    them took.

    A folder needs config.json and fitness.csv alone.
    """
    runs = [RunFolder.open(folder) for folder in folders]
    columns = ("settings", *(f"generation {number}" for number in SHOWN), "last", "hours")
    found = []
    for run in runs:
        mean = {row["generation"]: f"{row['mean']:.1f}" for row in run.rows}
        last = run.rows[-1]
        found.append(
            {f"generation {number}": mean.get(number, "") for number in SHOWN}
            | {"settings": f"`{options(run)}`"}
            | {"last": f"{last['mean']:.1f} ({last['generation']})"}
            | {"hours": f"{last['elapsed'] / 3600:.1f}"}
        )
    hours = sum(run.rows[-1]["elapsed"] for run in runs) / 3600
    together = f"The {len(runs)} runs took {hours:.0f} hours of wall time together."
    return f"{table(found, columns)}\n\n{together}"


def with_results(readme: str, short: str) -> str:
    head, _, rest = readme.partition(BEGIN)
    return f"{head}{BEGIN}\n{short}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    full, short = markdown()
    (ROOT / "RESULTS.md").write_text(full)
    readme = ROOT / "README.md"
    readme.write_text(with_results(readme.read_text(), short))
