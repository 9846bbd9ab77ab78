"""How every kernel is compiled and kept, and the array types that their signatures are made of."""

from collections.abc import Callable, Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import numpy as np
from numba import config, njit, types
from numba.core import event
from numba.core.caching import InTreeCacheLocator, UserProvidedCacheLocator

if TYPE_CHECKING:
    from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

# A position or a count in compiled code, a uint64: numba then leaves out what negative indices need, which is a third
# of the time of an inner loop. To a type checker it is anything, as numba's integers mix with those of Python.
Index: TypeAlias = Any
# Ranks are wide where there are more than 65,536 items.
NARROW = 1 << 16
Ranks: TypeAlias = "NDArray[np.uint16] | NDArray[np.uint32]"

# Snapshots and models are memory-mapped read-only. A parameter declared read-only takes writable arrays as well.
READ_UINT8 = types.Array(types.uint8, 1, "C", readonly=True)
READ_UINT16 = types.Array(types.uint16, 1, "C", readonly=True)
READ_UINT32 = types.Array(types.uint32, 1, "C", readonly=True)
READ_UINT64 = types.Array(types.uint64, 1, "C", readonly=True)
READ_INT64 = types.Array(types.int64, 1, "C", readonly=True)
READ_FLOAT32 = types.Array(types.float32, 1, "C", readonly=True)
READ_FLOAT64 = types.Array(types.float64, 1, "C", readonly=True)
WRITE_UINT16 = types.Array(types.uint16, 1, "C")
WRITE_UINT32 = types.Array(types.uint32, 1, "C")
WRITE_UINT64 = types.Array(types.uint64, 1, "C")
WRITE_INT64 = types.Array(types.int64, 1, "C")
WRITE_FLOAT32 = types.Array(types.float32, 1, "C")
WRITE_FLOAT64 = types.Array(types.float64, 1, "C")


_later: list[tuple[Any, object]] = []
_inner: list[tuple[Any, object]] = []
_lock = Lock()


def compiled(
    *signatures: object,
    later: Iterable[object] = (),
    inner: bool = False,
    argument: bool = False,
    allocates: bool = False,
) -> Callable[[F], F]:
    """Compile a function for these signatures when its module is imported, or load it from numba's disk cache.

    What few will ever need may come `later`, with `compile_rest`. What only other kernels call is `inner`: those hold
    its code, and so it takes no time where they are loaded; it is compiled just before one of them is, and cannot be
    called from Python. What is handed to kernels as an `argument` has to say so.

    The GIL is released, and neither fast-math nor threads inside a kernel are used: the order of additions is part of
    the result, and so is each rounding. Division by zero gives what IEEE 754 says instead of an exception, without
    which no loop that divides could use vectors. References to arrays are not counted, which a call in an inner loop
    would pay for each time; so a kernel that makes or returns arrays has to say that it `allocates`.
    """

    def compile_now(function: F) -> F:
        # A mapping, as type checkers are not told of `_nrt`, numba's option for the counting of references.
        options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "_nrt": allocates}
        options |= {"no_cpython_wrapper": inner, "no_cfunc_wrapper": not argument}
        kernel = njit(None if inner else list(signatures), **options)(function)
        if inner:
            _inner.extend((kernel, signature) for signature in signatures)
        _later.extend((kernel, signature) for signature in later)
        return cast("F", kernel)

    return compile_now


def compile_rest() -> None:
    """Compile, or load, what was put off; once, and for whoever calls it."""
    with _lock:
        while _later:
            _compile(*_later[0])
            del _later[0]


def _compile(kernel: Any, signature: object) -> None:
    kernel.disable_compile(False)
    kernel.compile(signature)
    kernel.disable_compile()


def compile_inner() -> None:
    """Compile, or load, what only other kernels call; what could not be is tried again the next time."""
    # In the order in which they were declared, which is that in which they call each other.
    waiting = _inner.copy()
    _inner.clear()
    try:
        while waiting:
            _compile(*waiting[0])
            del waiting[0]
    finally:
        _inner[:0] = waiting


class _InnerFirst(event.Listener):
    """Is told by numba of each kernel that is about to be compiled, also of the inner ones themselves."""

    def on_start(self, event: event.Event) -> None:
        compile_inner()

    def on_end(self, event: event.Event) -> None:
        pass


event.register("numba:compile", _InnerFirst())  # type: ignore[no-untyped-call]


def empty_ranks(count: int, size: int) -> Ranks:
    """An array for `size` ranks of so many items, uint16 where they fit and else uint32; kernels for it are there."""
    if count <= NARROW:
        return np.empty(size, np.uint16)
    compile_rest()
    return np.empty(size, np.uint32)


class _OfAllKernels:
    """Compiled functions call each other across files; so what was compiled is current while no kernel has changed."""

    def get_source_stamp(self) -> str:
        return _sources()


class KernelsInTree(_OfAllKernels, InTreeCacheLocator):
    """Kept beside the sources."""


class KernelsInChosenPlace(_OfAllKernels, UserProvidedCacheLocator):
    """Kept in `NUMBA_CACHE_DIR`."""


@cache
def _sources() -> str:
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


# By numba's own setting for this, in this process alone; its default looks at the file of the compiled function only.
_places = (KernelsInChosenPlace, KernelsInTree)
vars(config)["CACHE_LOCATOR_CLASSES"] = ",".join(f"{__name__}.{place.__name__}" for place in _places)
