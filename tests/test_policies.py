"""The networks against torch, the resize against OpenCV, the initial weights against torch.nn."""

import math
import tracemalloc

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from networks import arithmetic
from networks.initial_weights import INITIALISATIONS
from policies import CNN_heb, MLP_heb

SHAPE = (128, 400)  # (n_post, n_pre) of a layer large enough for statistics


def rng(seed=0):
    return np.random.default_rng(seed)


def dense_by_torch(policy, features):
    """Activations of all dense layers."""
    layers, x = policy.layers(), torch.as_tensor(features)
    activations = [x]
    for number, layer in enumerate(layers):
        x = torch.tensor(np.ascontiguousarray(layer)) @ x
        x = torch.tanh(x) if number < len(layers) - 1 else x
        activations.append(x)
    return torch.cat(activations).numpy()


def features_by_torch(evolved, image, level):
    """The reference's way from pixels to features, in its own words: swapaxes, conv, pool."""
    channels = image.shape[2]
    small = by_opencv(image)
    x = torch.tensor((small / level).astype(np.float32).swapaxes(0, 2).copy())[None]
    first = torch.tensor(evolved[: 54 * channels]).reshape(6, channels, 3, 3)
    second = torch.tensor(evolved[54 * channels :]).reshape(8, 6, 5, 5)
    x = F.max_pool2d(torch.tanh(F.conv2d(x, first)), 2)
    return F.max_pool2d(torch.tanh(F.conv2d(x, second, stride=2)), 2).flatten()


def by_opencv(image):
    """cv2.resize, four channels at a time, which is all it takes."""
    parts = np.split(image, range(4, image.shape[2], 4), axis=2)
    small = [cv2.resize(part, (84, 84), interpolation=cv2.INTER_AREA) for part in parts]
    return np.concatenate([part.reshape(84, 84, -1) for part in small], axis=2)


def resized(image):
    """What `pixels.resize` shows the network: (84, 84, C) float32 in units of grey levels."""
    policy = CNN_heb(image.shape[2], 3, level=1.0)
    policy._resize(image)
    maps, result = policy._buffers[0], np.empty((84, 84, image.shape[2]), np.float32)
    for y, x in np.ndindex(2, 2):
        result[y::2, x::2] = maps[:, y, x].transpose(1, 2, 0)
    return result * 255 if image.dtype == np.uint8 else result


def noise(height, width, channels, dtype=np.uint8):
    image = rng(height * width).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return image if dtype == np.uint8 else image.astype(dtype) / dtype(255)


IMAGES = [
    (96, 96, 3), (210, 160, 3), (64, 64, 3), (84, 84, 3), (168, 168, 3), (100, 50, 3), (50, 100, 3),
    (252, 168, 3), (84, 168, 1), (96, 96, 1), (96, 96, 4), (210, 160, 12), (168, 168, 1),
    (400, 600, 3), (85, 84, 2), (7, 300, 3),
]  # fmt: skip


@pytest.mark.parametrize("shape", IMAGES)
def test_grey_levels_are_those_of_opencv(shape):
    image = noise(*shape)
    np.testing.assert_array_equal(np.rint(resized(image)), by_opencv(image))


