"""Draw figures of runs and of lifetimes.

python plot_hebb.py fitness heb_coeffs/RUN_ID
"""

import sys

import machine.startup  # noqa: F401 (first: threads and signals)
from commands.parsing import Parser, add_options, complete, reported
from commands.replay_options import FIGURES, OF_SEVERAL_RUNS


def main(arguments: list[str] | None = None) -> int:
    description, _, example = __doc__.partition("\n")
    parser = Parser(description=description, epilog=example.strip(), allow_abbrev=False)
    figures = parser.add_subparsers(dest="figure", required=True, metavar="FIGURE")
    for name, (meaning, values) in FIGURES.items():
        figure = figures.add_parser(name, help=meaning, description=meaning, allow_abbrev=False)
        several = {"nargs": "+"} if name in OF_SEVERAL_RUNS else {}
        figure.add_argument("run", metavar="RUN", help="run folder", **several)
        add_options(figure, values)
    given = vars(parser.parse_args(arguments))
    name, runs = given.pop("figure"), given.pop("run")
    with reported():
        config = complete(FIGURES[name][1], given)
        from analysis.figures import draw

        print(draw(name, runs, config))
        return 0


if __name__ == "__main__":
    sys.exit(main())
