"""Prompts of a generated corpus as tensors: endless, and the same for a seed from any step on.

Training reads blocks of prompts. Each block has a seed of its own, so that a resumed training
generates the block that it needs and none before it. Held-out prompts have a seed that no block
has, and no corpus has one of these seeds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probes.config import CustomCorpusConfig, GeneratedConfig, SimplifiedConfig
from probes.core.errors import UserError
from probes.core.files import digest
from probes.corpora import custom
from probes.corpora.generated import generate
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt
from probes.models.words import require_known

BLOCK = 4096
"""Prompts that are generated at a time, at most."""
HELD_OUT = 512
NO_TARGET = -100


@dataclass(frozen=True)
class Examples:
    """Prompts as a model reads them, padded on the right."""

    ids: Tensor
    """(N, T) int64."""
    targets: Tensor
    """(N, T) int64: the token that should come next, or ``NO_TARGET``."""
    lengths: Tensor
    """(N,) tokens of each prompt."""

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self, size: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Ids and targets of ``size`` prompts at a time, cut to the longest of them."""
        for start in range(first * size, len(self), size):
            rows = slice(start, start + size)
            longest = int(self.lengths[rows].max())
            yield self.ids[rows, :longest], self.targets[rows, :longest]


def prompts(config: SimplifiedConfig, part: int | str, count: int) -> list[Prompt]:
    """Prompts of one block (by number) or of another part (by name).

    Raises:
        UserError: an unknown generated corpus or unknown options, or prompts without targets.
    """
    # Seeds of corpora are small numbers; these are not.
    seed = (1 << 32) + int(digest([config.seed, part])[:12], 16)
    generated = list(islice(_generated(config, seed, count).prompts, count))
    if not any(prompt.targets for prompt in generated):
        raise UserError(
            f"model.simplified.task={config.task}: this task has no answers to train on",
            fix="model.simplified.task=induction",
        )
    return generated


def _generated(config: SimplifiedConfig, seed: int, count: int) -> GeneratedCorpus:
    """The generated corpus that a model learns: one of the package, or a target from outside."""
    options = dict(config.options)
    if ":" not in config.task:
        return generate(
            GeneratedConfig(name=config.task, examples=count, seed=seed, options=options)
        )
    outside = CustomCorpusConfig(_target_=config.task, examples=count, seed=seed, options=options)
    return custom.generate(outside, key="model.simplified.task")


def encode(prompts: Sequence[Prompt], tokenizer: Any, context: int, task: str) -> Examples:
    """Ids and targets of prompts.

    Raises:
        UserError: the tokenizer does not have a word, or a prompt is longer than the context.
    """
    backend, vocabulary = tokenizer.backend_tokenizer, tokenizer.get_vocab()
    encoded = backend.encode_batch([prompt.text for prompt in prompts])
    token_ids = [e.ids for e in encoded]
    longest = max(map(len, token_ids))
    if longest > context:
        raise UserError(
            f"model.simplified.context={context}: a prompt of '{task}' has {longest} tokens",
            fix=f"model.simplified.context={longest}",
        )
    unknown = tokenizer.unk_token_id
    ids = np.full((len(encoded), longest), tokenizer.pad_token_id)  # (N, T)
    targets = np.full_like(ids, NO_TARGET)
    for row, (prompt, encoding) in enumerate(zip(prompts, encoded, strict=True)):
        ids[row, : len(token_ids[row])] = token_ids[row]
        ends = [end for _, end in encoding.offsets[1:]]
        for offset, word in prompt.targets:
            # Position 0 is the start token, at which nothing is read yet.
            targets[row, bisect_right(ends, offset)] = vocabulary.get(word, unknown)
    if (ids == unknown).any() or (targets == unknown).any():
        answers = [word for prompt in prompts for _, word in prompt.targets]
        texts = [prompt.text for prompt in prompts]
        require_known(tokenizer, [*texts, *answers], f"model.simplified.task={task}")
    return Examples(
        torch.from_numpy(ids),
        torch.from_numpy(targets),
        torch.tensor([len(row) for row in token_ids]),
    )


def block_size(config: SimplifiedConfig) -> int:
    """Prompts of a block: whole batches."""
    return max(1, BLOCK // config.batch_size) * config.batch_size


class TrainingBatches:
    """The training batches of a model, from any step on."""

    def __init__(
        self, config: SimplifiedConfig, tokenizer: Any, generated: dict[int, list[Prompt]]
    ) -> None:
        """``generated``: blocks that exist already, by number; each is used once, then freed."""
        self.config, self.tokenizer, self.generated = config, tokenizer, generated

    def from_step(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Ids and targets (B, T) of every step from ``step`` on, without end."""
        size = block_size(self.config)
        block, first = divmod(step, size // self.config.batch_size)
        while True:
            block_prompts = self.generated.pop(block, None) or prompts(self.config, block, size)
            examples = encode(block_prompts, self.tokenizer, self.config.context, self.config.task)
            yield from examples.batches(self.config.batch_size, first)
            block, first = block + 1, 0
