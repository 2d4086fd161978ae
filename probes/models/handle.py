"""A model that is known but not loaded, and loading it: pretrained weights or fresh ones, never a
mixture of both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.models.adapters import Adapter, apply_adapter, bare
from probes.models.chat import ChatTemplate
from probes.models.experts import ONE_BY_ONE
from probes.models.gguf_conversion import ConvertedGguf
from probes.models.hf_config import Kind, field_of
from probes.models.hf_messages import explained, quiet
from probes.models.language_model import body_of
from probes.models.tokens import Encoding, encode
from probes.models.words import require_known


@dataclass(frozen=True)
class Handle:
    """A model that is known but not loaded: a run whose activations are cached needs no more."""

    settings: ModelConfig
    name: str
    """As the user gave it: Hub id, directory, GGUF file or the name of a packaged model."""
    source: str
    """What transformers loads from: Hub id or directory."""
    commit: str | None
    """Of a Hub model: what its revision stood for when it was opened; all files are of it."""
    config: Any
    tokenizer: Any
    kind: Kind
    context: int
    """Longest input in tokens, special tokens included."""
    fingerprint: str
    """Hash of config and weights; for fresh weights of config, seed, device and torch version."""
    tokenizer_fingerprint: str
    dtype: str
    attention: str
    """Attention kernel."""
    device: str
    pad_id: int
    adapter: Adapter | None = None
    """Applied to the weights when they are loaded; part of the fingerprint."""
    gguf: ConvertedGguf | None = None
    """The GGUF file that the weights are unpacked from."""
    chat: ChatTemplate | None = None
    """The template that texts are put into; None: texts are read as they are."""
    dtype_reason: str = ""
    """Why ``model.dtype=auto`` chose ``dtype``, where that is not the checkpoint's."""

    def load(self, *, head: bool = False) -> nn.Module:
        """The body on its device, in eval mode, without gradients.

        head: with the language-model head around it; ``body_of`` finds the body inside, which has
        the same weights as without the head.

        Raises:
            UserError: where files are damaged or do not fit the config, where weights are missing
                from the checkpoint (they would be random numbers), where a kernel or device is not
                available, and with ``head`` for a model that has none.
        """
        if head:
            self._require_head()
        with quiet(), explained(self.name, "weights"):
            random = self.settings.random_init
            model = _fresh(self, head) if random else _pretrained(self, head)
        return (model if head else body_of(model)).eval().requires_grad_(False)

    def skeleton(self) -> nn.Module:
        """The body without its weights, on torch's device ``meta``: what modules it has, at once
        and without memory.

        Raises:
            UserError: where a kernel is not available.
        """
        with quiet(), explained(self.name, "weights"):
            return body_of(_fresh(replace(self, device="meta"), False)).eval()

    def _require_head(self) -> None:
        if self.kind == "encoder":
            raise UserError(
                f"model.name={self.name} is an encoder, which predicts no next token",
                allowed="decoders and encoder-decoders, for anything that needs logits",
                fix="model.name=DECODER",
            )
        remote = getattr(self.config, "auto_map", None) or {}
        auto, mapping = _head_class(self.kind)
        if type(self.config) not in mapping and auto.__name__ not in remote:
            raise UserError(
                f"model.name={self.name}: transformers has no {self.config.model_type} with a "
                "language-model head",
                fix="model.name=ANOTHER_MODEL",
            )

    def require_offsets(self) -> None:
        """Raise ``UserError`` unless the tokenizer knows which characters a token covers."""
        if not getattr(self.tokenizer, "is_fast", False):
            raise UserError(
                f"model.name={self.name}: {type(self.tokenizer).__name__} is a slow tokenizer, "
                "which does not tell which characters a token covers",
                allowed="models with a fast tokenizer (tokenizer.json)",
                fix="converting it: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
            )

    def require_words(self, texts: Sequence[str]) -> None:
        """Raise ``UserError`` for words that a simplified model has never seen.

        To it they would be one and the same word.
        """
        if self.settings.simplified is not None:
            require_known(self.tokenizer, texts, f"model.name={self.name}")

    def encode(self, texts: Sequence[str], replies: Sequence[int] | None = None) -> list[Encoding]:
        """Token ids, character offsets and added tokens of each text, under ``model.bos`` and
        ``model.chat``.

        replies: where the reply in each text begins, for ``model.chat`` (``Corpus.replies``).

        Raises:
            UserError: for a slow tokenizer, and for one that gives ids beyond the model's.
        """
        self.require_offsets()
        encodings = encode(
            self.tokenizer, texts, self.settings.bos, chat=self.chat, replies=replies
        )
        highest = max((max(e.ids) for e in encodings if e.ids), default=0)
        size = field_of(self.config, "vocab_size")
        if highest >= size:
            raise UserError(
                f"model.name={self.name}: its tokenizer gives token {highest}, and the model knows "
                f"{size}: they do not belong together"
            )
        return encodings


