"""Two models by relative depth: the same profile is the same whatever the number of layers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probes.atlas.publish import write_json
from probes.atlas.transfer import counts, transfers
from probes.cli.commands import run_command
from probes.results.atlas import RECORD, TABLE, SavedAtlas, load_atlas
from probes.results.table import write_results
from tests.atlas.synthetic import Rule, rows_of, table_of
from tests.catalogue.entries import entry_named

HOSTILE = "[bold]x[/]</script>"


def slope(layers: int, sign: int) -> Rule:
    """Scores that rise (or fall) with the depth, in every head alike."""

    def rule(layer: int, head: int) -> tuple[float, float]:
        depth = layer / (layers - 1)
        return 0.1 + 0.6 * (depth if sign > 0 else 1 - depth), 1e-4

    return rule


def saved(directory: Path, layers: int, heads: int, sign: int, *names: str) -> SavedAtlas:
    """An atlas on disk with one feature for each of these entries."""
    directory.mkdir()
    parts = [
        rows_of(one, one.features[0], layers, heads, slope(layers, sign))
        for one in map(entry_named, names)
    ]
    write_results(table_of(*parts), directory / TABLE)
    write_json({"schema": 1, "model": {"name": HOSTILE}}, directory / RECORD)
    return load_atlas(directory)


def test_the_same_profile_in_models_of_different_shape(tmp_path: Path) -> None:
    first = saved(tmp_path / "a", 4, 2, 1, "truthfulness")
    second = saved(tmp_path / "b", 7, 5, 1, "truthfulness")
    (one,) = transfers(first, second)
    np.testing.assert_allclose(one.depth, [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(one.first.mean, one.second.mean)
    np.testing.assert_allclose(one.first.best, [0.1, 0.3, 0.5, 0.7])
    assert one.correlation == pytest.approx(1.0)
    assert (one.first.significant, one.second.significant) == (8, 35)
    weights = np.array([0.1, 0.3, 0.5, 0.7])
    assert one.first.centre == pytest.approx(weights @ [0, 1 / 3, 2 / 3, 1] / weights.sum())
    assert one.carried == "both"


def test_opposite_profiles_and_their_shift(tmp_path: Path) -> None:
    first = saved(tmp_path / "a", 5, 2, 1, "truthfulness", "successor")
    second = saved(tmp_path / "b", 5, 2, -1, "truthfulness")
    (one,) = transfers(first, second)
    assert one.correlation == pytest.approx(-1.0)
    assert one.shift is not None and one.shift < -0.3
    assert one.first.centre is not None
    assert one.first.centre + one.shift == pytest.approx(1 - one.first.centre)


def test_two_layers_have_no_order(tmp_path: Path) -> None:
    first = saved(tmp_path / "a", 2, 2, 1, "truthfulness")
    second = saved(tmp_path / "b", 9, 2, 1, "truthfulness")
    (one,) = transfers(first, second)
    assert one.correlation is None and len(one.depth) == 2


def test_a_feature_that_one_model_lacks(tmp_path: Path) -> None:
    first = saved(tmp_path / "a", 3, 2, 1, "truthfulness")
    second = saved(tmp_path / "b", 3, 2, 1, "truthfulness")
    nothing = second.table.assign(score=-0.1, significant=False)
    (one,) = transfers(first, SavedAtlas(second.directory, second.record, nothing))
    assert one.carried == "first" and one.second.centre is None and one.shift is None
    assert counts([one]) == {"both": 0, "first": 1, "second": 0, "neither": 0}


def test_the_command_prints_draws_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "a", 4, 2, 1, "truthfulness", "successor")
    saved(tmp_path / "b", 6, 3, -1, "truthfulness", "successor")
    pair = ["compare", str(tmp_path / "a"), str(tmp_path / "b")]
    assert run_command(pair) == 0
    out = capsys.readouterr().out
    assert HOSTILE in out and "2 of 2 features are carried by heads of both" in " ".join(
        out.split()
    )
    assert run_command([*pair, "--feature", "truth", "--json", "--png", str(tmp_path / "t")]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [one["feature"] for one in content["features"]] == ["truth"]
    assert content["features"][0]["correlation"] == -1.0
    assert [Path(p).name for p in content["pictures"]] == ["t.png", "t.svg"]
    assert (tmp_path / "t.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a", "none"], "holds no finished atlas"),
        (["a", "c"], "no feature in common"),
        (["a", "a", "--feature", "truht"], "--feature truht.*Try --feature truth"),
        (["a", "a", "--probe", "mlp"], "--probe: atlases have one probe"),
        (["a", "run"], "is a run, the other one an atlas"),
        (["a", "broken"], "schema 9; allowed: 1"),
        (["a", "table"], "no table of an atlas, without job"),
    ],
)
def test_mistakes_of_comparing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    saved(tmp_path / "a", 3, 2, 1, "truthfulness")
    saved(tmp_path / "c", 3, 2, 1, "successor")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    saved(tmp_path / "broken", 3, 2, 1, "successor")
    write_json({"schema": 9}, tmp_path / "broken" / RECORD)
    damaged = saved(tmp_path / "table", 3, 2, 1, "successor")
    write_results(damaged.table.drop(columns="job"), tmp_path / "table" / TABLE)
    places = [str(tmp_path / one) for one in arguments[:2]]
    assert run_command(["compare", *places, *arguments[2:]]) == 2
    error = capsys.readouterr().err
    assert pd.Series([error]).str.contains(says, regex=True).all(), error
