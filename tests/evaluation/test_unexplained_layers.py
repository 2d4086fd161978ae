"""A head that was not chosen is seen in its layer's effect, which chosen heads do not explain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from probes.evaluation.effect_map import judge_effects
from probes.evaluation.unexplained_layers import (
    UnexplainedLayer,
    unexplained_layers,
    unexplained_layers_sentence,
)
from probes.statistics.bootstrap import draw_groups
from probes.statistics.maps import MapEvidence
from tests.evaluation.planted_effects import effects_evidence

SHAPE = (4, 4, 4, 4)
HEADS = [("decoder", layer) for layer, heads in enumerate(SHAPE) for _ in range(heads)]
DRAWS = draw_groups(60, 200, seed=0)
STRONG = 2.0
"""The effect of head 3.0, which is always chosen."""


def found(
    chosen: list[int],
    together: list[float],
    *,
    alone: dict[int, float] | None = None,
    noise: float = 0.3,
    with_draws: bool = True,
) -> list[UnexplainedLayer]:
    """chosen: numbers of the heads that are ablated alone, beside 3.0; 4 in each layer."""
    truth = np.zeros(16)
    truth[12] = STRONG
    for head, effect in (alone or {}).items():
        truth[head] = effect
    heads = effects_evidence(truth, SHAPE, noise=noise, seed=1)
    layers = effects_evidence(
        np.array([*together, STRONG]), (1,) * 4, noise=noise, site="all_heads", seed=2
    )
    draws = DRAWS if with_draws else None
    judged = judge_effects(layers, draws=draws, level=0.05, seed=0)
    return unexplained_layers(
        _only(heads, [*chosen, 12]), judged.of, HEADS, judged.p_familywise, draws, level=0.05
    )


def _only(heads: MapEvidence, chosen: list[int]) -> MapEvidence:
    return replace(
        heads,
        units=heads.units[chosen],
        streams=heads.streams[: len(chosen)],
        totals=heads.totals[chosen],
        validation=heads.validation[chosen],
    )


@pytest.mark.parametrize("effect", [4.0, -4.0])
def test_the_layer_of_a_head_that_was_missed(effect: float) -> None:
    """Head 0.1 does it and was not chosen; layer 1 is explained by 1.0, layer 2 does nothing."""
    (one,) = found([0, 2, 4, 8], [effect, 3.0, 0.0], alone={1: effect, 4: 3.0})
    assert one.layer == ("decoder", 0) and (one.heads, one.chosen) == (4, 2)
    assert one.together == pytest.approx(effect, abs=0.3)
    assert one.added == pytest.approx(0, abs=0.3)
    said = unexplained_layers_sentence([one], "logit_difference", "ablation.heads=top:2")
    assert f"layer 0 ({one.together:.3g}; of its 4 heads 2 were chosen" in said
    assert "layers=[0] ablation.heads=all" in said and "stand in for each other" in said


def test_where_all_heads_of_a_layer_are_measured_none_was_missed() -> None:
    """What they do together and not alone is a shared role, which another caveat is about."""
    assert found([0, 1, 2, 3], [4.0, 0.0, 0.0]) == []
    assert [one.layer[1] for one in found([0, 1, 2], [4.0, 0.0, 0.0])] == [0]


def test_what_chosen_heads_explain_is_not_missing() -> None:
    assert found([0, 1], [4.0, 0.0, 0.0], alone={0: 1.5, 1: 1.0}) == []
    (one,) = found([0, 1], [4.0, 0.0, 0.0], alone={0: 1.5, 1: -1.0})
    assert one.added == pytest.approx(0.5, abs=0.3)


def test_a_layer_must_matter_and_certainly_so() -> None:
    little = 0.8 * 0.5 * STRONG
    assert found([], [little] * 3, noise=0.02) == []
    assert [one.layer[1] for one in found([], [2 * little, 0.0, 0.0], noise=0.02)] == [0]
    assert found([0], [1.0, -1.0, 1.0], noise=20.0) == []
    assert len(found([], [3.0, 0.0, 0.0], with_draws=False)) == 1


def test_the_largest_effects_come_first_and_the_others_are_counted() -> None:
    layers = [
        UnexplainedLayer((stream, layer), 4, chosen, effect, 0.1)
        for stream, layer, chosen, effect in (
            ("encoder", 5, 0, -9.0), ("decoder", 2, 1, 8.0),
            ("decoder", 5, 2, 7.0), ("decoder", 1, 2, 6.0),
        )
    ]  # fmt: skip
    said = unexplained_layers_sentence(layers, "accuracy", "ablation.heads=top:9")
    assert "encoder layer 5 (-9; none of its 4 heads was chosen), decoder layer 2 (8; " in said
    assert "of its 4 heads 1 was chosen, in sum 0.1" in said
    assert "and 1 more layers" in said and "layers=[1,2,5]" in said
    assert unexplained_layers_sentence([], "accuracy", "") == ""
    assert [one.layer[1] for one in found([], [3.0, 5.0, 4.0])] == [1, 2, 0]
