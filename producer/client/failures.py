"""The dead letters grouped by reason, for operators."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from reckoner.shared.errors import LetterUnknownError, RetryRefusedError
from reckoner.shared.flows.dead_letters import DeadLetter, DeadLetters, LetterKind
from reckoner.shared.redis.scripts import ask

if TYPE_CHECKING:
    from reckoner.producer.client.connection import Client

# Ids, hashes and numbers in a reason, which differ between failures of one kind.
VARYING = re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{8,}\b|\b\d[\d,.]*\b")
# A group names so many of its letters.
EXAMPLES = 20


@dataclass(frozen=True)
class FailureGroup:
    """The dead letters of one kind with the same reason, apart from its ids and numbers."""

    id: str
    kind: LetterKind
    of: str
    """The kind of job, or of refused bytes."""
    reason: str
    """That of the newest one."""
    count: int
    first_ms: int
    last_ms: int
    newest: list[DeadLetter]
    """The newest ones, at most 20, newest first."""

    @property
    def retries(self) -> bool:
        """Whether its letters can be retried: they are jobs."""
        return self.kind == "flow"


@dataclass(frozen=True)
class GroupRetried:
    """What became of the letters of a group: the number of retried ones, and the refusals."""

    retried: int
    refused: list[str]
    """A sentence for each letter that could not be retried, and stays."""


def group_id(letter: DeadLetter) -> str:
    """The id of a letter's group."""
    reason = VARYING.sub("#", letter.reason)
    return sha256("\0".join((letter.kind, letter.of, reason)).encode()).hexdigest()[:16]


class Failures:
    """The dead letters of a client, grouped."""

    def __init__(self, client: "Client") -> None:
        self._letters = DeadLetters(client.redis, client.flows)
        self._client = client

    async def groups(self) -> list[FailureGroup]:
        """All groups, the one with the newest letter first."""
        found: dict[str, FailureGroup] = {}
        async for letter in self._all():
            group = found.get(name := group_id(letter))
            if group is None:
                found[name] = FailureGroup(
                    name, letter.kind, letter.of, letter.reason, 1, letter.at_ms, letter.at_ms, [letter]
                )
                continue
            newest = [*group.newest, letter] if group.count < EXAMPLES else group.newest
            found[name] = FailureGroup(
                name,
                group.kind,
                group.of,
                group.reason,
                group.count + 1,
                min(group.first_ms, letter.at_ms),
                max(group.last_ms, letter.at_ms),
                newest,
            )
        return list(found.values())

    async def retry(self, group: str) -> GroupRetried:
        """Retry the letters of a group, oldest first; a refusal does not stop the others.

        Raises:
            LetterUnknownError: there is no such group.
        """
        retried, refused = 0, list[str]()
        for letter in reversed(await self._of(group)):
            try:
                await self._letters.retry(letter)
                retried += 1
            except LetterUnknownError:
                # Another operator has retried or dropped it meanwhile.
                continue
            except RetryRefusedError as error:
                refused.append(str(error))
        return GroupRetried(retried, refused)

    async def drop(self, group: str) -> int:
        """Drop the letters of a group; returns their number.

        Raises:
            LetterUnknownError: there is no such group.
        """
        letters = await self._of(group)
        dropped = 0
        for start in range(0, len(letters), 100):
            dropped += int(await ask(self._client.redis, "XDEL", self._client.keys.dead, *letters[start : start + 100]))
        return dropped

    async def _of(self, group: str) -> list[str]:
        """The ids of a group's letters, newest first."""
        found = [letter.id async for letter in self._all() if group_id(letter) == group]
        if not found:
            raise LetterUnknownError(
                "There are no such failures: they were retried, dropped, or replaced by newer ones."
            )
        return found

    async def _all(self) -> AsyncIterator[DeadLetter]:
        async for page in self._letters.pages():
            for letter in page:
                yield letter
