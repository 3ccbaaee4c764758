"""What a person watching a run sees: a bar over the lifetimes, and a line per generation."""

import os
import sys
import time

COLUMNS = (  # title, width, format, key of the row: 60 characters in all
    ("gen", 4, "d", "generation"),
    ("mean", 8, ".2f", "mean"),
    ("best", 7, ".1f", "best"),
    ("std", 6, ".1f", "std"),
    ("θ", 8, ".2f", "theta_mean"),  # only where it is evaluated
    ("steps/s", 8, ".0f", "steps_per_second"),
    ("s", 6, ".1f", "seconds"),
    ("σ", 6, ".3f", "sigma"),
    ("lr", 7, ".4f", "lr"),
)


def to_nowhere(stream) -> None:
    """Whatever is still printed to a stream whose reader is gone meets no error any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def tell(line: str, stream=None) -> None:
    """Print a line; that its reader is gone (a closed terminal, `| head`) ends no run."""
    stream = stream or sys.stdout
    try:
        print(line, file=stream, flush=True)
    except OSError:
        to_nowhere(stream)


class Screen:
    """Plain lines; with a terminal, a progress bar below them."""

    def __init__(self, quiet: bool = False, generations: int = 0, popsize: int = 0):
        self.quiet = quiet
        self.generations, self.popsize = generations, popsize
        self.bar, self.seconds = None, 0.0
        self._titled = False

    def arrived(self, generation: int) -> None:
        """One more lifetime of this generation has ended."""
        if self.quiet or not sys.stderr.isatty():
            return
        if self.bar is None:
            import tqdm

            self.bar = tqdm.tqdm(
                total=self.popsize, leave=False, dynamic_ncols=True, mininterval=0.2,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}",
            )  # fmt: skip
        self.bar.set_description_str(f"generation {generation + 1}", refresh=False)
        if self.seconds:
            left = (self.generations - generation) * self.seconds
            self.bar.set_postfix_str(
                f"left {time.strftime('%H:%M:%S', time.gmtime(left))}"
                if left < 86400
                else f"left {left / 86400:.1f} days",
                refresh=False,
            )
        self.bar.update()

    def generation(self, row: dict, shown: bool = True) -> None:
        """Print the line of a generation that has ended."""
        self.seconds = row["seconds"]
        self.clear()
        if self.quiet or not shown:
            return
        columns = [column for column in COLUMNS if column[-1] in row]
        if not self._titled:
            tell("".join(f"{title:>{width}}" for title, width, _, _ in columns))
            self._titled = True
        cells = (
            f" {row[key]:>{width - 1}{form}}" if row[key] == row[key] else f"{'-':>{width}}"
            for _, width, form, key in columns
        )
        tell("".join(cells))

    def say(self, line: str, needed: bool = False) -> None:
        """Print a line; what is needed with --quiet too, but then on stderr."""
        self.clear()
        if needed or not self.quiet:
            tell(line, sys.stderr if self.quiet else sys.stdout)

    def warn(self, line: str) -> None:
        self.clear()
        tell(f"warning: {line}", sys.stderr)

    def clear(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Bar:
    """A progress bar over things that arrive; without a terminal, a line for each tenth of them."""

    def __init__(self, total: int, unit: str):
        import tqdm

        self.total, self.unit, self.done = total, unit, 0
        self.shown = sys.stderr.isatty()
        self.bar = tqdm.tqdm(total=total, unit=unit, leave=False, disable=not self.shown)

    def arrived(self, thing, result) -> None:
        """Called by `map` of the workers: without a result nothing has arrived."""
        if result is None:
            return
        self.bar.update()
        before, self.done = self.done, self.done + 1
        if not self.shown and 10 * self.done // self.total > 10 * before // self.total:
            tell(f"{self.done} of {self.total} {self.unit}", sys.stderr)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *exception) -> None:
        self.bar.close()


class Board:
    """TensorBoard's files, in the run folder: scalars, and now and then histograms."""

    HISTOGRAMS_EVERY = 10  # generations

    def __init__(self, folder):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def generation(self, row: dict, blocks: dict) -> None:
        generation = row["generation"]
        for key, value in row.items():
            if key != "generation" and value == value:  # not of a score that is not known
                self.writer.add_scalar(key, value, generation)
        if generation % self.HISTOGRAMS_EVERY in (0, 1):
            for label, block in blocks.items():
                self.writer.add_histogram(label, block, generation)
        self.writer.flush()
