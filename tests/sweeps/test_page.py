"""``sweep.html``: small multiples that can be compared with each other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from probes.results.record import read_record, write_record
from probes.sweeps.report import write_sweep_report
from tests.reporting.chromium import opened
from tests.sweeps.written import add_job, finish


def test_chromium_draws_the_small_multiples(sweep: Path) -> None:
    write_sweep_report(sweep)
    dom = opened(sweep / "sweep.html")
    assert "data-error" not in dom and "<img" not in dom
    assert dom.count('data-rendered="small"') == 3


def test_maps_of_a_feature_share_their_scale(tmp_path: Path) -> None:
    for number, signal in enumerate((0.1, 0.4)):
        finish(add_job(tmp_path, number, [f"seed={number}"]), signal=signal)
    write_sweep_report(tmp_path)
    text = (tmp_path / "sweep.html").read_text()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    first, second = (feature["quantities"][0]["best"] for feature in data["features"])
    assert first == second


def test_the_best_of_a_sweep_carries_the_caveats_of_its_job(tmp_path: Path) -> None:
    caveat = "upos: intervals and tests rest on only 12 documents."
    for number in range(2):
        job = add_job(tmp_path, number, [f"seed={number}"])
        finish(job)
        record = read_record(job / "run.json")
        write_record(replace(record, caveats=[caveat, "tense: not of this feature."]),
                     job / "run.json")  # fmt: skip
    write_sweep_report(tmp_path)
    text = (tmp_path / "sweep.html").read_text()
    assert f"<li><b>jobs 0, 1</b>: {caveat}</li>" in text
    assert text.count('href="#caveats"') == 3  # both lines, and the best job
    assert "not of this feature" not in text
