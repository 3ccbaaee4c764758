"""One compiled pass over all synapses for each rule, from the program of its formula.

The code of a kernel is made of the texts below and of identifiers and numbers of our own; nothing
of what a user has typed gets into it.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from rules.formulas import Rule

# what is done to each layer after an update -> its number for the kernel
NORMALIZATIONS = {"none": 0, "max": 1, "standard": 2}


def _normalize(block, top, normalization):
    """Normalize a layer; top: its largest absolute weight, as bits."""
    if normalization == 1 and top != 0:
        # The bits of a division, at half of its time: a quotient of two float32 is never nearer to
        # the middle of two others than 2^-49 of it, and this product is wrong by 2^-52 at most.
        scale = 1 / np.float64(np.int32(top).view(np.float32))
        for s in range(block.size):
            block[s] = block[s] * scale
    elif normalization == 2:
        mean = square = 0.0
        for w_ij in block:
            mean += w_ij / block.size
        for w_ij in block:
            square += (w_ij - mean) ** 2
        deviation = np.sqrt(square / block.size)
        if deviation != 0:
            for s in range(block.size):
                block[s] = (block[s] - mean) / deviation


# One pass over all synapses; {brackets} are filled with identifiers of our own, never with text
# of a formula.
KERNEL = """
def {name}(weights, shapes, normalization, {arrays}activations, reward):
    r, m = np.float32(reward), activations[-1]
    synapse = neuron = 0
    for layer in range(len(shapes)):
        n_pre, n_post = shapes[layer, 0], shapes[layer, 1]
        first = synapse
        top = np.int32(0)  # the largest absolute weight, as bits
        behind = slice(neuron + n_pre, neuron + n_pre + n_post)
        posts = activations[behind]
        {layer}
        for i in range(neuron, neuron + n_pre):
            pre = activations[i]
            row = slice(synapse, synapse + n_post)  # contiguous views: the loop vectorises
            ws = weights[row]
            {row}
            for j in range(n_post):
                w, post = ws[j], posts[j]
                {synapse}
                ws[j] = new
                # Without the sign, bits are ordered as their floats are, and NaN is on top.
                top = max(top, np.int32(new.view(np.int32) & 0x7FFFFFFF))
            synapse += n_post
        neuron += n_pre
        normalize(weights[first:synapse], top, normalization)
"""

# operation -> its code. What a library computes is rounded from float64, so that it does not
# depend on the library; a comparison with NaN is false, so that max and min hand it on.
CODE = {
    "number": "np.float32({!r})",
    "negative": "-{}",
    **{sign: f"{{}} {sign} {{}}" for sign in ("+", "-", "*", "/")},
    "**": "np.float32(np.float64({}) ** {})",
    "tanh": "tanh({})",
    "abs": "abs({})",
    "sign": "np.float32(1) if {0} > 0 else np.float32(-1) if {0} < 0 else {0}",
    "exp": "np.float32(np.exp(np.float64({})))",
    "max": "{0} if ({0} > {1}) | ({0} != {0}) else {1}",
    "min": "{0} if ({0} < {1}) | ({0} != {0}) else {1}",
}


def _source(rule: Rule, name: str) -> str:
    """The Python code of a rule's kernel."""
    values = {given: given for given in ("pre", "post", "w", "r", "m")}  # name -> its variable
    arrays, layer, row, synapse = [], [], [], []
    per_synapse = {"p": rule.columns, "e": rule.memory}
    for letter, names in per_synapse.items():
        arrays += [f"{letter}s"] * bool(names)
        for k, column in enumerate(names):
            values[column] = f"{letter}{k}"
            row.append(f"{letter}{k}s = {letter}s[{k}, row]")
            synapse.append(f"{letter}{k} = {letter}{k}s[j]")
    arrays[1:1] = ["ns"] * bool(rule.neuron_columns)
    for k, column in enumerate(rule.neuron_columns):
        values |= {f"{column}_pre": f"n{k}_pre", f"{column}_post": f"n{k}_post"}
        layer.append(f"n{k}_posts = ns[{k}, behind]")
        row.append(f"n{k}_pre = ns[{k}, i]")
        synapse.append(f"n{k}_post = n{k}_posts[j]")
    lines, values = _assignments(rule, values)
    synapse += lines + [f"e{k}s[j] = {values[column]}" for k, column in enumerate(rule.memory)]
    return KERNEL.format(
        name=name,
        arrays="".join(f"{array}, " for array in arrays),
        layer=("\n" + 8 * " ").join(layer),
        row=("\n" + 12 * " ").join(row),
        synapse=("\n" + 16 * " ").join([*synapse, f"new = np.float32({values['w']})"]),
    )


def _assignments(rule: Rule, values: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """The lines of a program, and where the value of each name is after them."""
    lines, values, variables = [], dict(values), []
    for k, (operation, operands) in enumerate(rule.program):
        if operation == "name":
            variables.append(values[operands[0]])
        elif operation == "=":
            values[operands[0]] = variables[operands[1]]
            variables.append(None)
        else:
            given = operands if operation == "number" else [variables[o] for o in operands]
            exponent = _whole_number(rule, operands[1]) if operation == "**" else None
            if exponent is not None:
                given[1] = f"({exponent})"  # compiled to multiplications
            lines.append(f"t{k} = " + CODE[operation].format(*given))
            variables.append(f"t{k}")
    return lines, values


def _whole_number(rule: Rule, k: int) -> int | None:
    """The value of an instruction that is a small whole number."""
    operation, operands = rule.program[k]
    if operation == "negative":
        value = _whole_number(rule, operands[0])
        return None if value is None else -value
    if operation == "number" and operands[0].is_integer() and operands[0] <= 16:
        return int(operands[0])
    return None


@lru_cache(maxsize=64)
def kernel(rule: Rule) -> Callable:
    """The compiled `update(weights, shapes, normalization, [coefficients,] [of neurons,] [memory,]
    activations, reward)` of a rule, see `hebbian_weights_update.Synapses`; of these arrays it takes
    those that the rule has.

    It works in place and allocates nothing. Without fastmath: the same bits on every machine,
    wherever the arrays lie in memory. numba keeps it on disk under its name, a hash of its source.
    """
    from machine.compiled import compiled  # here, so that a look at the rules costs nothing
    from networks.arithmetic import tanh

    name = "update_" + hashlib.sha256(_source(rule, "update").encode()).hexdigest()[:16]
    names = {"__name__": __name__, "np": np, "tanh": tanh}
    names["normalize"] = compiled(_normalize)
    exec(compile(_source(rule, name), __file__, "exec"), names)
    return compiled(names[name])
