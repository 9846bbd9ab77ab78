"""Tests of how kernels are compiled."""

import pkgutil
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from workers import kernels
from workers.kernels.compiled import compile_inner, compile_rest
from workers.kernels.ranking import nth_largest

MODULES = [module.name for module in pkgutil.iter_modules(kernels.__path__) if module.name != "__main__"]
KERNELS = {
    f"{name}.{kernel.py_func.__name__}": kernel
    for name in MODULES
    for kernel in vars(import_module(f"workers.kernels.{name}")).values()
    if isinstance(kernel, Dispatcher) and kernel.py_func.__module__ == f"workers.kernels.{name}"
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_is_compiled_when_its_module_is_imported_and_kept_on_disk(name: str) -> None:
    """With the GIL released, and without what would let the order of additions or a rounding change.

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


def test_there_are_kernels_in_every_module_of_arithmetic() -> None:
    """So that none is overlooked above."""
    found = {name.split(".")[0] for name in KERNELS}
    assert found == set(MODULES) - {"compiled", "processor", "work"}


def test_a_call_compiles_nothing() -> None:
    """Other types are refused, in whichever order tests run and whether or not the rest was compiled."""
    integers: Any = np.ones(3, np.int64)
    with pytest.raises(TypeError, match="No matching definition"):
        nth_largest(integers, 3, 1)


def test_what_comes_later_is_compiled_once() -> None:
    """For ranks that do not fit into 16 bits; whoever asks again waits for nothing."""
    compile_inner()
    compile_rest()
    before = {name: len(kernel.signatures) for name, kernel in KERNELS.items()}
    compile_rest()
    assert {name: len(kernel.signatures) for name, kernel in KERNELS.items()} == before
    assert before["counting.count_users"] == 4
    assert before["build._build"] == before["ranked._rank"] == 2
