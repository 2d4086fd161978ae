"""What every drawing of a map needs, taken from the results table once.

The PNG, the terminal and the web page all draw a ``HeadMap``; none of them looks into the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from probes.core.errors import UserError
from probes.results.quantities import Quantity, evidence_column, quantities, quantity, values
from probes.results.table import (
    distinct,
    is_lower_better,
    layers_by_heads,
    main_probe,
    main_site,
    of_feature,
    pick,
    top_heads,
    where,
)
from probes.results.vocabulary.sites import SITES

WHOLE_LAYER_SITES = [site.name for site in SITES.values() if site.whole_layer]
Cell = tuple[str, int, int | None]
"""Stream, layer, head; no head at whole-layer sites."""
STREAMS = ("encoder", "decoder", "cross")


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

    @property
    def best_place(self) -> str:
        """Where the head is that is best on validation, in words; a dash where none was chosen."""
        first = next((cell for cell, rank in self.ranks.items() if rank == 1), None)
        if first is None:
            return "–"
        stream, layer, head = first
        prefix = f"{stream}, " if len(self.panels) > 1 else ""
        return f"{prefix}layer {layer}" + ("" if head is None else f", head {head}")

    @property
    def low(self) -> float:
        """Smallest value of a head."""
        return float(np.nanmin([np.nanmin(panel.values.to_numpy()) for panel in self.panels]))

    @property
    def high(self) -> float:
        """Largest value of a head."""
        return float(np.nanmax([np.nanmax(panel.values.to_numpy()) for panel in self.panels]))


def head_map(
    table: pd.DataFrame,
    feature: str,
    name: str = "accuracy",
    *,
    level: float = 0.05,
    k: int = 5,
    classes: int = 2,
) -> HeadMap:
    """The map of one quantity on the test rows, with the ``k`` best heads of validation.

    At most a third of the heads is marked: in a tiny model five marks would say nothing.

    Raises:
        UserError: the feature or quantity is not in the table.
    """
    table = of_feature(table, feature)
    site = main_site(table)
    probe = main_probe(table, site)
    rows = values(table, feature, name)
    if rows["value"].notna().sum() == 0:
        allowed = ", ".join(q.name for q in quantities(table, feature))
        raise UserError(f"feature '{feature}' has no '{name}' on test", allowed=allowed)
    evidence = evidence_column(table, feature)
    panels = [
        Panel(
            stream,
            layers_by_heads(pick(rows, stream=stream)),
            _significant(table, feature, stream, evidence, level),
            layer_profile(table, feature, stream, name),
        )
        for stream in sorted(distinct(rows, "stream"), key=_stream_order)
    ]
    cells = sum(int(panel.values.notna().to_numpy().sum()) for panel in panels)
    flags = [
        p.significant.to_numpy()[p.values.notna().to_numpy()]
        for p in panels
        if p.significant is not None
    ]
    return HeadMap(
        feature=feature,
        quantity=quantity(table, feature, name, classes),
        panels=panels,
        ranks=_ranks(table, feature, name, min(k, max(1, cells // 3))) if k else {},
        evidence=evidence,
        level=level,
        tested=int(sum(len(flag) for flag in flags)),
        passed=int(sum(flag.sum() for flag in flags)),
        site=site,
        probe=probe,
    )


def layer_profile(
    table: pd.DataFrame, feature: str, stream: str, name: str = "accuracy"
) -> pd.DataFrame:
    """By layer: the best and mean head, the probes on whole layers, and the best head of the random
    model and after a feature was erased.

    p- and q-values have no profile.

    The best head of a layer is chosen on validation, like everything that is chosen.
    """
    grid = layers_by_heads(pick(values(table, feature, name), stream=stream))
    if quantity(table, feature, name).probability:
        return pd.DataFrame(index=grid.index)  # the mean of p-values says nothing
    profile = pd.DataFrame({"mean": grid.mean(axis=1)}, index=grid.index)
    best = _best_by_layer(table, feature, stream, name, main_probe(table, main_site(table)))
    profile[["best", "best_low", "best_high"]] = best
    present = distinct(table, "site")
    sites = [site for site in WHOLE_LAYER_SITES if site in present]
    for site in sites:
        if site == main_site(table):
            continue
        whole = values(table, feature, name, site=site, probe=main_probe(table, site))
        whole = pick(whole, stream=stream).drop_duplicates("layer").dropna(subset=["layer"])
        whole = whole.set_index(whole["layer"].astype(int))
        for column, suffix in (("value", ""), ("ci_low", "_low"), ("ci_high", "_high")):
            profile[site + suffix] = whole[column].reindex(profile.index)
    for other in (p for p in ("random_init", "erased") if where(table, probe=p).any()):
        found = _best_by_layer(table, feature, stream, name, other)
        profile[other] = found["value"].reindex(profile.index)
    return profile.dropna(axis=1, how="all")


def _best_by_layer(
    table: pd.DataFrame, feature: str, stream: str, name: str, probe: str
) -> pd.DataFrame:
    """By layer the test value and interval of the head that is best on validation.

    Quantities that are not measured on validation are chosen by accuracy.
    """
    rows = pick(values(table, feature, name, probe=probe), stream=stream)
    grid = layers_by_heads(rows)
    if grid.empty:
        return pd.DataFrame(columns=["value", "ci_low", "ci_high"], dtype="float64")
    lower = is_lower_better(name)
    chosen_on = values(table, feature, name, split="validation", probe=probe)
    if chosen_on["value"].isna().all():
        lower = False
        chosen_on = values(table, feature, "accuracy", split="validation", probe=probe)
    by = layers_by_heads(pick(chosen_on, stream=stream)).reindex_like(grid).to_numpy()
    by = np.where(np.isnan(by) | np.isnan(grid.to_numpy()), -np.inf, -by if lower else by)
    best = by.argmax(axis=1)  # (L,)
    columns = {
        column: layers_by_heads(rows, column).reindex_like(grid).to_numpy()[range(len(best)), best]
        for column in ("value", "ci_low", "ci_high")
    }
    return pd.DataFrame(columns, index=grid.index)


def _significant(
    table: pd.DataFrame, feature: str, stream: str, column: str | None, level: float
) -> pd.DataFrame | None:
    if column is None:
        return None
    return layers_by_heads(pick(values(table, feature, column), stream=stream)) <= level


def _ranks(table: pd.DataFrame, feature: str, name: str, k: int) -> dict[Cell, int]:
    """Ranks by this metric where it was measured on validation, else by the accuracy."""
    for metric in (name, "accuracy"):
        try:
            top = top_heads(table, feature, k, metric=metric)
        except UserError:
            continue
        places = top[["stream", "layer", "head"]].to_dict("records")
        return {
            (p["stream"], int(p["layer"]), None if pd.isna(p["head"]) else int(p["head"])): rank
            for rank, p in enumerate(places, start=1)
        }
    return {}


def _stream_order(stream: str) -> tuple[int, str]:
    return (STREAMS.index(stream) if stream in STREAMS else len(STREAMS), stream)
