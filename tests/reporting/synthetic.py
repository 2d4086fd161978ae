"""Made-up results and records of any shape, so that every drawing can be tried without a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from probes.results.feature_table import FeatureTable
from probes.results.findings import BestUnit, MapTestSummary
from probes.results.record import (
    CorpusRecord,
    ModelRecord,
    RunRecord,
    StreamRecord,
    TaskRecord,
)
from probes.results.table import results_table

CLASSES = ["ADJ", "ADP", "ADV", "NOUN", "PRON", "VERB"]
COUNTS = {
    "train": [600, 900, 500, 2100, 800, 1100],
    "validation": [60, 92, 49, 205, 85, 111],
    "test": [61, 95, 55, 200, 79, 110],
}
MAJORITY = 200 / 600


def heads_of(layers: int, heads: int) -> list[int]:
    return [heads] * layers


def make_results(
    streams: dict[str, list[int]],
    *,
    features: tuple[str, ...] = ("upos",),
    signal: float = 0.35,
    probe: str = "linear",
    control: bool = True,
    significance: bool = True,
    codelength: bool = True,
    classes: list[str] | None = None,
    baselines: bool = True,
    intervals: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """Accuracies with a bump at a third of the depth; ``streams`` gives the heads of each layer."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for number, feature in enumerate(features):
        common: dict[str, Any] = {"feature": feature}
        rows += [
            {**common, "site": "corpus", "probe": name, "split": split, "metric": "accuracy",
             "value": value, "n": 600}
            for split in ("validation", "test")
            for name, value in (("majority", MAJORITY), ("lexical", 0.61))
        ]  # fmt: skip
        for stream, heads in streams.items():
            total = sum(heads)
            for layer, count in enumerate(heads):
                depth = (layer + 1) / len(heads)
                bump = signal * np.exp(-(((depth - 0.35 - 0.2 * number) / 0.3) ** 2))
                where = {**common, "stream": stream, "layer": layer}
                for head in range(count):
                    strength = rng.beta(0.8, 2.2) if total > 12 else rng.beta(1.5, 1.5)
                    true = MAJORITY + bump * strength + rng.normal(0, 0.012)
                    control_value = MAJORITY + abs(rng.normal(0, 0.03))
                    p = float(np.clip(np.exp(-(true - MAJORITY) * 90), 0.001, 1))
                    for split in ("validation", "test"):
                        value = float(np.clip(true + rng.normal(0, 0.008), 0.02, 1))
                        base = {**where, "site": "heads", "probe": probe, "head": head,
                                "split": split, "n": 600}  # fmt: skip
                        row = {**base, "metric": "accuracy", "value": value}
                        if intervals:
                            row |= {"ci_low": value - 0.03, "ci_high": value + 0.03}
                        if significance and split == "test":
                            row |= {"p_value": p, "q_value": min(1, 2.2 * p),
                                    "p_familywise": min(1, 9 * p)}  # fmt: skip
                        rows.append(row)
                        if split == "test":
                            ends = ("value", "ci_low", "ci_high") if intervals else ("value",)
                            gain = {end: row[end] - MAJORITY for end in ends}
                            rows.append({**base, "metric": "gain_majority", **gain})
                        rows.append({**base, "metric": "macro_f1", "value": value * 0.8})
                        if control:
                            rows.append(
                                {**base, "metric": "control_accuracy", "value": control_value}
                            )
                            rows.append(
                                {**base, "metric": "selectivity", "value": value - control_value}
                            )
                        if codelength and split == "test":
                            bits = 5000 * (1.3 - value)
                            rows.append({**base, "metric": "codelength_bits", "value": bits})
                        if classes and split == "test":
                            rows += [
                                {**base, "metric": f"recall:{name}",
                                 "value": float(np.clip(value + rng.normal(0, 0.2), 0, 1))}
                                for name in classes
                            ]  # fmt: skip
                for split in ("validation", "test") if baselines else ():
                    whole = {**where, "split": split, "metric": "accuracy", "n": 600}
                    for site, value in (
                        ("all_heads", MAJORITY + 0.25 + bump),
                        ("residual", MAJORITY + 0.28 + 0.8 * bump),
                    ):
                        rows.append({**whole, "site": site, "probe": probe, "value": value,
                                     "ci_low": value - 0.02, "ci_high": value + 0.02})  # fmt: skip
                    rows += [
                        {**whole, "site": "heads", "probe": "random_init", "head": head,
                         "value": MAJORITY + abs(rng.normal(0, 0.015))}
                        for head in range(count)
                    ]  # fmt: skip
    return results_table(rows)


