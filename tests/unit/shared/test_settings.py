"""Settings come from variables and from one file; what is wrong is named, and its value never shown."""

import re
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from reckoner.shared.errors import SettingsError
from reckoner.shared.event_types import EventType, parse_event_types
from reckoner.shared.settings import FILE_VARIABLE, VARIABLE_PREFIX, Settings, load_settings, read_settings, variable_of
from tests.root import ROOT

WRONG = {
    "PREFIX": "a secret of one with spaces",
    "LIST_LENGTH": "a secret",
    "RESULT_TTL_S": "0",
    "CHUNKS": "501",
    "TASKS_PER_JOB": "1.5",
    "BATCH_TASK_MS": "-1",
    "THREADS": "65",
    "BLOCK_SIZE": "-3",
    "TASK_DEADLINE_S": "nan",
    "FIRST_LOOK_S": "inf",
    "LOG_LEVEL": "a secret",
    "NIGHTLY": "a secret",
}

Write = Callable[[str | bytes], dict[str, str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of settings; returns the variable that names it."""

    def write(text: str | bytes) -> dict[str, str]:
        path = tmp_path / "sëttings of mine.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return {FILE_VARIABLE: str(path)}

    return write


def refusal(environ: dict[str, str]) -> str:
    """What is said of settings that cannot be used: one sentence, and no secret in it or in what it came from."""
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    shown = "".join(traceback.TracebackException.from_exception(caught.value).format_exception_only())
    error: BaseException | None = caught.value
    while error is not None:
        shown += str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert "hunter2" not in shown
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def test_an_empty_environment_gives_the_defaults() -> None:
    """Other people's variables are none of ours."""
    assert load_settings({"PATH": "x", "RECKON": "1"}) == Settings()


def test_every_field_has_a_variable() -> None:
    """Each is read, as text, into the type of its field."""
    given = msgspec.structs.asdict(Settings(home="/a home", chunks=7))
    environ = {VARIABLE_PREFIX + name.upper(): str(value) for name, value in given.items()}
    assert load_settings(environ) == Settings(home="/a home", chunks=7)


def test_an_empty_variable_counts_as_unset() -> None:
    """Compose files and shells pass empty variables for missing values."""
    assert load_settings({"RECKONER_CHUNKS": "", "RECKONER_REDIS_URL": ""}) == Settings()


def test_an_unknown_name_is_an_error_that_names_it() -> None:
    """A slip of the pen must not pass as the default."""
    with pytest.raises(SettingsError, match=r"RECKONER_TYPO is not a setting.*RECKONER_REDIS_URL") as caught:
        load_settings({"RECKONER_TYPO": "a secret"})
    assert "secret" not in str(caught.value)


SERVICES = {
    "RECKONER_SERVICE_HOST": "10.0.0.11",
    "RECKONER_SERVICE_PORT": "6379",
    "RECKONER_PORT": "tcp://10.0.0.11:6379",
    "RECKONER_PORT_6379_TCP": "tcp://10.0.0.11:6379",
    "RECKONER_REDIS_SERVICE_HOST": "10.0.0.11",
    "RECKONER_REDIS_SERVICE_PORT": "6379",
    "RECKONER_REDIS_SERVICE_PORT_CLIENT_TLS": "6379",
    "RECKONER_REDIS_PORT": "tcp://10.0.0.11:6379",
    "RECKONER_REDIS_PORT_6379_TCP": "tcp://10.0.0.11:6379",
    "RECKONER_REDIS_PORT_6379_TCP_PROTO": "tcp",
    "RECKONER_REDIS_PORT_6379_TCP_PORT": "6379",
    "RECKONER_REDIS_PORT_6379_TCP_ADDR": "10.0.0.11",
    "RECKONER_DNS_2_PORT": "udp://10.0.0.12:53",
    "RECKONER_DNS_2_PORT_53_UDP_ADDR": "10.0.0.12",
}


def test_the_variables_of_a_kubernetes_service_are_passed_over() -> None:
    """They are in every pod beside a service called `reckoner` or `reckoner-...`; other settings count as ever."""
    reading = read_settings(SERVICES | {"RECKONER_CHUNKS": "7"})
    assert reading.settings == Settings(chunks=7)
    assert reading.ignored == sorted(SERVICES)
    assert not {variable_of(field) for field in Settings.__struct_fields__} & SERVICES.keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECKONER_REDIS_PORT", "6379"),
        ("RECKONER_PORT", ""),
        ("RECKONER_REDIS_HOST", "10.0.0.11"),
        ("RECKONER_SERVICE_HOSTS", "10.0.0.11"),
        ("RECKONER_PORT_TCP", "6379"),
        ("RECKONER_REDIS_PORT_6379", "tcp://10.0.0.11:6379"),
        ("RECKONER_PORTS", "tcp://10.0.0.11:6379"),
    ],
)
def test_a_variable_that_only_resembles_one_of_a_service_is_refused(name: str, value: str) -> None:
    """A port as a number was set by a user who takes it for a setting."""
    assert refusal(SERVICES | {name: value}).startswith(f"{name} is not a setting. The settings are: ")


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_value_is_named_and_not_shown(name: str) -> None:
    """The message says which variable, and what it may be; neither it nor its causes hold the value."""
    with pytest.raises(SettingsError, match=f"^RECKONER_{name} is invalid: .*[.]$") as caught:
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
    assert Settings(home="~x-nobody/x").home_path == Path("~x-nobody/x").absolute()


