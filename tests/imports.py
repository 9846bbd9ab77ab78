"""What an import reports, in short."""

from reckoner.producer.importing import ImportReport


def reasons(report: ImportReport) -> list[tuple[str, str, int, list[int]]]:
    """Kind, reason, count and first row numbers of what did not become an interaction; all rows are accounted for."""
    rejected = report.bad_rows + report.left_out
    events = report.events.rows if report.events else 0
    assert report.earlier + report.rows + events == report.interactions + report.excluded + report.repeated + rejected
    for kind, count in (("bad", report.bad_rows), ("left_out", report.left_out)):
        assert sum(found.rows for found in report.rejected if found.kind == kind) == count
    return [(found.kind, found.reason, found.rows, found.first) for found in report.rejected]
