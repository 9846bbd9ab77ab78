"""What a processor can do and numba has no name for; where one cannot, LLVM writes it with what there is."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

READ, KEEP, DATA = 0, 3, 1

insert_function: Any = cgutils.get_or_insert_function


def _popcount(_typing: Any, word: Any) -> Any:
    """How many bits of a uint64 are set."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


def _prefetch(_typing: Any, array: Any, at: Any) -> Any:
    """Have the element `at` of an array brought into the cache; it may lie outside, since nothing is read."""

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
    """Let each of kept[at : at + 8], float64, be the larger one of itself and the one beside it in array[begin:]."""

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


popcount: Any = intrinsic(_popcount)
prefetch: Any = intrinsic(_prefetch)
keep_larger: Any = intrinsic(_keep_larger)
