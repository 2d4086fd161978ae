"""Made-up tables of atlases, so that everything but the running can be tried without a model."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from probes.atlas.heads import corrected
from probes.catalogue import Entry

Rule = Callable[[int, int], tuple[float, float]]
"""(layer, head) -> (score, p)."""


def rows_of(
    entry: Entry,
    feature: str,
    layers: int,
    heads: int,
    rule: Rule,
    *,
    stream: str = "decoder",
    job: str | None = None,
) -> pd.DataFrame:
    """One feature in every head; the majority is .5 and the control knows nothing."""
    rows = []
    for layer in range(layers):
        for head in range(heads):
            score, p = rule(layer, head)
            value = 0.5 + 0.5 * score
            rows.append(
                {"feature": feature, "site": "heads", "probe": "linear", "stream": stream,
                 "layer": layer, "head": head, "split": "test", "metric": "accuracy",
                 "value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "n": 100,
                 "job": job or entry.corpus, "corpus": entry.corpus, "stages": entry.stage,
                 "entries": entry.name, "level": entry.level, "read_at": entry.read_at,
                 "classes": 2, "depth": layer / max(1, layers - 1), "majority": 0.5,
                 "words": 0.5, "control": 0.5, "gain": value - 0.5, "score": score, "p": p}
            )  # fmt: skip
    return pd.DataFrame(rows)


def table_of(*parts: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """The parts as one atlas, corrected together."""
    table = pd.concat(parts, ignore_index=True)
    table["q"] = corrected(table["p"].to_numpy(dtype=float))
    table["significant"] = (table["q"] <= level) & (table["score"] > 0)
    return table


def kept_by(*places: tuple[int, int], score: float = 0.8) -> Rule:
    """Only these heads carry the feature."""
    return lambda layer, head: (score, 1e-4) if (layer, head) in places else (0.01, 0.9)
