"""One rule says what can be an id."""

import pytest

from reckoner.shared.errors import UsageError
from reckoner.shared.ids import MAX_ID_BYTES, require_id


@pytest.mark.parametrize("text", ["7", " ", "a\0b", "\n", "x" * MAX_ID_BYTES, "é" * (MAX_ID_BYTES // 2)])
def test_any_text_of_1_to_1024_bytes_can_be_an_id(text: str) -> None:
    """Whatever it is made of; it is handed back as it is."""
    assert require_id("user", text) is text


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "The user '' is empty."),
        ("x" * 1025, f"The user '{'x' * 40}'... is over 1,024 bytes."),
        ("é" * 513, "The user '" + r"\xe9" * 40 + "'... is over 1,024 bytes."),
        ("a\udc80", r"The user 'a\udc80' has a lone surrogate and is not valid UTF-8."),
        (7, "The user 7 is not a str: ids are strings."),
        ([10**5000], "The user of the type list is not a str: ids are strings."),
        (b"x" * 5000, f"The user b'{'x' * 40}'... is not a str: ids are strings."),
    ],
)
def test_what_cannot_be_an_id_is_one_sentence(given: object, sentence: str) -> None:
    """It shows the beginning, and on any terminal only what stays in its place."""
    with pytest.raises(UsageError) as caught:
        require_id("user", given)
    assert str(caught.value) == sentence
