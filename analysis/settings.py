"""Which runs have the same setting, and what figures call it."""

from commands.options import options_of
from commands.training_options import Training
from run_folder.checkpoints import RunFolder

MAX_LABEL = 40  # characters of a label that stands among the curves
MAX_LABELS = 6  # that stand there
NOT_A_SETTING = ("loop", "workers", "output")  # parts of a run


def setting(run: RunFolder) -> dict:
    """The arguments of a run that make its setting: all but its seed and its housekeeping."""
    return {
        option.name: run.arguments.get(option.name, option.default)
        for option in options_of(Training)
        if option.part not in NOT_A_SETTING and option.name != "seed"
    }


def in_words(value) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return ("off", "on")[value] if isinstance(value, bool) else str(value)


def settings(runs: list[RunFolder]) -> dict[str, list[RunFolder]]:
    """The runs by setting, labelled by the arguments in which the settings differ, or by the
    folders of their first runs (unless they are run ids) where that is too long to read."""
    found = [setting(run) for run in runs]
    names = [name for name in found[0] if any(one[name] != found[0][name] for one in found)]
    groups: dict[str, list[RunFolder]] = {}
    for run, one in zip(runs, found, strict=True):
        shown = {name: in_words(one[name]) for name in names if one[name] is not None}
        label = ", ".join(f"{name} {words}" for name, words in shown.items())
        label = label or f"{in_words(one['environment'])}, {one['hebb_rule']}"
        groups.setdefault(label, []).append(run)
    folders = [group[0].path.resolve().name for group in groups.values()]
    distinct = len(set(folders)) == len(folders) and not any(name.isdecimal() for name in folders)
    if max(map(len, groups)) > MAX_LABEL and distinct:
        return dict(zip(folders, groups.values(), strict=True))
    return groups
