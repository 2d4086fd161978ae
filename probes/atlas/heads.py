"""What each head carries: one row for every head and feature, corrected over all of them.

A head *carries* a feature when its probe beats both the majority class and the control task: the
p-value is the larger of the two (an intersection-union test, Berger 1982), and the false discovery
rate is controlled over all heads and features of the atlas at once (Benjamini and Hochberg 1995).

Features differ in classes and difficulty, so they are compared by *score*: of what there is to
gain over the majority, the share that neither the majority nor the control task reaches,

    (accuracy - max(majority, control)) / (1 - majority).

1 is a perfect probe whose control knows nothing, 0 one that is no better than either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import false_discovery_control

from probes.analysis.runs import Run
from probes.atlas.execute import Outcome
from probes.atlas.plan import AtlasJob
from probes.catalogue import Entry
from probes.results.feature_table import UNIT, FeatureTable
from probes.results.table import COLUMNS
from probes.results.vocabulary.comparators import BAG_OF_WORDS, LEXICAL
from probes.results.vocabulary.sites import HEADS

ENCODER = "encoder"
"""Name of a stream."""


def head_table(outcomes: Sequence[Outcome], *, level: float) -> pd.DataFrame:
    """All heads and features of the finished jobs: ``atlas.csv``.

    The columns of ``results.csv`` come first (accuracy on test rows), then ``job``, ``corpus``,
    ``stages``, ``entries``, ``read_at``, ``classes``, ``depth`` (0 the first layer of its stream, 1
    the last), ``majority``, ``words`` (accuracy of the words alone), ``control``, ``gain``,
    ``score``, ``p``, ``q`` and ``significant``.
    """
    tables = [
        _feature_rows(outcome.job, outcome.run, feature)
        for outcome in outcomes
        if outcome.run is not None
        for feature in outcome.job.features
    ]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*COLUMNS])
    if table.empty:
        return table
    table["q"] = corrected(table["p"].to_numpy(dtype=float))
    table["significant"] = (table["q"] <= level) & (table["score"] > 0)
    return table


def corrected(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(T,) false discovery rates of all tests together; NaN for a test without a p-value.

    Benjamini and Hochberg 1995.
    """
    q = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested])
    return q


def score(
    accuracy: npt.NDArray[np.float64], majority: float, control: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(H,) share of what there is to gain that neither majority nor control reaches.

    >>> score(np.array([0.8, 0.8]), 0.5, np.array([0.4, 0.6])).round(2).tolist()
    [0.6, 0.4]
    """
    if majority >= 1:
        return np.zeros_like(accuracy)
    floor = np.fmax(majority, control)  # a control that was not measured is NaN
    return np.asarray((accuracy - floor) / (1 - majority))


def strongest(table: pd.DataFrame, stage: str | None = None) -> pd.DataFrame:
    """For each head its significant feature of the highest score, in one stage or in all.

    Index: (stream, layer, head); heads without a significant feature are absent.
    """
    if table.empty:
        return table.set_index(UNIT)
    rows = table[table["significant"]]
    if stage is not None:
        rows = of_stage(rows, stage)
    rows = rows.sort_values("score", ascending=False, kind="stable")
    return rows.drop_duplicates(UNIT).set_index(UNIT).sort_index()


def of_stage(table: pd.DataFrame, stage: str) -> pd.DataFrame:
    """The rows whose feature belongs to a stage; a feature may belong to several."""
    of_this = np.array([stage in stages.split() for stages in table["stages"]], dtype=bool)
    return table[of_this]


def _feature_rows(job: AtlasJob, run: Run, feature: str) -> pd.DataFrame:
    entries = job.entries_of(feature)
    own = FeatureTable.of(run.results, feature, site=HEADS)
    rows = own.values("accuracy").drop_duplicates(UNIT).reset_index(drop=True)
    rows = rows.astype({column: str for column in ("feature", *UNIT[:1])})
    if _next_word(entries):
        # The encoder of an encoder-decoder reads the whole text: it predicts no next token.
        others = rows["stream"] != ENCODER
        rows = rows[others].reset_index(drop=True) if others.any() else rows
    measured = own.values("control_accuracy").drop_duplicates(UNIT)
    by_unit = measured.astype({"stream": str}).set_index(UNIT)["value"]
    control = by_unit.reindex(pd.MultiIndex.from_frame(rows[UNIT])).to_numpy(dtype=float)
    majority = own.baseline() or 0.0
    words = [own.baseline(name) for name in (LEXICAL, BAG_OF_WORDS)]
    tests = [rows[c].to_numpy(dtype=float) for c in ("p_value", "p_control") if c in rows]
    value = rows["value"].to_numpy(dtype=float)
    task = run.record.tasks[feature]
    return rows[[*COLUMNS]].assign(
        job=job.name,
        corpus=entries[0].corpus,
        stages=" ".join(dict.fromkeys(entry.stage for entry in entries)),
        entries=" ".join(entry.name for entry in entries),
        level=task.level,
        read_at=entries[0].read_at,
        classes=len(task.classes),
        depth=_depth(rows, run),
        majority=majority,
        words=next((w for w in words if w is not None), np.nan),
        control=control,
        gain=value - majority,
        score=score(value, majority, control),
        p=_larger(tests, len(rows)),
    )


def _next_word(entries: Sequence[Entry]) -> bool:
    return all(entry.decoders_only for entry in entries)


def _depth(rows: pd.DataFrame, run: Run) -> npt.NDArray[np.float64]:
    """(H,) layer over the last layer of its stream."""
    last = {stream.name: max(stream.layers) for stream in run.record.model.streams}
    layer = rows["layer"].to_numpy(dtype=float)
    return layer / np.maximum(1, [last.get(name, 0) for name in rows["stream"]])


def _larger(tests: list[npt.NDArray[np.float64]], count: int) -> npt.NDArray[np.float64]:
    """(H,) the larger p-value: both nulls are refuted where the larger is small (Berger 1982)."""
    if not tests:
        return np.full(count, np.nan)
    p = np.stack(tests)  # (2, H)
    return np.where(np.isnan(p).all(axis=0), np.nan, np.nan_to_num(p).max(axis=0))
