"""DuckDB, in its own environment: it reads a file, and groups and sorts it by user and item."""

import json
import sys

import duckdb


def main() -> int:
    """Print how many rows are left."""
    path, limit_gb = sys.argv[1:]
    connection = duckdb.connect()
    connection.execute(f"set memory_limit = '{limit_gb}GB'")
    connection.execute(f"set temp_directory = '{path}.spilled'")
    connection.execute(
        f"create temp table sorted as select user, item, max(time) as time from '{path}' "
        "group by user, item order by user, item"
    )
    [[count]] = connection.execute("select count(*) from sorted").fetchall()
    print(json.dumps({"interactions": count}))
    return 0
