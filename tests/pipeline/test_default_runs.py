"""A run with the default settings of every family, from its checkpoint to the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes import load_run
from probes.config import EvaluationConfig, GrammarConfig, ModelConfig, RunConfig, TrainerConfig
from probes.pipeline.run import run
from probes.results.table import pick
from tests.reporting.page_data import page_data
from tests.tiny_checkpoints import write_checkpoint
from tests.tiny_families import FAMILIES

# One of each shape of map in every run of the tests, the others with those that take minutes.
SHAPES = {"gpt2", "bert", "qwen3_next", "bart", "t5", "t5gemma"}


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=() if family in SHAPES else pytest.mark.long)
        for family in FAMILIES
    ],
)
def test_default_run(family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Less texts and draws than the default, and nothing else: every part of a run takes part."""
    run_dir, expected = tmp_path / "run", FAMILIES[family]
    run_dir.mkdir()
    config = RunConfig(
        model=ModelConfig(name=str(write_checkpoint(tmp_path / "model", family))),
        corpus=GrammarConfig(sentences=60),
        features=["upos"],
        evaluation=EvaluationConfig(bootstrap=20),
        trainer=TrainerConfig(progress=False),
        cache_dir=str(tmp_path / "cache"),
    )
    run(config, run_dir)
    assert {"run.json", "report.html", "results.csv"} <= {path.name for path in run_dir.iterdir()}
    assert {path.name for path in (run_dir / "maps").iterdir()} == {"upos.png", "upos.svg"}

    made = load_run(run_dir)
    results = made.results
    heads = pick(results, site="heads", probe="linear", split="test", metric="accuracy")
    counts = heads.groupby(["stream", "layer"])["head"].count()
    units = {
        (stream, layer): count
        for stream, layers in expected.heads.items()
        for layer, (count, _) in enumerate(layers)
    }
    assert counts.to_dict() == units

    # What every head is compared with, the heads of cross-attention too.
    for metric in ("gain_majority", "gain_residual", "gain_all_heads", "selectivity"):
        rows = pick(results, site="heads", probe="linear", split="test", metric=metric)
        assert len(rows) == len(heads) and rows["value"].notna().all(), metric

    # Cross-attention writes into the residual stream of the decoder's layer.
    gains = pick(results, site="heads", probe="linear", split="test", metric="gain_residual")
    residual = pick(results, site="residual", probe="linear", split="test", metric="accuracy")
    unit, layer = ["stream", "layer", "head"], ["stream", "layer"]
    of_heads = gains.merge(heads, on=unit, suffixes=("", "_head"))
    of_heads["stream"] = of_heads["stream"].replace("cross", "decoder")
    of_heads = of_heads.merge(residual, on=layer, suffixes=("", "_layer"))
    expected_gains = of_heads["value_head"] - of_heads["value_layer"]
    assert of_heads["value"].to_list() == pytest.approx(expected_gains.to_list(), abs=1e-6)
    assert len(of_heads) == len(heads)

    # The page: every cell has its accuracy.
    (feature,) = page_data((run_dir / "report.html").read_text())["features"]
    assert [panel["stream"] for panel in feature["panels"]] == list(expected.heads)
    for panel in feature["panels"]:
        layers = expected.heads[panel["stream"]]
        assert len(panel["row"]) == sum(count for count, _ in layers)
        assert all(value is not None for values in panel["values"] for value in values)
        assert {"best", "all_heads", "residual"} <= set(panel["profiles"][0])

    shown = capsys.readouterr().out
    for stream in expected.heads if len(expected.heads) > 1 else ():
        assert f"\n{stream}\n" in shown
