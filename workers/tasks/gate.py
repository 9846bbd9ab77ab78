"""The gate: compares a sample of a run's lists with the live ones, as readers get them, and says what is too bad."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError
from reckoner.shared.flows.run_state import Figures, Run
from reckoner.shared.settings import Settings
from reckoner.shared.store.identifiers import TextTable
from reckoner.shared.wire.shapes import Record
from reckoner.workers.runtime.runtime import Runtime

# About so many users of the run, and of the live generation, are compared. A share is off by 1.5 % at most, mostly.
SAMPLE = 1_000
# The lists that are decoded in one step on the event loop, about a millisecond.
DECODED_AT_ONCE = 100
MOST_FREQUENT = 10
# With lists of a smaller share of its users, as after a first fit or when they have expired, nothing is compared.
LEAST_SHARE = 0.5

# The items of one user's list, best first; None for a user without a cached list.
List = list[str] | None


async def measure(runtime: Runtime, run: Run, record: Record) -> Figures | None:
    """Compare a run's lists with those of the generation that was live when it began; None if it has only a few."""
    live = await runtime.results.generations.record(run.since) if run.since not in ("", run.generation) else None
    if live is None:
        return None
    snapshot = await runtime.snapshot(record.snapshot)
    users = sampled(snapshot.users, run.id)
    now, before = await _lists(runtime, run.generation, users), await _lists(runtime, live.generation, users)
    lost = stayed_after = stayed_before = None
    try:
        live_snapshot = await runtime.snapshot(live.snapshot)
    except (ArtifactMissingError, ArtifactDamagedError):
        # The live users are unknown. The lists of those who stayed are still compared.
        live_users = users
    else:
        live_users = sampled(live_snapshot.users, run.id)
        lost = _share(sum(snapshot.users.find(user) is None for user in live_users), len(live_users))
    if live_users == users:
        stayed_after, stayed_before = now, before
    else:
        stayed_after = await _lists(runtime, run.generation, live_users)
        stayed_before = await _lists(runtime, live.generation, live_users)
    if sum(each is not None for each in stayed_before) < LEAST_SHARE * len(stayed_before):
        return None
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
    # The figure, the most it may be, what it is the share of, and its setting.
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
        f"{share:.1%} {what}, at most {most:.1%} may (RECKONER_GATE_{name.upper()})"
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


async def _lists(runtime: Runtime, generation: str, users: Sequence[str]) -> list[List]:
    lists = list[List]()
    for first in range(0, len(users), DECODED_AT_ONCE):
        await runtime.scheduler.yield_to_clicks()
        results = await runtime.results.read(generation, users[first : first + DECODED_AT_ONCE])
        lists += [None if result is None else [place.item for place in result.items] for result in results]
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
