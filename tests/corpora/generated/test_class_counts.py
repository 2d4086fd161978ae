"""Defaults fit each other: generated corpora have enough texts for all their classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from probes.catalogue import load_catalogue
from probes.catalogue.corpora import corpus_config
from probes.config import RunConfig, SplitConfig
from probes.corpora import load_corpus
from probes.corpora.corpus import TRAIN
from probes.corpora.generated import names
from probes.corpora.splits import assign_splits


@dataclass(frozen=True)
class Given:
    """A generated corpus as ``corpus=NAME`` makes it, or with the options of an entry."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.options)])


GIVEN = list(
    dict.fromkeys(
        [
            *map(Given, names()),
            *(
                Given(e.corpus, tuple(e.options.items()))
                for e in load_catalogue()
                if e.corpus in names()
            ),
        ]
    )
)


@pytest.mark.parametrize("given", GIVEN, ids=str)
def test_no_class_is_too_rare_to_be_probed(given: Given) -> None:
    config = corpus_config(given.name, dict(given.options))
    corpus = assign_splits(load_corpus(config), SplitConfig())
    train = corpus.splits[corpus.units.example] == TRAIN
    for name, feature in corpus.features.items():
        if feature.of_rows:
            continue  # labelled after the model's tokenizer has cut the words
        has = feature.codes >= 0
        in_train = np.bincount(feature.codes[train & has], minlength=len(feature.classes))
        present = np.bincount(feature.codes[has], minlength=len(feature.classes)) > 0
        rare = np.flatnonzero(present & (in_train < RunConfig().min_count))
        few = {feature.classes[code]: int(in_train[code]) for code in rare}
        assert not few, f"{name}: {few} of {len(feature.classes)} classes, by training rows"
