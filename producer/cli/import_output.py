"""Prints what an import did, or would do."""

from typing import TYPE_CHECKING, Any

from reckoner.producer.cli.output import print_facts, print_json, print_line, print_nonempty_columns, say
from reckoner.producer.formats import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reckoner.producer.importing import EventsReport, ImportReport, ItemsReport, Preview, ReadReport
    from reckoner.producer.importing.gathering import FirstRow
    from reckoner.producer.importing.judging.rejected import Rejected
    from reckoner.producer.importing.judging.roles import TypeRows
    from reckoner.producer.importing.preview import Spread, Times

# Reasons printed for bad rows, and for rows left out; and columns that are not used.
REASONS, COLUMNS = 5, 20
# Reasons for which rows without a rating are left out.
UNRATED = ("the weight is zero", "the weight is below zero", "the weight is missing")


def print_report(report: "ImportReport", took_s: float, as_json: bool) -> None:
    """Print what an import did."""
    for sentence in _remarks(report):
        say(sentence)
    if as_json:
        print_json(_as_object(report))
        return
    print_facts(
        [
            (
                "snapshot",
                f"{report.snapshot_id}, " + ("not the current one" if report.refused else "now the current one"),
            ),
            *_counts(report),
            ("took", f"{took_s:.1f} s"),
        ]
    )


def print_preview(preview: "Preview", took_s: float, as_json: bool) -> None:
    """Print what an import would do."""
    import msgspec

    for sentence in _remarks(preview):
        say(sentence)
    if as_json:
        print_json(msgspec.to_builtins(preview))
        return
    if preview.columns:
        columns = ", ".join(f"{role}: {name}" for role, name in preview.columns.items())
        others = ", ".join(preview.other_columns[:COLUMNS]) + (", ..." if len(preview.other_columns) > COLUMNS else "")
        print_facts([("columns", columns), *([("others", others)] if others else [])])
        print_line("")
    rows = [_cells(row) for row in preview.first_rows]
    print_nonempty_columns(["user", "item", "type", "weight", "role", "time", "title"], rows, numbers=["weight"])
    if rows:
        print_line("")
    print_facts(
        [
            *_counts(preview),
            ("by user", _spread(preview.by_user)),
            ("by item", _spread(preview.by_item)),
            *(_times(preview.times) if preview.times else []),
            ("a fit", _fit(preview)),
            ("import", _verdict(preview)),
            ("took", f"{took_s:.1f} s; nothing was written"),
        ]
    )


def _fit(preview: "Preview") -> str:
    counted = f"it counts {format_count(preview.pairs, 'pair')} of items"
    return f"builds {preview.fit} in about {max(preview.fit_s, 1):,.0f} s of one core; {counted}"


def _counts(report: "ReadReport") -> list[tuple[str, str]]:
    parts = [("repeated", report.repeated), ("left out", report.left_out), ("bad", report.bad_rows)]
    rows = [f"{report.rows:,}", *(f"{count:,} {what}" for what, count in parts if count)]
    interactions = format_count(report.interactions, "interaction")
    return [
        ("holds", f"{interactions} of {format_count(report.users, 'user')} with {format_count(report.items, 'item')}"),
        *([("read", f"{report.form.words()}, {format_count(report.rows, 'row')}")] if report.form else []),
        *([("events", _events(report.events))] if report.events else []),
        *([("before", format_count(report.earlier, "interaction"))] if report.earlier else []),
        ("rows", ", ".join(rows)),
        *([("tags", f"{report.tagged:,} of {format_count(report.items, 'item')} have tags")] if report.tagged else []),
        *([("items", _items_file(report.items_file))] if report.items_file else []),
        *(("by type", _type(each)) for each in report.types),
        *(
            [("excluded", f"{format_count(report.excluded, 'item')} of users, which do not count")]
            if report.excluded
            else []
        ),
    ]


def _events(events: "EventsReport") -> str:
    """The recorded events of an import."""
    if not events.taken:
        return f"the source has those up to {events.mark}"
    bad = f", {events.bad:,} bad" if events.bad else ""
    return f"{format_count(events.rows, 'event')} up to {events.mark}{bad}"


def _items_file(file: "ItemsReport") -> str:
    parts = [("left out", file.left_out), ("bad", file.bad_rows)]
    described = f"{format_count(file.rows, 'row')} of the items file describe {format_count(file.items, 'item')}"
    others = [f"{file.others:,} without interactions"] if file.others else []
    return ", ".join([described, *others, *(f"{count:,} {what}" for what, count in parts if count)])


def _type(found: "TypeRows") -> str:
    """The rows of an event type, or of a rating."""
    weight = "" if found.role == "exclude" else f", weight {found.weight:g}"
    return f"{found.name}: {format_count(found.rows, 'row')}, {found.role}{weight}"


def _cells(row: "FirstRow") -> list[str]:
    time = "" if row.time is None else _date(row.time)
    return [row.user, row.item, row.type or "", f"{row.weight:g}", row.role or "", time, row.title or ""]


def _date(ms: int) -> str:
    """A time in UTC, to the second."""
    import numpy as np

    return str(np.datetime64(ms, "ms").astype("datetime64[s]")).replace("T", " ")


