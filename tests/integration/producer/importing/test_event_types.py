"""Event types and ratings give rows their weights and roles, whatever way the rows come."""

import csv
import os
import tempfile
import threading
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckoner.producer.importing import (
    Columns,
    ImportLimits,
    Options,
    Repeats,
    Rules,
    earlier,
    import_interactions,
    parse_positive,
    preview_interactions,
)
from reckoner.producer.importing.judging.roles import TypeRows
from reckoner.producer.importing.merging import collecting
from reckoner.shared.errors import SourceError, UsageError
from reckoner.shared.event_types import BUILT_IN, EventType, EventTypes
from reckoner.shared.store.location import open_store
from reckoner.shared.store.protocol import Store
from tests.commands import CommandLine
from tests.imports import reasons
from tests.snapshots import current, interactions, left_out

HEADER = ("user", "item", "event", "weight", "time")
SHOP = EventTypes(
    {**BUILT_IN, "purchase": EventType(4.0), "cart": EventType(2.0, "signal"), "return": EventType(4.0)},
    default=EventType(0.5, "signal"),
)
SUBTRACTING = EventTypes({**SHOP.by_name, "return": EventType(4.0, nonpositive="subtract")}, SHOP.default)
TYPED = Columns(type="event")
BOTH = Columns(type="event", weight="weight")


class Row(NamedTuple):
    """A row of a shop's file."""

    user: str
    item: str
    event: str
    weight: float
    time: int


ROWS = st.lists(
    st.builds(
        Row,
        st.sampled_from(["7", "10", "a", "Ü", "z z"]),
        st.sampled_from(["1", "02", "x", "é"]),
        st.sampled_from([*SHOP.by_name, "share"]),
        st.sampled_from([-1.0, 0.0, 0.5, 1.0, 1.0, 2.0]),
        st.integers(1_600_000_000, 1_600_000_003),
    ),
    min_size=1,
    max_size=30,
)


class Expected(NamedTuple):
    """What a snapshot is to hold."""

    interactions: dict[tuple[str, str], tuple[float, int]]
    left: set[tuple[str, str]]


def plainly(rows: Sequence[Row], rule: Repeats, types: EventTypes) -> Expected:
    """Weights and roles row by row, pair by pair."""
    counted, roles = defaultdict[tuple[str, str], list[tuple[int, float]]](list), defaultdict[Any, set[str]](set)
    for row in rows:
        event = types.find(row.event)
        assert event is not None
        if event.role != "exclude":
            if row.weight <= 0 and event.nonpositive != "subtract":
                continue
            counted[row.user, row.item].append((row.time * 1000, row.weight * event.weight))
        roles[row.user, row.item].add(event.role)
    found = {}
    for pair, entries in counted.items():
        ordered = [weight for _, weight in sorted(entries, key=lambda entry: entry[0])]
        weight = {"last": ordered[-1], "sum": sum(ordered), "max": max(ordered)}[rule]
        if weight > 0:
            found[pair] = (weight, max(time for time, _ in entries))
        else:
            roles[pair] &= {"exclude"}
    return Expected(found, {pair for pair, those in roles.items() if those & {"history", "exclude"}})


def write(path: Path, rows: Sequence[Row]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


def check(store: Store, expected: Expected) -> None:
    snapshot = current(store)
    assert interactions(snapshot) == expected.interactions
    assert left_out(snapshot) == expected.left
    pairs = expected.interactions.keys() | expected.left
    users, items = ({pair[side] for pair in pairs} for side in (0, 1))
    assert [snapshot.users[user] for user in range(snapshot.n_users)] == sorted(users, key=str.encode)
    assert [snapshot.items[item] for item in range(snapshot.n_items)] == sorted(items, key=str.encode)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, rule=st.sampled_from(["last", "sum", "max"]), on_disk=st.booleans())
