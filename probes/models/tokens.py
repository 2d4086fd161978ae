"""Texts to token ids with character offsets, and what identifies a tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from probes.core.errors import UserError
from probes.models.chat import ChatTemplate, Wrapped


@dataclass(frozen=True)
class Encoding:
    """The tokens of one text."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    """Characters [start, end) of the text that each token covers; (0, 0) for special tokens."""
    special: list[bool]
    """Whether the tokenizer or the chat template added the token: it is no part of the text.
    Between the user's words and the reply, the template's tokens are parts of width 0."""
    prompted: bool = False
    """Whether the last token is the end of a generation prompt, from which the reply is read."""


def encode(
    tokenizer: Any,
    texts: Sequence[str],
    bos: str,
    *,
    chat: ChatTemplate | None = None,
    replies: Sequence[int] | None = None,
) -> list[Encoding]:
    """Tokens of each text, neither padded nor cut.

    bos: ``auto`` as the tokenizer (with ``chat``, its template) does; ``always`` puts the
    beginning-of-sequence token in front where it is not there; ``never`` removes it where it is.
    chat: the template that each text is put into. replies: character at which the reply in each
    text begins, -1 for none (``Corpus.replies``); None: none has one.
    """
    # The backend itself: the wrapper around it takes as long again to repack what it returns.
    backend, start = tokenizer.backend_tokenizer, tokenizer.bos_token_id
    backend.no_truncation()
    backend.no_padding()
    if chat is None:
        whole = [
            Encoding(e.ids, e.offsets, [flag == 1 for flag in e.special_tokens_mask])
            for e in backend.encode_batch(list(texts))
        ]
    else:
        replies = [-1] * len(texts) if replies is None else replies
        wrapped = [chat.wrap(*pair) for pair in zip(texts, replies, strict=True)]
        # The template brings all special tokens, as in apply_chat_template.
        tokens = backend.encode_batch([w.text for w in wrapped], add_special_tokens=False)
        whole = [_inside(*pair) for pair in zip(tokens, wrapped, strict=True)]
    encodings = []
    for encoding in whole:
        ids, offsets, special = encoding.ids, encoding.offsets, encoding.special
        has = bool(ids) and ids[0] == start and special[0]
        if bos == "always" and not has:
            encoding = replace(
                encoding,
                ids=[start, *ids],
                offsets=[(0, 0), *offsets],
                special=[True, *special],
            )
        elif bos == "never" and has:
            encoding = replace(encoding, ids=ids[1:], offsets=offsets[1:], special=special[1:])
        encodings.append(encoding)
    return encodings


def _inside(tokens: Any, wrapped: Wrapped) -> Encoding:
    """The tokens of a text in its template, with offsets in the text itself."""
    offsets: list[tuple[int, int] | None] = [
        _unwrapped(start, end, wrapped.pieces) for start, end in tokens.offsets
    ]
    of_text = [index for index, span in enumerate(offsets) if span is not None]
    first, last = (of_text[0], of_text[-1]) if of_text else (len(offsets), len(offsets))
    special, spans = [], []
    for index, span in enumerate(offsets):
        outside = not first <= index <= last
        special.append(outside)
        if span is None and not outside:  # between the pieces: at the beginning of the reply
            begin, _, shift = wrapped.pieces[-1]
            span = (begin - shift, begin - shift)
        spans.append(span or (0, 0))
    return Encoding(tokens.ids, spans, special, wrapped.prompted)


def _unwrapped(
    start: int, end: int, pieces: Sequence[tuple[int, int, int]]
) -> tuple[int, int] | None:
    """Characters of the text that ``start`` to ``end`` of the template cover; None: none."""
    for begin, stop, shift in pieces:
        if max(start, begin) < min(end, stop):
            return max(start, begin) - shift, min(end, stop) - shift
    return None


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


def tokenizer_fingerprint(tokenizer: Any, bos: str, chat: ChatTemplate | None = None) -> str:
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
    if chat is not None:
        digest.update(json.dumps(asdict(chat), sort_keys=True).encode())
    return digest.hexdigest()
