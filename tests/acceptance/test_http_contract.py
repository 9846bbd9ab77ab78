"""What the HTTP API's description says is so: schemathesis makes requests of it, good and bad, for the running API."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.test_http import serving
from tests.system import System, synthetic_pairs

pytestmark = pytest.mark.contract

TOKEN = "a token for schemathesis"
SECONDS, SEED = os.environ.get("CONTRACT_SECONDS", "30"), os.environ.get("CONTRACT_SEED", "1")
# What no schema can say: n beyond the length of the lists, blanks around tags, cursors that no page has named.
BEYOND_SCHEMAS = "positive_data_acceptance"
# Full, late or away is no mistake; what is one is logged.
LOGGED = "not_a_server_error"


async def test_every_answer_is_as_it_is_described(tmp_path: Path) -> None:
    """Status, headers and shape of each answer; what the description forbids is refused; nothing fails inside."""
    async with System(tmp_path) as system:
        system.import_pairs(synthetic_pairs())
        system.start_workers(1)
        await system.fit()
        tokens = tmp_path / "tokens"
        tokens.write_text(f"admin schemathesis {TOKEN.replace(' ', '-')}\n")
        with serving(system, "--tokens", str(tokens), "--timeout", "3") as served:
            command = [
                *(str(Path(sys.prefix) / "bin" / "schemathesis"), "run", f"{served.url}/openapi.json", "--no-color"),
                *("--header", f"Authorization: Bearer {TOKEN.replace(' ', '-')}", "--seed", SEED),
                *("--phases", "examples,coverage,fuzzing,stateful", "--max-time", SECONDS, "--continue-on-failure"),
                *("--exclude-checks", f"{LOGGED},{BEYOND_SCHEMAS}", "--max-response-time", "63"),
            ]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-1_000:]
        assert "request failed" not in (system.home / "serve.log").read_text()
