"""A finished run in analysis code: its results, maps, probes and activations.

    run = load_run("outputs/2026-11-20/10-00-00")
    run.map("upos")                              # (layers, heads)
    run.probe("upos", layer=1, head=1).predict(z)

Loading reads CSV, JSON and safetensors and never runs code that a file names. torch is imported
when probes or activations are asked for, not before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import pandas as pd

from probes.analysis.agreement import agreement_frame, evidence_of, method_pairs
from probes.analysis.comparison import compared_tables, require_all_layers
from probes.config.layers import LayerChoice
from probes.core.errors import UserError
from probes.results.dose_evidence import DoseEvidence, load_doses
from probes.results.evidence import load_evidence
from probes.results.feature_table import FeatureTable
from probes.results.method_maps import method_maps, of_method
from probes.results.plausible import check_banks, check_evidence, check_table
from probes.results.quantities import describe_metrics
from probes.results.record import RECORD, RunRecord, is_finished, read_record
from probes.results.subject import Asked, OfMap, Subject
from probes.results.table import distinct, features, read_results
from probes.results.vocabulary.methods import PROBE, has_effects
from probes.results.vocabulary.sites import HEADS
from probes.statistics.compare import Comparison, compare_maps
from probes.statistics.maps import MapEvidence

if TYPE_CHECKING:
    from probes.activations.cache import Cache
    from probes.analysis.probe import LinearProbe, MLPProbe
    from probes.results.banks import SavedBanks
    from probes.training.bank import ProbeBank


TABLE, EVIDENCE = "results.csv", "evidence.safetensors"


@dataclass(frozen=True)
class Run:
    """One finished run."""

    directory: Path
    record: RunRecord
    """What was run: model, corpus, tasks, configuration, timings, caveats."""
    results: pd.DataFrame
    """Tidy: one row for one number; the columns are listed in docs/contracts.md."""

    @property
    def features(self) -> list[str]:
        """The features that were decoded."""
        return features(self.results)

    def subject(self, **asked: Unpack[Asked]) -> Subject:
        """Kind of site, method and kind of probe: the run's own where ``asked`` leaves it open."""
        return Subject.of(self.results, **asked)

    def table(self, feature: str, **asked: Unpack[Asked]) -> FeatureTable:
        """The rows of a feature with its map by one method; the run's own where nothing is asked.

        A feature without effects of its own gets the map of the corpus' answer.

        Raises:
            UserError: no such feature, site, method, probe, effect or positions; the message has
                those there are.
        """
        known: Mapping[str, object] = asked
        for column in ("site", "method", "probe", "effect", "positions"):
            self._require(column, known.get(column))
        return of_method(self.results, feature, **asked)

    def map(
        self,
        feature: str,
        metric: str | None = None,
        *,
        split: str = "test",
        stream: str | None = None,
        **asked: Unpack[OfMap],
    ) -> pd.DataFrame:
        """One number for each head, ``(layers, heads)``; NaN where a layer has no such head.

        ``metric`` is the accuracy of probes, of other methods what their effects are measured on;
        it may also be ``gain`` (accuracy over the majority) or a column of p- or q-values
        (``q_value``). ``probe`` may also be a baseline (``random_init``), of other methods it is
        the variant (``mean``). Effects are oriented (above 0 the head helps) and total unless
        ``effect="direct"``. Whole-layer sites give one column. A model with several streams needs
        ``stream``.

        Raises:
            UserError: no such feature, metric, stream, site, method or probe; the message has
                those there are.
        """
        own = self.table(feature, **asked)
        metric = metric or own.metric
        streams = own.streams(metric, split=split)
        if not streams:
            raise UserError(
                f"'{feature}' has no '{metric}' on {split} (site '{own.site}', probe "
                f"'{own.probe}')",
                allowed=", ".join(self.table(feature, method=asked.get("method")).names),
            )
        return own.map(metric, stream=self._stream(streams, stream), split=split)

    def top(
        self, feature: str, k: int = 5, *, metric: str | None = None, **asked: Unpack[OfMap]
    ) -> pd.DataFrame:
        """The ``k`` heads that are best on validation, with what they reach on test.

        Of effects these are the largest of either sign.

        Raises:
            UserError: no such feature or method, or no validation values of this metric.
        """
        return self.table(feature, **asked).top(k, metric=metric)

    def agreement(
        self, feature: str, *, site: str = HEADS, k: int = 10, confidence: float = 0.95
    ) -> pd.DataFrame:
        """Whether the methods of the run order the heads alike: a row for each pair of maps.

        ``correlation`` is Spearman's over all heads, with its jackknife interval over groups
        (``ci_low``, ``ci_high``); ``ceiling`` is what noise would leave of equal orders.
        ``null_...`` and ``p_value`` compare with heads permuted within their layers.
        ``between_halves`` is free of the noise that methods share on the same texts, unlike
        ``within_halves``. ``hits_forward`` is the share of the first's ``k`` best heads on
        validation that are among the second's on test. Where one method is unsigned (probes), a
        second row (``by_size``) takes effects by their size.

        Raises:
            UserError: no such feature, fewer than two maps, or a run without evidence files.
        """
        if feature not in self.features:
            self.table(feature)  # raises with the names there are
        tables = method_maps(self.results, feature, site=site)
        pairs = method_pairs(tables, self._maps, k=k, confidence=confidence)
        if not pairs:
            there = ", ".join(own.subject.label for own in tables)
            raise UserError(
                f"'{feature}' has {len(tables)} map{'s' * (len(tables) != 1)} at site '{site}' "
                f"({there or 'none'}), and an agreement needs two",
                fix="methods=[probe,ablation]",
            )
        return agreement_frame(pairs)

    def probe(
        self,
        feature: str,
        layer: int,
        head: int | None = None,
        *,
        stream: str | None = None,
        site: str | None = None,
        probe: str | None = None,
    ) -> LinearProbe | MLPProbe:
        """A trained probe as a fitted scikit-learn classifier; it takes raw ``z`` (rows, d_head).

        Whole-layer sites need no ``head``.

        Raises:
            UserError: no such probe, or files that are missing, damaged or tampered with.
        """
        from probes.analysis.probe import probe_from_bank

        subject = self.subject(site=site, probe=probe)
        site, probe = subject.site, subject.probe
        bank = self._bank(feature, layer, stream, site, probe)
        if head is None and bank.heads != (0,):
            raise UserError(
                f"site '{site}' has {len(bank.heads)} heads in layer {layer}",
                fix=f"probe({feature!r}, layer={layer}, head={bank.heads[0]})",
            )
        if (head or 0) not in bank.heads:
            allowed = ", ".join(map(str, bank.heads))
            raise UserError(f"layer {layer} has no probed head {head}", allowed=allowed)
        return probe_from_bank(bank, head or 0, self._banks.base_model)

    def cache(self, site: str | None = None) -> Cache:
        """The activations that the run's probes were trained on, memory-mapped.

        Raises:
            UserError: the run read no such site, or the cache is gone or damaged.
        """
        from probes.activations.cache import Cache

        site = self.subject(site=site).site
        if not self.record.caches and self.record.config.get("disk_budget"):
            raise UserError(
                f"the activations were dropped (disk_budget={self.record.config['disk_budget']})",
                fix="a run with disk_budget=null",
            )
        if site not in self.record.caches:
            raise UserError(
                f"this run has no activations of site '{site}'",
                allowed=", ".join(self.record.caches),
            )
        layers, chosen = None, LayerChoice.parse(self.record.config.get("layers"))
        if chosen is not None:
            probed = {n for stream in self.record.model.streams for n in stream.layers}
            layers = list(chosen.numbers) or sorted(probed)
        return Cache.open(self.directory / self.record.caches[site], layers=layers)

    def compare(
        self,
        other: Run,
        feature: str | None = None,
        *,
        other_probe: str | None = None,
        draws: int = 1000,
        confidence: float = 0.95,
        **asked: Unpack[Asked],
    ) -> Comparison:
        """This run's map minus another's, with paired cluster-bootstrap intervals.

        Both must be of the same corpus and split; ``feature`` may be left out if they have just
        one in common. ``run.compare(run, feature, other_probe="random_init")`` compares trained
        with random weights, ``method="ablation"`` the effects of two runs in the units of their
        measure. ``headprobes compare RUN RUN`` prints and draws the same.

        Raises:
            UserError: different corpora or splits, no such map, effects of another measure, kind
                or positions, or a run without evidence files.
        """
        mine, theirs = compared_tables(self, other, feature, other_probe=other_probe, **asked)
        first, second = self.evidence(mine), other.evidence(theirs)
        comparison = compare_maps(first, second, draws=draws, confidence=confidence)
        if not comparison.units:
            require_all_layers(self, other)
        return comparison

    def evidence(self, own: FeatureTable) -> MapEvidence:
        """The sums by group behind a map of the run.

        Raises:
            UserError: none was kept of this map.
        """
        found = evidence_of(own, self._maps)
        if found is None:
            kind = _kind(own.method, own.probe, own.subject.effect)
            there = (f"{m.feature} ({m.site}, {_kind(m.method, m.probe, m.effect)})"
                     for m in self._maps)  # fmt: skip
            raise UserError(
                f"{self.directory} has no map of '{own.feature}' (site '{own.site}', {kind})",
                allowed=", ".join(dict.fromkeys(there)),
            )
        return found

    def doses(self) -> list[DoseEvidence]:
        """What steering changed, as sums by group of each dose; empty where nothing was steered."""
        return load_doses(self.directory / EVIDENCE, files=self.record.files)

    @cached_property
    def _banks(self) -> SavedBanks:
        from probes.results.banks import DESCRIPTION, load_banks

        saved = load_banks(self.directory, files=self.record.files)
        if not self.record.files:
            check_banks(saved, self.record, self.directory / DESCRIPTION)
        return saved

    def _bank(
        self, feature: str, layer: int, stream: str | None, site: str, probe: str
    ) -> ProbeBank:
        """The probes of one layer; those of the real labels come before any other."""
        every = sorted(self._banks.banks, key=lambda bank: not bank.is_real)
        banks = [b for b in every if (b.feature, b.site, b.probe) == (feature, site, probe)]
        if not banks:
            there = dict.fromkeys(f"{b.feature} ({b.site}, {b.probe})" for b in every)
            raise UserError(
                f"no probe of '{feature}' at site '{site}' of kind '{probe}' was saved",
                allowed=", ".join(there),
            )
        stream = self._stream(list(dict.fromkeys(b.stream for b in banks)), stream)
        of_stream = [b for b in banks if b.stream == stream]
        at_layer = next((b for b in of_stream if b.layer == layer), None)
        if at_layer is None:
            allowed = ", ".join(str(n) for n in sorted({b.layer for b in of_stream}))
            raise UserError(f"layer {layer} was not probed", allowed=allowed)
        return at_layer

    @cached_property
    def _maps(self) -> list[MapEvidence]:
        return load_evidence(self.directory / EVIDENCE, files=self.record.files)

    def _require(self, column: str, asked: object) -> None:
        """Refuse a name that the column of the results does not have."""
        known = [name for name in distinct(self.results, column) if name]
        if asked is not None and asked not in known:
            raise UserError(f"{column} '{asked}' is not in this run", allowed=", ".join(known))

    @staticmethod
    def _stream(there: list[str], asked: str | None) -> str:
        if asked is None and len(there) == 1:
            return there[0]
        if asked in there:
            return str(asked)
        wrong = "this model has several streams" if asked is None else f"no stream '{asked}'"
        raise UserError(wrong, allowed=", ".join(there), fix=f"stream={there[0]!r}")


