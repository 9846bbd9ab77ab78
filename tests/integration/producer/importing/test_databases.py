"""Queries in SQLite and PostgreSQL become the current snapshot; the database is never changed."""

import os
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckoner.producer.importing import Columns, Query, find_database, import_interactions
from reckoner.producer.importing.reading import databases
from reckoner.producer.importing.reading.databases import QueryTable
from reckoner.shared.errors import SourceError
from reckoner.shared.store.location import open_store
from reckoner.shared.store.protocol import Store
from tests.commands import CommandLine
from tests.imports import reasons
from tests.patience import PATIENCE_S
from tests.postgres import PASSWORD, USER, PostgresServer, started
from tests.processes import wait_until
from tests.snapshots import current, interactions, titles

EVERYTHING = "select customer as user_id, product as item_id from bought"
NOT_ONE_SELECT = [
    "insert into bought values ('x', 'y')",
    "delete from bought",
    "drop table bought",
    "select 1 as user_id, 1 as item_id; delete from bought",
    "commit",
    "",
]


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tester's environment may contain variables of libpq."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "the store").as_uri())


@pytest.fixture
def commands(tmp_path: Path) -> CommandLine:
    return CommandLine(home=tmp_path / "a höme")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """An SQLite database, whose path has all special characters of URLs."""
    path = tmp_path / "a shöp? #1 100%.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table bought (customer, product)")
        connection.executemany("insert into bought values (?, ?)", [("a", "x"), ("b", "x"), ("b", "y")])
    connection.close()
    return path


def sqlite(path: Path, text: str) -> Query:
    return Query(find_database(f"sqlite:///{path}", {}), text)


def test_a_query_in_sqlite_is_imported(shop: Path, store: Store) -> None:
    """Columns by their usual names; rows are numbered from 1, without a known total."""
    found: list[tuple[int, int | None]] = []
    text = "select customer as user_id, product as item_id from bought union all select null, 'z'; "
    report = import_interactions(sqlite(shop, text), store, progress=lambda rows, total: found.append((rows, total)))
    assert interactions(current(store)).keys() == {("a", "x"), ("b", "x"), ("b", "y")}
    assert (report.rows, report.unit, reasons(report)) == (4, "row", [("left_out", "the user is empty", 1, [4])])
    assert set(found) == {(4, None)}


