"""The options of train_hebb.py: every value of a run, in the order of `--help`."""

from dataclasses import dataclass

from commands.options import (
    AT_LEAST_1,
    BELOW_1,
    FINITE,
    NOT_NEGATIVE,
    PAIRS,
    POSITIVE,
    SIZES,
    UNIT,
    option,
)
from commands.shared_options import HEBB_RULE, INIT_WEIGHTS, MAX_STEPS, REFERENCE, THREADS, WHICH

SALIMANS, MNIH = "Salimans et al. 2017", "Mnih et al. 2015"


@dataclass(frozen=True)
class Training:
    """The options of train_hebb.py."""

    environment: list[str] = option(
        ["CarRacing-v0"],
        "ids of gymnasium, gym or pyBullet environments, or module:Id-v0; of several, the fitness"
        " is their mean",
        part="fitness",
        source=REFERENCE,
    )
    hebb_rule: str = option("ABCD_lr", **HEBB_RULE, part="agent")
    popsize: int = option(
        200, "individuals per generation (P)", PAIRS, part="strategy", source=REFERENCE
    )
    lr: float = option(
        0.2,
        "learning rate of the evolution strategy",
        POSITIVE,
        part="strategy",
        source=REFERENCE,
    )
    decay: float = option(
        0.995,
        "factor on the learning rate after each generation",
        UNIT,
        part="strategy",
        source=REFERENCE,
    )
    sigma: float = option(
        0.1, "standard deviation of the perturbations", POSITIVE, part="strategy", source=REFERENCE
    )
    init_weights: str = option("uni", **INIT_WEIGHTS, part="agent")
    print_every: int = option(
        1,
        "generations between two saved and printed ones",
        AT_LEAST_1,
        part="output",
        source=REFERENCE,
    )
    generations: int = option(
        300, "how many generations to evolve", AT_LEAST_1, part="loop", source=REFERENCE
    )
    threads: int = option(**THREADS, part="workers")
    folder: str = option(
        "heb_coeffs", "where the folder of the run is made", part="output", source=REFERENCE
    )
    distribution: str = option(
        "normal",
        "of the first coefficients: normal N(0, 1) or uniform U(-1, 1)",
        choices=("normal", "uniform"),
        part="start",
        source=REFERENCE,
    )
    seed: int | None = option(
        None,
        "fixes every random number of the run; drawn and printed when absent",
        NOT_NEGATIVE,
        part="strategy",
    )
    max_steps: int | None = option(**MAX_STEPS, part="agent")
    conditions: list[str] | None = option(
        None,
        "each individual also lives in a world that has changed, once for each of these of the"
        " table of conditions, or module:function, or NAME=STRENGTH; of several with commas between"
        " them another one in each lifetime",
        part="fitness",
    )
    aggregate: str = option(
        "mean",
        "the fitness over several environments, conditions and episodes; ranks: the mean, but"
        " what counts is the sum of an individual's ranks in each of them, whatever their scale",
        choices=("mean", "min", "ranks"),
        part="fitness",
    )
    episodes: int = option(
        1, "lifetimes of each individual in each environment", AT_LEAST_1, part="fitness"
    )
    common_random_numbers: bool = option(
        False,
        "both members of an antithetic pair have the same episodes",
        part="strategy",
        source="variance reduction",
    )
    optimizer: str = option(
        "sgd",
        "how θ follows the gradient",
        choices=("sgd", "adam", "clipup"),
        part="strategy",
        source="Salimans et al. 2017; Toklu et al. 2020",
    )
    momentum: float = option(
        0.0,
        "of sgd; for adam its first β, and clipup's (0 keeps their 0.9)",
        BELOW_1,
        part="strategy",
    )
    step_ratio: float | None = option(
        None,
        "κ: length of a step of sgd over the radius of the samples; then lr = κ·σ²·√P in each"
        " generation, and --lr and --decay do not count (0.1 to 0.5 learns best)",
        POSITIVE,
        part="strategy",
    )
    sigma_factors: list[str] | None = option(
        None,
        "NAME=FACTOR of σ, for columns of the rule and for evolved weights: η=0.3 or"
        " CNN_parameters=0.4",
        part="agent",
    )
    mirror: bool = option(
        False,
        "tie the rules (static: the weights) of mirrored synapses: knowledge put in by hand, for"
        " the quadruped",
        part="agent",
    )
    eval_every: int = option(
        0,
        "generations between two evaluations of θ itself (0: never); the best"
        " by this score is then the best",
        NOT_NEGATIVE,
        part="loop",
    )
    eval_episodes: int = option(
        20, "lifetimes of θ in such an evaluation, on held-out seeds", AT_LEAST_1, part="loop"
    )
    eval_environment: list[str] | None = option(
        None,
        "ids in which θ is scored then too; evolution learns nothing of them",
        part="output",
    )
    stop_at: float | None = option(
        None, "end when the mean fitness (or θ's own score) reaches this", FINITE, part="loop"
    )
    hidden: list[int] = option(
        [128, 64],
        "sizes of the hidden layers",
        SIZES,
        part="agent",
        source="reference: 128 64",
    )
    recurrent: bool = option(
        False,
        "each hidden layer also sees, by plastic synapses, its own activations of the step before",
        part="agent",
    )
    inputs: list[str] | None = option(
        None,
        "what the network sees beside the observation, of the step before",
        (lambda names: len(set(names)) == len(names), "reward, action or both"),
        choices=("reward", "action"),
        part="task",
        source="Duan et al. 2016",
    )
    normalization: str = option(
        "auto",
        "of the weights of a layer after each update: auto is the"
        " task's, standard is (w - mean) / std",
        choices=("auto", "max", "none", "standard"),
        part="task",
        source="max: reference",
    )
    update_every: int = option(
        1,
        "steps from one update of the weights to the next",
        AT_LEAST_1,
        part="task",
        source="Hebbian Attractor Networks",
    )
    shared_rules: int = option(
        0,
        "evolve this many rules, one of which each synapse uses (0: each has its own); with"
        " --start_from those that are alike are merged",
        NOT_NEGATIVE,
        part="agent",
        source="Evolving and Merging",
    )
    action_bounds: str = option(
        "auto",
        "how Box actions come from the output: auto is the task's, tanh is stretched to the space",
        choices=("auto", "clip", "tanh"),
        part="task",
        source="reference's README",
    )
    early_stop: int | None = option(
        None,
        "more negative rewards in a row than this end a lifetime",
        NOT_NEGATIVE,
        part="task",
        source="reference, for its two tasks",
    )
    normalize_observations: bool = option(
        False,
        "by their running mean and variance, which are filed with the agent",
        part="agent",
        source=SALIMANS,
    )
    frame_stack: int = option(
        1,
        "the last observations that the network sees at once",
        AT_LEAST_1,
        part="wrapper",
        source=MNIH,
    )
    grayscale: bool = option(False, "grey images in place of colour", part="wrapper", source=MNIH)
    tensorboard: bool = option(
        False, "write TensorBoard files into the run folder", part="output", resumable=True
    )
    lifetime_timeout: float | None = option(
        None,
        "seconds after which a lifetime that hangs is evaluated again, three attempts at most",
        POSITIVE,
        part="workers",
        resumable=True,
    )
    engine: str = option(
        "local",
        "where lifetimes are evaluated: on this machine, or on the nodes of a Ray cluster",
        choices=("local", "ray"),
        part="workers",
        resumable=True,
    )
    ray_address: str | None = option(
        None,
        "of the cluster, HOST:PORT or auto; without one a Ray of this machine's own is started",
        part="workers",
        resumable=True,
    )
    start_from: str | None = option(
        None, "run folder whose agent is the first θ, in place of chance", part="start"
    )
    which: str = option(**WHICH, part="start")
    resume: str | None = option(
        None, "run folder to go on with; needs no other option", part="output", resumable=True
    )
    quiet: bool = option(
        False, "print errors only, and how to go on after a stop", part="output", resumable=True
    )
