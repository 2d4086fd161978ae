"""``sweep.html``: small multiples that can be compared with each other."""

from __future__ import annotations

import json
from pathlib import Path

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
