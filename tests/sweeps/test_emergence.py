"""Accuracy of each head over the steps of a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes.results.table import pick
from probes.sweeps.emergence import emergences
from probes.sweeps.jobs import read_sweep, swept_keys
from probes.sweeps.report import write_sweep_report
from tests.reporting.synthetic import MAJORITY, heads_of
from tests.sweeps.written import add_job, finish

STREAMS = {"decoder": heads_of(2, 3)}


@pytest.mark.parametrize("key", ["model.checkpoint=", "model.revision=step"])
def test_lines_are_the_jobs_in_the_order_of_their_steps(tmp_path: Path, key: str) -> None:
    for number, step in enumerate((100, 0, 20)):
        finish(add_job(tmp_path, number, [f"{key}{step}"]), streams=STREAMS, seed=number)
    add_job(tmp_path, 3, [f"{key}30"])
    jobs = read_sweep(tmp_path)
    (one,) = emergences(jobs, swept_keys(jobs))
    assert list(one.heads.index) == [0, 20, 100]
    units = [("decoder", layer, head) for layer in (0, 1) for head in range(3)]
    assert one.heads.columns.equals(
        pd.MultiIndex.from_tuples(units, names=["stream", "layer", "head"])
    )
    assert one.majority == pytest.approx(MAJORITY)
    assert jobs[2].results is not None
    table = pick(jobs[2].results, site="heads", split="test", metric="accuracy", probe="linear")
    assert np.allclose(one.heads.loc[20], table["value"].astype(float))


def test_other_keys_are_trainings_of_their_own(tmp_path: Path) -> None:
    pairs = [(seed, step) for seed in (0, 1) for step in (0, 50)] + [(2, 0)]
    for number, (seed, step) in enumerate(pairs):
        job = add_job(
            tmp_path, number, [f"model.simplified.seed={seed}", f"model.checkpoint={step}"]
        )
        finish(job, streams=STREAMS, seed=number)
    write_sweep_report(tmp_path)
    names = sorted(path.name for path in (tmp_path / "emergence").iterdir())
    assert len(names) == 4 and all(name.startswith("upos") for name in names)  # png and svg of two
    assert all((tmp_path / "emergence" / name).stat().st_size > 1000 for name in names)


def test_trainings_whose_names_make_one_file_name_have_pictures_of_their_own(
    tmp_path: Path,
) -> None:
    pairs = [(value, step) for value in ("a/b", "a:b", "A b") for step in (0, 50)]
    for number, (value, step) in enumerate(pairs):
        job = add_job(tmp_path, number, [f"corpus.path={value}", f"model.checkpoint={step}"])
        finish(job, streams=STREAMS, seed=number)
    write_sweep_report(tmp_path)
    names = {path.name.lower() for path in (tmp_path / "emergence").iterdir()}
    assert len(names) == 2 * 3


def test_nothing_without_steps(tmp_path: Path) -> None:
    for number, revision in enumerate(("main", "v2")):
        finish(add_job(tmp_path, number, [f"model.revision={revision}"]), streams=STREAMS)
    write_sweep_report(tmp_path)
    assert not (tmp_path / "emergence").exists()
