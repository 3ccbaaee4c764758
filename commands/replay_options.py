"""The options of evaluate_hebb.py, plot_hebb.py and benchmark.py, in the order of `--help`."""

from dataclasses import dataclass

from commands.options import AT_LEAST_1, FILE, NOT_NEGATIVE, PAIRS, UNIT, option
from commands.shared_options import HEBB_RULE, INIT_WEIGHTS, MAX_STEPS, REFERENCE, THREADS, WHICH

LESION = ("lesion",)
LAYERS = (lambda layers: min(layers) >= 1, "layers counted from 1 at the input")
FIRST_SEED = {  # and SHOWN: what `option` takes
    "default": 0,
    "meaning": "of the first lifetime; the next ones count on",
    "check": NOT_NEGATIVE,
}
SHOWN = {"default": 5, "meaning": "lifetimes to show", "check": AT_LEAST_1}


@dataclass(frozen=True)
class Lesions:
    """What is done to the weights of a lifetime."""

    lesion: int | None = option(None, "damage the weights after this many steps", AT_LEAST_1)
    lesion_layers: list[int] | None = option(
        None, "layers to damage, counted from 1 at the input (default: all)", LAYERS, needs=LESION
    )
    lesion_fraction: float = option(0.5, "share of a layer's weights to damage", UNIT, needs=LESION)
    lesion_to: str = option(
        "zero",
        "what damaged weights become: 0, the layer's largest absolute weight with their own sign,"
        " or as first drawn",
        choices=("zero", "saturate", "random"),
        needs=LESION,
    )
    freeze: int | None = option(None, "end all plasticity after this many steps", AT_LEAST_1)


@dataclass(frozen=True)
class Changes:
    """In which changed worlds, and without which coefficients, lifetimes are compared."""

    conditions: list[str] | None = option(
        None,
        "compare lifetimes in a changed world: all, or names from the table of conditions, or"
        " module:function, each with =STRENGTH where it is not the usual one; of several with"
        " commas between them another one in each lifetime",
    )
    at: list[int] = option(
        [0, 300],
        "steps after which the world changes (0: from the start), a table for each",
        (lambda steps: min(steps) >= 0, "whole numbers from 0 on"),
        needs=("conditions", "knockout"),
    )
    against: str | None = option(
        None,
        "run folder whose best agent meets the same conditions, from the same seeds",
        needs=("conditions",),
    )
    knockout: list[str] | None = option(
        None,
        "compare lifetimes without these columns of the coefficients (all: each of them in turn)",
    )
    knockout_to: str = option(
        "zero",
        "what their coefficients become: 0, or the mean of their layer",
        choices=("zero", "mean"),
        needs=("knockout",),
    )


@dataclass(frozen=True)
class Replay:
    """Which agent is evaluated, how often, and where its results go."""

    run: str | None = option(None, "run folder to replay; needs no other option")
    which: str = option(**WHICH, needs=("run",))
    environment: list[str] | None = option(
        None, "ids to evaluate in (default: those of the run, or CarRacing-v0)", source=REFERENCE
    )
    hebb_rule: str | None = option(None, **HEBB_RULE)
    init_weights: str | None = option(None, **INIT_WEIGHTS)
    path_hebb: str | None = option(
        None, "the .dat of the coefficients (static: of the weights)", source=REFERENCE
    )
    path_coev: str | None = option(
        None, "the .dat of the CNN parameters or co-evolved weights", source=REFERENCE
    )
    episodes: int | None = option(
        None, "lifetimes to evaluate (default: 100, but 20 under each condition)", AT_LEAST_1
    )
    seed: int = option(0, "of the first episode; the next ones count on", NOT_NEGATIVE)
    threads: int = option(**THREADS)
    max_steps: int | None = option(**MAX_STEPS)
    early_stop: int | None = option(
        None,
        "more negative rewards in a row than this end a lifetime (default: as in training)",
        NOT_NEGATIVE,
    )
    render: bool = option(False, "watch the episodes in a window (one process)")
    json: str | None = option(None, "file for each episode's seed, fitness and steps", FILE)


@dataclass(frozen=True)
class Evaluation(Changes, Lesions, Replay):
    """The options of evaluate_hebb.py."""

    window: int = option(
        100,
        "steps whose mean reward tells whether it has recovered",
        AT_LEAST_1,
        needs=("conditions", "knockout", "lesion", "freeze"),
    )
    video: str | None = option(None, "film of the first episode, .mp4 or .gif; no display needed")
    video_weights: int | None = option(
        None,
        "layer whose weights are shown beside the film's picture, counted from 1 at the input",
        AT_LEAST_1,
        needs=("video",),
    )


@dataclass(frozen=True)
class Benchmark:
    """The options of benchmark.py."""

    environment: list[str] = option(
        ["CarRacing-v0", "AntBulletEnv-v0", "CartPole-v1"], "ids to measure"
    )
    popsize: int = option(200, "lifetimes of a generation", PAIRS)
    full_length: bool = option(False, "no lifetime of a generation ends before its 1000 steps")
    rounds: int = option(5, "times that everything is measured, in turn", AT_LEAST_1)
    threads: int = option(**THREADS)
    json: str | None = option(None, "file for the figures of all rounds", FILE)


@dataclass(frozen=True)
class Figure:
    """The options of every figure of plot_hebb.py."""

    out: str | None = option(None, "file of the figure, .png, .svg or .pdf (default: FIGURE.png)")


@dataclass(frozen=True)
class AgentFigure(Figure):
    which: str = option(**WHICH)


@dataclass(frozen=True)
class _Lifetimes(AgentFigure):
    environment: str | None = option(None, "id to evaluate in (default: the first of the run)")
    seed: int = option(**FIRST_SEED)
    max_steps: int | None = option(**MAX_STEPS)


@dataclass(frozen=True)
class LifetimeFigure(Lesions, _Lifetimes):
    pass


@dataclass(frozen=True)
class _Episodes(_Lifetimes):
    episodes: int = option(**SHOWN)


@dataclass(frozen=True)
class EpisodesFigure(Lesions, _Episodes):
    pass


@dataclass(frozen=True)
class SwitchFigure(AgentFigure):
    seed: int = option(**FIRST_SEED)
    episodes: int = option(**SHOWN)


OF_SEVERAL_RUNS = ("fitness", "scores", "conditions", "switch")  # figures; the others show one
FIGURES = {  # of plot_hebb.py -> what it shows, and its options
    "fitness": ("fitness over generations, settings side by side", Figure),
    "lifetime": ("reward, activations, weights and their changes", LifetimeFigure),
    "weights": ("weights of several lifetimes on their principal components", EpisodesFigure),
    "recovery": ("rewards of the same lifetimes intact, lesioned, frozen and both", EpisodesFigure),
    "coefficients": ("coefficients before and after evolution", AgentFigure),
    "scores": ("each run's results.json, by environment, side by side", Figure),
    "switch": ("right choices around the switch of TMaze-v0 or Reversal-v0", SwitchFigure),
    "conditions": ("each run's conditions.json: what is left of the score", Figure),
    "adaptation": ("the run's conditions.json: rewards around the change", Figure),
    "knockouts": ("the run's knockouts.json: what is left without a column", Figure),
}
