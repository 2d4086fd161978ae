"""Prompts of a generated task as tensors, without end and the same for a seed wherever one starts.

Training reads blocks; each has a generator with a seed of its own, so that a resumed training
makes the block that it needs and none before it. Held-out prompts have a seed that no block has,
and no corpus has one of these seeds.
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

from probes.config import GeneratedConfig, SimplifiedConfig
from probes.core.errors import UserError
from probes.core.files import digest
from probes.corpora.generated import generate
from probes.corpora.generated.kit.prompt import Prompt
from probes.models.words import require_known

BLOCK = 4096
"""Prompts that are made at a time."""
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

    Raises ``UserError`` for an unknown task or options, and for a task without targets.
    """
    # Seeds of corpora are small numbers; these are not.
    seed = (1 << 32) + int(digest([config.seed, part])[:12], 16)
    task = GeneratedConfig(
        name=config.task, examples=count, seed=seed, options=dict(config.options)
    )
    found = list(islice(generate(task).prompts, count))
    if not any(prompt.targets for prompt in found):
        raise UserError(
            f"model.simplified.task={config.task}: its prompts say nothing of what comes next",
            fix="model.simplified.task=induction",
        )
    return found


def encode(prompts: Sequence[Prompt], tokenizer: Any, context: int, task: str) -> Examples:
    """Ids and targets of prompts.

    Raises ``UserError`` for words that the tokenizer does not have and prompts beyond the context.
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
    for row, (prompt, found) in enumerate(zip(prompts, encoded, strict=True)):
        ids[row, : len(token_ids[row])] = token_ids[row]
        ends = [end for _, end in found.offsets[1:]]
        for offset, word in prompt.targets:
            # Position 0 is the start token: it has read nothing, the last one everything.
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


class Stream:
    """The training batches of a run from any step on."""

    def __init__(
        self, config: SimplifiedConfig, tokenizer: Any, known: dict[int, list[Prompt]]
    ) -> None:
        """``known``: blocks that have been made already, by number; each is used up once."""
        self.config, self.tokenizer, self.known = config, tokenizer, known

    def batches(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Ids and targets (B, T) of every step from ``step`` on, without end."""
        size = block_size(self.config)
        block, first = divmod(step, size // self.config.batch_size)
        while True:
            found = self.known.pop(block, None) or prompts(self.config, block, size)
            examples = encode(found, self.tokenizer, self.config.context, self.config.task)
            yield from examples.batches(self.config.batch_size, first)
            block, first = block + 1, 0