def test_a_snapshot_has_what_each_row_says(rows: list[Row], rule: Repeats, on_disk: bool) -> None:
    """As a plain model says it, for each rule, with rows in memory and on disk, in one part and several."""
    types = SUBTRACTING if rule == "sum" else SHOP
    expected = plainly(rows, rule, types)
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patched:
        for name in ("PART_ROWS", "AT_ONCE", "IN_MEMORY") if on_disk else ():
            patched.setattr(collecting, name, 2)
        store, file = open_store((Path(directory) / "store").as_uri()), write(Path(directory) / "rows.csv", rows)
        options: dict[str, Any] = {"columns": BOTH, "repeats": rule, "rules": Rules(types=types)}
        if not expected.interactions:
            with pytest.raises(SourceError, match=r"no good row|no row that counts"):
                import_interactions(file, store, **options)
            return
        report = import_interactions(file, store, **options)
        reasons(report)
        check(store, expected)
        assert report.excluded == len(expected.left - expected.interactions.keys())
        counted = [row for row in rows if types.find(row.event).role == "exclude" or row.weight > 0]  # type: ignore[union-attr]
        if types is SHOP:
            assert sum(found.rows for found in report.types) == len(counted)


@settings(max_examples=20, deadline=None)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 30), min_size=1, max_size=3))
@pytest.mark.parametrize("rule", ["last", "sum", "max"])
def test_parts_that_are_appended_give_the_snapshot_of_all_rows(rule: Repeats, rows: list[Row], cuts: list[int]) -> None:
    """The roles of a snapshot's rows are found in it."""
    # There would be nothing to append to without a row that counts.
    rows = [Row("a", "x", "view", 1.0, 1_600_000_000), *rows]
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patched:
        patched.setattr(earlier, "AT_ONCE", 3)
        root = Path(directory)
        whole, store = (open_store((root / name).as_uri()) for name in ("whole", "parts"))
        options: dict[str, Any] = {"columns": BOTH, "repeats": rule, "rules": Rules(types=SHOP)}
        at_once = import_interactions(write(root / "all.csv", rows), whole, **options)
        bounds, before = [0, *sorted({max(1, min(cut, len(rows))) for cut in cuts}), len(rows)], 0
        for start, end in pairwise(bounds):
            report = import_interactions(write(root / "part.csv", rows[start:end]), store, append=True, **options)
            reasons(report)
            assert report.earlier == before
            before = report.interactions + report.excluded
        assert store.current_snapshot() == at_once.snapshot_id


LINES = """user,item,event,time
a,x,view,1
a,x,purchase,2
a,y,view,3
b,x,cart,3
b,y,dislike,4
c,z,dislike,5
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop's file."""
    (tmp_path / "shop.csv").write_text(LINES)
    return tmp_path / "shop.csv"


def test_a_shops_file(shop: Path, store: Store) -> None:
    """What was bought counts and is left out, what was viewed may be shown, what is disliked is only left out."""
    report = import_interactions(shop, store, columns=TYPED, rules=Rules(types=SHOP))
    snapshot = current(store)
    assert interactions(snapshot) == {("a", "x"): (4, 2000), ("a", "y"): (1, 3000), ("b", "x"): (2, 3000)}
    assert left_out(snapshot) == {("a", "x"), ("b", "y"), ("c", "z")}
    assert (snapshot.users.find("c"), snapshot.items.find("z")) == (2, 2)
    assert (report.interactions, report.excluded, report.repeated, report.users, report.items) == (3, 2, 1, 3, 3)
    assert report.types == [
        TypeRows("cart", "signal", 2.0, 1),
        TypeRows("dislike", "exclude", 1.0, 2),
        TypeRows("purchase", "history", 4.0, 1),
        TypeRows("view", "signal", 1.0, 2),
    ]
    assert reasons(report) == []


def test_a_pipe_gives_the_snapshot_of_the_file(shop: Path, tmp_path: Path, store: Store) -> None:
    """Also from several files, and from one that is read in another order."""
    rules = Rules(types=SHOP)
    wanted = import_interactions(shop, store, columns=TYPED, rules=rules).snapshot_id
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(LINES,))
    writer.start()
    assert import_interactions(pipe, store, columns=TYPED, rules=rules).snapshot_id == wanted
    writer.join()
    header, *lines = LINES.splitlines(keepends=True)
    parts = [tmp_path / f"part {number}.csv" for number in range(2)]
    for number, part in enumerate(parts):
        part.write_text(header + "".join(lines[1 - number :: 2]))
    assert import_interactions([*parts], store, columns=TYPED, rules=rules).snapshot_id == wanted


