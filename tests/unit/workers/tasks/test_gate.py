"""The gate: what is compared, and what keeps a generation from going live."""

from types import SimpleNamespace

import msgspec
import pytest

from reckoner.shared.flows.run_state import Figures
from reckoner.shared.settings import Settings
from reckoner.shared.store.identifiers import build
from reckoner.workers.tasks.gate import PLACES_AT_ONCE, SAMPLE, _lists, refusals, sampled

HEALTHY = Figures(
    users_lost=0.05,
    popular=0.05,
    churn=0.2,
    empty=0.02,
    empty_before=0.01,
    coverage=900,
    coverage_before=1_000,
    concentration=0.1,
    concentration_before=0.08,
)


def test_a_healthy_night_passes_and_so_does_one_without_anything_to_compare() -> None:
    """With the default limits."""
    assert refusals(HEALTHY, Settings()) == []
    assert refusals(Figures(None, None, None, None, None, 0, 0, None, None), Settings()) == []


@pytest.mark.parametrize(
    ("figure", "value", "sentence"),
    [
        ("users_lost", 0.972, "97.2% of the live generation's users are missing, the limit is 30.0%"),
        ("popular", 0.31, "31.0% of the users with a list would get the popular list, the limit is 30.0%"),
        ("churn", 0.96, "96.0% of the places are new, the limit is 90.0%"),
        ("empty", 0.12, "12.0% of the lists are empty, the limit is 11.0%"),
        ("concentration", 0.5, "50.0% of the places have one of the 10 most frequent items, the limit is 28.0%"),
        ("coverage", 499, "the lists have 499 different items, at least 500 are wanted"),
    ],
)
def test_each_figure_has_a_limit_of_its_own(figure: str, value: float, sentence: str) -> None:
    """A refusal names the figure, the limit and the setting; the setting that is farthest open passes it."""
    bad = msgspec.structs.replace(HEALTHY, **{figure: value})
    [reason] = refusals(bad, Settings())
    assert reason == f"{sentence} (RECKONER_GATE_{figure.upper()})"
    opened = msgspec.structs.replace(Settings(), **{f"gate_{figure}": 0.0 if figure == "coverage" else 1.0})
    assert refusals(bad, opened) == []


@pytest.mark.parametrize(("length", "at_once"), [(1, PLACES_AT_ONCE), (20, PLACES_AT_ONCE // 20), (1_000, 2)])
async def test_lists_are_decoded_by_places(length: int, at_once: int) -> None:
    """A step on the event loop takes as long for long lists as for short ones."""
    asked = list[int]()

    async def read(_: str, users: list[str]) -> list[None]:
        asked.append(len(users))
        return [None] * len(users)

    async def yield_to_clicks() -> None:
        return

    runtime = SimpleNamespace(
        scheduler=SimpleNamespace(yield_to_clicks=yield_to_clicks), results=SimpleNamespace(read=read)
    )
    record = SimpleNamespace(generation="g", places=length)
    users = ["a user"] * (2 * at_once + 1)
    assert await _lists(runtime, record, users) == [None] * len(users)  # type: ignore[arg-type]
    assert asked == [at_once, at_once, 1]


@pytest.mark.parametrize("users", [0, 1, SAMPLE, SAMPLE + 1, 7 * SAMPLE])
def test_a_sample_is_all_of_few_users_and_a_part_of_many(users: int) -> None:
    """The run's id decides where it begins, so that no user is left out for ever."""
    names = [f"{user:06}" for user in range(users)]
    found = sampled(build(names), "a run")
    assert len(found) == (users if users < 2 * SAMPLE else SAMPLE)
    assert set(found) <= set(names)
    others = {sampled(build(names), run)[0] for run in "abcdefg"} if users else set()
    assert len(others) == min(users // SAMPLE, 7) or users < 2 * SAMPLE
