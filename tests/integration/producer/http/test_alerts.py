"""The files of docs/metrics: promtool runs the rules on what `/metrics` shows, and KEDA's schema has its example."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.http.metrics import ROUTES, Backlog
from reckoner.shared.metrics.table import METRICS
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import HOLDING, Holding
from reckoner.workers.maintenance.heartbeat import Heartbeat
from tests import debian
from tests.integration.producer.http.conftest import Serve
from tests.measured import Fleet, Samples, scrape
from tests.root import ROOT
from tests.servers import start_server
from tests.world import Hand, World

pytestmark = pytest.mark.alerts

FILES = ROOT / "docs" / "metrics"
HOUR_MS = 3_600_000
# How long the fleet is well before a situation, and how long that lasts.
CALM_MINUTES, MINUTES = 20, 10
RULES: Sequence[Mapping[str, Any]] = YAML(typ="safe").load(FILES / "alerts.yml")["groups"][0]["rules"]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A separate server, whose memory limit changes."""
    with start_server(tmp_path_factory.mktemp("a home")) as running:
        yield running.url


def promtool(*arguments: object, given: str = "") -> str:
    """What promtool says.

    Raises:
        AssertionError: it finds an error.
    """
    program = debian.find("prometheus", "usr/bin/promtool")
    done = subprocess.run([program, *map(str, arguments)], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def be_well(fleet: Fleet) -> None:
    """Two workers, a night that went live two hours ago, lists for a week, and half of Redis is free."""
    generation, now_ms = await fleet.adopt(), await fleet.hand.runtime.now_ms()
    await fleet.beat()
    await fleet.beat(worker="w2")
    await fleet.remember(ended_ms=now_ms - 2 * HOUR_MS, generation=generation.id)
    await hold_for(fleet, 7 * 24)
    used = (await fleet.reckoner.operator.status()).redis_memory_bytes or 0
    await ask(fleet.hand.redis, "CONFIG", "SET", "maxmemory", 2 * used)
    await fleet.read()


async def hold_for(fleet: Fleet, hours: float) -> None:
    """All lists of the world's generation live so long."""
    until_ms = await fleet.hand.runtime.now_ms() + int(hours * HOUR_MS)
    keys, generation = fleet.hand.runtime.keys, fleet.world.generations[0].id
    await ask(fleet.hand.redis, "HSET", keys.held, generation, HOLDING.encode(Holding(6, 2, until_ms)))


async def stay(_: Fleet) -> None:
    """Nothing happens."""


async def be_away(_: Fleet) -> None:
    """`serve` or Redis does not answer: no sample is there."""


async def lose_workers(fleet: Fleet) -> None:
    """All workers have died."""
    await ask(fleet.hand.redis, "DEL", fleet.hand.runtime.keys.workers)


async def lose_the_store(fleet: Fleet) -> None:
    """No worker sees the store."""
    for worker in ("w", "w2"):
        await fleet.beat(worker=worker, trouble="The store is away.")


async def lose_one(fleet: Fleet) -> None:
    """One of two workers has died: that mends itself."""
    await ask(fleet.hand.redis, "ZREM", fleet.hand.runtime.keys.workers, "w2")


async def wait(fleet: Fleet) -> None:
    """A click has waited for a minute."""
    await wait_for(fleet, 60.0)


async def wait_shortly(fleet: Fleet) -> None:
    """A click has waited for two seconds."""
    await wait_for(fleet, 2.0)


async def wait_for(fleet: Fleet, seconds: float) -> None:
    """A click's place in the queue is so long ago."""
    place = await fleet.hand.runtime.now_ms() - int(seconds * 1000)
    await ask(fleet.hand.redis, "ZADD", fleet.hand.runtime.keys.click, place, "split:0123456789abcdef")


async def refuse_a_night(fleet: Fleet) -> None:
    """The gate has refused the last night, a day after the good one."""
    now_ms = await fleet.hand.runtime.now_ms()
    await fleet.remember(id="n2", started_ms=now_ms - HOUR_MS, ended_ms=now_ms, outcome="refused")


async def fail_a_night(fleet: Fleet) -> None:
    """The last night has failed."""
    now_ms = await fleet.hand.runtime.now_ms()
    await fleet.remember(id="n2", started_ms=now_ms - HOUR_MS, ended_ms=now_ms, outcome="failed")


async def fail_nights(fleet: Fleet) -> None:
    """The last two nights have failed."""
    await miss_a_night(fleet)
    await fail_a_night(fleet)


async def miss_a_night(fleet: Fleet) -> None:
    """The last night was two days ago."""
    await fleet.remember(ended_ms=await fleet.hand.runtime.now_ms() - 48 * HOUR_MS)


async def expire_soon(fleet: Fleet) -> None:
    """The lists expire in an hour."""
    await hold_for(fleet, 1)


async def fill_redis(fleet: Fleet) -> None:
    """Redis is at 95 % of its memory."""
    used = (await fleet.reckoner.operator.status()).redis_memory_bytes or 0
    await ask(fleet.hand.redis, "CONFIG", "SET", "maxmemory", int(used / 0.95))


# What happens after the calm, and the alerts that fire then.
SITUATIONS: Sequence[tuple[Callable[[Fleet], Awaitable[None]], set[str]]] = [
    (stay, set()),
    (lose_one, set()),
    (wait_shortly, set()),
    (be_away, {"ReckonerUnreachable"}),
    (lose_workers, {"ReckonerNoWorkers"}),
    (lose_the_store, {"ReckonerNoWorkers"}),
    (wait, {"ReckonerClicksWait"}),
    (refuse_a_night, {"ReckonerNightBad"}),
    (fail_a_night, {"ReckonerNightBad"}),
    (miss_a_night, {"ReckonerNightLate"}),
    (fail_nights, {"ReckonerNightBad", "ReckonerNightLate"}),
    (expire_soon, {"ReckonerListsExpire"}),
    (fill_redis, {"ReckonerRedisFull"}),
    (Fleet.fail, {"ReckonerJobsFail"}),
    (Fleet.refuse, {"ReckonerJobsFail"}),
]


def test_each_rule_has_a_situation_and_a_line_that_says_what_to_do() -> None:
    """Eight rules; "A week with it" has a row for each."""
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) == 8
    assert set().union(*(fires for _, fires in SITUATIONS)) == set(names)
    page = (ROOT / "docs" / "a-week.md").read_text()
    assert all(f"| `{name}` |" in page for name in names)


