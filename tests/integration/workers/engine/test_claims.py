"""Claims, leases and settling: the scripts on a real server."""

import time

import pytest

from reckoner.shared.redis.keys import in_progress_key, job_key, leases_key, paused_key, tries_key, wake_key
from reckoner.shared.redis.scripts import LeaseLostError, ask, call
from reckoner.workers.engine.claims import Claim, Claims, EngineKeys, Settled
from reckoner.workers.engine.lease import Lease
from tests.lanes import CLAIMED, PAUSED, Lanes, until

KINDS = ("string", "hash", "list", "set", "zset", "stream")


def claims(lanes: Lanes, lease_s: float = 60.0) -> Claims:
    """The claims of one worker."""
    keys = lanes.keys
    engine_keys = EngineKeys(
        keys.lanes, (False, True), keys.workers, keys.mail("a"), keys.refused, keys.dead, keys.flow("")
    )
    return Claims(lanes.redis, engine_keys, lease_s)


async def claim(lanes: Lanes, token: str = "t", room: int = 10, alone: bool = True, lease_s: float = 60.0) -> Claim:
    """The claim of a worker with this room in each lane."""
    return await claims(lanes, lease_s).claim(token, room, [room, room], alone)


def names(claimed: Claim) -> list[str]:
    """The jobs of a claim."""
    return [job.job_id.decode() for job in claimed.jobs]


async def lapse(lanes: Lanes, lane: str, *jobs: str) -> None:
    """Let leases lapse. A server that has just started counts as having been away."""
    await until(lambda: is_up(lanes))
    for job in jobs:
        await ask(lanes.redis, "ZADD", leases_key(lane), "XX", 1, job)


async def is_up(lanes: Lanes) -> bool:
    """Whether the server has run for a second."""
    return bool((await lanes.redis.info("server"))["uptime_in_seconds"])


def jobs(lanes: Lanes, count: int) -> list[str]:
    """Names of jobs, in their order."""
    return sorted(lanes.name() for _ in range(count))


async def plant(lanes: Lanes, key: str, kind: str) -> None:
    """Something of a type at a key."""
    commands = {
        "string": ("SET", key, "planted"),
        "hash": ("HSET", key, "a", "b"),
        "list": ("RPUSH", key, "a"),
        "set": ("SADD", key, "a"),
        "zset": ("ZADD", key, 1, "a"),
        "stream": ("XADD", key, "*", "a", "b"),
    }
    await ask(lanes.redis, "DEL", key)
    await ask(lanes.redis, *commands[kind])


async def test_one_claim_takes_jobs_for_all_slots_and_clicks_first(lanes: Lanes) -> None:
    """Whatever their scores; then the other lane's jobs by score."""
    clicks, batch = jobs(lanes, 3), jobs(lanes, 9)
    for place, job in enumerate(batch):
        await lanes.put(lanes.batch, job, place=place)
    for place, job in enumerate(clicks):
        await lanes.put(lanes.click, job, place=1000 + place)
    claimed = await claim(lanes)
    assert names(claimed) == clicks + batch[:7]
    assert [job.lane for job in claimed.jobs] == [0] * 3 + [1] * 7
    assert [job.score for job in claimed.jobs] == [1000, 1001, 1002, *range(7)]
    assert all(job.deaths == 0 and job.body for job in claimed.jobs)
    assert names(await claims(lanes).claim("u", 10, [0, 1], False)) == batch[7:8]


async def test_a_claim_brings_what_clicks_read_first(lanes: Lanes) -> None:
    """A split's flow and a reduce's partials; jobs of another lane or kind read by themselves."""
    flow, other = lanes.name(), lanes.name()
    await ask(lanes.redis, "HSET", lanes.keys.flow(flow), "state", "split")
    await ask(lanes.redis, "HSET", lanes.keys.partials(flow), "0", "the first", "1", "the second")
    clicks = [f"chunk:{flow}:0:0", f"reduce:{flow}:0", f"split:{flow}", f"split:{other}", lanes.name()]
    for place, job in enumerate(clicks):
        await lanes.put(lanes.click, job, place=place)
    await lanes.put(lanes.batch, f"split:{flow}:0")
    assert [job.prefetched for job in (await claim(lanes)).jobs] == [
        None, [b"0", b"the first", b"1", b"the second"], [b"state", b"split"], [], None, None
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "hash"])
async def test_a_claim_passes_over_a_flow_of_another_type(lanes: Lanes, kind: str) -> None:
    """Its task reads it, and ends it."""
    flow = lanes.name()
    await plant(lanes, lanes.keys.flow(flow), kind)
    await lanes.put(lanes.click, f"split:{flow}")
    [job] = (await claim(lanes)).jobs
    assert job.prefetched is None


