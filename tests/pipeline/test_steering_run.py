"""Steering from the command line's configuration to the results, the record and the page."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from probes import load_run
from probes.analysis.runs import Run
from probes.cli import commands as cli
from probes.config import RunConfig
from probes.models.handle import Handle
from probes.results.table import pick
from probes.statistics.bootstrap import draw_groups
from tests.interventions.conftest import talking
from tests.pipeline.mood_table import write_table
from tests.tiny_checkpoints import write_checkpoint

__all__ = ["talking"]

CONTROLS = {"random_direction", "random_covariance", "random_heads"}
Steer = Callable[..., Run]


@pytest.fixture
def steer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, talking: Handle) -> Steer:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(out: str, *more: str, flipped: str = "", model: str | None = None) -> Run:
        table = tmp_path / "moods.csv"
        write_table(table, flipped=flipped)
        overrides = [
            "model=hf", f"model.name={model or talking.name}", "corpus=table",
            f"corpus.path={table}", "+corpus.labels.mood=mood", "corpus.split=split",
            "corpus.answer=answer", "corpus.alternatives=alternatives", "split.source=shipped",
            "methods=[probe,steering]", "steering.heads=[1,3]", "steering.strengths=[-4,4]",
            "evaluation.bootstrap=50", "evaluation.control=false", "baseline.residual=none",
            "baseline.all_heads=none", "probe.l2=[1]", "trainer.progress=false",
            "cache_dir=cache", f"hydra.run.dir={out}", *more,
        ]  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["train.py", *overrides])
        GlobalHydra.instance().clear()
        assert cli.run_command() == 0
        return load_run(out)

    return run


def test_a_run_leaves_curves_controls_record_picture_and_page(steer: Steer) -> None:
    run = steer("out")
    rows = pick(run.results, method="steering")
    assert set(rows["site"]) == {"head_sets"} and rows["layer"].isna().all()
    assert set(rows["probe"]) == {"mean_difference"} | CONTROLS
    assert set(rows["heads_steered"]) == {1, 3} and set(rows["strength"]) == {-4.0, 0.0, 4.0}
    assert {"logit_difference", "log_odds", "perplexity"} <= set(rows["metric"])
    unpushed = rows[(rows["strength"] == 0) & (rows["metric"] != "perplexity")]
    assert (unpushed["value"] == 0).all()
    clean = pick(rows, metric="perplexity", strength=0.0)["value"]
    assert clean.nunique() == 1 and (clean > 1).all()
    assert pick(rows, metric="logit_difference")["ci_low"].notna().all()
    (record,) = run.record.steering
    assert (record.feature, record.towards, record.sets) == ("mood", "warm", [1, 3])
    assert len(record.heads) == 3 and min(head.sigma for head in record.heads) > 0
    best = run.top("mood", 1)
    assert (record.heads[0].layer, record.heads[0].head) == (best["layer"][0], best["head"][0])
    kept = {doses.metric: doses for doses in run.doses()}
    assert set(kept) == {"logit_difference", "log_odds", "perplexity"}
    for metric, doses in kept.items():
        means = doses.group_sums().value()
        means = np.exp(means) if metric == "perplexity" else means
        for variant, heads, strength, mean in zip(
            doses.variants, doses.heads, doses.strengths, means, strict=True
        ):
            row = pick(rows, metric=metric, probe=variant, heads_steered=int(heads),
                       strength=float(strength))  # fmt: skip
            assert row["value"].item() == pytest.approx(mean, rel=1e-6, abs=1e-9)
    # Every strength is compared with every control, and can be compared again from what is kept.
    doses, sums = kept["logit_difference"], kept["logit_difference"].group_sums()
    draws = draw_groups(len(doses.groups), 50, seed=RunConfig().seed)
    number = {dose: n for n, dose in enumerate(zip(doses.variants, doses.heads, doses.strengths,
                                                   strict=True))}  # fmt: skip
    for heads, strength, control in product((1, 3), (-4.0, 4.0), CONTROLS):
        own, other = (
            sums.of_units(np.array([number[variant, heads, strength]]))
            for variant in ("mean_difference", control)
        )
        row = pick(rows, metric=f"gain_{control}", heads_steered=heads, strength=strength)
        interval = draws.interval(own, other)
        wanted = [own.value()[0] - other.value()[0], interval.low[0], interval.high[0]]
        np.testing.assert_allclose(row[["value", "ci_low", "ci_high"]].iloc[0].tolist(), wanted,
                                   rtol=1e-6, atol=1e-9)  # fmt: skip
    page = Path("out/report.html").read_text()
    assert "Steering mood towards warm" in page and "data:image/png;base64," in page
    assert re.search(r"Pushing 3 heads by 4 standard deviations .* beyond random directions", page)
    assert Path("out/maps/mood.steering.png").stat().st_size > 5000
    assert run.map("mood").notna().to_numpy().all()  # the map of probes is what it was


@pytest.mark.slow
def test_pushing_towards_a_class_raises_its_log_odds(steer: Steer) -> None:
    """At the last layer's heads, whose output goes into what the probe reads."""
    last_layer = ("layers=[1]", "steering.heads=[3]")
    odds = {}
    for direction, towards in (("mean_difference", "warm"), ("mean_difference", "cold"),
                               ("probe", "warm")):  # fmt: skip
        run = steer(f"{direction}_{towards}", f"steering.direction={direction}",
                    f"steering.towards={towards}", *last_layer)  # fmt: skip
        rows = pick(run.results, metric="log_odds", probe=direction)
        odds[direction, towards] = rows.sort_values("strength")["value"].to_numpy()
        assert odds[direction, towards][2] > 0 > odds[direction, towards][0]
    # Of two classes the direction is turned round, and so is what is measured.
    warm, cold = odds["mean_difference", "warm"], odds["mean_difference", "cold"]
    np.testing.assert_allclose(cold, -warm[::-1], rtol=1e-4)


