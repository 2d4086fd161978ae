"""The best head of a feature, and what it is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from probes.results.table import (
    main_probe,
    main_site,
    of_feature,
    pick,
    top_heads,
)
from probes.results.vocabulary.sites import SITES

WHOLE_LAYER_SITES = [site.name for site in SITES.values() if site.whole_layer]
METRIC = "accuracy"
CORPUS_BASELINES = {
    "majority": ("majority class", "majority"),
    "lexical": ("majority class of the word type", "words alone"),
    "bag_of_words": ("bag of words and length", "bag of words"),
}
OTHER_HEADS = {
    "random_init": ("best head of the random model", "random model"),
    "erased": ("best head after the feature of evaluation.erase was erased", "feature erased"),
}
WHOLE_LAYER = {
    "all_heads": "all heads",
    "residual": "residual stream",
    "attention_output": "attention output",
    "mlp_output": "MLP output",
}


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, if it has one."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, row: Any, column: str = "value") -> Estimate:
        """From a row of a table."""
        return cls(optional(row[column]), optional(row["ci_low"]), optional(row["ci_high"]))


@dataclass(frozen=True)
class Baseline:
    """One thing that the best head is measured against."""

    name: str
    short: str
    """For the header of a column."""
    estimate: Estimate
    gain: float | None
    """What the best head reaches above it."""


def best_estimate(
    table: pd.DataFrame, feature: str, *, site: str | None = None, probe: str | None = None
) -> Estimate:
    """What the head (or layer) that is best on validation reaches on test."""
    table = of_feature(table, feature)
    site = site or main_site(table)
    probe = probe or main_probe(table, site)
    chosen_on = pick(table, site=site, probe=probe, metric=METRIC, split="validation")
    if chosen_on["value"].isna().all():
        return Estimate(None)
    return Estimate.of(top_heads(table, feature, 1, site=site, probe=probe).iloc[0], "test")


def baselines(table: pd.DataFrame, feature: str) -> list[Baseline]:
    """What the best head of a feature is measured against, simplest first.

    The layer of a whole-layer probe, and the head of the random model, are chosen on validation
    as the head is.
    """
    table = of_feature(table, feature)
    site = main_site(table)
    best = best_estimate(table, feature)
    found = [(*names, _corpus(table, probe)) for probe, names in CORPUS_BASELINES.items()]
    for probe, names in OTHER_HEADS.items():
        found.append((*names, best_estimate(table, feature, site=site, probe=probe)))
    for whole in WHOLE_LAYER_SITES:
        if whole != site and (table["site"] == whole).any():
            estimate = best_estimate(table, feature, site=whole)
            name = f"{WHOLE_LAYER[whole]} of the best layer"
            found.append((name, WHOLE_LAYER[whole], estimate))
    return [
        Baseline(name, short, estimate, None if best.value is None else best.value - estimate.value)
        for name, short, estimate in found
        if estimate.value is not None
    ]


def optional(value: Any) -> float | None:
    """A number of a table, None where the cell is empty."""
    return None if pd.isna(value) else float(value)


def _corpus(table: pd.DataFrame, probe: str) -> Estimate:
    rows = pick(table, site="corpus", probe=probe, metric=METRIC, split="test")
    return Estimate.of(rows.iloc[0]) if len(rows) else Estimate(None)