async def test_a_claimed_job_stays_a_member_and_keeps_its_place(lanes: Lanes) -> None:
    """Its score is raised by a constant; the token is where arq sees that the job runs."""
    [job] = jobs(lanes, 1)
    await lanes.put(lanes.batch, job, place=123_456)
    await claim(lanes, "the token")
    assert await lanes.score(lanes.batch, job) == 123_456 + CLAIMED
    assert await lanes.token(job) == b"the token"
    now_s, _ = await ask(lanes.redis, "TIME")
    assert 50 < (await lanes.lease(lanes.batch, job) or 0) / 1000 - int(now_s) <= 61
    assert names(await claim(lanes)) == []


async def test_each_claim_of_a_worker_has_a_token_of_its_own(lanes: Lanes) -> None:
    """It cannot be guessed."""
    seen: list[bytes | None] = []

    async def look(ctx: dict[str, object]) -> None:
        seen.append(await lanes.token(str(ctx["job_id"])))

    worker = lanes.make(look, burst=True, max_jobs=1)
    await lanes.put(lanes.click, *jobs(lanes, 4), function=look.__qualname__)
    await worker.run_check()
    await worker.close()
    assert len(set(seen)) == 4
    assert all(token and len(token) == 24 for token in seen)


async def test_leases_are_renewed_together_and_only_those_that_are_held(lanes: Lanes) -> None:
    """A lost claim is reported and changes nothing."""
    mine, taken, gone = jobs(lanes, 3)
    await lanes.put(lanes.batch, mine, taken, gone, place=5)
    await claim(lanes, "mine", lease_s=1.0)
    await ask(lanes.redis, "SET", in_progress_key(taken), "another's", "EX", 60)
    await ask(lanes.redis, "ZREM", leases_key(lanes.batch), gone)
    before = await lanes.lease(lanes.batch, taken)
    leases = [Lease(job, lanes.batch, "mine", 5, lambda: False) for job in (taken, mine, gone)]
    assert await claims(lanes).renew(lanes.batch, leases) == [0, 2]
    assert (await lanes.lease(lanes.batch, mine) or 0) > (before or 0) + 50_000
    assert await lanes.lease(lanes.batch, taken) == before
    assert await lanes.lease(lanes.batch, gone) is None


async def test_a_lapsed_job_returns_to_its_place_and_counts_a_try(lanes: Lanes) -> None:
    """In its lane, before later jobs."""
    early, late = jobs(lanes, 2)
    await lanes.put(lanes.batch, early, place=7)
    await claim(lanes, "dead")
    await lanes.put(lanes.batch, late, place=8)
    await lapse(lanes, lanes.batch, early)
    claimed = await claim(lanes, "next", lease_s=0.001)
    assert claimed.lapsed == 1
    assert [(job.job_id.decode(), job.lane, job.score, job.deaths) for job in claimed.jobs] == [(early, 1, 7, 1)]
    assert await lanes.tries(early) == 1


async def test_a_lost_claim_changes_nothing(lanes: Lanes) -> None:
    """Neither lease, score, result nor tries, however it settles the job."""
    [job] = jobs(lanes, 1)
    await lanes.put(lanes.batch, job, place=7)
    await claim(lanes, "stale", lease_s=0.001)
    await lapse(lanes, lanes.batch, job)
    claimed = await claim(lanes, "holder", lease_s=0.001)
    assert names(claimed) == [job]

    async def state() -> list[object]:
        return [
            await lanes.lease(lanes.batch, job),
            await lanes.score(lanes.batch, job),
            await lanes.token(job),
            await lanes.tries(job),
            await ask(lanes.redis, "EXISTS", job_key(job), f"arq:result:{job}", lanes.keys.dead),
        ]

    before = await state()
    stale = [
        Settled(job, "stale", "done", 1000, b"a result", "a reason"),
        Settled(job, "stale", "kept"),
        Settled(job, "stale", "back"),
        Settled(job, "stale", "later", 1000, b"5"),
    ]
    assert await claims(lanes).settle(lanes.batch, stale) == 0
    assert await claims(lanes).release(["stale"]) == 0
    assert await state() == before
    assert await claims(lanes).settle(lanes.batch, [Settled(job, "holder", "done", 1000, b"a result")]) == 1
    assert await ask(lanes.redis, "GET", f"arq:result:{job}") == b"a result"
    assert await lanes.left(job) == 0


