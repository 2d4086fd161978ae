"""Heads that stand in for each other: told from heads that add up, and from noise."""

from __future__ import annotations

import numpy as np
import pytest

from probes.evaluation.shared_roles import shared_roles, shared_roles_sentence
from probes.statistics.bootstrap import draw_groups
from probes.statistics.maps import MapEvidence
from tests.evaluation.planted_effects import effects_evidence

SHAPE = (4, 4, 4)
CLEAN = 4.0
DRAWS = draw_groups(60, 200, seed=0)


def maps(
    alone: list[float], together: list[float], noise: float = 0.3
) -> tuple[MapEvidence, MapEvidence]:
    """Effects of each head of a layer alone, and of all four of them together."""
    heads = effects_evidence(np.repeat(alone, 4), SHAPE, noise=noise, seed=1)
    layers = effects_evidence(np.array(together), (1, 1, 1), noise=noise, site="all_heads", seed=2)
    return heads, layers


def test_only_the_layer_whose_heads_do_the_same_is_named() -> None:
    # Additive, redundant, and of no account.
    heads, layers = maps([0.8, 0.05, 0.0], [3.2, 3.0, 0.1])
    (found,) = shared_roles(heads, layers, CLEAN, DRAWS)
    assert found.layer == ("decoder", 1) and found.heads == 4
    assert found.together == pytest.approx(3.0, abs=0.3)
    values = heads.totals.sum(axis=1) / heads.rows.sum()
    assert found.added == pytest.approx(values[4:8].sum())
    assert found.largest == pytest.approx(np.abs(values[4:8]).max())
    sentence = shared_roles_sentence([found], "accuracy", CLEAN)
    assert (
        "accuracy" in sentence and "layer 1" in sentence and "stand in for each other" in sentence
    )
    assert shared_roles_sentence([], "accuracy", CLEAN) == ""


def test_a_head_that_is_needed_alone_is_no_shared_role() -> None:
    heads, layers = maps([0.0, 0.0, 0.0], [0.0, 3.0, 0.0])
    assert [one.layer[1] for one in shared_roles(heads, layers, CLEAN, DRAWS)] == [1]
    heads.totals[5] += heads.rows * 1.2  # and its layer's others bring the sum down
    heads.totals[6] -= heads.rows * 1.2
    assert shared_roles(heads, layers, CLEAN, DRAWS) == []


def test_what_a_layer_loses_must_be_much_and_certain() -> None:
    small = maps([0.0] * 3, [0.9 * 0.25 * CLEAN] * 3, noise=0.01)
    assert shared_roles(*small, CLEAN, DRAWS) == []
    noisy = maps([0.0] * 3, [1.5, 1.5, 1.5], noise=20.0)
    assert len(shared_roles(*noisy, CLEAN, DRAWS)) < 3
    negative = maps([0.0] * 3, [-3.0] * 3)
    assert shared_roles(*negative, CLEAN, DRAWS) == []


def test_the_largest_losses_come_first_and_the_others_are_counted() -> None:
    shape = (2,) * 5
    heads = effects_evidence(np.zeros(10), shape, noise=0.01, seed=1)
    layers = effects_evidence(
        np.array([2.0, 5.0, 3.0, 4.0, 6.0]), (1,) * 5, noise=0.01, site="all_heads", seed=2
    )
    found = shared_roles(heads, layers, CLEAN, None)
    assert [one.layer[1] for one in found] == [4, 1, 3, 2, 0]
    sentence = shared_roles_sentence(found, "logit_difference", CLEAN)
    assert "and 2 more layers" in sentence and "layer 0" not in sentence
