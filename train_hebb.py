"""Evolve Hebbian learning rules: the command line of a run.

python train_hebb.py --environment CartPole-v1 --generations 20
"""

import sys

import machine.startup  # noqa: F401 (first: threads and signals)
from commands.parsing import complete, parser, reported
from commands.training_options import Training


def main(arguments: list[str] | None = None) -> int:
    given = vars(parser(Training, __doc__.split("\n")[0]).parse_args(arguments))
    with reported():
        complete(Training, given)  # a wrong value is reported before anything is imported
        from commands.training import train

        return train(given)


if __name__ == "__main__":
    sys.exit(main())
