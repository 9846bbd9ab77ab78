"""Settings come from the environment alone; what is wrong is named, and its value never shown."""

from pathlib import Path

import msgspec
import pytest

from shared.errors import SettingsError
from shared.settings import VARIABLE_PREFIX, Settings, load_settings

WRONG = {
    "PREFIX": "a secret of one with spaces",
    "LIST_LENGTH": "a secret",
    "RESULT_TTL_S": "0",
    "CHUNKS": "501",
    "TASKS_PER_JOB": "1.5",
    "BLOCK_SIZE": "-3",
    "TASK_DEADLINE_S": "nan",
    "FIRST_LOOK_S": "inf",
    "LOG_LEVEL": "a secret",
}


def test_an_empty_environment_gives_the_defaults() -> None:
    """Other people's variables are none of ours."""
    assert load_settings({"PATH": "x", "RECKON": "1"}) == Settings()


def test_every_field_has_a_variable() -> None:
    """Each is read, as text, into the type of its field."""
    given = msgspec.structs.asdict(Settings(home="/a home", chunks=7))
    environ = {VARIABLE_PREFIX + name.upper(): str(value) for name, value in given.items()}
    assert load_settings(environ) == Settings(home="/a home", chunks=7)


def test_an_empty_variable_is_none() -> None:
    """Compose files and shells set empty variables for what is not given."""
    assert load_settings({"RECKONER_CHUNKS": "", "RECKONER_REDIS_URL": ""}) == Settings()


def test_an_unknown_name_is_an_error_that_names_it() -> None:
    """A slip of the pen must not pass as the default."""
    with pytest.raises(SettingsError, match=r"RECKONER_TYPO is not a setting.*RECKONER_REDIS_URL") as caught:
        load_settings({"RECKONER_TYPO": "a secret"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_value_is_named_and_not_shown(name: str) -> None:
    """The message says which variable, and what it may be; neither it nor its causes hold the value."""
    with pytest.raises(SettingsError, match=f"^RECKONER_{name} cannot be used: .*[.]$") as caught:
        load_settings({f"RECKONER_{name}": WRONG[name]})
    error: BaseException | None = caught.value
    assert WRONG[name] not in str(error)
    assert error is not None
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_every_setting_is_documented() -> None:
    """Each field carries the sentence that the documentation shows."""
    fields = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]
    assert all(field.get("description", "").endswith(".") for field in fields.values())


def test_the_store_lies_in_the_home_unless_it_is_set(tmp_path: Path) -> None:
    """A home with spaces becomes a URL, and a home of ~ is the user's."""
    assert Settings(home=str(tmp_path / "a home")).store_location == (tmp_path / "a home" / "store").as_uri()
    assert Settings(store_url="file:///elsewhere").store_location == "file:///elsewhere"
    assert Settings(home="~/x").home_path == Path.home() / "x"
