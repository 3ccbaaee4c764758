"""Every command-line option, described once: the parsers (parsing.py), config.json, --resume
and the README's tables all read this file. `python -m commands.options` writes those tables."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from hebbian_weights_update import RULES, TABLE, rule_of
from networks.initial_weights import INITIALISATIONS


@dataclass(frozen=True)
class Option:
    """One option. `check` pairs a test of a given value with the words for what it allows; the
    test may as well raise a ValueError that says it. open: choices are examples."""

    name: str
    default: Any
    meaning: str
    type: Callable = str
    choices: tuple | None = None
    open: bool = False
    check: tuple[Callable[[Any], bool], str] | None = None
    nargs: str | None = None
    source: str = "ours"  # where the option comes from; `reference` keeps names and defaults
    resumable: bool = False  # may differ when a run is resumed: results do not depend on it

    @property
    def is_flag(self) -> bool:
        return self.type is bool


POSITIVE = (lambda value: value > 0, "a number above 0")
AT_LEAST_1 = (lambda value: value >= 1, "a whole number from 1 on")
NOT_NEGATIVE = (lambda value: value >= 0, "a number from 0 on")
UNIT = (lambda value: 0 < value <= 1, "a number above 0 and up to 1")
PAIRS = (lambda value: value >= 2 and value % 2 == 0, "an even whole number from 2 on (pairs)")
SIZES = (lambda sizes: all(size >= 1 for size in sizes), "whole numbers from 1 on")
THREADS = (lambda value: value == -1 or value >= 1, "-1 (every core) or a whole number from 1 on")

ENVIRONMENT = Option(
    "environment",
    ["CarRacing-v0"],
    "ids of gymnasium, gym or pyBullet environments, or module:Id-v0; of several, the fitness is"
    " their mean",
    nargs="+",
    source="reference",
)
RULE = (rule_of, "a rule")
HEBB_RULE = Option(
    "hebb_rule",
    "ABCD_lr",
    "the plasticity rule, a formula such as 'w += η * post * (pre - post * w)' or the name of one"
    " (static evolves the weights themselves)",
    choices=tuple(RULES),
    open=True,
    check=RULE,
    source="reference",
)
INIT_WEIGHTS = Option(
    "init_weights",
    "uni",
    "how the dense weights begin each lifetime; coevolve evolves them",
    choices=tuple(INITIALISATIONS),
    source="reference",
)
THREADS_OPTION = Option(
    "threads",
    -1,
    "worker processes; -1 takes every core that this process may use",
    int,
    check=THREADS,
    source="reference",
    resumable=True,
)
MAX_STEPS = Option(
    "max_steps",
    None,
    "limit of steps in a lifetime (10000 where the environment has none of its own)",
    int,
    check=AT_LEAST_1,
)
SEED = Option(
    "seed",
    None,
    "fixes every random number of the run; drawn and printed when absent",
    int,
    check=NOT_NEGATIVE,
)

TRAINING = (
    ENVIRONMENT,
    HEBB_RULE,
    Option("popsize", 200, "individuals per generation (P)", int, check=PAIRS, source="reference"),
    Option(
        "lr",
        0.2,
        "learning rate of the evolution strategy",
        float,
        check=POSITIVE,
        source="reference",
    ),
    Option(
        "decay",
        0.995,
        "factor on the learning rate after each generation",
        float,
        check=UNIT,
        source="reference",
    ),
    Option(
        "sigma",
        0.1,
        "standard deviation of the perturbations",
        float,
        check=POSITIVE,
        source="reference",
    ),
    INIT_WEIGHTS,
    Option(
        "print_every",
        1,
        "generations between two saved and printed ones",
        int,
        check=AT_LEAST_1,
        source="reference",
    ),
    Option(
        "generations",
        300,
        "how many generations to evolve",
        int,
        check=AT_LEAST_1,
        source="reference",
    ),
    THREADS_OPTION,
    Option("folder", "heb_coeffs", "where the folder of the run is made", source="reference"),
    Option(
        "distribution",
        "normal",
        "of the first coefficients: normal N(0, 1) or uniform U(-1, 1)",
        choices=("normal", "uniform"),
        source="reference",
    ),
    SEED,
    MAX_STEPS,
    Option(
        "aggregate",
        "mean",
        "the fitness over several environments and episodes",
        choices=("mean", "min"),
    ),
    Option(
        "episodes", 1, "lifetimes of each individual in each environment", int, check=AT_LEAST_1
    ),
    Option(
        "common_random_numbers",
        False,
        "both members of an antithetic pair live the same episodes",
        bool,
        source="variance reduction",
    ),
    Option(
        "optimizer",
        "sgd",
        "how θ follows the gradient",
        choices=("sgd", "adam", "clipup"),
        source="Salimans et al. 2017; Toklu et al. 2020",
    ),
    Option(
        "momentum",
        0.0,
        "of sgd; for adam its first β, and clipup's (0 keeps their 0.9)",
        float,
        check=(lambda value: 0 <= value < 1, "a number from 0 on and below 1"),
    ),
    Option(
        "step_ratio",
        None,
        "κ: length of a step of sgd over the radius of the samples; then lr = κ·σ²·√P in each"
        " generation, and --lr and --decay do not count (about 0.2 learns best)",
        float,
        check=POSITIVE,
    ),
    Option(
        "sigma_factors",
        None,
        "NAME=FACTOR of σ, for columns of the rule and for evolved weights: η=0.3 or"
        " CNN_parameters=0.4",
        nargs="+",
    ),
    Option(
        "mirror",
        False,
        "tie the rules of mirrored synapses: knowledge put in by hand, for the quadruped",
        bool,
    ),
    Option(
        "eval_every",
        0,
        "generations between two evaluations of θ itself (0: never); the best"
        " by this score is then the best",
        int,
        check=NOT_NEGATIVE,
    ),
    Option(
        "eval_episodes",
        20,
        "lifetimes of θ in such an evaluation, on held-out seeds",
        int,
        check=AT_LEAST_1,
    ),
    Option("stop_at", None, "end when the mean fitness (or θ's own score) reaches this", float),
    Option(
        "hidden",
        [128, 64],
        "sizes of the hidden layers",
        int,
        check=SIZES,
        nargs="+",
        source="reference: 128 64",
    ),
    Option(
        "recurrent",
        False,
        "each hidden layer also sees, by plastic synapses, its own activations of the step before",
        bool,
    ),
    Option(
        "inputs",
        None,
        "what the network sees beside the observation, of the step before",
        nargs="+",
        choices=("reward", "action"),
        check=(lambda names: len(set(names)) == len(names), "reward, action or both"),
        source="Duan et al. 2016",
    ),
    Option(
        "normalization",
        "auto",
        "of the weights of a layer after each update: auto is the"
        " task's, standard is (w - mean) / std",
        choices=("auto", "max", "none", "standard"),
        source="max: reference",
    ),
    Option(
        "update_every",
        1,
        "steps from one update of the weights to the next",
        int,
        check=AT_LEAST_1,
        source="Hebbian Attractor Networks",
    ),
    Option(
        "shared_rules",
        0,
        "evolve this many rules, one of which each synapse uses (0: each has its own)",
        int,
        check=NOT_NEGATIVE,
        source="genomic bottleneck",
    ),
    Option(
        "action_bounds",
        "auto",
        "how Box actions come from the output: auto is the task's, tanh is stretched to the space",
        choices=("auto", "clip", "tanh"),
        source="reference's README",
    ),
    Option(
        "early_stop",
        None,
        "more negative rewards in a row than this end a lifetime",
        int,
        check=NOT_NEGATIVE,
        source="reference, for its two tasks",
    ),
    Option(
        "normalize_observations",
        False,
        "by their running mean and variance, which are filed with the agent",
        bool,
        source="Salimans et al. 2017",
    ),
    Option(
        "frame_stack",
        1,
        "the last observations that the network sees at once",
        int,
        check=AT_LEAST_1,
        source="Mnih et al. 2015",
    ),
    Option("grayscale", False, "grey images in place of colour", bool, source="Mnih et al. 2015"),
    Option(
        "tensorboard", False, "write TensorBoard files into the run folder", bool, resumable=True
    ),
    Option(
        "lifetime_timeout",
        None,
        "seconds after which a lifetime that hangs is lived again, three times at most",
        float,
        check=POSITIVE,
        resumable=True,
    ),
    Option(
        "engine",
        "local",
        "where lifetimes are lived: on this machine, or on the nodes of a Ray cluster",
        choices=("local", "ray"),
        resumable=True,
    ),
    Option(
        "ray_address",
        None,
        "of the cluster, HOST:PORT or auto; without one a Ray of this machine's own is started",
        resumable=True,
    ),
    Option("start_from", None, "run folder whose best agent is the first θ, in place of chance"),
    Option("resume", None, "run folder to go on with; needs no other option", resumable=True),
    Option("quiet", False, "print errors only", bool, resumable=True),
)

WHICH = Option("which", "best", "generation of the run: best, last or its number")
LESIONS = (
    Option("lesion", None, "damage the weights after this many steps", int, check=AT_LEAST_1),
    Option(
        "lesion_layers",
        None,
        "layers to damage, counted from 1 at the input (default: all)",
        int,
        nargs="+",
        check=(lambda layers: min(layers) >= 1, "layers counted from 1 at the input"),
    ),
    Option("lesion_fraction", 0.5, "share of a layer's weights to damage", float, check=UNIT),
    Option(
        "lesion_to",
        "zero",
        "what damaged weights become: 0, the layer's largest absolute weight with their own sign,"
        " or as drawn at birth",
        choices=("zero", "saturate", "random"),
    ),
    Option("freeze", None, "end all plasticity after this many steps", int, check=AT_LEAST_1),
)

CHANGES = (
    Option(
        "conditions",
        None,
        "compare lifetimes in a changed world: all, or names from the table of conditions, or"
        " module:function, each with =STRENGTH where it is not the usual one",
        nargs="+",
    ),
    Option(
        "at",
        [0, 300],
        "steps after which the world changes (0: at birth), a table for each",
        int,
        nargs="+",
        check=(lambda steps: min(steps) >= 0, "whole numbers from 0 on"),
    ),
    Option(
        "against", None, "run folder whose agent meets the same conditions, from the same seeds"
    ),
    Option(
        "knockout",
        None,
        "compare lifetimes without these columns of the coefficients (all: each of them in turn)",
        nargs="+",
    ),
    Option(
        "knockout_to",
        "zero",
        "what their coefficients become: 0, or the mean of their layer",
        choices=("zero", "mean"),
    ),
)

EVALUATION = (
    Option("run", None, "run folder to replay; needs no other option"),
    WHICH,
    Option(
        "environment",
        None,
        "ids to live in (default: those of the run, or CarRacing-v0)",
        nargs="+",
        source="reference",
    ),
    replace(HEBB_RULE, default=None),
    Option(
        "init_weights", None, INIT_WEIGHTS.meaning, choices=INIT_WEIGHTS.choices, source="reference"
    ),
    Option(
        "path_hebb",
        None,
        "the .dat of the coefficients (static: of the weights)",
        source="reference",
    ),
    Option(
        "path_coev",
        None,
        "the .dat of the CNN parameters or co-evolved weights",
        source="reference",
    ),
    Option(
        "episodes",
        None,
        "lifetimes to live (default: 100, but 20 under each condition)",
        int,
        check=AT_LEAST_1,
    ),
    Option("seed", 0, "of the first episode; the next ones count on", int, check=NOT_NEGATIVE),
    THREADS_OPTION,
    MAX_STEPS,
    Option("render", False, "watch the episodes in a window (one process)", bool),
    Option("json", None, "file for each episode's seed, fitness and steps"),
    *LESIONS,
    *CHANGES,
    Option(
        "window",
        100,
        "steps whose mean reward tells whether it has recovered",
        int,
        check=AT_LEAST_1,
    ),
    Option("video", None, "film of the first episode, .mp4 or .gif; no display needed"),
    Option(
        "video_weights",
        None,
        "layer whose weights are shown beside the film's picture, counted from 1 at the input",
        int,
        check=AT_LEAST_1,
    ),
)

BENCHMARK = (
    Option(
        "environment",
        ["CarRacing-v0", "AntBulletEnv-v0", "CartPole-v1"],
        "ids to measure",
        nargs="+",
    ),
    Option("popsize", 200, "lifetimes of a generation", int, check=PAIRS),
    Option("full_length", False, "no lifetime of a generation ends before its 1000 steps", bool),
    Option("rounds", 5, "times that everything is measured, in turn", int, check=AT_LEAST_1),
    THREADS_OPTION,
    Option("json", None, "file for the figures of all rounds"),
)

OUT = Option("out", None, "file of the figure, .png, .svg or .pdf (default: FIGURE.png)")
LIVED = (  # which lifetimes a figure shows
    WHICH,
    Option("environment", None, "id to live in (default: the first of the run)"),
    Option("seed", 0, "of the first lifetime; the next ones count on", int, check=NOT_NEGATIVE),
    MAX_STEPS,
)
EPISODES = Option("episodes", 5, "lifetimes to show", int, check=AT_LEAST_1)
OF_SEVERAL_RUNS = ("fitness", "scores", "conditions")  # figures; the others show one
FIGURES = {  # of plot_hebb.py -> what it shows, and its options
    "fitness": ("fitness over generations, settings side by side", (OUT,)),
    "lifetime": ("reward, activations, weights and their changes", (OUT, *LIVED, *LESIONS)),
    "weights": (
        "weights of several lifetimes on their principal components",
        (OUT, *LIVED, EPISODES, *LESIONS),
    ),
    "recovery": (
        "rewards of the same lifetimes intact, lesioned, frozen and both",
        (OUT, *LIVED, EPISODES, *LESIONS),
    ),
    "coefficients": ("coefficients before and after evolution", (OUT, WHICH)),
    "scores": ("each run's results.json, by environment, side by side", (OUT,)),
    "conditions": ("each run's conditions.json: what is left of the score", (OUT,)),
    "adaptation": ("the run's conditions.json: rewards around the change", (OUT,)),
    "knockouts": ("the run's knockouts.json: what is left without a column", (OUT,)),
}


def table(options: Iterable[Option], title="source", last=lambda option: option.source) -> str:
    """The options as a Markdown table, as the README has it. last: the last cell of a row."""
    rows = [f"| option | default | meaning | {title} |", "|---|---|---|---|"]
    for option in options:
        default = option.default
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        cell = "" if default is None or default is False else f"`{shown}`"
        meaning = option.meaning
        if option.choices:
            meaning += ": " + ", ".join(f"`{choice}`" for choice in option.choices)
        rows.append(f"| `--{option.name}` | {cell} | {meaning} | {last(option)} |")
    return "\n".join(rows)


def figures_table() -> str:
    """The options of all figures as a Markdown table, with the figures that take them."""
    options = dict.fromkeys(option for _, taken in FIGURES.values() for option in taken)

    def takers(option: Option) -> str:
        names = [name for name, (_, taken) in FIGURES.items() if option in taken]
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
    from environments.conditions import as_table  # here: it imports gymnasium

    tables = {
        "train_hebb.py": table(TRAINING),
        "evaluate_hebb.py": table(EVALUATION),
        "plot_hebb.py": figures_table(),
        "benchmark.py": table(BENCHMARK),
    }
    markers = {f"options of {name}": lines for name, lines in tables.items()}
    for name, lines in (markers | {"rules": rules_table(), "conditions": as_table()}).items():
        begin, end = f"<!-- {name} -->", "<!-- end -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{lines}\n{end}{tail}"
    return text


if __name__ == "__main__":  # python -m commands.options: write the tables into the README
    from pathlib import Path

    readme = Path(__file__).parents[1] / "README.md"
    readme.write_text(with_tables(readme.read_text()))
