"""What has to be there before a worker can import its kernels."""

import os
import shutil
import tempfile
from collections.abc import MutableMapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from reckoner.shared.errors import MissingExtraError, SettingsError
from reckoner.shared.settings import Settings

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

    numba keeps compiled kernels beside their source, the directory `kernels`, or in `NUMBA_CACHE_DIR`. Where it cannot
    write it does not read either: they are kept in the home then, with what `NUMBA_CACHE_DIR` held.

    Raises:
        SettingsError: there is no place to keep them in.
    """
    # Kernels have threads of their own; the ones that OpenBLAS would start are never used and cost memory.
    environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    kernels = kernels or Path(__file__).absolute().parent
    chosen = environ.get("NUMBA_CACHE_DIR")
    cache = Path(chosen) if chosen else kernels / "__pycache__"
    # One that is not there yet is made by numba.
    if _can_be_written(cache) or (not cache.exists() and (chosen or _can_be_written(kernels))):
        return
    place = settings.home_path / "numba"
    try:
        place.mkdir(parents=True, exist_ok=True)
        if chosen:
            place = _copy_kernels(cache, place)
    except OSError as error:
        raise SettingsError(
            f"Compiled kernels cannot be kept in {place} ({error.strerror}): set RECKONER_HOME or NUMBA_CACHE_DIR to a "
            "directory that can be written."
        ) from error
    environ["NUMBA_CACHE_DIR"] = str(place)


def _can_be_written(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK)


def _copy_kernels(compiled: Path, home: Path) -> Path:
    """Copy a cache of compiled kernels below `home` and return the copy.

    It is named by what is in it: those that start together share one, and what was compiled anew gets another.
    """
    files = {str(file.relative_to(compiled)): file.read_bytes() for file in sorted(compiled.rglob("*.nb[ci]"))}
    place = home / sha256(b"".join(name.encode() + content for name, content in files.items())).hexdigest()[:16]
    if place.exists():
        return place
    draft = Path(tempfile.mkdtemp(dir=home))
    try:
        for name, content in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_bytes(content)
        draft.rename(place)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        # Another process may have been quicker with the same.
        if not place.exists():
            raise
    return place
