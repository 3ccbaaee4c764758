"""The networks: `MLP_heb` for vectors and `CNN_heb` for images, without biases.

Everything is flat and float32: the plastic weights of the dense layers one after the other, inside
a layer number n_post·i + j for the synapse i -> j, and the activations: input, hidden, output.
Files and evolved vectors hold a layer as (n_post, n_pre), which the views of `layers()` show.
"""

import math
from functools import partial

import numpy as np

from machine.compiled import compiled
from networks import convolutions, pixels
from networks.arithmetic import finite, squash
from networks.initial_weights import INITIALISATIONS


@compiled
def _dense(weights, activations, shapes):
    """Fill the activations behind the input; False when input or a sum is not finite.

    The sum over i runs in the order of i for every j at once: vectorised, yet in a fixed order.
    """
    synapse = neuron = 0
    good = finite(activations[: shapes[0, 0]])
    for layer in range(len(shapes)):
        n_pre, n_post = shapes[layer, 0], shapes[layer, 1]
        post = activations[neuron + n_pre : neuron + n_pre + n_post]
        post[:] = 0
        for i in range(neuron, neuron + n_pre):
            o_i = activations[i]
            row = weights[synapse : synapse + n_post]
            for j in range(n_post):
                post[j] += o_i * row[j]
            synapse += n_post
        good &= finite(post)
        if layer < len(shapes) - 1:
            squash(post)
        neuron += n_pre
    return good


class _Policy:
    """Dense layers n_features (+ n_recalled) -> hidden tanh -> n_actions linear, behind evolved
    conv kernels.

    recalled (n_recalled,): more inputs, which `lifetime` fills with what was before. recurrent:
    each hidden layer also sees its own activations of the step before, by plastic synapses: they
    come behind those of the layer before. modulated: one more output neuron, tanh, which is no
    part of `output`.
    sizes (layers + 1,) int64: neurons; shapes (layers, 2) int64: n_pre and n_post of each layer;
    n_plastic: S; n_conv: evolved weights that are not plastic; weights (S,), activations: what
    each layer sees, the output, and at its end the modulator: float32, kept, and overwritten in
    place; neurons: whose activation each of them is.
    """

    def __init__(
        self, n_features, n_actions, hidden, kernels=(), n_recalled=0, recurrent=False,
        modulated=False,
    ):  # fmt: skip
        self.sizes = np.array([n_features + n_recalled, *hidden, n_actions + modulated], np.int64)
        loops = np.array([*hidden, 0]) * recurrent
        self.shapes = np.stack([self.sizes[:-1] + loops, self.sizes[1:]], axis=1)
        self.n_plastic = int(self.shapes.prod(axis=1).sum())
        self.n_conv = sum(kernel.size for kernel in kernels)
        self.kernels = kernels
        self.weights = np.zeros(self.n_plastic, np.float32)
        ends = np.append(0, np.cumsum(self.shapes[:, 0]))  # where each layer's activations begin
        self.activations = np.zeros(ends[-1] + self.sizes[-1], np.float32)
        self._views = [
            self.activations[end : end + size] for end, size in zip(ends, self.sizes, strict=True)
        ]
        self.output = self._views[-1][:n_actions]
        self.recalled = self._views[0][n_features:]
        self.modulator = self._views[-1][n_actions:] if modulated else None
        numbers = np.split(np.arange(self.sizes.sum()), np.cumsum(self.sizes)[:-1])
        owners = [numbers[0]]
        self._loops = []  # (a hidden layer's activations, where those of the step before are kept)
        for k, (layer, number) in enumerate(zip(self._views[1:], numbers[1:], strict=True)):
            if loops[k]:
                before = self.activations[ends[k + 1] - loops[k] : ends[k + 1]]
                self._loops.append((layer, before))
                owners.append(number)
            owners.append(number)
        self.neurons = np.concatenate(owners)
        blocks = np.split(self.weights, np.cumsum(self.shapes.prod(axis=1))[:-1])
        self._layers = [block.reshape(n).T for block, n in zip(blocks, self.shapes, strict=True)]

    def layers(self):
        """Views (n_post, n_pre) of the dense weights."""
        return list(self._layers)

    def activation_layers(self):
        """Views (n,) of the input and of the activations of every layer."""
        return list(self._views)

    def start(self, init_weights, rng, evolved=()):
        """Begin a lifetime: nothing was before; load the conv weights; load the dense ones, or draw
        them from rng.

        evolved: ([n_conv +] S,) for `coevolve`, else (n_conv,), each layer flattened from
        (n_post, n_pre). Raises ValueError for another size or an unknown initialisation.
        """
        if init_weights not in INITIALISATIONS:
            names = ", ".join(INITIALISATIONS)
            raise ValueError(f"unknown initial weights {init_weights!r}; choose one of {names}")
        self.activations[:] = 0
        draw, layers = INITIALISATIONS[init_weights], self.layers()
        loaded = self._kernels_as_in_files() + (layers if draw is None else [])
        evolved, expected = np.ravel(evolved), sum(view.size for view in loaded)
        if evolved.size != expected:
            raise ValueError(f"{evolved.size} evolved weights given, {expected} expected")
        for view in loaded:
            view[...] = evolved[: view.size].reshape(view.shape)
            evolved = evolved[view.size :]
        if draw is not None:
            for layer in layers:
                layer[...] = draw(rng, layer.shape)

    def _think(self):
        """From the features to the output; False if anything is not finite."""
        for layer, before in self._loops:
            before[:] = layer
        good = _dense(self.weights, self.activations, self.shapes)
        if self.modulator is not None:
            squash(self.modulator)
        return good

    def as_torch(self):
        """A torch.nn.Module with a copy of the weights, see `networks.torch_modules`."""
        from networks.torch_modules import module_of  # here: torch takes a second to import

        return module_of(self)

    def draw(self, rng):
        """All weights by `default`, as `start` takes them for `coevolve`: float32, flat."""
        shapes = [view.shape for view in self._kernels_as_in_files() + self.layers()]
        matrices = [(shape[0], math.prod(shape[1:])) for shape in shapes]
        return np.concatenate([INITIALISATIONS["default"](rng, m).ravel() for m in matrices])

    def _kernels_as_in_files(self):
        """Views (maps, channels, x, y): the reference swaps the axes of its images."""
        return [kernel.swapaxes(2, 3) for kernel in self.kernels]


