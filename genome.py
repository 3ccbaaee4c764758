"""The layout of θ: what evolves, in which order, and under which names it is filed."""

import numpy as np

import seeds
from formulas import Rule


class Genome:
    """θ = coefficients, then what is evolved beside them: the conv weights of pixel networks; with
    `coevolve` conv and dense weights. A static network's θ is conv and dense weights alone.

    Coefficients are K numbers of each of the S synapses, row after row, then K' numbers of each of
    the N neurons, for rules that have such: input first, then layer after layer.
    With `shared_rules` R, θ holds R rules of K coefficients, and each of the S synapses uses one of
    them, by an assignment that the seed fixes; otherwise each has its own (S·K).
    A vector that is broadcast or filed may carry `n_observed` numbers behind θ: the statistics of
    the observations, which are not evolved.
    """

    def __init__(
        self,
        rule: Rule,
        policy,
        init_weights: str,
        shared_rules: int,
        n_observed: int,
        seed: int,
    ):
        self.rule, self.policy, self.init_weights = rule, policy, init_weights
        self.static = not rule.program
        evolves_dense = self.static or init_weights == "coevolve"
        self.n_evolved = policy.n_conv + (policy.n_plastic if evolves_dense else 0)
        self.n_observed = n_observed
        self.assignment = None
        if shared_rules:
            if rule.neuron_columns:
                raise ValueError(f"--shared_rules are of synapses; neurons have those of {rule}")
            rng = seeds.stream(seed, seeds.SHARED_RULES)
            self.assignment = rng.integers(shared_rules, size=policy.n_plastic)
        self.n_rules = shared_rules or policy.n_plastic
        self.n_of_synapses = self.n_rules * len(rule.columns)
        n_of_neurons = int(policy.sizes.sum()) * len(rule.neuron_columns)
        self.n_coefficients = self.n_of_synapses + n_of_neurons
        if not self.n:
            raise ValueError(f"nothing evolves: {rule} has no coefficients")

    @property
    def n(self) -> int:
        """Length of θ."""
        return self.n_coefficients + self.n_evolved

    def split(self, vector: np.ndarray) -> tuple[np.ndarray, ...]:
        """Of a vector: coefficients of synapses (S, K) and of neurons (N, K'), evolved weights,
        and the observations' statistics (2, n_inputs)."""
        ends = [self.n_of_synapses, self.n_coefficients, self.n]
        of_synapses, of_neurons, evolved, observed = np.split(vector, ends)
        of_synapses = of_synapses.reshape(self.n_rules, len(self.rule.columns))
        if self.assignment is not None:
            of_synapses = of_synapses[self.assignment]
        of_neurons = of_neurons.reshape(self.policy.sizes.sum(), len(self.rule.neuron_columns))
        return of_synapses, of_neurons, evolved, observed.reshape(2, -1)

    def blocks(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """A vector as it is filed, by the label in the file's name.

        Coefficients are (S, K), or (S,) for K = 1, as in the reference; those of neurons alone
        (N, K'). A rule that has both files them flat, S·K numbers and then N·K'.
        """
        of_synapses, of_neurons, evolved, observed = self.split(vector)
        coefficients = of_synapses if self.rule.columns else of_neurons
        if self.rule.columns and self.rule.neuron_columns:
            coefficients = np.concatenate([of_synapses.ravel(), of_neurons.ravel()])
        elif coefficients.shape[1] == 1:
            coefficients = coefficients.ravel()
        result = {"coeffs": coefficients} if self.n_coefficients else {}
        if self.static:
            result["weights"] = evolved
        elif self.n_evolved:
            coevolved = self.init_weights == "coevolve"
            result["coevolved_initial_weights" if coevolved else "CNN_parameters"] = evolved
        if self.n_observed:
            result["observation_statistics"] = observed
        return result

    def join(self, *blocks: np.ndarray) -> np.ndarray:
        """The vector of its blocks; ValueError where their sizes are not those of this network."""
        sizes = [self.n_coefficients, self.n_evolved, self.n_observed]
        sizes = [size for size in sizes if size]
        given = [np.size(block) for block in blocks]
        if given != sizes:
            raise ValueError(
                f"{self.rule} with {self.init_weights} weights takes "
                f"{' and '.join(map(str, sizes))} numbers, not {' and '.join(map(str, given))}"
            )
        return np.concatenate([np.ravel(block).astype(np.float32) for block in blocks])

    def first_theta(self, seed: int, distribution: str) -> np.ndarray:
        """θ₀ ~ N(0, 1) or U(-1, 1), (n,) float32; a static network's from `default`."""
        rng = seeds.stream(seed, seeds.START)
        if self.static:
            return self.policy.draw(rng)
        if distribution == "uniform":
            return rng.uniform(-1, 1, self.n).astype(np.float32)
        return rng.standard_normal(self.n, dtype=np.float32)

    def mean_square(self, theta: np.ndarray) -> float:
        """Of the coefficients (static: of the weights), for the penalty on fitness."""
        part = theta[: self.n_coefficients or self.n]
        return float(np.dot(part, part)) / part.size
