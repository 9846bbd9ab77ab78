"""Prepares the environment before kernels are imported: packages, thread counts and a writable kernel cache."""

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
    """Require the packages that kernels need.

    Raises:
        MissingExtraError: one is not installed.
    """
    if any(find_spec(package) is None for package in PACKAGES):
        raise MissingExtraError("Workers need numpy and numba. Run: pip install 'ready-reckoner[worker]'.")


def prepare(environ: MutableMapping[str, str], settings: Settings, kernels: Path | None = None) -> None:
    """Set the variables that numpy and numba read at import. Variables that are set already stay.

    numba caches kernels in `kernels`, beside their sources, or in `NUMBA_CACHE_DIR`. It does not even read a cache that
    it cannot write. In that case the cache moves to the home, with a copy of `NUMBA_CACHE_DIR`.

    Raises:
        SettingsError: no directory is writable.
    """
    # OpenBLAS would start threads that are never used and cost memory.
    environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    kernels = kernels or Path(__file__).absolute().parent
    chosen = environ.get("NUMBA_CACHE_DIR")
    cache = Path(chosen) if chosen else kernels / "__pycache__"
    # numba creates a missing directory.
    if _can_be_written(cache) or (not cache.exists() and (chosen or _can_be_written(kernels))):
        return
    place = settings.home_path / "numba"
    try:
        place.mkdir(parents=True, exist_ok=True)
        if chosen:
            place = _copy_kernels(cache, place)
    except OSError as error:
        raise SettingsError(
            f"The kernel cache {place} is not writable ({error.strerror}). Set RECKONER_HOME or NUMBA_CACHE_DIR to a "
            "writable directory."
        ) from error
    environ["NUMBA_CACHE_DIR"] = str(place)


def _can_be_written(directory: Path) -> bool:
    return os.access(directory, os.W_OK | os.X_OK)


def _copy_kernels(compiled: Path, home: Path) -> Path:
    """Copy a kernel cache below `home`. Returns the copy, which is named by a hash of its content."""
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
        # Another process may have copied it first.
        if not place.exists():
            raise
    return place
