"""How a run's numbers were made, in plain sentences for someone who was not there."""

from __future__ import annotations

from typing import Any

import pandas as pd

from probes.results.record import RunRecord, TaskRecord
from probes.results.subject import Subject
from probes.results.table import distinct, pick
from probes.results.vocabulary import METHODS, quantity_kind
from probes.results.vocabulary.methods import PROBE
from probes.results.vocabulary.quantities import MEASURES, evidence_columns
from probes.results.vocabulary.sites import ALL_HEADS, HEADS, RESIDUAL, of_units, unit_of

SPLITS = ("train", "validation", "test")


def how_made(table: pd.DataFrame, record: RunRecord) -> list[str]:
    """One sentence or two for each decision: splits, choice, report, intervals, controls, tests."""
    corpus, subject = record.corpus, Subject.of(table)
    site, probe = subject.site, subject.probe
    config = record.config
    sentences = [_splits(record)]
    sentences += corpus.notes
    if config.get("model", {}).get("chat", "none") != "none":
        sentences.append(
            "Each text was put into the model's chat template, as a user's turn; where a text is "
            "answered, the generation prompt follows, at whose end whole texts are read, or at "
            "the end of the answer where the text holds one."
        )
    many = units_of(record)
    what = subject.unit
    if subject.method != PROBE:
        return [*sentences, *_of_effects(table, record)]
    chosen = METHODS[subject.method].variant(probe).chosen
    choice = (
        f"For each {what} {chosen} was chosen on validation, and {what}s are ranked there too."
        if chosen
        else f"{what.capitalize()}s are ranked on validation."
    )
    sentences.append(
        f"Each of the {many:,} {what}s got a {probe} probe of its own, trained on training rows. "
        f"{choice} The numbers shown are from test rows, which nothing was chosen on."
    )
    sentences += _whole_layers(table, record)
    accuracy = pick(table, **subject.map_columns, metric=subject.metric, split="test")
    if accuracy["ci_low"].notna().any():
        confidence = _number(config, "evaluation", "confidence")
        draws = _number(config, "evaluation", "bootstrap")
        share = f"{confidence:.0%} " if confidence else ""
        times = f", {draws:,.0f} draws" if draws else ""
        sentences.append(
            f"Brackets are {share}intervals from a bootstrap over {plural(corpus.group_name)}, not "
            f"over rows{times}: rows of one {corpus.group_name} are not independent."
        )
    if table["metric"].isin(["selectivity", "control_accuracy"]).any():
        sentences.append(
            "The control task gives every word type a random label (texts: labels shuffled between "
            f"{plural(corpus.group_name)}). A probe that does well on it memorises; selectivity is "
            "the accuracy minus the control's accuracy."
        )
    evidence = any(column in table and table[column].notna().any() for column in evidence_columns())
    sentences += (
        _tests(record, site, probe)
        if evidence
        else [
            f"No test over the whole map was run; the best of {many:,} {what}s is good by chance."
        ]
    )
    return sentences + _of_effects(table, record)


def _of_effects(table: pd.DataFrame, record: RunRecord) -> list[str]:
    """How effects were measured, tested and compared, for each method that the table has."""
    sentences, site = [], Subject.of(table).site
    there = [METHODS[name] for name in METHODS if name in set(table["method"])]
    signed = [method for method in there if method.signed]
    for method in signed:
        rows = pick(table, method=method.name, split="test")
        measures = [quantity_kind(name) for name in distinct(rows, "metric")]
        own = [kind for kind in measures if kind.name in MEASURES]
        about = f" Measured on: {', '.join(kind.label for kind in own)}." if own else ""
        name = method.label[:1].upper() + method.label[1:]
        sentences.append(f"{name}. {of_units(method.oriented, site)}{about}")
    if signed:
        group = record.corpus.group_name
        sentences.append(
            "Effects are means over test texts, with bootstrap intervals over "
            f"{plural(group)}. Their tests are two-sided (sign flips of whole {plural(group)}, "
            f"max-statistic), because {unit_of(site)}s may work against the answer; "
            f"{unit_of(site)}s are ranked by the size of their effect on validation."
        )
        sentences += _effect_tests(record)
    return sentences


def _effect_tests(record: RunRecord) -> list[str]:
    sentences = []
    for test in record.tests:
        if not METHODS.get(test.measured.method, METHODS[PROBE]).signed:
            continue
        m = test.measured
        label = Subject(test.site, m.method, test.probe, m.metric, m.effect, m.positions).label
        text = (
            f"{test.feature}, {label}: {test.significant_familywise} of {test.units} "
            f"{unit_of(test.site)}s refute (family-wise {test.level:g}) that {test.null}"
        )
        if test.control_null:
            text += f", {test.control_familywise} that {test.control_null}"
        sentences.append(text + ".")
    return sentences


def task_line(task: TaskRecord, group_name: str) -> str:
    """Rows, groups and classes of one feature, and what was left out."""
    rows = ", ".join(
        f"{sum(task.counts[split]):,} {split}" for split in SPLITS if split in task.counts
    )
    groups = " / ".join(f"{task.groups[split]:,}" for split in SPLITS if split in task.groups)
    line = f"{len(task.classes)} classes on {task.level} level; rows: {rows}"
    if groups:
        line += f", from {groups} {plural(group_name)}"
    line += f". Most frequent in training: {task.majority}."
    if task.dropped:
        names = list((task.dropped_in_train or task.dropped).items())
        where = ", with their training rows" if task.dropped_in_train else ""
        dropped = ", ".join(f"{name} ({count:,})" for name, count in names[:8])
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        line += f" Left out as too rare{where}: {dropped}{more}."
    return line


