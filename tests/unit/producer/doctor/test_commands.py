"""The doctor checks the right to every command that the code sends."""

import re

from reckoner.producer.doctor.server import SENT_COMMANDS
from reckoner.shared.redis.scripts import commands_of_scripts
from tests.root import ROOT

# What it looks at by doing it, and what whoever asks bears with being refused.
DONE, BORNE = {"EVAL", "EVALSHA", "PUBLISH"}, {"BGREWRITEAOF", "DBSIZE", "HELLO"}
PIPED = r"\bpipe\.(hgetall|hget|hset|incr|expire|pexpire|set)\(|redis\.(hscan|zscan|scan|get|set)\("


def test_every_command_is_checked() -> None:
    """By `ask`, by a method of redis-py or by a script."""
    texts = [p.read_text() for part in ("shared", "workers", "producer") for p in (ROOT / part).rglob("*.py")]
    asked = {command for text in texts for command in re.findall(r"ask\([\w.]+, \"([A-Z]+)\"", text)}
    asked |= {(one or other).upper() for text in texts for one, other in re.findall(PIPED, text)}
    assert len(asked) > 20
    assert asked - DONE - BORNE - {"SCAN"} <= {command.partition(" ")[0] for command in SENT_COMMANDS}
    assert {"ZADD", "TIME", "HMGET"} <= {*commands_of_scripts()}
    assert "INFO" not in commands_of_scripts()
