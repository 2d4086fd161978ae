"""Texts to token ids with character offsets, and what identifies a tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from probes.core.errors import UserError


@dataclass(frozen=True)
class Encoding:
    """The tokens of one text."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    """Characters [start, end) of the text that each token covers; (0, 0) for special tokens."""
    special: list[bool]
    """Whether the tokenizer added the token: it is no part of the text."""


def encode(tokenizer: Any, texts: Sequence[str], bos: str) -> list[Encoding]:
    """Tokens of each text, neither padded nor cut.

    bos: ``auto`` as the tokenizer does; ``always`` puts the beginning-of-sequence token in front
    where it is not there; ``never`` removes it where it is.
    """
    # The backend itself: the wrapper around it takes as long again to repack what it returns.
    backend, start = tokenizer.backend_tokenizer, tokenizer.bos_token_id
    backend.no_truncation()
    backend.no_padding()
    encodings = []
    for encoding in backend.encode_batch(list(texts)):
        ids, offsets = encoding.ids, encoding.offsets
        special = [flag == 1 for flag in encoding.special_tokens_mask]
        has = bool(ids) and ids[0] == start and special[0]
        if bos == "always" and not has:
            ids, offsets, special = [start, *ids], [(0, 0), *offsets], [True, *special]
        elif bos == "never" and has:
            ids, offsets, special = ids[1:], offsets[1:], special[1:]
        encodings.append(Encoding(ids, offsets, special))
    return encodings


def check_vocabulary(tokenizer: Any, name: str) -> None:
    """Raise ``UserError`` for a tokenizer that knows no tokens but special ones.

    transformers makes one up, without a word, where a checkpoint holds no tokenizer files.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return
    added = {token.content for token in backend.get_added_tokens_decoder().values()}
    # All of a large vocabulary is not worth fetching.
    small = backend.get_vocab_size(with_added_tokens=False) <= len(added) + 1
    if small and len(set(backend.get_vocab(with_added_tokens=False)) - added) < 2:
        raise UserError(
            f"model.name={name}: no tokenizer files; {type(tokenizer).__name__} has an empty "
            "vocabulary",
            fix="saving one beside the model: AutoTokenizer.from_pretrained(ID)"
            ".save_pretrained(DIR)",
        )


def check_bos(tokenizer: Any, bos: str) -> None:
    """Raise ``UserError`` for ``always`` where there is no such token."""
    if bos == "always" and tokenizer.bos_token_id is None:
        raise UserError(
            "model.bos=always: the tokenizer has no beginning-of-sequence token",
            fix="model.bos=auto",
        )


def padding_id(tokenizer: Any, vocabulary: int) -> int:
    """An id to pad with. It stands under the mask, so any id that the model knows will do.

    No token is ever added: that would need a new, untrained embedding.
    """
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None and 0 <= token < vocabulary:
            return int(token)
    return 0


def tokenizer_fingerprint(tokenizer: Any, bos: str) -> str:
    """Hash of everything that turns a text into ids."""
    digest = hashlib.sha256(f"{bos}\n".encode())
    if getattr(tokenizer, "is_fast", False):
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        # Set by whoever called the tokenizer last; every call here sets them for itself.
        state.update(truncation=None, padding=None)
        digest.update(json.dumps(state, sort_keys=True).encode("utf-8", "surrogatepass"))
    else:
        vocabulary = sorted(tokenizer.get_vocab().items())
        digest.update(repr((type(tokenizer).__name__, vocabulary)).encode("utf-8", "replace"))
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    # Padding never reaches an unmasked position.
    special.pop("pad_token", None)
    digest.update(json.dumps(special, sort_keys=True).encode())
    return digest.hexdigest()
