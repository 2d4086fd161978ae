"""Models, batches and given values that tests of attribution share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from probes.models.forward import forward
from probes.models.hf_config import model_kind
from probes.models.hooks import hooked
from probes.models.language_model import logits
from probes.models.sites import Site
from probes.passes.batches import Batch
from tests import tiny_models
from tests.residual_models import EXTRA, POST_NORM, TO_LOGITS, with_head
from tests.tiny_families import FAMILIES

ENCODERS = [name for name, family in FAMILIES.items() if family.kind == "encoder"]
ONE_STACK = ["llama_gqa", "gpt2", "gemma3", "bloom", "granite", "openai_gpt"]
EVERY = [*TO_LOGITS, *EXTRA, *POST_NORM, *ENCODERS]
ROUTED = {"mixtral", "qwen3_next", "gpt_oss", "deepseek_v3", "jamba"}
"""The measure jumps where a token goes to other experts."""
KINKED = {"opt", "opt_post_norm", "t5", "bitnet"}
"""ReLU: sums over points are less exact, and slopes need smaller steps."""
ANSWERS, OTHERS = torch.tensor([5, 90, 41]), torch.tensor([6, 4, 33])


def batch_of(ids: Tensor, mask: Tensor) -> Batch:
    """A batch whose rows are the last tokens of its sequences."""
    rows = np.arange(len(ids))
    last = (mask.sum(dim=1) - 1).numpy()
    return Batch(0, len(ids), ids, mask, rows, rows, last, last)


def base_and_other(lengths: Sequence[int] = (9, 9, 9)) -> tuple[Batch, Batch]:
    base, other = (tiny_models.pad(tiny_models.sequences(lengths, seed)) for seed in (0, 5))
    return batch_of(*base), batch_of(*other)


def opened(name: str, dtype: torch.dtype = torch.float64) -> Any:
    return tiny_models.build(name, dtype) if name in ENCODERS else with_head(name, dtype)


def scores_of(model: Any, name: str) -> Callable[[Batch], Tensor]:
    """(B,) logit differences at the last token; of encoders what a direction of the end reads."""
    kind = model_kind(model.config)

    def of_logits(batch: Batch) -> Tensor:
        at = (batch.sequence, batch.last)
        values = logits(model, kind, batch.input_ids, batch.attention_mask, at=at, gradients=True)
        return values.gather(1, ANSWERS[:, None])[:, 0] - values.gather(1, OTHERS[:, None])[:, 0]

    def of_hidden(batch: Batch) -> Tensor:
        output = forward(model, kind, batch.input_ids, batch.attention_mask, gradients=True)
        end: Tensor = output.last_hidden_state[batch.sequence, batch.last]
        return (end * torch.linspace(-1, 2, end.shape[-1]).cos()).sum(dim=-1)

    return of_hidden if name in ENCODERS else of_logits


def outputs_at(body: Any, sites: Sequence[Site], batch: Batch) -> dict[Site, Tensor]:
    kept: dict[Site, Tensor] = {}
    with hooked(body, sites, lambda site, z: kept.__setitem__(site, z.clone())):
        forward(body, model_kind(body.config), batch.input_ids, batch.attention_mask)
    return {site: z.clone() for site, z in kept.items()}  # no tensors of inference mode


@dataclass
class Given:
    """Values that are given, at all tokens or some."""

    of_site: dict[Site, Tensor]
    tokens: Tensor | None = None
    """(B, T) text tokens; None: everywhere but under the padding."""
    two_stacks: bool = False
    begun: list[Batch] = field(default_factory=list)

    def begin(self, batch: Batch) -> None:
        self.begun.append(batch)

    def values(self, site: Site) -> Tensor:
        return self.of_site[site]

    def where(self, batch: Batch, site: Site) -> Tensor:
        where = batch.attention_mask.bool() if self.tokens is None else self.tokens
        extra = int(self.two_stacks and site.stream != "encoder")  # the start token
        return torch.nn.functional.pad(where, (extra, 0), value=self.tokens is None)


def exact(
    scores: Callable[[Batch], Tensor],
    body: Any,
    batch: Batch,
    site: Site,
    head: int,
    change: Callable[[Tensor], Tensor],
) -> Tensor:
    """m(edited) - m(base), (B,), with ``z`` of one head replaced by ``change`` of it."""

    def edit(_: Site, z: Tensor) -> Tensor:
        z = z.clone()
        z[:, :, head] = change(z[:, :, head])
        return z

    with torch.no_grad():
        clean = scores(batch)
        with hooked(body, [site], edit):
            return scores(batch) - clean


@pytest.fixture(autouse=True)
def fresh_models() -> Any:
    """Some tests change a model, and models are shared."""
    yield
    with_head.cache_clear()
