"""`import` ends with a sentence and an intact current snapshot, whatever files and disks do."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reckoner.producer.importing import import_interactions
from reckoner.shared.errors import SourceError
from reckoner.shared.store.location import open_store
from tests.commands import CommandLine
from tests.patience import PATIENCE_S
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
