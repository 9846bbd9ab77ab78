"""A seed determines the faults, and the checks afterwards follow the table of keys."""

from reckoner.shared.redis.keys import Keys
from tests.aftermath import table
from tests.faults import FAULTS, plan


def test_a_seed_gives_the_same_faults_each_time() -> None:
    """All faults appear before one repeats, and a longer plan starts the same."""
    names = [fault.name for fault in plan(1, 40)]
    assert names == [fault.name for fault in plan(1, 60)][:40]
    assert names != [fault.name for fault in plan(2, 40)]
    assert sorted(names[: len(FAULTS)]) == sorted({fault.name for fault in FAULTS})


def test_every_row_of_the_table_of_keys_is_understood() -> None:
    """Each row except the channels has a Redis type, and the keys of `Keys` are in the table."""
    rules = list(table("p"))
    assert len(rules) > 20
    assert [rule.name.pattern for rule in rules if not rule.type] == [r"p:events:[^:]+\Z"]
    keys = Keys("p")
    for name, kind in (
        (keys.flow("f"), "hash"),
        (keys.result("g", "a:user"), "string"),
        (keys.live_of("click"), "zset"),
        (keys.dead, "stream"),
        (keys.blocks("r"), "hash"),
        (keys.basket("g", ["i"]), "string"),
    ):
        assert next(rule.type for rule in rules if rule.name.match(name)) == kind, name
    assert not any(rule.name.match("p:something") for rule in rules)
