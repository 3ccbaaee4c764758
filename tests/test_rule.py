"""The rules against the reference's recordings, a plain numpy interpreter, and their own
promises."""

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.runtime import rtsys
from numba.core.runtime._nrt_python import memsys_enable_stats

from hebbian_weights_update import REFERENCE, RULES, TABLE, Synapses, rule_of
from rules.kernels import NORMALIZATIONS

RECORDINGS = np.load(Path(__file__).parent / "golden" / "hebbian_updates.npz")
SIZES = np.array([19, 70, 37, 3])
FUNCTIONS = {
    "tanh": lambda x: np.float32(np.tanh(np.float64(x))),
    "exp": lambda x: np.float32(np.exp(np.float64(x))),
    **{"abs": np.abs, "sign": np.sign, "max": np.maximum, "min": np.minimum},
}


def shapes_of(sizes):
    return np.stack([sizes[:-1], sizes[1:]], axis=1)


def draw(rule, normalization="none", sizes=SIZES, seed=0, scale=1.0):
    """Synapses with weights and coefficients, and activations."""
    rng, rule, n = np.random.default_rng(seed), rule_of(rule), int(sizes[:-1] @ sizes[1:])
    synapses = Synapses(rule, rng.standard_normal(n, np.float32), shapes_of(sizes), normalization)
    of_neurons = (sizes.sum(), len(rule.neuron_columns))
    synapses.load(
        np.float32(scale) * rng.standard_normal((n, len(rule.columns)), np.float32),
        np.float32(scale) * rng.standard_normal(of_neurons, np.float32),
    )
    return synapses, rng.standard_normal(sizes.sum(), np.float32)


def split(weights, sizes=SIZES):
    """Layers as (n_pre, n_post)."""
    ends = np.cumsum(sizes[:-1] * sizes[1:])[:-1]
    shapes = zip(sizes[:-1], sizes[1:], strict=True)
    return [w.reshape(shape) for w, shape in zip(np.split(weights, ends), shapes, strict=True)]


class Power(np.ndarray):
    """Float32 arrays whose powers are rounded from float64, as a rule's are."""

    def __pow__(self, other):
        result = np.power(np.float64(self), np.float64(other))
        return np.float32(result).view(Power)

    def __rpow__(self, other):
        return np.full(self.shape, other, np.float32).view(Power) ** self


def interpret(synapses, activations, reward, sizes=SIZES):
    """What a formula says, as Python and numpy understand it: name -> values, layer by layer."""
    formula = re.sub(r"([^\W\d]\w*) ([-+*/])= ([^;]*)", r"\1 = \1 \2 (\3)", synapses.rule.formula)
    layers, result = np.split(activations, np.cumsum(sizes)[:-1]), []
    ends = np.cumsum(sizes)
    for k, w in enumerate(split(synapses.weights, sizes)):
        names = {"w": w, "pre": layers[k][:, None], "post": layers[k + 1][None, :]}
        names |= {"r": np.float32(reward), "m": activations[-1]}
        for own, rows in (("columns", synapses.coefficients), ("memory", synapses.memory)):
            for name, row in zip(getattr(synapses.rule, own), rows, strict=True):
                names[name] = split(row, sizes)[k]
        for name, row in zip(
            synapses.rule.neuron_columns, synapses.neuron_coefficients, strict=True
        ):
            here = np.split(row, ends)
            names |= {f"{name}_pre": here[k][:, None], f"{name}_post": here[k + 1][None, :]}
        full = {
            name: np.broadcast_to(np.float32(value), w.shape).copy().view(Power)
            for name, value in names.items()
        }
        with np.errstate(all="ignore"):
            exec(formula, dict(FUNCTIONS), full)
        result.append(full)
    return result


@pytest.mark.parametrize("net", ["small", "mlp"])
@pytest.mark.parametrize("rule", REFERENCE)
def test_three_updates_are_the_recorded_ones(rule, net):
    def recorded(name):
        return RECORDINGS[f"{rule}/{net}/{name}"]

    weights = np.concatenate([recorded(f"weights_before_{layer}").T.ravel() for layer in range(3)])
    after = np.concatenate([recorded(f"weights_after_{layer}").T.ravel() for layer in range(3)])
    layers = [recorded(f"activations_{layer}") for layer in range(4)]
    synapses = Synapses(
        rule_of(rule), weights, shapes_of(np.array([layer.shape[1] for layer in layers]))
    )
    synapses.load(recorded("coefficients"))
    for t in range(3):
        synapses.update(np.concatenate([layer[t] for layer in layers]))
    np.testing.assert_allclose(weights, after, rtol=0, atol=1e-6)


