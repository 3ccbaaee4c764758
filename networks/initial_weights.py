"""How the dense weights of a network begin its lifetime."""

import math

import numpy as np


def _uniform(bound):
    def draw(rng, shape):
        limit = np.float32(bound(*shape))
        return limit * (2 * rng.random(shape, np.float32) - 1)

    return draw


def _normal(std):
    return lambda rng, shape: np.float32(std) * rng.standard_normal(shape, np.float32)


def _sparse(rng, shape):
    weights = _normal(0.01)(rng, shape)
    zeros = np.zeros(shape, bool)
    zeros[: math.ceil(0.8 * shape[0])] = True
    weights[rng.permuted(zeros, axis=0)] = 0
    return weights


# name -> how to draw a layer of shape (n_post, n_pre) from a Generator, float32
INITIALISATIONS = {
    "uni": _uniform(lambda n_post, n_pre: 0.1),
    "normal": _normal(0.024),
    "default": _uniform(lambda n_post, n_pre: 1 / math.sqrt(n_pre)),
    "xa_uni": _uniform(lambda n_post, n_pre: 0.3 * math.sqrt(6 / (n_pre + n_post))),  # Xavier
    "xa_uni_big": _uniform(lambda n_post, n_pre: math.sqrt(6 / (n_pre + n_post))),
    "sparse": _sparse,  # 80 % zeros among the weights that leave a neuron, the rest N(0, 0.01)
    "ka_uni": _uniform(lambda n_post, n_pre: math.sqrt(6 / ((1 + 3**2) * n_pre))),  # Kaiming, a = 3
    "uni_big": _uniform(lambda n_post, n_pre: 1.0),
    "ones": lambda rng, shape: np.ones(shape, np.float32),
    "zeros": lambda rng, shape: np.zeros(shape, np.float32),
    "coevolve": None,  # evolved, not drawn
}