@pytest.mark.slow
def test_no_direction_and_no_choice_of_heads_has_seen_a_test_row(steer: Steer) -> None:
    """Turned labels on test change neither; on train they turn the direction round."""
    first, test, train = (steer(f"of_{name}", flipped=name) for name in ("", "test", "train"))
    assert first.record.steering[0].heads == test.record.steering[0].heads
    perplexities = [
        pick(run.results, metric="perplexity")["value"].to_numpy() for run in (first, test, train)
    ]
    np.testing.assert_array_equal(perplexities[0], perplexities[1])
    assert not np.allclose(perplexities[0], perplexities[2])


def test_heads_are_chosen_by_another_method_where_there_are_no_probes(steer: Steer) -> None:
    run = steer("out", "methods=[steering,ablation]", "steering.heads=[500]", "steering.draws=2")
    (record,) = run.record.steering
    assert record.chosen_by == "size of the effect of the mean ablation on validation"
    assert record.sets == [len(record.heads)] and record.draws == 2
    of = pick(run.results, method="ablation", probe="mean", site="heads", split="validation",
              effect="total")  # fmt: skip
    sizes = of.set_index(["layer", "head"])["value"].abs()
    chosen = [sizes[head.layer, head.head] for head in record.heads]
    assert chosen == sorted(chosen, reverse=True)
    assert any("pushed ones themselves" in note for note in record.notes)


def test_encoders_have_no_perplexity_and_the_page_says_so(steer: Steer, tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "bert", "bert", max_position_embeddings=256)
    run = steer("out", "corpus.answer=null", "corpus.alternatives=null", model=str(model))
    assert set(pick(run.results, method="steering")["metric"]) == {
        "log_odds", *(f"gain_{name}" for name in CONTROLS)
    }  # fmt: skip
    page = Path("out/report.html").read_text()
    assert "perplexity is not measured" in page and "At equal strength" in page


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["steering.towards=hot"], r"steering.towards=hot: 'mood' has no such class.*cold, warm"),
        (["methods=[steering]"], r"nothing says which heads.*methods=\[probe,steering\]"),
        (["split.folds=3"], r"one split.*split.folds=0"),
        (["steering.draws=0"], r"steering.draws=0.*1 and more"),
        (["steering.positions=generated"], r"one token.*steering.positions=last"),
        (["steering.neutral=none.txt"], r"steering.neutral=none.txt: no such file"),
        (["steering.neutral=empty.txt"], r"steering.neutral=empty.txt has no text"),
    ],
)
def test_bad_input_is_one_message(
    overrides: list[str],
    wanted: str,
    steer: Steer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(AssertionError, match="assert 2 == 0"):
        steer("out", *overrides)
    shown = " ".join(capsys.readouterr().err.split())
    assert re.search(wanted, shown), shown
    assert not Path("out/run.json").exists()
