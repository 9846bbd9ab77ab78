"""Programs from Debian packages, without root: `python tests/debian.py PACKAGE PROGRAM`."""

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Inside `.venv`, which `make clean` removes.
CACHE = Path(sys.prefix) / "debian"
# Loader and C library belong together: keep the machine's.
NEVER_UNPACKED = "libc6_"


class DebianError(Exception):
    """A package is not available; the sentence says why."""


def find(package: str, program: str, *, installed: Path = Path("/"), cache: Path = CACHE) -> Path:
    """The path of a runnable program, from an installed package or one unpacked into the cache.

    `program` is its path in the package, without the first slash. A `*` stands for a version, as in
    `usr/lib/postgresql/*/bin/initdb`; the newest match counts.

    Raises:
        DebianError: there is no apt, no such package, or no such program in it.
    """
    if found := _newest(installed, program):
        return found
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / package
    with (cache / f"{package}.lock").open("w") as lock:
        # Two test runs fetch it once. The next one repeats an interrupted fetch.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=cache) as directory:
                _fetch(package, Path(directory) / "apt", Path(directory) / "root")
                (Path(directory) / "root").rename(root)
        if found := _newest(root, program):
            return _launcher(root, found)
    raise DebianError(f"Debian's package {package} has no {program} here.")


def _newest(root: Path, program: str) -> Path | None:
    found = [path for path in root.glob(program) if os.access(path, os.X_OK)]
    return max(found, key=lambda path: [(len(part), part) for part in path.parts], default=None)


def _fetch(package: str, state: Path, root: Path) -> None:
    """Unpack a package and its missing dependencies, with package lists of our own: root's may be outdated."""
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise DebianError(
            f"There is no apt here to get {package} with: install it by other means, so that it is found, or run the "
            "tests where Debian's packages are to be had."
        )
    for directory in ("lists/partial", "archives/partial"):
        (state / directory).mkdir(parents=True)
    options = {
        "Dir::State": str(state),
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": str(state),
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "1",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    _run([*apt, "update"], package)
    _run([*apt, "install", "--download-only", "--no-install-recommends", "--yes", package], package)
    root.mkdir()
    for archive in sorted((state / "archives").glob("*.deb")):
        if not archive.name.startswith(NEVER_UNPACKED):
            _run(["dpkg-deb", "--extract", str(archive), str(root)], package)


def _run(command: Sequence[str], package: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or "nothing"
        raise DebianError(f"Debian's package {package} cannot be had: {command[0]} said {said}.")


def _launcher(root: Path, program: Path) -> Path:
    """A script that runs an unpacked program with its unpacked libraries."""
    libraries = [root / directory for directory in ("usr/lib", "lib") if (root / directory).is_dir()]
    places = {path.parent for directory in libraries for path in directory.rglob("*.so.*")}
    path = ":".join(map(str, sorted(places)))
    script = root / "launchers" / program.relative_to(root)
    script.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        "#!/bin/sh",
        f"LD_LIBRARY_PATH={shlex.quote(path)}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}",
        "export LD_LIBRARY_PATH",
        f'exec {shlex.quote(str(program))} "$@"',
    )
    draft = script.with_name(f"{script.name}.new")
    draft.write_text("\n".join(lines) + "\n")
    draft.chmod(0o755)
    draft.rename(script)
    return script


def main(arguments: Sequence[str]) -> int:
    """Print the path of a program."""
    package, program = arguments
    try:
        print(find(package, program))
    except (DebianError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
