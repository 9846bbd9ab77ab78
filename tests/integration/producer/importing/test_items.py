"""Tags come with the interactions or with a file of items, which also has titles and when items are available."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reckoner.importing import Columns, ItemColumns, Options, import_interactions, open_store, preview_interactions
from reckoner.producer.importing import ImportReport, Rules
from reckoner.shared.errors import NotTimesError, SourceError
from reckoner.shared.store.catalogue import ALWAYS, FOR_EVER
from reckoner.shared.store.protocol import Store
from tests.commands import CommandLine
from tests.snapshots import current, titles

BOUGHT = "user,item,title\na,1,one\na,2,two\nb,2,\nb,3,three\n"
DAY_MS = 86_400_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "the store").as_uri())


def write(directory: Path, text: str, name: str = "bought.csv") -> Path:
    path = directory / name
    path.write_text(text)
    return path


def tags(store: Store) -> dict[str, list[str]]:
    snapshot = current(store)
    return {snapshot.items[item]: snapshot.catalogue.tags_of(item) for item in range(snapshot.n_items)}


def with_items(tmp_path: Path, store: Store, text: str, name: str = "products.csv", **options: Any) -> ImportReport:
    bought = write(tmp_path, BOUGHT)
    return import_interactions(bought, store, items=write(tmp_path, text, name), **options)


def test_an_item_has_the_tags_of_all_its_rows(tmp_path: Path, store: Store) -> None:
    """They are separated; blanks around, empty ones and words for missing values do not count."""
    text = "user,item,kind\na,1, shoes | new\na,2,\nb,1,sale||shoes\nb,3,NULL\nc,2,new\n"
    report = import_interactions(write(tmp_path, text), store, columns=Columns(tags="kind"))
    assert tags(store) == {"1": ["new", "sale", "shoes"], "2": ["new"], "3": []}
    assert report.tagged == 2


def test_the_separator_of_tags_may_be_another(tmp_path: Path, store: Store) -> None:
    """Then a bar is part of a tag."""
    import_interactions(
        write(tmp_path, "user,item,tags\na,1,x|y / z\n"),
        store,
        columns=Columns(tags="tags"),
        rules=Rules(tag_separator="/"),
    )
    assert tags(store) == {"1": ["x|y", "z"]}


def test_without_tags_the_snapshot_is_as_before(tmp_path: Path, store: Store) -> None:
    """A column without a tag, and an items file that says nothing new, change no id."""
    plain = import_interactions(write(tmp_path, BOUGHT), store).snapshot_id
    text = BOUGHT.replace("user,item,title", "user,item,title,tags").replace("\n", ",\n").replace("tags,\n", "tags\n")
    assert import_interactions(write(tmp_path, text), store, columns=Columns(tags="tags")).snapshot_id == plain
    assert with_items(tmp_path, store, "item,title,tags\n1,one,\n").snapshot_id == plain


ROWS: list[dict[str, Any]] = [
    {"user": "a", "item": "1", "tags": ["x|y", "z", None]},
    {"user": "a", "item": "2", "tags": []},
    {"user": "b", "item": "1", "tags": ["new"]},
    {"user": "b", "item": "3", "tags": None},
]
OF_LISTS = {"1": ["new", "x|y", "z"], "2": [], "3": []}


@pytest.mark.parametrize("form", ["frame", "parquet", "lines", "array", "subtracted lines"])
def test_lists_of_tags_are_taken_as_they_are(tmp_path: Path, store: Store, form: str) -> None:
    """A list makes no further rows, and its tags are not split; also where the table is read again."""
    repeats, rules, rows = "last", Rules(), ROWS
    path: Any = tmp_path / "bought"
    columns = Columns(tags="tags")
    if form == "frame":
        path = pd.DataFrame(ROWS)
    elif form == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif form == "array":
        path.write_text(json.dumps(ROWS))
    else:
        if form == "subtracted lines":
            repeats, rules, columns = "sum", Rules(nonpositive="subtract"), Columns(tags="tags", weight="n")
            rows = [*({"n": 1} | row for row in ROWS), {"user": "c", "item": "1", "tags": ["z", "x|y"], "n": -1}]
        path.write_text("\n".join(map(json.dumps, rows)))
    report = import_interactions(path, store, columns=columns, repeats=repeats, rules=rules)  # type: ignore[arg-type]
    assert (report.rows, report.interactions, report.repeated) == (len(rows), 4, 0)
    assert tags(store) == OF_LISTS


def test_a_list_of_items_has_the_tags_of_its_row(tmp_path: Path, store: Store) -> None:
    """A row for each item, and each has the whole list."""
    path = write(tmp_path, json.dumps({"user": "a", "items": ["1", "2"], "tags": ["x", "y", "z"]}), "bought.jsonl")
    import_interactions(path, store, columns=Columns(item="items", tags="tags"))
    assert tags(store) == {"1": ["x", "y", "z"], "2": ["x", "y", "z"]}


def test_tags_within_the_objects_of_a_list_go_with_their_items(tmp_path: Path, store: Store) -> None:
    """As in GA4's export, where each item has tags of its own."""
    rows = [{"user": "a", "items": [{"id": "1", "tags": ["x", "y"]}, {"id": "2", "tags": ["z", "w"]}]}]
    columns = Columns(item="items.id", tags="items.tags")
    import_interactions(pd.DataFrame(rows), store, columns=columns)
    assert tags(store) == {"1": ["x", "y"], "2": ["w", "z"]}


