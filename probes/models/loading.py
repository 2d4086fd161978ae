"""Open a model: everything about it that costs nothing at once, its weights when asked for."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils.hub import cached_file

from probes.config import ModelConfig
from probes.config.group_checks import check_model
from probes.core.errors import UserError
from probes.models.adapters import ADAPTER_CONFIG, Adapter, find_adapter
from probes.models.chat import chat_template
from probes.models.checkpoints import (
    adapter_fingerprint,
    base_settings,
    directory_fingerprint,
    local_directory,
    user_cache,
)
from probes.models.dtypes import chosen_dtype
from probes.models.gguf_conversion import ConvertedGguf, convert_gguf
from probes.models.gguf_file import find_gguf
from probes.models.handle import Handle
from probes.models.hf_config import (
    UNLIMITED,
    field_of,
    model_kind,
    position_limit,
)
from probes.models.hf_messages import explained, quiet
from probes.models.large_tokenizers import fingerprint, open_tokenizer
from probes.models.packaged import PACKAGED, check_packaged, packaged_file
from probes.models.quantised import check_quantised
from probes.models.tokens import (
    check_bos,
    check_vocabulary,
    padding_id,
)

log = logging.getLogger(__name__)


def open_model(settings: ModelConfig, *, cache_dir: str | Path | None = None) -> Handle:
    """Read config and tokenizer of a model and identify its weights, without loading them.

    cache_dir: where GGUF files are kept as checkpoints; null takes the user's cache directory.

    Raises:
        UserError: for a model that is not found (nor cached, when offline), an unknown dtype, a
            device that is not there, ``max_length`` beyond the context, a checkpoint without
            safetensors, or code in the repository that ``model.trust_remote_code`` does not allow.
    """
    check_model(settings)
    settings, gguf = _gguf(settings, Path(cache_dir or user_cache()))
    directory = local_directory(settings) if gguf is None else gguf.directory
    adapter = None if directory is None else find_adapter(settings, directory)
    base = base_settings(settings, adapter)
    if base is not settings:
        directory = local_directory(base)
    source = str(directory or base.name)
    commit = None if directory is not None else _commit(base)
    options = {
        "trust_remote_code": settings.trust_remote_code,
        "revision": commit,
        "local_files_only": directory is not None,
    }
    with quiet(), explained(base.name, "config"):
        config = transformers.AutoConfig.from_pretrained(source, **options)
    check_quantised(settings, config)
    tokenizer_source = _tokenizer_source(source, adapter)
    with quiet(), explained(settings.name, "tokenizer"):
        tokenizer = open_tokenizer(tokenizer_source, config, options)
    check_vocabulary(tokenizer, settings.name)
    check_bos(tokenizer, settings.bos)
    chat = chat_template(tokenizer, settings.chat, settings.name)
    device = _device(settings)
    dtype, reason = chosen_dtype(settings.dtype, config, device)
    return Handle(
        settings=settings,
        name=settings.name,
        source=source,
        commit=commit,
        config=config,
        tokenizer=tokenizer,
        kind=model_kind(config),
        context=_context(settings, config, tokenizer),
        fingerprint=_fingerprint(base, config, gguf or directory or commit, device, adapter),
        tokenizer_fingerprint=fingerprint(tokenizer, tokenizer_source, settings.bos, chat),
        dtype=dtype,
        attention=settings.attention or _default_attention(config),
        device=device,
        pad_id=padding_id(tokenizer, field_of(config, "vocab_size")),
        adapter=None if settings.random_init else adapter,
        gguf=gguf,
        chat=chat,
        dtype_reason=reason,
    )


# --- the fields of a handle --------------------------------------------------------------------


def _gguf(settings: ModelConfig, cache_dir: Path) -> tuple[ModelConfig, ConvertedGguf | None]:
    """The GGUF file that is meant, converted; a packaged model without its package is the Hub's."""
    if settings.name in PACKAGED:
        check_packaged(settings)
        file = packaged_file(settings.name, cache_dir)
        if file is None:
            hub = PACKAGED[settings.name].hub
            log.info("model.name=%s: its package is not installed; reading %s", settings.name, hub)
            return replace(settings, name=hub), None
    else:
        file = find_gguf(settings)
    return settings, None if file is None else convert_gguf(settings, file, cache_dir)


