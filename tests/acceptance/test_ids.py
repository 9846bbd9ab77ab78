"""Any valid id has its list under its own key, with the reference's bytes."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reckoner.producer.importing import import_interactions
from reckoner.shared.errors import UsageError
from tests.system import System

IDS = [
    "a b",
    " a ",
    "a:b:c",
    "line\nline\r\n",
    "tab\tand \x1b[2J",
    "\0",
    "a\0b",
    "ユーザー",
    "e\u0301",
    "\u00e9",
    "\u202eright to left",
    "😀",
    "*",
    "{a}?[b]",
    "a,b\"c'd\\",
    "x" * 300,
    "y" * 1024,
]
TOO_LONG = ["z" * 2000, "é" * 513]


async def test_any_id_goes_through_import_fit_run_and_get(tmp_path: Path) -> None:
    """For users and items. Ids over 1,024 bytes are bad rows and are refused."""
    pairs = [(user, item) for u, user in enumerate(IDS) for i, item in enumerate(IDS) if (u + i) % 3 or u == i]
    pairs += [(long, "*") for long in TOO_LONG] + [("*", long) for long in TOO_LONG]
    source = tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"user": [user for user, _ in pairs], "item": [item for _, item in pairs]}), source)
    async with System(tmp_path / "a home") as system:
        report = import_interactions(source, system.store)
        assert (report.users, report.items, report.bad_rows) == (len(IDS), len(IDS), 2 * len(TOO_LONG))
        system.start_workers(1)
        generation = await system.fit()
        for job in await system.enqueue(IDS):
            assert (await system.ended(job)).state == "done"
        expected = system.reference_lists(generation)
        assert await system.lists(generation) == expected
        await system.forget_lists(generation)
        assert (await system.run()).outcome == "passed"
        assert await system.lists(generation) == expected
        async with system.reckoner() as reckoner:
            answers = await reckoner.get_many(IDS, 3)
            for user in TOO_LONG:
                with pytest.raises(UsageError, match=r"is over 1,024 bytes\.$"):
                    await reckoner.get(user)
        assert [answer.user for answer in answers] == IDS
        assert {answer.source for answer in answers} == {"cache"}
