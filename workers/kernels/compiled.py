"""How every kernel is compiled, and the array types that their signatures are made of."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit, types

F = TypeVar("F", bound=Callable[..., Any])

# Snapshots and models are memory-mapped read-only. A parameter declared read-only takes writable arrays as well.
READ_UINT8 = types.Array(types.uint8, 1, "C", readonly=True)
READ_UINT32 = types.Array(types.uint32, 1, "C", readonly=True)
READ_INT64 = types.Array(types.int64, 1, "C", readonly=True)
READ_FLOAT32 = types.Array(types.float32, 1, "C", readonly=True)
WRITE_UINT32 = types.Array(types.uint32, 1, "C")
WRITE_FLOAT32 = types.Array(types.float32, 1, "C")


def compiled(signature: object) -> Callable[[F], F]:
    """Compile a function for one signature when its module is imported, or load it from numba's disk cache.

    The GIL is released, and neither fast-math nor threads inside a kernel are used: the order of additions is part of
    the result. The disk cache looks at the file of the compiled function alone; so a kernel calls compiled functions
    of its own file only and is handed those of other files as arguments, or it would go on with their old code.
    """
    return cast("Callable[[F], F]", njit(signature, nogil=True, cache=True))
