"""A tokenizer that is opened from its file alone is the one that transformers makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from probes.config import ModelConfig
from probes.models import large_tokenizers as module
from probes.models.handle import Handle
from probes.models.large_tokenizers import SAME
from probes.models.loading import open_model
from probes.models.tokens import tokenizer_fingerprint
from tests.tiny_checkpoints import make_tokenizer, write_checkpoint

TEXTS = ["The old sailor", "naïve café 12.5%", "<s> one", ""]


@pytest.fixture(autouse=True)
def every_tokenizer_is_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "LARGE_TOKENIZER", 0)
    monkeypatch.setenv("HEADPROBES_CACHE", str(tmp_path / "user"))


def opened(directory: Path, **settings: Any) -> Handle:
    return open_model(ModelConfig(name=str(directory), **settings))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done the slow way."""
    done: list[str] = []

    def counted(name: str, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            done.append(name)
            return function(*args, **options)

        return call

    auto = transformers.AutoTokenizer.from_pretrained
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", counted("open", auto))
    monkeypatch.setattr(module, "tokenizer_fingerprint", counted("hash", tokenizer_fingerprint))
    return done


@pytest.mark.parametrize("bos", ["auto", "never"])
@pytest.mark.parametrize("style", ["bpe", "word"])
def test_the_second_time_the_file_is_enough(
    tmp_path: Path, calls: list[str], style: str, bos: str
) -> None:
    tokenizer = make_tokenizer(style=style, padding_side="left", model_max_length=50)
    tokenizer.chat_template = "{{ messages }}"
    directory = write_checkpoint(tmp_path / "model", tokenizer=tokenizer)
    first = opened(directory, bos=bos)
    assert "open" in calls and "hash" in calls
    calls.clear()
    again = opened(directory, bos=bos)
    assert calls == []
    for name in (*SAME, "padding_side"):
        assert getattr(again.tokenizer, name) == getattr(first.tokenizer, name), name
    assert again.tokenizer_fingerprint == first.tokenizer_fingerprint
    assert tokenizer_fingerprint(again.tokenizer, bos) == first.tokenizer_fingerprint
    assert again.encode(TEXTS) == first.encode(TEXTS)


def test_other_files_are_asked_anew(tmp_path: Path, calls: list[str]) -> None:
    directory = write_checkpoint(tmp_path / "model")
    first = opened(directory)
    make_tokenizer(bos=False).save_pretrained(directory)
    calls.clear()
    other = opened(directory)
    assert "open" in calls
    assert other.tokenizer_fingerprint != first.tokenizer_fingerprint
    assert other.encode(["a"]) != first.encode(["a"])


def test_a_class_that_adds_something_is_opened_as_ever(tmp_path: Path, calls: list[str]) -> None:
    """The file alone would lose what ``special_tokens_map.json`` or a class brings."""
    directory = write_checkpoint(tmp_path / "model")
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    settings["eos_token"] = None
    settings["extra_special_tokens"] = {"image_token": "<image>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    first = opened(directory)
    second = opened(directory)
    assert first.tokenizer_fingerprint == second.tokenizer_fingerprint
    assert first.encode(TEXTS) == second.encode(TEXTS)
    assert first.tokenizer.special_tokens_map == second.tokenizer.special_tokens_map


def test_where_it_is_not_known_to_be_the_same(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write_checkpoint(tmp_path / "model")
    monkeypatch.setattr(module, "_same", lambda directory, tokenizer: False)
    opened(directory)
    calls.clear()
    opened(directory)
    assert calls == ["open"]


def test_a_damaged_memo_is_ignored(tmp_path: Path, calls: list[str]) -> None:
    directory = write_checkpoint(tmp_path / "model")
    fingerprint = opened(directory).tokenizer_fingerprint
    memo = tmp_path / "user" / "hashes.json"
    entries = json.loads(memo.read_text())
    memo.write_text(json.dumps({key: [3] for key in entries}))
    calls.clear()
    assert opened(directory).tokenizer_fingerprint == fingerprint
    assert "open" in calls
