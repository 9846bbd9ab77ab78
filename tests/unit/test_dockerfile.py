"""What the Dockerfile promises."""

import re

from tests.compose import image_environment, read_dockerfile
from tests.root import ROOT


def test_both_stages_stand_on_one_python_by_tag() -> None:
    """A virtual environment only runs on the Python that it was made with."""
    images = {rest.partition(" ")[0] for instruction, rest in read_dockerfile() if instruction == "FROM"}
    (image,) = images
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", image)
    minor = int(image.split("-")[0].removeprefix("python:3."))
    requires = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert requires
    assert int(requires[1]) <= minor < int(requires[2])


def test_kernels_are_looked_for_where_and_as_they_were_compiled() -> None:
    """The build and the image name the same directory and the same kind of processor."""
    built = " ".join(rest for instruction, rest in read_dockerfile() if instruction == "ENV")
    for variable in ("NUMBA_CPU_NAME", "NUMBA_CACHE_DIR"):
        assert set(re.findall(rf"{variable}=(\S+)", built)) == {image_environment()[variable]}
    assert ("RUN", "venv/bin/python -m reckoner.workers.kernels") in read_dockerfile()
    assert image_environment().keys().isdisjoint({"PYTHONDONTWRITEBYTECODE", "NUMBA_DISABLE_JIT"})


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    """No data, no secrets and no history of this directory can get into a layer."""
    copied = {
        source
        for instruction, rest in read_dockerfile()
        if instruction == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert ignored[1] == "*"
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)
