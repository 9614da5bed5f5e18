"""Secrets are found in a fixed order, refused when others can read them, and never shown."""

from __future__ import annotations

import pytest

from casflow import redaction, secrets
from casflow.errors import AccessError, ConfigError, MissingSecretError
from casflow.secrets import Secret


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CASFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setattr(redaction, "_known", redaction.KnownSecrets())
    return tmp_path


def write(home, text, mode=0o600):
    file = home / "secrets.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_the_context_wins_over_the_environment_and_that_over_the_file(home, monkeypatch):
    write(home, 'TOKEN = "from-file"')
    assert Secret("TOKEN").get() == "from-file"
    monkeypatch.setenv("TOKEN", "from-environment")
    assert Secret("TOKEN").get() == "from-environment"
    with secrets.given({"TOKEN": "from-context"}):
        assert Secret("TOKEN").get() == "from-context"
    assert Secret("TOKEN").get() == "from-environment"


def test_an_inner_context_adds_to_the_outer_one():
    with secrets.given({"A": "first"}), secrets.given({"B": "second"}):
        assert (Secret("A").get(), Secret("B").get()) == ("first", "second")


@pytest.mark.parametrize(
    ("text", "value"), [("42", 42), ("null", None), ('{"a": [1]}', {"a": [1]}), ("a b", "a b")]
)
def test_text_that_is_json_is_decoded(monkeypatch, text, value):
    monkeypatch.setenv("VALUE", text)
    assert Secret("VALUE").get() == value


def test_a_table_of_the_file_is_a_dictionary(home):
    write(home, '[AWS_CREDENTIALS]\nACCESS_KEY = "a"\nSECRET_ACCESS_KEY = "b"')
    assert Secret("AWS_CREDENTIALS").get() == {"ACCESS_KEY": "a", "SECRET_ACCESS_KEY": "b"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_refused(home, mode):
    write(home, 'TOKEN = "x"', mode)
    with pytest.raises(AccessError, match="chmod 600"):
        Secret("TOKEN").get()


def test_a_damaged_file_is_named_and_its_text_is_not_shown(home):
    write(home, 'TOKEN = "sentinel')
    with pytest.raises(ConfigError) as caught:
        Secret("TOKEN").get()
    assert "secrets.toml" in str(caught.value)
    assert "sentinel" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_secret_is_named():
    with pytest.raises(MissingSecretError, match="NO_SUCH") as caught:
        Secret("NO_SUCH").get()
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AccessError)


def test_the_repr_holds_the_name_only(monkeypatch):
    monkeypatch.setenv("TOKEN", "sentinel")
    secret = Secret("TOKEN")
    secret.get()
    assert repr(secret) == "<Secret: TOKEN>"
    assert "sentinel" not in repr(vars(secret))


def test_values_seen_are_removed_from_texts(monkeypatch):
    monkeypatch.setenv("KEYS", '{"key": "sentinel-one", "more": ["sentinel-two"]}')
    assert "sentinel" in secrets.redact("sentinel-one")
    Secret("KEYS").get()
    assert secrets.redact("a sentinel-one, b sentinel-two.") == "a ***, b ***."


@pytest.mark.parametrize(
    "text",
    [
        "https://host/b?sv=1&sig=sentinel%2B&se=2",
        "AccountName=a;AccountKey=sentinel==;EndpointSuffix=x",
        "https://user:sentinel@host/path",
        "?X-Amz-Signature=sentinel&X-Amz-Security-Token=sentinel",
    ],
)
def test_signatures_in_addresses_are_removed_even_when_never_seen(text):
    redacted = secrets.redact(text)
    assert "sentinel" not in redacted
    assert secrets.HIDDEN in redacted


@pytest.mark.parametrize("value", ["a", "open", "root", "test", "main", "true", "False", "12345"])
def test_a_short_value_does_not_make_texts_unreadable(value):
    with secrets.given({"PIN": value}):
        text = f"a popen-gw0 {value}s"
        assert secrets.redact(text) == text


def test_a_value_of_six_characters_is_hidden():
    with secrets.given({"PIN": "q7x9z2"}):
        assert secrets.redact("at q7x9z2!") == "at ***!"


def test_the_keyring_is_asked_last(monkeypatch):
    keyring = pytest.importorskip("keyring")
    from keyring.backend import KeyringBackend

    class Memory(KeyringBackend):
        priority = 1

        def get_password(self, service, username):
            return f"{service}/{username}"

        def set_password(self, service, username, password):
            raise NotImplementedError

        def delete_password(self, service, username):
            raise NotImplementedError

    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    try:
        assert Secret("FROM_RING").get() == "casflow/FROM_RING"
    finally:
        keyring.set_keyring(before)