def _spread(spread: "Spread") -> str:
    return f"median {spread.median:,}, nine of ten at most {spread.ninety:,}, largest {spread.largest:,}"


def _times(times: "Times") -> list[tuple[str, str]]:
    counts = ", ".join(f"{name}: {count:,}" for name, count in times.counts.items())
    return [("times", f"{_date(times.first)} to {_date(times.last)} (UTC)"), (f"by {times.unit}", counts)]


def _verdict(preview: "Preview") -> str:
    before = preview.compared_with
    compared = (
        f", compared with {before.interactions:,} interactions of {format_count(before.users, 'user')} with "
        f"{format_count(before.items, 'item')} before"
        if before
        else ", with no earlier snapshot to compare with"
    )
    return ("would be refused" if preview.refused else "would pass") + compared


def _as_object(report: "ImportReport") -> dict[str, Any]:
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(report)
    return {"snapshot": fields.pop("snapshot_id"), **fields}


def _remarks(report: "ReadReport") -> "Iterator[str]":
    """What happened to columns and rows, a sentence or a reason a line."""
    yield from _about_columns(report)
    yield from _about_rows(report)


def _about_columns(report: "ReadReport") -> "Iterator[str]":
    if report.not_times is not None:
        why = report.why_not_times or "Not all its values are times"
        yield f"Skipped column {report.not_times}: {why.rstrip('.')}."
    if report.row_in_header is not None:
        yield (
            f"The first line was read as a header, but {report.row_in_header} looks like a value. If this line is a "
            "row, use --no-header. If the header comes again below, remove it there."
        )
    if report.unused_types is not None:
        yield (
            f"Column {report.unused_types} is not used. If it says what users did, such as view or purchase, use "
            f"--type {report.unused_types}."
        )
    for role, example in report.without_zeros.items():
        shortened = example.partition(".")[0]
        yield f"Each {role} is a whole number, so {example} is the {role} {shortened}."
    if report.no_titles is not None:
        yield f"No item has a title: column {report.no_titles} has only missing values."
    if report.decimal_comma is not None:
        yield f"The weights have decimal commas, such as {report.decimal_comma}."
    if report.item_list is not None:
        yield (
            f"Most items look like lists, such as {report.item_list!r}, and a list is one item here. Write a row for "
            "each item of a list: docs/importing.md shows how a filter does."
        )
    for suspect in report.suspects:
        yield (
            f"The {suspect.kind} {suspect.id!r} has {suspect.share:.1%} of the interactions. If it stands for many, "
            "leave its rows out."
        )


def _about_rows(report: "ReadReport") -> "Iterator[str]":
    from reckoner.producer.importing.reading.records import NO_PARTNER

    yield from _reasons(report.rejected, report.unit)
    if report.items_file is not None:
        yield from _reasons(report.items_file.rejected, report.items_file.unit, " of the items file")
    if report.replaced_mark is not None:
        yield (
            f"The current snapshot had recorded events up to {report.replaced_mark}, and this one has the rows of the "
            "source only. To have events too, use --events; if the source has them, use --source-has-events."
        )
    if report.events is not None and report.events.bad:
        place = f"{report.events.first_bad}{', ...' if report.events.bad > 1 else ''}"
        yield f"{format_count(report.events.bad, 'event')} bad: the entry of the stream is invalid ({place})"
    if any(reason.reason == NO_PARTNER for reason in report.rejected):
        yield "If this file quotes nothing, and quotation marks are ordinary characters, use --quote none."
    unrated = sum(found.rows for found in report.rejected if found.reason in UNRATED and found.kind == "left_out")
    if 2 * unrated > report.left_out and any("--max-left-out" in reason for reason in report.refused):
        yield (
            f"{unrated:,} rows have no weight above zero. To have them too, import without --weight: each row then "
            f"weighs 1. To leave them out, add --max-left-out {min(1, report.left_out / report.rows + 0.01):.2f}."
        )


def _reasons(rejected: "Sequence[Rejected]", unit: str, of_file: str = "") -> "Iterator[str]":
    for kind, words in (("bad", "bad"), ("left_out", "left out")):
        found = [reason for reason in rejected if reason.kind == kind]
        for reason in found[:REASONS]:
            yield f"{format_count(reason.rows, 'row')}{of_file} {words}: {_reason(reason, unit)}"
        more = sum(reason.rows for reason in found[REASONS:])
        if more:
            rows = f"{format_count(more, 'row')}{of_file}"
            yield f"{rows} {words} for other reasons. Use --json or --rejects to see them."


def _reason(found: "Rejected", unit: str) -> str:
    """A reason with an example and the first places."""
    example = "" if found.value is None else f", such as {found.value}" if found.rows > 1 else f": {found.value}"
    more = ", ..." if found.rows > len(found.first) else ""
    if found.files:
        places = ", ".join(f"{unit} {row} of {file}" for row, file in zip(found.first, found.files, strict=True))
    else:
        places = f"{unit}{'s' if found.rows > 1 else ''} {', '.join(map(str, found.first))}"
    return f"{found.reason}{example} ({places}{more})"
