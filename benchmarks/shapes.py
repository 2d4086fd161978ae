"""Models and texts of the extraction benchmarks: real ones where they are at hand, else shapes.

A shape is an architecture of realistic proportions with random weights: its forward pass costs
what the real model's costs. Its tokenizer is trained here, on the texts that are read.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn

from probes.config import GrammarConfig, ModelConfig, UDConfig
from probes.corpora import load_corpus
from probes.corpora.corpus import Corpus
from probes.models.handle import Handle
from probes.models.loading import open_model

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
VOCABULARY = 8192

SHAPES: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": (transformers.GPT2Config, {}),
    "llama": (
        transformers.LlamaConfig,
        {
            "hidden_size": 768,
            "intermediate_size": 2048,
            "num_hidden_layers": 8,
            "num_attention_heads": 12,
            "num_key_value_heads": 4,
        },
    ),
}
SETTINGS = ("minilm", "gpt2", "llama", "stories260K")
SENTENCES = {"minilm": 2000, "gpt2": 400, "llama": 600, "stories260K": 3000}
"""So many that a bare pass takes some ten seconds on two cores, and batches pad little."""


@dataclass(frozen=True)
class LoadedHandle(Handle):
    """A handle whose model is in memory already: loading is not what is measured."""

    body: Any = None

    def load(self, *, head: bool = False) -> nn.Module:
        assert not head, "only the body is in memory"
        return self.body  # type: ignore[no-any-return]


def corpus_of(sentences: int) -> Corpus:
    """The first training sentences of English EWT, every word a unit; the grammar without it."""
    directory = SHARED / "data" / "ud_english_ewt"
    if directory.is_dir():
        splits = {"train": "train", "validation": None, "test": None}
        return load_corpus(UDConfig(path=str(directory), splits=splits, max_sentences=sentences))
    return load_corpus(GrammarConfig(sentences=sentences))


def open_setting(name: str, corpus: Corpus, directory: Path) -> LoadedHandle:
    """The model of a setting, loaded; shapes are written to ``directory`` as configs."""
    if name == "minilm":
        handle = open_model(ModelConfig())
    elif name == "stories260K":
        handle = open_model(ModelConfig(name=str(SHARED / "models" / name)))
    else:
        config, options = SHAPES[name]
        tokenizer = _tokenizer(corpus)
        config(vocab_size=VOCABULARY, **options).save_pretrained(directory / name)
        tokenizer.save_pretrained(directory / name)
        handle = open_model(ModelConfig(name=str(directory / name), random_init=True))
    values = {field.name: getattr(handle, field.name) for field in fields(Handle)}
    return LoadedHandle(**values, body=handle.load())


def available(name: str) -> str:
    """Why a setting cannot be measured here; empty where it can."""
    if name == "stories260K" and not (SHARED / "models" / name).is_dir():
        return f"no model at {SHARED / 'models' / name}"
    return ""


def _tokenizer(corpus: Corpus) -> transformers.PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus.texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")
