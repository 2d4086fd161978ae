"""``sweep.html``: small multiples that can be compared with each other."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel

from probes.results.record import read_record, write_record
from probes.sweeps.effects import Point, effects
from probes.sweeps.jobs import read_sweep
from probes.sweeps.lines import line_of, lines_of
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


KEYS = ["probe", "seed"]
CLICK = """
const done = (name, value) => document.documentElement.setAttribute("data-" + name, value);
const visible = () => [...document.querySelectorAll("#jobs tbody tr")].filter((row) => !row.hidden);
const column = (index) => visible().map((row) => row.cells[index].textContent.trim());
done("start", column(0).join());
const headers = [...document.querySelectorAll("#jobs th")];
const seed = headers.findIndex((header) => header.textContent === "seed");
headers[seed].click();
done("sorted", column(seed).join());
headers[seed].click();
done("reversed", column(seed).join());
const labels = [...document.querySelectorAll("#filters label")];
const label = labels.find((one) => one.textContent.startsWith("probe"));
const select = label.querySelector("select");
select.value = "1";
select.dispatchEvent(new Event("change"));
done("filtered", column(1).join());
const figures_ = [...document.querySelectorAll("figure[data-job]")];
done("maps", figures_.filter((figure) => !figure.hidden).length);
const text = document.querySelector("#filters input");
text.value = "memory";
text.dispatchEvent(new Event("input"));
done("found", visible().length);
"""


def grid(directory: Path) -> None:
    """Two probes by three seeds; one job has failed."""
    for number, (probe, seed) in enumerate(
        (probe, seed) for probe in ("linear", "mlp") for seed in (10, 9, 100)
    ):
        job = add_job(directory, number, [f"probe={probe}", f"seed={seed}"])
        if number == 5:
            (job / "error.json").write_text('{"error": "no memory"}')
        else:
            finish(job, signal=0.2 + 0.1 * (probe == "mlp"), seed=seed)


def test_chromium_sorts_and_filters_jobs_and_maps(tmp_path: Path) -> None:
    grid(tmp_path)
    write_sweep_report(tmp_path)
    dom = opened(tmp_path / "sweep.html", after=CLICK)
    for name, value in (("start", "0,1,2,3,4,5"), ("sorted", "9,9,10,10,100,100"),
                        ("reversed", "100,100,10,10,9,9"), ("filtered", "mlp,mlp,mlp"),
                        ("maps", "2"), ("found", "1")):  # fmt: skip
        assert f'data-{name}="{value}"' in dom, re.findall(r"<html[^>]*>", dom)
    assert dom.count('data-rendered="effect"') == 2 and "data-error" not in dom


def test_jobs_that_are_equal_otherwise_are_paired(tmp_path: Path) -> None:
    grid(tmp_path)
    lines = [line for job in read_sweep(tmp_path) for line in lines_of(job, line_of(job, KEYS))]
    reached: dict[tuple[str, ...], float] = {
        tuple(line.settings): line.best.value for line in lines if line.best.value
    }
    of_feature: list[Point] = list(reached.items())
    points = {"upos": of_feature}
    by_probe, by_seed = effects(KEYS, points)
    assert by_seed.values == ["9", "10", "100"] and by_probe.values == ["linear", "mlp"]
    (gain,) = by_probe.differences
    pairs = [reached["mlp", seed] - reached["linear", seed] for seed in ("10", "9")]
    assert gain.pairs == 2 and gain.low is None and gain.mean == pytest.approx(sum(pairs) / 2)
    assert gain.better == sum(pair > 0 for pair in pairs)
    assert [difference.pairs for difference in by_seed.differences] == [2, 1]


def test_interval_of_paired_differences() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.5, 0.1, 12), rng.normal(0.6, 0.1, 12)
    points: list[Point] = [((value, str(i)), float(x)) for value, xs in (("a", low), ("b", high))
              for i, x in enumerate(xs)]  # fmt: skip
    (gain,) = effects(["key", "seed"], {"f": points})[0].differences
    expected = ttest_rel(high, low).confidence_interval(0.95)
    assert (gain.low, gain.high) == pytest.approx((expected.low, expected.high))


def test_the_best_of_jobs_that_rows_cannot_tell_apart_says_so(tmp_path: Path) -> None:
    for number, signal in enumerate((0.30, 0.31)):
        finish(add_job(tmp_path, number, [f"seed={number}"]), signal=signal, seed=number)
    write_sweep_report(tmp_path)
    text = (tmp_path / "sweep.html").read_text()
    assert "upos: the best of 2 jobs by validation" in text
    assert "so another job may be as good" in text
