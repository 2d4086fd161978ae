"""Made-up runs of several methods, of any shape: a table and the evidence behind its maps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from probes.evaluation.effect_map import judge_effects
from probes.evaluation.table_rows import Row
from probes.results.record import RunRecord
from probes.results.table import results_table
from probes.statistics.bootstrap import draw_groups
from probes.statistics.maps import MapEvidence
from tests.evaluation.planted_effects import ROWS, effects_evidence
from tests.reporting.synthetic import make_record, make_results

GROUPS = 60
ANSWER = "indirect_object"


@dataclass(frozen=True)
class SyntheticRun:
    table: pd.DataFrame
    maps: list[MapEvidence]
    record: RunRecord


def make_run(
    shape: tuple[int, ...],
    *,
    features: tuple[str, ...] = (ANSWER, "subject"),
    probes: bool = True,
    matched: bool = True,
    top: int | None = None,
    seed: int = 0,
) -> SyntheticRun:
    """Probes for all features; ablation (total and direct), patching and attribution of the answer.

    Few heads matter, most of them late; the one that matters most but one works against the answer.

    matched: whether ablation has a matched control. top: exact effects of that many heads of the
        largest attribution and as many others.
    """
    random = np.random.default_rng(seed)
    H = sum(shape)
    layer = np.repeat(np.arange(len(shape)), shape)
    truth = random.standard_exponential(H) ** 2 * np.exp(((layer + 1) / len(shape) - 1) * 3)
    truth *= random.choice([1.0, -1.0], H, p=[0.75, 0.25]) * (random.random(H) < 0.4)
    order = np.argsort(-np.abs(truth))
    truth[order[1]] = -abs(truth[order[1]])
    truth *= 3 / np.abs(truth).max()
    kinds = {
        "attribution": ("attribution", "mean", "total", truth + random.normal(0, 0.08, H)),
        "ablation": ("ablation", "mean", "total", truth),
        "direct": ("ablation", "mean", "direct", truth * (random.random(H) < 0.5)),
        "patching": ("patching", "denoise", "total", 0.8 * truth + random.normal(0, 0.15, H)),
    }
    draws = draw_groups(GROUPS, 200, seed=seed)
    rows: list[Row] = []
    maps: list[MapEvidence] = []
    caveats: list[str] = []
    for number, (name, (method, probe, effect, means)) in enumerate(kinds.items()):
        made = effects_evidence(
            means, shape, groups=GROUPS, noise=0.3, method=method, probe=probe, effect=effect,
            seed=seed + 10 * number + 1,
        )  # fmt: skip
        control = None
        if matched and name == "ablation":
            control = effects_evidence(
                0.2 * np.abs(means), shape, groups=GROUPS, noise=0.2, probe="matched",
                seed=seed + 10 * number + 2,
            )  # fmt: skip
        if top and name != "attribution":
            chosen = np.argsort(-np.abs(maps[0].validation))
            others = np.random.default_rng(seed).choice(chosen[top:], top, replace=False)
            keep = np.concatenate([chosen[:top], others])
            weights = np.repeat([1.0, (H - top) / top], top)
            made = some_units(made, keep, weights)
            control = None if control is None else some_units(control, keep, weights)
        judged = judge_effects(made, control=control, draws=draws, level=0.05, seed=seed)
        rows += judged.rows
        maps += judged.maps
        caveats += judged.caveats
    tables = [results_table(rows)]
    if probes:
        probing = make_results({"decoder": list(shape)}, features=features, seed=seed,
                               codelength=False)  # fmt: skip
        tables.insert(0, probing)
        maps = [_probe_evidence(probing, feature, shape, seed) for feature in features] + maps
    record = replace(
        make_record({"decoder": list(shape)}, features=features, corpus="ioi",
                    model="HuggingFaceTB/SmolLM2-135M-Instruct"),
        caveats=caveats,
    )  # fmt: skip
    return SyntheticRun(pd.concat(tables, ignore_index=True), maps, record)


def some_units(full: MapEvidence, keep: np.ndarray, weights: np.ndarray) -> MapEvidence:
    """A map of some of the heads only, each of which stands for ``weights`` of them."""
    return replace(
        full,
        units=full.units[keep],
        streams=tuple(full.streams[unit] for unit in keep),
        totals=full.totals[keep],
        validation=full.validation[keep],
        weights=weights,
    )


def _probe_evidence(
    table: pd.DataFrame, feature: str, shape: tuple[int, ...], seed: int
) -> MapEvidence:
    """Right answers by group that fit the accuracies of a table."""
    rows = table[(table["feature"] == feature) & (table["probe"] == "linear")
                 & (table["site"] == "heads") & (table["metric"] == "accuracy")]  # fmt: skip
    test, validation = (
        rows.loc[rows["split"] == split, "value"].to_numpy() for split in ("test", "validation")
    )
    made = effects_evidence(np.zeros(len(test)), shape, groups=GROUPS, feature=feature,
                            method="probe", probe="linear", metric="accuracy", effect="",
                            positions="")  # fmt: skip
    right = np.random.default_rng(seed).binomial(ROWS, test[:, None], (len(test), GROUPS))
    return replace(made, totals=right, validation=validation)
