from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probes.core.errors import UserError
from probes.results.findings import BestUnit, MapTestSummary, Measured
from probes.results.record import model_title, read_record, write_record
from tests.reporting.synthetic import make_record

BEST = BestUnit(
    feature="upos",
    site="heads",
    probe="linear",
    stream="encoder",
    layer=1,
    head=2,
    value=0.61,
    ci_low=0.58,
    ci_high=0.64,
    naive=0.65,
    naive_layer=0,
    naive_head=3,
    method="validation",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_record(make_record({"encoder": [4, 4]}), tmp_path / "run.json")
    return tmp_path / "run.json"


def change(path: Path, **changes: Any) -> None:
    """Write other values, and no checksum."""
    content = json.loads(path.read_text()) | changes
    del content["digest"], content["files"]
    path.write_text(json.dumps(content))


def test_round_trip(path: Path) -> None:
    assert read_record(path) == make_record({"encoder": [4, 4]})
    assert not list(path.parent.glob("*.new"))


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    record = dataclasses.replace(
        make_record({"d": [1]}),
        rows_per_second=float("nan"),
        best=[replace(BEST, ci_low=float("inf"))],
    )
    write_record(record, tmp_path / "run.json")
    again = read_record(tmp_path / "run.json")
    assert again.rows_per_second is None and again.best == [replace(BEST, ci_low=None)]


def test_unknown_keys_are_ignored_with_a_warning(path: Path) -> None:
    change(path, colour="blue")
    with pytest.warns(UserWarning, match="ignoring unknown keys colour"):
        assert read_record(path) == make_record({"encoder": [4, 4]})


def test_code_to_run_is_refused(path: Path) -> None:
    change(path, _target_="os.system")
    with pytest.raises(UserError, match="_target_"):
        read_record(path)


def test_code_to_run_inside_is_refused(path: Path) -> None:
    model = json.loads(path.read_text())["model"]
    change(path, model=model | {"_target_": "os.system"})
    with pytest.raises(UserError, match=r"run\.json: model: names code"):
        read_record(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": 99}, "schema 99; allowed: 1"),
        ({"schema": None}, "schema None"),
        ({"model": "gpt2"}, "model: expected an object"),
        ({"rows": "many"}, "rows: expected int, found 'many'"),
        ({"caveats": "none"}, "caveats: expected"),
        ({"caveats": [1]}, "caveats: expected str"),
        ({"tasks": {"upos": {"level": "word"}}}, r"tasks.upos: without classes"),
        ({"timings": {"fit_seconds": [1]}}, "fit_seconds: expected float"),
    ],
)
def test_tampered_records_are_refused(path: Path, changes: dict[str, Any], says: str) -> None:
    change(path, **changes)
    with pytest.raises(UserError, match=says):
        read_record(path)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "\ud800".encode("utf-8", "surrogatepass")]
)
def test_broken_files_are_refused(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"run\.json"):
        read_record(path)


def test_headings_name_a_directory_by_its_last_part() -> None:
    for name, title in (
        ("/home/me/models/stories260K", "stories260K"),
        ("~/models/stories260K/", "stories260K"),
        ("./tiny", "tiny"),
        ("EleutherAI/pythia-160m", "EleutherAI/pythia-160m"),
        ("minilm", "minilm"),
        ("/", "/"),
    ):
        assert model_title(name) == title


def test_best_units_and_tests_of_maps_have_the_keys_of_older_runs(tmp_path: Path) -> None:
    unestimated = BestUnit(feature="upos", site="residual", probe="linear")
    record = replace(
        make_record({"d": [1]}),
        best=[BEST, unestimated],
        tests=[MapTestSummary("upos", "heads", "linear", "nothing", 0.01, 72, 12, 0.05, 3, 4)],
    )
    write_record(record, tmp_path / "run.json")
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["best"][0] == {
        "feature": "upos",
        "site": "heads",
        "probe": "linear",
        "stream": "encoder",
        "layer": 1,
        "head": 2,
        "value": 0.61,
        "ci_low": 0.58,
        "ci_high": 0.64,
        "naive": 0.65,
        "naive_layer": 0,
        "naive_head": 3,
        "method": "validation",
    }
    assert list(content["best"][1]) == ["feature", "site", "probe"]
    assert list(content["tests"][0]) == [
        "feature",
        "site",
        "probe",
        "null",
        "smallest_p",
        "units",
        "groups",
        "level",
        "significant_familywise",
        "significant_q",
    ]
    again = read_record(tmp_path / "run.json")
    assert again.best == record.best and again.tests == record.tests


def test_records_of_maps_name_method_metric_effect_and_positions(tmp_path: Path) -> None:
    measured = Measured("ablation", "logit_difference", "direct", "all")
    test = MapTestSummary("io", "heads", "mean", measured=measured, control_null="none",
                          control_familywise=3)  # fmt: skip
    best = [replace(BEST, measured=measured), BestUnit("io", "heads", "mean", measured=measured)]
    record = replace(make_record({"d": [1]}), best=best, tests=[test])
    write_record(record, tmp_path / "run.json")
    again = read_record(tmp_path / "run.json")
    assert again.best == record.best and again.tests == record.tests
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["best"][0]["measured"]["effect"] == "direct"
    assert content["best"][0]["method"] == "validation"  # the key of older runs keeps its meaning
    assert list(content["best"][1]) == ["feature", "site", "probe", "measured"]
