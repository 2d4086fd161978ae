"""What an atlas reads: the jobs that suit a model, and what is left out with the reason."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from probes.atlas.names import feature_label
from probes.catalogue import STAGES, Entry, catalogue
from probes.catalogue.corpora import corpus_config
from probes.config import AtlasConfig, RunConfig
from probes.config.checks import check_atlas
from probes.config.names import slug
from probes.core.errors import UserError, closest
from probes.corpora import load_corpus
from probes.corpora.corpus import TEST, TEXT_LEVELS, TRAIN, Corpus, Feature
from probes.corpora.splits import assign_splits

if TYPE_CHECKING:
    from probes.models.handle import Handle

UNKNOWN = 0.2
"""Share of a corpus' tokens that a model may not know; beyond it the texts say too little."""


@dataclass(frozen=True)
class LeftOut:
    """Features that were not probed."""

    corpus: str
    features: tuple[str, ...]
    entries: tuple[str, ...]
    reason: str


def by_reason(left_out: Iterable[LeftOut]) -> dict[str, list[str]]:
    """Each reason once, with all features that it keeps out: most reasons are about the model."""
    found: dict[str, list[str]] = {}
    for out in left_out:
        labels = found.setdefault(out.reason, [])
        new = [feature_label(feature, out.corpus) for feature in out.features]
        labels.extend(label for label in new if label not in labels)
    return found


@dataclass(frozen=True)
class AtlasJob:
    """One corpus with all its features: an ordinary run."""

    name: str
    """Of its directory, ``corpora/<name>/``."""
    config: RunConfig
    entries: tuple[Entry, ...]
    """Those that have a feature here."""
    fingerprint: str
    """Of the corpus, labels and splits included."""

    @property
    def features(self) -> list[str]:
        """What is decoded, in the order of the catalogue."""
        return list(self.config.features or [])

    def entries_of(self, feature: str) -> list[Entry]:
        """What the catalogue says of one feature."""
        return [entry for entry in self.entries if feature in entry.features]


@dataclass
class Plan:
    """Everything an atlas will do."""

    jobs: list[AtlasJob] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def make_plan(config: RunConfig, handle: Handle) -> Plan:
    """One job for each corpus (with its options and settings), all its features together.

    An encoder is not asked for what is said next, a tokenizer not for words that it lacks, and a
    context not for texts beyond it.

    Raises:
        UserError: an unknown stage or corpus, or settings that an atlas cannot have.
    """
    assert config.atlas is not None
    check_atlas(config)
    plan = Plan()
    wanted = _wanted(config.atlas)
    if handle.kind == "encoder":
        reason = "needs a decoder: it asks for what is said next, which an encoder does not say"
        for entry in wanted:
            if entry.decoders_only:
                out = LeftOut(entry.corpus, entry.features, (entry.name,), reason)
                plan.left_out.append(out)
        wanted = [entry for entry in wanted if not entry.decoders_only]
    for members in _together(wanted):
        _add_job(plan, members, config, handle)
    return plan


def _wanted(atlas: AtlasConfig) -> list[Entry]:
    entries = list(catalogue())
    for key, asked, known in (
        ("stages", atlas.stages, list(STAGES)),
        ("corpora", atlas.corpora, sorted({entry.corpus for entry in entries})),
    ):
        for name in asked or []:
            if name not in known:
                raise UserError(
                    f"atlas.{key}=[{name}]: not in the catalogue",
                    allowed=", ".join(known),
                    fix=f"atlas.{key}=[{closest(name, known)}]",
                )
    if atlas.examples is not None and atlas.examples < 1:
        raise UserError(f"atlas.examples={atlas.examples}", allowed="1 and more")
    found = [
        entry
        for entry in entries
        if (not atlas.stages or entry.stage in atlas.stages)
        and (not atlas.corpora or entry.corpus in atlas.corpora)
    ]
    if not found:
        raise UserError(
            f"atlas.corpora={atlas.corpora} atlas.stages={atlas.stages}: no entry of the catalogue "
            "has both",
            fix="atlas.stages=null",
        )
    return found


