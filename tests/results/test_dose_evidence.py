"""Sums of steering on disk: what comes back, beside which maps, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probes.core.errors import UserError
from probes.evaluation.evaluate import Evaluation
from probes.results.dose_evidence import DoseEvidence, load_doses
from probes.results.evidence import load_evidence, save_evidence
from tests.results.test_evidence import counts


def doses(metric: str = "log_odds") -> DoseEvidence:
    random = np.random.default_rng(len(metric))
    return DoseEvidence(
        "truth", metric, "last", ("mean_difference", "mean_difference", "random_heads"),
        heads=np.array([1, 8, 8]),
        strengths=np.array([-5.0, 5.0, 5.0]),
        groups=np.array([3, 9]),
        rows=np.array([4, 2]),
        sums=random.normal(size=(3, 2)),
    )  # fmt: skip


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "evidence.safetensors"
    save_evidence([counts()], path, doses=[doses(), doses("perplexity")])
    again = load_doses(path)
    assert [one.metric for one in again] == ["log_odds", "perplexity"]
    assert again[0].variants == doses().variants
    for name in ("heads", "strengths", "groups", "rows", "sums"):
        np.testing.assert_array_equal(getattr(again[0], name), getattr(doses(), name))
    (mapped,) = load_evidence(path)
    np.testing.assert_array_equal(mapped.totals, counts().totals)
    np.testing.assert_allclose(again[0].group_sums().value(), doses().sums.sum(axis=1) / 6)


def test_a_run_without_steering_has_the_bytes_that_it_had(tmp_path: Path) -> None:
    save_evidence([counts()], tmp_path / "a")
    save_evidence([counts()], tmp_path / "b", doses=[])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert load_doses(tmp_path / "a") == []


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evidence.safetensors"
    save_evidence([], path, doses=[replace(doses(), variants=("mean_difference",))])
    with pytest.raises(UserError, match="do not fit each other"):
        load_doses(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match="no readable evidence"):
        load_doses(path)
    with pytest.raises(UserError, match="no such file"):
        load_doses(tmp_path / "nothing")


def test_effects_leave_what_probes_have_given() -> None:
    key = ("upos", "heads", "linear")
    before = Evaluation([], [], [], [], ["few groups"], penalties={key: [1.0]})
    after = before.with_effects([], ["a caveat"], doses=[doses()])
    assert after.penalties == before.penalties
    assert after.caveats == ["few groups", "a caveat"] and len(after.doses) == 1
