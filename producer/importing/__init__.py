"""How do tables become a snapshot? By `reading`, `judging` and `merging` rows; `pipeline` publishes them."""

from reckoner.producer.importing.gate import ImportLimits
from reckoner.producer.importing.gathering import Options
from reckoner.producer.importing.item_file import ItemColumns, ItemsReport
from reckoner.producer.importing.judging.ratings import Positive, parse_positive
from reckoner.producer.importing.judging.rules import MISSING, Rules
from reckoner.producer.importing.pipeline import import_interactions, run_import
from reckoner.producer.importing.preview import Preview, preview_interactions
from reckoner.producer.importing.reading.arrow_tables import Frame
from reckoner.producer.importing.reading.columns import Columns
from reckoner.producer.importing.reading.databases import Query
from reckoner.producer.importing.reading.forms import Form, Reading
from reckoner.producer.importing.reading.urls import find_database, is_database
from reckoner.producer.importing.recorded import EventsReport, RecordedEvents, read_recorded
from reckoner.producer.importing.reports import ImportReport, ReadReport
from reckoner.shared.store.repeats import Repeats

__all__ = [
    "MISSING",
    "Columns",
    "EventsReport",
    "Form",
    "Frame",
    "ImportLimits",
    "ImportReport",
    "ItemColumns",
    "ItemsReport",
    "Options",
    "Positive",
    "Preview",
    "Query",
    "ReadReport",
    "Reading",
    "RecordedEvents",
    "Repeats",
    "Rules",
    "find_database",
    "import_interactions",
    "is_database",
    "parse_positive",
    "preview_interactions",
    "read_recorded",
    "run_import",
]
