"""Which of the numbers of a results table a map is made of: site, method, variant, ..."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict, Unpack

import pandas as pd

from probes.results.table import ACCURACY, distinct, pick, where
from probes.results.vocabulary.comparators import is_comparator
from probes.results.vocabulary.methods import (
    PROBE,
    effect_order,
    has_effects,
    method_order,
    probe_label,
)
from probes.results.vocabulary.positions import positions_label
from probes.results.vocabulary.sites import CORPUS, HEADS, unit_of


class OfMap(TypedDict, total=False):
    """What is asked of a map by keyword; whatever is left out (or None) is the run's own."""

    site: str | None
    """``heads``, ``residual``, ``all_heads``, ..."""
    method: str | None
    """``probe``, ``ablation``, ..."""
    probe: str | None
    """Kind of probe or baseline (``linear``, ``random_init``); of other methods the variant
    (``mean``)."""
    effect: str | None
    """``total`` or ``direct``."""
    positions: str | None
    """Which positions were edited: ``all`` or ``read``."""


class Asked(OfMap, total=False):
    """The same, with the metric that the tests and the ranking are about."""

    metric: str | None
    """A metric of probes, or what effects are measured on."""


@dataclass(frozen=True)
class Subject:
    """What a map is of."""

    site: str
    """Kind of site."""
    method: str
    probe: str
    """Kind of probe, or variant of another method."""
    metric: str = ACCURACY
    """The metric that the tests and the ranking are about."""
    effect: str = ""
    """``total`` or ``direct``, of methods that tell them apart."""
    positions: str = ""
    """Which positions were edited, of methods that edit."""

    @property
    def label(self) -> str:
        """How the numbers were obtained, in words.

        >>> Subject("heads", "ablation", "mean", "logit_difference", "direct", "read").label
        'mean ablation, direct effect, at the scored tokens only'
        """
        parts = [probe_label(self.probe, self.method)]
        if self.effect and has_effects(self.method):
            parts.append(f"{self.effect} effect")
        parts.append(positions_label(self.positions, self.method))
        return ", ".join(filter(None, parts))

    @property
    def unit(self) -> str:
        """What has a number of its own, in a word: ``head`` or ``layer``."""
        return unit_of(self.site)

    @property
    def map_columns(self) -> dict[str, str]:
        """The columns that pick the rows of the map, of all metrics."""
        return {
            "site": self.site,
            "method": self.method,
            "probe": self.probe,
            "effect": self.effect,
            "positions": self.positions,
        }

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        **asked: Unpack[Asked],
    ) -> Subject:
        """What a run was about, where ``asked`` leaves it open.

        The method: the first of the vocabulary, probes in front, that heads or layers have numbers
        by.
        The site: heads, else the whole-layer site that the run was asked for. The probe: the kind
        of probe (or the variant of another method) at this site that is no comparator of the
        vocabulary. Rows of other methods do not count. The effect: the total one where there is
        one. Positions and metric: the first of the table; of probes always the accuracy.
        """
        site, method, probe = asked.get("site"), asked.get("method"), asked.get("probe")
        metric, effect = asked.get("metric"), asked.get("effect")
        positions = asked.get("positions")
        if method is None:
            methods = distinct(table, "method", ~where(table, site=CORPUS))
            method = min(methods, key=method_order, default=PROBE)
        if site is None:
            sites = distinct(table, "site", where(table, method=method))
            probed = [name for name in sites if name != CORPUS]
            site = HEADS if HEADS in probed or not probed else probed[0]
        if probe is None:
            probes = distinct(table, "probe", where(table, site=site, method=method))
            own = [name for name in probes if not is_comparator(name)]
            probe = next(iter([*own, *probes]), "linear")
        if method == PROBE:
            return cls(site, method, probe, metric or ACCURACY, effect or "", positions or "")
        rows = pick(table, site=site, method=method, probe=probe)
        if effect is None:
            effects = distinct(rows, "effect")
            effect = min(effects, key=lambda one: effect_order(one, method), default="")
        rows = pick(rows, effect=effect)
        if positions is None:
            positions = next(iter(distinct(rows, "positions")), "")
        if metric is None:
            metric = next(iter(distinct(pick(rows, positions=positions), "metric")), "") or ACCURACY
        return cls(site, method, probe, metric, effect, positions)
