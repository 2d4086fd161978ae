"""Known truth about effects of edits: family-wise error, intervals, negative heads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from probes.evaluation.judge import EFFECT_NULLS, MapFindings, judge_map
from probes.statistics.bootstrap import draw_groups
from probes.statistics.group_sums import share_sums
from probes.statistics.groups import Array
from probes.statistics.maps import MapEvidence

Result = Iterator[tuple[str, float, float, float]]
GROUPS, ROWS = 40, 4


@dataclass(frozen=True)
class Noise:
    """How the effects of many heads vary between texts when nothing is behind them.

    Rows of a group resemble each other, heads resemble each other (what is hard in a text is hard
    for all), tails are heavy, and heads differ in scale by 100x.
    """

    heads: int

    def sums(self, random: np.random.Generator, means: Array, groups: int = GROUPS) -> Array:
        """(H, groups) sums over the rows of each group; means (H,) in units of a head's noise."""
        shared = random.normal(size=(1, groups))
        of_group = random.normal(size=(self.heads, groups)) + shared
        rows = random.standard_t(5, size=(self.heads, groups, ROWS)).sum(axis=2)
        return self.scale[:, None] * (rows + ROWS * (of_group + means[:, None]))

    @property
    def scale(self) -> Array:
        return np.geomspace(0.01, 1.0, self.heads)


def evidence(noise: Noise, totals: Array, validation: Array | None = None) -> MapEvidence:
    H, groups = totals.shape
    return MapEvidence(
        feature="planted",
        site="heads",
        probe="mean",
        units=np.stack([np.arange(H) // 8, np.arange(H) % 8], axis=1).astype(np.int32),
        streams=("decoder",) * H,
        groups=np.arange(groups),
        rows=np.full(groups, ROWS),
        totals=totals,
        validation=np.full(H, np.nan) if validation is None else validation,
        method="ablation",
        metric="logit_difference",
        effect="total",
    )


def judged(effects: MapEvidence, control: Array | None, seed: int) -> MapFindings:
    return judge_map(
        effects,
        baseline=np.zeros(len(effects.groups)),
        control=control,
        draws=None,
        nulls=EFFECT_NULLS,
        two_sided=True,
        level=0.05,
        seed=seed,
    )


def familywise(size: Any) -> Result:
    """Maps in which no null is false: how many have a significant head.

    Against 0 all heads move the measure by noise alone. Against the matched control half of the
    heads move it on average, but whatever they are replaced by: the control moves it as much.
    """
    noise = Noise(min(size.heads, 128))
    mere = np.where(np.arange(noise.heads) % 2, 2.0, 0.0)
    against_zero, against_control, alone, moved = [], [], [], []
    for seed in range(2 * size.repetitions):
        random = np.random.default_rng(seed)
        nothing = judged(evidence(noise, noise.sums(random, 0 * mere)), None, seed)
        against_zero.append(nothing.against_baseline.p_familywise.min() <= 0.05)
        alone.append(nothing.against_baseline.p.min() <= 0.05)
        text = noise.sums(random, mere)  # what the edit does in this text, whatever is put in
        pair = [text + noise.sums(random, 0 * mere) for _ in range(2)]
        found = judged(evidence(noise, pair[0]), pair[1], seed)
        against_control.append(found.against_control.p_familywise.min() <= 0.05)
        moved.append((found.against_baseline.p_familywise <= 0.05)[mere > 0].mean())
    low, high = (0.02, 0.08) if size.repetitions >= 200 else (0.0, 0.15)
    heads = f"{noise.heads} heads"
    yield f"effects: family-wise error against 0, {heads}", float(np.mean(against_zero)), low, high
    yield (
        f"effects: family-wise error against the matched control, {heads}",
        float(np.mean(against_control)),
        low,
        high,
    )
    yield f"effects: error uncorrected, {heads} (fails)", float(np.mean(alone)), 0.5, 1.0
    yield (
        "effects: heads that any text moves, significant against 0 (why the control is there)",
        float(np.mean(moved)),
        0.9,
        1.0,
    )


def coverage(size: Any) -> Result:
    """Nominal 95% intervals of mean effects, and of effects normalised by a ratio of means."""
    noise = Noise(10 * size.repetitions)
    slack = 0.0 if size.repetitions >= 200 else 0.02
    for name, mean, groups in (("none", 0.0, 50), ("negative", -1.0, 50), ("positive", 1.0, 20)):
        covered = []
        for seed in range(10):
            random = np.random.default_rng(100 * groups + seed)
            totals = _independent(noise, random, mean, groups)
            draws = draw_groups(groups, 1000, seed=seed)
            interval = draws.interval(share_sums("effect", totals, np.full(groups, ROWS)))
            truth = noise.scale * mean
            covered.append((interval.low <= truth) & (truth <= interval.high))
        yield (
            f"effects: coverage, {name} effect in {groups} groups",
            float(np.mean(covered)),
            0.93 - slack,
            0.97 + slack,
        )
    yield _ratio(noise, slack)


def _independent(noise: Noise, random: np.random.Generator, mean: float, groups: int) -> Array:
    """(H, groups) as ``Noise.sums``, every head a data set of its own."""
    of_group = random.normal(size=(noise.heads, groups)) * np.sqrt(2)
    rows = random.standard_t(5, size=(noise.heads, groups, ROWS)).sum(axis=2)
    totals: Array = noise.scale[:, None] * (rows + ROWS * (of_group + mean))
    return totals


def _ratio(noise: Noise, slack: float) -> tuple[str, float, float, float]:
    """Effects that are a third of what the whole contrast changes, both varying together."""
    covered = []
    for seed in range(50):
        random = np.random.default_rng(seed)
        contrast = np.abs(random.normal(4.0, 1.5, size=50)) * ROWS  # the same for all heads
        heads = noise.heads // 10
        own = random.normal(size=(heads, 50)) * ROWS
        totals = contrast / 3 + own
        interval = draw_groups(50, 1000, seed=seed).interval(
            share_sums("normalised_effect", totals, contrast)
        )
        covered.append((interval.low <= 1 / 3) & (interval.high >= 1 / 3))
    return (
        "effects: coverage, normalised by a ratio of means",
        float(np.mean(covered)),
        0.93 - slack,
        0.97 + slack,
    )


def negative_heads(size: Any) -> Result:
    """One head works against the answer, stronger than any other works for it."""
    noise = Noise(min(size.heads, 128))
    means = np.zeros(noise.heads)
    against, helpers = noise.heads - 3, [noise.heads - 1, noise.heads - 2]
    means[against], means[helpers] = -2.5, 1.5
    named, found, one_sided = [], [], []
    for seed in range(max(size.repetitions // 4, 10)):
        random = np.random.default_rng(seed)
        validation = noise.sums(random, means).sum(axis=1) / (GROUPS * ROWS)
        effects = evidence(noise, noise.sums(random, means), validation)
        both = judged(effects, None, seed)
        found.append(both.against_baseline.p_familywise[against] <= 0.05)
        named.append((both.best.layer, both.best.head) == divmod(against, 8))
        above = judge_map(effects, baseline=np.zeros(GROUPS), draws=None, level=0.05, seed=seed)
        one_sided.append(above.against_baseline.p_familywise[against] <= 0.05)
    yield "effects: a negative head is found, two-sided", float(np.mean(found)), 0.95, 1.0
    yield "effects: a negative head is the best by size", float(np.mean(named)), 0.95, 1.0
    yield "effects: a negative head is found, one-sided (fails)", float(np.mean(one_sided)), 0, 0
