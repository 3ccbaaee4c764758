"""The layout of θ: what evolves, in which order, and under which names it is filed."""

from collections.abc import Sequence

import numpy as np

import seeds
from hebbian_weights_update import REFERENCE
from rules.formulas import Rule
from rules.mirror import halves


class Genome:
    """θ = coefficients, then what is evolved beside them: the conv weights of pixel networks; with
    `coevolve` conv and dense weights. A static network's θ is conv and dense weights alone.

    Each of the S synapses has its own K coefficients (S·K), row after row; then come, for rules
    that have such, K' coefficients of each of the N neurons, input first and layer after layer.
    Three options search elsewhere:
    with `shared_rules` R, θ holds R rules, and each synapse uses one of them, by an assignment that
    the seed fixes; with `mirror`, one rule (static: one weight) for each pair of mirrored synapses;
    with `sigma_factors`, NAME=FACTOR of a column or of the other block, numbers that are multiplied
    by the factor, so that σ disturbs what they stand for by FACTOR · σ.
    """

    def __init__(
        self,
        rule: Rule,
        policy,
        init_weights: str,
        shared_rules: int = 0,
        seed: int = 0,
        mirror=None,
        sigma_factors: Sequence[str] | None = None,
    ):
        self.rule, self.policy, self.init_weights = rule, policy, init_weights
        self.static = not rule.program
        evolves_dense = self.static or init_weights == "coevolve"
        self.n_evolved = policy.n_conv + (policy.n_plastic if evolves_dense else 0)
        self.assignment = self.signs = None
        n_rules = policy.n_plastic
        if shared_rules:
            if mirror:
                raise ValueError("--mirror and --shared_rules do not go together")
            if rule.neuron_columns:
                raise ValueError(f"--shared_rules are of synapses; neurons have those of {rule}")
            rng = seeds.stream(seed, seeds.SHARED_RULES)
            self.assignment = rng.integers(shared_rules, size=policy.n_plastic)
            n_rules = shared_rules
        elif mirror:
            allowed = *REFERENCE, "static"
            if rule.name not in allowed:
                raise ValueError(f"--mirror takes the rules {', '.join(allowed)}, not {rule}")
            # a weight changes its sign as a drift towards it does
            self.assignment, self.signs = mirror.tie(policy.sizes, rule.columns or ("D",))
            n_rules = int(self.assignment.max()) + 1
            if self.static:
                order = filed_order(policy.shapes)
                self.assignment, self.signs = self.assignment[order], self.signs[order]
                self.n_evolved = policy.n_conv + n_rules
        self.n_of_synapses = n_rules * len(rule.columns)
        n_of_neurons = int(policy.sizes.sum()) * len(rule.neuron_columns)
        self.n_coefficients = self.n_of_synapses + n_of_neurons
        if not self.n:
            raise ValueError(f"nothing evolves: {rule} has no coefficients")
        self.scale = self._scale(sigma_factors) if sigma_factors else None

    @property
    def n(self) -> int:
        """Length of θ."""
        return self.n_coefficients + self.n_evolved

    @property
    def evolved_label(self) -> str:
        """Of the block behind the coefficients, in the names of files."""
        if self.static:
            return "weights"
        coevolved = self.init_weights == "coevolve"
        return "coevolved_initial_weights" if coevolved else "CNN_parameters"

    def _scale(self, sigma_factors: Sequence[str]) -> np.ndarray:
        """(n,) float32: what θ is multiplied by; ValueError for a name that does not evolve."""
        rule = self.rule
        names = rule.columns + rule.neuron_columns
        names += (self.evolved_label,) if self.n_evolved else ()
        factors = dict.fromkeys(names, 1.0)
        for given in sigma_factors:
            name, _, factor = given.partition("=")
            if name not in factors:
                raise ValueError(f"--sigma_factors {given}: choose among {', '.join(names)}")
            factors[name] = positive(factor, f"--sigma_factors {given}")
        repeated = (
            (rule.columns, self.n_of_synapses // max(len(rule.columns), 1)),
            (rule.neuron_columns, int(self.policy.sizes.sum())),
            ((self.evolved_label,), self.n_evolved),
        )
        each = [np.tile([factors.get(name, 1.0) for name in row], n) for row, n in repeated]
        return np.concatenate(each).astype(np.float32)

    def unscaled(self, theta: np.ndarray) -> np.ndarray:
        """θ as coefficients and weights."""
        return theta if self.scale is None else theta * self.scale

    def scaled(self, theta: np.ndarray) -> np.ndarray:
        """The inverse of `unscaled`."""
        return theta if self.scale is None else theta / self.scale

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of θ: coefficients of synapses (S, K) and of neurons (N, K'), and evolved weights."""
        ends = [self.n_of_synapses, self.n_coefficients]
        of_synapses, of_neurons, evolved = np.split(self.unscaled(theta), ends)
        if self.rule.columns:
            of_synapses = of_synapses.reshape(-1, len(self.rule.columns))
            if self.assignment is not None:
                of_synapses = of_synapses[self.assignment]
            if self.signs is not None:
                of_synapses *= self.signs
        else:
            of_synapses = np.empty((self.policy.n_plastic, 0), np.float32)
        of_neurons = of_neurons.reshape(self.policy.sizes.sum(), len(self.rule.neuron_columns))
        return of_synapses, of_neurons, self.untied(evolved)

    def untied(self, evolved: np.ndarray) -> np.ndarray:
        """Evolved weights as the policy starts with them; θ of a mirrored static network has one
        of each pair."""
        if not self.static or self.signs is None:
            return evolved
        return evolved[self.assignment] * self.signs[:, 0]

    def blocks(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """θ as it is filed, by the label in the file's name.

        Coefficients are (S, K), or (S,) for K = 1, as in the reference; those of neurons alone
        (N, K'). A rule that has both files them flat, S·K numbers and then N·K'.
        """
        of_synapses, of_neurons, evolved = self.split(theta)
        coefficients = of_synapses if self.rule.columns else of_neurons
        if self.rule.columns and self.rule.neuron_columns:
            coefficients = np.concatenate([of_synapses.ravel(), of_neurons.ravel()])
        elif coefficients.shape[1] == 1:
            coefficients = coefficients.ravel()
        result = {"coeffs": coefficients} if self.n_coefficients else {}
        if self.n_evolved:
            result[self.evolved_label] = evolved
        return result

    def join(self, *blocks: np.ndarray) -> np.ndarray:
        """θ of its blocks; ValueError where their sizes are not those of this network, or
        where they are not mirrored and `mirror` is asked for."""
        n_filed = self.policy.n_plastic * len(self.rule.columns)
        n_filed += self.n_coefficients - self.n_of_synapses
        n_weights = self.untied(np.empty(self.n_evolved)).size
        sizes = [size for size in (n_filed, n_weights) if size]
        given = [np.size(block) for block in blocks]
        if given != sizes:
            raise ValueError(
                f"{self.rule} with {self.init_weights} weights takes "
                f"{' and '.join(map(str, sizes))} numbers, not {' and '.join(map(str, given))}"
            )
        blocks = [np.ravel(block).astype(np.float32) for block in blocks]
        if self.signs is not None:
            blocks[0] = self._halved(blocks[0].reshape(self.signs.shape)).ravel()
        theta = np.concatenate(blocks)
        return self.scaled(theta)

    def beside_its_mirror_image(
        self, coefficients: np.ndarray, kept: Sequence[np.ndarray]
    ) -> np.ndarray:
        """(n,) θ of mirrored rules: those of the synapses among the kept half of the hidden
        neurons, of any (S, K), and their mirror image; between the two nothing is plastic.

        Of a static network: the same of its weights, (S, 1) as they are filed."""
        source, target = halves(self.policy.sizes, kept)
        if self.static:
            places = np.argsort(filed_order(self.policy.shapes))
            source, target = places[source], places[target]
        rules = np.zeros((self.assignment.max() + 1, self.signs.shape[1]), np.float32)
        rules[self.assignment[target]] = coefficients[source] * self.signs[target]
        return self.scaled(rules.ravel())

    def _halved(self, coefficients: np.ndarray) -> np.ndarray:
        """One rule of each pair of mirrored synapses."""
        rules = self._first_of_pairs(coefficients)
        if not np.array_equal(rules[self.assignment] * self.signs, coefficients):
            raise ValueError("--mirror: these coefficients are not those of a mirrored network")
        return rules

    def _first_of_pairs(self, coefficients: np.ndarray) -> np.ndarray:
        _, first = np.unique(self.assignment, return_index=True)
        return coefficients[first] * self.signs[first]

    def first_theta(self, seed: int, distribution: str) -> np.ndarray:
        """θ₀ ~ N(0, 1) or U(-1, 1), (n,) float32; a static network's from `default`."""
        rng = seeds.stream(seed, seeds.START)
        if self.static:
            theta = self.policy.draw(rng)
            if self.signs is not None:
                theta = self._first_of_pairs(theta[:, None]).ravel()
        elif distribution == "uniform":
            theta = rng.uniform(-1, 1, self.n).astype(np.float32)
        else:
            theta = rng.standard_normal(self.n, dtype=np.float32)
        return self.scaled(theta)

    def drifting(self, evolved: np.ndarray) -> np.ndarray:
        """(n,) θ of a rule whose weights only drift towards those of a static network, w += D: D
        are its dense weights, η is 1 and all else 0. evolved: the static network's θ.

        ValueError for a rule without D, and for what is searched for elsewhere.
        """
        columns = self.rule.columns
        if "D" not in columns or self.rule.name not in REFERENCE or self.assignment is not None:
            raise ValueError(
                f"--start_from a static run takes a rule with D of its own for each synapse, not"
                f" {self.rule}"
            )
        n_conv = self.policy.n_conv
        self.policy.start("coevolve", None, evolved)
        coefficients = np.zeros((self.policy.n_plastic, len(columns)), np.float32)
        coefficients[:, columns.index("D")] = self.policy.weights
        if "η" in columns:
            coefficients[:, columns.index("η")] = 1
        behind = evolved if self.init_weights == "coevolve" else evolved[:n_conv]
        return self.join(*(block for block in (coefficients, behind) if block.size))

    def mean_square(self, theta: np.ndarray) -> float:
        """Of the coefficients (static: of the weights), for the penalty on fitness."""
        part = self.unscaled(theta)[: self.n_coefficients or self.n]
        return float(np.dot(part, part)) / part.size


def filed_order(shapes: np.ndarray) -> np.ndarray:
    """(S,): whose weight stands at each place of a file, where each layer is (n_post, n_pre)."""
    begins = np.cumsum([0, *shapes.prod(axis=1)[:-1]])
    return np.concatenate(
        [b + np.arange(n.prod()).reshape(n).T.ravel() for b, n in zip(begins, shapes, strict=True)]
    )


def positive(text: str, of: str) -> float:
    """The number of a text; ValueError when it is none, or not above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{of}: a factor is a number above 0")
    return number
