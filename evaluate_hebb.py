"""Replay evolved agents: live N lifetimes and report what they are worth.

python evaluate_hebb.py --run heb_coeffs/RUN_ID
"""

import os
import sys

for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):  # one thread per worker, and in the master
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

from options import EVALUATION, complete, fail, parser  # noqa: E402 (after the pools are set)


def main(arguments: list[str] | None = None) -> int:
    given = vars(parser(EVALUATION, __doc__.split("\n")[0]).parse_args(arguments))
    try:
        config = complete(EVALUATION, given)
        from evaluation import evaluate

        return evaluate(config)
    except (ValueError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
