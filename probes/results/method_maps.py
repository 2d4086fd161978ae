"""All maps of a feature, one for each method, and which heads each of them names."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import pandas as pd

from probes.results.feature_table import FeatureTable
from probes.results.subject import Asked, Subject
from probes.results.table import distinct, features, pick
from probes.results.vocabulary.comparators import is_comparator
from probes.results.vocabulary.methods import PROBE, method_order
from probes.results.vocabulary.sites import HEADS

NAMED_SHARE = 0.05
"""Share of a stream's heads that a method may name: significance alone names almost all of them."""
CORRECTED = ("p_control_familywise", "p_familywise")
"""Family-wise p-values, that of the better question first."""

Cell = tuple[str, int, int]
"""Stream, layer and head."""


def own_maps(table: pd.DataFrame, feature: str, *, site: str = HEADS) -> list[FeatureTable]:
    """The feature's maps of a site: a row for each method, variant, effect and positions.

    Probes come first, then the methods in the order of the vocabulary; of each the main metric.
    """
    whole = FeatureTable.of(table, feature)
    rows = pick(whole.rows, site=site)
    maps = []
    for method in sorted(distinct(rows, "method"), key=method_order):
        of_method = pick(rows, method=method, split="test")
        for probe in distinct(of_method, "probe"):
            if is_comparator(probe):
                continue
            of_probe = pick(of_method, probe=probe)
            for effect in distinct(of_probe, "effect"):
                for positions in distinct(pick(of_probe, effect=effect), "positions"):
                    subject = Subject.of(
                        rows, site=site, method=method, probe=probe, effect=effect,
                        positions=positions,
                    )  # fmt: skip
                    maps.append(FeatureTable(whole.rows, feature, subject))
    return maps


def feature_maps(table: pd.DataFrame, feature: str) -> list[FeatureTable]:
    """The feature's own map, as everything shows it first, then those by other methods."""
    main = FeatureTable.of(table, feature)
    others = own_maps(table, feature, site=main.site)
    return [main, *(one for one in others if one.method != PROBE and one.subject != main.subject)]


def answer_feature(table: pd.DataFrame, method: str) -> str | None:
    """The feature whose answers the corpus' effects are measured on; ``None`` where several are.

    A corpus has one question, whatever is decoded from its texts: a feature without effects of its
    own is set beside the effects on the answer.
    """
    names = distinct(pick(table, method=method, site=HEADS), "feature")
    return names[0] if len(names) == 1 else None


def method_maps(table: pd.DataFrame, feature: str, *, site: str = HEADS) -> list[FeatureTable]:
    """``own_maps``, and those of the corpus' answer by methods that the feature has no map of."""
    own = own_maps(table, feature, site=site)
    present = {one.method for one in own}
    methods = [name for name in distinct(table, "method") if name not in (PROBE, *present)]
    others: list[FeatureTable] = []
    for method in sorted(methods, key=method_order):
        answer = answer_feature(table, method)
        if answer is not None:
            others += [m for m in own_maps(table, answer, site=site) if m.method == method]
    return sorted([*own, *others], key=lambda one: method_order(one.method))


def of_method(table: pd.DataFrame, feature: str, **asked: Unpack[Asked]) -> FeatureTable:
    """The feature's map by a method; the answer's where it has none of its own.

    Raises:
        UserError: the feature is not in the table.
    """
    method = asked.get("method")
    if method not in (None, PROBE) and feature in features(table):
        answer = answer_feature(table, method or "")
        if pick(table, feature=feature, method=method).empty and answer is not None:
            feature = answer
    return FeatureTable.of(table, feature, **asked)


def named_heads(own: FeatureTable, *, level: float = 0.05) -> set[Cell]:
    """Heads that the map *names*: significant for the map as a whole, and among the largest.

    Effects go by the test against the matched control where it was made, and by size; in small
    models one head of a stream may be named. Without a test no head is named.
    """
    rows = own.values(own.metric)
    column = next((c for c in CORRECTED if c in rows and rows[c].notna().any()), None)
    if column is None:
        return set()
    named: set[Cell] = set()
    for stream in own.streams(own.metric):
        of_stream = pick(rows, stream=stream).dropna(subset=["value", "head"])
        size = of_stream["value"].to_numpy(dtype=np.float64)
        size = np.abs(size) if own.signed else size
        largest = np.argsort(-size, kind="stable")[: max(1, round(NAMED_SHARE * len(size)))]
        significant = of_stream[column].to_numpy(dtype=np.float64)[largest] <= level
        layers, heads = (of_stream[name].to_numpy(dtype=np.int64) for name in ("layer", "head"))
        named |= {(stream, int(layers[unit]), int(heads[unit])) for unit in largest[significant]}
    return named
