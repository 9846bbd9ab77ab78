"""Intrinsics: processor instructions that numba has no name for, written in LLVM.

On a processor without such an instruction LLVM uses others, with the same result.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

READ, KEEP, DATA = 0, 3, 1

insert_function: Any = cgutils.get_or_insert_function


def _popcount(_typing: Any, word: Any) -> Any:
    """Count the set bits of a uint64."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


def _trailing_zeros(_typing: Any, word: Any) -> Any:
    """The position of the lowest set bit of a uint64, which must not be 0."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.uint64(types.uint64), generate


def _prefetch(_typing: Any, array: Any, at: Any) -> Any:
    """Fetch the element `at` of an array into the cache. It may lie outside the array, as nothing is read."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        function = insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [address, word(READ), word(KEEP), word(DATA)])
        return context.get_dummy_value()

    return types.void(array, at), generate


def _keep_larger(_typing: Any, kept: Any, at: Any, array: Any, begin: Any) -> Any:
    """kept[at : at + 8] = maximum(kept[at : at + 8], array[begin : begin + 8]), float64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        eight = ir.VectorType(ir.DoubleType(), 8)

        def eight_from(number: int) -> Any:
            data = context.make_array(signature.args[number])(context, builder, arguments[number]).data
            return builder.bitcast(builder.gep(data, [arguments[number + 1]]), eight.as_pointer())

        place = eight_from(0)
        old, new = builder.load(place, align=8), builder.load(eight_from(2), align=8)
        builder.store(builder.select(builder.fcmp_ordered(">", new, old), new, old), place, align=8)
        return context.get_dummy_value()

    return types.void(kept, at, array, begin), generate


def _at_least(_typing: Any, array: Any, at: Any, bound: Any) -> Any:
    """array[at : at + 64] >= bound, float64, as the bits of a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.DoubleType(), 64)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), vector.as_pointer())
        bounds = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[2], ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
        bounds = builder.shuffle_vector(bounds, ir.Constant(vector, ir.Undefined), zeros)
        found = builder.fcmp_ordered(">=", builder.load(place, align=8), bounds)
        return builder.bitcast(found, ir.IntType(64))

    return types.uint64(array, at, types.float64), generate


def _add_four(_typing: Any, sums: Any, ranks: Any, weight: Any, values: Any, at: Any) -> Any:
    """sums[ranks[k]] += weight * values[at + k], float64, for four ranks of 16 bits each in a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        four = ir.VectorType(ir.FloatType(), 4)
        doubles = ir.VectorType(ir.DoubleType(), 4)

        def data(number: int) -> Any:
            return context.make_array(signature.args[number])(context, builder, arguments[number]).data

        place = builder.bitcast(builder.gep(data(3), [arguments[4]]), four.as_pointer())
        read = builder.fpext(builder.load(place, align=4), doubles)
        weights = ir.Constant(doubles, ir.Undefined)
        for k in range(4):
            weights = builder.insert_element(weights, arguments[2], ir.IntType(32)(k))
        shares = builder.fmul(read, weights)
        word = ir.IntType(64)
        for k in range(4):
            rank = builder.and_(builder.lshr(arguments[1], word(16 * k)), word(0xFFFF))
            to = builder.gep(data(0), [rank])
            builder.store(builder.fadd(builder.load(to), builder.extract_element(shares, ir.IntType(32)(k))), to)
        return context.get_dummy_value()

    return types.void(sums, ranks, weight, values, at), generate


popcount: Any = intrinsic(_popcount)
trailing_zeros: Any = intrinsic(_trailing_zeros)
prefetch: Any = intrinsic(_prefetch)
keep_larger: Any = intrinsic(_keep_larger)
at_least: Any = intrinsic(_at_least)
add_four: Any = intrinsic(_add_four)
