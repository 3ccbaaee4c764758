"""Replay evolved agents: live N lifetimes and report what they are worth.

python evaluate_hebb.py --run heb_coeffs/RUN_ID
"""

import sys

import startup  # noqa: F401 (first: threads and signals)
from command_line import complete, fail, parser
from options import EVALUATION


def main(arguments: list[str] | None = None) -> int:
    given = vars(parser(EVALUATION, __doc__.split("\n")[0]).parse_args(arguments))
    try:
        config = complete(EVALUATION, given)
        if config["conditions"] or config["knockout"]:
            from adaptation import evaluate
        else:
            from evaluation import evaluate
        return evaluate(config)
    except (ValueError, OSError) as error:
        fail(error)


if __name__ == "__main__":
    sys.exit(main())