def test_a_tag_that_is_too_long_makes_its_row_bad(tmp_path: Path, store: Store) -> None:
    """As an id that is too long does; many tags that are long together are good."""
    many = "|".join(f"tag {number}" for number in range(200))
    rows = f"user,item,tags\na,1,{many}\na,2,{'é' * 513}\nb,2,ok\n"
    report = import_interactions(write(tmp_path, rows), store, columns=Columns(tags="tags"))
    assert [(found.kind, found.reason, found.first) for found in report.rejected] == [
        ("bad", "a tag is over 1,024 bytes", [3])
    ]
    assert len(tags(store)["1"]) == 200


def test_the_items_file_wins(tmp_path: Path, store: Store) -> None:
    """Its titles and tags replace those of the interactions where it has some; unknown items are counted."""
    bought = write(tmp_path, "user,item,title,tags\na,1,one,old\na,2,two,old\nb,3,three,old\n")
    items = write(tmp_path, "item,title,tags\n1,The One,new|red\n2,,\n9,nine,\n9,nine,x\n8,,y\n", "products.csv")
    report = import_interactions(bought, store, columns=Columns(tags="tags"), items=items)
    assert titles(current(store)) == {"1": "The One", "2": "two", "3": "three"}
    assert tags(store) == {"1": ["new", "red"], "2": ["old"], "3": ["old"]}
    assert report.items_file is not None
    assert (report.items_file.rows, report.items_file.items, report.items_file.others) == (5, 2, 2)
    assert report.items_file.columns == {"item": "item", "title": "title", "tags": "tags"}


@pytest.mark.parametrize("form", ["csv", "parquet", "lines", "frame"])
def test_the_items_file_is_read_by_the_same_readers(tmp_path: Path, store: Store, form: str) -> None:
    """With numbers for ids, lists of tags, and a row for each tag of an item."""
    table = pa.table({"id": [1.0, 2.0, 2.0], "name": ["One", "Two", None], "tags": [["a"], ["b|c"], ["d"]]})
    items: Any = tmp_path / f"items.{form}"
    if form == "csv":
        items.write_text("id;name;tags\n1.0;One;a\n2.0;Two;b|c\n2.0;;d\n")
    elif form == "parquet":
        pq.write_table(table, items)
    elif form == "lines":
        items.write_text("\n".join(map(json.dumps, table.to_pylist())))
    else:
        items = table
    import_interactions(write(tmp_path, BOUGHT), store, items=items)
    assert titles(current(store)) == {"1": "One", "2": "Two", "3": "three"}
    assert tags(store) == {"1": ["a"], "2": ["b", "c", "d"] if form == "csv" else ["b|c", "d"], "3": []}


def test_items_are_available_from_and_until(tmp_path: Path, store: Store) -> None:
    """Dates of any usual form; an item without one is always there, and for ever."""
    text = "sku,available from,available_until\n1,1970-01-02,\n3,,1970-01-03T00:00:00Z\n"
    report = with_items(tmp_path, store, text, item_columns=ItemColumns(item="sku"))
    catalogue = current(store).catalogue
    assert catalogue.available_from is not None
    assert catalogue.available_until is not None
    assert catalogue.available_from.tolist() == [DAY_MS, ALWAYS, ALWAYS]
    assert catalogue.available_until.tolist() == [FOR_EVER, FOR_EVER, 2 * DAY_MS]
    assert report.tagged == 0


def test_bad_rows_of_the_items_file_are_counted_by_reason(tmp_path: Path, store: Store) -> None:
    """They say nothing of an item; `rejects` has them in a file of their own."""
    text = (
        "item,tags,available_from,available_until\n1,a,tomorrow,\n2,b,2020-01-02,2020-01-02\n,c,,\n"
        f"{'x' * 1025},d,,\n3,{'y' * 1025},,\n3,e,,2020-01-02\n3,e\n"
    )
    report = with_items(tmp_path, store, text, rejects=tmp_path / "bad.csv")
    assert report.items_file is not None
    assert (report.items_file.rows, report.items_file.bad_rows, report.items_file.left_out) == (7, 5, 1)
    reasons = {found.reason: found.first for found in report.items_file.rejected}
    assert reasons["available_from is not a time"] == [2]
    assert reasons["it is available until a time that is not after its first one"] == [3]
    assert reasons["a tag is over 1,024 bytes"] == [6]
    assert report.bad_rows == 0
    assert tags(store) == {"1": [], "2": [], "3": ["e"]}
    assert "tomorrow" in (tmp_path / "bad.items.csv").read_text()
    assert "tomorrow" not in (tmp_path / "bad.csv").read_text()


