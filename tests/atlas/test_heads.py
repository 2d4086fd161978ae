"""What counts as carried, what is strongest, and where in the depth it is."""

from __future__ import annotations

import numpy as np

from probes.atlas.heads import corrected, of_stage, score, strongest
from tests.atlas.synthetic import kept_by, rows_of, table_of
from tests.catalogue.entries import entry_named


def test_correction_is_benjamini_and_hochberg_over_all_tests() -> None:
    p = np.random.default_rng(0).random(200) ** 3
    p[[3, 50]] = np.nan
    known = np.sort(p[~np.isnan(p)])
    raw = known * len(known) / np.arange(1, len(known) + 1)
    by_hand = [raw[i:].min() for i in range(len(raw))]  # smallest of this and all larger p
    q = corrected(p)
    assert np.isnan(q[[3, 50]]).all()
    np.testing.assert_allclose(np.sort(q[~np.isnan(q)]), np.sort(by_hand))
    assert np.isnan(corrected(np.array([np.nan]))).all()


def test_one_atlas_corrects_more_than_its_features_alone() -> None:
    strong = rows_of(entry_named("truthfulness"), "truth", 1, 4, lambda _, head: (0.5, 0.02))
    noise = rows_of(entry_named("successor"), "successor", 4, 25, lambda *_: (0.1, 0.9))
    assert table_of(strong)["significant"].all()
    assert not table_of(strong, noise)["significant"].any()


def test_score_counts_what_neither_majority_nor_control_reaches() -> None:
    accuracy, nothing = np.array([1.0, 0.7, 0.5, 0.3]), np.full(4, np.nan)
    np.testing.assert_allclose(score(accuracy, 0.5, nothing), [1.0, 0.4, 0.0, -0.4])
    np.testing.assert_allclose(score(accuracy, 0.5, np.full(4, 0.6)), [0.8, 0.2, -0.2, -0.6])
    np.testing.assert_allclose(score(accuracy, 0.5, np.full(4, 0.1)), [1.0, 0.4, 0.0, -0.4])
    assert not score(accuracy, 1.0, nothing).any()


def test_the_strongest_feature_is_significant_and_of_the_stage() -> None:
    table = table_of(
        rows_of(entry_named("truthfulness"), "truth", 2, 2, kept_by((0, 0), (1, 1), score=0.4)),
        rows_of(entry_named("negative_head"), "answer_word", 2, 2, kept_by((0, 0), score=0.6)),
        rows_of(entry_named("successor"), "successor", 2, 2, lambda *_: (0.99, 0.8)),
    )
    best = strongest(table)
    assert best["feature"].to_dict() == {
        ("decoder", 0, 0): "answer_word",
        ("decoder", 1, 1): "truth",
    }
    assert set(strongest(table, "LR")["feature"]) == {"truth"}
    assert strongest(table, "EP").empty
    assert set(of_stage(table, "KR")["feature"]) == {"answer_word"}


def test_nothing_significant_anywhere() -> None:
    table = table_of(rows_of(entry_named("truthfulness"), "truth", 2, 2, kept_by()))
    assert strongest(table).empty and strongest(table, "LR").empty
    assert of_stage(table[table["significant"]], "LR").empty