def _kind(method: str, probe: str, effect: str) -> str:
    """What tells maps of one feature and site apart."""
    if method == PROBE:
        return f"probe '{probe}'"
    return f"{method} '{probe}'" + (f", effect '{effect}'" if has_effects(method) else "")


def load_run(path: str | os.PathLike[str]) -> Run:
    """Open a finished run directory.

    Raises:
        UserError: no finished run there (``run.json`` is written last), or files that are damaged,
            of another schema or tampered with.
    """
    directory = Path(path)
    if not is_finished(directory):
        jobs = sorted(d.name for d in directory.glob("*") if is_finished(d))
        atlas = sorted(file.parent.name for file in directory.glob("corpora/*/run.json"))
        if atlas:
            raise UserError(
                f"{directory} is an atlas, with a run for each corpus",
                allowed=", ".join(atlas),
                fix=f"{directory / 'corpora' / atlas[0]}",
            )
        raise UserError(
            f"{directory} holds no finished run (no run.json)",
            fix=f"{directory / jobs[0]}" if jobs else "the directory that a run printed at its end",
        )
    record = read_record(directory / RECORD)
    results = read_results(directory / TABLE, files=record.files)
    describe_metrics(results, record.metrics)
    if not record.files:
        check_table(results, record, directory / TABLE)
        if (directory / EVIDENCE).is_file():
            maps = load_evidence(directory / EVIDENCE)
            check_evidence(maps, record, results, directory / EVIDENCE)
    return Run(directory, record, results)
