"""The gate: compares a sample of a run's lists with the live ones, as readers get them, and says what is too bad."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import chain

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError
from reckoner.shared.flows.run_state import Figures, Run
from reckoner.shared.settings import Settings
from reckoner.shared.store.identifiers import TextTable
from reckoner.shared.wire.shapes import Record
from reckoner.workers.runtime.runtime import Runtime

# About so many users of the run, and of the live generation, are compared. A share is off by 1.5 % at most, mostly.
SAMPLE = 1_000
# The places that are decoded in one step on the event loop, about a millisecond.
PLACES_AT_ONCE = 2_000
MOST_FREQUENT = 10
# With lists of a smaller share of its users, as after a first fit or when they have expired, no list is compared.
LEAST_SHARE = 0.5

# The items of one user's list, best first; None for a user without a cached list.
List = list[str] | None


async def measure(runtime: Runtime, run: Run, record: Record) -> Figures | None:
    """Compare a run's lists with those of the generation that was live when it began; None without another one.

    If few of the live lists are cached, only the users are compared.
    """
    live = await runtime.results.generations.record(run.since) if run.since not in ("", run.generation) else None
    if live is None:
        return None
    snapshot = await runtime.snapshot(record.snapshot)
    try:
        live_snapshot = await runtime.snapshot(live.snapshot)
    except (ArtifactMissingError, ArtifactDamagedError):
        # The live users are unknown. At least so many are missing, and the lists of those who stayed are compared.
        users = live_users = await runtime.in_store(partial(sampled, snapshot.users, run.id))
        lost = _share(max(0, live.users - record.users), live.users)
    else:
        users, live_users, lost = await runtime.in_store(
            partial(_compare_users, snapshot.users, live_snapshot.users, run.id)
        )
    stayed_before = await _lists(runtime, live, live_users)
    if sum(each is not None for each in stayed_before) < LEAST_SHARE * len(stayed_before):
        return Figures(users_lost=lost)
    now, same = await _lists(runtime, record, users), live_users == users
    before = stayed_before if same else await _lists(runtime, live, users)
    stayed_after = now if same else await _lists(runtime, record, live_users)
    return await runtime.in_thread(partial(_figures, lost, now, before, stayed_after, stayed_before))


def _compare_users(users: TextTable, live: TextTable, run_id: str) -> tuple[list[str], list[str], float | None]:
    """A sample of both, and the share of the live users who are missing."""
    sample = sampled(live, run_id)
    return sampled(users, run_id), sample, _share(sum(users.find(user) is None for user in sample), len(sample))


def _figures(
    lost: float | None,
    now: Sequence[List],
    before: Sequence[List],
    stayed_after: Sequence[List],
    stayed_before: Sequence[List],
) -> Figures:
    return Figures(
        users_lost=lost,
        popular=_popular(stayed_after, stayed_before),
        churn=_churn(now, before),
        empty=_empty(now),
        empty_before=_empty(stayed_before),
        coverage=_coverage(now),
        coverage_before=_coverage(stayed_before),
        concentration=_concentration(now),
        concentration_before=_concentration(stayed_before),
    )


def refusals(figures: Figures, settings: Settings) -> list[str]:
    """What keeps a generation from going live: a clause for each figure that is beyond its limit."""
    before = figures.empty_before, figures.concentration_before, figures.coverage_before
    empty, concentration, coverage = (share or 0.0 for share in before)
    # The figure, its limit, what it is the share of, and its setting.
    limited = (
        (figures.users_lost, settings.gate_users_lost, "of the live generation's users are missing", "users_lost"),
        (figures.popular, settings.gate_popular, "of the users with a list would get the popular list", "popular"),
        (figures.churn, settings.gate_churn, "of the places are new", "churn"),
        (figures.empty, empty + settings.gate_empty, "of the lists are empty", "empty"),
        (
            figures.concentration,
            concentration + settings.gate_concentration,
            f"of the places have one of the {MOST_FREQUENT} most frequent items",
            "concentration",
        ),
    )
    found = [
        f"{share:.1%} {what}, the limit is {most:.1%} (RECKONER_GATE_{name.upper()})"
        for share, most, what, name in limited
        if share is not None and share > most
    ]
    if figures.coverage is not None and figures.coverage < coverage * settings.gate_coverage:
        found.append(
            f"the lists have {figures.coverage:,} different items, at least {coverage * settings.gate_coverage:,.0f} "
            "are wanted (RECKONER_GATE_COVERAGE)"
        )
    return found


def sampled(users: TextTable, run_id: str) -> list[str]:
    """About `SAMPLE` users, evenly spaced. The run's id decides where they begin."""
    step = max(1, len(users) // SAMPLE)
    return [users[index] for index in range(sum(run_id.encode()) % step, len(users), step)]


async def _lists(runtime: Runtime, record: Record, users: Sequence[str]) -> list[List]:
    lists, at_once = list[List](), max(1, PLACES_AT_ONCE // record.places)
    # Each item once: long lists of the same items would take hundreds of megabytes. Not interned, since some Pythons
    # keep interned texts for ever.
    known = dict[str, str]()
    for first in range(0, len(users), at_once):
        await runtime.scheduler.yield_to_clicks()
        results = await runtime.results.read(record.generation, users[first : first + at_once])
        lists += [
            None if result is None else [known.setdefault(place.item, place.item) for place in result.items]
            for result in results
        ]
    return lists


def _popular(after: Sequence[List], before: Sequence[List]) -> float | None:
    """The share of users with places before who have none after."""
    had = [now for now, past in zip(after, before, strict=True) if past]
    return _share(sum(not now for now in had), len(had))


def _churn(after: Sequence[List], before: Sequence[List]) -> float | None:
    """The share of places with a new item, among users who had a list before."""
    both = [(now or [], past) for now, past in zip(after, before, strict=True) if past is not None]
    return _share(sum(len(set(now) - set(past)) for now, past in both), sum(len(now) for now, _ in both))


def _empty(lists: Sequence[List]) -> float | None:
    cached = [each for each in lists if each is not None]
    return _share(sum(not each for each in cached), len(cached))


def _coverage(lists: Sequence[List]) -> int:
    """The number of different items."""
    return len(set(_items(lists)))


def _concentration(lists: Sequence[List]) -> float | None:
    """The share of places with one of the most frequent items."""
    counts = Counter(_items(lists))
    return _share(sum(count for _, count in counts.most_common(MOST_FREQUENT)), counts.total())


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _items(lists: Sequence[List]) -> list[str]:
    return list(chain.from_iterable(each for each in lists if each))