def make_feature(
    streams: dict[str, list[int]], feature: str = "upos", **options: Any
) -> FeatureTable:
    """One feature of ``make_results``."""
    return FeatureTable.of(make_results(streams, features=(feature,), **options), feature)


def make_record(
    streams: dict[str, list[int]],
    *,
    features: tuple[str, ...] = ("upos",),
    classes: list[str] | None = None,
    model: str = "sentence-transformers/all-MiniLM-L6-v2",
    corpus: str = "UD English EWT",
    caveats: tuple[str, ...] = (
        "feature 'upos': class ADV has 55 rows on test; its recall is uncertain.",
        "Probing shows what a linear classifier can decode, not what the model uses.",
    ),
) -> RunRecord:
    """A record that fits ``make_results`` of the same streams."""
    kind = "encoder-decoder" if len(streams) > 1 else next(iter(streams))
    splits = {"train": 6000, "validation": 602, "test": 600}
    task = TaskRecord(
        level="word",
        classes=classes or CLASSES,
        counts=COUNTS,
        groups={"train": 80, "validation": 12, "test": 12},
        majority=(classes or CLASSES)[3],
        majority_accuracy=MAJORITY,
        dropped={"INTJ": 4, "SYM": 2},
        dropped_in_train={"INTJ": 3, "SYM": 0},
    )
    return RunRecord(
        version="0.1.0",
        created="2026-11-20T10:00:00",
        model=ModelRecord(
            name=model,
            fingerprint="9f2c4ab01d" * 4,
            kind=kind,
            streams=[StreamRecord(n, list(range(len(h))), h) for n, h in streams.items()],
        ),
        corpus=CorpusRecord(
            name=corpus,
            fingerprint="77aa01ce42" * 4,
            group_name="document",
            examples={"train": 540, "validation": 80, "test": 80},
            groups={"train": 80, "validation": 12, "test": 12},
            split="As the corpus ships it.",
            notes=["67 dev and 93 test sentences that recur in train were dropped."],
        ),
        tasks={feature: task for feature in features},
        config={
            "probe": {"name": "linear", "l2": [1.0, 10.0]},
            "split": {"source": "auto"},
            "significance": {"permutations": 200, "level": 0.05},
            "evaluation": {"confidence": 0.95, "bootstrap": 1000},
            "seed": 0,
        },
        environment={"python": "3.11.9", "torch": "2.13.0", "device": "cpu"},
        timings={"extract_seconds": 41.2, "fit_seconds": 8.3, "report_seconds": 2.1},
        rows=sum(splits.values()),
        rows_per_second=3210.0,
        tokens_per_second=5400.0,
        peak_memory_bytes=812_000_000,
        caches={"heads": "../../cache/0123abcd"},
        caveats=list(caveats),
        best=[
            BestUnit(
                feature=feature,
                site="heads",
                probe="linear",
                stream=next(iter(streams)),
                layer=1,
                head=1,
                value=0.61,
                ci_low=0.58,
                ci_high=0.64,
                naive=0.65,
                naive_layer=1,
                naive_head=1,
                method="validation",
            )
            for feature in features
        ],
        tests=[
            MapTestSummary(
                feature=feature,
                site="heads",
                probe="linear",
                smallest_p=0.00024,
                null="activations and labels are independent",
                units=72,
                groups=12,
                level=0.05,
            )
            for feature in features
        ],
    )
