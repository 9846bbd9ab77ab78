"""The client without the packages of the workers: a new interpreter that refuses to import them."""

import asyncio
import json
import sys

from reckoner.shared.wire.shapes import RESULT
from tests.patience import PATIENCE_S
from tests.root import ROOT
from tests.world import Generation

NOT_NEEDED = ("arq", "numpy", "numba", "pandas", "pyarrow", "scipy")
# Its arguments are the URL, the prefix, a user, and the refused packages.
PROGRAM = """
import asyncio, json, sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[4:]:
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, Refusing())
import reckoner

async def main(url, prefix, user):
    async with reckoner.Reckoner(url, prefix=prefix) as client:
        answer = await client.recommend(user, fresh=True)
        await client.get(user)
        await client.similar("item 03")
        await client.operator.status()
        return [entry.item for entry in answer.items]

for name in reckoner.__all__:
    getattr(reckoner, name)
print(json.dumps(asyncio.run(main(*sys.argv[1:4]))))
"""


async def test_the_client_imports_no_package_of_the_workers(
    generation: Generation, redis_url: str, prefix: str
) -> None:
    """It enqueues, waits and reads, and the list is the right one."""
    user = "Ada"
    arguments = ("-c", PROGRAM, redis_url, prefix, user, *NOT_NEEDED)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_S):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert json.loads(output) == [place.item for place in RESULT.decode(generation.lists[user]).items]
