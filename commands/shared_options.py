"""The options that several commands have, described once: what `option` takes."""

from commands.options import AT_LEAST_1, CORES
from hebbian_weights_update import RULES, rule_of
from networks.initial_weights import INITIALISATIONS

REFERENCE = "reference"
HEBB_RULE = {
    "meaning": "the plasticity rule, a formula such as 'w += η * post * (pre - post * w)' or the"
    " name of one (static evolves the weights themselves)",
    "check": (rule_of, "a rule"),
    "choices": tuple(RULES),
    "open": True,
    "source": REFERENCE,
}
INIT_WEIGHTS = {
    "meaning": "how the dense weights begin each lifetime; coevolve evolves them",
    "choices": tuple(INITIALISATIONS),
    "source": REFERENCE,
}
THREADS = {
    "default": -1,
    "meaning": "worker processes; -1 takes every core that this process may use",
    "check": CORES,
    "source": REFERENCE,
    "resumable": True,
}
MAX_STEPS = {
    "default": None,
    "meaning": "limit of steps in a lifetime (10000 where the environment has none of its own)",
    "check": AT_LEAST_1,
}
WHICH = {
    "default": "best",
    "meaning": "agent of a run: best, last or the number of its generation; of A-B their mean",
}
