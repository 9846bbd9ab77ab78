"""The shapes of public data sets that are no single text file of values: JSON, workbooks, parts, and pipes."""

import gzip
import io
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import openpyxl
import pyarrow as pa
import pyarrow.parquet

from tests import shapes
from tests.shapes import Shape


def _json_lines(objects: Iterable[Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects).encode()


def _workbook() -> bytes:
    """Online Retail as it is published."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Online Retail"
    names = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
    began, uk = datetime(2010, 12, 1, 8, 26), "UK"
    rows = [
        [536365, "85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 6, began, 2.55, 17850, uk],
        ["C536379", "D", "Discount", -1, began, 27.5, 14527, uk],
        [536414, 22139, None, 56, began, 0, None, uk],
        *([5817, 22130 + n % 5, f"MUG {n % 5}", n + 1, began + timedelta(n), 2, 12600 + n % 4, uk] for n in range(17)),
    ]  # fmt: skip
    for row in [names, *rows]:
        sheet.append(row)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def _parquet() -> bytes:
    """H&M's transactions as many keep them."""
    table = pa.table(
        {
            "t_dat": pa.array([datetime(2018, 9, 20 + n % 10) for n in range(20)], pa.timestamp("ns")),
            "customer_id": pa.array([f"00005{n % 4}" for n in range(20)]).dictionary_encode(),
            "article_id": pa.array([663541000 + n % 5 for n in range(20)], pa.int64()),
        }
    )
    data = io.BytesIO()
    pyarrow.parquet.write_table(table, data)
    return data.getvalue()


GOODREADS = gzip.compress(_json_lines(
    {
        "user_id": f"8842281e1d1347389f2ab93d60773d4{n % 4}", "book_id": str(24375664 + n % 5), "is_read": n % 3 > 0,
        "rating": n % 6, "read_at": "", "date_added": f"Fri Aug 25 13:55:{n:02} -0700 2017",
    }
    for n in range(20)
))  # fmt: skip
AMAZON_2018 = gzip.compress(_json_lines(
    {
        "overall": n % 5 + 1.0, "verified": True, "reviewTime": f"09 {n + 1}, 2016", "reviewerID": f"A3NH{n % 4}",
        "asin": f"00051191{n % 5}", "style": {"Format:": " DVD"}, "reviewText": 'Was "great"\nreally',
        "unixReviewTime": 1472688000 + n,
    }
    for n in range(20)
))  # fmt: skip
AMAZON_2023 = _json_lines(
    {
        "rating": n % 5 + 1.0, "title": "Such a lovely scent", "text": "…", "images": [], "asin": f"B00YQ6X{n}",
        "parent_asin": f"B00YQ6X{n % 5}", "user_id": f"AGKH{n % 4}", "timestamp": 1588687728923 + n,
    }
    for n in range(20)
)  # fmt: skip
GOOGLE = _json_lines(
    {
        "user_id": f"10146335018996202377{n % 4}", "name": "Jördan", "time": 1627750414677 + n, "rating": n % 5 + 1,
        "text": None, "pics": [{"url": ["https://…"]}], "resp": None, "gmap_id": f"0x80c2:0x29ec8a728764fdf{n % 5}",
    }
    for n in range(20)
)  # fmt: skip
YELP = _json_lines(
    {"id": "r", "user_id": f"u{n % 4}", "business_id": f"b{n % 5}", "stars": 3.0, "date": f"2018-07-07 22:09:{n}"}
    for n in range(10, 30)
)  # fmt: skip
GA4 = _json_lines(
    {
        "event_date": "20201115", "event_timestamp": str(1605400000123456 + n), "event_name": "purchase",
        "user_pseudo_id": f"1026454.427153468{n % 4}",
        "items": [{"item_id": f"GGOEGALB080{n % 5}", "item_name": "Bag"}, {"item_id": "GGOEGDHC074"}],
    }
    for n in range(12)
)  # fmt: skip
PARTS, PARTS_1 = (b"user_id,item_id\n" + b"".join(b"u%d,i%d\n" % (n, i) for i in range(10)) for n in (0, 1))

OTHER_SHAPES = [
    Shape(
        name="Goodreads",
        files={"goodreads_interactions.json.gz": GOODREADS},
        command="reckoner import goodreads_interactions.json.gz --item book_id --weight rating --time date_added",
        holds="16 interactions of 4 users with 5 items",
        rows="20, 4 left out",
        read="JSON lines, utf-8, gzip, 20 rows",
        says=("4 rows left out: the weight is zero (lines 1, 7, 13, 19)",),
        some={("8842281e1d1347389f2ab93d60773d41", "24375665"): (1.0, 1503694501000)},
    ),
    Shape(
        name="Amazon reviews 2018",
        files={"Books_5.json.gz": AMAZON_2018},
        command="reckoner import Books_5.json.gz --user reviewerID --item asin --weight overall --time unixReviewTime",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="JSON lines, utf-8, gzip, 20 rows",
        some={("A3NH0", "000511910"): (1.0, 1472688000000)},
    ),
    Shape(
        name="Amazon reviews 2023",
        files={"All_Beauty.jsonl": AMAZON_2023},
        command="reckoner import All_Beauty.jsonl --item parent_asin --weight rating --title parent_asin",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="JSON lines, utf-8, 20 rows",
        some={("AGKH0", "B00YQ6X0"): (1.0, 1588687728923)},
        titles={"B00YQ6X0": "B00YQ6X0"},
    ),
    Shape(
        name="Google reviews",
        files={"review-Alabama.json": GOOGLE},
        command="reckoner import review-Alabama.json --item gmap_id --weight rating",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="JSON lines, utf-8, 20 rows",
        some={("101463350189962023770", "0x80c2:0x29ec8a728764fdf0"): (1.0, 1627750414677)},
    ),
    Shape(
        name="Yelp",
        files={"yelp_academic_dataset_review.json": YELP},
        command="reckoner import yelp_academic_dataset_review.json --item business_id --weight stars --time date",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="JSON lines, utf-8, 20 rows",
        some={("u2", "b0"): (3.0, 1531001350000)},
    ),
    Shape(
        name="Online Retail as it is published",
        files={"Online Retail.xlsx": _workbook()},
        command='reckoner import "Online Retail.xlsx" --user CustomerID --item StockCode --title Description '
        "--weight Quantity --time InvoiceDate",
        holds="18 interactions of 5 users with 6 items",
        rows="20, 2 left out",
        read="sheet Online Retail, 20 rows",
        says=(
            "1 row left out: the weight is below zero: '-1' (row 3)",
            "1 row left out: the user is empty (row 4)",
        ),
        some={("17850", "85123A"): (6.0, 1291191960000)},
        titles={"85123A": "WHITE HANGING HEART T-LIGHT HOLDER"},
    ),
    Shape(
        name="H&M in Parquet",
        files={"transactions.parquet": _parquet()},
        command="reckoner import transactions.parquet --user customer_id --item article_id --time t_dat",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="Parquet, 20 rows",
        some={("000050", "663541000"): (1.0, 1537401600000)},
    ),
    Shape(
        name="several files",
        files={"2019-Oct.csv": shapes.REES46, "2019-Nov.csv": shapes.REES46},
        command="reckoner import 2019-Oct.csv 2019-Nov.csv --user user_id --item product_id --time event_time",
        holds="20 interactions of 7 users with 8 items",
        rows="40, 20 repeated",
        read="2 files, commas, utf-8, 40 rows",
        says=(shapes.unused_types("event_type"),),
        some={("520088904", "1003461"): (1.0, 1572566400000)},
    ),
    Shape(
        name="Spark's parts",
        files={"events/_SUCCESS": b"", "events/part-00000.csv": PARTS, "events/part-00001.csv": PARTS_1},
        command="reckoner import events",
        holds="20 interactions of 2 users with 10 items",
        rows="20",
        read="2 files, commas, utf-8, 20 rows",
        some={("u0", "i0"): (1.0, None), ("u1", "i9"): (1.0, None)},
    ),
    Shape(
        name="Netflix",
        files={"combined_data_1.txt": shapes.NETFLIX},
        command="""awk -F, '/:$/ {film = $1 + 0; next} {print film "," $0}' combined_data_1.txt"""
        " | reckoner import - --user 2 --item 1 --weight 3 --time 4 --no-header",
        holds="9 interactions of 6 users with 3 items",
        rows="9",
        read="commas, no header, utf-8, 9 rows",
        some={("1488844", "1"): (3.0, 1125964800000), ("1488844", "3"): (4.0, 1109980800000)},
    ),
    Shape(
        name="MIND",
        files={"behaviors.tsv": shapes.MIND},
        command="""awk -F'\\t' '{n = split($4, read, " "); for (i = 1; i <= n; i++) print $2 "\\t" read[i]}' """
        "behaviors.tsv | reckoner import - --user 1 --item 2 --no-header",
        holds="17 interactions of 6 users with 17 items",
        rows="17",
        read="tabs, no header, utf-8, 17 rows",
        some={("U13740", "N55189"): (1.0, None), ("U13740", "N34694"): (1.0, None)},
    ),
    Shape(
        name="GA4 export",
        files={"ga4.json": GA4},
        command="reckoner import ga4.json --user user_pseudo_id --item items.item_id --title items.item_name "
        "--time event_timestamp",
        holds="16 interactions of 4 users with 6 items",
        rows="24, 8 repeated",
        read="JSON lines, utf-8, 24 rows",
        says=(shapes.unused_types("event_name"),),
        some={("1026454.4271534680", "GGOEGDHC074"): (1.0, 1605400000123)},
    ),
    Shape(
        name="Jester",
        files={"jester.csv": shapes.JESTER},
        command="""awk -F, '{for (i = 2; i <= NF; i++) if ($i != 99) print NR "," i - 1 "," $i + 10}' jester.csv """
        "| reckoner import - --user 1 --item 2 --weight 3 --no-header",
        holds="400 interactions of 12 users with 100 items",
        rows="400",
        read="commas, no header, utf-8, 400 rows",
        some={("1", "1"): (1.0, None), ("2", "3"): (2.9, None)},
    ),
    Shape(
        name="A shop and its catalogue",
        files={
            "bought.csv": b"customer,sku\n" + b"".join(b"c%d,s%d\n" % (n % 4, n % 5) for n in range(20)),
            "catalogue/1.jsonl": _json_lines(
                {"sku": f"s{n}", "name": f"Sock {n}", "kinds": ["socks"]} for n in range(3)
            ),
            "catalogue/2.jsonl": _json_lines({"sku": f"s{n}", "name": f"Cap {n}", "kinds": []} for n in range(3, 7)),
        },
        command='reckoner import bought.csv --user customer --item sku --items "catalogue/*.jsonl" '
        "--item-columns title=name,tags=kinds",
        holds="20 interactions of 4 users with 5 items",
        rows="20",
        read="commas, utf-8, 20 rows",
        titles={"s2": "Sock 2", "s4": "Cap 4"},
    ),
]
