"""What has to be there before a worker can import its kernels."""

import os
from collections.abc import MutableMapping
from importlib.util import find_spec
from pathlib import Path

from shared.errors import MissingExtraError, SettingsError
from shared.settings import Settings

PACKAGES = ("numpy", "numba")


def require_packages() -> None:
    """Make sure that what workers compute with is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if any(find_spec(package) is None for package in PACKAGES):
        raise MissingExtraError("What workers compute with is not installed: pip install 'ready-reckoner[worker]'.")


def prepare(environ: MutableMapping[str, str], settings: Settings, kernels: Path | None = None) -> None:
    """Set what numpy and numba read from the environment when they are imported; what is set already stays.

    numba keeps compiled kernels beside their source, the directory `kernels`. Where that cannot be written, they are
    kept in the home.

    Raises:
        SettingsError: there is no place to keep them in.
    """
    # Kernels have threads of their own; the ones that OpenBLAS would start are never used and cost memory.
    environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    kernels = kernels or Path(__file__).absolute().with_name("kernels")
    cache = kernels / "__pycache__"
    if "NUMBA_CACHE_DIR" in environ or os.access(cache if cache.exists() else kernels, os.W_OK | os.X_OK):
        return
    place = settings.home_path / "numba"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"Compiled kernels cannot be kept in {place} ({error.strerror}): set RECKONER_HOME or NUMBA_CACHE_DIR to a "
            "directory that can be written."
        ) from error
    environ["NUMBA_CACHE_DIR"] = str(place)
