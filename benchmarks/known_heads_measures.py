"""What a head of the induction model does, by its attention, by ablation and by probes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from probes.activations.extraction import extract
from probes.config import (
    ExtractionConfig,
    GeneratedConfig,
    LinearConfig,
    ModelConfig,
    SimplifiedConfig,
    SplitConfig,
)
from probes.corpora.generated import load
from probes.corpora.splits import assign_splits
from probes.corpora.tasks import make_task
from probes.interventions.head_sets import shapley_values
from probes.models.hf_messages import quiet
from probes.models.hooks import hooked
from probes.models.loading import open_model
from probes.models.sites import Site, find_sites
from probes.simplified.examples import NO_TARGET, Examples, encode, prompts
from probes.training.linear import fit_linear
from probes.training.problems import real_problem

Head = tuple[int, int]
"""Layer and head."""
Scores = dict[Head, float]


@dataclass(frozen=True)
class Opened:
    """A trained model with its language-model head, and prompts that it has not seen."""

    settings: ModelConfig
    model: Any
    sites: list[Site]
    examples: Examples

    @property
    def heads(self) -> list[Head]:
        """All heads, layer by layer."""
        return [(site.layer, head) for site in self.sites for head in range(site.units)]

    def in_layer(self, layer: int) -> list[Head]:
        """The heads of one layer."""
        return [head for head in self.heads if head[0] == layer]


@torch.no_grad()
def opened(settings: ModelConfig, *, count: int) -> Opened:
    """Load what ``resolve`` found, with ``count`` prompts that no block of its training holds."""
    config = settings.simplified or SimplifiedConfig()
    tokenizer = open_model(settings).tokenizer
    examples = encode(prompts(config, "ablation", count), tokenizer, config.context, config.task)
    with quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            settings.name, attn_implementation="eager"
        ).eval()
    return Opened(settings, model, find_sites(model.base_model), examples)


# --- attention ---------------------------------------------------------------------------------


@torch.no_grad()
def attention(one: Opened) -> dict[str, Tensor]:
    """Mean attention weight of each head by kind of place looked at: (layers, heads) each.

    ``previous``: on the position before, over all positions behind the first word.
    ``induction``: on the positions behind an earlier occurrence of the same word, where the
    context determines the next word.
    """
    ids, targets = one.examples.ids, one.examples.targets  # (B, T)
    weights = torch.stack(one.model.base_model(ids, output_attentions=True).attentions)
    T = ids.shape[1]  # weights: (L, B, H, T, T)
    real = torch.arange(T) < one.examples.lengths[:, None]  # (B, T)
    before = weights.diagonal(offset=-1, dim1=-2, dim2=-1)[..., 1:]  # (L, B, H, T - 2), from 2 on
    previous = _mean_over(before, real[:, 2:])
    behind = torch.zeros(len(ids), T, T, dtype=torch.bool)  # (B, query, key)
    behind[:, :, 1:] = ids[:, :, None] == ids[:, None, :-1]
    behind &= torch.ones(T, T, dtype=torch.bool).tril()
    found = (weights * behind[:, None]).sum(-1)  # (L, B, H, T)
    return {"previous": previous, "induction": _mean_over(found, targets != NO_TARGET)}


def _mean_over(values: Tensor, wanted: Tensor) -> Tensor:
    """(L, H): mean of values (L, B, H, T) where wanted (B, T)."""
    weighted = values * wanted[:, None]
    return weighted.sum((1, 3)) / wanted.sum()


# --- ablation ----------------------------------------------------------------------------------


class Ablation:
    """Replaces heads' outputs by their means over positions and measures what that costs."""

    def __init__(self, one: Opened) -> None:
        self.one = one
        self.clean = self._read()
        """Layer -> z (B, T, H, D) of the untouched model."""
        wanted = one.examples.targets != NO_TARGET
        self.means = {layer: z[wanted].mean(0) for layer, z in self.clean.items()}  # (H, D)

    @torch.no_grad()
    def accuracy(self, heads: Collection[Head], *, direct: bool = False) -> float:
        """Share of answers said with these heads ablated.

        direct: heads of later layers still do what they did in the untouched model, so that only
        what an ablated head says itself is missing, not what others made of it.
        """
        hidden = self._run(heads, direct=direct).last_hidden_state
        targets = self.one.examples.targets
        wanted = targets != NO_TARGET
        said = self.one.model.get_output_embeddings()(hidden[wanted]).argmax(-1)
        return float((said == targets[wanted]).float().mean())

    @torch.no_grad()
    def induction_attention(self, heads: Collection[Head]) -> float:
        """Mean induction attention of the layers behind the first, with these heads ablated."""
        with hooked(self.one.model.base_model, self.one.sites, self._edit(heads, direct=False)):
            return float(attention(self.one)["induction"][1:].mean())

    def direct_effect(self) -> Scores:
        """What each head adds to the accuracy by what it says itself: its Shapley value.

        Heads of a layer that do the same stand in for each other, so the effect of ablating one
        alone is none; the mean over all sets of the others that may be ablated with it is fair.
        """
        return self._shapley(lambda heads: self.accuracy(heads, direct=True))

    def effect_on_induction(self) -> Scores:
        """What each head adds to the induction attention of later layers: its Shapley value."""
        return self._shapley(self.induction_attention)

    def _shapley(self, value: Callable[[list[Head]], float]) -> Scores:
        """By layer: the heads that may be ablated together with one are those of its own layer."""
        scores: Scores = {}
        for site in self.one.sites:
            heads = self.one.in_layer(site.layer)
            values = shapley_values(
                heads, lambda kept, heads=heads: value([h for h in heads if h not in kept])
            )
            scores |= dict(zip(heads, values.tolist(), strict=True))
        return scores

    def _read(self) -> dict[int, Tensor]:
        read: dict[int, Tensor] = {}

        def keep(site: Site, z: Tensor) -> None:
            read[site.layer] = z.clone()

        with torch.no_grad(), hooked(self.one.model.base_model, self.one.sites, keep):
            self.one.model.base_model(self.one.examples.ids)
        return read

    def _run(self, heads: Collection[Head], *, direct: bool) -> Any:
        body = self.one.model.base_model
        with hooked(body, self.one.sites, self._edit(heads, direct=direct)):
            return body(self.one.examples.ids)

    def _edit(self, heads: Collection[Head], *, direct: bool) -> Any:
        def edit(site: Site, z: Tensor) -> Tensor:
            z = (self.clean[site.layer] if direct else z).clone()
            for layer, head in heads:
                if layer == site.layer:
                    z[:, :, head] = self.means[layer][head]
            return z

        return edit


