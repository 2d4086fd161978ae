"""The amnesic check from the command line's configuration to the results table."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from probes import load_run
from probes.cli import commands as cli
from tests.tiny_checkpoints import write_checkpoint


def test_an_erased_feature_falls_to_the_majority_and_another_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_checkpoint(tmp_path / "model", "bert", max_position_embeddings=256)
    monkeypatch.chdir(tmp_path)
    overrides = [
        "model=hf", f"model.name={model}", "corpus.sentences=400", "features=[upos,number]",
        "evaluation.erase=upos", "evaluation.bootstrap=0", "evaluation.control=false",
        "baseline.residual=false", "baseline.all_heads=false", "probe.l2=[1]", "min_count=5",
        "trainer.progress=false", "split.source=group", "cache_dir=cache", "hydra.run.dir=out",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["train.py", *overrides])
    GlobalHydra.instance().clear()
    assert cli.run_command() == 0
    run = load_run("out")

    majority = run.record.tasks["upos"].majority_accuracy
    before, after = run.map("upos").to_numpy(), run.map("upos", probe="erased").to_numpy()
    assert before[0].mean() > majority + 0.04  # the first layer still knows the words
    # LEACE leaves a constant on training rows; on test rows that is the majority give or take.
    assert abs(after.mean() - majority) < 0.03
    assert (after[0] < before[0]).all()
    assert (before[0] - after[0]).mean() > 0.03
    assert run.map("number", probe="erased").shape == before.shape
    assert "feature erased" in (tmp_path / "out" / "report.html").read_text()
