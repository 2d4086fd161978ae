"""The panel that sets the methods' maps of a feature side by side and says how they agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from probes.analysis.agreement import MethodPair, Verdict, method_pairs, verdict
from probes.reporting.captions import evidence_label
from probes.reporting.head_map import HeadMap
from probes.results.feature_table import FeatureTable
from probes.results.method_maps import Cell, named_heads
from probes.results.vocabulary import METHODS
from probes.results.vocabulary.methods import PROBE
from probes.results.vocabulary.quantities import evidence_columns
from probes.statistics.agreement import Agreement, Hits
from probes.statistics.maps import MapEvidence

LISTED = 12
"""Heads that a sentence names."""


def agreement_panel(
    tables: Sequence[FeatureTable],
    maps: Sequence[MapEvidence],
    *,
    level: float,
    confidence: float = 0.95,
) -> dict[str, Any] | None:
    """Sentences and rows of the panel, and which maps its scatters show; ``None`` for one map."""
    pairs = method_pairs(tables, maps, confidence=confidence)
    if not pairs:
        return None
    place = {id(own): number for number, own in enumerate(tables)}
    several = verdict(tables, level=level)
    return {
        "meaning": meaning(tables),
        "rows": [
            _row(pair, one, by_size=number == 1)
            for pair in pairs
            for number, one in enumerate(pair.versions)
        ],
        "scatters": [(place[id(pair.first)], place[id(pair.second)]) for pair in pairs],
        "notes": _notes(pairs),
        "verdict": _verdict(several) if several else "",
    }


def meaning(tables: Sequence[FeatureTable]) -> str:
    """What agreement and disagreement of these methods mean."""
    methods = dict.fromkeys(own.method for own in tables if own.method in METHODS)
    names = {name: f"a {METHODS[name].label}" if name == PROBE else METHODS[name].label
             for name in methods}  # fmt: skip
    listed = "; ".join(f"{label} tells {METHODS[name].tells}" for name, label in names.items())
    both = (
        "Where a probe and an effect name the same head, it has the information and the model uses "
        "it. "
        if PROBE in names
        else "Where they name the same head, each supports the other. "
    )
    return (
        f"{listed[:1].upper()}{listed[1:]}. {both}Where they do not, that is a finding and no "
        "error: a head may carry what nothing reads, work against the answer that it carries, or "
        "be needed for what its own output does not show."
    )


def reading(one: Agreement) -> str:
    """A comparison in words: against its null, and against what noise leaves of equal orders."""
    if math.isnan(one.value):
        return "undefined: all heads of a map are alike"
    null = one.null
    if math.isnan(null.mean):
        return "no null: each layer has one unit"
    if null.low <= one.value <= null.high:
        return "no more alike than their layers make them"
    if one.value < null.low:
        return "less alike than their layers make them"
    if not math.isnan(one.ceiling) and one.value >= 0.9 * one.ceiling:
        return "as alike as noise lets equal orders be"
    return "more alike than their layers make them"


def method_card(own: FeatureTable, drawn: HeadMap, feature: str, *, level: float) -> dict[str, Any]:
    """Title, explanation and named heads of a method's map, in the section of ``feature``."""
    method = METHODS.get(own.method)
    lines = [drawn.quantity.label]
    if own.feature != feature:
        lines[0] += f" (of the corpus' answer, {own.feature})"
    if method is not None:
        lines.append(method.above if own.signed else method.oriented.rstrip("."))
    if drawn.evidence:
        lines.append(f"{drawn.passed} of {drawn.tested} {evidence_label(drawn)}")
    if own.signed and drawn.evidence not in evidence_columns(signed=True)[:2]:
        lines.append("no matched control: tested against 0 only, so look at sizes")
    named = sorted(named_heads(own, level=level))
    return {
        "title": own.subject.label,
        "line": ". ".join(f"{line[:1].upper()}{line[1:]}" for line in lines) + ".",
        "named": [list(cell) for cell in named],
        "names": f"Names {_heads(named, own)}." if named else "Names no head.",
    }


def _row(pair: MethodPair, one: Agreement, *, by_size: bool) -> dict[str, Any]:
    hits = one.hits
    signed = "sizes of effects" if by_size else "as oriented"
    null = one.null
    return {
        "first": pair.first.subject.label,
        "second": pair.second.subject.label,
        "compared": signed if pair.by_size is not None else "",
        "value": _number(one.value),
        "low": _number(one.low),
        "high": _number(one.high),
        "ceiling": _number(one.ceiling),
        "null": None if math.isnan(null.mean) else f"{null.low:.2f} to {null.high:.2f}",
        "p": None if math.isnan(null.p) else f"{null.p:.2g}",
        "between": _number(one.between_halves),
        "within": _number(one.within_halves),
        "hits": None if math.isnan(hits.forward) else _hits(hits),
        "chance": None if math.isnan(hits.chance) else f"{hits.chance * hits.k:.1f}",
        "reading": reading(one),
    }


def _hits(hits: Hits) -> str:
    return f"{hits.forward * hits.k:.0f}, {hits.backward * hits.k:.0f} of {hits.k}"


def _notes(pairs: Sequence[MethodPair]) -> list[str]:
    """What holds of some of the comparisons only, each said once."""
    versions = [one for pair in pairs for one in pair.versions]
    notes = []
    if any(pair.by_size is not None for pair in pairs):
        notes.append(
            "Probes have no sign: they are compared with effects as oriented and with their sizes. "
            "A head that works against the answer agrees with its probe by size only."
        )
    if any(one.sampled for one in versions):
        notes.append(
            "Where only some of the heads were edited, a correlation is estimated for all heads by "
            "inverse sampling weights; its interval includes the choice of the heads."
        )
    if any(one.groups == 0 for one in versions):
        notes.append(
            "Maps without common groups of texts were each jackknifed over their own, and the "
            "variances added."
        )
    if any(min(one.own_groups) < 2 for one in versions):
        notes.append("A map without groups of texts adds nothing to an interval.")
    return notes


def _verdict(found: Verdict) -> str:
    chance = found.chance
    methods = ", ".join(METHODS[name].label for name in found.methods)
    heads = [f"{_place(cell)} ({', '.join(METHODS[m].label for m in by)})"
             for cell, by in list(found.heads.items())[:LISTED]]  # fmt: skip
    more = f" and {len(found.heads) - LISTED} more" if len(found.heads) > LISTED else ""
    which = f": {'; '.join(heads)}{more}" if heads else ""
    return (
        f"Of the methods that name heads ({methods}), at least two name the same "
        f"{chance.count} head{'s' * (chance.count != 1)}{which}. With each method's heads permuted "
        f"within their layers it would be {chance.expected:.1f} (p = {chance.p:.2g})."
    )


def _heads(named: Sequence[Cell], own: FeatureTable) -> str:
    """Heads as ``layer.head``, the largest first."""
    rows = own.values(own.metric).dropna(subset=["head"])
    values = {
        (str(stream), int(layer), int(head)): abs(float(value)) if own.signed else float(value)
        for stream, layer, head, value in zip(
            rows["stream"], rows["layer"], rows["head"], rows["value"], strict=True
        )
    }
    ordered = sorted(named, key=lambda cell: -values[cell])
    several = len(own.streams(own.metric)) > 1
    texts = [(f"{cell[0]} " if several else "") + _place(cell) for cell in ordered[:LISTED]]
    more = f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
    return ", ".join(texts) + more


def _place(cell: Cell) -> str:
    return f"{cell[1]}.{cell[2]}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