def _options(handle: Handle) -> dict[str, Any]:
    options: dict[str, Any] = {"trust_remote_code": handle.settings.trust_remote_code}
    options["dtype"] = getattr(torch, handle.dtype)
    if handle.settings.attention is not None:
        options["attn_implementation"] = handle.settings.attention
    if handle.dtype == "float64":
        options |= ONE_BY_ONE
    return options


def body_class(config: Any) -> Any:
    """AutoModel; for configs that it does not know, the one with the language-model head."""
    remote = getattr(config, "auto_map", None) or {}
    if type(config) in transformers.MODEL_MAPPING or "AutoModel" in remote:
        return transformers.AutoModel
    return transformers.AutoModelForCausalLM


def _head_class(kind: Kind) -> tuple[Any, Any]:
    """The class that opens models of a kind with their head, and the configs that it knows."""
    if kind == "encoder-decoder":
        return (
            transformers.AutoModelForSeq2SeqLM,
            transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
        )
    return transformers.AutoModelForCausalLM, transformers.MODEL_FOR_CAUSAL_LM_MAPPING


def _weights_source(handle: Handle) -> str:
    """Where transformers reads the weights: of a GGUF file from its copy, made if need be."""
    if handle.gguf is None:
        return handle.source
    auto, mapping = _head_class(handle.kind)
    headless = handle.kind == "encoder" or type(handle.config) not in mapping
    whole = body_class(handle.config) if headless else auto
    return str(handle.gguf.weights(handle.dtype, whole))


def _pretrained(handle: Handle, head: bool) -> Any:
    settings = handle.settings
    options = _options(handle) | {"use_safetensors": True, "output_loading_info": True}
    options["ignore_mismatched_sizes"] = True  # they are refused below, with their names
    if settings.device_map is not None:
        options["device_map"] = settings.device_map
    auto = _head_class(handle.kind)[0] if head else body_class(handle.config)
    beside = handle.adapter is not None and not handle.adapter.alone
    with bare(Path(handle.source)) if beside else nullcontext(_weights_source(handle)) as source:
        model, info = auto.from_pretrained(
            source, config=handle.config, revision=handle.commit, **options
        )
    if handle.adapter is not None:
        apply_adapter(model, handle.adapter, handle.name)
    model = model if head else getattr(model, "base_model", model)
    # A pooler comes after everything that is read here.
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key)
    if missing:
        raise UserError(
            f"model.name={handle.name}: the checkpoint lacks {len(missing)} weights of "
            f"{type(model).__name__}, which would be random: {', '.join(missing[:3])}",
            fix="another checkpoint, or model.random_init=true if random weights are wanted",
        )
    if info["mismatched_keys"]:
        key, saved, expected = sorted(info["mismatched_keys"])[0]
        raise UserError(
            f"model.name={handle.name}: {key} is {list(saved)} in the checkpoint, and "
            f"{list(expected)} by its config"
        )
    # Models spread over devices, and quantised ones, are where they belong already.
    placed = settings.device_map is not None or getattr(model, "hf_quantizer", None) is not None
    return model if placed else model.to(handle.device)


def _fresh(handle: Handle, head: bool) -> Any:
    """Fresh weights as the architecture draws them, without touching the global generators.

    With the head, the body has the weights that it is drawn without: draws depend on their order.
    """
    device = torch.device(handle.device)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), device:
        torch.manual_seed(handle.settings.random_seed)
        body = body_class(handle.config).from_config(handle.config, **_options(handle))
        body = getattr(body, "base_model", body)
        if not head:
            return body
        model = _head_class(handle.kind)[0].from_config(handle.config, **_options(handle))
    unknown = getattr(model, "base_model", model).load_state_dict(body.state_dict(), strict=False)
    assert not unknown.unexpected_keys
    return model
