"""What readers get that keep nothing between two reads."""

from collections.abc import Sequence

from reckoner.shared.serving.results import Answer, Results


async def answers_of(results: Results, users: Sequence[str], n: int) -> list[Answer]:
    """The first `n` places of each user's list in the current generation, or of the popular list.

    Raises:
        NothingFittedError: there is no generation yet.
    """
    record = (await results.generations.follow(results.keys.current)).require()
    return await results.complete(users, await results.read_shown(record.generation, users, n), n, record)
