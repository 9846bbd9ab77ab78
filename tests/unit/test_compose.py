"""docker-compose.yml is valid, safe, and agrees with the settings."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from reckoner.shared.settings import Settings, load_settings, variable_of
from reckoner.shared.stopping import launcher_exit_timeout_s
from tests.compose import COMPOSE_FILE, read_compose

SERVICES: dict[str, Any] = read_compose()["services"]
RECKONERS = ("worker", "producer")


def test_the_file_is_valid_for_compose() -> None:
    """The schema is compose's own."""
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*command, str(COMPOSE_FILE)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_nothing_is_published_to_the_host() -> None:
    """Only the services reach each other, and `worker` can be scaled."""
    for service in SERVICES.values():
        assert service.keys().isdisjoint({"ports", "network_mode", "container_name", "hostname", "privileged"})


def test_the_password_is_a_file_and_is_in_no_command_and_no_variable() -> None:
    """Each service has the password's file. Commands and variables name at most its path."""
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


def test_redis_evicts_nothing_and_keeps_a_log_of_writes() -> None:
    """With less memory than data it refuses writes. An eviction would lose jobs."""
    script = SERVICES["redis"]["command"][-1]
    options = dict(line.split(maxsplit=1) for line in script.splitlines()[1:-1])
    assert options["maxmemory-policy"] == "noeviction"
    assert options["appendonly"] == "yes"


def test_a_stop_gives_workers_the_time_that_they_take() -> None:
    """Docker must not kill a container before its supervisor has stopped the workers."""
    assert float(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) >= launcher_exit_timeout_s(
        Settings().stop_s
    )
    patient = read_compose({"RECKONER_STOP_S": "60", "WORKER_STOP_GRACE": "73s"})["services"]["worker"]
    assert (patient["environment"]["RECKONER_STOP_S"], patient["stop_grace_period"]) == ("60", "73s")


def test_workers_and_commands_share_image_settings_and_store() -> None:
    """Both import, by hand and by night: they see the user's own files, read-only."""
    worker, producer = (SERVICES[name] for name in RECKONERS)
    for part in ("image", "build", "environment", "secrets", "read_only", "tmpfs", "volumes"):
        assert worker[part] == producer[part]
    assert worker["volumes"] == ["artifacts:/artifacts", "./data:/data:ro"]
    assert worker["environment"]["RECKONER_STORE_URL"] == "file:///artifacts"


def test_the_callers_settings_reach_workers_and_commands() -> None:
    """Every passed variable is a setting. Unset ones keep their defaults."""
    fields = {variable_of(field) for field in Settings.__struct_fields__}
    of_nights = {name for name in fields if re.match("RECKONER_(NIGHTLY|SOURCE|FIT|ON_NIGHT|GATE_)", name)}
    for name in RECKONERS:
        handed_on = [variable for variable, value in SERVICES[name]["environment"].items() if not value]
        assert {"RECKONER_LIST_LENGTH", *of_nights} <= set(handed_on) <= fields
        assert load_settings(dict.fromkeys(handed_on, "")) == Settings()
        given = dict.fromkeys(handed_on, "a value")
        assert given.items() <= read_compose(given)["services"][name]["environment"].items()
