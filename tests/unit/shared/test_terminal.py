"""What a person sees cannot move the cursor, whatever it is made of."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.shared.terminal import plain, plain_json, plain_lines, show_trace
from tests.terminals import KEPT, UNSAFE


@pytest.mark.parametrize("character", ["\x1b", "\x9b", "\x7f", "\u061c", "\u202e", "\U000e0041"])
def test_one_that_could_is_shown_by_its_number(character: str) -> None:
    """In a sentence by the escape of Python, in JSON by that of JSON."""
    assert plain(f"a{character}b").isprintable()
    assert plain(f"a{character}b").encode().decode("unicode_escape") == f"a{character}b"
    raw = f'{{"title":"a{character}b"}}' if ord(character) > 0x1F else "{}"
    assert plain_json(raw).isprintable()
    assert json.loads(plain_json(raw), strict=False) == json.loads(raw, strict=False)


def test_none_of_them_is_left() -> None:
    """Each control, each end of a line, each mark of direction and each that nobody sees, of all of Unicode."""
    assert not set(plain("".join(UNSAFE))) & set(UNSAFE)
    assert not set(plain_lines("".join(UNSAFE))) & set(UNSAFE) - {"\n"}
    assert not set(plain_json("".join(UNSAFE))) & set(UNSAFE)


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])))
def test_what_people_read_is_left_as_it_is(text: str) -> None:
    """Letters of all scripts, marks, digits, signs and spaces are printed as they are."""
    assert plain(text) == plain_lines(text) == plain_json(text) == text


def test_a_joined_emoji_stays_one_and_a_turned_direction_does_not() -> None:
    """What joins characters is kept; what would turn the rest of the line around is shown by its number."""
    assert plain("👨‍👩‍👧") == "👨‍👩‍👧"
    assert plain("".join(map(chr, KEPT))) == "".join(map(chr, KEPT))
    assert plain("a\u202eb\x1b[2J\n") == "a\\u202eb\\x1b[2J\\n"
    assert plain_lines("a\u202e\nb\x9b2J") == "a\\u202e\nb\\x9b2J"
    assert plain_json('"\U000e0041\x7f"') == '"\\udb40\\udc41\\u007f"'


@given(st.text())
def test_json_of_any_text_is_that_of_the_same_text(text: str) -> None:
    """Whoever reads it has the text as it is in the data."""
    shown = plain_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(shown) == text
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}


def test_a_stack_trace_keeps_its_lines_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody foresaw the error, and what it holds may be out of Redis."""
    error = ValueError("job \x1b[2J\x9b\u202e")
    show_trace(ValueError, error, None)
    assert capsys.readouterr().err == "ValueError: job \\x1b[2J\\x9b\\u202e\n"