async def test_jobs_are_settled_in_one_batch_each_in_its_way(lanes: Lanes) -> None:
    """Done, kept, back and later; settling again changes nothing."""
    done, kept, back, later = names_ = jobs(lanes, 4)
    await lanes.put(lanes.batch, *names_, place=7)
    await claim(lanes, "t")
    batch = [
        Settled(done, "t", "done", 0, b"for ever"),
        Settled(kept, "t", "kept", 1000, b"a result", "a reason"),
        Settled(back, "t", "back"),
        Settled(later, "t", "later", 60_000, b"another body"),
    ]
    assert await claims(lanes).settle(lanes.batch, batch) == 4
    assert [await lanes.score(lanes.batch, job) for job in (done, kept, back)] == [None, None, 7]
    now_s, _ = await ask(lanes.redis, "TIME")
    assert 50 < (await lanes.lease(lanes.batch, later) or 0) / 1000 - int(now_s) <= 61
    assert await lanes.score(lanes.batch, later) == PAUSED + 7
    assert [await lanes.tries(job) for job in names_] == [0, 0, 0, 0]
    assert await ask(lanes.redis, "GET", job_key(later)) == b"another body"
    assert await ask(lanes.redis, "PTTL", job_key(later)) > 0
    assert [await lanes.token(job) is not None for job in names_] == [False, True, False, False]
    assert [letter[b"reason"] for letter in await lanes.dead()] == [b"a reason"]
    assert await ask(lanes.redis, "ZRANGE", leases_key(lanes.batch), 0, -1) == [later.encode()]
    assert await claims(lanes).settle(lanes.batch, [batch[0], *batch[2:]]) == 0
    await ask(lanes.redis, "DEL", in_progress_key(kept), job_key(later), f"arq:result:{done}", f"arq:result:{kept}")


async def test_a_claim_whose_answer_never_arrived_is_given_back(lanes: Lanes) -> None:
    """In both lanes, at their scores and without a try; other claims stay."""
    click, batch, other = jobs(lanes, 3)
    await lanes.put(lanes.click, other, place=1)
    await claim(lanes, "another's")
    await lanes.put(lanes.click, click, place=3)
    await lanes.put(lanes.batch, batch, place=4)
    await claim(lanes, "unheard")
    assert await claims(lanes).release(["unheard"]) == 2
    assert [await lanes.score(lanes.click, click), await lanes.score(lanes.batch, batch)] == [3, 4]
    assert await lanes.tries(click) == 0
    assert await lanes.score(lanes.click, other) == CLAIMED + 1
    assert await ask(lanes.redis, "EXISTS", wake_key(lanes.click), wake_key(lanes.batch)) == 2


async def test_the_jobs_of_a_dead_worker_are_given_back_with_a_try(lanes: Lanes) -> None:
    """All that it claimed under tokens that begin with its name, at their places; another worker keeps its job."""
    first, second, other = jobs(lanes, 3)
    for place, (job, token) in enumerate([(first, "name-1"), (second, "name-2"), (other, "other")]):
        await lanes.put(lanes.batch, job, place=place)
        await claim(lanes, token)
    assert await call(lanes.redis, "release", lanes.keys.lanes, [60_000, 1, "name"]) == 2
    assert [await lanes.score(lanes.batch, job) for job in (first, second, other)] == [0, 1, CLAIMED + 2]
    assert [await lanes.tries(job) for job in (first, second, other)] == [1, 1, 0]
    assert await ask(lanes.redis, "EXISTS", wake_key(lanes.batch)) == 1


