"""The tables of the README, written from the code.

python -m commands.readme
"""

from collections.abc import Iterable
from pathlib import Path

from commands.options import Option, options_of
from commands.replay_options import FIGURES, Benchmark, Evaluation
from commands.training_options import Training
from environments.conditions import as_table
from hebbian_weights_update import RULES, TABLE


def table(options: Iterable[Option], title="source", last=lambda option: option.source) -> str:
    """The options as a Markdown table. last: the last cell of a row."""
    rows = [f"| option | default | meaning | {title} |", "|---|---|---|---|"]
    for option in options:
        default = option.default
        shown = " ".join(map(str, default)) if option.many and default else default
        cell = "" if default is None or default is False else f"`{shown}`"
        meaning = option.meaning
        if option.choices:
            meaning += ": " + ", ".join(f"`{choice}`" for choice in option.choices)
        rows.append(f"| `--{option.name}` | {cell} | {meaning} | {last(option)} |")
    return "\n".join(rows)


def figures_table() -> str:
    """The options of all figures as a Markdown table, with the figures that take them."""
    taken = {name: options_of(values) for name, (_, values) in FIGURES.items()}
    options = dict.fromkeys(option for each in taken.values() for option in each)

    def takers(option: Option) -> str:
        names = [name for name, each in taken.items() if option in each]
        return "all" if len(names) == len(FIGURES) else ", ".join(names)

    return table(options, "figures", takers)


def rules_table() -> str:
    """The table of rules as a Markdown table."""
    rows = ["| rule | formula | columns | source |", "|---|---|---|---|"]
    for name, (formula, source, *_) in TABLE.items():
        formula = f"`{formula}`" if formula else "none"
        rows.append(f"| `{name}` | {formula} | {' '.join(RULES[name])} | {source} |")
    return "\n".join(rows)


def with_tables(text: str) -> str:
    """A README in which the tables between the markers are those of the code."""
    tables = {
        "options of train_hebb.py": table(options_of(Training)),
        "options of evaluate_hebb.py": table(options_of(Evaluation)),
        "options of plot_hebb.py": figures_table(),
        "options of benchmark.py": table(options_of(Benchmark)),
        "rules": rules_table(),
        "conditions": as_table(),
    }
    for name, lines in tables.items():
        begin, end = f"<!-- {name} -->", "<!-- end -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{lines}\n{end}{tail}"
    return text


if __name__ == "__main__":
    readme = Path(__file__).parents[1] / "README.md"
    readme.write_text(with_tables(readme.read_text()))
