"""What is known of all users beside a snapshot."""

from collections.abc import AsyncIterator

from reckoner.shared.serving.events import Events, Recent


def all_recent(events: Events) -> AsyncIterator[Recent]:
    """Yield it user by user; see `Events.recent`."""
    return events.recent("", "\U0010ffff")
