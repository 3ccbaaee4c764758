"""The rule against the reference's recordings, a plain numpy formula, and its own promises."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numba.core.runtime import rtsys
from numba.core.runtime._nrt_python import memsys_enable_stats

from hebbian_weights_update import NORMALISATIONS, RULES, kernel

RECORDINGS = np.load(Path(__file__).parent / "golden" / "hebbian_updates.npz")
PLASTIC = [rule for rule in RULES if rule != "static"]
SIZES = np.array([19, 70, 37, 3])
NONE, MAX, STANDARD = NORMALISATIONS["none"], NORMALISATIONS["max"], NORMALISATIONS["standard"]


def count(sizes):
    return int(sizes[:-1] @ sizes[1:])


def draw(rule, sizes=SIZES, seed=0):
    """Weights, planes and activations of a network."""
    rng, columns = np.random.default_rng(seed), len(RULES[rule])
    shapes = count(sizes), (columns, count(sizes)), sizes.sum()
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def split(weights, sizes=SIZES):
    """Layers as (n_pre, n_post)."""
    ends = np.cumsum(sizes[:-1] * sizes[1:])[:-1]
    shapes = zip(sizes[:-1], sizes[1:], strict=True)
    return [w.reshape(shape) for w, shape in zip(np.split(weights, ends), shapes, strict=True)]


def expected(rule, weights, planes, activations, sizes=SIZES):
    """Δw = η · (A·o_i·o_j + B·o_i + C·o_j + D) + D_out, layer by layer, in float64."""
    layers = np.split(activations.astype(float), np.cumsum(sizes)[:-1])
    result = []
    for layer, old in enumerate(split(weights, sizes)):
        terms = {"A": 0, "B": 0, "C": 0, "D": 0, "η": 1, "D_out": 0}
        planes_here = (split(plane.astype(float), sizes)[layer] for plane in planes)
        terms.update(zip(RULES[rule], planes_here, strict=True))
        o_i, o_j = layers[layer][:, None], layers[layer + 1][None, :]
        inner = terms["A"] * o_i * o_j + terms["B"] * o_i + terms["C"] * o_j + terms["D"]
        result.append(old + terms["η"] * inner + terms["D_out"])
    return result


@pytest.mark.parametrize("net", ["small", "mlp"])
@pytest.mark.parametrize("rule", PLASTIC)
def test_three_updates_are_the_recorded_ones(rule, net):
    def recorded(name):
        return RECORDINGS[f"{rule}/{net}/{name}"]

    weights = np.concatenate([recorded(f"weights_before_{layer}").T.ravel() for layer in range(3)])
    after = np.concatenate([recorded(f"weights_after_{layer}").T.ravel() for layer in range(3)])
    layers = [recorded(f"activations_{layer}") for layer in range(4)]
    sizes = np.array([layer.shape[1] for layer in layers])
    planes = np.ascontiguousarray(recorded("coefficients").T)
    for t in range(3):
        activations = np.concatenate([layer[t] for layer in layers])
        kernel(rule)(weights, planes, activations, sizes, NONE)
    np.testing.assert_allclose(weights, after, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", PLASTIC)
def test_an_update_is_the_equation(rule):
    weights, planes, activations = draw(rule)
    wanted = expected(rule, weights, planes, activations)
    kernel(rule)(weights, planes, activations, SIZES, NONE)
    for layer, right in zip(split(weights), wanted, strict=True):
        np.testing.assert_allclose(layer, right, rtol=1e-5, atol=1e-5)


def test_max_divides_each_layer_by_its_largest_absolute_weight():
    weights, planes, activations = draw("ABCD_lr")
    plain = weights.copy()
    kernel("ABCD_lr")(plain, planes, activations, SIZES, NONE)
    kernel("ABCD_lr")(weights, planes, activations, SIZES, MAX)
    for layer, raw in zip(split(weights), split(plain), strict=True):
        np.testing.assert_array_equal(layer, raw / np.abs(raw).max())
        assert np.abs(layer).max() == 1


def test_standard_leaves_mean_zero_and_deviation_one():
    weights, planes, activations = draw("ABC")
    kernel("ABC")(weights, planes, activations, SIZES, STANDARD)
    for layer in split(weights):
        assert abs(layer.mean()) < 1e-5 and abs(layer.std() - 1) < 1e-5


@pytest.mark.parametrize("normalisation", NORMALISATIONS.values())
def test_a_layer_of_zeros_is_left_alone(normalisation):
    weights, planes, activations = draw("ABCD")
    weights[:], planes[:] = 0, 0
    kernel("ABCD")(weights, planes, activations, SIZES, normalisation)
    assert not weights.any()


@pytest.mark.parametrize("normalisation", NORMALISATIONS.values())
def test_static_changes_nothing(normalisation):
    weights, planes, activations = draw("static")
    before = weights.copy()
    kernel("static")(weights, planes, activations, SIZES, normalisation)
    np.testing.assert_array_equal(weights, before)


@pytest.mark.parametrize("normalisation", NORMALISATIONS.values())
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_stays_visible(normalisation, bad):
    weights, planes, activations = draw("AD")
    weights[7] = bad
    kernel("AD")(weights, planes, activations, SIZES, normalisation)
    assert not np.isfinite(weights).all()


def test_an_absent_term_equals_a_column_of_zeros():
    weights, planes, activations = draw("ABCD_lr_D_in_and_out")
    fewer = weights.copy()
    planes[RULES["ABCD_lr_D_in_and_out"].index("D_out")] = 0
    kernel("ABCD_lr_D_in_and_out")(weights, planes, activations, SIZES, MAX)
    kernel("ABCD_lr")(fewer, planes[:5].copy(), activations, SIZES, MAX)
    np.testing.assert_array_equal(weights, fewer)


@pytest.mark.parametrize("normalisation", NORMALISATIONS.values())
def test_bits_do_not_depend_on_where_arrays_lie(normalisation):
    weights, planes, activations = draw("ABCD_lr")
    results = []
    for offset in (0, 1, 3, 5):
        moved = []
        for array in (weights, planes, activations):
            room = np.zeros(array.size + 16, np.float32)
            moved.append(room[offset : offset + array.size].reshape(array.shape))
            moved[-1][...] = array
        for _ in range(3):
            kernel("ABCD_lr")(*moved, SIZES, normalisation)
        results.append(moved[0].tobytes())
    assert len(set(results)) == 1


def test_an_update_allocates_nothing():
    arrays, update, nothing = draw("ABCD_lr"), kernel("ABCD_lr"), kernel("static")
    memsys_enable_stats()

    def allocated(function):
        function(*arrays, SIZES, MAX)
        tracemalloc.start()
        before = rtsys.get_allocation_stats().alloc
        for _ in range(100):
            function(*arrays, SIZES, MAX)
        compiled = rtsys.get_allocation_stats().alloc - before
        python = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return compiled, python

    compiled, python = allocated(update)
    assert compiled == allocated(nothing)[0]  # a handle for each array passed
    assert python < 4096


def test_an_unknown_rule_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="'Oja'.*A, AD, .*static"):
        kernel("Oja")
