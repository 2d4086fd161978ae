"""``headprobes compare --method``: the difference of two runs' effects in their own units."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes.analysis.runs import load_run
from probes.cli.commands import run_command
from probes.results.evidence import save_evidence
from probes.results.record import write_record
from probes.results.table import write_results
from probes.statistics.maps import MapEvidence
from tests.cli.comparing import answer, mistake
from tests.reporting.synthetic_effects import ANSWER, SyntheticRun, make_run

SHAPE = (3, 3, 3, 3)


def write(folder: Path, made: SyntheticRun) -> Path:
    folder.mkdir()
    write_results(made.table, folder / "results.csv")
    save_evidence(made.maps, folder / "evidence.safetensors")
    write_record(made.record, folder / "run.json")
    return folder


def renamed(made: SyntheticRun, column: str, old: str, new: str) -> SyntheticRun:
    """The same run with another value in a column of its effects."""
    table: pd.DataFrame = made.table.copy()
    table.loc[(table["method"] == "ablation") & (table[column] == old), column] = new
    maps = [
        replace(one, **{column: new})  # type: ignore[arg-type]
        if one.method == "ablation" and getattr(one, column) == old
        else one
        for one in made.maps
    ]
    return SyntheticRun(table, maps, made.record)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    a, b = make_run(SHAPE, seed=1), make_run(SHAPE, seed=2)
    write(folder / "a", a)
    write(folder / "b", b)
    write(folder / "zero", renamed(b, "probe", "mean", "zero"))
    write(folder / "at_read", renamed(b, "positions", "all", "read"))
    write(folder / "log_p", renamed(b, "metric", "logit_difference", "log_probability"))
    write(folder / "some", make_run((3, 3, 3, 3), seed=2, top=4))
    probed = b.table["method"] == "probe"
    write(
        folder / "probed",
        SyntheticRun(b.table[probed], [m for m in b.maps if m.method == "probe"], b.record),
    )
    return folder


def total(folder: Path, effect: str = "total", probe: str = "mean") -> MapEvidence:
    run = load_run(folder)
    return run.evidence(run.table(ANSWER, method="ablation", effect=effect, probe=probe))


@pytest.mark.parametrize("effect", ["total", "direct"])
def test_the_numbers_are_differences_of_effects(
    effect: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--method", "ablation", "--effect", effect, "--json")
    (found,) = json.loads(answer(capsys, runs / "a", runs / "b", *options))["features"]
    assert found["feature"] == ANSWER, "features without effects are left out"
    named = {name: found[name] for name in ("method", "metric", "effect", "positions", "unit")}
    assert named == {
        "method": "ablation", "metric": "logit_difference", "effect": effect,
        "positions": "all", "unit": "logits",
    }  # fmt: skip
    a, b = total(runs / "a", effect), total(runs / "b", effect)
    apart = a.totals.sum(axis=1) / a.rows.sum() - b.totals.sum(axis=1) / b.rows.sum()
    shown = {(u["stream"], u["layer"], u["head"]): u["difference"] for u in found["units"]}
    assert shown == pytest.approx(dict(zip(a.keys, apart, strict=True)), rel=1e-4)
    assert 0 < found["differing"] < len(a.keys)
    direct = load_run(runs / "a").compare(load_run(runs / "b"), method="ablation", effect=effect)
    np.testing.assert_allclose(
        [u["ci_low"] for u in found["units"]], direct.interval.low, rtol=1e-4, atol=1e-6
    )


def test_what_is_printed_has_the_unit_of_the_measure(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = " ".join(answer(capsys, runs / "a", runs / "zero", "--method", "ablation").split())
    assert f"{ANSWER} · mean ablation − zero ablation" in text
    assert (
        "effect on logit difference on test, first minus second, in logits · total effect" in text
    )
    assert "above 0 the head helps" in text and "points" not in text
    assert "of 12 heads differ" in text and "Rank correlation" in text and "logits" in text
    probes = answer(capsys, runs / "a", runs / "zero", "--feature", "subject")
    assert "accuracy on test, first minus second, in points" in " ".join(probes.split())


def test_pictures_of_effects(runs: Path, tmp_path: Path) -> None:
    options = ["--method", "ablation", "--png", str(tmp_path / "d.png")]
    assert run_command(["compare", str(runs / "a"), str(runs / "b"), *options]) == 0
    assert "difference of the effect on logit difference (logits)" in " ".join(
        (tmp_path / "d.svg").read_text().split()
    )


def test_chosen_heads_are_compared_where_both_runs_have_them(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = answer(capsys, runs / "a", runs / "some", "--method", "ablation")
    assert "of 8 heads differ" in text and "Heads of a map were chosen" in " ".join(text.split())
    assert "Rank correlation" not in text and "By layer" not in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            "a probed --method ablation",
            "probed has no effects by method 'ablation'; allowed: probe",
        ),
        ("a b --method ablaton", "no effects by method 'ablaton'"),
        ("a at_read --method ablation", "positions 'read': their difference has no meaning"),
        ("a at_read --method ablation", "Try ablation.positions=all"),
        ("a log_p --method ablation", "measure 'logit_difference'"),
        ("a log_p --method ablation", "Try measure=logit_difference"),
        ("a b --method ablation --feature subject", "not a feature of both runs with effects by"),
        ("a b --method ablation --probe zero", "no map of"),
        ("a b --method patching --effect direct", "effect 'direct'"),
    ],
)
def test_what_cannot_be_subtracted_ends_in_one_message(
    arguments: str,
    says: str,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(runs)
    assert says in mistake(capsys, *arguments.split())
