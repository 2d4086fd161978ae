"""Tiny random models, one for each family, built from configs in code and offline.

``build("llama_gqa")`` is a body without a head; ``tests.tiny_checkpoints`` writes directories that
``open_model`` can read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers

from probes.models.experts import ONE_BY_ONE
from tests.tiny_families import FAMILIES, VOCABULARY


def config_of(name: str, **options: Any) -> Any:
    """The tiny config of a family, with options changed."""
    family = FAMILIES[name]
    given = {"vocab_size": VOCABULARY} | family.options | options
    for stack in ("encoder", "decoder"):  # a few have a config for each stack
        if isinstance(given.get(stack), dict):
            given[stack] = {"vocab_size": given["vocab_size"]} | given[stack]
    return family.config(**given)


def build(name: str, dtype: torch.dtype = torch.float64, seed: int = 0, **options: Any) -> Any:
    """A body of that family with random weights, in eval mode; biases are random too.

    Initialisers leave biases at zero and most matrices near it, which would hide mistakes.
    """
    # Grouped products of experts know no float64.
    experts = ONE_BY_ONE if dtype == torch.float64 else {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body = transformers.AutoModel.from_config(config_of(name, **options), **experts)
    return randomise(body, dtype, seed)


def build_with_head(
    name: str, dtype: torch.dtype = torch.float64, seed: int = 0, **options: Any
) -> Any:
    """A decoder or encoder-decoder with its language-model head, else as ``build``."""
    auto: Any = transformers.AutoModelForCausalLM
    if FAMILIES[name].kind == "encoder-decoder":
        auto = transformers.AutoModelForSeq2SeqLM
    experts = ONE_BY_ONE if dtype == torch.float64 else {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = auto.from_config(config_of(name, **options), **experts)
    return randomise(model, dtype, seed)


def randomise(body: Any, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    """Random weights large enough that every part of the model matters."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in body.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        scale = 0.4 if parameter.dim() > 1 else 0.2
        parameter.data = parameter.data + scale * noise
    return body.to(dtype).eval().requires_grad_(False)


def sequences(lengths: Sequence[int] = (7, 12, 4), seed: int = 0) -> list[torch.Tensor]:
    """Random token ids, free of the special ids 0 to 2."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, VOCABULARY, (n,), generator=generator) for n in lengths]


def pad(
    rows: Sequence[torch.Tensor], side: str = "right", pad_id: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, both (rows, longest)."""
    ids = torch.full((len(rows), max(map(len, rows))), pad_id)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        where = slice(0, len(row)) if side == "right" else slice(-len(row), None)
        ids[index, where], mask[index, where] = row, 1
    return ids, mask
