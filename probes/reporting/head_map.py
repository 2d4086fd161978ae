"""What every drawing of a map needs, taken from the results once.

The PNG, the terminal and the web page all draw a ``HeadMap``; none of them looks into the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from probes.core.errors import UserError
from probes.results.feature_table import FeatureTable
from probes.results.quantities import Quantity
from probes.results.table import layers_by_heads, pick
from probes.results.vocabulary.comparators import Compared, comparators
from probes.results.vocabulary.methods import PROBE
from probes.results.vocabulary.sites import whole_layer_stream

Cell = tuple[str, int, int | None]
"""Stream, layer, head; no head at whole-layer sites."""


@dataclass(frozen=True)
class Panel:
    """One stream of a map."""

    stream: str
    values: pd.DataFrame
    """(layers, heads), ascending; NaN where a layer has no such head."""
    significant: pd.DataFrame | None
    """(layers, heads) bool, or None where nothing was tested."""
    profile: pd.DataFrame
    """Index layer; columns ``best``, ``mean`` over heads, and the whole-layer probes, each with
    ``<name>_low`` and ``<name>_high`` where intervals are known."""

    @property
    def heads(self) -> int:
        """Heads of the widest layer."""
        return self.values.shape[1]


@dataclass(frozen=True)
class HeadMap:
    """One quantity of one feature for all heads of a model."""

    feature: str
    quantity: Quantity
    panels: list[Panel]
    ranks: dict[Cell, int]
    """Rank from 1 of the heads that are best on validation."""
    evidence: str | None
    """Column that significance was read from; ``interval`` where it is a difference's interval that
    leaves 0 out."""
    level: float
    tested: int
    passed: int
    """Heads tested, and heads significant at ``level``."""
    site: str
    probe: str
    method: str = PROBE
    label: str = ""
    """How the numbers were obtained, in words."""

    @property
    def best_place(self) -> str:
        """Where the head is that is best on validation, in words; a dash where none was chosen."""
        first = next((cell for cell, rank in self.ranks.items() if rank == 1), None)
        if first is None:
            return "–"
        stream, layer, head = first
        prefix = f"{stream}, " if len(self.panels) > 1 else ""
        return f"{prefix}layer {layer}" + ("" if head is None else f", head {head}")

    def panel(self, stream: str) -> Panel | None:
        """The panel of a stream; None where this quantity is not known of it."""
        return next((panel for panel in self.panels if panel.stream == stream), None)

    @property
    def low(self) -> float:
        """Smallest value of a head."""
        return float(np.nanmin([np.nanmin(panel.values.to_numpy()) for panel in self.panels]))

    @property
    def high(self) -> float:
        """Largest value of a head."""
        return float(np.nanmax([np.nanmax(panel.values.to_numpy()) for panel in self.panels]))


def head_map(
    own: FeatureTable,
    name: str | None = None,
    *,
    level: float = 0.05,
    k: int = 5,
    classes: int = 2,
) -> HeadMap:
    """The map of one quantity on the test rows, with the ``k`` best heads of validation.

    Of a signed map these are the heads of the largest effects, whatever their sign.

    At most a third of the heads is marked: in a tiny model five marks would say nothing.

    Raises:
        UserError: the quantity is not in the table.
    """
    name = name or own.metric
    if own.values(name)["value"].notna().sum() == 0:
        allowed = ", ".join(own.names)
        raise UserError(f"feature '{own.feature}' has no '{name}' on test", allowed=allowed)
    evidence = own.evidence
    panels = []
    for stream in own.streams(name):
        values, significant = own.map(name, stream=stream), None
        if evidence is not None:  # of other heads than the quantity, in some tables
            significant = own.map(evidence, stream=stream).reindex_like(values) <= level
        panels.append(Panel(stream, values, significant, layer_profile(own, stream, name)))
    cells = sum(int(panel.values.notna().to_numpy().sum()) for panel in panels)
    flags = [
        p.significant.to_numpy()[p.values.notna().to_numpy()]
        for p in panels
        if p.significant is not None
    ]
    return HeadMap(
        feature=own.feature,
        quantity=own.quantity(name, classes),
        panels=panels,
        ranks=_ranks(own, name, min(k, max(1, cells // 3))) if k else {},
        evidence=evidence,
        level=level,
        tested=int(sum(len(flag) for flag in flags)),
        passed=int(sum(flag.sum() for flag in flags)),
        site=own.site,
        probe=own.probe,
        method=own.method,
        label=own.subject.label,
    )


def layer_profile(own: FeatureTable, stream: str, name: str | None = None) -> pd.DataFrame:
    """By layer: the best and the mean head, and the comparators that have numbers by layer.

    The best head of a layer, also of another model, is chosen on validation, like everything that
    is chosen. p- and q-values have no profile.
    """
    name = name or own.metric
    grid = own.map(name, stream=stream)
    if own.quantity(name).probability:
        return pd.DataFrame(index=grid.index)  # a mean of p-values has no meaning
    profile = pd.DataFrame({"mean": grid.mean(axis=1)}, index=grid.index)
    profile[["best", "best_low", "best_high"]] = _best_by_layer(own, stream, name)
    for row in comparators(Compared.SAME_LAYER):
        if layers := own.of_comparator(row):
            known, partner = layers.streams(name), whole_layer_stream(stream)
            of_layer = stream if stream in known else partner
            whole = pick(layers.values(name), stream=of_layer).drop_duplicates("layer")
            whole = whole.dropna(subset=["layer"])
            whole = whole.set_index(whole["layer"].astype(int))
            for column, suffix in (("value", ""), ("ci_low", "_low"), ("ci_high", "_high")):
                profile[row.name + suffix] = whole[column].reindex(profile.index)
    for row in comparators(Compared.SAME_UNIT):
        if heads := own.of_comparator(row):
            best = _best_by_layer(heads, stream, name)
            profile[row.name] = best["value"].reindex(profile.index)
    return profile.dropna(axis=1, how="all")


def _best_by_layer(own: FeatureTable, stream: str, name: str) -> pd.DataFrame:
    """By layer the test value and interval of the head that is best on validation.

    Quantities that are not measured on validation are chosen by the map's own metric. Of a signed
    map it is the head of the largest effect.
    """
    rows = pick(own.values(name), stream=stream)
    grid = layers_by_heads(rows)
    if grid.empty:
        return pd.DataFrame(columns=["value", "ci_low", "ci_high"], dtype="float64")
    chosen_by = own.ranked_by(name)
    lower = own.quantity(chosen_by).lower_is_better
    validation = own.map(chosen_by, split="validation", stream=stream).reindex_like(grid)
    by = validation.abs().to_numpy() if own.signed else validation.to_numpy()
    by = np.where(np.isnan(by) | np.isnan(grid.to_numpy()), -np.inf, -by if lower else by)
    best = by.argmax(axis=1)  # (L,)
    columns = {
        column: layers_by_heads(rows, column).reindex_like(grid).to_numpy()[range(len(best)), best]
        for column in ("value", "ci_low", "ci_high")
    }
    return pd.DataFrame(columns, index=grid.index)


def _ranks(own: FeatureTable, name: str, k: int) -> dict[Cell, int]:
    """Ranks by this metric where it was measured on validation, else by the accuracy."""
    try:
        top = own.top(k, metric=own.ranked_by(name))
    except UserError:
        return {}
    units = top[["stream", "layer", "head"]].to_dict("records")
    return {
        (u["stream"], int(u["layer"]), None if pd.isna(u["head"]) else int(u["head"])): rank
        for rank, u in enumerate(units, start=1)
    }