@pytest.mark.parametrize(("happen", "fires"), SITUATIONS, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_situation_fires_its_alerts_and_no_others(
    hand: Hand,
    world: World,
    reckoner: OpenReckoner,
    serve: Serve,
    tmp_path: Path,
    happen: Callable[[Fleet], Awaitable[None]],
    fires: set[str],
) -> None:
    """Two processes of `serve` are scraped, which show the same; before it, when all is well, none fires."""
    recorded = list[Samples]()
    for change in (be_well, happen):
        async with serve() as http:
            await change(Fleet(hand, world, reckoner, http))
        async with serve() as http:
            recorded.append({} if change is be_away else await scrape(http))
    well, then = recorded
    test = {
        "interval": "1m",
        "input_series": [
            {"series": _series(name, labels, instance), "values": _values(well.get(key), then.get(key))}
            for key in sorted({*well, *then})
            for name, labels in [key]
            for instance in ("a:8321", "b:8321")
        ],
        "promql_expr_test": [_expected(CALM_MINUTES - 1, set()), _expected(CALM_MINUTES + MINUTES - 1, fires)],
    }
    file = tmp_path / "test.json"
    rules = [str(FILES / "alerts.yml")]
    file.write_text(json.dumps({"rule_files": rules, "evaluation_interval": "1m", "tests": [test]}))
    promtool("test", "rules", file)


def _series(name: str, labels: Sequence[tuple[str, str]], instance: str) -> str:
    named = [*labels, ("job", "reckoner"), ("instance", instance)]
    return name + "{" + ", ".join(f"{label}={json.dumps(value)}" for label, value in named) + "}"


def _values(well: float | None, then: float | None) -> str:
    """A value for each minute."""
    return " ".join("_" if value is None else repr(value) for value in [*[well] * CALM_MINUTES, *[then] * MINUTES])


def _expected(minute: int, fires: set[str]) -> Mapping[str, Any]:
    return {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{minute}m",
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(fires)],
    }


