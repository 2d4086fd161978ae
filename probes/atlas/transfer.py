"""Which functions two models share: the same features at the same relative depth.

Models differ in layers and heads, so the score of a feature is compared as a profile over relative
depth (0 the first layer, 1 the last): in each layer the mean over heads, and the best head. Both
profiles are interpolated at as many depths as the shallower model has layers; more would make a
correlation out of interpolation alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import spearmanr

from probes.core.errors import UserError, closest
from probes.results.atlas import SavedAtlas

Array = npt.NDArray[np.float64]
FEWEST = 3
"""With fewer depths no order can be compared."""


@dataclass(frozen=True)
class Profile:
    """One feature in one model, over relative depth."""

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
    first: Profile
    second: Profile

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
    of_second = set(second.features)
    common = [pair for pair in first.features if pair in of_second]
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
                fix=closest(feature, names, "--feature {}"),
            )
    every = []
    for job, name in common:
        in_first, in_second = _rows(first, job, name), _rows(second, job, name)
        streams = [sorted(rows["stream"].unique()) for rows in (in_first, in_second)]
        shared = [(stream, stream) for stream in streams[0] if stream in streams[1]]
        for stream, other in shared or [(streams[0][0], streams[1][0])]:
            a = in_first[in_first["stream"] == stream]
            b = in_second[in_second["stream"] == other]
            layers = min(a["layer"].nunique(), b["layer"].nunique())
            depth = np.linspace(0.0, 1.0, layers) if layers > 1 else np.array([0.0])
            every.append(
                Transfer(
                    job=job,
                    feature=name,
                    corpus=str(in_first["corpus"].iloc[0]),
                    stages=str(in_first["stages"].iloc[0]),
                    stream=stream if stream == other else f"{stream} / {other}",
                    depth=depth,
                    first=_profile(a, depth),
                    second=_profile(b, depth),
                )
            )
    return every


def _rows(atlas: SavedAtlas, job: str, feature: str) -> pd.DataFrame:
    table = atlas.table
    return table[(table["job"] == job) & (table["feature"] == feature)]


def _profile(rows: pd.DataFrame, depth: Array) -> Profile:
    best = rows.groupby("depth")["score"].max()
    mean = rows.assign(score=rows["score"].clip(lower=0.0)).groupby("depth")["score"].mean()
    at, weight = best.index.to_numpy(dtype=float), mean.to_numpy(dtype=float)
    return Profile(
        best=np.interp(depth, at, best.to_numpy(dtype=float)),
        mean=np.interp(depth, at, mean.to_numpy(dtype=float)),
        centre=float(weight @ at / weight.sum()) if weight.sum() > 0 else None,
        significant=int(rows["significant"].sum()),
        heads=len(rows),
    )


def counts(transfers: Sequence[Transfer]) -> dict[str, int]:
    """How many features are carried by heads of both models, of one, of neither."""
    return {
        name: sum(transfer.carried == name for transfer in transfers)
        for name in ("both", "first", "second", "neither")
    }


def to_json(
    transfers: Sequence[Transfer], first: SavedAtlas, second: SavedAtlas
) -> dict[str, object]:
    """All numbers as JSON values; those that are not finite are None."""
    return {
        "schema": 1,
        "kind": "atlas",
        "first": {"directory": str(first.directory), "model": first.model},
        "second": {"directory": str(second.directory), "model": second.model},
        "carried": counts(transfers),
        "features": [
            {
                "job": transfer.job,
                "corpus": transfer.corpus,
                "feature": transfer.feature,
                "stages": transfer.stages.split(),
                "stream": transfer.stream,
                "carried": transfer.carried,
                "correlation": _number(transfer.correlation),
                "shift": _number(transfer.shift),
                "depth": [_number(d) for d in transfer.depth],
                "first": _profile_json(transfer.first),
                "second": _profile_json(transfer.second),
            }
            for transfer in transfers
        ],
    }


def _profile_json(profile: Profile) -> dict[str, object]:
    return {
        "best": [_number(v) for v in profile.best],
        "mean": [_number(v) for v in profile.mean],
        "centre": _number(profile.centre),
        "significant": profile.significant,
        "heads": profile.heads,
    }


def _number(value: float | None) -> float | None:
    """Six significant digits; JSON has no NaN."""
    if value is None or not np.isfinite(value):
        return None
    return float(f"{value:.6g}")
