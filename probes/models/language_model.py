"""A model with its language-model head: the body inside it, the head, and logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from probes.core.errors import UserError
from probes.models.forward import forward, token_offset
from probes.models.hf_config import Kind, text_config

Positions = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""(n,) sequence of a batch and (n,) token of the text in it, counted with the padding."""


def body_of(model: nn.Module) -> nn.Module:
    """The body inside a model with a language-model head; of a multimodal one its text part.

    A body is returned as it is, and so is a model that keeps its stacks beside its head (T5):
    their sites are found and hooked in the same way.

    >>> body_of(handle.load(head=True))                                   # doctest: +SKIP
    LlamaModel(...)
    """
    body = getattr(model, "base_model", model)
    config: Any = model.config
    if text_config(config) is not config:
        parts = [getattr(body, name, None) for name in ("language_model", "text_model")]
        body = next((part for part in parts if part is not None), body)
        body = body.model if hasattr(body, "lm_head") else body
    assert isinstance(body, nn.Module)
    return body


def output_head(model: nn.Module) -> nn.Module:
    """The module that maps the last hidden state onto the vocabulary.

    Raises:
        UserError: where the model has none.
    """
    head = _head_or_none(model)
    if head is None:
        raise UserError(
            f"{type(model).__name__} has no language-model head, so it gives no logits",
            allowed="decoders and encoder-decoders, opened with their head",
        )
    return head


def has_output_head(model: nn.Module) -> bool:
    """Whether a model maps its last hidden state onto the vocabulary."""
    return _head_or_none(model) is not None


def _head_or_none(model: nn.Module) -> nn.Module | None:
    head = getattr(model, "get_output_embeddings", lambda: None)()
    return head if isinstance(head, nn.Module) else None


def logits(
    model: nn.Module,
    kind: Kind,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    at: Positions | None = None,
    gradients: bool = False,
) -> Tensor:
    """Next-token logits of a padded batch, as the model itself gives them (scaled, soft-capped).

    input_ids, attention_mask: (B, T) as for ``forward``. Returns (B, T, vocabulary), of an
    encoder-decoder (B, T + 1, vocabulary); with ``at`` only the logits after these tokens,
    (n, vocabulary): nothing is computed for the others.

    Raises:
        UserError: for a model without a language-model head, and whatever ``forward`` refuses.
    """
    with _picked(output_head(model), at, token_offset(kind, "decoder")):
        output = forward(model, kind, input_ids, attention_mask, gradients=gradients)
    values: Tensor = output.logits
    return values if at is None else values[0]


@contextmanager
def _picked(head: nn.Module, at: Positions | None, offset: int) -> Iterator[None]:
    """Let the head see only these positions, (1, n, d_model), whatever the model does around it."""
    if at is None:
        yield
        return

    def pick(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden: Tensor = args[0]  # (B, T, d_model)
        sequence, token = (torch.from_numpy(axis).to(hidden.device) for axis in at)
        return (hidden[sequence, token + offset][None], *args[1:])  # (1, n, d_model)

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()