# --- probes ------------------------------------------------------------------------------------


def probe_accuracy(
    settings: ModelConfig, feature: str, cache_dir: str | Path, *, texts: int, seed: int = 0
) -> Scores:
    """Test accuracy of a linear probe on every head, through extraction and fit as in a run."""
    simplified = settings.simplified or SimplifiedConfig()
    task = GeneratedConfig(simplified.task, texts, seed, simplified.options)
    corpus = assign_splits(load(task), SplitConfig(seed=seed))
    cache = extract(
        open_model(settings),
        corpus,
        extraction=ExtractionConfig(dtype="float32"),
        cache_dir=cache_dir,
    )["heads"]
    labels = make_task(corpus, feature, cache.rows["unit"], min_count=2)
    problem = real_problem(labels)
    truth = torch.from_numpy(problem.labels[problem.score])  # (n,)
    scores: Scores = {}
    for info in cache.layers:
        z = cache.layer(info.layer)[:, labels.rows]  # (H, n, D)
        (fitted,) = fit_linear(
            z.clone(), [problem], LinearConfig(l2=[10.0, 100.0]), classes=len(labels.classes)
        )
        tensors = fitted.tensors
        logits = z[:, problem.score] @ tensors["weight"].mT + tensors["bias"][:, None]  # (H, n, C)
        right = (logits.argmax(-1) == truth).float().mean(1)
        scores |= {(info.layer, head): float(value) for head, value in enumerate(right)}
    return scores
