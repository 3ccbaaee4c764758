"""Evolve Hebbian learning rules: the command line of a run.

python train_hebb.py --environment CartPole-v1 --generations 20
"""

import os
import sys

for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):  # one thread per worker, and in the master
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

from options import TRAINING, complete, fail, parser  # noqa: E402 (after the pools are set)


def main(arguments: list[str] | None = None) -> int:
    given = vars(parser(TRAINING, __doc__.split("\n")[0]).parse_args(arguments))
    try:
        complete(TRAINING, given)  # a wrong value is told before anything is imported
        from training import train

        return train(given)
    except (ValueError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
