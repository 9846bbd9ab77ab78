"""What workers tell the process that starts them: each thing once, in its order, and to nobody if need be."""

from reckoner.shared.startup import EventReceiver, EventSender, StartupEvent


def test_events_arrive_once_and_in_order() -> None:
    """Sending without a reader does no harm."""
    receiver = EventReceiver()
    sender = EventSender(receiver.sender_end)
    assert receiver.receive() == []
    sender.send("started", 7)
    sender.send("compiling", 7, 1)
    assert receiver.receive() == [StartupEvent("started", 7), StartupEvent("compiling", 7, 1)]
    sender.send("ended", 7, -9)
    assert receiver.receive() == [StartupEvent("ended", 7, -9)]
    receiver.close()
    receiver.close()
    sender.send("started", 8)
    receiver.close_sender_end()


def test_all_events_arrive_after_the_senders_have_ended() -> None:
    """Their end is closed then."""
    receiver = EventReceiver()
    EventSender(receiver.sender_end).send("ended", 7, 1)
    receiver.close_sender_end()
    assert receiver.receive() == [StartupEvent("ended", 7, 1)]
    assert receiver.receive() == []
    receiver.close()


def test_without_a_receiver_nothing_is_sent() -> None:
    """Workers that no process of ours started have none."""
    EventSender(None).send("started", 7)
