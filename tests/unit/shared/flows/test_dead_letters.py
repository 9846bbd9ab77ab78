"""Whatever a stream's entry holds, it is read as one dead letter."""

from hypothesis import given
from hypothesis import strategies as st

from reckoner.shared.flows.dead_letters import decode_letter
from reckoner.shared.wire.shapes import SPEC, BlockSpec, UserSpec

NAMES = st.sampled_from([b"kind", b"id", b"of", b"reason", b"data", b"block"]) | st.binary(max_size=5)
VALUES = st.sampled_from([b"flow", b"refused", b"user", b"block", SPEC.encode(UserSpec("u", "g")), b"3"]) | st.binary()
PARTS = st.integers(0, 2**64 - 1)


@given(first=PARTS, second=PARTS, fields=st.dictionaries(NAMES, VALUES))
def test_any_entry_is_a_letter(first: int, second: int, fields: dict[bytes, bytes]) -> None:
    """With text where it has text, and a spec only where all is as one of our scripts writes it."""
    letter = decode_letter(f"{first}-{second}", fields)
    assert (letter.id, letter.at_ms) == (f"{first}-{second}", first)
    for text in (letter.subject, letter.of, letter.reason):
        assert text.encode().decode() == text
    assert letter.kind == "flow" or letter.spec is None


def test_a_letter_holds_the_request() -> None:
    """The spec of a flow, and the number of a block as its run knew it."""
    spec = BlockSpec("r", "g", 5, "")
    fields = {b"kind": b"flow", b"id": b"f", b"of": b"block", b"reason": b"r", b"data": SPEC.encode(spec)}
    for number, block in ((b"7", 7), (b"", None), (b"-1", None), (b"\xff", None)):
        letter = decode_letter("12-3", fields | {b"block": number})
        assert (letter.kind, letter.spec, letter.block) == ("flow", spec, block)
