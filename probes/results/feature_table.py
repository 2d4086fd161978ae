"""A feature's part of a results table, with site, method and probe settled once.

>>> from probes.results.table import results_table
>>> names = {"feature": "upos", "site": "heads", "probe": "linear", "layer": 0}
>>> rows = [
...     {**names, "head": head, "split": split, "metric": "accuracy", "value": value}
...     for head, value in enumerate((0.4, 0.7))
...     for split in ("validation", "test")
... ]
>>> own = FeatureTable.of(results_table(rows), "upos")
>>> own.probe, float(own.map("accuracy").loc[0, 1]), int(own.top(1)["head"].item())
('linear', 0.7, 1)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Unpack

import pandas as pd

from probes.core.errors import UserError, closest
from probes.results.quantities import OWN, Quantity
from probes.results.subject import Asked, Subject
from probes.results.table import COLUMNS, TEXT, distinct, features, layers_by_heads, pick, where
from probes.results.vocabulary import COMPARATORS, METHODS, QUANTITIES, QuantityKind, quantity_kind
from probes.results.vocabulary.comparators import MAJORITY, Comparator, Compared
from probes.results.vocabulary.methods import PROBE, is_signed
from probes.results.vocabulary.quantities import RECALL, evidence_columns, probabilities
from probes.results.vocabulary.sites import CORPUS, STREAMS, of_units

ALIASES = {"gain": COMPARATORS[MAJORITY].gain}
"""Short names of quantities."""
SIGNED_SPAN = 1e-6
"""Effects come in units of their measure, where no size is small by itself."""
UNIT = ["stream", "layer", "head"]
"""Columns that say which head (or layer) a row is about."""


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """What was measured of one feature, and which of its rows are its map."""

    rows: pd.DataFrame
    """All rows of the feature: every site, method, probe and comparator; text as categories."""
    feature: str
    subject: Subject
    """Whose rows are the map."""
    own_metrics: Mapping[str, QuantityKind] = field(default_factory=dict)
    """Rows of the vocabulary for metrics of the user's own."""

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        feature: str,
        **asked: Unpack[Asked],
    ) -> FeatureTable:
        """The feature's rows of a results table; what is left open is settled by ``Subject.of``.

        Raises:
            UserError: the feature is not in the table; the message has the names there are.
        """
        rows = pick(table, feature=feature)
        if rows.empty:
            names = features(table)
            raise UserError(
                f"feature '{feature}' is not in these results",
                allowed=", ".join(names),
                fix=closest(feature, names, "'{}'"),
            )
        # A map asks for dozens of subsets, and codes are quicker to compare than text.
        rows = rows.astype(dict.fromkeys(TEXT, "category"))
        return cls(rows, feature, Subject.of(rows, **asked), table.attrs.get(OWN, {}))

    @property
    def site(self) -> str:
        """Kind of site of the map."""
        return self.subject.site

    @property
    def method(self) -> str:
        """Method that the map was made by."""
        return self.subject.method

    @property
    def probe(self) -> str:
        """Kind of probe, or variant of the method."""
        return self.subject.probe

    @property
    def metric(self) -> str:
        """The metric that the tests and the ranking are about."""
        return self.subject.metric

    @property
    def signed(self) -> bool:
        """Whether values below 0 say as much as those above."""
        return is_signed(self.method)

    @cached_property
    def own(self) -> pd.DataFrame:
        """The rows of the map, of all metrics and splits."""
        return pick(self.rows, **self.subject.map_columns)

    @cached_property
    def _measured(self) -> dict[tuple[str, str], pd.DataFrame]:
        """The rows of the map by metric and split."""
        groups = self.own.groupby(["metric", "split"], observed=True, sort=False)
        return {(str(metric), str(split)): rows for (metric, split), rows in groups}

    # --- numbers of heads ---------------------------------------------------------------------

    def values(self, name: str, *, split: str = "test") -> pd.DataFrame:
        """Rows whose ``value`` (and interval) is this quantity; none where it was not measured.

        name: a metric, a column of p- or q-values, or ``gain`` for ``gain_majority``. What is
        measured on training rows only stands for the head in place of a value on test.
        """
        name = ALIASES.get(name, name)
        if (name, split) in self._measured:
            return self._measured[name, split]
        if split == "test" and self.kind(name).on_training_rows:
            measured = pick(self.own, metric=name)
            if len(measured):
                return measured
        rows = self._measured.get((self.metric, split), self.own.iloc[:0])
        if name not in rows.columns or name in COLUMNS:
            return rows.iloc[:0]
        rows = rows.copy()
        rows["value"] = pd.to_numeric(rows[name], errors="coerce")
        rows[["ci_low", "ci_high"]] = float("nan")
        return rows

    def map(
        self, name: str, *, stream: str | None = None, split: str = "test", column: str = "value"
    ) -> pd.DataFrame:
        """One number for each head, ``(layers, heads)``, ascending; NaN where there is none.

        column: ``value``, or an end of its interval, or ``n``.
        """
        return layers_by_heads(pick(self.values(name, split=split), stream=stream), column)

    def streams(self, name: str, *, split: str = "test") -> list[str]:
        """The streams that have this quantity: encoder, decoder, cross, then others."""
        return sort_streams(distinct(self.values(name, split=split), "stream"))

    def top(self, k: int = 5, *, metric: str | None = None) -> pd.DataFrame:
        """The ``k`` heads that are best on validation, with what they reach on test.

        Choosing and reporting on different rows is what keeps the best of a thousand heads honest.
        Of a signed map these are the heads of the largest effects, whatever their sign.

        metric: by which heads are ranked; by default the map's own.

        Returns:
            Columns ``stream, layer, head, validation, test, ci_low, ci_high, n`` and the further
            columns of the table; best first, ties in the order of layers and heads.

        Raises:
            UserError: no validation values of this metric.
        """
        metric = metric or self.metric
        chosen_on = self._on(metric, "validation").drop_duplicates(UNIT).dropna(subset=["value"])
        if chosen_on.empty:
            measured = pick(self.rows, site=self.site, method=self.method, split="validation")
            raise UserError(
                f"'{self.feature}' has no validation values of metric '{metric}' at site "
                f"'{self.site}'",
                allowed=", ".join(measured["metric"].unique()),
            )
        chosen_on = chosen_on[[*UNIT, "value"]].rename(columns={"value": "validation"})
        reported = self._on(metric, "test").drop_duplicates(UNIT)
        more = [c for c in self.rows.columns if c not in COLUMNS and reported[c].notna().any()]
        reported = reported[[*UNIT, "value", "ci_low", "ci_high", "n", *more]]
        reported = reported.rename(columns={"value": "test"})
        chosen_on["stream"] = chosen_on["stream"].astype(str)
        reported["stream"] = reported["stream"].astype(str)
        joined = chosen_on.merge(reported, on=UNIT, how="left")
        joined["rank_by"] = joined["validation"].abs() if self.signed else joined["validation"]
        ascending = [self.kind(metric).lower_is_better and not self.signed, True, True, True]
        joined = joined.sort_values(["rank_by", *UNIT], ascending=ascending, kind="stable")
        return joined.drop(columns="rank_by").head(k).reset_index(drop=True)

    def _on(self, metric: str, split: str) -> pd.DataFrame:
        return self._measured.get((ALIASES.get(metric, metric), split), self.own.iloc[:0])

    def ranked_by(self, name: str) -> str:
        """The quantity whose validation values order the heads: this one, else the map's own."""
        return name if self.values(name, split="validation")["value"].notna().any() else self.metric

    # --- what the map is compared with ---------------------------------------------------------

    def of_comparator(self, row: Comparator) -> FeatureTable | None:
        """The same feature with the numbers of a comparator as its map; None where it has none."""
        if row.name not in self._others:
            subject = self._subject_of(row)
            other = None if subject == self.subject else replace(self, subject=subject)
            self._others[row.name] = None if other is None or other.own.empty else other
        return self._others[row.name]

    @cached_property
    def _others(self) -> dict[str, FeatureTable | None]:
        """The comparators that were asked for: each quantity of a map asks for all of them."""
        return {}

    def _subject_of(self, row: Comparator) -> Subject:
        if row.compared is Compared.SAME_ROWS:
            return replace(self.subject, site=CORPUS, probe=row.name)
        if row.compared is Compared.SAME_UNIT:
            return replace(self.subject, probe=row.name)
        subject = self.subject
        if self.method == PROBE:
            return Subject.of(self.rows, site=row.name, method=self.method)
        return replace(subject, site=row.name)

    def baseline(
        self, name: str = MAJORITY, *, metric: str = "accuracy", split: str = "test"
    ) -> float | None:
        """The value of a baseline of the corpus (majority, lexical, ...); None without one."""
        other = self.of_comparator(COMPARATORS[name])
        rows = self.own.iloc[:0] if other is None else other.values(metric, split=split)
        return float(rows["value"].iloc[0]) if len(rows) else None

    # --- quantities ------------------------------------------------------------------------------

    @cached_property
    def names(self) -> list[str]:
        """The quantities that a map can show, in the order in which they are shown."""
        shown = where(self.own, split="test")
        for kind in QUANTITIES.values():
            if kind.on_training_rows:
                shown |= where(self.own, metric=kind.name)
        metrics = distinct(self.own, "metric", shown)
        measured = [name for name in metrics if not name.startswith(RECALL)]
        main = self._on(self.metric, "test")
        measured += [c for c in probabilities() if c in main and main[c].notna().any()]
        return sorted(measured, key=self._place)

    def _place(self, name: str) -> int:
        own = self.method != PROBE and name == self.metric
        return -1 if own else self.kind(name).place

    def kind(self, name: str) -> QuantityKind:
        """The row of the vocabulary of this quantity."""
        return self.own_metrics.get(name) or quantity_kind(name)

    def quantities(self, classes: int = 2) -> list[Quantity]:
        """What can be shown of the feature, the accuracy first."""
        return [self.quantity(name, classes) for name in self.names]

    def quantity(self, name: str, classes: int = 2) -> Quantity:
        """The quantity of that name, with its anchor for this feature.

        classes: of the feature, where chance is one over their number.
        """
        kind = self.kind(ALIASES.get(name, name))
        anchor, anchor_label = kind.anchor, kind.anchor_label
        signed = self.signed and not kind.probability
        label, about = kind.label, kind.description
        if signed:
            anchor, anchor_label = 0.0, "no effect"
            label = METHODS[self.method].measure.format(label)
            about = " ".join(filter(None, (METHODS[self.method].oriented, about)))
        elif anchor is None:
            anchor = self.baseline(metric=kind.anchor_metric or kind.name)
            if anchor is None and kind.uniform:
                anchor, anchor_label = 1.0 / max(classes, 1), "chance"
            elif anchor is None:
                anchor, anchor_label = 0.0, ""
        if name not in self.own_metrics:
            about = of_units(about, self.site)
        return Quantity(
            name=name,
            label=label,
            lower_is_better=kind.lower_is_better and not signed,
            anchor=anchor,
            anchor_label=anchor_label,
            diverging=signed,
            about=about,
            of_own_metric=self.own_metrics.get(name),
            least_span=SIGNED_SPAN if signed else Quantity.least_span,
        )

    @property
    def evidence(self) -> str | None:
        """The column by which heads are significant, the best corrected one that is filled."""
        rows = self._on(self.metric, "test")
        columns = evidence_columns(signed=self.signed)
        return next((c for c in columns if c in rows and rows[c].notna().any()), None)


def sort_streams(streams: Iterable[str]) -> list[str]:
    """Streams in the order in which maps show them: encoder, decoder, cross, then others.

    >>> sort_streams({"other", "cross", "encoder"})
    ['encoder', 'cross', 'other']
    """
    names = set(streams)
    return [name for name in STREAMS if name in names] + sorted(names - {*STREAMS})
