"""docker-compose.yml is valid, safe, and agrees with the settings."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from reckoner.producer.cli.serve import DEFAULT_PORT
from reckoner.producer.http.config import HttpConfig
from reckoner.producer.http.serving import MARGIN_S
from reckoner.shared.settings import Settings, load_settings, variable_of
from reckoner.shared.stopping import launcher_exit_timeout_s
from tests.compose import COMPOSE_FILE, read_compose

SERVICES: dict[str, Any] = read_compose()["services"]
RECKONERS = ("worker", "http", "producer")
PUBLISHED = {"http": "HTTP_LISTEN", "prometheus": "PROMETHEUS_LISTEN", "grafana": "GRAFANA_LISTEN"}
METRICS = COMPOSE_FILE.parent / "docs" / "metrics"
# Where containers see it.
MOUNTED = "/etc/reckoner"


def test_the_file_is_valid_for_compose() -> None:
    """The schema is compose's own."""
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*command, str(COMPOSE_FILE)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_what_is_published_is_published_to_this_host_alone() -> None:
    """Unless a variable says otherwise. Only the services reach the others, and `worker` can be scaled."""
    for name, service in SERVICES.items():
        assert service.keys().isdisjoint({"network_mode", "container_name", "hostname", "privileged"})
        assert ("ports" in service) == (name in PUBLISHED), name
    for name, variable in PUBLISHED.items():
        [published] = SERVICES[name]["ports"]
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", published)
        [chosen] = read_compose({variable: "10.0.0.1:80"})["services"][name]["ports"]
        assert chosen.startswith("10.0.0.1:80:")


def test_whoever_reaches_the_api_needs_a_token() -> None:
    """It listens on all of the container's addresses, at the published port, and Prometheus has a token of its own."""
    http, prometheus = SERVICES["http"], SERVICES["prometheus"]
    assert http["command"][:5] == ["serve", "--host", "0.0.0.0", "--tokens", "/run/secrets/http_tokens"]
    assert "--port" not in http["command"]
    [published] = http["ports"]
    assert published.endswith(f":{DEFAULT_PORT}")
    assert f":{DEFAULT_PORT}/health/ready" in http["healthcheck"]["test"][-1]
    assert http["secrets"] == ["redis_password", "http_tokens"]
    assert prometheus["secrets"] == ["metrics_token"]
    [scrape] = _yaml("prometheus.yml")["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": [f"http:{DEFAULT_PORT}"]}]
    assert scrape["authorization"] == {"credentials_file": "/run/secrets/metrics_token"}


def test_a_stop_lets_requests_end() -> None:
    """The longest ones."""
    config = HttpConfig(Settings(), "redis://")
    longest_s = config.linger_s + config.longest_timeout_s + 2 * MARGIN_S
    assert float(SERVICES["http"]["stop_grace_period"].removesuffix("s")) >= longest_s


def test_the_metrics_are_a_profile_that_is_preset() -> None:
    """Mounted files are there; Grafana has Prometheus and the dashboard, asks nobody else, and has no account."""
    prometheus, grafana = SERVICES["prometheus"], SERVICES["grafana"]
    for service in (prometheus, grafana):
        assert service["profiles"] == ["metrics"]
        assert f"./docs/metrics:{MOUNTED}:ro" in service["volumes"]
    environment = grafana["environment"]
    [config] = [word.partition("=")[2] for word in prometheus["command"] if word.startswith("--config.file=")]
    home, provisioning = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"], environment["GF_PATHS_PROVISIONING"]
    assert _here(config).is_file()
    assert _here(home).is_file()
    [provider] = _yaml("grafana/dashboards/reckoner.yml")["providers"]
    assert list(_here(provider["options"]["path"]).rglob("*.json")) == [_here(home)]
    [source] = _yaml("grafana/datasources/reckoner.yml")["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    assert _here(provisioning) == METRICS / "compose" / "grafana"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def _here(path: str) -> Path:
    """The file that a container sees under this path."""
    return METRICS / Path(path).relative_to(MOUNTED)


def _yaml(name: str) -> Any:
    return YAML(typ="safe", pure=True).load(METRICS / "compose" / name)


def test_the_password_is_a_file_and_is_in_no_command_and_no_variable() -> None:
    """Each service that uses Redis has the password's file. Commands and variables name at most its path."""
    for name, service in SERVICES.items():
        assert ("redis_password" in service.get("secrets", [])) == (name in ("redis", *RECKONERS))
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
    """They see the user's own files, read-only: both import, by hand and by night, and the page checks the source."""
    worker, *others = (SERVICES[name] for name in RECKONERS)
    for part in ("image", "build", "environment", "read_only", "tmpfs", "volumes"):
        assert all(worker[part] == other[part] for other in others)
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