@pytest.mark.parametrize("shape", IMAGES)
def test_float_images_shrink_as_in_opencv_without_rounding(shape):
    image = noise(*shape, np.float32)
    np.testing.assert_allclose(resized(image), by_opencv(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(96, 96, 3), (210, 160, 1), (64, 64, 4), (96, 96, 12)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_cnn_is_torchs(shape, dtype):
    policy, image = CNN_heb(shape[2], 3), noise(*shape, dtype)
    evolved = (0.3 * rng().standard_normal(policy.n_conv)).astype(np.float32)
    policy.start("xa_uni_big", rng(), evolved)
    assert policy.forward(image)
    features = features_by_torch(evolved, image, 255 if dtype == np.uint8 else 1)
    right = dense_by_torch(policy, features)
    np.testing.assert_allclose(policy.activations, right, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "n_inputs, n_actions, hidden", [(28, 8, (128, 64)), (1, 1, (5,)), (4, 2, ())]
)
def test_the_mlp_is_torchs(n_inputs, n_actions, hidden):
    policy = MLP_heb(n_inputs, n_actions, hidden)
    policy.start("xa_uni_big", rng())
    observation = rng(1).standard_normal(n_inputs)
    assert policy.forward(observation)
    right = dense_by_torch(policy, observation.astype(np.float32))
    np.testing.assert_allclose(policy.activations, right, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(policy.output, policy.activation_layers()[-1])


def test_sizes_follow_from_the_shapes():
    racing, quadruped = CNN_heb(3, 3), MLP_heb(28, 8)
    assert (racing.n_plastic, racing.n_conv, racing.sizes[0]) == (91_328, 1362, 648)
    assert (quadruped.n_plastic, quadruped.n_conv) == (12_288, 0)
    assert [CNN_heb(channels, 3).n_conv for channels in (1, 4, 12)] == [1254, 1416, 1848]


def test_synapse_i_to_j_has_number_n_post_i_plus_j():
    policy = MLP_heb(3, 2, (4,))
    policy.weights[:] = range(policy.n_plastic)
    first, second = policy.layers()
    assert first[1, 2] == 4 * 2 + 1 and second[1, 3] == 12 + 2 * 3 + 1


@pytest.mark.parametrize("policy", [MLP_heb(5, 2), CNN_heb(1, 2)])
def test_coevolved_layers_come_flattened_from_n_post_n_pre(policy):
    evolved = rng().standard_normal(policy.n_conv + policy.n_plastic, dtype=np.float32)
    policy.start("coevolve", None, evolved)
    dense = np.concatenate([layer.ravel() for layer in policy.layers()])
    np.testing.assert_array_equal(dense, evolved[policy.n_conv :])


def test_default_weights_are_what_coevolve_takes():
    policy = CNN_heb(3, 3)
    evolved = policy.draw(rng())
    policy.start("coevolve", None, evolved)
    assert evolved.dtype == np.float32
    bounds = [1 / math.sqrt(n) for n in (27, 150, 648, 128, 64)]
    sizes = [6 * 27, 8 * 150, 128 * 648, 64 * 128, 3 * 64]
    for block, bound in zip(np.split(evolved, np.cumsum(sizes)[:-1]), bounds, strict=True):
        assert 0.95 * bound < np.abs(block).max() <= bound


def test_a_start_reuses_the_buffers_and_forgets_the_life_before():
    policy, image = CNN_heb(3, 3), noise(96, 96, 3)
    evolved = rng().standard_normal(policy.n_conv, dtype=np.float32)
    weights, output = policy.weights, policy.output
    lives = []
    for other in (noise(64, 64, 3), noise(210, 160, 3)):
        policy.start("uni", rng(1), evolved)
        policy.forward(image)
        lives.append(policy.activations.copy())
        policy.weights[:] = np.nan
        policy.forward(other)
    np.testing.assert_array_equal(*lives)
    assert policy.weights is weights and policy.output is output


INIT_BY_TORCH = {
    "uni": lambda w: torch.nn.init.uniform_(w, -0.1, 0.1),
    "normal": lambda w: torch.nn.init.normal_(w, 0, 0.024),
    "default": lambda w: torch.nn.init.kaiming_uniform_(w, a=math.sqrt(5)),
    "xa_uni": lambda w: torch.nn.init.xavier_uniform_(w, 0.3),
    "xa_uni_big": lambda w: torch.nn.init.xavier_uniform_(w),
    "sparse": lambda w: torch.nn.init.sparse_(w, 0.8),
    "ka_uni": lambda w: torch.nn.init.kaiming_uniform_(w, a=3),
    "uni_big": lambda w: torch.nn.init.uniform_(w, -1, 1),
    "ones": torch.nn.init.ones_,
    "zeros": torch.nn.init.zeros_,
}


@pytest.mark.parametrize("name", INIT_BY_TORCH)
def test_initial_weights_are_distributed_as_torchs(name):
    ours = INITIALISATIONS[name](rng(), SHAPE)
    torch.manual_seed(0)
    theirs = INIT_BY_TORCH[name](torch.empty(SHAPE)).numpy()
    assert ours.dtype == np.float32 and ours.shape == SHAPE
    np.testing.assert_array_equal((ours == 0).sum(axis=0), (theirs == 0).sum(axis=0))
    scale = np.abs(theirs).max() or 1
    quantiles = np.linspace(0.005, 0.995, 67)
    difference = np.quantile(ours, quantiles) - np.quantile(theirs, quantiles)
    assert np.abs(difference).max() < 0.02 * scale
    # 0.2: the largest of 51,200 normal numbers varies
    assert np.abs(ours).max() == pytest.approx(scale * np.abs(theirs).any(), rel=0.2)


def test_the_table_of_initialisations_is_the_papers():
    assert set(INITIALISATIONS) == {*INIT_BY_TORCH, "coevolve"}


@pytest.mark.parametrize("name", INIT_BY_TORCH)
def test_initial_weights_are_a_function_of_the_generator(name):
    policy, draws = MLP_heb(6, 2), []
    for seed in (1, 1, 2):
        policy.start(name, rng(seed))
        draws.append(policy.weights.copy())
    np.testing.assert_array_equal(draws[0], draws[1])
    assert name in ("ones", "zeros") or not np.array_equal(draws[0], draws[2])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_observation_that_is_not_finite_is_reported(bad):
    mlp, cnn = MLP_heb(4, 2), CNN_heb(3, 2)
    mlp.start("zeros", rng())
    cnn.start("zeros", rng(), np.zeros(cnn.n_conv))
    assert mlp.forward(np.zeros(4)) and cnn.forward(np.zeros((96, 96, 3)))
    assert not mlp.forward(np.array([0, bad, 0, 0]))
    for place in [(0, 0, 0), (50, 31, 1), (95, 95, 2)]:
        image = np.zeros((96, 96, 3), np.float32)
        image[place] = bad
        assert not cnn.forward(image)
    assert cnn.forward(np.zeros((96, 96, 3)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -3e38])
def test_weights_that_spoil_an_activation_are_reported(bad):
    policy, image = CNN_heb(3, 3), np.full((96, 96, 3), 255, np.uint8)
    evolved = np.full(policy.n_conv, 0.1, np.float32)
    policy.start("ones", None, evolved)
    assert policy.forward(image)
    for number in (0, 160, 162, 1360):  # two neighbours, so that 3e38 overflows
        spoiled = evolved.copy()
        spoiled[number : number + 2] = bad
        policy.start("ones", None, spoiled)
        assert not policy.forward(image)
    for layer in range(3):
        policy.start("ones", None, evolved)
        policy.layers()[layer][...] = bad
        assert not policy.forward(image)


def test_bits_do_not_depend_on_where_arrays_lie():
    image, results = noise(96, 96, 3), set()
    for offset in range(4):
        policy = CNN_heb(3, 3)
        for name in ("weights", "activations"):
            array = getattr(policy, name)
            room = np.zeros(array.size + 16, np.float32)
            setattr(policy, name, room[offset : offset + array.size])
        room = np.zeros(image.size + 16, np.uint8)
        moved = room[offset : offset + image.size].reshape(image.shape)
        moved[...] = image
        policy.start("uni_big", rng(2), policy.draw(rng(1))[: policy.n_conv])
        policy.forward(moved)
        results.add(policy.activations.tobytes())
    assert len(results) == 1


@pytest.mark.parametrize("policy, seen", [(MLP_heb(28, 8), (28,)), (CNN_heb(3, 3), (96, 96, 3))])
def test_a_forward_pass_keeps_no_memory_and_needs_next_to_none(policy, seen):
    policy.start("uni", rng(), np.zeros(policy.n_conv))
    observation = np.zeros(seen, np.uint8 if len(seen) == 3 else np.float32)
    policy.forward(observation)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(50):
        policy.forward(observation)
    grown, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown - before < 1024 and peak - before < 4096


def test_tanh_is_as_exact_as_float32_can_be():
    tiny, small = 10.0 ** rng().uniform(-40, -1, 20_000), rng(1).uniform(-1, 1, 20_000)
    x = np.concatenate([tiny, small, rng(2).uniform(-20, 20, 20_000), [0.0, -0.0, np.inf, -np.inf]])
    x = x.astype(np.float32)
    right, ours = np.tanh(x.astype(float)), x.copy()
    arithmetic.squash(ours)
    unit = np.spacing(np.abs(right).astype(np.float32))
    assert np.max(np.abs(ours - right) / unit) < 0.5001
    np.testing.assert_array_equal(np.signbit(ours), np.signbit(x))
    assert np.isnan(arithmetic.tanh(np.float32(np.nan)))


def test_what_does_not_fit_is_named():
    policy = CNN_heb(3, 3)
    with pytest.raises(ValueError, match="'unit'.*uni, normal.*coevolve"):
        policy.start("unit", rng(), np.zeros(policy.n_conv))
    with pytest.raises(ValueError, match="7 evolved weights.*1362"):
        policy.start("uni", rng(), np.zeros(7))
    with pytest.raises(ValueError, match="4 channels.*3"):
        policy.forward(noise(96, 96, 4))
