"""The names of lists to fall back to are read from one text."""

import pytest

from reckoner.shared.errors import SettingsError, UsageError
from reckoner.shared.list_names import parse_fallback, require_fallback
from reckoner.shared.settings import load_settings


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("popular", ("popular",)),
        (" trending:shoes , popular,", ("trending:shoes", "popular")),
        ('"latest:a, b", trending:c:d', ("latest:a, b", "trending:c:d")),
    ],
)
def test_names_are_separated_by_commas(text: str, names: tuple[str, ...]) -> None:
    """A tag with a comma is quoted, as in CSV."""
    assert parse_fallback(text) == names


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (" , ", "it names no list"),
        ("best", "lists are popular, trending, latest, or of a tag, as in latest:TAG"),
        ("latest:", "lists are popular, trending, latest, or of a tag"),
        ("popular\nlatest", "it is not one line of names"),
        ('"popular', "it is not one line of names"),
    ],
)
def test_other_texts_are_refused(text: str, sentence: str) -> None:
    """In a setting and in an argument, each with its name."""
    with pytest.raises(UsageError, match=rf"The fallback .* is invalid: {sentence}"):
        require_fallback(text)
    with pytest.raises(SettingsError, match=rf"RECKONER_FALLBACK is invalid: {sentence}"):
        load_settings({"RECKONER_FALLBACK": text})
