"""`reckoner config` shows the effective settings and their sources, without secrets."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reckoner.producer.cli.application import app
from reckoner.shared.settings import Settings

SECRETS = {
    "RECKONER_REDIS_URL": "redis://someone:hunter2@host:1/2?password=hunter2",
    "RECKONER_STORE_URL": "s3://key:hunter2@bucket",
    "RECKONER_ON_NIGHT": "https://hooks.example/hunter2/hunter2",
    "RECKONER_SOURCE": "env:SHOP --query 'select hunter2'",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a settings file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reckoner.toml").write_text('prefix = "shop"\nchunks = 7\nredis_password_file = "/run/secret"\n')
    return tmp_path / "reckoner.toml"


def test_each_setting_says_where_it_is_from(here: Path) -> None:
    """Default, file, or the overriding variable."""
    found = json.loads(CliRunner().invoke(app, ["config", "--json"], env={"RECKONER_CHUNKS": "9"}).stdout)
    assert found["file"] == str(here)
    assert list(found["settings"]) == list(Settings.__struct_fields__)
    assert found["settings"]["prefix"] == {"value": "shop", "from": str(here)}
    assert found["settings"]["chunks"] == {"value": 9, "from": "RECKONER_CHUNKS"}
    assert found["settings"]["list_length"] == {"value": 20, "from": "default"}


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_no_secret_is_shown(here: Path, option: list[str]) -> None:
    """URLs are reduced to their address, commands to their name; an unsupported store URL to its scheme."""
    shown = CliRunner().invoke(app, ["config", *option], env=SECRETS).stdout
    assert "hunter2" not in shown
    assert "someone" not in shown
    assert "redis://host:1/2" in shown
    assert "s3://..." in shown
    assert "https://hooks.example/..." in shown
    assert "env:SHOP ..." in shown
    assert "/run/secret" in shown


def test_for_people_it_is_a_table(here: Path) -> None:
    """The file is named once, above it."""
    lines = CliRunner().invoke(app, ["config"], env={"RECKONER_CHUNKS": "9"}).stdout.splitlines()
    assert lines[0] == f"Settings file: {here}"
    assert ["prefix", "shop", "the", "file"] in [line.split() for line in lines]
    here.unlink()
    lines = CliRunner().invoke(app, ["config"]).stdout.splitlines()
    assert lines[0] == "Settings file: none (reckoner.toml not found here)"