def test_the_file_lies_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read when it is there, and each setting says where it is from."""
    monkeypatch.chdir(tmp_path)
    assert read_settings({}).file is None
    path = tmp_path / "reckoner.toml"
    path.write_text('prefix = "shop"  # ours\nlist_length = 7\ntask_deadline_s = 20\n')
    reading = read_settings({"RECKONER_LIST_LENGTH": "9", "RECKONER_CHUNKS": ""})
    assert reading.settings == Settings(prefix="shop", list_length=9, task_deadline_s=20.0)
    assert reading.file == path
    found = {name: origin for name, origin in reading.origins.items() if origin != "default"}
    assert found == {"prefix": str(path), "list_length": "RECKONER_LIST_LENGTH", "task_deadline_s": str(path)}
    assert set(reading.origins) == set(Settings.__struct_fields__)


def test_a_variable_names_another_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the one in the working directory is not looked at; an empty variable names none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reckoner.toml").write_text("chunks = 5")
    assert load_settings(write('chunks = 6\nhome = ""')) == Settings(chunks=6)
    assert load_settings({FILE_VARIABLE: ""}) == Settings(chunks=5)
    assert load_settings({FILE_VARIABLE: "/dev/null"}) == Settings()


def test_an_endless_settings_file_is_refused() -> None:
    """Only the first bytes above the limit are read."""
    said = "The settings file /dev/zero is too large: it has over 1,048,576 bytes."
    assert refusal({FILE_VARIABLE: "/dev/zero"}) == said


def test_an_unknown_key_is_reported_with_the_nearest_one(write: Write) -> None:
    """A typing error, a table, or the name of a variable."""
    environ = write('redis_urll = "hunter2"')
    assert refusal(environ) == f"redis_urll in {environ[FILE_VARIABLE]} is not a setting. The nearest one is redis_url."
    assert "The nearest one is chunks." in refusal(write("RECKONER_CHUNKS = 7"))
    assert refusal(write('[redis]\nurl = "hunter2"')).startswith("redis in ")


@pytest.mark.parametrize(
    "line",
    [
        'list_length = "hunter2"',
        "list_length = 0",
        "list_length = 20.5",
        "list_length = true",
        "list_length = 99999999999999999999999999",
        "result_ttl_s = 99999999999999999",
        'home = "hunter2\\u0000"',
        "task_deadline_s = nan",
        'prefix = "hunter2 with spaces"',
        'prefix = "hunter2\\n"',
        'log_level = "hunter2"',
        "redis_url = 2026-01-01",
        "home = {hunter2 = 1}",
        'store_url = ["hunter2"]',
    ],
)
def test_a_wrong_value_in_the_file_is_named_and_not_shown(write: Write, line: str) -> None:
    """Also when a variable covers it, which will be taken away one day."""
    environ, key = write(line), line.partition(" ")[0]
    for covered in ({}, {VARIABLE_PREFIX + key.upper(): "20"} if key != "log_level" else {}):
        assert refusal(environ | covered).startswith(f"{key} in {environ[FILE_VARIABLE]} is invalid: ")


def test_a_table_of_the_fit_is_its_options(write: Write) -> None:
    """As somebody would write it in a file; the variable has the same as a line."""
    environ = write('nightly = "03:00"\n\n[fit]\nsimilarity = "bm25"\nneighbours = 50\nshrink = 0.5\n')
    assert load_settings(environ).fit == "--similarity bm25 --neighbours 50 --shrink 0.5"
    assert load_settings(environ | {"RECKONER_FIT": "--neighbours 9"}).fit == "--neighbours 9"


def test_a_table_of_event_types_is_their_json(write: Write) -> None:
    """The variable has the same as a line, and the built-in types stay."""
    environ = write('[event_types]\npurchase = { weight = 3, role = "history" }\n"zurück" = { role = "exclude" }\n')
    text = '{"purchase": {"weight": 3, "role": "history"}, "zurück": {"role": "exclude"}}'
    assert load_settings(environ).event_types == text
    assert load_settings({"RECKONER_EVENT_TYPES": text}).event_types == text
    assert load_settings(environ | {"RECKONER_EVENT_TYPES": "{}"}).event_types == "{}"


def test_the_event_types_of_the_page_are_valid(write: Write) -> None:
    """They are read as a reader would copy them."""
    [example] = re.findall(r"```toml\n(\[event_types\].*?)```", (ROOT / "docs/settings.md").read_text(), re.DOTALL)
    types = parse_event_types(load_settings(write(example)).event_types)
    assert (types.by_name["cart"], types.default) == (EventType(2.0, "signal"), EventType(0.5, "signal"))


@pytest.mark.parametrize("line", ["like = { weight = 0 }", "like = { weight = inf }", "like = 2026-01-01"])
def test_wrong_event_types_are_named(write: Write, line: str) -> None:
    """In the file by their key, otherwise by their variable; what they say is a test of theirs."""
    environ = write(f"[event_types]\n{line}")
    assert refusal(environ).startswith(f"event_types in {environ[FILE_VARIABLE]} is invalid: the ")
    assert refusal({"RECKONER_EVENT_TYPES": "hunter2"}).startswith("RECKONER_EVENT_TYPES is invalid: expected JSON, ")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b'chunks = 5\nredis_url = "hunter2', "not valid TOML at line 2."),
        (b'chunks = 5\nredis_url = hunter2\nhome = ""', "not valid TOML at line 2."),
        (b"hunter2", "not valid TOML at line 1."),
        (b"chunks = 1\nchunks = 2\n", "not valid TOML at line 2."),
        (b"chunks = 1\n\nhome = '\xff hunter2'", "is not UTF-8 text."),
        (b"chunks = " + b"9" * 5000, "not valid TOML at a value."),
        (b"chunks = " + b"[" * 5000, "not valid TOML at a value."),
    ],
)
def test_a_file_that_is_no_toml_says_where(write: Write, text: bytes, where: str) -> None:
    """The line, and nothing that is written in it."""
    said = refusal(write(text))
    assert where in said
    assert "settings file" in said


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """One that is named has to be there."""
    gone = tmp_path / "gone.toml"
    assert refusal({FILE_VARIABLE: str(gone)}) == f"The settings file {gone} cannot be read: No such file or directory."
    assert "Is a directory" in refusal({FILE_VARIABLE: str(tmp_path)})
    assert "invalid path" in refusal({FILE_VARIABLE: "a\0b"})


@pytest.mark.parametrize("field", ["list_length", "first_look_s", "prefix", "log_level", "nightly"])
def test_bytes_that_are_no_text_are_refused_by_name(field: str) -> None:
    """Of a variable with such bytes Python makes half of a surrogate pair."""
    with pytest.raises(SettingsError) as refused:
        load_settings({variable_of(field): "\udcff"})
    assert str(refused.value).startswith(f"{variable_of(field)} is invalid: ")


def test_a_path_may_be_any_bytes() -> None:
    """As file systems have it."""
    assert load_settings({"RECKONER_HOME": "/a \udcff"}).home_path.name == "a \udcff"


def test_an_invalid_prefix_is_explained() -> None:
    """In words, not by a regular expression."""
    with pytest.raises(SettingsError, match=r"RECKONER_PREFIX is invalid: expected 1 to 64 letters, digits"):
        load_settings({"RECKONER_PREFIX": "a:b*"})


@pytest.mark.parametrize(
    ("field", "value", "wrong"),
    [
        ("source", "postgresql://shop:hunter2@host/db --query 'select 1'", "the URL contains a password"),
        ("source", "postgres://shop:a/hunter2@host/db", "the URL contains a password"),
        ("source", "'postgres://shop:a hunter2@host/db'", "the URL contains a password"),
        ("source", "postgres://:hunter2@host/db", "the URL contains a password"),
        ("source", "'postgresql://host/db?user=shop&password=hunter2'", "the URL contains a password"),
        ("source", "postgresql://host/db?sslpassword=hunter2", "the URL contains a password"),
        ("source", "postgresql://host/db?pass%77ord=hunter2", "the URL contains a password"),
        ("source", "postgresql://host/db?oauth_client_secret=hunter2", "the URL contains a password"),
        ("source", "'purchases.csv", "no closing quotation"),
        ("on_night", "mail 'operator", "no closing quotation"),
    ],
)
def test_what_a_night_needs_is_checked(field: str, value: str, wrong: str) -> None:
    """Without the value in the message."""
    with pytest.raises(SettingsError, match=f"^RECKONER_{field.upper()} is invalid: {wrong}") as raised:
        load_settings({f"RECKONER_{field.upper()}": value})
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "source",
    [
        "env:SHOP --user who",
        "postgresql://shop@host:5432/db?sslmode=require --query 'select who, password from people'",
        "postgresql://shop%3Aeu@host/db?passfile=/run/file",
        "sqlite:////data/a:b@c.db",
        "/data/password=1.csv",
    ],
)
def test_a_source_without_a_password_is_valid(source: str) -> None:
    """A variable's name may stand for a URL with one."""
    assert load_settings({"RECKONER_SOURCE": source}).source == source
