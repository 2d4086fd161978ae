"""What an atlas reads: the jobs that suit a model, and what is left out, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import yaml

from probes.atlas.choice import chosen_entries
from probes.atlas.names import feature_label
from probes.atlas.suitability import TokenisedCorpus, why_unsuitable
from probes.catalogue import Entry
from probes.catalogue.corpora import corpus_config
from probes.config import AtlasConfig, RunConfig
from probes.config.checks import check_atlas
from probes.config.names import slug
from probes.config.settings import with_setting
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import TEST, Corpus
from probes.corpora.splits import assign_splits
from probes.models.handle import Handle

NEEDS_DECODER = "needs a decoder: it decodes the next token, and an encoder predicts none"


@dataclass(frozen=True)
class LeftOut:
    """Features that were not probed."""

    corpus: str
    features: tuple[str, ...]
    entries: tuple[str, ...]
    """Names of the catalogue's entries that have these features."""
    reason: str


@dataclass(frozen=True)
class AtlasJob:
    """One corpus with all its features: an ordinary run."""

    name: str
    """Of its directory, ``corpora/<name>/``."""
    config: RunConfig
    entries: tuple[Entry, ...]
    """Those of the catalogue that have a feature here."""
    fingerprint: str
    """Of the corpus, labels and splits included."""
    tokens: int
    """That the model reads."""

    @property
    def features(self) -> list[str]:
        """What is decoded, in the order of the catalogue."""
        return list(self.config.features or [])

    def entries_of(self, feature: str) -> list[Entry]:
        """The entries that read this feature."""
        return [entry for entry in self.entries if feature in entry.features]


@dataclass(frozen=True)
class AtlasPlan:
    """Everything that an atlas runs, and everything that it leaves out."""

    jobs: list[AtlasJob]
    left_out: list[LeftOut]


def make_plan(atlas: AtlasConfig, base: RunConfig, handle: Handle) -> AtlasPlan:
    """One job for each corpus (with its options and settings), all its features together.

    Features that decode the next token are left out for an encoder, corpora of words that the
    tokenizer lacks and texts beyond the context for any model.

    base: the settings of all jobs; the corpus, the features and some settings are the job's own.

    Raises:
        UserError: an unknown stage or corpus, or settings that an atlas cannot have.
    """
    check_atlas(base)
    entries = chosen_entries(atlas)
    left_out = []
    if handle.kind == "encoder":
        left_out = [
            LeftOut(entry.corpus, entry.features, (entry.name,), NEEDS_DECODER)
            for entry in entries
            if entry.decoders_only
        ]
        entries = [entry for entry in entries if not entry.decoders_only]
    jobs = []
    for members in _by_corpus(entries):
        job, reasons = _plan_job(members, atlas, base, handle)
        jobs += [job] if job else []
        left_out += reasons
    return AtlasPlan(jobs, left_out)


def by_reason(left_out: Iterable[LeftOut]) -> dict[str, list[str]]:
    """Each reason once, with the labels of all features that it keeps out."""
    labels_by_reason: dict[str, list[str]] = {}
    for out in left_out:
        labels = labels_by_reason.setdefault(out.reason, [])
        new = [feature_label(feature, out.corpus) for feature in out.features]
        labels.extend(label for label in new if label not in labels)
    return labels_by_reason


def _by_corpus(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Entries of one corpus with the same options and settings together."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        key = repr((entry.corpus, sorted(entry.options.items()), sorted(entry.settings.items())))
        groups.setdefault(key, []).append(entry)
    return list(groups.values())


def _plan_job(
    members: Sequence[Entry], atlas: AtlasConfig, base: RunConfig, handle: Handle
) -> tuple[AtlasJob | None, list[LeftOut]]:
    """The job of these entries, which share a corpus, and which features it leaves out."""
    first = members[0]
    features = list(dict.fromkeys(name for entry in members for name in entry.features))
    config = replace(base, trainer=replace(base.trainer, progress=False))
    for key, value in first.settings.items():
        config = with_setting(config, key, yaml.safe_load(value))
    try:
        settings = corpus_config(first.corpus, first.options, examples=atlas.examples)
        corpus = assign_splits(load_corpus(settings), config.split)
    except UserError as error:
        names = tuple(entry.name for entry in members)
        return None, [LeftOut(first.corpus, tuple(features), names, str(error))]
    tokenised = TokenisedCorpus.of(corpus, handle)
    kept, left_out = [], []
    for name in features:
        reason = tokenised.why_unreadable() or why_unsuitable(corpus, name, config, tokenised)
        if reason:
            names = tuple(entry.name for entry in members if name in entry.features)
            left_out.append(LeftOut(first.corpus, (name,), names, reason))
        else:
            kept.append(name)
    if not kept:
        return None, left_out
    if atlas.folds and not config.split.folds and _test_groups(corpus) < atlas.few_groups:
        config = with_setting(config, "split.folds", atlas.folds)
    job = AtlasJob(
        name=slug("-".join([first.corpus, *(f"{k}-{v}" for k, v in first.options.items())])),
        config=replace(config, corpus=settings, features=kept),
        entries=tuple(entry for entry in members if set(entry.features) & set(kept)),
        fingerprint=corpus.fingerprint,
        tokens=tokenised.tokens,
    )
    return job, left_out


def _test_groups(corpus: Corpus) -> int:
    return len(set(corpus.group_codes[corpus.splits == TEST].tolist()))
