"""What workers tell the process that starts them: each thing once, in its order, and to nobody if need be."""

from reckoner.shared.startup import EventReceiver, EventSender, StartupEvent


def test_what_is_told_is_heard_in_its_order() -> None:
    """Once each; and when nobody listens any more, telling does no harm."""
    listener = EventReceiver()
    teller = EventSender(listener.others_end)
    assert listener.news() == []
    teller.tell("started", 7)
    teller.tell("compiling", 7, 1)
    assert listener.news() == [StartupEvent("started", 7), StartupEvent("compiling", 7, 1)]
    teller.tell("ended", 7, -9)
    assert listener.news() == [StartupEvent("ended", 7, -9)]
    listener.close()
    listener.close()
    teller.tell("started", 8)
    listener.handed_over()


def test_all_that_was_told_is_heard_when_the_tellers_have_ended() -> None:
    """Their end is closed then."""
    listener = EventReceiver()
    EventSender(listener.others_end).tell("ended", 7, 1)
    listener.handed_over()
    assert listener.news() == [StartupEvent("ended", 7, 1)]
    assert listener.news() == []
    listener.close()


def test_nothing_is_told_without_a_listener() -> None:
    """As by workers that no other process of ours starts."""
    EventSender(None).tell("started", 7)
