"""Tables in zip and tar files: the only one, MovieLens' ratings, or the one that is named."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from reckoner.producer.importing import Reading, import_interactions
from reckoner.shared.errors import SourceError, UsageError
from reckoner.shared.store.location import open_store
from reckoner.shared.store.protocol import Store
from tests.commands import CommandLine
from tests.snapshots import current, interactions, titles

Archive = Callable[[Mapping[str, bytes]], bytes]
TABLE = b"user,item\n" + b"".join(b"u%d,i%d\n" % (n % 7, n) for n in range(30_000))
OTHER = b"user,item\na,x\n"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "the store").as_uri())


def zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("data")
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tar(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo("data")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in members.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


ARCHIVES: dict[str, Archive] = {
    "zip": zipped,
    "tar": tar,
    "tar.gz": lambda members: gzip.compress(tar(members), 1),
    "tar.bz2": lambda members: bz2.compress(tar(members)),
    "tar.xz": lambda members: lzma.compress(tar(members), preset=0),
    "tar.zst": lambda members: pa.compress(tar(members), "zstd", asbytes=True),
}


def written(tmp_path: Path, kind: str, members: Mapping[str, bytes]) -> Path:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(ARCHIVES[kind](members))
    return path


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize(
    ("others", "member"),
    [
        ({}, None),
        ({"README": b"What this is.", "data/.hidden.csv": OTHER, "__MACOSX/t.csv": OTHER}, None),
        ({"notes.txt": b"What this is.", "paper.pdf": b"%PDF-1.7"}, None),
        ({"data/other.csv": OTHER}, "data/t.csv"),
        ({"data/other.csv": OTHER}, "t.csv"),
    ],
    ids=["alone", "hidden ones", "documents", "by its place", "by its name"],
)
def test_a_table_in_an_archive_is_read_as_by_itself(
    tmp_path: Path, store: Store, kind: str, others: Mapping[str, bytes], member: str | None
) -> None:
    """Whatever stands beside it, and before it."""
    plain = tmp_path / "t.csv"
    plain.write_bytes(TABLE)
    expected = import_interactions(plain, store)
    path = written(tmp_path, kind, {**others, "data/t.csv": TABLE})
    report = import_interactions(path, store, reading=Reading(member=member))
    assert (report.snapshot_id, report.rows) == (expected.snapshot_id, 30_000)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_member_may_be_compressed_and_in_json(tmp_path: Path, store: Store, kind: str) -> None:
    """As a file may be."""
    path = written(tmp_path, kind, {"a.jsonl.gz": gzip.compress(b'{"user": 1, "item": "x"}\n')})
    import_interactions(path, store)
    assert set(interactions(current(store))) == {("1", "x")}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_movielens_is_read_as_it_is_published(tmp_path: Path, store: Store, kind: str) -> None:
    """The tables beside its ratings and its titles are left."""
    members = {
        "genome-scores.csv": b"movieId,tagId,relevance\n1,1,0.5\n",
        "links.csv": b"movieId,imdbId,tmdbId\n1,0114709,862\n",
        "movies.csv": b"movieId,title,genres\n1,Toy Story (1995),Comedy\n",
        "ratings.csv": b"userId,movieId,rating,timestamp\n1,1,5.0,1147880044\n",
        "tags.csv": b"userId,movieId,tag,timestamp\n3,1,classic,1439472355\n",
    }
    path = written(tmp_path, kind, {f"ml-25m/{name}": data for name, data in members.items()})
    import_interactions(path, store)
    assert interactions(current(store)) == {("1", "1"): (1.0, 1147880044000)}
    assert titles(current(store)) == {"1": "Toy Story (1995)"}
    import_interactions(path, store, reading=Reading(member="tags.csv"))
    assert set(interactions(current(store))) == {("3", "1")}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_with_several_tables_names_them(tmp_path: Path, store: Store, kind: str) -> None:
    """And the option that chooses one, which is for archives only."""
    path = written(tmp_path, kind, {"data/t.csv": OTHER, "data/u.csv": OTHER})
    with pytest.raises(SourceError) as caught:
        import_interactions(path, store)
    assert str(caught.value) == (
        f"a.{kind} has 2 files: data/t.csv, data/u.csv. Name the table, such as --member data/t.csv."
    )
    with pytest.raises(SourceError) as caught:
        import_interactions(path, store, reading=Reading(member="v.csv"))
    assert str(caught.value) == f"a.{kind} has no file v.csv (--member). It has: data/t.csv, data/u.csv."
    for name, data in {"t.csv": OTHER, "t.jsonl": b'{"user": 1, "item": 2}', "t.parquet": b"PAR1"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UsageError, match=r"^--member is "):
            import_interactions(tmp_path / name, store, reading=Reading(member="v.csv"))
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "ratings.csv").write_bytes(OTHER)
    with pytest.raises(UsageError, match=r"^--member is for zip and tar files, and ml is none\.$"):
        import_interactions(tmp_path / "ml", store, reading=Reading(member="ratings.csv"))
    commands = CommandLine(home=tmp_path / "home")
    assert commands.call("import", str(path), "--member", "u.csv").code == 0


def test_archives_may_be_parts(tmp_path: Path, store: Store) -> None:
    """Each with its table."""
    for number in range(2):
        (tmp_path / f"{number}.tar.gz").write_bytes(ARCHIVES["tar.gz"]({"t.csv": b"user,item\n%d,x\n" % number}))
    import_interactions([tmp_path / "0.tar.gz", tmp_path / "1.tar.gz"], store)
    assert set(interactions(current(store))) == {("0", "x"), ("1", "x")}
