"""The maps of each method that edits, for one feature of a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from probes.config.group_checks import top_of
from probes.evaluation.effect_map import EffectMap
from probes.evaluation.shared_roles import shared_roles, shared_roles_sentence
from probes.evaluation.unexplained_layers import unexplained_layers, unexplained_layers_sentence
from probes.interventions.ablation import RowEffects
from probes.interventions.editor import ALL_HEADS, MLP
from probes.interventions.effects import Named, effect_evidence
from probes.interventions.estimates import estimate_patching
from probes.interventions.logit_parts import logit_parts
from probes.interventions.patching import patch
from probes.interventions.replacements import Places
from probes.pipeline.edited_heads import ablate_heads
from probes.pipeline.feature_effects import FeatureEffects
from probes.results.vocabulary.comparators import MATCHED
from probes.results.vocabulary.methods import DIRECT, TOTAL
from probes.results.vocabulary.quantities import NORMALISED
from probes.results.vocabulary.sites import HEADS
from probes.statistics.maps import MapEvidence

log = logging.getLogger(__name__)


def ablation_maps(one: FeatureEffects) -> list[EffectMap]:
    """Total and direct effects of heads, of all heads of a layer, and of its MLP.

    Raises:
        UserError: heads are to be chosen and there is no validation text, or whatever ``ablate``
            refuses.
    """
    config, behaviour = one.config.ablation, one.behaviour
    maps: list[EffectMap] = []
    ablated = ablate_heads(one)
    effects = ablated.effects
    if top_of(config) is not None and "attribution" not in one.config.methods:
        maps.append(one.estimated_ablation())  # how well it chose is to be seen
    _say_what_was_left_out(one, effects)
    totals: dict[str, MapEvidence] = {}
    for site, heads in ablated.units.items():
        rows = ablated.rows_of(site)
        shared: dict[str, Any] = {
            "site": site,
            "kept": effects.kept,
            "weights": ablated.weights.get(site),
        }
        for effect, of, matched in (
            (TOTAL, effects.total, effects.matched),
            (DIRECT, effects.direct, effects.matched_direct),
        ):
            if of is None or np.isnan(of[rows]).all():
                continue
            named = Named("ablation", config.kind, effect, config.positions)
            evidence = effect_evidence(behaviour, heads, of[rows], named, **shared)
            if effect == TOTAL:
                totals[site] = evidence
            control = None
            if matched is not None and site == HEADS:
                values = effect_evidence(behaviour, heads, matched[rows], named, **shared)
                control = replace(values, probe=MATCHED)
            maps.append(one.judge(evidence, control=control, kept=effects.kept))
    if ALL_HEADS in totals:
        if HEADS in ablated.weights:
            _say_where_heads_are_missing(one, effects, totals[HEADS], maps)
        else:
            _say_which_roles_are_shared(one, effects, totals[HEADS], totals[ALL_HEADS])
    return maps


def _say_which_roles_are_shared(
    one: FeatureEffects, effects: RowEffects, heads: MapEvidence, together: MapEvidence
) -> None:
    rows = one.behaviour.reported & (True if effects.kept is None else effects.kept)
    clean = float(effects.clean[rows].mean())
    found = shared_roles(heads, together, clean, one.draws(effects.kept))
    if sentence := shared_roles_sentence(found, heads.metric, clean):
        one.caveat(f"{sentence}.")


def _say_where_heads_are_missing(
    one: FeatureEffects, effects: RowEffects, chosen: MapEvidence, maps: Sequence[EffectMap]
) -> None:
    (layers,) = (m for m in maps if m.of.site == ALL_HEADS and m.of.effect == TOTAL)
    found = unexplained_layers(
        chosen,
        layers.of,
        [(site.stream, site.layer) for site, _ in one.editor.heads],
        layers.p_familywise,
        one.draws(effects.kept),
        level=one.config.significance.level,
    )
    option = f"ablation.heads={one.config.ablation.heads}"
    if sentence := unexplained_layers_sentence(found, chosen.metric, option):
        one.caveat(f"{sentence}.")


def _say_what_was_left_out(one: FeatureEffects, effects: RowEffects) -> None:
    reported = one.behaviour.reported
    if effects.kept is not None and not effects.kept.all():
        one.caveat(
            f"{int((~effects.kept).sum())} texts are left out of ablation: their template has too "
            "few others to take a mean by position over"
        )
    if effects.paired is not None and (alone := reported & ~effects.paired).any():
        one.caveat(
            f"{int(alone.sum())} of {int(reported.sum())} reported texts have no training text of "
            "the same answer; they count as no difference to the matched control, which makes that "
            "difference smaller"
        )


def patching_maps(one: FeatureEffects) -> list[EffectMap]:
    """Total and direct effects of heads, and total ones as a share of the whole contrast."""
    config, behaviour, pairs = one.config.patching, one.behaviour, one.pairs
    if pairs is None:
        return []
    heads = one.editor.heads
    effects = patch(one.editor, behaviour, pairs, heads, config)
    named = {
        effect: Named("patching", config.direction, effect, config.positions)
        for effect in (TOTAL, DIRECT)
    }
    maps = [
        one.judge(
            effect_evidence(behaviour, heads, of, named[effect], kept=pairs.kept), kept=pairs.kept
        )
        for effect, of in ((TOTAL, effects.total), (DIRECT, effects.direct))
        if of is not None
    ]
    whole = effect_evidence(
        behaviour, heads[:1], effects.contrast[None], named[TOTAL], kept=pairs.kept
    ).sums()
    low = high = float(whole.value()[0])
    if (draws := one.draws(pairs.kept)) is not None:
        interval = draws.interval(whole)
        low, high = float(interval.low[0]), float(interval.high[0])
    if low > 0 or high < 0:
        share = effect_evidence(
            behaviour,
            heads,
            effects.total,
            named[TOTAL],
            metric=NORMALISED + behaviour.measure.name,
            kept=pairs.kept,
            reference=effects.contrast,
        )
        return [*maps, one.judge(share, kept=pairs.kept)]
    one.caveat(
        f"the corrupted texts ({pairs.kind}) do not change the {behaviour.measure.name} (interval "
        f"{low:.3g} to {high:.3g}), so that effects of patching are not shown as shares of that "
        "change"
    )
    return maps


def attribution_maps(one: FeatureEffects) -> list[EffectMap]:
    """The estimate of mean ablation, and where there are twins that of patching."""
    config, behaviour = one.config, one.behaviour
    measure = behaviour.measure
    if not one.corpus.contrasts or measure.score is None or measure.sentences:
        return [one.estimated_ablation()]
    if (pairs := one.pairs) is None:
        return [one.estimated_ablation()]
    direction, steps = config.patching.direction, config.attribution.steps
    places = Places(config.patching.positions)  # type: ignore[arg-type]
    of_pairs = estimate_patching(one.editor, behaviour, pairs, direction, places, steps)
    variant = "integrated" if steps > 1 else direction
    named = Named("attribution", variant, TOTAL, config.patching.positions)
    kept = pairs.kept
    evidence = effect_evidence(behaviour, of_pairs.heads, of_pairs.total, named, kept=kept)
    return [one.estimated_ablation(), one.judge(evidence, kept=kept)]


def direct_logit_maps(one: FeatureEffects) -> list[EffectMap]:
    """What heads and MLPs write towards the answer."""
    parts = logit_parts(one.editor, one.behaviour)
    named = Named("direct_logit", "parts", DIRECT, "read")
    maps = [effect_evidence(one.behaviour, parts.heads, parts.of_heads, named)]
    if parts.mlps:
        maps.append(effect_evidence(one.behaviour, parts.mlps, parts.of_mlps, named, site=MLP))
    return [one.judge(evidence) for evidence in maps]


MAPS = {
    "ablation": ablation_maps,
    "patching": patching_maps,
    "attribution": attribution_maps,
    "direct_logit": direct_logit_maps,
}
"""By method, as in ``methods``."""
