"""Accuracy of each head over the steps of a training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from probes.results.record import write_record
from probes.results.table import pick, write_results
from probes.sweeps.emergence import emergences
from probes.sweeps.sweep import read_sweep, swept_keys, write_sweep
from tests.reporting.synthetic import MAJORITY, heads_of, make_record, make_results

STREAMS = {"decoder": heads_of(2, 3)}


def add_job(sweep: Path, number: int, overrides: list[str], *, finished: bool = True) -> None:
    job = sweep / str(number)
    (job / ".hydra").mkdir(parents=True)
    (job / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
    if finished:
        table = make_results(STREAMS, features=("upos",), seed=number)
        write_results(table, job / "results.csv")
        write_record(make_record(STREAMS, features=("upos",)), job / "run.json")


@pytest.mark.parametrize("key", ["model.checkpoint=", "model.revision=step"])
def test_lines_are_the_jobs_in_the_order_of_their_steps(tmp_path: Path, key: str) -> None:
    for number, step in enumerate((100, 0, 20)):
        add_job(tmp_path, number, [f"{key}{step}"])
    add_job(tmp_path, 3, [f"{key}30"], finished=False)
    jobs = read_sweep(tmp_path)
    (one,) = emergences(jobs, swept_keys(jobs))
    assert list(one.heads.index) == [0, 20, 100]
    assert list(one.heads.columns) == [("decoder", layer, h) for layer in (0, 1) for h in range(3)]
    assert one.majority == pytest.approx(MAJORITY)
    table = pick(jobs[2].results, site="heads", split="test", metric="accuracy", probe="linear")
    assert np.allclose(one.heads.loc[20], table["value"].astype(float))


def test_other_keys_are_trainings_of_their_own(tmp_path: Path) -> None:
    pairs = [(seed, step) for seed in (0, 1) for step in (0, 50)] + [(2, 0)]
    for number, (seed, step) in enumerate(pairs):
        add_job(tmp_path, number, [f"model.simplified.seed={seed}", f"model.checkpoint={step}"])
    write_sweep(tmp_path)
    names = sorted(path.name for path in (tmp_path / "emergence").iterdir())
    assert len(names) == 4 and all(name.startswith("upos") for name in names)  # png and svg of two
    assert all((tmp_path / "emergence" / name).stat().st_size > 1000 for name in names)


def test_nothing_without_steps(tmp_path: Path) -> None:
    for number, revision in enumerate(("main", "v2")):
        add_job(tmp_path, number, [f"model.revision={revision}"])
    write_sweep(tmp_path)
    assert not (tmp_path / "emergence").exists()
