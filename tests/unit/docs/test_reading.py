"""The page about reading is true: its examples are the files, its keys and recipe are the code's."""

import re
import subprocess
from pathlib import Path

import pytest

from reckoner.shared.redis.keys import Keys, basket_hash
from tests.root import ROOT

DOCS = ROOT / "docs"
PAGE = (DOCS / "reading.md").read_text(encoding="utf-8")
EXAMPLES = sorted(path.name for path in (DOCS / "examples").glob("[Rr]ead.*"))
KEYS = Keys("reckoner")


def blocks(language: str) -> list[str]:
    """The page's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_on_the_page_is_the_file(name: str) -> None:
    """Byte for byte, so the tested code is the shown code."""
    language = {".mjs": "js", ".php": "php", ".go": "go", ".rb": "ruby", ".java": "java"}[Path(name).suffix]
    assert blocks(language) == [(DOCS / "examples" / name).read_text(encoding="utf-8")]


def test_the_keys_are_those_that_are_written() -> None:
    """All names, in the order of the table."""
    named = re.findall(r"^\| `(reckoner:[^`]*)` \|", PAGE, flags=re.MULTILINE)
    basket = KEYS.basket("GENERATION", ["i"]).replace(basket_hash(["i"]), "HASH")
    assert named == [
        KEYS.current,
        KEYS.previous,
        KEYS.record("GENERATION"),
        KEYS.result("GENERATION", "USER"),
        KEYS.left("USER"),
        KEYS.hidden,
        KEYS.hidden_version,
        basket,
        KEYS.titles("SNAPSHOT"),
        KEYS.named_lists("SNAPSHOT"),
        KEYS.tags("SNAPSHOT"),
        KEYS.tagging,
    ]


def test_the_recipe_makes_a_baskets_key() -> None:
    """The shell command on the page prints the hash that the workers use."""
    (command,) = [block for block in blocks("sh") if "sha256sum" in block]
    printed = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
    assert printed.split()[0] == basket_hash(["The Matrix", "12", "Amélie", "12"])
