"""Means by position over other texts of the same template (Wang et al. 2022, arXiv 2211.00593).

A mean over all tokens blurs what a head does at a place of a template; a mean at that place keeps
what all texts of the template share, and takes away what is special to one. The texts that it is
taken over are neither scored nor trained on: a generated task makes them from another seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from torch import Tensor

from probes.core.errors import UserError
from probes.corpora.corpus import Corpus
from probes.interventions.replacements import Places
from probes.interventions.scored_texts import ScoredTexts
from probes.models.forward import token_offset
from probes.models.hf_config import Kind
from probes.models.sites import Site
from probes.passes.batches import Batch
from probes.passes.visitor import Output, Visitor

Template = tuple[int, str]
"""Tokens of a text, and its words with all but function words left open."""
LEAST = 5
"""Texts that a mean by position is taken over."""


def template_of(text: str, tokens: int) -> Template:
    """The template that a text of so many tokens seems to be written from.

    That is its function words in their places, with all other words left open.

    >>> template_of("When Ann and Bob met, Ann said", 8)
    (8, 'When _ and _ _ _ _')
    """
    words = ((word, word.strip(".,;:?!'\"").lower()) for word in text.split())
    return tokens, " ".join(word if plain in ENGLISH_STOP_WORDS else "_" for word, plain in words)


def templates_of(corpus: Corpus, texts: ScoredTexts) -> list[Template]:
    """(S,) the template of each sequence."""
    lengths = texts.alignment.lengths.tolist()
    examples = texts.alignment.example.tolist()
    return [template_of(corpus.texts[e], n) for e, n in zip(examples, lengths, strict=True)]


class PositionSums(Visitor):
    """Sums of every head's output at each position, by template."""

    def __init__(
        self, kind: Kind, sites: Sequence[Site], templates: Sequence[Template], order: np.ndarray
    ) -> None:
        """templates: (S,) of the sequences; order: sequence at each position of the plan."""
        self.kind, self.sites = kind, sites
        self.templates, self.order = templates, order
        self.counts: Counter[Template] = Counter()
        self.total: dict[tuple[Template, Site], Tensor] = {}
        self._batch: list[tuple[Template, Site, Tensor]] = []
        self._now: Batch | None = None

    def begin(self, batch: Batch) -> None:
        """Drop what an attempt at this batch has kept."""
        self._now = batch
        self._batch.clear()

    def visit(self, site: Site, z: Tensor) -> None:
        """Keep (tokens, H, D) of every sequence of the batch."""
        assert self._now is not None
        offset = token_offset(self.kind, site.stream)
        for row, name in enumerate(self._names(self._now)):
            self._batch.append((name, site, z[row, : name[0] + offset].float().cpu().clone()))

    def end(self, batch: Batch, output: Output) -> None:
        """Add the batch up."""
        self.counts.update(self._names(batch))
        for name, site, z in self._batch:
            self.total[name, site] = self.total[name, site] + z if (name, site) in self.total else z

    def _names(self, batch: Batch) -> list[Template]:
        chosen = self.order[batch.position : batch.position + batch.count]
        return [self.templates[sequence] for sequence in chosen]


@dataclass
class MeansByPosition:
    """Puts the mean of the same template at the same position in the place of an output."""

    kind: Kind
    places: Places
    sums: PositionSums
    templates: Sequence[Template]
    """(S,) of the sequences that are edited."""
    order: np.ndarray
    """Sequence at each position of the plan."""
    _names: list[Template] = field(default_factory=list)
    _tokens: int = 0

    def begin(self, batch: Batch) -> None:
        """Find the templates of a batch."""
        chosen = self.order[batch.position : batch.position + batch.count]
        self._names = [self.templates[sequence] for sequence in chosen]
        self._tokens = batch.input_ids.shape[1]

    def known(self, name: Template) -> bool:
        """Whether a template has enough texts."""
        return self.sums.counts[name] >= LEAST

    def values(self, site: Site) -> Tensor:
        """(B, T, H, D) means; 0 after a text's end, and where its template has too few texts."""
        offset = token_offset(self.kind, site.stream)
        values = torch.zeros(len(self._names), self._tokens + offset, site.units, site.width)
        for row, name in enumerate(self._names):
            if self.known(name):
                mean = self.sums.total[name, site] / self.sums.counts[name]
                values[row, : len(mean)] = mean
        return values

    def where(self, batch: Batch, site: Site) -> Tensor:
        """(B, T) the places, in texts whose template has enough others."""
        there = torch.tensor([self.known(name) for name in self._names])
        return self.places.of(batch, token_offset(self.kind, site.stream)) & there[:, None]


def require_templates(means: MeansByPosition, examples: int) -> np.ndarray:
    """(S,) which sequences have a mean by position.

    Raises:
        UserError: none of them: no template repeats.
    """
    known = np.array([means.known(name) for name in means.templates])
    if not known.any():
        raise UserError(
            f"ablation.kind=mean_position: no template of the {len(known)} scored texts has "
            f"{LEAST} others among {examples} texts from another seed",
            allowed="corpora whose texts follow templates (ioi, facts, ...)",
            fix="ablation.kind=mean, or a larger corpus.examples",
        )
    return known
