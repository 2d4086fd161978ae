"""Fixtures of opened tiny models, imported by the conftest files that want them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from probes.config import ModelConfig
from probes.models.handle import Handle
from probes.models.loading import open_model
from tests.tiny_checkpoints import make_tokenizer, write_checkpoint
from tests.tiny_models import build_with_head


@pytest.fixture(scope="session")
def llama_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with a byte-level tokenizer and a BOS token, context 64."""
    return write_checkpoint(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def llama(llama_directory: Path) -> Handle:
    return open_model(ModelConfig(name=str(llama_directory)))


@pytest.fixture(scope="session")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Handle:
    """A tiny random Llama with a language-model head, else as ``llama``."""
    directory, tokenizer = tmp_path_factory.mktemp("models") / "talking", make_tokenizer()
    model = build_with_head("llama_gqa", torch.float32, vocab_size=len(tokenizer))
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return open_model(ModelConfig(name=str(directory)))
