"""The networks that live: `MLP_heb` for vectors and `CNN_heb` for images, without biases.

Everything is flat and float32: the plastic weights of the dense layers one after the other, inside
a layer number n_post·i + j for the synapse i -> j, and the activations: input, hidden, output.
Files and evolved vectors hold a layer as (n_post, n_pre), which the views of `layers()` show.
"""

import math

import numpy as np
from numba import njit

import pixels
from pixels import finite, squash


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
    good = finite(activations[: sizes[0]])
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
        good &= finite(post)
        if layer < len(sizes) - 2:
            squash(post)
        neuron += n_pre
    return good


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
            names = ", ".join(INITIALISATIONS)
            raise ValueError(f"unknown initial weights {init_weights!r}; choose one of {names}")
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

    level: the value of a float image that becomes 1; in uint8 images it is 255.
    """

    def __init__(self, input_channels, n_actions, hidden=(128, 64), level=1.0):
        super().__init__(pixels.N_FEATURES, n_actions, hidden)
        self.channels, self.level = input_channels, np.float32(level)
        self.kernels = [np.zeros(shape, np.float32) for shape in self._conv_shapes()]
        self.n_conv = sum(kernel.size for kernel in self.kernels)
        self._buffers, self._size = pixels.buffers(input_channels), None

    def _conv_shapes(self):
        return pixels.conv_shapes(self.channels)

    def _load(self, conv_weights):
        for kernel in self.kernels:  # (maps, channels, x, y) in files, where axes are swapped
            kernel[...] = conv_weights[: kernel.size].reshape(kernel.shape).swapaxes(2, 3)
            conv_weights = conv_weights[kernel.size :]

    def forward(self, observation):
        """Activations of an (H, W, channels) image; False when anything is not finite."""
        self._resize(observation)
        features = self.activations[: pixels.N_FEATURES]
        good = pixels.see(*self.kernels, *self._buffers, features)
        return _dense(self.weights, self.activations, self.sizes) and good

    def _resize(self, image):
        grey_levels = image.dtype == np.uint8
        image = np.ascontiguousarray(image, None if grey_levels else np.float32)
        if (*image.shape, grey_levels) != self._size:
            self._prepare(*image.shape, grey_levels)
        level = np.float32(255) if grey_levels else self.level
        image = image.reshape(len(image), -1)
        pixels.resize(image, *self._sampling, level, *self._scratch, self._buffers[0])

    def _prepare(self, height, width, channels, grey_levels):
        """Tables and scratch for images of another size."""
        if channels != self.channels:
            raise ValueError(
                f"an image of {channels} channels, but this network has {self.channels}"
            )
        self._size = height, width, channels, grey_levels
        self._sampling = pixels.sampling(*self._size)
        self._scratch = pixels.scratch(*self._size)
