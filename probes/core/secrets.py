"""Passwords, keys and tokens, found before something is sent to a server.

What is known to be secret is what the environment holds under a name that says so, a password
inside an address, and words of the shapes that well-known services give their keys. A secret of
another shape, typed as an ordinary value, cannot be told from that value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import TypeVar, cast

T = TypeVar("T")

HIDDEN = "***"
NAMES = re.compile(
    r"(?i)(?:^|[_.-])(?:token|secret|password|passwd|passphrase|credentials?|"
    r"(?:api|access|private|secret|auth)[_-]?key)(?:[_.-](?:id|key|value|file))?$"
)
"""Names of variables and keys whose values are secret. ``max_tokens`` is none."""
SHAPES = re.compile(
    r"hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|"
    r"github_pat_\w{20,}|wandb_v\d+_\w{16,}|AKIA[0-9A-Z]{16}|xox[abprs]-[A-Za-z0-9-]{10,}"
)
"""Of Hugging Face, OpenAI and Anthropic, GitHub, W&B, AWS and Slack."""
IN_ADDRESS = re.compile(r"(?<=://)[^/@\s'\"]+(?=@)")
SHORTEST = 8
"""Characters of a value that is looked for: shorter ones occur in ordinary words."""


def known_secrets(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Values of variables whose names say that they are secret, the longest first.

    >>> known_secrets({"HF_TOKEN": "abcdefgh-1", "MAX_TOKENS": "12345678", "A_SECRET": "no"})
    ['abcdefgh-1']
    """
    values = {value for name, value in environ.items() if NAMES.search(name)}
    return sorted((v for v in values if len(v) >= SHORTEST), key=len, reverse=True)


def redacted(value: T, secrets: Iterable[str] = ()) -> T:
    """A copy of plain data (dictionaries, lists, text, ...) with ``***`` for what is secret.

    secrets: what ``known_secrets`` gave, or a key that is known otherwise.

    >>> redacted({"name": "https://me:pass@host/x", "api_key": "k", "layers": [1]})
    {'name': 'https://***@host/x', 'api_key': '***', 'layers': [1]}
    """
    return cast(T, _redacted(value, list(secrets)))


def holds_secret(content: bytes, secrets: Iterable[str] = ()) -> bool:
    """Whether the content of a file has something in it that ``redacted`` would hide."""
    text = content.decode("utf-8", errors="replace")
    return any(secret in text for secret in _spellings(secrets)) or bool(
        SHAPES.search(text) or IN_ADDRESS.search(text)
    )


def _redacted(value: object, secrets: list[str]) -> object:
    if isinstance(value, Mapping):
        return {
            _redacted(key, secrets): HIDDEN
            if isinstance(item, str) and item and isinstance(key, str) and NAMES.search(key)
            else _redacted(item, secrets)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(item, secrets) for item in value]
    if isinstance(value, str):
        for secret in _spellings(secrets):
            value = value.replace(secret, HIDDEN)
        return IN_ADDRESS.sub(HIDDEN, SHAPES.sub(HIDDEN, value))
    return value


def _spellings(secrets: Iterable[str]) -> Iterator[str]:
    """Each secret as it is, and as JSON and HTML spell it."""
    for secret in secrets:
        if len(secret) >= SHORTEST:
            yield secret
            for quoted in (secret.replace("\\", "\\\\").replace('"', '\\"'), escape(secret)):
                if quoted != secret:
                    yield quoted
