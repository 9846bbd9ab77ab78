"""Compiles all kernels ahead of time, into numba's disk cache: `python -m workers.kernels`."""

import os
import pkgutil
from importlib import import_module
from pathlib import Path

from shared.settings import load_settings
from workers.environment import prepare, require_packages


def main() -> None:
    """Import every module of kernels, which compiles what the cache does not hold, and say how many that were."""
    require_packages()
    prepare(os.environ, load_settings())
    from numba.core.dispatcher import Dispatcher

    from workers.kernels.compiled import compile_inner, compile_rest

    names = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name != "__main__"]
    modules = [import_module(f"workers.kernels.{name}") for name in names]
    compile_inner()
    compile_rest()
    kernels = {value for module in modules for value in vars(module).values() if isinstance(value, Dispatcher)}
    loaded = sum(sum(kernel.stats.cache_hits.values()) for kernel in kernels)
    # One that takes several types is compiled for each.
    versions = sum(len(kernel.signatures) for kernel in kernels)
    print(f"{versions} kernels: {versions - loaded} compiled, {loaded} loaded")


if __name__ == "__main__":
    main()
