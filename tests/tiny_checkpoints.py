"""Tiny models and tokenizers as directories that ``open_model`` can read."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tests.tiny_families import VOCABULARY
from tests.tiny_models import build

TEXTS = (
    "The old sailor mended the nets before the storm came in.",
    "Nobody in the village believed that the bridge would hold.",
    "She plans to plan the garden, and the gardens are large.",
    "Seven dogs bark; one dog sleeps under the wooden table.",
    "Ünïcode naïve café, 12.5% of $300 - isn't it?",
)


@functools.cache
def _tokenizer(bos: str | None, style: str) -> Tokenizer:
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    if style == "word":
        tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer: Any = trainers.WordLevelTrainer(vocab_size=VOCABULARY, special_tokens=special)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return tokenizer


def make_tokenizer(
    *, bos: bool = True, pad_token: bool = True, style: str = "bpe", **options: Any
) -> transformers.PreTrainedTokenizerFast:
    """A fast tokenizer trained on ``TEXTS``: byte-level BPE, or whole words (``style="word"``)."""
    given = {"pad_token": "<pad>"} if pad_token else {}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer("<s>" if bos else None, style),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        **given,
        **options,
    )


def write_checkpoint(
    directory: Path,
    name: str = "llama_gqa",
    *,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    tokenizer: transformers.PreTrainedTokenizerBase | None = None,
    **options: Any,
) -> Path:
    """Write a tiny model and its tokenizer as a checkpoint that ``model.name=DIR`` opens."""
    tokenizer = make_tokenizer() if tokenizer is None else tokenizer
    body = build(name, dtype, seed, vocab_size=len(tokenizer), **options)
    body.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
