"""Runs of a tiny decoder of many layers, for what depends on depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file, save_file

from probes.analysis.runs import Run, load_run
from probes.config import (
    BaselineConfig,
    EvaluationConfig,
    LinearConfig,
    ModelConfig,
    RunConfig,
    TrainerConfig,
)
from probes.config.corpus_kinds import GrammarConfig
from probes.pipeline.run import run
from tests.tiny_checkpoints import write_checkpoint

LAYERS = 6
"""Many, where ``whole_layers.MOST`` is 2."""


def write_deep_model(folder: Path) -> Path:
    """A checkpoint of ``LAYERS`` layers with 4 heads; those of the outer layers put out constants,
    their biases, so that the best head is in a layer between them."""
    directory = write_checkpoint(
        folder / "model",
        "llama_gqa",
        num_hidden_layers=LAYERS,
        max_position_embeddings=256,
        attention_bias=True,
    )
    weights = load_file(directory / "model.safetensors")
    for layer in (0, LAYERS - 1):
        (name,) = [key for key in weights if f"layers.{layer}.self_attn.v_proj.weight" in key]
        weights[name].zero_()
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def deep_run(folder: Path, name: str, baseline: BaselineConfig, **changes: Any) -> Run:
    """A run in ``folder/name``; runs of one folder share model and caches."""
    config = RunConfig(
        model=ModelConfig(name=str(folder / "model")),
        corpus=GrammarConfig(sentences=120),
        features=["upos", "number"],
        probe=LinearConfig(l2=[10.0, 100.0]),
        baseline=baseline,
        evaluation=EvaluationConfig(bootstrap=20),
        trainer=TrainerConfig(accelerator="cpu", progress=False),
        cache_dir=str(folder / "cache"),
        min_count=5,
    )
    for key, value in changes.items():
        assert hasattr(config, key)
        setattr(config, key, value)
    (folder / name).mkdir(exist_ok=True)
    run(config, folder / name)
    return load_run(folder / name)


def layers_of(run: Run, site: str, feature: str) -> set[int]:
    """The layers that have an accuracy of this site on test."""
    rows = run.results
    rows = rows[(rows["site"] == site) & (rows["feature"] == feature)]
    rows = rows[(rows["metric"] == "accuracy") & (rows["split"] == "test")]
    return set(rows["layer"].astype(int))


def rows_of(run: Run, sites: set[str]) -> pd.DataFrame:
    """The rows of some sites, in their order, without the tests over a whole map."""
    rows = run.results[run.results["site"].isin(sites)]
    tests = [c for c in rows.columns if c.startswith(("p_", "q_"))]
    return rows.drop(columns=tests).reset_index(drop=True)
