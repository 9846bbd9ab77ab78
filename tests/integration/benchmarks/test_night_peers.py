"""The bare writes that the night is compared with."""

from pathlib import Path

from redis import Redis

from tests.benchmarks.night_peers import PIPELINED, BareWrites, write
from tests.servers import start_server

LISTS = {b"key %d" % number: b"\r\nvalue \xff %d" % number for number in range(2 * PIPELINED + 1)}


def test_all_lists_are_written_with_an_expiry(tmp_path: Path) -> None:
    """More than one slice, and values of any bytes."""
    with start_server(tmp_path) as server:
        write(server, LISTS, 1_000)
        with Redis.from_url(server.url) as redis:
            assert dict(zip(LISTS, redis.mget(list(LISTS)), strict=True)) == LISTS
            assert redis.dbsize() == len(LISTS)
            assert all(990 <= redis.ttl(key) <= 1_000 for key in LISTS)


async def test_the_cost_of_a_list_is_measured(tmp_path: Path) -> None:
    """A longer value takes more memory by at least its bytes."""
    longer = {key: value * 100 for key, value in LISTS.items()}
    short = await BareWrites(tmp_path, {"lists": LISTS, "ttl_s": 100})()
    long = await BareWrites(tmp_path, {"lists": longer, "ttl_s": 100})()
    assert short["server's µs a user"] > 0
    assert long["bytes a user"] - short["bytes a user"] > 99 * len(LISTS[b"key 0"])
