"""How fast: every part of a lifetime and of a generation beside its limits, in one run.

python benchmark.py --rounds 5 --json benchmark.json
"""

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path

import machine.startup  # noqa: F401 (first: threads and signals)
from commands.parsing import complete, parser, reported
from commands.replay_options import Benchmark


def summary(values: list[float], limit: str) -> dict:
    """Of a figure, one value for each round: its median and range, beside what it should be."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return {"median": middle, "min": low, "max": high, "limit": limit, "rounds": values}


def measure(samples: list[Callable], constants: dict, ratios: tuple, limits: dict, rounds: int):
    """Figure or ratio -> summary. Every round takes all samples in turn, and ratios are of one
    round each: a machine that slows down does so for both sides."""
    of_rounds = []
    for _ in range(rounds):
        of_rounds.append(dict(constants))
        for sample in samples:
            of_rounds[-1] |= sample()
    result = {name: [figures[name] for figures in of_rounds] for name in of_rounds[0]}
    result = {name: summary(values, limits.get(name, "")) for name, values in result.items()}
    for over, under, limit in ratios:
        name = " / ".join(figure.split(", ")[0] for figure in (over, under))
        result[name] = summary([figures[over] / figures[under] for figures in of_rounds], limit)
    return result


def show(environment: str, figures: dict) -> None:
    """The table of an environment, 80 columns wide."""
    print(f"\n{environment:<45}{'median':>8}{'min':>8}{'max':>8}  limit")
    for name, figure in figures.items():
        numbers = (f" {figure[key]:>#7.3g}" for key in ("median", "min", "max"))
        print(f"{name:<45}{''.join(numbers)}  {figure['limit']}".rstrip(), flush=True)


def benchmark(config: Benchmark) -> dict:
    """Environment -> figure -> summary; prints each table when it is complete."""
    from benchmarks.parts import LIMITS, RATIOS, Episode, Generations, subject_of
    from machine.provenance import worker_count

    n = worker_count(config.threads)
    print(f"population {config.popsize}, {n} workers, {config.rounds} rounds")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # all processes are forked before an engine starts in this one
        settings = config.popsize, n, folder, config.full_length
        runs = {
            name: stack.enter_context(closing(Generations(name, *settings)))
            for name in config.environment
        }
        result = {}
        for name, generations in runs.items():
            subject = subject_of(name)
            samples = [*Episode(name).samples(subject), generations.sample]
            ratios = (*subject.ratios, *RATIOS)
            result[name] = measure(samples, subject.reference, ratios, LIMITS, config.rounds)
            show(name, result[name])
    return result


def main(arguments: list[str] | None = None) -> int:
    given = vars(parser(Benchmark, __doc__.split("\n")[0]).parse_args(arguments))
    with reported():
        config = complete(Benchmark, given)
        result = benchmark(config)
        if config.json:
            from machine.provenance import provenance
            from run_folder.safe_files import write_file

            about = provenance() | {"cores": os.cpu_count(), "arguments": asdict(config)}
            write_file(config.json, json.dumps(about | {"figures": result}, indent=1).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
