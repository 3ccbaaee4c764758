"""The rule: how every synapse rewrites itself at each time step of a lifetime.

For the synapse from pre-synaptic neuron i to post-synaptic neuron j (Najarro & Risi 2020, eq. 2):

    Δw_ij = η · (A·o_i·o_j + B·o_i + C·o_j + D) + D_out

Absent terms are skipped, an absent η is 1. Afterwards a layer may be normalised as a whole.

Shapes: S plastic synapses, layer after layer; inside a layer, number n_post·i + j is the synapse
i -> j. K coefficients per synapse, one plane of S for each column of `RULES`.
"""

from functools import cache

import numpy as np

# rule -> its coefficients, in the order of their columns in a file of coefficients
RULES = {
    "A": ("A",),
    "AD": ("A", "D"),
    "AD_lr": ("A", "D", "η"),
    "ABC": ("A", "B", "C"),
    "ABC_lr": ("A", "B", "C", "η"),
    "ABCD": ("A", "B", "C", "D"),
    "ABCD_lr": ("A", "B", "C", "η", "D"),
    "ABCD_lr_D_out": ("A", "B", "C", "η", "D_out"),
    "ABCD_lr_D_in_and_out": ("A", "B", "C", "η", "D", "D_out"),
    "static": (),  # the weights are evolved and stay: never updated, never normalised
}

# what is done to each layer after an update -> its number for the kernel
NORMALISATIONS = {"none": 0, "max": 1, "standard": 2}


@cache
def kernel(rule: str):
    """Return the compiled `update(weights, planes, activations, sizes, normalisation)` of a rule.

    It works in place and allocates nothing:
    weights (S,) float32, rewritten; planes (K, S) float32, the coefficients;
    activations (sum(sizes),) float32: input, hidden layers, output; sizes (layers + 1,) int64;
    normalisation, one of NORMALISATIONS: keep the weights as they are, divide each layer by its
    largest absolute weight, or shift and scale it to mean 0 and standard deviation 1.
    A layer of zeros (or one of equal weights) is left alone. NaN spreads to its whole layer.
    Raises ValueError for a rule that is not in RULES.
    """
    if rule not in RULES:
        raise ValueError(f"unknown Hebbian rule {rule!r}; choose one of {', '.join(RULES)}")
    from numba import njit  # here, so that a look at RULES costs nothing

    columns = RULES[rule]
    plastic = bool(columns)
    # Frozen into the compiled code, where terms of an absent column (-1) vanish.
    a, b, c, d, eta, d_out = (
        columns.index(name) if name in columns else -1
        for name in ("A", "B", "C", "D", "η", "D_out")
    )

    # No fastmath: the same bits on every machine, wherever the arrays lie in memory.
    @njit(cache=True, nogil=True, error_model="numpy")
    def update(weights, planes, activations, sizes, normalisation):
        if not plastic:
            return
        synapse = neuron = 0
        for layer in range(len(sizes) - 1):
            n_pre, n_post = sizes[layer], sizes[layer + 1]
            first = synapse
            top = np.int32(0)  # the largest absolute weight, as bits
            post = activations[neuron + n_pre : neuron + n_pre + n_post]
            for i in range(neuron, neuron + n_pre):
                o_i = activations[i]
                row = slice(synapse, synapse + n_post)  # contiguous views: the loop vectorises
                w, A, B, C = weights[row], planes[a, row], planes[b, row], planes[c, row]
                D, E, D_out = planes[d, row], planes[eta, row], planes[d_out, row]
                for j in range(n_post):
                    delta = np.float32(0)
                    if a >= 0:
                        delta += A[j] * o_i * post[j]
                    if b >= 0:
                        delta += B[j] * o_i
                    if c >= 0:
                        delta += C[j] * post[j]
                    if d >= 0:
                        delta += D[j]
                    if eta >= 0:
                        delta *= E[j]
                    if d_out >= 0:
                        delta += D_out[j]
                    new = np.float32(w[j] + delta)
                    w[j] = new
                    # Without the sign, bits are ordered as their floats are, and NaN is on top.
                    top = max(top, np.int32(new.view(np.int32) & 0x7FFFFFFF))
                synapse += n_post
            neuron += n_pre
            block = weights[first:synapse]
            if normalisation == 1 and top != 0:
                largest = np.int32(top).view(np.float32)
                for s in range(block.size):
                    block[s] /= largest
            elif normalisation == 2:
                mean = square = 0.0
                for w_ij in block:
                    mean += w_ij / block.size
                for w_ij in block:
                    square += (w_ij - mean) ** 2
                deviation = np.sqrt(square / block.size)
                if deviation != 0:
                    for s in range(block.size):
                        block[s] = (block[s] - mean) / deviation

    return update
