"""Ready Reckoner keeps every user's next N recommendations ready in Redis: `from reckoner import Reckoner`.

This, `reckoner.importing` and `reckoner.exporting` are the public API. `reckoner.producer`, `reckoner.workers` and
`reckoner.shared` are internal and may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reckoner.producer.client.answers import (
        BasketAnswer,
        CatalogueItem,
        Compared,
        Enqueued,
        EnqueuedBasket,
        HiddenItem,
        HistoryItem,
        JobReport,
        NamedList,
        Neighbour,
        RecentEvent,
        RunReport,
        Similar,
        TaggedItem,
        UserHistory,
    )
    from reckoner.producer.client.operator import Operator
    from reckoner.producer.client.reckoner import Reckoner
    from reckoner.producer.client.recording import Event, Recorded
    from reckoner.producer.client.status import Status
    from reckoner.producer.client.sync import SyncReckoner
    from reckoner.producer.client.sync_operator import SyncOperator
    from reckoner.shared.errors import (
        ClientClosedError,
        DrainRefusedError,
        EventRefusedError,
        EventsFullError,
        FlowCancelledError,
        FlowFailedError,
        FlowUnknownError,
        HistoryTooLongError,
        ItemUnknownError,
        ListUnknownError,
        NothingFittedError,
        QueueFullError,
        ReckonerError,
        RedisUnavailableError,
        UsageError,
        UserUnknownError,
        WaitTimeoutError,
        WrongLoopError,
    )
    from reckoner.shared.event_types import EventType, EventTypes, parse_event_types
    from reckoner.shared.flows.heartbeats import LiveWorker
    from reckoner.shared.serving.impressions import Rotation
    from reckoner.shared.serving.results import Answer, Entry
    from reckoner.shared.store.model_config import ModelConfig

__all__ = [
    "Answer",
    "BasketAnswer",
    "CatalogueItem",
    "ClientClosedError",
    "Compared",
    "DrainRefusedError",
    "Enqueued",
    "EnqueuedBasket",
    "Entry",
    "Event",
    "EventRefusedError",
    "EventType",
    "EventTypes",
    "EventsFullError",
    "FlowCancelledError",
    "FlowFailedError",
    "FlowUnknownError",
    "HiddenItem",
    "HistoryItem",
    "HistoryTooLongError",
    "ItemUnknownError",
    "JobReport",
    "ListUnknownError",
    "LiveWorker",
    "ModelConfig",
    "NamedList",
    "Neighbour",
    "NothingFittedError",
    "Operator",
    "QueueFullError",
    "RecentEvent",
    "Reckoner",
    "ReckonerError",
    "Recorded",
    "RedisUnavailableError",
    "Rotation",
    "RunReport",
    "Similar",
    "Status",
    "SyncOperator",
    "SyncReckoner",
    "TaggedItem",
    "UsageError",
    "UserHistory",
    "UserUnknownError",
    "WaitTimeoutError",
    "WrongLoopError",
    "parse_event_types",
]

_HOMES = (
    "reckoner.shared.errors",
    "reckoner.shared.serving.results",
    "reckoner.shared.serving.impressions",
    "reckoner.producer.client.answers",
    "reckoner.producer.client.operator",
    "reckoner.producer.client.reckoner",
    "reckoner.producer.client.recording",
    "reckoner.producer.client.status",
    "reckoner.producer.client.sync",
    "reckoner.producer.client.sync_operator",
    "reckoner.shared.event_types",
    "reckoner.shared.flows.heartbeats",
    "reckoner.shared.store.model_config",
)


def __getattr__(name: str) -> object:
    """Import a name on first use, so that each command and worker imports only what it needs."""
    if name in __all__:
        for home in map(import_module, _HOMES):
            if hasattr(home, name):
                return getattr(home, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
