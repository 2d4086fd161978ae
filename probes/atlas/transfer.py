"""Which functions two models share: the same features at the same relative depth.

Models differ in layers and heads, so the score of a feature is compared as a profile over relative
depth (0 the first layer, 1 the last): in each layer the mean over heads, and the best head. Both
profiles are interpolated at as many depths as the shallower model has layers; more would make a
correlation out of interpolation alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import spearmanr

from probes.core.errors import UserError, closest
from probes.results.atlas import SavedAtlas

Array = npt.NDArray[np.float64]
FEWEST = 3
"""Depths below which no order can be compared."""


@dataclass(frozen=True)
class Side:
    """One feature in one model."""

    best: Array
    """(D,) score of the best head at each of ``Transfer.depth``."""
    mean: Array
    """(D,) mean over heads of their score, one below 0 counted as 0."""
    centre: float | None
    """Depth weighted by the mean; None where it is 0 everywhere."""
    significant: int
    heads: int


@dataclass(frozen=True)
class Transfer:
    """One feature in two models."""

    job: str
    feature: str
    corpus: str
    stages: str
    stream: str
    """Of the first model, and of the second where it has another."""
    depth: Array
    """(D,) relative depths, from 0 to 1."""
    first: Side
    second: Side

    @property
    def correlation(self) -> float | None:
        """Spearman's, between the profiles of the mean; None where one is flat or too short."""
        flat = np.ptp(self.first.mean) == 0 or np.ptp(self.second.mean) == 0
        if len(self.depth) < FEWEST or flat:
            return None
        return float(spearmanr(self.first.mean, self.second.mean).statistic)

    @property
    def shift(self) -> float | None:
        """Centre in the second model minus that in the first."""
        if self.first.centre is None or self.second.centre is None:
            return None
        return self.second.centre - self.first.centre

    @property
    def carried(self) -> str:
        """By heads of which models: both, first, second, neither."""
        either = (bool(self.first.significant), bool(self.second.significant))
        return {(True, True): "both", (True, False): "first", (False, True): "second"}.get(
            either, "neither"
        )


def transfers(first: SavedAtlas, second: SavedAtlas, feature: str | None = None) -> list[Transfer]:
    """All features (or those of one name) that both atlases have.

    Streams are paired by name; where the models share none, the first stream of each is taken.

    Raises:
        UserError: nothing in common.
    """
    there = set(second.features)
    common = [pair for pair in first.features if pair in there]
    if not common:
        raise UserError(
            f"{first.directory} and {second.directory} have no feature in common",
            allowed="atlases of the same corpora (atlas.corpora, atlas.stages)",
        )
    if feature is not None:
        names = list(dict.fromkeys(name for _, name in common))
        common = [pair for pair in common if pair[1] == feature]
        if not common:
            raise UserError(
                f"--feature {feature}: not a feature of both atlases",
                allowed=", ".join(names),
                fix=f"--feature {closest(feature, names)}",
            )
    found = []
    for job, name in common:
        one, other = _rows(first, job, name), _rows(second, job, name)
        streams = [sorted(rows["stream"].unique()) for rows in (one, other)]
        shared = [(s, s) for s in streams[0] if s in streams[1]]
        for mine, theirs in shared or [(streams[0][0], streams[1][0])]:
            a, b = one[one["stream"] == mine], other[other["stream"] == theirs]
            layers = min(a["layer"].nunique(), b["layer"].nunique())
            depth = np.linspace(0.0, 1.0, layers) if layers > 1 else np.array([0.0])
            found.append(
                Transfer(
                    job=job,
                    feature=name,
                    corpus=str(one["corpus"].iloc[0]),
                    stages=str(one["stages"].iloc[0]),
                    stream=mine if mine == theirs else f"{mine} / {theirs}",
                    depth=depth,
                    first=_side(a, depth),
                    second=_side(b, depth),
                )
            )
    return found


def _rows(atlas: SavedAtlas, job: str, feature: str) -> pd.DataFrame:
    table = atlas.table
    return table[(table["job"] == job) & (table["feature"] == feature)]


def _side(rows: pd.DataFrame, depth: Array) -> Side:
    best = rows.groupby("depth")["score"].max()
    mean = rows.assign(score=rows["score"].clip(lower=0.0)).groupby("depth")["score"].mean()
    at, weight = best.index.to_numpy(dtype=float), mean.to_numpy(dtype=float)
    return Side(
        best=np.interp(depth, at, best.to_numpy(dtype=float)),
        mean=np.interp(depth, at, mean.to_numpy(dtype=float)),
        centre=float(weight @ at / weight.sum()) if weight.sum() > 0 else None,
        significant=int(rows["significant"].sum()),
        heads=len(rows),
    )


def counts(found: Sequence[Transfer]) -> dict[str, int]:
    """How many features are carried by heads of both, of one, of neither."""
    return {
        name: sum(one.carried == name for one in found)
        for name in ("both", "first", "second", "neither")
    }


def to_json(found: Sequence[Transfer], first: SavedAtlas, second: SavedAtlas) -> dict[str, Any]:
    """All numbers for programs."""
    return {
        "schema": 1,
        "kind": "atlas",
        "first": {"directory": str(first.directory), "model": first.model},
        "second": {"directory": str(second.directory), "model": second.model},
        "carried": counts(found),
        "features": [
            {
                "job": one.job,
                "corpus": one.corpus,
                "feature": one.feature,
                "stages": one.stages.split(),
                "stream": one.stream,
                "carried": one.carried,
                "correlation": _number(one.correlation),
                "shift": _number(one.shift),
                "depth": [_number(d) for d in one.depth],
                "first": _side_json(one.first),
                "second": _side_json(one.second),
            }
            for one in found
        ],
    }


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "best": [_number(v) for v in side.best],
        "mean": [_number(v) for v in side.mean],
        "centre": _number(side.centre),
        "significant": side.significant,
        "heads": side.heads,
    }


def _number(value: float | None) -> float | None:
    """Six significant digits; JSON has no NaN."""
    if value is None or not np.isfinite(value):
        return None
    return float(f"{value:.6g}")
