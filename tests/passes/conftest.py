from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from probes.config import ModelConfig
from probes.corpora.corpus import Corpus
from probes.models.handle import Handle
from probes.models.loading import open_model
from probes.passes.alignment import align
from probes.passes.batches import BatchPlan
from tests import tiny_checkpoints, tiny_models
from tests.passes.visitors import BUDGET
from tests.small_corpora import WORDS, mixed_corpus, random_texts
from tests.tiny_checkpoints import make_tokenizer, write_checkpoint
from tests.tiny_handles import llama, llama_directory

__all__ = ["any_tokenizer", "llama", "llama_directory"]


def _metaspace() -> PreTrainedTokenizerFast:
    """As in Llama: a space is written as part of the piece that follows it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=120, special_tokens=["<pad>", "<s>", "</s>", "<unk>"], show_progress=False
    )
    # Trained word by word, for no piece to reach over a space (there is no pre-tokenizer).
    tokenizer.train_from_iterator(WORDS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return _wrapped(tokenizer)


def _wordpiece() -> PreTrainedTokenizerFast:
    """As in BERT: pieces without spaces, a token at either end, accents and case removed."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=100, special_tokens=["<pad>", "<s>", "</s>", "<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator(WORDS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return _wrapped(tokenizer)


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
    )


@pytest.fixture(scope="session", params=["byte_level", "metaspace", "wordpiece"])
def any_tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Handle:
    """A tiny model behind each kind of tokenizer."""
    make = {"byte_level": make_tokenizer, "metaspace": _metaspace, "wordpiece": _wordpiece}
    directory = tmp_path_factory.mktemp(request.param)
    write_checkpoint(directory, tokenizer=make[request.param]())
    return open_model(ModelConfig(name=str(directory)))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return mixed_corpus(random_texts(30, seed=6))


@pytest.fixture(scope="module")
def plan(llama: Handle, corpus: Corpus) -> BatchPlan:
    return BatchPlan(align(corpus, llama), BUDGET)


@pytest.fixture(scope="module")
def with_head(tmp_path_factory: pytest.TempPathFactory) -> Handle:
    """A llama whose checkpoint has its language-model head, in float64."""
    directory = tmp_path_factory.mktemp("with_head")
    tiny_models.build_with_head("llama_gqa", vocab_size=320).save_pretrained(directory)
    tiny_checkpoints.make_tokenizer().save_pretrained(directory)
    return open_model(ModelConfig(name=str(directory), device="cpu"))
