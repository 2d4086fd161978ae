"""What tells a model's weights from others, without the seconds that transformers takes to import.

``Handle.fingerprint`` is the exact answer for a model that is opened; this one is for a sweep that
asks which of its jobs are done. It changes whenever that one does.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

from probes.config import ModelConfig
from probes.models.adapters import find_adapter
from probes.models.checkpoints import (
    adapter_fingerprint,
    base_settings,
    directory_fingerprint,
    file_hash,
    local_directory,
)
from probes.models.gguf_file import find_gguf
from probes.models.packaged import PACKAGED, packaged_file

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model",
    "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip


def weights_identity(settings: ModelConfig, cache_dir: Path) -> list[str]:
    """Words that differ where weights, tokenizer or code of a model differ.

    Of a simplified model there are none: its configuration says all. Of a Hub model they are its
    name and the commit that is in the local cache, without asking the network; ``not downloaded``
    where there is none.

    Raises:
        UserError: the model is not where ``settings`` says.
    """
    if settings.simplified is not None:
        return []
    if settings.name in PACKAGED:
        file = packaged_file(settings.name, cache_dir)
        if file is not None:
            return ["gguf", file_hash(file)]
        return _hub(PACKAGED[settings.name].hub, settings.revision)
    file = find_gguf(settings)
    if file is not None:
        return ["gguf", file_hash(file)]
    directory = local_directory(settings)
    if directory is None:
        return _hub(settings.name, settings.revision) + _fresh(settings)
    adapter = find_adapter(settings, directory)
    words = list(_tokenizer(directory))
    if settings.random_init:
        config = directory / "config.json"
        return [*words, *_fresh(settings), *([file_hash(config)] if config.is_file() else [])]
    if adapter is not None:
        words += ["adapter", adapter_fingerprint(adapter)]
        if adapter.alone:
            base = base_settings(settings, adapter)
            return words + weights_identity(base, cache_dir)
    return [*words, "files", directory_fingerprint(directory, code=settings.trust_remote_code)]


def _fresh(settings: ModelConfig) -> list[str]:
    """Random weights are those of a version of torch."""
    if not settings.random_init:
        return []
    return ["random", importlib.metadata.version("torch")]


def _tokenizer(directory: Path) -> Iterator[str]:
    for name in TOKENIZER_FILES:
        path = directory / name
        if path.is_file():
            yield f"{name}:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def _hub(name: str, revision: str | None) -> list[str]:
    from huggingface_hub import try_to_load_from_cache  # late: it is not needed for local models

    path = try_to_load_from_cache(name, "config.json", revision=revision or "main")
    commit = Path(path).parent.name if isinstance(path, str) else "not downloaded"
    return ["hub", name, commit]
