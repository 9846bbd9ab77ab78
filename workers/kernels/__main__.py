"""Compiles all kernels into numba's disk cache: `python -m reckoner.workers.kernels`."""

import os
import pkgutil
from importlib import import_module

from reckoner.shared.settings import load_settings
from reckoner.workers import kernels
from reckoner.workers.kernels.environment import prepare, require_packages


def main() -> None:
    """Import every kernel module, which compiles kernels missing in the cache, and print how many."""
    require_packages()
    prepare(os.environ, load_settings())
    from numba.core.dispatcher import Dispatcher

    from reckoner.workers.kernels.compiled import compile_inner, compile_rest

    found = pkgutil.walk_packages(kernels.__path__, f"{kernels.__name__}.")
    modules = [import_module(module.name) for module in found if not module.name.endswith("__main__")]
    compile_inner()
    compile_rest()
    compiled = {value for module in modules for value in vars(module).values() if isinstance(value, Dispatcher)}
    loaded = sum(sum(kernel.stats.cache_hits.values()) for kernel in compiled)
    # A kernel is compiled once for each of its signatures.
    versions = sum(len(kernel.signatures) for kernel in compiled)
    print(f"{versions} kernels: {versions - loaded} compiled, {loaded} loaded")


if __name__ == "__main__":
    main()
