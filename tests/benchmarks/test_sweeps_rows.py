"""The benchmark of sweeps: what it makes of the times of its commands, and that it runs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sweeps
from benchmarks.sweeps import Took
from probes.results.integrity import RUN_FILES
from probes.results.record import write_record
from tests.reporting.synthetic import make_record

START, OWN, BEYOND = 5.0, 2.0, 0.25
Given = list[tuple[tuple[Sequence[str], ...], int | None]]
"""Commands that were run at the same time, and the threads of each."""


def printed(capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, str], dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(line["benchmark"] == "sweeps" for line in lines)
    return {(line["setting"], line["contestant"]): line for line in lines}


@pytest.fixture
def pretended(
    monkeypatch: pytest.MonkeyPatch,
) -> list[tuple[tuple[Sequence[str], ...], int | None]]:
    """Commands that take as long as they should, and leave what they would; all that were given."""
    given: Given = []

    def commands(*each: Sequence[str], directory: Path, threads: int | None = None) -> Took:
        given.append((each, threads))
        words = dict(word.partition("=")[::2] for word in each[0])
        if "-m" not in each[0]:
            for name in ("one-thread", "shards"):
                (directory / name).mkdir(exist_ok=True)
                for file in RUN_FILES:
                    (directory / name / file).write_text("same")
            return Took(4.0, 4.0) if each[0][0] == "merge" else Took(30.0 / len(each), 30.0)
        found = re.fullmatch(r"range\((\d+)\)", words["seed"])
        jobs = int(found[1]) if found else len(words["seed"].split(","))
        sweep = directory / words["hydra.sweep.dir"]
        if sweep.is_dir():
            return Took(START, START - 1)
        for number in range(jobs):
            (sweep / str(number)).mkdir(parents=True)
            record = replace(make_record({"decoder": [2, 2]}), timings={"fit_seconds": OWN})
            write_record(record, sweep / str(number) / "run.json")
        at_once = 2 if "hydra/launcher" in words else 1
        seconds = START + jobs * (OWN + BEYOND) / at_once
        return Took(seconds, seconds)

    monkeypatch.setattr(sweeps, "commands", commands)
    return given


def test_rows_follow_from_the_times(
    pretended: Given,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweeps.main([])
    rows = printed(capsys)
    assert rows["overhead", "headprobes"]["value"] == pytest.approx(BEYOND)
    again = rows["unchanged", "headprobes"]
    assert (again["value"], again["seconds"], again["cpu_seconds"]) == (50, START, START - 1)
    one = START + 2 * (OWN + BEYOND)
    assert rows["launcher", "headprobes"]["ratio"] == round((START + OWN + BEYOND) / one, 3)
    shards = rows["shards", "headprobes"]
    assert shards["ratio"] == round((15.0 + 4.0) / 30.0, 3) and shards["same_bytes"]
    threads = {threads for each, threads in pretended if "-m" not in each[0]}
    assert threads == {1, 2}
    assert [len(each) for each, _ in pretended].count(2) == 1, "shards run at the same time"


@pytest.mark.long
def test_it_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "MANY", 3)
    monkeypatch.setattr(sweeps, "UNCHANGED", 3)
    sweeps.main(["--quick"])
    rows = printed(capsys)
    assert {setting for setting, _ in rows} == set(sweeps.SETTINGS)
    assert all(row["seconds"] > 0 for row in rows.values())
    assert rows["shards", "headprobes"]["same_bytes"]
