"""A tokenizer whose tokens are the whole words of a generated corpus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from probes.core.errors import UserError
from probes.corpora.generated.kit.prompt import Prompt
from probes.models.words import PATTERN, words

PAD, START, UNKNOWN = "<pad>", "<s>", "<unk>"
LARGEST = 8192
"""Words; the embeddings of more would outweigh the rest of a small model."""


def vocabulary(prompts: Iterable[Prompt], task: str) -> list[str]:
    """Every word of the prompts and of their targets, sorted.

    Raises:
        UserError: a target is not one word, or the vocabulary is too small to learn from (fewer
            than two words) or too large for a small model.
    """
    distinct: set[str] = set()
    for prompt in prompts:
        distinct.update(words(prompt.text))
        for _, target in prompt.targets:
            if words(target) != [target]:
                raise UserError(
                    f"simplified.task={task}: the answer {target!r} is {len(words(target))} words",
                    allowed="answers of one word",
                )
            distinct.add(target)
    if not 2 <= len(distinct) <= LARGEST:
        raise UserError(
            f"simplified.task={task}: its prompts have {len(distinct):,} different words",
            allowed=f"2 to {LARGEST:,}",
            fix="other model.simplified.options",
        )
    return sorted(distinct)


def build_tokenizer(words: Iterable[str], context: int) -> Any:
    """A ``PreTrainedTokenizerFast`` with one token a word; it prepends ``<s>`` to a text."""
    ids = {word: index for index, word in enumerate([PAD, START, UNKNOWN, *words])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PATTERN), "removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, ids[START])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=START,
        unk_token=UNKNOWN,
        model_max_length=context,
        padding_side="right",
    )
