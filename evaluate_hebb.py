"""Replay evolved agents: evaluate N lifetimes and report their fitness.

python evaluate_hebb.py --run heb_coeffs/RUN_ID
"""

import sys

import machine.startup  # noqa: F401 (first: threads and signals)
from commands.parsing import complete, parser, reported
from commands.replay_options import Evaluation


def main(arguments: list[str] | None = None) -> int:
    given = vars(parser(Evaluation, __doc__.split("\n")[0]).parse_args(arguments))
    with reported():
        config = complete(Evaluation, given)
        if config.conditions or config.knockout:
            from analysis.adaptation import evaluate
        else:
            from analysis.evaluation import evaluate
        return evaluate(config)


if __name__ == "__main__":
    sys.exit(main())
