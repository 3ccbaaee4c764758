"""Eight float32 at a time, in a register of the processor, for compiled functions.

A compiler finds most such loops by itself, but not the best order of those of a convolution. No
lane knows of another: each has the bits of a loop over single numbers.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

N = 8
VECTOR = ir.VectorType(ir.FloatType(), N)


class Lanes(types.Type):
    def __init__(self):
        super().__init__("Lanes")


@register_model(Lanes)
class _Register(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, VECTOR)


def _place(context, builder, array, values):
    """A pointer to N elements of a contiguous array, from a flat index on."""
    data = context.make_array(array)(context, builder, values[0]).data
    return builder.bitcast(builder.gep(data, [values[1]]), VECTOR.as_pointer())


@intrinsic
def load(_, array, index):
    """N elements of a contiguous float32 array, from a flat index on."""

    def code(context, builder, signature, values):
        return builder.load(_place(context, builder, signature.args[0], values), align=4)

    return Lanes()(array, types.intp), code


@intrinsic
def store(_, array, index, lanes):
    """Write lanes to N elements of a contiguous float32 array, from a flat index on."""

    def code(context, builder, signature, values):
        place = _place(context, builder, signature.args[0], values)
        builder.store(values[2], place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), code


@intrinsic
def repeat(_, array, index):
    """One element of a contiguous float32 array, at a flat index, in all lanes."""

    def code(context, builder, signature, values):
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        number = builder.load(builder.gep(data, [values[1]]))
        first = builder.insert_element(VECTOR(ir.Undefined), number, ir.IntType(32)(0))
        everywhere = ir.VectorType(ir.IntType(32), N)([0] * N)
        return builder.shuffle_vector(first, first, everywhere)

    return Lanes()(array, types.intp), code


@intrinsic
def zero(_):
    """0 in all lanes."""
    return Lanes()(), lambda *_: VECTOR([0.0] * N)


@intrinsic
def fma(_, a, b, c):
    """a·b + c, rounded once."""

    def code(context, builder, signature, values):
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{N}f32")
        return builder.call(function, values)

    return Lanes()(a, b, c), code


@intrinsic
def larger(_, a, b):
    """Lane by lane, as `max` of two numbers."""

    def code(context, builder, signature, values):
        return builder.select(builder.fcmp_ordered(">", *values), *values)

    return Lanes()(a, b), code