async def test_a_suspect_is_claimed_alone_by_an_idle_worker(lanes: Lanes) -> None:
    """Others learn its lane, and claim it before more urgent lanes."""
    suspect, neighbour, click = jobs(lanes, 3)
    await lanes.put(lanes.batch, suspect, place=1)
    await lanes.put(lanes.batch, neighbour, place=2)
    await ask(lanes.redis, "SET", tries_key(suspect), 1, "EX", 60)
    busy = await claim(lanes, "busy", alone=False)
    assert (names(busy), busy.suspect) == ([neighbour], 1)
    await lanes.put(lanes.click, click)
    assert names(await claims(lanes).claim("alone", 10, [0, 10], True)) == [suspect]
    assert names(await claim(lanes, "next")) == [click]


async def test_a_job_under_a_lease_is_not_claimed_again(lanes: Lanes) -> None:
    """Though a client of arq, that wants it to end, has put it first; and it is seen as claimed again."""
    [job] = jobs(lanes, 1)
    await lanes.put(lanes.batch, job)
    await claim(lanes, "holder")
    await ask(lanes.redis, "ZADD", lanes.batch, 1, job)
    assert names(await claim(lanes, "another")) == []
    assert await lanes.score(lanes.batch, job) == CLAIMED + 1
    assert await lanes.token(job) == b"holder"


async def pause(lanes: Lanes, lane: str, job: str, pause_ms: int = 60_000) -> None:
    """Have a job, the only one to claim, come again after a pause."""
    assert names(await claim(lanes, "paused")) == [job]
    assert await claims(lanes).settle(lane, [Settled(job, "paused", "later", pause_ms)]) == 1


async def test_a_job_that_has_paused_is_the_next_one_when_it_is_due(lanes: Lanes) -> None:
    """Its score is kept. A pause is no try, even if its worker dies."""
    paused, *queued = jobs(lanes, 1000)
    await lanes.put(lanes.batch, paused, place=7)
    await pause(lanes, lanes.batch, paused)
    await lanes.put(lanes.batch, *queued, place=8)
    assert names(await claim(lanes, "before", room=2)) == queued[:2]
    assert await claims(lanes).release(["paused"]) == 0
    assert await claims(lanes).release_unheld() == 0
    await lapse(lanes, lanes.batch, paused)
    claimed = await claim(lanes, "after", room=2, lease_s=0.001)
    assert names(claimed) == [paused, queued[2]]
    assert (claimed.jobs[0].score, claimed.jobs[0].deaths, claimed.lapsed) == (7, 0, 0)
    assert await lanes.tries(paused) == 0


async def test_a_pause_ends_though_the_server_was_away(lanes: Lanes) -> None:
    """After downtime a lease lives on for one more lease length."""
    paused, held = jobs(lanes, 2)
    await lanes.put(lanes.batch, paused, place=7)
    await pause(lanes, lanes.batch, paused)
    await lanes.put(lanes.batch, held, place=8)
    await claim(lanes, "holder")
    await ask(lanes.redis, "ZADD", leases_key(lanes.batch), "XX", 1, held, 1, paused)
    just_begun_s = 10 * (await lanes.redis.info("server"))["uptime_in_seconds"] + 60
    assert names(await claim(lanes, lease_s=just_begun_s)) == [paused]


async def test_a_pausing_job_returns_in_a_paused_lane(lanes: Lanes) -> None:
    """It returns to its score, and is claimed when the lane is resumed."""
    [job] = jobs(lanes, 1)
    await lanes.put(lanes.batch, job, place=7)
    await pause(lanes, lanes.batch, job)
    await ask(lanes.redis, "SET", paused_key(lanes.batch), 1)
    await lapse(lanes, lanes.batch, job)
    assert names(await claim(lanes)) == []
    assert await lanes.score(lanes.batch, job) == 7
    await ask(lanes.redis, "DEL", paused_key(lanes.batch))
    assert names(await claim(lanes)) == [job]


async def test_an_aborted_job_is_claimed_even_while_it_pauses(lanes: Lanes) -> None:
    """arq's client has put it first, and no worker holds it."""
    [job] = jobs(lanes, 1)
    await lanes.put(lanes.batch, job, place=7)
    await pause(lanes, lanes.batch, job)
    await ask(lanes.redis, "ZADD", lanes.batch, 1, job)
    assert names(await claim(lanes, "next")) == [job]
    assert await claims(lanes).settle(lanes.batch, [Settled(job, "next", "done")]) == 1
    assert await lanes.left(job) == 0