def test_rows_of_the_role_history_give_the_snapshot_of_rows_without_types(shop: Path, store: Store) -> None:
    """A column of types that is not asked for is not read, but named."""
    plain = import_interactions(shop, store)
    assert plain.unused_types == "event"
    types = EventTypes({}, default=EventType())
    typed = import_interactions(shop, store, columns=TYPED, rules=Rules(types=types))
    assert typed.snapshot_id == plain.snapshot_id
    assert typed.types == [TypeRows("default", "history", 1.0, 6)]
    assert typed.unused_types is None
    assert current(store).left_items is None


def test_rows_of_signals_alone_leave_nothing_out(tmp_path: Path, store: Store) -> None:
    """Which is another snapshot than one without roles."""
    file = tmp_path / "views.csv"
    file.write_text("user,item,type\na,x,view\n")
    plain = import_interactions(file, store).snapshot_id
    assert import_interactions(file, store, columns=Columns(type="type")).snapshot_id != plain
    assert left_out(current(store)) == set()


def test_unknown_types_are_bad_and_the_nearest_is_named(tmp_path: Path, store: Store) -> None:
    """The rejected rows are written with their types; a default takes them all."""
    file, rejects = tmp_path / "shop.csv", tmp_path / "rejects.csv"
    names = ["view", "View", " view", "", "NULL", "share"]
    file.write_text("user,item,event\n" + "".join(f'a,{place},"{name}"\n' for place, name in enumerate(names)))
    report = import_interactions(file, store, columns=TYPED, rejects=rejects)
    unknown = "the event type is not in [event_types]"
    assert reasons(report) == [
        ("bad", f"{unknown} (did you mean view?)", 2, [3, 4]),
        ("bad", "the event type is missing", 2, [5, 6]),
        ("bad", unknown, 1, [7]),
    ]
    assert [found.value for found in report.rejected] == ["'View'", None, "'share'"]
    with rejects.open() as written:
        assert sorted(row["event"] for row in csv.DictReader(written)) == sorted(names[1:])
    types = EventTypes(default=EventType(role="signal"))
    assert reasons(import_interactions(file, store, columns=TYPED, rules=Rules(types=types))) == []


@pytest.mark.parametrize("types", [EventTypes(), EventTypes(default=EventType(role="history"))])
def test_impressions_are_left_out(tmp_path: Path, store: Store, types: EventTypes) -> None:
    """A default does not take them: what was only shown would count as had."""
    file = tmp_path / "shop.csv"
    file.write_text("user,item,event\na,x,impression\na,y,view\na,z,impression\n")
    report = import_interactions(file, store, columns=TYPED, rules=Rules(types=types))
    why = "it is an impression, which counts for rotation only, where it is recorded"
    assert reasons(report) == [("left_out", why, 2, [2, 4])]
    assert interactions(current(store)).keys() == {("a", "y")}


def test_a_weight_is_not_looked_at_where_it_does_not_count(tmp_path: Path, store: Store) -> None:
    """Of those that count, the product is judged."""
    file = tmp_path / "shop.csv"
    file.write_text(
        "user,item,event,weight\na,x,purchase,0.5\na,y,dislike,\na,z,dislike,-1\na,w,purchase,\na,v,purchase,2e38\n"
    )
    report = import_interactions(file, store, columns=BOTH, rules=Rules(types=SHOP))
    assert reasons(report) == [
        ("bad", "the weight is too large", 1, [6]),
        ("left_out", "the weight is missing", 1, [5]),
    ]
    assert interactions(current(store)) == {("a", "x"): (2.0, None)}
    assert left_out(current(store)) == {("a", "x"), ("a", "y"), ("a", "z")}