def check(rule, steps=3, sizes=SIZES, exact=False):
    """A few updates against the interpreter."""
    synapses, activations = draw(rule, sizes=sizes)
    for t in range(steps):
        wanted = interpret(synapses, activations, reward=0.5 - t, sizes=sizes)
        synapses.update(activations, 0.5 - t)
        values = {"w": synapses.weights} | dict(
            zip(synapses.rule.memory, synapses.memory, strict=True)
        )
        for name, flat in values.items():
            for layer, names in zip(split(flat, sizes), wanted, strict=True):
                tolerance = 0 if exact else 2e-6
                np.testing.assert_allclose(layer, np.asarray(names[name]), rtol=tolerance)
    return synapses


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "static"])
def test_a_rule_of_the_table_is_its_formula(rule):
    check(rule)


NAMES = ("pre", "post", "w", "r", "m", "A", "η", "B_pre", "B_post", "e", "h")
LEAVES = st.sampled_from(NAMES) | st.sampled_from(["0", "2", "0.5", "1e-3", ".25", "3."])


def binary(parts):
    return st.tuples(parts, st.sampled_from(["+", "-", "*", "/"]), parts).map(" ".join)


def grown(parts):
    bracketed = parts.map("({})".format)
    return (
        binary(parts)
        | binary(bracketed)
        | bracketed.map("-{}".format)
        | parts.map("-{}".format)
        | st.tuples(st.sampled_from(["tanh", "abs", "sign", "exp"]), parts).map(
            "{0[0]}({0[1]})".format
        )
        | st.tuples(st.sampled_from(["max", "min"]), parts, parts).map(
            "{0[0]}({0[1]}, {0[2]})".format
        )
        | st.tuples(bracketed, st.sampled_from(["2", "3", "-1", "0.5", "A"])).map(" ** ".join)
    )


ASSIGNMENTS = st.tuples(
    st.sampled_from(["e", "h", "w", "x"]),
    st.sampled_from(["=", "=", "=", "+=", "-=", "*=", "/="]),
    st.recursive(LEAVES, grown, max_leaves=6),
).map(" ".join)


# derandomized, so that the kernels of a second run are found on disk
@settings(derandomize=True, max_examples=5, deadline=None)
@given(st.lists(ASSIGNMENTS, min_size=4, max_size=10))
def test_a_compiled_rule_is_what_numpy_makes_of_its_formula(assignments):
    formula = "; ".join([*assignments, "w += A * pre + B_pre * B_post"])
    check(formula, sizes=np.array([3, 5, 2]))


def test_max_divides_each_layer_by_its_largest_absolute_weight():
    plain, activations = draw("ABCD_lr")
    divided, _ = draw("ABCD_lr", "max")
    plain.update(activations)
    divided.update(activations)
    for layer, raw in zip(split(divided.weights), split(plain.weights), strict=True):
        np.testing.assert_array_equal(layer, raw / np.abs(raw).max())
        assert np.abs(layer).max() == 1


def test_standard_leaves_mean_zero_and_deviation_one():
    synapses, activations = draw("ABC", "standard")
    synapses.update(activations)
    for layer in split(synapses.weights):
        assert abs(layer.mean()) < 1e-5 and abs(layer.std() - 1) < 1e-5


