"""The forgotten users, as keyed hashes of their ids in a mark of the store: no later snapshot has them."""

import hashlib
import secrets
from collections.abc import Collection, Iterable

import msgspec

from reckoner.shared.errors import StoreError
from reckoner.shared.store.protocol import Store

MARK = "forgotten-users"


class Forgotten(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hashes of forgotten users, and their key."""

    key: str = ""
    users: list[str] = []

    def hash_of(self, user: str) -> str:
        """The hash of a user's id: SHA-1, the only one that Lua has in Redis, of the secret key and the id."""
        return hashlib.sha1((self.key + user).encode(), usedforsecurity=False).hexdigest()

    def among(self, users: Iterable[str]) -> list[bool]:
        """Which of some users are forgotten."""
        known = set(self.users)
        return [bool(known) and self.hash_of(user) in known for user in users]

    @property
    def digest(self) -> str:
        """What changes when a user is forgotten or not any more; empty if none is."""
        return hashlib.sha256(" ".join(sorted(self.users)).encode()).hexdigest()[:16] if self.users else ""


def forgotten_users(store: Store | None) -> Forgotten:
    """The forgotten users of a store.

    Raises:
        StoreError: the mark is unreadable.
    """
    data = store and store.mark(MARK)
    if not data:
        return Forgotten()
    try:
        found = msgspec.json.decode(data, type=Forgotten)
    except msgspec.MsgspecError as error:
        raise StoreError(f"The mark {MARK} of the store is damaged. Restore it, or forget the users again.") from error
    return found


def set_forgotten(store: Store, users: Collection[str], *, undo: bool = False) -> Forgotten:
    """Forget users, or let snapshots have them again; returns all forgotten users.

    Raises:
        StoreError: the store is not writable.
    """
    before = forgotten_users(store)
    known = before if before.key else Forgotten(secrets.token_hex(16))
    hashes = {known.hash_of(user) for user in users}
    now = set(known.users) - hashes if undo else {*known.users, *hashes}
    after = msgspec.structs.replace(known, users=sorted(now))
    if after != before:
        store.set_mark(MARK, msgspec.json.encode(after), replace=True)
    return after