def test_weights_of_zero_or_below_follow_the_rule_of_their_type(tmp_path: Path, store: Store) -> None:
    """Types without one follow that of all rows."""
    file = tmp_path / "shop.csv"
    events = ("view", "purchase", "return")
    file.write_text(
        "user,item,event,weight\na,x,view,1\n"
        + "".join(f"a,{event},{event},{n}\n" for event in events for n in (0, 3, -3))
    )
    types = EventTypes(
        {
            "view": EventType(role="signal"),
            "purchase": EventType(nonpositive="bad"),
            "return": EventType(nonpositive="subtract"),
        }
    )
    report = import_interactions(file, store, columns=BOTH, rules=Rules(types=types), repeats="sum")
    assert reasons(report) == [
        ("bad", "the weight is zero", 1, [6]),
        ("bad", "the weight is below zero", 1, [8]),
        ("left_out", "the weights of the user and the item sum to zero or below", 3, [9, 10, 11]),
        ("left_out", "the weight is zero", 1, [3]),
        ("left_out", "the weight is below zero", 1, [5]),
    ]
    assert left_out(current(store)) == {("a", "purchase")}


def test_a_cancelled_pair_stays_left_out_only_if_a_row_excludes_it(tmp_path: Path, store: Store) -> None:
    """That row is a good one; the others of the pair are left out."""
    file = tmp_path / "shop.csv"
    returned = "".join(f"a,{item},return,1\na,{item},return,-1\n" for item in "yz")
    file.write_text(f"user,item,event,weight\na,x,purchase,1\n{returned}a,y,dislike,\n")
    report = import_interactions(file, store, columns=BOTH, rules=Rules(types=SUBTRACTING), repeats="sum")
    assert reasons(report) == [
        ("left_out", "the weights of the user and the item sum to zero or below", 4, [3, 4, 5, 6])
    ]
    assert interactions(current(store)) == {("a", "x"): (4.0, None)}
    assert left_out(current(store)) == {("a", "x"), ("a", "y")}
    assert (report.excluded, report.items) == (1, 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"columns": BOTH, "rules": Rules(types=SUBTRACTING)},
            'nonpositive = "subtract" of the event type return needs --repeats sum.',
        ),
        (
            {"columns": BOTH, "rules": Rules(types=SUBTRACTING), "repeats": "sum", "append": True},
            'nonpositive = "subtract" of the event type return cannot be used with --append, since a snapshot does not '
            "hold sums below zero. Import all rows at once.",
        ),
        (
            {"rules": Rules(positive=parse_positive(">=4"))},
            "--positive needs the column of the ratings. Name it with --weight.",
        ),
        ({"rules": Rules(below="exclude")}, "--below exclude needs --positive, such as --positive '>=4'."),
        (
            {"columns": BOTH, "rules": Rules(positive=parse_positive(">=4"))},
            "Either --positive or --type gives rows their roles. Remove one of them.",
        ),
        (
            {
                "columns": Columns(weight="weight"),
                "rules": Rules(positive=parse_positive(">=4"), nonpositive="subtract"),
                "repeats": "sum",
            },
            "Ratings are not summed. Remove --nonpositive subtract, or --positive.",
        ),
    ],
)
def test_rules_that_do_not_go_together_are_refused(
    shop: Path, store: Store, options: dict[str, Any], said: str
) -> None:
    """In one sentence; a rule of a type counts only where types are read."""
    with pytest.raises(UsageError) as refused:
        import_interactions(shop, store, **options)
    assert str(refused.value) == said
    import_interactions(shop, store, rules=Rules(types=SUBTRACTING))


def test_a_file_without_a_row_that_counts_is_no_import(tmp_path: Path, store: Store) -> None:
    """Nobody could get a list from it."""
    file = tmp_path / "shop.csv"
    file.write_text("user,item,event\na,x,dislike\n")
    with pytest.raises(SourceError) as refused:
        import_interactions(file, store, columns=TYPED)
    assert str(refused.value) == "shop.csv has no row that counts: the role of each good row is exclude."


