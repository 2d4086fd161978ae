"""Where in the depth the heads of a group are, beside what the survey claims."""

from __future__ import annotations

import numpy as np
import pytest

from probes.atlas.depth import CLAIMS, depths, group_of, third
from probes.catalogue import load_catalogue
from tests.atlas.synthetic import kept_by, rows_of, table_of
from tests.catalogue.entries import entry_named


def test_depth_is_where_the_carrying_heads_are() -> None:
    table = table_of(
        rows_of(entry_named("coherence"), "language", 5, 4, kept_by((4, 0), (4, 1), (2, 3))),
        rows_of(entry_named("previous_token"), "previous_word", 5, 4, kept_by((0, 1))),
        rows_of(entry_named("successor"), "successor", 5, 4, kept_by()),
    )
    found = {
        one.name: one
        for one in depths(
            table, [entry_named(n) for n in ("coherence", "previous_token", "successor")]
        )
    }
    assert list(found) == ["ICI structural", "LR", "EP"]
    late = found["EP"]
    assert late.heads == [0, 0, 1, 0, 2] and late.of == [4] * 5
    np.testing.assert_allclose(late.strength, [0, 0, 0.2, 0, 0.4])
    assert late.centre == pytest.approx((0.2 * 0.5 + 0.4 * 1.0) / 0.6)
    assert (late.third, late.claim) == ("deep", "deep")
    assert found["ICI structural"].centre == 0.0 and found["ICI structural"].third == "shallow"
    assert found["LR"].centre is None and found["LR"].carried == 0


def test_a_head_counts_once_for_a_group() -> None:
    one = rows_of(entry_named("truthfulness"), "truth", 2, 2, kept_by((1, 0), score=0.3))
    other = rows_of(entry_named("successor"), "successor", 2, 2, kept_by((1, 0), score=0.6))
    (found,) = depths(table_of(one, other), [entry_named("truthfulness"), entry_named("successor")])
    assert found.carried == 1
    np.testing.assert_allclose(found.strength, [0, 0.3])


def test_every_entry_has_a_group_with_a_known_claim() -> None:
    assert {group_of(one) for one in load_catalogue()} == set(CLAIMS)
    assert [third(d) for d in (0.0, 0.34, 0.66, 0.67, 1.0)] == [
        "shallow", "middle", "middle", "deep", "deep"
    ]  # fmt: skip