async def test_a_claim_is_given_back_beside_thousands_that_pause_for_longer(lanes: Lanes) -> None:
    """Their pauses end later than any lease."""
    [job] = jobs(lanes, 1)
    await lanes.put(lanes.batch, job, place=7)
    await claim(lanes, "unheard", lease_s=60.0)
    others = [field for at in range(6000) for field in (time.time() * 1000 + 120_000, f"other-{at}")]
    await ask(lanes.redis, "ZADD", leases_key(lanes.batch), *others)
    assert await claims(lanes).release(["unheard"]) == 1
    assert await lanes.score(lanes.batch, job) == 7


async def test_nothing_is_claimed_of_a_paused_lane(lanes: Lanes) -> None:
    """Leases lapse there all the same, and the other lane goes on."""
    click, batch = jobs(lanes, 2)
    await lanes.put(lanes.batch, batch)
    await claim(lanes, "dead")
    await lapse(lanes, lanes.batch, batch)
    await ask(lanes.redis, "SET", paused_key(lanes.batch), 1)
    claimed = await claim(lanes, lease_s=0.001)
    assert (names(claimed), claimed.lapsed) == ([], 1)
    await lanes.put(lanes.click, click)
    assert names(await claim(lanes)) == [click]
    await ask(lanes.redis, "DEL", paused_key(lanes.batch))
    assert names(await claim(lanes)) == [batch]


async def test_a_worker_takes_its_part_of_a_shared_lane(lanes: Lanes) -> None:
    """Its share is the due jobs over the live workers; an unshared lane it takes whole."""
    now_ms = int(time.time() * 1000)
    await ask(lanes.redis, "ZADD", lanes.keys.workers, now_ms, "a", now_ms, "b", 1, "silent since long")
    batch, clicks = jobs(lanes, 4), jobs(lanes, 3)
    await lanes.put(lanes.batch, *batch, place=1)
    await lanes.put(lanes.click, *clicks, place=1)
    assert names(await claim(lanes)) == [*clicks, *batch[:2]]
    assert names(await claim(lanes)) == batch[2:3]
    assert names(await claim(lanes)) == batch[3:]


async def test_tokens_are_left_while_something_is_due_and_else_not(lanes: Lanes) -> None:
    """No worker is woken for nothing, and tokens are bounded."""
    batch = jobs(lanes, 100)
    await lanes.put(lanes.batch, *batch, place=1)
    assert await ask(lanes.redis, "LLEN", wake_key(lanes.batch)) == 64
    await ask(lanes.redis, "DEL", wake_key(lanes.batch))
    await claim(lanes, room=60)
    assert await ask(lanes.redis, "LLEN", wake_key(lanes.batch)) == 1
    await claim(lanes, room=0)
    assert await ask(lanes.redis, "LLEN", wake_key(lanes.batch)) == 1
    await claim(lanes, room=60)
    assert await ask(lanes.redis, "EXISTS", wake_key(lanes.batch)) == 0


async def test_a_full_worker_wakes_another_for_a_job_that_is_due_soon(lanes: Lanes) -> None:
    """It will not claim when that job is due, and waiting workers do not know of it. They notice later jobs in time."""
    now, soon, later = jobs(lanes, 3)
    await lanes.put(lanes.batch, now)
    await lanes.redis.enqueue_job("work", _job_id=later, _queue_name=lanes.batch, _defer_by=60)
    assert names(await claim(lanes, room=1)) == [now]
    assert await ask(lanes.redis, "EXISTS", wake_key(lanes.batch)) == 0
    await lanes.redis.enqueue_job("work", _job_id=soon, _queue_name=lanes.batch, _defer_by=1.5)
    assert names(await claim(lanes, room=0)) == []
    assert await ask(lanes.redis, "LLEN", wake_key(lanes.batch)) == 1
    claimed = await claim(lanes, room=1)
    assert claimed.next_ms is not None
    assert 0 < claimed.next_ms <= 1500
    assert await ask(lanes.redis, "EXISTS", wake_key(lanes.batch)) == 0
    await claims(lanes).settle(lanes.batch, [Settled(now, "t", "later", 1400)])
    await ask(lanes.redis, "ZREM", lanes.batch, soon)
    await ask(lanes.redis, "DEL", wake_key(lanes.batch))
    assert names(await claim(lanes, room=0)) == []
    assert await ask(lanes.redis, "LLEN", wake_key(lanes.batch)) == 1