RATINGS = "user,item,rating,time\na,x,5,1\na,y,4,2\na,z,3.5,3\nb,x,0,4\nb,y,-1,5\nb,z,,6\nb,z,many,7\na,x,1,8\n"
RATED = Columns(weight="rating")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (">=4", {("a", "x"): 1000, ("a", "y"): 2000}),
        (" > 4 ", {("a", "x"): 1000}),
        ("<=3.5", {("a", "x"): 8000, ("a", "z"): 3000, ("b", "x"): 4000, ("b", "y"): 5000}),
        ("<0", {("b", "y"): 5000}),
        ("=3.5", {("a", "z"): 3000}),
    ],
)
@pytest.mark.parametrize("below", ["drop", "exclude"])
def test_positive_ratings_count_alike(
    tmp_path: Path, store: Store, text: str, kept: dict[tuple[str, str], int], below: Any
) -> None:
    """The others are left out, or their items are left out of lists; what is no number is neither."""
    file = tmp_path / "ratings.csv"
    file.write_text(RATINGS)
    positive = parse_positive(text)
    report = import_interactions(file, store, columns=RATED, rules=Rules(positive=positive, below=below))
    found = current(store)
    assert interactions(found) == {pair: (1.0, time) for pair, time in kept.items()}
    all_pairs = {("a", "x"), ("a", "y"), ("a", "z"), ("b", "x"), ("b", "y")}
    assert left_out(found) == (all_pairs if below == "exclude" else set(kept))
    rejected = {(kind, reason): rows for kind, reason, rows, _ in reasons(report)}
    assert rejected.pop(("bad", "the weight is not a number")) == 1
    assert rejected.pop(("left_out", "the weight is missing")) == 1
    if below == "drop":
        assert rejected == {("left_out", f"the weight is not {positive}"): 6 - len(kept)}
        assert (report.types, found.left_items) == ([], None)
    else:
        assert rejected == {}
        assert [(each.role, each.rows) for each in report.types] == [("history", len(kept)), ("exclude", 6 - len(kept))]


def test_the_command_line_says_what_it_found(shop: Path, tmp_path: Path) -> None:
    """Without --type, which column it may be; with it, the rows by type and role, also in a dry run."""
    commands = CommandLine(home=tmp_path / "home", event_types='{"cart": {"weight": 2, "role": "signal"}}')
    said = "Column event is not used. If it says what users did, such as view or purchase, use --type event."
    assert said in commands.call("import", str(shop), "--dry-run").err
    for options in (["--dry-run"], []):
        ran = commands.call("import", str(shop), "--type", "event", *options)
        assert (ran.code, ran.err) == (0, "")
        lines = ran.out.splitlines()
        assert [line.split(maxsplit=2)[2] for line in lines if line.startswith("by type")] == [
            "cart: 1 row, signal, weight 2",
            "dislike: 2 rows, exclude",
            "purchase: 1 row, history, weight 1",
            "view: 2 rows, signal, weight 1",
        ]
        assert any(
            line.startswith("excluded") and line.endswith("2 items of users, which do not count") for line in lines
        )


@pytest.mark.parametrize("rule", ["4", "=>4"])
def test_an_invalid_rule_for_ratings_is_one_sentence(shop: Path, tmp_path: Path, rule: str) -> None:
    """With the exit code of other mistakes in a command."""
    ran = CommandLine(home=tmp_path / "home").call("import", str(shop), "--weight", "time", "--positive", rule)
    assert ran.code == CommandLine(home=tmp_path / "home").call("import", str(shop), "--keep", "abc").code
    assert ran.err.startswith(f"--positive {rule} is invalid. Write one of >=, ")


def test_a_preview_has_the_type_and_the_role_of_the_first_rows(shop: Path) -> None:
    """Beside the weight that they have by them."""
    options = Options(columns=TYPED, rules=Rules(types=SHOP))
    preview = preview_interactions(shop, None, options, ImportLimits())
    assert [(row.type, row.role, row.weight) for row in preview.first_rows[:2]] == [
        ("view", "signal", 1.0),
        ("purchase", "history", 4.0),
    ]
    assert preview.columns["type"] == "event"
