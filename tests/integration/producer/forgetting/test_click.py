"""No job makes a list of a forgotten user, whom the snapshot may still have."""

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.forgotten import Forgotten
from tests.world import Hand, World


async def test_a_forgotten_user_gets_no_list(reckoner: OpenReckoner, hand: Hand, world: World) -> None:
    """They get the popular one, as an unknown user does; others get theirs."""
    generation = await hand.adopt(world, 1)
    forgotten = Forgotten("key")
    await reckoner.events.set_forgotten(Forgotten("key", [forgotten.hash_of("usér")]))
    for user in ("usér", "Ada"):
        await reckoner.enqueue(user)
    await hand.deliver_all()
    found = [await ask(reckoner.redis, "GET", reckoner.keys.result(generation.id, user)) for user in ("usér", "Ada")]
    assert found == [None, generation.lists["Ada"]]
    assert [(await reckoner.get(user)).source for user in ("usér", "Ada")] == ["popular", "cache"]
    await reckoner.events.set_forgotten(Forgotten("key"))
    await reckoner.enqueue("usér", fresh=True)
    await hand.deliver_all()
    assert await ask(reckoner.redis, "GET", reckoner.keys.result(generation.id, "usér")) == generation.lists["usér"]
