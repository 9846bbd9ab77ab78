"""What the Dockerfile promises."""

import re

from tests.compose import ROOT, final_stage, image_command, image_environment, read_dockerfile


def test_both_stages_stand_on_one_python_by_tag() -> None:
    """A virtual environment only runs on the Python that it was made with."""
    images = {rest.partition(" ")[0] for instruction, rest in read_dockerfile() if instruction == "FROM"}
    (image,) = images
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", image)
    minor = int(image.split("-")[0].removeprefix("python:3."))
    requires = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert requires
    assert int(requires[1]) <= minor < int(requires[2])


def test_everything_is_installed_by_hash() -> None:
    """The tools, what runs, and what builds our wheel; that alone has none, and brings no dependencies along."""
    runs = [rest for instruction, rest in read_dockerfile() if instruction == "RUN"]
    installs = [
        command for run in runs for command in run.split(" && ") if re.search(r"\binstall --no-cache|build --", command)
    ]
    assert len(installs) == 4
    assert [command for command in installs if "--require-hashes" not in command] == [
        command for command in installs if "--no-deps" in command and command.endswith("wheel/*.whl")
    ]
    assert any("--requirement image.lock.txt" in command and "--compile-bytecode" in command for command in installs)


def test_the_image_has_no_tools_and_runs_as_nobody_special() -> None:
    """What was built is copied; the user is a number, so that orchestrators can see that it is not root."""
    stage = final_stage()
    runs = [rest for instruction, rest in stage if instruction == "RUN"]
    assert not any(re.search(r"apt-get|\bpip\b|\buv\b|gcc", run) for run in runs)
    assert [rest for instruction, rest in stage if instruction == "USER"] == ["10001:10001"]
    assert not [instruction for instruction, _ in stage if instruction in {"EXPOSE", "ADD", "ARG"}]
    assert [rest for instruction, rest in stage if instruction == "VOLUME"] == ["/artifacts"]


def test_signals_reach_the_supervisor() -> None:
    """No shell stands between: the command is a list of words, and `reckoner worker` becomes the supervisor."""
    assert (image_command("ENTRYPOINT"), image_command("CMD")) == (["reckoner"], ["worker"])
    assert image_command("HEALTHCHECK") == ["python", "-m", "workers", "--heard"]


def test_kernels_are_looked_for_where_and_as_they_were_compiled() -> None:
    """The build and the image name the same directory and the same kind of processor."""
    built = " ".join(rest for instruction, rest in read_dockerfile() if instruction == "ENV")
    for variable in ("NUMBA_CPU_NAME", "NUMBA_CACHE_DIR"):
        assert set(re.findall(rf"{variable}=(\S+)", built)) == {image_environment()[variable]}
    assert ("RUN", "venv/bin/python -m workers.kernels") in read_dockerfile()
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


def test_labels_name_no_address() -> None:
    """Title, description and licence."""
    (labels,) = [rest for instruction, rest in final_stage() if instruction == "LABEL"]
    assert 'licenses="Apache-2.0"' in labels
    assert "://" not in labels
