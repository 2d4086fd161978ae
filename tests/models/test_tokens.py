"""Token ids and offsets, beginning-of-sequence tokens, and tokenizers that lack something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.models.loading import open_model
from probes.models.tokens import encode, padding_id, tokenizer_fingerprint
from tests.tiny_checkpoints import make_tokenizer, write_checkpoint

TEXT = "The dogs bark; naïve $300."


def test_offsets_point_into_the_text() -> None:
    (encoding,) = encode(make_tokenizer(), [TEXT], "auto")
    assert encoding.ids[0] == 1 and encoding.offsets[0] == (0, 0)
    assert encoding.special == [True] + [False] * (len(encoding.ids) - 1)
    covered = set().union(*(range(start, end) for start, end in encoding.offsets))
    assert covered == set(range(len(TEXT)))


def test_words_get_their_characters() -> None:
    (encoding,) = encode(make_tokenizer(bos=False, style="word"), ["one dog"], "auto")
    assert ["one dog"[start:end] for start, end in encoding.offsets] == ["one", "dog"]


@pytest.mark.parametrize(
    ("adds", "mode", "starts"),
    [
        (True, "auto", True),
        (True, "always", True),
        (True, "never", False),
        (False, "auto", False),
        (False, "always", True),
        (False, "never", False),
    ],
)
def test_beginning_of_sequence(adds: bool, mode: str, starts: bool) -> None:
    tokenizer = make_tokenizer(bos=adds)
    for encoding in encode(tokenizer, [TEXT, "one"], mode):
        assert (encoding.ids[0] == tokenizer.bos_token_id) == starts
        assert encoding.ids.count(tokenizer.bos_token_id) == int(starts)
        assert len(encoding.ids) == len(encoding.offsets) == len(encoding.special)
        assert encoding.special[0] == starts


def test_never_keeps_a_token_that_the_text_itself_has() -> None:
    """A text that spells the token out keeps it: only what was added is taken away."""
    tokenizer = make_tokenizer(bos=True)
    (encoding,) = encode(tokenizer, ["<s> one"], "never")
    assert encoding.ids[0] == tokenizer.bos_token_id and not encoding.special[0]


def test_modes_have_fingerprints_of_their_own() -> None:
    tokenizer = make_tokenizer()
    modes = {tokenizer_fingerprint(tokenizer, mode) for mode in ("auto", "always", "never")}
    assert len(modes) == 3
    assert tokenizer_fingerprint(make_tokenizer(bos=False), "auto") not in modes


def test_fingerprint_does_not_depend_on_use() -> None:
    tokenizer = make_tokenizer()
    before = tokenizer_fingerprint(tokenizer, "auto")
    tokenizer([TEXT, "one"], padding=True, truncation=True, max_length=4)
    assert tokenizer_fingerprint(tokenizer, "auto") == before


def test_chat_template_is_not_part_of_the_fingerprint() -> None:
    """By default texts are read as they are; ``model.chat=user`` puts its template into it."""
    plain, templated = make_tokenizer(), make_tokenizer()
    templated.chat_template = "{{ messages }}"
    assert tokenizer_fingerprint(plain, "auto") == tokenizer_fingerprint(templated, "auto")


def test_stored_truncation_does_not_cut_texts() -> None:
    """tokenizer.json can hold a truncation and padding of its own, as MiniLM's does."""
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    lengths = [len(encoding.ids) for encoding in encode(tokenizer, [TEXT, "one"], "auto")]
    assert lengths[0] > 9 and lengths[1] < 9


def test_no_texts() -> None:
    assert encode(make_tokenizer(), [], "auto") == []


def test_empty_text_has_no_tokens_of_its_own() -> None:
    (encoding,) = encode(make_tokenizer(), [""], "auto")
    assert encoding.special == [True]
    (encoding,) = encode(make_tokenizer(), [""], "never")
    assert encoding.ids == []


def test_padding_needs_no_new_token() -> None:
    assert padding_id(make_tokenizer(), 320) == 0
    tokenizer = make_tokenizer(pad_token=False)
    size = len(tokenizer)
    assert tokenizer.pad_token_id is None
    assert padding_id(tokenizer, 320) == tokenizer.eos_token_id == 2
    assert len(tokenizer) == size
    tokenizer.eos_token = None
    assert padding_id(tokenizer, 320) == 0
    beyond = make_tokenizer(pad_token=False)
    beyond.add_special_tokens({"pad_token": "[PAD]"})
    assert padding_id(beyond, size) == 2, "an id without an embedding"


def test_model_without_a_pad_token_opens(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(pad_token=False)
    write_checkpoint(tmp_path, tokenizer=tokenizer)
    handle = open_model(ModelConfig(name=str(tmp_path), device="cpu"))
    assert handle.pad_id == 2
    body: Any = handle.load()
    assert body.get_input_embeddings().num_embeddings == len(tokenizer)


def test_always_needs_a_token(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(bos=False)
    tokenizer.bos_token = None
    write_checkpoint(tmp_path, tokenizer=tokenizer)
    with pytest.raises(UserError, match=r"no beginning-of-sequence token.*model\.bos=auto"):
        open_model(ModelConfig(name=str(tmp_path), bos="always"))


def test_slow_tokenizer_is_refused_where_offsets_are_needed(tmp_path: Path) -> None:
    """CANINE reads characters with a tokenizer that exists in Python only."""
    from transformers import CanineTokenizer

    write_checkpoint(tmp_path, "bert")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    CanineTokenizer(model_max_length=64).save_pretrained(tmp_path)
    handle = open_model(ModelConfig(name=str(tmp_path), device="cpu"))
    assert len(handle.tokenizer_fingerprint) == 64
    with pytest.raises(UserError, match=r"CanineTokenizer is a slow tokenizer.*fast tokenizer"):
        handle.encode([TEXT])
