"""The rule: how every synapse rewrites itself at each time step of a lifetime.

A rule is a formula (`rules/formulas.py` says what may stand in one) for the synapse from
pre-synaptic neuron i to post-synaptic neuron j. That of the paper (Najarro & Risi 2020, eq. 2) is

    w += η * (A * pre * post + B * pre + C * post + D)

Afterwards a layer may be normalized as a whole.

Shapes: S plastic synapses, layer after layer; inside a layer, number n_post·i + j is the synapse
i -> j. K coefficients per synapse, one row of S for each column of `RULES`; N neurons.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from rules.formulas import Rule, parse
from rules.kernels import NORMALIZATIONS, kernel

PAPER = "Najarro & Risi 2020"
ABCD = "A * pre * post + B * pre + C * post + D"
# name -> formula; where it comes from; its columns where files have another order than the formula
TABLE = {
    "A": ("w += A * pre * post", PAPER),
    "AD": ("w += A * pre * post + D", PAPER),
    "AD_lr": ("w += (A * pre * post + D) * η", PAPER),
    "ABC": ("w += A * pre * post + B * pre + C * post", PAPER),
    "ABC_lr": ("w += (A * pre * post + B * pre + C * post) * η", PAPER),
    "ABCD": (f"w += {ABCD}", PAPER),
    "ABCD_lr": (f"w += η * ({ABCD})", PAPER, "A B C η D"),
    "ABCD_lr_D_out": ("w += (A * pre * post + B * pre + C * post) * η + D_out", PAPER),
    "ABCD_lr_D_in_and_out": (f"w += η * ({ABCD}) + D_out", PAPER, "A B C η D D_out"),
    "static": ("", "the weights are evolved and stay: never updated, never normalized"),
    "Oja": ("w += η * post * (pre - post * w)", "Oja 1982"),
    # the threshold slides as a running mean of post², at an evolved speed between 0 and 1
    "BCM": (
        "h += tanh(λ) ** 2 * (post ** 2 - h); w += η * pre * post * (post - h)",
        "Bienenstock, Cooper & Munro 1982",
    ),
    "modulated": (f"w += m * η * ({ABCD})", "Soltoggio et al. 2008; Miconi et al. 2019"),
    "trace": (
        "e = tanh(λ) * e + pre * post; w += η * m * e",
        "Izhikevich 2007; Gerstner et al. 2018",
    ),
    "neuron_centric": (
        "w += (η_pre + η_post) / 2"
        " * (A_pre * pre + B_post * post + C_pre * C_post * pre * post + D_pre * D_post)",
        "Ferigo et al. 2024",
    ),
}


def _row(name: str, formula: str, source: str, columns: str = "") -> Rule:
    if not formula:
        return Rule(name, formula)
    rule = replace(parse(formula), name=name)
    return rule.with_columns(tuple(columns.split())) if columns else rule


_ROWS = {name: _row(name, *row) for name, row in TABLE.items()}
# rule -> its coefficients, in the order of their columns in a file of coefficients
RULES = {name: rule.columns + rule.neuron_columns for name, rule in _ROWS.items()}

REFERENCE = tuple(name for name, (_, source, *_) in TABLE.items() if source == PAPER)


def rule_of(text: str) -> Rule:
    """The rule of a name in `TABLE`, or of a formula; ValueError, one line, for anything else."""
    if text in _ROWS:
        return _ROWS[text]
    if "=" not in text:
        names = ", ".join(_ROWS)
        raise ValueError(
            f"unknown rule {text[:40]!r}; choose one of {names}, or write a formula, for example"
            " 'w += η * post * (pre - post * w)'"
        )
    return parse(text)


class Synapses:
    """The plastic synapses of a network: their weights, their memory and their coefficients.

    weights (S,) float32, which the network reads, rewritten in place; shapes (layers, 2) int64:
    n_pre and n_post of each layer; neurons (positions,) int64: whose activation stands at each
    position of the activations (by default each is a neuron of its own), 0 to N - 1.
    normalization, one of NORMALIZATIONS: keep the weights as they are, divide each layer by its
    largest absolute weight, or shift and scale it to mean 0 and standard deviation 1.
    """

    def __init__(self, rule: Rule, weights, shapes, normalization="none", neurons=None):
        positions = int(shapes[:, 0].sum() + shapes[-1, 1])
        self.rule, self.weights, self.shapes = rule, weights, shapes
        self.neurons = np.arange(positions) if neurons is None else neurons
        self.frozen = False
        self.coefficients = np.zeros((len(rule.columns), weights.size), np.float32)
        self.neuron_coefficients = np.zeros((len(rule.neuron_columns), positions), np.float32)
        self.memory = np.zeros((len(rule.memory), weights.size), np.float32)
        arrays = (self.coefficients, self.neuron_coefficients, self.memory)
        used = [array for array in arrays if len(array)]  # each array costs a call its handle
        self._update = None
        if rule.program:
            number = NORMALIZATIONS[normalization]
            self._update = partial(kernel(rule), weights, shapes, number, *used)

    def load(self, coefficients: np.ndarray, of_neurons: np.ndarray | None = None) -> None:
        """Take the coefficients of synapses, (S, K), and of neurons, (N, K of those)."""
        self.coefficients[...] = coefficients.T
        if of_neurons is not None:
            self.neuron_coefficients[...] = of_neurons[self.neurons].T

    def reset(self) -> None:
        """Begin a lifetime: nothing is remembered, and the synapses are plastic."""
        self.memory[...] = 0
        self.frozen = False

    def update(self, activations: np.ndarray, reward: float = 0.0) -> None:
        """One step of the rule, in place, without allocating anything.

        activations (positions,) float32: input, hidden layers, output (the last of which is the
        modulator where the rule names m). A layer of zeros (or one of equal weights) is left
        alone by the normalization. What is not finite spreads to its whole layer.
        """
        if self._update is not None and not self.frozen:
            self._update(activations, reward)
