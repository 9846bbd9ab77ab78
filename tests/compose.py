"""docker-compose.yml and the Dockerfile, parsed for tests without Docker."""

import json
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from tests.root import ROOT

COMPOSE_FILE = ROOT / "docker-compose.yml"
# `$$` and `${NAME:-default}`: the substitutions that the file uses.
REPLACED = re.compile(r"\$\$|\$\{(?P<name>[A-Z0-9_]+):-(?P<default>[^}]*)\}")


def read_compose(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file as compose reads it under these variables."""
    given = environ or {}

    def value(match: "re.Match[str]") -> str:
        return "$" if match["name"] is None else given.get(match["name"]) or match["default"]

    def replaced(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: replaced(inner) for key, inner in node.items()}
        if isinstance(node, list):
            return [replaced(inner) for inner in node]
        return REPLACED.sub(value, node) if isinstance(node, str) else node

    whole: dict[str, Any] = replaced(YAML(typ="safe", pure=True).load(COMPOSE_FILE))
    return whole


def read_dockerfile() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each with its arguments in one line, without comments."""
    text = "\n".join(
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")
    )
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [(instruction, rest) for instruction, _, rest in (line.partition(" ") for line in lines)]


def final_stage() -> list[tuple[str, str]]:
    """The instructions of the image's final stage."""
    instructions = read_dockerfile()
    last = max(number for number, (instruction, _) in enumerate(instructions) if instruction == "FROM")
    return instructions[last:]


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    said = " ".join(rest for instruction, rest in final_stage() if instruction == "ENV")
    return dict(re.findall(r"(\w+)=(\S+)", said))


def image_command(instruction: str) -> list[str]:
    """The words of ENTRYPOINT, CMD or HEALTHCHECK, which are written without a shell."""
    (rest,) = [rest for name, rest in final_stage() if name == instruction]
    words: list[str] = json.loads(rest[rest.index("[") :])
    return words
