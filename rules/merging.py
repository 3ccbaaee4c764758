"""Fewer rules from many: synapses whose rules are alike come to share one.

Merging makes networks cope better with bodies that evolution has not seen, as Pedersen & Risi found
(Evolving and Merging Hebbian Learning Rules, GECCO 2021).
"""

import numpy as np

from machine.compiled import compiled

ROUNDS = 20  # of k-means, unless nothing changes before


@compiled
def _nearest(rules, centres, assignment):
    """Rewrite the number of each rule's nearest centre; how many have changed."""
    changed = 0
    for s in range(len(rules)):
        best, least = 0, np.inf
        for r in range(len(centres)):
            distance = 0.0
            for k in range(centres.shape[1]):
                distance += (rules[s, k] - centres[r, k]) ** 2
            if distance < least:
                best, least = r, distance
        changed += assignment[s] != best
        assignment[s] = best
    return changed


def merge(rules: np.ndarray, number: int, rng: np.random.Generator) -> tuple:
    """(assignment (S,) int64, merged (number, K) float32): k-means of rules (S, K), each as near as
    its numbers are, which are best in units of what disturbs them.

    It begins with as many of the rules, drawn by rng. ValueError where these are too few.
    """
    distinct = np.unique(rules, axis=0)
    if not 0 < number <= len(distinct):
        raise ValueError(f"--shared_rules {number}: of {len(distinct)} different rules")
    rules, distinct = np.float64(rules), np.float64(distinct)
    centres = distinct[rng.permutation(len(distinct))[:number]]
    assignment = np.full(len(rules), -1)
    for _ in range(ROUNDS):
        if not _nearest(rules, centres, assignment):
            break
        sizes = np.bincount(assignment, minlength=number)
        for k, column in enumerate(centres.T):
            sums = np.bincount(assignment, rules[:, k], number)
            column[sizes > 0] = sums[sizes > 0] / sizes[sizes > 0]  # one without rules stays
    return assignment, centres.astype(np.float32)