def _commit(settings: ModelConfig) -> str:
    """The commit that a Hub model's revision stands for, found without loading anything."""
    with quiet(), explained(settings.name, "config"):
        path = cached_file(settings.name, "config.json", revision=settings.revision)
    snapshot = Path(path or "").parent  # .../snapshots/COMMIT/config.json
    if snapshot.parent.name != "snapshots":
        raise UserError(f"model.name={settings.name}: cannot tell the commit of {path}")
    _refuse_adapter(settings, snapshot.name)
    return snapshot.name


def _refuse_adapter(settings: ModelConfig, commit: str) -> None:
    """Refuse a Hub repository with an adapter: transformers ignores it without peft, and with peft
    applies it to whatever its base is at that time."""
    path = cached_file(
        settings.name,
        ADAPTER_CONFIG,
        revision=commit,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is not None and not settings.random_init:
        raise UserError(
            f"model.name={settings.name} holds an adapter ({ADAPTER_CONFIG}) on the Hub",
            allowed="adapters in a local directory, with peft installed",
            fix=f"hf download {settings.name} --local-dir DIR, then model.name=DIR",
        )


def _tokenizer_source(source: str, adapter: Adapter | None) -> str:
    """An adapter alone may bring a tokenizer; without one its base has it."""
    own = adapter is not None and any(
        (adapter.directory / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")
    )
    return str(adapter.directory) if adapter is not None and own else source


def _device(settings: ModelConfig) -> str:
    """``auto`` takes an accelerator where there is one."""
    if settings.device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=settings.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"model.device={settings.device} is not available ({reason})",
            allowed="auto, cpu, cuda, cuda:N, mps",
            fix="model.device=auto",
        ) from None
    return settings.device


def _context(settings: ModelConfig, config: Any, tokenizer: Any) -> int:
    positions = position_limit(config)
    limit = UNLIMITED if positions is None else positions
    if settings.max_length is not None:
        if not 0 < settings.max_length <= limit:
            raise UserError(
                f"model.max_length={settings.max_length}",
                allowed=f"1 to {limit}, the context of {settings.name}",
                fix=f"model.max_length={limit}",
            )
        return settings.max_length
    # Tokenizers without a limit of their own have 1e30.
    return min(limit, int(min(tokenizer.model_max_length, UNLIMITED)))


def _default_attention(config: Any) -> str:
    """The kernel that transformers would choose, read from the class without building it."""
    chosen = getattr(config, "_attn_implementation", None)
    if chosen:
        return str(chosen)
    try:
        classes = transformers.MODEL_MAPPING[type(config)]
    except KeyError:
        return "default"
    cls = classes[0] if isinstance(classes, (tuple, list)) else classes
    return "sdpa" if getattr(cls, "_supports_sdpa", False) else "eager"


def _fingerprint(
    settings: ModelConfig,
    config: Any,
    weights: ConvertedGguf | Path | str | None,
    device: str,
    adapter: Adapter | None,
) -> str:
    """weights: the file or directory that holds them, or the Hub commit, which names their
    content."""
    if settings.random_init:
        # The generator differs between kinds of device, so their numbers do too.
        kind, state = device.split(":")[0], config.to_dict()
        for volatile in ("transformers_version", "_name_or_path", "dtype"):
            state.pop(volatile, None)
        text = json.dumps(state, sort_keys=True, default=str)
        parts = ["random", text, str(settings.random_seed), kind, torch.__version__]
    elif isinstance(weights, ConvertedGguf):
        parts = ["gguf", weights.sha256]
    elif isinstance(weights, Path):
        parts = ["files", directory_fingerprint(weights, code=settings.trust_remote_code)]
    else:
        parts = ["hub", settings.name, str(weights)]
    if adapter is not None and not settings.random_init:
        parts += ["adapter", adapter_fingerprint(adapter)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
