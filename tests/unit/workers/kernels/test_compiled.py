"""Tests of how kernels are compiled."""

import pkgutil
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from numba import types
from numba.core.dispatcher import Dispatcher

from reckoner.workers import kernels
from reckoner.workers.kernels.compiled import compile_inner, compile_rest, compiled
from reckoner.workers.kernels.selection import nth_largest

MODULES = [
    module.name.removeprefix(f"{kernels.__name__}.")
    for module in pkgutil.walk_packages(kernels.__path__, f"{kernels.__name__}.")
    if not module.name.endswith("__main__")
]
KERNELS = {
    f"{name}.{kernel.py_func.__name__}": kernel
    for name in MODULES
    for kernel in vars(import_module(f"reckoner.workers.kernels.{name}")).values()
    if isinstance(kernel, Dispatcher) and kernel.py_func.__module__ == f"reckoner.workers.kernels.{name}"
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_is_compiled_when_its_module_is_imported_and_kept_on_disk(name: str) -> None:
    """The GIL is released, and the order of additions and roundings is fixed.

    Or at the latest when one that calls it is compiled.
    """
    compile_inner()
    kernel = KERNELS[name]
    assert kernel.signatures
    options = kernel.targetoptions
    assert options["nogil"]
    assert not options.get("fastmath")
    assert not options.get("parallel")
    assert sum(kernel.stats.cache_hits.values()) + sum(kernel.stats.cache_misses.values()) == len(kernel.signatures)


@pytest.mark.parametrize("name", [name for name, kernel in KERNELS.items() if not kernel.targetoptions["_nrt"]])
def test_a_kernel_that_does_not_say_that_it_allocates_returns_no_arrays(name: str) -> None:
    """Nobody would count the references to them."""
    compile_inner()
    versions: list[Any] = list(KERNELS[name].overloads.values())
    returned = [version.signature.return_type for version in versions]
    assert not any(isinstance(part, types.Array) for kind in returned for part in (kind, *getattr(kind, "types", ())))


def test_what_only_kernels_call_is_compiled_for_its_own_types_and_not_for_those_of_a_call() -> None:
    """Before its caller, whatever else was compiled."""

    def one_more(number: Any) -> Any:
        return number + np.uint64(1)

    next_one: Any = compiled(types.uint64(types.uint64), inner=True)(one_more)
    assert not next_one.signatures

    @compiled(types.uint64(types.int32))
    def after_next(number: Any) -> Any:
        return next_one(next_one(number))

    assert next_one.signatures == [(types.uint64,)]
    assert after_next(2) == 4


def test_what_could_not_be_compiled_is_tried_again_with_what_comes_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk may have been full."""
    compile_inner()
    waiting: list[tuple[object, object]] = []
    tried = []
    monkeypatch.setattr("reckoner.workers.kernels.compiled._inner", waiting)

    def compile_now(kernel: object, signature: object) -> None:
        tried.append((kernel, signature))
        if len(tried) == 1:
            raise OSError("no space")

    monkeypatch.setattr("reckoner.workers.kernels.compiled._compile", compile_now)
    waiting += [("one", 1), ("two", 2)]
    with pytest.raises(OSError, match="no space"):
        compile_inner()
    compile_inner()
    assert tried == [("one", 1), ("one", 1), ("two", 2)]


def test_there_are_kernels_in_every_module_of_arithmetic() -> None:
    """So that none is overlooked above."""
    found = {name.rpartition(".")[0] for name in KERNELS}
    without = {"building", "encoding", "regression", "scoring", "compiled", "environment"}
    without |= {"building.work", "regression.work", "scoring.scratch", "scoring.diversity", "item_lists"}
    assert found == set(MODULES) - without - {"processor"}


def test_a_call_compiles_nothing() -> None:
    """Other types are refused, in any order of tests."""
    integers: Any = np.ones(3, np.int64)
    with pytest.raises(TypeError, match="No matching definition"):
        nth_largest(integers, 3, 1)


def test_what_comes_later_is_compiled_once() -> None:
    """For ranks above 16 bits; later calls return at once."""
    compile_inner()
    compile_rest()
    before = {name: len(kernel.signatures) for name, kernel in KERNELS.items()}
    compile_rest()
    assert {name: len(kernel.signatures) for name, kernel in KERNELS.items()} == before
    assert before["building.counting.count_users"] == 4
    assert before["building.build._build"] == before["building.ranked._rank"] == 2
