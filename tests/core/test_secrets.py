from __future__ import annotations

import json
from html import escape

import pytest

from probes.core.secrets import holds_secret, known_secrets, redacted

SECRET = 'p"lant<ed>-1234'
KEYS = [
    "hf_" + "aB3" * 8, "sk-" + "proj-x1" * 4, "ghp_" + "a1B2" * 9, "github_pat_" + "a1" * 12,
    "wandb_v1_" + "Ab_9" * 8, "AKIA" + "ABCD" * 4, "xoxb-1234567890-abc",
]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "WANDB_API_KEY", "MY_SECRET", "DB_PASSWORD", "OPENAI_APIKEY", "token",
     "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "GOOGLE_CREDENTIALS", "x.password"],
)  # fmt: skip
def test_names_that_say_so_are_secret(name: str) -> None:
    assert known_secrets({name: "abcdefgh-1"}) == ["abcdefgh-1"]
    assert redacted({name: "x"}) == {name: "***"}


@pytest.mark.parametrize(
    "name", ["MAX_TOKENS", "tokens_per_second", "TOKENIZERS_PARALLELISM", "key", "KEYBOARD", "HOME"]
)
def test_other_names_are_not(name: str) -> None:
    assert known_secrets({name: "abcdefgh-1"}) == []
    assert redacted({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("key", KEYS)
def test_keys_of_known_shapes_are_found_anywhere(key: str) -> None:
    data = {"a": [f"model at {key}!", {key: 1}], "n": 3}
    assert key not in json.dumps(redacted(data))
    assert redacted(data)["n"] == 3
    assert holds_secret(f"<p>{key}</p>".encode())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://me:pass@host/x", "https://***@host/x"),
        ("see https://host/a@b and me@home", "see https://host/a@b and me@home"),
        ("git+ssh://git@host/x", "git+ssh://***@host/x"),
    ],
)
def test_passwords_in_addresses(text: str, kept: str) -> None:
    assert redacted(text) == kept
    assert holds_secret(text.encode()) == (text != kept)


def test_secrets_of_the_environment_are_found_however_they_are_spelled() -> None:
    assert redacted([f"a{SECRET}b"], [SECRET]) == ["a***b"]
    for content in (SECRET, json.dumps({"a": SECRET}), f"<p>{escape(SECRET)}</p>"):
        assert holds_secret(f"long text {content} more".encode(), [SECRET]), content
    assert not holds_secret(b"nothing here", [SECRET])


def test_fingerprints_and_ordinary_settings_stay() -> None:
    data = {
        "fingerprint": "0123456789abcdef" * 4,
        "model": {"name": "~/models/sk-llama", "bos": "auto"},
        "l2": [0.1, None, True],
    }
    assert redacted(data, ["short"]) == data
