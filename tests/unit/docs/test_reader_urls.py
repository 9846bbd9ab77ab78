"""Our reader accepts and refuses the URLs that all readers must accept and refuse."""

import json
from typing import Any

import pytest

from reckoner.shared.errors import SettingsError
from reckoner.shared.redis.connections import connect
from tests.root import ROOT

LIST = json.loads((ROOT / "tests" / "reader_urls.json").read_text(encoding="utf-8"))
PLACES = {"port": 7001, "tls": 7002, "socket": "/a%20place/s", "host": "127.9.8.7"}


@pytest.mark.parametrize("case", LIST["urls"], ids=lambda case: case["url"])
def test_a_url_leads_where_the_list_says(case: dict[str, Any]) -> None:
    """To this host, port and database, or this socket, with this user and password."""
    url = case["url"].format(**PLACES)
    if case["database"] is None:
        with pytest.raises(SettingsError):
            connect(url)
        return
    pool = connect(url).connection_pool
    given = pool.connection_kwargs
    port = case.get("port", "port")
    assert (given.get("username") or None) == case.get("user", "reader")
    assert (given["password"], given.get("db", 0)) == (case.get("password", LIST["password"]), case["database"])
    if case["host"] is None:
        assert given["path"] == "/a place/s"
    else:
        assert (given["host"], given.get("port", 6379)) == (case["host"], PLACES.get(port, port))
    assert ("tls" in given) == url.startswith("rediss:")
