"""All texts come back from each format."""

import io

import pandas
import pyarrow as pa
import pytest

from reckoner.producer.exporting.formats import Format, format_of, open_writer
from reckoner.shared.errors import UsageError

TEXTS = [
    'a "quoted" one',
    "back\\slash",
    "two\nlines",
    "tab\t, comma",
    "\x01\x1f\x7f",
    "ユーザー \U0001f600",
    "007",
    "null",
]
ROWS = pa.table(
    {"item": TEXTS, "score": pa.array([0.1, 1.0, 1e-7, 3.4e38, 0.33333334, 12.5, 2.0, 1e-45], pa.float32())}
).append_column("title", pa.array([None, *TEXTS[1:]]))


@pytest.mark.parametrize("name", ["parquet", "csv", "jsonl"])
def test_texts_and_scores_come_back(name: Format) -> None:
    """Those with special characters too; scores are the same float32; a missing title is missing."""
    file = io.BytesIO()
    writer = open_writer(name, file, ROWS.schema)
    for batch in ROWS.to_batches(max_chunksize=3):
        writer.write(batch)
        writer.write(batch.slice(0, 0))
    writer.close()
    data = io.BytesIO(file.getvalue())
    match name:
        case "parquet":
            frame = pandas.read_parquet(data)
        case "csv":
            texts = {"item": str, "title": str}
            frame = pandas.read_csv(data, dtype=texts, keep_default_na=False, na_values={"title": [""]})
        case "jsonl":
            frame = pandas.read_json(data, lines=True, dtype={"item": str, "title": object, "score": float})
    assert frame["item"].tolist() == TEXTS
    assert frame["title"].astype(object).where(frame["title"].notna(), None).tolist() == [None, *TEXTS[1:]]
    assert frame["score"].astype("float32").tolist() == ROWS["score"].to_pylist()


def test_the_name_says_the_format() -> None:
    """Also that of an object; an unknown ending is refused with the known ones."""
    found = [format_of(name) for name in ("a.parquet", "s3://b/c.pq", "d.x.csv", "e.jsonl", "f.ndjson")]
    assert found == ["parquet", "parquet", "csv", "jsonl", "jsonl"]
    with pytest.raises(UsageError, match=r"\.parquet, \.pq, \.csv, \.jsonl, \.ndjson"):
        format_of("lists.csv.gz")
