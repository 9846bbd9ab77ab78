"""What a worker can import."""

from collections.abc import Callable

import pytest

from reckoner.shared import version


@pytest.mark.parametrize(
    ("source", "needed"),
    [
        ("/data/purchases.csv", {"pyarrow"}),
        ("'s3://bucket/parts/'", {"pyarrow", "obstore"}),
        ("postgresql://localhost/shop --query 'select 1'", {"pyarrow", "adbc_driver_manager"}),
        ("'sqlite:////data/shop.db' --query 'select 1'", {"pyarrow", "adbc_driver_manager"}),
        ("env:DATABASE_URL --query 'select 1'", {"pyarrow", "adbc_driver_manager"}),
    ],
)
def test_a_source_needs_its_extra(source: str, needed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All its packages and no others."""

    def without(*missing: str) -> Callable[[str], object]:
        return lambda name: None if name in missing else name

    for package in ("pyarrow", "obstore", "adbc_driver_manager"):
        monkeypatch.setattr(version, "find_spec", without(package))
        assert version.can_import(source) == (package not in needed)
