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
from reckoner.producer.importing.reading import archives
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


def test_of_several_files_with_one_name_in_a_tar_file_the_last_one_counts(tmp_path: Path, store: Store) -> None:
    """As for tar itself, which puts newer files at the end."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for data in (OTHER, b"user,item\nb,y\nc,y\n"):
            info = tarfile.TarInfo("./data/t.csv")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    import_interactions(path, store, reading=Reading(member="./data/t.csv"))
    assert set(interactions(current(store))) == {("b", "y"), ("c", "y")}


def test_names_that_are_not_utf_8_are_shown_and_can_be_given(tmp_path: Path) -> None:
    """With their odd bytes as escapes, in messages and in the history."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        for name in ("é.csv", "b.csv"):
            info = tarfile.TarInfo(name)
            info.size = len(OTHER)
            archive.addfile(info, io.BytesIO(OTHER))
    commands = CommandLine(home=tmp_path / "home")
    ended = commands.call("import", str(path))
    assert (ended.code, ended.err) == (
        1, "a.tar has 2 files: \\xe9.csv, b.csv. Name the table, such as --member \\xe9.csv.\n",
    )  # fmt: skip
    assert commands.call("import", str(path), "--member", "\\xe9.csv").code == 0


def test_a_damaged_header_is_not_the_end_of_a_tar_file(tmp_path: Path, store: Store) -> None:
    """Else the file before it would be the only one."""
    data = bytearray(tar({"a.csv": OTHER, "b.csv": OTHER}))
    data[data.index(b"./b.csv")] ^= 1
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(SourceError, match=r"^a\.tar cannot be read: the tar file is damaged or cut off\.$"):
        import_interactions(tmp_path / "a.tar", store)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_what_describes_a_member_is_not_read_if_it_is_long(tmp_path: Path, store: Store, kind: bytes) -> None:
    """It would be kept in memory, and a megabyte of gzip holds a gigabyte of it."""
    info = tarfile.TarInfo("a.csv")
    info.type, info.size = kind, archives.MAX_EXTENSION_BYTES + 1
    # The rest is missing, and is not asked for.
    (tmp_path / "a.tgz").write_bytes(gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(4096)))
    with pytest.raises(SourceError) as caught:
        import_interactions(tmp_path / "a.tgz", store)
    assert str(caught.value.__cause__) == "a header is too long"


def test_a_tar_file_with_too_many_members_is_refused(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their names are kept in memory."""
    monkeypatch.setattr("reckoner.producer.importing.reading.archives.MAX_MEMBERS", 3)
    path = written(tmp_path, "tar.gz", {"a.csv": OTHER, "b.csv": OTHER, "c.csv": OTHER})
    with pytest.raises(SourceError, match=r"^a\.tar\.gz has over 3 files\. Unpack it, and import the table in it\.$"):
        import_interactions(path, store)


@pytest.mark.parametrize("name", ["t.zip", "t.tar", "t.tgz"])
def test_a_table_may_be_called_an_archive(tmp_path: Path, store: Store, name: str) -> None:
    """The contents count; a program may be in front of a zip file, and it is one still."""
    (tmp_path / name).write_bytes(OTHER)
    import_interactions(tmp_path / name, store)
    assert set(interactions(current(store))) == {("a", "x")}
    (tmp_path / "u.zip").write_bytes(b"MZ and more" + zipped({"t.csv": OTHER}))
    import_interactions(tmp_path / "u.zip", store)
    assert set(interactions(current(store))) == {("a", "x")}
