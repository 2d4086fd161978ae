"""Tokenizers of hundreds of thousands of tokens, opened in one second and not in several.

transformers reads such a ``tokenizer.json`` twice and builds the tokenizer from Python's objects.
Most need neither: the file alone gives the same tokenizer. Whether that is so is found out when one
is first opened, and remembered with its fingerprint, by the content of its files and the versions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tokenizers
import transformers

from probes.core.errors import UserError
from probes.core.files import digest, read_json
from probes.models.chat import ChatTemplate
from probes.models.checkpoints import file_hash, remember, remembered
from probes.models.tokens import tokenizer_fingerprint

LARGE_TOKENIZER = 8 << 20
"""Bytes of a ``tokenizer.json`` from which on this is worth it."""
FILES = ("*.json", "*.jinja", "*.model", "*.txt")
FILE, SETTINGS, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
NOT_FOR_THE_TOKENIZER = (
    "tokenizer_class",
    "backend",
    "is_local",
    "local_files_only",
    "processor_class",
)
"""Keys of ``tokenizer_config.json`` that say how it is opened."""
SAME = (
    *("model_max_length", "chat_template", "bos_token_id", "eos_token_id", "pad_token_id"),
    "unk_token_id",
)


def open_tokenizer(source: str, config: Any, options: dict[str, Any]) -> Any:
    """``AutoTokenizer.from_pretrained``, or the same from its file alone where that is known."""
    key = _key(source)
    side = None if key is None else remembered(f"padding side {key}")
    if side in ("left", "right"):
        return _from_file(Path(source), padding_side=side)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, config=config, **options)
    if key is not None and side is None:
        # The side is all that classes of transformers add to the file; "" for those that add more.
        remember(f"padding side {key}", tokenizer.padding_side * _same(Path(source), tokenizer))
    return tokenizer


def fingerprint(tokenizer: Any, source: str, bos: str, chat: ChatTemplate | None) -> str:
    """``tokenizer_fingerprint``, remembered for large tokenizers in a directory."""
    key = _key(source)
    if key is None or chat is not None:
        return tokenizer_fingerprint(tokenizer, bos, chat)
    known = remembered(f"fingerprint {bos} {key}")
    if known is not None:
        return known
    computed = tokenizer_fingerprint(tokenizer, bos)
    remember(f"fingerprint {bos} {key}", computed)
    return computed


def _key(source: str) -> str | None:
    """Hash of what a large tokenizer in a directory is made of; None for others."""
    directory = Path(source)
    try:
        if (directory / FILE).stat().st_size < LARGE_TOKENIZER:
            return None
        if "auto_map" in read_json(directory / SETTINGS):  # code of its own
            return None
        files = sorted({path for pattern in FILES for path in directory.glob(pattern)})
        hashes = {path.name: file_hash(path) for path in files}
    except (OSError, UserError):
        return None
    return digest([hashes, transformers.__version__, tokenizers.__version__])


def _from_file(directory: Path, **given: Any) -> Any:
    settings: dict[str, Any] = {
        name: _text_of(value)
        for name, value in read_json(directory / SETTINGS).items()
        if name not in NOT_FOR_THE_TOKENIZER
    }
    if (directory / TEMPLATE).is_file():
        settings["chat_template"] = (directory / TEMPLATE).read_text(encoding="utf-8")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(directory / FILE), **settings | given
    )


def _text_of(value: Any) -> Any:
    """A special token may be stored with the options that ``tokenizer.json`` has too."""
    return value["content"] if isinstance(value, dict) and "content" in value else value


def _same(directory: Path, tokenizer: Any) -> bool:
    """Whether the file alone gives the tokenizer that transformers has built."""
    try:
        plain = _from_file(directory)
        if any(getattr(plain, name) != getattr(tokenizer, name) for name in SAME):
            return False
        return tokenizer_fingerprint(plain, "auto") == tokenizer_fingerprint(tokenizer, "auto")
    except Exception:  # whatever an unusual config leads to: such a tokenizer is opened as ever
        return False
