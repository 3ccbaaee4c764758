"""What survives what, of the trained agents: their conditions.json and knockouts.json, and what
RESULTS.md says of them.

    python -m analysis.survival

evaluates all of it anew, with each plastic agent of trained/ against the static one of its task;
then `python -m analysis.results` writes it down.
"""

import os
from pathlib import Path

from analysis.comparison import cell, outcomes, verdict
from analysis.condition_figures import read
from run_folder.checkpoints import RunFolder

TRAINED = Path("trained")


def pairs(trained: Path) -> list[tuple[RunFolder, RunFolder | None]]:
    """Each plastic agent, and the static one that was evolved in the same worlds, mirrored or not
    like it."""
    runs = [RunFolder.open(path.parent) for path in sorted(trained.glob("*/results.json"))]

    def alike(run: RunFolder) -> tuple:
        conditions = tuple(run.arguments.get("conditions") or ())
        return frozenset(run.seen), conditions, run.arguments.get("mirror", False)

    static = {alike(run): run for run in runs if run.arguments["hebb_rule"] == "static"}
    return [(run, static.get(alike(run))) for run in runs if run.arguments["hebb_rule"] != "static"]


def command(run: RunFolder, static: RunFolder | None, what: str = "conditions") -> list[str]:
    """The words behind `python evaluate_hebb.py` that make a file of this section: in the first
    world of the static agent, which the last run of the plastic one may not have had."""
    words = ["--run", f"trained/{run.path.name}", f"--{what}", "all"]
    if static:
        own, where = (one.arguments["environment"][0] for one in (run, static))
        words += ["--environment", where] if where != own else []
        words += ["--against", f"trained/{static.path.name}"] if what == "conditions" else []
    return words


def table(sections: list[dict]) -> list[str]:
    """A row per condition: shares in percent, for each step of the change."""
    titles, columns = ["condition"], []
    for section in sections:
        when = f"after {section['at']}" if section["at"] else "the start"
        for kind in section["rows"][0]["kinds"]:
            titles.append(f"{when}: {kind}")
            columns.append((section, kind))
    lines = [f"| {' | '.join(titles)} | back |", f"|{'---|' * (len(titles) + 1)}"]
    for k, row in enumerate(sections[0]["rows"]):
        cells = [cell(section["rows"][k]["kinds"][kind], True).strip() for section, kind in columns]
        back = next(iter(sections[-1]["rows"][k]["kinds"].values()))
        text = "" if back["recovered"] is None else f"{100 * back['recovered']:.0f} %"
        text += "" if back["recovery"] is None else f" in {back['recovery']:.0f}"
        lines.append(f"| {row['condition']} | {' | '.join(cells)} | {text} |")
    return lines


def claim(sections: list[dict]) -> str:
    """What the comparison with static weights says about the paper's claim."""
    counts = [outcomes(section["rows"], "static") for section in sections]
    more, less, undecided = map(sum, zip(*counts, strict=True))
    says = "contradicts" if more < less else "bears out" if more > less else "leaves open"
    return (
        f"Of {more + less + undecided} comparisons with static weights the plastic network keeps"
        f" the larger share in {more} and the smaller in {less}. For these agents that {says} the"
        " paper's claim that networks whose weights change survive what static ones do not."
    )


def markdown(trained: Path) -> list[str]:
    """The section of RESULTS.md, by lines; none where no agent has a conditions.json."""
    parts: list[str] = []
    for run, static in pairs(trained):
        if not (run.path / "conditions.json").exists():
            continue
        record = read(run.path, "conditions")
        sections = record["sections"]
        parts += [
            f"### {run.path.name} in {record['environment']}",
            "",
            f"    python evaluate_hebb.py {' '.join(command(run, static))}",
            "",
            f"Seeds {record['seeds'][0]} to {record['seeds'][-1]}; agent `{record['files'][0]}`.",
            "",
            *table(sections),
            "",
        ]
        for section in sections:
            when = f"After {section['at']} steps" if section["at"] else "From the start"
            others = list(section["rows"][0]["kinds"])[1:]
            parts += [f"- {when} {verdict(section['rows'], name)}." for name in others]
        if "static" in sections[0]["rows"][0]["kinds"]:
            parts += ["", claim(sections)]
        parts.append("")
    return ["## What survives what", "", INTRODUCTION, "", *parts] if parts else []


INTRODUCTION = """\
Rewards from the change on, in percent of the same network's in an unchanged world over the same
seeds (of the frozen one: of the plastic one's), and the bootstrap's 95 % interval. A star at the
plastic network: it differs from the unchanged world; at another: it differs from the plastic one
(p < 0.05, paired sign flips, Holm's correction over the conditions). back: in how many episodes the
plastic network comes back to 90 % of the unchanged reward after the later change, and after how
many steps (median). Written like everything here by `python -m analysis.results`."""


def main() -> None:
    from commands.parsing import Parser, complete, parser

    Parser(description="Compare every agent of trained/ in changed worlds, anew.").parse_args()
    from analysis.adaptation import evaluate
    from commands.replay_options import Evaluation

    os.chdir(Path(__file__).resolve().parents[1])
    for run, static in pairs(TRAINED):
        for what in ("conditions", "knockout"):
            words = command(run, static, what)
            words += ["--json", str(run.path / f"{what.removesuffix('s')}s.json")]
            print("python evaluate_hebb.py", *words, flush=True)
            evaluate(complete(Evaluation, vars(parser(Evaluation, "").parse_args(words))))


if __name__ == "__main__":
    import machine.startup  # noqa: F401 (before anything starts threads)

    main()