def test_all_values_of_sqlite_become_texts(shop: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types change from row to row and from batch to batch, and the first batches have no title at all."""
    monkeypatch.setitem(databases.BATCHES, "SQLite", {"adbc.sqlite.query.batch_rows": "2"})
    rows = [
        (1, 1, 2, 1790208000, None),
        (7.0, "007", "0.5", "2026-09-25", None),
        (2.5, b"caf\xc3\xa9", 1e3, 1790208000.5, None),
        ("1", 2**60, 1, 1790208000000, ""),
        ("z\0z", "\u2603", "1", "2026-09-25T02:00:00+02:00", "Snow"),
        ("u", "i", "many", 1790208000, "T"),
    ]
    with sqlite3.connect(shop) as connection:
        connection.execute("create table mixed (u, i, w, t, n)")
        connection.executemany("insert into mixed values (?, ?, ?, ?, ?)", rows)
    connection.close()
    columns = Columns(user="u", item="i", weight="w", time="t", title="n")
    report = import_interactions(sqlite(shop, "select * from mixed"), store, columns=columns)
    assert interactions(current(store)) == {
        ("1", "1"): (2.0, 1790208000000),
        ("7.0", "007"): (0.5, 1790294400000),
        ("2.5", "café"): (1000.0, 1790208000500),
        ("1", str(2**60)): (1.0, 1790208000000),
        ("z\0z", "\u2603"): (1.0, 1790294400000),
    }
    assert titles(current(store))["\u2603"] == "Snow"
    assert reasons(report) == [("bad", "the weight is not a number", 1, [6])]


@pytest.mark.parametrize("text", [*NOT_ONE_SELECT, "vacuum into 'copy.db'", "attach 'other.db' as other"])
def test_nothing_in_sqlite_is_changed(
    shop: Path, store: Store, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The database refuses anything but a single SELECT, in one sentence."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir()), shop.read_bytes()
    with pytest.raises(SourceError, match=r"^The database refused the query: .*\.$"):
        import_interactions(sqlite(shop, text), store)
    assert (sorted(tmp_path.iterdir()), shop.read_bytes()) == before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("select * from nobody", "The database refused the query: no such table: nobody."),
        (
            "select customer from",
            'The database refused the query: near ")": syntax error; the query must be a single SELECT.',
        ),
        (f"{EVERYTHING} where 0", "The query has no rows."),
        (
            "select customer as user, product as item, 1 as User from bought",
            "The query has more than one column user.",
        ),
        (
            "select customer, product as item from bought",
            "The query has no user column (user, userid, user_id). Its columns are: customer, item. "
            "Name the right one with --user.",
        ),
        ("select 1 as user, x'ff' as item", "The query returned text that is not UTF-8."),
    ],
)
def test_what_sqlite_cannot_give_is_one_sentence(shop: Path, store: Store, text: str, sentence: str) -> None:
    """The sentence is the database's or ours, without the driver's prefix, and the current snapshot stays."""
    before = import_interactions(sqlite(shop, EVERYTHING), store).snapshot_id
    with pytest.raises(SourceError) as caught:
        import_interactions(sqlite(shop, text), store)
    assert str(caught.value) == sentence
    assert store.current_snapshot() == before


def test_a_file_that_is_not_a_database_is_reported(tmp_path: Path, store: Store) -> None:
    """A missing file is not created either."""
    (tmp_path / "text.db").write_text("customer,product\n" * 100)
    with pytest.raises(SourceError, match=r"^The database refused the query: file is not a database\.$"):
        import_interactions(sqlite(tmp_path / "text.db", EVERYTHING), store)
    with pytest.raises(SourceError, match=r"nowhere\.db does not exist\.$"):
        import_interactions(sqlite(tmp_path / "nowhere.db", EVERYTHING), store)
    with pytest.raises(SourceError, match=r"cannot be read: Is a directory\.$"):
        import_interactions(sqlite(tmp_path, EVERYTHING), store)
    assert not (tmp_path / "nowhere.db").exists()


def test_the_command_imports_from_the_database_in_a_variable(shop: Path, commands: CommandLine) -> None:
    """Exit 0 and the counts, with the query on the command line."""
    ended = commands.call("import", "env:SHOP", "--query", EVERYTHING, "--json", environ={"SHOP": f"sqlite:///{shop}"})
    assert (ended.code, ended.err) == (0, "")
    assert (ended.objects[0]["users"], ended.objects[0]["items"]) == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sqlite:///shop.db",), 'A database needs a query, such as --query "select '),
        (("shop.csv", "--query", "select 1"), "--query is for databases, but shop.csv is a file. Remove --query."),
        (
            ("postgresql://me:hunter2@host/shop", "--query", "select 1"),
            "The URL contains a password, which other users ",
        ),
    ],
)
def test_a_command_that_does_not_fit_its_source_is_wrong_usage(
    commands: CommandLine, arguments: tuple[str, ...], said: str
) -> None:
    """Exit 2, one sentence, and no password in it."""
    ended = commands.call("import", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(said)
    assert ended.err.count("\n") == 1
    assert "hunter2" not in ended.err


def test_the_extra_that_is_missing_is_named(commands: CommandLine, shop: Path) -> None:
    """Where the drivers are not installed, one sentence says what to do."""
    without = "sys.modules.update(dict.fromkeys(['adbc_driver_postgresql', 'adbc_driver_sqlite']))"
    ended, _ = commands.modules(without, "import", f"sqlite:///{shop}", "--query", EVERYTHING)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.endswith("which is not installed: pip install 'ready-reckoner[sql]'.")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12), st.booleans())
@settings(deadline=None, max_examples=50)
def test_no_message_holds_the_password(password: str, quoted: bool) -> None:
    """With any characters, escaped or not, even if the host does not answer."""
    # Framed, or a password of a single letter would be in any sentence.
    secret = f"\u2603{password}\u2603"
    url = f"postgresql://user:{quote(secret, safe='') if quoted else secret}@127.0.0.1:1/name"
    with pytest.raises(SourceError) as caught:
        QueryTable(Query(find_database("env:X", {"X": url}), "select 1"))
    assert "\u2603" not in str(caught.value)
    assert quote("\u2603") not in str(caught.value)
    if quoted:
        assert "Connection refused" in str(caught.value)


def test_a_server_that_says_nothing_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts the connection and never answers; libpq alone would wait forever."""
    monkeypatch.setattr(databases, "TIMEOUT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/name"
        with pytest.raises(SourceError, match=r"^The database cannot be opened: .* timeout expired\.$"):
            import_interactions(Query(find_database(url, {}), EVERYTHING), store)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with started() as running:
        running.run(
            "create table bought (customer text, product text)",
            "insert into bought values ('a', 'x'), ('b', 'x'), ('b', 'y')",
            "create sequence numbers",
            f"create role guest login password '{PASSWORD}'",
        )
        yield running


@pytest.fixture
def postgres(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    """The server, with the password in libpq's environment."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return server


def query(server: PostgresServer, text: str) -> Query:
    return Query(find_database(server.url, {}), text)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("7::smallint", "7"),
        ("9223372036854775807::bigint", "9223372036854775807"),
        ("1.50::numeric", "1.50"),
        ("7.0::float8", "7"),
        ("'7'::char(5)", "7"),
        ("'00000000-0000-0000-0000-00000000002a'::uuid", "00000000-0000-0000-0000-00000000002a"),
        ("'caf\u00e9'::bytea", "\\x636166c3a9"),
        ("array[1, null]", "{1,NULL}"),
        ("'{\"a\": 1}'::jsonb", '{"a": 1}'),
        ("true", "true"),
        ("date '2026-09-25'", "2026-09-25"),
        ("timestamptz '2026-09-25 02:00+02'", "2026-09-25 00:00:00+00"),
        ("'10.0.0.1'::inet", "10.0.0.1/32"),
        ("E'a\\nb: \u2603'", "a\nb: \u2603"),
    ],
)
def test_every_type_of_postgresql_has_its_text(
    postgres: PostgresServer, store: Store, monkeypatch: pytest.MonkeyPatch, value: str, text: str
) -> None:
    """With any date style of the server."""
    monkeypatch.setenv("PGOPTIONS", "-c datestyle=German,DMY -c timezone=Asia/Tokyo -c client_encoding=LATIN1")
    import_interactions(query(postgres, f"select {value} as user_id, 'x' as item_id -- a comment"), store)
    assert list(interactions(current(store))) == [(text, "x")]


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("value", "condition"),
    [
        ("timestamptz '2020-01-01 01:00:00+01' + {} * interval '1 millisecond'", "t > :since"),
        ("timestamp '2020-01-01 00:00:00' + {} * interval '1 hour'", "t > :since"),
        ("timestamptz '2020-01-01 00:00:00.000123Z' + {} * interval '1 millisecond'", "t > :since"),
        ("date '2020-01-01' + {}", "t > :since"),
        ("1577836800000 + {}", "t > :since_ms"),
        ("1577836800 + {}", "t > :since_ms / 1000"),
    ],
)
def test_since_is_a_time_of_postgresql(
    postgres: PostgresServer, store: Store, monkeypatch: pytest.MonkeyPatch, value: str, condition: str
) -> None:
    """All rows, then none, then the new one, whatever the type of the column and the zone of the server."""
    monkeypatch.setenv("PGOPTIONS", "-c timezone=Asia/Tokyo")

    def append(users: int) -> int:
        rows = f"(select n as user_id, 'x' as item_id, {value.format('n')} as t from generate_series(1, {users}) as n)"
        text = f"select user_id, item_id, t from {rows} as bought where {condition}"
        columns = Columns(time="t")
        return import_interactions(query(postgres, text), store, columns=columns, append=True, since=True).rows

    assert [append(users) for users in (3, 3, 4)] == [3, 0, 1]
    assert current(store).n_users == 4


@pytest.mark.postgres
def test_weights_and_times_of_postgresql_are_read(postgres: PostgresServer, store: Store) -> None:
    """Numbers of all kinds, dates and timestamps; an invalid value makes the row bad."""
    values = [
        "('a', 'x', 1.5::numeric, timestamptz '2026-09-25 02:00+02', 'X')",
        "('b', 'x', 'NaN', timestamptz '2026-09-25 00:00:00.25+00', null)",
        "('c', 'x', 'infinity', 'infinity', '')",
        "('d', 'x', 2, timestamptz 'infinity', null)",
        "('e', 'x', 3, null, null)",
        "('f', 'x', 4, timestamptz '2026-09-25 00:00:00.25+00', null)",
    ]
    text = f"select * from (values {', '.join(values)}) as rows (userid, itemid, w, t, title)"
    report = import_interactions(query(postgres, text), store, columns=Columns(weight="w", time="t"))
    assert interactions(current(store)) == {("a", "x"): (1.5, 1790294400000), ("f", "x"): (4.0, 1790294400250)}
    assert titles(current(store)) == {"x": "X"}
    assert reasons(report) == [
        ("bad", "the weight is not a number", 1, [3]),
        ("bad", "the time is invalid", 1, [4]),
        ("left_out", "the weight is missing", 1, [2]),
        ("left_out", "the time is missing", 1, [5]),
    ]


@pytest.mark.postgres
def test_rows_stream_in_and_keep_their_numbers(
    postgres: PostgresServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In many batches and in the query's order; a guessed time column without times is skipped."""
    monkeypatch.setitem(databases.BATCHES, "PostgreSQL", {"adbc.postgresql.batch_size_hint_bytes": "1000"})
    found: list[tuple[int, int | None]] = []
    text = (
        "select nullif(g, 4000) as user_id, g % 10 as item_id, case when g = 1 then 'soon' else '1' end as time "
        "from generate_series(1, 5000) as g order by g desc"
    )
    report = import_interactions(query(postgres, text), store, progress=lambda rows, total: found.append((rows, total)))
    assert (report.rows, report.users) == (5000, 4999)
    assert reasons(report) == [("left_out", "the user is empty", 1, [1001])]
    assert report.not_times == "time"
    assert len(found) > 100
    assert found[-1] == (5000, None)


@pytest.mark.postgres
@pytest.mark.parametrize(
    "text",
    [
        *NOT_ONE_SELECT,
        "select nextval('numbers') as user_id, 1 as item_id",
        "with gone as (delete from bought returning *) select customer as user_id, product as item_id from gone",
        "copy bought to '/dev/null'",
        "select 1) as given; delete from bought; select (1",
    ],
)
def test_nothing_in_postgresql_is_changed(postgres: PostgresServer, store: Store, text: str) -> None:
    """The database refuses anything but a single SELECT, and a SELECT that would change data."""
    with pytest.raises(SourceError, match=r"^The database (refused the query|stopped): .*\.$") as caught:
        import_interactions(query(postgres, text), store)
    assert "\n" not in str(caught.value)
    assert postgres.run("select count(*) from bought") == [(3,)]
    assert postgres.run("select is_called from numbers") == [(False,)]


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("select * from nobody", 'The database refused the query: relation "nobody" does not exist.'),
        (
            "select usr from bought",
            'The database refused the query: column "usr" does not exist.',
        ),
        ("select pg_sleep(30)::text as user_id, 1 as item_id", "canceling statement due to statement timeout."),
        (
            "select g as user_id, 1 / (g - 90000) as item_id from generate_series(1, 100000) as g",
            "The database stopped: division by zero.",
        ),
        (f"{EVERYTHING} where false", "The query has no rows."),
        ("select 1 as user_id, 2 as item_id, 3 as user_id", "The query has more than one column user_id."),
        (
            "select 1 as user_id, 2 as item",
            "The query has no column items (--item). Did you mean item? Its columns are: user_id, item.",
        ),
    ],
)
def test_what_postgresql_cannot_give_is_one_sentence(
    postgres: PostgresServer, store: Store, monkeypatch: pytest.MonkeyPatch, text: str, sentence: str
) -> None:
    """The sentence is the database's or ours, without the driver's prefix, and the current snapshot stays."""
    before = import_interactions(query(postgres, EVERYTHING), store).snapshot_id
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=300")
    columns = Columns(item="items") if "--item" in sentence else Columns()
    with pytest.raises(SourceError) as caught:
        import_interactions(query(postgres, text), store, columns=columns)
    assert str(caught.value).endswith(sentence)
    assert "\n" not in str(caught.value)
    assert store.current_snapshot() == before


@pytest.mark.postgres
def test_a_role_without_the_right_to_read_is_reported(postgres: PostgresServer, store: Store) -> None:
    """A role without the right, and an unknown role."""
    guest = Query(find_database("env:X", {"X": postgres.url_with(PASSWORD, "guest")}), EVERYTHING)
    with pytest.raises(SourceError, match=r"^The database refused the query: permission denied for table bought\.$"):
        import_interactions(guest, store)
    nobody = Query(find_database(postgres.url.replace(USER, "nobody"), {}), EVERYTHING)
    with pytest.raises(SourceError, match=r"authentication failed for user .nobody.\.$"):
        import_interactions(nobody, store)


@pytest.mark.postgres
def test_a_connection_that_is_cut_leaves_the_snapshot(postgres: PostgresServer, store: Store) -> None:
    """In the middle of the stream, after some batches have come."""
    before = import_interactions(query(postgres, EVERYTHING), store).snapshot_id
    cut: list[int] = []

    def progress(rows: int, total: int | None) -> None:
        if not cut:
            postgres.run("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
        cut.append(rows)

    text = "select generate_series(1, 5000000) as user_id, 1 as item_id"
    with pytest.raises(SourceError, match=r"^The database stopped: .*\.$") as caught:
        import_interactions(query(postgres, text), store, progress=progress)
    assert "\n" not in str(caught.value)
    assert cut[-1] < 5_000_000
    assert store.current_snapshot() == before


@pytest.mark.postgres
def test_a_password_may_come_from_variables_and_files(
    server: PostgresServer, commands: CommandLine, tmp_path: Path
) -> None:
    """From PGPASSWORD, from PGPASSFILE and with the URL from a variable."""
    secrets = tmp_path / "pgpass"
    escaped = PASSWORD.replace(":", r"\:")
    secrets.write_text(f"*:*:*:{USER}:{escaped}\n")
    secrets.chmod(0o600)
    for source, environ in (
        (server.url, {"PGPASSWORD": PASSWORD}),
        (server.url, {"PGPASSFILE": str(secrets)}),
        ("env:SHOP", {"SHOP": server.url_with(PASSWORD)}),
    ):
        ended = commands.call("import", source, "--query", EVERYTHING, "--json", environ=environ)
        assert (ended.code, ended.err) == (0, ""), ended.err
        assert ended.objects[0]["interactions"] == 3


@pytest.mark.postgres
@pytest.mark.parametrize("wrong", ["hunter/2 :@", USER])
def test_a_wrong_password_is_not_repeated(server: PostgresServer, commands: CommandLine, wrong: str) -> None:
    """Exit 1 and one sentence, in which an equal user name is hidden too."""
    ended = commands.call("import", "env:SHOP", "--query", EVERYTHING, environ={"SHOP": server.url_with(wrong)})
    assert (ended.code, ended.out) == (1, "")
    assert "password authentication failed" in ended.err
    assert ended.err.count("\n") == 1
    for secret in (wrong, quote(wrong, safe="")):
        assert secret not in ended.err


@pytest.mark.postgres
def test_a_missing_password_is_asked_for(server: PostgresServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the variables that take it."""
    monkeypatch.setenv("PGPASSFILE", "/dev/null")
    with pytest.raises(SourceError, match=r"no password supplied; set PGPASSWORD or PGPASSFILE\.$"):
        import_interactions(query(server, EVERYTHING), store)


@pytest.mark.postgres
def test_ctrl_c_reaches_the_database(postgres: PostgresServer, commands: CommandLine) -> None:
    """The command exits with 130, and its query is cancelled."""
    asked = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()"
    process = commands.start("import", postgres.url, "--query", "select pg_sleep(600)::text as user_id, 1 as item_id")
    try:
        wait_until(lambda: postgres.run(asked) == [(1,)])
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "Stopped. Nothing was imported.\n")
    wait_until(lambda: postgres.run(asked) == [(0,)])


@pytest.mark.postgres
def test_ctrl_c_is_not_lost_between_asking_and_waiting(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C before the wait for the query cancels the query too."""
    table = QueryTable(query(postgres, "select pg_sleep(600)::text as user_id"))
    real = futures.ThreadPoolExecutor.submit

    def submit(
        self: futures.ThreadPoolExecutor, call: Callable[..., object], *arguments: object
    ) -> "futures.Future[object]":
        asked = real(self, call, *arguments)
        if "pg_sleep" in str(arguments):
            raise KeyboardInterrupt
        return asked

    monkeypatch.setattr(futures.ThreadPoolExecutor, "submit", submit)
    with pytest.raises(KeyboardInterrupt):
        list(table.batches(["user_id"], lambda *_: None))
    assert postgres.run(
        "select count(*) from pg_stat_activity where query like 'COPY%sleep%' and state = 'active'"
        " and pid <> pg_backend_pid()"
    ) == [(0,)]