@pytest.mark.parametrize("score", ["-inf", "-5", "0", "1e13"])
async def test_a_planted_score_gives_no_strange_place(lanes: Lanes, score: str) -> None:
    """What is before all time is claimed first, and comes back as the first one."""
    [job] = jobs(lanes, 1)
    await lanes.put(lanes.batch, job)
    await ask(lanes.redis, "ZADD", lanes.batch, score, job)
    claimed = await claim(lanes, "t")
    if score == "1e13":
        assert names(claimed) == []
        return
    assert [(job.score, job.job_id) for job in claimed.jobs] == [(0, job.encode())]
    assert await claims(lanes).settle(lanes.batch, [Settled(job, "t", "back")]) == 1
    assert await lanes.score(lanes.batch, job) == 0


async def test_a_job_that_is_due_later_than_any_is_due_now(lanes: Lanes) -> None:
    """It would wait for ever; a job due in a week waits that long."""
    far, farther, later = jobs(lanes, 3)
    now_ms = int(time.time() * 1000)
    week_ms = now_ms + 7 * 86_400_000
    await ask(lanes.redis, "ZADD", lanes.batch, now_ms + 9 * 86_400_000, far, "9.9e13", farther, week_ms, later)
    assert names(await claim(lanes)) == []
    assert await claims(lanes).release_unheld() == 2
    assert sorted(names(await claim(lanes))) == sorted([far, farther])
    assert await lanes.score(lanes.batch, later) == week_ms


async def test_all_unheld_jobs_return_beside_many_held_ones(lanes: Lanes) -> None:
    """Behind thousands of leased jobs, and beside as many leases without a job."""
    held, foreign, lost = jobs(lanes, 2500), jobs(lanes, 2500), jobs(lanes, 2)
    for at, name in enumerate([*held, *lost]):
        await ask(lanes.redis, "ZADD", lanes.batch, CLAIMED + at, name)
    for name in [*held, *foreign]:
        await ask(lanes.redis, "ZADD", leases_key(lanes.batch), time.time() * 1000 + 60_000, name)
    assert await claims(lanes).release_unheld() == 2
    assert await claims(lanes).release_unheld() == 0
    await lapse(lanes, lanes.batch, *lost)
    assert (await claim(lanes, lease_s=0.001)).lapsed == 2


@pytest.mark.parametrize("member", [b"", b"\xff", b"x" * 5000])
async def test_a_member_that_no_job_can_be_keeps_its_lease_until_it_is_settled(lanes: Lanes, member: bytes) -> None:
    """Claims, renewals and upkeep beside it leave its lease alone; it is claimed once."""
    await ask(lanes.redis, "ZADD", lanes.batch, 1, member)
    assert [job.job_id for job in (await claim(lanes, "t")).jobs] == [member]
    for _ in range(2):
        assert await claims(lanes).release_unheld() == 0
    assert (await claim(lanes, "u")).jobs == []
    assert await claims(lanes).settle(lanes.batch, [Settled(member, "t", "done", reason="why")]) == 1
    assert not await ask(lanes.redis, "EXISTS", lanes.batch, leases_key(lanes.batch))


@pytest.mark.parametrize(("score", "place", "deaths"), [(CLAIMED + 5, 5, 1), (PAUSED + 5, 5, 0), ("inf", 0, 0)])
async def test_a_claimed_job_without_a_lease_returns(lanes: Lanes, score: float | str, place: int, deaths: int) -> None:
    """Like the job of a dead worker, unless it paused. An impossible place counts as the first one."""
    [job] = jobs(lanes, 1)
    await lanes.put(lanes.batch, job)
    await ask(lanes.redis, "ZADD", lanes.batch, score, job)
    assert names(await claim(lanes)) == []
    assert await claims(lanes).release_unheld() == 1
    await lapse(lanes, lanes.batch, job)
    claimed = await claim(lanes, lease_s=0.001)
    assert [(job.score, job.deaths) for job in claimed.jobs] == [(place, deaths)]
    assert await claims(lanes).release_unheld() == 0


