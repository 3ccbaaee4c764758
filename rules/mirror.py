"""Rules tied by the symmetry of a body with a left and a right side.

This is knowledge put in by hand, and not in the paper: a network with tied rules does on a mirrored
body what it does on the body itself, whichever of the two evolution has seen.

A mirrored network has a partner for each neuron, whose activation it takes over, with a sign:
o'_π(i) = s_i · o_i. Its weights must be w'_π(i)π(j) = s_i · s_j · w_ij, and stay so under the rule.
Each term of Δw therefore changes sign with its coefficient:

    A' = A      B' = s_j · B      C' = s_i · C      D' = s_i · s_j · D      η' = η
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# column of a rule -> the signs that its coefficient takes over: of the pre- and the post-synaptic
SIGNS = {
    "A": (False, False),
    "B": (False, True),
    "C": (True, False),
    "D": (True, True),
    "D_out": (True, True),
    "η": (False, False),
}


class Mirror(NamedTuple):
    """Partners and signs of inputs and outputs: π and s as tuples. A hidden neuron's partner is its
    neighbour (0 and 1, 2 and 3, ...), without a sign."""

    inputs: tuple[int, ...]
    input_signs: tuple[int, ...]
    outputs: tuple[int, ...]
    output_signs: tuple[int, ...]

    def tie(self, sizes: Sequence[int], columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Which rule each synapse uses, (S,) int64, and the signs of its coefficients, (S, K)
        float32. ValueError for an odd hidden layer and for a column without a known sign."""
        for column in columns:
            if column not in SIGNS:
                raise ValueError(f"--mirror: no sign is known for {column} of this rule")
        if any(n % 2 for n in sizes[1:-1]):
            raise ValueError(f"--mirror takes hidden layers of even sizes, not {sizes[1:-1]}")
        hidden = [(np.arange(n) ^ 1, np.ones(n)) for n in sizes[1:-1]]
        first = np.array(self.inputs), np.array(self.input_signs)
        last = np.array(self.outputs), np.array(self.output_signs)
        neurons = [first, *hidden, last]
        groups, signs, begin = [], [], 0
        for (pre, s_pre), (post, s_post) in zip(neurons[:-1], neurons[1:], strict=True):
            number = np.arange(pre.size * post.size).reshape(pre.size, post.size)
            partner = number[pre][:, post]
            mirrored = partner < number  # the other one of the pair keeps its signs
            groups.append(begin + np.minimum(number, partner).ravel())
            begin += number.size
            # a synapse's signs come from its partner, whose neurons have the same signs
            s_pre, s_post = s_pre[pre][:, None], s_post[post][None, :]
            factors = [
                np.where(mirrored, (s_pre if a else 1) * (s_post if b else 1), 1)
                for a, b in (SIGNS[column] for column in columns)
            ]
            signs.append(np.stack([factor.ravel() for factor in factors], axis=1))
        _, assignment = np.unique(np.concatenate(groups), return_inverse=True)
        return assignment, np.concatenate(signs).astype(np.float32)


def halves(sizes: Sequence[int], kept: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The synapses, int64, of a network that keeps these of its hidden neurons, sizes[k + 1] // 2
    of layer k, and where they stand when the places between them are their partners'."""
    source, target = [], []
    pre = before = np.arange(sizes[0])
    begin = 0
    for k, (n_pre, n_post) in enumerate(itertools.pairwise(sizes)):
        post, behind = np.arange(n_post), np.arange(n_post)
        if k < len(kept):
            post, behind = kept[k], 2 * np.arange(n_post // 2)
        source.append((begin + n_post * pre[:, None] + post).ravel())
        target.append((begin + n_post * before[:, None] + behind).ravel())
        pre, before, begin = post, behind, begin + n_pre * n_post
    return np.concatenate(source), np.concatenate(target)


def _quadruped() -> Mirror:
    """y becomes -y: the way to the target, the sideways speed and the roll change sign; legs 1 and
    4, 2 and 3 change places, and their hips turn the other way."""
    legs = (3, 2, 1, 0)
    joints = [4 * leg + k for leg in legs for k in range(4)]  # hip, its speed, ankle, its speed
    inputs = [*range(8), *(8 + joint for joint in joints), *(24 + leg for leg in legs)]
    signs = [1, -1, 1, 1, -1, 1, -1, 1, *([-1, -1, 1, 1] * 4), *([1] * 4)]
    outputs = [2 * leg + k for leg in legs for k in range(2)]  # hip, ankle
    return Mirror(tuple(inputs), tuple(signs), tuple(outputs), (-1, 1) * 4)


QUADRUPED = _quadruped()