def _together(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Entries of one corpus with the same options and settings."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        key = repr((entry.corpus, sorted(entry.options.items()), sorted(entry.settings.items())))
        groups.setdefault(key, []).append(entry)
    return list(groups.values())


def _add_job(plan: Plan, members: list[Entry], config: RunConfig, handle: Handle) -> None:
    assert config.atlas is not None
    first = members[0]
    features = list(dict.fromkeys(name for entry in members for name in entry.features))
    names = tuple(entry.name for entry in members)
    made = copy.deepcopy(config)
    made.atlas = None
    made.trainer.progress = False
    for key, value in first.settings.items():
        _set(made, key, yaml.safe_load(value))
    try:
        made.corpus = corpus_config(first.corpus, first.options, examples=config.atlas.examples)
        corpus = assign_splits(load_corpus(made.corpus), made.split)
    except UserError as error:
        plan.left_out.append(LeftOut(first.corpus, tuple(features), names, str(error)))
        return
    reading = _Reading.of(corpus, handle)
    kept = []
    for name in features:
        reason = reading.refuses() or _reason(corpus, name, made, reading)
        if reason:
            asking = tuple(entry.name for entry in members if name in entry.features)
            plan.left_out.append(LeftOut(first.corpus, (name,), asking, reason))
        else:
            kept.append(name)
    if not kept:
        return
    made.features = kept
    tested = len(set(corpus.group_codes[corpus.splits == TEST].tolist()))
    if config.atlas.folds and not made.split.folds and tested < config.atlas.few_groups:
        made.split.folds = config.atlas.folds
    entries = tuple(entry for entry in members if set(entry.features) & set(kept))
    name = slug("-".join([first.corpus, *(f"{k}-{v}" for k, v in first.options.items())]))
    plan.jobs.append(AtlasJob(name, made, entries, corpus.fingerprint))


def _set(config: Any, key: str, value: Any) -> None:
    """Set ``position.word`` and the like."""
    *path, last = key.split(".")
    for part in path:
        config = getattr(config, part)
    if not hasattr(config, last):
        raise UserError(f"{key}: no such key of a run")
    setattr(config, last, value)


@dataclass(frozen=True)
class _Reading:
    """A corpus as the model's tokenizer sees it."""

    longest: int
    """Tokens of its longest text."""
    context: int
    unknown: float
    """Share of tokens that stand for a word which the tokenizer does not have."""
    examples: Sequence[str]
    """Some of those words."""

    @classmethod
    def of(cls, corpus: Corpus, handle: Handle) -> _Reading:
        from probes.models.tokens import encode

        encodings = encode(handle.tokenizer, corpus.texts, handle.settings.bos)
        unknown = handle.tokenizer.unk_token_id
        total = lost = 0
        words: dict[str, None] = {}
        for text, found in zip(corpus.texts, encodings, strict=True):
            for token, (start, end), special in zip(
                found.ids, found.offsets, found.special, strict=True
            ):
                if special:
                    continue
                total += 1
                if token == unknown:
                    lost += 1
                    if len(words) < 8:
                        words[text[start:end]] = None
        longest = max(len(found.ids) for found in encodings)
        return cls(longest, handle.context, lost / max(total, 1), list(words))

    def refuses(self) -> str:
        """Why nothing can be read of this corpus, or nothing."""
        if self.unknown <= UNKNOWN:
            return ""
        return (
            f"the model's tokenizer does not know {self.unknown:.0%} of its words "
            f"({', '.join(self.examples[:5])}, ...)"
        )


def _reason(corpus: Corpus, name: str, config: RunConfig, reading: _Reading) -> str:
    """Why this feature does not suit the model, or nothing."""
    if name not in corpus.features:
        return f"this corpus has no feature '{name}'"
    feature = corpus.features[name]
    if feature.level in TEXT_LEVELS and reading.longest > reading.context and not config.truncate:
        return (
            f"read at the end of a text of up to {reading.longest} tokens, and the model reads "
            f"{reading.context}"
        )
    classes = _classes(corpus, feature, config.min_count)
    if classes < 2:
        return (
            f"{classes} of its {len(feature.classes)} classes has {config.min_count} training rows "
            "(min_count): too few examples"
        )
    return ""


def _classes(corpus: Corpus, feature: Feature, min_count: int) -> int:
    """Classes with enough training units; of rows that only tokens have, nobody knows yet."""
    if feature.of_rows:
        return len(feature.classes)
    train = corpus.splits[corpus.units.example] == TRAIN
    codes = feature.codes[train & (feature.codes >= 0)]
    return int((np.bincount(codes, minlength=len(feature.classes)) >= max(min_count, 1)).sum())