def test_the_files_are_valid(tmp_path: Path) -> None:
    """The rules with their templates, the example of a scrape, and what compose gives to Prometheus."""
    assert "8 rules found" in promtool("check", "rules", FILES / "alerts.yml")
    promtool("check", "config", FILES / "prometheus.yml")
    shutil.copytree(FILES, tmp_path / "metrics")
    (tmp_path / "token").write_text("a token")
    config = tmp_path / "metrics" / "compose" / "prometheus.yml"
    config.write_text(config.read_text().replace("/run/secrets/metrics_token", str(tmp_path / "token")))
    assert "8 rules found" in promtool("check", "config", config)


async def test_the_exposition_is_as_prometheus_advises(
    hand: Hand, world: World, reckoner: OpenReckoner, serve: Serve
) -> None:
    """Its linter finds nothing in names, kinds, units and helps."""
    async with serve() as http:
        fleet = Fleet(hand, world, reckoner, http)
        for happen in (be_well, Fleet.ended, Fleet.user_done, Fleet.gate, Fleet.stage):
            await happen(fleet)
    await Heartbeat(hand.runtime).beat()
    async with serve() as http:
        text = (await http.get("/metrics")).text
    assert promtool("check", "metrics", given=text) == ""


def _expressions() -> list[str]:
    """The expressions of the dashboard's panels."""
    panels = json.loads((FILES / "dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    """Each expression of a panel parses."""
    expressions = [expression.replace("$__rate_interval", "5m") for expression in _expressions()]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(expressions)} rules found" in promtool("check", "rules", file)


def test_the_dashboard_has_every_metric() -> None:
    """And none that is not there."""
    text = (FILES / "dashboard.json").read_text()
    found = {name for target in _expressions() for name in re.findall(r"reckoner_[a-z_]+", target)}
    shown = {re.sub("_bucket$", "", name) for name in found}
    assert shown == {metric.name for metric in METRICS}
    panels = json.loads(text)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)


# The fields of KEDA's documents and of its scaler metrics-api, as its documentation has them. The schema, like
# Kubernetes, accepts and drops others.
KEDA_FIELDS = {
    "spec": {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "cooldownPeriod", "advanced", "triggers"},
    "trigger": {"type", "metadata", "authenticationRef"},
    "metadata": {"url", "valueLocation", "targetValue", "activationTargetValue", "authMode", "unsafeSsl", "format"},
}


def test_keda_reads_a_number_that_is_there() -> None:
    """The trigger's field is one of the backlog's, its target a positive number, and all fields are KEDA's."""
    scaled, authentication = YAML(typ="safe").load_all(FILES / "keda.yaml")
    spec = scaled["spec"]
    [trigger] = spec["triggers"]
    metadata = trigger["metadata"]
    assert spec.keys() <= KEDA_FIELDS["spec"]
    assert trigger.keys() <= KEDA_FIELDS["trigger"]
    assert metadata.keys() <= KEDA_FIELDS["metadata"]
    assert metadata["valueLocation"] in Backlog.__struct_fields__
    assert metadata["url"].endswith(next(route.path for route in ROUTES if route.answer is Backlog))
    assert float(metadata["targetValue"]) > 0
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]


VALIDATE = """
import { readFileSync } from "node:fs";
import * as keda from "@kubernetes-models/keda/keda.sh/v1alpha1";
for (const document of JSON.parse(readFileSync(0))) new keda[document.kind](document).validate();
"""


def test_the_example_for_keda_matches_its_schema() -> None:
    """By the npm package with the schemas of KEDA's custom resources; it refuses a document of a wrong shape."""
    documents = [*YAML(typ="safe").load_all(FILES / "keda.yaml")]
    assert _valid(documents) == ""
    documents[0]["spec"]["maxReplicaCount"] = "fifteen"
    assert "maxReplicaCount must be integer" in _valid(documents)


def _valid(documents: Sequence[Mapping[str, Any]]) -> str:
    """Why documents do not match their schemas, empty if they do."""
    command = ["node", "--input-type=module", "--eval", VALIDATE]
    folder = Path(sys.prefix) / "node-keda"
    done = subprocess.run(command, input=json.dumps(documents), cwd=folder, capture_output=True, text=True, check=False)
    return done.stderr
