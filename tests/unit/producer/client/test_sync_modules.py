"""The modules of the synchronous client, which a script makes from the asynchronous one."""

import inspect

import pytest

from reckoner.producer.client.catalogue import Catalogue
from reckoner.producer.client.operator import Operator
from reckoner.producer.client.reckoner import Reckoner
from reckoner.producer.client.sync import SyncReckoner
from reckoner.producer.client.sync_catalogue import SyncCatalogue
from reckoner.producer.client.sync_operator import SyncOperator
from tests.sync_client import CLIENT, PARTS, TWINS, Twin, generate

PAIRS = [(Reckoner, SyncReckoner), (Catalogue, SyncCatalogue), (Operator, SyncOperator)]


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.target)
def test_a_module_is_up_to_date(twin: Twin) -> None:
    """To make it anew changes nothing."""
    assert (CLIENT / f"{twin.target}.py").read_text() == generate(twin), "Run `make sync`."


@pytest.mark.parametrize(("original", "twin"), PAIRS)
def test_every_public_call_has_its_twin(original: type, twin: type) -> None:
    """With its parameters, defaults and docstring; `aclose` is called `close`."""
    names = {name for name in vars(original) if not name.startswith("_")}
    assert {name for name in vars(twin) if not name.startswith("_")} == {
        name.replace("aclose", "close") for name in names
    }
    for name in names - {"aclose", *PARTS}:
        mine, theirs = getattr(twin, name), getattr(original, name)
        assert inspect.signature(mine).parameters == inspect.signature(theirs).parameters
        assert mine.__doc__ == theirs.__doc__
        assert not inspect.iscoroutinefunction(mine)
    assert list(inspect.signature(SyncReckoner).parameters) == list(inspect.signature(Reckoner).parameters)