def test_too_many_bad_rows_of_the_items_file_refuse_the_import(tmp_path: Path, commands: CommandLine) -> None:
    """By the limit for rows of the interactions."""
    items = write(tmp_path, "item,title\n1,one\n" + ",x\n" * 3 + f"{'x' * 1025},y\n" * 21, "products.csv")
    ended = commands.call("import", str(write(tmp_path, BOUGHT)), "--items", str(items))
    assert ended.code == 1
    assert "84.0% of the rows of the items file are bad, the limit is 1.0% (--max-bad)" in ended.err
    assert "21 rows of the items file bad: the item is over 1,024 bytes" in ended.err


@pytest.mark.parametrize(
    ("text", "columns", "sentence"),
    [
        ("sku,title\n1,one\n", {}, "products.csv has no item column (item, itemid, movieid, item_id, id). Its columns"),
        ("item,price\n1,2\n", {}, "Name the right one, such as --item-columns tags=item."),
        ("item,title\n1,one\n", {"tags": "kind"}, "products.csv has no column kind (--item-columns)."),
        ("item,title,title\n1,one,two\n", {}, "products.csv has more than one column title."),
    ],
)
def test_an_items_file_without_its_columns_is_refused(
    tmp_path: Path, store: Store, text: str, columns: dict[str, str], sentence: str
) -> None:
    """With a sentence that names the option."""
    with pytest.raises(SourceError) as caught:
        with_items(tmp_path, store, text, item_columns=ItemColumns(**columns))
    assert sentence in str(caught.value)
    assert store.current_snapshot() is None


def test_ambiguous_times_of_the_items_file_are_asked_for(tmp_path: Path, store: Store) -> None:
    """No day is guessed."""
    with pytest.raises(NotTimesError, match=r"In column available_from, '01/02/2010' may have"):
        with_items(tmp_path, store, "item,available_from\n1,01/02/2010\n")


def test_appended_rows_keep_the_facts_of_the_others(tmp_path: Path, store: Store) -> None:
    """New tags of an item replace its earlier ones, and so do its title and its availability."""
    with_items(tmp_path, store, "item,tags,available_until\n1,old|red,1970-01-02\n2,old,1970-01-02\n")
    write(tmp_path, "user,item\nc,2\nc,4\n", "more.csv")
    items = write(tmp_path, "item,title,tags,available_until\n2,second,new,1970-01-03\n4,four,,\n", "more items.csv")
    import_interactions(tmp_path / "more.csv", store, append=True, items=items)
    assert tags(store) == {"1": ["old", "red"], "2": ["new"], "3": [], "4": []}
    assert titles(current(store)) == {"1": "one", "2": "second", "3": "three", "4": "four"}
    catalogue = current(store).catalogue
    assert catalogue.available_until is not None
    assert catalogue.available_until.tolist() == [DAY_MS, 2 * DAY_MS, FOR_EVER, FOR_EVER]


def test_the_command_says_what_the_items_file_has(tmp_path: Path, commands: CommandLine) -> None:
    """And a dry run does too."""
    bought = write(tmp_path, BOUGHT)
    items = write(tmp_path, "sku,what,kinds\n1,One,a;b\n2,Two,b\n7,Seven,\n", "products.csv")
    options = ("--items", str(items), "--item-columns", "item=sku,title=what,tags=kinds", "--tag-separator", ";")
    looked = commands.call("import", str(bought), *options, "--dry-run")
    assert "2 of 3 items have tags" in looked.out
    assert "One" in looked.out
    ended = commands.call("import", str(bought), *options)
    assert ended.code == 0
    assert "3 rows of the items file describe 2 items, 1 without interactions" in ended.out
    shown = json.loads(commands.call("import", str(bought), *options, "--json").out)
    assert shown["items_file"]["columns"] == {"item": "sku", "title": "what", "tags": "kinds"}
    assert shown["tagged"] == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--item-columns", "item=sku"), "--item-columns needs --items."),
        (("--items", "x.csv", "--item-columns", "sku"), "--item-columns takes ROLE=COLUMN, and the roles are item, "),
        (("--items", "x.csv", "--item-columns", "user=sku"), "title, tags, available_from, available_until: user=sku."),
        (("--tag-separator", "", "--tags", "x"), "--tag-separator is empty. Give one or more characters."),
    ],
)
def test_wrong_options_are_one_sentence(
    tmp_path: Path, commands: CommandLine, options: tuple[str, ...], sentence: str
) -> None:
    """With the exit code of a wrong command."""
    ended = commands.call("import", str(write(tmp_path, BOUGHT)), *options)
    assert ended.code == 2
    assert sentence in ended.err


def test_a_preview_reads_the_items_file(tmp_path: Path, store: Store) -> None:
    """Its titles are those of the first rows."""
    items = write(tmp_path, "item,title\n1,The One\n", "products.csv")
    preview = preview_interactions(write(tmp_path, BOUGHT), store, Options(items=items))
    assert preview.first_rows[0].title == "The One"
    assert preview.items_file is not None
    assert preview.items_file.items == 1