def selection_line(
    record: RunRecord, feature: str, site: str, probe: str, method: str = PROBE
) -> str:
    """The highest test value, and the estimate that is freed from the selection."""
    for best in record.best:
        if (best.feature, best.site, best.probe) != (feature, site, probe):
            continue
        if best.measured.method != method:
            continue
        if best.naive is None or best.value is None:
            continue
        unit, where = unit_of(site), f"layer {best.naive_layer}"
        if site == HEADS:
            where += f", head {best.naive_head}"
        interval = ""
        if best.ci_low is not None and best.ci_high is not None:
            interval = f" [{best.ci_low:.3f}, {best.ci_high:.3f}]"
        signed = method in METHODS and METHODS[method].signed
        highest, high = ("largest", "large") if signed else ("highest", "high")
        return (
            f"The {highest} test value of all is {best.naive:.3f} ({where}), too high on average "
            f"because it was picked for being {high}. Freed from the choice the best {unit} "
            f"reaches {best.value:.3f}{interval} ({best.method})."
        )
    return ""


def units_of(record: RunRecord) -> int:
    """How many heads (or layers) were probed."""
    return sum(sum(stream.heads) for stream in record.model.streams)


def plural(noun: str) -> str:
    """The plural of an English noun, which may be one already.

    >>> plural("document"), plural("property")
    ('documents', 'properties')
    """
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun if noun.endswith("s") else noun + "s"


def duration(seconds: float) -> str:
    """Seconds in the units that people read.

    >>> duration(3.21), duration(75.0), duration(7300.0)
    ('3.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"


def facts(record: RunRecord) -> list[tuple[str, str]]:
    """Names and values for the fold-out table at the foot of the report."""
    model, corpus = record.model, record.corpus
    rows = [
        ("model", f"{model.name} ({model.kind})"),
        ("model fingerprint", model.fingerprint),
        ("corpus", corpus.name),
        ("corpus fingerprint", corpus.fingerprint),
        ("rows of the cache", f"{record.rows:,}"),
    ]
    rows += [(f"{k.removesuffix('_seconds')} took", duration(v)) for k, v in record.timings.items()]
    if record.tokens_per_second:
        rows.append(("tokens per second", f"{record.tokens_per_second:,.0f}"))
    if record.rows_per_second:
        rows.append(("rows per second", f"{record.rows_per_second:,.0f}"))
    if record.peak_memory_bytes:
        rows.append(("peak memory", f"{record.peak_memory_bytes / 1e6:,.0f} MB"))
    rows += [(name, str(value)) for name, value in record.environment.items()]
    return rows


def _whole_layers(table: pd.DataFrame, record: RunRecord) -> list[str]:
    """Which layers have whole-layer probes, where it is not every one."""
    if Subject.of(table).site != HEADS:
        return []
    layers = {(stream.name, layer) for stream in record.model.streams for layer in stream.layers}
    sentences = []
    asked = record.config.get("baseline") or {}
    short_of_memory = any("not probed together" in caveat for caveat in record.caveats)
    names = {ALL_HEADS: "all heads together", RESIDUAL: "the residual stream"}
    for site, name in names.items():
        rows = pick(table, site=site, metric="accuracy", split="test").dropna(subset=["layer"])
        probed = set(zip(rows["stream"], rows["layer"].astype(int), strict=True))
        there = {(stream, layer) for stream, layer in layers if stream in set(rows["stream"])}
        if not there <= probed and asked.get(site) == "auto" and not short_of_memory:
            sentences.append(
                f"Probes of {name} were trained in {len(probed)} of "
                f"{len(there)} layers: an even sample, and the layers of the features' best "
                f"heads (baseline.{site}=all: every layer)."
            )
    return sentences


def _splits(record: RunRecord) -> str:
    corpus = record.corpus
    texts = sum(corpus.examples.values())
    groups = " / ".join(f"{corpus.groups[s]:,}" for s in SPLITS if s in corpus.groups)
    names = " / ".join(s for s in SPLITS if s in corpus.groups)
    how = f" {corpus.split.rstrip('.')}." if corpus.split else ""
    return (
        f"The {texts:,} texts of {corpus.name} were split by {corpus.group_name}, so that no "
        f"{corpus.group_name} is in two splits: {groups} {plural(corpus.group_name)} in "
        f"{names}.{how}"
    )


def _tests(record: RunRecord, site: str, probe: str) -> list[str]:
    """What the p-values refute, and what is left of the best head once it is known as chosen."""
    sentences = []
    for test in record.tests:
        if (test.site, test.probe, test.measured.method) != (site, probe, PROBE):
            continue
        if test.smallest_p is None:
            continue
        sentences.append(
            f"{test.feature}: p-values refute that {test.null}. With "
            f"{test.groups:,} {plural(record.corpus.group_name)} the smallest possible is "
            f"{test.smallest_p:.2g}."
        )
    sentences.append(
        "q-values bound the share of false discoveries (Benjamini and Hochberg 1995), family-wise "
        f"p-values the chance of even one among all {unit_of(site)}s (max-statistic, Westfall and "
        "Young 1993)."
    )
    return sentences


def _number(config: dict[str, Any], section: str, key: str) -> float | None:
    part = config.get(section)
    value = part.get(key) if isinstance(part, dict) else None
    return float(value) if isinstance(value, int | float) else None
