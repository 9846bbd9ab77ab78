"""The Dockerfile agrees with pyproject.toml and .dockerignore."""

import re

from tests.compose import final_stage, read_dockerfile
from tests.root import ROOT


def test_both_stages_stand_on_one_python_by_tag() -> None:
    """A virtual environment runs only on the Python that made it, which has to be a supported one."""
    images = {rest.partition(" ")[0] for instruction, rest in read_dockerfile() if instruction == "FROM"}
    (image,) = images
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", image)
    minor = int(image.split("-")[0].removeprefix("python:3."))
    requires = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert requires
    assert int(requires[1]) <= minor < int(requires[2])


def test_the_build_context_is_exactly_the_copied_files() -> None:
    """No data, secrets or history can get into a layer."""
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


def test_the_image_does_not_run_as_root() -> None:
    """The user is a number, so that a host can check it without the image's names."""
    users = [rest for instruction, rest in final_stage() if instruction == "USER"]
    assert users
    assert all(int(part) > 0 for part in users[-1].split(":"))
