"""Runs of several kinds that are divided and joined: each in the bytes of one process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from probes.config import (
    BaselineConfig,
    EvaluationConfig,
    LinearConfig,
    MLPConfig,
    ModelConfig,
    RunConfig,
    SplitConfig,
    TrainerConfig,
)
from probes.config.corpus_kinds import GrammarConfig
from probes.passes.shards import Shard
from probes.pipeline import whole_layers
from probes.pipeline.prepare import prepare
from probes.pipeline.run import run, run_prepared
from probes.pipeline.sharded_fits import gather, shard_directory
from tests.pipeline.conftest import results_of
from tests.pipeline.deep_runs import write_deep_model


def one_and_joined(config: RunConfig, folder: Path) -> tuple[Path, Path]:
    """The run from one process, and from two shards that find its activations."""
    whole, joined = folder / "whole", folder / "joined"
    whole.mkdir()
    joined.mkdir()
    run(config, whole)
    for index in (0, 1):
        directory = shard_directory(joined, Shard(index, 2))
        directory.mkdir()
        run(replace(config, shard=f"{index}/2"), directory)
        assert not (directory / "run.json").exists()
    run_prepared(prepare(config), joined, gather([joined]))
    return whole, joined


@pytest.fixture(scope="module")
def config(llama_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return RunConfig(
        model=ModelConfig(name=str(llama_directory)),
        corpus=GrammarConfig(sentences=60),
        features=["upos"],
        min_count=5,
        evaluation=EvaluationConfig(bootstrap=20),
        trainer=TrainerConfig(accelerator="cpu", progress=False),
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )


def test_folds(config: RunConfig, tmp_path: Path) -> None:
    whole, joined = one_and_joined(replace(config, split=SplitConfig(folds=3)), tmp_path)
    assert results_of(joined) == results_of(whole)


def test_mlp_probes(config: RunConfig, tmp_path: Path) -> None:
    mlp = replace(config, probe=MLPConfig(), corpus=GrammarConfig(sentences=30))
    whole, joined = one_and_joined(mlp, tmp_path)
    assert results_of(joined) == results_of(whole)


def test_layers_of_the_best_heads(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In models of many layers their whole-layer probes follow from the fits of all shards."""
    monkeypatch.setattr(whole_layers, "MOST", 2)
    deep = replace(
        config,
        model=ModelConfig(name=str(write_deep_model(tmp_path))),
        probe=LinearConfig(l2=[10.0, 100.0]),
        baseline=BaselineConfig(all_heads="auto", residual="auto"),
        corpus=GrammarConfig(sentences=120),
        features=["upos", "number"],
    )
    whole, joined = one_and_joined(deep, tmp_path)
    assert results_of(joined) == results_of(whole)
