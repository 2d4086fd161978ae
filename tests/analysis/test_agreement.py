"""Maps of methods and their agreement, from a run directory in analysis code."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from probes.analysis.agreement import verdict
from probes.analysis.runs import Run, load_run
from probes.core.errors import UserError
from probes.results.evidence import save_evidence
from probes.results.method_maps import method_maps
from probes.results.record import write_record
from probes.results.table import write_results
from tests.reporting.synthetic_effects import ANSWER, SyntheticRun, make_run

SHAPE = (6,) * 8


def written(made: SyntheticRun, directory: Path) -> Run:
    write_results(made.table, directory / "results.csv")
    save_evidence(made.maps, directory / "evidence.safetensors")
    write_record(made.record, directory / "run.json")
    return load_run(directory)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return written(make_run(SHAPE), tmp_path_factory.mktemp("run"))


def test_maps_by_method(run: Run) -> None:
    made = make_run(SHAPE)
    total, direct = (
        next(m for m in made.maps if (m.method, m.probe, m.effect) == ("ablation", "mean", effect))
        for effect in ("total", "direct")
    )
    found = run.map(ANSWER, method="ablation")
    np.testing.assert_allclose(found.to_numpy().ravel(), total.sums().value(), rtol=1e-6)
    np.testing.assert_allclose(
        run.map(ANSWER, method="ablation", effect="direct").to_numpy().ravel(),
        direct.sums().value(), rtol=1e-6,
    )  # fmt: skip
    # The corpus has one question: 'subject' is compared with the effects on its answer.
    np.testing.assert_array_equal(run.map("subject", method="ablation"), found)
    assert run.map("subject").equals(run.map("subject", "accuracy", method="probe"))
    q = run.map(ANSWER, "q_control", method="ablation")
    assert ((q > 0) & (q <= 1)).all(axis=None)


def test_top_by_method_is_of_either_sign(run: Run) -> None:
    top = run.top(ANSWER, 3, method="ablation")
    assert top["validation"].abs().is_monotonic_decreasing
    assert (top["test"] < 0).any()
    assert run.top(ANSWER, 3)["validation"].is_monotonic_decreasing


def test_agreement_of_all_pairs(run: Run) -> None:
    frame = run.agreement(ANSWER)
    # Five maps are ten pairs; the four with the probe are compared by size too.
    assert len(frame) == 14 and frame["by_size"].sum() == 4
    assert set(frame.loc[frame["by_size"], "first_method"]) == {"probe"}
    line = frame[
        (frame["first"] == "mean ablation, total effect")
        & (frame["second"] == "attribution of mean ablation")
    ].iloc[0]
    maps = [run.map(ANSWER, method=m).to_numpy().ravel() for m in ("ablation", "attribution")]
    assert line["correlation"] == pytest.approx(stats.spearmanr(*maps).statistic)
    assert line["ci_low"] < line["correlation"] < line["ci_high"]
    assert line["p_value"] < 0.05 and line["groups"] == 60 and line["heads"] == 48
    assert line["null_low"] < line["null_mean"] < line["null_high"] < line["correlation"]


def test_a_sample_of_heads_is_said(tmp_path: Path) -> None:
    frame = written(make_run(SHAPE, top=10, matched=False), tmp_path).agreement(ANSWER)
    exact = frame[frame["second_method"] == "ablation"]
    assert exact["sampled"].all() and (exact["heads"] == 20).all()
    alone = frame[(frame["first_method"] == "probe") & (frame["second_method"] == "attribution")]
    assert not alone["sampled"].any() and (alone["heads"] == 48).all()


def test_effects_of_two_runs_are_compared(run: Run, tmp_path: Path) -> None:
    other = written(make_run(SHAPE, seed=0), tmp_path)
    same = run.compare(other, ANSWER, method="ablation")
    np.testing.assert_array_equal(same.difference, np.zeros(48))
    with pytest.raises(UserError, match=r"has no map of .*ablation .linear"):
        run.compare(other, ANSWER, method="ablation", other_probe="linear")


def test_what_is_not_there_is_said(run: Run, tmp_path: Path) -> None:
    for call, says in (
        (partial(run.map, ANSWER, method="steering"), "method 'steering' is not in this run"),
        (partial(run.map, ANSWER, method="ablation", effect="both"), "allowed: total, direct"),
        (partial(run.map, ANSWER, "auroc", method="ablation"), "allowed: logit_difference"),
        (partial(run.agreement, "nothing"), "'nothing' is not in these results"),
    ):
        with pytest.raises(UserError, match=says):
            call()
    alone = make_run(SHAPE)
    alone = SyntheticRun(
        alone.table[alone.table["method"] == "probe"], alone.maps[:1], alone.record
    )
    with pytest.raises(
        UserError, match=r"has 1 map .*linear probe.*Try methods=\[probe,ablation\]"
    ):
        written(alone, tmp_path).agreement(ANSWER)


def test_the_verdict_of_several_methods_is_compared_with_chance(run: Run) -> None:
    found = verdict(method_maps(run.results, ANSWER))
    assert found is not None
    assert found.chance.count == len(found.heads) >= 1
    assert found.chance.expected < found.chance.count
    assert all(len(by) >= 2 for by in found.heads.values())
    assert verdict(method_maps(run.results, ANSWER)[:1]) is None
