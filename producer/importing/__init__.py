"""How do tables become a snapshot? Files and databases are imported as the current one."""

from reckoner.producer.importing.arrow_tables import Frame
from reckoner.producer.importing.columns import Columns
from reckoner.producer.importing.databases import Query
from reckoner.producer.importing.dialect import Form, Reading
from reckoner.producer.importing.gate import ImportLimits
from reckoner.producer.importing.gathering import Options
from reckoner.producer.importing.pipeline import import_interactions
from reckoner.producer.importing.preview import Preview, preview_interactions
from reckoner.producer.importing.repeats import Repeats
from reckoner.producer.importing.reports import ImportReport, ReadReport
from reckoner.producer.importing.rules import MISSING, Rules
from reckoner.producer.importing.urls import find_database, is_database

__all__ = [
    "MISSING",
    "Columns",
    "Form",
    "Frame",
    "ImportLimits",
    "ImportReport",
    "Options",
    "Preview",
    "Query",
    "ReadReport",
    "Reading",
    "Repeats",
    "Rules",
    "find_database",
    "import_interactions",
    "is_database",
    "preview_interactions",
]
