"""Which runs are the same: what changes results, and what an earlier version wrote."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from probes.catalogue.corpora import corpus_config
from probes.config import (
    BaselineConfig,
    ExtractionConfig,
    LinearConfig,
    LoggerConfig,
    MLPConfig,
    ModelConfig,
    RunConfig,
    SplitConfig,
    TrainerConfig,
)
from probes.pipeline.identity import gives_the_results_of, result_keys
from probes.results.record import CorpusRecord, ModelRecord, RunRecord, StreamRecord

EARLIER = Path(__file__).with_name("atlas_job_of_0_1.json")
"""``config`` in the ``run.json`` of an atlas' job, written before the atlas had a configuration of
its own."""


@pytest.fixture
def job() -> RunConfig:
    """What an atlas of the present version asks of that job, as it was asked then."""
    return RunConfig(
        extraction=ExtractionConfig(dtype="float16"),
        model=ModelConfig(name="../shared/models/stories260K"),
        corpus=corpus_config("key_value", examples=300),
        split=SplitConfig(folds=5),
        baseline=BaselineConfig(all_heads="none"),
        probe=LinearConfig(l2=[10.0, 100.0, 1000.0]),
        features=["answer", "pair"],
    )


def record_of(stored: dict[str, Any], layers: int = 5) -> RunRecord:
    """The record of a run with this configuration, of a decoder with so many layers."""
    stream = StreamRecord("decoder", list(range(layers)), [8] * layers)
    return RunRecord(
        version="0.1.0",
        created="",
        model=ModelRecord("m", "f", "decoder", [stream]),
        corpus=CorpusRecord("c", "f", "text", {}, {}),
        tasks={},
        config=stored,
    )


def test_a_job_of_an_earlier_version_is_recognised(job: RunConfig) -> None:
    stored = json.loads(EARLIER.read_text())
    assert gives_the_results_of(record_of(stored), job)
    assert not gives_the_results_of(record_of(stored), replace(job, seed=1))
    assert not gives_the_results_of(record_of(stored), replace(job, probe=MLPConfig()))


def test_storage_that_may_have_rounded_a_head_away_is_not_taken_for_auto(job: RunConfig) -> None:
    stored = json.loads(EARLIER.read_text())
    assert not gives_the_results_of(record_of(stored), replace(job, extraction=ExtractionConfig()))


def test_penalties_that_did_not_go_on_are_not_taken_for_the_default(job: RunConfig) -> None:
    stored = json.loads(EARLIER.read_text())
    assert not gives_the_results_of(record_of(stored), replace(job, probe=LinearConfig()))


def test_keys_that_a_stored_configuration_lacks_are_defaults(job: RunConfig) -> None:
    stored = asdict(job)
    del stored["significance"], stored["model"]["bos"], stored["corpus"]["seed"]
    assert gives_the_results_of(record_of(stored), job)
    assert not gives_the_results_of(
        record_of(stored), replace(job, model=replace(job.model, bos="never"))
    )


def test_keys_that_nobody_knows_make_another_run(job: RunConfig) -> None:
    stored = asdict(job)
    stored["evaluation"]["of_a_later_version"] = True
    assert not gives_the_results_of(record_of(stored), job)


@pytest.mark.parametrize(
    ("stored", "layers", "same"),
    [
        (True, 12, {"auto", "all"}),
        (True, 13, {"all"}),
        ("auto", 12, {"auto", "all"}),
        ("auto", 13, {"auto"}),
        ("all", 13, {"all"}),
        (False, 13, {"none"}),
        ("none", 12, {"none"}),
    ],
)
def test_whole_layers_are_compared_by_what_they_came_to(
    job: RunConfig, stored: object, layers: int, same: set[str]
) -> None:
    """Earlier versions stored true and false, and true was every layer of any model."""
    config = asdict(job)
    config["baseline"]["residual"] = stored
    record = record_of(config, layers)
    for asked in ("auto", "all", "none"):
        other = replace(job, baseline=replace(job.baseline, residual=asked))
        assert gives_the_results_of(record, other) == (asked in same)


def test_where_and_how_a_run_is_made_changes_no_result(job: RunConfig) -> None:
    other = replace(
        job,
        cache_dir="/elsewhere",
        memory_budget="4GB",
        trainer=TrainerConfig(accelerator="cpu", progress=False),
        logger=LoggerConfig(name="csv"),
    )
    assert result_keys(other) == result_keys(job)
    assert result_keys(replace(job, min_count=11)) != result_keys(job)