def test_the_largest_weight_divides_the_others_to_the_bit_whatever_their_size():
    sizes, rng = np.array([500, 200]), np.random.default_rng(0)
    synapses, activations = draw("w += 0 * pre", "max", sizes)
    for exponents in (1, 20, 120, 149):  # down to 2^-149, the smallest float32
        halvings = rng.integers(0, exponents + 1, synapses.weights.size)
        mantissas = rng.integers(-(2**24), 2**24, synapses.weights.size) / 2**23
        weights = np.ldexp(mantissas, -halvings).astype(np.float32)
        synapses.weights[:] = weights
        synapses.update(activations)
        np.testing.assert_array_equal(synapses.weights, weights / np.abs(weights).max())


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_layer_of_zeros_is_left_alone(normalization):
    synapses, activations = draw("ABCD", normalization, scale=0)
    synapses.weights[:] = 0
    synapses.update(activations)
    assert not synapses.weights.any()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_static_changes_nothing(normalization):
    synapses, activations = draw("static", normalization)
    before = synapses.weights.copy()
    synapses.update(activations)
    np.testing.assert_array_equal(synapses.weights, before)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_stays_visible(normalization, bad):
    synapses, activations = draw("AD", normalization)
    synapses.weights[7] = bad
    synapses.update(activations)
    assert not np.isfinite(synapses.weights).all()


def test_an_absent_term_equals_a_column_of_zeros():
    more, activations = draw("ABCD_lr_D_in_and_out", "max")
    fewer, _ = draw("ABCD_lr", "max")
    more.coefficients[RULES["ABCD_lr_D_in_and_out"].index("D_out")] = 0
    fewer.coefficients[...] = more.coefficients[:5]
    more.update(activations)
    fewer.update(activations)
    np.testing.assert_array_equal(more.weights, fewer.weights)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_bits_do_not_depend_on_where_arrays_lie(normalization):
    drawn, activations = draw("ABCD_lr", normalization)
    results = []
    for offset in (0, 1, 3, 5):
        moved = []
        for array in (drawn.weights, activations):
            room = np.zeros(array.size + 16, np.float32)
            moved.append(room[offset : offset + array.size])
            moved[-1][...] = array
        synapses = Synapses(drawn.rule, moved[0], shapes_of(SIZES), normalization)
        synapses.load(drawn.coefficients.T)
        for _ in range(3):
            synapses.update(moved[1])
        results.append(moved[0].tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize("rule", ["ABCD_lr", "trace", "neuron_centric"])
def test_an_update_allocates_nothing(rule):
    (synapses, activations), (nothing, _) = draw(rule, "max"), draw("static")
    memsys_enable_stats()

    def allocated(one):
        one.update(activations, 1.0)
        tracemalloc.start()
        before = rtsys.get_allocation_stats().alloc
        for _ in range(100):
            one.update(activations, 1.0)
        compiled = rtsys.get_allocation_stats().alloc - before
        python = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return compiled, python

    compiled, python = allocated(synapses)
    arrays = 1 + sum(isinstance(one, np.ndarray) for one in synapses._update.args)
    assert compiled == 100 * arrays  # a handle for each array passed
    assert python < 4096 and allocated(nothing)[0] == 0


def test_memory_is_zero_at_birth_and_frozen_synapses_remember_nothing():
    synapses, activations = draw("trace", "max")
    synapses.update(activations)
    assert synapses.memory.all()
    synapses.reset()
    assert not synapses.memory.any()
    before = synapses.weights.copy()
    synapses.frozen = True
    synapses.update(activations)
    assert not synapses.memory.any() and np.array_equal(synapses.weights, before)
    synapses.reset()
    synapses.update(activations)
    assert synapses.memory.all() and not np.array_equal(synapses.weights, before)


def test_the_neurons_of_a_rule_may_stand_at_several_places():
    rule, sizes = rule_of("neuron_centric"), np.array([3, 2])
    synapses = Synapses(
        rule, np.zeros(6, np.float32), shapes_of(sizes), neurons=np.array([0, 1, 0, 2, 3])
    )
    synapses.load(np.zeros((6, 0)), np.arange(20.0).reshape(4, 5))
    np.testing.assert_array_equal(synapses.neuron_coefficients[0], [0, 5, 0, 10, 15])


def test_an_unknown_rule_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="'oja'.*A, AD, .*static, Oja.*formula"):
        rule_of("oja")
    with pytest.raises(ValueError, match="columns"):
        rule_of("ABCD").with_columns(("A", "B", "C", "E"))


def test_the_reference_s_columns_keep_their_order():
    assert RULES["ABCD_lr"] == ("A", "B", "C", "η", "D")
    assert RULES["ABCD_lr_D_in_and_out"] == ("A", "B", "C", "η", "D", "D_out")
    assert RULES["static"] == () and list(RULES) == list(TABLE)