class MLP_heb(_Policy):
    """n_inputs -> hidden tanh -> n_actions linear."""

    def __init__(self, n_inputs, n_actions, hidden=(128, 64), **options):
        super().__init__(n_inputs, n_actions, hidden, **options)
        self._features = self.activations[:n_inputs]

    def forward(self, observation):
        """Fill the activations from an (n_inputs,) observation; False if anything is not finite."""
        if observation.size != self._features.size:  # numpy would repeat a single number
            raise ValueError(f"{observation.size} inputs given, {self._features.size} expected")
        self._features[:] = observation
        return self._think()


class CNN_heb(_Policy):
    """Two evolved convolutions with max-pools, 648 features, then the plastic dense layers.

    level: the value of a float image that becomes 1; in uint8 images it is 255.
    """

    def __init__(self, input_channels, n_actions, hidden=(128, 64), level=1.0, **options):
        kernels = convolutions.kernels(input_channels)
        super().__init__(convolutions.N_FEATURES, n_actions, hidden, kernels, **options)
        self.channels, self.level = input_channels, np.float32(level)
        self._buffers, self._kind = convolutions.buffers(input_channels), None
        features = self.activations[: convolutions.N_FEATURES]
        views = kernels[0], kernels[1].transpose(1, 2, 3, 0)
        self.see = partial(convolutions.see, *views, *self._buffers, features)

    def forward(self, observation):
        """Fill the activations from an (H, W, channels) image; False if anything is not finite."""
        self._resize(observation)
        good = self.see()
        return self._think() and good

    def _resize(self, image):
        if (image.shape, image.dtype) != self._kind:
            self._prepare(image.shape, image.dtype)
        self._shrink(np.ascontiguousarray(image, self._dtype))

    def _prepare(self, shape, dtype):
        """Tables and scratch for images of another height, width, channels or dtype."""
        if shape[2] != self.channels:
            raise ValueError(f"an image of {shape[2]} channels given, {self.channels} expected")
        grey_levels = dtype == np.uint8
        size, level = (*shape, grey_levels), np.float32(255) if grey_levels else self.level
        self._kind, self._dtype = (shape, dtype), dtype if grey_levels else np.float32
        tables = *pixels.sampling(*size), level, *pixels.scratch(*size)
        self._shrink = partial(pixels.resize, *tables, self._buffers[0])
