"""Tables that a dashboard shows: a row for each head, and how methods agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from probes.analysis.agreement import agreement_frame, method_pairs
from probes.reporting.head_map import head_map
from probes.results.method_maps import feature_maps, method_maps
from probes.results.table import features
from probes.results.vocabulary.methods import PROBE
from probes.statistics.maps import MapEvidence


def heads_table(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each head of each map: its place, its value on validation, all quantities.

    Where a run has methods beside probes, columns say how the numbers of a row were obtained.
    """
    tables = []
    several = set(table["method"]) - {PROBE}
    for own in (own for feature in features(table) for own in feature_maps(table, feature)):
        for panel in head_map(own).panels:
            row, column = np.nonzero(panel.values.notna().to_numpy())
            heads = pd.DataFrame(
                {"feature": own.feature, "stream": panel.stream}, index=range(len(row))
            )
            if several:
                columns = {**own.subject.map_columns, "metric": own.metric}
                heads = heads.assign(**columns)
            heads["layer"] = panel.values.index.to_numpy()[row]
            heads["head"] = panel.values.columns.to_numpy()[column]
            grid = own.map(own.metric, split="validation", stream=panel.stream)
            heads[f"validation_{own.metric}"] = grid.reindex_like(panel.values).to_numpy()[
                row, column
            ]
            for name in own.names:
                grid = own.map(name, stream=panel.stream).reindex_like(panel.values)
                heads[name] = grid.to_numpy()[row, column]
            tables.append(heads)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def agreement_table(table: pd.DataFrame, maps: Sequence[MapEvidence]) -> pd.DataFrame:
    """A row for each comparison of two methods' maps of a feature; empty with one method.

    maps: the evidence, without which maps are not compared.
    """
    if not set(table["method"]) - {PROBE}:
        return pd.DataFrame()
    frames = [
        agreement_frame(method_pairs(method_maps(table, feature), maps)).assign(feature=feature)
        for feature in features(table)
    ]
    return pd.concat([frame for frame in frames if len(frame)] or [pd.DataFrame()])