async def test_leases_without_a_job_or_an_end_are_removed(lanes: Lanes) -> None:
    """Neither creates a job, and a job with an endless lease returns."""
    held, foreign = jobs(lanes, 2)
    await lanes.put(lanes.batch, held, place=3)
    await claim(lanes, "dead")
    await ask(lanes.redis, "ZADD", leases_key(lanes.batch), "inf", held, "inf", foreign, "-inf", b"\xff")
    assert await claims(lanes).release_unheld() == 2
    await lapse(lanes, lanes.batch, held, foreign)
    claimed = await claim(lanes, lease_s=0.001)
    assert [(job.job_id, job.score) for job in claimed.jobs] == [(held.encode(), 3)]
    assert await ask(lanes.redis, "ZRANGE", leases_key(lanes.batch), 0, -1) == [held.encode()]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_arq_has_of_a_job_may_be_of_any_type(lanes: Lanes, kind: str) -> None:
    """It is claimed and settled all the same."""
    [job] = jobs(lanes, 1)
    for key in (job_key(job), tries_key(job), in_progress_key(job), f"arq:result:{job}"):
        await plant(lanes, key, kind)
    await ask(lanes.redis, "ZADD", lanes.batch, 1, job)
    [claimed] = (await claim(lanes, "t")).jobs
    assert claimed.body == (b"planted" if kind == "string" else None)
    assert await claims(lanes).settle(lanes.batch, [Settled(job, "t", "later", 0, b"a body")]) == 1
    await claim(lanes, "u")
    assert await claims(lanes).settle(lanes.batch, [Settled(job, "u", "done", 1000, b"r", "why")]) == 1
    assert await lanes.left(job) == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_list_of_tokens_may_be_of_any_type(lanes: Lanes, kind: str) -> None:
    """The next writer replaces it."""
    first, second = jobs(lanes, 2)
    await plant(lanes, wake_key(lanes.batch), kind)
    await lanes.put(lanes.batch, first, second)
    assert await ask(lanes.redis, "TYPE", wake_key(lanes.batch)) == b"list"
    await plant(lanes, wake_key(lanes.batch), kind)
    await claim(lanes, room=1)
    assert await ask(lanes.redis, "TYPE", wake_key(lanes.batch)) == b"list"
    await plant(lanes, lanes.keys.mail("a"), kind)
    await claims(lanes).send("stir")
    assert (await ask(lanes.redis, "LRANGE", lanes.keys.mail("a"), -1, -1)) == [b"stir"]


async def test_what_cannot_be_counted_is_not_settled_by_halves(lanes: Lanes) -> None:
    """The refusal counter has the wrong type: the job stays until the key is set aside."""
    [job] = jobs(lanes, 1)
    await lanes.put(lanes.batch, job)
    await claim(lanes, "t")
    await plant(lanes, lanes.keys.refused, "list")
    ended = [Settled(job, "t", "done", reason="why")]
    with pytest.raises(Exception, match="WRONGTYPE"):
        await claims(lanes).settle(lanes.batch, ended)
    assert await lanes.lease(lanes.batch, job) is not None
    await ask(lanes.redis, "DEL", lanes.keys.refused)
    assert await claims(lanes).settle(lanes.batch, ended) == 1


@pytest.mark.parametrize("ends_job", [True, False])
async def test_a_change_under_a_lease_is_made_while_it_is_held_or_not_at_all(lanes: Lanes, ends_job: bool) -> None:
    """It ends the job in the same script; a worker that lost the job changes nothing."""
    mine, taken = jobs(lanes, 2)
    await lanes.put(lanes.batch, mine, taken)
    await claim(lanes, "t")
    await ask(lanes.redis, "SET", in_progress_key(taken), "another's", "EX", 60)
    for job in (mine, taken):
        lease, key = Lease(job, lanes.batch, "t", 0, lambda: False), f"{lanes.keys.prefix}:{job}"
        change = call(lanes.redis, "lock", [key], ["value", 60_000], lease, ends_job=ends_job)
        if job == mine:
            await change
            assert lease.closed == ends_job
        else:
            with pytest.raises(LeaseLostError):
                await change
            assert not lease.closed
        assert await ask(lanes.redis, "GET", key) == (b"value" if job == mine else None)
    assert (await lanes.score(lanes.batch, mine) is None) == ends_job
    assert await lanes.score(lanes.batch, taken) is not None
