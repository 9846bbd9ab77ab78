"""`import` ends with a sentence and an intact current snapshot, whatever files and disks do."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from reckoner.producer.importing import import_interactions
from reckoner.shared.errors import SourceError
from reckoner.shared.store.location import open_store
from tests import workbooks
from tests.commands import CommandLine
from tests.patience import PATIENCE_S
from tests.processes import wait_until
from tests.root import ROOT
from tests.snapshots import current, interactions

# Root may read and write everything, unless this is taken from it.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "a höme"


@pytest.fixture
def commands(home: Path) -> CommandLine:
    return CommandLine(home=home)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.csv"
    path.write_text("user,item\na,x\nb,y\n")
    return path


def run(commands: CommandLine, *arguments: object, before: str = "") -> "subprocess.CompletedProcess[str]":
    """Run `reckoner` in a shell, as a user without all rights."""
    command = [
        *AS_ANYBODY,
        "sh",
        "-c",
        f'{before}exec "$0" -m reckoner.producer "$@"',
        sys.executable,
        *map(str, arguments),
    ]
    return subprocess.run(
        command, cwd=ROOT, env=commands.environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def test_what_may_not_be_read_is_one_sentence(commands: CommandLine, good: Path, tmp_path: Path) -> None:
    """A file and a MovieLens directory without read permission."""
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "ratings.csv").write_text("user,item\na,x\n")
    for path in (good, closed):
        path.chmod(0)
    try:
        for path in (good, closed, closed / "ratings.csv"):
            ended = run(commands, "import", path)
            assert (ended.returncode, ended.stdout) == (1, "")
            assert ended.stderr == f"{path} cannot be read: Permission denied.\n"
    finally:
        closed.chmod(0o700)


def test_a_store_that_cannot_be_is_one_sentence(commands: CommandLine, good: Path, tmp_path: Path) -> None:
    """A file lies in its place, or its parent may not be written."""
    (tmp_path / "file").write_text("")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    for root, reason in ((tmp_path / "file", "Not a directory"), (tmp_path / "file" / "store", "Not a directory"),
                         (closed / "store", "Permission denied")):  # fmt: skip
        commands.environ["RECKONER_STORE_URL"] = root.as_uri()
        ended = run(commands, "import", good)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr == f"The store {root} cannot be created: {reason}.\n"


def test_a_full_disk_leaves_nothing_half_written(commands: CommandLine, good: Path, home: Path, tmp_path: Path) -> None:
    """One sentence; the snapshot from before stays current and whole, and nothing else lies in the store."""
    assert commands.call("import", str(good)).code == 0
    store = open_store((home / "store").as_uri())
    before = interactions(current(store))
    big = tmp_path / "big.csv"
    big.write_text("\n".join(["user,item", *(f"user {u},item {i}" for u in range(100) for i in range(100))]))
    ended = run(commands, "import", big, before="ulimit -f 8; ")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"The [^\n]* cannot be written: [^\n]*\.\n", ended.stderr)
    assert interactions(current(store)) == before
    assert len(list(store.entries("snapshots"))) == 1
    assert list((home / "store" / "scratch").iterdir()) == []


def test_two_imports_at_once_leave_one_of_both(commands: CommandLine, home: Path, tmp_path: Path) -> None:
    """Each succeeds; the snapshot that is current in the end is whole, and the other one is there too."""
    rows = [[(f"u{u}", f"{name}{i}") for u in range(50) for i in range(50)] for name in ("x", "y")]
    processes = []
    for number, pairs in enumerate((*rows, *rows)):
        path = tmp_path / f"{number}.csv"
        path.write_text("\n".join(["user,item", *map(",".join, pairs)]))
        processes.append(commands.start("import", str(path), "--json"))
    for process in processes:
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, err) == (0, ""), err
        assert '"interactions":2500' in out
    store = open_store((home / "store").as_uri())
    assert interactions(current(store)).keys() in [set(pairs) for pairs in rows]
    assert len(list(store.entries("snapshots"))) == 2


def test_a_misspelt_column_gets_the_nearest_one_as_advice(commands: CommandLine, tmp_path: Path) -> None:
    """The sentence suggests a column and lists all columns."""
    (tmp_path / "shop.csv").write_text("Customer,product,bought\na,x,1\n")
    ended = commands.call("import", str(tmp_path / "shop.csv"), "--user", "custmer", "--item", "product")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "shop.csv has no column custmer (--user). Did you mean Customer? Its columns are: Customer, product, bought.\n"
    )


@pytest.mark.parametrize("change", ["a longer file", "another file"])
def test_a_file_that_is_written_meanwhile_is_not_imported(tmp_path: Path, good: Path, change: str) -> None:
    """Its last line may be half of one; what was current stays."""
    store = open_store((tmp_path / "store").as_uri())
    before = import_interactions(good, store).snapshot_id

    def write(rows: int, total: int | None) -> None:
        if change == "a longer file":
            with good.open("a") as file:
                file.write("c,z")
        else:
            (tmp_path / "new").write_text("user,item\nc,z\nd,z\n")
            (tmp_path / "new").replace(good)

    with pytest.raises(SourceError, match=r"^good\.csv changed while it was read\. Import it when it is complete\.$"):
        import_interactions(good, store, progress=write)
    assert store.current_snapshot() == before


def test_a_parquet_file_that_is_not_whole_is_one_sentence(tmp_path: Path) -> None:
    """At whichever byte it was cut off."""
    store = open_store((tmp_path / "store").as_uri())
    path = tmp_path / "some.parquet"
    pq.write_table(pa.table({"user": ["a", "b"] * 100, "item": ["x", "y"] * 100}), path)
    data = path.read_bytes()
    for length in range(4, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(SourceError, match=r"^some\.parquet cannot be read: .*\.$") as caught:
            import_interactions(path, store)
        assert "\n" not in str(caught.value)
    assert store.current_snapshot() is None


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "feather"])
def test_paths_that_are_not_utf_8_are_paths_like_others(commands: CommandLine, tmp_path: Path, suffix: str) -> None:
    """Alone and as parts; in messages, in the history and among rejected rows their odd bytes are escapes."""
    table = pa.table({"user": ["a", None], "item": ["x", "y"]})
    folder, rejects = tmp_path / os.fsdecode(b"\xe9"), tmp_path / os.fsdecode(b"rejects\xe9.csv")
    folder.mkdir()
    for name in (b"a", b"b\xe9"):
        with (folder / f"{os.fsdecode(name)}.{suffix}").open("wb") as file:
            match suffix:
                case "csv":
                    file.write(b"user,item\na,x\n,y\n")
                case "jsonl":
                    file.write(b'{"user": "a", "item": "x"}\n{"user": null, "item": "y"}\n')
                case "parquet":
                    pq.write_table(table, file)
                case _:
                    pyarrow.feather.write_feather(table, file)
    ended = commands.call("import", str(folder), "--rejects", str(rejects))
    assert ended.code == 0
    assert f"of a.{suffix}, " in ended.err
    assert f"of b\\xe9.{suffix})" in ended.err
    assert f"b\\xe9.{suffix}" in rejects.read_text()
    one = folder / f"{os.fsdecode(bytes([98, 0xE9]))}.{suffix}"
    assert commands.call("import", str(one)).code == 0
    assert commands.call("import", str(one), "--user", "nobody").is_defined


@pytest.mark.parametrize(
    ("sign", "ends"),
    [(signal.SIGINT, (130, "Stopped. Nothing was imported.\n")), (signal.SIGTERM, (-signal.SIGTERM, ""))],
)
def test_an_import_that_is_stopped_leaves_no_reader_of_its_workbook(
    commands: CommandLine, tmp_path: Path, sign: signal.Signals, ends: tuple[int, str]
) -> None:
    """It would make room for all cells of the sheet."""
    path, begun = tmp_path / "a.xlsb", tmp_path / "begun"
    path.write_bytes(workbooks.xlsb({"Many": workbooks.cells([["user", "item"], ["a", "x"]])}))
    # A reader that takes long, as one of a large workbook does.
    (tmp_path / "python_calamine.py").write_text(f"open({str(begun)!r}, 'w')\nimport time\ntime.sleep(600)\n")
    commands.environ["PYTHONPATH"] = str(tmp_path)
    process = commands.start("import", str(path))
    try:
        wait_until(begun.exists)
        [reader] = psutil.Process(process.pid).children()
        process.send_signal(sign)
        _, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert (process.returncode, err) == ends
    wait_until(lambda: not reader.is_running())
