"""What each release has written stays readable: its golden values, in `tests/golden/RELEASE`, decode to what they mean.

A release adds a directory of its own beside those before it, and whatever it writes encodes to the bytes there.
"""

import base64
import json
import tomllib
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from reckoner.shared.flows.dead_letters import decode_letter
from reckoner.shared.flows.flow_state import decode_flow
from reckoner.shared.flows.run_state import Manifest, decode_run
from reckoner.shared.redis.keys import Keys
from reckoner.shared.wire import jobs, shapes
from reckoner.shared.wire.codecs import Codec
from reckoner.shared.wire.jobs import TASKS, arq_deserializer, encode_job
from reckoner.shared.wire.shapes import (
    BASKET,
    BEAT,
    EVENT,
    FILTERED,
    HOLDING,
    OUTCOME,
    PARTIAL,
    PLAN,
    RECORD,
    REPLY,
    RESULT,
    SPEC,
    TRACE,
    BasketResult,
    Beat,
    Event,
    FilteredResult,
    Holding,
    Outcome,
    Partial,
    Plan,
    Record,
    Reply,
    Result,
    Spec,
    Trace,
)
from tests.root import ROOT

GOLDEN = ROOT / "tests" / "golden"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
FORMATS: dict[str, tuple[Codec[Any], Any]] = {
    "basket": (BASKET, BasketResult),
    "beat": (BEAT, Beat),
    "event": (EVENT, Event),
    "filtered": (FILTERED, FilteredResult),
    "holding": (HOLDING, Holding),
    "manifest": (Codec(Manifest, "json"), Manifest),
    "outcome": (OUTCOME, Outcome),
    "partial": (PARTIAL, Partial),
    "plan": (PLAN, Plan),
    "record": (RECORD, Record),
    "reply": (REPLY, Reply),
    "result": (RESULT, Result),
    "spec": (SPEC, Spec),
    "trace": (TRACE, Trace),
}
HASHES = ("flow", "run", "letter")


@dataclass(frozen=True)
class Golden:
    """One golden value: what it means, and the bytes."""

    release: str
    name: str
    example: dict[str, Any]

    @property
    def data(self) -> bytes:
        return unwritten(self.example)

    @property
    def value(self) -> Any:
        """What it means, in the shape that it has today."""
        return msgspec.json.decode(json.dumps(self.example["value"]), type=FORMATS[self.name][1])


def unwritten(written: dict[str, str]) -> bytes:
    """Bytes that stand in a file as text, or in base64 where they are none."""
    return written["text"].encode() if "text" in written else base64.b64decode(written["base64"])


def golden(*names: str) -> list[Any]:
    """All golden values of some formats, of all releases."""
    found = []
    for path in sorted(GOLDEN.glob("*/*.json")):
        release, name = path.parent.name, path.stem
        examples = json.loads(path.read_text(encoding="utf-8"))["examples"] if name in names else []
        for number, example in enumerate(examples):
            found.append(pytest.param(Golden(release, name, example), id=f"{release}-{name}-{number}"))
    return found


def test_every_format_has_its_golden_values() -> None:
    """In this release's directory; a new format comes with its file."""
    assert {path.stem for path in (GOLDEN / VERSION).glob("*.json")} == {*FORMATS, *HASHES, "job"}
    written = {codec for codec in vars(shapes).values() if isinstance(codec, Codec)}
    assert written <= {codec for codec, _ in FORMATS.values()}
    assert {example.values[0].example["value"]["f"] for example in golden("job")} == set(TASKS)


@pytest.mark.parametrize("golden", golden(*FORMATS))
def test_bytes_of_every_release_are_decoded(golden: Golden) -> None:
    """Readers and workers of two releases share one Redis."""
    codec: Any = FORMATS[golden.name][0]
    place = [golden.example["place"]] if "place" in golden.example else []
    assert codec.decode(golden.data, *place) == golden.value
    if golden.release == VERSION:
        assert codec.encode(golden.value, *place) == golden.data


@pytest.mark.parametrize("golden", golden("basket", "beat", "filtered", "record", "result"))
def test_a_field_that_a_later_release_adds_is_ignored(golden: Golden) -> None:
    """What readers and `status` read stays readable when there comes to be more of it."""
    more = golden.data.removesuffix(b"}") + b',"more":{"a":1}}'
    assert FORMATS[golden.name][0].decode(more) == golden.value


@pytest.mark.parametrize("golden", golden("basket", "filtered", "result"))
def test_an_element_that_a_later_release_adds_to_a_place_is_ignored(golden: Golden) -> None:
    """As docs/reading.md asks of every reader."""
    more = golden.data.replace(b'"],[', b'",1],[').replace(b'"]]', b'",{"a":1}]]')
    assert (more != golden.data) == bool(golden.value.items)
    assert FORMATS[golden.name][0].decode(more) == golden.value


@pytest.mark.parametrize("golden", golden("job"))
def test_job_bodies_of_every_release_are_the_tasks_that_they_mean(
    golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """arq's own format, with the task's fields as arguments; only its time differs from job to job."""
    function, arguments = golden.example["value"]["f"], golden.example["value"]["a"]
    read = arq_deserializer(golden.data)
    assert (read["f"], list(read["a"]), read["k"], read["et"]) == (function, arguments, {}, 1_700_000_000_000)
    monkeypatch.setattr(jobs, "time", lambda: 1_700_000_000.0)
    if golden.release == VERSION:
        assert encode_job(msgspec.convert(arguments, TASKS[function])) == golden.data


@pytest.mark.parametrize("golden", golden(*HASHES))
def test_states_of_every_release_are_decoded(golden: Golden) -> None:
    """Flows, runs and dead letters, which the scripts write field by field."""
    fields = {name: unwritten(written) for name, written in golden.example["fields"].items()}
    encoded = {name.encode(): data for name, data in fields.items()}
    if golden.name == "flow":
        read: Any = decode_flow(golden.example["id"], encoded, Keys("p").joins)
    elif golden.name == "run":
        read = decode_run(golden.example["id"], fields)
    else:
        read = decode_letter(golden.example["id"], encoded)
    assert msgspec.to_builtins(read) == golden.example["value"]
