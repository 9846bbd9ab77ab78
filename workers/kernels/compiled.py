"""Compiles kernels with numba and caches them on disk; and the array types of their signatures.

Kernels release the GIL. They use neither fast-math nor inner threads: the order of additions and every rounding are
part of the result. A change of any kernel's source invalidates the whole cache, since kernels call each other.
"""

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

# A position or count in kernels, uint64: code for negative indices would take a third of an inner loop's time.
Index: TypeAlias = Any
# More items than this need wide ranks, uint32 instead of uint16.
NARROW = 1 << 16
Ranks: TypeAlias = "NDArray[np.uint16] | NDArray[np.uint32]"

# Memory-mapped arrays are read-only. Parameters declared read-only accept writable arrays too.
READ_UINT8 = types.Array(types.uint8, 1, "C", readonly=True)
READ_UINT16 = types.Array(types.uint16, 1, "C", readonly=True)
READ_UINT32 = types.Array(types.uint32, 1, "C", readonly=True)
READ_UINT64 = types.Array(types.uint64, 1, "C", readonly=True)
READ_INT64 = types.Array(types.int64, 1, "C", readonly=True)
READ_FLOAT32 = types.Array(types.float32, 1, "C", readonly=True)
READ_FLOAT64 = types.Array(types.float64, 1, "C", readonly=True)
WRITE_UINT8 = types.Array(types.uint8, 1, "C")
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

    Division by zero follows IEEE 754: raising an exception would prevent vectorized loops.

    Args:
        signatures: The signatures that are compiled at import.
        later: Rarely needed signatures, compiled by `compile_rest`.
        inner: Only other kernels call it. It is compiled just before them, and cannot be called from Python.
        argument: It is passed to other kernels as an argument.
        allocates: It creates or returns arrays. Only such kernels count references, which costs time in each call.
    """

    def compile_now(function: F) -> F:
        # A dict, since numba's stubs do not know `_nrt`, the option for reference counting.
        options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "_nrt": allocates}
        options |= {"no_cpython_wrapper": inner, "no_cfunc_wrapper": not argument}
        kernel = njit(None if inner else list(signatures), **options)(function)
        if inner:
            _inner.extend((kernel, signature) for signature in signatures)
        _later.extend((kernel, signature) for signature in later)
        return cast("F", kernel)

    return compile_now


def compile_rest() -> None:
    """Compile or load all `later` signatures. Further calls do nothing."""
    with _lock:
        while _later:
            _compile(*_later[0])
            del _later[0]


def _compile(kernel: Any, signature: object) -> None:
    kernel.disable_compile(False)
    kernel.compile(signature)
    kernel.disable_compile()


def compile_inner() -> None:
    """Compile or load all `inner` kernels. The next call retries a kernel that failed."""
    # In the order of declaration: a kernel calls only earlier ones.
    waiting = _inner.copy()
    _inner.clear()
    try:
        while waiting:
            _compile(*waiting[0])
            del waiting[0]
    finally:
        _inner[:0] = waiting


class _InnerFirst(event.Listener):
    """Compiles the inner kernels before numba compiles any other kernel."""

    def on_start(self, event: event.Event) -> None:
        compile_inner()

    def on_end(self, event: event.Event) -> None:
        pass


event.register("numba:compile", _InnerFirst())  # type: ignore[no-untyped-call]


def empty_ranks(count: int, size: int) -> Ranks:
    """An array of `size` ranks of `count` items: uint16 if they fit, else uint32, after compiling kernels for these."""
    if count <= NARROW:
        return np.empty(size, np.uint16)
    compile_rest()
    return np.empty(size, np.uint32)


class _OfAllKernels:
    """Stamps a cached kernel with the sources of all kernels, since kernels call each other across files."""

    def get_source_stamp(self) -> str:
        return sources_hash()


class KernelsInTree(_OfAllKernels, InTreeCacheLocator):
    """Caches kernels beside their sources."""


class KernelsInChosenPlace(_OfAllKernels, UserProvidedCacheLocator):
    """Caches kernels in `NUMBA_CACHE_DIR`."""


@cache
def sources_hash() -> str:
    """The SHA-256 of the sources of all kernels."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


# numba's default stamps a kernel with its own file only.
_places = (KernelsInChosenPlace, KernelsInTree)
vars(config)["CACHE_LOCATOR_CLASSES"] = ",".join(f"{__name__}.{place.__name__}" for place in _places)
