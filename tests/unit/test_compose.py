"""What docker-compose.yml promises."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from reckoner.shared.settings import Settings, load_settings, variable_of
from reckoner.shared.stopping import STARTER_S, launcher_exit_timeout_s
from tests.compose import COMPOSE_FILE, read_compose

SERVICES: dict[str, Any] = read_compose()["services"]
RECKONERS = ("worker", "producer")
REDIS_SCRIPT = SERVICES["redis"]["command"][-1]


def test_the_file_is_what_the_specification_of_compose_says() -> None:
    """By its schema; and without the parts of it that older tools, such as Debian 12's, refuse."""
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*command, str(COMPOSE_FILE)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    whole = read_compose()
    assert set(whole) == {"services", "secrets", "volumes"}
    assert whole["secrets"] == {"redis_password": {"file": "./secrets/redis_password"}}


def test_the_services_have_the_names_that_are_written_about() -> None:
    """Redis, what computes, and what commands are run in, which `up` does not start."""
    assert set(SERVICES) == {"redis", *RECKONERS}
    assert [name for name, service in SERVICES.items() if service.get("profiles")] == ["producer"]


def test_nothing_is_published_to_the_host() -> None:
    """The services reach each other, and nobody else reaches them; a worker can be there many times."""
    for service in SERVICES.values():
        assert service.keys().isdisjoint({"ports", "network_mode", "container_name", "hostname", "privileged"})


def test_the_password_is_a_file_and_is_in_no_command_and_no_variable() -> None:
    """Each service has the file; what reads it hands it on by a pipe, and the settings name it alone."""
    for service in SERVICES.values():
        assert service["secrets"] == ["redis_password"]
        assert not re.search("REDISCLI_AUTH|--requirepass|--pass|redis-cli -a", str(service))
    for name in RECKONERS:
        environment = SERVICES[name]["environment"]
        assert environment["RECKONER_REDIS_PASSWORD_FILE"] == "/run/secrets/redis_password"
        assert "@" not in environment["RECKONER_REDIS_URL"]
    assert "environment" not in SERVICES["redis"]
    ignored = (COMPOSE_FILE.parent / ".gitignore").read_text().split()
    assert {"/secrets/", "/data/", "/.env"} <= set(ignored)


def test_redis_keeps_what_it_acknowledged_and_evicts_nothing() -> None:
    """Append-only file on a volume, `noeviction`; the server takes the shell's place, so that signals reach it."""
    lines = REDIS_SCRIPT.splitlines()
    assert lines[0] == "exec redis-server - <<END"
    assert {"appendonly yes", "maxmemory-policy noeviction", "dir /data", "maxmemory 1gb"} <= set(lines)
    assert SERVICES["redis"]["volumes"] == ["redis:/data"]
    assert re.fullmatch(r"redis:7\.\d+-\w+", SERVICES["redis"]["image"])


def test_what_needs_redis_starts_when_it_is_healthy() -> None:
    """And what runs for long is started again when it ends."""
    for name in RECKONERS:
        assert SERVICES[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert {SERVICES[name]["restart"] for name in ("redis", "worker")} == {"unless-stopped"}
    assert "restart" not in SERVICES["producer"]


def test_a_stop_gives_workers_the_time_that_they_take() -> None:
    """Who kills a container before its supervisor has stopped its workers makes their jobs wait."""
    assert float(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) >= launcher_exit_timeout_s(
        Settings().stop_s
    )
    assert f"at least {STARTER_S:g} seconds more" in COMPOSE_FILE.read_text()
    patient = read_compose({"RECKONER_STOP_S": "60", "WORKER_STOP_GRACE": "73s"})["services"]["worker"]
    assert (patient["environment"]["RECKONER_STOP_S"], patient["stop_grace_period"]) == ("60", "73s")


def test_workers_and_commands_share_image_settings_and_store() -> None:
    """The user's own files are there for commands alone, and cannot be written."""
    worker, producer = (SERVICES[name] for name in RECKONERS)
    for part in ("image", "build", "environment", "secrets", "read_only", "tmpfs"):
        assert worker[part] == producer[part]
    assert worker["volumes"] == ["artifacts:/artifacts"]
    assert producer["volumes"] == ["artifacts:/artifacts", "./data:/data:ro"]
    assert worker["environment"]["RECKONER_STORE_URL"] == "file:///artifacts"


def test_the_callers_settings_reach_workers_and_commands() -> None:
    """Every variable that is handed on is a setting; where the caller sets none, the defaults hold."""
    fields = {variable_of(field) for field in Settings.__struct_fields__}
    for name in RECKONERS:
        handed_on = [variable for variable, value in SERVICES[name]["environment"].items() if not value]
        assert {"RECKONER_LIST_LENGTH", "RECKONER_NIGHTLY"} <= set(handed_on) <= fields
        assert load_settings(dict.fromkeys(handed_on, "")) == Settings()
        given = dict.fromkeys(handed_on, "a value")
        assert given.items() <= read_compose(given)["services"][name]["environment"].items()
