"""Key names: one prefix before all of them, no two alike, and none made elsewhere."""

import re

import pytest

import reckoner.shared.redis.keys
from reckoner.shared.redis.keys import Keys, basket_hash, in_progress_key, job_key, tries_key, types_of_jobs
from tests.root import ROOT

NAMES = ROOT / "shared" / "redis"


def all_names(keys: Keys) -> list[str]:
    return [
        keys.mail("r"),
        keys.dead,
        keys.refused,
        keys.workers,
        keys.beat("r"),
        keys.probe("r"),
        keys.counts,
        keys.counted("r"),
        keys.sweeper,
        *keys.pointers,
        keys.flow("f"),
        keys.partials("f"),
        keys.tasks("f"),
        keys.join_user("g", "u"),
        keys.join_fit("g"),
        keys.join_model("m"),
        keys.join_evaluation(b"a spec"),
        keys.evaluation("f"),
        keys.trial(b"a trial"),
        keys.join_basket("g", ["i"]),
        keys.join_question("g", b"a spec"),
        keys.join_filtered("g", b"a spec"),
        keys.filtered("g", "FILTER", "u"),
        keys.filtered_basket("g", "FILTER", ["i"]),
        keys.basket("g", ["i"]),
        keys.record("g"),
        keys.titles("s"),
        keys.tags("s"),
        keys.named_lists("s"),
        keys.tagging,
        keys.tagging_version,
        keys.result("g", "u"),
        keys.run("r"),
        keys.flight("r"),
        keys.blocks("r"),
        keys.run_of("g"),
        keys.night("d"),
        keys.events("f"),
    ]


def test_all_names_are_distinct_and_under_the_prefix() -> None:
    """Two systems with prefixes of their own share a Redis and never meet."""
    names = all_names(Keys("one"))
    assert len(set(names)) == len(names)
    assert all(name.startswith("one:") for name in names)
    assert not set(names) & set(all_names(Keys("two")))


def test_each_name_stands_in_the_table() -> None:
    """The module's docstring lists every key, its type, its writer and its life."""
    table = reckoner.shared.redis.keys.__doc__ or ""
    assert "`p:queue:LANE`" in table
    assert "`p:live:LANE`" in table
    for name in all_names(Keys("p")):
        shown = re.sub(r":(?:[0-9a-f]{32}|[0-9a-f]{64})$", ":HASH", name)
        for short, long in {
            "f": "ID",
            "r": "ID",
            "g": "GENERATION",
            "s": "SNAPSHOT",
            "m": "MODEL",
            "u": "USER",
            "d": "DATE",
        }.items():
            shown = re.sub(f":{short}(?=:|$)", f":{long}", shown)
        assert f"`{shown}`" in table, name


@pytest.mark.parametrize("user", ["a:b", "a b", "ユーザー", "", "*", "x" * 1024])
def test_a_user_of_any_text_has_a_join_of_his_own(user: str) -> None:
    """A join's name has one length, and no user's id reaches into another's."""
    keys = Keys("p")
    assert re.fullmatch("p:join:g:[0-9a-f]{32}", keys.join_user("g", user))
    assert keys.join_user("g", user) != keys.join_user("g", user + "x")
    assert keys.join_user("g", user).startswith(keys.joins)
    assert keys.join_fit("g").startswith(keys.joins)


def test_a_result_has_a_name_that_any_language_can_build() -> None:
    """Prefix, generation and the user's own id, as they are."""
    assert Keys("reckoner").result("g1", "user 7:ü") == "reckoner:rec:g1:user 7:ü"


def test_a_baskets_name_depends_on_its_distinct_items_only() -> None:
    """Order and repeats do not count; the borders between ids do."""
    hashes = {basket_hash(items) for items in (["a", "b"], ["ab"], ["a", "b", ""], ["a"], ["1:a"], [])}
    assert len(hashes) == 6
    assert basket_hash(["b", "a", "b"]) == basket_hash(["a", "b"])
    # The bytes `1:a1:b`.
    assert Keys("reckoner").basket("g1", ["b", "a"]) == (
        "reckoner:basket:g1:facdde7abf1eac5b301273ab2e282f79bab0100f058833a7b8bdf9f80741e149"
    )


def test_an_ordered_baskets_name_depends_on_the_order() -> None:
    """It is hashed as it is given."""
    assert basket_hash(["a", "b"], ordered=True) == basket_hash(["a", "b"])
    assert basket_hash(["b", "a"], ordered=True) != basket_hash(["a", "b"])


def test_job_keys_have_arqs_names() -> None:
    """The names are arq's own, so arq finds what the scripts create."""
    assert (job_key("j"), tries_key("j"), in_progress_key("j")) == ("arq:job:j", "arq:retry:j", "arq:in-progress:j")
    assert types_of_jobs(["j"]).keys() == {job_key("j"), tries_key("j"), in_progress_key("j")}


def test_no_other_module_writes_a_key_name() -> None:
    """No other module joins a prefix and a colon."""
    for package in ("shared", "producer", "workers"):
        for module in (ROOT / package).rglob("*.py"):
            if module not in (NAMES / "keys.py", NAMES / "scripts" / "constants.py"):
                assert not re.search(r"[{]\w*(?:prefix|keys[.]prefix)[}]:|arq:(?:job|retry|queue)", module.read_text())
