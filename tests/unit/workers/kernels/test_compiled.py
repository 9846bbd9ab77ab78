"""Tests of how kernels are compiled."""

from inspect import getsourcefile

import pytest
from numba.core.dispatcher import Dispatcher

from workers.kernels import build, ranking, score, similarity


@pytest.mark.parametrize("module", [build, ranking, score, similarity])
def test_no_kernel_calls_a_compiled_function_of_another_file(module: object) -> None:
    """Numba's disk cache would go on with the other file's old code."""
    kernels = [value for value in vars(module).values() if isinstance(value, Dispatcher)]
    assert kernels
    for kernel in kernels:
        names = kernel.py_func.__code__.co_names
        called = [kernel.py_func.__globals__.get(name) for name in names]
        foreign = [other for other in called if isinstance(other, Dispatcher)]
        assert {getsourcefile(other.py_func) for other in foreign} <= {getsourcefile(kernel.py_func)}


@pytest.mark.parametrize("module", [build, ranking, score, similarity])
def test_each_kernel_has_one_specialisation(module: object) -> None:
    """What is compiled is compiled when the module is imported, once."""
    for kernel in vars(module).values():
        if isinstance(kernel, Dispatcher):
            assert len(kernel.signatures) == 1
