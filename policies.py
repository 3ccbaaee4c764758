"""The networks that live: `MLP_heb` for vectors and `CNN_heb` for images, without biases.

Everything is flat and float32: the plastic weights of the dense layers one after the other, inside
a layer number n_post·i + j for the synapse i -> j, and the activations: input, hidden, output.
Files and evolved vectors hold a layer as (n_post, n_pre), which the views of `layers()` show.
"""

import math

import numpy as np
from numba import njit

import pixels
from pixels import tanh


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


@njit(cache=True, nogil=True, error_model="numpy")
def _dense(weights, activations, sizes):
    """Fill the activations behind the input; False when input or a sum is not finite.

    The sum over i runs in the order of i for every j at once: vectorised, yet in a fixed order.
    """
    synapse = neuron = 0
    finite = True
    for i in range(sizes[0]):
        finite &= math.isfinite(activations[i])
    for layer in range(len(sizes) - 1):
        n_pre, n_post = sizes[layer], sizes[layer + 1]
        post = activations[neuron + n_pre : neuron + n_pre + n_post]
        post[:] = 0
        for i in range(neuron, neuron + n_pre):
            o_i = activations[i]
            row = weights[synapse : synapse + n_post]
            for j in range(n_post):
                post[j] += o_i * row[j]
            synapse += n_post
        for j in range(n_post):
            finite &= math.isfinite(post[j])
        if layer < len(sizes) - 2:
            for j in range(n_post):
                post[j] = tanh(post[j])
        neuron += n_pre
    return finite


class _Policy:
    """Dense layers n_features -> hidden tanh -> n_actions linear, behind `n_conv` evolved weights.

    sizes (layers + 1,) int64; n_plastic: S; weights (S,), activations (sum(sizes),) and
    output (n_actions,), the end of activations: float32, overwritten in place.
    """

    n_conv = 0

    def __init__(self, n_features, n_actions, hidden):
        self.sizes = np.array([n_features, *hidden, n_actions], np.int64)
        self.n_plastic = int(self.sizes[:-1] @ self.sizes[1:])
        self.weights = np.zeros(self.n_plastic, np.float32)
        self.activations = np.zeros(self.sizes.sum(), np.float32)
        self.output = self.activations[-n_actions:]

    def layers(self):
        """Views (n_post, n_pre) of the dense weights."""
        shapes = list(zip(self.sizes[:-1], self.sizes[1:], strict=True))
        blocks = np.split(self.weights, np.cumsum([n * m for n, m in shapes])[:-1])
        return [block.reshape(shape).T for block, shape in zip(blocks, shapes, strict=True)]

    def activation_layers(self):
        """Views (n,) of the input and of the activations of every layer."""
        return np.split(self.activations, np.cumsum(self.sizes)[:-1])

    def start(self, init_weights, rng, evolved=()):
        """Begin a lifetime: load the conv weights, load or draw the dense ones.

        evolved: ([n_conv +] S,) for `coevolve`, else (n_conv,), each layer flattened from
        (n_post, n_pre). Raises ValueError for another size or an unknown initialisation.
        """
        if init_weights not in INITIALISATIONS:
            raise ValueError(
                f"unknown initial weights {init_weights!r}; choose one of {', '.join(INITIALISATIONS)}"
            )
        draw = INITIALISATIONS[init_weights]
        evolved = np.asarray(evolved, np.float32)
        expected = self.n_conv + (self.n_plastic if draw is None else 0)
        if evolved.shape != (expected,):
            raise ValueError(
                f"{expected} evolved weights expected, not an array of {evolved.shape}"
            )
        self._load(evolved[: self.n_conv])
        rest = evolved[self.n_conv :]
        for layer in self.layers():
            if draw is None:
                layer[...] = rest[: layer.size].reshape(layer.shape)
                rest = rest[layer.size :]
            else:
                layer[...] = draw(rng, layer.shape)

    def draw(self, rng):
        """All weights by `default`, as `start` takes them for `coevolve`: float32, flat."""
        shapes = [*self._conv_shapes(), *(layer.shape for layer in self.layers())]
        matrices = ((shape[0], math.prod(shape[1:])) for shape in shapes)
        return np.concatenate([INITIALISATIONS["default"](rng, m).ravel() for m in matrices])

    def _conv_shapes(self):
        return ()

    def _load(self, conv_weights):
        pass


class MLP_heb(_Policy):
    """n_inputs -> hidden tanh -> n_actions linear."""

    def __init__(self, n_inputs, n_actions, hidden=(128, 64)):
        super().__init__(n_inputs, n_actions, hidden)

    def forward(self, observation):
        """Activations of an (n_inputs,) observation; False when anything is not finite."""
        self.activations[: self.sizes[0]] = observation
        return _dense(self.weights, self.activations, self.sizes)


class CNN_heb(_Policy):
    """Two evolved convolutions with max-pools, 648 features, then the plastic dense layers.

    Float images are divided by `level`, uint8 images by 255.
    """

    def __init__(self, input_channels, n_actions, hidden=(128, 64), level=1.0):
        super().__init__(pixels.N_FEATURES, n_actions, hidden)
        self.channels, self.level = input_channels, np.float32(level)
        self.n_conv = sum(math.prod(shape) for shape in self._conv_shapes())
        self.eye = pixels.Eye(input_channels)

    def _conv_shapes(self):
        return pixels.conv_shapes(self.channels)

    def _load(self, conv_weights):
        self.eye.load(conv_weights)

    def forward(self, observation):
        """Activations of an (H, W, channels) image; False when anything is not finite."""
        self.eye.resize(observation, self.level)
        finite = self.eye.conv(self.activations[: pixels.N_FEATURES])
        return _dense(self.weights, self.activations, self.sizes) and finite
