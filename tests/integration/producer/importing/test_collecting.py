"""Rows that are too many for the memory are kept on disk meanwhile."""

from pathlib import Path
from random import Random

import pytest

from reckoner.producer.importing import Columns, ImportReport, Repeats, import_interactions
from reckoner.producer.importing.merging import collecting
from reckoner.producer.importing.merging.spool import Spool
from reckoner.shared.errors import StoreError
from reckoner.shared.store.location import open_store
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, open_snapshot


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


def written(tmp_path: Path, header: str) -> Path:
    """A file whose first user has half of its rows, with repeats whose order by time is another than by row."""
    random, path = Random(17), tmp_path / "rows.csv"
    columns = header.split(",")
    with path.open("w") as file:
        print(header, file=file)
        for row in range(2_000):
            user = random.choice([7, random.randrange(300)])
            weight, time = random.choice(["0.1", "0.2", "5", "1"]), 1_600_000_000 + random.randrange(50)
            values = [f"u{user}", f"i{random.randrange(40)}", weight, str(time), f"title {row % 7}"]
            print(",".join(values[: len(columns)]), file=file)
    return path


def imported(path: Path, store: Store, rule: Repeats, *, in_memory: int) -> ImportReport:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(collecting, "IN_MEMORY", in_memory)
        for name in ("AT_ONCE", "PART_ROWS"):
            patched.setattr(collecting, name, in_memory if in_memory < 1_000 else 1 << 21)
        patched.setattr("reckoner.producer.importing.reading.tables.BLOCK_BYTES", 4_000)
        columns = Columns(weight="rating" if "rating" in path.read_text() else None)
        return import_interactions(path, store, columns=columns, repeats=rule)


@pytest.mark.parametrize("header", ["user_id,item_id,rating,timestamp,title", "user_id,item_id"])
@pytest.mark.parametrize("rule", ["last", "sum", "max"])
def test_the_snapshot_does_not_tell_where_rows_were_kept(
    tmp_path: Path, store: Store, header: str, rule: Repeats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many parts on disk give what all rows in memory give, and nothing is left behind."""
    path, kept = written(tmp_path, header), list[Path | None]()

    def noted(where: Path | None) -> Spool:
        kept.append(where)
        return Spool(where)

    monkeypatch.setattr(collecting, "Spool", noted)
    in_memory = imported(path, store, rule, in_memory=1 << 25)
    assert set(kept) == {None}
    on_disk = imported(path, store, rule, in_memory=50)
    assert len({where.name for where in kept if where is not None}) > 10
    assert on_disk == in_memory
    assert on_disk.repeated > 0
    open_snapshot(store.fetch(KIND, on_disk.snapshot_id), verify=True)
    assert list((tmp_path / "store" / "scratch").iterdir()) == []


def test_the_first_user_may_have_more_rows_than_a_part(tmp_path: Path, store: Store) -> None:
    """There is no part before it."""
    path = tmp_path / "rows.csv"
    path.write_text("user,item\nb,x\n" + "".join(f"a,{row}\n" for row in range(101)))
    assert imported(path, store, "last", in_memory=50).interactions == 102


def test_a_full_disk_is_one_sentence(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the current snapshot stays."""
    path = written(tmp_path, "user_id,item_id")
    before = imported(path, store, "last", in_memory=1 << 25).snapshot_id
    monkeypatch.setattr(collecting, "Spool", lambda where: Spool(where and Path("/dev/full")))
    with pytest.raises(StoreError, match=r"^The rows in .* cannot be written or read: No space left on device\.$"):
        imported(path, store, "sum", in_memory=50)
    assert store.current_snapshot() == before
    assert list((tmp_path / "store" / "scratch").iterdir()) == []
